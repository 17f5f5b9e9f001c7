"""How fast a set is built by rules alone on one core, and where the time goes.

    python benchmarks/build_dataset.py --source label-map=DIR --source coco-parts=DIR > build_dataset.json

times the stages of every photo one after another, then a whole build in one process, and prints both as JSON, in
seconds of processor time, which other programs on the machine do not lengthen; then how long it takes to load a
batch of what was built. The photos' size is theirs; the target
is 150 records a second at 512 pixels.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import talking_points
from talking_points.dataset.build import build
from talking_points.dataset.colours import colour_indices
from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import select_points
from talking_points.dataset.look_alikes import thumbnail
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.settings import BuildSettings
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.loading import parse_sources
from talking_points.dataset.store import BuiltSplit

BATCH = 64


class Times:
    """Processor seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.seconds[name] += time.process_time() - begun


def time_stages(sources: dict[str, Path], split: str, points: int, photos: int) -> dict[str, Any]:
    times, records, sides = Times(), 0, []
    # Makes a table that is kept; otherwise the first photo would pay for all.
    colour_indices(np.zeros((1, 3), np.uint8))
    for name, folder in sources.items():
        source = open_source(name, folder, split)
        for photo_id in source.photo_ids[:photos]:
            with times.of("read photo and labels"):
                scene = source.read(photo_id)
            sides.append(max(scene.size_wh))
            with times.of("choose points (SIFT)"):
                chosen = select_points(scene, np.random.default_rng(0), points_per_photo=points)
            with times.of("thumbnail"):
                thumbnail(scene.photo)
            with times.of("measure what is said"):
                facts = facts_of_points(scene, [(point.x, point.y) for point in chosen])
            for number, one in enumerate(facts):
                with times.of("write the text"):
                    write_point_text(one, DIALECTS["paper"], np.random.default_rng(number))
                records += 1
    total = sum(times.seconds.values())
    return {
        "records": records,
        "photos": len(sides),
        "median_long_side_px": float(np.median(sides)),
        "ms_a_photo": {name: round(1000 * spent / len(sides), 2) for name, spent in times.seconds.items()},
        "share": {name: round(spent / total, 3) for name, spent in times.seconds.items()},
        "records_a_second": round(records / total, 1),
    }


def time_build(sources: list[str], split: str, points: int, per_part: int, out: Path) -> dict[str, Any]:
    stages: dict[str, float] = {}
    begun = time.process_time()

    def on_progress(stage: str, done: int, total: int) -> None:
        stages[stage] = time.process_time() - begun

    settings = BuildSettings(
        sources=tuple(sources), out=out, split=split, points_per_photo=points, per_part=per_part, equal_shares=False
    )
    report = build(settings, on_progress)
    spent = time.process_time() - begun
    ends = [0.0, *stages.values()]
    return {
        "records": report.total,
        "seconds": {name: round(end - start, 2) for name, start, end in zip(stages, ends, ends[1:], strict=False)},
        "records_a_second": round(report.total / spent, 1),
    }


def time_loading(folder: Path, split: str) -> dict[str, Any]:
    """Wall-clock seconds to open a set and draw a batch of random records and their photos, after a first open."""
    BuiltSplit(folder, split)
    rng = np.random.default_rng(0)
    begun = time.perf_counter()
    opened = BuiltSplit(folder, split)
    chosen = rng.integers(len(opened), size=BATCH)
    batch = [(opened[int(index)], opened.photo(int(index))) for index in chosen]
    seconds = time.perf_counter() - begun
    return {"records": len(opened), "batch": len(batch), "open_and_batch_seconds": round(seconds, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--split", default="test")
    parser.add_argument("--points-per-photo", type=int, default=8)
    parser.add_argument("--per-part", type=int, default=1, help="points of a part, in the whole build")
    parser.add_argument("--photos", type=int, default=100, help="of each source, for the stages")
    given = parser.parse_args()
    # One core: OpenCV would take all.
    cv2.setNumThreads(1)
    sources = parse_sources(given.source)
    stages = time_stages(sources, given.split, given.points_per_photo, given.photos)
    out = Path(tempfile.mkdtemp(prefix="build-dataset-"))
    try:
        whole = time_build(given.source, given.split, given.points_per_photo, given.per_part, out / "set")
        loading = time_loading(out / "set", "train")
    finally:
        shutil.rmtree(out)
    result = {
        "command": " ".join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "versions": {
            "talking_points": talking_points.__version__,
            "python": platform.python_version(),
            "opencv": cv2.__version__,
            "numpy": np.__version__,
        },
        "points_per_photo": given.points_per_photo,
        "per_part": given.per_part,
        "stages": stages,
        "whole_build": whole,
        "loading": loading,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
