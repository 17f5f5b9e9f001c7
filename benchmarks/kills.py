"""Long commands, killed at random moments and on a full disk, started again: do they end as if nothing had happened?

    python benchmarks/kills.py > benchmarks/results/kills.txt
    python benchmarks/kills.py --disk >> benchmarks/results/kills.txt

Every command (building a set, answers in bulk, trainings, an evaluation) runs once undisturbed. Then it is killed by
SIGKILL ten times, at moments drawn evenly over what it takes, and started again with the same words each time; where
it comes to its end, it begins anew in another folder. All ends have to equal the undisturbed one: files byte by byte,
checkpoints with them. With `--disk` the disk is full instead, at a third, two thirds and nearly all of what is needed;
the command has to say so in one line, keep what it has done, and end the same once there is room (Linux: a small
filesystem in memory, in a namespace of its own). The model is a random one of tiny sizes, so that a run takes seconds;
photos are drawn. The exit status is 1 where an end differs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from talking_points.files import sha256_of

CLI = [sys.executable, "-m", "talking_points"]
PHOTOS, POINTS_A_PHOTO, LINES = 48, 4, 600
TRAINING = """
steps = {steps}
photos = 4
points = 2
learning_rate = 1e-3
save_every = {save_every}
log_every = 1
device = "cpu"
"""
NOT_COMPARED = ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "events.out.tfevents", "state-")
"""Beginnings of names of files that hold times or the work itself. The checkpoint beside a state is compared."""
DISK_SHARES = (0.33, 0.66, 0.95)
"""Of what the whole run leaves, what there is room for."""


@dataclass
class Job:
    """A command whose runs are compared."""

    name: str
    command: Callable[[Path], list[str]]
    """Its words, given the folder that it writes into."""
    seconds: float = 0.0
    """Of the undisturbed run."""
    expected: dict[str, str] = field(default_factory=dict)

    def run(self, out: Path, kill_after_s: float | None = None) -> tuple[int, str]:
        """Exit status and stderr; killed after some seconds, if it lives that long."""
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen([*CLI, *self.command(out)], stdout=subprocess.DEVNULL, stderr=said)
            try:
                process.wait(kill_after_s)
            except subprocess.TimeoutExpired:
                pass
            finally:
                process.kill()
                process.wait()
            said.seek(0)
            return process.returncode, said.read()


def files_of(folder: Path) -> dict[str, str]:
    """Hashes of the files of a run by their paths."""
    paths = [one for one in sorted(folder.rglob("*")) if one.is_file() and not one.name.startswith(NOT_COMPARED)]
    return {one.relative_to(folder).as_posix(): _hash(one, folder) for one in paths}


def _hash(path: Path, folder: Path) -> str:
    # A training writes its own settings down, and where it wrote to is one of them.
    return sha256_of(path.read_bytes().replace(os.fsencode(folder), b"OUT"))


def prepare(folder: Path) -> list[Job]:
    """Photos, points, texts and a model; and what is done with them."""
    # Here, as it takes a while to import.
    import torch
    from throughput import random_network

    from talking_points.bases.loading import save_base

    draw_photos(folder / "photos")
    save_base(random_network("tiny", torch.device("cpu")), folder / "model")
    source, built, model = f"label-map={folder / 'photos'}", folder / "built", str(folder / "model")
    build = ["build-dataset", "--source", source, "--points-per-photo", str(POINTS_A_PHOTO), "--out"]
    subprocess.run([*CLI, *build, str(built)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    dice = random.Random(0)
    photos = sorted((folder / "photos" / "photos").iterdir())
    places = [{"photo": str(photos[n * len(photos) // LINES]), "n": n} for n in range(LINES)]
    points = [{**one, "x": dice.uniform(0, 96), "y": dice.uniform(0, 64)} for one in places]
    sides = ("left", "right", "upper", "lower")
    texts = [{**one, "text": f"the {dice.choice(sides)} part of thing {dice.randrange(9)}"} for one in places]
    for name, records in (("points", points), ("texts", texts)):
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
    for name, steps, save_every in (("role", 24, 4), ("grpo", 8, 2)):
        (folder / f"{name}.toml").write_text(TRAINING.format(steps=steps, save_every=save_every))
    role = ["--config", str(folder / "role.toml"), "--data", str(built), "--base", model, "--lora-rank", "8", "--out"]
    grpo = ["--config", str(folder / "grpo.toml"), "--keypoints", str(built), "--descriptor", model, "--localizer"]
    evaluate = ["evaluate", "--data", str(built), "--split", "train", "--model", model, "--device", "cpu"]
    asked = ["--model", model, "--device", "cpu", "--input"]

    def answers(out: Path) -> list[str]:
        out.mkdir(parents=True, exist_ok=True)
        return ["--out", str(out / "answers.jsonl")]

    return [
        Job("build-dataset", lambda out: [*build, str(out)]),
        Job("describe --input", lambda out: ["describe", *asked, str(folder / "points.jsonl"), *answers(out)]),
        Job("localize --input", lambda out: ["localize", *asked, str(folder / "texts.jsonl"), *answers(out)]),
        Job("train descriptor", lambda out: ["train", "descriptor", *role, str(out)]),
        Job("train localizer", lambda out: ["train", "localizer", *role, str(out)]),
        Job("train grpo", lambda out: ["train", "grpo", *grpo, model, "--out", str(out)]),
        Job("evaluate", lambda out: [*evaluate, "--out", str(out)]),
    ]


def draw_photos(folder: Path) -> None:
    """A source of label maps: two things a photo, of two parts each, with noise, as real photos have."""
    for name in ("photos", "labels"):
        (folder / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{n:04d}" for n in range(PHOTOS)]
    for photo_id in names:
        labels = np.zeros((64, 96), np.uint8)
        left, top = rng.integers(0, 20, 2)
        boxes_xyxy = (0, 0, 30, 18), (0, 18, 30, 40), (40, 4, 70, 22), (40, 22, 70, 42)
        for part, (x0, y0, x1, y1) in enumerate(boxes_xyxy, start=1):
            labels[top + y0 : top + y1, left + x0 : left + x1] = part
        colours = rng.integers(30, 220, (5, 3))
        noisy = np.clip(colours[labels] + rng.integers(-20, 20, (64, 96, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "photos" / f"{photo_id}.jpg", quality=95)
        Image.fromarray(labels).save(folder / "labels" / f"{photo_id}.png")
    (folder / "labels.json").write_text(json.dumps({"names": ["null", "hair", "shirt", "skin", "jeans"]}))
    (folder / "splits.json").write_text(json.dumps({"train": names, "test": []}))


def undisturbed(job: Job, folder: Path) -> None:
    """What the others are compared with."""
    begun = time.monotonic()
    status, said = job.run(folder)
    if status:
        raise RuntimeError(f"{job.name} failed: {said[-2000:]}")
    job.seconds, job.expected = time.monotonic() - begun, files_of(folder)


def differences(job: Job, out: Path, status: int, said: str) -> list[str]:
    """What is wrong with the end of a run."""
    differing = sorted({name for name, _ in job.expected.items() ^ files_of(out).items()})
    return [f"{out.name}: exit status {status}, {differing} differ: {said[-500:]}"] if status or differing else []


def killed(job: Job, folder: Path, kills: int, dice: random.Random) -> str:
    """A line on a command that was killed so often."""
    shares: list[float] = []
    problems: list[str] = []
    ends, out = 0, folder / "0"
    while True:
        # The last run is left alone.
        delay = dice.uniform(0, job.seconds) if len(shares) < kills else None
        status, said = job.run(out, delay)
        if delay is not None and status == -signal.SIGKILL:
            shares.append(delay / job.seconds)
            continue
        problems += differences(job, out, status, said)
        ends, out = ends + 1, folder / str(ends + 1)
        if delay is None:
            break
    for problem in problems:
        print(f"{job.name}, {problem}", file=sys.stderr)
    shown = " ".join(f"{100 * one:.0f}" for one in shares)
    head = f"{'wrong' if problems else 'equal'}  {job.name:<18}"
    return f"{head}{kills} kills at {shown} % of {job.seconds:.0f} s, {ends} ends"


def filled(job: Job, folder: Path) -> str:
    """A line on a command whose disk was full."""
    problems: list[str] = []
    needed = size_of(folder.parents[1] / "whole" / job.name)
    for share in DISK_SHARES:
        with small_disk(folder / str(share), int(share * needed)) as make_room:
            out = folder / str(share) / "out"
            status, said = job.run(out)
            last = (said.strip().splitlines() or [""])[-1]
            if status != 2 or "Traceback" in said or not (last.startswith("error: ") and "full" in last):
                problems.append(f"at {share} exit status {status}: {said[-1500:]}")
            done = lines_of(out)
            make_room()
            status, said = job.run(out)
            problems += differences(job, out, status, said)
            problems += [
                f"at {share} {name} lost lines" for name, was in done.items() if not lines_of(out)[name] >= was
            ]
    for problem in problems:
        print(f"{job.name}: {problem}", file=sys.stderr)
    return f"{'wrong' if problems else 'equal'}  {job.name:<18}room for {DISK_SHARES} of {needed:,} bytes: {last}"


def lines_of(folder: Path) -> dict[str, set[bytes]]:
    """Whole lines of the files that grow by lines: of answers, of a training's numbers."""
    paths = [*folder.rglob("answers.jsonl"), *folder.rglob("metrics.jsonl")]
    return {one.relative_to(folder).as_posix(): set(one.read_bytes().split(b"\n")[:-1]) for one in paths}


def size_of(folder: Path) -> int:
    return sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[], None]]:
    """A disk of so many bytes; the function yielded makes it large."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size, 65536)}", "tmpfs", str(folder)], check=True)
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=2g", str(folder)], check=True) and None
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--kills", type=int, default=10, help="of each command")
    parser.add_argument("--disk", action="store_true", help="a full disk in place of kills")
    parser.add_argument("--only", nargs="+", metavar="COMMAND", help="such as evaluate; all unless given")
    given = parser.parse_args()
    if given.disk and os.environ.get("KILLS_IN_NAMESPACE") is None:
        os.environ["KILLS_IN_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--map-root-user", "--mount", sys.executable, *sys.argv])
    how = f"full disks at {DISK_SHARES}" if given.disk else f"{given.kills} kills each, seed {given.seed}"
    print(f"{' '.join(sys.argv)}: {how}, {platform.machine()}, Python {platform.python_version()}", flush=True)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for job in prepare(folder):
            if given.only and job.name not in given.only:
                continue
            undisturbed(job, folder / "whole" / job.name)
            place = folder / "again" / job.name
            line = filled(job, place) if given.disk else killed(job, place, given.kills, random.Random(given.seed))
            print(line, flush=True)
            failed |= line.startswith("wrong")
            shutil.rmtree(place)
    sys.exit(failed)


if __name__ == "__main__":
    main()
