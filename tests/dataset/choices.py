"""Every wording that the grammar may choose, one after the other."""

from __future__ import annotations

from collections.abc import Callable


class Tape:
    """Stands in for numpy's generator: gives the choices written on it, then the first of each, and notes how many."""

    def __init__(self, choices: list[int]) -> None:
        self.choices = choices
        self.options: list[int] = []

    def integers(self, count: int) -> int:
        """The next choice of `count`."""
        self.options.append(count)
        place = len(self.options) - 1
        return self.choices[place] if place < len(self.choices) else 0

    def random(self) -> float:
        """Below every share, or above."""
        return (0.0, 0.999999)[self.integers(2)]


def all_ways(say: Callable[[Tape], str | None]) -> set[str | None]:
    """All texts that `say` can give, whatever its generator chooses."""
    said = set()
    choices: list[int] = []
    while True:
        tape = Tape(choices)
        said.add(say(tape))
        choices = [*choices, *[0] * (len(tape.options) - len(choices))]
        # Count on: the last choice that has another option takes it, those behind it begin again.
        while choices and choices[-1] + 1 == tape.options[len(choices) - 1]:
            choices.pop()
        if not choices:
            return said
        choices[-1] += 1
