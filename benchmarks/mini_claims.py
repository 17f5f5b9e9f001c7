"""What a text says that its point is on, and whether that is true: the claim alone, whatever else the text names.

A claim is the first object, and the first part, that the text puts the point on: "on their left shoe" is a claim, and
"touching the jeans", "in a red dress" and "close to the outline of the person" are none. Left and right count where
they are the thing's own, as in the names of labelled parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from talking_points.dataset.wordings import KINDS, NAMES, SAID, ways_to_say
from talking_points.files import read_table

Verdict = Literal["right", "vaguer", "wrong"]

ON = ("on", "within", "inside", "upon")
"""After these stands what the point is on, if an article or an owner follows: "on the hood", but "on black hair"."""
BESIDE = frozenset(
    (
        "with",
        "touching",
        "close",
        "near",
        "beside",
        "next",
        "above",
        "below",
        "under",
        "underneath",
        "beneath",
        "behind",
    )
    + ("wearing", "toward", "towards", "against", "between", "past", "beyond", "over", "opposite", "darker", "lighter")
    + ("brighter", "than", "where", "showing", "shows", "features", "surrounded")
)
"""After these, up to the next mark or `ON`, stands what the point is not on."""
OWNERS = frozenset(["the", "this", "that", "their", "its", "his", "her"])
POSSESSIVES = OWNERS - {"the", "this", "that"}
FINGERS = ("thumb", "index finger", "middle finger", "ring finger", "little finger")
WIDER: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("eye", "eyebrow", "nose", "mouth", "cheek", "chin", "forehead"), ("face",)),
    **dict.fromkeys(("face", "hair", "ear"), ("head", "skin")),
    **dict.fromkeys(FINGERS, ("hand", "finger")),
    **dict.fromkeys(("finger", "wrist", "palm"), ("hand", "arm")),
    **dict.fromkeys(("hand", "forearm", "upper arm"), ("arm",)),
    **dict.fromkeys(("thigh", "knee", "lower leg", "ankle", "foot"), ("leg",)),
    **dict.fromkeys(("front foot", "front knee", "lower foreleg", "upper foreleg", "elbow"), ("front leg", "arm")),
    **dict.fromkeys(("hind foot", "hind knee", "hock", "lower hind leg", "upper hind leg"), ("hind leg",)),
    **dict.fromkeys(("arm", "leg", "neck", "chest"), ("skin",)),
    **dict.fromkeys(("chest", "shoulder", "hip"), ("torso", "skin")),
    **dict.fromkeys(("side of the body", "side of the chest", "rump"), ("body",)),
    "tip of the nose": ("nose",),
    "corner of the mouth": ("mouth",),
    **{f"tip of the {finger}": (finger,) for finger in FINGERS},
    **{f"{end} {thing}": (thing,) for thing in ("door", "bumper") for end in ("front", "back", "rear")},
    "front leg": ("leg",),
    "hind leg": ("leg",),
}
"""A part's name without its side, and what it is a part of; last of all stands the object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Name:
    """Of a part or an object."""

    base: str
    """Without left and right; what is worn in pairs in the singular."""
    side: str = ""
    """"left" or "right": the object's own; "" where it is not said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What a text says that its point is on."""

    object: tuple[Name, ...]
    """The name, or all that it may stand for, as a pullover for sweater and jumper; empty where none is named."""
    part: tuple[Name, ...]
    """Those of the object where no part of it is named."""


def name_of(label: str) -> Name:
    """A label as a name.

    Example:
        >>> name_of("tip of the left thumb"), name_of("shoes")
        (Name(base='tip of the thumb', side='left'), Name(base='shoe', side=''))
    """
    words = label.split(" ")
    sides = [word for word in words if word in ("left", "right")]
    base = " ".join(word for word in words if word not in ("left", "right"))
    return Name(base=_single(base), side=sides[0] if sides else "")


def _single(base: str) -> str:
    return str(read_table(NAMES)["clothes"]["pairs"].get(base, base))


class Vocabulary:
    """All names that a text may claim, in all the ways in which they are said."""

    def __init__(self, labels: Mapping[str, Mapping[str, Iterable[str]]], breeds: Mapping[str, str]) -> None:
        """labels: set to objects to the parts that are labelled of them. breeds: to the animal."""
        self.labelled = {
            (where, thing): frozenset(name_of(part).base for part in parts)
            for where, objects in labels.items()
            for thing, parts in objects.items()
        }
        """Set and object to the bases of its labelled parts."""
        self.objects = frozenset(_single(thing) for _, thing in self.labelled)
        parts = {part for some in labels.values() for of in some.values() for part in of}
        wider = {one for some in WIDER.values() for one in some}
        self.parts = frozenset(name_of(part).base for part in (*parts, *wider, *WIDER))
        self._said: dict[tuple[str, ...], tuple[Name, ...]] = {}
        for label in sorted({*parts, *wider, *WIDER, *self.objects}):
            self._add(label)
        for word in sorted(KINDS["people"]):
            self._said[word,] = (Name(base="person"),)
        for breed, animal in breeds.items():
            self._said.setdefault(tuple(breed.lower().split(" ")), (Name(base=animal),))
        self._longest = max(map(len, self._said))

    def _add(self, label: str) -> None:
        """All ways to say a label, with either side and without."""
        own = name_of(label)
        plain = " ".join(word for word in label.split(" ") if word not in ("left", "right"))
        for side in ("", "left", "right"):
            forms = {f"{side} {plain}".strip()}
            if own.side and side:
                forms.add(re.sub(r"\b(left|right)\b", side, label))
            if side and plain.startswith(("tip of the ", "corner of the ")):
                forms.add(plain.replace("of the ", f"of the {side} "))
            if side and plain.split(" ")[0] in ("front", "back", "rear", "hind"):
                first, _, rest = plain.partition(" ")
                forms.add(f"{first} {side} {rest}")
            for said in sorted({way for form in forms for way in ways_to_say(form)}):
                name = Name(base=own.base, side=side)
                for ending in ("", "s"):
                    key = tuple(f"{said}{ending}".split(" "))
                    self._said[key] = tuple(dict.fromkeys((*self._said.get(key, ()), name)))

    def claim(self, text: str) -> Claim:
        """The first object, and the first part, that a text says its point is on.

        What is a part of one thing and an object elsewhere, as a tie, is an object where no other is named.
        """
        found = self._on(text)
        things = [names for names in found if not self.objects.isdisjoint(name.base for name in names)]
        alone = [names for names in things if self.parts.isdisjoint(name.base for name in names)]
        thing = next(iter((*alone, *things)), ())
        parts = [names for names in found if not self.parts.isdisjoint(name.base for name in names)]
        part = next((names for names in parts if names != thing), thing)
        return Claim(object=thing, part=part)

    def _on(self, text: str) -> list[tuple[Name, ...]]:
        """The names in a text that the point is said to be on, in its order."""
        raw = re.findall(r"[a-z]+(?:-[a-z]+)*(?:'s)?|[.,;:!?()]", text.lower().replace("’", "'"))
        raw = [token for token in raw if token != "own"]
        tokens = [token.removesuffix("'s") for token in raw]
        found: list[tuple[Name, ...]] = []
        beside, at = False, 0
        while at < len(tokens):
            token, following = tokens[at], raw[at + 1] if at + 1 < len(raw) else ""
            names, length = self._longest_at(tokens, at)
            if names and not self._is_place(raw, at, length):
                if not beside:
                    found.append(names)
                at += length
                continue
            if not token[0].isalpha():
                beside = False
            elif token in ON:
                beside = not (following in (*OWNERS, "left", "right") or following.endswith("'s"))
            elif token in BESIDE or (token == "in" and following not in OWNERS):
                beside = True
            at += 1
        return found

    def _longest_at(self, tokens: list[str], at: int) -> tuple[tuple[Name, ...], int]:
        for length in range(min(self._longest, len(tokens) - at), 0, -1):
            names = self._said.get(tuple(tokens[at : at + length]))
            if names:
                return names, length
        return (), 0

    def _is_place(self, raw: list[str], at: int, length: int) -> bool:
        """Whether a word such as "top" is a place here, and not the garment: "the top of the car", "near the top"."""
        if length > 1 or raw[at] not in SAID["place_of_part"]:
            return False
        before = raw[at - 1] if at else ""
        following = raw[at + 1] if at + 1 < len(raw) else "."
        owned = before in POSSESSIVES or before.endswith("'s")
        worn = before == "the" and at > 1 and raw[at - 2] in ON
        return not ((owned or worn) and not following[0].isalpha())

    def verdicts(self, claim: Claim, where: str, thing: str, part: str) -> tuple[bool, Verdict]:
        """Whether the object is named right, and what the claim of the part is.

        A part is named right when the claim is the label, its side too where it has one. A claim that is finer than
        the labels of the set counts as the label that it is a part of. Vaguer is what holds the labelled part, or its
        name without the side: "the hand" or "the finger" of a left thumb, "the person".

        Args:
            claim: of a text.
            where: the set.
            thing, part: labels of the object and the part at the point; the same where it is on no part.
        """
        whole = _single(thing)
        is_object = whole in {name.base for name in (*claim.object, *claim.part)}
        true = Name(base=whole) if part == thing else name_of(part)
        labelled = self.labelled.get((where, thing), frozenset()) | {whole}
        found = {self._verdict(name, true, whole, labelled) for name in claim.part} | {"wrong"}
        # Of all that a word may stand for, the truest counts.
        best: Verdict = "right" if "right" in found else "vaguer" if "vaguer" in found else "wrong"
        return is_object, best

    def _verdict(self, said: Name, true: Name, whole: str, labelled: frozenset[str]) -> Verdict:
        if true.side and said.side and said.side != true.side:
            return "wrong"
        if self._lifted(said.base, labelled, whole) == true.base:
            return "right" if said.side or not true.side else "vaguer"
        return "vaguer" if said.base in (*_around(true.base), whole) else "wrong"

    def _lifted(self, base: str, labelled: frozenset[str], thing: str) -> str:
        """The nearest name that is labelled, of a part and what it is a part of; another object's name as it is.

        Of what is finer than the labels that is the whole object; but not of what holds labelled parts, as an arm does
        where forearms are labelled: a point on the person alone is on none of them.
        """
        if base in self.objects and base not in self.parts:
            return base
        near = next((name for name in (base, *_around(base)) if name in labelled), None)
        if near is None and base in FINER and not any(base in _around(name) for name in labelled):
            near = thing
        return base if near is None else near


def _around(base: str) -> list[str]:
    """What a part is a part of, nearest first."""
    around: list[str] = []
    wider = list(WIDER.get(base, ()))
    while wider:
        one = wider.pop(0)
        if one not in around:
            around.append(one)
            wider += WIDER.get(one, ())
    return around


FINER = frozenset(name for name in (*WIDER, *(one for some in WIDER.values() for one in some)))
"""Parts of bodies and cars: where a set labels no such thing, they are on the whole object."""
