import json

import numpy as np
import pytest

from talking_points.dataset.sources.landmarks import (
    NOTHING_FOUND,
    Body,
    Hand,
    face_parts,
    hand_parts,
    hand_side,
    is_of_hand,
    owner_of_face,
    owner_of_hand,
    read_landmarks,
)
from talking_points.labels.problems import LabelError
from tests.dataset.sources.people import FACE, SIZE, box, mask, open_hand

# --- the file -------------------------------------------------------------------------------------------------


FOUND_FACE = {"face": [[1, 2], [3, 4], [1, 4]], "chin": [[5, 6]]}


def test_a_file_is_read_and_a_missing_one_says_nothing(tmp_path):
    path = tmp_path / "landmarks.json"
    assert read_landmarks(path) == {}
    hand = {"side": "left", "points": [[1, 2]] * 21, "score": 0.9}
    rows = [[1, 2, 0.5]] * 15 + [[3, 4, 0.6]] + [[1, 2, 0.5]] * 17
    found = {"pose": rows, "faces": [FOUND_FACE, {"chin": [[5, 6]]}], "hands": [hand]}
    path.write_text(json.dumps({"photos": {"a.jpg": found, "b.jpg": {"pose": None, "faces": [], "hands": []}}}))
    landmarks = read_landmarks(path)
    assert landmarks["b.jpg"] == NOTHING_FOUND
    # The others are hidden.
    assert landmarks["a.jpg"].joints == {"left wrist": (3, 4)}
    # What has no outline is no face.
    assert landmarks["a.jpg"].faces == ({"face": ((1, 2), (3, 4), (1, 4)), "chin": ((5, 6),)},)
    assert landmarks["a.jpg"].hands == (Hand(side="left", points=((1.0, 2.0),) * 21),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], 'landmarks.json: expected an object with "photos"'),
        ({"photos": {"a.jpg": {"pose": [[1, 2, 3]]}}}, "a.jpg: not landmarks: ValueError 1 points, expected 33"),
        ({"photos": {"a.jpg": {"hands": [{"side": "left"}]}}}, "a.jpg: not landmarks: KeyError 'points'"),
        ({"photos": {"a.jpg": {"faces": [{"face": [[1, 2], [3, float("nan")]]}]}}}, "expected rows of 2 numbers"),
        ({"photos": {"a.jpg": {"faces": [{"face": [[1, 2, 3], [3, 2, 1]]}]}}}, "expected rows of 2 numbers"),
        ({"photos": {"a.jpg": {"faces": [{"face": [[1, 2], [3, 1e200]]}]}}}, "expected rows of 2 numbers"),
        ({"photos": {"a.jpg": {"faces": [{"face": [[1, 2], [3, 10**400]]}]}}}, "a.jpg: not landmarks: OverflowError"),
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
    assert hand_side(hand, {"left wrist": (104, 138), "right wrist": (20, 100)}) == "left"
    assert hand_side(hand, {"left wrist": (104, 138)}) == "left"
    # Another one than the detector says, two that are as near, none that is near, none.
    assert hand_side(hand, {"right wrist": (104, 138)}) == ""
    assert hand_side(hand, {"left wrist": (104, 138), "right wrist": (96, 138)}) == ""
    assert hand_side(hand, {"left wrist": (150, 100)}) == ""
    assert hand_side(hand, {}) == ""


def test_whose_hand_it_is():
    with_wrist = Body(mask=None, box_xyxy=(0, 0, 10, 10), joints={"left wrist": (98.0, 142.0)}, has_joints=True)
    masked = Body(mask=mask((60, 60, 140, 160)), box_xyxy=(60, 60, 140, 160))
    boxed = Body(mask=None, box_xyxy=(0, 0, 200, 160))
    assert owner_of_hand(open_hand(), [boxed, masked, with_wrist]) == 2
    assert owner_of_hand(open_hand(), [boxed, masked]) == 1
    assert owner_of_hand(open_hand(), [boxed]) is None
