"""Part-labelled photos by source name, for training and evaluation."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from talking_points.dataset.look_alikes import thumbnail, thumbnail_of_file
from talking_points.dataset.scene import Scene
from talking_points.dataset.scene_edits import resize
from talking_points.dataset.selection import EVERYTHING, Selection, nothing_wanted, select
from talking_points.dataset.sources import SOURCES, open_source
from talking_points.dataset.splits import look_alikes_of, protected_sources
from talking_points.pages import counted
from talking_points.photos import scaled_size
from talking_points.progress import OnProgress, unheard

log = logging.getLogger(__name__)

MAX_SIDE = 384
"""Photos are scaled down to at most this long side, in pixels: a whole training split stays in memory."""


def parse_sources(pairs: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` strings to a mapping; anything else is a ValueError.

    Several folders of one kind are named after it and their folder: "coco.people" and "coco.pets".
    """
    given: list[tuple[str, Path]] = []
    for pair in pairs:
        kind, equals, folder = pair.partition("=")
        if not equals or not folder or kind not in SOURCES:
            raise ValueError(f"--source {pair!r}: expected NAME=DIR, NAME one of {', '.join(sorted(SOURCES))}")
        if not Path(folder).is_dir():
            raise FileNotFoundError(f"--source {pair!r}: no such folder")
        given.append((kind, Path(folder)))
    kinds = Counter(kind for kind, _ in given)
    sources: dict[str, Path] = {}
    for kind, path in given:
        name = kind if kinds[kind] == 1 else f"{kind}.{path.resolve().name}"
        if sources.get(name) == path:
            raise ValueError(f"--source {kind}={path} is given twice")
        if name in sources:
            raise ValueError(f"two folders of --source {kind} are called {path.resolve().name}: rename one")
        sources[name] = path
    return sources


def load_scenes(
    sources: Mapping[str, Path],
    split: str,
    selection: Selection = EVERYTHING,
    *,
    on_progress: OnProgress = unheard,
) -> list[Scene]:
    """Photos of one split ("train", "val", "test") of every source that show a labelled part, scaled down.

    Photos that are the same shot as one of a later split of any of the sources are left out, and said to be. What is
    not of the selection is background. A ValueError or FileNotFoundError where nothing is of the selection, or a photo
    is bad.
    """
    scenes: list[Scene] = []
    names: set[str] = set()
    opened, unchecked = protected_sources(sources, split)
    for reason in unchecked:
        log.warning("the same shots are not sought in %s", reason)
    later = [(name, other, photo_id) for (name, other), source in opened.items() for photo_id in source.photo_ids]
    others = {}
    for done, (name, other, photo_id) in enumerate(later, start=1):
        if (thumb := thumbnail_of_file(opened[name, other].paths[photo_id])) is not None:
            others[name, other, photo_id] = thumb
        on_progress(f"photos of splits after {split}", done, len(later))
    for name, folder in sources.items():
        source = open_source(name, folder, split)
        found = {}
        for photo_id in source.photo_ids:
            found[name, photo_id] = _shrunk(source.read(photo_id))
            on_progress(f"photos of {name}, {split}", len(found), len(source.photo_ids))
        problems = [*source.problems, *(problem for scene in found.values() for problem in scene.problems)]
        if problems:
            left_out = "%s %s: left out: %s that cannot be read, the first: %s"
            log.warning(left_out, name, split, counted(len(problems), "annotation"), problems[0])
        alike = look_alikes_of({key: thumbnail(scene.photo) for key, scene in found.items()}, others)
        if alike and len(alike) == len(found):
            log.warning("%s %s: each photo is in a later split, too; all are kept", name, split)
        elif alike:
            first = "; ".join(f"{key} {why}" for (_, key), why in sorted(alike.items())[:3])
            log.info("%s %s: %s left out as look-alikes (%s)", name, split, counted(len(alike), "photo"), first)
            found = {key: scene for key, scene in found.items() if key not in alike}
        for scene in found.values():
            names |= {one.name for one in scene.objects}
            names |= {one.name for one in scene.parts if selection.parts}
        wanted = [scene for scene in (select(one, selection) for one in found.values()) if scene.parts]
        log.info("%s %s: %s", name, split, counted(len(wanted), "photo"))
        scenes += wanted
    if not scenes and selection != EVERYTHING:
        raise nothing_wanted(selection, f"the {split} split", sorted(names))
    return scenes


def _shrunk(scene: Scene) -> Scene:
    return resize(scene, scaled_size(scene.size_wh, min(1.0, MAX_SIDE / max(scene.size_wh))))
