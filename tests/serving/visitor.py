"""What a visitor does on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE_WH = (400, 300)
"""Of the photo that `open_photo` opens."""


def wait_for_page(tab: Any) -> None:
    """Until the page listens: on a busy machine its parts are there before."""
    tab.wait_for_selector("html[data-listens]", state="attached")


def open_photo(tab: Any, photo: Path) -> None:
    tab.set_input_files("#upload input[type=file]", photo)
    tab.wait_for_selector("#photo img")
    tab.locator("#status", has_text="400 × 300").wait_for()


def click(tab: Any, u: float, v: float) -> None:
    """A pixel by its share of the photo."""
    image = tab.locator("#photo img").first
    box = image.bounding_box()
    image.click(position={"x": box["width"] * u, "y": box["height"] * v})


def wait_for_answer(tab: Any, n: int) -> str:
    tab.wait_for_selector(f"#note-{n} .found")
    return str(tab.locator(f"#note-{n}").inner_text())
