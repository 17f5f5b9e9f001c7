from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from talking_points.model.generation import Sampling, _choose, _choose_alike, generate
from talking_points.model.language import LlamaLike
from talking_points.model.shared_prefix import SharedPrefix, read_prefix, read_suffixes
from tests.tiny import tiny_network

WIDTH = 32


def read_prefixes(llama: LlamaLike, prefixes: list[torch.Tensor]) -> SharedPrefix:
    padded = torch.nn.utils.rnn.pad_sequence(prefixes, batch_first=True)
    return read_prefix(llama, padded, [len(one) for one in prefixes])[1]


def test_suffixes_behind_a_shared_prefix_are_as_if_each_stood_alone() -> None:
    """Prefixes and suffixes of unequal length; states and the prefixes' gradients are those of separate sequences."""
    network = tiny_network()
    llama = network.llama
    prefixes = [torch.randn(n, WIDTH, requires_grad=True) for n in (5, 9)]
    suffixes = torch.randn(5, 4, WIDTH)
    lengths = torch.tensor([4, 2, 3, 1, 4])
    # Photos with unequal numbers of prompts.
    photo_of_prompt = torch.tensor([0, 0, 0, 1, 1])
    directions = torch.randn(5, 4, WIDTH)
    with network.acting_as("descriptor"):
        together = read_suffixes(llama, read_prefixes(llama, prefixes), photo_of_prompt, suffixes)
        loss = torch.zeros(())
        for p, (photo, n) in enumerate(zip(photo_of_prompt.tolist(), lengths.tolist(), strict=True)):
            alone = llama.model(
                inputs_embeds=torch.cat([prefixes[photo], suffixes[p, :n]])[None], use_cache=False
            ).last_hidden_state[0, len(prefixes[photo]) :]
            torch.testing.assert_close(together[p, :n], alone, atol=1e-5, rtol=1e-4)
            loss = loss + (alone * directions[p, :n]).sum()
        counts = torch.arange(4) < lengths[:, None]
        wanted = torch.autograd.grad(loss, prefixes)
        got = torch.autograd.grad((together * directions * counts[..., None]).sum(), prefixes)
    torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_prefixes_taken_apart_and_joined_are_the_same() -> None:
    network = tiny_network()
    together = read_prefixes(network.llama, [torch.randn(n, WIDTH) for n in (3, 7)])
    joined = SharedPrefix.join([together.photo(0), together.photo(1)])
    assert joined.lengths == [3, 7] and together.photo(0).keys[0].shape[2] == 3
    assert together.photo(1).bytes == together.bytes // 2
    suffixes, photos = torch.randn(2, 2, WIDTH), torch.tensor([0, 1])
    torch.testing.assert_close(
        read_suffixes(network.llama, joined, photos, suffixes), read_suffixes(network.llama, together, photos, suffixes)
    )


@torch.no_grad()
def test_samples_and_their_log_probabilities() -> None:
    """What a sample's tokens are said to be likely is what the whole sequence, read at once, says."""
    network = tiny_network()
    llama, end_id = network.llama, network.prompts.end_id
    prefix, suffix = torch.randn(6, WIDTH), torch.randn(2, 3, WIDTH)
    with network.acting_as("descriptor"):
        texts = generate(
            llama,
            read_prefixes(llama, [prefix]),
            torch.tensor([0, 0]),
            suffix,
            end_id=end_id,
            max_new_tokens=5,
            sampling=Sampling(temperature=1.3, samples=3),
            generator=torch.Generator().manual_seed(0),
        )
        assert [len(some) for some in texts] == [3, 3]
        assert len({tuple(one.ids) for one in texts[0]}) > 1
        for p, some in enumerate(texts):
            for one in some:
                ids = one.ids + ([end_id] if one.ended else [])
                assert len(one.logprobs) == len(ids)
                embeds = torch.cat([prefix, suffix[p], llama.get_input_embeddings()(torch.tensor(ids))])
                logits = llama(inputs_embeds=embeds[None]).logits[0, len(prefix) + 2 : -1]
                wanted = logits.log_softmax(-1)[torch.arange(len(ids)), ids]
                torch.testing.assert_close(torch.tensor(one.logprobs), wanted, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_small_top_p_leaves_the_likeliest_token() -> None:
    network = tiny_network()
    llama = network.llama
    arguments = (llama, read_prefixes(llama, [torch.randn(4, WIDTH)]), torch.tensor([0]), torch.randn(1, 2, WIDTH))
    settings = {"end_id": network.prompts.end_id, "max_new_tokens": 6}
    greedy = generate(*arguments, **settings)
    drawn = generate(*arguments, **settings, sampling=Sampling(temperature=1.0, top_p=1e-6))
    assert drawn == greedy


@torch.no_grad()
def test_samples_do_not_depend_on_the_prompts_beside_theirs() -> None:
    network = tiny_network()
    llama = network.llama
    prefix, suffixes = read_prefixes(llama, [torch.randn(4, WIDTH)]), torch.randn(3, 2, WIDTH)
    sampling = Sampling(temperature=2.0, top_p=0.9, samples=4, alike=True)

    def drawn(some: torch.Tensor, how: Sampling) -> list[list[list[int]]]:
        texts = generate(
            llama,
            prefix,
            torch.zeros(len(some), dtype=torch.long),
            some,
            end_id=network.prompts.end_id,
            max_new_tokens=12,
            sampling=how,
            generator=torch.Generator().manual_seed(3),
        )
        return [[one.ids for one in of_prompt] for of_prompt in texts]

    together = drawn(suffixes, sampling)
    assert together == [drawn(suffixes[k : k + 1], sampling)[0] for k in range(3)]
    assert [some[0] for some in together] == [some[0] for some in drawn(suffixes, Sampling())]
    assert all(len({tuple(ids) for ids in some}) == 4 for some in together)


@torch.no_grad()
def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    """By numbers that prompts share; the first sample is the likeliest."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0]).expand(20_000, 4)
    generator = torch.Generator().manual_seed(0)
    tokens = _choose_alike(logits, range(20_000), Sampling(temperature=0.8, samples=20_000, alike=True), generator)
    likely = (logits[0] / 0.8).softmax(-1)
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / 20_000, likely, atol=0.012)
    assert tokens[0] == 2
    # The likeliest two have 0.72 and 0.21 of it, together more than 0.85.
    nucleus = Sampling(temperature=0.8, top_p=0.85, samples=20_000, alike=True)
    assert set(_choose_alike(logits, range(20_000), nucleus, generator).tolist()) == {1, 2}


def test_prompts_draw_apart_unless_told() -> None:
    """Of equal prompts: what learns from samples needs them to differ."""
    logits, generator = torch.zeros(20, 1000), torch.Generator().manual_seed(0)
    apart = _choose(logits, Sampling(temperature=1.0), generator)
    alike = _choose_alike(logits, [1] * 20, Sampling(temperature=1.0, samples=2, alike=True), generator)
    assert len(set(apart.tolist())) > 15 and len(set(alike.tolist())) == 1


def test_what_is_no_number_is_not_drawn_from() -> None:
    with pytest.raises(RuntimeError, match="are not numbers"):
        _choose_alike(torch.full((1, 4), math.nan), [0], Sampling(temperature=1.0, alike=True), torch.Generator())


@pytest.mark.parametrize(
    "wrong", [{"temperature": -1.0}, {"temperature": math.nan}, {"top_p": 0.0}, {"samples": 0}, {"alike": True}]
)
def test_impossible_sampling_is_told(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)


@torch.no_grad()
def test_kept_states_lead_to_the_same_log_probabilities() -> None:
    """The last block, started from what sampling kept, says again how likely each token was."""
    network = tiny_network()
    llama, end_id = network.llama, network.prompts.end_id
    suffixes, photos = torch.randn(3, 4, WIDTH), torch.tensor([0, 1, 1])
    with network.acting_as("descriptor"):
        padded = torch.nn.utils.rnn.pad_sequence([torch.randn(n, WIDTH) for n in (5, 8)], batch_first=True)
        states, lower = read_prefix(llama, padded, [5, 8], blocks=range(1))
        _, upper = read_prefix(llama, states, [5, 8], blocks=range(1, 2))
        prefix = replace(lower, keys=lower.keys + upper.keys, values=lower.values + upper.values)
        texts = generate(
            llama,
            prefix,
            photos,
            suffixes,
            end_id=end_id,
            # Long enough, and hot enough, that some texts end and leave the batch.
            max_new_tokens=40,
            sampling=Sampling(temperature=3.0, samples=4),
            generator=torch.Generator().manual_seed(1),
            keep_before=1,
        )
        flat = [one for of_prompt in texts for one in of_prompt]
        assert len({len(one.ids) for one in flat}) > 1
        kept = torch.nn.utils.rnn.pad_sequence([one.states_LD for one in flat], batch_first=True)
        hidden = read_suffixes(llama, prefix, photos.repeat_interleave(4), kept, blocks=range(1, 2))
        for row, one in zip(hidden, flat, strict=True):
            said = one.ids + [end_id] * one.ended
            logprobs = llama.lm_head(row[3 : 3 + len(said)]).log_softmax(-1)
            assert one.states_LD is not None and len(one.states_LD) == 4 + len(one.ids)
            torch.testing.assert_close(
                logprobs.gather(-1, torch.tensor(said)[:, None]).squeeze(-1),
                torch.tensor(one.logprobs),
                atol=1e-4,
                rtol=1e-4,
            )
