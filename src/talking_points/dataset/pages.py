"""Files of a set that people read: from the templates beside this file, and whole or not there at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """How many of what: "1 record", "1,200 records"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def render(template: str, **values: Any) -> str:
    """Fill in a file of templates/; what is filled into HTML is escaped."""
    pages = Environment(
        loader=PackageLoader("talking_points.dataset"),
        autoescape=select_autoescape(["html.j2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return pages.get_template(template).render(counted=counted, **values)


def write_whole(path: Path, text: str) -> None:
    """Write a file; what was there before stays until the new one is complete."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
