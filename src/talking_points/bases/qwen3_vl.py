"""Qwen3-VL as it is published: its photos, its chat, its positions.

Its own image processor resizes and cuts; its `AutoProcessor` wants torchvision for videos, so picture tokens are
written here. A photo's features, those that go into the first blocks (DeepStack) as well, are computed once and handed
in as `mm_encoder_outputs`. It points in thousandths of the photo.
"""

# N picture tokens, D width, P pictures; others as in `stock`

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    DynamicCache,
    PreTrainedTokenizerBase,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from talking_points.bases.stock import Seen
from talking_points.model.hugging_face import load_tokenizer_files, naming, no_bar, quantization

LEAST_TOKENS, MOST_TOKENS = 1024, 2048
"""Of a whole photo, which is enlarged or made smaller to it: where Qwen's authors see the best grounding
(github.com/ggml-org/llama.cpp/issues/16842). A published processor allows 16 times as many."""
LEAST_PICTURE_TOKENS = 64
"""Of another picture."""


class Qwen3VL:
    """A `stock.StockBase`."""

    form = "qwen"

    def __init__(
        self,
        model: Qwen3VLForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        processor: Qwen2VLImageProcessorPil,
        *,
        name: str,
    ) -> None:
        """All as `load` reads them."""
        self.name, self.tokenizer, self.processor = name, tokenizer, processor
        self.model = model.eval().requires_grad_(False)
        self.ends = frozenset((*self._special("<|im_end|>"), *self._special("<|endoftext|>")))
        self._side = processor.patch_size * processor.merge_size

    @property
    def device(self) -> torch.device:
        return self.model.device

    @cached_property
    def token_bytes(self) -> int:
        """Memory of a token's keys and values."""
        return key_bytes(self.model.config, self.model.dtype)

    def shown_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size in which it sees a whole photo: sides of 32 px, `LEAST_TOKENS` to `MOST_TOKENS` squares of them."""
        return resized_wh(size_wh, self._side)

    def look(self, pictures: Sequence[Image.Image], *, whole: bool) -> list[Seen]:
        """Encode RGB pictures; see `StockBase.look`."""
        least, most = (LEAST_TOKENS, MOST_TOKENS) if whole else (LEAST_PICTURE_TOKENS, MOST_TOKENS)
        size = {"shortest_edge": least * self._side**2, "longest_edge": most * self._side**2}
        cut = self.processor(images=list(pictures), size=size, return_tensors="pt")
        grids_P3 = cut["image_grid_thw"]
        found = self.model.model.get_image_features(
            cut["pixel_values"].to(self.device), grids_P3.to(self.device), return_dict=True
        )
        return [
            Seen(
                levels_ND=tuple(level[n].clone() for level in (found.pooler_output, *found.deepstack_features)),
                grid_hw=(int(grids_P3[n, 1]), int(grids_P3[n, 2])),
            )
            for n in range(len(pictures))
        ]

    def prefix_ids(self, photo: Seen) -> list[int]:
        """The user's turn begins with the photo."""
        return [*self._special("<|im_start|>"), *self._words("user\n"), *self._picture(photo)]

    def suffix_ids(self, pictures: Sequence[Seen], words: str) -> list[int]:
        """Other pictures, the words, and the assistant's turn."""
        shown = [token for picture in pictures for token in self._picture(picture)]
        turn = [*self._special("<|im_end|>"), *self._words("\n"), *self._special("<|im_start|>")]
        return [*shown, *self._words(words), *turn, *self._words("assistant\n")]

    def positions(self, ids: Sequence[int], pictures: Sequence[Seen]) -> Tensor:
        """(3, S): time, height and width."""
        ids_1S = torch.tensor([ids])
        is_picture_1S = (ids_1S == self.model.config.image_token_id).int()
        grids_P3 = torch.tensor([(1, *picture.grid_hw) for picture in pictures]) if pictures else None
        positions_31S, _ = self.model.model.get_rope_index(ids_1S, is_picture_1S, image_grid_thw=grids_P3)
        return positions_31S[:, 0]

    def run(
        self, ids_RS: Tensor, mask_RL: Tensor, positions_ARS: Tensor, cache: DynamicCache, pictures: Sequence[Seen]
    ) -> Tensor:
        """See `StockBase.run`."""
        seen = None
        if pictures:
            levels: list[Any] = [tuple(level) for level in zip(*(one.levels_ND for one in pictures), strict=True)]
            first, deep = levels[0], levels[1:]
            seen = {"image": BaseModelOutputWithDeepstackFeatures(pooler_output=first, deepstack_features=deep)}
        hidden_RSD: Tensor = self.model.model(
            input_ids=ids_RS,
            attention_mask=mask_RL,
            position_ids=positions_ARS,
            past_key_values=cache,
            mm_encoder_outputs=seen,
            use_cache=True,
        ).last_hidden_state
        return hidden_RSD

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V) of the next token."""
        logits: Tensor = self.model.lm_head(hidden)
        return logits

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens of an answer as text."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def _picture(self, picture: Seen) -> list[int]:
        config = self.model.config
        inside = [config.image_token_id] * picture.tokens
        return [config.vision_start_token_id, *inside, config.vision_end_token_id]

    def _special(self, token: str) -> list[int]:
        number: Any = self.tokenizer.convert_tokens_to_ids(token)
        return [int(number)]

    def _words(self, words: str) -> list[int]:
        """Tokens of words, in which nothing is special, whatever people write."""
        encoded = self.tokenizer(words, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])


def resized_wh(size_wh: tuple[int, int], side: int) -> tuple[int, int]:
    """Size in which a whole photo is seen. side: of a picture token, in pixels.

    Raises:
        ValueError: the photo is more than 200 times as long as wide.
    """
    width, height = size_wh
    if max(size_wh) > 200 * min(size_wh):
        raise ValueError(f"the photo is {width}x{height}; Qwen3-VL sees photos up to 200 times as long as wide")
    shown_h, shown_w = smart_resize(height, width, side, LEAST_TOKENS * side**2, MOST_TOKENS * side**2)
    return shown_w, shown_h


def key_bytes(config: Qwen3VLConfig, dtype: torch.dtype) -> int:
    """Memory of a token's keys and values in the language model."""
    text: Any = config.text_config
    return 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * dtype.itemsize


def load(folder: Path, *, name: str, device: torch.device, dtype: torch.dtype, quantize: str | None = None) -> Qwen3VL:
    """Read a published folder. Arguments and errors as `stock.load_stock`."""
    quantized = quantization(quantize, dtype, device, whole=("model.visual", "lm_head"))
    with naming(folder), no_bar():
        loaded: Any = Qwen3VLForConditionalGeneration.from_pretrained(
            str(folder),
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            attn_implementation="sdpa",
            **quantized,
        )
    model, told = loaded
    wrong = [*told["missing_keys"], *(str(one) for one in told["mismatched_keys"])]
    if wrong:
        raise ValueError(f"{folder} lacks {len(wrong)} weights of {name}, the first of them {sorted(wrong)[0]}")
    tokenizer = load_tokenizer_files(folder)
    path = folder / "preprocessor_config.json"
    with naming(path):
        # The class's own defaults are of Qwen2-VL, whose patches and colours are others.
        processor = Qwen2VLImageProcessorPil(**json.loads(path.read_text(encoding="utf-8")))
    if not quantized:
        model = model.to(device)
    return Qwen3VL(model, tokenizer, processor, name=name)
