"""The checkpoint folder: reading and writing, exactly or not at all.

config.json           sizes (ModelConfig), format version
vision.safetensors    segmenter, projector, text-to-vision MLP and head of the base
language_model/       a plain transformers Llama folder with its tokenizer
descriptor/           a PEFT adapter, and projector.safetensors where it has a projector of its own
localizer/            a PEFT adapter, and heads.safetensors: its projector, text-to-vision MLP, coordinate head

Beside an adapter may lie training.json: how the role was trained (`write_trainings`). Nothing that answers reads it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from talking_points.files import read_json, write_whole
from talking_points.model.config import ModelConfig
from talking_points.model.network import PointNetwork
from talking_points.model.plain import read_plain, save_files
from talking_points.model.projector import Projector
from talking_points.model.roles import ROLES, role_missing
from talking_points.model.weights import first_difference, load_weights, read_tensors, save_tensors

HEADS = Path("localizer", "heads.safetensors")
PROJECTOR = Path("descriptor", "projector.safetensors")
TRAINING = "training.json"
KEPT_FILES = ("README.md", "report.json")
"""Model card and scores: kept when a checkpoint is written again."""


class DifferentBases(ValueError):
    """Two checkpoints were to share a base and do not."""


class VisionSide(nn.ModuleDict):
    """The base without its language model; a head only where the config asks for one of ours."""

    def __init__(self, network: PointNetwork) -> None:
        parts = {name: getattr(network, name) for name in ("segmenter", "projector", "text_to_vision", "head")}
        super().__init__({name: part for name, part in parts.items() if part is not None})


def save_checkpoint(network: PointNetwork, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the whole folder; it appears complete or not at all. A quantized network is a ValueError.

    Args:
        network: with or without roles.
        folder: replaced if it is a checkpoint already; any other non-empty folder is refused.
        dtype: of every weight in the files; None: as each is in memory.
    """
    if getattr(network.llama, "is_quantized", False):
        raise ValueError("a quantized network cannot be saved: what it has lost is lost; load it without quantize")
    with replacing(folder) as new:
        (new / "config.json").write_text(json.dumps(network.config.to_dict(), indent=2) + "\n")
        save_tensors(VisionSide(network).state_dict(), new / "vision.safetensors", dtype)
        if network.language_files is not None:
            save_files(network.language_files, new, dtype or network.dtype)
        else:
            # Imported where it is needed: what answers without transformers must not wait for it.
            from talking_points.model import hugging_face

            hugging_face.save_language_model(network, new / "language_model", dtype)
            for role in network.roles:
                hugging_face.save_lora(network.language, role, new / role, dtype)
        if network.localizer is not None and "localizer" in network.roles:
            save_tensors(network.localizer.state_dict(), new / HEADS, dtype)
        if network.descriptor_projector is not None and "descriptor" in network.roles:
            save_tensors(network.descriptor_projector.state_dict(), new / PROJECTOR, dtype)


def load_checkpoint(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    roles: tuple[str, ...] = ROLES,
    quantize: str | None = None,
    answers_only: bool = False,
) -> PointNetwork:
    """Read a checkpoint folder.

    Args:
        folder: as `save_checkpoint` writes it.
        device, dtype: as `PointNetwork.place` takes them; fixed from here on.
        roles: adapters to load, of those that the folder holds.
        quantize: one of `QUANTIZATIONS` for the base's language model, which must not be saved then; None: as it is.
        answers_only: nothing of the network will be trained. A small one is read without transformers then
            (`read_plain` has the rule): sooner, and each role in weights of its own.

    Raises:
        ImportError: bitsandbytes, which quantizes, is not installed.
        FileNotFoundError: a file is missing.
        ValueError: another format version, or weights that are missing, unknown or misshaped; they are named.
    """
    config = read_config(folder)
    plain = read_plain(folder, roles=roles, dtype=dtype, quantize=quantize) if answers_only else None
    if plain is not None:
        network = PointNetwork(
            config, plain.llamas, plain.tokenizer, adapters=plain.adapters, language_files=plain.files
        )
    else:
        from talking_points.model import hugging_face

        network = PointNetwork(
            config, *hugging_face.load_language_model(folder / "language_model", dtype, quantize, device)
        )
        for role in roles:
            if (folder / role).is_dir():
                hugging_face.load_adapter(network, role, folder / role)
    vision_path = folder / "vision.safetensors"
    load_weights(VisionSide(network), read_tensors(vision_path), source=str(vision_path))
    if "localizer" in network.roles:
        if network.localizer is None:
            network.localizer = network.new_localizer_parts()
        load_weights(network.localizer, read_tensors(folder / HEADS), source=str(folder / HEADS))
    if "descriptor" in network.roles and (folder / PROJECTOR).is_file():
        network.descriptor_projector = Projector(config.vision, network.llama.config.hidden_size, names=True)
        load_weights(network.descriptor_projector, read_tensors(folder / PROJECTOR), source=str(folder / PROJECTOR))
    network.requires_grad_(False)
    return network.place(device, dtype).eval()


def read_trainings(folders: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """How roles were trained, as far as their checkpoints tell. folders: by role."""
    paths = {role: folder / role / TRAINING for role, folder in folders.items()}
    return {role: read_json(path) for role, path in paths.items() if path.is_file()}


def write_trainings(told: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """Say so beside the adapters of a checkpoint. told: by role; of a role that it lacks nothing is written."""
    for role, training in told.items():
        if (folder / role).is_dir():
            write_whole(folder / role / TRAINING, json.dumps(training, indent=2) + "\n")


def read_config(folder: Path) -> ModelConfig:
    """Sizes of the network in a folder. Errors are those of `ModelConfig.from_dict`."""
    return ModelConfig.from_dict(read_json(folder / "config.json"), source=str(folder / "config.json"))


def load_joined(descriptor: Path, localizer: Path, **settings: Any) -> PointNetwork:
    """One network of two roles trained over the same base, which is loaded once.

    Settings as `load_checkpoint` takes them.

    Raises:
        ValueError: a role is missing; `DifferentBases`: the two bases differ.
    """
    for folder, role in zip((descriptor, localizer), ROLES, strict=True):
        check_role(folder, role)
    from talking_points.model import hugging_face

    different = None
    if descriptor.resolve() != localizer.resolve():
        different = _first_difference(descriptor, localizer)
        if hugging_face.load_tokenizer(descriptor).get_vocab() != hugging_face.load_tokenizer(localizer).get_vocab():
            different = different or "the tokenizer"
    if different is not None:
        raise DifferentBases(f"{descriptor} and {localizer} stand on different bases: {different} differs")
    network = load_checkpoint(descriptor, roles=("descriptor",), **settings)
    config, device, dtype = read_config(localizer), network.device, network.dtype
    network.change(head=config.coordinate_head, blind=config.blind)
    hugging_face.load_adapter(network, "localizer", localizer / "localizer")
    assert network.localizer is not None
    load_weights(network.localizer, read_tensors(localizer / HEADS), source=str(localizer / HEADS))
    if network.head is not None:
        vision = read_tensors(localizer / "vision.safetensors")
        own = {name.removeprefix("head."): tensor for name, tensor in vision.items() if name.startswith("head.")}
        load_weights(network.head, own, source=str(localizer / "vision.safetensors"))
    network.requires_grad_(False)
    return network.place(device, dtype).eval()


def check_role(folder: Path, role: str) -> None:
    """A ValueError where a folder has no such role."""
    if not (folder / role).is_dir():
        raise ValueError(role_missing(str(folder), role))


def check_same_roles(there: Path, folders: Mapping[str, Path], *, dtype: torch.dtype, passing: str = "\0") -> None:
    """A ValueError where a checkpoint would be written over one with other roles.

    Args:
        there: what is to be replaced; nothing need be there.
        folders: by role, the checkpoint that it comes from.
        dtype, passing: as `first_difference` takes them; the type in which the roles are written, and what may differ.
    """
    if not (there / "config.json").is_file():
        return
    for role in ROLES:
        folder, weights = folders.get(role), sorted((there / role).glob("*.safetensors"))
        if folder is None and not weights:
            continue
        if folder is None:
            different = f"with a {role}, which would be lost"
        elif not weights:
            different = f"without a {role}"
        elif first_difference(weights, sorted((folder / role).glob("*.safetensors")), dtype=dtype, passing=passing):
            different = f"whose {role} is not that of {folder}"
        else:
            continue
        raise ValueError(f"{there} holds a checkpoint {different}; give another --out")


def _first_difference(descriptor: Path, localizer: Path) -> str | None:
    """Name of a weight in which two checkpoints' bases differ."""
    language = first_difference(
        *(sorted((folder / "language_model").glob("*.safetensors")) for folder in (descriptor, localizer))
    )
    # The base's head is what a localizer's starts from, of the kind that the localizer has; no descriptor reads it. No
    # localizer reads the names of points.
    vision = [[folder / "vision.safetensors"] for folder in (descriptor, localizer)]
    return language or first_difference(*vision, passing=("head.", "segmenter.point_names."))


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends without an error.

    What a process left that was killed meanwhile goes away, and a checkpoint that it had set aside comes back.

    Raises:
        ValueError: what is at `folder` is no checkpoint, nor empty.
    """
    check_replaceable(folder)
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    new, old = (folder.with_name(f".{folder.name}.{state}") for state in ("unfinished", "replaced"))
    if old.exists() and not folder.exists():
        old.rename(folder)
    for left in (new, old):
        if left.exists():
            shutil.rmtree(left)
    new.mkdir()
    try:
        yield new
        for file in new.rglob("*.safetensors"):  # safetensors writes them for the owner's eyes only
            file.chmod(0o644)
        if folder.exists():
            for kept in (folder / name for name in KEPT_FILES):
                if kept.is_file():
                    shutil.copy2(kept, new / kept.name)
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def check_replaceable(folder: Path) -> None:
    """Only an empty folder or a checkpoint with nothing else in it may be replaced."""
    if not folder.exists():
        return
    if folder.is_file():
        raise ValueError(f"{folder} is a file; choose another folder")
    names = {entry.name for entry in folder.iterdir()}
    ours = {"config.json", "vision.safetensors", "language_model", *ROLES, *KEPT_FILES}
    is_checkpoint = "config.json" in names and "format_version" in read_json(folder / "config.json")
    if names and not (is_checkpoint and names <= ours):
        raise ValueError(f"{folder} is not empty and not a checkpoint alone; choose another folder")
