"""Symbols put into sentences: texts about points.

The wordings are in `wordings`. Texts are lower-case ASCII. Choices of wording come from the generator alone, never
from left and right: a mirrored scene under an equal generator gives the mirrored text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from talking_points.dataset.looks import (
    BACKGROUND,
    COLOURS,
    LocalLook,
    colour_shares,
    dominant_colour,
    look_at,
)
from talking_points.dataset.names import ways_to_say
from talking_points.dataset.places import (
    ROW,
    Dialect,
    Place,
    degree,
    extent,
    has_side,
    object_order_of,
    order_of,
    place_of_box,
    place_of_point,
)
from talking_points.dataset.scene import Scene
from talking_points.dataset.wordings import (
    BACKWARD_OBJECTS,
    BACKWARD_OPENINGS,
    BARE_PARTS,
    CENTER_WORDS,
    CLOSE_PHRASES,
    DIRECTION_PHRASES,
    FIRST_OR_LAST,
    FURRY_ANIMALS,
    INNER_CLAUSES,
    LINE_PHRASES,
    LOOK_CLAUSES,
    LOOK_SENTENCES,
    LOOKS,
    LOOKS_WITHOUT_COLOUR,
    LOOKS_WITHOUT_TEXTURE,
    MATERIALS,
    MAX_WORDS,
    NEAR_WORDS,
    OBJECT_PLACES,
    OPENINGS,
    ORDER_PHRASES,
    OUTLINE_PHRASES,
    OWN_SHARE,
    PART_CLAUSES,
    PART_ORDER_PHRASES,
    PART_PLACES,
    PART_SENTENCES,
    PARTICIPLES,
    PEOPLE,
    PHOTO_WORDS,
    PLACE_PHRASES,
    POINT_WORDS,
    SHADE_PHRASES,
    SHORT_TEXTS,
    SHORT_TEXTS_OF_OBJECT,
    SHORT_TEXTS_OF_ONE,
    SITUATED,
    SIZE_PHRASES,
    SKIN_COLOURS,
    SKIN_LOOKS,
    SKIN_PARTS,
    SMALL_WIDTH,
    SPAN_PHRASES,
    TELLING_GARMENTS,
    TELLING_PANELS,
    TELLING_SHARE,
    TOUCHING_PHRASES,
    VEHICLES,
    WAY_DOWN,
    WAY_IN,
    WAY_PHRASES,
    WHOLE_CLAUSES,
    WITHOUT_ARTICLE,
    WITHOUT_BORDER,
    WITHOUT_DETAIL,
    WORN_PARTS,
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
    object_alone: bool
    """It is the only one of its class in the photo."""
    object_order: str | None
    """Which of several objects of the class, see `relations.object_order_of`; None when nothing tells."""
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
        object_place=place_of_box(thing.box_xyxy, (0, 0, width, height)),
        part_name=part.name,
        part_order=_part_order(scene, part_index),
        part_place=place_of_box(part_box, thing.box_xyxy),
        point_place=place_of_point(point_px, part_box),
        look=look,
        neighbour=None if look.neighbour is None else _neighbour_words(scene, part_index, look.neighbour),
    )


OUTLINE = "outline"
"""Stands for the background beside an object."""


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
    owner_name = scene.objects[owner].name
    if _without_side(name) in WITHOUT_BORDER:
        return None
    if owner == own.object_index:
        count = sum(part.name == name and part.object_index == owner for part in scene.parts)
        return f"{_article_of_several(name, count, another=name == own.name)}{name}"
    count = len(_alike(scene, owner))
    another = owner_name == scene.objects[own.object_index].name
    said = f"{_article_of_several(owner_name, count, another=another)}{owner_name}"
    return said if name == owner_name else f"{said}'s {name}"


def _article_of_several(name: str, count: int, *, another: bool) -> str:
    """The article of one of several things; `another` is one of the kind that was just spoken of."""
    if another:
        return "the other " if count == 2 or name in WITHOUT_ARTICLE else "another "
    if count == 1 or name in WITHOUT_ARTICLE:
        return "the "
    return _with_article(name, name).removesuffix(name)


def _alike(scene: Scene, object_index: int) -> list[int]:
    """Indices of the objects of the same name."""
    name = scene.objects[object_index].name
    return [k for k, thing in enumerate(scene.objects) if thing.name == name]


def _object_order(scene: Scene, object_index: int) -> str | None:
    if scene.objects[object_index].name in scene.uncounted:
        return None
    alike = _alike(scene, object_index)
    place = place_of_box(scene.objects[object_index].box_xyxy, (0, 0, *scene.size_wh))
    if extent(place.span_x) != "part" and extent(place.span_y) != "part":
        # Nobody calls what fills the photo the leftmost.
        return None
    return object_order_of([scene.objects[k].box_xyxy for k in alike], alike.index(object_index))


def _part_order(scene: Scene, part_index: int) -> str | None:
    part = scene.parts[part_index]
    if part.name == scene.objects[part.object_index].name:
        return None
    alike = [
        k for k, other in enumerate(scene.parts) if other.name == part.name and other.object_index == part.object_index
    ]
    return order_of([scene.parts[k].box_xyxy for k in alike], alike.index(part_index))


def _object_detail(scene: Scene, object_index: int) -> str | None:
    """The colour of a car's panels or of a whole object, or a person's largest garment with its colour."""
    thing = scene.objects[object_index]
    parts = [k for k, part in enumerate(scene.parts) if part.object_index == object_index]
    if thing.name in PEOPLE:
        garments = [k for k in parts if scene.parts[k].name in TELLING_GARMENTS]
        if not garments:
            return None
        largest = max(garments, key=lambda k: scene.parts[k].area_px)
        name = scene.parts[largest].name
        return f"in {_with_article(f'{dominant_colour(scene, largest)} {name}', name)}"
    panels = [k for k in parts if scene.parts[k].name in TELLING_PANELS]
    if panels:
        return dominant_colour(scene, panels)
    whole = [k for k in parts if scene.parts[k].name == thing.name]
    if not whole or thing.name in WITHOUT_DETAIL:
        return None
    shares = colour_shares(scene, whole)
    # Of a thing of many colours, no one would be said.
    return COLOURS[int(shares.argmax())] if shares.max() >= TELLING_SHARE else None


# --- small builders -----------------------------------------------------------------------------------------


class Words:
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
        """The name, or half of the time a synonym, where there is one."""
        _, *others = ways_to_say(name)
        return self.pick([*[name] * max(1, len(others)), *others])


def _with_article(noun_phrase: str, name: str) -> str:
    if name in WITHOUT_ARTICLE:
        return noun_phrase
    return f"{'an' if noun_phrase[0] in 'aeiou' else 'a'} {noun_phrase}"


def _ordered(
    words: Words,
    noun: str,
    order: str | None,
    phrases: dict[str, tuple[str, ...]],
    *,
    qualified: bool,
    before_of: bool = False,
) -> str:
    """The noun with its order.

    Args:
        words: chooses.
        noun: "wheel".
        order: a key of the phrases, alone or with its row; None says nothing.
        phrases: ORDER_PHRASES or PART_ORDER_PHRASES.
        qualified: the noun says more than the name, as "red car" does.
        before_of: "of" will follow, which must not seem to belong to the photo of "farther left in the photo".
    """
    if order is None:
        return noun
    place, _, row = order.partition(ROW)
    if place.endswith("row") or " row from " in place:
        return f"{noun} in the {place}"
    options = phrases[place]
    if qualified and place not in FIRST_OR_LAST:
        # "the second red car from the left" would count red cars only.
        options = tuple(option for option in options if option.startswith("{noun}"))
    if qualified:
        options = tuple(option for option in options if not option.startswith("first"))
    if before_of or row:
        options = tuple(option for option in options if "{photo}" not in option)
    said = words.pick(options).format(noun=noun, photo=words.photo)
    return f"{said}{ROW}{row}" if row else said


def part_noun(words: Words, name: str, order: str | None, *, before_of: bool = False) -> str:
    return _ordered(words, words.noun(name), order, PART_ORDER_PHRASES, qualified=False, before_of=before_of)


def object_noun(words: Words, name: str, order: str | None, detail: str | None, breed: str = "") -> str:
    """The noun of an object. A breed is said in place of a detail: "pug", "pug dog"."""
    noun = words.noun(name)
    if breed and words.chance(0.6):
        noun = words.pick((breed, f"{breed} {name}"))
        return _ordered(words, noun, order, ORDER_PHRASES, qualified=True)
    if detail is not None:
        noun = f"{noun} {detail}" if name in PEOPLE else f"{detail} {noun}"
    return _ordered(words, noun, order, ORDER_PHRASES, qualified=detail is not None)


def _own(words: Words, object_name: str, part_name: str) -> str:
    """ "own " before a part that has a side of its own, where that is to be stressed."""
    if not has_side(part_name):
        return ""
    return "own " if object_name in VEHICLES or words.chance(OWN_SHARE) else ""


def _is_bare_skin(object_name: str, part_name: str) -> bool:
    """Whether a colour would be that of a person's skin. A dog's leg has a colour to speak of."""
    return object_name in PEOPLE and _without_side(part_name) in SKIN_PARTS


def _without_side(part_name: str) -> str:
    return part_name.removeprefix("left ").removeprefix("right ")


def _may_be_skin(object_name: str, part_name: str) -> bool:
    """Whether what is seen may be bare or covered: a knee, or a person as a whole."""
    return object_name in PEOPLE and _without_side(part_name) not in WORN_PARTS


def _possessive(words: Words, object_name: str, part_name: str) -> str:
    """The words before a part of the only object of a class, or of the one just named."""
    owner = words.pick(("their" if object_name in PEOPLE else "its", f"the {object_name}'s"))
    return f"{owner} {_own(words, object_name, part_name)}".rstrip()


def place_words(words: Words, place: Place, bins: int, frame: str | None) -> str:
    """Where a thing is: "slightly above and to the left of the center of the shoe".

    `frame` is the noun of what the place is in; None where the sentence has just named it.
    """
    key = degree(place.dx, place.span_x, bins), degree(place.dy, place.span_y, bins)
    return _filled_place(words, place, words.pick(PLACE_PHRASES[key]), f" of the {frame}" if frame else "")


def _filled_place(words: Words, place: Place, phrase: str, of: str) -> str:
    return phrase.format(
        center=words.center,
        near=words.pick(NEAR_WORDS),
        side="left" if place.dx < 0 else "right",
        level="top" if place.dy < 0 else "bottom",
        above="above" if place.dy < 0 else "below",
        upper="upper" if place.dy < 0 else "lower",
        of=of,
    )


def _span_words(words: Words, place: Place, frame: str) -> str | None:
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


def object_place_words(words: Words, facts: PointFacts, bins: int) -> str:
    place, frame = facts.object_place, words.photo
    span = _span_words(words, place, frame)
    free = _along_free_axis(place)
    size = next(phrase for limit, phrase in SIZE_PHRASES if place.span_y <= limit or limit == 1.0)
    if span is None:
        # A long low thing is not small.
        has_size = place.span_y > SIZE_PHRASES[0][0] or place.span_x <= SMALL_WIDTH
        kind = "size and place" if words.chance(0.3) and has_size else "place"
    else:
        kind = "span" if free is None else "span and place"
    return words.pick(OBJECT_PLACES[kind]).format(
        who="who" if facts.object_name in PEOPLE else "which",
        span=span,
        size=size.format(frame=frame),
        situated=words.pick(SITUATED),
        place=place_words(words, free or place, bins, frame),
        short_place=place_words(words, free or place, bins, None),
    )


def part_place_words(words: Words, facts: PointFacts, bins: int) -> str:
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
        place=place_words(words, free or place, bins, facts.object_name),
    )


def _way_words(words: Words, place: Place) -> str | None:
    """A place along one axis as a fraction, when it is close to a simple one."""
    if words.chance(0.5):
        share, phrase, side = place.dy + 0.5, WAY_DOWN, ""
    else:
        share, phrase, side = 0.5 - abs(place.dx), WAY_IN, "left" if place.dx < 0 else "right"
    for simple, way in WAY_PHRASES:
        if abs(share - simple) < 0.03:
            return phrase.format(way=way, side=side)
    return None


def look_words(words: Words, facts: PointFacts, noun: str) -> str:
    look = facts.look
    bare_skin = _is_bare_skin(facts.object_name, facts.part_name) and look.colour in SKIN_COLOURS
    text = words.pick(SKIN_LOOKS) if bare_skin else _surface_words(words, facts)
    # One of the two at most: longer texts are not clearer.
    says_line = words.chance(0.4)
    if look.line is not None and not bare_skin and says_line:
        text += words.pick(LINE_PHRASES[look.line])
    elif look.shade is not None and not _contradicts(look.colour, look.shade):
        text += words.pick(SHADE_PHRASES[look.shade]).format(noun=noun)
    if facts.neighbour is not None and look.neighbour_direction is not None:
        options = TOUCHING_PHRASES if look.touching else CLOSE_PHRASES
        options = OUTLINE_PHRASES if facts.neighbour == OUTLINE else options
        direction = words.pick(DIRECTION_PHRASES[look.neighbour_direction])
        said = words.pick(options)
        text += said.format(neighbour=facts.neighbour, direction=direction, object=facts.object_name)
    return text


def _contradicts(colour: str, shade: str) -> bool:
    """Whether "dark gray, brighter than the rest" would be said, which is true of few and odd to all."""
    first = colour.split(" ")[0]
    return first in (("dark", "black") if shade == "brighter" else ("light", "white"))


def _surface_words(words: Words, facts: PointFacts) -> str:
    """ "smooth dark blue fabric", "a textured red surface", "a gray surface"."""
    look = facts.look
    colours, texture = [look.colour, look.second_colour], look.texture
    if _may_be_skin(facts.object_name, facts.part_name):
        colours = [None if look.colour in SKIN_COLOURS else look.colour]
        texture = "smooth" if texture == "smooth" else None
    if facts.object_name in VEHICLES and texture != "smooth":
        # Paint, glass and chrome are smooth; what varies on them is what they reflect.
        colours, texture = colours[:1], None
    material = next((name for name, parts in MATERIALS.items() if facts.part_name in parts), None)
    # What is much darker or brighter than the rest may be an eye, a nose or a collar.
    if facts.object_name in FURRY_ANIMALS and not BARE_PARTS & set(facts.part_name.split(" ")) and look.shade is None:
        material = "fur"
    colour = " and ".join(one for one in colours if one is not None)
    options = LOOKS if colour and texture else LOOKS_WITHOUT_TEXTURE if colour else LOOKS_WITHOUT_COLOUR
    phrase = words.pick(options).format(texture=texture or "plain", colour=colour, material=material or "surface")
    return phrase if material else _with_article(phrase, "surface")


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
    text = write(Words(rng), facts, dialect)
    for _ in range(7):
        if len(text.split()) <= MAX_WORDS:
            break
        text = min(text, write(Words(rng), facts, dialect), key=lambda one: len(one.split()))
    return text


def write_relations(facts: PointFacts, dialect: Dialect, rng: np.random.Generator) -> str:
    """Write only where the point is: object in the photo, part in the object, point in the part.

    As exact as the dialect allows; nothing about what is seen there. One sentence or two of lower-case ASCII.
    """
    return _forward_text(Words(rng), facts, replace(dialect, local=False, order="coarse-to-fine", length="full"))


def write_object_text(facts: PointFacts, dialect: Dialect, rng: np.random.Generator) -> str:
    """Write about the object of a point: which one it is, what it looks like and, if the dialect says so, where."""
    words = Words(rng)
    place = object_place_words(words, facts, dialect.place_bins)[:-1] if dialect.object_place else ""
    return f"{_named_object(words, facts, 1.0)}{place}."


def write_local_text(facts: PointFacts, rng: np.random.Generator) -> str:
    """Write what the pixels around a point look like."""
    return f"{look_words(Words(rng), facts, facts.part_name)}."


def named_part(words: Words, facts: PointFacts) -> tuple[str, str]:
    """The part with the words before it ("their left shoe"), and its bare noun ("shoe")."""
    noun = part_noun(words, facts.part_name, facts.part_order)
    bare = noun if facts.part_order is None else facts.part_name
    # Not "their left corner of the mouth".
    if " of the " in facts.part_name or (not has_side(facts.part_name) and words.chance(0.3)):
        return f"the {noun}", bare
    return f"{_possessive(words, facts.object_name, facts.part_name)} {noun}", bare


def _named_object(words: Words, facts: PointFacts, detail_share: float) -> str:
    detail = facts.object_detail if words.chance(detail_share) else None
    return f"the {object_noun(words, facts.object_name, facts.object_order, detail, facts.object_breed)}"


def _forward_text(words: Words, facts: PointFacts, dialect: Dialect) -> str:
    part, noun = (facts.object_name, facts.object_name) if facts.is_whole else named_part(words, facts)
    opening = words.pick(OPENINGS).format(
        point=words.point, object=_named_object(words, facts, 0.3 if dialect.object_place else 0.5)
    )
    about_object = about_part = ","
    if dialect.object_place:
        about_object = object_place_words(words, facts, dialect.place_bins)
        about_part = part_place_words(words, facts, dialect.place_bins)
    inner = _inner_words(words, facts, dialect, noun)
    separate = words.chance(0.3)
    if facts.is_whole:
        text = f"{opening}{about_object} {inner}"
    elif separate:
        where = words.pick(PART_SENTENCES).format(part=part)
        text = f"{opening}{about_object[:-1]}. {where}{about_part} {inner}"
    else:
        where = words.pick(PART_CLAUSES).format(part=part)
        text = f"{opening}{about_object} {where}{about_part} {inner}"
    if not dialect.local:
        return f"{text}."
    look = look_words(words, facts, noun)
    if separate or words.chance(0.25):
        return f"{text}. {words.pick(LOOK_SENTENCES).format(point=words.point, look=look)}."
    return f"{text}, {words.pick(LOOK_CLAUSES).format(point=words.point, look=look)}."


def _inner_words(words: Words, facts: PointFacts, dialect: Dialect, noun: str) -> str:
    clause, names_part = words.pick_pair(WHOLE_CLAUSES if facts.is_whole else INNER_CLAUSES)
    inner = clause.format(
        noun=noun,
        point=words.point,
        situated=words.pick(SITUATED),
        place=place_words(words, facts.point_place, dialect.place_bins, noun if names_part else None),
    )
    if dialect.place_bins == 7 and words.chance(0.3):
        way = _way_words(words, facts.point_place)
        if way is not None:
            inner += f", {way}"
    return inner


def _backward_text(words: Words, facts: PointFacts, dialect: Dialect) -> str:
    part, noun = (f"the {facts.object_name}", facts.object_name) if facts.is_whole else named_part(words, facts)
    text = words.pick(BACKWARD_OPENINGS).format(
        point=words.point,
        part=part.replace("their ", "the ").replace("its ", "the "),
        situated=words.pick(SITUATED),
        place=place_words(words, facts.point_place, dialect.place_bins, noun),
    )
    about_object = about_part = ","
    if dialect.object_place:
        about_part = part_place_words(words, facts, dialect.place_bins)
        about_object = object_place_words(words, facts, dialect.place_bins)
    if not facts.is_whole:
        text += about_part[:-1]
    if dialect.local:
        look = look_words(words, facts, noun)
        text += f". {words.pick(LOOK_SENTENCES).format(point=words.point, look=look)}"
    owners = BACKWARD_OBJECTS[:1] if facts.is_whole else BACKWARD_OBJECTS
    owner = words.pick(owners).format(noun=noun, object=_named_object(words, facts, 0.4))
    return f"{text}. {owner}{about_object[:-1]}."


def _short_text(words: Words, facts: PointFacts, dialect: Dialect) -> str:
    place = facts.point_place
    degrees = (degree(place.dx, 0.0, dialect.place_bins), degree(place.dy, 0.0, dialect.place_bins))
    across, down = ("inner" if one in ("slight", "plain") else one for one in degrees)
    zone = _filled_place(words, place, words.pick(ZONE_PHRASES[across, down]), "")
    if facts.is_whole:
        thing = _named_object(words, facts, 0.4)
        return words.pick(SHORT_TEXTS_OF_OBJECT).format(zone=zone, point=words.point, object=thing)
    if facts.object_alone and words.chance(0.6):
        part = f"{_own(words, facts.object_name, facts.part_name)}{part_noun(words, facts.part_name, facts.part_order)}"
        return words.pick(SHORT_TEXTS_OF_ONE).format(zone=zone, possessive=f"the {facts.object_name}'s", part=part)
    part = part_noun(words, facts.part_name, facts.part_order, before_of=True)
    return words.pick(SHORT_TEXTS).format(
        zone=zone, point=words.point, part=f"the {part}", object=_named_object(words, facts, 0.25)
    )
