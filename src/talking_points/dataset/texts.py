"""Putting the points of a photo into words: who fills the three roles of language, and what they make of each point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from talking_points.dataset.facts import PointFacts
from talking_points.dataset.grammar import write_relations
from talking_points.dataset.language import (
    DescriptorDescriber,
    EndpointDescriber,
    EndpointWriter,
    Level,
    PhotoDescriber,
    PointTask,
    Refusal,
    RuleDescriber,
    RuleWriter,
    Writer,
    prompts_sha256,
)
from talking_points.dataset.places import DIALECTS
from talking_points.dataset.scan import seed_of
from talking_points.dataset.settings import ROLES, BuildSettings
from talking_points.dataset.store import BuiltRecord
from talking_points.endpoint import Budget, Endpoint, EndpointConfig
from talking_points.journal import Ledger
from talking_points.photos import open_photo


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """Who describes and writes."""

    object_describer: PhotoDescriber
    local_describer: PhotoDescriber
    writer: Writer
    endpoints: tuple[Endpoint, ...]
    """Those that fill any of the roles."""


def endpoint_of(settings: BuildSettings, role: str) -> EndpointConfig | None:
    """How the model behind a role is reached; None where it is none behind an endpoint."""
    kind, who = settings.who(role)
    if kind != "endpoint":
        return None
    url, _, model = who.rpartition(",")
    return EndpointConfig(
        url=url.strip(),
        model=model.strip(),
        api_key_env=settings.api_key_env,
        timeout_s=settings.timeout_s,
        max_answer_tokens=settings.max_answer_tokens,
        attempts=settings.attempts,
        backoff_s=settings.backoff_s,
        photo_side_px=settings.endpoint_photo_side_px,
    )


def names_of_roles(settings: BuildSettings) -> dict[str, str | None]:
    """Who fills each role, and the hash of the prompts where a model does: part of what a set depends on."""
    found = {role: endpoint_of(settings, role) for role in ROLES}
    # The model and not the address: a server may come back elsewhere.
    names = {role: getattr(settings, role) if who is None else f"endpoint:{who.model}" for role, who in found.items()}
    return {"prompts_sha256": prompts_sha256() if any(found.values()) else None, **names}


def open_roles(settings: BuildSettings, ledger: Ledger) -> Roles:
    """Load or reach what fills the roles.

    Raises:
        ValueError, FileNotFoundError: a setting of an endpoint is wrong, or there is no such model.
    """
    budget = Budget(max_requests=settings.max_requests, max_tokens=settings.max_tokens, spent=ledger.spent())
    endpoints: dict[EndpointConfig, Endpoint] = {}

    def reached(role: str) -> Endpoint | None:
        who = endpoint_of(settings, role)
        return None if who is None else endpoints.setdefault(who, Endpoint(who, ledger, budget))

    def describer(level: Level) -> PhotoDescriber:
        if (endpoint := reached(f"{level}_describer")) is not None:
            return EndpointDescriber(level, endpoint)
        kind, name = settings.who(f"{level}_describer")
        return RuleDescriber(level) if kind == "rules" else DescriptorDescriber.from_pretrained(level, name)

    describers = [describer("object"), describer("local")]
    writes = reached("writer")
    by_rules = RuleWriter(describers_are_rules=all(one.name == "rules" for one in describers))
    return Roles(
        object_describer=describers[0],
        local_describer=describers[1],
        writer=by_rules if writes is None else EndpointWriter(writes),
        endpoints=tuple(endpoints.values()),
    )


def put_into_words(
    path: Path, points: Sequence[tuple[BuiltRecord, PointFacts]], roles: Roles, dialects: Sequence[str]
) -> list[tuple[BuiltRecord, str | None]]:
    """Write about points of one photo.

    Args:
        path: of the photo, which is opened where a model looks at it.
        points: records without texts, and what was measured of each.
        roles: who describes and writes.
        dialects: keys of `places.DIALECTS`; of several, each record gets one.

    Returns:
        For each point the record with its texts, and why it cannot be one; None where it can.
    """
    tasks = [_task(record, facts, dialects) for record, facts in points]
    opened = cache(lambda: open_photo(path))
    objects = roles.object_describer.describe(opened, tasks)
    locals_ = roles.local_describer.describe(opened, tasks)
    return [
        _written(record, task, of_object, of_point, roles)
        for (record, _), task, of_object, of_point in zip(points, tasks, objects, locals_, strict=True)
    ]


def _task(record: BuiltRecord, facts: PointFacts, dialects: Sequence[str]) -> PointTask:
    seed = seed_of(record.record_id, record.seed)
    dialect = DIALECTS[dialects[seed % len(dialects)]]
    relations = write_relations(facts, dialect, np.random.default_rng([seed, 0]))
    return PointTask(record_id=record.record_id, facts=facts, dialect=dialect, relations=relations, seed=seed)


def _written(
    record: BuiltRecord, task: PointTask, of_object: str | Refusal, of_point: str | Refusal, roles: Roles
) -> tuple[BuiltRecord, str | None]:
    object_description = of_object if isinstance(of_object, str) else ""
    local_description = of_point if isinstance(of_point, str) else ""
    refusals = [said.reason for said in (of_object, of_point) if isinstance(said, Refusal)]
    draft, text, rejected = "", "", refusals[0] if refusals else None
    if not refusals:
        written = roles.writer.write(task, object_description, local_description)
        draft, text, rejected = written.draft, written.text, written.rejected
    described = replace(
        record,
        text=text,
        draft=draft,
        relations=task.relations,
        object_description=object_description,
        local_description=local_description,
        dialect=task.dialect.name,
        object_describer=roles.object_describer.name,
        local_describer=roles.local_describer.name,
        writer=roles.writer.name,
        prompts_sha256=prompts_sha256() if roles.endpoints else None,
    )
    return described, rejected
