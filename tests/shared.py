"""Real data beside the project, where it is present; tests that need it skip without it."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

needs_parity = pytest.mark.skipif(
    not (SHARED / "parity" / "config.json").is_file(), reason="needs ../shared/parity (upstream's numbers)"
)
needs_photos = pytest.mark.skipif(
    not (SHARED / "data" / "clothing_parts").is_dir(), reason="needs ../shared/data (part-labelled photos)"
)
