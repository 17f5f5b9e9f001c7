"""The paper's roles over Qwen3-VL; what `bases.base` asks of a base.

The photo is the letterboxed square of the paper's network, in the vision tower's own patches. Its tokens stand first
and are read once; points and texts follow. A photo's states carry, beside themselves, what its vision tower adds after
the first blocks (DeepStack): L * D numbers a token.
"""

# B photos, P points or prompts, S suffix tokens, T prefix tokens, L levels, N picture tokens, D width, A rotary axes

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor, nn

from talking_points.bases.adapted.features import SquareFeatures
from talking_points.bases.adapted.parts import SIGMA_CELLS, GridLocalizer, PointToken, pooled
from talking_points.bases.adapted.prompts import DIGITS, QwenPrompts
from talking_points.bases.qwen3_vl import Qwen3VL, key_bytes
from talking_points.bases.stock import Seen
from talking_points.model.config import Sizes
from talking_points.model.generation import GeneratedText, generate
from talking_points.model.heads import kept_numbers
from talking_points.model.hugging_face import PeftAdapters
from talking_points.model.language import adapter_weights, embed_suffixes
from talking_points.model.localizer_head import LocatedPoints
from talking_points.model.prompts import Prompts
from talking_points.model.roles import ROLES, role_missing
from talking_points.model.shared_prefix import SharedPrefix, read_prefix, read_suffixes
from talking_points.model.weights import fingerprint
from talking_points.photos import CLIP_MEAN_RGB, CLIP_STD_RGB


class QwenNetwork(nn.Module):
    """A frozen Qwen3-VL, with or without the two roles; a `bases.base.Base`."""

    class_names: tuple[str, ...] = ()

    def __init__(self, stock: Qwen3VL, *, side: int, head: str = "regression", blind: bool = False) -> None:
        """
        Args:
            stock: the model as it is published.
            side: of the square, in pixels, a multiple of a picture token's (32).
            head: the coordinate head of a localizer to come.
            blind: whether a localizer to come sees no photo.
        """
        super().__init__()
        processor = stock.processor
        token = processor.patch_size * processor.merge_size
        if side < token or side % token:
            raise ValueError(f"side is {side}; allowed: a multiple of {token} px, the side of a picture token")
        self.stock, self.name, self._side = stock, stock.name, side
        self.whole: nn.Module = stock.model
        """The stock model; with roles, inside PEFT's wrapper."""
        self.head_kind, self.blind = head, blind
        self._own_prompts = QwenPrompts(stock.tokenizer)
        self.prompts: Prompts = self._own_prompts
        self.language: Any = SimpleNamespace(
            config=stock.model.config.text_config,
            model=stock.model.model.language_model,
            lm_head=stock.model.lm_head,
            get_input_embeddings=stock.model.get_input_embeddings,
        )
        """The language model, adapters included; a `model.language.LlamaLike`."""
        self.adapters: PeftAdapters | None = None
        self.point_token: PointToken | None = None
        """Of the descriptor."""
        self.localizer: GridLocalizer | None = None
        self.origin: Any = None
        """How a checkpoint names the stock model (`checkpoint.BaseName`); None: it was not read from a folder."""
        self._acting = threading.RLock()

    # --- What it is

    @property
    def side(self) -> int:
        return self._side

    @property
    def cells(self) -> int:
        """Picture tokens along a side of the square."""
        return self._side // (self.stock.processor.patch_size * self.stock.processor.merge_size)

    @property
    def width(self) -> int:
        return int(self.language.config.hidden_size)

    @property
    def levels(self) -> int:
        """Of the vision tower: its last, and those that go into the first blocks."""
        return 1 + len(self.stock.model.config.vision_config.deepstack_visual_indexes)

    @property
    def device(self) -> torch.device:
        return self.stock.device

    @property
    def dtype(self) -> torch.dtype:
        return self.language.get_input_embeddings().weight.dtype

    @property
    def roles(self) -> tuple[str, ...]:
        return () if self.adapters is None else self.adapters.roles

    @property
    def num_blocks(self) -> int:
        return len(self.language.model.layers)

    @contextmanager
    def acting_as(self, role: str) -> Iterator[None]:
        if role != "base" and role not in self.roles:
            raise ValueError(role_missing("this checkpoint", role))
        if self.adapters is None:
            yield
            return
        with self._acting, self.adapters.acting_as(role):
            yield

    def prompt_bytes(self, tokens: int) -> int:
        token = key_bytes(self.stock.model.config, self.dtype)
        # Keys and values; the photo's levels, and what they go through on their way into the prefix.
        return token * (self.cells**2 + tokens) + 6 * self.levels * self.cells**2 * self.width * self.dtype.itemsize

    @property
    def sizes(self) -> Sizes:
        config = self.language.config
        layers = self.language.model.layers.named_parameters()
        return Sizes(
            weights=sum(p.numel() for name, p in self.stock.model.named_parameters() if ".lora_" not in name),
            vision=0,  # in the language model's type, too
            linear=sum(p.numel() for name, p in layers if "_proj" in name and ".lora_" not in name),
            width=config.hidden_size,
            inside=config.intermediate_size,
            keys=config.num_key_value_heads * config.head_dim,
            vocabulary=config.vocab_size,
            photo_tokens=len(self._prefix_ids),
            head=kept_numbers(self.head_kind, middle=self.cells**2, fine=self.cells**2),
            photo_bytes=self.levels * self.cells**2 * self.width * self.dtype.itemsize,
        )

    # --- Photos and points

    def encode_photos(self, pixels_B3SS: Tensor) -> SquareFeatures:
        """In the model's type, as its tower computes."""
        patches, grid_B3 = self._patches(pixels_B3SS)
        found = self.stock.model.model.get_image_features(patches.to(self.dtype), grid_B3, return_dict=True)
        levels = (found.pooler_output, *found.deepstack_features)
        return SquareFeatures(levels_BLND=torch.stack([torch.stack(list(level)) for level in levels], dim=1))

    def _patches(self, pixels_B3SS: Tensor) -> tuple[Tensor, Tensor]:
        """Patches of squares in the order of Qwen2-VL's image processor, and its grids.

        Source: transformers Qwen2VLImageProcessor; held to it by tests/bases/test_adapted.py.
        """
        processor = self.stock.processor
        patch, merge, times = processor.patch_size, processor.merge_size, processor.temporal_patch_size
        B, cells = len(pixels_B3SS), self.cells

        def colour(values: Sequence[float]) -> Tensor:
            return pixels_B3SS.new_tensor(list(values))[:, None, None]

        rgb_B3SS = pixels_B3SS * colour(CLIP_STD_RGB) + colour(CLIP_MEAN_RGB)
        rgb_B3SS = (rgb_B3SS - colour(processor.image_mean)) / colour(processor.image_std)
        cut = rgb_B3SS.reshape(B, 3, cells, merge, patch, cells, merge, patch).permute(0, 2, 5, 3, 6, 1, 4, 7)
        # A photo is a film whose frames are alike.
        patches = cut[:, :, :, :, :, :, None].expand(*cut.shape[:6], times, *cut.shape[6:])
        side = cells * merge
        grid_B3 = torch.tensor([[1, side, side]] * B, device=pixels_B3SS.device)
        return patches.reshape(B * side**2, -1), grid_B3

    def encode_points(self, features: SquareFeatures, points_BP2: Tensor, *, region: str | None = None) -> Tensor:
        """(B, P, D + 2): what lies around the points, and where they are. There is one region, the Gaussian."""
        if region not in (None, "gaussian"):
            raise ValueError(f"region is {region!r}; over {self.name} there is 'gaussian' alone")
        with torch.autocast(self.device.type, enabled=False):
            return torch.cat([pooled(features, points_BP2.float()), points_BP2.float()], dim=-1)

    # --- Language

    @cached_property
    def _prefix_ids(self) -> list[int]:
        config, size = self.stock.model.config, self.cells**2
        picture = [config.vision_start_token_id, *[config.image_token_id] * size, config.vision_end_token_id]
        return [*self.prompts.prefix(), *picture]

    @cached_property
    def _position_A1T(self) -> Tensor:
        """Of all photos alike: they have one shape."""
        grid = self.cells * self.stock.processor.merge_size
        shown = Seen(levels_ND=(), grid_hw=(grid, grid))
        with torch.inference_mode(False):  # a training may follow an answer
            return self.stock.positions(self._prefix_ids, [shown])[:, None].to(self.device)

    @cached_property
    def _picture_T(self) -> Tensor:
        """bool: where the photo's tokens stand."""
        with torch.inference_mode(False):
            return torch.tensor(self._prefix_ids, device=self.device) == self.stock.model.config.image_token_id

    def embed_prefix(self, features: SquareFeatures, role: str) -> tuple[Tensor, list[int]]:
        """(B, T, L * D): the embeddings, and what is added after each of the first blocks; see above."""
        if role == "localizer" and self.localizer is not None:
            features = self.localizer.seen(features)
        B, L, _, D = features.levels_BLND.shape
        ids_T = torch.tensor(self._prefix_ids, device=self.device)
        words_TD = self.language.get_input_embeddings()(ids_T)
        levels_BLTD = features.levels_BLND.new_zeros(B, L, len(ids_T), D)
        levels_BLTD = levels_BLTD.masked_scatter(self._picture_T[:, None], features.levels_BLND)
        first_BTD = torch.where(self._picture_T[:, None], levels_BLTD[:, 0], words_TD.to(levels_BLTD.dtype))
        states = torch.cat([first_BTD, *levels_BLTD[:, 1:].unbind(1)], dim=-1)
        return states, [len(ids_T)] * B

    def read_prefix(
        self, states_BTD: Tensor, lengths: Sequence[int], *, blocks: range | None = None
    ) -> tuple[Tensor, SharedPrefix]:
        hidden_BTD, *deep = states_BTD.split(self.width, dim=-1)

        def after(block: int, hidden: Tensor) -> Tensor:
            return hidden + deep[block] if block < len(deep) else hidden

        hidden_BTD, prefix = read_prefix(
            self.language, hidden_BTD, lengths, position_A1T=self._position_A1T, blocks=blocks, after=after
        )
        # Who walks all blocks at once needs no states; a copy of what goes with them is for those who walk some.
        return hidden_BTD if blocks is None else torch.cat([hidden_BTD, *deep], dim=-1), prefix

    def embed(
        self, prompts: Sequence[Sequence[int]], points_PF: Tensor | None = None, *, role: str = "descriptor"
    ) -> Tensor:
        """At a prompt's marker its point's token; the point's numbers where it leaves room for their digits."""
        embedding = self.language.get_input_embeddings()
        if points_PF is None:
            return embed_suffixes(prompts, embedding, self.prompts.mark_id, None)
        token = self.point_token if role == "descriptor" else None
        with torch.autocast(self.device.type, enabled=False):
            marks_PD = points_PF[:, :-2] if token is None else token(points_PF.float())
        thousandths_P2 = (points_PF[:, -2:] * 10**DIGITS).long().clamp(0, 10**DIGITS - 1)
        digits_P2D = torch.stack([thousandths_P2 // 10**k % 10 for k in reversed(range(DIGITS))], dim=-1)
        ids_of_digits = torch.tensor(self._own_prompts.ids_of_digits)
        filled = [
            _filled(prompt, self._own_prompts.digit_id, ids_of_digits[digits].tolist())
            for prompt, digits in zip(prompts, digits_P2D.flatten(1).cpu(), strict=True)
        ]
        return embed_suffixes(filled, embedding, self.prompts.mark_id, marks_PD)

    def read(
        self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, states_PSD: Tensor, *, blocks: range | None = None
    ) -> Tensor:
        return read_suffixes(self.language, prefix, photo_of_prompt_P, states_PSD, blocks=blocks)

    def logits(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.language.lm_head(hidden)
        return logits

    def generate(
        self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, states_PSD: Tensor, **settings: Any
    ) -> list[list[GeneratedText]]:
        """settings: as `generation.generate` takes them, but for the end token."""
        return generate(self.language, prefix, photo_of_prompt_P, states_PSD, end_id=self.prompts.end_id, **settings)

    # --- The localizer

    def locate(
        self,
        features: SquareFeatures,
        prefix: SharedPrefix,
        photo_of_prompt_P: Tensor,
        prompts: Sequence[Sequence[int]],
    ) -> LocatedPoints:
        """From the states up to each prompt's [SEG]."""
        assert self.localizer is not None
        hidden_PSD = self.read(prefix, photo_of_prompt_P, self.embed(prompts))
        seg_P = torch.tensor([list(prompt).index(self.prompts.seg_id) for prompt in prompts], device=self.device)
        # Coordinates are computed in fp32, whatever the language model's type.
        with torch.autocast(self.device.type, enabled=False):
            return self.localizer(hidden_PSD, seg_P, self.localizer.seen(features), photo_of_prompt_P)

    @property
    def is_blind(self) -> bool:
        return self.blind

    @property
    def tells_absence(self) -> bool:
        return self.localizer is not None and self.localizer.head.ours is not None

    @property
    def temperature(self) -> Tensor | None:
        return None if self.localizer is None else self.localizer.head.temperature

    # --- Training

    def own_parts(self, role: str) -> dict[str, nn.Module]:
        """What a role owns beside its adapter."""
        own = {"descriptor": ("point_token", self.point_token), "localizer": ("localizer", self.localizer)}
        name, part = own[role]
        assert part is not None
        return {name: part}

    def role_weights(self, role: str, *, language: bool = True, blocks: range | None = None) -> dict[str, nn.Parameter]:
        weights = adapter_weights(self.whole, role, blocks) if language else {}
        if blocks is None:
            parts = self.own_parts(role).items()
            weights |= {f"{part}.{n}": p for part, one in parts for n, p in one.named_parameters()}
        return weights

    def role_modules(self, role: str) -> dict[str, nn.Module]:
        # Without the vision tower, which nothing trains and not every process walks at every step.
        return {"language": self.language.model, "lm_head": self.language.lm_head, **self.own_parts(role)}

    def recompute(self, on: bool) -> None:
        self.language.model.gradient_checkpointing = on

    def features_key(self, role: str) -> str:
        processor = self.stock.processor
        seen = f"{self._side} {self.dtype} {processor.image_mean} {processor.image_std} {SIGMA_CELLS}"
        return f"{fingerprint(self.stock.model.model.visual.state_dict().values())} {seen}"

    def pack_photos(self, features: SquareFeatures, role: str) -> list[dict[str, Tensor]]:
        return [{"levels": levels_LND} for levels_LND in features.levels_BLND]

    def unpack_photos(self, packed: Sequence[Mapping[str, Tensor]], role: str) -> SquareFeatures:
        return SquareFeatures(levels_BLND=torch.stack([one["levels"] for one in packed]).to(self.device))

    def change(self, *, head: str | None = None, blind: bool = False) -> None:
        """Take another coordinate head for a localizer to come, or none of the photo."""
        self.head_kind, self.blind = head or self.head_kind, blind

    def take_role(self, role: str, adapted: PeftModel) -> None:
        """Own parts, untrained, beside an adapter that PEFT has put into the model."""
        assert role in ROLES
        self.whole, self.adapters = adapted, PeftAdapters(adapted)
        if role == "localizer":
            self.localizer = GridLocalizer(
                self.width, levels=self.levels, cells=self.cells, head=self.head_kind, blind=self.blind
            ).to(self.device)
        else:
            self.point_token = PointToken(self.width).to(self.device)
        self.requires_grad_(False)


def _filled(prompt: Sequence[int], digit_id: int, digits: Sequence[int]) -> list[int]:
    """A prompt with digits at the places that it leaves for them, in order."""
    left = iter(digits)
    return [next(left) if token == digit_id else token for token in prompt]
