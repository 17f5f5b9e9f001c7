"""What models answered so far: asked window by window, and kept, so that a killed run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.evaluation.protocol import Located, check_asked, describe_samples, locate_texts
from talking_points.evaluation.samples import Sample, by_photo
from talking_points.files import read_json, sha256_of, write_whole
from talking_points.pointing.interfaces import Describer, Localizer
from talking_points.progress import OnProgress, unheard

FORM = 2
"""Of the file; one of another form is refused."""
PHOTOS_AT_ONCE = 64
"""Photos that are opened, described and searched together; what is lost when a run is killed."""


def check_begun(out: Path, of: Mapping[str, Any]) -> None:
    """A ValueError where a folder holds answers, or a report, of anything else; it names the first that differs.

    of: as `KeptAnswers` takes it.
    """
    given = json.loads(json.dumps({"form": FORM, **of}))
    begun = _begun(out, given)
    # In the order given: what a run is of comes first. Who skips a sample may describe it later, in the same file.
    for name in [one for one in {**given, **begun} if begun and one != "skipped"]:
        if begun.get(name) != given.get(name):
            there, now = _told(begun.get(name), given.get(name)), _told(given.get(name), begun.get(name))
            raise ValueError(
                f"{out} holds an evaluation with {name} {there}, now it is {now}: repeat the first command, or give "
                "another --out"
            )


def _begun(out: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the evaluation in a folder is of, in the answers' first line or else in the report; empty without any."""
    path, report = out / "answers.jsonl", out / "report.json"
    head = next(iter(path.read_bytes().splitlines(keepends=True)), b"") if path.is_file() else b""
    # A run that was killed while it wrote left part of a line.
    if head.endswith(b"\n"):
        try:
            return dict(json.loads(json.loads(head)))
        except (ValueError, TypeError):
            raise ValueError(f"{path} holds no answers of an evaluation; give another --out") from None
    if not report.is_file():
        return {}
    told = {"form": FORM, **read_json(report)}
    if not given.keys() <= told.keys():
        raise ValueError(f"{report} is no report of such an evaluation; give another --out")
    return {name: told[name] for name in given}


def _told(value: Any, other: Any) -> str:
    """A value for people; of what has several parts, those that the other one has not."""
    if isinstance(value, dict) and isinstance(other, dict) and value.keys() == other.keys():
        differ = {name: one for name, one in value.items() if one != other[name]}
        told = {name: _told(one, other[name]) for name, one in differ.items()}
        return ", ".join(
            f"{name} ({told[name]})" if isinstance(differ[name], dict) else f"{name} {told[name]}" for name in differ
        )
    if isinstance(value, dict | list):
        return ", ".join(map(str, value))
    return "none" if value in (None, "") else str(value)


class KeptAnswers:
    """Answers in a file of JSON lines, which a run of anything else refuses (`check_begun`). A context manager.

    A run in which other samples are skipped begins them anew.
    """

    def __init__(self, out: Path, of: Mapping[str, Any], on_progress: OnProgress = unheard) -> None:
        """out: the run's folder. of: all that the answers depend on."""
        check_begun(out, of)
        out.mkdir(parents=True, exist_ok=True)
        self._path, self._on_progress = out / "answers.jsonl", on_progress
        self._head = f"{json.dumps(json.dumps({'form': FORM, **of}, sort_keys=True))}\n".encode()
        self._known: dict[tuple[str, str], list[Any]] = {}

    def __enter__(self) -> KeptAnswers:
        lines = self._path.read_bytes().splitlines(keepends=True) if self._path.is_file() else []
        # A run that was killed while it wrote left part of a line.
        kept = [line for line in lines if line.endswith(b"\n")] if lines[:1] == [self._head] else [self._head]
        for line in kept[1:]:
            stage, window, values = json.loads(line)
            self._known[stage, window] = values
        write_whole(self._path, b"".join(kept))
        self._file = self._path.open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def texts(self, stage: str, describer: Describer, samples: Sequence[Sample]) -> list[str]:
        """A describer's text of each sample."""
        return self._of(stage, stage, samples, partial(describe_samples, describer))

    def points(self, stage: str, localizer: Localizer, samples: Sequence[Sample], texts: Sequence[str]) -> Located:
        """What a localizer finds from texts, one a sample, as `locate_texts`."""
        check_asked(stage, localizer, samples, texts)
        text_of = {s.sample_id: text for s, text in zip(samples, texts, strict=True)}

        def find(window: Sequence[Sample]) -> list[Any]:
            found = locate_texts(localizer, window, [text_of[s.sample_id] for s in window])
            columns = (found.points_px.tolist(), found.there.tolist(), found.unreadable.tolist())
            # JSON has no NaN.
            return [
                [None if np.isnan(value) else float(value) for value in (*point_px, is_there, is_unreadable)]
                for point_px, is_there, is_unreadable in zip(*columns, strict=True)
            ]

        # Texts of a file may have changed since an earlier run.
        version = sha256_of(list(texts))[:16]
        found = self._of(stage, f"{stage} {version}", samples, find)
        values = np.array(found, float).reshape(-1, 4)
        return Located(points_px=values[:, :2], there=values[:, 2], unreadable=values[:, 3] > 0)

    def _of(
        self, stage: str, name: str, samples: Sequence[Sample], ask: Callable[[Sequence[Sample]], list[Any]]
    ) -> list[Any]:
        answers: dict[str, Any] = {}
        windows = [((name, window[0].sample_id), window) for window in _windows(samples)]
        done = sum(len(window) for key, window in windows if key in self._known)
        # Before the first answer, too, which may take a while.
        self._on_progress(stage, done, len(samples))
        for key, window in windows:
            if key not in self._known:
                self._known[key] = ask(window)
                self._file.write(f"{json.dumps([*key, self._known[key]])}\n".encode())
                self._file.flush()
                done += len(window)
                self._on_progress(stage, done, len(samples))
            answers |= zip((s.sample_id for s in window), self._known[key], strict=True)
        return [answers[s.sample_id] for s in samples]


def _windows(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    groups = by_photo(samples)
    for start in range(0, len(groups), PHOTOS_AT_ONCE):
        yield [sample for group in groups[start : start + PHOTOS_AT_ONCE] for sample in group]
