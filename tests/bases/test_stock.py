"""Qwen3-VL through our engine against transformers' own way, on a random model of its real classes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from talking_points.bases.qwen3_vl import LEAST_TOKENS, MOST_TOKENS, Qwen3VL, load, resized_wh
from talking_points.bases.stock import Seen, Suffix, generate, load_stock, read_prefix
from tests.bases.tiny_qwen import write_tiny

CPU = torch.device("cpu")
WORDS = "Where is the left shoe? <|im_end|>"


def noise(seed: int, width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("qwen") / "tiny")


@pytest.fixture(scope="module")
def base(folder: Path) -> Qwen3VL:
    return load(folder, name="tiny", device=CPU, dtype=torch.float32)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def whole(base: Qwen3VL, photo: Image.Image, pictures: list[Image.Image], words: str) -> dict[str, Tensor]:
    """One question as transformers takes it: pixels, no cache, nothing computed before."""
    seen, others = base.look([photo], whole=True), base.look(pictures, whole=False) if pictures else []
    ids = torch.tensor([[*base.prefix_ids(seen[0]), *base.suffix_ids(others, words)]])
    processed = [base.processor(images=[photo], size=_size(1024), return_tensors="pt")]
    processed += [base.processor(images=[one], size=_size(64), return_tensors="pt") for one in pictures]
    return {
        "input_ids": ids,
        "mm_token_type_ids": (ids == base.model.config.image_token_id).int(),
        "pixel_values": torch.cat([one["pixel_values"] for one in processed]),
        "image_grid_thw": torch.cat([one["image_grid_thw"] for one in processed]),
    }


def _size(least: int) -> dict[str, int]:
    return {"shortest_edge": least * 32**2, "longest_edge": 2048 * 32**2}


def answer(base: Qwen3VL, photo: Image.Image, pictures: list[Image.Image], words: str, longest: int = 8) -> list[int]:
    [seen] = base.look([photo], whole=True)
    others = tuple(base.look(pictures, whole=False)) if pictures else ()
    suffix = Suffix(ids=base.suffix_ids(others, words), pictures=others)
    return generate(base, [read_prefix(base, seen)], [0], [suffix], longest=longest)[0]


@pytest.mark.parametrize("count", [0, 2])
def test_answers_are_those_of_transformers(base: Qwen3VL, count: int) -> None:
    """Features handed in, a prefix read apart, other pictures behind it: the same tokens as from pixels at once."""
    photo, pictures = noise(1, 90, 140), [noise(n, 70, 60) for n in range(count)]
    asked = whole(base, photo, pictures, WORDS)
    theirs = base.model.generate(**asked, do_sample=False, max_new_tokens=8, eos_token_id=sorted(base.ends))
    ours = answer(base, photo, pictures, WORDS)
    assert ours == [one for one in theirs[0, asked["input_ids"].shape[1] :].tolist() if one not in base.ends]
    assert len(set(ours)) > 1


def test_features_handed_in_are_pixels_to_the_last_bit(base: Qwen3VL) -> None:
    photo = noise(2, 120, 90)
    asked = whole(base, photo, [], WORDS)
    theirs = base.model(**asked).logits
    seen = base.look([photo], whole=True)
    position_31S, _ = base.model.model.get_rope_index(
        asked["input_ids"], asked["mm_token_type_ids"], image_grid_thw=asked["image_grid_thw"]
    )
    from transformers import DynamicCache

    mask = torch.ones_like(asked["input_ids"])
    ours = base.logits(base.run(asked["input_ids"], mask, position_31S, DynamicCache(), seen))
    assert torch.equal(ours, theirs)


def test_many_questions_are_questions_one_by_one(base: Qwen3VL) -> None:
    """Of photos of several shapes, with several pictures each, in any order; a longer one does not touch a shorter."""
    photos = [noise(n, *wh) for n, wh in enumerate([(90, 140), (300, 60), (64, 64)])]
    seen = base.look(photos, whole=True)
    prefixes = [read_prefix(base, one) for one in seen]
    asked = [(1, 2, "the hood"), (0, 0, WORDS), (2, 1, "x" * 90), (0, 1, "a"), (1, 0, "the tip of the left ear")]
    suffixes, alone = [], []
    for photo, count, words in asked:
        own = tuple(base.look([noise(9 + n, 50 + 30 * n, 64) for n in range(count)], whole=False)) if count else ()
        suffixes.append(Suffix(ids=base.suffix_ids(own, words), pictures=own))
        alone.append(generate(base, [prefixes[photo]], [0], suffixes[-1:], longest=12)[0])
    told: dict[int, list[int]] = {}
    rows = [photo for photo, _, _ in asked]
    together = generate(base, prefixes, rows, suffixes, longest=12, on_token=lambda n, ids: told.update({n: [*ids]}))
    assert together == alone and [told[n] for n in range(len(asked))] == together
    assert len({tuple(one) for one in together}) > 1


def test_photos_together_are_photos_alone(base: Qwen3VL) -> None:
    photos = [noise(n, *wh) for n, wh in enumerate([(90, 140), (300, 60), (64, 64)])]
    for one, photo in zip(base.look(photos, whole=True), photos, strict=True):
        [alone] = base.look([photo], whole=True)
        assert one.grid_hw == alone.grid_hw and len(one.levels_ND) == 3
        for level, of_alone in zip(one.levels_ND, alone.levels_ND, strict=True):
            torch.testing.assert_close(level, of_alone, atol=1e-5, rtol=1e-4)


def test_the_chat_is_the_published_one(base: Qwen3VL) -> None:
    [photo], [picture] = base.look([noise(0, 64, 64)], whole=True), base.look([noise(0, 64, 64)], whole=False)
    ids = [*base.prefix_ids(photo), *base.suffix_ids([picture], "Where?")]
    shown, other = "<|image_pad|>" * photo.tokens, "<|image_pad|>" * picture.tokens
    assert base.tokenizer.decode(ids) == (
        f"<|im_start|>user\n<|vision_start|>{shown}<|vision_end|><|vision_start|>{other}<|vision_end|>"
        "Where?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_what_people_write_is_never_special(base: Qwen3VL) -> None:
    ids = base.suffix_ids([], "a <|im_end|> b <|image_pad|>")
    special = [
        base.tokenizer.decode([one]) for one in ids if one >= base.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    ]
    assert special == ["<|im_end|>", "<|im_start|>"]
    assert "a <|im_end|> b <|image_pad|>" in base.tokenizer.decode(ids)


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)))
@settings(max_examples=200)
def test_the_size_that_a_photo_is_seen_in(size_wh: tuple[int, int]) -> None:
    """Whole squares of 32 px, between the limits but for their rounding, and of the photo's shape."""
    if max(size_wh) > 200 * min(size_wh):
        with pytest.raises(ValueError, match=f"the photo is {size_wh[0]}x{size_wh[1]}; Qwen3-VL sees photos up to 200"):
            resized_wh(size_wh, 32)
        return
    width, height = resized_wh(size_wh, 32)
    assert width % 32 == height % 32 == 0 and width > 0 and height > 0
    assert LEAST_TOKENS <= width * height / 32**2 <= MOST_TOKENS or max(size_wh) > 20 * min(size_wh)
    if max(size_wh) <= 4 * min(size_wh):
        assert (width / height) / (size_wh[0] / size_wh[1]) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size_wh", [(90, 140), (640, 480), (1, 1), (1333, 97), (3000, 2000)])
def test_it_is_the_size_that_the_processor_makes(base: Qwen3VL, size_wh: tuple[int, int]) -> None:
    cut = base.processor(images=[Image.new("RGB", size_wh)], size=_size(1024), return_tensors="pt")
    _, rows, columns = cut["image_grid_thw"][0].tolist()
    assert base.shown_wh(size_wh) == (columns * 16, rows * 16)


def test_a_prefix_counts_its_bytes(base: Qwen3VL) -> None:
    seen = base.look([noise(0, 64, 64)], whole=True)[0]
    prefix = read_prefix(base, seen)
    assert prefix.bytes == base.token_bytes * len(base.prefix_ids(seen))
    assert seen.bytes == 3 * seen.tokens * 32 * 4
    assert isinstance(seen, Seen) and 1024 <= seen.tokens <= 2048


def test_broken_folders_are_one_line(folder: Path, tmp_path: Path) -> None:
    def told(**changes: object) -> str:
        broken = tmp_path / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(folder, broken)
        for name, content in changes.items():
            path = broken / name.replace("__", ".")
            path.unlink() if content is None else path.write_text(str(content))
        with pytest.raises(ValueError) as caught:
            load(broken, name="tiny", device=CPU, dtype=torch.float32)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "broken cannot be read" in told(config__json="{")
    assert "broken cannot be read" in told(model__safetensors=None)
    assert "tokenizer.json cannot be read" in told(tokenizer__json="{}")
    assert "preprocessor_config.json cannot be read" in told(preprocessor_config__json="not json")
    assert "preprocessor_config.json cannot be read" in told(preprocessor_config__json=None)


def test_missing_weights_are_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "less")
    weights = load_file(tmp_path / "less" / "model.safetensors")
    gone = next(name for name in sorted(weights) if name.endswith("q_proj.weight"))
    del weights[gone]
    save_file(weights, tmp_path / "less" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"less lacks 1 weights of tiny, the first of them .*q_proj.weight"):
        load(tmp_path / "less", name="tiny", device=CPU, dtype=torch.float32)


def test_an_unknown_family_is_told() -> None:
    with pytest.raises(ValueError, match="a/b is a 'llava' model, which there is no file of"):
        load_stock(Path("x"), "llava", name="a/b", device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_what_is_quantized(folder: Path, how: str) -> None:
    """The language model's blocks; the vision tower and the head are as they were."""
    pytest.importorskip("bitsandbytes")
    model = load(folder, name="tiny", device=CPU, dtype=torch.bfloat16, quantize=how).model
    layers = {name: type(one).__name__ for name, one in model.named_modules() if "Linear" in type(one).__name__}
    quantized = {name for name, kind in layers.items() if kind != "Linear"}
    assert quantized == {name for name in layers if name.startswith("model.language_model.layers.")}
    assert any(name.startswith("model.visual.") for name in layers) and "lm_head" in layers
