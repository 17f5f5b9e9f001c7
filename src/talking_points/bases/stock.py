"""Stock vision-language models of transformers, as they are: what a family has to bring, and texts from any of them.

A family is a file beside this one (`qwen3_vl`): how its photos are resized and encoded, its chat, its positions. What
is below needs of it only `StockBase`: a photo's part of the prompt is read once, its keys and values are kept, and any
number of questions go on behind them, side by side.
"""

# N picture tokens, D width, T prefix tokens, S suffix tokens, R rows (questions), A axes of rotary positions,
# K key-value heads, H head width, V vocabulary

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

from talking_points.model.shared_prefix import SharedPrefix


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a vision encoder makes of a picture."""

    levels_ND: tuple[Tensor, ...]
    """What goes in at the picture's tokens, then what is added there after the first blocks, a tensor a block."""
    grid_hw: tuple[int, int]
    """Patches down and across."""

    @property
    def tokens(self) -> int:
        return len(self.levels_ND[0])

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in self.levels_ND)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suffix:
    """A question behind a photo."""

    ids: list[int]
    pictures: tuple[Seen, ...]
    """Of its own, in the order of their tokens."""


class StockBase(Protocol):
    """A stock model. All of its methods are called under `torch.inference_mode`."""

    name: str
    form: str
    """How it writes points, by a key of `pointing.forms.FORMS`."""
    ends: frozenset[int]
    """Tokens that end an answer."""

    @property
    def device(self) -> torch.device: ...

    @property
    def token_bytes(self) -> int:
        """Memory of a token's keys and values."""

    def shown_wh(self, size_wh: tuple[int, int]) -> tuple[int, int]:
        """Size in which it sees a whole photo, in pixels; a ValueError where it sees none of that shape."""

    def look(self, pictures: Sequence[Image.Image], *, whole: bool) -> list[Seen]:
        """Encode RGB pictures; whole: photos at `shown_wh`, else pictures about a point, as small as they are."""

    def prefix_ids(self, photo: Seen) -> list[int]:
        """What every question about a photo starts with, the photo's tokens in it."""

    def suffix_ids(self, pictures: Sequence[Seen], words: str) -> list[int]:
        """The rest of a question, up to where the answer begins. What looks like a special token in words is none."""

    def positions(self, ids: Sequence[int], pictures: Sequence[Seen]) -> Tensor:
        """(A, S) rotary positions of tokens that start at 0."""

    def run(
        self, ids_RS: Tensor, mask_RL: Tensor, positions_ARS: Tensor, cache: DynamicCache, pictures: Sequence[Seen]
    ) -> Tensor:
        """(R, S, D) last hidden states of tokens behind what the cache holds, into which their own go.

        Args:
            mask_RL: of the cache's tokens and these, which count.
            pictures: those whose tokens are among the ids, row by row.
        """

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., V) of the next token."""

    def decode(self, ids: Sequence[int]) -> str:
        """Tokens of an answer as text."""


def load_stock(
    folder: Path, family: str, *, name: str, device: torch.device, dtype: torch.dtype, quantize: str | None = None
) -> StockBase:
    """Read a stock model's folder.

    Args:
        folder: as its authors publish it, with config.json, weights in safetensors, tokenizer and preprocessor.
        family: its `model_type`.
        name: shown to users.
        quantize: "nf4" or "int8" for the language model; None: as it is.

    Raises:
        ValueError: a family that is not known here, or weights that do not fit.
    """
    if family == "qwen3_vl":
        from talking_points.bases.qwen3_vl import load

        return load(folder, name=name, device=device, dtype=dtype, quantize=quantize)
    raise ValueError(f"{name} is a {family!r:.60} model, which there is no file of in `bases`")


def read_prefix(base: StockBase, photo: Seen) -> SharedPrefix:
    """Read a photo's prefix through the language model, once."""
    ids = base.prefix_ids(photo)
    positions_AT = base.positions(ids, [photo])
    cache = DynamicCache()
    mask_1T = torch.ones(1, len(ids), dtype=torch.long, device=base.device)
    ids_1T = torch.tensor([ids], device=base.device)
    base.run(ids_1T, mask_1T, positions_AT[:, None].to(base.device), cache, [photo])
    layers: Any = cache.layers
    keys, values = [one.keys for one in layers], [one.values for one in layers]
    return SharedPrefix(keys=keys, values=values, lengths=[len(ids)], next_positions=[int(positions_AT.max()) + 1])


def generate(
    base: StockBase,
    prefixes: Sequence[SharedPrefix],
    photo_of_row: Sequence[int],
    suffixes: Sequence[Suffix],
    *,
    longest: int,
    on_token: Callable[[int, list[int]], None] | None = None,
) -> list[list[int]]:
    """The likeliest answers to questions, all at once; finished ones leave the batch.

    Args:
        prefixes: of the photos, one each.
        photo_of_row: of each question, which of them it stands behind.
        suffixes: the questions.
        longest: tokens that an answer may have, its end not counted.
        on_token: told a question's place and its answer's tokens so far.

    Returns:
        Tokens of each answer, without its end.
    """
    device, rows = base.device, torch.tensor(photo_of_row, device=base.device)
    joined = SharedPrefix.join(prefixes)
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(zip(joined.keys, joined.values, strict=True)):
        cache.update(keys[rows], values[rows], layer)
    prefix_tokens, prefix_lengths = joined.keys[0].shape[2], torch.tensor([joined.lengths[p] for p in photo_of_row])
    starts = torch.tensor([joined.next_positions[p] for p in photo_of_row])
    # The rows have copies of their own from here on.
    del joined, keys, values
    # Every row: prefix, padding, question, padding, answer. What is padding, no token attends to.
    ids_RS, asked_RS = _padded([torch.tensor(one.ids) for one in suffixes])
    lengths_R = asked_RS.sum(1)
    own = [base.positions(one.ids, one.pictures) for one in suffixes]
    positions_ARS = torch.stack(
        [torch.nn.functional.pad(p, (0, ids_RS.shape[1] - p.shape[1])) for p in own], dim=1
    ).cpu()
    positions_ARS = positions_ARS + starts[:, None]
    next_R = (starts + torch.tensor([int(p.max()) + 1 for p in own])).to(device)
    before_RT = torch.arange(prefix_tokens) < prefix_lengths[:, None]
    mask_RL = torch.cat([before_RT, asked_RS], dim=1).long().to(device)
    pictures = [picture for one in suffixes for picture in one.pictures]
    hidden_RSD = base.run(ids_RS.to(device), mask_RL, positions_ARS.to(device), cache, pictures)
    last_RD = hidden_RSD[torch.arange(len(suffixes)), (lengths_R - 1).to(device)]

    answers: list[list[int]] = [[] for _ in suffixes]
    running = list(range(len(suffixes)))
    while running:
        chosen = base.logits(last_RD).argmax(-1).tolist()
        goes_on = []
        for place, (row, token) in enumerate(zip(running, chosen, strict=True)):
            if token in base.ends:
                continue
            answers[row].append(token)
            if on_token is not None:
                on_token(row, answers[row])
            if len(answers[row]) < longest:
                goes_on.append(place)
        if not goes_on:
            break
        if len(goes_on) < len(running):
            kept = torch.tensor(goes_on, device=device)
            cache.batch_select_indices(kept)
            mask_RL, next_R = mask_RL[kept], next_R[kept]
            running, chosen = [running[place] for place in goes_on], [chosen[place] for place in goes_on]
        mask_RL = torch.nn.functional.pad(mask_RL, (0, 1), value=1)
        at_AR1 = next_R[None, :, None].expand(positions_ARS.shape[0], -1, -1)
        last_RD = base.run(torch.tensor(chosen, device=device)[:, None], mask_RL, at_AR1, cache, [])[:, 0]
        next_R = next_R + 1
    return answers


def _padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """(R, S) rows of tokens, padded on the right, and where they count."""
    padded: Any = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True)
    return padded, torch.arange(padded.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
