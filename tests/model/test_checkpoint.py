from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from talking_points.model.checkpoint import load_checkpoint, replacing, save_checkpoint
from talking_points.model.network import PointNetwork
from tests.tiny import HEADS, tiny_network


@pytest.fixture(scope="module")
def network() -> PointNetwork:
    return tiny_network()


@pytest.fixture
def folder(network: PointNetwork, tmp_path: Path) -> Path:
    save_checkpoint(network, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_what_is_loaded_is_what_was_saved(network: PointNetwork, folder: Path) -> None:
    loaded = load_checkpoint(folder)
    assert loaded.config == network.config
    own, theirs = network.state_dict(), loaded.state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)


def test_form_of_the_folder(folder: Path) -> None:
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {
        "config.json",
        "vision.safetensors",
        "language_model/config.json",
        "language_model/model.safetensors",
        "language_model/tokenizer.json",
        "descriptor/adapter_config.json",
        "descriptor/adapter_model.safetensors",
        "localizer/adapter_config.json",
        "localizer/adapter_model.safetensors",
        "localizer/heads.safetensors",
    } <= files
    assert not [f for f in files if f.endswith((".bin", ".pt", ".pth", ".py"))]


@torch.no_grad()
def test_language_model_opens_with_plain_transformers_and_peft(network: PointNetwork, folder: Path) -> None:
    from peft import PeftModel

    llama = AutoModelForCausalLM.from_pretrained(folder / "language_model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "language_model")
    ids = torch.tensor([tokenizer("The point is on the left shoe.")["input_ids"]])
    with network.language.disable_adapter():
        torch.testing.assert_close(llama(ids).logits, network.llama(ids).logits)
    adapted = PeftModel.from_pretrained(llama, str(folder / "localizer")).eval()
    with network.acting_as("localizer"):
        torch.testing.assert_close(adapted(ids).logits, network.llama(ids).logits, atol=1e-5, rtol=1e-4)


def test_one_role_alone(folder: Path) -> None:
    alone = load_checkpoint(folder, roles=("descriptor",))
    assert alone.localizer is None
    join = "train join --descriptor DIR --localizer mini --out DIR`$"
    with pytest.raises(ValueError, match=f"this checkpoint has no localizer.*{join}"), alone.acting_as("localizer"):
        pass


def test_roles_answer_differently_and_return(network: PointNetwork) -> None:
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        before = network.llama(ids).logits
        with network.acting_as("localizer"):
            other = network.llama(ids).logits
        after = network.llama(ids).logits
    assert torch.equal(before, after) and not torch.allclose(before, other)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("vision.safetensors", "segmenter.trunk.stem.0.weight"),
        ("descriptor/adapter_model.safetensors", None),
        ("localizer/heads.safetensors", "head.mlp.0.weight"),
        ("language_model/model.safetensors", "model.norm.weight"),
    ],
)
@pytest.mark.parametrize("answers_only", [False, True])
def test_missing_unknown_and_misshaped_tensors_are_named(
    folder: Path, file: str, name: str | None, answers_only: bool
) -> None:
    path = folder / file
    good = load_file(path)
    name = name or sorted(good)[0]
    short = name.split("segmenter.")[-1]
    for change, word in (
        ({n: t for n, t in good.items() if n != name}, short),
        ({**good, "stray.weight": torch.zeros(1)}, "stray.weight"),
        ({**good, name: torch.zeros(1, 2, 3)}, short),
    ):
        save_file(change, path, metadata={"format": "pt"})
        with pytest.raises(ValueError) as caught:
            load_checkpoint(folder, answers_only=answers_only)
        assert word in str(caught.value)
    save_file(good, path, metadata={"format": "pt"})
    load_checkpoint(folder, answers_only=answers_only)


@pytest.mark.parametrize(
    ("file", "answers_only"),
    [
        ("vision.safetensors", False),
        ("vision.safetensors", True),
        ("language_model/model.safetensors", True),
        ("descriptor/adapter_model.safetensors", True),
    ],
)
def test_a_truncated_file_is_named(folder: Path, file: str, answers_only: bool) -> None:
    path = folder / file
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=rf"{path.name} is broken"):
        load_checkpoint(folder, answers_only=answers_only)


def test_equal_adapters_are_equal_files(folder: Path) -> None:
    # A set of Python's, which PEFT keeps, comes out in another order for another seed of hashes.
    for role in ("descriptor", "localizer"):
        targets = json.loads((folder / role / "adapter_config.json").read_text())["target_modules"]
        assert targets == sorted(targets) and len(targets) >= 7


def test_a_folder_of_the_format_before_is_one_line_before_any_weight_is_read(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(data | {"format_version": 1}))
    (folder / "vision.safetensors").unlink()
    with pytest.raises(
        ValueError, match="checkpoint format 1, this version reads 2; use the talking-points that wrote it"
    ) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answers_only", [False, True])
@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_each_head_comes_back_and_so_does_what_the_blind_learned(
    head: str, blind: bool, answers_only: bool, tmp_path: Path
) -> None:
    network = tiny_network(head=head, blind=blind)
    save_checkpoint(network, tmp_path / "checkpoint")
    loaded = load_checkpoint(tmp_path / "checkpoint", answers_only=answers_only)
    assert loaded.config == network.config and loaded.config.blind == blind
    assert network.localizer is not None and loaded.localizer is not None
    own, theirs = network.localizer.state_dict(), loaded.localizer.state_dict()
    assert own.keys() == theirs.keys() and ("photo.image_tokens" in own) == blind
    assert all(torch.equal(own[name], theirs[name]) for name in own)


def test_another_version_is_refused(folder: Path) -> None:
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(data | {"format_version": 99}))
    with pytest.raises(ValueError, match="checkpoint format 99"):
        load_checkpoint(folder)


def test_a_folder_of_other_things_is_not_overwritten(network: PointNetwork, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty and not a checkpoint"):
        save_checkpoint(network, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_project_that_has_a_config_json_is_not_overwritten(network: PointNetwork, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="not empty and not a checkpoint"):
        save_checkpoint(network, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_model_card_is_kept(network: PointNetwork, folder: Path) -> None:
    (folder / "README.md").write_text("card")
    save_checkpoint(network, folder)
    assert (folder / "README.md").read_text() == "card"
    assert [p.name for p in folder.parent.iterdir()] == ["checkpoint"]
    load_checkpoint(folder)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("language_model/config.json", '{"model_type": "gpt2"}'),
        ("language_model/config.json", '{"model_type": "llama", "hidden_size": "wide"}'),
        ("language_model/config.json", '{"model_type": "llama", "rope_parameters": {"rope_type": "spiral"}}'),
        ("language_model/tokenizer.json", "{}"),
        ("language_model/tokenizer.json", "not json"),
        ("descriptor/adapter_config.json", '{"peft_type": "LORA", "r": "x"}'),
        ("descriptor/adapter_config.json", '{"peft_type": "IA3"}'),
        ("config.json", "[1]"),
    ],
)
@pytest.mark.parametrize("answers_only", [False, True])
def test_a_broken_file_is_one_line_naming_it(folder: Path, file: str, content: str, answers_only: bool) -> None:
    (folder / file).write_text(content)
    with pytest.raises(ValueError) as caught:
        load_checkpoint(folder, answers_only=answers_only)
    assert Path(file).parent.name in str(caught.value) and "\n" not in str(caught.value)


def test_place_rounds_words_only(network: PointNetwork, folder: Path) -> None:
    half = load_checkpoint(folder, dtype=torch.bfloat16)
    for part in ("segmenter", "text_to_vision"):
        for mine, theirs in zip(getattr(network, part).parameters(), getattr(half, part).parameters(), strict=True):
            assert torch.equal(mine, theirs)
    assert half.llama.dtype == half.projector.separator.weight.dtype == torch.bfloat16


def test_a_reward_in_between_does_not_stop_a_training(folder: Path) -> None:
    network = load_checkpoint(folder)
    network.language.set_adapter("descriptor")
    trained = [n for n, p in network.language.named_parameters() if p.requires_grad]
    assert trained and all("descriptor" in n for n in trained)
    with torch.inference_mode(), network.acting_as("localizer"):
        pass
    assert [n for n, p in network.language.named_parameters() if p.requires_grad] == trained


def test_two_threads_get_their_own_roles(network: PointNetwork) -> None:
    ids = torch.tensor([[5, 6, 7]])

    @torch.no_grad()
    def answer(role: str) -> torch.Tensor:
        with network.acting_as(role):
            return network.llama(ids).logits

    alone = {role: answer(role) for role in ("descriptor", "localizer")}
    with ThreadPoolExecutor(4) as pool:
        for role, logits in [(r, pool.submit(answer, r)) for r in ("descriptor", "localizer") * 20]:
            assert torch.equal(logits.result(), alone[role])


def test_half_precision_files_load_as_fp32(network: PointNetwork, tmp_path: Path) -> None:
    save_checkpoint(network, tmp_path / "half", dtype=torch.float16)
    assert {p.dtype for p in load_checkpoint(tmp_path / "half").parameters()} == {torch.float32}
    assert load_file(tmp_path / "half" / "vision.safetensors").popitem()[1].dtype == torch.float16


def test_what_a_killed_save_left_goes_away_and_what_it_set_aside_comes_back(
    network: PointNetwork, folder: Path
) -> None:
    def files() -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    expected = files()
    for name in (".checkpoint.unfinished", ".checkpoint.replaced"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "config.json").write_text("half")
    save_checkpoint(network, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"] and files() == expected

    # Killed between its last two steps: the old one is aside, the new one not there yet.
    folder.rename(folder.parent / ".checkpoint.replaced")
    with pytest.raises(RuntimeError, match="on the way"), replacing(folder):
        raise RuntimeError("on the way")
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"] and files() == expected
