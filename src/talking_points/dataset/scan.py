"""Looking at every photo once: its points, what is measured about each, and its thumbnail. On one process or on many.

Nothing here writes; the caller keeps what comes out. What comes out of a photo depends on the photo, the settings
and the seed alone, and so not on the engine, the number of workers, or the order.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import numpy as np

from talking_points.dataset.facts import facts_of_points
from talking_points.dataset.keypoints import select_points
from talking_points.dataset.look_alikes import thumb_to_text, thumbnail
from talking_points.dataset.scene import MIN_POINT_AREA_PX, Scene
from talking_points.dataset.sources.source import Source
from talking_points.dataset.splits import PhotoKey
from talking_points.memory import keep_freed_memory

Engine = Literal["local", "ray"]
ENGINES: tuple[Engine, ...] = ("local", "ray")
PHOTOS_AT_ONCE = 4
"""Sent to a worker together."""

NO_POINT = "no labelled part is big enough to hold a point"
NO_TEXTURE = (
    "no SIFT keypoint was found inside the labelled parts: their surface shows no texture; --smooth-share 1 takes "
    "points on smooth surfaces"
)
NO_LABEL = "none of its annotations can be read"
ONLY_NOTED = "nothing is labelled but what is left out as it should be"


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanSettings:
    """Which points are looked for in a photo."""

    points_per_photo: int
    per_part: int
    smooth_share: float
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PhotoScan:
    """What one photo gave."""

    source: str
    photo_id: str
    content: dict[str, Any]
    """size_wh, thumb (finds look-alikes), and points: for each x, y, kind, response, scale, names and boxes, in pixels
    of the photo; and left_out, the scene's problems, and its notes."""
    facts: list[Any]
    """For each point the `PointFacts.to_dict()`; None for a named keypoint, about which nothing is written."""
    bad: str | None = None
    """Why the photo could not be read, with its path; None when it could."""
    empty: str | None = None
    """Why it has no point; None when it has any."""


def seed_of(name: str, seed: int) -> int:
    """A number for a photo or a record, equal for equal names and seeds, on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "big")


def scan_photo(source: Source, photo_id: str, settings: ScanSettings) -> PhotoScan:
    """Read a photo, choose its points and measure what is to be said about them."""
    try:
        scene = source.read(photo_id)
    except (ValueError, OSError) as error:
        message = " ".join(str(error).split())
        return PhotoScan(source=source.name, photo_id=photo_id, content={}, facts=[], bad=message)
    rng = np.random.default_rng(seed_of(f"{source.name}/{photo_id}", settings.seed))
    points = _named_points(scene)
    samples = select_points(
        scene,
        rng,
        points_per_photo=settings.points_per_photo,
        per_part=settings.per_part,
        smooth_share=settings.smooth_share,
    )
    facts: list[Any] = [None] * len(points)
    facts += [one.to_dict() for one in facts_of_points(scene, [(sample.x, sample.y) for sample in samples])]
    for sample in samples:
        part = scene.parts[sample.part_index]
        point: dict[str, Any] = {"x": sample.x, "y": sample.y, "kind": sample.kind}
        point |= {"response": sample.response, "scale": sample.scale}
        point |= {"part_name": part.name, "part_box": part.box_xyxy}
        points.append(point | _owner(scene, part.object_index))
    content = {"size_wh": scene.size_wh, "thumb": thumb_to_text(thumbnail(scene.photo)), "points": points}
    content |= {"left_out": [asdict(problem) for problem in scene.problems], "notes": list(scene.notes)}
    empty = None if points else _why_empty(scene)
    return PhotoScan(source=source.name, photo_id=photo_id, content=content, facts=facts, empty=empty)


def _why_empty(scene: Scene) -> str:
    """Why a photo gave no point."""
    if any(part.area_px >= MIN_POINT_AREA_PX for part in scene.parts):
        return NO_TEXTURE
    if not scene.parts and scene.problems:
        return f"{NO_LABEL}: {scene.problems[0]}"
    if not scene.parts and scene.notes:
        return f"{ONLY_NOTED}: {scene.notes[0]}"
    return NO_POINT


def _named_points(scene: Scene) -> list[dict[str, Any]]:
    """Keypoints that the source itself names, such as an animal's left eye."""
    points = []
    for keypoint in scene.keypoints:
        # A hidden point's place was estimated: nobody could find it in the photo.
        if keypoint.visible:
            point = {"x": keypoint.x, "y": keypoint.y, "kind": "named", "response": None, "scale": None}
            point |= {"part_name": keypoint.name, "part_box": None}
            points.append(point | _owner(scene, keypoint.object_index))
    return points


def _owner(scene: Scene, object_index: int) -> dict[str, Any]:
    thing = scene.objects[object_index]
    category = thing.category or thing.name
    return {"object_name": thing.name, "object_category": category, "object_box": thing.box_xyxy}


def scan_photos(
    sources: Mapping[str, Source], photos: Sequence[PhotoKey], settings: ScanSettings, *, workers: int, engine: Engine
) -> Iterator[PhotoScan]:
    """Scan photos, in any order.

    Args:
        sources: by name.
        photos: source and id of those to scan.
        settings: for all.
        workers: processes on this machine, or of Ray.
        engine: "local", or "ray" for a cluster (that of the environment variable RAY_ADDRESS, else this machine), all
            of whose machines see the sources' folders under the same paths.

    Raises:
        ImportError: the engine is not installed.
        OSError: a worker died, for lack of memory as a rule.
    """
    if engine == "ray":
        yield from _scan_with_ray(sources, photos, settings, workers)
    elif workers == 1:
        for source, photo_id in photos:
            yield scan_photo(sources[source], photo_id, settings)
    else:
        yield from _scan_with_processes(sources, photos, settings, workers)


# Of a worker process: set once when it starts.
_worker: tuple[Mapping[str, Source], ScanSettings] | None = None


def _start_worker(sources: Mapping[str, Source], settings: ScanSettings) -> None:
    global _worker
    _worker = (sources, settings)
    keep_freed_memory()
    cv2.setNumThreads(1)
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
    assert _worker is not None
    sources, settings = _worker
    return scan_photo(sources[photo[0]], photo[1], settings)


def _scan_with_processes(
    sources: Mapping[str, Source], photos: Sequence[PhotoKey], settings: ScanSettings, workers: int
) -> Iterator[PhotoScan]:
    # Spawned, not forked: a fork would copy the ledger's open file and its lock's owner.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(sources, settings))
    try:
        yield from pool.map(_scan_in_worker, photos, chunksize=PHOTOS_AT_ONCE)
    except BrokenProcessPool:
        raise OSError(
            "a worker process died, perhaps for lack of memory; start the same command again with fewer --workers"
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


class _RayScanner:
    """One actor of Ray: keeps the sources' lists in its memory."""

    def __init__(self, sources: Mapping[str, Source], settings: ScanSettings) -> None:
        cv2.setNumThreads(1)
        self.sources = sources
        self.settings = settings

    def __call__(self, row: dict[str, str]) -> dict[str, str]:
        scan = scan_photo(self.sources[row["source"]], row["photo_id"], self.settings)
        # As JSON: Ray's tables want equal columns in all rows.
        return {
            "source": scan.source,
            "photo_id": scan.photo_id,
            "scan": json.dumps([scan.content, scan.facts, scan.bad, scan.empty]),
        }


def _scan_with_ray(
    sources: Mapping[str, Source], photos: Sequence[PhotoKey], settings: ScanSettings, workers: int
) -> Iterator[PhotoScan]:
    try:
        import ray
        import ray.data
    except ImportError:
        raise ImportError("--engine ray needs Ray: pip install 'talking-points[scale]'") from None
    if not photos:
        return
    if not ray.is_initialized():
        at_home = not os.environ.get("RAY_ADDRESS")
        ray.init(num_cpus=workers if at_home else None, log_to_driver=False)
    rows = ray.data.from_items([{"source": source, "photo_id": photo_id} for source, photo_id in photos])
    actors = ray.data.ActorPoolStrategy(size=workers)
    scanned = rows.map(_RayScanner, fn_constructor_args=(sources, settings), compute=actors)
    for row in scanned.iter_rows():
        content, facts, bad, empty = json.loads(row["scan"])
        names = {"source": row["source"], "photo_id": row["photo_id"]}
        yield PhotoScan(**names, content=content, facts=facts, bad=bad, empty=empty)
