"""The frozen localizer as a reward function of other people's trainers, and how TRL is told the paper's objective.

`train grpo` reinforces a descriptor of ours. Another model, one that is asked in chat, learns in TRL's `GRPOTrainer`
by the same reward. Nothing here imports TRL.
"""

# N texts

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from talking_points.pointing.descriptor import MAX_NEW_TOKENS
from talking_points.pointing.interfaces import LocalizerRole
from talking_points.pointing.localizer import PointLocalizer
from talking_points.pointing.prepared import Photo, Prepared
from talking_points.points import check_point
from talking_points.training.grpo import REWARDS, distances
from talking_points.training.roles import own_device

PAPER_SETTINGS: Mapping[str, Any] = {
    "num_generations": 3,
    "per_device_train_batch_size": 30,
    "num_train_epochs": 3,
    "learning_rate": 5e-6,
    "beta": 0.1,
    "temperature": 1.0,
    "max_completion_length": MAX_NEW_TOKENS,
    "loss_type": "grpo",
    "num_iterations": 1,
    "scale_rewards": "group",
    "reward_weights": [1000.0],
    "use_bias_correction_kl": False,
    "disable_dropout": True,
}
"""Keywords of `trl.GRPOConfig` with which its trainer takes the paper's steps (3.4, A.3); a batch is 10 points' texts.

`reward_weights` is ours: TRL adds 1e-4 to a group's standard deviation before it divides by it, which a thousandfold
reward makes nothing of. Advantages are the same at any scale."""


class LocalizerReward:
    """How near a frozen localizer finds a point from each text: a reward function for TRL's `GRPOTrainer`.

    The data has the columns `point` (x, y in pixels of the photo as opened) and `photo` (a path, a Pillow image or an
    array), or `image`, as TRL calls the picture that the model is shown, too. Photos are encoded once and kept, as many
    as fit into the localizer's cache; equal texts of a photo are found once, and so earn exactly the same.

    Example:
        >>> reward = LocalizerReward("mini")
        >>> from talking_points.demo import demo_photos
        >>> photo = demo_photos()[0].path
        >>> rewards = reward(["the cap", "the left hand", ""], photo=[photo] * 3, point=[(250, 120)] * 3)
        >>> [round(one, 3) for one in rewards]
        [-0.006, -0.041, -1.0]
    """

    __name__ = "localizer"
    """TRL's logs have it as `rewards/localizer/mean`."""

    def __init__(
        self, model: str | Path | LocalizerRole = "mini", *, reward: str = "mse", device: str | None = None
    ) -> None:
        """
        Args:
            model: a checkpoint of ours with a localizer; or a localizer, such as `TalkingPoints.localizer` of a stock
                model or an endpoint.
            reward: "mse", the paper's, or "distance"; see `grpo.REWARDS`.
            device: of a checkpoint; None: each process of a training takes its own GPU where there is one.

        Raises:
            ValueError: no such model or reward; says what is allowed.
        """
        if reward not in REWARDS:
            raise ValueError(f"reward is {reward!r}; allowed: {', '.join(REWARDS)}")
        if isinstance(model, (str, Path)):
            model = PointLocalizer.from_pretrained(model, device=str(own_device(device)))
        self.localizer = model
        self._earned = REWARDS[reward]

    def __call__(
        self,
        completions: Sequence[Any],
        *,
        point: Sequence[Sequence[float] | None] | None = None,
        photo: Sequence[Photo | None] | None = None,
        image: Sequence[Photo | None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Rewards of N texts.

        Args:
            completions: texts, or chats that end with the assistant's message.
            point, photo, image: columns of the data, one entry a text.
            log_metric: TRL's; told the shares of texts found within 0.1 and 0.2, and of those that cannot be read.

        Returns:
            One a text: minus the mean of the two squared errors in the photo's [0, 1]^2, or minus the distance. A text
            that cannot be read (it is empty, spells a reserved token, or is too long) earns what one found in the
            opposite corner does: were it None, TRL would leave it unpunished. None is for a row whose `point` is None,
            of another task.

        Raises:
            ValueError, FileNotFoundError: a column is missing, a photo cannot be read, or a point is outside; says
                which.
        """
        photos = photo if photo is not None else image
        if point is None or photos is None:
            lacking = "point" if point is None else "photo"
            raise ValueError(f"the data has no column {lacking!r}; a reward needs 'point', and 'photo' or 'image'")
        texts = [_text(one) for one in completions]
        true_N2, found_N2 = torch.full((2, len(texts), 2), torch.nan)
        points = {n: one for n, one in enumerate(point) if one is not None}
        opened = self._opened({n: photos[n] for n in points})
        asked: dict[tuple[bytes, str], tuple[Any, str]] = {}
        for n, seen in opened.items():
            try:
                true_N2[n] = torch.tensor(check_point(points[n], seen.size_wh)) / torch.tensor(seen.size_wh)
            except ValueError as error:
                raise ValueError(f"row {n + 1}: {error}") from None
            if self._is_readable(texts[n]):
                asked[seen.key, texts[n]] = seen, texts[n]
        answers = dict(zip(asked, self.localizer.locate_many(list(asked.values())), strict=True))
        for n, seen in opened.items():
            if (answer := answers.get((seen.key, texts[n]))) is not None:
                found_N2[n] = torch.tensor(answer.point_px) / torch.tensor(seen.size_wh)
        distance_N = distances(found_N2, true_N2)
        if log_metric is not None and points:
            rows = list(points)
            for bound in (0.1, 0.2):
                log_metric(f"within_{bound}", float((distance_N[rows] < bound).float().mean()))
            log_metric("unreadable", float(found_N2[rows].isnan().any(-1).float().mean()))
        earned = self._earned(distance_N).tolist()
        return [None if one is None else reward for reward, one in zip(earned, point, strict=True)]

    def _opened(self, photos: Mapping[int, Photo | None]) -> dict[int, Prepared]:
        """Photos by row, opened; one path or object is opened once."""
        known: dict[str | int, Prepared] = {}
        opened = {}
        for n, photo in photos.items():
            if photo is None:
                raise ValueError(f"row {n + 1} has a point and no photo; give both, or neither")
            name = str(photo) if isinstance(photo, (str, Path)) else id(photo)
            if name not in known:
                known[name] = self.localizer.prepare(photo)
            opened[n] = known[name]
        return opened

    def _is_readable(self, text: str) -> bool:
        try:
            self.localizer.check_text(text)
        except ValueError:
            return False
        return True


def _text(completion: Any) -> str:
    """What a model said: a text, or the last message of a chat, whose content is a text or a list of parts."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] or ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part["type"] == "text")
