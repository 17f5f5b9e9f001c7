"""The checkpoint folder: reading and writing, exactly or not at all.

config.json           sizes (ModelConfig), format version
vision.safetensors    segmenter, projector, text-to-vision MLP of the base
language_model/       a plain transformers Llama folder with its tokenizer
descriptor/           a PEFT adapter
localizer/            a PEFT adapter, and heads.safetensors: its projector, text-to-vision MLP, coordinate head
"""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from talking_points.model.config import ModelConfig
from talking_points.model.network import ROLES, PointNetwork
from talking_points.model.weights import check_names_and_shapes, load_weights

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every linear layer of the language model's blocks."""
HEAD = "lm_head"
"""The descriptor adapts it too, as OMG-LLaVA's published adapter does; the localizer never reads it."""
KEPT_FILES = ("README.md", "report.json")
"""Model card and scores: kept when a checkpoint is written again."""
QUANTIZATIONS = ("nf4", "int8")
"""Of bitsandbytes: 4 bits a weight (QLoRA's) or 8."""
BASE_PARTS = ("segmenter", "projector", "text_to_vision", "heatmap")
"""The last only where the config asks for it."""


def lora_config(role: str, *, rank: int = 512, alpha: int = 256, dropout: float = 0.05) -> LoraConfig:
    """A role's adapter. Defaults are OMG-LLaVA's, which the paper reuses."""
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=[*LORA_TARGETS, *([HEAD] if role == "descriptor" else [])],
        bias="none",
        task_type="CAUSAL_LM",
    )


def attach_role(network: PointNetwork, role: str, lora: LoraConfig) -> None:
    """Give the network an untrained role: a LoRA adapter that changes nothing yet; for the localizer, its parts too.

    The localizer's projector, text-to-vision MLP and heatmap start as copies of the base's.
    """
    if role not in ROLES:
        raise ValueError(f"role is {role!r}; allowed: {', '.join(ROLES)}")
    with warnings.catch_warnings():
        # PEFT's advice on merging an adapted head that is tied to the embedding (ours are not merged), and a name that
        # it still calls and transformers has renamed.
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        if isinstance(network.language, PeftModel):
            network.language.add_adapter(role, lora)
        else:
            network.language = PeftModel(network.language, lora, adapter_name=role, autocast_adapter_dtype=False)
    if role == "localizer":
        parts = network.new_localizer_parts()
        parts.projector.load_state_dict(network.projector.state_dict())
        parts.text_to_vision.load_state_dict(network.text_to_vision.state_dict())
        if parts.head.heatmap is not None:
            assert network.heatmap is not None
            parts.head.heatmap.load_state_dict(network.heatmap.state_dict())
        network.localizer = parts
    network.place(network.device, network.dtype)


def save_checkpoint(network: PointNetwork, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write the whole folder; it appears complete or not at all. A quantized network is a ValueError.

    Args:
        network: with or without roles.
        folder: replaced if it is a checkpoint already; any other non-empty folder is refused.
        dtype: of every weight in the files; None: as each is in memory.
    """
    if getattr(network.llama, "is_quantized", False):
        raise ValueError("a quantized network cannot be saved: what it has lost is lost; load it without quantize")
    with _replacing(folder) as new:
        (new / "config.json").write_text(json.dumps(network.config.to_dict(), indent=2) + "\n")
        base = {name: t for name, t in network.state_dict().items() if name.split(".")[0] in BASE_PARTS}
        _save_tensors(base, new / "vision.safetensors", dtype)
        _save_language_model(network, new / "language_model", dtype)
        for role in ROLES:
            if isinstance(network.language, PeftModel) and role in network.language.peft_config:
                save_role(network, role, new / role, dtype=dtype)


def save_role(network: PointNetwork, role: str, folder: Path, *, dtype: torch.dtype | None = None) -> None:
    """Write one role's adapter (a PEFT folder) and, for the localizer, its own parts."""
    assert isinstance(network.language, PeftModel)
    folder.mkdir(parents=True, exist_ok=True)
    adapter = get_peft_model_state_dict(network.language, adapter_name=role, save_embedding_layers=False)
    _save_tensors(adapter, folder / "adapter_model.safetensors", dtype)
    network.language.peft_config[role].save_pretrained(str(folder))
    if role == "localizer":
        assert network.localizer is not None
        _save_tensors(network.localizer.state_dict(), folder / "heads.safetensors", dtype)


def load_checkpoint(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    roles: tuple[str, ...] = ROLES,
    quantize: str | None = None,
) -> PointNetwork:
    """Read a checkpoint folder.

    Args:
        folder: as `save_checkpoint` writes it.
        device, dtype: as `PointNetwork.place` takes them; fixed from here on.
        roles: adapters to load, of those that the folder holds.
        quantize: one of `QUANTIZATIONS` for the base's language model, which must not be saved then; None: as it is.

    Raises:
        ImportError: bitsandbytes, which quantizes, is not installed.
        FileNotFoundError: a file is missing.
        ValueError: another format version, or weights that are missing, unknown or misshaped; they are named.
    """
    config = ModelConfig.from_dict(read_json(folder / "config.json"), source=str(folder / "config.json"))
    language, tokenizer = _load_language_model(folder / "language_model", dtype, quantize, device)
    network = PointNetwork(config, language, tokenizer)
    vision_path = folder / "vision.safetensors"
    vision = read_tensors(vision_path)
    parts = [part for part in BASE_PARTS if getattr(network, part) is not None]
    for part in parts:
        weights = {n.removeprefix(f"{part}."): t for n, t in vision.items() if n.startswith(f"{part}.")}
        load_weights(getattr(network, part), weights, source=f"{vision_path} ({part})")
    unknown = sorted(n for n in vision if n.split(".")[0] not in parts)
    if unknown:
        raise ValueError(f"{vision_path}: unknown tensor {unknown[0]!r}")
    for role in roles:
        if (folder / role).is_dir():
            _load_role(network, role, folder / role)
    network.requires_grad_(False)
    return network.place(device, dtype).eval()


def _load_role(network: PointNetwork, role: str, folder: Path) -> None:
    config_path = folder / "adapter_config.json"
    if (peft_type := read_json(config_path).get("peft_type")) != "LORA":
        raise ValueError(f"{config_path}: peft_type is {peft_type!r}, expected 'LORA'")
    with _naming(config_path):
        attach_role(network, role, LoraConfig.from_pretrained(str(folder)))
    assert isinstance(network.language, PeftModel)
    path = folder / "adapter_model.safetensors"
    weights = read_tensors(path)
    own = get_peft_model_state_dict(network.language, adapter_name=role, save_embedding_layers=False)
    check_names_and_shapes(_shapes(own), _shapes(weights), model_name=f"the {role}'s adapter", source=str(path))
    set_peft_model_state_dict(network.language, weights, adapter_name=role)
    if role == "localizer":
        assert network.localizer is not None
        path = folder / "heads.safetensors"
        load_weights(network.localizer, read_tensors(path), source=str(path))


def _load_language_model(
    folder: Path, dtype: torch.dtype, quantize: str | None, device: torch.device | str
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    quantized = _quantization(quantize, dtype, device)
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type != "llama":
        raise ValueError(f"{folder / 'config.json'}: model_type is {model_type!r}, expected 'llama'")
    with _naming(folder / "config.json"):
        config = LlamaConfig.from_pretrained(str(folder), local_files_only=True)
        config.validate()
    _check_language_model_files(folder, config)
    with _naming(folder):
        model = LlamaForCausalLM.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, use_safetensors=True, **quantized
        )
    with _naming(folder / "tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    return model, tokenizer


def _quantization(quantize: str | None, dtype: torch.dtype, device: torch.device | str) -> dict[str, Any]:
    """What transformers is told so that linear layers hold 4 or 8 bits a weight; the head stays as it is."""
    if quantize is None:
        return {}
    if quantize not in QUANTIZATIONS:
        raise ValueError(f"quantize is {quantize!r}; allowed: {', '.join(QUANTIZATIONS)}, or none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ImportError("--quantize needs bitsandbytes: pip install bitsandbytes")
    if quantize == "nf4":
        config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
    else:
        # It says at every product that the input is cast.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        config = BitsAndBytesConfig(load_in_8bit=True)
    return {"quantization_config": config, "device_map": {"": str(device)}}


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever a library says of a broken file, as one line that names the file."""
    try:
        yield
    except Exception as error:  # libraries raise all kinds, of files that anybody may have edited
        said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ValueError(f"{path} cannot be read: {said[0].strip()}") from None


def _check_language_model_files(folder: Path, config: LlamaConfig) -> None:
    """transformers fills what is missing with random numbers and goes on; here that is an error."""
    with _naming(folder / "config.json"), torch.device("meta"):
        own = _shapes(LlamaForCausalLM(config).state_dict())
    if config.tie_word_embeddings:
        own.pop("lm_head.weight")
    given: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with _naming(path), safe_open(path, framework="pt") as file:
            given |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    check_names_and_shapes(own, given, model_name="LlamaForCausalLM", source=str(folder))


def _save_language_model(network: PointNetwork, folder: Path, dtype: torch.dtype | None) -> None:
    """Write the base language model under plain Llama names, whatever adapters are inside it."""
    llama = network.llama
    state = {}
    for name, tensor in llama.state_dict().items():
        if ".lora_" not in name:
            state[name.replace(".base_layer.", ".")] = tensor.detach().to(dtype or tensor.dtype).contiguous()
    plain = type(llama.config).from_dict(llama.config.to_dict())
    plain.dtype = dtype or llama.dtype
    plain.save_pretrained(str(folder))
    if llama.generation_config is not None:
        llama.generation_config.save_pretrained(str(folder))
    if llama.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    network.prompts.tokenizer.save_pretrained(str(folder))


def _save_tensors(tensors: dict[str, Tensor], path: Path, dtype: torch.dtype | None) -> None:
    state = {
        n: (t.detach().to(dtype or t.dtype) if t.is_floating_point() else t.detach()).contiguous()
        for n, t in tensors.items()
    }
    save_file(state, path, metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file; a broken file is a ValueError naming it."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is broken: {error}; get it again") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; anything else is a ValueError naming it."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; a checkpoint folder holds it")
    try:
        data = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} holds {type(data).__name__}, expected an object")
    return data


def _shapes(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(t.shape) for name, t in weights.items()}


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` that takes its place when the block ends without an error."""
    _check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield new
        new.chmod(0o755)
        for file in new.rglob("*.safetensors"):  # safetensors writes them for the owner's eyes only
            file.chmod(0o644)
        old = Path(f"{new}.old")
        if folder.exists():
            for kept in (folder / name for name in KEPT_FILES):
                if kept.is_file():
                    shutil.copy2(kept, new / kept.name)
            folder.rename(old)
        new.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    """Only an empty folder or a checkpoint with nothing else in it may be replaced."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; choose another folder")
    names = {entry.name for entry in folder.iterdir()}
    ours = {"config.json", "vision.safetensors", "language_model", *ROLES, *KEPT_FILES}
    is_checkpoint = "config.json" in names and "format_version" in read_json(folder / "config.json")
    if names and not (is_checkpoint and names <= ours):
        raise ValueError(f"{folder} is not empty and not a checkpoint alone; choose another folder")
