"""A point put into words, in three roles: who sees the photo, who sees the surroundings, and who writes the text.

Here are what the roles are given, the writers, and the way through all three; `describers` has the first two roles, and
`roles` says who fills each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from talking_points.dataset.checks import MAX_WORDS, find_problems
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.grammar import write_point_text, write_relations
from talking_points.dataset.places import DIALECTS, Dialect
from talking_points.dataset.scan import seed_of
from talking_points.dataset.store import BuiltRecord
from talking_points.endpoint import Endpoint, RequestRefusedError
from talking_points.photos import open_photo
from talking_points.pointing.stock import Refusal

OpenPhoto = Callable[[], Image.Image]
PROMPTS = Path(__file__).with_name("prompts")


@dataclass(frozen=True, kw_only=True, slots=True)
class PointTask:
    """One point to be put into words."""

    facts: PointFacts
    dialect: Dialect
    relations: str
    """Where the point is, in words, as exact as the dialect allows: measured, and the same for all who ask."""
    seed: int
    """Of this point: every choice about it follows from this number alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What became of one point."""

    draft: str
    """After the first stage, generate."""
    text: str
    """After the last, refine; of a rejected point, what it was rejected for."""
    rejected: str | None = None
    """Why the text cannot be a record; None when it can."""


Describe = Callable[[OpenPhoto, Sequence[PointTask]], Sequence[str | Refusal]]
"""Describes points of one photo: a text for each, in their order, empty when nothing was said. The first argument gives
the RGB photo, upright, to who looks at it."""
Write = Callable[[PointTask, str, str], Written]
"""Makes one text of a point's facts, the description of its object and that of its surroundings."""


def write_by_rules(task: PointTask, object_description: str, local_description: str) -> Written:
    """Write with the grammar alone, which says what the rules' descriptions say better in one piece.

    Every phrasing is checked by its tests, so one stage is both.
    """
    text = write_point_text(task.facts, task.dialect, np.random.default_rng([task.seed, 3]))
    return Written(draft=text, text=text)


def join_by_rules(task: PointTask, object_description: str, local_description: str) -> Written:
    """The relations and then the descriptions by models, each as a sentence of its own."""
    sentences = [task.relations, *([object_description, local_description] if task.dialect.local else [])]
    said = [" ".join(sentence.split()) for sentence in sentences if sentence.strip()]
    text = " ".join(one if one[-1] in ".!?" else f"{one}." for one in said)
    problems = find_problems(text, task.facts, task.dialect)
    return Written(draft=text, text=text, rejected="; ".join(problems) or None)


def write_by_endpoint(endpoint: Endpoint, task: PointTask, object_description: str, local_description: str) -> Written:
    """Ask a language model twice, generate then refine; once more when the checks find a problem.

    A text that is no good is rejected; `EndpointDownError` and `BudgetSpentError` pass through.
    """
    known = {
        "object_name": task.facts.object_name,
        "part_name": task.facts.part_name,
        "relations": task.relations,
        "dialect": fill_prompt(f"dialect_{task.dialect.name}"),
        "max_words": str(MAX_WORDS[task.dialect.length]),
        "object_description": object_description or "nothing is known",
        "local_description": local_description or "nothing is known",
    }

    def ask(prompt: str, **more: str) -> str:
        return endpoint.ask(fill_prompt(prompt, **known, **more), (), seed=task.seed)

    draft = text = ""
    try:
        draft = text = ask("generate")
        text = ask("refine", draft=draft)
        problems = find_problems(text, task.facts, task.dialect)
        if problems:
            text = ask("repair", problems="; ".join(problems), text=text or "(empty)")
            problems = find_problems(text, task.facts, task.dialect)
    except RequestRefusedError as refusal:
        problems = [str(refusal)]
    return Written(draft=draft, text=text.strip(), rejected="; ".join(problems) or None)


@cache
def _read_prompt(name: str) -> str:
    return (PROMPTS / f"{name}.txt").read_text(encoding="utf-8")


def fill_prompt(name: str, **words: str) -> str:
    """The text of `prompts/<name>.txt` with its `$words` filled in; each must be given, and more may be."""
    return Template(_read_prompt(name)).substitute(words).strip()


def prompts_sha256() -> str:
    """One hash over all prompts: equal hashes asked equal questions."""
    whole = hashlib.sha256()
    for name in sorted(path.stem for path in PROMPTS.glob("*.txt")):
        whole.update(f"{name}\n{_read_prompt(name)}\n".encode())
    return whole.hexdigest()


# --- what the roles make of a photo's points ----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """Who describes and writes; `roles.open_roles` gives them."""

    describe_object: Describe
    describe_local: Describe
    write: Write
    names: Mapping[str, Any]
    """Of each role, for the records: "rules" or the model's."""
    endpoints: tuple[Endpoint, ...]
    """Those that fill any of the roles."""
    prompts_sha256: str | None
    """Of the prompts, where any role is asked with them."""


def put_into_words(
    path: Path, points: Sequence[tuple[BuiltRecord, PointFacts]], roles: Roles, dialects: Sequence[str]
) -> list[tuple[BuiltRecord, str | None]]:
    """Write about points of one photo, which is opened where a model looks at it.

    Args:
        points: records without texts, and what was measured of each.
        dialects: keys of `places.DIALECTS`; of several, each record gets one.

    Returns:
        For each point the record with its texts, and why it cannot be one; None where it can.
    """
    tasks = [_task(record, facts, dialects) for record, facts in points]
    opened = cache(lambda: open_photo(path))
    objects, surroundings = roles.describe_object(opened, tasks), roles.describe_local(opened, tasks)
    return [
        _written(record, task, described, roles)
        for (record, _), task, *described in zip(points, tasks, objects, surroundings, strict=True)
    ]


def _task(record: BuiltRecord, facts: PointFacts, dialects: Sequence[str]) -> PointTask:
    seed = seed_of(record.record_id, record.seed)
    dialect = DIALECTS[dialects[seed % len(dialects)]]
    relations = write_relations(facts, dialect, np.random.default_rng([seed, 0]))
    return PointTask(facts=facts, dialect=dialect, relations=relations, seed=seed)


def _written(
    record: BuiltRecord, task: PointTask, described: Sequence[str | Refusal], roles: Roles
) -> tuple[BuiltRecord, str | None]:
    of_object, of_point = (said if isinstance(said, str) else "" for said in described)
    refused = next((said.reason for said in described if isinstance(said, Refusal)), None)
    written = Written(draft="", text="", rejected=refused)
    if refused is None:
        written = roles.write(task, of_object, of_point)
    told = replace(
        record,
        text=written.text,
        draft=written.draft,
        relations=task.relations,
        object_description=of_object,
        local_description=of_point,
        dialect=task.dialect.name,
        prompts_sha256=roles.prompts_sha256,
        **roles.names,
    )
    return told, written.rejected
