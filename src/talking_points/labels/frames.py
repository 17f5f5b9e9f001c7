"""In which frame labels are: of a photo's pixels as it is stored, or upright as it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from talking_points.labels.problems import refuse

FRAMES = ("stored", "upright")
"""What "labels_frame" may say."""
TURNED_NOTE = "labels of a photo's stored pixels, turned upright with it"

_AXES = {1: "", 2: "x", 3: "xy", 4: "y", 5: "", 6: "y", 7: "xy", 8: "x"}
"""Axes that are reversed by each EXIF orientation; from 5 on they are exchanged after that."""


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
        axes = _AXES[self.orientation]
        labels = labels[:: -1 if "y" in axes else 1, :: -1 if "x" in axes else 1]
        return np.ascontiguousarray(labels.T if self.orientation >= 5 else labels)

    def turn_points(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) points of the labels' frame as points of the upright photo; both in pixels from the corner."""
        x, y = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
        width, height = self.own_wh
        x = width - x if "x" in _AXES[self.orientation] else x
        y = height - y if "y" in _AXES[self.orientation] else y
        return np.stack((y, x) if self.orientation >= 5 else (x, y), axis=1)


def frame_of_labels(
    size_wh: tuple[int, int],
    orientation: int,
    own_wh: tuple[int, int] | None,
    *,
    file: Path,
    said: str | None = None,
    where: Path | None = None,
    tolerance: float = 0.0,
) -> LabelFrame:
    """In which frame a photo's labels are: as somebody says, or as the sizes tell; else it is a LabelError.

    A camera held on its side stores the photo as its sensor saw it, and an EXIF orientation of how to show it. Photos
    are opened upright here; some tools label the one, some the other. Whether `own_wh` fits the frame is the caller's
    to check.

    Args:
        size_wh: of the photo as it was opened, upright.
        orientation: EXIF's, by which its stored pixels were turned.
        own_wh: size of the photo as the labels say it; None where they do not.
        file: what to name in the error.
        said: what "labels_frame" says, which can be said in the file `where`; None where nothing is said.
        tolerance: shapes are equal whose aspect ratios agree within this share.
    """
    upright, stored = (LabelFrame(orientation=number, size_wh=size_wh) for number in (1, orientation))
    if orientation == 1 or said is not None:
        return stored if said == "stored" else upright
    if own_wh is not None and orientation >= 5:
        # Of an almost square photo, only the exact size tells.
        for share in (0.0, tolerance):
            fits = [same_shape(own_wh, frame.own_wh, share) for frame in (stored, upright)]
            if fits[0] != fits[1]:
                return stored if fits[0] else upright
        if not any(fits):
            return upright
    found = (
        f"the photo has EXIF orientation {orientation}, and the sizes do not tell whether its labels are of the stored "
        "or of the upright pixels"
    )
    remedy = "save the photo without EXIF orientation, in the labels' frame"
    raise refuse(file, "", found, say_frame(where) if where else remedy)


def say_frame(where: Path) -> str:
    """The remedy: where to say what the frame is."""
    return f'write "labels_frame": "stored" or "labels_frame": "upright" into {where}'


def read_said_frame(value: object, where: Path) -> str | None:
    """What "labels_frame" says: "stored", "upright" or None; anything else is a LabelError."""
    if value is None or value in FRAMES:
        return None if value is None else str(value)
    raise refuse(where, "labels_frame", f"is {value!r}", 'expected "stored" or "upright"')


def same_shape(one_wh: tuple[int, int], other_wh: tuple[int, int], tolerance: float) -> bool:
    """Whether two sizes are equal, or their aspect ratios agree within a share."""
    if tolerance == 0:
        return one_wh == other_wh
    return abs((one_wh[0] / one_wh[1]) / (other_wh[0] / other_wh[1]) - 1) <= tolerance
