"""How sure a localizer may be: one temperature for its heatmaps, fitted after training (Guo et al., ICML 2017)."""

# N texts of all photos, P texts of one, K temperatures

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from talking_points.evaluation.samples import Sample, by_photo, check_texts
from talking_points.model.heatmaps import chances
from talking_points.pages import counted
from talking_points.pointing.encoding import encode_photos
from talking_points.pointing.localizer import PointLocalizer
from talking_points.points import photo_to_square
from talking_points.progress import OnProgress, unheard

TEMPERATURES = np.geomspace(0.25, 8.0, 41)
BINS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """What a fit found. The errors are of the half of the photos that the temperature was not fitted on, both ways."""

    temperature: float
    points: int
    error_before: float
    """Expected calibration error at a temperature of 1."""
    error: float
    """At the fitted ones."""
    accuracy: float
    """Share of answers within a tenth of the photo's longer side."""


def calibrate(localizer: PointLocalizer, samples: Sequence[Sample], on_progress: OnProgress = unheard) -> Calibration:
    """Set the temperature of a localizer's heatmaps so that its confidence is how often it is right.

    Args:
        localizer: with a heatmap; its temperature is changed.
        samples: with texts, on photos that it was not trained on.
        on_progress: told "photos", how many are done, and how many there are.

    Raises:
        ValueError: its coordinate head is a regression, or there are fewer than two photos.
    """
    temperature = localizer.network.temperature
    if temperature is None:
        raise ValueError("the checkpoint has no localizer with a heatmap; a regression does not say how sure it is")
    texts = [sample.text or "" for sample in samples]
    check_texts("the data", samples, texts, localizer.check_text)
    groups = by_photo(samples)
    if len(groups) < 2:
        raise ValueError(
            f"there are texts of {counted(len(groups), 'photo')}; allowed: of 2 photos and more; give another split, "
            "or a set or a file with more photos"
        )
    answers = []
    on_progress("photos", 0, len(groups))
    for done, group in enumerate(groups, start=1):
        answers.append(_answers(localizer, group))
        on_progress("photos", done, len(groups))
    right_N = np.concatenate([right for right, _ in answers])
    sure_KN = np.concatenate([sure for _, sure in answers], axis=1)
    half_N = np.array([n % 2 for n, group in enumerate(groups) for _ in group])

    def fitted(some_N: NDArray[np.bool_]) -> int:
        return int(np.argmin([_surprise(sure_N[some_N], right_N[some_N]) for sure_N in sure_KN]))

    crossed_N = np.where(half_N == 0, sure_KN[fitted(half_N == 1)], sure_KN[fitted(half_N == 0)])
    best = float(TEMPERATURES[fitted(half_N >= 0)])
    with torch.no_grad():
        temperature.fill_(best)
    return Calibration(
        temperature=round(best, 4),
        points=len(right_N),
        error_before=calibration_error(sure_KN[int(np.argmin(np.abs(TEMPERATURES - 1)))], right_N),
        error=calibration_error(crossed_N, right_N),
        accuracy=round(float(right_N.mean()), 4),
    )


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Expected calibration error: the mean gap of confidence and accuracy in bins of equal width, by their counts.

    Example:
        >>> calibration_error(np.array([0.95, 0.95, 0.15, 0.15]), np.array([True, True, False, True]))
        0.2
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].mean() - right[bins == b].mean()) * (bins == b).sum() for b in np.unique(bins)]
    return round(float(sum(gaps) / len(right)), 6)


@torch.inference_mode()
def _answers(localizer: PointLocalizer, group: Sequence[Sample]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """(P,) whether the texts of one photo's samples led to their points, and (K, P) how surely at each temperature."""
    base = localizer.network
    photo = localizer.prepare(group[0].open_photo())
    prompts = [base.prompts.localize(sample.text or "") for sample in group]
    located = localizer.located(encode_photos(base, [photo], localizer.cache), [prompts])
    logits_Phw = located.heatmap_logits_Phw
    assert logits_Phw is not None
    sure = [chances(logits_Phw, located.points_P2, torch.tensor(t))[0] for t in TEMPERATURES.astype(np.float32)]
    true_P2 = torch.tensor(photo_to_square([s.point_px for s in group], photo.size_wh), dtype=torch.float32)
    right_P = (located.points_P2.cpu() - true_P2).norm(dim=-1) < 0.1
    return right_P.numpy(), torch.stack(sure).cpu().double().numpy()


def _surprise(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean negative log-likelihood of being right or wrong."""
    sure = confidence.clip(1e-4, 1 - 1e-4)
    return float(-np.where(right, np.log(sure), np.log(1 - sure)).mean())
