"""The README's film of the page: a photo opened, pixels clicked, words typed. `python docs/record_page.py` records it.

It needs Chromium (`apt-get install chromium`) and playwright, which the tests of the page have as well.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from talking_points.demo import demo_photos

OUT = Path(__file__).parent / "assets" / "page.gif"
SIZE = {"width": 1100, "height": 1260}
SHOWN_WIDTH, SHOWN_S = 700, 1.6
CLICKS = ((0.36, 0.37), (0.69, 0.44))
"""Shares of the photo: the cat's eyes."""
TYPED = ("the cat's nose", "a parked car")


def main() -> None:
    """Serve `mini`, record, and write the film."""
    command = [sys.executable, "-m", "talking_points", "serve", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            address = next(found[0] for line in server.stderr if (found := re.search(r"http://[\d.:]+/", line)))
            frames = _record(address)
        finally:
            server.terminate()
    small = [frame.resize((SHOWN_WIDTH, round(frame.height * SHOWN_WIDTH / frame.width))) for frame in frames]
    few = [frame.quantize(128, dither=Image.Dither.NONE) for frame in small]
    few[0].save(OUT, save_all=True, append_images=few[1:], duration=round(1000 * SHOWN_S), loop=0, optimize=True)


def _record(address: str) -> list[Image.Image]:
    """Pictures of the page, one after each thing that is done."""
    cat = next(photo for photo in demo_photos() if photo.path.name == "cat.jpg")
    frames: list[Image.Image] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab: Any = browser.new_page(viewport=SIZE)

        answers = tab.locator(".point .found, .point .absent")

        def look() -> None:
            frames.append(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"))

        tab.goto(address)
        look()
        tab.set_input_files("#upload input[type=file]", cat.path)
        image = tab.locator("#photo img")
        image.wait_for()
        look()
        for number, (u, v) in enumerate(CLICKS, start=1):
            box = image.bounding_box()
            image.click(position={"x": box["width"] * u, "y": box["height"] * v})
            answers.nth(number - 1).wait_for()
            look()
        for number, words in enumerate(TYPED, start=len(CLICKS) + 1):
            tab.fill("#own", words)
            tab.click("#find-own")
            answers.nth(number - 1).wait_for()
            look()
        browser.close()
    return frames


if __name__ == "__main__":
    main()
