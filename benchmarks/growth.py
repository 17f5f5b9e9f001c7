"""How time and memory of a round trip grow with points a photo, photos, length of the text, and size of the photo.

    python benchmarks/growth.py --figure growth.png > growth.json

on `mini` and the CPU of this machine. `exponent` is the slope of the time between the two largest sizes, both axes
logarithmic: 1 is linear.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crops import photos_of, points_of

from talking_points import TalkingPoints
from talking_points.evaluation.run import versions
from talking_points.pointing.pretrained import load_network

if TYPE_CHECKING:
    from talking_points.model.network import PointNetwork

REPEATS = 3


def peak_bytes(reset: bool = False) -> int:
    """The process's highest resident memory since it was last reset (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(sizes: list[int], run_of: Callable[[int], Callable[[], Any]]) -> dict[str, Any]:
    rows = []
    for size in sizes:
        run = run_of(size)
        run()
        before, seconds = peak_bytes(reset=True), []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - begun)
        rows.append(
            {
                "size": size,
                "seconds": round(min(seconds), 4),
                "extra_memory_mib": round((peak_bytes() - before) / 2**20, 1),
            }
        )
    (one, other) = rows[-2:]
    slope = math.log(other["seconds"] / one["seconds"]) / math.log(other["size"] / one["size"])
    return {"rows": rows, "exponent": round(slope, 2)}


def series(network: PointNetwork) -> dict[str, dict[str, Any]]:
    from talking_points.pointing.encoding import PhotoCache

    def fresh() -> TalkingPoints:
        return TalkingPoints.over(network, cache=PhotoCache(0))

    [photo] = photos_of(1)
    word = "the point is on the lower left of the jacket of the person on the right, "

    def of_points(count: int) -> Callable[[], Any]:
        points = points_of(count)
        return lambda: fresh().round_trip(photo, points)

    def of_photos(count: int) -> Callable[[], Any]:
        pairs = list(zip(photos_of(count), points_of(count), strict=True))
        return lambda: fresh().round_trip_many(pairs)

    def of_words(count: int) -> Callable[[], Any]:
        text = " ".join((word * 40).split()[:count])
        return lambda: fresh().localize(photo, [text] * 16)

    def of_pixels(count: int) -> Callable[[], Any]:
        side = math.isqrt(count)
        large = photo.resize((side, side))
        return lambda: fresh().round_trip(large, [(side / 2, side / 2)])

    return {
        "points of a photo": measure([1, 4, 16, 64, 256], of_points),
        "photos of a point each": measure([1, 4, 16, 64, 128], of_photos),
        "words of a text (16 texts)": measure([10, 40, 80, 160, 320], of_words),
        "pixels of the photo": measure([4**n for n in range(8, 13)], of_pixels),
    }


def draw(found: dict[str, dict[str, Any]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(found), figsize=(4 * len(found), 3.4), layout="constrained")
    for axis, (name, one) in zip(axes, found.items(), strict=True):
        sizes = [row["size"] for row in one["rows"]]
        seconds = [row["seconds"] for row in one["rows"]]
        axis.loglog(sizes, seconds, "o-", label="seconds")
        axis.loglog(sizes, [seconds[0] * size / sizes[0] for size in sizes], ":", color="gray", label="linear")
        axis.set_xlabel(name)
        axis.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path, default=None)
    given = parser.parse_args()
    import torch

    found = series(load_network("mini", device="cpu"))
    if given.figure is not None:
        draw(found, given.figure)
    header = {
        "command": " ".join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    print(json.dumps({**header, "series": found}, indent=2))


if __name__ == "__main__":
    main()
