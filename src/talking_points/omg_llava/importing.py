"""Turn OMG-LLaVA's published files into a checkpoint folder of ours, once, tensor by tensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from talking_points.model.checkpoint import replacing
from talking_points.omg_llava.adapters import Difference, plan_role, write_role
from talking_points.omg_llava.language_model import plan_language_model, write_language_model
from talking_points.omg_llava.tokenizer import write_internlm2_tokenizer
from talking_points.omg_llava.vision import convert_vision
from talking_points.omg_llava.weight_files import open_weights, write_json
from talking_points.progress import OnProgress, unheard

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def import_omg_llava(
    *,
    llm: Path,
    segmenter: Path,
    class_embed: Path,
    llava: Path,
    clip: Path | None = None,
    descriptor: Path | None = None,
    localizer: Path | None = None,
    dtype: str = "bfloat16",
    out: Path,
    on_progress: OnProgress = unheard,
) -> dict[str, Difference]:
    """Write the checkpoint folder `out` from the published files; it appears complete or not at all.

    One layer of the language model is in memory at a time, and an adapter as a whole.

    Args:
        llm: InternLM2-chat's folder: config.json, safetensors and index, tokenizer.model and its config.
        segmenter: OMG-Seg's .pth; without `backbone.*` in it, `clip` gives the trunk.
        class_embed: .pth of one (classes, prototypes, dim) tensor.
        llava: OMG-LLaVA's .pth: LoRA, token embeddings, head, projectors. LoRA's alpha is not in the file;
            it is taken as half the rank, as in OMG-LLaVA's configuration (256 and 512).
        clip: open_clip's convnext_large_d_320, .safetensors or a pickle of tensors; its visual trunk is read.
        descriptor, localizer: checkpoints of OMG-LLaVA fine-tuned to these roles; see `adapters`. With one of them
            `region_cells` is "nearest", as upstream resizes masks.
        dtype: "float32" or "bfloat16", of the written language model. The vision weights stay float32: they
            are few, and masks are cut at thresholds.
        out: a folder that does not exist yet, or is empty.
        on_progress: told of the language model's layers.

    Returns:
        By role, how far what is written is from the fine-tuned checkpoint.

    Raises:
        FileNotFoundError: a file that an argument names, or that its folder needs.
        ValueError: a missing, unknown or misshaped tensor (named), a file that is not plain tensors, an
            unknown dtype, or an `out` that is in use.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype is {dtype!r}; allowed: {', '.join(DTYPES)}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty folder; choose another --out")
    trained = open_weights(llava)
    with replacing(out) as new:
        language_model = new / "language_model"
        language_model.mkdir()
        plan = plan_language_model(llm, trained, write_internlm2_tokenizer(llm, language_model))
        config, vision = convert_vision(trained, open_weights(segmenter), class_embed, clip, plan.width)
        given = {"descriptor": descriptor, "localizer": localizer}
        roles = [plan_role(role, path, plan, config.vision) for role, path in given.items() if path is not None]
        if roles:
            # Theirs were trained so.
            config = replace(config, vision=replace(config.vision, region_cells="nearest"))
        write_json(new / "config.json", config.to_dict())
        save_file(vision, new / "vision.safetensors", metadata={"format": "pt"})
        projector = {n.removeprefix("projector."): t for n, t in vision.items() if n.startswith("projector.")}
        del vision
        write_language_model(plan, DTYPES[dtype], language_model, on_progress)
        return {role.role: write_role(role, plan, projector, DTYPES[dtype], new) for role in roles}
