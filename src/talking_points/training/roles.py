"""What `talking-points train descriptor`, `localizer` and `join` run: a role over a frozen base; two in one folder."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel
from torch import nn

from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.config import ModelConfig
from talking_points.model.hugging_face import attach_role, lora_config
from talking_points.model.network import PointNetwork
from talking_points.model.weights import read_json
from talking_points.training.batches import BatchSizes, PointBatch, PointBatches
from talking_points.training.built import TripletBatches, Triplets
from talking_points.training.features import FeatureCache, FrozenVision
from talking_points.training.loop import LoopConfig, is_main_process, train
from talking_points.training.objectives import descriptor_objective, localizer_objective
from talking_points.training.recipes import RoleRecipe

log = logging.getLogger(__name__)


def train_role(
    role: str,
    recipe: RoleRecipe,
    base: Path,
    batches: PointBatches,
    out: Path,
    *,
    feature_cache: FeatureCache | None = None,
    tracker: str | None = None,
    seed: int = 0,
    device: torch.device,
    blind: bool = False,
    region: str | None = None,
    frozen_language: bool = False,
    head: str | None = None,
) -> bool:
    """Train one role over a frozen base.

    Args:
        role: "descriptor" or "localizer".
        recipe: how; it is written to `out`, too.
        base: checkpoint folder; its other role, if any, is left out.
        batches: what it learns from, at the base's size (`role_batches`); their number is that of the steps.
        feature_cache: keeps what the frozen encoder says.
        tracker: as `LoopConfig.tracker`.
        device: where to train.
        blind: a localizer that never sees the photo (the text-only reference). It answers with its regression: a
            heatmap over a blank photo says nothing.
        region: where keypoints look, if not where the base's config says; kept in the checkpoint (paper, Table 3).
        frozen_language: leave the language model as the base has it (paper, Table 4).
        head: a localizer's coordinate head, over a base that has a heatmap: one of `COORDINATE_HEADS`; None: the
            base's.

    Returns:
        True when finished and saved to `out`; False when stopped early (the same call resumes).
    """
    loop = role_loop(recipe, len(batches), tracker=tracker, seed=seed)
    network = load_checkpoint(
        base,
        device=device,
        dtype=torch.bfloat16 if recipe.precision == "bf16" else torch.float32,
        roles=(),
        quantize=recipe.quantize,
    )
    _configure(network, head="regression" if blind else head, region=region)
    torch.manual_seed(seed)
    attach_role(network, role, role_lora(role, recipe))
    parameters = role_parameters(network, role, frozen_language=frozen_language)
    if not parameters:
        raise ValueError(f"with the language model frozen the {role} has nothing to train")
    modules: dict[str, nn.Module] = {"language": network.language}
    if network.localizer is not None:
        modules["localizer"] = network.localizer
    network.llama.model.gradient_checkpointing = recipe.recompute
    maps = network.localizer is not None and network.config.coordinate_head == "heatmap"
    vision = FrozenVision(network, feature_cache, maps=maps)

    def objective(batch: PointBatch) -> tuple[torch.Tensor, dict[str, float]]:
        if role == "descriptor":
            return descriptor_objective(network, batch, vision)
        return localizer_objective(network, batch, vision, blind=blind)

    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.toml").write_text(recipe.to_toml(role))
    finished = train(modules, parameters, batches, objective, loop, out / "training")
    log.info("%d photos went through the vision encoder", vision.encoded)
    if finished and is_main_process():
        if recipe.quantize is not None or recipe.shard:
            # The checkpoint's base is the one on disk: a quantized one has lost something, of shards each has a part.
            trained, network = network, load_checkpoint(base, dtype=network.dtype, roles=())
            _configure(network, head="regression" if blind else head, region=region)
            attach_role(network, role, role_lora(role, recipe))
            _copy_role(role, trained, network)
        save_checkpoint(network, out / "checkpoint")
    return finished


def _configure(network: PointNetwork, *, head: str | None, region: str | None) -> None:
    """Give a base without roles another coordinate head, or another place for keypoints to look."""
    if head is not None and head != network.config.coordinate_head:
        if head == "heatmap":
            raise ValueError("this base has no heatmap; allowed: regression, mixture")
        network.config = dataclasses.replace(network.config, coordinate_head=head)
        network.heatmap = None
    if region is not None:
        vision = dataclasses.replace(network.config.vision, region=region)
        network.config = dataclasses.replace(network.config, vision=vision)
        network.segmenter.config = vision


def role_loop(recipe: RoleRecipe, steps: int, *, tracker: str | None, seed: int) -> LoopConfig:
    """The loop's settings in a recipe."""
    return LoopConfig(
        steps=steps,
        learning_rate=recipe.learning_rate,
        schedule=recipe.schedule,
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        accumulate=recipe.accumulate,
        precision=recipe.precision,
        shard=recipe.shard,
        save_every=recipe.save_every,
        log_every=recipe.log_every,
        workers=recipe.workers,
        tracker=tracker,
        seed=seed,
    )


def role_lora(role: str, recipe: RoleRecipe) -> LoraConfig:
    """The adapter's form in a recipe."""
    return lora_config(role, rank=recipe.lora_rank, alpha=recipe.lora_alpha, dropout=recipe.lora_dropout)


def role_batches(recipe: RoleRecipe, base: Path, triplets: Triplets, *, seed: int) -> TripletBatches:
    """A role's batches, as many as the recipe has steps or epochs. Of `base` the sizes alone are read."""
    config_path = base / "config.json"
    side = ModelConfig.from_dict(read_json(config_path), source=str(config_path)).vision.image_size
    sizes = BatchSizes(photos=recipe.photos, points=recipe.points)
    return TripletBatches(triplets, side=side, sizes=sizes, seed=seed, steps=recipe.steps, epochs=recipe.epochs or 1)


def role_parameters(network: PointNetwork, role: str, *, frozen_language: bool = False) -> dict[str, nn.Parameter]:
    """What a role's training updates: its LoRA weights and, for the localizer, its own parts.

    frozen_language: without the LoRA weights.
    """
    network.requires_grad_(False)
    parameters: dict[str, nn.Parameter] = {}
    if not frozen_language:
        parameters = {n: p for n, p in network.language.named_parameters() if ".lora_" in n and f".{role}." in n}
    if role == "localizer":
        assert network.localizer is not None
        parameters |= {f"localizer.{n}": p for n, p in network.localizer.named_parameters()}
    for parameter in parameters.values():
        # fp32 whatever the base's type: small steps are lost in bf16.
        parameter.data = parameter.data.float()
        parameter.requires_grad_(True)
    return parameters


class DifferentBases(ValueError):
    """Two checkpoints were to share a base and do not."""


def join_roles(descriptor: Path, localizer: Path, out: Path, *, dtype: torch.dtype = torch.float16) -> None:
    """One checkpoint of two roles trained over the same base.

    Raises:
        ValueError: the two bases differ.
    """
    save_checkpoint(load_joined(descriptor, localizer), out, dtype=dtype)


def load_joined(descriptor: Path, localizer: Path, *, device: torch.device | str = "cpu") -> PointNetwork:
    """One network of two roles trained over the same base, in fp32, nothing to be trained yet.

    Raises:
        ValueError: a role is missing; `DifferentBases`: the two bases differ.
    """
    network = load_checkpoint(descriptor, device=device, roles=("descriptor",))
    other = load_checkpoint(localizer, device=device, roles=("localizer",))
    for one, role, folder in ((network, "descriptor", descriptor), (other, "localizer", localizer)):
        if role not in one.roles:
            raise ValueError(f"{folder} has no {role}; give a checkpoint folder in which one was trained")
    mine, theirs = _base_weights(network), _base_weights(other)
    for name, tensor in theirs.items():
        if name not in mine or not torch.equal(mine[name], tensor):
            raise DifferentBases(f"{descriptor} and {localizer} stand on different bases: {name} differs")
    if network.prompts.tokenizer.get_vocab() != other.prompts.tokenizer.get_vocab():
        raise DifferentBases(f"{descriptor} and {localizer} stand on different bases: their tokenizers differ")
    assert isinstance(other.language, PeftModel)
    attach_role(network, "localizer", other.language.peft_config["localizer"])
    _copy_role("localizer", other, network)
    network.requires_grad_(False)
    return network.eval()


def _copy_role(role: str, source: PointNetwork, into: PointNetwork) -> None:
    """Weights of a role that both networks have."""
    if role == "localizer":
        assert source.localizer is not None and into.localizer is not None
        into.localizer.load_state_dict(source.localizer.state_dict())
    own = dict(into.language.named_parameters())
    with torch.no_grad():
        for name, parameter in source.language.named_parameters():
            if ".lora_" in name and f".{role}." in name:
                own[name].copy_(parameter)


def _base_weights(network: PointNetwork) -> dict[str, torch.Tensor]:
    """Weights that both roles share, under one name whether or not an adapter wraps their layer."""
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in network.state_dict().items()
        if ".lora_" not in name and not name.startswith("localizer.")
    }
