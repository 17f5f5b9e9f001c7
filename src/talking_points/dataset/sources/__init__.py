"""Part-labelled photos: each dataset's files become `Scene`s, behind `open_source`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from talking_points.dataset.sources.coco_objects import open_coco
from talking_points.dataset.sources.coco_parts import open_coco_parts
from talking_points.dataset.sources.label_map import open_label_map
from talking_points.dataset.sources.published import open_ade20k_part_234, open_part_imagenet, open_pascal_part_116
from talking_points.dataset.sources.source import SPLITS, Source
from talking_points.labels.problems import LabelError

SOURCES: dict[str, Callable[[Path, str], Source]] = {
    "ade20k-part-234": open_ade20k_part_234,
    "coco": open_coco,
    "coco-parts": open_coco_parts,
    "label-map": open_label_map,
    "part-imagenet": open_part_imagenet,
    "pascal-part-116": open_pascal_part_116,
}
"""Source name to what opens it."""


def open_source(name: str, folder: Path, split: str, *, lenient: bool = False) -> Source:
    """List one split of a dataset, without reading its photos.

    Args:
        name: a key of `SOURCES`, alone or, of several folders of a kind, with the folder's name: "coco.people".
        folder: the dataset's own folder, laid out as its opener's docstring shows.
        split: "train", "val" or "test". Sets that come with two splits keep their second one as "test"; "val"
            is then a fixed share of "train", held out by the photos' names.
        lenient: give also a source with `Source.refused`, to list what else is wrong with it.

    Raises:
        ValueError: an unknown name or split, a folder of another layout, or labels that cannot be used as they are.
        FileNotFoundError: the folder or one of its files is missing; the message names it.
    """
    kind = name.partition(".")[0]
    if kind not in SOURCES:
        raise ValueError(f'unknown source "{name}"; known are {", ".join(sorted(SOURCES))}')
    if split not in SPLITS:
        raise ValueError(f'split must be one of {", ".join(SPLITS)}, got "{split}"')
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{name}: no such folder: {folder}")
    source = replace(SOURCES[kind](Path(folder), split), name=name, split=split)
    if source.refused and not lenient:
        raise LabelError(source.refused)
    return source
