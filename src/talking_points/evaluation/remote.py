"""Describers and localizers on Ray: the photos of a window are shared out among actors, each with models of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from talking_points.evaluation.contestants import open_describers, open_localizers
from talking_points.samples import FoundPoint


class Contestants:
    """What one actor holds: the model, and the describers and localizers asked of it so far."""

    def __init__(self, model: Path, device: str | None, quantize: str | None) -> None:
        from talking_points.pointing.round_trip import TalkingPoints

        self.tp = TalkingPoints.from_pretrained(model, device=device, quantize=quantize)
        self.device = device
        self.opened: dict[str, Any] = {}

    def describe_many(self, name: str, pairs: Sequence[tuple[Image.Image, Any]]) -> list[str]:
        """Texts of points of photos, by the describer of a name."""
        if name not in self.opened:
            self.opened |= open_describers([name], self.tp, [], _refuse, concurrency=1, device=self.device)
        return self.opened[name].describe_many(pairs)

    def locate_many(self, name: str, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
        """Points of texts about photos, by the localizer of a name."""
        key = f"{name} finds"
        if key not in self.opened:
            found = open_localizers([name], self.tp, _refuse, concurrency=1, device=self.device)
            self.opened[key] = next(iter(found.values()))
        return self.opened[key].locate_many(pairs)


class RemoteContestant:
    """A describer or localizer of a name, by all actors; answers in the order of the pairs."""

    def __init__(self, name: str, actors: Sequence[Any]) -> None:
        self.name, self._actors = name, actors

    def describe(self, photo: Image.Image, points_px: Sequence[tuple[float, float]]) -> list[str]:
        """See `Describer`."""
        return self.describe_many([(photo, point) for point in points_px])

    def describe_many(self, pairs: Sequence[tuple[Image.Image, tuple[float, float]]]) -> list[str]:
        """`describe` of points of many photos."""
        return self._shared_out("describe_many", pairs)

    def localize(self, photo: Image.Image, texts: Sequence[str]) -> list[tuple[float, float]]:
        """See `Localizer`."""
        return [found.point_px for found in self.locate_many([(photo, text) for text in texts])]

    def locate_many(self, pairs: Sequence[tuple[Image.Image, str]]) -> list[FoundPoint]:
        """`localize` of texts about many photos."""
        return self._shared_out("locate_many", pairs)

    def _shared_out(self, task: str, pairs: Sequence[tuple[Image.Image, Any]]) -> list[Any]:
        import ray

        size = max(1, -(-len(pairs) // len(self._actors)))
        running = [
            getattr(actor, task).remote(self.name, list(pairs[start : start + size]))
            for actor, start in zip(self._actors, range(0, len(pairs), size), strict=False)
        ]
        return [answer for some in ray.get(running) for answer in some]


def is_remote(name: str) -> bool:
    """Whether a describer or localizer of this name is a model of ours, that actors can load."""
    return name.partition(":")[0] in ("descriptor", "object-caption", "region-caption", "localizer", "blind")


def _refuse(config: Any) -> Any:
    raise AssertionError(f"{config} is asked from here, not by an actor")
