"""The descriptor as a policy: texts sampled from one prefill, and how likely the blocks that learn make them.

Blocks below those that learn are the same for policy and reference, and what they compute of photo, question and text
is computed once: the photo's part before sampling, the text's while it is sampled. The blocks that learn are walked
once with gradients, and once without as they were at first: the reference is a copy of their LoRA weights.
"""

# B photos, P points, N texts, T tokens (of a prefix, or of the longest text), L suffix and text tokens, D width

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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
    """Texts sampled for P points of B photos, with what is needed to say again how likely they are."""

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

    def __init__(self, network: Base, *, blocks: int) -> None:
        """
        Args:
            network: with the descriptor's adapter; from here on nothing else of it learns.
            blocks: how many of the language model's last blocks do.
        """
        self.network = network
        self.total = network.num_blocks
        if blocks > self.total:
            raise ValueError(f"blocks is {blocks}; allowed: at most {self.total}, those of the language model")
        self.first = self.total - blocks
        for module in network.role_modules("descriptor").values():
            module.requires_grad_(False)
        self.parameters = dict(network.role_weights("descriptor", blocks=range(self.first, self.total)))
        """LoRA weights that learn, by name."""
        for parameter in self.parameters.values():
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
        self,
        features: PhotoFeatures,
        points_square: Sequence[Tensor],
        sampling: Sampling,
        generator: torch.Generator | None,
    ) -> Rollout:
        """Draw texts.

        Args:
            features: of B photos.
            points_square: of each photo (P, 2) in [0, 1]^2 of the square.
            sampling: its `samples` are drawn for each point.
        """
        network, question = self.network, self.network.prompts.describe()
        counts_B = torch.tensor([len(points) for points in points_square])
        padded_BP2 = pad_sequence(list(points_square), batch_first=True).to(network.device)
        is_point_BP = (torch.arange(padded_BP2.shape[1]) < counts_B[:, None]).to(network.device)
        photo_of_point_P = torch.arange(len(counts_B)).repeat_interleave(counts_B).to(network.device)
        with network.acting_as("descriptor"):
            with torch.no_grad():
                padded_BTD, lengths = network.embed_prefix(features, "descriptor")
                states_BTD, below = network.read_prefix(padded_BTD, lengths, blocks=range(self.first))
                points_PF = network.encode_points(features, padded_BP2)[is_point_BP]
                suffix_PSD = network.embed([question] * len(points_PF), points_PF)
            _, above = network.read_prefix(states_BTD, lengths, blocks=range(self.first, self.total))
            with torch.no_grad():
                generated = network.generate(
                    _stacked(below, above),
                    photo_of_point_P,
                    suffix_PSD,
                    max_new_tokens=MAX_NEW_TOKENS,
                    sampling=sampling,
                    generator=generator,
                    keep_before=self.first,
                )
        return Rollout(
            texts=[text for of_point in generated for text in of_point],
            photo_of_text_N=photo_of_point_P.repeat_interleave(sampling.samples),
            states_BTD=states_BTD,
            below=below,
            above=above,
            question_length=len(question),
        )

    def logprobs(self, rollout: Rollout) -> Tensor:
        """(N, T) log-probabilities of the texts' tokens by the policy, with gradient; 0 on padding."""
        with self.network.acting_as("descriptor"):
            return self._logprobs(rollout, rollout.above)

    @torch.no_grad()
    def reference_logprobs(self, rollout: Rollout) -> Tensor:
        """(N, T) those by the descriptor as it was at first."""
        with self.network.acting_as("descriptor"), self.as_reference():
            _, above = self.network.read_prefix(
                rollout.states_BTD, rollout.below.lengths, blocks=range(self.first, self.total)
            )
            return self._logprobs(rollout, above)

    def _logprobs(self, rollout: Rollout, above: SharedPrefix) -> Tensor:
        states_NLD = pad_sequence([_states(one) for one in rollout.texts], batch_first=True)
        hidden_NLD = self.network.read(
            _stacked(rollout.below, above),
            rollout.photo_of_text_N,
            states_NLD,
            blocks=range(self.first, self.total),
        )
        is_token_NT = rollout.is_token_NT
        # The question's last token foretells the text's first.
        foretelling_NTD = hidden_NLD[:, rollout.question_length - 1 :][:, : is_token_NT.shape[1]]
        end = [self.network.end_id]
        said = [token for one in rollout.texts for token in one.ids + end * one.ended]
        logits_MV = self.network.logits(foretelling_NTD[is_token_NT]).float()
        logprobs_M = -F.cross_entropy(logits_MV, torch.tensor(said, device=logits_MV.device), reduction="none")
        return logprobs_M.new_zeros(is_token_NT.shape).masked_scatter(is_token_NT, logprobs_M)


def _states(text: GeneratedText) -> Tensor:
    assert text.states_LD is not None
    return text.states_LD


def _stacked(below: SharedPrefix, above: SharedPrefix) -> SharedPrefix:
    """Keys and values of all blocks, from those of the first and of the last."""
    return SharedPrefix(keys=below.keys + above.keys, values=below.values + above.values, lengths=below.lengths)
