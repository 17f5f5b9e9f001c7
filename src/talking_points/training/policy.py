"""The descriptor as a policy: texts sampled from one prefill, and how likely the blocks that learn make them.

Blocks below those that learn are the same for policy and reference, and what they compute of photo, question and text
is computed once: the photo's part before sampling, the text's while it is sampled. The blocks that learn are walked
once with gradients, and once without as they were at first: the reference is a copy of their LoRA weights.
"""

# B photos, P points a photo, N texts, T tokens (of a prefix, or of the longest text), L prompt and text tokens, D width

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from talking_points.bases.base import Base, PhotoFeatures
from talking_points.model.generation import GeneratedText, Sampling
from talking_points.model.shared_prefix import SharedPrefix
from talking_points.pointing.descriptor import MAX_NEW_TOKENS


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """Texts sampled for P points of each of B photos, with what is needed to say again how likely they are."""

    texts: list[GeneratedText]
    """N, a point's samples side by side."""
    photo_of_text_N: Tensor
    states_BTD: Tensor
    """Of the photos' prefixes, before the blocks that learn."""
    below: SharedPrefix
    """Keys and values of the blocks that do not learn."""
    above: SharedPrefix
    """Those of the blocks that do, by the policy, with gradient."""
    question_length: int

    @property
    def is_token_NT(self) -> Tensor:
        """False on padding; the end token is a token."""
        counts_N = torch.tensor([len(one.logprobs) for one in self.texts])
        return (torch.arange(int(counts_N.max())) < counts_N[:, None]).to(self.states_BTD.device)


class Policy:
    """The descriptor's last blocks, learning, beside what they were at first."""

    def __init__(self, base: Base, *, blocks: int) -> None:
        """
        Args:
            base: with the descriptor's adapter; from here on nothing else of it learns.
            blocks: how many of the language model's last blocks do.
        """
        if blocks > base.num_blocks:
            raise ValueError(f"blocks is {blocks}; allowed: at most {base.num_blocks}, those of the language model")
        self.base = base
        self._below = range(base.num_blocks - blocks)
        self._learning = range(base.num_blocks - blocks, base.num_blocks)
        self.parameters = dict(base.role_weights("descriptor", blocks=self._learning))
        """LoRA weights that learn, by name."""
        for module in base.role_modules("descriptor").values():
            module.requires_grad_(False)
            for layer in module.modules():
                # In evaluation mode bitsandbytes packs these on some CPUs, and no gradient comes through them.
                if type(layer).__name__ == "Linear4bit":
                    layer.train()
        for parameter in self.parameters.values():
            # fp32 whatever the base's type: small steps are lost in bf16.
            parameter.data = parameter.data.float()
            parameter.requires_grad_(True)
        self.reference = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Set the weights that learn."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])

    @contextmanager
    def as_reference(self) -> Iterator[None]:
        """Inside the block the descriptor is as it was at first. Nothing may be differentiated there."""
        learnt = {name: parameter.data for name, parameter in self.parameters.items()}
        try:
            for name, parameter in self.parameters.items():
                parameter.data = self.reference[name]
            yield
        finally:
            for name, parameter in self.parameters.items():
                parameter.data = learnt[name]

    def sample(
        self, features: PhotoFeatures, points_BP2: Tensor, sampling: Sampling, generator: torch.Generator | None
    ) -> Rollout:
        """Draw texts.

        Args:
            features: of B photos.
            points_BP2: in [0, 1]^2 of the square.
            sampling: its `samples` are drawn for each point.
        """
        base, question = self.base, self.base.prompts.describe()
        B, P, _ = points_BP2.shape
        photo_of_point = torch.arange(B, device=base.device).repeat_interleave(P)
        with base.acting_as("descriptor"):
            with torch.no_grad():
                embeds_BTD, lengths = base.embed_prefix(features, "descriptor")
                states_BTD, below = base.read_prefix(embeds_BTD, lengths, blocks=self._below)
                points_PF = base.encode_points(features, points_BP2.to(base.device)).flatten(0, 1)
                prompts_PSD = base.embed([question] * len(points_PF), points_PF)
            _, above = base.read_prefix(states_BTD, lengths, blocks=self._learning)
            with torch.no_grad():
                generated = base.generate(
                    _stacked(below, above),
                    photo_of_point,
                    prompts_PSD,
                    max_new_tokens=MAX_NEW_TOKENS,
                    sampling=sampling,
                    generator=generator,
                    keep_before=self._learning.start,
                )
        return Rollout(
            texts=[text for of_point in generated for text in of_point],
            photo_of_text_N=photo_of_point.repeat_interleave(sampling.samples),
            states_BTD=states_BTD,
            below=below,
            above=above,
            question_length=len(question),
        )

    def logprobs(self, rollout: Rollout) -> Tensor:
        """(N, T) log-probabilities of the texts' tokens by the policy, with gradient; 0 on padding."""
        with self.base.acting_as("descriptor"):
            return self._logprobs(rollout, rollout.above)

    @torch.no_grad()
    def reference_logprobs(self, rollout: Rollout) -> Tensor:
        """(N, T) those by the descriptor as it was at first."""
        with self.base.acting_as("descriptor"), self.as_reference():
            _, above = self.base.read_prefix(rollout.states_BTD, rollout.below.lengths, blocks=self._learning)
            return self._logprobs(rollout, above)

    def _logprobs(self, rollout: Rollout, above: SharedPrefix) -> Tensor:
        base, is_token_NT = self.base, rollout.is_token_NT
        # All have states: they were sampled with `keep_before`.
        states_NLD = pad_sequence([one.states_LD for one in rollout.texts if one.states_LD is not None], True)
        prefix = _stacked(rollout.below, above)
        hidden_NLD = base.read(prefix, rollout.photo_of_text_N, states_NLD, blocks=self._learning)
        # The question's last token foretells the text's first.
        foretelling_NTD = hidden_NLD[:, rollout.question_length - 1 :][:, : is_token_NT.shape[1]]
        said = [token for one in rollout.texts for token in one.ids + [base.prompts.end_id] * one.ended]
        logits_MV = base.logits(foretelling_NTD[is_token_NT]).float()
        logprobs_M = -F.cross_entropy(logits_MV, torch.tensor(said, device=logits_MV.device), reduction="none")
        return logprobs_M.new_zeros(is_token_NT.shape).masked_scatter(is_token_NT, logprobs_M)


def _stacked(below: SharedPrefix, above: SharedPrefix) -> SharedPrefix:
    """Keys and values of all blocks, from those of the first and of the last."""
    return replace(below, keys=below.keys + above.keys, values=below.values + above.values)
