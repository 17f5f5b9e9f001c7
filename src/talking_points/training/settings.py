"""What trainings are told: settings of the two roles and of reinforcement, and the recipes that stand beneath them.

`talking_points.settings.make` puts what is given over the recipe that the base names. Made directly, these classes know
of no recipe, and their defaults hold: the paper's for the 7B unless marked ours.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import talking_points
from talking_points.fields import FieldSettings
from talking_points.files import read_json, read_table
from talking_points.pointing.pretrained import find_base
from talking_points.settings import flag, read_values


def processes() -> int:
    """Of this training, as torchrun and `accelerate launch` tell."""
    return int(os.environ.get("WORLD_SIZE", "1"))


RECIPES = Path(talking_points.__file__).parent / "recipes"
"""A file each, with a section for each kind of training."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(FieldSettings):
    """What every training is told."""

    section: ClassVar[str]
    """Of a recipe."""
    base_field: ClassVar[str] = "base"
    """The field whose checkpoint names the recipe."""

    out: Path
    """Where the checkpoint and the training's state go; an earlier run there is gone on with."""
    recipe: Literal["7b", "mini", "qwen3-vl"] | None = None
    """Settings to start from, in place of the recipe that the base's config.json names."""
    steps: int | None = None
    """Steps in all; or epochs."""
    epochs: int | None = None
    """Times that every point is seen; or steps."""
    photos: int = 8
    """Photos a step, of all processes together. Photos times points is the batch."""
    points: int = 1
    """Points of each photo, at most."""
    learning_rate: float = 2e-4
    """At its highest. The paper prints "2^-4"; this is OMG-LLaVA's."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """After the warm-up: cosine, to a fiftieth, or constant. Ours."""
    warmup_steps: int = 50
    """Steps in which the learning rate rises; of a short training a tenth of its steps, at most. Ours."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm. OMG-LLaVA's."""
    accumulate: int = 1
    """Parts that each process takes its share of a step in: memory of one part. The step is the same."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the base and of activations. What is trained, and whatever computes coordinates, is always fp32."""
    recompute: bool = False
    """Activation checkpointing of the language model's blocks: less memory, more time."""
    quantize: Literal["nf4", "int8"] | None = None
    """The frozen base's language model, by bitsandbytes; the checkpoint holds the base as it is on disk."""
    save_every: int = 200
    """Steps between saves of the training's state."""
    log_every: int = 20
    """Steps between lines of metrics.jsonl; they are means."""
    workers: int = 1
    """Processes that read photos ahead, for each process that trains."""
    tracker: Literal["wandb", "trackio"] | None = None
    """Told the metrics, beside the files that are always written; needs its package."""
    seed: int = 0
    """Equal seeds make equal choices."""
    device: str | None = None
    """'cpu', 'cuda', 'cuda:1', ...; chosen for you unless given."""
    objects: tuple[str, ...] = field(default=(), metadata=flag("--object"))
    """Only points on these: an object's name, or its family in AP-10K. Repeatable."""
    parts: tuple[str, ...] = field(default=(), metadata=flag("--part"))
    """Only points on these parts, by their name or a word of it. Repeatable."""

    @classmethod
    def beneath(cls, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """What the recipe says where nothing was given; given steps take the place of its epochs, and the reverse."""
        name = cls._recipe(given)
        if name is None:
            return {}
        values = read_values(cls, read_table(RECIPES / f"{name}.toml")[cls.section])
        if "accumulate" in values:
            # Each process takes as many parts of its photos, and a part has a photo at least.
            photos = given.get("photos") or values.get("photos") or cls.photos
            values = {**values, "accumulate": max(1, min(values["accumulate"], photos // processes()))}
        if "steps" in given or "epochs" in given:
            values = {key: value for key, value in values.items() if key not in ("steps", "epochs")}
        return values

    @classmethod
    def told_of(cls, given: Mapping[str, Any]) -> str:
        """What is said above the values that `beneath` gives: whose they are, and how to see others."""
        name, known = cls._recipe(given), ", ".join(sorted(one.stem for one in RECIPES.glob("*.toml")))
        others = f"--recipe NAME ({known}) shows another's"
        if name is None:
            return f"The paper's values for the 7B, as no --{cls.base_field} is given, which names a recipe; {others}."
        named = "as given" if given.get("recipe") else f"which the {cls.base_field} names"
        return f"The recipe {name}, {named}; {others}."

    @classmethod
    def _recipe(cls, given: Mapping[str, Any]) -> str | None:
        """The one that is given, or that the base names; None without either."""
        if given.get("recipe") or cls.base_field not in given:
            return given.get("recipe")
        return recipe_of(find_base(given[cls.base_field], weights=False))

    def __post_init__(self) -> None:
        # Types and choices, for those who do not come through `make`; a text stands for a path.
        given = {name: value for name, value in vars(self).items() if value is not None}
        for name, value in read_values(type(self), given).items():
            object.__setattr__(self, name, value)
        FieldSettings.__post_init__(self)
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give steps or epochs, one of them; what stands in --config counts, too")
        self._check_least(1, "steps", "epochs", "photos", "points", "accumulate", "save_every", "log_every")
        self._check_least(0, "warmup_steps", "workers")
        self._check_positive("learning_rate", "max_grad_norm")
        if processes() * self.accumulate > self.photos:
            raise ValueError(
                f"accumulate is {self.accumulate}, which times {processes()} processes are more parts than the "
                f"{self.photos} photos of a step; allowed: a photo for each part; take less, or more --photos"
            )
        if self.tracker is not None and importlib.util.find_spec(self.tracker) is None:
            raise ImportError(f"tracker {self.tracker} needs its package: pip install {self.tracker}")

    def _check_least(self, least: int, *names: str) -> None:
        for name in names:
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise ValueError(f"{name} is {value}; allowed: at least {least}")

    def _check_positive(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: a positive number")

    def warmup_of(self, steps: int) -> int:
        """Steps of warm-up in a training of so many: a tenth, at most."""
        # Else a short training would end before the rate is what it was told.
        return min(self.warmup_steps, math.ceil(steps / 10))

    def rate_at(self, step: int, steps: int) -> float:
        """Learning rate of a step of so many: linear warm-up, then the schedule."""
        warmup = self.warmup_of(steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        if self.schedule == "constant":
            return self.learning_rate
        progress = (step - warmup) / max(1, steps - warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


@dataclass(frozen=True, kw_only=True)
class RoleSettings(TrainingSettings):
    """How a role is trained over a frozen base."""

    base: str
    """The base: 'mini', a checkpoint folder, or a stock model (a Qwen3-VL's folder or Hub id). Its other role, if any,
    is left out."""
    side: int | None = None
    """Of the square in which a stock base sees photos, in pixels, a multiple of 32; 1024 unless given. Other bases have
    theirs."""
    data: Path | None = None
    """A set that build-dataset wrote, or a file of points with texts (JSON lines, CSV, Parquet; other names of
    its fields: --fields)."""
    further: bool = False
    """Go on training the role that the base's folder holds, with its own rank; else begin a new one."""
    lora_rank: int = 512
    """Rank of the adapter. OMG-LLaVA's, as the next two."""
    lora_alpha: int = 256
    """Scale of the adapter."""
    lora_dropout: float = 0.05
    """Dropout before the adapter."""
    shard: bool = False
    """The frozen base's linear layers in shards, one in each process (FSDP); else each process holds them whole."""
    feature_cache: Path | None = None
    """Folder that keeps what the frozen encoder says of photos; runs may share it."""
    feature_cache_gb: float = 100.0
    """Room for it. Tokens of 17,000 photos of the 7B take 63 GB in bf16."""

    of_new_roles: ClassVar[tuple[str, ...]] = ()
    """Settings of what a role is, which one that is there already has."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.of_new_roles if self.further else ():
            if getattr(self, name):
                held = f"with further the {self.section} keeps its own"
                raise ValueError(f"{name} is {getattr(self, name)!r}; {held}: leave out one of them")
        self._check_least(1, "lora_rank", "lora_alpha")
        self._check_positive("feature_cache_gb")
        if not 0 <= self.lora_dropout < 1:
            raise ValueError(f"lora_dropout is {self.lora_dropout}; allowed: 0 or more, below 1")
        if self.shard and self.quantize is not None:
            raise ValueError(f"shard goes without quantize, which is {self.quantize!r}; give one of them")

    def check_held(self) -> None:
        """A ValueError where a role is to be trained further that the base's folder does not hold."""
        if self.further and not ((folder := find_base(self.base, weights=False)) / self.section).is_dir():
            raise ValueError(f"{folder} has no {self.section} to train further; leave out --further to begin a new one")


@dataclass(frozen=True, kw_only=True)
class DescriptorSettings(RoleSettings):
    """How the descriptor is trained."""

    section = "descriptor"
    of_new_roles = ("region", "train_projector")
    frozen_language_model: ClassVar[bool] = False

    region: Literal["gaussian", "anisotropic", "content", "predicted-mask"] | None = None
    """Where keypoints look, if not where the base's config says; predicted-mask is the paper's Table 3, anisotropic and
    content are ours."""
    train_projector: bool = False
    """Train a projector of the descriptor's own, too; else it reads through the base's, which stays frozen (ours)."""


@dataclass(frozen=True, kw_only=True)
class LocalizerSettings(RoleSettings):
    """How the localizer is trained."""

    section = "localizer"
    of_new_roles = ("head", "blind")

    learning_rate: float = 1e-5
    """At its highest. Paper 4.1."""
    head: Literal["regression", "mixture", "heatmap", "pointer"] | None = None
    """The coordinate head: regression (the paper's), mixture, heatmap or pointer; else the base's."""
    blind: bool = False
    """In place of photos the localizer sees one learned set of features: the text-only reference."""
    frozen_language_model: bool = False
    """Train projector and heads only: the paper's Table 4."""


@dataclass(frozen=True, kw_only=True)
class GRPOSettings(TrainingSettings):
    """How a descriptor is reinforced by what a localizer finds from its texts (paper 3.4)."""

    section = "grpo"
    base_field = "descriptor"

    keypoints: Path
    """Points without texts: a built set, or a file of points, such as AP-10K's COCO keypoints."""
    descriptor: str
    """Checkpoint to start from, which is the reference, too."""
    localizer: str
    """Checkpoint of the judge, frozen. On the descriptor's base, it shares it."""
    photos: int = 5
    """Photos a step. Photos times points is the batch: the paper's has 10 points."""
    points: int = 2
    """Points of each photo, at most."""
    learning_rate: float = 5e-6
    """At its highest. Paper A.3."""
    split: str = "train"
    """To learn on, of a set."""
    held_out_split: str | None = None
    """Of a set, to watch by; else some photos of what is learnt on, a fifth at most."""
    held_out_objects: tuple[str, ...] = field(default=(), metadata=flag("--held-out-object"))
    """As --object; the same ones unless given. Repeatable."""
    held_out_points: int = 200
    """About how many, of whole photos."""
    unseen_localizers: tuple[str, ...] = field(default=(), metadata=flag("--unseen-localizer"))
    """Judges that only watch. Repeatable."""
    evaluate_every: int = 50
    """Steps between looks at held-out points."""
    group_size: int = 3
    """Texts sampled for one point; advantages are taken within this group. Paper A.3."""
    temperature: float = 1.0
    """Of the samples. Ours: the paper does not say."""
    blocks: int = 2
    """Last blocks of the language model whose LoRA weights learn. Paper 3.4."""
    kl_weight: float = 0.1
    """Of the divergence from the descriptor as it was. Paper A.3, beta."""
    reward: Literal["mse", "distance"] = "mse"
    """Minus the squared error, the paper's, or minus the distance, in which far misses do not drown near ones."""
    max_kl: float = 1.0
    """Nats a token; a step whose mean is above stops the training. Ours."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group_size < 2:
            raise ValueError(
                f"group_size is {self.group_size}; allowed: 2 or more, as a text is judged beside others of its point"
            )
        if not 0 < self.temperature <= 10:
            raise ValueError(
                f"temperature is {self.temperature}; allowed: above 0, since greedy texts are all the same, to 10"
            )
        if self.accumulate != 1:
            raise ValueError(
                f"accumulate is {self.accumulate}; allowed: 1, as the texts of a step are compared together"
            )
        self._check_least(1, "blocks", "held_out_points", "evaluate_every")
        self._check_least(0, "kl_weight", "max_kl")


def recipe_of(folder: Path) -> str:
    """The recipe that a base's config.json names.

    Where it names none: a stock model's is its family's, and of ours a square of 512 px and more means the 7B's.
    """
    path = folder / "config.json"
    try:
        config = read_json(path)
        name = config.get("recipe")
        if name is None and "model_type" in config:
            name = str(config["model_type"]).replace("_", "-")
        name = name or ("7b" if config["vision"]["image_size"] >= 512 else "mini")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no config of a base: {type(error).__name__} {error}") from None
    if not (RECIPES / f"{name}.toml").is_file():
        known = ", ".join(sorted(one.stem for one in RECIPES.glob("*.toml")))
        raise ValueError(f"{path} names the recipe {name!r}; known: {known}. Give one of them as --recipe")
    return str(name)
