import gzip
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.sources.reading import (
    SourcePhoto,
    is_held_out,
    of_split,
    present_labels,
    read_labels,
    read_photo,
    split_blobs,
    stems,
)
from talking_points.labels.finding import find_photos
from talking_points.labels.frames import TURNED_NOTE, LabelFrame, frame_of_labels, read_said_frame
from talking_points.labels.problems import LabelError
from talking_points.labels.reading import read_json


def blank(width, height):
    return SourcePhoto(path=Path("a.jpg"), pixels=np.zeros((height, width, 3), np.uint8), orientation=1)


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
    assert read_photo(path).pixels.shape == (30, 20, 3)


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such photo: .*nowhere.jpg"):
        read_photo(tmp_path / "nowhere.jpg")
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(ValueError, match="text.jpg is not a photo"):
        read_photo(tmp_path / "text.jpg")
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(ValueError, match="half.json: is not valid JSON"):
        read_json(tmp_path / "half.json")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="deep.json: is not valid JSON"):
        read_json(tmp_path / "deep.json")
    with pytest.raises(FileNotFoundError, match="no.json is missing"):
        read_json(tmp_path / "no.json")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_labels_keep_their_values(tmp_path, depth):
    labels = np.array([[0, 1, 2], [233, 254, np.iinfo(depth).max]], dtype=depth)
    Image.fromarray(labels).save(tmp_path / "a.png")
    found = read_labels(tmp_path / "a.png", blank(3, 2))[0]
    assert found.tolist() == labels.tolist()
    assert present_labels(found) == sorted(int(value) for value in labels.ravel())


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("JPEG", {}, "is a JPEG, which"),
        ("MPO", {"save_all": True, "append_images": [Image.new("L", (3, 2))]}, "is a JPEG, which"),
        ("JPEG2000", {}, "is a JPEG 2000, which"),
        ("WEBP", {}, "is a WebP, which"),
        ("TIFF", {"compression": "jpeg"}, "is a TIFF with lossy compression, which"),
    ],
)
def test_lossy_formats_hold_no_labels_whatever_the_ending(tmp_path, kind, options, said):
    Image.fromarray(np.array([[0, 1, 2], [3, 4, 5]], np.uint8)).save(tmp_path / "a.png", kind, **options)
    with pytest.raises(LabelError, match=f"a.png: {said} changes labels; write the labels anew as a PNG"):
        read_labels(tmp_path / "a.png", blank(3, 2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_lossless_formats_do(tmp_path, kind):
    Image.fromarray(np.array([[0, 1, 2], [3, 4, 5]], np.uint8)).save(tmp_path / "a.png", kind)
    assert read_labels(tmp_path / "a.png", blank(3, 2))[0].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is not a label map: it is empty; copy it anew"),
        (b"8BPS" + bytes(40), "is not a label map: it is Photoshop's PSD; write it anew as a PNG"),
        (b"no picture", "cannot be read as a label map: cannot identify"),
    ],
)
def test_what_a_label_map_is_instead(tmp_path, content, said):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(LabelError, match=f"a.png: {said}"):
        read_labels(tmp_path / "a.png", blank(3, 2))


def test_one_huge_label_costs_no_room_for_all_below_it():
    began = time.monotonic()
    assert present_labels(np.array([[0, 7, 2**31 - 2]], np.int32)) == [0, 7, 2**31 - 2]
    assert time.monotonic() - began < 1


def test_palettes_are_not_looked_up(tmp_path):
    image = Image.fromarray(np.array([[0, 3], [7, 9]], dtype=np.uint8), mode="P")
    image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", blank(2, 2))[0].tolist() == [[0, 3], [7, 9]]


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_json_with_and_without_a_byte_order_mark(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes('{"names": ["Ärmel"]}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"names": ["Ärmel"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<annotation><folder>VOC2012</folder></annotation>", "it looks like XML, as PASCAL VOC"),
        (b'{"a": 1}\n{"a": 2}\n', "it looks like JSON lines"),
        (gzip.compress(b'{"a": 1}', mtime=0), "it is packed by gzip; unpack it"),
        (b"", "it is empty; copy it anew"),
        (b" \n", "it is empty; copy it anew"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a pointer of Git LFS; .*git lfs pull"),
        (b"8BPS" + bytes(40), "it is Photoshop's PSD; give the file of the labels"),
        (b'{"a": [{"b": 1, "b": 1}]}', '"b" is given twice in an object'),
        ('{"a": "Ärmel"}'.encode("latin-1"), "its text is not UTF-8; save it as UTF-8"),
    ],
)
def test_other_files_are_told(tmp_path, content, said):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(LabelError, match=f"a.json: is not valid JSON: {said}") as raised:
        read_json(tmp_path / "a.json")
    assert "\n" not in str(raised.value)


def test_photos_are_found_under_almost_their_names(tmp_path):
    on_disk = ["a.JPG", "Cafe\u0301.jpg", "b.jpg", "B.jpg", "c d.png", "sub/e.jpg", "f.jpg"]
    for name in on_disk:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    wanted = {
        "a": "a.jpg",
        "cafe": "Caf\u00e9.jpg",
        "b": "b.jpg",
        "B": "B.jpg",
        "c d": "c%20d.png",
        "e": "sub/e.jpg",
        "f": "somewhere/else/f.jpg",
        "missing": "g.jpg",
        "out": "../../f2.jpg",
    }
    found = {photo_id: str(path.relative_to(tmp_path)) for photo_id, path in find_photos(tmp_path, wanted).items()}
    assert found == {
        "a": "a.JPG",
        "cafe": "Cafe\u0301.jpg",
        "b": "b.jpg",
        "B": "B.jpg",
        "c d": "c d.png",
        "e": "sub/e.jpg",
        "f": "f.jpg",
        "missing": "g.jpg",
        "out": "f2.jpg",
    }


def test_no_photo_is_given_twice(tmp_path):
    (tmp_path / "a.jpg").touch()
    found = find_photos(tmp_path, {"A": "A.jpg", "a": "a.jpg"})
    assert found == {"A": tmp_path / "A.jpg", "a": tmp_path / "a.jpg"}
    # Without its folder a name may be of several photos.
    found = find_photos(tmp_path, {"x": "x/a.jpg", "y": "y/a.jpg"})
    assert found == {"x": tmp_path / "x" / "a.jpg", "y": tmp_path / "y" / "a.jpg"}
    found = find_photos(tmp_path, {"x": "x/a.jpg", "a": "a.jpg", "again": "a.jpg"})
    assert found == {"x": tmp_path / "x" / "a.jpg", "a": tmp_path / "a.jpg", "again": tmp_path / "a.jpg"}
    (tmp_path / "b.JPG").touch()
    (tmp_path / "b.jpg").touch()
    assert find_photos(tmp_path, {"b": "b.Jpg"}) == {"b": tmp_path / "b.Jpg"}
    assert find_photos(tmp_path / "nowhere", {"b": "b.jpg"}) == {"b": tmp_path / "nowhere" / "b.jpg"}


def test_one_bit_maps_are_numbers(tmp_path):
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert read_labels(tmp_path / "a.png", blank(2, 1))[0].tolist() == [[0, 1]]


# --- the frame of labels --------------------------------------------------------------------------------------

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
    return frame_of_labels(
        size_wh, orientation, own_wh, file=Path("a.jpg"), said=said, where=HERE, tolerance=tolerance
    ).orientation


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
