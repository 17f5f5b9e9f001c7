"""Checkpoint folders of roles over a stock model: adapters and heads, and the name of the base, not its weights.

config.json           the base (family, model, revision, fingerprint), the square's side, the localizer's head
descriptor/           a PEFT adapter, and point_token.safetensors
localizer/            a PEFT adapter, and heads.safetensors
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from transformers import Qwen2VLImageProcessorPil, Qwen3VLConfig, Qwen3VLForConditionalGeneration

from talking_points.bases import hub, qwen3_vl
from talking_points.bases.adapted.network import QwenNetwork
from talking_points.bases.base import Base
from talking_points.files import read_json
from talking_points.model.checkpoint import DifferentBases, check_role, replacing
from talking_points.model.config import COORDINATE_HEADS, FORMAT_VERSION
from talking_points.model.hugging_face import LORA_TARGETS, load_tokenizer_files, naming, read_lora, save_lora, set_lora
from talking_points.model.roles import ROLES
from talking_points.model.weights import load_weights, read_tensors, save_tensors

SIDE = 1024
"""Of the square, unless told: 1,024 picture tokens, the paper's resolution, where Qwen's authors see good grounding."""
RECIPE = "qwen3-vl"
PARTS = {"descriptor": "point_token.safetensors", "localizer": "heads.safetensors"}
"""What a role owns beside its adapter."""
TARGETS = rf".*language_model\.layers\.\d+\.(self_attn|mlp)\.({'|'.join(LORA_TARGETS)})"
"""Every linear layer of the language model's blocks; the vision tower is left alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseName:
    """Which stock model a checkpoint stands on."""

    family: str
    model: str
    """Its Hub id, or its folder."""
    revision: str | None = None
    """The commit of a Hub id."""
    fingerprint: str
    """Of its files, by `fingerprint_of`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptedConfig:
    """`config.json`."""

    base: BaseName
    side: int = SIDE
    coordinate_head: str = "regression"
    blind: bool = False
    recipe: str = RECIPE
    format_version: int = field(default=FORMAT_VERSION)

    @classmethod
    def read(cls, folder: Path) -> AdaptedConfig:
        """Of a folder; a ValueError names what is wrong with it."""
        path = folder / "config.json"
        data = read_json(path)
        if data.get("format_version") != FORMAT_VERSION:
            raise ValueError(
                f"{path}: checkpoint format {data.get('format_version')!r}, this version reads {FORMAT_VERSION}; "
                "use the talking-points that wrote it, or train it anew"
            )
        for known, said, where in ((cls, data, ""), (BaseName, data.get("base"), "base.")):
            names = {one.name for one in fields(known)}
            if not isinstance(said, dict) or (odd := sorted(said.keys() - names)):
                what = f"unknown key {where}{odd[0]}" if isinstance(said, dict) else "base is no object"
                raise ValueError(f"{path}: {what}; known: {', '.join(sorted(names))}")
        try:
            config = cls(**{**data, "base": BaseName(**data["base"])})
        except TypeError as error:
            raise ValueError(f"{path}: {error}") from None
        if config.coordinate_head not in COORDINATE_HEADS:
            allowed = " or ".join(map(repr, COORDINATE_HEADS))
            raise ValueError(f"{path}: coordinate_head is {config.coordinate_head!r}; allowed: {allowed}")
        if type(config.side) is not int or type(config.blind) is not bool:
            raise ValueError(f"{path}: side is a whole number, blind true or false")
        base = config.base
        texts = [base.model, base.fingerprint, config.recipe, *([] if base.revision is None else [base.revision])]
        if not all(isinstance(one, str) for one in texts) or base.family != "qwen3_vl":
            raise ValueError(f"{path}: base.family is 'qwen3_vl'; its model, revision and fingerprint are texts")
        return config


def load_network(
    folder: Path,
    *,
    side: int | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    roles: tuple[str, ...] = ROLES,
    quantize: str | None = None,
    answers_only: bool = False,
) -> QwenNetwork:
    """Read a checkpoint folder, or a stock model's, which has no roles yet.

    Args:
        side: of the square, of a stock model; None: `SIDE`. A checkpoint has its own.
        roles: adapters to load, of those that the folder holds.
        quantize: "nf4" or "int8" for the language model; None: as it is.
        answers_only: nothing follows from it here.
        device, dtype: of the base; what computes coordinates is in fp32.

    Raises:
        ValueError: the base is not to be found, or is not the one that the roles were trained over, or weights do not
            fit.
    """
    device = torch.device(device)
    if "base" not in read_json(folder / "config.json"):
        found = hub.id_of_folder(folder)
        name = folder.name if found is None else found[0]
        stock = qwen3_vl.load(folder, name=name, device=device, dtype=dtype, quantize=quantize)
        network = QwenNetwork(stock, side=side or SIDE)
        network.origin = name_of(folder)
        return network.eval()
    config = AdaptedConfig.read(folder)
    _check_side(folder, config.side, side)
    base = find_base(folder, config.base)
    stock = qwen3_vl.load(base, name=folder.name, device=device, dtype=dtype, quantize=quantize)
    network = QwenNetwork(stock, side=config.side, head=config.coordinate_head, blind=config.blind)
    network.origin = config.base
    for role in roles:
        if (folder / role).is_dir():
            load_role_into(network, role, folder)
    return network.eval()


def load_joined(descriptor: Path, localizer: Path, **settings: Any) -> QwenNetwork:
    """Two roles over one base, which is loaded once. Errors as `model.checkpoint.load_joined`."""
    for folder, role in zip((descriptor, localizer), ROLES, strict=True):
        check_role(folder, role)
    configs = [AdaptedConfig.read(folder) for folder in (descriptor, localizer)]
    one, other = configs
    for name, mine, theirs in (
        ("the base", one.base.fingerprint, other.base.fingerprint),
        ("side", one.side, other.side),
    ):
        if mine != theirs:
            raise DifferentBases(f"{descriptor} and {localizer} stand on different bases: {name} differs")
    network = load_network(descriptor, roles=("descriptor",), **settings)
    network.change(head=other.coordinate_head, blind=other.blind)
    load_role_into(network, "localizer", localizer)
    return network.eval()


def load_outline(folder: Path, *, side: int | None = None) -> QwenNetwork:
    """A base without weights, on the meta device: of its folder configs and tokenizer are read."""
    config = AdaptedConfig.read(folder) if "base" in read_json(folder / "config.json") else None
    if config is not None:
        _check_side(folder, config.side, side)
        folder, side = find_base(folder, config.base, weights=False), config.side
    path = folder / "config.json"
    with naming(path), torch.device("meta"):
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig.from_dict(read_json(path)))
    model.tie_weights()
    path = folder / "preprocessor_config.json"
    with naming(path):
        processor = Qwen2VLImageProcessorPil(**read_json(path))
    stock = qwen3_vl.Qwen3VL(model, load_tokenizer_files(folder), processor, name=folder.name)
    return QwenNetwork(stock, side=side or SIDE, head="regression" if config is None else config.coordinate_head)


def attach_role(network: QwenNetwork, role: str, lora: LoraConfig) -> None:
    """Give a network an untrained role: a LoRA adapter that changes nothing yet, and parts of its own."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        if isinstance(network.whole, PeftModel):
            network.whole.add_adapter(role, lora, autocast_adapter_dtype=False)
            adapted = network.whole
        else:
            adapted = PeftModel(network.stock.model, lora, adapter_name=role, autocast_adapter_dtype=False)
    network.take_role(role, adapted)


def load_role_into(network: QwenNetwork, role: str, folder: Path) -> None:
    """Read a role's folder into a network that has no such role yet."""
    lora = read_lora(folder / role)
    with naming(folder / role / "adapter_config.json"):
        attach_role(network, role, lora)
    assert isinstance(network.whole, PeftModel)
    set_lora(network.whole, role, folder / role)
    path = folder / role / PARTS[role]
    [part] = network.own_parts(role).values()
    load_weights(part, read_tensors(path), source=str(path))


def save_network(network: QwenNetwork, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the whole folder; it appears complete or not at all. Arguments as `model.checkpoint.save_checkpoint`."""
    if network.origin is None:
        raise ValueError(f"{network.name} was not read from a folder, by whose name a checkpoint could call it")
    config = AdaptedConfig(
        base=network.origin, side=network.side, coordinate_head=network.head_kind, blind=network.blind
    )
    with replacing(folder) as new:
        (new / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
        for role in network.roles:
            assert isinstance(network.whole, PeftModel)
            save_lora(network.whole, role, new / role, dtype)
            [part] = network.own_parts(role).values()
            save_tensors(part.state_dict(), new / role / PARTS[role], dtype)


def network_of(base: Base) -> QwenNetwork:
    """A TypeError where a base is no stock model that carries roles."""
    if not isinstance(base, QwenNetwork):
        raise TypeError(f"{base.name} is a stock model, which has no checkpoint folder; save what was trained over it")
    return base


def name_of(folder: Path) -> BaseName:
    """How a checkpoint names a stock model's folder."""
    found = hub.id_of_folder(folder.resolve())
    model, revision = (str(folder.resolve()), None) if found is None else found
    family = str(read_json(folder / "config.json").get("model_type"))
    return BaseName(family=family, model=model, revision=revision, fingerprint=fingerprint_of(folder))


def find_base(checkpoint: Path, base: BaseName, *, weights: bool = True) -> Path:
    """The folder of a checkpoint's base: where it was, or from the Hub.

    weights: whether they must be there, and be the ones that the roles were trained over; else configs are enough.
    """
    folder = Path(base.model)
    if not folder.is_dir():
        if not hub.is_hub_id(base.model):
            raise ValueError(
                f"{checkpoint} stands on {base.model}, which is not there; put the model there, or write its folder or "
                f"Hub id as base.model into {checkpoint / 'config.json'}"
            )
        files = hub.HUB_FILES if weights else hub.CONFIG_FILES
        folder = hub.download(base.model, files, revision=base.revision)
    if weights and fingerprint_of(folder) != base.fingerprint:
        raise ValueError(f"{checkpoint} stands on another model than is now in {folder}: its files differ")
    return folder


def fingerprint_of(folder: Path) -> str:
    """Of a stock model's weights and tokenizer: sizes and samples of their files, as reading all takes minutes."""
    digest = hashlib.blake2b(digest_size=8)
    for path in [*sorted(folder.glob("*.safetensors")), folder / "tokenizer.json"]:
        size = path.stat().st_size
        digest.update(f"{size} ".encode())
        with path.open("rb") as file:
            for start in (0, size // 3, size // 2, max(0, size - SAMPLE)):
                file.seek(start)
                digest.update(file.read(SAMPLE))
    return digest.hexdigest()


SAMPLE = 2**20
"""Bytes of a file that are looked at in each of a few places."""


def lora_config(*, rank: int, alpha: int, dropout: float) -> LoraConfig:
    """A role's adapter."""
    return LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=TARGETS, bias="none", task_type="CAUSAL_LM"
    )


def _check_side(folder: Path, own: int, asked: int | None) -> None:
    if asked is not None and asked != own:
        raise ValueError(f"side is {asked}; {folder} was trained on squares of {own} px, leave it out")
