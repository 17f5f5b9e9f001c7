"""The walk through the language model's blocks: prompts that read their photos' prefixes, computed once and shared.

A new token attends to its photo's prefix and to what follows it in one softmax over two sets of keys, so that decoding
never copies the prefix for each prompt. Weights and norms are those of a `LlamaLike`: transformers' Llama, the plain
one, or Qwen3-VL's text model, whose heads have norms of their own and whose first blocks are handed more of the photo.
"""

# B photos, P prompts, T prefix tokens, S suffix tokens, L tokens behind the prefix so far, D width, A rotary axes,
# K key-value heads, G query heads of each, H head width

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from talking_points.model.language import LlamaLike

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Block index, queries (P, K*G, S, H), keys and values (P, K, S, H) of the new tokens -> (P, K*G, S, H)."""


AfterBlock = Callable[[int, Tensor], Tensor]
"""Block index and the states after it -> the states that go on."""


def run_blocks(
    llama: LlamaLike,
    hidden_PSD: Tensor,
    position_PS: Tensor,
    attend: Attend,
    *,
    blocks: range | None = None,
    after: AfterBlock | None = None,
) -> Tensor:
    """Walk hidden states through Llama's blocks, adapters included; the final norm is the caller's.

    Args:
        hidden_PSD: embeddings, or states after the blocks before.
        position_PS: rotary positions; (A, P, S) where a photo's tokens have several.
        attend: attention over whatever came before, of which it keeps account.
        blocks: which; None: all.
        after: what is done to the states after each block; None: nothing.

    With `llama.model.gradient_checkpointing` a training keeps of each block its input, queries, keys, values and
    what attention gave; all else, above all the MLP's wide inside, is computed again for the gradients. Attention is
    not, and what it keeps account of is kept once.
    """
    model = llama.model
    cos, sin = model.rotary_emb(hidden_PSD, position_ids=position_PS)
    again = model.gradient_checkpointing and torch.is_grad_enabled()
    run = partial(checkpoint, use_reentrant=False) if again else _call
    for index in range(len(model.layers)) if blocks is None else blocks:
        block = model.layers[index]
        q, k, v = run(_before_attention, block, hidden_PSD, cos, sin)
        hidden_PSD = run(_after_attention, block, hidden_PSD, attend(index, q, k, v))
        if after is not None:
            hidden_PSD = after(index, hidden_PSD)
    return hidden_PSD


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def _before_attention(block: Any, hidden_PSD: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values by heads, rotated."""
    attention = block.self_attn
    x = block.input_layernorm(hidden_PSD)
    q, k, v = (
        projection(x).unflatten(-1, (-1, attention.head_dim))
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    if (norm := getattr(attention, "q_norm", None)) is not None:
        q, k = norm(q), attention.k_norm(k)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return _turned(q, cos, sin), _turned(k, cos, sin), v


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Queries or keys (P, heads, S, H) by the angles of their positions, whose cosines and sines are (P, S, H)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat([-second, first], dim=-1) * sin[:, None]


def _after_attention(block: Any, hidden_PSD: Tensor, attended: Tensor) -> Tensor:
    hidden_PSD = hidden_PSD + block.self_attn.o_proj(attended.transpose(1, 2).flatten(2))
    return hidden_PSD + block.mlp(block.post_attention_layernorm(hidden_PSD))


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedPrefix:
    """Keys and values of B photos' prefixes, ready to be followed by any number of suffixes.

    In training, gradients of all suffixes meet in them: what they learn is what they would learn each alone.
    """

    keys: list[Tensor]
    """(B, K, T, H) of each block, right-padded."""
    values: list[Tensor]
    lengths: list[int]
    """T of each photo."""
    next_positions: list[int]
    """Rotary position of the token behind each; T, but where photos' tokens share positions."""

    @property
    def mask_BT(self) -> Tensor | None:
        """True where a token counts; None when all do."""
        longest = max(self.lengths)
        if min(self.lengths) == longest:
            return None
        device = self.keys[0].device
        return torch.arange(longest, device=device) < torch.tensor(self.lengths, device=device)[:, None]

    @property
    def bytes(self) -> int:
        return sum(t.numel() * t.element_size() for t in (*self.keys, *self.values))

    def photo(self, index: int) -> SharedPrefix:
        """One photo's, unpadded, in memory of its own."""
        T = self.lengths[index]
        return SharedPrefix(
            keys=[k[index : index + 1, :, :T].clone() for k in self.keys],
            values=[v[index : index + 1, :, :T].clone() for v in self.values],
            lengths=[T],
            next_positions=[self.next_positions[index]],
        )

    @staticmethod
    def join(prefixes: Sequence[SharedPrefix]) -> SharedPrefix:
        """Prefixes of photos together."""
        if len(prefixes) == 1:
            return prefixes[0]
        longest = max(max(one.lengths) for one in prefixes)

        def joined(tensors: Sequence[Tensor]) -> Tensor:
            return torch.cat([F.pad(t, (0, 0, 0, longest - t.shape[2])) for t in tensors])

        blocks = range(len(prefixes[0].keys))
        return SharedPrefix(
            keys=[joined([one.keys[i] for one in prefixes]) for i in blocks],
            values=[joined([one.values[i] for one in prefixes]) for i in blocks],
            lengths=[length for one in prefixes for length in one.lengths],
            next_positions=[position for one in prefixes for position in one.next_positions],
        )


def read_prefix(
    llama: LlamaLike,
    states_BTD: Tensor,
    lengths: Sequence[int],
    *,
    position_A1T: Tensor | None = None,
    blocks: range | None = None,
    after: AfterBlock | None = None,
) -> tuple[Tensor, SharedPrefix]:
    """Walk B photos' prefixes through the language model: the states after it, and the keys and values of its blocks.

    Args:
        states_BTD: right-padded embeddings, or states after the blocks before.
        lengths: T of each photo.
        position_A1T: rotary positions of all photos' tokens; None: their places.
        blocks, after: as `run_blocks` takes them.
    """
    keys: list[Tensor] = []
    values: list[Tensor] = []

    def attend(_: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys.append(k)
        values.append(v)
        # Padding stands right of everything that counts, so causality alone hides it.
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])

    if position_A1T is None:
        positions = torch.arange(states_BTD.shape[1], device=states_BTD.device)[None]
        next_positions = list(lengths)
    else:
        positions = position_A1T
        next_positions = [int(position_A1T.max()) + 1] * len(lengths)
    states_BTD = run_blocks(llama, states_BTD, positions, attend, blocks=blocks, after=after)
    return states_BTD, SharedPrefix(keys=keys, values=values, lengths=list(lengths), next_positions=next_positions)


class BehindPrefix:
    """Attention of P prompts' tokens over their photos' shared prefixes and over their own suffixes so far."""

    def __init__(self, prefix: SharedPrefix, photo_of_prompt_P: Tensor, room: int) -> None:
        """room: tokens that a suffix may grow to."""
        self.prefix, self.photo_of_prompt_P, self.room = prefix, photo_of_prompt_P, room
        self.length = 0
        self.own: list[tuple[Tensor, Tensor]] = []
        self._prefix_mask_BT = prefix.mask_BT
        self._lay_out()

    def _lay_out(self) -> None:
        """Which prompts stand behind which photo: (B, N) rows, of which a photo with fewer repeats row 0, and back."""
        photos = self.photo_of_prompt_P
        B, P = len(self.prefix.lengths), len(photos)
        counts_B = torch.bincount(photos, minlength=B)
        most = int(counts_B.max())
        before_B = counts_B.cumsum(0) - counts_B
        rank_P = torch.arange(P, device=photos.device) - before_B[photos]
        self._slot_P = photos * most + rank_P
        self._row_BN = torch.zeros(B * most, dtype=torch.long, device=photos.device)
        self._row_BN[self._slot_P] = torch.arange(P, device=photos.device)

    def __call__(self, index: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        keys, values = self._grown(index, k, v)
        return self._of_many(index, q, keys, values) if q.shape[2] > 1 else self._of_one(index, q, keys, values)

    def _of_many(self, index: int, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of several tokens a prompt: fused, which is worth a copy of the prefix, a block's at a time."""
        S, L = q.shape[2], keys.shape[2]
        prefix, photos = self.prefix, self.photo_of_prompt_P
        T = prefix.keys[index].shape[2]
        step = torch.arange(L, device=q.device)
        sees_11ST = torch.ones(1, 1, S, T, dtype=torch.bool, device=q.device)
        if self._prefix_mask_BT is not None:
            sees_11ST = self._prefix_mask_BT[photos, None, None].expand(-1, -1, S, -1)
        causal_11SL = (step <= step[L - S :, None]).expand(len(sees_11ST), 1, S, L)
        return F.scaled_dot_product_attention(
            q,
            torch.cat([prefix.keys[index][photos], keys], dim=2),
            torch.cat([prefix.values[index][photos], values], dim=2),
            attn_mask=torch.cat([sees_11ST, causal_11SL], dim=-1),
            enable_gqa=q.shape[1] != keys.shape[1],
        )

    def _of_one(self, index: int, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attention of one token a prompt: all prompts of a photo share its keys as they lie there."""
        P, heads, _, H = q.shape
        K = keys.shape[1]
        # Query heads of one key head side by side, as if they were more tokens.
        q_PKGH = (q * H**-0.5).reshape(P, K, heads // K, H)
        own = q_PKGH @ keys.transpose(-1, -2)
        before = self._of_prompts(self._by_photo(q_PKGH) @ self.prefix.keys[index].transpose(-1, -2))
        if self._prefix_mask_BT is not None:
            before = before.masked_fill(~self._prefix_mask_BT[self.photo_of_prompt_P, None, None], -torch.inf)
        share = torch.cat([before, own], dim=-1).softmax(-1, dtype=torch.float32).to(values.dtype)
        T = before.shape[-1]
        seen = share[..., T:] @ values
        seen = seen + self._of_prompts(self._by_photo(share[..., :T]) @ self.prefix.values[index])
        return seen.reshape(P, heads, 1, H)

    def _by_photo(self, x_PKGX: Tensor) -> Tensor:
        """(P, K, G, X) of prompts to (B, K, prompts * G, X)."""
        return x_PKGX[self._row_BN].unflatten(0, (len(self.prefix.lengths), -1)).transpose(1, 2).flatten(2, 3)

    def _of_prompts(self, x_BKMX: Tensor) -> Tensor:
        """Back from `_by_photo`."""
        slots = len(self._row_BN) // len(x_BKMX)
        return x_BKMX.unflatten(2, (slots, -1)).transpose(1, 2).flatten(0, 1)[self._slot_P]

    def positions(self, count: int) -> Tensor:
        """(P, count) rotary positions of the tokens that follow what was read so far."""
        photos = self.photo_of_prompt_P
        next_B = torch.tensor(self.prefix.next_positions, device=photos.device)
        return next_B[photos, None] + torch.arange(self.length, self.length + count, device=photos.device)

    def _grown(self, index: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Own keys and values with the new tokens' behind them."""
        S = k.shape[2]
        if self.room == S and not self.length:
            return k, v
        if index == len(self.own):
            self.own.append(
                (k.new_empty(*k.shape[:2], self.room, k.shape[3]), v.new_empty(*v.shape[:2], self.room, v.shape[3]))
            )
        keys, values = self.own[index]
        end = self.length + S
        keys[:, :, self.length : end] = k
        values[:, :, self.length : end] = v
        return keys[:, :, :end], values[:, :, :end]

    def rows(self, rows: Tensor) -> None:
        """Go on with some of the prompts, each as often as it is named, in the order of their photos."""
        self.photo_of_prompt_P = self.photo_of_prompt_P[rows]
        self.own = [(keys[rows], values[rows]) for keys, values in self.own]
        self._lay_out()


def read_suffixes(
    llama: LlamaLike,
    prefix: SharedPrefix,
    photo_of_prompt_P: Tensor,
    suffix_PSD: Tensor,
    *,
    blocks: range | None = None,
) -> Tensor:
    """(P, S, D) last hidden states of right-padded suffixes behind their photos' prefixes.

    Args:
        photo_of_prompt_P: ascending.
        suffix_PSD: embeddings; with `blocks`, the states that these last blocks start from.
    """
    behind = BehindPrefix(prefix, photo_of_prompt_P, suffix_PSD.shape[1])
    return llama.model.norm(run_blocks(llama, suffix_PSD, behind.positions(suffix_PSD.shape[1]), behind, blocks=blocks))
