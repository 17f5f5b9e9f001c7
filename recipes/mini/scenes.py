"""Labelled photos of all sets in one small file, which a machine with a GPU reads: `python -m recipes.mini.scenes`."""

from __future__ import annotations

import argparse
import io
import pickle
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources.loading import load_scenes

SETS = {
    "clothing_parts": "label-map",
    "car_parts": "coco-parts",
    "coco_people": "coco.people",
    "coco_objects": "coco.objects",
    "livestock": "coco.livestock",
    "pets": "coco.pets",
    "facades": "coco.facades",
}
"""Folder in the data to the source that reads it."""
QUALITY = 74
"""Of the photos as WebP: 17 KB a photo."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    scenes: list[Scene] = []
    for folder, source in SETS.items():
        found = load_scenes({source: given.data / folder}, given.split)
        scenes += [replace(scene, source=folder, problems=(), notes=()) for scene in found]
        print(f"{folder}: {len(found)} photos", flush=True)
    write(scenes, given.out)


def write(scenes: Iterable[Scene], path: Path) -> None:
    """Photos as WebP, label maps as PNG."""
    packed = [
        {
            "scene": replace(scene, photo=None, part_map=None, object_map=None),  # type: ignore[arg-type]
            "photo": _encoded(scene.photo, "WEBP", quality=QUALITY),
            "maps": [None if one is None else _encoded(one, "PNG") for one in (scene.part_map, scene.object_map)],
        }
        for scene in scenes
    ]
    path.write_bytes(pickle.dumps(packed))
    print(f"{path}: {len(packed)} photos, {path.stat().st_size / 2**20:.1f} MiB")


def read(path: Path, *, share: tuple[int, int] = (0, 1)) -> list[Scene]:
    """The scenes that `write` wrote, or every n-th from the k-th on. Its own files only: it is a pickle."""
    return [_opened(one) for one in pickle.loads(path.read_bytes())[share[0] :: share[1]]]


def _opened(packed: dict[str, Any]) -> Scene:
    photo = np.asarray(Image.open(io.BytesIO(packed["photo"])).convert("RGB"))
    part_map, object_map = (
        None if one is None else np.asarray(Image.open(io.BytesIO(one))).astype(np.int16) for one in packed["maps"]
    )
    assert part_map is not None
    scene: Scene = packed["scene"]
    return replace(scene, photo=photo, part_map=part_map, object_map=object_map)


def _encoded(pixels: np.ndarray, kind: str, **settings: int) -> bytes:
    held = io.BytesIO()
    image = Image.fromarray(pixels if pixels.ndim == 3 else pixels.astype(np.uint16))
    image.save(held, kind, **settings)
    return held.getvalue()


if __name__ == "__main__":
    main()
