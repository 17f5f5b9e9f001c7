import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.coco_masks import PERCENT_NOTE
from talking_points.labels.problems import LabelError
from tests.conftest import rectangle

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "car_parts"


def read_all(folder: Path, split: str) -> list[Scene]:
    source = open_source("coco-parts", folder, split)
    return [source.read(photo_id) for photo_id in source.photo_ids]


@pytest.fixture
def folder(tmp_path, coco_writer):
    coco_writer(tmp_path / "cars", [f"car{number}" for number in range(3)])
    return tmp_path / "cars"


def change(folder, edit):
    path = folder / "test" / "annotations.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_categories_become_words_and_wheels_are_told_apart(folder):
    scenes = read_all(folder, "test")
    # "empty" has no annotations and is passed over.
    assert [scene.photo_id for scene in scenes] == ["car0", "car1", "car2"]
    scene = scenes[0]
    assert scene.source == "cars"
    assert Counter(part.name for part in scene.parts) == Counter(
        {"front left door": 1, "left mirror": 1, "rear window": 1, "wheel": 2}
    )
    assert [thing.name for thing in scene.objects] == ["car"]
    left, right = [part for part in scene.parts if part.name == "wheel"]
    assert left.box_xyxy[0] == pytest.approx(10, abs=1)
    assert right.box_xyxy[2] == pytest.approx(82, abs=1)


def test_the_smaller_polygon_is_on_top(folder):
    scene = read_all(folder, "test")[0]
    assert scene.parts[scene.part_index_at((29, 18))].name == "left mirror"
    assert scene.parts[scene.part_index_at((40, 30))].name == "front left door"


def test_a_photo_of_another_size_and_the_same_shape_is_scaled(folder):
    Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(folder / "test" / "images" / "car0.jpg")
    scene = read_all(folder, "test")[0]
    assert scene.size_wh == (200, 120)
    door = next(part for part in scene.parts if part.name == "front left door")
    assert door.box_xyxy == pytest.approx((40, 20, 120, 90), abs=2)


def test_train_val_and_test(tmp_path, coco_writer):
    coco_writer(tmp_path / "cars", [f"car{number}" for number in range(40)])
    train, val = ({s.photo_id for s in read_all(tmp_path / "cars", name)} for name in ("train", "val"))
    assert not train & val
    assert len(train | val) == 40
    assert val


def test_run_lengths_are_read_as_polygons_are(folder):
    expected = read_all(folder, "test")[0]
    # The mirror: 9 columns from 25 on, rows 15 to 21. Polygons are drawn with their border.
    runs = [25 * 60 + 15, *[7, 53] * 8, 7, 6000 - (25 * 60 + 15) - 8 * 60 - 7]
    change(folder, lambda content: content["annotations"][0].update(segmentation={"size": [60, 100], "counts": runs}))
    assert read_all(folder, "test")[0].parts == expected.parts


def test_objects_with_ids_are_told_apart(folder):
    def two_cars(content):
        for annotation in content["annotations"][:4]:
            annotation["object_id"] = 1 if annotation["category_id"] == 5 else 2
        for category in content["categories"]:
            category["supercategory"] = "car"

    change(folder, two_cars)
    scene = read_all(folder, "test")[0]
    assert [thing.name for thing in scene.objects] == ["car", "car"]
    owners = {part.name: part.object_index for part in scene.parts}
    assert owners["rear window"] == 0
    assert owners["wheel"] == owners["left mirror"] == 1


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda c: c["categories"][1].pop("supercategory"), '"wheel": needs a "supercategory"'),
        (lambda c: c["categories"][1].update(supercategory=""), '"wheel": needs a "supercategory"'),
        (lambda c: c["categories"][1].update(supercategory="Wheel"), '"wheel": is its own supercategory'),
        (
            lambda c: c["categories"][1].update(supercategory="vehicle"),
            'the supercategory "vehicle", which is no object',
        ),
        (lambda c: c["categories"][1].update(supercategory="none"), 'the supercategory "none", which is no object'),
        (lambda c: c["categories"][1].update(keypoints=["hub"]), '"wheel": has keypoints'),
        (lambda c: c["annotations"][2].update(keypoints=[1, 2, 2]), "it labels whole objects"),
        (lambda c: c.pop("categories"), 'has no list "categories"'),
    ],
)
def test_whole_objects_are_no_parts(folder, edit, said):
    change(folder, edit)
    with pytest.raises(LabelError, match=f"annotations.json: .*{said}.*--source coco=DIR"):
        open_source("coco-parts", folder, "test")


def test_categories_that_nothing_has_do_not_matter(folder):
    change(folder, lambda c: c["categories"].append({"id": 0, "name": "cars", "supercategory": "none"}))
    assert len(open_source("coco-parts", folder, "test").photo_ids) == 3


def segmentation(value):
    return lambda content: content["annotations"][0].update(segmentation=value)


def without(key):
    return lambda content: content["annotations"][0].pop(key)


OUTSIDE = [200.0, 200.0, 220.0, 200.0, 220.0, 220.0]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (segmentation({"counts": [1, 2], "size": [60, 100]}), "run lengths sum to 3, expected 100x60 pixels"),
        (segmentation({"counts": [1, 2], "size": [100, 60]}), "run lengths are of 60x100 pixels, the photo of 100x60"),
        (segmentation({"counts": [6000], "size": [60, 100]}), "its run lengths cover no pixel"),
        (segmentation({"counts": "~~", "size": [60, 100]}), "run lengths sum to"),
        (segmentation({"counts": [None], "size": [60, 100]}), "int"),
        (segmentation({"counts": [6000], "size": 5}), "run lengths are of 5 pixels"),
        (segmentation([[1, 2, 3, 4, 5, 6, 7]]), "a polygon has 7 numbers, expected pairs"),
        (segmentation([1, 2, 3, 4, 5, 6, 7]), "a polygon has 7 numbers, expected pairs"),
        (segmentation([[25, 15, 33, float("nan"), 33, 21]]), "a number that is not finite"),
        (segmentation([[25, 15, 33, "15", 33, 21]]), "a polygon holds more than numbers"),
        (segmentation([[25, 15, 33, None, 33, 21]]), "a polygon holds more than numbers"),
        (segmentation([[25, 15, 33, 21]]), "its polygons have fewer than 3 corners"),
        (segmentation([[[25, 15], [33, 21]]]), "its polygons have fewer than 3 corners"),
        (segmentation([[0.25, 0.25, 0.33, 0.25, 0.33, 0.35]]), "between 0 and 1, expected pixels"),
        (segmentation([[25, 15, 1e30, 15, 33, 21]]), "a polygon reaches to 1e[+]30"),
        (segmentation([OUTSIDE]), "lies wholly outside the 100x60 photo"),
        (segmentation([]), "has no segmentation; draw its outline"),
        (segmentation([[]]), "has no segmentation; draw its outline"),
        (segmentation("polygon"), "expected polygons or run lengths as segmentation, got polygon"),
        (segmentation({}), "expected polygons or run lengths as segmentation"),
        (segmentation(None), "has no segmentation"),
        (without("segmentation"), "has no segmentation"),
        (
            lambda c: c["annotations"][0].update(segmentation=[], bbox=[25, 15, 8, 6]),
            "has a box and no segmentation",
        ),
        (lambda c: c["annotations"][0].update(category_id=77), "has category 77, which the file lacks; known are 1, 2"),
        (lambda c: c["annotations"][0].update(category_id="wheel"), "has category 'wheel', which the file lacks"),
        (without("category_id"), "has no category"),
    ],
)
def test_a_bad_annotation_is_left_out_and_named(folder, edit, said):
    change(folder, edit)
    scene, *others = read_all(folder, "test")
    assert {part.name for part in scene.parts} == {"front left door", "wheel", "rear window"}
    [problem] = scene.problems
    assert problem.file.endswith("test/annotations.json") and problem.record == "annotation 1 of car0.jpg"
    assert re.search(said, str(problem).replace("\n", "LINE"))
    assert all(other.problems == () and len(other.parts) == 5 for other in others)


@pytest.mark.parametrize(
    "value",
    [
        [25, 15, 33, 15, 33, 21, 25, 21],
        [[25, 15], [33, 15], [33, 21], [25, 21]],
        [[[25, 15], [33, 15], [33, 21], [25, 21]]],
        [[25, 15, 33, 15, 33, 21, 25, 21], [], [1, 2]],
    ],
)
def test_polygons_in_other_nestings_are_read(folder, value):
    expected = read_all(folder, "test")[0]
    change(folder, segmentation(value))
    scene = read_all(folder, "test")[0]
    assert scene.parts == expected.parts and scene.problems == ()


def test_a_photo_whose_annotations_are_all_bad_is_listed(folder):
    def edit(content):
        for annotation in content["annotations"][:5]:
            annotation["category_id"] = 99

    change(folder, edit)
    scene = open_source("coco-parts", folder, "test").read("car0")
    assert scene.parts == () and len(scene.problems) == 5


@pytest.mark.parametrize("crowd", [1, True, "1", 1.0])
def test_crowds_are_no_parts(folder, crowd):
    expected = read_all(folder, "test")[0]
    region = {"id": 99, "image_id": 1, "category_id": 2, "iscrowd": crowd}
    region["segmentation"] = {"counts": [0, 6000], "size": [60, 100]}
    change(folder, lambda c: c["annotations"].append(region))
    scene = read_all(folder, "test")[0]
    assert scene.parts == expected.parts
    assert scene.notes == ("a crowd region",) and scene.uncounted == {"car"} and scene.problems == ()


def test_what_is_to_be_ignored_is_no_part(folder):
    expected = read_all(folder, "test")[0]
    whole = {
        "id": 99,
        "image_id": 1,
        "category_id": 2,
        "iscrowd": 0,
        "ignore": 1,
        "segmentation": [rectangle(0, 0, 99, 59)],
    }
    change(folder, lambda c: c["annotations"].append(whole))
    scene = read_all(folder, "test")[0]
    assert scene.parts == expected.parts and scene.notes == ("a crowd region",)


@pytest.mark.parametrize(("side", "noted"), [(201, True), (200, False)])
def test_polygons_that_may_be_per_cent_are_noted(folder, side, noted):
    def enlarge(content):
        for image in content["images"]:
            image |= {"width": side, "height": side}
            Image.new("RGB", (side, side)).save(folder / "test" / "images" / image["file_name"])

    change(folder, enlarge)
    assert [scene.notes for scene in read_all(folder, "test")] == [(PERCENT_NOTE,) if noted else ()] * 3
    # One that reaches farther tells that they are pixels.
    change(folder, lambda c: c["annotations"][-1].update(segmentation=[rectangle(20, 20, 150, 90)]))
    assert all(scene.notes == () for scene in read_all(folder, "test"))


def test_what_is_no_crowd(folder):
    change(folder, lambda c: [one.update(iscrowd="0", ignore="0") for one in c["annotations"]])
    assert [len(scene.parts) for scene in read_all(folder, "test")] == [5, 5, 5]


def turn(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif, quality=95)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("run_lengths_too", [False, True])
def test_labels_of_stored_pixels_are_turned_with_the_photo(folder, orientation, run_lengths_too):
    plain = read_all(folder, "test")[0]
    if run_lengths_too:
        runs = [25 * 60 + 15, *[7, 53] * 8, 7, 6000 - (25 * 60 + 15) - 8 * 60 - 7]
        change(folder, segmentation({"size": [60, 100], "counts": runs}))
    turn(folder / "test" / "images" / "car0.jpg", orientation)
    scene = read_all(folder, "test")[0]
    assert scene.size_wh == (60, 100)
    assert scene.notes == ("labels of a photo's stored pixels, turned upright with it",)
    stored = {5: (18, 29), 6: (60 - 18, 29), 7: (60 - 18, 100 - 29), 8: (18, 100 - 29)}
    assert scene.parts[scene.part_index_at(stored[orientation])].name == "left mirror"
    assert sorted(part.area_px for part in scene.parts) == sorted(part.area_px for part in plain.parts)
    # The door is blue, in the photo, and so under its labels.
    door = scene.part_map == 1 + [part.name for part in scene.parts].index("front left door")
    assert np.abs(scene.photo[door].mean(axis=0) - (30, 60, 170)).max() < 12


def test_labels_of_upright_pixels_stay(folder):
    path = folder / "test" / "images" / "car0.jpg"
    expected = read_all(folder, "test")[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    scene = read_all(folder, "test")[0]
    assert scene.parts == expected.parts and scene.notes == ()


@pytest.mark.parametrize("where", ["top", "info"])
def test_half_a_turn_must_be_said(folder, where):
    turn(folder / "test" / "images" / "car0.jpg", 3)
    source = open_source("coco-parts", folder, "test")
    with pytest.raises(LabelError, match='car0.jpg: the photo has EXIF orientation 3.*"labels_frame": "stored"'):
        source.read("car0")
    assert len(source.read("car1").parts) == 5
    for said, place in (("stored", (100 - 29, 60 - 18)), ("upright", (29, 18))):
        frame = {"labels_frame": said}
        change(folder, lambda c, frame=frame: c.update(frame if where == "top" else {"info": frame}))
        scene = read_all(folder, "test")[0]
        assert scene.parts[scene.part_index_at(place)].name == "left mirror"
    change(folder, lambda c: c.update(labels_frame="raw"))
    with pytest.raises(LabelError, match="annotations.json: labels_frame: is 'raw'"):
        open_source("coco-parts", folder, "test")


def test_a_size_of_one_frame_and_labels_of_the_other(folder):
    # As where a script wrote down the stored size, and a browser's tool had shown the photo upright.
    path = folder / "test" / "images" / "car0.jpg"
    expected = read_all(folder, "test")[0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95)
    change(folder, lambda c: c["images"][0].update(width=60, height=100))
    with pytest.raises(LabelError, match="car0.jpg: EXIF orientation 6: its size is that of one frame"):
        read_all(folder, "test")
    change(folder, lambda c: c.update(labels_frame="upright"))
    assert read_all(folder, "test")[0].parts == expected.parts


@pytest.mark.parametrize("lost", [{"width": None}, {"width": 0, "height": 0}, {"height": ""}])
def test_a_size_that_is_not_said_is_the_photo_s(folder, lost):
    expected = read_all(folder, "test")[0]
    change(folder, lambda c: c["images"][0].update(lost))
    scene = read_all(folder, "test")[0]
    assert scene.parts == expected.parts
    assert scene.notes == ("a photo whose width and height the labels do not say, taken as its file's own",)


def test_numbers_as_texts(folder):
    expected = read_all(folder, "test")

    def edit(content):
        for record in content["images"]:
            record.update(id=str(record["id"]), width="100", height="60.0")
        for record in content["annotations"]:
            record.update(category_id=str(record["category_id"]), image_id=float(record["image_id"]))

    change(folder, edit)
    assert [scene.parts for scene in read_all(folder, "test")] == [scene.parts for scene in expected]


@pytest.mark.parametrize(
    "name", ["images\\car0.jpg", "C:\\data\\car0.jpg", "./test/images/car0.jpg", "car0.JPG", "CAR0.jpg"]
)
def test_file_names_of_other_machines(folder, name):
    change(folder, lambda c: c["images"][0].update(file_name=name))
    [scene] = [one for one in read_all(folder, "test") if one.photo_id.casefold() == "car0"]
    assert len(scene.parts) == 5


def test_addresses_in_place_of_file_names(folder):
    def edit(content):
        name = content["images"][0].pop("file_name")
        content["images"][0]["coco_url"] = f"http://images.example.org/train2017/{name}?size=full"

    change(folder, edit)
    assert len(read_all(folder, "test")[0].parts) == 5


def test_photos_of_one_name_in_two_folders(folder):
    images = folder / "test" / "images"
    for k, side in ((0, "left"), (1, "right")):
        (images / side).mkdir()
        (images / f"car{k}.jpg").rename(images / side / "car.jpg")
        change(folder, lambda c, k=k, side=side: c["images"][k].update(file_name=f"{side}/car.jpg"))
    source = open_source("coco-parts", folder, "test")
    assert source.photo_ids == ("car2", "left_car", "right_car")
    assert source.paths["right_car"] == images / "right" / "car.jpg"
    assert all(len(source.read(photo_id).parts) == 5 for photo_id in source.photo_ids)


def test_other_shape(folder):
    change(folder, lambda content: content["images"][0].update(width=300))
    with pytest.raises(LabelError, match="car0.jpg: is 100x60, but annotations.json says 300x60"):
        read_all(folder, "test")


def test_objects_by_texts(folder):
    def two_cars(content):
        for annotation in content["annotations"][:4]:
            annotation["object_id"] = "red" if annotation["category_id"] == 5 else "2"

    change(folder, two_cars)
    assert len(read_all(folder, "test")[0].objects) == 2


def test_missing_files(folder):
    (folder / "test" / "images" / "car1.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="no such photo: .*car1.jpg"):
        read_all(folder, "test")
    with pytest.raises(FileNotFoundError, match="no annotation file of the train split; expected one of train/annot"):
        open_source("coco-parts", folder / "test" / "images", "train")
    (folder / "test" / "annotations.json").rename(folder / "test" / "instances.json")
    with pytest.raises(FileNotFoundError, match="test/annotations.json is missing"):
        open_source("coco-parts", folder, "test")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos are not beside this checkout")
def test_real_photos():
    scenes = read_all(SHARED, "test")
    assert len(scenes) == 100
    counts = Counter(part.name for scene in scenes for part in scene.parts)
    assert counts["wheel"] > 100
    assert {"windshield", "hood", "left headlight", "rear window", "tailgate"} <= counts.keys()
    assert not any("_" in name for name in counts)
