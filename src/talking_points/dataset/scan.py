"""Looking at every photo once: its points, what is measured about each, and its thumbnail. On one process or on many.

Nothing here writes; the caller keeps what comes out. What comes out of a photo depends on the photo, the settings
and the seed alone, and so not on the engine, the number of workers, or the order.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import cv2
import numpy as np

from talking_points.dataset.facts import PointFacts, facts_of_points
from talking_points.dataset.keypoints import select_points
from talking_points.dataset.look_alikes import thumbnail
from talking_points.dataset.scene import MIN_POINT_AREA_PX, Scene
from talking_points.dataset.settings import BuildSettings
from talking_points.dataset.sources.source import Source
from talking_points.dataset.splits import PhotoKey
from talking_points.dataset.store import BuiltRecord
from talking_points.labels.problems import Problem
from talking_points.memory import keep_freed_memory
from talking_points.progress import one_line
from talking_points.ray_actors import start_actors

PHOTOS_AT_ONCE = 4
"""Sent to a worker together."""

NO_POINT = "no labelled part is big enough to hold a point"
NO_TEXTURE = (
    "no SIFT keypoint was found inside the labelled parts: their surface shows no texture; --smooth-share 0.2 takes a "
    "point in five on a smooth surface, in the other photos, too"
)
NO_LABEL = "none of its annotations can be read"
ONLY_NOTED = "nothing is labelled but what is left out as it should be"


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoScan:
    """What one photo gave."""

    source: str
    photo_id: str
    points: tuple[BuiltRecord, ...] = ()
    """Records without texts, of the chosen points."""
    facts: tuple[PointFacts, ...] = ()
    """Of each point."""
    thumb: np.ndarray | None = None
    """See `look_alikes.thumbnail`; None of a bad photo."""
    problems: tuple[Problem, ...] = ()
    """Annotations that cannot be read and were left out."""
    notes: tuple[str, ...] = ()
    bad: str | None = None
    """Why the photo could not be read, with its path; None when it could."""
    empty: str | None = None
    """Why it has no point; None when it has any."""


def seed_of(name: str, seed: int) -> int:
    """A number for a photo or a record, equal for equal names and seeds, on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")


def scan_photo(source: Source, photo_id: str, settings: BuildSettings) -> PhotoScan:
    """Read a photo, choose its points and measure what is to be said about them."""
    try:
        scene = source.read(photo_id)
    except (ValueError, OSError) as error:
        return PhotoScan(source=source.name, photo_id=photo_id, bad=one_line(error))
    samples = select_points(
        scene,
        np.random.default_rng(seed_of(f"{source.name}/{photo_id}", settings.seed)),
        points_per_photo=settings.points_per_photo,
        per_part=settings.per_part,
        smooth_share=settings.smooth_share,
    )
    points: list[BuiltRecord] = []
    for number, sample in enumerate(samples):
        part = scene.parts[sample.part_index]
        thing = scene.objects[part.object_index]
        is_sift = sample.kind == "sift"
        points.append(
            BuiltRecord(
                record_id=f"{source.name}/{photo_id}/{number:03d}",
                source=source.name,
                photo_id=photo_id,
                photo_width=scene.size_wh[0],
                photo_height=scene.size_wh[1],
                point_px=(sample.x, sample.y),
                object_name=thing.name,
                object_category=thing.category or thing.name,
                object_box_xyxy=thing.box_xyxy,
                part_name=part.name,
                part_box_xyxy=part.box_xyxy,
                point_kind=sample.kind,
                sift_response=sample.response if is_sift else None,
                sift_scale_px=sample.scale if is_sift else None,
                seed=settings.seed,
            )
        )
    return PhotoScan(
        source=source.name,
        photo_id=photo_id,
        points=tuple(points),
        facts=tuple(facts_of_points(scene, [(sample.x, sample.y) for sample in samples])),
        thumb=thumbnail(scene.photo),
        problems=tuple(scene.problems),
        notes=tuple(scene.notes),
        empty=None if points else _why_empty(scene),
    )


def _why_empty(scene: Scene) -> str:
    """Why a photo gave no point."""
    if any(part.area_px >= MIN_POINT_AREA_PX for part in scene.parts):
        return NO_TEXTURE
    if not scene.parts and scene.problems:
        return f"{NO_LABEL}: {scene.problems[0]}"
    if not scene.parts and scene.notes:
        return f"{ONLY_NOTED}: {scene.notes[0]}"
    return NO_POINT


class Scanner:
    """Scans photos of the sources that it holds; a worker of any kind has one."""

    def __init__(self, sources: Mapping[str, Source], settings: BuildSettings) -> None:
        cv2.setNumThreads(1)
        self._sources, self._settings = sources, settings

    def scan(self, photo: PhotoKey) -> PhotoScan:
        """Scan one photo."""
        return scan_photo(self._sources[photo[0]], photo[1], self._settings)


def scan_photos(
    sources: Mapping[str, Source], photos: Sequence[PhotoKey], settings: BuildSettings
) -> Iterator[PhotoScan]:
    """Scan photos, in any order.

    Args:
        sources: by name.
        photos: source and id of those to scan.
        settings: which points, and `workers` and `engine`: "ray" is for a cluster (that of the environment variable
            RAY_ADDRESS, else this machine), all of whose machines see the sources' folders under the same paths.

    Raises:
        ImportError: the engine is not installed.
        OSError: a worker died, for lack of memory as a rule.
    """
    if settings.engine == "ray":
        actors = start_actors(Scanner, sources, settings, workers=settings.workers, gpus=False)
        from ray.util import ActorPool  # an extra, which is there when actors have started

        yield from ActorPool(actors).map_unordered(lambda actor, photo: actor.scan.remote(photo), photos)
    elif settings.workers == 1:
        for source, photo_id in photos:
            yield scan_photo(sources[source], photo_id, settings)
    else:
        yield from _scan_with_processes(sources, photos, settings)


# Of a worker process, which is told once what all its photos need: the lists of a large source take a while to send.
_scanner: Scanner | None = None


def _start_worker(sources: Mapping[str, Source], settings: BuildSettings) -> None:
    global _scanner
    _scanner = Scanner(sources, settings)
    keep_freed_memory()
    # Ctrl-C is for the builder, which then ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A builder that is killed cannot tell its workers; they see for themselves.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _scan_in_worker(photo: PhotoKey) -> PhotoScan:
    assert _scanner is not None
    return _scanner.scan(photo)


def _scan_with_processes(
    sources: Mapping[str, Source], photos: Sequence[PhotoKey], settings: BuildSettings
) -> Iterator[PhotoScan]:
    # Spawned, not forked: a fork would copy the ledger's open file and its lock's owner.
    context = multiprocessing.get_context("spawn")
    given = (sources, settings)
    pool = ProcessPoolExecutor(settings.workers, mp_context=context, initializer=_start_worker, initargs=given)
    try:
        yield from pool.map(_scan_in_worker, photos, chunksize=PHOTOS_AT_ONCE)
    except BrokenProcessPool:
        raise OSError(
            "a worker process died, perhaps for lack of memory; start the same command again with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
