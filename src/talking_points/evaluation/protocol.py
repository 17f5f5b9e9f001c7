"""Descriptor-through-localizer evaluation (paper, section 4): a text is as good as the point found from it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talking_points.dataset.checks import is_named, words_of
from talking_points.dataset.scene import Scene
from talking_points.evaluation.metrics import mpck, mpck_interval, normalised_errors, pck
from talking_points.evaluation.sets import Sample
from talking_points.interfaces import Describer, Localizer
from talking_points.points import photo_to_unit

log = logging.getLogger(__name__)

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One describer through one localizer, on one set."""

    describer: str
    localizer: str
    texts: list[str]
    found_px: Points
    """(N, 2); NaN where there was no answer."""
    errors: NDArray[np.float64]
    """(N,) normalised distances."""
    photos: list[str]

    def summary(self) -> dict[str, Any]:
        """Scores as JSON."""
        low, high = mpck_interval(self.errors, self.photos)
        return {
            "describer": self.describer,
            "localizer": self.localizer,
            "n": len(self.errors),
            "pck@0.05": round(pck(self.errors, 0.05), 2),
            "pck@0.1": round(pck(self.errors, 0.1), 2),
            "pck@0.2": round(pck(self.errors, 0.2), 2),
            "mpck": round(mpck(self.errors), 2),
            "mpck_ci": [round(low, 2), round(high, 2)],
        }


def describe_samples(describer: Describer, samples: Sequence[Sample]) -> list[str]:
    """The describer's text of every sample, photos together where the describer can."""
    groups = _by_photo(samples)
    photos, points = [photo for photo, _ in groups], [[s.point_px for s in group] for _, group in groups]
    together = getattr(describer, "describe_photos", None)
    texts = together(photos, points) if together else list(map(describer.describe, photos, points))
    return [text for some in texts for text in some]


def named_shares(samples: Sequence[Sample], texts: Sequence[str]) -> dict[str, float]:
    """Percentages of texts that name the object and the part that their point is on: right words, wherever it leads."""
    named = []
    for sample, text in zip(samples, texts, strict=True):
        part = sample.scene.parts[sample.part_index]
        words = words_of(text)
        named.append((is_named(sample.scene.objects[part.object_index].name, words), is_named(part.name, words)))
    of_object, of_part = np.mean(named, axis=0) * 100
    return {"names_object": round(float(of_object), 2), "names_part": round(float(of_part), 2)}


def localize_texts(localizer: Localizer, samples: Sequence[Sample], texts: Sequence[str]) -> Points:
    """(N, 2) points found from texts, pixels of each photo; NaN for an empty text, which is a miss."""
    found = np.full((len(samples), 2), np.nan)
    photos, asked, said = [], [], []
    start = 0
    for photo, group in _by_photo(samples):
        here = [i for i in range(start, start + len(group)) if texts[i].strip()]
        photos.append(photo)
        asked.append([texts[i] for i in here])
        said += here
        start += len(group)
    together = getattr(localizer, "localize_photos", None)
    answers = together(photos, asked) if together else list(map(localizer.localize, photos, asked))
    if said:
        found[said] = [point for some in answers for point in some]
    return found


def score(describer: str, localizer: str, samples: Sequence[Sample], texts: Sequence[str], found_px: Points) -> Row:
    """Errors of found points."""
    true = [s.point_px for s in samples]
    sizes = [s.scene.size_wh for s in samples]
    return Row(
        describer=describer,
        localizer=localizer,
        texts=list(texts),
        found_px=found_px,
        errors=normalised_errors(found_px, true, sizes),
        photos=[s.scene.photo_id for s in samples],
    )


def box_centres(samples: Sequence[Sample]) -> Points:
    """Centres of the boxes of the parts that the texts name: what a perfect part detector would answer."""
    boxes = np.array([s.scene.parts[s.part_index].box_xyxy for s in samples], float)
    return np.stack([boxes[:, [0, 2]].mean(1), boxes[:, [1, 3]].mean(1)], axis=1)


def mean_training_point(scenes: Sequence[Scene], points_of: Callable[[Scene], Sequence[tuple[float, float]]]) -> Points:
    """(2,) mean of training points in [0, 1]^2 of their photos."""
    units = [photo_to_unit(points, scene.size_wh) for scene in scenes if (points := points_of(scene))]
    return np.concatenate(units).mean(0)


def swapped(samples: Sequence[Sample], *, seed: int) -> list[Sample]:
    """The same texts and points shown with another photo of the same kind of object, for "does it look?"."""
    rng = np.random.default_rng(seed)
    groups = [group for _, group in _by_photo(samples)]
    result: list[Sample] = []
    for index, group in enumerate(groups):
        kind = group[0].scene.objects[0].name
        others = [g[0].scene for j, g in enumerate(groups) if j != index and g[0].scene.objects[0].name == kind]
        scene = others[int(rng.integers(len(others)))] if others else group[0].scene
        result += [Sample(scene=scene, point_px=s.point_px, text=s.text, part_index=s.part_index) for s in group]
    return result


def _by_photo(samples: Sequence[Sample]) -> list[tuple[Image.Image, list[Sample]]]:
    """Consecutive samples of one scene, with its photo."""
    groups = [list(g) for _, g in itertools.groupby(samples, key=lambda s: id(s.scene))]
    return [(Image.fromarray(g[0].scene.photo), g) for g in groups]
