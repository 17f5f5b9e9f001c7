"""The same facts in other words: does a score depend on the judge's dialect?

Some styles are made of a text alone, whoever wrote it. Others are written anew from a sample's facts, where it has
them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.places import DIALECTS, Dialect
from talking_points.evaluation.samples import Sample
from talking_points.files import read_table

_CARS = re.compile(r"\b(?:bus|car|truck|van|vehicle)(?:e?s)?\b", re.IGNORECASE)
_THE_POINT = re.compile(
    r"\b((?:the|this)\s(?:marked\s|exact\s)?)(?:point|(?:mark|spot)(?=\s(?:is|lies|sits)\b))\b", re.IGNORECASE
)
"""The one that is described; a mark or a spot may also be seen."""
_WORDS: dict[str, Any] = read_table(Path(__file__).with_name("style_words.json"))


def reworded(text: str, kind: str) -> str:
    """Other words for the same things. kind: "british" spelling and words, or "synonyms".

    Example:
        >>> reworded("Below the center of the gray car's hood.", "british"), reworded("the hood of his coat", "british")
        ("Below the centre of the grey car's bonnet.", 'the hood of his coat')
        >>> reworded("the point is slightly above the white spot in the middle of the car.", "synonyms")
        'the location is a little above the white spot in the midpoint of the automobile.'
    """

    is_of_cars = _CARS.search(text) is not None

    def other(match: re.Match[str]) -> str:
        word = match.group()
        found: str = _WORDS[kind].get(word.lower(), word)
        if word.lower() in _WORDS["of_cars"] and not is_of_cars:
            return word
        return found.capitalize() if word[0].isupper() and found is not word else found

    text = _THE_POINT.sub(r"\1location", text) if kind == "synonyms" else text
    return re.sub(r"[A-Za-z]+", other, text)


def one_sentence(text: str) -> str:
    """All sentences strung together.

    Example:
        >>> one_sentence("It is on the car. The paint is white.")
        'It is on the car; the paint is white.'
    """
    sentences = _sentences(text)
    return "; ".join([sentences[0], *(s[:1].lower() + s[1:] for s in sentences[1:])]) + "." if sentences else text


def fine_to_coarse(text: str) -> str:
    """Sentences, and the clauses in them, in reverse order. A clause that begins with "which" stays behind its noun.

    Example:
        >>> fine_to_coarse("It is on the car, on the hood. The paint is white.")
        'The paint is white. on the hood, It is on the car.'
    """
    turned = []
    for sentence in reversed(_sentences(text)):
        clauses: list[str] = []
        for clause in sentence.split(", "):
            if clauses and clause.startswith(("which ", "who ", "about ", "slightly ")):
                clauses[-1] += f", {clause}"
            else:
                clauses.append(clause)
        turned.append(", ".join(reversed(clauses)))
    return ". ".join(turned) + "." if turned else text


def telegraphic(text: str) -> str:
    """Without articles, verbs of being and the like; nothing is left out where that would leave nothing.

    Example:
        >>> telegraphic("The point is on the black car, on its own left door.")
        'on black car, on left door.'
    """
    sentences = []
    for sentence in _sentences(text):
        clauses = (
            " ".join(w for w in clause.split() if w.lower() not in _WORDS["dropped"]) for clause in sentence.split(", ")
        )
        sentences.append(", ".join(clause for clause in clauses if clause))
    return ". ".join(s for s in sentences if s) + "." if any(sentences) else text


REWORDINGS: Mapping[str, Callable[[str], str]] = {
    "british": partial(reworded, kind="british"),
    "synonyms": partial(reworded, kind="synonyms"),
    "one-sentence": one_sentence,
    "fine-to-coarse": fine_to_coarse,
    "telegraphic": telegraphic,
}
"""Styles of any text."""
REWRITINGS: Mapping[str, Dialect] = {
    "short": DIALECTS["short"],
    "coarse": DIALECTS["coarse"],
    "place-free": DIALECTS["place-free"],
    "written fine-to-coarse": replace(DIALECTS["paper"], order="fine-to-coarse"),
}
"""Styles that are written from a sample's facts."""


def styled_texts(samples: Sequence[Sample], texts: Sequence[str], *, written: bool, seed: int) -> dict[str, list[str]]:
    """Texts in every style that rules can give them.

    Args:
        samples: what the texts are about.
        texts: one a sample.
        written: the texts say the samples' facts, so that styles that are written from facts may stand beside them.
        seed: of the wording.
    """
    styled = {name: [reword(text) for text in texts] for name, reword in REWORDINGS.items()}
    if written and all(sample.facts is not None for sample in samples):
        for name, dialect in REWRITINGS.items():
            styled[name] = [
                write_point_text(sample.facts, dialect, np.random.default_rng([seed, index]))
                for index, sample in enumerate(samples)
                if sample.facts is not None
            ]
    return styled


def _sentences(text: str) -> list[str]:
    return [sentence for part in re.split(r"\.\s+", text.strip()) if (sentence := part.strip().rstrip("."))]
