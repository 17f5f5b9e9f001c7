"""Files of many points or texts: one JSON line in, the same line with its answer out, in order.

A line names a photo, its path relative to the file, and a point (`x`, `y`, pixels of the photo) or a `description`;
other keys are carried along, so that what `describe` wrote is what `localize` reads. Lines stream through in windows:
memory does not grow with the file. What OUT holds already is not done again.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

from talking_points.model.network import PointNetwork
from talking_points.pointing.encoding import PreparedPhoto, prepare_photo
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import check_point
from talking_points.ray_actors import start_actors

Task = Literal["describe", "localize", "round-trip"]
Engine = Literal["local", "ray"]

ROLES: dict[Task, tuple[str, ...]] = {
    "describe": ("descriptor",),
    "localize": ("localizer",),
    "round-trip": ("descriptor", "localizer"),
}
LINES_AT_ONCE = 128
"""A window: its lines are answered together. Ours."""
MOST_LINE_BYTES = 2**20
"""A longer line is no line of ours."""
READERS = min(4, os.cpu_count() or 1)
"""Threads that open photos while the network works."""

Answered = tuple[str, str | None]
"""A line of the answers, and what was wrong with the one asked."""
ANSWER_KEYS = ("model", "description", "found_x", "found_y", "error", "problem")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A line that can be answered."""

    record: dict[str, Any]
    photo: PreparedPhoto
    point_px: tuple[float, float] | None
    text: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bad:
    """A line that cannot."""

    record: dict[str, Any]
    problem: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkReport:
    """What became of a file's lines."""

    done_before: int
    answered: int
    bad: int


class Answerer:
    """A model that answers windows of lines."""

    def __init__(self, task: Task, network: PointNetwork, folder: Path, model: str) -> None:
        """
        Args:
            folder: what photos' paths are relative to.
            model: name written into every answer.
        """
        self.task, self.folder, self.model = task, folder, model
        self.tp = TalkingPoints(network)

    def prepare(self, line: str) -> _Asked | _Bad:
        """Read a line and open its photo. Runs in any thread."""
        record: dict[str, Any] = {}
        try:
            parsed = _parse(line)
            record = _carried(self.task, parsed)
            point_px, text = None, None
            if self.task == "localize":
                text = _text_of(parsed)
                self.tp.network.prompts.localize(text)
            else:
                point_px = _point_of(parsed)
            side = self.tp.network.config.vision.image_size
            photo = prepare_photo(self.folder / _photo_of(parsed), side)
            if point_px is not None:
                check_point(point_px, photo.size_wh)
        except (ValueError, OSError) as error:
            return _Bad(record=record, problem=" ".join(str(error).split()))
        return _Asked(record=record, photo=photo, point_px=point_px, text=text)

    def answer(self, window: Sequence[_Asked | _Bad]) -> list[Answered]:
        """Answers of a window's lines, in their order."""
        asked = [one for one in window if isinstance(one, _Asked)]
        answers = iter(self._answers(asked))
        return [
            (json.dumps({**one.record, "model": self.model, **next(answers)}), None)
            if isinstance(one, _Asked)
            else (json.dumps({**one.record, "model": self.model, "problem": one.problem}), one.problem)
            for one in window
        ]

    def _answers(self, asked: Sequence[_Asked]) -> list[dict[str, Any]]:
        if self.task == "localize":
            found = self.tp.locate_many([(one.photo, one.text or "") for one in asked])
            return [{"found_x": one.point_px[0], "found_y": one.point_px[1]} for one in found]
        points = [(one.photo, one.point_px or (0.0, 0.0)) for one in asked]
        if self.task == "describe":
            return [{"description": text} for text in self.tp.describe_many(points)]
        return [
            {"description": trip.description}
            if trip.found_px is None
            else {
                "description": trip.description,
                "found_x": trip.found_px[0],
                "found_y": trip.found_px[1],
                "error": trip.error,
            }
            for trip in self.tp.round_trip_many(points)
        ]


def run_bulk(
    task: Task,
    load: Callable[[], PointNetwork],
    source: Path,
    out: Path,
    *,
    model: str,
    strict: bool = False,
    engine: Engine = "local",
    workers: int = 1,
    on_progress: Callable[[int], None] = lambda lines: None,
) -> BulkReport:
    """Answer the lines of a file that `out` does not hold yet.

    Args:
        task: what is asked.
        load: gives the network, with the task's `ROLES`.
        source: JSON lines.
        out: JSON lines, one for each of `source`; grows window by window.
        model: the model's name, written into every line.
        strict: a line that cannot be answered is a ValueError naming it, instead of a line with a "problem".
        engine: "local", or "ray" for actors with a model each on a cluster (that of RAY_ADDRESS, else this machine),
            whose machines see the photos under the same paths.
        workers: actors of Ray.
        on_progress: told the lines done, those of earlier runs counted.

    Raises:
        FileNotFoundError, ValueError: no such file, or `out` answers another file.
    """
    if not source.is_file():
        raise FileNotFoundError(f"no such file: {source}")
    if out.exists() and out.samefile(source):
        raise ValueError(f"--out is the input itself, {out}; choose another file")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"no such folder for the answers: {out.absolute().parent}")
    folder = source.absolute().parent
    done = _check_done(source, out, task, model)
    answered = bad = 0
    with source.open("rb") as lines_file, out.open("ab") as out_file:
        rest = itertools.islice(read_lines(lines_file), done, None)
        windows = iter(lambda: list(itertools.islice(rest, LINES_AT_ONCE)), [])
        first = next(windows, None)
        if first is None:
            return BulkReport(done_before=done, answered=0, bad=0)
        windows = itertools.chain([first], windows)
        if engine == "ray":
            answers = _answer_with_ray(task, load, folder, model, windows, workers)
        else:
            answers = _answer_here(Answerer(task, load(), folder, model), windows)
        for window in answers:
            problems = [(n, problem) for n, (_, problem) in enumerate(window) if problem is not None]
            # Of a window with a bad line, strictly only what stands before it is kept.
            kept = window[: problems[0][0]] if problems and strict else window
            out_file.write("".join(f"{line}\n" for line, _ in kept).encode())
            out_file.flush()
            if problems and strict:
                n, problem = problems[0]
                raise ValueError(f"{source}, line {done + answered + n + 1}: {problem}")
            bad += len(problems)
            answered += len(window) - len(problems)
            on_progress(done + answered + bad)
    return BulkReport(done_before=done, answered=answered, bad=bad)


def _answer_here(answerer: Answerer, windows: Iterable[list[str]]) -> Iterator[list[Answered]]:
    """Answers of windows; photos of the next are opened while the network works on one."""
    ahead: deque[list[Future[_Asked | _Bad]]] = deque()
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="photos")
    try:
        for window in windows:
            ahead.append([pool.submit(answerer.prepare, line) for line in window])
            if len(ahead) == 2:
                yield answerer.answer([future.result() for future in ahead.popleft()])
        while ahead:
            yield answerer.answer([future.result() for future in ahead.popleft()])
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _answer_with_ray(
    task: Task,
    load: Callable[[], PointNetwork],
    folder: Path,
    model: str,
    windows: Iterable[list[str]],
    workers: int,
) -> Iterator[list[Answered]]:
    """Answers of windows, in order; each actor has one to work on and one waiting."""

    class Actor:
        def __init__(self) -> None:
            self.answerer = Answerer(task, load(), folder, model)

        def answer(self, window: list[str]) -> list[Answered]:
            return next(_answer_here(self.answerer, [window]))

    actors = start_actors(Actor, workers=workers)
    import ray

    running: deque[Any] = deque()
    for turn, window in enumerate(windows):
        running.append(actors[turn % workers].answer.remote(window))
        if len(running) == 2 * workers:
            yield ray.get(running.popleft())
    while running:
        yield ray.get(running.popleft())


def read_lines(file: BinaryIO) -> Iterator[str]:
    """Lines that are not blank; of one that is too long only the beginning."""
    while line := file.readline(MOST_LINE_BYTES):
        rest = line
        while len(rest) == MOST_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MOST_LINE_BYTES)
        if line.strip():
            yield line.decode("utf-8", errors="replace")


def _check_done(source: Path, out: Path, task: Task, model: str) -> int:
    """How many lines `out` answers already; a last line that was cut off by a kill is taken out.

    Nothing of a file that is not an answer to `source` is touched.
    """
    if not out.exists():
        return 0
    done, end, last, torn = 0, 0, b"", b""
    with out.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                done, end, last = done + 1, end + len(line), line
            else:
                torn = line
    with source.open("rb") as file:
        asked = list(itertools.islice(read_lines(file), max(0, done - 1), done + 1))
    before, after = (asked[:1], asked[1:]) if done else ([], asked)
    fits = len(before) == min(done, 1) and all(_is_answer(task, model, line, last) for line in before)
    if torn:
        fits = fits and any(_begins(task, model, line, torn) for line in after)
    if not fits:
        raise ValueError(
            f"{out} holds answers to another file, of another command or of another model; choose another --out"
        )
    if torn:
        os.truncate(out, end)
    return done


def _is_answer(task: Task, model: str, asked: str, line: bytes) -> bool:
    """Whether a line of `out` is the answer to a line of the input."""
    keys = {"describe": {"description"}, "localize": {"found_x", "found_y"}, "round-trip": {"description"}}[task]
    try:
        answer = json.loads(line)
        found = set(answer) & {"found_x", "found_y", "problem"}
        right = "problem" in found or (keys <= set(answer) and (task != "describe" or not found))
        return right and line.startswith(_beginning(task, model, asked))
    except (ValueError, TypeError):
        return False


def _begins(task: Task, model: str, asked: str, torn: bytes) -> bool:
    """Whether a torn line may be the beginning of the answer to a line of the input."""
    whole = _beginning(task, model, asked)
    return torn.startswith(whole) or whole.startswith(torn)


def _beginning(task: Task, model: str, asked: str) -> bytes:
    """What every answer to a line begins with."""
    try:
        record = _carried(task, _parse(asked))
    except ValueError:
        record = {}
    return json.dumps({**record, "model": model})[:-1].encode()


def _carried(task: Task, record: dict[str, Any]) -> dict[str, Any]:
    """What of a line goes into its answer."""
    kept = {"description"} if task == "localize" else set()
    return {key: value for key, value in record.items() if key not in ANSWER_KEYS or key in kept}


def _parse(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not a JSON line: {error}") from None
    except RecursionError:
        raise ValueError("not a JSON line: nested too deep") from None
    if not isinstance(record, dict):
        raise ValueError(
            f'expected an object such as {{"photo": "a.jpg", "x": 1, "y": 2}}, got {type(record).__name__}'
        )
    return record


def _photo_of(record: dict[str, Any]) -> str:
    photo = record.get("photo")
    if not isinstance(photo, str) or not photo or "\0" in photo:
        raise ValueError(f'"photo" must be a path, got {photo!r:.100}')
    return photo


def _point_of(record: dict[str, Any]) -> tuple[float, float]:
    for axis in ("x", "y"):
        value = record.get(axis)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f'"{axis}" must be a number of pixels, got {value!r:.100}')
    return float(record["x"]), float(record["y"])


def _text_of(record: dict[str, Any]) -> str:
    text = record.get("description")
    if not isinstance(text, str):
        raise ValueError(f'"description" must be a text, got {text!r:.100}')
    return text
