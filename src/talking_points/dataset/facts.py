"""All that is measured of a point: object in the photo, part in the object, point in the part, what is seen there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from typing import Any

from talking_points.dataset.colours import COLOURS
from talking_points.dataset.looks import BACKGROUND, LocalLook, colour_shares, dominant_colour, look_at
from talking_points.dataset.places import (
    Place,
    extent,
    object_order_of,
    order_of,
    place_of_box,
    place_of_point,
)
from talking_points.dataset.scene import Scene
from talking_points.dataset.wordings import KINDS, with_article
from talking_points.part_sides import without_side

OUTLINE = "outline"
"""Stands for the background beside an object."""
TELLING_SHARE = 0.5
"""An object is told by a colour that so much of it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PointFacts:
    """What is known of one point."""

    point_px: tuple[float, float]
    """x, y in pixels of the photo."""
    object_index: int
    part_index: int
    object_name: str
    object_alone: bool
    """It is the only one of its class in the photo."""
    object_order: str | None
    """Which of several objects of the class, see `places.object_order_of`; None when nothing tells."""
    object_breed: str
    """Which kind of `object_name` it is, such as "pug"; "" where the source does not say."""
    object_detail: str | None
    """What it looks like: a colour of a car, "in a red dress" for a person."""
    object_place: Place
    """In the photo."""
    part_name: str
    """That of the object where the point is on the object and on no part of it; see `ScenePart`."""
    part_order: str | None
    """Which of several parts of that name of this object."""
    part_place: Place
    """In the object's box."""
    point_place: Place
    """In the part's box."""
    look: LocalLook
    neighbour: str | None
    """Of `look.neighbour`, with its article: "the jeans", "another person's arm"; OUTLINE where the object ends."""

    @property
    def is_whole(self) -> bool:
        """Whether the point is on the object and on no part of it."""
        return self.part_name == self.object_name

    @property
    def place_in_object(self) -> Place:
        """Of the point."""
        return self.point_place.in_frame(self.part_place)

    @property
    def place_in_photo(self) -> Place:
        """Of the point."""
        return self.place_in_object.in_frame(self.object_place)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `from_dict` is the exact inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PointFacts:
        """The facts that `to_dict` gave, also after a journey through JSON."""
        places = {name: Place(**values[name]) for name in ("object_place", "part_place", "point_place")}
        x, y = values["point_px"]
        return cls(**{**values, **places, "point_px": (float(x), float(y)), "look": LocalLook(**values["look"])})


def facts_of_points(scene: Scene, points_px: Sequence[tuple[float, float]]) -> list[PointFacts]:
    """Gather the facts about points of parts, in pixels of the photo; a ValueError where one is on the background.

    What is said of an object is measured once for all its points.
    """
    detail = cache(partial(_object_detail, scene))
    return [_facts(scene, point_px, detail) for point_px in points_px]


def _facts(scene: Scene, point_px: tuple[float, float], detail: Callable[[int], str | None]) -> PointFacts:
    look = look_at(scene, point_px)
    part_index = scene.part_index_at(point_px)
    assert part_index is not None
    part = scene.parts[part_index]
    thing = scene.objects[part.object_index]
    # A part that is the object itself is what no other part covers: its frame is the object's.
    part_box = thing.box_xyxy if part.name == thing.name else part.box_xyxy
    return PointFacts(
        point_px=point_px,
        object_index=part.object_index,
        part_index=part_index,
        object_name=thing.name,
        object_alone=len(_alike(scene, part.object_index)) == 1 and thing.name not in scene.uncounted,
        object_order=_object_order(scene, part.object_index),
        object_breed=thing.breed,
        object_detail=detail(part.object_index),
        object_place=place_of_box(thing.box_xyxy, (0, 0, *scene.size_wh)),
        part_name=part.name,
        part_order=_part_order(scene, part_index),
        part_place=place_of_box(part_box, thing.box_xyxy),
        point_place=place_of_point(point_px, part_box),
        look=look,
        neighbour=None if look.neighbour is None else _neighbour_words(scene, part_index, look.neighbour),
    )


def _alike(scene: Scene, object_index: int) -> list[int]:
    """Indices of the objects of the same name."""
    name = scene.objects[object_index].name
    return [k for k, thing in enumerate(scene.objects) if thing.name == name]


def _object_order(scene: Scene, object_index: int) -> str | None:
    thing = scene.objects[object_index]
    place = place_of_box(thing.box_xyxy, (0, 0, *scene.size_wh))
    # Nobody calls what fills the photo the leftmost.
    if thing.name in scene.uncounted or "part" not in (extent(place.span_x), extent(place.span_y)):
        return None
    alike = _alike(scene, object_index)
    return object_order_of([scene.objects[k].box_xyxy for k in alike], alike.index(object_index))


def _part_order(scene: Scene, part_index: int) -> str | None:
    part = scene.parts[part_index]
    if part.name == scene.objects[part.object_index].name:
        return None
    own = (part.name, part.object_index)
    alike = [k for k, other in enumerate(scene.parts) if (other.name, other.object_index) == own]
    return order_of([scene.parts[k].box_xyxy for k in alike], alike.index(part_index))


def _object_detail(scene: Scene, object_index: int) -> str | None:
    """The colour of a car's panels or of a whole object, or a person's largest garment with its colour."""
    thing = scene.objects[object_index]
    parts = [k for k, part in enumerate(scene.parts) if part.object_index == object_index]
    if thing.name in KINDS["people"]:
        garments = [k for k in parts if scene.parts[k].name in KINDS["telling_garments"]]
        if not garments:
            return None
        largest = max(garments, key=lambda k: scene.parts[k].area_px)
        name = scene.parts[largest].name
        return f"in {with_article(f'{dominant_colour(scene, [largest])} {name}', name)}"
    panels = [k for k in parts if scene.parts[k].name in KINDS["telling_panels"]]
    if panels:
        return dominant_colour(scene, panels)
    whole = [k for k in parts if scene.parts[k].name == thing.name]
    if not whole or thing.name in KINDS["without_detail"]:
        return None
    shares = colour_shares(scene, whole)
    # Of a thing of many colours, no one would be said.
    return COLOURS[int(shares.argmax())] if shares.max() >= TELLING_SHARE else None


def _neighbour_words(scene: Scene, part_index: int, neighbour: int) -> str | None:
    """What is beside a part, see `LocalLook.neighbour`, as words that are true of no other thing of the photo.

    None of what nobody can tell where it begins.
    """
    if neighbour == BACKGROUND:
        return OUTLINE
    own = scene.parts[part_index]
    if neighbour < len(scene.parts):
        name, owner = scene.parts[neighbour].name, scene.parts[neighbour].object_index
    else:
        owner = neighbour - len(scene.parts)
        name = scene.objects[owner].name
    if without_side(name) in KINDS["without_border"]:
        return None
    if owner == own.object_index:
        count = sum(part.name == name and part.object_index == owner for part in scene.parts)
        return _one_of_several(name, count, another=name == own.name)
    owner_name = scene.objects[owner].name
    another = owner_name == scene.objects[own.object_index].name
    said = _one_of_several(owner_name, len(_alike(scene, owner)), another=another)
    return said if name == owner_name else f"{said}'s {name}"


def _one_of_several(name: str, count: int, *, another: bool) -> str:
    """One of `count` things of a name with its article; `another` is one of the kind that was just spoken of."""
    plural = name in KINDS["without_article"]
    if another:
        return f"the other {name}" if count == 2 or plural else f"another {name}"
    return f"the {name}" if count == 1 or plural else with_article(name, name)
