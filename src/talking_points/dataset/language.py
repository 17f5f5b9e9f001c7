"""Who puts a point into words, in three roles: who sees the photo, who sees the surroundings, and who writes the text.

Rules fill every role offline; so does a model behind an endpoint, and our own Point Descriptor fills the first two.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np
from PIL import Image

from talking_points.dataset.checks import MAX_WORDS, find_problems
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.grammar import write_local_text, write_object_text, write_point_text, write_relations
from talking_points.dataset.places import DIALECTS, Dialect
from talking_points.dataset.scan import seed_of
from talking_points.dataset.settings import ROLES, BuildSettings
from talking_points.dataset.store import BuiltRecord
from talking_points.dataset.windows import CUT_SIDE_PX, cut_out
from talking_points.endpoint import Budget, Endpoint, EndpointConfig, RequestRefusedError, parse_endpoint
from talking_points.journal import Ledger
from talking_points.photos import open_photo
from talking_points.pointing.interfaces import Describer
from talking_points.pointing.pictures import ringed_photo

Level = Literal["object", "local"]
"""What a describer speaks of: the object, from the whole photo with the point; or the surroundings of the point."""

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


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stands where a text should be: a model refused to write it."""

    reason: str


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


def describe_by_rules(level: Level, open_photo: OpenPhoto, tasks: Sequence[PointTask]) -> list[str]:
    """Describe from facts alone; the photo is not opened."""
    # The level is part of the seed: the two texts about a point choose their words apart.
    if level == "object":
        return [write_object_text(t.facts, t.dialect, np.random.default_rng([t.seed, 1])) for t in tasks]
    return [write_local_text(t.facts, np.random.default_rng([t.seed, 2])) for t in tasks]


def describe_by_endpoint(
    level: Level, endpoint: Endpoint, open_photo: OpenPhoto, tasks: Sequence[PointTask]
) -> list[str | Refusal]:
    """Ask a model with vision, which sees the ringed photo or the faded cut-out; errors as `Endpoint.ask`."""
    photo = open_photo()
    said: list[str | Refusal] = []
    for task in tasks:
        names = {"object_name": task.facts.object_name, "part_name": task.facts.part_name}
        if level == "object":
            prompt = fill_prompt("object", relations=task.relations, **names)
            picture = ringed_photo(photo, task.facts.point_px, endpoint.config.photo_side_px)
        else:
            prompt, picture = fill_prompt("local", **names), cut_out(photo, task.facts.point_px)
        try:
            said.append(" ".join(endpoint.ask(prompt, [picture], seed=task.seed).split()))
        except RequestRefusedError as refusal:
            said.append(Refusal(str(refusal)))
    return said


def describe_by_descriptor(
    level: Level, describer: Describer, turn: threading.Lock, open_photo: OpenPhoto, tasks: Sequence[PointTask]
) -> list[str]:
    """Ask a model in this process, such as our own Point Descriptor; threads take turns.

    At the local level the model sees the faded cut-out only.
    """
    photo, points_px = open_photo(), [task.facts.point_px for task in tasks]
    with turn:
        if level == "object":
            return [*describer.describe(photo, points_px)]
        middle = CUT_SIDE_PX / 2
        return [describer.describe(cut_out(photo, point), [(middle, middle)])[0] for point in points_px]


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


# --- who fills the roles, and what they make of a photo's points --------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """Who describes and writes."""

    describe_object: Describe
    describe_local: Describe
    write: Write
    names: Mapping[str, Any]
    """Of each role, for the records: "rules" or the model's."""
    endpoints: tuple[Endpoint, ...]
    """Those that fill any of the roles."""


def endpoint_of(settings: BuildSettings, role: str) -> EndpointConfig | None:
    """How the model behind a role is reached; None where it is none behind an endpoint."""
    if settings.who(role)[0] != "endpoint":
        return None
    names = ("api_key_env", "timeout_s", "max_answer_tokens", "attempts", "backoff_s")
    how = {name: getattr(settings, name) for name in names}
    return parse_endpoint(getattr(settings, role), photo_side_px=settings.endpoint_photo_side_px, **how)


def names_of_roles(settings: BuildSettings) -> dict[str, str | None]:
    """Who fills each role, and the hash of the prompts where a model does: part of what a set depends on."""
    found = {role: endpoint_of(settings, role) for role in ROLES}
    # The model and not the address: a server may come back elsewhere.
    names = {role: getattr(settings, role) if who is None else f"endpoint:{who.model}" for role, who in found.items()}
    return {"prompts_sha256": prompts_sha256() if any(found.values()) else None, **names}


def open_roles(settings: BuildSettings, ledger: Ledger) -> Roles:
    """Load or reach what fills the roles: a ValueError or FileNotFoundError where there is no such model."""
    budget = Budget(max_requests=settings.max_requests, max_tokens=settings.max_tokens, spent=ledger.spent())
    found = {role: endpoint_of(settings, role) for role in ROLES}
    endpoints = {who: Endpoint(who, ledger, budget) for who in found.values() if who is not None}
    names = {role: settings.who(role)[1] or "rules" if who is None else who.model for role, who in found.items()}

    def describer(level: Level) -> Describe:
        role = f"{level}_describer"
        if (who := found[role]) is not None:
            return partial(describe_by_endpoint, level, endpoints[who])
        if settings.who(role)[0] == "rules":
            return partial(describe_by_rules, level)
        # It imports torch, which takes seconds.
        from talking_points.pointing.pretrained import load_roles

        model = load_roles(names[role], roles=("descriptor",))
        return partial(describe_by_descriptor, level, model, threading.Lock())

    all_by_rules = all(settings.who(f"{level}_describer")[0] == "rules" for level in ("object", "local"))
    by_rules, writer = write_by_rules if all_by_rules else join_by_rules, found["writer"]
    return Roles(
        describe_object=describer("object"),
        describe_local=describer("local"),
        write=by_rules if writer is None else partial(write_by_endpoint, endpoints[writer]),
        names=names,
        endpoints=tuple(endpoints.values()),
    )


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
        prompts_sha256=prompts_sha256() if roles.endpoints else None,
        **roles.names,
    )
    return told, written.rejected
