import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import Scene
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.coco_objects import CROWD_NOTE, LABELLED_NOTE, LONELY_NOTE, OUTSIDE_NOTE
from talking_points.labels.problems import LabelError
from tests.shared import SHARED

WIDTH, HEIGHT = 200, 160
DATA = SHARED / "data"
JOINTS = [
    "nose", "left_eye", "right_eye", "left_shoulder", "right_shoulder", "left_elbow", "left_wrist",
    "left_hip", "right_hip", "left_knee", "left_ankle",
]  # fmt: skip
SKELETON = [[2, 3], [4, 5], [4, 6], [6, 7], [8, 9], [8, 10], [10, 11]]
PERSON = {"id": 1, "name": "person", "supercategory": "person", "keypoints": JOINTS, "skeleton": SKELETON}
STANDING = {
    "left_shoulder": (80, 40),
    "right_shoulder": (40, 40),
    "left_elbow": (90, 70),
    "left_wrist": (92, 96),
    "left_hip": (74, 90),
    "right_hip": (46, 90),
    "left_knee": (74, 120),
    "left_ankle": (74, 150),
}


def rectangle(x0, y0, x1, y1):
    """A polygon that covers the pixels x0 <= x < x1."""
    return [x0, y0, x1 - 1, y0, x1 - 1, y1 - 1, x0, y1 - 1]


def thing(category, box=None, *, joints=None, hidden=(), names=JOINTS, filled=True, **more):
    annotation = {"category_id": category, "iscrowd": 0, **more}
    if box is not None:
        x0, y0, x1, y1 = box
        annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
        if filled:
            annotation["segmentation"] = [rectangle(*box)]
    if joints is not None:
        numbers = [(*joints[name], 1 if name in hidden else 2) if name in joints else (0, 0, 0) for name in names]
        annotation["keypoints"] = [value for joint in numbers for value in joint]
    return annotation


def write(folder: Path, annotations, categories, image=None) -> None:
    """One photo, "a", of the test split."""
    (folder / "test" / "images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 120, np.uint8)).save(folder / "test" / "images" / "a.jpg")
    content = {
        "images": [{"id": 5, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT, **(image or {})}],
        "annotations": [{"id": k, "image_id": 5, **one} for k, one in enumerate(annotations, start=1)],
        "categories": categories,
    }
    (folder / "test" / "annotations.json").write_text(json.dumps(content))


def read(folder: Path, annotations, categories, image=None) -> Scene:
    write(folder, annotations, categories, image)
    source = open_source("coco", folder, "test")
    assert source.photo_ids == ("a",)
    return source.read("a")


def names_of(scene: Scene, index: int = 0) -> set[str]:
    return {part.name for part in scene.parts if part.object_index == index}


def part_at(scene: Scene, x: float, y: float) -> str | None:
    k = scene.part_index_at((x, y))
    return None if k is None else scene.parts[k].name


# --- joints and limbs -----------------------------------------------------------------------------------------


def test_visible_joints_limbs_and_the_torso_without_a_mask(tmp_path):
    scene = read(tmp_path, [thing(1, (30, 10, 110, 158), joints=STANDING, filled=False)], [PERSON])
    assert [one.name for one in scene.objects] == ["person"]
    assert scene.objects[0].box_xyxy == (30, 10, 110, 158)
    joints = {name.replace("_", " ") for name in STANDING}
    limbs = {"torso", "left upper arm", "left forearm", "left thigh", "left lower leg"}
    assert names_of(scene) == joints | limbs
    # No mask: the person's other pixels are unknown, and the joints count pixels.
    assert part_at(scene, 60.5, 65.5) == "torso"
    assert part_at(scene, 85.5, 55.5) == "left upper arm"
    assert part_at(scene, 74.5, 105.5) == "left thigh"
    assert part_at(scene, 74.5, 120.5) == "left knee"
    assert part_at(scene, 60.5, 130.5) is None
    knee = next(part for part in scene.parts if part.name == "left knee")
    # 3% of the square root of the box, around the middle of pixel 74, 120.
    radius = 0.03 * (80 * 148) ** 0.5
    assert knee.box_xyxy == (71, 117, 78, 124)
    assert knee.area_px == pytest.approx(np.pi * radius**2, abs=4)


def test_a_hidden_joint_is_no_part_and_ends_no_limb(tmp_path):
    hidden = ("left_knee", "right_hip")
    scene = read(tmp_path, [thing(1, (30, 10, 110, 158), joints=STANDING, hidden=hidden, filled=False)], [PERSON])
    assert names_of(scene) == {
        *("left shoulder", "right shoulder", "left elbow", "left wrist", "left hip", "left ankle"),
        *("left upper arm", "left forearm"),
    }


def test_a_file_that_marks_no_joint_with_2_means_labelled_by_1(tmp_path):
    scene = read(tmp_path, [thing(1, (30, 10, 110, 158), joints=STANDING, hidden=STANDING, filled=False)], [PERSON])
    assert {"left knee", "left thigh", "torso"} <= names_of(scene)
    assert scene.notes == (LABELLED_NOTE,)


def test_the_mask_cuts_limbs_and_keeps_what_they_leave(tmp_path):
    scene = read(tmp_path, [thing(1, (40, 20, 84, 158), joints=STANDING)], [PERSON])
    # The elbow and the wrist.
    assert scene.notes == (OUTSIDE_NOTE, OUTSIDE_NOTE)
    assert "left shoulder" in names_of(scene) and "left elbow" not in names_of(scene)
    assert "left upper arm" not in names_of(scene)
    assert part_at(scene, 45.5, 130.5) == "person"
    assert part_at(scene, 60.5, 65.5) == "torso"
    assert max(part.box_xyxy[2] for part in scene.parts) == 84
    assert sum(part.area_px for part in scene.parts) == 44 * 138


def test_joints_that_are_close_are_small(tmp_path):
    face = {"nose": (60, 60), "left_eye": (70, 50), "right_eye": (50, 50)}
    scene = read(tmp_path, [thing(1, (0, 0, 200, 160), joints=face, filled=False)], [PERSON])
    radius = 0.35 * 200**0.5
    nose = next(part for part in scene.parts if part.name == "nose")
    assert nose.area_px == pytest.approx(np.pi * radius**2, abs=8)
    # Both in one place: neither can be pointed at.
    scene = read(tmp_path, [thing(1, (0, 0, 200, 160), joints={**face, "nose": (70, 50)}, filled=False)], [PERSON])
    assert names_of(scene) == {"right eye"}


def test_without_a_skeleton_there_are_joints_only(tmp_path):
    category = {"id": 1, "name": "person", "keypoints": JOINTS}
    scene = read(tmp_path, [thing(1, (30, 10, 110, 158), joints=STANDING, filled=False)], [category])
    assert names_of(scene) == {name.replace("_", " ") for name in STANDING}


def test_animals_have_their_own_limbs_and_equal_names_are_one_part(tmp_path):
    joints = ["ear", "neck", "shoulder", "elbow", "left fore wrist", "left fore foot"]
    category = {"id": 3, "name": "horse", "keypoints": joints, "skeleton": [[1, 2], [2, 3], [3, 4], [4, 5], [5, 6]]}
    places = dict(zip(joints, [(150, 20), (130, 40), (110, 60), (110, 90), (112, 115), (112, 140)], strict=True))
    scene = read(tmp_path, [thing(3, (20, 10, 170, 150), joints=places, names=joints, filled=False)], [category])
    names = [part.name for part in scene.parts]
    assert sorted(names) == sorted(
        ["neck", "shoulder", "ear", "elbow", "left front knee", "left front foot", "left upper foreleg",
         "left lower foreleg"]
    )  # fmt: skip
    assert part_at(scene, 140.5, 30.5) == part_at(scene, 130.5, 40.5) == "neck"


def test_a_skeleton_may_count_from_0(tmp_path):
    category = PERSON | {"skeleton": [[a - 1, b - 1] for a, b in [*SKELETON, [1, 2]]]}
    scene = read(tmp_path, [thing(1, (30, 10, 110, 158), joints=STANDING, filled=False)], [category])
    assert {"left forearm", "left thigh"} <= names_of(scene)


def test_joints_of_a_smaller_photo(tmp_path):
    write(tmp_path, [thing(1, (60, 20, 220, 316), joints={"nose": (99, 59)}, filled=False)], [PERSON])
    path = tmp_path / "test" / "annotations.json"
    path.write_text(path.read_text().replace('"width": 200, "height": 160', '"width": 400, "height": 320'))
    scene = open_source("coco", tmp_path, "test").read("a")
    assert scene.objects[0].box_xyxy == (30, 10, 110, 158)
    x0, y0, x1, y1 = scene.parts[0].box_xyxy
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((49.75, 29.75), abs=0.5)


@pytest.mark.parametrize(
    ("annotation", "problem"),
    [
        ({"keypoints": [1, 2, 2]}, "3 numbers of keypoints, expected 3 for each of 11 names"),
        ({"keypoints": [1, 2, 7] + [0] * 30}, "visibility of nose is 7; give 0, 1 or 2"),
        ({"keypoints": [900, 2, 2] + [0] * 30}, r"nose \[900, 2\] is outside the photo"),
        ({"keypoints": [float("nan"), 2, 2] + [0] * 30}, r"nose is at \[nan, 2\]; give finite numbers"),
        ({"keypoints": {"nose": 1}}, "0 numbers of keypoints"),
        ({"keypoints": [1, 2, [2]] + [0] * 30}, r"visibility of nose is \[2\]; give 0, 1 or 2"),
        ({"bbox": [1, 2]}, r"its bbox is \[1, 2\]; give x, y, width, height"),
    ],
)
def test_an_annotation_that_cannot_be_read_is_left_out_and_named(tmp_path, annotation, problem):
    scene = read(tmp_path, [thing(1, (20, 20, 60, 60)), {"category_id": 1, **annotation}], [PERSON])
    assert len(scene.objects) == 1
    with pytest.raises(ValueError, match="annotation 2 of a.jpg: " + problem):
        raise ValueError(str(scene.problems[0]))


def test_keypoints_without_names(tmp_path):
    scene = read(tmp_path, [thing(1, (20, 20, 60, 60), joints=STANDING)], [{"id": 1, "name": "person"}])
    assert scene.objects == () and "its category has no names of them" in str(scene.problems[0])


def test_a_skeleton_that_cannot_be(tmp_path):
    write(tmp_path, [thing(1, (20, 20, 60, 60))], [PERSON | {"skeleton": 5}])
    with pytest.raises(LabelError, match='category "person": its skeleton is no list of pairs'):
        open_source("coco", tmp_path, "test")
    write(tmp_path, [thing(1, (20, 20, 60, 60))], [PERSON | {"skeleton": [[1, 12]]}])
    with pytest.raises(LabelError, match=r'category "person": its skeleton joins \[1, 12\], it has 11 joints; mend'):
        open_source("coco", tmp_path, "test")


# --- objects --------------------------------------------------------------------------------------------------


def test_an_object_without_parts_is_its_own_part_and_the_smaller_is_on_top(tmp_path):
    categories = [{"id": 1, "name": "dog", "supercategory": "animal"}, {"id": 2, "name": "sports_ball"}]
    scene = read(tmp_path, [thing(2, (40, 40, 60, 60)), thing(1, (20, 20, 120, 100))], categories)
    assert [(one.name, one.box_xyxy) for one in scene.objects] == [
        ("dog", (20, 20, 120, 100)),
        ("ball", (40, 40, 60, 60)),
    ]
    assert [(part.name, part.object_index, part.area_px) for part in scene.parts] == [
        ("dog", 0, 100 * 80 - 400),
        ("ball", 1, 400),
    ]
    assert part_at(scene, 50.5, 50.5) == "ball"


def test_parts_do_not_spill_over_who_is_in_front(tmp_path):
    front = thing(1, (60, 50, 90, 80))
    scene = read(tmp_path, [thing(1, (30, 10, 120, 158), joints=STANDING), front], [PERSON])
    behind, before = scene.objects
    assert behind.box_xyxy == (30, 10, 120, 158) and before.box_xyxy == (60, 50, 90, 80)
    window = scene.part_map[50:80, 60:90]
    assert len(np.unique(window)) == 1
    assert scene.parts[int(window[0, 0]) - 1].object_index == 1
    assert part_at(scene, 50.5, 65.5) == "torso"


def test_crowds_are_not_objects(tmp_path):
    crowd = {"category_id": 1, "iscrowd": 1, "bbox": [0, 0, 200, 160], "segmentation": [rectangle(0, 0, 200, 160)]}
    scene = read(tmp_path, [crowd, thing(1, (20, 20, 60, 60))], [PERSON])
    assert [one.box_xyxy for one in scene.objects] == [(20, 20, 60, 60)]
    assert (scene.notes, scene.uncounted) == ((CROWD_NOTE,), frozenset({"person"}))
    assert part_at(scene, 100.5, 100.5) is None


def test_a_box_alone_is_counted_and_not_pointed_at(tmp_path):
    boxed = thing(1, (20, 20, 60, 60), filled=False, segmentation=[[]])
    scene = read(tmp_path, [boxed, thing(1, (100, 20, 140, 60))], [PERSON])
    assert {one.box_xyxy for one in scene.objects} == {(20, 20, 60, 60), (100, 20, 140, 60)}
    assert scene.problems == ()
    assert [part.box_xyxy for part in scene.parts] == [(100, 20, 140, 60)]


# --- parts by category ----------------------------------------------------------------------------------------

PETS = [{"id": 1, "name": "cat"}, {"id": 2, "name": "head", "supercategory": "part"}]


def test_a_box_of_a_part_is_cut_by_the_mask_of_its_object(tmp_path):
    head = thing(2, (14, 14, 50, 44), filled=False, segmentation=[])
    scene = read(tmp_path, [thing(1, (20, 20, 100, 100)), head], PETS)
    assert [one.name for one in scene.objects] == ["cat"]
    assert {(part.name, part.box_xyxy) for part in scene.parts} == {
        ("cat", (20, 20, 100, 100)),
        ("head", (20, 20, 50, 44)),
    }


def test_without_a_mask_a_box_of_a_part_is_the_ellipse_in_it(tmp_path):
    head = thing(2, (30, 20, 70, 50), filled=False)
    scene = read(tmp_path, [thing(1, (20, 20, 100, 100), filled=False), head], PETS)
    (part,) = scene.parts
    assert (part.name, part.box_xyxy) == ("head", (30, 20, 70, 50))
    assert part.area_px == pytest.approx(np.pi * 20 * 15, rel=0.02)


def test_a_part_belongs_to_the_object_with_its_id_or_to_the_smallest_that_holds_most_of_it(tmp_path):
    cats = [thing(1, (0, 0, 160, 140)), thing(1, (20, 20, 100, 100))]
    scene = read(tmp_path, [*cats, thing(2, (30, 30, 50, 50), filled=False)], PETS)
    assert [scene.objects[part.object_index].box_xyxy for part in scene.parts if part.name == "head"] == [
        (20, 20, 100, 100)
    ]
    numbered = [one | {"object_id": k} for k, one in enumerate(cats, start=7)]
    scene = read(tmp_path, [*numbered, thing(2, (110, 30, 130, 50), filled=False, object_id=7)], PETS)
    head = next(part for part in scene.parts if part.name == "head")
    assert scene.objects[head.object_index].box_xyxy == (0, 0, 160, 140)


def test_a_part_of_nothing_is_left_out_with_a_note(tmp_path):
    scene = read(tmp_path, [thing(1, (20, 20, 60, 60)), thing(2, (55, 20, 100, 40), filled=False)], PETS)
    assert scene.notes == (LONELY_NOTE,)
    assert [part.name for part in scene.parts] == ["cat"]


@pytest.mark.parametrize(
    ("key", "value", "breed"),
    [
        ("breed", "egyptian_Mau", "egyptian mau"),
        ("species", "Felis catus", "felis catus"),
        # What says the class again says nothing, and neither does what is no text.
        ("species", "Cat", ""),
        ("breed", 12, ""),
    ],
)
def test_breeds(tmp_path, key, value, breed):
    scene = read(tmp_path, [thing(1, (20, 20, 60, 60)), thing(2, (25, 25, 40, 40))], PETS, {key: value})
    assert [one.breed for one in scene.objects] == [breed]
    # Of two objects it may be either.
    two = [thing(1, (20, 20, 60, 60)), thing(1, (80, 20, 120, 60))]
    assert [one.breed for one in read(tmp_path, two, PETS, {key: value}).objects] == ["", ""]
    own = read(tmp_path, [thing(1, (20, 20, 60, 60), **{key: value}), two[1]], PETS)
    assert [one.breed for one in own.objects] == [breed, ""]


# --- buildings ------------------------------------------------------------------------------------------------

FACADES = [
    {"id": k, "name": name}
    for k, name in enumerate(
        ["facade", "window", "balcony fence", "street", "vegetation", "traffic infrastructure", "car"], start=1
    )
]


def test_windows_are_parts_of_the_building_that_holds_them(tmp_path):
    annotations = [
        thing(1, (0, 0, 100, 100)),
        thing(1, (110, 0, 200, 100)),
        thing(2, (10, 10, 30, 30)),
        thing(2, (120, 10, 140, 30)),
        thing(3, (10, 40, 60, 50)),
        # On neither of them: on a house that nobody labelled.
        thing(2, (90, 120, 105, 140)),
        thing(4, (0, 145, 200, 160)),
    ]
    scene = read(tmp_path, annotations, FACADES)
    assert [one.name for one in scene.objects] == ["building", "building", "street"]
    of_first = {(part.name, part.box_xyxy) for part in scene.parts if part.object_index == 0}
    assert of_first == {
        ("building", (0, 0, 100, 100)),
        ("window", (10, 10, 30, 30)),
        ("balcony", (10, 40, 60, 50)),
    }
    assert names_of(scene, 1) == {"building", "window"}
    assert scene.notes == (LONELY_NOTE,)
    assert part_at(scene, 95.5, 130.5) is None


def test_what_stands_before_a_building_covers_its_windows(tmp_path):
    annotations = [
        thing(1, (0, 0, 100, 100)),
        thing(2, (10, 10, 30, 30)),
        thing(7, (5, 20, 60, 60)),
        thing(6, (70, 0, 80, 100)),
        thing(5, (85, 50, 100, 100)),
    ]
    scene = read(tmp_path, annotations, FACADES)
    assert [one.name for one in scene.objects] == ["building", "car", "plant"]
    assert part_at(scene, 15.5, 15.5) == "window"
    assert part_at(scene, 15.5, 25.5) == "car"
    # Nobody says "traffic infrastructure", and the building is not seen behind it.
    assert part_at(scene, 75.5, 50.5) is None
    assert not (scene.object_map == 1)[:, 70:80].any()


def test_windows_of_files_without_facades_are_objects(tmp_path):
    scene = read(tmp_path, [thing(2, (10, 10, 30, 30))], FACADES[1:])
    assert [one.name for one in scene.objects] == ["window"]


# --- files ----------------------------------------------------------------------------------------------------


def test_cocos_two_files_are_joined_by_the_annotations_ids(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH, 3), 120, np.uint8)).save(tmp_path / "val2017" / "7.jpg")
    images = [{"id": 7, "file_name": "7.jpg", "width": WIDTH, "height": HEIGHT}]
    person = {"id": 1, "image_id": 7, **thing(1, (30, 10, 110, 158))}
    dog = {"id": 2, "image_id": 7, **thing(2, (120, 100, 180, 150))}
    jointed = person | thing(1, (30, 10, 110, 158), joints=STANDING)
    files = {
        "instances": ([person, dog], [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]),
        "person_keypoints": ([jointed], [PERSON]),
    }
    for kind, (annotations, categories) in files.items():
        content = {"images": images, "annotations": annotations, "categories": categories}
        (tmp_path / "annotations" / f"{kind}_val2017.json").write_text(json.dumps(content))
    scene = open_source("coco", tmp_path, "test").read("7")
    assert [one.name for one in scene.objects] == ["person", "dog"]
    assert {"person", "torso", "left thigh"} <= names_of(scene)


def test_val_is_held_out_of_train(tmp_path):
    write(tmp_path, [thing(1, (20, 20, 60, 60))], [PERSON])
    content = json.loads((tmp_path / "test" / "annotations.json").read_text())
    content["images"] = [{**content["images"][0], "id": k, "file_name": f"{k}.jpg"} for k in range(100)]
    content["annotations"] = [{**content["annotations"][0], "id": k, "image_id": k} for k in range(99)]
    (tmp_path / "train" / "images").mkdir(parents=True)
    (tmp_path / "train" / "annotations.json").write_text(json.dumps(content))
    train, val = (set(open_source("coco", tmp_path, split).photo_ids) for split in ("train", "val"))
    # The photo without annotations is in none of them.
    assert train and val and not train & val
    assert train | val == {str(k) for k in range(99)}


# --- landmarks ------------------------------------------------------------------------------------------------


def test_a_face_becomes_parts_of_its_person_in_place_of_the_joints(tmp_path):
    joints = {"nose": (60, 50), "left_eye": (72, 40), "right_eye": (48, 40)}
    annotation = thing(1, (20, 10, 120, 150), joints=joints, filled=False)
    write(tmp_path, [annotation], [PERSON])
    face = {
        "face": [[30, 20], [90, 20], [90, 80], [30, 80]],
        "left eye": [[66, 36], [78, 36], [78, 44], [66, 44]],
        "right eye": [[42, 36], [54, 36], [54, 44], [42, 44]],
        "nose": [[55, 40], [65, 40], [65, 60], [55, 60]],
    }
    found = {"photos": {"a.jpg": {"pose": None, "faces": [face], "hands": []}}}
    (tmp_path / "test" / "landmarks.json").write_text(json.dumps(found))
    scene = open_source("coco", tmp_path, "test").read("a")
    assert {part.name: part.box_xyxy for part in scene.parts} == {
        "face": (30, 20, 90, 80),
        "left eye": (66, 36, 78, 44),
        "right eye": (42, 36, 54, 44),
        "nose": (55, 40, 65, 60),
    }
    assert {part.object_index for part in scene.parts} == {0}


# --- the real sets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coco_people", "coco_objects", "livestock", "pets", "facades"])
def test_photos_of_the_real_sets_are_read(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    for split in ("train", "val", "test"):
        source = open_source("coco", DATA / name, split)
        assert source.photo_ids
        for photo_id in source.photo_ids[:: max(1, len(source.photo_ids) // 4)]:
            scene = source.read(photo_id)
            assert scene.objects and not scene.problems
            assert all(part.name and 0 <= part.object_index < len(scene.objects) for part in scene.parts)
            if name == "pets":
                assert {part.name for part in scene.parts} <= {"head", "cat", "dog"}
                assert all(thing.breed for thing in scene.objects)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("ap10k_sample", {"back", "left foreleg", "root of the tail"}),
        ("animalpose_sample", {"back", "neck", "withers", "left front paw"}),
    ],
)
def test_the_samples_of_animals_are_read(tmp_path, name, wanted):
    if not (DATA / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    folder = tmp_path / "test"
    folder.mkdir()
    for path in (DATA / name).iterdir():
        (folder / ("annotations.json" if path.suffix == ".json" else path.name)).write_bytes(path.read_bytes())
    source = open_source("coco", tmp_path, "test")
    assert len(source.photo_ids) == 2
    seen = {part.name for photo_id in source.photo_ids for part in source.read(photo_id).parts}
    assert wanted <= seen
    assert not any("stretch" in part for part in seen)
