"""Examples for the base: a square photo with what is labelled on it, points to describe, texts to find or to miss."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.grammar import write_point_text
from talking_points.dataset.keypoints import sample_points
from talking_points.dataset.places import DIALECTS, Dialect
from talking_points.dataset.scene import Scene
from talking_points.dataset.scene_edits import crop, mirror, resize
from talking_points.dataset.wordings import KINDS, ways_to_say
from talking_points.evaluation.composing import compose
from talking_points.part_sides import without_side
from talking_points.photos import scaled_size
from talking_points.points import photo_to_square, square_padding

SIDE = 384
MAP = SIDE // 4
"""Cells a side of the label map: the mask feature's."""
HEAT = SIDE // 8
"""Cells a side of a target: the heatmap's."""
LEAST_COUNT = 6
"""A name that fewer training parts have is no class."""
UNSEEN_VOICE = "photographer"
"""Its texts are never trained on: they are for choosing."""
PAPER, SHORT = DIALECTS["paper"], DIALECTS["short"]
READ_DIALECTS = (PAPER, DIALECTS["coarse"], DIALECTS["place-free"], SHORT)
BASE_DIALECTS = dict(zip(READ_DIALECTS, (0.4, 0.1, 0.35, 0.15), strict=True))
"""How the rules write what is to be found, and how often."""
LOCALIZER_DIALECTS = dict(zip((*READ_DIALECTS, DIALECTS["clear"]), (0.3, 0.05, 0.35, 0.1, 0.2), strict=True))
"""The same, for a localizer that is to read its own descriptor, too."""
COLOURS = (
    *("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray", "grey"),
    *("beige", "tan", "teal", "navy", "silver", "golden", "cream", "turquoise", "maroon"),
)
LENGTHS = ("long", "short")
"""Of free texts."""
RECOLOURED = (0.1, 0.3)
"""How often an own text of each length is tried in other colours: of long ones nine in ten name a colour, of short ones
three."""
MISSPELT = 0.15
"""How many of the phrases have a slip of the keys."""
PHRASE_KINDS = ("true", "absent", "wrong", "implausible")
"""Of the lines of texts/phrases.jsonl and texts/implausible.jsonl."""
PLACED = ("x", "y", "width", "height")
NEEDED = {
    "texts": ("set", "photo", "voice", *LENGTHS, *PLACED),
    "absent": ("set", "photo", "text"),
    "phrases": ("set", "photo", "kind", "text", "there"),
}
"""What each line of texts/train.jsonl, texts/absent.jsonl and of phrases has; a phrase that fits has `PLACED`, too."""
OTHER_PHRASES = 3
"""Of a photo with phrases: other photos' phrases that are asked about it, too."""
PLAIN_WORDS = frozenset(COLOURS) | frozenset(
    re.findall(
        r"\w+",
        "the a an of on in at by with to and or from for that which is are it its his her their he she where can could "
        "you me find show tap point click mark see please there this one two pair under over above below behind beside "
        "next near nearest closest against around off out up down front back rear top bottom left right leftmost "
        "rightmost topmost lower lowest upper middle center centre side edge corner end tip part bit thing spot first "
        "second last big small large little tiny long short tall round square dark light bright lit open closed raised "
        "lying standing sitting hanging leaning holding held resting parked wooden metal ground background foreground "
        "photo picture image touch hit press choose pick blank framed largest biggest smallest halfway somebody "
        "someone",
    )
)
"""Words that name no thing."""
PLURALS = {"feet": "foot", "teeth": "tooth", "leaves": "leaf", "men": "man", "women": "woman", "knives": "knife"}
PLURALS |= {"logo": "emblem", "badge": "emblem", "cap": "hat", "spectacles": "glasses", "glasses": "glasses"}
"""Of words that `things_in` reads; and other words for the same thing."""
FAR_COLOURS = {
    "red": ("green", "blue", "white"),
    "green": ("red", "purple", "white"),
    "blue": ("orange", "red", "yellow"),
    "white": ("red", "black", "green"),
    "black": ("white", "yellow", "red"),
    "yellow": ("blue", "purple", "black"),
    "maroon": ("green", "blue", "white"),
    "pink": ("green", "blue", "black"),
    "purple": ("green", "yellow", "white"),
    "navy": ("orange", "red", "yellow"),
    "teal": ("red", "orange", "white"),
    "turquoise": ("red", "orange", "black"),
}
_SIDED = re.compile(r"\b(left|right)(most|-hand|hand|wards|ward|-most)?\b", re.IGNORECASE)
_AFTER_ADVERB = re.compile(
    r"\s+(at|where|on|in|above|below|under|beside|next|behind|between|by|near|before|after|there|here|against|along|"
    r"across|over|beneath|through|inside|off|up|down|around|as|when|angles?|opposite|outside|underneath|past|beyond)\b",
    re.IGNORECASE,
)
_IN_PHOTO = re.compile(r"\s+(?:in|of) (?:the |our )?(?:photo|picture|image|frame|shot)\b", re.IGNORECASE)
_BEFORE_SIDE = re.compile(
    r"(?:\b(?:the|its|his|her|their|your|my|far|farther|farthest|further|furthest|lower|upper|top|bottom|rear|front|back"
    r"|own|at|facing|photo|picture|person's|photo's)\s+|-)$",
    re.IGNORECASE,
)
_JOINED = re.compile(r"\b(?:and|or)\s+$", re.IGNORECASE)
_COMPARED = re.compile(r"\s+(?:above|against|behind|below|beside|next|under|where)\b", re.IGNORECASE)
_HOURS = ("twelve", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")
_HOUR = rf"(?:\d{{1,2}}|{'|'.join(_HOURS)})"
_CLOCK = re.compile(rf"\b{_HOUR}(?=(?: (?:to|or|and) {_HOUR})?[ -]o['’]? ?clock\b)", re.IGNORECASE)


def mirrored_text(text: str) -> str:
    """A person's text about the mirrored photo: left and right swapped, but for "right" as in "right at the edge"."""

    def swapped(match: re.Match[str]) -> str:
        word = match.group(1)
        if word.lower() == "right" and not match.group(2):
            before = text[: match.start()]
            is_side = _BEFORE_SIDE.search(before) or _IN_PHOTO.match(text, match.end())
            is_side = is_side and not re.match(r"\s+angles?\b", text[match.end() :], re.IGNORECASE)
            # "left and right at the edge", but "and right beside it".
            is_side = is_side or (_JOINED.search(before) and not _COMPARED.match(text, match.end()))
            if _AFTER_ADVERB.match(text, match.end()) and not is_side:
                return match.group()
        other = "right" if word.lower() == "left" else "left"
        return (other.capitalize() if word[0].isupper() else other) + (match.group(2) or "")

    def on_the_other_half(match: re.Match[str]) -> str:
        said = match.group()
        hour = int(said) if said.isdigit() else _HOURS.index(said.lower())
        if said.isdigit():
            return str((12 - hour) % 12 or 12)
        other = _HOURS[(12 - hour) % 12]
        return other.capitalize() if said[0].isupper() else other

    return _SIDED.sub(swapped, _CLOCK.sub(on_the_other_half, text))


@dataclass(frozen=True, kw_only=True)
class Names:
    """Of what the scenes show."""

    classes: tuple[str, ...]
    """Parts without their side, and objects: what the queries of the mask decoder stand for."""
    sided: tuple[str, ...]
    """Parts as they are named."""
    objects: tuple[str, ...]
    known: Mapping[str, frozenset[str]]
    """Set to the names that are labelled in it, where shown."""

    @classmethod
    def of(cls, scenes: Sequence[Scene]) -> Names:
        plain: Counter[str] = Counter()
        sided: Counter[str] = Counter()
        objects: Counter[str] = Counter()
        known: dict[str, set[str]] = defaultdict(set)
        for scene in scenes:
            objects.update(thing.name for thing in scene.objects)
            names = [part.name for part in scene.parts]
            sided.update(names)
            plain.update({class_of(name) for name in names} | {thing.name for thing in scene.objects})
            known[scene.source] |= {class_of(name) for name in names} | {thing.name for thing in scene.objects}

        def often(counts: Counter[str]) -> tuple[str, ...]:
            return tuple(sorted(name for name, count in counts.items() if count >= LEAST_COUNT))

        kept = often(plain)
        return cls(
            classes=kept,
            sided=often(sided),
            objects=often(objects),
            known={name: frozenset(some & set(kept)) for name, some in known.items()},
        )


def class_of(name: str) -> str:
    """A part's name without its side; plurals of clothes as one thing."""
    name = without_side(name)
    return {"shoes": "shoe", "boots": "boot", "sandals": "sandal", "socks": "sock", "gloves": "glove"}.get(name, name)


@dataclass(kw_only=True)
class Wanted:
    """A text to find."""

    text: str
    point: tuple[float, float] | None = None
    """In [0, 1]^2 of the square."""
    cells: np.ndarray | None = None
    """(HEAT, HEAT) bool: any of these; where the text names no point."""
    there: bool = True
    free: bool = False


@dataclass(kw_only=True)
class Example:
    """A photo and what is asked about it."""

    square: np.ndarray
    """(SIDE, SIDE, 3) uint8; `inside` says where it is padding."""
    inside: tuple[int, int, int, int]
    """x0, y0, x1, y1 of the photo in the square."""
    classes: np.ndarray
    """(MAP, MAP) int16: 0 is nothing labelled, k + 1 is class k."""
    known: np.ndarray
    """(K,) bool: the class would be labelled if it were shown."""
    points: list[tuple[float, float]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """Of the points, to be written."""
    shorts: list[str] = field(default_factory=list)
    """Of the points, to be written when asked in brief."""
    sided: list[int] = field(default_factory=list)
    """Of the points: which of `Names.sided`, -1 where not known."""
    objects: list[int] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)


def check_lines(what: str, lines: Sequence[Mapping[str, Any]]) -> None:
    """Refuse lines that lack something. what: a key of `NEEDED`.

    Raises:
        ValueError: something is missing, it is of another split than train, or a phrase of a kind that there is not.
    """
    for line in lines:
        needed = NEEDED[what] + (PLACED if line.get("there") is True else ())
        if missing := [key for key in needed if key not in line]:
            raise ValueError(f"a line of --{what} has no {missing[0]!r}; give lines as recipes/mini/texts has them")
        if line.get("split", "train") != "train":
            # Photos are joined by set and name, and those of other splits have the same names.
            raise ValueError(
                f"a line of --{what} is of the {line['split']} split; give those of train, which val is of"
            )
        if what == "phrases" and line["kind"] not in PHRASE_KINDS:
            raise ValueError(f"a phrase is of kind {line['kind']!r}; allowed: {', '.join(PHRASE_KINDS)}")


class Maker:
    """Draws examples: a function of the seed alone."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        free: Sequence[Mapping[str, Any]],
        absent: Sequence[Mapping[str, Any]],
        names: Names,
        *,
        phrases: Sequence[Mapping[str, Any]] = (),
        points: int = 4,
        wanted: int = 7,
        others: int = 2,
        dialects: Mapping[Dialect, float] = BASE_DIALECTS,
        cuts: bool = True,
    ) -> None:
        """
        Args:
            scenes: of the training split.
            free: lines of texts/train.jsonl, model-written, of photos among the scenes.
            absent: lines with `set`, `photo`, `text`, which do not fit their photo.
            phrases: lines of texts/phrases.jsonl and of texts/implausible.jsonl; of one kind of `PHRASE_KINDS` each.
            others: how many texts of other photos are drawn for one with free texts.
            dialects: of the rules' texts to find, with their shares.
            cuts: photos with free texts are cut a little, differently each time.

        Raises:
            ValueError: a line lacks something, or a phrase is of another kind.
        """
        check_lines("texts", free)
        check_lines("absent", absent)
        check_lines("phrases", phrases)
        self.scenes, self.names, self.points, self.wanted, self.cuts = scenes, names, points, wanted, cuts
        self.others, self.dialects, self.shares = others, tuple(dialects), list(dialects.values())
        self.of_photo = {(one.source, stem(one.photo_id)): one for one in scenes}
        self.free: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for line in free:
            key = (line["set"], stem(line["photo"]))
            if key in self.of_photo and line["voice"] != UNSEEN_VOICE:
                self.free[key].append(line)
        self.free_keys = sorted(self.free)
        self.absent: dict[tuple[str, str], list[str]] = defaultdict(list)
        for line in absent:
            self.absent[(line["set"], stem(line["photo"]))].append(line["text"])
        self.phrases: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
        for line in phrases:
            key = (line["set"], stem(line["photo"]))
            if key in self.of_photo:
                self.phrases[key].append(line)
        self.phrase_keys = sorted(self.phrases)
        self._things_of: dict[tuple[str, str], frozenset[str]] = {}
        self.sets: dict[str, list[Scene]] = defaultdict(list)
        for scene in scenes:
            self.sets[scene.source].append(scene)
        self.index = {name: k for k, name in enumerate(names.classes)}
        self.sided_index = {name: k for k, name in enumerate(names.sided)}
        self.object_index = {name: k for k, name in enumerate(names.objects)}

    def draw(self, seed: Sequence[int], kind: str) -> Example:
        """kind: "free", "phrases", "whole" (a photo as it is) or "composed" (crops and mosaics).

        Of "phrases" only the texts to find are drawn: they are no descriptions, and nobody is to write them.
        """
        rng = np.random.default_rng(list(seed))
        if kind == "free":
            return self._free(rng)
        if kind == "phrases":
            return self._phrases(rng)
        if kind == "whole":
            # Sets take turns: the small ones are seen as often as the large ones.
            pool = self.sets[list(self.sets)[int(rng.integers(len(self.sets)))]]
            scene = pool[int(rng.integers(len(pool)))]
            scene = mirror(scene) if rng.random() < 0.5 else scene
        else:
            name = list(self.sets)[int(rng.integers(len(self.sets)))]
            pool = self.sets[name] if rng.random() < 0.7 else self.scenes
            scene = compose(pool, rng, SIDE)
        return self._labelled(scene, rng)

    # --- Photos with free texts

    def _free(self, rng: np.random.Generator) -> Example:
        key = self.free_keys[int(rng.integers(len(self.free_keys)))]
        scene = self.of_photo[key]
        lines = self.free[key]
        lines = [lines[k] for k in rng.permutation(len(lines))[: self.points]]
        points = [point_in(scene, line) for line in lines]
        said = [(line["long"], line["short"]) for line in lines]
        absent = list(self.absent[key])
        if rng.random() < 0.5:
            scene = mirror(scene)
            points = [(scene.size_wh[0] - x, y) for x, y in points]
            said = [(mirrored_text(long), mirrored_text(short)) for long, short in said]
            absent = [mirrored_text(text) for text in absent]
        if self.cuts and rng.random() < 0.6:
            scene, points = _cut_a_little(scene, points, rng)
        example, to_square = self._square(scene, rng)
        for (x, y), (long, short) in zip(points, said, strict=True):
            at = to_square((x, y))
            example.points.append(at)
            example.texts.append(long)
            example.shorts.append(short)
            part = self._part_at(scene, (x, y))
            example.sided.append(part[0])
            example.objects.append(part[1])
            example.wanted.append(Wanted(text=_thinned(long, rng), point=at, free=True))
            example.wanted.append(Wanted(text=short, point=at, free=True))
        for _ in range(self.others):
            example.wanted.append(self._negative(key, rng, said))
        if absent:
            example.wanted.append(Wanted(text=absent[int(rng.integers(len(absent)))], there=False, free=True))
        if scene.parts:
            example.wanted.append(self._name_of_some(scene, rng))
        return _filled(example, self.points, self.wanted, rng)

    def _negative(self, key: tuple[str, str], rng: np.random.Generator, said: Sequence[tuple[str, str]]) -> Wanted:
        """Another photo's text, or an own one in other colours; long and short ones as often, as of true texts.

        A length that tells would be learnt in place of what is said.
        """
        length = int(rng.integers(2))
        if rng.random() < RECOLOURED[length]:
            text = _thinned(said[int(rng.integers(len(said)))][length], rng)
            changed = _other_colours(text, rng)
            if changed != text:
                return Wanted(text=changed, there=False, free=True)
        return Wanted(text=_thinned(self.other_text(key, LENGTHS[length], rng), rng), there=False, free=True)

    def other_text(self, key: tuple[str, str], length: str, rng: np.random.Generator) -> str:
        """A free text of another photo. length: one of `LENGTHS`."""
        others = [other for other in self.free_keys if other != key]
        if not others:
            raise ValueError("all free texts are of one photo; give texts of two or more")
        lines = self.free[others[int(rng.integers(len(others)))]]
        text: str = lines[int(rng.integers(len(lines)))][length]
        return text

    # --- Photos with phrases

    def _phrases(self, rng: np.random.Generator) -> Example:
        key = self.phrase_keys[int(rng.integers(len(self.phrase_keys)))]
        scene, lines = self.of_photo[key], self.phrases_about(key, rng)
        words = [line["text"] for line in lines]
        points = [point_in(scene, line) for line in lines if line["there"]]
        if rng.random() < 0.5:
            scene, words = mirror(scene), [mirrored_text(text) for text in words]
            points = [(scene.size_wh[0] - x, y) for x, y in points]
        words = [misspelt(text, rng) if rng.random() < MISSPELT else text for text in words]
        if self.cuts and rng.random() < 0.6:
            scene, points = _cut_a_little(scene, points, rng)
        example, to_square = self._square(scene, rng)
        example.points = [to_square(point) for point in points]
        at = iter(example.points)
        example.wanted = [
            Wanted(text=text, point=next(at) if line["there"] else None, there=line["there"], free=True)
            for text, line in zip(words, lines, strict=True)
        ]
        return example

    def phrases_about(self, key: tuple[str, str], rng: np.random.Generator) -> list[Mapping[str, Any]]:
        """Phrases that fit a photo, and about twice as many that do not.

        Who writes of things that are not there writes of "a wheelbarrow" more often than others do: words would tell.
        So one of those of absent things is asked, and other photos' phrases besides, which name what is there
        elsewhere. Both of implausible things are: such are in hardly any photo, and their words may tell.
        """
        of_kind: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for line in self.phrases[key]:
            of_kind[line["kind"]].append(line)
        absent = [of_kind["absent"][k] for k in rng.permutation(len(of_kind["absent"]))[:1]]
        others = [self._other_phrase(key, rng) for _ in range(OTHER_PHRASES)]
        unfit = [*of_kind["wrong"], *absent, *of_kind["implausible"]]
        return [*of_kind["true"], *unfit, *(one for one in others if one is not None)]

    def _other_phrase(self, key: tuple[str, str], rng: np.random.Generator) -> Mapping[str, Any] | None:
        """One of another photo that names something of which nothing written or labelled of this one speaks.

        None where ten draws found none.
        """
        known = self._things(key)
        near = [other for other in self.phrase_keys if other[0] == key[0]] if rng.random() < 0.5 else self.phrase_keys
        for _ in range(10):
            lines = [line for line in self.phrases[near[int(rng.integers(len(near)))]] if line["there"]]
            if lines:
                text = lines[int(rng.integers(len(lines)))]["text"]
                if things_in(text) - known:
                    return {"text": text, "there": False, "kind": "other"}
        return None

    def _things(self, key: tuple[str, str]) -> frozenset[str]:
        """Words for the things of a photo, in all that is written or labelled of it."""
        if key not in self._things_of:
            scene = self.of_photo[key]
            names = {part.name for part in scene.parts} | {thing.name for thing in scene.objects}
            texts = [way for name in names for way in ways_to_say(name)]
            texts += [line[length] for line in self.free.get(key, ()) for length in LENGTHS]
            texts += [line["text"] for line in self.phrases[key] if line["there"]]
            self._things_of[key] = frozenset().union(*map(things_in, texts))
        return self._things_of[key]

    # --- Photos with labels

    def _labelled(self, scene: Scene, rng: np.random.Generator) -> Example:
        example, to_square = self._square(scene, rng)
        drawn = sample_points(scene, self.points, rng, sift_share=0.5 if rng.random() < 0.4 else 0.0)
        facts = facts_of_points(scene, [(one.x, one.y) for one in drawn])
        for one, known in zip(drawn, facts, strict=True):
            at = to_square((one.x, one.y))
            part = scene.parts[one.part_index]
            example.points.append(at)
            example.texts.append(sentence_case(write_point_text(known, PAPER, rng)))
            example.shorts.append(write_point_text(known, SHORT, rng).rstrip("."))
            example.sided.append(self.sided_index.get(part.name, -1))
            example.objects.append(self.object_index.get(scene.objects[part.object_index].name, -1))
            dialect = self.dialects[int(rng.choice(len(self.dialects), p=self.shares))]
            text = write_point_text(known, dialect, rng)
            example.wanted.append(Wanted(text=text, point=at))
            if rng.random() < 0.35:
                changed = _other_colours(text, rng)
                if changed != text:
                    example.wanted.append(Wanted(text=changed, there=False))
        for _ in range(2):
            example.wanted.append(self._name_of_some(scene, rng))
        example.wanted.append(self._absent(scene, rng))
        return _filled(example, self.points, self.wanted, rng)

    def _name_of_some(self, scene: Scene, rng: np.random.Generator) -> Wanted:
        """The name of a part or an object; what it fits is the target."""
        k = int(rng.integers(len(scene.parts)))
        part = scene.parts[k]
        thing = scene.objects[part.object_index]
        is_object = part.name == thing.name or rng.random() < 0.15
        name = thing.name if is_object else part.name
        if is_object:
            members = [j for j, other in enumerate(scene.parts) if scene.objects[other.object_index].name == name]
        elif rng.random() < 0.35:
            name = class_of(name)
            members = [j for j, other in enumerate(scene.parts) if class_of(other.name) == name]
        else:
            # A "left shoe" is also in parts that are just called "shoe" or "shoes".
            vague = {f"{name}s", without_side(name), f"{without_side(name)}s"}
            members = [j for j, other in enumerate(scene.parts) if other.name in {name} | vague]
        text = self._said(name, None if is_object else thing.name, rng)
        if not is_object and any(re.search(rf"\b{re.escape(way)}\b", text) for way in ways_to_say(thing.name)):
            # "The cat's head" is not the dog's.
            members = [j for j in members if scene.objects[scene.parts[j].object_index].name == thing.name]
        wanted = np.isin(scene.part_map, np.array(members) + 1)
        return Wanted(text=text, cells=_heat_cells(wanted))

    def _said(self, name: str, owner: str | None, rng: np.random.Generator) -> str:
        ways = ways_to_say(name)
        noun = ways[int(rng.integers(len(ways)))]
        forms = ["{n}", "the {n}", "the {n}", "click on the {n}", "where is the {n}?", "a {n}", "point to the {n}"]
        if owner is not None:
            forms += ["the {n} of the {o}", "the {o}'s {n}", "{o} {n}", "the {o}'s {n}"]
        owners = ways_to_say(owner) if owner else ("",)
        form = forms[int(rng.integers(len(forms)))]
        return form.format(n=noun, o=owners[int(rng.integers(len(owners)))])

    def _absent(self, scene: Scene, rng: np.random.Generator) -> Wanted:
        """The name of a part or thing that is labelled where it is shown, and is not here; or another photo's text."""
        shown = {class_of(part.name) for part in scene.parts} | {thing.name for thing in scene.objects}
        sources = scene.source.split("+")
        known = self._told_if_shown(scene)
        # Clothes are called many things, and of whatever stands in the background nothing is labelled.
        vague = {"clothing_parts", "facades"} & set(sources)
        options = sorted(known - shown) if not vague else []
        if not options or rng.random() < 0.35:
            unsure = {"person", "plant", "street", "building", "window"}
            others = sorted(
                name for name in set(self.names.objects) - shown if unsure.isdisjoint((name, *ways_to_say(name)))
            )
            if vague or rng.random() < 0.5:
                options = others
        if not options:
            options = ["zebra"]
        name = options[int(rng.integers(len(options)))]
        if any(set(ways_to_say(name)) & set(ways_to_say(other)) for other in shown):
            name = "zebra" if "zebra" not in shown else "airplane"
        things = [thing.name for thing in scene.objects]
        owner = things[int(rng.integers(len(things)))] if things and name not in self.names.objects else None
        return Wanted(text=self._said(name, owner, rng), there=False)

    def _told_if_shown(self, scene: Scene) -> frozenset[str]:
        """Classes that would be labelled if the photo showed them.

        Not people's parts beside a person, of whom a detector finds some, nor animals' eyes and ears.
        """
        known = frozenset.intersection(*(self.names.known[name] for name in scene.source.split("+")))
        if any(thing.name in KINDS["people"] for thing in scene.objects):
            known -= self.names.known.get("coco_people", frozenset()) - set(self.names.objects)
        return known - {"eye", "ear"} if scene.objects else known

    # --- Squares

    def _square(self, scene: Scene, rng: np.random.Generator) -> tuple[Example, Any]:
        pad_x, pad_y, long_side = square_padding(scene.size_wh)
        scale = SIDE / long_side
        x0, y0 = round(pad_x * scale), round(pad_y * scale)
        x1 = max(x0 + 1, round((pad_x + scene.size_wh[0]) * scale))
        y1 = max(y0 + 1, round((pad_y + scene.size_wh[1]) * scale))
        square = np.zeros((SIDE, SIDE, 3), np.uint8)
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        square[y0:y1, x0:x1] = cv2.resize(scene.photo, (x1 - x0, y1 - y0), interpolation=how)
        # 0 is background; classes of parts, and of objects where no part is.
        table = np.zeros(len(scene.parts) + 1, np.int16)
        for k, part in enumerate(scene.parts):
            table[k + 1] = self.index.get(class_of(part.name), -1) + 1
        labels = table[scene.part_map]
        if scene.object_map is not None:
            owners = np.array([0, *(self.index.get(one.name, -1) + 1 for one in scene.objects)], np.int16)
            labels = np.where(labels > 0, labels, owners[scene.object_map])
        known = np.zeros(len(self.names.classes), bool)
        known[[self.index[name] for name in self._told_if_shown(scene)]] = True
        known[np.unique(labels[labels > 0]) - 1] = True
        example = Example(
            square=square, inside=(x0, y0, x1, y1), classes=on_square(labels, MAP, "nearest"), known=known
        )

        def to_square(point: tuple[float, float]) -> tuple[float, float]:
            u, v = photo_to_square([point], scene.size_wh)[0]
            return float(u), float(v)

        return example, to_square

    def _part_at(self, scene: Scene, point: tuple[float, float]) -> tuple[int, int]:
        width, height = scene.size_wh
        label = int(scene.part_map[min(int(point[1]), height - 1), min(int(point[0]), width - 1)])
        if not label:
            return -1, -1
        part = scene.parts[label - 1]
        thing = scene.objects[part.object_index]
        return self.sided_index.get(part.name, -1), self.object_index.get(thing.name, -1)


def on_square(labels: np.ndarray, cells: int, how: str) -> np.ndarray:
    """A map of the photo's pixels, read at the centres of the square's cells; 0 on the padding."""
    height, width = labels.shape
    pad_x, pad_y, long_side = square_padding((width, height))
    places = (np.arange(cells) + 0.5) * long_side / cells
    x, y = np.floor(places - pad_x).astype(int), np.floor(places - pad_y).astype(int)
    inside = ((y >= 0) & (y < height))[:, None] & ((x >= 0) & (x < width))
    read = labels[y.clip(0, height - 1)[:, None], x.clip(0, width - 1)]
    return np.where(inside, read, np.zeros((), labels.dtype))


def _heat_cells(mask: np.ndarray) -> np.ndarray:
    """(HEAT, HEAT) bool of a mask; a thin one keeps the cells that it touches."""
    cells = on_square(mask, HEAT, "nearest")
    if cells.sum() < 3:
        rows, columns = np.nonzero(mask)
        if len(rows):
            some = photo_to_square(np.stack([columns + 0.5, rows + 0.5], -1), (mask.shape[1], mask.shape[0]))
            at = np.minimum((some * HEAT).astype(int), HEAT - 1)
            cells = cells.copy()
            cells[at[:, 1], at[:, 0]] = True
    return cells


def _cut_a_little(
    scene: Scene, points: list[tuple[float, float]], rng: np.random.Generator
) -> tuple[Scene, list[tuple[float, float]]]:
    """A crop that keeps the points and nearly all of the photo: what texts say of places stays about true."""
    width, height = scene.size_wh
    share = rng.uniform(0.78, 1.0)
    w, h = (
        round(width * min(1.0, share * rng.uniform(0.93, 1.07))),
        round(height * min(1.0, share * rng.uniform(0.93, 1.07))),
    )
    x0, y0 = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
    moved = [(x - x0, y - y0) for x, y in points]
    if not all(0.02 * w < x < 0.98 * w and 0.02 * h < y < 0.98 * h for x, y in moved):
        return scene, points
    cut = crop(scene, (x0, y0, x0 + w, y0 + h))
    stretched = resize(cut, scaled_size((round(w * rng.uniform(0.92, 1.08)), h), 1.0))
    fx, fy = stretched.size_wh[0] / w, stretched.size_wh[1] / h
    return stretched, [(x * fx, y * fy) for x, y in moved]


def point_in(scene: Scene, line: Mapping[str, Any]) -> tuple[float, float]:
    """A line's point, in pixels of the scene's photo, which may be smaller than the line's."""
    return line["x"] * scene.size_wh[0] / line["width"], line["y"] * scene.size_wh[1] / line["height"]


def things_in(text: str) -> frozenset[str]:
    """Words that may name a thing, without plural or owner's s.

    Example:
        >>> sorted(things_in("Where are the dog's white feet, on the right-hand side of the benches?"))
        ['bench', 'dog', 'foot']
    """
    said = re.sub(r"\b(left|right)-hand\b", "", text.lower())
    words = (re.sub(r"('s|s')$", "", word) for word in re.findall(r"[a-z']+", said))
    plain = (PLURALS.get(word) or re.sub(r"(?<=ch|sh|.x|ss)es$|(?<=[^s])s$", "", word) for word in words)
    return frozenset(word for word in plain if len(word) > 2 and word not in PLAIN_WORDS)


def misspelt(text: str, rng: np.random.Generator) -> str:
    """With two letters of a word swapped, or one left out or doubled; as it is, where no word has five letters."""
    words = text.split(" ")
    long = [k for k, word in enumerate(words) if len(word) > 4 and word.isalpha()]
    if not long:
        return text
    k = long[int(rng.integers(len(long)))]
    word, at = words[k], int(rng.integers(1, len(words[k]) - 1))
    before, letter, after = word[:at], word[at], word[at + 1 :]
    words[k] = (before + after[0] + letter + after[1:], before + after, before + 2 * letter + after)[rng.integers(3)]
    return " ".join(words)


def _thinned(text: str, rng: np.random.Generator) -> str:
    """A third of the time without one of its sentences, so that no single one is learnt by heart.

    Of two sentences one alone says where the point is.
    """
    sentences = re.split(r"(?<=[.;!?])\s+", text)
    if len(sentences) > 2 and rng.random() < 0.35:
        del sentences[int(rng.integers(len(sentences)))]
    return " ".join(sentences)


def _other_colours(text: str, rng: np.random.Generator) -> str:
    """Each colour word replaced by one of another colour, and by none that the text names."""
    said = {one.lower() for one in re.findall(r"[A-Za-z]+", text)}

    def other(match: re.Match[str]) -> str:
        options = FAR_COLOURS.get(match.group().lower(), ("green", "red", "purple", "blue"))
        options = tuple(one for one in options if one not in said) or options
        return options[int(rng.integers(len(options)))]

    return re.sub(rf"\b({'|'.join(COLOURS)})\b", other, text, flags=re.IGNORECASE)


def _filled(example: Example, points: int, wanted: int, rng: np.random.Generator) -> Example:
    """Exactly so many points and texts: some are left out, or come twice."""
    if example.points:
        take = [k % len(example.points) for k in range(points)]
        for name in ("points", "texts", "shorts", "sided", "objects"):
            values = getattr(example, name)
            setattr(example, name, [values[k] for k in take])
    order = rng.permutation(len(example.wanted))
    example.wanted = [example.wanted[order[k % len(order)]] for k in range(wanted)]
    return example


def sentence_case(text: str) -> str:
    return re.sub(r"(^|[.!?]\s+)([a-z])", lambda match: match.group(1) + match.group(2).upper(), text)


def read_lines(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line.strip()]


def stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].rsplit(".", 1)[0]
