"""How long a new process takes to its first words: `talking-points describe PHOTO --point X,Y` beside `import torch`.

    python benchmarks/first_words.py > benchmarks/results/first_words.json

starts, in turn and `--runs` times each, a Python that imports torch, the command on `mini` and the CPU, and the same
answer with transformers and PEFT, and prints medians as JSON: seconds on the clock, and processor seconds, which other
work on the machine disturbs less. A run of each that does not count comes first. Then it compares the two Llamas in one
process: points of a photo that is known already, and what their weights take. The exit status is 0 only when the
command takes at most 1.5 times the import and a second, in processor seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

from talking_points.demo import demo_photos

OF_IMPORT, PLUS_SECONDS = 1.5, 1.0
WITH_TRANSFORMERS = """
import sys
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.bases.loading import load_base
from talking_points.pointing.pretrained import find_checkpoint
x, y = map(float, sys.argv[2].split(","))
print(PointDescriptor(load_base(find_checkpoint("mini"), roles=("descriptor",))).describe(sys.argv[1], [(x, y)]))
"""


def commands(photo: Path, point: str) -> dict[str, list[str]]:
    python = sys.executable
    return {
        "import torch": [python, "-c", "import torch"],
        "describe": [python, "-m", "talking_points", "describe", str(photo), "--point", point, "--device", "cpu"],
        "describe, transformers and PEFT": [python, "-c", WITH_TRANSFORMERS, str(photo), point],
    }


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor, of one process from start to end."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(runs: int) -> dict[str, Any]:
    photo = demo_photos()[0]
    given = commands(photo.path, "{},{}".format(*photo.points_px[0]))
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in given}
    for run in range(runs + 1):
        for name, command in given.items():
            one = measure(command)
            if run:
                took[name].append(one)
    rows = {
        name: {
            "wall_seconds": round(statistics.median(wall for wall, _ in some), 2),
            "cpu_seconds": round(statistics.median(cpu for _, cpu in some), 2),
        }
        for name, some in took.items()
    }
    ratios = {
        name: round(statistics.median(a / b for (_, a), (_, b) in zip(some, took["import torch"], strict=True)), 2)
        for name, some in took.items()
    }
    allowed = OF_IMPORT * rows["import torch"]["cpu_seconds"] + PLUS_SECONDS
    return {
        "what": f"medians of {runs} runs, in turn; ratios of processor seconds, run by run, to `import torch`",
        "rows": rows,
        "ratios": ratios,
        "allowed_cpu_seconds": round(allowed, 2),
        "passed": rows["describe"]["cpu_seconds"] <= allowed,
    }


def in_one_process(counts: Sequence[int], runs: int) -> dict[str, Any]:
    """Processor seconds of descriptions by either Llama, by the number of points."""
    # Imported here: nothing of this may be in the way of what is measured before.
    from talking_points.bases.loading import load_base
    from talking_points.pointing.descriptor import PointDescriptor
    from talking_points.pointing.pretrained import find_checkpoint

    folder = find_checkpoint("mini")
    descriptors = {
        "plain": PointDescriptor(load_base(folder, answers_only=True)),
        "transformers and PEFT": PointDescriptor(load_base(folder)),
    }
    rng = random.Random(0)
    points = [(rng.uniform(0, 512), rng.uniform(0, 600)) for _ in range(max(counts))]
    texts = {name: one.describe(demo_photos()[0].path, points) for name, one in descriptors.items()}
    seconds: dict[str, dict[int, float]] = {name: {} for name in descriptors}
    for count in counts:
        took: dict[str, list[float]] = {name: [] for name in descriptors}
        for _ in range(runs):
            for name, one in descriptors.items():
                begun = time.process_time()
                one.describe(demo_photos()[0].path, points[:count])
                took[name].append(time.process_time() - begun)
        for name, some in took.items():
            seconds[name][count] = round(statistics.median(some), 2)
    plain, theirs = texts.values()
    return {
        "cpu_seconds_of_points": seconds,
        "same_texts": sum(a == b for a, b in zip(plain, theirs, strict=True)),
        "weights_mib": {
            name: round(sum(p.numel() * p.element_size() for p in one.network.language.parameters()) / 2**20, 1)
            for name, one in descriptors.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    header = {
        "command": " ".join(sys.argv),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": f"{platform.processor() or platform.machine()}, {platform.platform()}",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }
    result = compare(given.runs) | {"in_one_process": in_one_process((1, 16, 64), given.runs)}
    print(json.dumps({**header, **result}, indent=2))
    sys.exit(not result["passed"])


if __name__ == "__main__":
    main()
