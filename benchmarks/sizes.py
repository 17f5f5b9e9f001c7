"""How many weights the 7B and `mini` have, and what they take in memory: counted from the configs, not measured.

    python benchmarks/sizes.py > benchmarks/results/sizes.json

The 7B is built without memory (torch's meta device). Language model and projectors count at the stated precision;
segmenter, text-to-vision MLPs and heads, which compute coordinates, at four bytes, as `PointNetwork.place` puts them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from talking_points.pointing.pretrained import find_checkpoint

if TYPE_CHECKING:
    import torch

    from talking_points.model.network import PointNetwork

BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "nf4": 0.5 + 4 / 64}
"""Of one weight; nf4 has a 32-bit scale for 64 of them."""


def seven_b() -> PointNetwork:
    """The paper's sizes: OMG-LLaVA 7B (InternLM2-chat-7B as a Llama) and two adapters of rank 512."""
    # Here, since they take seconds to import: --help answers at once.
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from talking_points.bases.loading import attach_role
    from talking_points.model.checkpoint import load_checkpoint
    from talking_points.model.config import ModelConfig
    from talking_points.model.network import PointNetwork

    llama = LlamaConfig(
        vocab_size=92550,
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
    )
    tokenizer = load_checkpoint(find_checkpoint("mini"), roles=()).prompts.tokenizer  # its words do not matter here
    with torch.device("meta"):
        network = PointNetwork(ModelConfig(name="7b"), LlamaForCausalLM(llama), tokenizer)
        for role in ("descriptor", "localizer"):
            attach_role(network, role, rank=512, alpha=256, dropout=0.05)
    return network


def count(network: PointNetwork) -> dict[str, int]:
    """Weights of each part."""
    named = dict(network.language.named_parameters())

    def total(parameters: Iterable[torch.nn.Parameter]) -> int:
        return sum(p.numel() for p in parameters)

    own = {name: p for name, p in named.items() if ".lora_" not in name}
    linear = [p for name, p in own.items() if ".layers." in name and p.ndim == 2]
    parts = {
        "segmenter": total(network.segmenter.parameters()),
        "projector": total(network.projector.parameters()),
        "text_to_vision": total(network.text_to_vision.parameters()),
        "language_linear_layers": total(linear),
        "language_other": total(own.values()) - total(linear),
        "descriptor_lora": total(p for name, p in named.items() if ".lora_" in name and ".descriptor." in name),
        "localizer_lora": total(p for name, p in named.items() if ".lora_" in name and ".localizer." in name),
    }
    if network.localizer is not None:
        parts["localizer_projector"] = total(network.localizer.projector.parameters())
        parts["localizer_heads"] = total(network.localizer.parameters()) - parts["localizer_projector"]
    return parts


def gigabytes(parts: dict[str, int], precision: str) -> float:
    """Of the weights. `quantize` holds the language model's linear layers alone in fewer than 16 bits."""
    around = 4.0 if precision == "fp32" else 2.0

    def bytes_of(name: str) -> float:
        if name in ("segmenter", "text_to_vision", "localizer_heads"):
            return 4.0
        return BYTES[precision] if name == "language_linear_layers" else around

    return round(sum(n * bytes_of(name) for name, n in parts.items()) / 1e9, 2)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from talking_points.model.checkpoint import load_checkpoint

    result = {}
    for name, network in (("7b", seven_b()), ("mini", load_checkpoint(find_checkpoint("mini")))):
        parts = count(network)
        llama = network.llama.config
        head_dim = llama.hidden_size // llama.num_attention_heads
        result[name] = {
            "weights": parts,
            "weights_in_all": sum(parts.values()),
            "gigabytes": {precision: gigabytes(parts, precision) for precision in BYTES},
            "cache_bytes_a_token_16_bits": 2 * 2 * llama.num_hidden_layers * llama.num_key_value_heads * head_dim,
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
