"""Facts about a point put into sentences by rules.

The words are in `words.toml`. Texts are lower-case ASCII. Choices of wording come from the generator alone, never from
left and right: a mirrored scene under an equal generator gives the mirrored text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from talking_points.dataset.facts import OUTLINE, PointFacts
from talking_points.dataset.looks import LocalLook
from talking_points.dataset.places import (
    LEAST_FRAME,
    ROW,
    Dialect,
    Place,
    clear_sides,
    degree,
    extent,
)
from talking_points.dataset.wordings import FIRST_OR_LAST, KINDS, PHRASES, SIZES, WAYS, ways_to_say, with_article
from talking_points.part_sides import has_side, without_side

MAX_WORDS = 65
"""Longer texts are written anew, with other wordings; the shortest of eight stays."""
OWN_SHARE = 0.35
"""How often a side is said to be the object's "own". That of a vehicle always is: people stand before it."""
CLEAR_COLOUR = 0.6
"""A colour is clear that so much of what is around a point has."""
SMALL_WIDTH = 0.25
"""Nothing that covers more of the width is called small."""
PARTICIPLES = {"spans": "spanning", "fills": "filling", "takes": "taking", "reaches": "reaching"}


class Words:
    """Choices of wording, drawn from one generator and kept for one text."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.point = self.phrase("point")
        self.photo = self.phrase("photo")
        self.center = self.phrase("center")

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def phrase(self, name: str) -> str:
        """One of the phrases of a name, see `wordings.PHRASES`."""
        return self.pick(PHRASES[name])

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def noun(self, name: str) -> str:
        """The name, or half of the time a synonym, where there is one."""
        _, *others = ways_to_say(name)
        return self.pick([*[name] * max(1, len(others)), *others])


# --- texts about points -------------------------------------------------------------------------------------


def write_point_text(facts: PointFacts, dialect: Dialect, rng: np.random.Generator) -> str:
    """Write one text about a point, a paragraph; equal facts, dialect and generator give the equal text.

    The "paper" dialect goes from the object in the photo over the part in the object and the point in the part to what
    is seen around it, like the paper's Figure 2; "clear" says where in the photo the point is, and of object, part and
    look only what everybody would say.
    """
    write = _forward_text
    if dialect.only_clear:
        write = _clear_text
    elif dialect.length == "short":
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
    """Write only where the point is, as exact as the dialect allows: in the photo, the object and the part."""
    write = _clear_text if dialect.only_clear else _forward_text
    return write(Words(rng), facts, replace(dialect, local=False, order="coarse-to-fine", length="full"))


def write_object_text(facts: PointFacts, dialect: Dialect, rng: np.random.Generator) -> str:
    """Write about the object of a point: which one it is, what it looks like and, if the dialect says so, where."""
    words = Words(rng)
    said = dialect.object_place and not dialect.only_clear
    place = object_place_words(words, facts, dialect.place_bins)[:-1] if said else ""
    return f"{_named_object(words, facts, 1.0)}{place}."


def write_local_text(facts: PointFacts, rng: np.random.Generator) -> str:
    """Write what the pixels around a point look like."""
    return f"{_look_words(Words(rng), facts, facts.part_name)}."


def _forward_text(words: Words, facts: PointFacts, dialect: Dialect) -> str:
    part, noun = (facts.object_name, facts.object_name) if facts.is_whole else named_part(words, facts)
    text = words.phrase("opening").format(
        point=words.point, object=_named_object(words, facts, 0.3 if dialect.object_place else 0.5)
    )
    about_object = about_part = ","
    if dialect.object_place:
        about_object = object_place_words(words, facts, dialect.place_bins)
        about_part = part_place_words(words, facts, dialect.place_bins)
    inner = _inner_words(words, facts, dialect, noun)
    separate = words.chance(0.3)
    if facts.is_whole:
        text += f"{about_object} {inner}"
    elif separate:
        text += f"{about_object[:-1]}. {words.phrase('part_sentence').format(part=part)}{about_part} {inner}"
    else:
        text += f"{about_object} {words.phrase('part_clause').format(part=part)}{about_part} {inner}"
    if not dialect.local:
        return f"{text}."
    look = _look_words(words, facts, noun)
    if separate or words.chance(0.25):
        return f"{text}. {words.phrase('look_sentence').format(point=words.point, look=look)}."
    return f"{text}, {words.phrase('look_clause').format(point=words.point, look=look)}."


def _inner_words(words: Words, facts: PointFacts, dialect: Dialect, noun: str) -> str:
    clause = words.phrase("whole_clause" if facts.is_whole else "inner_clause")
    inner = clause.format(
        noun=noun,
        point=words.point,
        situated=words.phrase("situated"),
        place=place_words(words, facts.point_place, dialect.place_bins, None if "{noun}" in clause else noun),
    )
    if dialect.place_bins == 7 and words.chance(0.3):
        inner += _way_words(words, facts.point_place)
    return inner


def _backward_text(words: Words, facts: PointFacts, dialect: Dialect) -> str:
    part, noun = (f"the {facts.object_name}", facts.object_name) if facts.is_whole else named_part(words, facts)
    text = words.phrase("backward_opening").format(
        point=words.point,
        part=part.replace("their ", "the ").replace("its ", "the "),
        situated=words.phrase("situated"),
        place=place_words(words, facts.point_place, dialect.place_bins, noun),
    )
    about_object = about_part = ","
    if dialect.object_place:
        about_part = part_place_words(words, facts, dialect.place_bins)
        about_object = object_place_words(words, facts, dialect.place_bins)
    if not facts.is_whole:
        text += about_part[:-1]
    if dialect.local:
        look = _look_words(words, facts, noun)
        text += f". {words.phrase('look_sentence').format(point=words.point, look=look)}"
    owners = PHRASES["backward_object"][: 1 if facts.is_whole else None]
    owner = words.pick(owners).format(noun=noun, object=_named_object(words, facts, 0.4))
    return f"{text}. {owner}{about_object[:-1]}."


def _clear_text(words: Words, facts: PointFacts, dialect: Dialect) -> str:
    thing, part = facts.object_place, facts.part_place
    text = words.phrase("opening").format(point=words.point, object=_named_object(words, facts, 0.3))
    # Everybody sees where the photo ends; where in it the object stands, and where that ends, is seen less surely.
    in_photo = place_words(words, facts.place_in_photo, dialect.place_bins, words.photo)
    text += words.phrase("clear_photo").format(place=in_photo)
    if facts.is_whole:
        text += _clear_words(words, "clear_in_object", facts.point_place, thing, facts.object_name)
    else:
        named, noun = named_part(words, facts)
        text += f", {words.phrase('part_clause').format(part=named)}"
        text += _clear_words(words, "clear_part", part, thing, facts.object_name)
        text += _clear_words(words, "clear_in_part", facts.point_place, part.in_frame(thing), noun)
    look = _clear_look(words, facts) if dialect.local else ""
    return f"{text}, {words.phrase('look_clause').format(point=words.point, look=look)}." if look else f"{text}."


def _clear_words(words: Words, kind: str, place: Place, in_photo: Place, frame: str) -> str:
    """A clause about a place, with the comma before it; "" where the frame is small or nothing is clear.

    in_photo: the frame's place there.
    """
    sides = clear_sides(place) if max(in_photo.span_x, in_photo.span_y) >= LEAST_FRAME else None
    if sides is None:
        return ""
    phrase = words.phrase(f"clear_place {degree(sides.dx, 0.0, 3)} {degree(sides.dy, 0.0, 3)}")
    said = _filled_place(words, sides, phrase, f" of the {frame}")
    return words.phrase(kind).format(point=words.point, situated=words.phrase("situated"), place=said)


def _short_text(words: Words, facts: PointFacts, dialect: Dialect) -> str:
    place = facts.point_place
    degrees = (degree(place.dx, 0.0, dialect.place_bins), degree(place.dy, 0.0, dialect.place_bins))
    across, down = ("inner" if one in ("slight", "plain") else one for one in degrees)
    zone = _filled_place(words, place, words.phrase(f"zone {across} {down}"), "")
    if facts.is_whole:
        thing = _named_object(words, facts, 0.4)
        return words.phrase("short_of_object").format(zone=zone, point=words.point, object=thing)
    if facts.object_alone and words.chance(0.6):
        part = f"{_own(words, facts)}{part_noun(words, facts.part_name, facts.part_order)}"
        return words.phrase("short_of_one").format(zone=zone, possessive=f"the {facts.object_name}'s", part=part)
    part = part_noun(words, facts.part_name, facts.part_order, before_of=True)
    return words.phrase("short").format(
        zone=zone, point=words.point, part=f"the {part}", object=_named_object(words, facts, 0.25)
    )


# --- which object, which part -------------------------------------------------------------------------------


def _named_object(words: Words, facts: PointFacts, detail_share: float) -> str:
    detail = facts.object_detail if words.chance(detail_share) else None
    return f"the {object_noun(words, facts.object_name, facts.object_order, detail, facts.object_breed)}"


def object_noun(words: Words, name: str, order: str | None, detail: str | None, breed: str = "") -> str:
    """The noun of an object. A breed is said in place of a detail: "pug", "pug dog"."""
    noun = words.noun(name)
    qualified = detail is not None
    if breed and words.chance(0.6):
        noun, qualified = words.pick((breed, f"{breed} {name}")), True
    elif qualified:
        noun = f"{noun} {detail}" if name in KINDS["people"] else f"{detail} {noun}"
    return _ordered(words, noun, order, "order", qualified=qualified)


def named_part(words: Words, facts: PointFacts) -> tuple[str, str]:
    """The part with the words before it ("their left shoe"), and its bare noun ("shoe")."""
    noun = part_noun(words, facts.part_name, facts.part_order)
    bare = noun if facts.part_order is None else facts.part_name
    # Not "their left corner of the mouth".
    if " of the " in facts.part_name or (not has_side(facts.part_name) and words.chance(0.3)):
        return f"the {noun}", bare
    owner = words.pick(("their" if facts.object_name in KINDS["people"] else "its", f"the {facts.object_name}'s"))
    return f"{owner} {_own(words, facts)}{noun}", bare


def part_noun(words: Words, name: str, order: str | None, *, before_of: bool = False) -> str:
    """The noun of a part with its order; `before_of` as in `_ordered`."""
    return _ordered(words, words.noun(name), order, "part_order", before_of=before_of)


def _own(words: Words, facts: PointFacts) -> str:
    """ "own " before a part that has a side of its own, where that is to be stressed."""
    if not has_side(facts.part_name):
        return ""
    return "own " if facts.object_name in KINDS["vehicles"] or words.chance(OWN_SHARE) else ""


def _ordered(
    words: Words, noun: str, order: str | None, table: str, *, qualified: bool = False, before_of: bool = False
) -> str:
    """The noun with its order, see `places.order_of`; `table` is that of the phrases, "order" or "part_order".

    `qualified`: the noun says more than the name, as "red car" does. `before_of`: "of" will follow, which must not seem
    to belong to the photo of "farther left in the photo".
    """
    if order is None:
        return noun
    place, _, row = order.partition(ROW)
    if place.endswith("row") or " row from " in place:
        return f"{noun} in the {place}"
    options: Sequence[str] = PHRASES[f"{table} {place}"]
    if qualified and place not in FIRST_OR_LAST:
        # "the second red car from the left" would count red cars only.
        options = [option for option in options if option.startswith("{noun}")]
    if qualified:
        options = [option for option in options if not option.startswith("first")]
    if before_of or row:
        options = [option for option in options if "{photo}" not in option]
    said = words.pick(options).format(noun=noun, photo=words.photo)
    return f"{said}{ROW}{row}" if row else said


# --- where ----------------------------------------------------------------------------------------------------


def place_words(words: Words, place: Place, bins: int, frame: str | None) -> str:
    """Where a thing is in `frame`, a noun, or None where the sentence has just named it: "above the center"."""
    phrase = words.phrase(f"place {degree(place.dx, place.span_x, bins)} {degree(place.dy, place.span_y, bins)}")
    return _filled_place(words, place, phrase, f" of the {frame}" if frame else "")


def _filled_place(words: Words, place: Place, phrase: str, of: str) -> str:
    return phrase.format(
        center=words.center,
        near=words.phrase("near"),
        side="left" if place.dx < 0 else "right",
        level="top" if place.dy < 0 else "bottom",
        above="above" if place.dy < 0 else "below",
        upper="upper" if place.dy < 0 else "lower",
        of=of,
    )


def object_place_words(words: Words, facts: PointFacts, bins: int) -> str:
    """Where the object is in the photo, between commas."""
    place, frame = facts.object_place, words.photo
    kind, span, free = _spanned(words, place, frame)
    # A long low thing is not small.
    has_size = place.span_y > SIZES[0][0] or place.span_x <= SMALL_WIDTH
    if kind == "place" and words.chance(0.3) and has_size:
        kind = "size and place"
    size = next(phrase for limit, phrase in SIZES if place.span_y <= limit or limit == 1.0)
    return words.phrase(f"object_place {kind}").format(
        who="who" if facts.object_name in KINDS["people"] else "which",
        span=span,
        size=size.format(frame=frame),
        situated=words.phrase("situated"),
        place=place_words(words, free, bins, frame),
        short_place=place_words(words, free, bins, None),
    )


def part_place_words(words: Words, facts: PointFacts, bins: int) -> str:
    """Where the part is in the object, between commas."""
    kind, span, free = _spanned(words, facts.part_place, facts.object_name)
    verb, _, rest = span.partition(" ")
    return words.phrase(f"part_place {kind}").format(
        spanning=f"{PARTICIPLES.get(verb, verb)} {rest}",
        situated=words.phrase("situated"),
        place=place_words(words, free, bins, facts.object_name),
    )


def _spanned(words: Words, place: Place, frame: str) -> tuple[str, str, Place]:
    """What there is to say of a box in a frame, how it spans the frame, and its place along what it does not span.

    The first is "place", "span and place" or "span", as in the tables of phrases; of "span" the place is the whole.
    """
    across, down = extent(place.span_x), extent(place.span_y)
    if across == down == "part":
        return "place", "", place
    span = words.phrase(f"span {across} {down}").format(frame=frame)
    if "part" not in (across, down):
        return "span", span, place
    return "span and place", span, replace(place, dx=0.0) if down == "part" else replace(place, dy=0.0)


def _way_words(words: Words, place: Place) -> str:
    """A place along one axis as a fraction, when it is close to a simple one."""
    if words.chance(0.5):
        share, rest = place.dy + 0.5, "down from the top"
    else:
        share, rest = 0.5 - abs(place.dx), f"in from the {'left' if place.dx < 0 else 'right'}"
    ways = [f", about {way} of the way {rest}" for simple, way in WAYS if abs(share - simple) < 0.03]
    return ways[0] if ways else ""


# --- what is seen ---------------------------------------------------------------------------------------------


def _look_words(words: Words, facts: PointFacts, noun: str) -> str:
    look = facts.look
    bare_skin = _is_person_s(facts, "skin") and look.colour in KINDS["skin_colours"]
    text = words.phrase("skin") if bare_skin else _surface_words(words, facts)
    # One of the two at most: longer texts are not clearer.
    says_line = words.chance(0.4)
    if look.line is not None and not bare_skin and says_line:
        text += words.phrase(f"line {look.line}")
    elif look.shade is not None and not _contradicts(look.colour, look.shade):
        text += words.phrase(f"shade {look.shade}").format(noun=noun)
    if facts.neighbour is not None and look.neighbour_direction is not None:
        direction = words.phrase(f"direction {look.neighbour_direction}")
        said = words.phrase("outline" if facts.neighbour == OUTLINE else "touching" if look.touching else "close")
        text += said.format(neighbour=facts.neighbour, direction=direction, object=facts.object_name)
    return text


def has_clear_colour(look: LocalLook) -> bool:
    """Whether most of what is around a point has one colour."""
    return look.colour_share >= CLEAR_COLOUR and look.second_colour is None


def _clear_look(words: Words, facts: PointFacts) -> str:
    """Skin, or one colour that most of the surroundings have; "" where there is neither."""
    look = facts.look
    if _is_person_s(facts, "skin") and look.colour in KINDS["skin_colours"]:
        return words.phrase("skin")
    if not has_clear_colour(look):
        return ""
    plain = replace(facts, look=replace(look, texture=None, shade=None))
    said = _surface_words(words, plain)
    return said if look.colour in said else ""


def _contradicts(colour: str, shade: str) -> bool:
    """Whether "dark gray, brighter than the rest" would be said, which is true of few and odd to all."""
    first = colour.split(" ")[0]
    return first in (("dark", "black") if shade == "brighter" else ("light", "white"))


def _is_person_s(facts: PointFacts, kind: str) -> bool:
    """Whether the part is one of that kind, on a person. A dog's leg has a colour to speak of."""
    return facts.object_name in KINDS["people"] and without_side(facts.part_name) in KINDS[kind]


def _surface_words(words: Words, facts: PointFacts) -> str:
    """ "smooth dark blue fabric", "a textured red surface", "a gray surface"."""
    look = facts.look
    colours: list[str | None] = [look.colour, look.second_colour]
    texture: str | None = look.texture
    if facts.object_name in KINDS["people"] and not (_is_person_s(facts, "fabric") or _is_person_s(facts, "worn")):
        # It may be bare or covered: a knee, or a person as a whole.
        colours = [None if look.colour in KINDS["skin_colours"] else look.colour]
        texture = "smooth" if texture == "smooth" else None
    if facts.object_name in KINDS["vehicles"] and texture != "smooth":
        # Paint, glass and chrome are smooth; what varies on them is what they reflect.
        colours, texture = colours[:1], None
    material = next((name for name in ("fabric", "glass", "hair") if facts.part_name in KINDS[name]), None)
    # What is much darker or brighter than the rest may be an eye, a nose or a collar.
    furry = facts.object_name in KINDS["furry"] and KINDS["bare"].isdisjoint(facts.part_name.split(" "))
    if furry and look.shade is None:
        material = "fur"
    colour = " and ".join(one for one in colours if one is not None)
    name = "surface" if colour and texture else "surface_without_texture" if colour else "surface_without_colour"
    phrase = words.phrase(name).format(texture=texture or "plain", colour=colour, material=material or "surface")
    return phrase if material else with_article(phrase, "surface")
