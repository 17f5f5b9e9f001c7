"""Fine-tuned checkpoints in the layout of OMG-LLaVA's code: random numbers, held to the model that they are of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from talking_points.cli import main
from talking_points.model.checkpoint import load_checkpoint, load_joined, save_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.omg_llava.importing import import_omg_llava
from tests.omg_llava.small_parity import SMALL, sample
from tests.omg_llava.tiny_published import TINY_VISION, Files, Malicious, edit

PREFIX = "llm.base_model.model."
TRAINED_TOO = (f"{PREFIX}model.tok_embeddings.weight", f"{PREFIX}output.base_layer.weight")
HEAD_SHAPES = {"0.weight": (128, 64), "0.bias": (128,), "2.weight": (2, 128), "2.bias": (2,)}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exited:
            main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return int(exited.value.code or 0), out, err

    return call


def tuned(llava: Path, path: Path, *, seed: int, head: str = "", lora_alone: bool = False) -> Path:
    """The model of a file, trained further: every tensor is another one, or the LoRA alone."""
    torch.manual_seed(seed)
    weights = {
        name: tensor if lora_alone and ".lora_" not in name else tensor + 0.05 * torch.randn_like(tensor)
        for name, tensor in torch.load(llava, weights_only=True).items()
    }
    if head:
        weights |= {f"{head}.{name}": 0.3 * torch.randn(shape) for name, shape in HEAD_SHAPES.items()}
    torch.save({"meta": {"epoch": 10}, "state_dict": weights}, path)
    return path


@pytest.fixture
def roles(tiny: Files, tmp_path: Path) -> dict[str, Path]:
    return {
        "descriptor": tuned(tiny["llava"], tmp_path / "descriptor.pth", seed=1),
        "localizer": tuned(tiny["llava"], tmp_path / "localizer.pth", seed=2, head="coord_head"),
    }


def as_options(files: Files) -> list[object]:
    return [one for name, path in files.items() for one in (f"--{name.replace('_', '-')}", path)]


IDS = torch.arange(3, 60)[None]


@torch.inference_mode()
def states(network: PointNetwork, role: str) -> tuple[Tensor, Tensor]:
    """Last hidden states of some tokens, and the next ones' logits."""
    with network.acting_as(role):
        hidden = network.llama.model(inputs_embeds=network.embedding(IDS)).last_hidden_state
        return hidden, network.logits(hidden)


def test_roles_are_the_models_that_were_saved(
    tiny: Files, roles: dict[str, Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    status, out, err = run("import-omg-llava", *as_options(tiny | roles), "--dtype", "float32", "--out", tmp_path / "a")
    assert (status, out) == (0, "")
    assert "layers: 0 of " in err and re.search(r"^layers: (\d+) of \1\b", err, re.MULTILINE)
    for role in roles:
        [off] = re.findall(rf"^{role}: a weight is (\S+) off at most, the largest is \S+$", err, re.MULTILINE)
        assert float(off) < 1e-4
    network = load_checkpoint(tmp_path / "a")
    assert network.roles == ("descriptor", "localizer") and network.config.vision.region_cells == "nearest"
    assert network.config.coordinate_head == "regression"
    adapter = json.loads((tmp_path / "a" / "descriptor" / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"]) == (8, 4)
    assert adapter["target_modules"] == sorted(adapter["target_modules"])  # equal files of equal adapters

    # The same models, each merged into a base of its own.
    for role, path in roles.items():
        edit(path, lambda weights: [weights.pop(name) for name in list(weights) if name.startswith("coord_head")])
        import_omg_llava(**{**tiny, "llava": path}, dtype="float32", out=tmp_path / role)
        alone = load_checkpoint(tmp_path / role)
        (hidden, logits), (wanted, wanted_logits) = states(network, role), states(alone, "base")
        torch.testing.assert_close(hidden, wanted, rtol=0, atol=1e-4)
        if role == "descriptor":  # the localizer reads no head
            torch.testing.assert_close(logits, wanted_logits, rtol=0, atol=1e-4)
        own = network.projector_of(role).state_dict()
        assert all(torch.equal(own[name], tensor) for name, tensor in alone.projector.state_dict().items())
    import_omg_llava(**tiny, dtype="float32", out=tmp_path / "base")
    base = load_checkpoint(tmp_path / "base")
    assert base.config.vision.region_cells == "centre" and base.config.vision == TINY_VISION
    for got, wanted in zip(states(network, "base"), states(base, "base"), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    assert network.projector_of("base") is network.projector
    different = states(network, "base"), states(network, "descriptor"), states(network, "localizer")
    assert all((a[0] - b[0]).abs().max() > 0.01 for a, b in zip(different, different[1:], strict=False))
    # The same base: what was trained over it goes together with the imported roles.
    for path in ("vision.safetensors", "language_model/model-00002-of-00004.safetensors"):
        assert (tmp_path / "a" / path).read_bytes() == (tmp_path / "base" / path).read_bytes()


def test_a_role_of_upstreams_small_set_has_upstreams_numbers(published: Files, tmp_path: Path) -> None:
    """The published model as a role over a base into which another LoRA is merged."""
    other = tuned(published["llava"], tmp_path / "other.pth", seed=3)
    import_omg_llava(
        **{**published, "llava": other}, descriptor=published["llava"], dtype="float32", out=tmp_path / "out"
    )
    network, expected = load_checkpoint(tmp_path / "out"), load_file(SMALL / "published" / "outputs.safetensors")
    with torch.inference_mode(), network.acting_as("descriptor"):
        hidden = network.llama.model(inputs_embeds=network.embedding(expected["input_ids"])).last_hidden_state
        logits = network.logits(hidden)
    torch.testing.assert_close(sample(hidden), expected["last_hidden"], rtol=0, atol=1e-4)
    torch.testing.assert_close(sample(logits[..., :-1]), expected["logits"], rtol=0, atol=1e-4)
    torch.testing.assert_close(logits[..., -1], logits[..., :-1].mean(-1), rtol=0, atol=1e-5)


def test_the_localizers_parts_are_those_of_the_file(tiny: Files, roles: dict[str, Path], tmp_path: Path) -> None:
    import_omg_llava(**tiny, localizer=roles["localizer"], dtype="float32", out=tmp_path / "out")
    assert not (tmp_path / "out" / "descriptor").exists()
    network = load_checkpoint(tmp_path / "out")
    weights = torch.load(roles["localizer"], weights_only=True)["state_dict"]
    assert network.localizer is not None
    with torch.inference_mode():
        seg_PF = torch.randn(4, 64)
        # Two linear layers by hand: ReLU between, a sigmoid at the end.
        hidden = (seg_PF @ weights["coord_head.0.weight"].T + weights["coord_head.0.bias"]).relu()
        wanted = (hidden @ weights["coord_head.2.weight"].T + weights["coord_head.2.bias"]).sigmoid()
        torch.testing.assert_close(network.localizer.head.mlp(seg_PF), wanted, rtol=0, atol=1e-6)
    to_vision = network.localizer.text_to_vision.state_dict()
    for name in ("0.weight", "2.bias"):
        assert torch.equal(to_vision[name], weights[f"projector_text2vision.model.{name}"])
    separator = network.localizer.projector.separator.weight
    assert torch.equal(separator, weights["projector.model.seperate_embed.weight"])


def test_lora_alone_needs_nothing_beside_it(tiny: Files, tmp_path: Path) -> None:
    """Embeddings, head and projector that are the base's are not written again."""
    path = tuned(tiny["llava"], tmp_path / "descriptor.pth", seed=1, lora_alone=True)
    import_omg_llava(**tiny, descriptor=path, dtype="float32", out=tmp_path / "out")
    folder = tmp_path / "out" / "descriptor"
    assert {one.name for one in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    names = load_file(folder / "adapter_model.safetensors").keys()
    assert all(".lora_" in name for name in names) and any("lm_head" in name for name in names)
    import_omg_llava(**{**tiny, "llava": path}, dtype="float32", out=tmp_path / "alone")
    network, alone = load_checkpoint(tmp_path / "out"), load_checkpoint(tmp_path / "alone")
    assert network.descriptor_projector is None
    for got, wanted in zip(states(network, "descriptor"), states(alone, "base"), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("whole", ["descriptor", "localizer"])
def test_embeddings_of_one_role_are_not_the_others(tiny: Files, tmp_path: Path, whole: str) -> None:
    """Only one of the roles was trained further than its LoRA; they act in turns."""
    files = {
        role: tuned(
            tiny["llava"],
            tmp_path / f"{role}.pth",
            seed=1,
            head="head" if role == "localizer" else "",
            lora_alone=role != whole,
        )
        for role in ("descriptor", "localizer")
    }
    import_omg_llava(**tiny, **files, dtype="float32", out=tmp_path / "both")
    import_omg_llava(**tiny, dtype="float32", out=tmp_path / "base")
    both, base = load_checkpoint(tmp_path / "both"), load_checkpoint(tmp_path / "base")
    wanted = {"base": states(base, "base")[0]}
    for role, path in files.items():
        import_omg_llava(**tiny, **{role: path}, dtype="float32", out=tmp_path / role)
        wanted[role] = states(load_checkpoint(tmp_path / role), role)[0]
    for role in ("descriptor", "localizer", "base", "localizer", "descriptor", "base"):
        torch.testing.assert_close(states(both, role)[0], wanted[role], rtol=0, atol=1e-6)
    assert (both.descriptor_projector is not None) == (whole == "descriptor")


@pytest.mark.parametrize("rank", [2, 6])
def test_another_rank_than_the_bases(tiny: Files, tmp_path: Path, rank: int) -> None:
    path = tuned(tiny["llava"], tmp_path / "descriptor.pth", seed=1)

    def change(weights: dict[str, Tensor]) -> None:
        for name, tensor in weights.items():
            if ".lora_A." in name:
                weights[name] = torch.randn(rank, tensor.shape[1]) * 0.1
            if ".lora_B." in name:
                weights[name] = torch.randn(tensor.shape[0], rank) * 0.1

    edit(path, change)
    import_omg_llava(**tiny, descriptor=path, dtype="float32", out=tmp_path / "out")
    import_omg_llava(**{**tiny, "llava": path}, dtype="float32", out=tmp_path / "alone")
    network, alone = load_checkpoint(tmp_path / "out"), load_checkpoint(tmp_path / "alone")
    for got, wanted in zip(states(network, "descriptor"), states(alone, "base"), strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-4)


def test_bfloat16_says_what_it_costs(tiny: Files, roles: dict[str, Path], tmp_path: Path) -> None:
    differences = import_omg_llava(**tiny, **roles, out=tmp_path / "out")
    for difference in differences.values():
        # Half a unit of the last of eight bits, of the base's weight and of the adapter's parts.
        assert 1e-6 < difference.worst < 2**-7 * difference.largest
    written = load_file(tmp_path / "out" / "localizer" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in written.values()} == {torch.bfloat16}
    network = load_checkpoint(tmp_path / "out", dtype=torch.bfloat16)
    assert network.projector_of("descriptor").separator.weight.dtype == torch.bfloat16


def test_saved_again_and_joined_it_stays_the_same(tiny: Files, roles: dict[str, Path], tmp_path: Path) -> None:
    import_omg_llava(**tiny, **roles, dtype="float32", out=tmp_path / "both")
    both = load_checkpoint(tmp_path / "both")
    save_checkpoint(both, tmp_path / "again")
    import_omg_llava(**tiny, descriptor=roles["descriptor"], dtype="float32", out=tmp_path / "one")
    import_omg_llava(**tiny, localizer=roles["localizer"], dtype="float32", out=tmp_path / "other")
    for network in (load_checkpoint(tmp_path / "again"), load_joined(tmp_path / "one", tmp_path / "other")):
        assert network.state_dict().keys() == both.state_dict().keys()
        assert all(torch.equal(tensor, both.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_the_checkpoint_describes_and_localizes(
    tiny: Files, roles: dict[str, Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    import_omg_llava(**tiny, **roles, dtype="float32", out=tmp_path / "out")
    Image.radial_gradient("L").convert("RGB").resize((64, 48)).save(tmp_path / "a.png")
    status, out, _ = run("localize", tmp_path / "a.png", "the ear", "--model", tmp_path / "out", "--json")
    [point] = json.loads(out)["points"]
    assert status == 0 and 0 <= point["found_x"] <= 64 and 0 <= point["found_y"] <= 48
    status, out, _ = run("describe", tmp_path / "a.png", "--point", "20,20", "--model", tmp_path / "out")
    assert status == 0 and out.startswith("(20, 20): ")


# --- What is refused


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("descriptor", f"{PREFIX}model.layers.1.attention.wo.lora_B.default.weight"),
        ("descriptor", f"{PREFIX}output.lora_A.default.weight"),
        ("localizer", TRAINED_TOO[0]),
        ("localizer", TRAINED_TOO[1]),
        ("descriptor", "projector.model.query_proj.bias"),
        ("localizer", "projector_text2vision.model.2.weight"),
    ],
)
def test_a_missing_or_misshaped_tensor_is_named(
    tiny: Files, roles: dict[str, Path], tmp_path: Path, role: str, name: str
) -> None:
    taken: list[Tensor] = []
    edit(roles[role], lambda weights: taken.append(weights.pop(name)))
    with pytest.raises(ValueError, match=f"{role}.pth does not fit a {role} over .*: missing {re.escape(name)}$"):
        import_omg_llava(**tiny, **roles, out=tmp_path / "out")
    edit(roles[role], lambda weights: weights.update({name: taken[0][:-1]}))
    with pytest.raises(ValueError, match=f"misshaped {re.escape(name)}: file"):
        import_omg_llava(**tiny, **roles, out=tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_unknown_tensors_are_listed_in_one_line(
    tiny: Files, roles: dict[str, Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    extra = {f"adapter.{n}.weight": torch.zeros(2) for n in range(30)}
    edit(roles["descriptor"], lambda weights: (weights.pop(TRAINED_TOO[0]), weights.update(extra)))
    status, out, err = run("import-omg-llava", *as_options(tiny | roles), "--out", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"missing {TRAINED_TOO[0]}; unknown adapter.0.weight; " in err and err.endswith("; and 19 more\n")


def test_what_predicts_masks_alone_is_left_out(tiny: Files, roles: dict[str, Path], tmp_path: Path) -> None:
    decoder = "visual_encoder.panoptic_head.transformer_decoder_llm.post_norm.weight"
    edit(roles["localizer"], lambda weights: weights.update({decoder: torch.ones(32)}))
    import_omg_llava(**tiny, **roles, out=tmp_path / "out")
    seen = "visual_encoder.backbone.stem.0.weight"
    edit(roles["localizer"], lambda weights: weights.update({seen: torch.ones(32)}))
    with pytest.raises(ValueError, match=f"unknown {re.escape(seen)}$"):
        import_omg_llava(**tiny, **roles, out=tmp_path / "other")


def test_a_coordinate_head_is_told_by_its_shapes(tiny: Files, roles: dict[str, Path], tmp_path: Path) -> None:
    def rejected(message: str, **changed: Any) -> None:
        with pytest.raises(ValueError, match=message) as error:
            import_omg_llava(**tiny, **{**roles, **changed}, out=tmp_path / "out")
        assert "\n" not in str(error.value)

    none = tuned(tiny["llava"], tmp_path / "none.pth", seed=2)
    rejected(
        r"none\.pth does not fit .*: missing a coordinate head \(two linear layers, 64-128-2, of any name\)$",
        localizer=none,
    )
    rejected(
        r"has a coordinate head \(coord_head\.0\.weight\), .* is it the localizer's", descriptor=roles["localizer"]
    )
    edit(roles["localizer"], lambda weights: weights.update({"coord_head.2.weight": torch.zeros(3, 128)}))
    rejected("missing a coordinate head .*unknown coord_head.0.bias")
    two = {f"other.{name}": torch.zeros(shape) for name, shape in HEAD_SHAPES.items()}
    edit(roles["localizer"], lambda weights: weights.update({"coord_head.2.weight": torch.zeros(2, 128), **two}))
    rejected("missing a coordinate head .*unknown other.2.weight")


def test_hostile_files_are_refused_and_not_run(
    tiny: Files, roles: dict[str, Path], tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    for role in roles:
        path = tmp_path / "malicious.pth"
        torch.save({"state_dict": {}, "b": Malicious(tmp_path / "touched")}, path)
        changed = as_options(tiny | roles | {role: path})
        status, _, err = run("import-omg-llava", *changed, "--out", tmp_path / "out")
        assert status == 2 and "malicious.pth is not a file of plain tensors" in err and err.count("\n") == 1
        assert not (tmp_path / "touched").exists() and not (tmp_path / "out").exists()
    for given, message in ((tmp_path, "is a folder; expected a file"), (tmp_path / "no.pth", "no such file")):
        status, _, err = run("import-omg-llava", *as_options(tiny | {"localizer": given}), "--out", tmp_path / "out")
        assert status == 2 and message in err and err.count("\n") == 1
    nan = f"{PREFIX}model.layers.0.feed_forward.w1.lora_A.default.weight"
    edit(roles["descriptor"], lambda weights: weights[nan].fill_(torch.nan))
    with pytest.raises(ValueError, match=r"descriptor\.pth holds numbers that are not finite"):
        import_omg_llava(**tiny, **roles, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_safetensors_file_is_read_too(tiny: Files, roles: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "localizer.safetensors"
    save_file(torch.load(roles["localizer"], weights_only=True)["state_dict"], path)
    for name, one in (("a", roles["localizer"]), ("b", path)):
        import_omg_llava(**tiny, localizer=one, out=tmp_path / name)
    written = [(tmp_path / name / "localizer" / "adapter_model.safetensors").read_bytes() for name in ("a", "b")]
    assert written[0] == written[1]
