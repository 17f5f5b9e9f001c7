"""Pages that people read, filled in from a package's templates."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """How many of what: "1 record", "1,200 records"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def render(package: str, template: str, **values: Any) -> str:
    """Fill in a file of a package's `templates/`; what is filled into HTML is escaped.

    Args:
        package: such as "talking_points.dataset".
        template: name of the file; one of HTML ends in ".html.j2".
        values: what the template speaks of; one that lacks is an error. `counted` is always there.
    """
    pages = Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(["html.j2"], default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return pages.get_template(template).render(counted=counted, **values)
