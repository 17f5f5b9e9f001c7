"""Sizes of the network. The same classes build the embedded `mini` and the 7B; only these numbers differ."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from talking_points.model.trunks.efficientnet_lite import SCALES, channels_of
from talking_points.part_sides import without_side

FORMAT_VERSION = 2
"""Version of the checkpoint folder. A folder of another version is refused."""

LARGEST_SIZE = 2**17
"""No size of the network is larger; a file that says so is broken."""
REGIONS = ("gaussian", "anisotropic", "content", "predicted-mask")
REGION_CELLS = ("centre", "nearest")
COORDINATE_HEADS = ("regression", "mixture", "heatmap", "pointer")


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionConfig:
    """Trunk, pixel decoder, mask decoder and keypoint prompt. Defaults are OMG-LLaVA 7B's unless marked ours."""

    image_size: int = 1024
    """Side of the letterboxed square the network sees, in pixels; a multiple of 32 * pixel_shuffle."""
    trunk: str = "convnext"
    """"convnext", or "efficientnet-lite0", "-lite1" or "-lite2", whose sizes are fixed."""
    trunk_depths: tuple[int, ...] = (3, 3, 27, 3)
    """ConvNeXt blocks of the four stages (strides 4, 8, 16, 32); no other trunk reads it."""
    trunk_dims: tuple[int, ...] = (192, 384, 768, 1536)
    """Channels of the four stages."""
    width: int = 256
    """Channels of the pixel decoder and of the mask decoder's queries."""
    num_heads: int = 8
    """Attention heads in both decoders."""
    pixel_decoder_layers: int = 6
    pixel_decoder_points: int = 4
    """Sampled points for each head and level."""
    pixel_decoder_ffn: int = 1024
    group_norm_groups: int = 32
    mask_decoder_layers: int = 9
    mask_decoder_ffn: int = 2048
    num_queries: int = 300
    num_classes: int = 133
    """Classes of the class embedding, the appended background row not counted."""
    class_embed_dim: int = 768
    class_embed_prototypes: int = 64
    """Text prototypes a class; a class's logit is its best prototype's."""
    class_logit_scale: float = 4.6052
    """Natural log of the cosine logits' scale, ln 100 in OMG-Seg."""
    pixel_shuffle: int = 2
    """The last trunk stage is folded by this factor into tokens: (image_size / 32 / pixel_shuffle)^2 cells."""
    gaussian_sigma_px: float = 81.92
    """Standard deviation of the keypoint's Gaussian, pixels of the square. Ours: 8% of it; the paper is silent."""
    gaussian_threshold: float = 0.5
    """Cells where the Gaussian is above this are attended to. Ours; the paper is silent."""
    region: str = "gaussian"
    """Where a keypoint looks: "gaussian" (the paper) or "predicted-mask" (OMG-LLaVA; the paper's Table 3); ours:
    "anisotropic", the Gaussian stretched along the structure at the point; "content", cells in it like the point's."""
    region_cells: str = "centre"
    """Where a cell of a level is judged to be in the Gaussian region: "centre", at its centre, and the cell that holds
    the point is always inside; "nearest", at its top left pixel, as PyTorch resizes a mask. Ours are at centres."""
    num_point_names: int = 0
    """How many names a point may have, of which the descriptor is told (ours); 0: of none, as in the paper."""
    num_point_colours: int = 0
    """Of how many colours it is told, beside the names; without names nothing reads it."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            least = 0 if one.name.startswith("num_point_") else 1
            if one.type == "int" and not _is_count(value, least):
                _fail(one.name, value, f"a whole number of {least} to {LARGEST_SIZE}")
            if one.type == "float" and (type(value) not in (int, float) or not math.isfinite(value)):
                _fail(one.name, value, "a finite number")
            counts = value if isinstance(value, tuple) else ()
            if one.type == "tuple[int, ...]" and not (len(counts) == 4 and all(map(_is_count, counts))):
                _fail(one.name, value, f"four whole numbers of 1 to {LARGEST_SIZE}, one a stage")
        if self.width % self.num_heads or self.width % 4:
            _fail("width", self.width, f"a multiple of 4 and of num_heads ({self.num_heads})")
        if self.width % self.group_norm_groups:
            _fail("group_norm_groups", self.group_norm_groups, f"a divisor of width ({self.width})")
        if self.image_size % (32 * self.pixel_shuffle):
            _fail("image_size", self.image_size, f"a multiple of 32 * pixel_shuffle ({32 * self.pixel_shuffle})")
        if self.gaussian_sigma_px <= 0:
            _fail("gaussian_sigma_px", self.gaussian_sigma_px, "a positive number of pixels")
        if not 0 < self.gaussian_threshold < 1:
            _fail("gaussian_threshold", self.gaussian_threshold, "a number between 0 and 1")
        for name, allowed in (("trunk", ("convnext", *SCALES)), ("region", REGIONS), ("region_cells", REGION_CELLS)):
            if getattr(self, name) not in allowed:
                _fail(name, getattr(self, name), " or ".join(map(repr, allowed)))
        if self.trunk in SCALES and self.trunk_dims != channels_of(self.trunk):
            _fail("trunk_dims", self.trunk_dims, f"{channels_of(self.trunk)}, which {self.trunk} has")

    @property
    def cells_per_side(self) -> int:
        """Image tokens along one side of the square."""
        return self.image_size // 32 // self.pixel_shuffle

    @property
    def token_channels(self) -> int:
        """Channels of one image token before the projector: folded trunk feature and the query mixture."""
        return self.trunk_dims[-1] * self.pixel_shuffle**2 + 2 * self.width

    @property
    def photo_bytes(self) -> int:
        """Of a photo's features, which are fp32, and a byte for each query and cell that it may win."""
        tokens = self.cells_per_side**2
        levels = sum((self.image_size // stride) ** 2 for stride in (4, 8, 16, 32))
        numbers = tokens * self.token_channels + self.num_queries * 2 * self.width + levels * self.width
        if self.num_point_names:
            numbers += 3 * (self.image_size // 4) ** 2
        return 4 * numbers + self.num_queries * tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelConfig:
    """The whole network but the language model, whose sizes stand in its own `language_model/config.json`."""

    name: str = "talking-points"
    """Short name shown to users."""
    vision: VisionConfig = field(default_factory=VisionConfig)
    class_names: tuple[str, ...] = ()
    """Words of the class embedding's rows, when known; empty or num_classes long."""
    point_names: tuple[str, ...] = ()
    """Parts and things that the descriptor is told of; num_point_names long."""
    point_wider: tuple[tuple[str, ...], ...] = ()
    """For each of point_names the wider parts that it is a part of, without sides: of a thumb: hand and arm. Each of
    these is among point_names, with sides or without."""
    point_objects: tuple[tuple[str, ...], ...] = ()
    """For each of point_names the objects that it may be a part of, which are among them, too; of an object itself."""
    point_colours: tuple[str, ...] = ()
    """Colours that it is told of; num_point_colours long."""
    recipe: str | None = None
    """Of the recipes that ship, the one that trainings over this base start from; None: as the square's size says."""
    blind: bool = False
    """The localizer sees no photo, but one learned set of features in its place: what texts alone tell."""
    coordinate_head: str = "regression"
    """"regression" (the paper's MLP); ours: "mixture" (Gaussians over the square), "heatmap" (cells of the photo that
    read the text) or "pointer" (the cell whose features answer to [SEG], and an offset)."""

    def __post_init__(self) -> None:
        for name, value in (
            ("name", (self.name,)),
            ("recipe", (self.recipe or "",)),
            ("class_names", self.class_names),
            ("point_names", self.point_names),
            ("point_colours", self.point_colours),
        ):
            if not isinstance(value, tuple) or any(type(word) is not str for word in value):
                _fail(name, getattr(self, name), "words")
        blind: object = self.blind  # of a file, it may be anything
        if not isinstance(blind, bool):
            _fail("blind", blind, "true or false")
        if self.class_names and len(self.class_names) != self.vision.num_classes:
            allowed = f"none or num_classes ({self.vision.num_classes})"
            _fail("class_names", f"{len(self.class_names)} names", allowed)
        for name in ("point_names", "point_colours"):
            count, wanted = len(getattr(self, name)), getattr(self.vision, f"num_{name}")
            if count != wanted:
                _fail(name, f"{count} names", f"num_{name} ({wanted})")
        plain = tuple(without_side(name) for name in self.point_names)
        for list_name, known, least, allowed in (
            ("point_wider", plain, 0, "some of point_names, without left and right"),
            ("point_objects", self.point_names, 1, "one or more of point_names"),
        ):
            told: Any = getattr(self, list_name)  # of a file, it may be anything
            if not isinstance(told, tuple) or len(told) != len(self.point_names):
                _fail(list_name, told, "a list of names for each of point_names")
            for some in told:
                if not isinstance(some, tuple) or len(some) < least or any(one not in known for one in some):
                    _fail(list_name, some, allowed)
        if self.coordinate_head not in COORDINATE_HEADS:
            _fail("coordinate_head", self.coordinate_head, " or ".join(map(repr, COORDINATE_HEADS)))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON form, `format_version` included; a recipe only where one is named."""
        return {"format_version": FORMAT_VERSION, **{key: v for key, v in asdict(self).items() if v is not None}}

    @classmethod
    def from_dict(cls, data: dict[str, Any], *, source: str) -> ModelConfig:
        """Read `to_dict`'s form back.

        Args:
            data: parsed `config.json`.
            source: file named in errors.

        Raises:
            ValueError: another format version, an unknown key, or a value that is not allowed.
        """
        data = dict(data)
        version = data.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ValueError(
                f"{source}: checkpoint format {version!r}, this version reads {FORMAT_VERSION}; "
                "use the talking-points that wrote it, or train or import it anew"
            )
        vision = data.pop("vision", {})
        try:
            if not isinstance(vision, dict):
                raise ValueError(f"vision is {type(vision).__name__}, expected an object")
            return cls(vision=VisionConfig(**_checked(VisionConfig, vision)), **_checked(cls, data))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{source}: {error}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What the memory of a training follows from: counts of numbers."""

    weights: int
    vision: int
    """Of the weights those that compute coordinates, which are in fp32."""
    linear: int
    """Of the weights those of the language model's blocks, which can be quantized."""
    width: int
    """Of the language model; `inside` of its MLPs, `keys` of a token's keys in a block."""
    inside: int
    keys: int
    vocabulary: int
    photo_tokens: int
    """Of a prefix, about."""
    head: int
    """That the localizer's coordinate head keeps of a text for its gradients, about."""
    photo_bytes: int
    """Of a photo's features, of all roles: `PhotoFeatures.bytes`."""


def _checked(cls: Any, data: dict[str, Any]) -> dict[str, Any]:
    """Lists become tuples; a key that the class does not have is an error naming those it has."""
    known = {one.name for one in fields(cls)}
    unknown = sorted(data.keys() - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return {key: _as_tuples(value) for key, value in data.items()}


def _as_tuples(value: object) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _is_count(value: object, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST_SIZE


def _fail(name: str, value: object, allowed: str) -> None:
    raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
