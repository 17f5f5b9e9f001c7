"""The maps of a scene while its parts are painted over each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from talking_points.dataset.scene import Scene, SceneObject, make_scene


class Painting:
    """Which part, and if wanted which object, each pixel is of; what is painted later is in front."""

    def __init__(self, size_wh: tuple[int, int], *, with_objects: bool = False) -> None:
        """`with_objects`: the scene has an `object_map`."""
        self._part_map, self._object_map = (np.zeros(size_wh[::-1], dtype=np.int16) for _ in range(2))
        self._with_objects = with_objects
        self._parts: list[tuple[int, str]] = []

    def clear(self, mask: np.ndarray) -> None:
        """Make pixels nobody's."""
        self._part_map[mask] = self._object_map[mask] = 0

    def object(self, owner: int, mask: np.ndarray) -> None:
        """Make pixels an object's, whatever part they are of."""
        self._object_map[mask] = owner + 1

    def part(self, owner: int, name: str, mask: np.ndarray, *, joins: bool = False) -> None:
        """Paint a part of an object; with `joins`, pixels of equal names of an object are one part."""
        if not joins or (owner, name) not in self._parts:
            self._parts.append((owner, name))
        self._part_map[mask] = self._parts.index((owner, name)) + 1 if joins else len(self._parts)
        self._object_map[mask] = owner + 1

    def scene(self, photo: np.ndarray, objects: list[SceneObject], **said: Any) -> Scene:
        """What was painted; `said` as in `make_scene`."""
        names, owners = [name for _, name in self._parts], [owner for owner, _ in self._parts]
        object_map = self._object_map if self._with_objects else None
        return make_scene(photo, self._part_map, names, owners, objects, object_map=object_map, **said)
