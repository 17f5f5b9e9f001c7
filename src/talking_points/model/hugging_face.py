"""The language model in the hands of transformers and PEFT: for training, and for whatever is not small and plain."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from torch import nn
from transformers import AutoTokenizer, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from talking_points.files import read_json
from talking_points.model.config import ModelConfig
from talking_points.model.network import PointNetwork, base_name
from talking_points.model.roles import ROLES
from talking_points.model.weights import (
    check_names_and_shapes,
    read_shapes,
    read_tensors,
    save_tensors,
    shapes_of,
)

LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every linear layer of the language model's blocks."""
HEAD = "lm_head"
"""The descriptor adapts it too, as OMG-LLaVA's published adapter does; the localizer never reads it."""
QUANTIZATIONS = ("nf4", "int8")
"""Of bitsandbytes: 4 bits a weight (QLoRA's) or 8."""
BYTES_QUANTIZED = {"nf4": 0.5625, "int8": 1.0}
"""Of a weight in a linear layer; nf4 with a 4-byte scale for each 64."""


class PeftAdapters:
    """The roles as PEFT holds them over one base; a `language.Adapters`."""

    def __init__(self, language: PeftModel) -> None:
        self._language = language

    @property
    def roles(self) -> tuple[str, ...]:
        return tuple(self._language.peft_config)

    @property
    def llama(self) -> LlamaForCausalLM:
        """The base; the active adapter's LoRA layers are inside it."""
        llama: LlamaForCausalLM = self._language.get_base_model()
        return llama

    @contextmanager
    def acting_as(self, role: str) -> Iterator[None]:
        language = self._language
        before = language.active_adapter
        if before == role:
            yield
            return
        # PEFT also switches gradients on and off; a reward computed in between must not stop a training.
        trains = {p: p.requires_grad for p in language.parameters()}
        try:
            with language.disable_adapter() if role == "base" else nullcontext():
                if role != "base":
                    language.set_adapter(role)
                _set_gradients(trains)
                yield
        finally:
            language.set_adapter(before)
            _set_gradients(trains)


def _set_gradients(trains: Mapping[nn.Parameter, bool]) -> None:
    for parameter, requires_grad in trains.items():
        parameter.requires_grad_(requires_grad)


def lora_config(
    role: str, *, rank: int = 512, alpha: int = 256, dropout: float = 0.05, whole: Sequence[str] = ()
) -> LoraConfig:
    """A role's adapter. Defaults are OMG-LLaVA's, which the paper reuses.

    whole: modules that the role has in the place of the base's, without LoRA.
    """
    targets = [*LORA_TARGETS, *([HEAD] if role == "descriptor" else [])]
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=[name for name in targets if name not in whole],
        modules_to_save=list(whole) or None,
        bias="none",
        task_type="CAUSAL_LM",
    )


def attach_role(network: PointNetwork, role: str, lora: LoraConfig, *, projector: bool = False) -> None:
    """Give the network an untrained role: a LoRA adapter that changes nothing yet; for the localizer, its parts too.

    Nothing has gradients yet. The localizer's projector, text-to-vision MLP and head start as copies of the base's.

    projector: the descriptor gets one of its own, too, which starts as a copy of the base's, and the names' vectors.

    Raises:
        ValueError: no such role, or the network only answers.
    """
    if role not in ROLES:
        raise ValueError(f"role is {role!r}; allowed: {', '.join(ROLES)}")
    if network.language_files is not None:
        raise ValueError("this network was loaded to answer only; load it with load_checkpoint(folder) to train it")
    with warnings.catch_warnings():
        # PEFT's advice on merging an adapted head that is tied to the embedding (ours are not merged), and a name that
        # it still calls and transformers has renamed.
        warnings.filterwarnings("ignore", message="Model has `tie_word_embeddings=True`")
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        if isinstance(network.language, PeftModel):
            network.language.add_adapter(role, lora)
        else:
            network.language = PeftModel(network.language, lora, adapter_name=role, autocast_adapter_dtype=False)
            network.adapters = PeftAdapters(network.language)
    if role == "localizer":
        parts = network.new_localizer_parts()
        parts.projector.load_state_dict(network.projector.state_dict())
        parts.text_to_vision.load_state_dict(network.text_to_vision.state_dict())
        if parts.head.ours is not None:
            assert network.head is not None
            parts.head.ours.load_state_dict(network.head.state_dict())
        network.localizer = parts
    if role == "descriptor" and projector:
        network.descriptor_projector = network.new_descriptor_projector()
    network.requires_grad_(False)
    network.place(network.device, network.dtype)


def load_adapter(network: PointNetwork, role: str, folder: Path) -> None:
    """Read a role's PEFT folder into a network that has no such role yet."""
    lora = read_lora(folder)
    with naming(folder / "adapter_config.json"):
        attach_role(network, role, lora)
    assert isinstance(network.language, PeftModel)
    set_lora(network.language, role, folder)


def read_lora(folder: Path) -> LoraConfig:
    """Of a PEFT folder; a ValueError names its file where it is none, or of another kind."""
    path = folder / "adapter_config.json"
    if (peft_type := read_json(path).get("peft_type")) != "LORA":
        raise ValueError(f"{path}: peft_type is {peft_type!r}, expected 'LORA'")
    with naming(path):
        lora: LoraConfig = LoraConfig.from_pretrained(str(folder))
    return lora


def set_lora(model: PeftModel, role: str, folder: Path) -> None:
    """Read a PEFT folder's weights into a role that is attached already."""
    path = folder / "adapter_model.safetensors"
    weights = read_tensors(path)
    own = lora_weights(model, role)
    check_names_and_shapes(shapes_of(own), shapes_of(weights), model_name=f"the {role}'s adapter", source=str(path))
    set_peft_model_state_dict(model, weights, adapter_name=role)


def lora_weights(model: PeftModel, role: str) -> dict[str, torch.Tensor]:
    """One role's adapter under the names of a PEFT folder."""
    # Of parameters, not of `state_dict()`, for which bitsandbytes turns the whole base over on some CPUs.
    given = {name: p for name, p in model.named_parameters() if ".lora_" in name or ".modules_to_save." in name}
    named: dict[str, torch.Tensor] = get_peft_model_state_dict(
        model, state_dict=given, adapter_name=role, save_embedding_layers=False
    )
    return named


def save_lora(model: PeftModel, role: str, folder: Path, dtype: torch.dtype | None) -> None:
    """Write one role's adapter as a PEFT folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(lora_weights(model, role), folder / "adapter_model.safetensors", dtype)
    save_lora_config(model.peft_config[role], folder)


def save_lora_config(config: LoraConfig, folder: Path) -> None:
    """Write `adapter_config.json`."""
    config = copy(config)
    if not isinstance(config.target_modules, str):
        # PEFT keeps a set and writes it as it comes out: equal adapters would give files of other bytes.
        config.target_modules = sorted(config.target_modules or ())
    config.save_pretrained(str(folder))


def load_outline(folder: Path, config: ModelConfig) -> PointNetwork:
    """A checkpoint's base without weights, on the meta device: of the folder configs and tokenizer are read."""
    path = folder / "language_model" / "config.json"
    read_json(path)
    tokenizer = load_tokenizer(folder)
    with torch.device("meta"), naming(path):
        language = LlamaForCausalLM(LlamaConfig.from_pretrained(str(path.parent), local_files_only=True))
    with torch.device("meta"):
        return PointNetwork(config, language, tokenizer)


def load_language_model(
    folder: Path, dtype: torch.dtype, quantize: str | None, device: torch.device | str
) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """Read `language_model/`. Arguments and errors as `load_checkpoint`'s."""
    quantized = quantization(quantize, dtype, device)
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type != "llama":
        raise ValueError(f"{folder / 'config.json'}: model_type is {model_type!r}, expected 'llama'")
    with naming(folder / "config.json"):
        config = LlamaConfig.from_pretrained(str(folder), local_files_only=True)
        config.validate()
    _check_language_model_files(folder, config)
    with naming(folder), no_bar():
        model = LlamaForCausalLM.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, use_safetensors=True, **quantized
        )
    return model, load_tokenizer(folder.parent)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """A checkpoint's. A broken one is a ValueError that names its file."""
    return load_tokenizer_files(folder / "language_model")


def load_tokenizer_files(folder: Path) -> PreTrainedTokenizerBase:
    """Of a folder that holds them. A broken one is a ValueError that names its file."""
    with naming(folder / "tokenizer.json"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    return tokenizer


def quantization(
    quantize: str | None, dtype: torch.dtype, device: torch.device | str, *, whole: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """What transformers is told so that linear layers hold 4 or 8 bits a weight; the head stays as it is.

    whole: names of the modules that keep their type; None: the head.
    """
    if quantize is None:
        return {}
    if quantize not in QUANTIZATIONS:
        raise ValueError(f"quantize is {quantize!r}; allowed: {', '.join(QUANTIZATIONS)}, or none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ImportError("--quantize needs bitsandbytes: pip install bitsandbytes")
    kept = None if whole is None else [*whole]
    if quantize == "nf4":
        config = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype, llm_int8_skip_modules=kept
        )
    else:
        # It says at every product that the input is cast.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return {"quantization_config": config, "device_map": {"": str(device)}}


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever a library says of a broken file, as one line that names the file."""
    try:
        yield
    except Exception as error:  # libraries raise all kinds, of files that anybody may have edited
        said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ValueError(f"{path} cannot be read: {said[0].strip()}") from None


@contextmanager
def no_bar() -> Iterator[None]:
    """transformers draws a bar on stderr, where commands have errors only."""
    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()


def _check_language_model_files(folder: Path, config: LlamaConfig) -> None:
    """transformers fills what is missing with random numbers and goes on; here that is an error."""
    with naming(folder / "config.json"), torch.device("meta"):
        own = shapes_of(LlamaForCausalLM(config).state_dict())
    if config.tie_word_embeddings:
        own.pop("lm_head.weight")
    given: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        given |= read_shapes(path)
    check_names_and_shapes(own, given, model_name="LlamaForCausalLM", source=str(folder))


def save_language_model(network: PointNetwork, folder: Path, dtype: torch.dtype | None) -> None:
    """Write the base language model under plain Llama names, whatever adapters are inside it."""
    llama = network.llama
    assert isinstance(llama, LlamaForCausalLM)
    state = {base_name(name): tensor for name, tensor in llama.state_dict().items()}
    state.pop("", None)
    plain = type(llama.config).from_dict(llama.config.to_dict())
    plain.dtype = dtype or llama.dtype
    plain.save_pretrained(str(folder))
    if llama.generation_config is not None:
        llama.generation_config.save_pretrained(str(folder))
    if llama.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    save_tensors(state, folder / "model.safetensors", dtype)
    tokenizer = network.prompts.tokenizer
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    tokenizer.save_pretrained(str(folder))
