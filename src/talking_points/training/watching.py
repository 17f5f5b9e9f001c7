"""A reinforcement watched: greedy texts of held-out points, found again every so many steps, and rules that stop it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from talking_points.bases.base import Base
from talking_points.evaluation.metrics import mpck, normalised_errors, pck
from talking_points.evaluation.protocol import describe_samples, localize_texts
from talking_points.evaluation.samples import Sample
from talking_points.files import write_whole
from talking_points.model.weights import read_tensors
from talking_points.pages import counted, render
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.pointing.encoding import PhotoCache
from talking_points.pointing.localizer import PointLocalizer
from talking_points.training.grpo import distinct_share
from talking_points.training.loop import Metrics, is_main_process
from talking_points.training.policy import Policy
from talking_points.training.settings import GRPOSettings

log = logging.getLogger(__name__)

SHOWN = 20
"""Texts in the table of an evaluation."""
MAX_BROKEN = 0.5
"""A step with a larger share of empty or cut-off texts stops the training. Ours."""
MIN_DISTINCT = 0.2
"""A step with a smaller share of different texts among its points' stops the training. Ours."""
FLAT_SHARE, FLAT_STEPS = 0.9, 5
"""So many steps in a row in which at least this share of the groups has no spread are told: little is learnt. Ours."""


class Watch:
    """Told of each step, see `loop.OnStep`; evaluates when it is time to, and ends what goes wrong.

    `NNNNNN.json` and `NNNNNN.md` in `out/evaluations/` are of the weights after that many steps.
    """

    def __init__(
        self,
        policy: Policy,
        localizers: Mapping[str, Base],
        samples: Sequence[Sample],
        settings: GRPOSettings,
        *,
        steps: int,
    ) -> None:
        """
        Args:
            localizers: by a name, those that find the texts.
            samples: held-out points.
            steps: of the training.
        """
        self.policy, self.localizers, self.samples, self.settings = policy, localizers, samples, settings
        self.folder, self.steps = settings.out / "evaluations", steps
        self.scores: Metrics = {}
        """Of the newest evaluation."""
        self.stopped: str | None = None
        """At which step, and why, a rule ended the training."""
        self._flat = 0

    def __call__(self, done: int, metrics: Metrics) -> bool:
        self._tell_flat(done, metrics)
        reason = stop_reason(self.settings, metrics) if metrics else None
        if reason is not None:
            self.stopped = f"step {done}: {reason}"
        elif done % self.settings.evaluate_every == 0 or done == self.steps:
            self._score(self.evaluate(done))
        elif not metrics:
            newest = done - done % self.settings.evaluate_every
            self._score(json.loads(self._path(newest, "json").read_text()))
        return self.stopped is not None

    def _tell_flat(self, done: int, metrics: Metrics) -> None:
        """Warn when rewards have had no spread for some steps: the training goes on, and teaches next to nothing."""
        self._flat = self._flat + 1 if metrics.get("flat_groups", 0.0) >= FLAT_SHARE else 0
        if self._flat == min(FLAT_STEPS, self.steps):
            log.warning(
                "step %d: for %d steps the texts of nearly every point earned the same, which teaches nothing; "
                "give a higher --temperature (it is %g), or a larger --group-size (%d)",
                done,
                self._flat,
                self.settings.temperature,
                self.settings.group_size,
            )

    def _score(self, found: Mapping[str, Any]) -> None:
        self.scores = {f"held_out_{name}": scores["mpck"] for name, scores in found["localizers"].items()}

    def evaluate(self, steps: int) -> dict[str, Any]:
        """Describe and find again; the weights are kept beside, for a training that a rule stops later."""
        held_out = counted(len(self.samples), "held-out point")
        log.info("after %s: describing %s and finding them again", counted(steps, "step"), held_out)
        # A cache of its own: photos are encoded in the same company each time, and so to the last bit the same.
        own, cache = self.policy.base, PhotoCache()
        texts = describe_samples(PointDescriptor(own, cache=cache), self.samples)
        true_px, sizes = [s.point_px for s in self.samples], [s.size_wh for s in self.samples]
        errors: dict[str, NDArray[np.float64]] = {}
        for name, base in self.localizers.items():
            readable = [text if base.prompts.is_readable(text) else "" for text in texts]
            judge = PointLocalizer(base, cache=cache if base is own else None)
            found_px = localize_texts(judge, self.samples, readable)
            errors[name] = normalised_errors(found_px, true_px, sizes)
        found: dict[str, Any] = {
            "steps": steps,
            "points": len(texts),
            "words": float(np.mean([len(text.split()) for text in texts])),
            "distinct_1": distinct_share(texts, 1),
            "distinct_2": distinct_share(texts, 2),
            "own_text": len(set(texts)) / len(texts),
            "localizers": {
                name: {"mpck": mpck(e), "pck@0.1": pck(e, 0.1), "pck@0.2": pck(e, 0.2)} for name, e in errors.items()
            },
        }
        if not is_main_process():
            # It looks, too: what it would wait for is as long, and all know the scores.
            return found
        self.folder.mkdir(parents=True, exist_ok=True)
        shown = _shown(self.samples, texts, errors)
        write_whole(self._path(steps, "md"), render(__package__, "evaluation.md.j2", found=found, shown=shown))
        write_whole(self._path(steps, "json"), json.dumps(found, indent=2) + "\n")
        new = self._weights.with_suffix(".new")
        save_file(dict(self.policy.parameters), new, metadata={"steps": str(steps)})
        new.replace(self._weights)
        scores = ", ".join(f"{name} {scores['mpck']:.1f}" for name, scores in found["localizers"].items())
        log.info("after %s, held-out mPCK: %s; texts in %s", counted(steps, "step"), scores, self._path(steps, "md"))
        return found

    def newest_weights(self) -> tuple[int, dict[str, Tensor]]:
        """Those of the last evaluation, and after how many steps they are."""
        with safe_open(self._weights, framework="pt") as file:
            return int(file.metadata()["steps"]), read_tensors(self._weights)

    @property
    def _weights(self) -> Path:
        return self.folder / "evaluated.safetensors"

    def _path(self, steps: int, ending: str) -> Path:
        return self.folder / f"{steps:06d}.{ending}"


def stop_reason(settings: GRPOSettings, metrics: Metrics) -> str | None:
    """Why a training must not go on after a step with these metrics; None: it may."""
    kl, broken, own = metrics["kl"], metrics["broken"], metrics["own_text"]
    if kl > settings.max_kl:
        return f"KL is {kl:.3f} nats a token, above {settings.max_kl:g}"
    if broken > MAX_BROKEN:
        return f"{broken:.0%} of the texts are empty or cut off, more than {MAX_BROKEN:.0%}"
    if own < MIN_DISTINCT:
        return f"only {own:.0%} of the points have a text of their own, less than {MIN_DISTINCT:.0%}"
    return None


def _shown(samples: Sequence[Sample], texts: Sequence[str], errors: Mapping[str, NDArray[np.float64]]) -> list[Any]:
    """Cells of some texts, of all photos and not of the first ones, with how far from their points they lead."""
    rows = []
    for k in np.linspace(0, len(samples) - 1, min(SHOWN, len(samples))).astype(int):
        sample = samples[k]
        on = " ".join(filter(None, (sample.object_name, sample.part_name)))
        point = "{:.0f}, {:.0f}".format(*sample.point_px)
        rows.append([sample.photo_id, point, on, *(f"{one[k]:.3f}" for one in errors.values()), texts[k]])
    return rows
