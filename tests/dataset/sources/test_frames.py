from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.problems import LabelError
from talking_points.dataset.sources.reading import (
    TURNED_NOTE,
    LabelFrame,
    SourcePhoto,
    frame_of_labels,
    read_photo,
    read_said_frame,
)

HERE = Path("labels.json")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_maps_points_and_boxes_turn_as_photos_do(tmp_path, orientation):
    stored = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) * 7
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    opened = read_photo(tmp_path / "a.png")
    photo = opened.pixels
    assert opened.orientation == orientation
    frame = LabelFrame(orientation=orientation, size_wh=photo.shape[1::-1])
    assert frame.own_wh == (7, 5)
    assert np.array_equal(frame.turn_map(stored), photo[:, :, 0])
    # The centre of each stored pixel lands in the pixel of the same value.
    for row in range(5):
        for column in range(7):
            [(x, y)] = frame.turn_points(np.array([[column + 0.5, row + 0.5]]))
            assert photo[int(y), int(x), 0] == stored[row, column]
    assert frame.notes == ((TURNED_NOTE,) if orientation > 1 else ())


def test_points_worked_out_by_hand():
    # A stored 7x5 photo; a quarter turn clockwise brings its top left corner to the top right.
    assert LabelFrame(orientation=6, size_wh=(5, 7)).turn_points(np.array([[0, 0], [7, 0]])).tolist() == [
        [5, 0],
        [5, 7],
    ]
    assert LabelFrame(orientation=8, size_wh=(5, 7)).turn_points(np.array([[0, 0], [7, 0]])).tolist() == [
        [0, 7],
        [0, 0],
    ]
    assert LabelFrame(orientation=3, size_wh=(7, 5)).turn_points(np.array([[1, 2]])).tolist() == [[6, 3]]


def frame(orientation, size_wh, own_wh, said=None, tolerance=0.0):
    photo = SourcePhoto(
        path=Path("a.jpg"), pixels=np.zeros((size_wh[1], size_wh[0], 3), np.uint8), orientation=orientation
    )
    return frame_of_labels(photo, own_wh, said=said, where=HERE, tolerance=tolerance).orientation


def test_the_sizes_tell():
    assert frame(6, (50, 70), (70, 50)) == 6
    assert frame(6, (50, 70), (50, 70)) == 1
    assert frame(6, (50, 70), (140, 100), tolerance=0.02) == 6
    assert frame(6, (50, 70), (100, 140), tolerance=0.02) == 1
    # Almost square: only the exact size tells.
    assert frame(8, (100, 101), (101, 100), tolerance=0.02) == 8
    assert frame(1, (50, 70), None) == 1
    # Another size altogether is the caller's to refuse.
    assert frame(6, (50, 70), (33, 90), tolerance=0.02) == 1


@pytest.mark.parametrize(
    ("orientation", "size_wh", "own_wh"),
    [(3, (50, 70), (50, 70)), (2, (50, 70), (50, 70)), (6, (50, 50), (50, 50)), (6, (50, 70), None)],
)
def test_where_they_do_not_somebody_must_say(orientation, size_wh, own_wh):
    with pytest.raises(LabelError, match=f'a.jpg: the photo has EXIF orientation {orientation}.*"stored".*labels.json'):
        frame(orientation, size_wh, own_wh)
    assert frame(orientation, size_wh, own_wh, said="stored") == orientation
    assert frame(orientation, size_wh, own_wh, said="upright") == 1


def test_what_may_be_said():
    assert [read_said_frame(value, HERE) for value in (None, "stored", "upright")] == [None, "stored", "upright"]
    for value in ("raw", 3, ["stored"]):
        with pytest.raises(LabelError, match='labels.json: labels_frame: is .*; expected "stored" or "upright"'):
            read_said_frame(value, HERE)
