from __future__ import annotations

from pathlib import Path

import pytest

from talking_points.training.recipes import read_recipe


def test_the_7b_has_the_papers_settings() -> None:
    descriptor, localizer = read_recipe("7b", "descriptor"), read_recipe("7b", "localizer")
    assert (descriptor.epochs, descriptor.learning_rate) == (10, 2e-4)
    assert (localizer.epochs, localizer.learning_rate) == (15, 1e-5)
    for recipe in (descriptor, localizer):
        assert recipe.photos * recipe.points == 8
        assert (recipe.lora_rank, recipe.lora_alpha, recipe.lora_dropout) == (512, 256, 0.05)


@pytest.mark.parametrize("name", ["mini", "7b"])
@pytest.mark.parametrize("role", ["descriptor", "localizer"])
def test_a_recipe_written_down_is_the_same_one(name: str, role: str, tmp_path: Path) -> None:
    recipe = read_recipe(name, role, quantize="nf4")
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(role))
    assert read_recipe(str(tmp_path / "recipe.toml"), role) == recipe


def test_flags_change_a_recipe() -> None:
    assert read_recipe("7b", "descriptor", steps=5, photos=None).steps == 5
    assert read_recipe("7b", "descriptor", steps=5).epochs is None
    assert read_recipe("mini", "descriptor", epochs=2, learning_rate=0.5).epochs == 2


GOOD = "[descriptor]\nsteps = 3\nlearning_rate = 1e-3\nphotos = 2\npoints = 2\nlora_rank = 4\nlora_alpha = 4\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD + "lora_dropout = 0.0\nlearning_rat = 1.0\n", r"\[descriptor\]: unknown key 'learning_rat'; known: .*le"),
        (GOOD, r"\[descriptor\] lacks lora_dropout"),
        (GOOD + "lora_dropout = 1.0\n", "lora_dropout is 1.0; allowed: 0 or more, below 1"),
        (GOOD + "lora_dropout = '0'\n", "lora_dropout is '0'; allowed: a number"),
        (GOOD + "lora_dropout = true\n", "lora_dropout is True; allowed: a number"),
        (GOOD + "lora_dropout = 0.0\nepochs = 2\n", "give steps or epochs, one of them"),
        (GOOD + "lora_dropout = 0.0\nworkers = 1\nscenes = 8\n", "unknown key 'scenes'; known: .*workers"),
        ("[describer]\n", "unknown section 'describer'"),
        ("[localizer]\nsteps = 3\n", r"has no section \[descriptor\]"),
        ("descriptor = 3\n", r"has no section \[descriptor\]"),
        ("steps 3", "is not TOML"),
        ("\x00", "is not TOML"),
        ("#" * 2**21, "a recipe has less than"),
    ],
)
def test_a_bad_recipe_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_recipe(str(file), "descriptor")
    assert str(file) in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_recipe_says_which_there_are() -> None:
    with pytest.raises(ValueError, match="no recipe 'maxi': give one of 7b, mini, or a TOML file"):
        read_recipe("maxi", "descriptor")
