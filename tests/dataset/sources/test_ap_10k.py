import json

import pytest
from PIL import Image

from talking_points.dataset.scene import NamedPoint
from talking_points.dataset.scene_edits import crop, mirror, mosaic, resize
from talking_points.dataset.sources import open_source
from tests.shared import SHARED

NAME = "ap-10k"
PHOTO = "000000037516"


@pytest.fixture
def folder(tmp_path, ap_10k_writer):
    ap_10k_writer(tmp_path / "ap10k", {"train": [PHOTO], "val": ["000000000004"], "test": ["000000000009"]})
    return tmp_path / "ap10k"


def change(folder, edit):
    path = folder / "annotations" / "ap10k-train-split1.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_animals_and_their_points(folder):
    scene = open_source(NAME, folder, "train").read(PHOTO)
    # Crowds, animals without a labelled point and empty boxes are dropped, as the dataset's own loader does.
    assert [(thing.name, thing.category) for thing in scene.objects] == [("antelope", "Bovidae"), ("dog", "Canidae")]
    assert scene.objects[0].box_xyxy == (5, 10, 45, 40)
    assert scene.objects[1].box_xyxy == (50, 5, 100, 65)  # cut at the photo's edge
    assert scene.parts == ()
    assert scene.keypoints == (
        # The file counts pixels, the point is the pixel's centre.
        NamedPoint(name="left eye", x=10.5, y=20.5, visible=True, object_index=0),
        NamedPoint(name="root of the tail", x=40.5, y=30.5, visible=True, object_index=0),
        NamedPoint(name="left eye", x=60.5, y=20.5, visible=True, object_index=1),
        NamedPoint(name="right eye", x=66.5, y=20.5, visible=False, object_index=1),
        NamedPoint(name="root of the tail", x=99.5, y=40.5, visible=True, object_index=1),
    )


def test_splits(folder):
    assert [open_source(NAME, folder, split).photo_ids[0] for split in ("train", "val", "test")] == [
        PHOTO,
        "000000000004",
        "000000000009",
    ]


def test_keypoints_without_masks_cannot_be_cut(folder):
    scene = open_source(NAME, folder, "train").read(PHOTO)
    for edit in (
        lambda: crop(scene, (0, 0, 10, 10)),
        lambda: mosaic([scene], [(0, 0, 100, 80)], (100, 80)),
        lambda: mirror(scene),
        lambda: resize(scene, (200, 160)),
    ):
        with pytest.raises(ValueError, match=f"ap-10k {PHOTO} has keypoints"):
            edit()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["annotations"][0].update(category_id=77), "has category 77, which the file lacks; known are 1, 8"),
        (lambda c: c["annotations"][0].update(keypoints=[1, 2]), "2 numbers of keypoints, expected 3 for each of 3"),
        (lambda c: c["annotations"][0]["keypoints"].__setitem__(2, 3), "visibility of left_eye is 3; give 0, 1 or 2"),
        (lambda c: c["annotations"][0]["keypoints"].__setitem__(0, 101), "left_eye [101, 20] is outside the photo"),
        (lambda c: c["annotations"][0]["keypoints"].__setitem__(0, "x"), "left_eye is at [x, 20]; give finite numbers"),
        (lambda c: c["annotations"][0].pop("bbox"), "expected a bbox"),
    ],
)
def test_a_bad_record_is_left_out_and_named(folder, edit, message):
    change(folder, edit)
    scene = open_source(NAME, folder, "train").read(PHOTO)
    assert [thing.name for thing in scene.objects] == ["dog"]
    [problem] = scene.problems
    assert f"ap10k-train-split1.json: annotation 500 of {PHOTO}.jpg: " in str(problem) and message in str(problem)


def test_a_crowd_is_no_animal(folder):
    scene = open_source(NAME, folder, "train").read(PHOTO)
    assert scene.notes == ("a crowd region",) and scene.uncounted == {"dog"} and scene.problems == ()


def test_keypoints_of_stored_pixels_are_turned(folder):
    path = folder / "data" / f"{PHOTO}.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    scene = open_source(NAME, folder, "train").read(PHOTO)
    assert scene.size_wh == (80, 100)
    # The eye at 10, 20 of 100x80; a quarter turn clockwise.
    assert (scene.keypoints[0].x, scene.keypoints[0].y) == (80 - 20.5, 10.5)
    assert scene.objects[0].box_xyxy == (80 - 40, 5, 80 - 10, 45)
    assert scene.notes[0] == "labels of a photo's stored pixels, turned upright with it"


def test_a_photo_of_another_size(folder):
    change(folder, lambda c: c["images"][0].update(width=80))
    with pytest.raises(ValueError, match=f"{PHOTO}.jpg: is 100x80, but .* says 80x80"):
        open_source(NAME, folder, "train").read(PHOTO)


def test_missing_files(folder):
    (folder / "data" / f"{PHOTO}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=f"no such photo: .*{PHOTO}.jpg"):
        open_source(NAME, folder, "train").read(PHOTO)
    with pytest.raises(FileNotFoundError, match="ap10k-train-split1.json is missing"):
        open_source(NAME, folder / "data", "train")


@pytest.mark.skipif(not (SHARED / "data" / "ap10k_sample").is_dir(), reason="needs ../shared/data/ap10k_sample")
def test_the_published_sample():
    source = open_source(NAME, SHARED / "data" / "ap10k_sample", "test")
    scenes = [source.read(photo_id) for photo_id in source.photo_ids]
    assert [scene.objects[0].category for scene in scenes] == ["Bovidae", "Felidae"]
    assert [len(scene.keypoints) for scene in scenes] == [16, 16]
    for scene in scenes:
        x0, y0, x1, y1 = scene.objects[0].box_xyxy
        assert all(x0 - 20 <= point.x <= x1 + 20 and y0 - 20 <= point.y <= y1 + 20 for point in scene.keypoints)
