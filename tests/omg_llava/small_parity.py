"""Upstream's numbers in small: weights drawn again from their seeds, and samples of the outputs.

    python -m tests.omg_llava.small_parity ../shared/parity

makes the files of tests/omg_llava/parity anew from the full ones (22 MB), after checking that the seeds in
weights.json give the full files' weights.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SMALL = Path(__file__).parent / "parity"
FILES = ("omg_seg", "class_embed", "omg_llava")
PROJECTORS = ("projector.", "projector_text2vision.")
SAMPLES = 512

Weights = dict[str, dict[str, Tensor]]


def draw_weights() -> Weights:
    """The full weights of upstream's modules, {file: {published name: tensor}}, from weights.json."""
    weights: Weights = {name: {} for name in FILES}
    for stream in json.loads((SMALL / "weights.json").read_text()):
        generator = torch.Generator().manual_seed(stream["seed"])
        for name, shape, kind, *numbers in stream["tensors"]:
            weights[stream["file"]][name] = _draw(shape, kind, numbers, generator)
    return weights


def _draw(shape: list[int], kind: str, numbers: list[float], generator: torch.Generator) -> Tensor:
    if kind == "uniform":
        low, high = numbers
        return torch.rand(shape, generator=generator) * (high - low) + low
    normal = torch.randn(shape, generator=generator)
    if kind == "unit":
        return torch.nn.functional.normalize(normal, dim=-1)
    [gain] = numbers
    return normal / math.sqrt(math.prod(shape[1:])) * gain


def ends(weights: Weights) -> dict[str, Tensor]:
    """The last number of every tensor, a vector a file: enough to see that a seed gives other numbers."""
    return {f"weights.{file}": torch.stack([t.flatten()[-1] for t in of.values()]) for file, of in weights.items()}


def sample(tensor: Tensor) -> Tensor:
    """All of a small tensor, flat; of a large one SAMPLES numbers, spread evenly over all of its dimensions."""
    flat = tensor.flatten()
    if len(flat) <= SAMPLES:
        return flat.clone()
    # Steps of the golden ratio: a whole step would meet the same row or column again and again.
    golden = (math.sqrt(5) - 1) / 2
    return flat[[int(k * golden % 1 * len(flat)) for k in range(SAMPLES)]]


def write_parity_folder(folder: Path) -> None:
    """Everything `run_parity` reads but the outputs, at full size."""
    shutil.copyfile(SMALL / "config.json", folder / "config.json")
    shutil.copyfile(SMALL / "inputs.safetensors", folder / "inputs.safetensors")
    for file, weights in draw_weights().items():
        save_file(weights, folder / f"{file}.safetensors")


def write_published(folder: Path) -> dict[str, Path]:
    """The published files of the same weights, as arguments of the import."""
    weights = draw_weights()
    files = {name: folder / f"{name}.pth" for name in ("segmenter", "class_embed", "llava")}
    torch.save({"meta": {}, "state_dict": weights["omg_seg"]}, files["segmenter"])
    torch.save(weights["class_embed"]["cls_embed"], files["class_embed"])
    projectors = {name: tensor for name, tensor in weights["omg_llava"].items() if name.startswith(PROJECTORS)}
    torch.save(load_file(SMALL / "published" / "llm.safetensors") | projectors, files["llava"])
    return {**files, "llm": SMALL / "published" / "internlm2-chat"}


def check_weights(full: Path) -> None:
    """Raise an AssertionError where the seeds do not give the weights of the full files."""
    for file, weights in draw_weights().items():
        expected = load_file(full / f"{file}.safetensors")
        assert weights.keys() == expected.keys(), file
        for name, tensor in weights.items():
            # Equal but for the last bit, where a scale was multiplied in another order.
            torch.testing.assert_close(tensor, expected[name], rtol=2**-22, atol=2**-24, msg=name)


def main(full: Path) -> None:
    check_weights(full)
    shutil.copyfile(full / "config.json", SMALL / "config.json")
    outputs = load_file(full / "outputs.safetensors")
    inputs = load_file(full / "inputs.safetensors")
    inputs |= {name: outputs.pop(name) for name in list(outputs) if name.startswith("input_ids")}
    save_file(inputs, SMALL / "inputs.safetensors")
    samples = {name: sample(tensor) for name, tensor in outputs.items()}
    save_file(samples | ends(draw_weights()), SMALL / "outputs.safetensors")
    published, out = full / "published", SMALL / "published"
    (out / "internlm2-chat").mkdir(parents=True, exist_ok=True)
    for path in [published / "tokens.json", *(published / "internlm2-chat").iterdir()]:
        shutil.copyfile(path, out / path.relative_to(published))
    llava = torch.load(published / "omg_llava.pth", weights_only=True)
    save_file({n: t for n, t in llava.items() if not n.startswith(PROJECTORS)}, out / "llm.safetensors")
    outputs = load_file(published / "outputs.safetensors")
    ids = {"input_ids": outputs.pop("input_ids")}
    save_file(ids | {n: sample(t) for n, t in outputs.items()}, out / "outputs.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
