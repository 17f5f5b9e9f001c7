"""Describers and localizers by the names that `talking-points evaluate` takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from talking_points.bases.base import Base
from talking_points.dataset.describers.endpoint import Endpoint, EndpointConfig
from talking_points.evaluation.endpoints import EndpointDescriber, EndpointLocalizer, parse_endpoint
from talking_points.evaluation.samples import Sample
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.encoding import EncodedPhotos, PhotoCache, PreparedPhoto
from talking_points.pointing.interfaces import Describer, Localizer
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.round_trip import TalkingPoints

DESCRIBERS = (
    "ground-truth",
    "descriptor",
    "descriptor:DIR",
    "object-caption",
    "region-caption",
    "file:PATH",
    "endpoint:URL,MODEL",
)
LOCALIZERS = ("localizer", "localizer:DIR", "blind:DIR", "endpoint:URL,MODEL")

WrittenTexts = Mapping[str, str]
"""Texts by the ids of the samples that they are about."""


class BlindLocalizer(PointLocalizer):
    """A localizer whose photo is blanked, as it was in its training."""

    def _encode(self, photos: Sequence[PreparedPhoto]) -> EncodedPhotos:
        encoded = super()._encode(photos)
        # All blank photos are the same one.
        return EncodedPhotos(keys=[b"blank"] * len(photos), features=encoded.features.blank())


class BaseCaptioner(PointDescriptor):
    """What the base says of a point without the descriptor's adapter (paper, Table 1: OMG-LLaVA and DAM)."""

    role = "base"

    def __init__(self, network: Base, cache: PhotoCache, *, region: str) -> None:
        """region: "predicted-mask" for the object's caption, OMG-LLaVA's own prompt; "gaussian" for the region's."""
        super().__init__(network, cache=cache)
        self.region = region

    def _question(self) -> list[int]:
        return self.network.prompts.caption()


def open_describers(
    names: Sequence[str],
    tp: TalkingPoints | None,
    samples: Sequence[Sample],
    ask: Callable[[EndpointConfig], Endpoint],
    *,
    concurrency: int,
    device: str | None,
) -> Mapping[str, Describer | WrittenTexts]:
    """Describers by name; texts written beforehand by the samples' ids.

    Args:
        ask: opens an endpoint.
        concurrency: requests side by side.
        device: of a `descriptor:DIR`.

    Raises:
        ValueError, FileNotFoundError: no such name or file, or samples without a text; says which.
    """
    opened: dict[str, Describer | WrittenTexts] = {}
    for name in names:
        kind, _, where = name.partition(":")
        if name == "ground-truth":
            opened[name] = _complete({s.sample_id: s.text for s in samples if s.text is not None}, samples, "the data")
        elif name == "descriptor":
            assert tp is not None
            opened[name] = tp
        elif kind == "descriptor" and where:
            opened[name] = PointDescriptor.from_pretrained(where, device=device)
        elif name in ("object-caption", "region-caption"):
            assert tp is not None
            region = "predicted-mask" if name == "object-caption" else "gaussian"
            opened[name] = BaseCaptioner(tp.network, tp.descriptor.cache, region=region)
        elif kind == "file":
            path = Path(where)
            opened[name] = _complete(_read_texts(path), samples, str(path))
        elif kind == "endpoint":
            opened[name] = EndpointDescriber(ask(parse_endpoint(name)), concurrency=concurrency)
        else:
            raise ValueError(f"describer is {name!r}; allowed: {', '.join(DESCRIBERS)}")
    return opened


def short_name(localizer: str) -> str:
    """What a localizer is called in reports: "blind" whatever its folder, others as they are."""
    return "blind" if localizer.startswith("blind:") else localizer


def hashes_of(model: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the weights of every checkpoint that takes part, by the name it has in the report.

    Args:
        model: the folder behind "descriptor", "localizer" and the captions.
        names: of describers and localizers.
    """
    folders = {"model": model}
    for name in names:
        kind, _, where = name.partition(":")
        if kind in ("descriptor", "localizer", "blind") and where:
            folders[name] = Path(where)
    return {name: _hash_of_folder(folder) for name, folder in folders.items()}


def _hash_of_folder(folder: Path) -> str:
    if not folder.is_dir():
        raise FileNotFoundError(f"no such checkpoint folder: {folder}")
    hashed = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".safetensors", ".json") and path.name != "report.json":
            hashed.update(str(path.relative_to(folder)).encode())
            with path.open("rb") as file:
                for block in iter(partial(file.read, 1 << 20), b""):
                    hashed.update(block)
    return hashed.hexdigest()[:16]


def _complete(texts: WrittenTexts, samples: Sequence[Sample], where: str) -> WrittenTexts:
    missing = [sample.sample_id for sample in samples if sample.sample_id not in texts]
    if missing:
        raise ValueError(f"{where} has no text for {len(missing)} samples, the first of them {missing[0]!r}")
    return texts


def _read_texts(path: Path) -> WrittenTexts:
    """JSON lines, each with a `sample` (its id, as in `samples.parquet`) and its `description`."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file of texts: {path}")
    said: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            record = json.loads(line)
            said[record["sample"]] = record["description"] + ""
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f'{path}, line {number}: expected {{"sample": ID, "description": TEXT}}, got {line[:80]!r}'
            ) from None
    return said


def open_localizers(
    names: Sequence[str],
    tp: TalkingPoints | None,
    ask: Callable[[EndpointConfig], Endpoint],
    *,
    concurrency: int,
    device: str | None,
) -> Mapping[str, Localizer]:
    """Localizers by name. Arguments as `open_describers`.

    Raises:
        ValueError, FileNotFoundError: no such name or checkpoint.
    """
    opened: dict[str, Localizer] = {}
    for name in names:
        kind, _, where = name.partition(":")
        if name == "localizer":
            assert tp is not None
            opened[name] = tp
        elif kind == "localizer" and where:
            opened[name] = PointLocalizer.from_pretrained(where, device=device)
        elif kind == "blind" and where:
            opened[short_name(name)] = BlindLocalizer.from_pretrained(where, device=device)
        elif kind == "endpoint":
            opened[name] = EndpointLocalizer(ask(parse_endpoint(name)), concurrency=concurrency)
        else:
            raise ValueError(f"localizer is {name!r}; allowed: {', '.join(LOCALIZERS)}")
    return opened
