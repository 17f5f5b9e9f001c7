import json

import numpy as np
import pytest

from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.landmarks import PhotoLandmarks
from talking_points.dataset.sources.people import person_parts
from tests.dataset.sources.people import FACE, mask, open_hand, pose, visible
from tests.shared import SHARED

LEFT_SHOE, RIGHT_SHOE = mask((110, 130, 130, 150)), mask((60, 130, 80, 150))
SHOES = [("shoe", RIGHT_SHOE), ("shoe", LEFT_SHOE)]


def sides(parts, **joints):
    return [name for name, _ in person_parts(parts, PhotoLandmarks(joints=visible(**joints)))]


def test_a_shoe_has_the_side_of_the_joints_in_it():
    joints = {"left_heel": (112, 140), "right_toe": (70, 149)}
    assert sides(SHOES, **joints) == ["right shoe", "left shoe"]
    # Within 1.6 px of the border still counts.
    assert sides(SHOES, left_heel=(131, 140), right_toe=(70, 149)) == ["right shoe", "left shoe"]
    # Nothing found, nothing claimed.
    assert sides(SHOES) == ["shoe", "shoe"]


def test_a_side_needs_the_other_sides_joints_elsewhere():
    # Nothing is known of the right foot, which may be hidden behind the left one.
    assert sides(SHOES, left_heel=(112, 140)) == ["shoe", "shoe"]
    # Both in one shoe.
    assert sides(SHOES, left_heel=(112, 140), right_toe=(120, 140)) == ["shoe", "shoe"]
    # Both shoes of one side: the joints are wrong of one of them.
    assert sides(SHOES, left_heel=(112, 140), left_toe=(70, 140), right_ankle=(0, 0)) == ["shoe", "shoe"]
    # One of the pair is sure, of the other one nothing is known.
    assert sides(SHOES, left_heel=(112, 140), right_ankle=(30, 30)) == ["shoe", "left shoe"]


def test_plurals_threes_and_parts_in_pieces_have_no_side():
    joints = {"left_heel": (112, 140), "right_toe": (70, 149)}
    assert sides([("shoes", LEFT_SHOE)], **joints) == ["shoes"]
    assert sides([*SHOES, ("shoe", mask((0, 130, 20, 150)))], **joints) == ["shoe"] * 3
    pieces = mask((110, 130, 130, 150), (140, 130, 155, 150))
    assert sides([("shoe", RIGHT_SHOE), ("shoe", pieces)], **joints) == ["right shoe", "shoe"]
    assert sides([("bag", LEFT_SHOE)], **joints) == ["bag"]


def test_a_face_is_painted_over_skin_alone():
    hair, face = mask((40, 10, 100, 46)), mask((40, 46, 100, 160))
    parts = dict(person_parts([("hair", hair), ("face", face)], PhotoLandmarks(faces=(FACE,))))
    assert (parts["hair"] == hair).all()
    assert "left eyebrow" not in parts and "forehead" not in parts
    assert (parts["left eye"] == mask((76, 50, 88, 56))).all()
    assert sum(int(one.sum()) for one in parts.values()) == hair.sum() + face.sum()


def test_skin_around_a_face_is_the_face_and_below_it_neck_and_chest():
    skin, elsewhere = mask((30, 16, 110, 160)), mask((150, 20, 190, 100))
    parts = dict(person_parts([("skin", skin | elsewhere)], PhotoLandmarks(faces=(FACE,))))
    # The outline ends at 100 and is 80 high.
    assert (parts["neck"] == mask((30, 88, 110, 140)) & ~mask((40, 20, 100, 100))).all()
    assert (parts["chest"] == mask((30, 140, 110, 160))).all()
    assert parts["face"][17, 31] and (parts["skin"] == elsewhere).all()


def test_a_face_elsewhere_is_somebody_elses():
    parts = person_parts([("face", mask((120, 20, 180, 100)))], PhotoLandmarks(faces=(FACE,)))
    assert [name for name, _ in parts] == ["face"]


def test_a_hand_is_painted_over_an_arm_and_not_over_a_bag():
    arm, bag = mask((60, 0, 130, 100)), mask((60, 100, 130, 160))
    found = PhotoLandmarks(
        joints=visible(left_wrist=(100, 139), right_wrist=(10, 10), left_elbow=(100, 20)), hands=(open_hand(),)
    )
    parts = dict(person_parts([("arm", arm), ("bag", bag)], found))
    assert (parts["bag"] == bag).all()
    # Neither wrist lies in the arm's pixels, but the elbow does; where the right one is, is known.
    assert {"left arm", "left hand", "left index finger"} <= parts.keys()
    assert "left thumb" not in parts
    assert not (parts["left hand"] & bag).any()


def test_a_labelled_hand_keeps_its_outline_and_gets_fingers():
    labelled = mask((60, 55, 130, 150))
    # The left wrist is near the hand's, but not in the mask; so the mask alone has no side.
    found = PhotoLandmarks(joints=visible(left_wrist=(100, 154)), hands=(open_hand(),))
    parts = dict(person_parts([("hand", labelled)], found))
    assert {"hand", "left thumb"} <= parts.keys() and "left hand" not in parts
    assert (np.logical_or.reduce(list(parts.values())) == labelled).all()
    # Labels and joints say right, the detector left: nothing is added.
    joints = visible(right_wrist=(100, 140), left_wrist=(10, 10))
    names = [
        name for name, _ in person_parts([("hand", labelled)], PhotoLandmarks(joints=joints, hands=(open_hand(),)))
    ]
    assert names == ["right hand"]


def test_skin_is_the_limb_whose_bones_alone_lie_in_it():
    arm, crumb = mask((80, 10, 120, 110)), mask((0, 140, 40, 160))
    found = PhotoLandmarks(joints=visible(left_elbow=(100, 20), left_wrist=(100, 100)))
    parts = dict(person_parts([("skin", arm | crumb)], found))
    assert (parts["left arm"] == arm).all() and (parts["skin"] == crumb).all()
    # A wrist in a sleeve does not matter; a middle that is covered does.
    parts = dict(person_parts([("skin", mask((80, 10, 120, 70)))], found))
    assert set(parts) == {"left arm"}
    assert set(dict(person_parts([("skin", mask((80, 10, 120, 40)))], found))) == {"skin"}
    # Of two legs in one piece each is along its bone: 22% of 80 to each side.
    joints = visible(left_knee=(100, 20), left_ankle=(100, 100), right_knee=(40, 20), right_ankle=(40, 100))
    parts = dict(person_parts([("skin", mask((10, 10, 130, 110)))], PhotoLandmarks(joints=joints)))
    assert set(parts) == {"skin", "left leg", "right leg"}
    assert parts["left leg"][60, 83:117].all() and not parts["left leg"][60, 80:82].any()


def test_label_maps_of_people_have_sides(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", ["0001"], ["0002"])
    found = {"pose": pose(right_toe=(22, 110), left_toe=(38, 110)), "faces": [], "hands": []}
    (tmp_path / "people" / "landmarks.json").write_text(json.dumps({"photos": {"0002.jpg": found}}))
    for split, wanted in (("test", {"left shoe", "right shoe"}), ("train", {"shoe"})):
        source = open_source("label-map", tmp_path / "people", split)
        scene = source.read(source.photo_ids[0])
        assert {part.name for part in scene.parts if "shoe" in part.name} == wanted
    scene = open_source("label-map", tmp_path / "people", "test").read("0002")
    left = next(part for part in scene.parts if part.name == "left shoe")
    assert left.box_xyxy == (33, 104, 42, 112)


def test_other_objects_have_no_landmarks(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "dolls", ["0001"], ["0002"])
    path = tmp_path / "dolls" / "labels.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"object": "doll"}))
    found = {"pose": pose(right_toe=(22, 110), left_toe=(38, 110)), "faces": [], "hands": []}
    (tmp_path / "dolls" / "landmarks.json").write_text(json.dumps({"photos": {"0002.jpg": found}}))
    scene = open_source("label-map", tmp_path / "dolls", "test").read("0002")
    assert not any("left" in part.name or "right" in part.name for part in scene.parts)


def test_the_real_people_are_read():
    folder = SHARED / "data" / "clothing_parts"
    if not (folder / "landmarks.json").is_file():
        pytest.skip("needs ../shared/data/clothing_parts/landmarks.json")
    source = open_source("label-map", folder, "test")
    names = set()
    for photo_id in source.photo_ids[::12]:
        scene = source.read(photo_id)
        assert len(scene.objects) == 1 and scene.parts
        names |= {part.name for part in scene.parts}
    assert {"left shoe", "right shoe", "face", "nose", "mouth", "left hand", "neck"} <= names
