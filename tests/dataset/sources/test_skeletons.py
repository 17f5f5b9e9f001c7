import pytest

from talking_points.dataset.sources.skeletons import TABLE, joint_words, limb_between
from talking_points.files import read_table


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("left_shoulder", "left shoulder"),
        ("Right Wrist", "right wrist"),
        ("RightShoulder", "right shoulder"),
        ("ankle_l", "left ankle"),
        ("r-hip", "right hip"),
        ("nose", "nose"),
        ("top_of_head", "top of the head"),
        ("elbow", "elbow"),
    ],
)
def test_joints_of_people_in_words(name, words):
    assert joint_words(name, animal=False) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("L_F_Paw", "left front paw"),
        ("R_B_Paw", "right back paw"),
        ("root_of_tail", "root of the tail"),
        ("TailBase", "base of the tail"),
        ("L_EarBase", "left ear base"),
        ("Withers", "withers"),
        ("L_F_Elbow", "left front elbow"),
        # The knee of a hind leg, and the joint below it.
        ("L_B_Elbow", "left hind knee"),
        ("R_B_Knee", "right hock"),
        ("left fore wrist", "left front knee"),
        ("right hind hock", "right hock"),
        ("right hind foot", "right hind foot"),
        ("left_back_paw", "left back paw"),
        ("left_knee", "left knee"),
        ("chest", "side of the chest"),
    ],
)
def test_joints_of_animals_in_words(name, words):
    assert joint_words(name, animal=True) == words


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("left shoulder", "left elbow", "left upper arm"),
        ("right wrist", "right elbow", "right forearm"),
        ("left hip", "left knee", "left thigh"),
        ("left ankle", "left knee", "left lower leg"),
        ("right ankle", "right heel", "right heel"),
    ],
)
def test_limbs_of_people(first, second, name):
    limb = limb_between(first, second, animal=False)
    assert limb is not None and limb[0] == name and 0 < limb[1] < 0.5


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("left hip", "right hip"),
        ("left shoulder", "right shoulder"),
        ("left eye", "right eye"),
        ("nose", "left eye"),
        ("left ear", "left shoulder"),
        ("left shoulder", "left hip"),
        # Exchanged sides are a mistake of the skeleton.
        ("left shoulder", "right elbow"),
    ],
)
def test_what_is_no_limb_of_people(first, second):
    assert limb_between(first, second, animal=False) is None


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("elbow", "left front knee", "left upper foreleg"),
        ("left front knee", "left front foot", "left lower foreleg"),
        ("left elbow", "left front paw", "left foreleg"),
        ("right hip", "right knee", "right thigh"),
        ("right hind knee", "right hock", "right upper hind leg"),
        ("hind knee", "right hock", "right upper hind leg"),
        ("right hock", "right back paw", "right lower hind leg"),
        ("neck", "root of the tail", "back"),
        ("withers", "base of the tail", "back"),
        ("root of the tail", "left hip", "left rump"),
        ("hip", "base of the tail", "rump"),
        ("eye", "mouth", "face"),
    ],
)
def test_limbs_of_animals(first, second, name):
    limb = limb_between(first, second, animal=True)
    assert limb is not None and limb[0] == name


def test_a_pair_that_no_table_knows_is_a_stretch():
    limb = limb_between("left fin", "right fin", animal=True)
    assert limb is not None and limb[0] == "stretch between the left fin and the right fin"
    limb = limb_between("handle", "tip", animal=False)
    assert limb is not None and limb[0] == "stretch between the handle and the tip"


def test_the_tables_name_no_side_of_their_own():
    for kind in ("person", "animal"):
        table = read_table(TABLE)[kind]
        words = " ".join([*table["no_limbs"], *table["limbs"], *(name for name, _ in table["limbs"].values())])
        assert "left" not in words and "right" not in words
