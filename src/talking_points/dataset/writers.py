"""Synthesis in two stages, generate and refine: from all that is known of a point to the text of its record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from talking_points.dataset.checks import MAX_WORDS, find_problems
from talking_points.dataset.describers.describer import PointTask
from talking_points.dataset.describers.endpoint import Endpoint, RequestRefusedError
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.prompts import fill_prompt


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What became of one point."""

    draft: str
    """After the first stage."""
    text: str
    """After the last; of a rejected point, what it was rejected for."""
    rejected: str | None = None
    """Why the text cannot be a record; None when it can."""


class Writer(Protocol):
    """Makes one text of a point's facts and its two descriptions."""

    @property
    def name(self) -> str:
        """Goes into the records: "rules", or the model's name."""
        ...

    def write(self, task: PointTask, object_description: str, local_description: str) -> Written:
        """Write about one point. Nothing is raised for a text that is no good: it is marked as rejected."""
        ...


class RuleWriter:
    """Writes with the grammar of `synthesis`: every phrasing is checked by its tests, so one stage is both."""

    name = "rules"

    def __init__(self, *, describers_are_rules: bool) -> None:
        """`describers_are_rules`: the descriptions are the grammar's own, which says them better in one piece."""
        self._describers_are_rules = describers_are_rules

    def write(self, task: PointTask, object_description: str, local_description: str) -> Written:
        """See `Writer`. Descriptions by a model follow the relations, each as a sentence of its own."""
        if self._describers_are_rules:
            text = write_point_text(task.facts, task.dialect, np.random.default_rng([task.seed, 3]))
            return Written(draft=text, text=text)
        sentences = [task.relations]
        if task.dialect.local:
            sentences += [object_description, local_description]
        text = " ".join(_as_sentence(sentence) for sentence in sentences if sentence.strip())
        problems = find_problems(text, task.facts, task.dialect)
        return Written(draft=text, text=text, rejected="; ".join(problems) or None)


class EndpointWriter:
    """Asks a language model twice, generate then refine; once more when the checks find a problem."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.name = endpoint.config.model

    def write(self, task: PointTask, object_description: str, local_description: str) -> Written:
        """See `Writer`; `EndpointDownError` and `BudgetSpentError` pass through."""
        facts = task.facts
        known = {
            "object_name": facts.object_name,
            "part_name": facts.part_name,
            "relations": task.relations,
            "dialect": fill_prompt(f"dialect_{task.dialect.name}"),
        }
        max_words = str(MAX_WORDS[task.dialect.length])
        local = local_description or "nothing is known"
        draft = text = ""
        try:
            prompt = fill_prompt(
                "generate",
                object_description=object_description or "nothing is known",
                local_description=local,
                **known,
            )
            draft = text = self._endpoint.ask(prompt, None, seed=task.seed)
            text = self._endpoint.ask(
                fill_prompt("refine", draft=draft, max_words=max_words, **known), None, seed=task.seed
            )
            problems = find_problems(text, facts, task.dialect)
            if problems:
                repair = fill_prompt(
                    "repair",
                    problems="; ".join(problems),
                    text=text or "(empty)",
                    local_description=local,
                    max_words=max_words,
                    **known,
                )
                text = self._endpoint.ask(repair, None, seed=task.seed)
                problems = find_problems(text, facts, task.dialect)
        except RequestRefusedError as refusal:
            problems = [str(refusal)]
        return Written(draft=draft, text=text.strip(), rejected="; ".join(problems) or None)


def _as_sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text[-1] in ".!?" else f"{text}."
