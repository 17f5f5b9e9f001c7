"""What `build-dataset` is told: which photos, how many points, who writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PAPER_RECORDS = 21_000
"""17K train and 4K test, paper 3.1."""
PAPER_TEST_SHARE = 4 / 21
ROLES = ("object_describer", "local_describer", "writer")
LOCAL_KINDS = {"object_describer": ("descriptor", "caption"), "local_describer": ("descriptor",), "writer": ()}
"""What a model in this process can be in a role."""


@dataclass(frozen=True, kw_only=True)
class BuildSettings:
    """What to build. Values are the paper's unless marked ours."""

    sources: tuple[str, ...] = field(default=(), metadata={"flags": ("--source",)})
    """Part-labelled photos, as NAME=DIR: pascal-part-116, ade20k-part-234, part-imagenet, label-map, coco-parts
    or coco (objects, joints, boxes). Repeatable."""
    out: Path
    """Folder of the set; an earlier run there goes on."""
    split: Literal["train", "val", "test"] = "train"
    """Which of the sources' photos to read."""
    seed: int = 0
    """Equal seeds build equal sets."""
    records: int = PAPER_RECORDS
    """Records with good texts, at most."""
    equal_shares: bool = field(default=True, metadata={"flags": ("--equal-shares/--all-points",)})
    """As many records of each source as of the one that gives the fewest; else all that there are. Counted are those
    whose texts are good: for a rejected one, the next point of its source has its turn."""
    balance: bool = True
    """Points even over objects and parts; else chance among all points of a source."""
    test_share: float = PAPER_TEST_SHARE
    """Share of the records that becomes the set's own test split, by photo."""
    points_per_photo: int = 1
    """Points of a photo, at most. The paper takes the one with the highest response."""
    per_part: int = 1
    """Points of one part of a photo, at most. Ours."""
    smooth_share: float = 0.0
    """Share of points on surfaces without texture, where SIFT finds nothing. Ours."""
    dialects: tuple[str, ...] = field(default=("paper",), metadata={"flags": ("--dialect",)})
    """Ways of writing: paper, coarse, place-free, short or clear; of several, each record gets one. Repeatable."""
    object_describer: str = "rules"
    """Who describes the object: rules, endpoint:URL,MODEL, descriptor:MODEL (a checkpoint of ours or a stock model, as
    a folder or a Hub id) or caption:MODEL (what the base of a checkpoint says by itself: OMG-LLaVA in the paper)."""
    local_describer: str = "rules"
    """Who describes the point's surroundings: rules, endpoint:URL,MODEL or descriptor:MODEL."""
    writer: str = "rules"
    """Who writes the texts: rules or endpoint:URL,MODEL."""
    endpoint_photo_side_px: int = field(default=1024, metadata={"flags": ("--photo-side",)})
    """Photos are sent to endpoints scaled down to at most this long side, in pixels."""
    api_key_env: str = "OPENAI_API_KEY"
    """Environment variable with the endpoints' key."""
    timeout_s: float = field(default=120.0, metadata={"flags": ("--timeout",)})
    """Longest silence while an answer is waited for, in seconds."""
    concurrency: int = 8
    """Photos whose points endpoints are asked about at the same time."""
    attempts: int = 6
    """A request that fails this often in a row ends the run."""
    backoff_s: float = 1.0
    """Seconds before a second attempt; twice as many before each further one."""
    max_requests: int | None = None
    """Requests to endpoints, of all runs together, at most."""
    max_tokens: int | None = None
    """Tokens of endpoints, of all runs together, at most; answers that are under way may go beyond it."""
    max_answer_tokens: int | None = None
    """Longest answer of an endpoint, in tokens; not sent unless given, as some models refuse it."""
    photos: Literal["embed", "path"] = "embed"
    """Embed the photos' files into the set, or note their path."""
    skip_bad: bool = False
    """Pass over photos that cannot be read, and list them in the report, instead of ending with an error."""
    workers: int = 1
    """Processes that look at photos."""
    engine: Literal["local", "ray"] = "local"
    """Where the workers are: on this machine, or on a cluster of Ray."""
    audit: str | None = None
    """Write a page of this share of the test records, such as 5% or 0.05 (the paper's), for a person to check."""

    def __post_init__(self) -> None:
        # Here and not above: places.py imports numpy, and the shell's help is to be there at once.
        from talking_points.dataset.places import DIALECTS

        if not self.sources:
            raise ValueError("give at least one source, as in --source label-map=DIR")
        for name in ("records", "points_per_photo", "per_part", "workers", "concurrency", "endpoint_photo_side_px"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("test_share", "smooth_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        _ = self.audit_share
        if self.seed < 0:
            raise ValueError(f"seed must not be negative, got {self.seed}")
        if not self.dialects:
            raise ValueError(f"give at least one dialect of {', '.join(DIALECTS)}")
        for dialect in self.dialects:
            if dialect not in DIALECTS:
                raise ValueError(f'unknown dialect "{dialect}"; known are {", ".join(DIALECTS)}')
        for name, allowed in (("engine", ("local", "ray")), ("photos", ("embed", "path"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"--{name} must be {' or '.join(allowed)}, got {getattr(self, name)}")
        for role in ROLES:
            self.who(role)

    @property
    def audit_share(self) -> float | None:
        """`audit` as a number in (0, 1]."""
        if self.audit is None:
            return None
        try:
            share = float(self.audit.removesuffix("%")) / (100 if self.audit.endswith("%") else 1)
        except ValueError:
            share = 0.0
        if not 0 < share <= 1:
            raise ValueError(f"--audit expects a share such as 5% or 0.05, got {self.audit!r}")
        return share

    def who(self, role: str) -> tuple[str, str]:
        """Who fills one of `ROLES`: ("rules", ""), ("endpoint", "URL,MODEL"), or one of `LOCAL_KINDS` and "MODEL"."""
        said: str = getattr(self, role)
        kind, _, name = said.partition(":")
        url, _, model = name.rpartition(",")
        if kind == "endpoint" and not (url and model):
            raise ValueError(f"{role} {said} needs an address and a model, as in endpoint:http://host:8000/v1,MODEL")
        if kind in LOCAL_KINDS[role] and name.startswith("endpoint:"):
            raise ValueError(f"{role} is {said}; a model behind an endpoint is given without {kind}: before it")
        if said != "rules" and kind != "endpoint" and (kind not in LOCAL_KINDS[role] or not name):
            allowed = ["rules", "endpoint:URL,MODEL", *(f"{one}:MODEL" for one in LOCAL_KINDS[role])]
            listed = ", ".join(allowed[:-1]) + f" or {allowed[-1]}"
            raise ValueError(f'{role} is "{said}", expected {listed}')
        return kind, name
