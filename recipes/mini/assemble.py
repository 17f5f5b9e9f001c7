"""The base as a checkpoint with both roles, untrained: `python -m recipes.mini.assemble`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from recipes.mini.learn import load_parts
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.hugging_face import attach_role, lora_config
from talking_points.model.roles import ROLES

RANK = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--start", type=Path, required=True, help="checkpoint that `learn` started from")
    parser.add_argument("--base", type=Path, required=True, help="folder with base-*.safetensors")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.manual_seed(0)
    network = load_checkpoint(given.start, roles=())
    load_parts(network, given.base)
    for role in ROLES:
        attach_role(network, role, lora_config(role, rank=RANK, alpha=RANK, dropout=0.0))
    save_checkpoint(network, given.out, dtype=torch.float16)
    size = sum(path.stat().st_size for path in given.out.rglob("*") if path.is_file())
    print(f"{given.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
