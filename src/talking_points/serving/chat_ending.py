"""Where a chat's answer ends: at its own end, before a text that the caller named, or after so many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from talking_points.model.prompts import Prompts

Reason = Literal["stop", "length"]


class Ending:
    """What `stop` and `max_tokens` make of an answer."""

    def __init__(self, stops: Sequence[str], most_tokens: int | None, prompts: Prompts | None) -> None:
        """
        Args:
            stops: texts that an answer ends before.
            most_tokens: longest answer; None: no limit.
            prompts: what counts the model's tokens, where they are known.

        Raises:
            ValueError: there is a limit, and nothing to count with.
        """
        if most_tokens is not None and prompts is None:
            raise ValueError("max_tokens: the tokens of this model are not known here; leave it out")
        self._stops, self._most, self._prompts = stops, most_tokens, prompts

    def cut(self, answer: str) -> tuple[str, Reason]:
        """An answer up to where it ends, and why it ends there."""
        kept = answer
        if self._most is not None and self._prompts is not None:
            kept = self._prompts.cut(answer, self._most)
        ends = [place for stop in self._stops if (place := kept.find(stop)) >= 0]
        if ends:
            return kept[: min(ends)], "stop"
        return kept, "stop" if kept == answer else "length"

    def sure(self, so_far: str) -> str:
        """Of an answer that is being written what stays whatever follows."""
        # A word that has not ended may still change: "photo '" becomes "photo's", and its tokens with it.
        known = so_far[: so_far.rfind(" ") + 1].rstrip()
        known, _ = self.cut(known)
        begun = [n for stop in self._stops for n in range(1, len(stop)) if known.endswith(stop[:n])]
        return known[: len(known) - max(begun, default=0)]
