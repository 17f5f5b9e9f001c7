"""Who fills the three roles of a build: found and checked before any work, then loaded or reached."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from talking_points.dataset.describers import (
    Level,
    describe_by_descriptor,
    describe_by_endpoint,
    describe_by_rules,
    describe_by_stock_model,
)
from talking_points.dataset.language import (
    Describe,
    Roles,
    join_by_rules,
    prompts_sha256,
    write_by_endpoint,
    write_by_rules,
)
from talking_points.dataset.settings import ROLES, BuildSettings
from talking_points.endpoint import Budget, Endpoint, EndpointConfig, parse_endpoint
from talking_points.journal import Ledger
from talking_points.pointing.pretrained import find_model, load_roles, stock_family


@dataclass(frozen=True, kw_only=True, slots=True)
class Filler:
    """Who fills a role."""

    kind: str
    """ "rules", "endpoint", "descriptor", "caption", or "stock": a descriptor that is asked in words."""
    name: str
    """The model's; "" of rules."""
    endpoint: EndpointConfig | None = None


def find_fillers(settings: BuildSettings) -> dict[str, Filler]:
    """Who fills each of `ROLES`. Of a model in this process nothing but its config is read; a Hub id is downloaded.

    Raises:
        ValueError, FileNotFoundError: there is no such model, or it cannot describe; the message names the role.
    """
    return {role: _filler(settings, role) for role in ROLES}


def _filler(settings: BuildSettings, role: str) -> Filler:
    kind, name = settings.who(role)
    if kind == "endpoint":
        names = ("api_key_env", "timeout_s", "max_answer_tokens", "attempts", "backoff_s")
        how = {key: getattr(settings, key) for key in names}
        where = parse_endpoint(getattr(settings, role), photo_side_px=settings.endpoint_photo_side_px, **how)
        return Filler(kind=kind, name=where.model, endpoint=where)
    if kind == "rules":
        return Filler(kind=kind, name="")
    try:
        return Filler(kind=_checked_kind(kind, name), name=name)
    except ValueError as error:
        raise ValueError(f"{role} {kind}:{name}: {error}") from None


def _checked_kind(kind: str, name: str) -> str:
    """ "stock" for a stock model's folder; a ValueError where a model cannot do what the kind says."""
    folder = find_model(name)
    assert isinstance(folder, Path)  # An endpoint is no name that the settings let through.
    if (family := stock_family(folder)) is not None:
        if kind == "caption":
            raise ValueError(f"a stock model ({family}) has no base whose caption could be asked for; give descriptor:")
        # `find_model` knows the family, or has refused it.
        return "stock"
    from talking_points.bases.loading import is_stock
    from talking_points.model.checkpoint import read_config

    if not is_stock(folder):
        read_config(folder)
    elif kind == "caption":
        raise ValueError("the checkpoint stands on a stock model, whose caption cannot be asked for; give descriptor:")
    if kind == "descriptor" and not (folder / "descriptor").is_dir():
        raise ValueError(
            "the checkpoint has no descriptor: give one in which a descriptor was trained, or as the object describer "
            "caption:MODEL, what its base says of the object"
        )
    return kind


def names_of_roles(settings: BuildSettings, fillers: Mapping[str, Filler]) -> dict[str, str | None]:
    """Who fills each role, and the hash of the prompts where a model is asked: part of what a set depends on."""
    # The model and not the address: a server may come back elsewhere.
    names = {
        role: getattr(settings, role) if one.endpoint is None else f"endpoint:{one.name}"
        for role, one in fillers.items()
    }
    return {"prompts_sha256": _prompts_sha256(fillers), **names}


def _prompts_sha256(fillers: Mapping[str, Filler]) -> str | None:
    return prompts_sha256() if any(one.kind in ("endpoint", "stock") for one in fillers.values()) else None


def open_roles(settings: BuildSettings, fillers: Mapping[str, Filler], ledger: Ledger) -> Roles:
    """Load or reach what fills the roles: a ValueError or FileNotFoundError where a model's weights do not fit."""
    budget = Budget(max_requests=settings.max_requests, max_tokens=settings.max_tokens, spent=ledger.spent())
    found = {one.endpoint for one in fillers.values() if one.endpoint is not None}
    endpoints = {where: Endpoint(where, ledger, budget) for where in found}
    turn = threading.Lock()

    @cache
    def loaded(name: str) -> Any:
        return load_roles(name, roles=("descriptor",))

    def describer(level: Level) -> Describe:
        one = fillers[f"{level}_describer"]
        if one.endpoint is not None:
            return partial(describe_by_endpoint, level, endpoints[one.endpoint])
        if one.kind == "rules":
            return partial(describe_by_rules, level)
        descriptor = loaded(one.name).descriptor
        if one.kind == "stock":
            return partial(describe_by_stock_model, level, descriptor.asker, settings.endpoint_photo_side_px, turn)
        if one.kind == "caption":
            from talking_points.pointing.captioner import BaseCaptioner

            descriptor = BaseCaptioner(descriptor.network, descriptor.cache, region="predicted-mask")
        return partial(describe_by_descriptor, level, descriptor, turn)

    all_by_rules = all(fillers[f"{level}_describer"].kind == "rules" for level in ("object", "local"))
    by_rules, writer = write_by_rules if all_by_rules else join_by_rules, fillers["writer"].endpoint
    return Roles(
        describe_object=describer("object"),
        describe_local=describer("local"),
        write=by_rules if writer is None else partial(write_by_endpoint, endpoints[writer]),
        # As the records tell of them.
        names={
            role: {"rules": "rules", "caption": f"caption:{one.name}"}.get(one.kind, one.name)
            for role, one in fillers.items()
        },
        endpoints=tuple(endpoints.values()),
        prompts_sha256=_prompts_sha256(fillers),
    )
