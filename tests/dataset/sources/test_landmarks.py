import json

import numpy as np
import pytest

from talking_points.dataset.problems import LabelError
from talking_points.dataset.sources import open_source
from talking_points.dataset.sources.landmarks import (
    NOTHING_FOUND,
    POSE,
    POSE_COUNT,
    Body,
    Hand,
    PhotoLandmarks,
    face_parts,
    hand_parts,
    hand_side,
    is_of_hand,
    owner_of_face,
    owner_of_hand,
    person_parts,
    read_landmarks,
)
from tests.shared import SHARED

SIZE = (200, 160)


def box(x0, y0, x1, y1):
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def mask(*boxes):
    pixels = np.zeros(SIZE[::-1], dtype=bool)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = True
    return pixels


FACE = {
    "face": box(40, 20, 100, 100),
    "left eye": box(76, 50, 88, 56),
    "right eye": box(52, 50, 64, 56),
    "left eyebrow": box(74, 42, 90, 46),
    "right eyebrow": box(50, 42, 66, 46),
    "nose": box(64, 52, 76, 72),
    "mouth": box(58, 80, 82, 90),
    "nose tip": ((70, 66),),
    "chin": ((70, 97),),
    "forehead": ((70, 36),),
    "left cheek": ((88, 70),),
    "right cheek": ((52, 70),),
    "left corner of the mouth": ((82, 85),),
    "right corner of the mouth": ((58, 85),),
}


def pose(**joints):
    """33 joints, those given visible: left_wrist=(x, y)."""
    rows = [(0.0, 0.0, 0.0)] * POSE_COUNT
    for name, (x, y) in joints.items():
        side, _, joint = name.partition("_")
        rows[POSE[joint.replace("_", " ")][side == "right"]] = (float(x), float(y), 0.9)
    return tuple(rows)


def open_hand(side="left", wrist=(100, 140), scale=1.0):
    """A hand that points up, its thumb to the left; the palm is 40 long."""
    points = [(0, 0), (-16, -8), (-24, -18), (-30, -28), (-34, -36)]
    for x in (-14, -2, 10, 20):
        points += [(x, -40), (x, -54), (x, -66), (x, -76)]
    return Hand(side=side, points=tuple((wrist[0] + scale * x, wrist[1] + scale * y) for x, y in points))


# --- the file -------------------------------------------------------------------------------------------------


def test_a_file_is_read_and_a_missing_one_says_nothing(tmp_path):
    path = tmp_path / "landmarks.json"
    assert read_landmarks(path) == {}
    hand = {"side": "left", "points": [[1, 2]] * 21, "score": 0.9}
    found = {"pose": [[1, 2, 0.5]] * 33, "faces": [{"face": [[1, 2], [3, 4]], "chin": [[5, 6]]}], "hands": [hand]}
    path.write_text(json.dumps({"photos": {"a.jpg": found, "b.jpg": {"pose": None, "faces": [], "hands": []}}}))
    landmarks = read_landmarks(path)
    assert landmarks["b.jpg"] == NOTHING_FOUND
    assert landmarks["a.jpg"].pose[32] == (1, 2, 0.5)
    assert landmarks["a.jpg"].faces == ({"face": ((1, 2), (3, 4)), "chin": ((5, 6),)},)
    assert landmarks["a.jpg"].hands == (Hand(side="left", points=((1.0, 2.0),) * 21),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'landmarks.json: expected an object with "photos"'),
        ({"photos": {"a.jpg": {"pose": [[1, 2, 3]]}}}, "a.jpg: not landmarks: ValueError 1 points, expected 33"),
        ({"photos": {"a.jpg": {"hands": [{"side": "left"}]}}}, "a.jpg: not landmarks: KeyError 'points'"),
        ({"photos": {"a.jpg": {"faces": [{"face": [[1, 2], [3, float("nan")]]}]}}}, "expected rows of 2 numbers"),
        ({"photos": {"a.jpg": {"faces": [{"face": [[1, 2, 3], [3, 2, 1]]}]}}}, "expected rows of 2 numbers"),
    ],
)
def test_a_file_of_another_form(tmp_path, content, message):
    (tmp_path / "landmarks.json").write_text(json.dumps(content))
    with pytest.raises(LabelError) as error:
        read_landmarks(tmp_path / "landmarks.json")
    assert message in str(error.value) and "\n" not in str(error.value)


# --- faces ----------------------------------------------------------------------------------------------------


def test_regions_are_outlines_and_spots_are_discs():
    parts = dict(face_parts(FACE, SIZE))
    assert list(parts)[0] == "face"
    assert set(parts) == {name if name != "nose tip" else "tip of the nose" for name in FACE}
    assert (parts["left eye"] == mask((76, 50, 88, 56))).all()
    # 10% of the face's height; the diagonal of its box by the root of two.
    radius = 0.10 * np.hypot(60, 80) / np.sqrt(2)
    assert parts["left cheek"].sum() == pytest.approx(np.pi * radius**2, rel=0.06)
    assert not (parts["chin"] & ~parts["face"]).any()


def test_the_half_that_is_turned_away_is_left_out():
    turned = FACE | {"right eye": box(58, 50, 63, 55)}
    names = {name for name, _ in face_parts(turned, SIZE)}
    assert not any(name.startswith("right") for name in names)
    assert {"face", "left eye", "left cheek", "nose"} <= names


def test_an_eye_that_people_marked_as_hidden_is_left_out():
    body = Body(mask=None, box_xyxy=(0, 0, 200, 160), joints={"right eye": (58.0, 53.0)}, has_joints=True)
    names = {name for name, _ in face_parts(FACE, SIZE, body)}
    assert not any(name.startswith("left") for name in names) and "right eye" in names


def test_exchanged_eyes_tell_no_side():
    joints = {"right eye": (82.0, 53.0), "left eye": (58.0, 53.0)}
    body = Body(mask=None, box_xyxy=(0, 0, 200, 160), joints=joints, has_joints=True)
    assert {name for name, _ in face_parts(FACE, SIZE, body)} == {
        *("face", "nose", "mouth", "tip of the nose", "chin", "forehead")
    }


def test_whose_face_it_is():
    near = Body(mask=None, box_xyxy=(30, 10, 120, 150))
    far = Body(mask=None, box_xyxy=(0, 0, 200, 160))
    elsewhere = Body(mask=None, box_xyxy=(20, 10, 130, 150), joints={"nose": (20.0, 20.0)}, has_joints=True)
    its_own = Body(mask=None, box_xyxy=(150, 10, 160, 20), joints={"nose": (70.0, 60.0)}, has_joints=True)
    masked = Body(mask=mask((30, 10, 120, 150)), box_xyxy=(30, 10, 120, 150))
    beside = Body(mask=mask((120, 10, 160, 150)), box_xyxy=(0, 0, 200, 160))
    assert owner_of_face(FACE, [near], SIZE) == 0
    # Two boxes tell nothing; a mask does, and a nose in the face still more.
    assert owner_of_face(FACE, [near, far], SIZE) is None
    assert owner_of_face(FACE, [near, elsewhere], SIZE) == 0
    assert owner_of_face(FACE, [near, masked, beside], SIZE) == 1
    assert owner_of_face(FACE, [near, masked, its_own], SIZE) == 2
    assert owner_of_face(FACE, [beside], SIZE) is None
    assert owner_of_face({"chin": ((1, 2),)}, [near], SIZE) is None


# --- hands ----------------------------------------------------------------------------------------------------


def test_a_hand_has_fingers_with_tips():
    parts = hand_parts(open_hand(), "left", SIZE)
    names = [name for name, _ in parts]
    fingers = [f"left {name}" for name in ("thumb", "index finger", "middle finger", "ring finger", "little finger")]
    assert names == ["left hand", *(name for finger in fingers for name in (finger, f"tip of the {finger}"))]
    assert all(is_of_hand(name) for name in names)
    by_name = dict(parts)
    for finger in fingers:
        assert not (by_name[f"tip of the {finger}"] & ~by_name[finger]).any()
        assert not (by_name[finger] & ~by_name["left hand"]).any()
    # A capsule from the knuckle to the tip, 4 wide on each side.
    columns = np.nonzero(by_name["left middle finger"])[1]
    assert (columns.min(), columns.max()) == (94, 101)


def test_a_small_hand_has_no_fingers_and_a_hidden_finger_is_none():
    assert [name for name, _ in hand_parts(open_hand(scale=0.4), "", SIZE)] == ["hand"]
    hand = open_hand()
    behind = Hand(side="left", points=(*hand.points[:13], *hand.points[9:13], *hand.points[17:]))
    names = {name for name, _ in hand_parts(behind, "left", SIZE)}
    assert "left little finger" in names
    assert not {"left middle finger", "left ring finger"} & names


def test_the_side_is_that_of_a_wrist_that_is_near_and_agrees():
    hand = open_hand("left")
    assert hand_side(hand, {"left": (104, 138), "right": (20, 100)}) == "left"
    assert hand_side(hand, {"left": (104, 138)}) == "left"
    # Another one than the detector says, two that are as near, none that is near, none.
    assert hand_side(hand, {"right": (104, 138)}) == ""
    assert hand_side(hand, {"left": (104, 138), "right": (96, 138)}) == ""
    assert hand_side(hand, {"left": (150, 100)}) == ""
    assert hand_side(hand, {}) == ""


def test_whose_hand_it_is():
    with_wrist = Body(mask=None, box_xyxy=(0, 0, 10, 10), joints={"left wrist": (98.0, 142.0)}, has_joints=True)
    masked = Body(mask=mask((60, 60, 140, 160)), box_xyxy=(60, 60, 140, 160))
    boxed = Body(mask=None, box_xyxy=(0, 0, 200, 160))
    assert owner_of_hand(open_hand(), [boxed, masked, with_wrist]) == 2
    assert owner_of_hand(open_hand(), [boxed, masked]) == 1
    assert owner_of_hand(open_hand(), [boxed]) is None


# --- clothes --------------------------------------------------------------------------------------------------

LEFT_SHOE, RIGHT_SHOE = mask((110, 130, 130, 150)), mask((60, 130, 80, 150))
SHOES = [("shoe", RIGHT_SHOE), ("shoe", LEFT_SHOE)]


def sides(parts, **joints):
    return [name for name, _ in person_parts(parts, PhotoLandmarks(pose=pose(**joints)))]


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


def test_a_face_is_painted_over_skin_alone_and_ends_at_the_neck():
    hair, face = mask((40, 10, 100, 46)), mask((40, 46, 100, 160))
    parts = dict(person_parts([("hair", hair), ("face", face)], PhotoLandmarks(faces=(FACE,))))
    assert (parts["hair"] == hair).all()
    assert "left eyebrow" not in parts and "forehead" not in parts
    assert (parts["left eye"] == mask((76, 50, 88, 56))).all()
    # The outline ends at 100 and is 80 high.
    assert (parts["neck"] == mask((40, 100, 100, 140))).all()
    assert (parts["chest"] == mask((40, 140, 100, 160))).all()
    assert sum(int(one.sum()) for one in parts.values()) == hair.sum() + face.sum()


def test_a_face_elsewhere_is_somebody_elses():
    parts = person_parts([("face", mask((120, 20, 180, 100)))], PhotoLandmarks(faces=(FACE,)))
    assert [name for name, _ in parts] == ["face"]


def test_a_hand_is_painted_over_an_arm_and_not_over_a_bag():
    arm, bag = mask((60, 0, 130, 100)), mask((60, 100, 130, 160))
    found = PhotoLandmarks(
        pose=pose(left_wrist=(100, 139), right_wrist=(10, 10), left_elbow=(100, 20)), hands=(open_hand(),)
    )
    parts = dict(person_parts([("arm", arm), ("bag", bag)], found))
    assert (parts["bag"] == bag).all()
    # Neither wrist lies in the arm's pixels, but the elbow does; where the right one is, is known.
    assert {"left arm", "left hand", "left index finger"} <= parts.keys()
    assert "left thumb" not in parts
    assert not (parts["left hand"] & bag).any()


def test_a_labelled_hand_keeps_its_outline_and_gets_fingers_and_a_side():
    labelled = mask((60, 55, 130, 150))
    # The left wrist is near the hand's, but not in the mask; so the mask alone has no side.
    found = PhotoLandmarks(pose=pose(left_wrist=(100, 154)), hands=(open_hand(),))
    parts = dict(person_parts([("hand", labelled)], found))
    assert "hand" not in parts and {"left hand", "left thumb"} <= parts.keys()
    assert (np.logical_or.reduce(list(parts.values())) == labelled).all()
    # Labels and joints say right, the detector left: nothing is added.
    joints = pose(right_wrist=(100, 140), left_wrist=(10, 10))
    names = [name for name, _ in person_parts([("hand", labelled)], PhotoLandmarks(pose=joints, hands=(open_hand(),)))]
    assert names == ["right hand"]


def test_a_piece_of_a_forearm_is_no_hand():
    found = PhotoLandmarks(pose=pose(left_elbow=(100, 20), left_wrist=(100, 100), right_wrist=(10, 10)))
    names = [name for name, _ in person_parts([("hand", mask((90, 40, 110, 80)))], found)]
    assert names == ["arm"]


def test_skin_along_a_limb_is_that_limb_and_far_pieces_of_one_are_skin():
    skin = mask((80, 10, 120, 110), (0, 140, 40, 160))
    found = PhotoLandmarks(pose=pose(left_elbow=(100, 20), left_wrist=(100, 100)))
    parts = dict(person_parts([("skin", skin)], found))
    assert set(parts) == {"skin", "left arm"}
    assert parts["left arm"][60, 84:116].all() and not parts["left arm"][60, 80:82].any()
    leg = mask((80, 60, 110, 150), (20, 20, 30, 30))
    parts = dict(person_parts([("leg", leg)], found))
    assert (parts["skin"] == mask((20, 20, 30, 30))).all()
    assert (parts["leg"] == mask((80, 60, 110, 150))).all()


# --- through the source ---------------------------------------------------------------------------------------


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
