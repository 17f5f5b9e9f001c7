"""Published files of random numbers at a tiny size, and what tests do with them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from talking_points.model.config import VisionConfig

ROOT = Path(__file__).parents[2]

Files = dict[str, Any]


def benchmark_module() -> Any:
    """The memory benchmark: its files of random numbers are the published ones at any size."""
    path = ROOT / "benchmarks" / "import_memory.py"
    spec = importlib.util.spec_from_file_location("import_memory", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["import_memory"] = module
    spec.loader.exec_module(module)
    return module


TINY = {"layers": 2, "width": 32, "inner": 48, "heads": 4, "key_value_heads": 2, "vocabulary": 400, "rank": 4}
TINY_VISION = VisionConfig(
    trunk_depths=(1, 1, 2, 1),
    trunk_dims=(8, 16, 24, 32),
    width=32,
    pixel_decoder_layers=1,
    pixel_decoder_ffn=16,
    mask_decoder_layers=2,
    mask_decoder_ffn=24,
    num_queries=5,
    num_classes=3,
    class_embed_dim=8,
    class_embed_prototypes=2,
)


def load_shards(out: Path) -> dict[str, Tensor]:
    shards = (out / "language_model").glob("*.safetensors")
    return {name: tensor for shard in shards for name, tensor in load_file(shard).items()}


def edit(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a .pth in place."""
    loaded = torch.load(path, weights_only=True)
    change(loaded.get("state_dict", loaded))
    torch.save(loaded, path)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)
