"""What MkDocs does beside its plugins: pages that live at the root, and links that leave docs/."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES_OF_THE_ROOT = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Any, *, config: Any) -> Any:
    """CONTRIBUTING.md and CHANGELOG.md become pages; README.md's place is taken by index.md."""
    for name, page in PAGES_OF_THE_ROOT.items():
        if name != "README.md":
            files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """A link to a file of the repository that is no page becomes the file's path: the site has no copy of it."""
    source = page.file.src_uri
    at_root = source in ("contributing.md", "changelog.md")
    folder = ROOT if at_root else (ROOT / "docs" / source).parent

    def replaced(match: re.Match[str]) -> str:
        image, text, target, anchor = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        path = (folder / target).resolve()
        if not path.is_relative_to(ROOT) or not path.exists():
            return match[0]  # MkDocs warns of it
        inside = path.relative_to(ROOT).as_posix()
        up = "../" * source.count("/")
        if inside in PAGES_OF_THE_ROOT:
            return f"{image}[{text}]({up}{PAGES_OF_THE_ROOT[inside]}{anchor or ''})"
        if inside.startswith("docs/"):
            return f"{image}[{text}]({up}{inside.removeprefix('docs/')}{anchor or ''})" if at_root else match[0]
        return f"`{inside}`" if text.strip("`") in (inside, target) else f"{text} (`{inside}`)"

    return LINK.sub(replaced, markdown)
