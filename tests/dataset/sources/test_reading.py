import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources.reading import (
    is_held_out,
    of_split,
    present_labels,
    read_json,
    read_labels,
    read_photo,
    split_blobs,
    stems,
)


def test_val_is_about_eight_percent_and_disjoint():
    ids = [f"{number:04d}" for number in range(2000)]
    val = [photo_id for photo_id in ids if of_split(photo_id, "val")]
    assert 0.06 < len(val) / len(ids) < 0.10
    assert all(of_split(photo_id, "train") != of_split(photo_id, "val") for photo_id in ids)
    assert all(of_split(photo_id, "test") for photo_id in ids)


def test_val_never_changes():
    # Written down once: a change would leak validation photos into training.
    assert [n for n in range(60) if is_held_out(f"{n:04d}")] == [4]


def test_photo_with_exif_rotation_is_turned(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert read_photo(path).shape == (30, 20, 3)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such photo: .*nowhere.jpg"):
        read_photo(tmp_path / "nowhere.jpg")
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(ValueError, match="text.jpg is not a photo"):
        read_photo(tmp_path / "text.jpg")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(ValueError, match="half.json is not valid JSON"):
        read_json(tmp_path / "half.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="deep.json is not valid JSON"):
        read_json(tmp_path / "deep.json")
    with pytest.raises(FileNotFoundError, match="no.json is missing"):
        read_json(tmp_path / "no.json")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_labels_keep_their_values(tmp_path, depth):
    labels = np.array([[0, 1, 2], [233, 254, np.iinfo(depth).max]], dtype=depth)
    Image.fromarray(labels).save(tmp_path / "a.png")
    found = read_labels(tmp_path / "a.png", np.zeros((2, 3, 3), np.uint8))
    assert found.tolist() == labels.tolist()
    assert present_labels(found) == sorted(int(value) for value in labels.ravel())


def test_palettes_are_not_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 3], [7, 9]], dtype=np.uint8), mode="P")
    image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8)).tolist() == [[0, 3], [7, 9]]


def test_stems_pass_over_macos_files(tmp_path):
    for name in ("a.jpg", "b.c.jpg", "._a.jpg", "d.JPG", "e.png"):
        (tmp_path / name).touch()
    assert stems(tmp_path, ".jpg") == {"a", "b.c"}


def test_split_blobs_keeps_big_ones_and_gives_crumbs_away():
    mask = np.zeros((40, 80), dtype=bool)
    mask[10:30, 50:70] = True  # big, right
    mask[10:30, 5:25] = True  # big, left
    mask[5:7, 20:22] = True  # a crumb near the left one
    left, right = split_blobs(mask)
    assert np.array_equal(left | right, mask)
    assert left[5, 20]
    assert left.sum() == 404
    assert right.sum() == 400


def test_split_blobs_of_little():
    assert split_blobs(np.zeros((5, 5), dtype=bool)) == []
    speck = np.zeros((5, 5), dtype=bool)
    speck[2, 2] = True
    assert [blob.sum() for blob in split_blobs(speck)] == [1]
