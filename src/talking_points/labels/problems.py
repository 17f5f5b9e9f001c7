"""What is wrong with somebody's labels: which file, which record, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that cannot be read as it stands. Its text is one line."""

    file: str
    """The file to mend, as the user would write its path."""
    record: str
    """What in it: "annotation 17 of 0002.jpg", "image 5"; "" is the whole file."""
    problem: str
    """What was found, and what was expected."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        where = f"{self.file}: {self.record}" if self.record else self.file
        return f"{where}: {self.problem}; {self.remedy}"


class LabelError(ValueError):
    """Labels that cannot be used. The message is the first problem, and how many more there are."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """`problems`: one or more."""
        self.problems = tuple(problems)
        more = len(self.problems) - 1
        rest = f" (and {more} more: build-dataset --check lists all)" if more else ""
        super().__init__(f"{self.problems[0]}{rest}")


def problem_of(file: object, record: str, problem: str, remedy: str) -> Problem:
    """A problem of a file, given by its path."""
    return Problem(file=str(file), record=record, problem=problem, remedy=remedy)


def refuse(file: object, record: str, problem: str, remedy: str) -> LabelError:
    """The error of one problem, to be raised."""
    return LabelError([problem_of(file, record, problem, remedy)])
