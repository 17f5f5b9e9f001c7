"""Texts from the language model: P prompts continued at once behind their photos' shared prefixes."""

# P prompts, S suffix tokens, L tokens behind the prefix so far, D width, V vocabulary

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from talking_points.model.language import LlamaLike
from talking_points.model.shared_prefix import BehindPrefix, SharedPrefix, run_blocks

COMPACT_BELOW = 0.75
"""Finished texts leave the batch when fewer than this share of its rows still run: leaving costs a copy of the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How tokens are chosen."""

    temperature: float = 0.0
    """0: the likeliest."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have this much probability, at the given temperature."""
    samples: int = 1
    """Texts a prompt, from one prefill."""
    alike: bool = False
    """The k-th samples of all prompts are drawn by the same numbers, so that a prompt's texts do not depend on the
    prompts beside it; the first is the likeliest, as at temperature 0. For choosing among them, not for learning."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 10:
            raise ValueError(f"temperature is {self.temperature}; allowed: 0 (greedy) to 10")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; allowed: above 0, at most 1")
        if self.samples < 1:
            raise ValueError(f"samples is {self.samples}; allowed: at least 1")
        if self.alike and self.temperature == 0:
            raise ValueError("alike is of samples that are drawn; give a temperature above 0")


GREEDY = Sampling()


@dataclass(frozen=True, kw_only=True, slots=True)
class GeneratedText:
    """One continuation."""

    ids: list[int]
    """Without the end token."""
    logprobs: list[float]
    """log p of each id, and of the end token where the text has one, by the model itself: at temperature 1, of all
    tokens."""
    ended: bool
    """False: cut off at the longest length."""
    states_LD: Tensor | None = None
    """Of the suffix and every id, before block `keep_before`; None when that was not asked for."""


def generate(
    llama: LlamaLike,
    prefix: SharedPrefix,
    photo_of_prompt_P: Tensor,
    suffix_PSD: Tensor,
    *,
    end_id: int,
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    generator: torch.Generator | None = None,
    keep_before: int | None = None,
    on_token: Callable[[int, list[int]], None] | None = None,
) -> list[list[GeneratedText]]:
    """Continue P prompts, all at once; finished ones leave the batch.

    Args:
        photo_of_prompt_P: ascending.
        suffix_PSD: suffixes of equal length.
        end_id: token that ends a text.
        max_new_tokens: longest text, the end token not counted.
        generator: of the samples.
        keep_before: index of a block; the states that it starts from are kept with the texts.
        on_token: told each new token's text, counted over all prompts' samples, and the text's ids so far.

    Returns:
        For each prompt its `sampling.samples` texts.
    """
    P, S, _ = suffix_PSD.shape
    behind = BehindPrefix(prefix, photo_of_prompt_P, S + max_new_tokens)
    split = 0 if keep_before is None else keep_before
    hidden_PSD, states_PSD = _read(llama, behind, suffix_PSD, split)
    kept = None if keep_before is None else [(list(range(P)), states_PSD)]
    logits_PV = llama.lm_head(hidden_PSD[:, -1])
    if sampling.samples > 1:
        rows = torch.arange(P, device=suffix_PSD.device).repeat_interleave(sampling.samples)
        behind.rows(rows)
        logits_PV = logits_PV[rows]
    total = P * sampling.samples
    ids: list[list[int]] = [[] for _ in range(total)]
    logprobs: list[list[float]] = [[] for _ in range(total)]
    ended = [False] * total
    text_of_row = list(range(total))
    for length in range(max_new_tokens + 1):
        if sampling.alike:
            samples = [text % sampling.samples for text in text_of_row]
            token_P = _choose_alike(logits_PV, samples, sampling, generator)
        else:
            token_P = _choose(logits_PV, sampling, generator)
        of_token_P = logits_PV.float().log_softmax(-1).gather(-1, token_P[:, None]).squeeze(-1)
        for text, token, logprob in zip(text_of_row, token_P.tolist(), of_token_P.tolist(), strict=True):
            if ended[text]:
                continue
            if token == end_id:
                ended[text] = True
                logprobs[text].append(logprob)
            elif length < max_new_tokens:
                ids[text].append(token)
                logprobs[text].append(logprob)
                if on_token is not None:
                    on_token(text, ids[text])
        running = [row for row, text in enumerate(text_of_row) if not ended[text]]
        if not running or length == max_new_tokens:
            break
        if len(running) < COMPACT_BELOW * len(text_of_row):
            keep = torch.tensor(running, device=token_P.device)
            behind.rows(keep)
            token_P = token_P[keep]
            text_of_row = [text_of_row[row] for row in running]
        hidden_P1D, states_P1D = _read(llama, behind, llama.get_input_embeddings()(token_P)[:, None], split)
        if kept is not None:
            kept.append((text_of_row, states_P1D))
        logits_PV = llama.lm_head(hidden_P1D[:, -1])
    states = [None] * total if kept is None else _states_of_texts(kept, sampling.samples, [S + len(i) for i in ids])
    texts = [
        GeneratedText(ids=i, logprobs=p, ended=e, states_LD=s)
        for i, p, e, s in zip(ids, logprobs, ended, states, strict=True)
    ]
    return [texts[p * sampling.samples : (p + 1) * sampling.samples] for p in range(P)]


def _read(llama: LlamaLike, behind: BehindPrefix, embeds_PSD: Tensor, split: int) -> tuple[Tensor, Tensor]:
    """Last hidden states of tokens that follow what was read so far, and those before block `split`."""
    S = embeds_PSD.shape[1]
    position_PS, states_PSD = behind.positions(S), embeds_PSD
    if split:
        states_PSD = run_blocks(llama, embeds_PSD, position_PS, behind, blocks=range(split))
    hidden_PSD = run_blocks(llama, states_PSD, position_PS, behind, blocks=range(split, len(llama.model.layers)))
    behind.length += S
    return llama.model.norm(hidden_PSD), states_PSD


def _states_of_texts(
    kept: Sequence[tuple[Sequence[int], Tensor]], samples: int, lengths: Sequence[int]
) -> list[Tensor | None]:
    """(L, D) states of each text, out of those of each reading.

    Args:
        kept: first the prompts' own, then a token's a reading; with each, which texts its rows belong to.
        samples: texts a prompt.
        lengths: of each text, its prompt's suffix counted.
    """
    (_, first_PSD), *others = kept
    S = first_PSD.shape[1]
    states_NLD = first_PSD.new_zeros(len(lengths), S + len(others), first_PSD.shape[-1])
    states_NLD[:, :S] = first_PSD.repeat_interleave(samples, 0)
    for step, (texts, states_P1D) in enumerate(others):
        states_NLD[list(texts), S + step] = states_P1D[:, 0]
    return [states_LD[:length] for states_LD, length in zip(states_NLD, lengths, strict=True)]


def _choose(logits_PV: Tensor, sampling: Sampling, generator: torch.Generator | None) -> Tensor:
    """(P,) next tokens."""
    if sampling.temperature == 0:
        return logits_PV.argmax(-1)
    return torch.multinomial(_probabilities(logits_PV, sampling), 1, generator=generator).squeeze(-1)


def _choose_alike(
    logits_PV: Tensor, sample_of_row: Sequence[int], sampling: Sampling, generator: torch.Generator | None
) -> Tensor:
    """(P,) next tokens, by numbers that samples of equal number share. sample_of_row: which of its prompt's each is."""
    probs_PV = _probabilities(logits_PV, sampling)
    if probs_PV.isnan().any():
        raise RuntimeError("the language model's probabilities are not numbers; its weights or its input are broken")
    # The largest of log-probabilities with Gumbel noise is a draw by them. Zeros, which some devices draw, would win.
    noise_SV = torch.empty(sampling.samples, probs_PV.shape[-1], device=probs_PV.device, dtype=torch.float32)
    noise_SV = -noise_SV.exponential_(generator=generator).clamp_min_(2**-32).log()
    noise_SV[0] = 0
    return (probs_PV.log() + noise_SV[sample_of_row]).argmax(-1)


def _probabilities(logits_PV: Tensor, sampling: Sampling) -> Tensor:
    probs_PV = (logits_PV.float() / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        sorted_PV, order_PV = probs_PV.sort(-1, descending=True)
        # A token stays while those before it have less than top_p together: the first always does.
        sorted_PV = sorted_PV.masked_fill(sorted_PV.cumsum(-1) - sorted_PV >= sampling.top_p, 0.0)
        probs_PV = torch.zeros_like(probs_PV).scatter(-1, order_PV, sorted_PV)
    return probs_PV
