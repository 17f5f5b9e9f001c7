"""Batches from processes of their own: nothing is forked, no GPU is shared, and a folder in memory is between."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

AHEAD = 5
"""Batches that each process keeps ready."""
SHARES = 3
"""Of the scenes each process holds one share, and all have turns; with fewer processes there are fewer."""


def start(folder: Path, workers: int, arguments: Sequence[str]) -> list[subprocess.Popen[bytes]]:
    """Processes that write batches into an empty folder.

    arguments: those of `main` but for `--folder`, `--worker`, `--shares` and `--parent`.
    """
    folder.mkdir(parents=True)
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "recipes.mini.feed", "--folder", str(folder), *arguments]
    command += ["--shares", str(min(SHARES, workers)), "--parent", str(os.getpid())]
    return [subprocess.Popen([*command, "--worker", str(k)], env=quiet) for k in range(workers)]


def batches(folder: Path, workers: Sequence[subprocess.Popen[bytes]]) -> Iterator[object]:
    """Whatever is ready first, without end."""
    while True:
        ready = sorted(folder.glob("*.batch"), key=lambda path: int(path.name.split("-")[0]))
        for path in ready:
            batch = pickle.loads(path.read_bytes())
            path.unlink()
            yield batch
        if not ready:
            if all(one.poll() is not None for one in workers):
                raise RuntimeError("the processes that make batches have ended")
            time.sleep(0.005)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--worker", type=int, required=True)
    parser.add_argument("--shares", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process without which this one ends")
    parser.add_argument("--first", type=int, required=True, help="batch: how many steps are done")
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, nargs="+", required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--absent", type=Path, nargs="*", default=[])
    parser.add_argument("--photos", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    import cv2

    cv2.setNumThreads(1)
    from recipes.mini.examples import Maker, read_lines
    from recipes.mini.learn import collate, draw_examples
    from recipes.mini.scenes import read
    from recipes.mini.seed import read_names
    from talking_points.model.plain import read_plain_tokenizer
    from talking_points.model.prompts import Prompts

    names = read_names()
    share = (given.worker % given.shares, given.shares)
    scenes = [scene for path in given.scenes for scene in read(path, share=share)]
    maker = Maker(scenes, read_lines(given.texts), read_lines(given.absent), names)
    prompts = Prompts(read_plain_tokenizer(given.start / "language_model"))
    step = given.first
    while os.getppid() == given.parent:
        if len(list(given.folder.glob(f"*-{given.worker}.batch"))) >= AHEAD:
            time.sleep(0.01)
            continue
        batch = collate(draw_examples(maker, given.photos, (given.seed, given.worker, step)), prompts)
        unfinished = given.folder / f"{step}-{given.worker}.part"
        unfinished.write_bytes(pickle.dumps(batch, protocol=5))
        unfinished.rename(unfinished.with_suffix(".batch"))
        step += 1


if __name__ == "__main__":
    main()
