"""Batched work of the language model over photo prefixes that are computed once and shared."""

# B photos, P prompts, T prefix tokens, S suffix tokens, D width, V vocabulary

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, LlamaForCausalLM


def pad_prefixes(prefixes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Right-pad (T, D) prefixes to (B, T, D); and their lengths (B,)."""
    lengths = torch.tensor([p.shape[0] for p in prefixes], device=prefixes[0].device)
    return torch.nn.utils.rnn.pad_sequence(list(prefixes), batch_first=True), lengths


class SharedPrefix:
    """Keys and values of B photos' prefixes, ready to be extended by any number of suffixes.

    In training, gradients of all suffixes meet in them: what they learn is what they would learn each alone.
    """

    def __init__(self, llama: LlamaForCausalLM, prefixes: Sequence[Tensor]) -> None:
        embeds_BTD, self.lengths_B = pad_prefixes(prefixes)
        self.mask_BT = torch.arange(embeds_BTD.shape[1], device=embeds_BTD.device) < self.lengths_B[:, None]
        cache = llama.model(
            inputs_embeds=embeds_BTD, attention_mask=self.mask_BT.long(), past_key_values=DynamicCache()
        ).past_key_values
        self._layers = [(layer.keys, layer.values) for layer in cache.layers]

    def expand(self, photo_of_prompt_P: Tensor) -> DynamicCache:
        """A cache of its own for P prompts, holding each one's photo."""
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self._layers):
            cache.update(keys[photo_of_prompt_P], values[photo_of_prompt_P], index)
        return cache


def read_suffixes(
    llama: LlamaForCausalLM,
    prefix: SharedPrefix,
    photo_of_prompt_P: Tensor,
    suffix_PSD: Tensor,
    lengths_P: Tensor,
) -> tuple[Tensor, Tensor, DynamicCache]:
    """Run P right-padded suffixes behind their photos' prefixes.

    Returns:
        (P, S, D) last hidden states, the (P, T + S) mask of tokens that count, and the extended cache.
    """
    S = suffix_PSD.shape[1]
    step_S = torch.arange(S, device=suffix_PSD.device)
    mask_PL = torch.cat([prefix.mask_BT[photo_of_prompt_P], step_S < lengths_P[:, None]], dim=1)
    cache = prefix.expand(photo_of_prompt_P)
    result = llama.model(
        inputs_embeds=suffix_PSD,
        attention_mask=mask_PL.long(),
        position_ids=prefix.lengths_B[photo_of_prompt_P, None] + step_S,
        past_key_values=cache,
    )
    return result.last_hidden_state, mask_PL, cache


def generate(
    llama: LlamaForCausalLM,
    prefix: SharedPrefix,
    photo_of_prompt_P: Tensor,
    suffix_PSD: Tensor,
    *,
    end_id: int,
    max_new_tokens: int,
) -> list[list[int]]:
    """Continue P prompts greedily, all at once; a finished one leaves the batch.

    Args:
        suffix_PSD: suffixes of equal length.
        end_id: token that ends a text.
        max_new_tokens: longest text, the end token not counted.

    Returns:
        New token ids of each prompt, without the end token.
    """
    P, S, _ = suffix_PSD.shape
    lengths_P = torch.full((P,), S, device=suffix_PSD.device)
    hidden_PSD, mask_PL, cache = read_suffixes(llama, prefix, photo_of_prompt_P, suffix_PSD, lengths_P)
    position_P = prefix.lengths_B[photo_of_prompt_P] + S
    texts: list[list[int]] = [[] for _ in range(P)]
    running = list(range(P))
    token_P = llama.lm_head(hidden_PSD[:, -1]).argmax(-1)
    for length in range(1, max_new_tokens + 1):
        going = [row for row, token in enumerate(token_P.tolist()) if token != end_id]
        for row in going:
            texts[running[row]].append(int(token_P[row]))
        if not going or length == max_new_tokens:
            break
        if len(going) < len(running):
            keep = torch.tensor(going, device=token_P.device)
            cache.batch_select_indices(keep)
            token_P, mask_PL, position_P = token_P[keep], mask_PL[keep], position_P[keep]
            running = [running[row] for row in going]
        mask_PL = torch.cat([mask_PL, mask_PL.new_ones(len(running), 1)], dim=1)
        hidden = llama.model(
            inputs_embeds=llama.get_input_embeddings()(token_P)[:, None],
            attention_mask=mask_PL.long(),
            position_ids=position_P[:, None],
            past_key_values=cache,
        ).last_hidden_state
        position_P = position_P + 1
        token_P = llama.lm_head(hidden[:, -1]).argmax(-1)
    return texts
