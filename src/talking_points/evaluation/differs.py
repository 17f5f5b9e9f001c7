"""In what an evaluation is not the paper's, as far as files tell: said beside every table of the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from talking_points.dataset.store import BuiltSplit
from talking_points.endpoint import EndpointConfig
from talking_points.evaluation.samples import Sample
from talking_points.evaluation.settings import EvaluationSettings
from talking_points.files import read_json
from talking_points.model.checkpoint import read_trainings
from talking_points.model.weights import read_shapes
from talking_points.pages import counted
from talking_points.pointing.pretrained import find_model, stock_family

PAPER_TRAINING = {
    "descriptor": "10 epochs of 17,000 texts, 8 a step, rate 2e-4",
    "localizer": "15 epochs of 17,000 texts, 8 a step, rate 1e-5",
}
PAPER_REINFORCED = "in Table 2 3 epochs of 22,600 points of Bovidae, or 17,000 of Canidae, 10 a step, rate 5e-6"
PAPER_LORA = "rank 512, alpha 256"
PAPER_TEST = {
    "2": "AP-10K; about 17,000 points of Canidae, 22,600 of Bovidae",
    "figure": "100 samples of LlamaPointInPart's test split",
}


def what_differs(
    settings: EvaluationSettings, describers: Sequence[str], localizers: Sequence[str], samples: Sequence[Sample]
) -> list[dict[str, str]]:
    """What a table's readers have to know: `what`, what the `paper` has, and what is `here`.

    Args:
        settings: of the evaluation, with a table.
        describers, localizers: who takes part.
        samples: what is scored, of all sets.
    """
    table = settings.table or ""
    folder = find_model(settings.model)
    told = [("base", "OMG-LLaVA, 7B, a square of 1024 px", _base(folder))]
    if "region-caption" in describers:
        told.append(("DAM's texts", "DAM's own", "the base's caption of what is around the point"))
    roles = {("descriptor", settings.model) for name in describers if name in ("descriptor", "chosen")}
    roles |= {("localizer", settings.model) for name in localizers if name == "localizer"}
    named = [name.partition(":") for name in (*describers, *localizers)]
    named = [("descriptor" if kind == "chosen" else kind, colon, where) for kind, colon, where in named]
    roles |= {(kind, where) for kind, _, where in named if kind in PAPER_TRAINING and where}
    for role, model in sorted(roles):
        told += _of_role(role, model)
    photos = {sample.photo_id for sample in samples}
    data = ", ".join([*map(str, settings.data), *settings.source])
    test = f"{data}, {settings.chosen_split}: {counted(len(samples), 'point')} of {counted(len(photos), 'photo')}"
    told.append(("tested on", PAPER_TEST.get(table, "LlamaPointInPart, test: 4,000 points, one a photo"), test))
    if "ground-truth" in describers:
        told.append(("true texts by", "Llama-3.3 from labels, OMG-LLaVA's and LLaVA's texts", _writers(settings)))
    return [{"what": what, "paper": paper, "here": here} for what, paper, here in told if here != paper]


def _base(folder: Path | EndpointConfig) -> str:
    if isinstance(folder, EndpointConfig):
        return f"{folder.model}, behind an endpoint"
    if (family := stock_family(folder)) is not None:
        return f"a stock model ({family})"
    config = read_json(folder / "config.json")
    if "base" in config:
        return f"{config['base']['model']} with adapters of ours, a square of {config['side']} px"
    files = [folder / "vision.safetensors", *sorted((folder / "language_model").glob("*.safetensors"))]
    weights = sum(math.prod(shape) for file in files for shape in read_shapes(file).values())
    return f"{config['name']}, {weights / 1e6:,.0f}M weights, a square of {config['vision']['image_size']} px"


def _of_role(role: str, model: str) -> list[tuple[str, str, str]]:
    """Of a role of a checkpoint of ours; nothing of other models."""
    folder = find_model(model)
    if isinstance(folder, EndpointConfig) or not (folder / role / "adapter_config.json").is_file():
        return []
    config, adapter = read_json(folder / "config.json"), read_json(folder / role / "adapter_config.json")
    who = f"{role} of {model}"
    told = [(f"{who}: LoRA", PAPER_LORA, f"rank {adapter['r']}, alpha {adapter['lora_alpha']}")]
    if role == "localizer":
        told.append((f"{who}: head", "regression", config["coordinate_head"]))
    elif (region := config.get("vision", {}).get("region", "gaussian")) != "gaussian":
        told.append((f"{who}: region", "gaussian", region))
    training = read_trainings({role: folder}).get(role, {})
    trained = _trained(training) if "texts" in training else _untold(model, folder)
    told.append((f"{who}: trained", PAPER_TRAINING[role], trained))
    for how in training.get("reinforced", []):
        here = _trained({**how, "texts": how["learnt_on"]}).replace(" texts", " points")
        told.append((f"{who}: reinforced", PAPER_REINFORCED, here))
    return told


def _untold(model: str, folder: Path) -> str:
    """Of a role whose training left no account of itself, as of one that learned together with its base."""
    where = f"see its card, README.md of {model}" if (folder / "README.md").is_file() else "not known"
    return f"{where} (no training.json beside its adapter)"


def _trained(told: Mapping[str, Any]) -> str:
    """In the words of `PAPER_TRAINING`; what makes no difference to the paper's is left out."""
    rate, step = _rate(told["learning_rate"]), told["photos"] * told["points"]
    count, unit = (told["epochs"], "epoch") if told["epochs"] else (told["steps"], "step")
    often = f"{count:,} {unit}{'' if count == 1 else 's'}"
    words = f"{often} of {told['texts']:,} texts, {step} a step, rate {rate}"
    words += "".join(f", {how}" for key, how in _ALSO.items() if told.get(key))
    return words


def _rate(rate: float) -> str:
    """
    Example:
        >>> _rate(2e-4), _rate(0.00015)
        ('2e-4', '1.5e-4')
    """
    number, power = f"{rate:e}".split("e")
    return f"{float(number):g}e{int(power)}"


_ALSO = {
    "further": "from a trained one",
    "frozen_language_model": "the language model not adapted",
    "train_projector": "a projector of its own trained",
    "blind": "blind",
}


def _writers(settings: EvaluationSettings) -> str:
    if settings.source:
        return "rules"
    if not all(any((path / "data").glob(f"{settings.chosen_split}-*.parquet")) for path in settings.data):
        return "whoever wrote the file"
    records = (record for path in settings.data for record in BuiltSplit(path, settings.chosen_split))
    return ", ".join(sorted({str(record.writer) for record in records}))
