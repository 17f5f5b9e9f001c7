"""Fine-tuned OMG-LLaVA checkpoints as roles over the imported base.

Of a model in training OMG-LLaVA's code saves the LoRA over the raw InternLM2, the token embeddings, the head, and both
projectors. The base that is imported has OMG-LLaVA's own LoRA merged in, so a role is what its LoRA changes less what
that one did. This is a LoRA of both ranks together,

    B1 A1 - B0 A0 = B1 (A1 - A0) + (B1 - B0) A0

with nothing lost but the last bits; in this form what bf16 rounds is the change, which is small where a training
started from OMG-LLaVA's weights. Embeddings, head and projector that were trained too are the role's own.
"""

# r ranks, rows and columns of a linear module

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from talking_points.model.checkpoint import HEADS as HEADS_FILE
from talking_points.model.checkpoint import PROJECTOR as PROJECTOR_FILE
from talking_points.model.config import VisionConfig
from talking_points.model.heads import HIDDEN
from talking_points.model.localizer_head import TextToVision
from talking_points.model.projector import Projector
from talking_points.model.weights import check_names_and_shapes, shapes_of
from talking_points.omg_llava import names
from talking_points.omg_llava.language_model import (
    EMBEDDINGS,
    HEAD,
    LLM,
    LORA_SCALE,
    LanguageModelPlan,
    merged,
    read_lora,
    trained_shapes,
    with_lora,
    with_mean_row,
)
from talking_points.omg_llava.vision import projector_states
from talking_points.omg_llava.weight_files import WeightFile, open_weights

LLAMA_HEAD = "lm_head"


@dataclass(frozen=True, kw_only=True, slots=True)
class RolePlan:
    """A fine-tuned checkpoint that fits the base."""

    role: str
    tuned: WeightFile
    head: Mapping[str, str]
    """The localizer's coordinate head: its names in the file by ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far the language model that is written is from the fine-tuned one."""

    worst: float
    """Largest absolute difference of a linear module's weight, base and adapter summed in fp32."""
    largest: float
    """Largest absolute weight among them."""

    def __str__(self) -> str:
        return f"a weight is {self.worst:.1e} off at most, the largest is {self.largest:.2g}"


def plan_role(role: str, path: Path, plan: LanguageModelPlan, vision: VisionConfig) -> RolePlan:
    """Check a fine-tuned checkpoint against the base.

    Args:
        role: "descriptor" or "localizer"; only the latter has a coordinate head, known by its shapes.
        path: as OMG-LLaVA's code saves it, .safetensors or a pickle of tensors.
        plan: of the base.
        vision: of the base.

    Raises:
        FileNotFoundError, ValueError: no such file; a tensor is missing, unknown or misshaped (the first are named).
    """
    tuned = open_weights(path)
    with torch.device("meta"):
        modules = (
            (Projector(vision, plan.width), names.PROJECTOR),
            (TextToVision(plan.width, 2 * vision.width), names.TEXT_TO_VISION),
        )
    expected = trained_shapes(plan, tuned) | {
        names.published_name(name, table): shape
        for module, table in modules
        for name, shape in shapes_of(module.state_dict()).items()
    }
    given = {name: shape for name, shape in tuned.shapes.items() if not names.is_dropped(name, "tuned")}
    head = _coordinate_head({n: s for n, s in given.items() if n not in expected}, 2 * vision.width)
    if head and role == "descriptor":
        raise ValueError(
            f"{path} has a coordinate head ({head['mlp.0.weight']}), which no descriptor has: is it the localizer's?"
        )
    if role == "localizer":
        expected |= {name: given[name] for name in head.values()} or {
            f"a coordinate head (two linear layers, {2 * vision.width}-{HIDDEN}-2, of any name)": (2, HIDDEN)
        }
    check_names_and_shapes(expected, given, model_name=f"a {role} over {plan.base.source}", source=tuned.source)
    return RolePlan(role=role, tuned=tuned, head=head)


def write_role(
    role: RolePlan, plan: LanguageModelPlan, base_projector: Mapping[str, Tensor], dtype: torch.dtype, out: Path
) -> Difference:
    """Write the role's folder into the checkpoint folder `out`.

    The adapter is in memory as a whole, in `dtype`; of the rest a module at a time.

    Args:
        role: what is written.
        plan: of the base, whose LoRA is taken off.
        base_projector: the base's, under our names.
        dtype: of the written adapter; projectors and heads stay float32.
        out: the checkpoint's folder.

    Raises:
        ValueError: the file holds numbers that are not finite.
    """
    # transformers and PEFT take seconds to import; what is wrong with the files is said before.
    from talking_points.model.hugging_face import lora_config, save_lora_config

    whole = _whole_modules(role, plan, dtype)
    adapter = {f"base_model.model.{name}.weight": tensor for name, tensor in whole.items()}
    modules = [module for layer in plan.layers for module in plan.linears(layer)]
    if role.role == "descriptor" and LLAMA_HEAD not in whole:
        modules.append(HEAD)
    differences = []
    for module in modules:
        a, b, difference = _joined_lora(role, plan, module, dtype)
        differences.append(difference)
        for name, rows in plan.llama({f"{module}.weight": b}).items():
            prefix = f"base_model.model.{name.removesuffix('.weight')}"
            # Copies: q, k and v have one A, and a file holds no memory twice.
            adapter |= {f"{prefix}.lora_A.weight": a.clone(), f"{prefix}.lora_B.weight": rows.clone()}
    rank = next(len(tensor) for name, tensor in adapter.items() if ".lora_A." in name)
    total = Difference(worst=max(d.worst for d in differences), largest=max(d.largest for d in differences))
    parts = _own_parts(role)
    if not all(tensor.isfinite().all() for tensor in (*parts.values(), *adapter.values())):
        raise ValueError(f"{role.tuned.source} holds numbers that are not finite; get it again")
    (out / role.role).mkdir()
    save_file(adapter, out / role.role / "adapter_model.safetensors", metadata={"format": "pt"})
    lora = lora_config(role.role, rank=rank, alpha=round(LORA_SCALE * rank), whole=[n.split(".")[-1] for n in whole])
    save_lora_config(lora, out / role.role)
    if role.role == "localizer":
        save_file(parts, out / HEADS_FILE, metadata={"format": "pt"})
        return total
    projector = {n.removeprefix("projector."): t for n, t in parts.items() if n.startswith("projector.")}
    if not all(torch.equal(tensor, base_projector[name].float()) for name, tensor in projector.items()):
        save_file(projector, out / PROJECTOR_FILE, metadata={"format": "pt"})
    return total


def _own_parts(role: RolePlan) -> dict[str, Tensor]:
    """What the role has beside its adapter, under the names of `LocalizerParts`."""
    projectors = projector_states(role.tuned.read_all("projector"), source=role.tuned.source)
    parts = {f"{part}.{name}": tensor for part, state in projectors.items() for name, tensor in state.items()}
    parts |= {f"head.{ours}": role.tuned.read(name)[0] for ours, name in role.head.items()}
    return {name: tensor.float().contiguous() for name, tensor in parts.items()}


def _coordinate_head(rest: Mapping[str, tuple[int, ...]], channels: int) -> dict[str, str]:
    """Names of the two linear layers' weights by ours; empty where there is not one pair of these shapes."""
    found: dict[str, str] = {}
    for ours, (rows, columns) in {"mlp.0": (HIDDEN, channels), "mlp.2": (2, HIDDEN)}.items():
        modules = [name.removesuffix(".weight") for name, shape in rest.items() if shape == (rows, columns)]
        modules = [module for module in modules if rest.get(f"{module}.bias") == (rows,)]
        if len(modules) != 1:
            return {}
        found |= {f"{ours}.{part}": f"{modules[0]}.{part}" for part in ("weight", "bias")}
    return found


def _whole_modules(role: RolePlan, plan: LanguageModelPlan, dtype: torch.dtype) -> dict[str, Tensor]:
    """Embeddings and head as the role has them, by Llama's names, where they were trained further than the base's.

    They are no change of low rank. The localizer never reads the head.
    """
    whole = {}
    own, base = (f.read(f"{LLM}{EMBEDDINGS}.weight")[0].to(dtype) for f in (role.tuned, plan.trained))
    if not torch.equal(own, base):
        whole["model.embed_tokens"] = with_mean_row(own)
    if role.role == "descriptor":
        own, base = (f.read(f"{LLM}{HEAD}.base_layer.weight")[0] for f in (role.tuned, plan.trained))
        if not torch.equal(own.to(dtype), base.to(dtype)):
            whole[LLAMA_HEAD] = with_mean_row(merged(own, role.tuned, HEAD, dtype))
    return whole


def _joined_lora(
    role: RolePlan, plan: LanguageModelPlan, module: str, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Difference]:
    """A (2r, columns) and B (rows, 2r) in `dtype` that turn the base's merged module into the fine-tuned one."""
    (a0, b0), (a1, b1) = (read_lora(file, module) for file in (plan.trained, role.tuned))
    a0, b0, a1, b1 = (tensor.float() for tensor in (a0, b0, a1, b1))
    rank = max(len(a0), len(a1))
    a0, a1 = (F.pad(a, (0, 0, 0, rank - len(a))) for a in (a0, a1))
    b0, b1 = (F.pad(b, (0, rank - b.shape[1])) for b in (b0, b1))
    a = torch.cat([a1 - a0, a0]).to(dtype)
    b = torch.cat([b1, b1 - b0], dim=1).to(dtype)
    raw, tuned = (_raw(plan, file, module) for file in (plan.trained, role.tuned))
    base = merged(raw, plan.trained, module, dtype)
    worst = largest = torch.zeros(())
    for (_, wanted), (_, written) in zip(with_lora(tuned, a1, b1), with_lora(base, a, b), strict=True):
        worst = torch.maximum(worst, (written - wanted).abs().amax())
        largest = torch.maximum(largest, wanted.abs().amax())
    if module == HEAD:
        b = with_mean_row(b)
    return a, b, Difference(worst=worst.item(), largest=largest.item())


def _raw(plan: LanguageModelPlan, trained: WeightFile, module: str) -> Tensor:
    """What a trained file's LoRA of the module is added to; the head was trained itself."""
    [weight] = trained.read(f"{LLM}{HEAD}.base_layer.weight") if module == HEAD else plan.base.read(f"{module}.weight")
    return weight
