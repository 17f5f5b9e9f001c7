"""Labels of a photo's stored pixels, turned into the upright photo.

A camera held on its side stores the photo as its sensor saw it, and an EXIF orientation of how to show it. Photos are
opened upright here. Some tools label the one, some the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talking_points.dataset.places import Box
from talking_points.dataset.problems import refuse

FRAMES = ("stored", "upright")
"""What "labels_frame" may say."""
TURNED_NOTE = "labels of a photo's stored pixels, turned upright with it"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFrame:
    """How labels are turned into the frame of the upright photo."""

    orientation: int
    """EXIF's number of the turn, 1 to 8; 1 where the labels are of the upright photo already."""
    size_wh: tuple[int, int]
    """Of the upright photo, in pixels."""

    @property
    def own_wh(self) -> tuple[int, int]:
        """Size of the photo as the labels see it."""
        return self.size_wh[::-1] if self.orientation >= 5 else self.size_wh

    @property
    def notes(self) -> tuple[str, ...]:
        """For `Scene.notes`: what was done, if anything."""
        return () if self.orientation == 1 else (TURNED_NOTE,)

    def turn_map(self, labels: np.ndarray) -> np.ndarray:
        """An (h, w) map of the labels' frame, such as a mask, as the (H, W) map of the upright photo."""
        match self.orientation:
            case 2:
                labels = labels[:, ::-1]
            case 3:
                labels = labels[::-1, ::-1]
            case 4:
                labels = labels[::-1]
            case 5:
                labels = labels.T
            case 6:
                labels = labels[::-1].T
            case 7:
                labels = labels[::-1, ::-1].T
            case 8:
                labels = labels[:, ::-1].T
        return np.ascontiguousarray(labels)

    def turn_points(self, points: np.ndarray) -> np.ndarray:
        """Points of the labels' frame as points of the upright photo.

        Args:
            points: (N, 2) x and y, in pixels counted from the corner: the centre of the first pixel is (0.5, 0.5).
        """
        x, y = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
        width, height = self.own_wh
        if self.orientation in (2, 3, 7, 8):
            x = width - x
        if self.orientation in (3, 4, 6, 7):
            y = height - y
        return np.stack((y, x) if self.orientation >= 5 else (x, y), axis=1)

    def turn_box(self, box_xyxy: Box) -> Box:
        """A box x0, y0, x1, y1 of the labels' frame as that of the upright photo."""
        (ax, ay), (bx, by) = self.turn_points(np.array(box_xyxy).reshape(2, 2)).tolist()
        return (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))


def frame_of_labels(
    file: Path,
    orientation: int,
    size_wh: tuple[int, ...],
    own_wh: tuple[int, ...] | None,
    *,
    said: str | None,
    where: Path,
    tolerance: float = 0.0,
) -> LabelFrame:
    """In which frame a photo's labels are: as somebody says, or as the sizes tell.

    Args:
        file: the photo or its label map, for the error.
        orientation: by which the photo was turned when it was opened.
        size_wh: of the upright photo.
        own_wh: size of the photo as the labels say it; None where they do not.
        said: "stored", "upright", or None where nothing is said.
        where: the file in which "labels_frame" can be said.
        tolerance: shapes are equal whose aspect ratios agree within this share.

    Returns:
        The frame. Whether `own_wh` fits it is the caller's to check.

    Raises:
        LabelError: the photo is turned, nothing is said, and the sizes cannot tell.
    """
    upright = LabelFrame(orientation=1, size_wh=(size_wh[0], size_wh[1]))
    stored = LabelFrame(orientation=orientation, size_wh=upright.size_wh)
    if orientation == 1 or said == "upright":
        return upright
    if said == "stored":
        return stored
    if own_wh is not None and orientation >= 5:
        own = (own_wh[0], own_wh[1])
        for fits in (
            (own == stored.own_wh, own == upright.own_wh),
            (
                same_shape(own, stored.own_wh, tolerance),
                same_shape(own, upright.own_wh, tolerance),
            ),
        ):
            if fits[0] != fits[1]:
                return stored if fits[0] else upright
        if not any(fits):
            return upright
    raise refuse(
        file,
        "",
        f"the photo has EXIF orientation {orientation}, and the sizes do not tell whether its labels are of the stored "
        "or of the upright pixels",
        f'write "labels_frame": "stored" or "labels_frame": "upright" into {where}',
    )


def read_said_frame(value: object, where: Path) -> str | None:
    """What "labels_frame" says: "stored", "upright" or None; anything else is a LabelError."""
    if value is None or value in FRAMES:
        return None if value is None else str(value)
    raise refuse(where, "labels_frame", f"is {value!r}", 'expected "stored" or "upright"')


def same_shape(one_wh: tuple[int, ...], other_wh: tuple[int, ...], tolerance: float) -> bool:
    """Whether two sizes are equal, or their aspect ratios agree within a share."""
    if tolerance == 0:
        return tuple(one_wh) == tuple(other_wh)
    return abs((one_wh[0] / one_wh[1]) / (other_wh[0] / other_wh[1]) - 1) <= tolerance
