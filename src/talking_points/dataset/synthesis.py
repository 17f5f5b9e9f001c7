"""Symbols put into sentences: texts about points, phrases and captions about regions.

Every wording is in the tables at the top, so that `vocabulary` can list all words that a text may hold. Texts
are lower-case ASCII. Choices of wording come from the generator alone, never from left and right: a mirrored
scene under an equal generator gives the mirrored text.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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
    ORDINALS,
    OWN_SIDED_OBJECTS,
    Degree,
    Dialect,
    Place,
    degree,
    extent,
    order_of,
    place_of_box,
    place_of_point,
)
from talking_points.dataset.scene import Scene

# --- wordings -----------------------------------------------------------------------------------------------

POINT_WORDS = ("point", "point", "keypoint", "spot")
PHOTO_WORDS = ("photo", "image", "picture")
CENTER_WORDS = ("center", "middle")
SITUATED = ("situated", "located", "positioned", "found")
NEAR_WORDS = ("near", "close to")
PEOPLE = frozenset({"person"})
"""Objects that are spoken of with "who" and "their"."""

SYNONYMS: dict[str, tuple[str, ...]] = {
    "pants": ("pants", "pants", "trousers"),
    "mirror": ("mirror", "side mirror"),
    "headlight": ("headlight", "headlight", "front light"),
    "taillight": ("taillight", "taillight", "rear light"),
    "windshield": ("windshield", "windshield", "front window"),
    "bag": ("bag", "bag", "handbag"),
    "car": ("car", "car", "car", "vehicle"),
}
"""Other words for the LAST word of a name; a name comes twice to come more often."""

ORDER_PHRASES: dict[str, tuple[str, ...]] = {
    "left": ("{noun} on the left", "leftmost {noun}", "{noun} to the left"),
    "right": ("{noun} on the right", "rightmost {noun}", "{noun} to the right"),
    "top": ("upper {noun}", "{noun} at the top"),
    "bottom": ("lower {noun}", "{noun} at the bottom"),
    "leftmost": ("leftmost {noun}", "first {noun} from the left", "{noun} farthest to the left"),
    "rightmost": ("rightmost {noun}", "first {noun} from the right", "{noun} farthest to the right"),
    "topmost": ("{noun} at the top", "first {noun} from the top", "{noun} closest to the top"),
    "lowest": ("{noun} at the bottom", "first {noun} from the bottom", "{noun} closest to the bottom"),
    "middle": ("middle {noun}", "{noun} in the middle"),
    "top left": ("upper left {noun}", "{noun} at the top left"),
    "top right": ("upper right {noun}", "{noun} at the top right"),
    "bottom left": ("lower left {noun}", "{noun} at the bottom left"),
    "bottom right": ("lower right {noun}", "{noun} at the bottom right"),
    **{
        f"{ordinal} from the {end}": (
            f"{ordinal} {{noun}} from the {end}",
            f"{{noun}} that is {ordinal} from the {end}",
        )
        for ordinal in ORDINALS[1:]
        for end in ("left", "right", "top", "bottom")
    },
}
"""How a thing is told from others of its kind; the keys are what `relations.order_of` returns."""

# Of a person's two shoes, "left" means the left one in the photo. Before "left wheel" a reader would think of
# the car's own left, so parts of other objects are called by where they are seen.
PERSON_PAIR_PHRASES: dict[str, tuple[str, ...]] = {
    **ORDER_PHRASES,
    "left": ("left {noun}", "{noun} on the left"),
    "right": ("right {noun}", "{noun} on the right"),
}
FIRST_OR_LAST = frozenset({"left", "right", "top", "bottom", "leftmost", "rightmost", "topmost", "lowest"})
"""Orders that stay true among fewer things: the leftmost car, if it is red, is the leftmost red car."""

OPENINGS = (
    "the {point} is on {object}",
    "the {point} is located on {object}",
    "the {point} lies on {object}",
    "the {point} sits on {object}",
    "this {point} is on {object}",
    "the marked {point} is on {object}",
)
OBJECT_PLACES = {
    "span": (", {who} {span},",),
    "span and place": (
        ", {who} {span} and is {situated} {place},",
        ", {who} {span}, {short_place},",
        ", {place},",
    ),
    "size and place": (", {who} {size} and is {situated} {place},",),
    "place": (", {who} is {situated} {place},", ", {situated} {place},", " {place},"),
}
PART_CLAUSES = (
    "specifically on {part}",
    "more exactly on {part}",
    "more precisely on {part}",
    "on {part}",
)
PART_SENTENCES = ("it is on {part}", "it lies on {part}", "more exactly, it is on {part}")
PART_PLACES = {
    "span": (", {spanning},",),
    "span and place": (", {spanning} and {situated} {place},", ", {situated} {place},", ", {place},"),
    "place": (", {situated} {place},", ", {place},", " {place},"),
}
INNER_CLAUSES = (
    ("and within the {noun}, the {point} is {place}", False),
    ("and within the {noun}, it is {place}", False),
    ("and inside the {noun}, the {point} lies {place}", False),
    ("where the {point} is {place}", True),
    ("and the {point} is {situated} {place}", True),
)
"""Clauses for the point in the part, and whether the place must name the part."""
BACKWARD_OPENINGS = (
    "the {point} is {place}, on {part}",
    "the {point} is {situated} {place}, on {part}",
    "{place} lies the {point}, on {part}",
)
BACKWARD_OBJECTS = ("this is {object}", "it belongs to {object}", "the {noun} is that of {object}")
LOOK_CLAUSES = (
    "in a region that features {look}",
    "in a region showing {look}",
    "and the area around the {point} shows {look}",
    "surrounded by {look}",
    "on {look}",
)
LOOK_SENTENCES = (
    "the area around the {point} shows {look}",
    "around the {point} there is {look}",
    "the region around it features {look}",
)
SPAN_PHRASES = {
    ("most", "most"): (
        "spans most of the horizontal and vertical axis of the {frame}",
        "fills most of the {frame}",
        "takes up most of the {frame}",
    ),
    ("whole", "whole"): ("fills the whole {frame}", "spans the whole width and height of the {frame}"),
    ("part", "most"): ("spans most of the height of the {frame}", "takes up most of the {frame}'s height"),
    ("part", "whole"): (
        "spans the whole height of the {frame}",
        "reaches from the top to the bottom of the {frame}",
    ),
    ("most", "part"): ("spans most of the width of the {frame}", "takes up most of the {frame}'s width"),
    ("whole", "part"): (
        "spans the whole width of the {frame}",
        "reaches across the whole width of the {frame}",
    ),
    ("most", "whole"): ("spans the whole height and most of the width of the {frame}",),
    ("whole", "most"): ("spans the whole width and most of the height of the {frame}",),
}
"""What covers most of a frame, by `relations.extent` across and down."""
PARTICIPLES = {"spans": "spanning", "fills": "filling", "takes": "taking", "reaches": "reaching"}
SIZE_PHRASES = (
    (0.14, "is small"),
    (0.29, "takes up about a quarter of the {frame}'s height"),
    (0.41, "takes up about a third of the {frame}'s height"),
    (0.58, "takes up about half of the {frame}'s height"),
    (1.00, "takes up about two thirds of the {frame}'s height"),
)
"""Sizes of an object that does not span its frame: up to this share of the height, this phrase."""

MAX_WORDS = 65
"""Longer texts are written anew, with other wordings; the shortest of eight stays."""

PLACE_PHRASES: dict[tuple[Degree, Degree], tuple[str, ...]] = {
    ("center", "center"): ("at the {center}{of}", "exactly at the {center}{of}"),
    ("center", "slight"): ("slightly {above} the {center}{of}", "just {above} the {center}{of}"),
    ("center", "plain"): ("{above} the {center}{of}", "toward the {level}{of}"),
    ("center", "edge"): ("{near} the {level} edge{of}", "{near} the {center} of the {level} edge{of}"),
    ("slight", "center"): ("slightly to the {side} of the {center}{of}", "just {side} of the {center}{of}"),
    ("slight", "slight"): ("slightly {above} and to the {side} of the {center}{of}",),
    ("slight", "plain"): (
        "{above} and slightly to the {side} of the {center}{of}",
        "toward the {level}{of} and slightly to the {side}",
    ),
    ("slight", "edge"): ("{near} the {level} edge{of}, slightly to the {side}",),
    ("plain", "center"): ("to the {side} of the {center}{of}", "toward the {side} side{of}"),
    ("plain", "slight"): (
        "to the {side} and slightly {above} the {center}{of}",
        "toward the {side}{of} and slightly {above} the {center}",
    ),
    ("plain", "plain"): ("{above} and to the {side} of the {center}{of}", "toward the {upper} {side}{of}"),
    ("plain", "edge"): ("{near} the {level} edge{of}, toward the {side}",),
    ("edge", "center"): ("{near} the {side} edge{of}", "{near} the {center} of the {side} edge{of}"),
    ("edge", "slight"): ("{near} the {side} edge{of}, slightly {above} the {center}",),
    ("edge", "plain"): ("{near} the {side} edge{of}, toward the {level}",),
    ("edge", "edge"): ("{near} the {level} {side} corner{of}", "{near} the {level} and {side} edges{of}"),
}
"""Where a thing is, by `relations.degree` across and down."""
ZONE_PHRASES: dict[tuple[str, str], tuple[str, ...]] = {
    ("center", "center"): ("the {center}",),
    ("center", "inner"): ("the {upper} part", "the {upper} {center}"),
    ("center", "edge"): ("the {level} edge", "the {level}"),
    ("inner", "center"): ("the {side} part", "the {side} side"),
    ("inner", "inner"): ("the {upper} {side} part",),
    ("inner", "edge"): ("the {side} part of the {level} edge",),
    ("edge", "center"): ("the {side} edge", "the {center} of the {side} edge"),
    ("edge", "inner"): ("the {upper} part of the {side} edge",),
    ("edge", "edge"): ("the {level} {side} corner",),
}
"""The same in few words; "inner" is a degree between the center and the edge."""
SHORT_TEXTS = (
    "{zone} of {part} of {object}",
    "on {zone} of {part} of {object}",
    "the {point} at {zone} of {part} of {object}",
)
SHORT_TEXTS_OF_ONE = ("{zone} of {possessive} {part}", "on {zone} of {possessive} {part}")
WAY_PHRASES = (
    (0.25, "about a quarter of the way"),
    (1 / 3, "about a third of the way"),
    (2 / 3, "about two thirds of the way"),
    (0.75, "about three quarters of the way"),
)
WAY_DOWN = "{way} down from the top"
WAY_IN = "{way} in from the {side}"

SKIN_LOOKS = ("bare skin", "smooth skin")
LOOKS = ("{texture} {colour} {material}", "{colour}, {texture} {material}")
SHADE_PHRASES = {
    "darker": (", darker than the rest of the {noun}", ", darker than most of the {noun}"),
    "brighter": (", brighter than the rest of the {noun}", ", lighter than most of the {noun}"),
}
LINE_PHRASES = {
    "vertical": (" with a vertical line", " with a vertical edge running through it"),
    "horizontal": (" with a horizontal line", " with a horizontal edge running through it"),
    "diagonal": (" with a diagonal line", " with a diagonal edge running through it"),
}
DIRECTION_PHRASES = {
    "above": ("just above", "directly above it"),
    "below": ("just below", "directly below it"),
    "left": ("just to the left", "on its left"),
    "right": ("just to the right", "on its right"),
    "above left": ("just to the upper left",),
    "above right": ("just to the upper right",),
    "below left": ("just to the lower left",),
    "below right": ("just to the lower right",),
}
TOUCHING_PHRASES = (
    ", at the edge with the {neighbour} {direction}",
    ", touching the {neighbour} {direction}",
)
CLOSE_PHRASES = (", with the {neighbour} {direction}", ", close to the {neighbour} {direction}")

SKIN_PARTS = frozenset({"arm", "face", "foot", "hand", "leg", "legs", "skin"})
"""Their colour is never said."""
# fmt: off
FABRIC_PARTS = frozenset((
    "blazer", "blouse", "bodysuit", "cape", "cardigan", "coat", "dress", "hoodie", "jacket", "jeans",
    "jumper", "leggings", "pants", "romper", "scarf", "shirt", "shorts", "skirt", "stockings", "suit",
    "sweater", "sweatshirt", "swimwear", "t-shirt", "tie", "tights", "top", "underwear", "vest",
))
TELLING_GARMENTS = frozenset((
    "blazer", "blouse", "cape", "coat", "dress", "jacket", "jeans", "pants", "romper", "shirt", "shorts",
    "skirt", "suit", "sweater", "sweatshirt", "t-shirt",
))
"""A person is told by the largest of these and its colour, a car by the colour of all of the next."""
TELLING_PANELS = frozenset((
    "hood", "front left door", "front right door", "back left door", "back right door", "front bumper",
    "rear bumper", "trunk", "tailgate",
))
WITHOUT_ARTICLE = frozenset((
    "boots", "earrings", "glasses", "gloves", "hair", "jeans", "leggings", "legs", "pants", "sandals",
    "shoes", "shorts", "skin", "sneakers", "socks", "stockings", "sunglasses", "swimwear", "tights",
    "trousers", "underwear",
))
# fmt: on
MATERIALS = {
    "fabric": FABRIC_PARTS,
    "glass": frozenset({"windshield", "rear window"}),
    "hair": frozenset({"hair"}),
}
"""What parts are made of; all others have "a surface"."""
CAPTION_PLACES = ("{place}", "{situated} {place}")
GLUE_WORDS = "the their its own of a an in and it small background other surface 's"
"""Words that the code below puts between the phrases."""


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


def point_facts(scene: Scene, point_px: tuple[float, float]) -> PointFacts:
    """Gather the facts about a point of a part.

    Args:
        scene: the photo and its labels.
        point_px: x, y in pixels of the photo.

    Raises:
        ValueError: the point is on the background or outside the photo.
    """
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
        object_detail=_object_detail(scene, part.object_index),
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
    return order_of([scene.objects[k].box_xyxy for k in alike], alike.index(object_index))


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
    if facts.part_name in SKIN_PARTS:
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
    if look.line is not None and facts.part_name not in SKIN_PARTS and says_line:
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
    if part.name not in SKIN_PARTS and words.chance(0.5):
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
        colour = "" if part.name in SKIN_PARTS else f"{dominant_colour(scene, part_index)} "
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
