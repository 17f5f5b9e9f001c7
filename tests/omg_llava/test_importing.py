"""The import of upstream's small set (parity/published) and of a tiny random one made here."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from talking_points.model.checkpoint import load_checkpoint
from talking_points.omg_llava.importing import import_omg_llava
from tests.omg_llava.small_parity import SMALL, sample
from tests.omg_llava.tiny_published import TINY, TINY_VISION, Files, Malicious, benchmark_module, edit, load_shards

# --- Upstream's small set


def test_merged_logits_are_upstreams(published: Files, tmp_path: Path) -> None:
    import_omg_llava(**published, dtype="float32", out=tmp_path / "out")
    folder = tmp_path / "out" / "language_model"
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    expected = load_file(SMALL / "published" / "outputs.safetensors")
    with torch.no_grad():
        got = model(expected["input_ids"], output_hidden_states=True)
    rows = 516
    torch.testing.assert_close(sample(got.logits[..., :rows]), expected["logits"], rtol=0, atol=1e-4)
    torch.testing.assert_close(sample(got.hidden_states[-1]), expected["last_hidden"], rtol=0, atol=1e-4)

    # <mark> is the one id more: its logit is the mean of the others', so it never wins.
    assert got.logits.shape[-1] == rows + 1 == len(AutoTokenizer.from_pretrained(folder))
    torch.testing.assert_close(got.logits[..., rows], got.logits[..., :rows].mean(-1), rtol=0, atol=1e-5)


def test_upstreams_set_opens_as_a_checkpoint(published: Files, tmp_path: Path) -> None:
    import_omg_llava(**published, dtype="float32", out=tmp_path / "out")
    network = load_checkpoint(tmp_path / "out")
    vision = network.config.vision
    sizes = json.loads((SMALL / "config.json").read_text())
    assert vision.trunk_depths == tuple(sizes["backbone"]["depths"])
    assert vision.trunk_dims == tuple(sizes["backbone"]["dims"])
    assert vision.num_queries == sizes["num_queries"]
    assert vision.num_classes == sizes["num_things"] + sizes["num_stuff"]
    assert vision.pixel_shuffle == sizes["pixel_shuffle"]
    assert network.llama.config.rope_parameters == {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6}
    assert network.prompts.mark_id == 516
    eos = network.llama.generation_config.eos_token_id
    assert eos == [network.prompts.tokenizer.eos_token_id, network.prompts.end_id]


# --- The tiny set


def test_layout_of_the_checkpoint_folder(tiny: Files, tmp_path: Path) -> None:
    import_omg_llava(**tiny, out=tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    assert [path.name for path in out.parent.iterdir()] == ["out"]  # nothing half-made is left beside it
    assert {path.name for path in out.iterdir()} == {"config.json", "vision.safetensors", "language_model"}
    assert {path.name for path in (out / "language_model").iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        *(f"model-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)),  # embeddings, two layers, head
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    network = load_checkpoint(out, dtype=torch.bfloat16)
    assert network.config.vision == TINY_VISION
    assert network.llama.config.num_key_value_heads == TINY["key_value_heads"]


def test_weights_are_split_merged_and_renamed(tiny: Files, tmp_path: Path) -> None:
    import_omg_llava(**tiny, dtype="float32", out=tmp_path / "out")
    got = load_shards(tmp_path / "out")
    base: dict[str, Tensor] = {}
    for shard in tiny["llm"].glob("*.safetensors"):
        base |= load_file(shard)
    lora = torch.load(tiny["llava"], weights_only=True)

    def merged(module: str, weight: Tensor) -> Tensor:
        a, b = (lora[f"llm.base_model.model.{module}.lora_{half}.default.weight"] for half in "AB")
        return weight.float() + 0.5 * (b @ a)

    # Two key/value heads, two query heads for each, 8 rows a head: q0 q1 k0 v0 q2 q3 k1 v1.
    wqkv = merged("model.layers.1.attention.wqkv", base["model.layers.1.attention.wqkv.weight"]).split(8)
    prefix = "model.layers.1.self_attn."
    for name, heads in {"q_proj": (0, 1, 4, 5), "k_proj": (2, 6), "v_proj": (3, 7)}.items():
        expected = torch.cat([wqkv[head] for head in heads])
        torch.testing.assert_close(got[f"{prefix}{name}.weight"], expected)
    w2 = merged("model.layers.0.feed_forward.w2", base["model.layers.0.feed_forward.w2.weight"])
    torch.testing.assert_close(got["model.layers.0.mlp.down_proj.weight"], w2)
    norm = base["model.layers.0.ffn_norm.weight"].float()
    torch.testing.assert_close(got["model.layers.0.post_attention_layernorm.weight"], norm)
    # Embeddings and head are the trained ones, which the base's are not.
    embeddings = lora["llm.base_model.model.model.tok_embeddings.weight"]
    torch.testing.assert_close(got["model.embed_tokens.weight"][:-1], embeddings)
    head = merged("output", lora["llm.base_model.model.output.base_layer.weight"])
    torch.testing.assert_close(got["lm_head.weight"][:-1], head)
    torch.testing.assert_close(got["lm_head.weight"][-1], head.mean(0))


def test_bfloat16_is_float32_rounded_and_vision_stays_float32(tiny: Files, tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        import_omg_llava(**tiny, dtype=dtype, out=tmp_path / dtype)
    full, half = (load_shards(tmp_path / dtype) for dtype in ("float32", "bfloat16"))
    assert full.keys() == half.keys()
    for name, tensor in half.items():
        assert tensor.dtype == torch.bfloat16
        torch.testing.assert_close(tensor.float(), full[name], rtol=2**-8, atol=1e-5)
    assert {t.dtype for t in load_file(tmp_path / "bfloat16" / "vision.safetensors").values()} == {torch.float32}
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "bfloat16" / "language_model")
    assert model.dtype == torch.bfloat16


def test_the_index_says_where_every_weight_is(tiny: Files, tmp_path: Path) -> None:
    import_omg_llava(**tiny, out=tmp_path / "out")
    folder = tmp_path / "out" / "language_model"
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    where = {name: path.name for path in folder.glob("*.safetensors") for name in load_file(path)}
    assert index["weight_map"] == where
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in load_shards(tmp_path / "out").values())


def test_a_trunk_from_open_clip(tiny: Files, tmp_path: Path) -> None:
    import_omg_llava(**tiny, out=tmp_path / "whole")
    clip = {"visual.head.proj.weight": torch.zeros(2), "logit_scale": torch.zeros(())}

    def take_trunk(weights: dict[str, Tensor]) -> None:
        for name in [name for name in weights if name.startswith("backbone.")]:
            stage = name.removeprefix("backbone.")
            if stage.startswith("layer"):
                stage = f"stages.{int(stage[5]) - 1}{stage[6:]}"
            clip[f"visual.trunk.{stage}"] = weights.pop(name)

    with pytest.raises(ValueError, match=r"holds a trunk \(backbone\.\*\); leave out --clip"):
        import_omg_llava(**tiny, clip=tiny["segmenter"], out=tmp_path / "out")
    edit(tiny["segmenter"], take_trunk)
    with pytest.raises(ValueError, match=r"holds no trunk .* --clip"):
        import_omg_llava(**tiny, out=tmp_path / "out")
    whole = load_file(tmp_path / "whole" / "vision.safetensors")
    torch.save(clip, tmp_path / "clip.bin")
    save_file(clip, tmp_path / "clip.safetensors")
    for file_name in ("clip.bin", "clip.safetensors"):
        out = tmp_path / file_name.replace(".", "-")
        import_omg_llava(**tiny, clip=tmp_path / file_name, out=out)
        vision = load_file(out / "vision.safetensors")
        assert vision.keys() == whole.keys()
        assert all(torch.equal(vision[name], whole[name]) for name in whole)


# --- What is refused


A_LORA = "llm.base_model.model.model.layers.1.attention.wo.lora_B.default.weight"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("llava", A_LORA),
        ("llava", "llm.base_model.model.output.lora_A.default.weight"),
        ("llava", "llm.base_model.model.model.layers.0.attention.wqkv.lora_A.default.weight"),
        ("llava", "llm.base_model.model.output.base_layer.weight"),
        ("llava", "llm.base_model.model.model.tok_embeddings.weight"),
        ("llava", "projector.model.model_feat.0.weight"),
        ("llava", "projector.model.seperate_embed.weight"),
        ("llava", "projector_text2vision.model.2.bias"),
        ("segmenter", "backbone.layer3.blocks.1.gamma"),
        ("segmenter", "backbone.stem.0.weight"),
        ("segmenter", "panoptic_head.query_feat.weight"),
        ("segmenter", "panoptic_head.pixel_decoder.encoder.layers.0.norms.1.bias"),
    ],
)
def test_a_missing_or_misshaped_tensor_is_named(tiny: Files, tmp_path: Path, file: str, name: str) -> None:
    taken: list[Tensor] = []
    edit(tiny[file], lambda weights: taken.append(weights.pop(name)))
    with pytest.raises(ValueError) as error:
        import_omg_llava(**tiny, out=tmp_path / "out")
    assert f"missing {name}" in str(error.value).replace("tensor '", "")
    assert str(tiny[file]) in str(error.value)

    edit(tiny[file], lambda weights: weights.update({name: taken[0][:-1]}))
    with pytest.raises(ValueError) as error:
        import_omg_llava(**tiny, out=tmp_path / "out")
    assert name in str(error.value)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("llava", "llm.base_model.model.model.layers.9.attention.wo.lora_A.default.weight"),
        ("llava", "visual_encoder.adapter_proj.weight"),
        ("llava", "projector.model.extra.weight"),
        ("llava", "projector_text2vision.model.4.weight"),
        ("segmenter", "panoptic_head.extra.weight"),
        ("segmenter", "neck.weight"),
    ],
)
def test_an_unknown_tensor_is_named(tiny: Files, tmp_path: Path, file: str, name: str) -> None:
    edit(tiny[file], lambda weights: weights.update({name: torch.zeros(4, 32)}))
    with pytest.raises(ValueError, match=f"unknown .*{name}"):
        import_omg_llava(**tiny, out=tmp_path / "out")


def test_the_base_is_checked_against_its_config_and_index(tiny: Files, tmp_path: Path) -> None:
    llm, out = tiny["llm"], tmp_path / "out"
    config = json.loads((llm / "config.json").read_text())
    for change, message in (
        ({"num_hidden_layers": 3}, r"missing model\.layers\.2\.attention\.wo\.weight"),
        ({"num_hidden_layers": 1}, r"unknown model\.layers\.1\.attention\.wo\.weight"),
        ({"intermediate_size": 50}, r"misshaped model\.layers\.0\.feed_forward\.w1\.weight: file \(48, 32\)"),
        ({"num_key_value_heads": 3}, "num_key_value_heads 3"),
        ({"hidden_size": None}, "hidden_size"),
        ({"bias": True}, "biases"),
        ({"model_type": "llama"}, "expected 'internlm2'"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0}}, "'dynamic' or 'linear'"),
    ):
        (llm / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(ValueError, match=message):
            import_omg_llava(**tiny, out=out)
    (llm / "config.json").write_text(json.dumps(config))

    index_path = llm / "model.safetensors.index.json"
    index = json.loads(index_path.read_text())
    shard = index["weight_map"].pop("model.norm.weight")
    index_path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"unknown model\.norm\.weight"):
        import_omg_llava(**tiny, out=out)
    index["weight_map"] |= {"model.norm.weight": shard, "model.extra.weight": shard}
    index_path.write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"missing model\.extra\.weight"):
        import_omg_llava(**tiny, out=out)
    (llm / shard).write_bytes(b"broken")
    with pytest.raises(ValueError, match=f"{shard} is broken"):
        import_omg_llava(**tiny, out=out)
    (llm / shard).unlink()
    with pytest.raises(FileNotFoundError, match=shard):
        import_omg_llava(**tiny, out=out)
    assert not out.exists()


def test_a_tokenizer_of_another_size_is_refused(tiny: Files, tmp_path: Path) -> None:
    benchmark_module().write_tokenizer(tiny["llm"], TINY["vocabulary"] - 1)
    with pytest.raises(ValueError, match=r"misshaped .*tok_embeddings\.weight: file \(404, 32\)"):
        import_omg_llava(**tiny, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == [tmp_path / "published"]


@pytest.mark.parametrize("file", ["llava", "segmenter", "class_embed", "clip"])
def test_a_pickle_of_more_than_tensors_is_refused_and_not_run(tiny: Files, tmp_path: Path, file: str) -> None:
    if file == "clip":
        edit(tiny["segmenter"], lambda w: [w.pop(name) for name in list(w) if name.startswith("backbone.")])
    tiny[file] = tmp_path / "malicious.pth"
    torch.save({"a": torch.zeros(1), "b": Malicious(tmp_path / "touched")}, tiny[file])
    with pytest.raises(ValueError, match=r"malicious\.pth is not a file of plain tensors"):
        import_omg_llava(**tiny, out=tmp_path / "out")
    assert not (tmp_path / "touched").exists()


def test_files_of_the_wrong_kind_are_refused(tiny: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="holds a dict, expected one tensor"):
        import_omg_llava(**{**tiny, "class_embed": tiny["llava"]}, out=out)
    with pytest.raises(ValueError, match="holds a Tensor, expected tensors by name"):
        import_omg_llava(**{**tiny, "llava": tiny["class_embed"]}, out=out)
    torch.save(torch.ones(3, 2, 8), tiny["class_embed"])
    with pytest.raises(ValueError, match="every prototype of length 1"):
        import_omg_llava(**tiny, out=out)
    tiny["segmenter"].write_bytes(tiny["segmenter"].read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"omg_seg\.pth is not a file of plain tensors"):
        import_omg_llava(**tiny, out=out)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*absent\.pth"):
        import_omg_llava(**{**tiny, "llava": tmp_path / "absent.pth"}, out=out)
    with pytest.raises(ValueError, match="dtype is 'int8'; allowed: float32, bfloat16"):
        import_omg_llava(**tiny, dtype="int8", out=out)


def test_an_out_in_use_is_refused_and_an_empty_one_taken(tiny: Files, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="exists and is not an empty folder"):
        import_omg_llava(**tiny, out=out)
    assert (out / "mine.txt").read_text() == "precious"
    (out / "mine.txt").unlink()
    import_omg_llava(**tiny, out=out)
    assert (out / "config.json").is_file()


def test_the_benchmark_reads_a_childs_peak(tiny: Files, tmp_path: Path) -> None:
    benchmark = benchmark_module()
    peaks = benchmark.measure(benchmark.PublishedFiles(**tiny), tmp_path / "out", dtype="bfloat16")
    assert 0.1 < peaks["peak_resident_gib"] < 4
    assert (tmp_path / "out" / "config.json").is_file()
