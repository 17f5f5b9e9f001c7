"""Symbols put into sentences: texts about points, phrases and captions about regions.

The wordings are in `wordings`. Texts are lower-case ASCII. Choices of wording come from the generator alone, never
from left and right: a mirrored scene under an equal generator gives the mirrored text.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from talking_points.dataset.describers.rules import (
    BACKGROUND,
    COLOURS,
    TEXTURES,
    LocalLook,
    dominant_colour,
    look_at,
)
from talking_points.dataset.relations import (
    OWN_SIDED_OBJECTS,
    Dialect,
    Place,
    degree,
    extent,
    object_order_of,
    order_of,
    place_of_box,
    place_of_point,
)
from talking_points.dataset.scene import Scene
from talking_points.dataset.wordings import (
    BACKWARD_OBJECTS,
    BACKWARD_OPENINGS,
    CAPTION_PLACES,
    CENTER_WORDS,
    CLOSE_PHRASES,
    DIRECTION_PHRASES,
    FIRST_OR_LAST,
    GLUE_WORDS,
    INNER_CLAUSES,
    LINE_PHRASES,
    LOOK_CLAUSES,
    LOOK_SENTENCES,
    LOOKS,
    MATERIALS,
    MAX_WORDS,
    NEAR_WORDS,
    OBJECT_PLACES,
    OPENINGS,
    ORDER_PHRASES,
    PART_CLAUSES,
    PART_PLACES,
    PART_SENTENCES,
    PARTICIPLES,
    PEOPLE,
    PERSON_PAIR_PHRASES,
    PHOTO_WORDS,
    PLACE_PHRASES,
    POINT_WORDS,
    SHADE_PHRASES,
    SHORT_TEXTS,
    SHORT_TEXTS_OF_ONE,
    SITUATED,
    SIZE_PHRASES,
    SKIN_LOOKS,
    SKIN_PARTS,
    SPAN_PHRASES,
    SYNONYMS,
    TELLING_GARMENTS,
    TELLING_PANELS,
    TOUCHING_PHRASES,
    WAY_DOWN,
    WAY_IN,
    WAY_PHRASES,
    WITHOUT_ARTICLE,
    ZONE_PHRASES,
)

# --- facts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class PointFacts:
    """All that is said about one point, as symbols; `write_point_text` chooses the words."""

    point_px: tuple[float, float]
    """x, y in pixels of the photo."""
    object_index: int
    part_index: int
    object_name: str
    object_order: str | None
    """Which of several objects of the class, a key of ORDER_PHRASES; None when it is the only one."""
    object_detail: str | None
    """What it looks like: a colour of a car, "in a red dress" for a person."""
    object_place: Place
    """In the photo."""
    part_name: str
    part_order: str | None
    """Which of several parts of that name of this object."""
    part_place: Place
    """In the object's box."""
    point_place: Place
    """In the part's box."""
    look: LocalLook
    neighbour_name: str | None
    """Of `look.neighbour`: a part's name, or "background"."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; `from_dict` is the exact inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> PointFacts:
        """The facts that `to_dict` gave, also after a journey through JSON."""
        places = {name: Place(**values[name]) for name in ("object_place", "part_place", "point_place")}
        point_px = (float(values["point_px"][0]), float(values["point_px"][1]))
        return cls(**{**values, **places, "point_px": point_px, "look": LocalLook(**values["look"])})


def point_facts(scene: Scene, point_px: tuple[float, float]) -> PointFacts:
    """`facts_of_points` of one point."""
    return facts_of_points(scene, [point_px])[0]


def facts_of_points(scene: Scene, points_px: Sequence[tuple[float, float]]) -> list[PointFacts]:
    """Gather the facts about points of parts. What is said of an object is measured once for all its points.

    Args:
        scene: the photo and its labels.
        points_px: x, y in pixels of the photo.

    Raises:
        ValueError: a point is on the background or outside the photo.
    """

    @cache
    def detail(object_index: int) -> str | None:
        return _object_detail(scene, object_index)

    return [_facts(scene, point_px, detail) for point_px in points_px]


def _facts(scene: Scene, point_px: tuple[float, float], detail: Callable[[int], str | None]) -> PointFacts:
    look = look_at(scene, point_px)
    part_index = scene.part_index_at(point_px)
    assert part_index is not None
    part = scene.parts[part_index]
    thing = scene.objects[part.object_index]
    width, height = scene.size_wh
    neighbour_name = None
    if look.neighbour is not None:
        neighbour_name = "background" if look.neighbour == BACKGROUND else scene.parts[look.neighbour].name
    return PointFacts(
        point_px=point_px,
        object_index=part.object_index,
        part_index=part_index,
        object_name=thing.name,
        object_order=_object_order(scene, part.object_index),
        object_detail=detail(part.object_index),
        object_place=place_of_box(thing.box_xyxy, (0, 0, width, height)),
        part_name=part.name,
        part_order=_part_order(scene, part_index),
        part_place=place_of_box(part.box_xyxy, thing.box_xyxy),
        point_place=place_of_point(point_px, part.box_xyxy),
        look=look,
        neighbour_name=neighbour_name,
    )


def _object_order(scene: Scene, object_index: int) -> str | None:
    name = scene.objects[object_index].name
    alike = [k for k, thing in enumerate(scene.objects) if thing.name == name]
    return object_order_of([scene.objects[k].box_xyxy for k in alike], alike.index(object_index))


def _part_order(scene: Scene, part_index: int) -> str | None:
    part = scene.parts[part_index]
    alike = [
        k for k, other in enumerate(scene.parts) if other.name == part.name and other.object_index == part.object_index
    ]
    return order_of([scene.parts[k].box_xyxy for k in alike], alike.index(part_index))


def _object_detail(scene: Scene, object_index: int) -> str | None:
    """The colour of a car's panels, or a person's largest garment with its colour."""
    thing = scene.objects[object_index]
    telling = TELLING_GARMENTS if thing.name in PEOPLE else TELLING_PANELS
    candidates = [k for k, part in enumerate(scene.parts) if part.object_index == object_index and part.name in telling]
    if not candidates:
        return None
    largest = max(candidates, key=lambda k: scene.parts[k].area_px)
    if thing.name in PEOPLE:
        colour = dominant_colour(scene, largest)
        name = scene.parts[largest].name
        return f"in {_with_article(f'{colour} {name}', name)}"
    return dominant_colour(scene, candidates)


# --- small builders -----------------------------------------------------------------------------------------


class _Words:
    """Choices of wording, drawn from one generator and kept for one text."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.point = self.pick(POINT_WORDS)
        self.photo = self.pick(PHOTO_WORDS)
        self.center = self.pick(CENTER_WORDS)

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def pick_pair(self, options: Sequence[tuple[str, bool]]) -> tuple[str, bool]:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def noun(self, name: str) -> str:
        """The name, its last word maybe said with a synonym."""
        *before, last = name.split(" ")
        return " ".join([*before, self.pick(SYNONYMS.get(last, (last,)))])


def _with_article(noun_phrase: str, name: str) -> str:
    if name in WITHOUT_ARTICLE:
        return noun_phrase
    return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"


def _ordered(
    words: _Words, noun: str, order: str | None, phrases: dict[str, tuple[str, ...]], *, qualified: bool
) -> str:
    """The noun with its order; `qualified` says that it carries more than the name, as "red car" does."""
    if order is None:
        return noun
    options = phrases[order]
    if qualified and order not in FIRST_OR_LAST:
        # "the second red car from the left" would count red cars only.
        options = tuple(option for option in options if option.startswith("{noun}"))
    if qualified:
        options = tuple(option for option in options if not option.startswith("first"))
    return words.pick(options).format(noun=noun)


def _part_noun(words: _Words, name: str, object_name: str, order: str | None, colour: str | None = None) -> str:
    noun = words.noun(name)
    if colour is not None:
        noun = f"{colour} {noun}"
    phrases = PERSON_PAIR_PHRASES if object_name in PEOPLE else ORDER_PHRASES
    return _ordered(words, noun, order, phrases, qualified=colour is not None)


def _object_noun(words: _Words, name: str, order: str | None, detail: str | None) -> str:
    noun = words.noun(name)
    if detail is not None:
        noun = f"{noun} {detail}" if name in PEOPLE else f"{detail} {noun}"
    return _ordered(words, noun, order, ORDER_PHRASES, qualified=detail is not None)


def _has_own_side(object_name: str, part_name: str) -> bool:
    return object_name in OWN_SIDED_OBJECTS and not {"left", "right"}.isdisjoint(part_name.split(" "))


def _is_bare_skin(object_name: str, part_name: str) -> bool:
    """Whether a colour would be that of a person's skin. A dog's leg has a colour to speak of."""
    return object_name in PEOPLE and part_name in SKIN_PARTS


def _possessive(words: _Words, object_name: str, part_name: str) -> str:
    """The words before a part of the only object of a class, or of the one just named."""
    own = " own" if _has_own_side(object_name, part_name) else ""
    owner = words.pick(("their" if object_name in PEOPLE else "its", f"the {object_name}'s"))
    return owner + own


def _place_words(words: _Words, place: Place, bins: int, frame: str | None) -> str:
    """Where a thing is: "slightly above and to the left of the center of the shoe".

    `frame` is the noun of what the place is in; None where the sentence has just named it.
    """
    key = degree(place.dx, place.span_x, bins), degree(place.dy, place.span_y, bins)
    return _filled_place(words, place, words.pick(PLACE_PHRASES[key]), f" of the {frame}" if frame else "")


def _filled_place(words: _Words, place: Place, phrase: str, of: str) -> str:
    return phrase.format(
        center=words.center,
        near=words.pick(NEAR_WORDS),
        side="left" if place.dx < 0 else "right",
        level="top" if place.dy < 0 else "bottom",
        above="above" if place.dy < 0 else "below",
        upper="upper" if place.dy < 0 else "lower",
        of=of,
    )


def _span_words(words: _Words, place: Place, frame: str) -> str | None:
    options = SPAN_PHRASES.get((extent(place.span_x), extent(place.span_y)))
    return words.pick(options).format(frame=frame) if options else None


def _along_free_axis(place: Place) -> Place | None:
    """The place along the axis that is not spanned, None when both are."""
    across, down = extent(place.span_x) == "part", extent(place.span_y) == "part"
    if not across and not down:
        return None
    return Place(
        dx=place.dx if across else 0.0,
        dy=place.dy if down else 0.0,
        span_x=place.span_x,
        span_y=place.span_y,
    )


def _object_place_words(words: _Words, facts: PointFacts, bins: int) -> str:
    place, frame = facts.object_place, words.photo
    span = _span_words(words, place, frame)
    free = _along_free_axis(place)
    size = next(phrase for limit, phrase in SIZE_PHRASES if place.span_y <= limit or limit == 1.0)
    if span is None:
        kind = "size and place" if words.chance(0.3) else "place"
    else:
        kind = "span" if free is None else "span and place"
    return words.pick(OBJECT_PLACES[kind]).format(
        who="who" if facts.object_name in PEOPLE else "which",
        span=span,
        size=size.format(frame=frame),
        situated=words.pick(SITUATED),
        place=_place_words(words, free or place, bins, frame),
        short_place=_place_words(words, free or place, bins, None),
    )


def _part_place_words(words: _Words, facts: PointFacts, bins: int) -> str:
    place = facts.part_place
    span = _span_words(words, place, facts.object_name)
    free = _along_free_axis(place)
    kind = "place" if span is None else "span" if free is None else "span and place"
    spanning = ""
    if span is not None:
        verb, rest = span.split(" ", 1)
        spanning = f"{PARTICIPLES[verb]} {rest}"
    return words.pick(PART_PLACES[kind]).format(
        spanning=spanning,
        situated=words.pick(SITUATED),
        place=_place_words(words, free or place, bins, facts.object_name),
    )


def _way_words(words: _Words, place: Place) -> str | None:
    """A place along one axis as a fraction, when it is close to a simple one."""
    if words.chance(0.5):
        share, phrase, side = place.dy + 0.5, WAY_DOWN, ""
    else:
        share, phrase, side = 0.5 - abs(place.dx), WAY_IN, "left" if place.dx < 0 else "right"
    for simple, way in WAY_PHRASES:
        if abs(share - simple) < 0.03:
            return phrase.format(way=way, side=side)
    return None


def _look_words(words: _Words, facts: PointFacts, noun: str) -> str:
    look = facts.look
    bare_skin = _is_bare_skin(facts.object_name, facts.part_name)
    if bare_skin:
        text = words.pick(SKIN_LOOKS)
    else:
        material = next((name for name, parts in MATERIALS.items() if facts.part_name in parts), None)
        colour = look.colour
        if look.second_colour is not None:
            colour = f"{look.colour} and {look.second_colour}"
        phrase = words.pick(LOOKS).format(texture=look.texture, colour=colour, material=material or "surface")
        text = phrase if material else _with_article(phrase, "surface")
    # One of the two at most: longer texts are not clearer.
    says_line = words.chance(0.4)
    if look.line is not None and not bare_skin and says_line:
        text += words.pick(LINE_PHRASES[look.line])
    elif look.shade is not None:
        text += words.pick(SHADE_PHRASES[look.shade]).format(noun=noun)
    if facts.neighbour_name is not None and look.neighbour_direction is not None:
        options = TOUCHING_PHRASES if look.touching else CLOSE_PHRASES
        neighbour = facts.neighbour_name
        text += words.pick(options).format(
            neighbour=f"other {neighbour}" if neighbour == facts.part_name else neighbour,
            direction=words.pick(DIRECTION_PHRASES[look.neighbour_direction]),
        )
    return text


# --- texts about points -------------------------------------------------------------------------------------


def write_point_text(facts: PointFacts, dialect: Dialect, rng: np.random.Generator) -> str:
    """Write one text about a point; equal facts, dialect and generator give the equal text.

    Returns:
        One paragraph of lower-case ASCII. The "paper" dialect goes from the object in the photo over the part
        in the object and the point in the part to what is seen around it, like the paper's Figure 2.
    """
    write = _forward_text
    if dialect.length == "short":
        write = _short_text
    elif dialect.order == "fine-to-coarse":
        write = _backward_text
    text = write(_Words(rng), facts, dialect)
    for _ in range(7):
        if len(text.split()) <= MAX_WORDS:
            break
        text = min(text, write(_Words(rng), facts, dialect), key=lambda one: len(one.split()))
    return text


def write_relations(facts: PointFacts, dialect: Dialect, rng: np.random.Generator) -> str:
    """Write only where the point is: object in the photo, part in the object, point in the part.

    As exact as the dialect allows; nothing about what is seen there. One sentence or two of lower-case ASCII.
    """
    return _forward_text(_Words(rng), facts, replace(dialect, local=False, order="coarse-to-fine", length="full"))


def write_object_text(facts: PointFacts, dialect: Dialect, rng: np.random.Generator) -> str:
    """Write about the object of a point: which one it is, what it looks like and, if the dialect says so, where."""
    words = _Words(rng)
    place = _object_place_words(words, facts, dialect.place_bins)[:-1] if dialect.object_place else ""
    return f"{_named_object(words, facts, 1.0)}{place}."


def write_local_text(facts: PointFacts, rng: np.random.Generator) -> str:
    """Write what the pixels around a point look like."""
    return f"{_look_words(_Words(rng), facts, facts.part_name)}."


def _named_part(words: _Words, facts: PointFacts) -> tuple[str, str]:
    """The part with the words before it ("their left shoe"), and its bare noun ("shoe")."""
    noun = _part_noun(words, facts.part_name, facts.object_name, facts.part_order)
    bare = noun if facts.part_order is None else facts.part_name
    if not _has_own_side(facts.object_name, facts.part_name) and words.chance(0.3):
        return f"the {noun}", bare
    return f"{_possessive(words, facts.object_name, facts.part_name)} {noun}", bare


def _named_object(words: _Words, facts: PointFacts, detail_share: float) -> str:
    detail = facts.object_detail if words.chance(detail_share) else None
    return f"the {_object_noun(words, facts.object_name, facts.object_order, detail)}"


def _forward_text(words: _Words, facts: PointFacts, dialect: Dialect) -> str:
    part, noun = _named_part(words, facts)
    opening = words.pick(OPENINGS).format(
        point=words.point, object=_named_object(words, facts, 0.3 if dialect.object_place else 0.5)
    )
    about_object = about_part = ","
    if dialect.object_place:
        about_object = _object_place_words(words, facts, dialect.place_bins)
        about_part = _part_place_words(words, facts, dialect.place_bins)
    inner = _inner_words(words, facts, dialect, noun)
    separate = words.chance(0.3)
    if separate:
        where = words.pick(PART_SENTENCES).format(part=part)
        text = f"{opening}{about_object[:-1]}. {where}{about_part} {inner}"
    else:
        where = words.pick(PART_CLAUSES).format(part=part)
        text = f"{opening}{about_object} {where}{about_part} {inner}"
    if not dialect.local:
        return f"{text}."
    look = _look_words(words, facts, noun)
    if separate or words.chance(0.25):
        return f"{text}. {words.pick(LOOK_SENTENCES).format(point=words.point, look=look)}."
    return f"{text}, {words.pick(LOOK_CLAUSES).format(point=words.point, look=look)}."


def _inner_words(words: _Words, facts: PointFacts, dialect: Dialect, noun: str) -> str:
    clause, names_part = words.pick_pair(INNER_CLAUSES)
    inner = clause.format(
        noun=noun,
        point=words.point,
        situated=words.pick(SITUATED),
        place=_place_words(words, facts.point_place, dialect.place_bins, noun if names_part else None),
    )
    if dialect.place_bins == 7 and words.chance(0.3):
        way = _way_words(words, facts.point_place)
        if way is not None:
            inner += f", {way}"
    return inner


def _backward_text(words: _Words, facts: PointFacts, dialect: Dialect) -> str:
    part, noun = _named_part(words, facts)
    text = words.pick(BACKWARD_OPENINGS).format(
        point=words.point,
        part=part.replace("their ", "the ").replace("its ", "the "),
        situated=words.pick(SITUATED),
        place=_place_words(words, facts.point_place, dialect.place_bins, noun),
    )
    about_object = about_part = ","
    if dialect.object_place:
        about_part = _part_place_words(words, facts, dialect.place_bins)
        about_object = _object_place_words(words, facts, dialect.place_bins)
    text += about_part[:-1]
    if dialect.local:
        look = _look_words(words, facts, noun)
        text += f". {words.pick(LOOK_SENTENCES).format(point=words.point, look=look)}"
    owner = words.pick(BACKWARD_OBJECTS).format(noun=noun, object=_named_object(words, facts, 0.4))
    return f"{text}. {owner}{about_object[:-1]}."


def _short_text(words: _Words, facts: PointFacts, dialect: Dialect) -> str:
    noun = _part_noun(words, facts.part_name, facts.object_name, facts.part_order)
    own = "own " if _has_own_side(facts.object_name, facts.part_name) and words.chance(0.5) else ""
    place = facts.point_place
    degrees = (degree(place.dx, 0.0, dialect.place_bins), degree(place.dy, 0.0, dialect.place_bins))
    across, down = ("inner" if one in ("slight", "plain") else one for one in degrees)
    zone = _filled_place(words, place, words.pick(ZONE_PHRASES[across, down]), "")
    if facts.object_order is None and words.chance(0.6):
        return words.pick(SHORT_TEXTS_OF_ONE).format(
            zone=zone, possessive=f"the {facts.object_name}'s {own}".rstrip(), part=noun
        )
    return words.pick(SHORT_TEXTS).format(
        zone=zone, point=words.point, part=f"the {noun}", object=_named_object(words, facts, 0.25)
    )


# --- texts about regions ------------------------------------------------------------------------------------


def region_phrase(
    scene: Scene,
    *,
    rng: np.random.Generator,
    object_index: int | None = None,
    part_index: int | None = None,
) -> str | None:
    """Write a short noun phrase that names one object or one part, and no other of the scene.

    Args:
        scene: the photo and its labels.
        rng: chooses the wording.
        object_index: the object to name; give this or `part_index`.
        part_index: the part to name.

    Returns:
        For example "the dark blue jeans of the person on the left"; None when no words would be unambiguous.
    """
    words = _Words(rng)
    if (object_index is None) == (part_index is None):
        raise ValueError("give either object_index or part_index")
    if object_index is not None:
        return _object_phrase(words, scene, object_index)
    assert part_index is not None
    return _part_phrase(words, scene, part_index)


def _object_phrase(words: _Words, scene: Scene, object_index: int) -> str | None:
    name = scene.objects[object_index].name
    alike = [k for k, thing in enumerate(scene.objects) if thing.name == name]
    order = _object_order(scene, object_index)
    details = {k: _object_detail(scene, k) for k in alike}
    detail = details[object_index]
    alone = len(alike) == 1
    told_by_detail = detail is not None and list(details.values()).count(detail) == 1
    if told_by_detail and (order is None or words.chance(0.35)):
        return f"the {_object_noun(words, name, None, detail if not alone or words.chance(0.5) else None)}"
    if order is None and not alone:
        return None
    return f"the {_object_noun(words, name, order, detail if words.chance(0.3) else None)}"


def _part_phrase(words: _Words, scene: Scene, part_index: int) -> str | None:
    part = scene.parts[part_index]
    object_name = scene.objects[part.object_index].name
    order = _part_order(scene, part_index)
    siblings = [other for other in scene.parts if other.name == part.name]
    of_this = [other for other in siblings if other.object_index == part.object_index]
    if order is None and len(of_this) > 1:
        return None
    colour = None
    if not _is_bare_skin(object_name, part.name) and words.chance(0.5):
        colour = dominant_colour(scene, part_index)
    noun = _part_noun(words, part.name, object_name, order, colour)
    only_owner = len(siblings) == len(of_this)
    alone = sum(thing.name == object_name for thing in scene.objects) == 1
    if only_owner and not _has_own_side(object_name, part.name) and words.chance(0.4):
        return f"the {noun}"
    if alone and words.chance(0.5):
        own = "own " if _has_own_side(object_name, part.name) and words.chance(0.5) else ""
        return f"the {object_name}'s {own}{noun}"
    owner = _object_phrase(words, scene, part.object_index)
    return None if owner is None else f"the {noun} of {owner}"


def region_caption(
    scene: Scene,
    *,
    rng: np.random.Generator,
    object_index: int | None = None,
    part_index: int | None = None,
) -> str:
    """Write a short description of one object or one part: colour, class, place.

    Args and errors as `region_phrase`; the caption need not be unique.
    """
    words = _Words(rng)
    if (object_index is None) == (part_index is None):
        raise ValueError("give either object_index or part_index")
    width, height = scene.size_wh
    if object_index is not None:
        thing = scene.objects[object_index]
        noun = _object_noun(words, thing.name, None, _object_detail(scene, object_index))
        place, frame, name = place_of_box(thing.box_xyxy, (0, 0, width, height)), words.photo, thing.name
    else:
        assert part_index is not None
        part = scene.parts[part_index]
        owner = scene.objects[part.object_index]
        colour = "" if _is_bare_skin(owner.name, part.name) else f"{dominant_colour(scene, part_index)} "
        noun = colour + words.noun(part.name)
        place, frame, name = place_of_box(part.box_xyxy, owner.box_xyxy), owner.name, part.name
    where = words.pick(CAPTION_PLACES).format(situated=words.pick(SITUATED), place=_place_words(words, place, 5, frame))
    return f"{_with_article(noun, name)} {where}."


# --- vocabulary ---------------------------------------------------------------------------------------------

_WORD = re.compile(r"[a-z]+(?:-[a-z]+)*|'s|[.,]")


def split_words(text: str) -> list[str]:
    """Words and punctuation marks of a text that this module wrote; "car's" is "car" and "'s"."""
    return _WORD.findall(text)


def vocabulary(names: Iterable[str]) -> list[str]:
    """Sorted words and marks that texts about objects and parts of these names may hold.

    Args:
        names: class words, see `scene.class_names`.
    """
    tables: list[object] = [
        POINT_WORDS, PHOTO_WORDS, CENTER_WORDS, SITUATED, NEAR_WORDS, SYNONYMS, ORDER_PHRASES,
        PERSON_PAIR_PHRASES, OPENINGS, OBJECT_PLACES, PART_CLAUSES, PART_SENTENCES, PART_PLACES,
        INNER_CLAUSES, BACKWARD_OPENINGS, BACKWARD_OBJECTS, LOOK_CLAUSES, LOOK_SENTENCES, SPAN_PHRASES,
        PARTICIPLES, SIZE_PHRASES, PLACE_PHRASES, ZONE_PHRASES, SHORT_TEXTS, SHORT_TEXTS_OF_ONE,
        WAY_PHRASES, WAY_DOWN, WAY_IN, SKIN_LOOKS, LOOKS, SHADE_PHRASES, LINE_PHRASES, DIRECTION_PHRASES,
        TOUCHING_PHRASES,
        CLOSE_PHRASES, CAPTION_PLACES, GLUE_WORDS, COLOURS, tuple(MATERIALS), TEXTURES,
        "left right top bottom above below upper lower who which that . ,", tuple(names),
    ]  # fmt: skip
    words: set[str] = set()
    for text in _texts_in(tables):
        bare = "".join(literal for literal, _, _, _ in string.Formatter().parse(text) if literal)
        words.update(split_words(bare))
    return sorted(words)


def _texts_in(table: object) -> Iterable[str]:
    if isinstance(table, str):
        yield table
    elif isinstance(table, dict):
        for value in table.values():
            yield from _texts_in(value)
    elif isinstance(table, (tuple, list)):
        for value in table:
            yield from _texts_in(value)
