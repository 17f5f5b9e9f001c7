"""What `talking-points train trunk`, `vision`, `language` and `base` run: the stages of mini's base, in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

import talking_points
from talking_points.dataset.scene import Scene, class_names
from talking_points.dataset.selection import EVERYTHING, Selection
from talking_points.dataset.sources.loading import load_scenes
from talking_points.model.checkpoint import load_checkpoint, save_checkpoint
from talking_points.model.network import PointNetwork
from talking_points.model.weights import load_weights, read_tensors
from talking_points.pointing.pretrained import find_checkpoint
from talking_points.training.base_batches import BaseBatches, LanguageBatches, TrunkBatches, VisionBatches
from talking_points.training.batches import BatchSizes
from talking_points.training.loop import LoopConfig, is_main_process, train
from talking_points.training.mini import TRUNK_DIMS, fit_projector, new_mini, new_trunk
from talking_points.training.objectives import (
    NUM_FACT_PLACES,
    FactTokens,
    Probes,
    base_objective,
    language_objective,
    vision_objective,
)
from talking_points.training.roles import DESCRIPTOR_DIALECTS, LOCALIZER_DIALECTS
from talking_points.training.segmentation import class_weights
from talking_points.training.trunk import TrunkHead, trunk_objective

TRUNK_FILE = "trunk.safetensors"
TOKENS_FILE = "fact_tokens.safetensors"
PROBES_FILE = "probes.safetensors"
EMBEDDED_TRUNK = Path(talking_points.__file__).parent / "pretrained" / "mini_trunk"
"""mini's, fp16."""


def train_trunk(
    sources: Mapping[str, Path],
    out: Path,
    loop: LoopConfig,
    *,
    photos: int,
    side: int,
    start: Path | None = None,
    device: torch.device,
) -> bool:
    """Train mini's trunk on the part and the place that each cell shows.

    Args:
        start: folder of a finished trunk that is to learn more; None: from scratch.
        photos: scenes a step.
        side: of the square, in pixels; a multiple of 32.

    Returns:
        True when finished and saved to `out`; False when stopped early (the same call resumes).
    """
    if side < 32 or side % 32:
        raise ValueError(f"side is {side}; allowed: a multiple of 32")
    weights = None if start is None else _read_stage(start, TRUNK_FILE, "trunk")
    scenes = load_scenes(sources, "train")
    names = class_names(scenes)
    torch.manual_seed(loop.seed)
    trunk = new_trunk().to(device)
    if weights is not None:
        load_weights(trunk, weights, source=str(start))
    head = TrunkHead(TRUNK_DIMS, len(names)).to(device)
    rarity_K = class_weights(scenes, names).to(device)
    batches = TrunkBatches(scenes, names, side=side, sizes=BatchSizes(photos=photos), seed=loop.seed, steps=loop.steps)
    modules = {"trunk": trunk, "head": head}
    finished = _train(
        modules, batches, lambda batch: trunk_objective(trunk, head, rarity_K, batch.to(device)), loop, out
    )
    if finished and is_main_process():
        _save_module(trunk, out / TRUNK_FILE)
    return finished


def train_vision(
    sources: Mapping[str, Path],
    out: Path,
    loop: LoopConfig,
    sizes: BatchSizes,
    *,
    trunk: Path | None = None,
    start: str | Path | None = None,
    side: int | None = None,
    selection: Selection = EVERYTHING,
    device: torch.device,
) -> bool:
    """Train the vision encoder of mini's base: masks, class words, and points that know where they are.

    Args:
        trunk: folder that `train_trunk` wrote, for a base that starts with it and nothing else; None: the embedded one.
        start: folder that `train_vision` or `train_base` finished in, or a model by name or folder, in place of a
            trunk: a base that is to see better. A model has lost its probes; new ones learn beside it.
        side: of the square that the base sees from now on, in pixels; None: as it is.
        selection: which objects and parts it learns of.

    Returns:
        True when finished and saved to `out`; False when stopped early (the same call resumes).
    """
    if trunk is not None and start is not None:
        raise ValueError("give --trunk, for a new base, or --from, for one that is to learn more, not both")
    if start is not None:
        checkpoint, probe_weights = _start_of(start)
        network, scenes = _base_of(sources, checkpoint, selection, device)
    else:
        trunk = trunk or EMBEDDED_TRUNK
        weights = _read_stage(trunk, TRUNK_FILE, "trunk")
        scenes = load_scenes(sources, "train", selection)
        network = new_mini(scenes, class_names(scenes), seed=loop.seed)
        load_weights(network.segmenter.trunk, weights, source=str(trunk))
        network.to(device)
        fit_projector(network, scenes)
    if side is not None:
        _resize(network, side)
    assert network.heatmap is not None
    names = network.config.class_names
    torch.manual_seed(loop.seed)
    probes = Probes(network.config.vision.width, len(names)).to(device)
    if start is not None and probe_weights is not None:
        load_weights(probes, probe_weights, source=f"{start}/{PROBES_FILE}")
    rarity_K = class_weights(scenes, names).to(device)
    batches = VisionBatches(
        scenes, names, side=network.config.vision.image_size, sizes=sizes, seed=loop.seed, steps=loop.steps
    )
    modules = {"segmenter": network.segmenter, "cell_places": network.heatmap.cell_places, "probes": probes}
    finished = _train(
        modules, batches, lambda batch: vision_objective(network, probes, rarity_K, batch.to(device)), loop, out
    )
    if finished and is_main_process():
        save_checkpoint(network, out / "checkpoint")
        _save_module(probes, out / PROBES_FILE)
    return finished


def train_language(
    sources: Mapping[str, Path],
    base: Path,
    out: Path,
    loop: LoopConfig,
    sizes: BatchSizes,
    *,
    selection: Selection = EVERYTHING,
    device: torch.device,
) -> bool:
    """Teach a base's language model to read and to write where a point is, without photos.

    Args:
        base: checkpoint folder; its roles, if any, are left out.
        selection: which objects and parts it learns of.

    Returns:
        True when finished and saved to `out`; False when stopped early (the same call resumes).
    """
    network, scenes = _base_of(sources, base, selection, device)
    assert network.heatmap is not None
    names = network.config.class_names
    torch.manual_seed(loop.seed)
    tokens = FactTokens(len(names), network.llama.config.hidden_size).to(device)
    modules: dict[str, nn.Module] = {
        "llama": network.language,
        "text_to_vision": network.text_to_vision,
        "wanted": network.heatmap.wanted,
        "tokens": tokens,
    }
    batches = LanguageBatches(
        scenes,
        names,
        written=DESCRIPTOR_DIALECTS[0],
        read=LOCALIZER_DIALECTS,
        side=network.config.vision.image_size,
        sizes=sizes,
        seed=loop.seed,
        steps=loop.steps,
    )
    finished = _train(modules, batches, lambda batch: language_objective(network, tokens, batch.to(device)), loop, out)
    if finished and is_main_process():
        save_checkpoint(network, out / "checkpoint")
        _save_module(tokens, out / TOKENS_FILE)
    return finished


def train_base(
    sources: Mapping[str, Path],
    vision: Path,
    language: Path,
    out: Path,
    loop: LoopConfig,
    sizes: BatchSizes,
    *,
    selection: Selection = EVERYTHING,
    device: torch.device,
) -> bool:
    """Train mini's base, its encoder and its language model together: captions, pointing, texts about points.

    Args:
        vision: folder that `train_vision` finished in.
        language: folder that `train_language` finished in; or `train_base`, when its base goes on with a better
            encoder.
        selection: which objects and parts it learns of.

    Returns:
        True when finished and saved to `out`; False when stopped early (the same call resumes).
    """
    token_weights = _read_stage(language, TOKENS_FILE, "language")
    probe_weights = _read_stage(vision, PROBES_FILE, "vision")
    network, scenes = _base_of(sources, vision / "checkpoint", selection, device)
    reader = load_checkpoint(language / "checkpoint", device=device, roles=())
    assert network.heatmap is not None
    if reader.heatmap is None or not _speak_alike(network, reader):
        raise ValueError(f"{language} is of another network than {vision}; train both from one base")
    for into, of in (
        (network.language, reader.language),
        (network.text_to_vision, reader.text_to_vision),
        (network.heatmap.wanted, reader.heatmap.wanted),
    ):
        into.load_state_dict(of.state_dict())
    names = network.config.class_names
    tokens = FactTokens(len(names), network.llama.config.hidden_size).to(device).requires_grad_(False)
    load_weights(tokens, token_weights, source=str(language / TOKENS_FILE))
    probes = Probes(network.config.vision.width, len(names)).to(device)
    load_weights(probes, probe_weights, source=str(vision / PROBES_FILE))
    torch.manual_seed(loop.seed)
    place_reader = nn.Linear(network.llama.config.hidden_size, NUM_FACT_PLACES).to(device)
    rarity_K = class_weights(scenes, names).to(device)
    batches = BaseBatches(
        scenes,
        names,
        written=DESCRIPTOR_DIALECTS[0],
        read=LOCALIZER_DIALECTS,
        side=network.config.vision.image_size,
        sizes=sizes,
        seed=loop.seed,
        steps=loop.steps,
    )
    finished = _train(
        {"network": network, "probes": probes, "place_reader": place_reader},
        batches,
        lambda batch: base_objective(network, probes, tokens, place_reader, rarity_K, batch.to(device)),
        loop,
        out,
    )
    if finished and is_main_process():
        save_checkpoint(network, out / "checkpoint")
        _save_module(probes, out / PROBES_FILE)
        _save_module(tokens, out / TOKENS_FILE)
    return finished


def _start_of(start: str | Path) -> tuple[Path, dict[str, Tensor] | None]:
    """The checkpoint folder that is to see better, and its probes where it is a finished stage's."""
    if (Path(start) / PROBES_FILE).is_file():
        return Path(start) / "checkpoint", _read_stage(Path(start), PROBES_FILE, "vision")
    try:
        return find_checkpoint(start), None
    except ValueError as error:
        raise ValueError(f"--from: {error}; nor did `train vision` or `train base` finish there") from None


def _base_of(
    sources: Mapping[str, Path], base: Path, selection: Selection, device: torch.device
) -> tuple[PointNetwork, Sequence[Scene]]:
    """A base that is to learn more, without roles, nothing to be trained yet, and the scenes that it learns from."""
    network = load_checkpoint(base, device=device, roles=())
    if network.heatmap is None:
        head = network.config.coordinate_head
        raise ValueError(f"{base} has no heatmap (its coordinate_head is {head}); a base is trained with one")
    scenes = load_scenes(sources, "train", selection)
    unknown = sorted(set(class_names(scenes)) - set(network.config.class_names))
    if unknown:
        raise ValueError(f"{base} knows no {unknown[0]}; give the sources whose classes it was trained on")
    network.requires_grad_(False)
    return network, scenes


def _resize(network: PointNetwork, side: int) -> None:
    """Have a base see photos at another size; the Gaussian keeps its share of the square."""
    vision = network.config.vision
    vision = dataclasses.replace(
        vision, image_size=side, gaussian_sigma_px=vision.gaussian_sigma_px * side / vision.image_size
    )
    network.config = dataclasses.replace(network.config, vision=vision)
    network.segmenter.config = vision


def _speak_alike(one: PointNetwork, other: PointNetwork) -> bool:
    """Two bases have the same words, and language models and queries of the same sizes, whatever size they see at."""

    def spoken(network: PointNetwork) -> object:
        return (
            network.config.class_names,
            network.config.vision.width,
            network.prompts.tokenizer.get_vocab(),
            {name: weight.shape for name, weight in network.language.named_parameters()},
        )

    return spoken(one) == spoken(other)


def _train(
    modules: Mapping[str, nn.Module],
    batches: Dataset[Any],
    objective: Callable[[Any], tuple[Tensor, dict[str, float]]],
    loop: LoopConfig,
    out: Path,
) -> bool:
    """Train all weights of some modules; True when finished."""
    parameters: dict[str, nn.Parameter] = {}
    for part, module in modules.items():
        module.requires_grad_(True)
        parameters |= {f"{part}.{name}": p for name, p in module.named_parameters()}
    return train(modules, parameters, batches, objective, loop, out / "training")


def _read_stage(folder: Path, file: str, stage: str) -> dict[str, Tensor]:
    """What a stage of training wrote, fp32. Read before photos are, so that a wrong folder is told at once."""
    if not (folder / file).is_file():
        raise FileNotFoundError(f"no {file} in {folder}: give a folder that `train {stage}` finished in")
    return {name: tensor.float() for name, tensor in read_tensors(folder / file).items()}


def _save_module(module: nn.Module, file: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, file)
