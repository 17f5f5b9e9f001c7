"""Part-labelled photos by source name, for training and evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.coco_parts import load_coco_parts
from talking_points.dataset.sources.label_map import load_label_map

log = logging.getLogger(__name__)

SOURCES = {"label-map": load_label_map, "coco-parts": load_coco_parts}


def parse_sources(pairs: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` strings to a mapping; anything else is a ValueError."""
    sources: dict[str, Path] = {}
    for pair in pairs:
        name, equals, folder = pair.partition("=")
        if not equals or not folder or name not in SOURCES:
            raise ValueError(f"--source {pair!r}: expected NAME=DIR, NAME one of {', '.join(sorted(SOURCES))}")
        if name in sources:
            raise ValueError(f"--source {name} is given twice; one folder a source")
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"--source {pair!r}: no such folder")
        sources[name] = Path(folder)
    return sources


def load_scenes(sources: Mapping[str, Path], split: str) -> list[Scene]:
    """Photos of one split ("train", "val", "test") of every source."""
    scenes: list[Scene] = []
    for name, folder in sources.items():
        found = SOURCES[name](folder, split)
        log.info("%s %s: %d photos", name, split, len(found))
        scenes += found
    return scenes
