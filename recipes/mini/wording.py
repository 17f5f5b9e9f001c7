"""What the words of a text tell by themselves, without its photo, and what is said as chances."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

LEAST, MOST = 0.1, 0.9
"""A chance by words alone is taken as no less and no more: few texts must not outweigh all."""


def platt(said_N: NDArray[np.float64], is_true_N: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and shift that make what is said log odds, where true and other texts weigh the same.

    Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    weight_N = np.where(is_true_N, 0.5 / is_true_N.sum(), 0.5 / (~is_true_N).sum())
    sign_N = np.where(is_true_N, 1.0, -1.0)

    def cross_entropy(scale_shift: NDArray[np.float64]) -> float:
        return float(weight_N @ np.logaddexp(0, -sign_N * (scale_shift[0] * said_N + scale_shift[1])))

    scale, shift = minimize(cross_entropy, (1.0, 0.0), tol=1e-10).x
    return float(scale), float(shift)


def chances_by_words(texts: Sequence[str], is_true_N: NDArray[np.bool_], photos: Sequence[str]) -> NDArray[np.float64]:
    """(N,): how likely each text fits its photo by its words alone, as texts about all other photos tell.

    Naive Bayes over the words that a text has, scaled to be a chance.

    Args:
        photos: of each text. Both kinds of texts are of at least two photos, and all were written for their own: one
            that is true of a photo and borrowed for another tells the contrary.
    """
    pairs = [(k, word) for k, text in enumerate(texts) for word in sorted(set(re.findall(r"[a-z']+", text.lower())))]
    text_P = np.array([k for k, _ in pairs])
    word_P = np.unique([word for _, word in pairs], return_inverse=True)[1]
    photo_N = np.unique(photos, return_inverse=True)[1]
    own_P = np.unique(np.stack([photo_N[text_P], word_P]), axis=1, return_inverse=True)[1]

    def log_share(is_one_N: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(P,): how often each text's word is in texts of one kind about other photos."""
        is_one_P = is_one_N[text_P].astype(float)
        with_word_P = np.bincount(word_P, is_one_P)[word_P] - np.bincount(own_P, is_one_P)[own_P]
        all_P = is_one_N.sum() - np.bincount(photo_N, is_one_N)[photo_N[text_P]]
        return np.log((with_word_P + 0.5) / (all_P + 1))

    said_N = np.bincount(text_P, log_share(is_true_N) - log_share(~is_true_N), minlength=len(texts))
    scale, shift = platt(said_N, is_true_N)
    return 1 / (1 + np.exp(-scale * said_N - shift))


def weights_against_words(
    texts: Sequence[str], is_true_N: NDArray[np.bool_], photos: Sequence[str]
) -> NDArray[np.float64]:
    """(N,) weights, one on average for true texts and for others, under which words alone tell next to nothing.

    What their words give away weighs less, what they would get wrong more. Arguments as of `chances_by_words`.
    """
    chance_N = chances_by_words(texts, is_true_N, photos)
    weight_N = 0.5 / np.where(is_true_N, chance_N, 1 - chance_N).clip(LEAST, MOST)
    for value in (True, False):
        weight_N[is_true_N == value] /= weight_N[is_true_N == value].mean()
    return weight_N
