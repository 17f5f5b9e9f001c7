"""How the embedded `mini` was made, on public photos and public packages. README.md has the commands."""
