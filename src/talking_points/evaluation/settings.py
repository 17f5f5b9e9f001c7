"""What `talking-points evaluate` and `evaluate-pointing` are told. Neither torch nor a model is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from talking_points.evaluation.paper import contestants_of
from talking_points.fields import FieldSettings

DESCRIBERS = (
    "ground-truth",
    "descriptor",
    "descriptor:DIR",
    "chosen",
    "chosen:DIR",
    "object-caption",
    "region-caption",
    "file:PATH[=NAME]",
    "endpoint:URL,MODEL",
)
LOCALIZERS = ("localizer", "localizer:DIR", "blind:DIR", "endpoint:URL,MODEL")


@dataclass(frozen=True, kw_only=True)
class ContestSettings:
    """Which localizers are scored, by which model, and what endpoints may cost."""

    out: Path
    """Where the report goes; an earlier run there resumes."""
    model: str = "mini"
    """'mini', a checkpoint folder, a Hub id (owner/name), or endpoint:URL,MODEL."""
    style: str | None = None
    """Of stock models and endpoints, how they write points; told by their names unless given."""
    localizer: tuple[str, ...] = ("localizer",)
    """localizer, localizer:DIR, blind:DIR (trained blind), or endpoint:URL,MODEL. Repeatable."""
    device: str | None = None
    """'cpu', 'cuda', 'cuda:1', ...; chosen for you unless given."""
    quantize: str | None = None
    """nf4 or int8 for the base's language model, by bitsandbytes."""
    concurrency: int = 8
    """Requests to endpoints side by side."""
    max_requests: int | None = None
    """To endpoints, in all runs."""
    max_tokens: int | None = None
    """Of endpoints, in all runs."""
    max_answer_tokens: int | None = None
    """Longest answer of an endpoint; not sent unless given, as some models refuse it."""

    def __post_init__(self) -> None:
        _check_positive(self, ("concurrency", "max_requests", "max_tokens", "max_answer_tokens"))
        _check_names("localizer", self.localizer, LOCALIZERS)
        if len(blind := [name for name in self.localizer if name.startswith("blind:")]) > 1:
            raise ValueError(f"--localizer names several blind ones, {', '.join(blind)}; allowed: one")


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings(ContestSettings, FieldSettings):
    """What is scored, by whom, and how it is shown."""

    data: tuple[Path, ...] = ()
    """A built set, a file of points (JSON lines, CSV, COCO keypoints as AP-10K's) or SPair-71k. Repeatable."""
    source: tuple[str, ...] = ()
    """NAME=DIR: or part-labelled photos, to draw points from. Repeatable."""
    sets: tuple[Literal["plain", "hard", "mirrored", "cropped", "recoloured"], ...] = field(
        default=(), metadata={"flags": ("--set",)}
    )
    """With source: 'plain' photos, or 'hard' crops and mosaics; 'mirrored', 'cropped' or 'recoloured' to be found in a
    changed photo. Repeatable; the first two unless given."""
    points: int = 4
    """With source: points of each photo."""
    split: str | None = None
    """'test' for the last measurement; with source also 'val', to choose by: the default there."""
    describer: tuple[str, ...] = ()
    """ground-truth, descriptor, descriptor:DIR, chosen, chosen:DIR (its localizer chooses among its texts),
    object-caption, region-caption, file:PATH[=NAME] or endpoint:URL,MODEL. Repeatable; the first two unless given."""
    table: Literal["1", "2", "3", "4", "figure"] | None = None
    """The paper's 1 to 4 or 'figure': its contestants, its rows beside ours, and what differs."""
    styles: bool = False
    """Every text in other styles too: a matrix of styles and judges."""
    cross_photo: bool = False
    """Described in one photo, found in another: of a file the same part of such an object, with source the photo
    mirrored, cropped and recoloured."""
    objects: tuple[str, ...] = field(default=(), metadata={"flags": ("--object",)})
    """Only points on these: an object's name, or its family in AP-10K. Repeatable."""
    parts: tuple[str, ...] = field(default=(), metadata={"flags": ("--part",)})
    """Only points on these parts, by their name or a word of it. Repeatable."""
    limit: int | None = None
    """Samples of each set, at most, drawn evenly over its sources."""
    engine: Literal["local", "ray"] = "local"
    """local, or ray for a cluster."""
    workers: int = 1
    """With the engine ray: actors, a model each."""
    seed: int = 0
    """Equal seeds make equal choices."""

    def __post_init__(self) -> None:
        ContestSettings.__post_init__(self)
        FieldSettings.__post_init__(self)
        if bool(self.data) == bool(self.source):
            raise ValueError("expected --data PATH, or --source NAME=DIR, and not both")
        if self.fields is not None and self.source:
            raise ValueError("--fields is said of the records of --data, and --source has none")
        if self.cross_photo and self.sets:
            raise ValueError("--cross-photo chooses the sets; leave out it or --set")
        _check_positive(self, ("limit", "points", "workers"))
        _check_names("describer", self.describer, DESCRIBERS)
        if self.workers > 1 and self.engine == "local":
            raise ValueError(f"--workers is {self.workers}; allowed: 1, or 1 and more with --engine ray")
        self.contestants(have_texts=True)

    @property
    def chosen_split(self) -> str:
        """The one that is given, or else the usual one."""
        return self.split or ("test" if self.data else "val")

    def contestants(self, *, have_texts: bool) -> tuple[list[str], list[str]]:
        """Describers and localizers: those of the table and those that are named, or else the usual ones."""
        if self.table is not None:
            return contestants_of(self.table, self.describer, self.localizer, self.objects)
        return list(self.describer) or [*(["ground-truth"] if have_texts else []), "descriptor"], list(self.localizer)


@dataclass(frozen=True, kw_only=True)
class PointingSettings(ContestSettings):
    """Which pointing benchmark of others is scored."""

    data: Path
    """The benchmark's folder, as distributed; of AP-10K and PACO a file of annotations."""
    layout: str
    """pixmo-points, point-bench, refspatial-bench, ap-10k, paco, instruct-part or crosspoint-bench: whose files they
    are."""


def _check_positive(settings: object, names: Iterable[str]) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; allowed: at least 1")


def _check_names(role: str, names: Iterable[str], allowed: tuple[str, ...]) -> None:
    """Each is one of the allowed, or has one of their kinds and something after the colon."""
    kinds = {one.partition(":")[0] for one in allowed if ":" in one}
    for name in names:
        kind, _, where = name.partition(":")
        if name not in allowed and not (kind in kinds and where):
            raise ValueError(f"{role} is {name!r}; allowed: {', '.join(allowed)}")
