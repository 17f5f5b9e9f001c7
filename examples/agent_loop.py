"""Locate, act, verify: what an agent does with the tools of `talking-points mcp`.

    python examples/agent_loop.py street.jpg "the left shoe of the man"

It asks where a thing is, moves closer (here: cuts out the middle of what it saw, as a camera would turn and zoom), and
acts only if on the new photo, too, the words mean what lies there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from mcp import Client, MCPError, StdioServerParameters
from PIL import Image

from talking_points import open_photo

Point = tuple[float, float]


def closer(photo: Image.Image, point: Point) -> tuple[Image.Image, Point, Point]:
    """A photo of the point's surroundings, two thirds as wide and high, the point in its pixels, and its corner."""
    width, height = photo.width * 2 // 3, photo.height * 2 // 3
    left = min(max(0, round(point[0]) - width // 2), photo.width - width)
    top = min(max(0, round(point[1]) - height // 2), photo.height - height)
    return photo.crop((left, top, left + width, top + height)), (point[0] - left, point[1] - top), (left, top)


async def ask(client: Client, tool: str, **question: Any) -> dict[str, Any]:
    """A tool's answer; where it is an error, a ValueError of the line that says why."""
    result = await client.call_tool(tool, question)
    if result.is_error:
        raise ValueError(f"{tool}: {result.content[0].text}")
    return dict(result.structured_content)


async def main(photo: Path, text: str, model: str) -> None:
    command = ["-m", "talking_points", "mcp", "--model", model]
    async with Client(StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))) as client:
        found = await ask(client, "locate", photo=str(photo.resolve()), text=text)
        print("locate:", found["said"])
        if found["in_photo"] is False:
            return
        seen, (x, y), corner = closer(open_photo(photo), (found["found_x"], found["found_y"]))
        with tempfile.TemporaryDirectory() as folder:
            seen.save(Path(folder) / "closer.png")
            # What is said of places from here on is in pixels of this photo, not of the first.
            print("closer: a photo of {}x{} pixels, from {:.0f}, {:.0f} on".format(*seen.size, *corner))
            question = {"photo": str(Path(folder) / "closer.png"), "x": x, "y": y}
            verified = await ask(client, "verify", **question, text=text)
            print("verify:", verified["said"])
            if verified["verdict"] == "yes":
                described = await ask(client, "describe_point", **question)
                print("act on:", described["description"])
            else:
                print("leave it:", verified["verdict"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("text", help="what to look for")
    parser.add_argument("--model", default="mini", help="as of talking-points mcp")
    given = parser.parse_args()
    try:
        asyncio.run(main(given.photo, given.text, given.model))
    except Exception as error:
        # What leaves the client comes in groups of errors; the innermost says why.
        why: Any = error
        while hasattr(why, "exceptions"):
            [why, *_] = why.exceptions
        if not isinstance(why, (ValueError, MCPError)):
            raise
        sys.exit(str(why))
