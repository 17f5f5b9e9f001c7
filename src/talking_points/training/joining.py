"""Two roles that were trained apart, over one base: in one network, in one folder; and what tells weights apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from peft import PeftModel

from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.hugging_face import attach_role
from talking_points.model.network import PointNetwork


class DifferentBases(ValueError):
    """Two checkpoints were to share a base and do not."""


def join_roles(descriptor: Path, localizer: Path, out: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """One checkpoint of two roles trained over the same base. Errors are those of `load_joined`."""
    save_checkpoint(load_joined(descriptor, localizer), out, dtype=dtype)


def load_joined(descriptor: Path, localizer: Path, *, device: torch.device | str = "cpu") -> PointNetwork:
    """One network of two roles trained over the same base, in fp32, nothing to be trained yet.

    Raises:
        ValueError: a role is missing; `DifferentBases`: the two bases differ.
    """
    network = load_role(descriptor, "descriptor", device)
    other = load_role(localizer, "localizer", device)
    mine, theirs = _base_weights(network), _base_weights(other)
    for name, tensor in theirs.items():
        if name not in mine or not torch.equal(mine[name], tensor):
            raise DifferentBases(f"{descriptor} and {localizer} stand on different bases: {name} differs")
    if network.prompts.tokenizer.get_vocab() != other.prompts.tokenizer.get_vocab():
        raise DifferentBases(f"{descriptor} and {localizer} stand on different bases: their tokenizers differ")
    assert isinstance(other.language, PeftModel)
    attach_role(network, "localizer", other.language.peft_config["localizer"])
    copy_role("localizer", other, network)
    network.requires_grad_(False)
    return network.eval()


def load_role(folder: Path, role: str, device: torch.device | str) -> PointNetwork:
    """A checkpoint with one of its roles.

    Raises:
        ValueError: it has no such role.
    """
    network = load_checkpoint(folder, device=device, roles=(role,))
    if role not in network.roles:
        raise ValueError(f"{folder} has no {role}; give a checkpoint folder in which one was trained")
    return network


def copy_role(role: str, source: PointNetwork, into: PointNetwork) -> None:
    """Weights of a role that both networks have."""
    own = into.role_weights(role)
    with torch.no_grad():
        for name, parameter in source.role_weights(role).items():
            own[name].copy_(parameter)


def fingerprint(weights: Iterable[torch.Tensor]) -> str:
    """Of weights in an order: other ones have another."""
    digest = hashlib.blake2b(digest_size=8)
    for tensor in weights:
        digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _base_weights(network: PointNetwork) -> dict[str, torch.Tensor]:
    """Weights that both roles share, under one name whether or not an adapter wraps their layer."""
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in network.state_dict().items()
        if ".lora_" not in name and not name.startswith("localizer.")
    }
