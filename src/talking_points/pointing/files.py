"""Files of many points or texts: a line in, a JSON line with its answer out, in order.

A line is in the one form of `samples`; its photo's path is relative to the file, other keys are carried along. Lines
stream through in windows: memory does not grow with the file. What OUT holds already is not done again.
"""

from __future__ import annotations

import itertools
import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from talking_points.fields import Fields
from talking_points.photos import decode_photo
from talking_points.pointing.prepared import Prepared
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.progress import OnNote, one_line, unheard
from talking_points.ray_actors import start_actors
from talking_points.sample_files import Line, read_samples
from talking_points.samples import ANSWER_KEYS, PhotoPoint, answer_as_json, point_of_record

Task = Literal["describe", "localize", "round-trip"]
Engine = Literal["local", "ray"]

ROLES: dict[Task, tuple[str, ...]] = {
    "describe": ("descriptor",),
    "localize": ("localizer",),
    "round-trip": ("descriptor", "localizer"),
}
LINES_AT_ONCE = 128
"""A window: its lines are answered together; fewer where a model holds fewer photos open. Ours."""
READERS = min(4, os.cpu_count() or 1)
"""Threads that open photos while the network works."""

Answered = tuple[str, str | None]
"""A line of the answers, and what was wrong with the one asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A line, its photo opened; or why it cannot be answered."""

    line: Line
    point: PhotoPoint = PhotoPoint()
    photo: Prepared | None = None
    problem: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkReport:
    """What became of a file's lines."""

    done_before: int
    answered: int
    bad: int
    bad_before: int = 0
    """Of those done before, the lines that could not be answered."""

    @property
    def exit_status(self) -> int:
        """0; 1 when some lines could not be answered; 2 when none could."""
        failed = self.bad + self.bad_before
        return 0 if not failed else 1 if failed < self.done_before + self.answered + self.bad else 2


class Answerer:
    """A model that answers windows of lines."""

    def __init__(self, task: Task, load: Callable[[], TalkingPoints], folder: Path, model: str) -> None:
        """
        Args:
            load: gives the model.
            folder: what photos' paths are relative to.
            model: name written into every answer.
        """
        self.task, self.folder, self.model = task, folder, model
        self.tp = load()

    def prepare(self, line: Line) -> _Asked:
        """Check a line and open its photo. Runs in any thread."""
        try:
            if line.problem is not None:
                raise ValueError(line.problem)
            point = point_of_record(line.record, wants_text=self.task == "localize")
            if point.text is not None:
                self.tp.check_text(point.text)
            assert point.photo is not None
            given = self.folder / point.photo if line.photo_bytes is None else decode_photo(line.photo_bytes)
            photo = self.tp.prepare(given)
            point.check_on(photo.size_wh)
        except (ValueError, OSError) as error:
            return _Asked(line=line, problem=one_line(error))
        return _Asked(line=line, point=point, photo=photo)

    def answer(self, window: Sequence[_Asked]) -> list[Answered]:
        """Answers of a window's lines, in their order."""
        answers = iter(self._answers([(one.photo, one.point) for one in window if one.photo is not None]))
        written: list[Answered] = []
        for one in window:
            answered = PhotoPoint(problem=one.problem) if one.photo is None else next(answers)
            answer = answer_as_json(answered)
            # What is carried along, such as the description that was looked for, stays unless the answer has its own.
            line = json.dumps({**_head(self.task, self.model, one.line), **answer}, allow_nan=False)
            written.append((line, answered.problem))
        return written

    def _answers(self, asked: Sequence[tuple[Any, PhotoPoint]]) -> list[PhotoPoint]:
        if self.task == "localize":
            found = self.tp.locate_many([(photo, point.text or "") for photo, point in asked])
            return [PhotoPoint().answered(one, photo.size_wh) for one, (photo, _) in zip(found, asked, strict=True)]
        pairs = [(photo, point.point_px or (0.0, 0.0)) for photo, point in asked]
        if self.task == "describe":
            return [PhotoPoint(description=text) for text in self.tp.describe_many(pairs)]
        return [trip.as_point() for trip in self.tp.round_trip_many(pairs)]


def run_bulk(
    task: Task,
    load: Callable[[], TalkingPoints],
    source: Path,
    out: Path,
    *,
    model: str,
    strict: bool = False,
    engine: Engine = "local",
    workers: int = 1,
    on_progress: Callable[[int], None] = unheard,
    on_note: OnNote = unheard,
    fields: Fields | None = None,
) -> BulkReport:
    """Answer the lines of a file that `out` does not hold yet.

    Args:
        load: gives the model, with the task's `ROLES`.
        source: JSON lines, CSV, Parquet or COCO keypoints; see `sample_files`.
        out: JSON lines, one for each of `source`; grows window by window.
        model: the model's name, written into every line.
        strict: a line that cannot be answered is a ValueError naming it, instead of a line with a "problem".
        engine: "local", or "ray" for actors with a model each on a cluster (that of RAY_ADDRESS, else this machine),
            whose machines see the photos under the same paths.
        workers: actors of Ray.
        on_progress: told the lines done, those of earlier runs counted.
        on_note: told once each what was assumed of the lines.
        fields: what the file's records call photo, point and text; None: as ours do.

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
    read = partial(read_samples, source, wants_text=task == "localize", fields=fields)
    done, bad_before = _check_done(read, out, task, model)
    answered = bad = 0
    with out.open("ab") as out_file:
        rest = itertools.islice(read(on_note=on_note), done, None)
        windows = iter(lambda: list(itertools.islice(rest, LINES_AT_ONCE)), [])
        first = next(windows, None)
        if first is None:
            return BulkReport(done_before=done, answered=0, bad=0, bad_before=bad_before)
        windows = itertools.chain([first], windows)
        if engine == "ray":
            answers = _answer_with_ray(partial(Answerer, task, load, folder, model), windows, workers)
        else:
            answers = _answer_here(Answerer(task, load, folder, model), windows)
        on_progress(done)
        for window in answers:
            problems = [(n, problem) for n, (_, problem) in enumerate(window) if problem is not None]
            # Of a window with a bad line, strictly only what stands before it is kept.
            kept = window[: problems[0][0]] if problems and strict else window
            out_file.write("".join(f"{line}\n" for line, _ in kept).encode())
            out_file.flush()
            if problems and strict:
                n, problem = problems[0]
                raise ValueError(f"{source}, line {json.loads(window[n][0])['line']}: {problem}")
            bad += len(problems)
            answered += len(window) - len(problems)
            on_progress(done + answered + bad)
    return BulkReport(done_before=done, answered=answered, bad=bad, bad_before=bad_before)


def _cut(windows: Iterable[list[Line]], lines: int) -> Iterator[list[Line]]:
    """The same lines in windows of at most so many."""
    return (window[start : start + lines] for window in windows for start in range(0, len(window), lines))


def _answer_here(answerer: Answerer, windows: Iterable[list[Line]]) -> Iterator[list[Answered]]:
    """Answers of windows; photos of the next are opened while the network works on one."""
    windows = _cut(windows, answerer.tp.descriptor.photos_at_once)
    ahead: deque[list[Future[_Asked]]] = deque()
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
    make: Callable[[], Answerer], windows: Iterable[list[Line]], workers: int
) -> Iterator[list[Answered]]:
    """Answers of windows, in order; each actor has one to work on and one waiting."""

    class Actor:
        def __init__(self) -> None:
            self.answerer = make()

        def answer(self, window: list[Line]) -> list[Answered]:
            return [answer for some in _answer_here(self.answerer, [window]) for answer in some]

    actors = start_actors(Actor, workers=workers)
    import ray

    running: deque[Any] = deque()
    for turn, window in enumerate(windows):
        running.append(actors[turn % workers].answer.remote(window))
        if len(running) == 2 * workers:
            yield ray.get(running.popleft())
    while running:
        yield ray.get(running.popleft())


def _check_done(read: Callable[[], Iterator[Line]], out: Path, task: Task, model: str) -> tuple[int, int]:
    """How many lines `out` answers already, and how many of them are problems; a last line that was cut off is dropped.

    Nothing of a file that is not an answer to the lines that are read is touched.
    """
    if not out.exists():
        return 0, 0
    # What the answers to the lines, in order, begin with.
    heads = (json.dumps(_head(task, model, line))[:-1].encode() for line in read())
    done, bad, end, last, torn, fits = 0, 0, 0, b"", b"", True
    with out.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                torn = line
                break
            done, end, last = done + 1, end + len(line), line
            bad += b'"problem": ' in line and "problem" in _parsed(line)
            head = next(heads, None)
            fits = head is not None and line.startswith(head)
            if not fits:
                break
    if fits and torn:
        fits = any(torn.startswith(head) or head.startswith(torn) for head in itertools.islice(heads, 1))
    if not fits or (last and not _is_answer(task, _parsed(last))):
        raise ValueError(
            f"{out} holds answers to another file, of another command or of another model, or its input has changed: "
            f"line {done + bool(torn)} is no answer to what is asked there now; choose another --out"
        )
    if torn:
        os.truncate(out, end)
    return done, bad


def _parsed(line: bytes) -> dict[str, Any]:
    """A JSON object; an empty one for anything else."""
    try:
        answer = json.loads(line)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_answer(task: Task, answer: Mapping[str, Any]) -> bool:
    """Whether it is this command's."""
    found, said = answer.get("found_x") is not None or answer.get("there") == 0, answer.get("description")
    right = {
        "describe": said is not None and not found,
        "localize": found and "error" not in answer,
        "round-trip": said == "" or (said is not None and "error" in answer),
    }
    return "problem" in answer or right[task]


def _head(task: Task, model: str, line: Line) -> dict[str, Any]:
    """What of a line goes into its answer, its number and the model's name."""
    # A description that was looked for stays beside the text.
    kept = ANSWER_KEYS - {"description"} if task == "localize" else ANSWER_KEYS
    carried = {key: value for key, value in line.record.items() if key not in kept}
    return {**carried, "line": line.number, "model": model}
