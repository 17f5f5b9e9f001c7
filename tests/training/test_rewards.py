"""The localizer as a reward of other trainers; our objective beside TRL's."""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from talking_points.pointing import encoding
from talking_points.pointing.localizer import PointLocalizer
from talking_points.samples import FoundPoint
from talking_points.training.grpo import group_advantages, kl_divergence, policy_loss, total_loss
from talking_points.training.rewards import PAPER_SETTINGS, LocalizerReward
from tests.test_docs import DOCS, blocks
from tests.tiny import tiny_network

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 80, 3), dtype=np.uint8)


class Finds:
    """A localizer that finds every text in the middle and cannot read "#"."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.opened = 0

    def prepare(self, photo: Any) -> Any:
        self.opened += 1
        return PointLocalizer(tiny_network(roles=("localizer",))).prepare(photo)

    def check_text(self, text: str) -> None:
        if not text.strip() or "#" in text:
            raise ValueError("not readable")

    def locate_many(self, pairs: Sequence[tuple[Any, str]]) -> list[FoundPoint]:
        self.asked += [text for _, text in pairs]
        return [FoundPoint(point_px=(40.0, 20.0), confidence=None, runner_up_px=None) for _ in pairs]


def test_a_reward_is_the_papers(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    finds, told = Finds(), {}
    chats = [[{"role": "assistant", "content": "the mane"}], [{"role": "assistant", "content": None}]]
    parts = [{"role": "user", "content": "?"}, {"role": "assistant", "content": [{"type": "text", "text": "the tail"}]}]
    completions = ["the mane", "# #", "the mane", *chats, parts, "of another task"]
    points = [[40, 20], [40, 20], [56, 36], [40, 20], [40, 20], [44, 20], None]
    rewards = LocalizerReward(finds)(
        completions,
        photo=[path] * 7,
        point=points,
        prompts=[""] * 7,
        completion_ids=[[1]] * 7,
        trainer_state=None,
        log_metric=told.__setitem__,
    )
    # 16 px of 80 and 16 px of 40 away: (0.2^2 + 0.4^2) / 2; 4 px of 80: 0.05^2 / 2
    assert rewards == [0, pytest.approx(-1), pytest.approx(-0.1), 0, pytest.approx(-1), pytest.approx(-0.00125), None]
    # a text of a photo is asked once, and a path opened once
    assert finds.asked == ["the mane", "the tail"] and finds.opened == 1
    assert told == {"within_0.1": 0.5, "within_0.2": 0.5, "unreadable": pytest.approx(1 / 3)}
    far = LocalizerReward(finds, reward="distance")(["the mane", ""], image=[PIXELS] * 2, point=[(80, 40)] * 2)
    assert far == [pytest.approx(-(0.5**0.5)), pytest.approx(-(2**0.5))]


def test_a_photo_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_network(roles=("localizer",))
    encoded, encode = [], network.encode_photos
    monkeypatch.setattr(network, "encode_photos", lambda pixels: encoded.append(len(pixels)) or encode(pixels))
    reward = LocalizerReward(PointLocalizer(network, cache=encoding.PhotoCache()))
    for texts in (["the left shoe", "the hood"], ["the car", "the left shoe"]):
        first = reward(texts, image=[PIXELS, PIXELS.copy()], point=[(10, 20), (10, 20)])
    assert encoded == [1]
    # what `locate` says of the same text
    [found] = PointLocalizer(network).localize(PIXELS, ["the left shoe"])
    assert first[1] == pytest.approx(-(((found[0] - 10) / 80) ** 2 + ((found[1] - 20) / 40) ** 2) / 2, abs=1e-6)


def test_a_bad_row_is_named() -> None:
    reward = LocalizerReward(Finds())
    for columns, said in (
        ({"point": [(1, 1)]}, "the data has no column 'photo'; a reward needs 'point', and 'photo' or 'image'"),
        ({"photo": [PIXELS]}, "the data has no column 'point'"),
        ({"photo": [PIXELS], "point": [(81, 1)]}, r"row 1: the point \[81.0, 1.0\] is outside the 80x40 photo"),
        ({"photo": [None], "point": [(1, 1)]}, "row 1 has a point and no photo; give both, or neither"),
    ):
        with pytest.raises(ValueError, match=said):
            reward(["the mane"], **columns)
    with pytest.raises(ValueError, match="reward is 'pck'; allowed: mse, distance"):
        LocalizerReward(Finds(), reward="pck")


# --- TRL

STEPS, RATE = 3, 0.3


def words_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate(["<pad>", "<end>", "a", "b", "c", "d", "e", "f"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")


def save_start(folder: Path) -> torch.nn.Module:
    """A tiny random language model, and what TRL reads of it."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    language = LlamaForCausalLM(
        LlamaConfig(vocab_size=8, pad_token_id=0, bos_token_id=None, eos_token_id=1, initializer_range=0.3, **sizes)
    )
    language.save_pretrained(folder)
    words_tokenizer().save_pretrained(folder)
    return language


Said = list[tuple[list[int], list[int], float]]
"""Of a step's texts: tokens of the prompt, of the text, and the reward."""


def trl_weights(folder: Path, **changes: Any) -> tuple[dict[str, torch.Tensor], list[Said]]:
    """Weights after some steps of TRL's trainer by plain gradient descent, and what it sampled."""
    trl = pytest.importorskip("trl", reason="trl is not installed (the [dev] extra has it)")
    from datasets import Dataset

    steps: list[Said] = []
    tokenizer = words_tokenizer()

    def reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        # Any numbers do, that differ within a group.
        earned = [float(sum((k + 2) * token for k, token in enumerate(ids)) % 11) for ids in completion_ids]
        asked = [tokenizer(prompt).input_ids for prompt in prompts]
        steps.append(list(zip(asked, completion_ids, earned, strict=True)))
        return earned

    settings = {
        **PAPER_SETTINGS,
        "per_device_train_batch_size": 12,
        "learning_rate": RATE,
        "max_completion_length": 5,
        "max_steps": STEPS,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        # 0: gradients are not clipped
        "max_grad_norm": 0.0,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "output_dir": str(folder / "out"),
        **changes,
    }
    trainer = trl.GRPOTrainer(
        model=str(folder),
        args=trl.GRPOConfig(**settings),
        reward_funcs=reward,
        train_dataset=Dataset.from_dict({"prompt": ["a b", "c", "d e f a", "b b c"]}),
    )
    trainer.train()
    return {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}, steps


def our_weights(language: torch.nn.Module, steps: Sequence[Said]) -> dict[str, torch.Tensor]:
    """Weights after steps of ours on the same samples."""
    reference = copy.deepcopy(language).requires_grad_(False)
    optimizer = torch.optim.SGD(language.parameters(), lr=RATE)

    def logprobs_NT(model: torch.nn.Module, said: Said) -> torch.Tensor:
        rows = []
        for asked, text, _ in said:
            logits_TV = model(torch.tensor([asked + text])).logits[0, len(asked) - 1 : -1].float()
            rows.append(logits_TV.log_softmax(-1)[torch.arange(len(text)), text])
        return pad_sequence(rows, batch_first=True)

    for said in steps:
        lengths_N = torch.tensor([len(text) for _, text, _ in said])
        is_token_NT = torch.arange(int(lengths_N.max())) < lengths_N[:, None]
        rewards_N = torch.tensor([reward for _, _, reward in said])
        advantages_N = group_advantages(rewards_N.unflatten(0, (-1, PAPER_SETTINGS["num_generations"]))).flatten()
        policy_NT, reference_NT = logprobs_NT(language, said), logprobs_NT(reference, said)
        kl = kl_divergence(policy_NT, reference_NT, is_token_NT)
        loss = total_loss(policy_loss(policy_NT, is_token_NT, advantages_N), kl, PAPER_SETTINGS["beta"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: weight.detach() for name, weight in language.named_parameters()}


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_our_steps_are_those_of_trl_with_the_papers_settings(tmp_path: Path) -> None:
    """Policy term, KL to the start, advantages and means over tokens and texts: equal samples, equal weights."""
    start = save_start(tmp_path)
    theirs, steps = trl_weights(tmp_path)
    assert len(steps) == STEPS and all(len(said) == 12 for said in steps)
    # Texts that ended and texts that were cut off are among them.
    assert {text[-1] == 1 for said in steps for _, text, _ in said} == {True, False}
    moved = {name: weight.detach().clone() for name, weight in start.named_parameters()}
    ours = our_weights(start, steps)
    assert apart(ours, moved) > 0.05
    assert apart(ours, theirs) < 2e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"loss_type": "dapo"},
        {"use_bias_correction_kl": True},
        {"beta": 0.0},
        {"scale_rewards": "none", "reward_weights": [1.0]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_of_these_settings_matters(changes: dict[str, Any], tmp_path: Path) -> None:
    start = save_start(tmp_path)
    theirs, steps = trl_weights(tmp_path, **changes)
    assert apart(our_weights(start, steps), theirs) > 1e-4


def test_the_snippet_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the trainer, whose Qwen3-VL needs torchvision: its reward takes the rows of its data."""
    pytest.importorskip("datasets", reason="datasets is not installed (the [dev] extra has it)")
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)).save("street.jpg")
    given: dict[str, Any] = {}

    class Trainer:
        def __init__(self, **settings: Any) -> None:
            given.update(settings)

        def train(self) -> None:
            rows = given["train_dataset"][:]
            said = [[{"role": "assistant", "content": "the coat"}]] * len(rows["prompt"])
            given["rewards"] = given["reward_funcs"](prompts=rows.pop("prompt"), completions=said, **rows)

    fake = ModuleType("trl")
    fake.GRPOConfig, fake.GRPOTrainer = dict, Trainer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "trl", fake)
    [code] = [body for language, body in blocks(DOCS / "grpo.md") if language == "python"]
    exec(compile(code, "grpo.md", "exec"), {})
    assert given["args"] == {**PAPER_SETTINGS, "output_dir": "runs/trl"}
    assert len(given["rewards"]) == 2 and all(-1 < reward < 0 for reward in given["rewards"])
