"""Roles over a stock Qwen3-VL: the network against transformers' own, on random models of its real classes."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from talking_points.bases.adapted.network import QwenNetwork
from talking_points.bases.loading import attach_role, load_base, load_joined, load_outline, load_role, save_base
from talking_points.model.checkpoint import DifferentBases
from talking_points.model.weights import read_tensors
from talking_points.photos import CLIP_MEAN_RGB, CLIP_STD_RGB, letterbox
from talking_points.pointing.pretrained import find_base
from talking_points.pointing.round_trip import TalkingPoints
from tests.bases.tiny_qwen import write_tiny

pytestmark = pytest.mark.usefixtures("short_texts")

SIDE = 128
TEXTS = ["the left shoe", "the hood of the red car, <|im_end|> near its lower edge"]


def noise(seed: int, width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


PHOTOS = [noise(0, 90, 140), noise(1, 200, 60)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("qwen") / "tiny")


def network(folder: Path, *, head: str = "pointer", blind: bool = False, shake: bool = True) -> QwenNetwork:
    """Both roles; shake: as if trained, so that adapters and parts do something."""
    torch.manual_seed(1)
    base = load_base(folder, side=SIDE)
    attach_role(base, "descriptor", rank=4, alpha=4, dropout=0.0)
    attach_role(base, "localizer", rank=4, alpha=4, dropout=0.0, head=head, blind=blind)
    assert isinstance(base, QwenNetwork)
    if shake:
        with torch.no_grad():
            for role in base.roles:
                for name, parameter in base.role_weights(role).items():
                    if "lora_B" in name or parameter.dim() > 1:
                        parameter.add_(0.05 * torch.randn_like(parameter))
    return base.eval()


@pytest.fixture(scope="module")
def both(folder: Path) -> QwenNetwork:
    return network(folder)


def squares(photos: list[Image.Image]) -> Tensor:
    return torch.from_numpy(np.stack([letterbox(photo, SIDE) for photo in photos]))


def test_patches_are_the_image_processors(both: QwenNetwork) -> None:
    square = letterbox(PHOTOS[0], SIDE)
    patches, grid = both._patches(torch.from_numpy(square)[None])
    rgb = (square.transpose(1, 2, 0) * np.array(CLIP_STD_RGB) + np.array(CLIP_MEAN_RGB)) * 255
    picture = Image.fromarray(np.clip(np.round(rgb), 0, 255).astype(np.uint8))
    size = {"shortest_edge": SIDE**2, "longest_edge": SIDE**2}
    theirs = both.stock.processor(images=[picture], size=size, return_tensors="pt")
    assert torch.equal(grid, theirs["image_grid_thw"])
    # Theirs come from whole numbers of a byte.
    assert torch.allclose(patches, theirs["pixel_values"], atol=1 / 255)


@torch.inference_mode()
@pytest.mark.parametrize("role", ["localizer", "base"])
def test_states_are_those_of_transformers(both: QwenNetwork, role: str) -> None:
    """DeepStack, rotary axes and adapters: a prefix read once and a prompt behind it, as the whole in one forward."""
    pixels = squares(PHOTOS)
    patches, grid = both._patches(pixels)
    prompts = [both.prompts.localize(text) for text in TEXTS]
    with both.acting_as(role):
        features = both.encode_photos(pixels)
        _, prefix = both.read_prefix(*both.embed_prefix(features, role))
        ours = both.read(prefix, torch.tensor([0, 1]), both.embed(prompts))
        for n, prompt in enumerate(prompts):
            ids = torch.tensor([[*both._prefix_ids, *prompt]])
            count = len(patches) // len(pixels)
            theirs = both.stock.model.model(
                input_ids=ids,
                mm_token_type_ids=(ids == both.stock.model.config.image_token_id).int(),
                pixel_values=patches[n * count : (n + 1) * count],
                image_grid_thw=grid[n : n + 1],
            ).last_hidden_state
            assert torch.allclose(ours[n, : len(prompt)], theirs[0, -len(prompt) :], atol=1e-4)


@torch.inference_mode()
def test_blocks_in_two_parts_are_blocks_at_once(both: QwenNetwork) -> None:
    """As reinforcement walks them, cut inside the blocks that the vision tower adds to."""
    with both.acting_as("descriptor"):
        states, lengths = both.embed_prefix(both.encode_photos(squares(PHOTOS)), "descriptor")
        whole, prefix = both.read_prefix(states, lengths)
        below, lower = both.read_prefix(states, lengths, blocks=range(1))
        above, upper = both.read_prefix(below, lengths, blocks=range(1, both.num_blocks))
    assert torch.allclose(whole, above[..., : both.width], atol=1e-6)
    for mine, theirs in zip(lower.keys + upper.keys, prefix.keys, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)
    # A square's tokens take as many positions as it has cells a side.
    assert prefix.next_positions[0] == len(both.prompts.prefix()) + 1 + SIDE // 32 + 1


def test_a_points_numbers_stand_in_words(both: QwenNetwork) -> None:
    """x before y, thousandths, zeros in front; and never a thousand."""
    prompt = both.prompts.describe()
    places = torch.tensor([[0.5, 1.0], [0.0705, 0.25]])
    points = torch.cat([torch.zeros(2, both.width), places], dim=1)
    got = both.embed([prompt, prompt], points)
    digits = [k for k, token in enumerate(prompt) if token == both._own_prompts.digit_id]
    embedding = both.language.get_input_embeddings().weight
    for row, said in zip(got, ("500999", "070250"), strict=True):
        for place, digit in zip(digits, said, strict=True):
            assert torch.equal(row[place], embedding[both._own_prompts.ids_of_digits[int(digit)]])
    words = both.stock.tokenizer.decode(prompt)
    assert re.search(r"Point <\|box_start\|> is at \[(<\|quad_start\|>){3}, (<\|quad_start\|>){3}\]", words)


@torch.inference_mode()
def test_a_points_token_is_what_lies_around_it(both: QwenNetwork) -> None:
    features = both.encode_photos(squares(PHOTOS[:1]))
    middle_of_cell = torch.tensor([[[(2 + 0.5) / 4, (1 + 0.5) / 4]]])
    numbers = both.encode_points(features, middle_of_cell)
    grid = features.grid_BDhw[0].double()
    row, column = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    share = torch.exp(-((row - 1) ** 2 + (column - 2) ** 2) / 2).double()
    expected = (grid * share).sum((1, 2)) / share.sum()
    assert torch.allclose(numbers[0, 0, :-2].double(), expected, atol=1e-5)
    assert numbers[0, 0, -2:].tolist() == pytest.approx([0.625, 0.375])


@pytest.mark.parametrize("head", ["regression", "pointer", "heatmap", "mixture"])
def test_points_and_texts_in_one_batch_are_those_alone(folder: Path, head: str) -> None:
    tp = TalkingPoints.over(network(folder, head=head))
    pairs: list[Any] = [(PHOTOS[0], (10.0, 20.0)), (PHOTOS[1], (150.0, 30.0)), (PHOTOS[0], (80.0, 130.0))]
    together = tp.describe_many(pairs)
    asked = [(PHOTOS[1], TEXTS[0]), (PHOTOS[0], TEXTS[1]), (PHOTOS[0], TEXTS[0])]
    found = tp.locate_many(asked)
    other = TalkingPoints.over(tp.descriptor.network)  # type: ignore[attr-defined]
    assert [other.describe_many([one])[0] for one in pairs] == together
    for one, pair in zip(found, asked, strict=True):
        [alone] = TalkingPoints.over(tp.descriptor.network).locate_many([pair])  # type: ignore[attr-defined]
        assert alone.point_px == pytest.approx(one.point_px, abs=0.02)
    assert len({one.point_px for one in found}) > 1
    assert all((one.there is None) == (head == "regression") for one in found)


@pytest.mark.parametrize(
    ("role", "head", "blind"),
    [("descriptor", "pointer", False), ("localizer", "regression", False), ("localizer", "pointer", False)]
    + [("localizer", "heatmap", False), ("localizer", "pointer", True)],
)
def test_gradients_reach_what_trains_and_nothing_else(folder: Path, role: str, head: str, blind: bool) -> None:
    from talking_points.training.features import FrozenVision
    from talking_points.training.objectives import descriptor_objective, localizer_objective
    from talking_points.training.roles import role_parameters

    base = network(folder, head=head, blind=blind)
    parameters = role_parameters(base, role)
    objective = descriptor_objective if role == "descriptor" else localizer_objective
    with base.acting_as(role):
        loss, _ = objective(base, batch(), FrozenVision(base, role))
        loss.backward()
    unreached = {name for name, p in parameters.items() if p.grad is None or not p.grad.any()}
    # A bias of all cells alike: the softmax over them takes it away, and its gradient is 0 but for rounding.
    unreached -= {"localizer.head.ours.answer.2.bias"}
    # The paper's MLP answers beside every head.
    assert not unreached
    learning = {id(parameter) for parameter in parameters.values()}
    assert all(p.grad is None for p in base.parameters() if id(p) not in learning)
    assert any("lora_A" in name for name in parameters) and not any("visual" in name for name in parameters)


def batch() -> Any:
    from talking_points.evaluation.samples import Sample
    from talking_points.training.batches import PointBatches
    from talking_points.training.settings import LocalizerSettings

    samples = [
        Sample(
            sample_id=f"{n}{k}",
            photo_id=f"{n}",
            open_photo=photo.copy,
            size_wh=photo.size,
            point_px=(9.0 + 20 * k, 9.0 + n),
            text=f"{TEXTS[k]}, {n}",
        )
        for n, photo in enumerate(PHOTOS)
        for k in range(2)
    ]
    told = LocalizerSettings(base="unused", out=Path("unused"), steps=1, photos=2, points=2, workers=0)
    return PointBatches(samples, told, side=SIDE)[0]


def test_recomputed_gradients_are_those_that_were_kept(folder: Path) -> None:
    from talking_points.training.features import FrozenVision
    from talking_points.training.objectives import localizer_objective
    from talking_points.training.roles import role_parameters

    gradients = []
    for again in (False, True):
        base = network(folder)
        parameters = role_parameters(base, "localizer")
        base.recompute(again)
        with base.acting_as("localizer"):
            localizer_objective(base, batch(), FrozenVision(base, "localizer"))[0].backward()
        gradients.append({name: p.grad for name, p in parameters.items()})
    for name, kept in gradients[0].items():
        assert kept is not None and torch.allclose(kept, gradients[1][name], atol=1e-6), name


def answers(base: Any) -> tuple[list[str], list[tuple[float, float]]]:
    tp = TalkingPoints.over(base)
    return tp.describe(PHOTOS[0], [(10, 20)]), [one.point_px for one in tp.locate(PHOTOS[1], TEXTS)]


@pytest.mark.parametrize(("head", "blind"), [("pointer", False), ("heatmap", True)])
def test_a_checkpoint_holds_the_roles_and_the_bases_name(folder: Path, tmp_path: Path, head: str, blind: bool) -> None:
    base = network(folder, head=head, blind=blind)
    save_base(base, tmp_path / "checkpoint")
    names = [name for path in (tmp_path / "checkpoint").rglob("*.safetensors") for name in read_tensors(path)]
    assert not [name for name in names if "visual" in name or ("language_model" in name and ".lora_" not in name)]
    config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
    assert config["base"]["model"] == str(folder) and config["base"]["family"] == "qwen3_vl"
    assert (config["side"], config["coordinate_head"], config["blind"]) == (SIDE, head, blind)
    again = load_base(tmp_path / "checkpoint", answers_only=True)
    assert again.is_blind == blind and answers(again) == answers(base)
    # Written again where it lies, as a calibration does.
    save_base(again, tmp_path / "checkpoint", dtype=torch.float16)
    tp = TalkingPoints.from_pretrained(tmp_path / "checkpoint", device="cpu")
    assert tp.locate(PHOTOS[1], TEXTS)[0].point_px == pytest.approx(answers(base)[1][0], abs=1.0)
    keys = read_tensors(tmp_path / "checkpoint" / "descriptor" / "adapter_model.safetensors")
    # As transformers and vLLM name the model's layers.
    assert "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight" in keys


def test_bf16_answers_as_fp32_does(both: QwenNetwork, tmp_path: Path) -> None:
    save_base(both, tmp_path / "checkpoint")
    half = load_base(tmp_path / "checkpoint", dtype=torch.bfloat16)
    # What computes coordinates is in fp32 all the same.
    assert {p.dtype for p in half.role_modules("localizer")["localizer"].parameters()} == {torch.float32}
    assert {p.dtype for name, p in half.named_parameters() if ".lora_" in name} == {torch.bfloat16}
    assert answers(half)[1][0] == pytest.approx(answers(both)[1][0], abs=2.0)


def test_roles_trained_apart_meet_over_one_base(folder: Path, tmp_path: Path) -> None:
    base = network(folder)
    save_base(base, tmp_path / "both")
    for role, other in (("descriptor", "localizer"), ("localizer", "descriptor")):
        shutil.copytree(tmp_path / "both", tmp_path / role)
        shutil.rmtree(tmp_path / role / other)
    joined = load_joined(tmp_path / "descriptor", tmp_path / "localizer")
    assert joined.roles == ("descriptor", "localizer") and answers(joined) == answers(base)
    with pytest.raises(ValueError, match="has no localizer"):
        load_role(tmp_path / "descriptor", "localizer")
    config = json.loads((tmp_path / "localizer" / "config.json").read_text())
    for changed in ({"side": 160}, {"base": {**config["base"], "fingerprint": "0"}}):
        (tmp_path / "localizer" / "config.json").write_text(json.dumps({**config, **changed}))
        with pytest.raises(DifferentBases):
            load_joined(tmp_path / "descriptor", tmp_path / "localizer")
    with pytest.raises(DifferentBases, match="stock"):
        load_joined(tmp_path / "descriptor", find_base("mini"))


def test_a_base_that_is_gone_or_another_is_told(folder: Path, tmp_path: Path) -> None:
    own = shutil.copytree(folder, tmp_path / "own")
    save_base(network(own), tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "config.json"
    config = json.loads(path.read_text())
    own.rename(tmp_path / "moved")
    with pytest.raises(ValueError, match=r"which is not there; put the model there, or write its folder or Hub id"):
        load_base(tmp_path / "checkpoint")
    path.write_text(json.dumps({**config, "base": {**config["base"], "model": str(tmp_path / "moved")}}))
    assert load_base(tmp_path / "checkpoint").roles == ("descriptor", "localizer")
    write_tiny(tmp_path / "moved", seed=5)
    with pytest.raises(ValueError, match="stands on another model than is now in"):
        load_base(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format_version": 99}, "format 99"),
        ({"eyes": 2}, "unknown key eyes"),
        ({"base": {"weights": 1}}, "unknown key base.weights"),
        ({"base": 3}, "base is no object"),
        ({"coordinate_head": "arm"}, "coordinate_head is 'arm'"),
        ({"side": "big"}, "side is a whole number"),
        ({"base": {"family": "x", "model": "y", "fingerprint": "z"}}, "base.family is 'qwen3_vl'"),
    ],
)
def test_broken_configs_are_one_line(folder: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    save_base(network(folder), tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=re.escape(said)) as told:
        load_base(tmp_path / "checkpoint")
    assert "\n" not in str(told.value)


def test_what_it_has_not_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="side is 100; allowed: a multiple of 32"):
        load_base(folder, side=100)
    base = load_base(folder, side=SIDE)
    with pytest.raises(ValueError, match="region is 'content'"):
        attach_role(base, "descriptor", rank=4, alpha=4, dropout=0.0, region="content")
    with pytest.raises(ValueError, match="no projector"):
        attach_role(base, "descriptor", rank=4, alpha=4, dropout=0.0, projector=True)
    with pytest.raises(ValueError, match="side is 64; mini sees squares of"):
        load_base(find_base("mini"), side=64)
    save_base(network(folder), tmp_path / "checkpoint")
    with pytest.raises(ValueError, match="side is 64; .* was trained on squares of 128 px"):
        load_base(tmp_path / "checkpoint", side=64)


def test_an_outline_has_the_sizes_and_no_weights(folder: Path) -> None:
    outline, whole = load_outline(folder, side=SIDE), load_base(folder, side=SIDE)
    assert outline.device.type == "meta" and outline.sizes == whole.sizes
    assert outline.sizes.photo_tokens == len(whole.prompts.prefix()) + (SIDE // 32) ** 2 + 2
    assert whole.sizes == replace(whole.sizes, linear=network(folder).sizes.linear)
