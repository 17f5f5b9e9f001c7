"""Describers and localizers on Ray: the photos of a window are shared out among actors, each with models of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from talking_points.evaluation.contestants import open_describers, open_localizers


class Contestants:
    """What one actor holds: the model, and the describers and localizers asked of it so far."""

    def __init__(self, model: Path, device: str | None, quantize: str | None) -> None:
        from talking_points.pointing.round_trip import TalkingPoints

        self.tp = TalkingPoints.from_pretrained(model, device=device, quantize=quantize)
        self.device = device
        self.opened: dict[str, Any] = {}

    def describe(self, name: str, photos: Sequence[Image.Image], points_px: Sequence[Any]) -> list[list[str]]:
        """Texts of points of photos, by the describer of a name."""
        if name not in self.opened:
            self.opened |= open_describers([name], self.tp, [], _refuse, concurrency=1, device=self.device)
        return self.opened[name].describe_photos(photos, points_px)

    def localize(self, name: str, photos: Sequence[Image.Image], texts: Sequence[Any]) -> list[list[Any]]:
        """Points of texts about photos, by the localizer of a name."""
        key = f"{name} finds"
        if key not in self.opened:
            found = open_localizers([name], self.tp, _refuse, concurrency=1, device=self.device)
            self.opened[key] = next(iter(found.values()))
        return self.opened[key].localize_photos(photos, texts)


class RemoteContestant:
    """A describer or localizer of a name, by all actors; answers in the order of the photos."""

    def __init__(self, name: str, actors: Sequence[Any]) -> None:
        self.name, self._actors = name, actors

    def describe(self, photo: Image.Image, points_px: Sequence[tuple[float, float]]) -> list[str]:
        """See `Describer`."""
        return self.describe_photos([photo], [points_px])[0]

    def describe_photos(
        self, photos: Sequence[Image.Image], points_px: Sequence[Sequence[tuple[float, float]]]
    ) -> list[list[str]]:
        """`describe` of several photos."""
        return self._shared_out("describe", photos, points_px)

    def localize(self, photo: Image.Image, texts: Sequence[str]) -> list[tuple[float, float]]:
        """See `Localizer`."""
        return self.localize_photos([photo], [texts])[0]

    def localize_photos(
        self, photos: Sequence[Image.Image], texts: Sequence[Sequence[str]]
    ) -> list[list[tuple[float, float]]]:
        """`localize` of several photos."""
        return self._shared_out("localize", photos, texts)

    def _shared_out(self, task: str, photos: Sequence[Image.Image], asked: Sequence[Any]) -> list[list[Any]]:
        import ray

        size = max(1, -(-len(photos) // len(self._actors)))
        running = [
            getattr(actor, task).remote(
                self.name, list(photos[start : start + size]), list(asked[start : start + size])
            )
            for actor, start in zip(self._actors, range(0, len(photos), size), strict=False)
        ]
        return [answers for some in ray.get(running) for answers in some]


def is_remote(name: str) -> bool:
    """Whether a describer or localizer of this name is a model of ours, that actors can load."""
    return name.partition(":")[0] in ("descriptor", "object-caption", "region-caption", "localizer", "blind")


def _refuse(config: Any) -> Any:
    raise AssertionError(f"{config} is asked from here, not by an actor")
