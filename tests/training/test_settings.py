from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from talking_points.settings import make, to_toml
from talking_points.training.settings import (
    RECIPES,
    DescriptorSettings,
    GRPOSettings,
    LocalizerSettings,
    TrainingSettings,
    recipe_of,
)

OWN = {"out": Path("runs"), "steps": 5}
ROLE = {"base": "mini", "out": "runs", "data": "set"}
GRPO = {"keypoints": "points.jsonl", "descriptor": "mini", "localizer": "mini", "out": "runs"}


def write_base(folder: Path, content: str) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(content)
    return folder


def test_the_papers_recipe() -> None:
    descriptor = make(DescriptorSettings, ROLE | {"recipe": "7b"})
    localizer = make(LocalizerSettings, ROLE | {"recipe": "7b"})
    assert (descriptor.epochs, descriptor.learning_rate, localizer.epochs, localizer.learning_rate) == (
        10,
        2e-4,
        15,
        1e-5,
    )
    for one in (descriptor, localizer):
        assert one.photos * one.points == 8
        assert (one.lora_rank, one.lora_alpha, one.lora_dropout) == (512, 256, 0.05)
    reinforced = make(GRPOSettings, GRPO | {"recipe": "7b"})
    assert (reinforced.photos * reinforced.points, reinforced.epochs, reinforced.learning_rate) == (10, 3, 5e-6)
    assert (reinforced.group_size, reinforced.kl_weight, reinforced.blocks, reinforced.reward) == (3, 0.1, 2, "mse")


def test_minis_localizer_takes_as_many_parts_as_there_are_photos() -> None:
    parts = [
        make(LocalizerSettings, ROLE | {"recipe": "mini"} | given).accumulate
        for given in ({}, {"photos": 3}, {"photos": 1}, {"photos": 2, "accumulate": 1})
    ]
    assert parts == [4, 3, 1, 1]


def test_what_is_made_without_a_recipe_has_the_papers_rates_and_batches() -> None:
    needed: Any = {"keypoints": Path("x"), "descriptor": "mini", "localizer": "mini"}
    role: Any = {**OWN, "base": "mini"}
    grpo = GRPOSettings(**OWN, **needed)
    rates = [one.learning_rate for one in (DescriptorSettings(**role), LocalizerSettings(**role), grpo)]
    assert rates == [2e-4, 1e-5, 5e-6] and grpo.photos * grpo.points == 10


def test_minis_recipe_is_that_of_its_base() -> None:
    assert make(DescriptorSettings, ROLE).steps == 450 and make(LocalizerSettings, ROLE).steps == 400
    assert make(GRPOSettings, GRPO).steps == 300


def test_a_base_names_its_recipe_or_its_size_tells(tmp_path: Path) -> None:
    large, small = '"vision": {"image_size": 1024}', '"vision": {"image_size": 256}'
    assert recipe_of(write_base(tmp_path / "a", f"{{{large}}}")) == "7b"
    assert recipe_of(write_base(tmp_path / "b", f"{{{small}}}")) == "mini"
    assert recipe_of(write_base(tmp_path / "c", f'{{"recipe": "7b", {small}}}')) == "7b"
    assert recipe_of(write_base(tmp_path / "stock", '{"model_type": "qwen3_vl"}')) == "qwen3-vl"
    known = "known: 7b, mini, qwen3-vl. Give one of them as --recipe"
    with pytest.raises(ValueError, match=f"names the recipe 'huge'; {known}"):
        recipe_of(write_base(tmp_path / "d", f'{{"recipe": "huge", {small}}}'))
    with pytest.raises(ValueError, match="config.json is no config of a base"):
        recipe_of(write_base(tmp_path / "e", "[]"))


def test_what_is_given_stands_over_a_file_and_that_over_the_recipe(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("steps = 7\nphotos = 3\n")
    made = make(DescriptorSettings, ROLE | {"photos": 2}, config=file)
    assert (made.steps, made.photos, made.points) == (7, 2, 8)
    # Epochs that are given take the place of the recipe's steps.
    made = make(DescriptorSettings, ROLE | {"epochs": 2})
    assert (made.steps, made.epochs) == (None, 2)


@pytest.mark.parametrize("cls", [DescriptorSettings, LocalizerSettings, GRPOSettings])
def test_what_was_used_can_be_used_again(cls: Any, tmp_path: Path) -> None:
    used = make(cls, {**(GRPO if cls is GRPOSettings else ROLE), "steps": 3, "objects": ["cat"]})
    (tmp_path / "settings.toml").write_text(to_toml(cls, asdict(used)))
    assert make(cls, {}, config=tmp_path / "settings.toml") == used


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_hold_settings_that_there_are(path: Path) -> None:
    for cls, given in ((DescriptorSettings, ROLE), (LocalizerSettings, ROLE), (GRPOSettings, GRPO)):
        assert make(cls, given | {"recipe": path.stem})  # type: ignore[type-var]


def test_every_setting_says_what_it_is() -> None:
    from talking_points.settings import settings_of

    for cls in (DescriptorSettings, LocalizerSettings, GRPOSettings):
        assert len(settings_of(cls)) == len(fields(cls)) and all(one.help for one in settings_of(cls))


def test_rate_warms_up_and_decays() -> None:
    told = TrainingSettings(**OWN, learning_rate=1.0, warmup_steps=10)  # type: ignore[arg-type]
    assert told.rate_at(0, 110) == pytest.approx(0.1)
    assert told.rate_at(9, 110) == pytest.approx(1.0)
    assert told.rate_at(60, 110) == pytest.approx(0.51)  # half way down a cosine from 1 to 0.02
    assert told.rate_at(110, 110) == pytest.approx(0.02)
    # A short training has a short warm-up, and reaches its rate.
    assert [told.rate_at(step, 6) for step in (0, 1)] == pytest.approx([1.0, 1.0]) and told.rate_at(1, 20) == 1.0
    constant = replace(told, schedule="constant")
    assert constant.rate_at(0, 110) == pytest.approx(0.1)
    assert constant.rate_at(10, 110) == constant.rate_at(109, 110) == 1.0


@pytest.mark.parametrize(
    ("cls", "changes", "message"),
    [
        (TrainingSettings, {"steps": 0}, "steps is 0; allowed: at least 1"),
        (TrainingSettings, {"epochs": 2}, "give steps or epochs, one of them"),
        (TrainingSettings, {"learning_rate": math.nan}, "learning_rate is nan; allowed"),
        (TrainingSettings, {"learning_rate": -1.0}, "learning_rate is -1.0; allowed: a positive number"),
        (TrainingSettings, {"accumulate": 0}, "accumulate is 0"),
        (
            TrainingSettings,
            {"accumulate": 9},
            "accumulate is 9, which times 1 processes are more parts than the 8 photos",
        ),
        (TrainingSettings, {"seed": 10**23}, "seed is 1000.*; allowed: 0 to"),
        (TrainingSettings, {"warmup_steps": -1}, "warmup_steps is -1; allowed: at least 0"),
        (TrainingSettings, {"schedule": "linear"}, "schedule is 'linear'; allowed: cosine, constant"),
        (TrainingSettings, {"tracker": "mlflow"}, "tracker is 'mlflow'; allowed: wandb, trackio"),
        (DescriptorSettings, {"base": "mini", "precision": "fp16"}, "precision is 'fp16'; allowed: fp32, bf16"),
        (DescriptorSettings, {"base": "mini", "lora_dropout": 1.0}, "lora_dropout is 1.0"),
        (DescriptorSettings, {"base": "mini", "shard": True, "quantize": "nf4"}, "shard goes without quantize"),
        (
            LocalizerSettings,
            {"base": "mini", "head": "votes"},
            "head is 'votes'; allowed: regression, mixture, heatmap, pointer",
        ),
        (GRPOSettings, {"group_size": 1}, "group_size is 1; allowed: 2 or more"),
        (GRPOSettings, {"blocks": 0}, "blocks is 0"),
        (GRPOSettings, {"accumulate": 2}, "accumulate is 2; allowed: 1"),
        (GRPOSettings, {"reward": "iou"}, "reward is 'iou'; allowed: mse, distance"),
        (GRPOSettings, {"temperature": 0.0}, "temperature is 0.0; allowed: above 0"),
        (GRPOSettings, {"kl_weight": -1.0}, "kl_weight is -1.0"),
        (GRPOSettings, {"max_kl": math.inf}, "max_kl is inf"),
    ],
)
def test_bad_settings_are_refused(cls: Any, changes: dict[str, Any], message: str) -> None:
    needed = {"keypoints": Path("x"), "descriptor": "mini", "localizer": "mini"} if cls is GRPOSettings else {}
    with pytest.raises(ValueError, match=message):
        cls(**{**OWN, **needed, **changes})


def test_a_tracker_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="tracker wandb needs its package: pip install wandb"):
        TrainingSettings(**OWN, tracker="wandb")  # type: ignore[arg-type]
