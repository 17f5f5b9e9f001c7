from __future__ import annotations

import pytest
import torch
from torch import Tensor

from talking_points.model.generation import Sampling
from talking_points.model.network import PointNetwork
from talking_points.training.grpo import group_advantages, kl_divergence, policy_loss, total_loss
from talking_points.training.policy import Policy, Rollout
from tests.tiny import tiny_network

pytestmark = pytest.mark.usefixtures("short_texts")

POINTS = torch.tensor([[[0.3, 0.4], [0.6, 0.5]], [[0.5, 0.9], [0.1, 0.2]]])
SAMPLING = Sampling(temperature=1.0, samples=3)


def roll(policy: Policy, seed: int = 0) -> Rollout:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        features = policy.base.encode_photos(pixels)
    return policy.sample(features, POINTS, SAMPLING, torch.Generator().manual_seed(seed))


def drift(policy: Policy) -> None:
    """Move the weights that learn away from the reference."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in policy.parameters.values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def plain_logprobs(network: PointNetwork, rollout: Rollout) -> Tensor:
    """(N, T) of each text alone: photo, question and text through the whole of transformers' model, no sharing."""
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    rows = []
    places = [(photo, point) for photo, points in enumerate(POINTS) for point in points for _ in range(3)]
    with network.acting_as("descriptor"):
        for (photo, point), text in zip(places, rollout.texts, strict=True):
            features = network.segmenter(pixels[photo : photo + 1])
            [prefix] = network.photo_prefixes(features, "descriptor")
            question = network.prompts.describe()
            [suffix] = network.embed([question + text.ids], network.encode_points(features, point[None, None])[0])
            logits = network.llama(inputs_embeds=torch.cat([prefix, suffix])[None]).logits[0]
            said = torch.tensor(text.ids + [network.prompts.end_id] * text.ended)
            start = len(prefix) + len(question) - 1
            rows.append(logits[start : start + len(said)].log_softmax(-1).gather(-1, said[:, None])[:, 0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


@pytest.mark.parametrize("blocks", [1, 2])
def test_gradients_are_those_of_a_plain_loop(blocks: int) -> None:
    """Loss and gradients against autograd through three full models: policy, reference, and nothing shared."""
    network = tiny_network()
    policy = Policy(network, blocks=blocks)
    as_at_first = tiny_network()
    drift(policy)
    rollout = roll(policy)
    assert len({len(one.ids) for one in rollout.texts}) > 1 or not all(one.ended for one in rollout.texts)
    rewards = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    advantages = group_advantages(rewards).flatten()
    is_token = rollout.is_token_NT

    def loss(logprobs: Tensor, reference: Tensor) -> Tensor:
        return total_loss(
            policy_loss(logprobs, is_token, advantages), kl_divergence(logprobs, reference, is_token), 0.1
        )

    parameters = list(policy.parameters.values())
    reference = policy.reference_logprobs(rollout)
    ours = loss(policy.logprobs(rollout), reference)
    got = torch.autograd.grad(ours, parameters)
    with torch.no_grad():
        wanted_reference = plain_logprobs(as_at_first, rollout)
    torch.testing.assert_close(reference, wanted_reference, atol=1e-5, rtol=1e-4)
    plain = loss(plain_logprobs(network, rollout), wanted_reference)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got, torch.autograd.grad(plain, parameters), atol=1e-5, rtol=1e-3)
    assert all(gradient.any() for gradient in got)


def test_sampled_log_probabilities_are_the_policys() -> None:
    policy = Policy(tiny_network(), blocks=1)
    drift(policy)
    rollout = roll(policy)
    sampled = torch.nn.utils.rnn.pad_sequence([torch.tensor(one.logprobs) for one in rollout.texts], batch_first=True)
    torch.testing.assert_close(policy.logprobs(rollout), sampled, atol=1e-4, rtol=1e-4)


def test_only_the_last_blocks_lora_of_the_descriptor_learns() -> None:
    network = tiny_network()
    policy = Policy(network, blocks=1)
    assert {name for name, p in network.language.named_parameters() if p.requires_grad} == set(policy.parameters)
    assert all(".layers.1." in name and ".lora_" in name and ".descriptor." in name for name in policy.parameters)
    assert len(policy.parameters) == 14  # A and B of seven linear layers
    assert not any(p.requires_grad for p in network.segmenter.parameters())


def test_the_reference_is_as_it_was_and_costs_only_these_weights() -> None:
    policy = Policy(tiny_network(), blocks=1)
    before = policy.reference_logprobs(roll(policy))
    rollout = roll(policy)
    drift(policy)
    drifted = {name: parameter.detach().clone() for name, parameter in policy.parameters.items()}
    torch.testing.assert_close(policy.reference_logprobs(rollout), before)
    assert all(torch.equal(policy.parameters[name], weight) for name, weight in drifted.items())
    assert policy.reference.keys() == policy.parameters.keys()


def test_more_blocks_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="blocks is 3; allowed: at most 2"):
        Policy(tiny_network(), blocks=3)
