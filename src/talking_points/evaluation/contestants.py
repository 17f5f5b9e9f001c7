"""Describers and localizers by the names that `talking-points evaluate` takes, in this process or on Ray."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from talking_points.endpoint import Budget, Endpoint, EndpointConfig, parse_endpoint
from talking_points.evaluation.settings import ContestSettings
from talking_points.journal import Ledger
from talking_points.model.roles import ROLES
from talking_points.pointing.captioner import BaseCaptioner
from talking_points.pointing.pretrained import find_model, load_roles, over_endpoint, takes_style
from talking_points.pointing.role import Role
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.points import Point
from talking_points.ray_actors import start_actors
from talking_points.samples import FoundPoint


class OurModels:
    """Our describers and localizers, loaded when first asked for; those of `model` share it.

    Also what an actor on Ray holds, who is asked by name.
    """

    def __init__(self, model: str | Path, device: str | None, quantize: str | None, style: str | None) -> None:
        """model: what is behind "descriptor", "localizer" and the captions; the rest as `TalkingPoints` takes it."""
        self._model, self._device, self._quantize, self._style = model, device, quantize, style
        self._loaded: dict[str, Any] = {}

    @cached_property
    def _both(self) -> TalkingPoints:
        return self._of(self._model, ROLES)

    def _of(self, model: str | Path, roles: tuple[str, ...]) -> TalkingPoints:
        # A style is for those that take one: stock models and endpoints.
        style = self._style if takes_style(model) else None
        return load_roles(model, device=self._device, quantize=self._quantize, roles=roles, style=style)

    def __getitem__(self, name: str) -> Any:
        """A describer or localizer of `settings.DESCRIBERS` and `LOCALIZERS`."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        kind, _, where = name.partition(":")
        if kind == "chosen":
            both = self._of(where, ROLES) if where else self._both
            return TalkingPoints(both.descriptor, both.localizer, choose=True)
        if where:
            role = "descriptor" if kind == "descriptor" else "localizer"
            loaded = self._of(where, (role,))
            one = loaded.descriptor if role == "descriptor" else loaded.localizer
            if kind == "blind" and not (isinstance(one, Role) and one.network.is_blind):
                raise ValueError(f"{name} sees photos; give a localizer of `train localizer --blind`")
            return one
        if name in ("descriptor", "localizer"):
            return self._both
        region = {"object-caption": "predicted-mask", "region-caption": "gaussian"}[name]
        described = self._both.descriptor
        if not isinstance(described, Role):
            raise ValueError(f"{name} is of the paper's network; {self._model} is a stock model: ask for 'descriptor'")
        return BaseCaptioner(described.network, described.cache, region=region)

    def answer(self, name: str, task: str, pairs: Sequence[tuple[Image.Image, Any]]) -> list[Any]:
        """What the method `task` of a name says of the pairs."""
        answers: list[Any] = getattr(self[name], task)(pairs)
        return answers


class RemoteContestant:
    """A describer or localizer of a name on Ray: pairs are shared out among actors, each `OurModels`."""

    def __init__(self, name: str, actors: Sequence[Any]) -> None:
        self._name, self._actors = name, actors

    def describe_many(self, pairs: Sequence[tuple[Image.Image, Point]]) -> list[str]:
        """Texts of points of photos."""
        return self._shared_out("describe_many", pairs)

    def locate_many(self, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
        """Points of texts about photos."""
        return self._shared_out("locate_many", pairs)

    def _shared_out(self, task: str, pairs: Sequence[tuple[Image.Image, Any]]) -> list[Any]:
        # An extra.
        import ray

        size = max(1, -(-len(pairs) // len(self._actors)))
        running = [
            actor.answer.remote(self._name, task, list(pairs[start : start + size]))
            for actor, start in zip(self._actors, range(0, len(pairs), size), strict=False)
        ]
        return [answer for some in ray.get(running) for answer in some]


@contextmanager
def open_contestants(settings: ContestSettings, *, workers: int = 0) -> Iterator[Callable[[str], Any]]:
    """What gives a describer or localizer by its name. What endpoints answer is kept in the run's folder.

    workers: actors on Ray, a model each; 0: the models are in this process.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    # Ray's actors are elsewhere.
    model = Path(settings.model).absolute() if Path(settings.model).is_dir() else settings.model
    loaded = (model, settings.device, settings.quantize, settings.style)
    actors = start_actors(OurModels, *loaded, workers=workers) if workers else []
    here = OurModels(*loaded)
    with Ledger(settings.out) as ledger:
        budget = Budget(max_requests=settings.max_requests, max_tokens=settings.max_tokens, spent=ledger.spent())

        def named(name: str) -> Any:
            asked = settings.model if name in ("descriptor", "localizer") else name
            # Also as "descriptor:endpoint:...": what it costs is counted, whatever it is called.
            asked = asked.partition(":")[2] if asked.partition(":")[2].startswith("endpoint:") else asked
            if asked.startswith("endpoint:"):
                # The same question shall have the same answer.
                where = parse_endpoint(asked, temperature=0.0, max_answer_tokens=settings.max_answer_tokens)
                endpoint = Endpoint(where, ledger, budget)
                return over_endpoint(endpoint, style=settings.style, concurrency=settings.concurrency)
            return RemoteContestant(name, actors) if actors else here[name]

        yield named


def short_name(localizer: str) -> str:
    """What a localizer is called in reports: "blind" whatever its folder, others as they are."""
    return "blind" if localizer.startswith("blind:") else localizer


def hashes_of(model: str, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the weights of every checkpoint that takes part, by the name it has in the report; `model` is one.

    What is behind an endpoint has none.
    """
    places = {"model": find_model(model)}
    for name in names:
        kind, _, where = name.partition(":")
        if kind in ("descriptor", "chosen", "localizer", "blind") and where:
            places[name] = find_model(where)
    return {name: _hash_of_folder(one) for name, one in places.items() if not isinstance(one, EndpointConfig)}


def _hash_of_folder(folder: Path) -> str:
    if not folder.is_dir():
        raise FileNotFoundError(f"no such checkpoint folder: {folder}")
    hashed = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json") and path.name != "report.json":
            hashed.update(str(path.relative_to(folder)).encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    hashed.update(block)
    return hashed.hexdigest()[:16]
