"""Which objects and parts are wanted: people only, cars only, some parts only, one family of animals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from talking_points.dataset.scene import Scene, make_scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Names of what is wanted; without any, everything is."""

    objects: tuple[str, ...] = ()
    """Names or broader classes of objects, such as "car", or "Bovidae" of a cow."""
    parts: tuple[str, ...] = ()
    """Names of parts, or some of their words: "mirror" is the left and the right one."""

    def __str__(self) -> str:
        said = [
            f"{kind} {' or '.join(names)}" for kind, names in (("object", self.objects), ("part", self.parts)) if names
        ]
        return ", ".join(said) or "everything"

    def wants_object(self, name: str, category: str = "") -> bool:
        """Whether an object of this name and broader class is wanted."""
        names = {one.casefold() for one in (name, category)}
        return not self.objects or any(wanted.casefold() in names for wanted in self.objects)

    def wants_part(self, name: str) -> bool:
        """Whether a part of this name is wanted, on an object that is."""
        words = set(name.casefold().split())
        return not self.parts or any(set(wanted.casefold().split()) <= words for wanted in self.parts)


EVERYTHING = Selection()


def select(scene: Scene, selection: Selection) -> Scene:
    """The scene with only the wanted parts on only the wanted objects; all else is background, the photo stays.

    An object's box stays that of the whole object, whichever of its parts are wanted.
    """
    kept_objects = np.array([False, *(selection.wants_object(one.name, one.category) for one in scene.objects)])
    kept_parts = np.array(
        [False, *(kept_objects[one.object_index + 1] and selection.wants_part(one.name) for one in scene.parts)]
    )
    kept_all = bool(kept_objects[1:].all() and kept_parts[1:].all())
    if kept_all:
        return scene
    object_map = scene.object_map
    if object_map is None and selection.parts:
        object_map = np.array([0, *(one.object_index + 1 for one in scene.parts)], dtype=np.int16)[scene.part_map]
    # An object that is not wanted must not stay by its box; of parts that are not wanted nothing is known any more.
    objects = [
        replace(one, has_own_box=bool(one.has_own_box and kept), outlined=False)
        for one, kept in zip(scene.objects, kept_objects[1:], strict=True)
    ]
    return make_scene(
        scene.photo,
        np.where(kept_parts[scene.part_map], scene.part_map, 0).astype(np.int16),
        [one.name for one in scene.parts],
        [one.object_index for one in scene.parts],
        objects,
        source=scene.source,
        photo_id=scene.photo_id,
        object_map=None if object_map is None else np.where(kept_objects[object_map], object_map, 0).astype(np.int16),
        uncounted=scene.uncounted,
        problems=scene.problems,
        notes=scene.notes,
    )


def nothing_wanted(selection: Selection, where: str, names: Sequence[str]) -> ValueError:
    """The error of a selection that leaves nothing, with what there is."""
    there = sorted(set(names))
    shown = ", ".join(there[:30]) + (", ..." if len(there) > 30 else "")
    return ValueError(f"{where} has nothing of {selection}; it has {shown or 'no labelled object'}")
