"""What a training will take, from sizes alone: no weights are read. All but counts are estimates."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from talking_points.bases.loading import attach_role, load_outline
from talking_points.evaluation.samples import by_photo
from talking_points.files import read_json
from talking_points.model.checkpoint import PROJECTOR
from talking_points.model.config import Sizes
from talking_points.model.hugging_face import BYTES_QUANTIZED
from talking_points.pointing.descriptor import MAX_NEW_TOKENS
from talking_points.pointing.pretrained import choose_device, find_base
from talking_points.training.batches import PointBatches
from talking_points.training.data import check_learnt, read_points, read_texts
from talking_points.training.reinforce import cache_bytes, check_sides
from talking_points.training.roles import Settings, attach, role_parameters, with_held_adapter
from talking_points.training.settings import DescriptorSettings, GRPOSettings, RoleSettings, TrainingSettings, processes

BYTES_OF_TRAINED = 16
"""fp32 weight, gradient and Adam's two moments."""
BYTES_OF_TEMPORARIES = 4
"""Of a trained weight, while the optimizer steps: AdamW for many tensors at once has one more copy."""
CARD_GB = 80
"""Of the paper's GPU, of which a tenth is left for what is not counted here."""
PAPER_HOURS = {"descriptor": (11, 17_000 * 10), "localizer": (64, 17_000 * 15), "grpo": (22.5, 22_600 * 3)}
"""The authors' code on one H100 of 80 GB, and the points that it saw in them, epochs multiplied. Paper A.5."""
PAPER_RANK = 512
WEIGHTS_7B = 7e9
"""In the linear layers of the language model that those hours are of."""
SMALLEST_SHARE = 0.1
"""Of them, below which the language model is not what takes the time."""


def plan(settings: Settings) -> dict[str, Any]:
    """Of a role: sizes, steps, tokens, memory and hours. Of the base configs and tokenizer are read, no weights."""
    folder = find_base(settings.base, weights=False)
    if settings.further:
        settings = _as_held(settings, folder)
    base = load_outline(folder, side=settings.side)
    sizes, prompts = base.sizes, base.prompts
    samples = read_texts(settings)
    check_learnt(samples, prompts, settings)
    batches = PointBatches(samples, settings, side=base.side)
    with torch.device("meta"):
        attach(base, settings)
    language = not settings.frozen_language_model
    trained = sum(p.numel() for p in role_parameters(base, settings.section, language=language).values())
    is_descriptor = settings.section == "descriptor"
    # Of texts alone, each once: steps would open their photos, and may be larger than the set.
    counts = Counter(sample.text or "" for sample in samples)
    length = sum(prompts.count(text) * count for text, count in counts.items()) / len(samples)
    text_tokens = length + (len(prompts.describe()) + 1 if is_descriptor else len(prompts.localize("x")) - 1)
    samples_a_step = settings.photos * settings.points
    share = processes() * settings.accumulate
    photos, texts = math.ceil(settings.photos / share), math.ceil(samples_a_step / share)
    # A head that says whether a thing is there reads an absent text a photo as well.
    read = texts + photos * (not is_descriptor and base.tells_absence)
    tokens = photos * sizes.photo_tokens + read * text_tokens
    itemsize = 2 if settings.precision == "bf16" else 4
    activations = tokens * _kept_numbers(
        sizes, base.num_blocks, settings, settings.lora_rank, dropout=settings.lora_dropout > 0
    )
    activations *= itemsize
    activations += is_descriptor * length * texts * sizes.vocabulary * 4 * 2
    # Autocast has a copy of what is trained.
    activations += trained * 2 * (settings.precision == "bf16")
    head = 0 if is_descriptor else read * base.sizes.head * 4
    memory = {
        "frozen_weights": _frozen_bytes(sizes, settings),
        "trained_weights_gradients_moments": trained * BYTES_OF_TRAINED,
        "activations": activations,
        "coordinate_head": head,
        "optimizer_temporaries": trained * BYTES_OF_TEMPORARIES,
    }
    return {
        "role": settings.section,
        "data": batches.shown,
        **_told(settings, "epochs", "lora_rank", "lora_alpha", "lora_dropout", "precision", "recompute", "quantize"),
        "steps": len(batches),
        "highest_learning_rate": settings.learning_rate,
        "samples_a_step": samples_a_step,
        "processes": processes(),
        "weights": sizes.weights,
        "trained_weights": trained,
        "tokens_a_photo": sizes.photo_tokens,
        "tokens_a_text": round(text_tokens, 1),
        "tokens_in_all": round(len(batches) * (settings.photos * sizes.photo_tokens + samples_a_step * text_tokens)),
        **_estimates(memory, settings, sizes, len(batches) * samples_a_step),
    }


def plan_grpo(settings: GRPOSettings) -> dict[str, Any]:
    """Of a reinforcement, as `plan`; texts are taken to be as long as they may be, which makes its memory a bound.

    Adapters that are not there yet are taken to have the paper's rank. Bases of descriptor and judge that have equal
    sizes are taken to be the same one, which is loaded once; whether they are is seen when they are loaded.
    """
    folder = find_base(settings.descriptor, weights=False)
    judge_folder = find_base(settings.localizer, weights=False)
    base, judge = load_outline(folder), load_outline(judge_folder)
    sizes, side = base.sizes, base.side
    check_sides(base, judge)
    bases = [sizes] if judge.sizes == sizes else [sizes, judge.sizes]
    # Each with a base of its own, whatever it stands on.
    bases += [load_outline(find_base(name, weights=False)).sizes for name in settings.unseen_localizers]
    learning = read_points(settings)[0]
    batches = PointBatches(learning, settings, side=side)
    ranks = {"descriptor": _rank(folder / "descriptor"), "localizer": _rank(judge_folder / "localizer")}
    with torch.device("meta"):
        for role, rank in ranks.items():
            own = role == "descriptor" and (folder / role / "projector.safetensors").is_file()
            attach_role(base, role, rank=rank, alpha=rank, dropout=0.0, projector=own)
    adapters = sum(p.numel() for role in ranks for p in base.role_weights(role).values())
    if settings.blocks > base.num_blocks:
        raise ValueError(
            f"blocks is {settings.blocks}; allowed: at most {base.num_blocks}, those of the language model"
        )
    last = range(base.num_blocks - settings.blocks, base.num_blocks)
    trained = sum(p.numel() for p in base.role_weights("descriptor", blocks=last).values())
    samples_a_step = settings.photos * settings.points
    photos, texts = (math.ceil(n / processes()) for n in (settings.photos, samples_a_step * settings.group_size))
    # By its name alone: what is planned for need not be in this machine.
    device = settings.device or choose_device(None).type
    question, itemsize = len(base.prompts.describe()), 2 if settings.precision == "bf16" else 4
    prefixes, written = photos * sizes.photo_tokens, texts * (question + MAX_NEW_TOKENS)
    inside = (prefixes + written) * _kept_numbers(sizes, settings.blocks, settings, ranks["descriptor"])
    logits = texts * MAX_NEW_TOKENS * sizes.vocabulary * (itemsize + 3 * 4)
    memory = {
        "frozen_weights": sum(_frozen_bytes(one, settings) for one in bases) + adapters * itemsize,
        # The reference is one more copy.
        "trained_weights_gradients_moments": trained * (BYTES_OF_TRAINED + 4),
        "keys_and_values": (2 * prefixes + written) * 2 * base.num_blocks * sizes.keys * itemsize,
        "activations": inside * itemsize + logits,
        "photos_kept": sum(min(cache_bytes(device), len(by_photo(learning)) * one.photo_bytes) for one in bases),
        "optimizer_temporaries": trained * BYTES_OF_TEMPORARIES,
    }
    return {
        "role": "descriptor, reinforced",
        "data": batches.shown,
        **_told(
            settings, "epochs", "group_size", "blocks", "kl_weight", "reward", "precision", "recompute", "quantize"
        ),
        "steps": len(batches),
        "highest_learning_rate": settings.learning_rate,
        "samples_a_step": samples_a_step,
        "texts_a_step": samples_a_step * settings.group_size,
        "processes": processes(),
        "weights": sizes.weights,
        "trained_weights": trained,
        "tokens_a_photo": sizes.photo_tokens,
        "tokens_a_text_at_most": question + MAX_NEW_TOKENS,
        "ranks": ranks,
        "bases_in_memory": len(bases),
        "memory_is": f"an upper bound: of texts of {MAX_NEW_TOKENS} tokens each, and of activations all at once",
        **_estimates(memory, settings, sizes, len(batches) * samples_a_step),
    }


def paper_hours(section: str, points: int, share: float = 1.0) -> float:
    """That the authors' code would take on one H100, from what they say of theirs. share: of their language model.

    Example:
        >>> paper_hours("localizer", 17_000 * 15)
        64.0
    """
    hours, seen = PAPER_HOURS[section]
    return round(share * hours * points / seen, 1)


def _estimates(memory: dict[str, float], settings: TrainingSettings, sizes: Sizes, points: int) -> dict[str, Any]:
    """Memory of a process, whether it fits, and hours."""
    # Activations are gone when the optimizer steps.
    gone = sum(memory.get(name, 0) for name in ("activations", "coordinate_head", "keys_and_values"))
    stay = sum(memory.values()) - gone - memory["optimizer_temporaries"]
    whole = stay + max(gone, memory["optimizer_temporaries"])
    hours: dict[str, Any] = {"hours_on_one_h100": None, "hours_are": "not known of so small a base"}
    if (share := sizes.linear / WEIGHTS_7B) > SMALLEST_SHARE:
        took, seen = PAPER_HOURS[settings.section]
        said = f"an estimate: the paper's {took:g} h for {seen:,} points, by its authors' code (A.5)"
        if 0.9 < share < 1.1:
            share = 1.0
        else:
            said += f", times {share:.2f}, the language model's size beside the paper's"
        hours = {"hours_on_one_h100": paper_hours(settings.section, points, share), "hours_are": said}
    return {
        "memory_gb": {name: round(size / 1e9, 3) for name, size in {**memory, "all": whole}.items()},
        f"fits_{CARD_GB}_gb": whole < 0.9 * CARD_GB * 1e9,
        **hours,
    }


def _told(settings: TrainingSettings, *names: str) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in names}


def _frozen_bytes(sizes: Sizes, settings: TrainingSettings) -> float:
    itemsize = 2 if settings.precision == "bf16" else 4
    of_linear: float = itemsize if settings.quantize is None else BYTES_QUANTIZED[settings.quantize]
    if isinstance(settings, RoleSettings) and settings.shard:
        of_linear /= processes()
    return (sizes.weights - sizes.vision - sizes.linear) * itemsize + sizes.vision * 4 + sizes.linear * of_linear


def _as_held(settings: Settings, folder: Path) -> Settings:
    """Settings of a new role of the sizes of the one that the base's folder holds."""
    settings = replace(with_held_adapter(settings, folder), further=False)
    if isinstance(settings, DescriptorSettings):
        return replace(settings, train_projector=(folder / PROJECTOR).is_file())
    return replace(settings, blind=bool(read_json(folder / "config.json").get("blind")))


def _rank(adapter: Path) -> int:
    """Of an adapter's folder; the paper's where there is none yet."""
    path = adapter / "adapter_config.json"
    return int(read_json(path)["r"]) if path.is_file() else PAPER_RANK


def _kept_numbers(sizes: Sizes, blocks: int, settings: TrainingSettings, rank: int, *, dropout: bool = False) -> float:
    """Numbers a token that all blocks keep for the gradients.

    Of a block: its input; queries, keys, values and what attention gives; the inputs of the adapters, their inner
    numbers and, with dropout, what it left; four of the MLP's inside. With `recompute` the first two, and the others of
    one block at a time.
    """
    kept = 4 * sizes.width + 2 * sizes.keys
    dropped = 2 * (6 * sizes.width + sizes.inside) if dropout else 0
    others = 6 * sizes.width + 4 * sizes.inside + 7 * rank + dropped
    return float(blocks * kept + (others if settings.recompute else blocks * others))
