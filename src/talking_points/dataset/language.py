"""Who puts a point into words, in three roles: who sees the photo, who sees the surroundings, and who writes the text.

Rules fill every role offline; so does a model behind an endpoint, and our own Point Descriptor fills the first two.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from string import Template
from typing import Literal

import numpy as np
from PIL import Image

from talking_points.dataset.checks import MAX_WORDS, find_problems
from talking_points.dataset.facts import PointFacts
from talking_points.dataset.grammar import write_local_text, write_object_text, write_point_text
from talking_points.dataset.places import Dialect
from talking_points.dataset.windows import CUT_SIDE_PX, cut_out, ringed_photo
from talking_points.endpoint import Endpoint, RequestRefusedError
from talking_points.pointing.interfaces import Describer

Level = Literal["object", "local"]
"""What a describer speaks of: the object, from the whole photo with the point; or the surroundings of the point."""

OpenPhoto = Callable[[], Image.Image]
PROMPTS = Path(__file__).with_name("prompts")


@dataclass(frozen=True, kw_only=True, slots=True)
class PointTask:
    """One point to be put into words."""

    record_id: str
    facts: PointFacts
    dialect: Dialect
    relations: str
    """Where the point is, in words, as exact as the dialect allows: measured, and the same for all who ask."""
    seed: int
    """Of this point: every choice about it follows from this number alone."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Stands where a text should be: a model refused to write it."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What became of one point."""

    draft: str
    """After the first stage, generate."""
    text: str
    """After the last, refine; of a rejected point, what it was rejected for."""
    rejected: str | None = None
    """Why the text cannot be a record; None when it can."""


@dataclass(frozen=True)
class RuleDescriber:
    """Describes from facts alone; the photo is not opened."""

    level: Level
    name = "rules"

    def describe(self, open_photo: OpenPhoto, tasks: Sequence[PointTask]) -> list[str | Refusal]:
        """See `PhotoDescriber`."""
        # The level is part of the seed: the two texts about a point choose their words apart.
        if self.level == "object":
            return [write_object_text(t.facts, t.dialect, np.random.default_rng([t.seed, 1])) for t in tasks]
        return [write_local_text(t.facts, np.random.default_rng([t.seed, 2])) for t in tasks]


@dataclass(frozen=True)
class EndpointDescriber:
    """Describes by asking a model with vision, which sees the ringed photo or the faded cut-out."""

    level: Level
    endpoint: Endpoint

    @property
    def name(self) -> str:
        """The model's."""
        return self.endpoint.config.model

    def describe(self, open_photo: OpenPhoto, tasks: Sequence[PointTask]) -> list[str | Refusal]:
        """See `PhotoDescriber`; errors as `Endpoint.ask`, but that a refused request is a `Refusal`."""
        photo = open_photo()
        return [self._describe_one(photo, task) for task in tasks]

    def _describe_one(self, photo: Image.Image, task: PointTask) -> str | Refusal:
        facts = task.facts
        names = {"object_name": facts.object_name, "part_name": facts.part_name}
        if self.level == "object":
            prompt = fill_prompt("object", relations=task.relations, **names)
            picture = ringed_photo(photo, facts.point_px, self.endpoint.config.photo_side_px)
        else:
            prompt = fill_prompt("local", **names)
            picture = cut_out(photo, facts.point_px)
        try:
            return " ".join(self.endpoint.ask(prompt, picture, seed=task.seed).split())
        except RequestRefusedError as refusal:
            return Refusal(str(refusal))


@dataclass(frozen=True)
class DescriptorDescriber:
    """Describes with a model in this process, such as our own Point Descriptor; threads take turns."""

    level: Level
    describer: Describer
    name: str
    turn: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def from_pretrained(cls, level: Level, name_or_folder: str, *, device: str | None = None) -> DescriptorDescriber:
        """Load a Point Descriptor: "mini", a checkpoint folder or a Hub id."""
        # It imports torch, which takes seconds.
        from talking_points.pointing.descriptor import PointDescriptor

        return cls(level, PointDescriptor.from_pretrained(name_or_folder, device=device), name_or_folder)

    def describe(self, open_photo: OpenPhoto, tasks: Sequence[PointTask]) -> list[str | Refusal]:
        """See `PhotoDescriber`. At the local level the model sees the faded cut-out only."""
        photo = open_photo()
        points_px = [task.facts.point_px for task in tasks]
        with self.turn:
            if self.level == "object":
                return [*self.describer.describe(photo, points_px)]
            middle = CUT_SIDE_PX / 2
            return [self.describer.describe(cut_out(photo, point), [(middle, middle)])[0] for point in points_px]


PhotoDescriber = RuleDescriber | EndpointDescriber | DescriptorDescriber
"""Describes points of one photo at one level.

`name` goes into the records: "rules", or the model's name. `describe(open_photo, tasks)` gives one text for each point,
in their order, empty when nothing was said; `open_photo` gives the RGB photo, upright, to who looks at it.
"""


@dataclass(frozen=True, kw_only=True)
class RuleWriter:
    """Writes with the grammar: every phrasing is checked by its tests, so one stage is both."""

    describers_are_rules: bool
    """The descriptions are the grammar's own, which says them better in one piece."""
    name = "rules"

    def write(self, task: PointTask, object_description: str, local_description: str) -> Written:
        """See `Writer`. Descriptions by a model follow the relations, each as a sentence of its own."""
        if self.describers_are_rules:
            text = write_point_text(task.facts, task.dialect, np.random.default_rng([task.seed, 3]))
            return Written(draft=text, text=text)
        sentences = [task.relations]
        if task.dialect.local:
            sentences += [object_description, local_description]
        said = [" ".join(sentence.split()) for sentence in sentences if sentence.strip()]
        text = " ".join(one if one[-1] in ".!?" else f"{one}." for one in said)
        problems = find_problems(text, task.facts, task.dialect)
        return Written(draft=text, text=text, rejected="; ".join(problems) or None)


@dataclass(frozen=True)
class EndpointWriter:
    """Asks a language model twice, generate then refine; once more when the checks find a problem."""

    endpoint: Endpoint

    @property
    def name(self) -> str:
        """The model's."""
        return self.endpoint.config.model

    def write(self, task: PointTask, object_description: str, local_description: str) -> Written:
        """See `Writer`; `EndpointDownError` and `BudgetSpentError` pass through."""
        known = {
            "object_name": task.facts.object_name,
            "part_name": task.facts.part_name,
            "relations": task.relations,
            "dialect": fill_prompt(f"dialect_{task.dialect.name}"),
            "max_words": str(MAX_WORDS[task.dialect.length]),
            "object_description": object_description or "nothing is known",
            "local_description": local_description or "nothing is known",
        }

        def ask(prompt: str, **more: str) -> str:
            return self.endpoint.ask(fill_prompt(prompt, **known, **more), None, seed=task.seed)

        draft = text = ""
        try:
            draft = text = ask("generate")
            text = ask("refine", draft=draft)
            problems = find_problems(text, task.facts, task.dialect)
            if problems:
                text = ask("repair", problems="; ".join(problems), text=text or "(empty)")
                problems = find_problems(text, task.facts, task.dialect)
        except RequestRefusedError as refusal:
            problems = [str(refusal)]
        return Written(draft=draft, text=text.strip(), rejected="; ".join(problems) or None)


Writer = RuleWriter | EndpointWriter
"""Makes one text of a point's facts and its two descriptions.

`name` as of a describer. `write` raises nothing for a text that is no good: it is marked as rejected.
"""


@cache
def _read_prompt(name: str) -> str:
    return (PROMPTS / f"{name}.txt").read_text(encoding="utf-8")


def fill_prompt(name: str, **words: str) -> str:
    """The text of `prompts/<name>.txt` with its `$words` filled in; each must be given, and more may be."""
    return Template(_read_prompt(name)).substitute(words).strip()


def prompts_sha256() -> str:
    """One hash over all prompts: equal hashes asked equal questions."""
    whole = hashlib.sha256()
    for name in sorted(path.stem for path in PROMPTS.glob("*.txt")):
        whole.update(f"{name}\n{_read_prompt(name)}\n".encode())
    return whole.hexdigest()
