import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.check import check_sources
from talking_points.dataset.scene import Scene
from talking_points.dataset.sources import open_source
from talking_points.labels.problems import LabelError

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "clothing_parts"


def read_all(folder: Path, split: str) -> list[Scene]:
    source = open_source("label-map", folder, split)
    return [source.read(photo_id) for photo_id in source.photo_ids]


IDS = [f"{number:04d}" for number in range(30)]


@pytest.fixture
def folder(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", IDS[:5], IDS[5:7])
    return tmp_path / "people"


def test_labels_become_words(folder):
    scenes = read_all(folder, "test")
    assert [scene.photo_id for scene in scenes] == IDS[5:7]
    scene = scenes[0]
    assert scene.source == "people"
    assert [thing.name for thing in scene.objects] == ["person"]
    assert Counter(part.name for part in scene.parts) == Counter(
        {"hair": 1, "skin": 1, "shirt": 1, "jeans": 1, "shoe": 2, "bag": 1}
    )
    left, right = [part for part in scene.parts if part.name == "shoe"]
    assert left.box_xyxy == (18, 104, 27, 112)
    assert right.box_xyxy == (33, 104, 42, 112)


def test_shoes_that_touch_stay_plural(folder):
    path = folder / "labels" / "0005.png"
    labels = np.asarray(Image.open(path)).copy()
    labels[108:112, 27:33] = 5
    Image.fromarray(labels).save(path)
    assert Counter(part.name for part in read_all(folder, "test")[0].parts)["shoes"] == 1


def test_names_are_texts(folder):
    (folder / "splits.json").write_text(json.dumps({"train": [], "test": [5]}))
    with pytest.raises(ValueError, match="people: labels.json and splits.json may name things by texts only"):
        open_source("label-map", folder, "test")


def test_photos_that_are_listed_to_choose_by_are_those(folder):
    """Then nothing is held out of train."""
    lists = {"train": IDS[:3], "val": IDS[3:5], "test": IDS[5:7]}
    (folder / "splits.json").write_text(json.dumps(lists))
    for split, ids in lists.items():
        assert list(open_source("label-map", folder, split).photo_ids) == sorted(ids)
    (folder / "splits.json").write_text(json.dumps(lists | {"val": IDS[2:5]}))
    for split in ("train", "val"):
        with pytest.raises(ValueError, match=f'photo "{IDS[2]}": is in both "train" and "val"; leave it in one'):
            open_source("label-map", folder, split)


def test_a_split_of_another_name_is_refused(folder):
    """Its photos would be left out without a word."""
    (folder / "splits.json").write_text(json.dumps({"train": IDS[:3], "validation": IDS[3:5], "test": IDS[5:7]}))
    with pytest.raises(ValueError, match='"validation": is no split; call it one of train, val, test, or leave it out'):
        open_source("label-map", folder, "train")


def test_train_and_val_share_no_photo(tmp_path, label_map_writer):
    label_map_writer(tmp_path / "people", IDS, [])
    splits = {name: {s.photo_id for s in read_all(tmp_path / "people", name)} for name in ("train", "val")}
    assert splits["train"] | splits["val"] == set(IDS)
    assert not splits["train"] & splits["val"]
    assert splits["val"]


def test_a_photo_without_labels_has_no_parts(folder):
    Image.fromarray(np.zeros((120, 60), np.uint8)).save(folder / "labels" / "0005.png")
    assert [len(scene.parts) > 0 for scene in read_all(folder, "test")] == [False, True]


def test_sixteen_bit_labels_and_other_objects(folder):
    path = folder / "labels" / "0005.png"
    Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16)).save(path)
    (folder / "labels.json").write_text(
        json.dumps({"names": ["", "crown", "skin", "trunk", "root", "shoes", "big_branch"], "object": "tree"})
    )
    scene = read_all(folder, "test")[0]
    assert [thing.name for thing in scene.objects] == ["tree"]
    # Nothing that is true of clothes is taken to be true of trees.
    assert [part.name for part in scene.parts] == ["crown", "skin", "trunk", "root", "shoes", "big branch"]


def broken_label(folder):
    labels = np.zeros((120, 60), np.uint8)
    labels[50, 50] = 99
    Image.fromarray(labels).save(folder / "labels" / "0005.png")


def other_size(folder):
    Image.fromarray(np.zeros((50, 60), np.uint8)).save(folder / "labels" / "0005.png")


def colour_labels(folder):
    Image.fromarray(np.zeros((120, 60, 3), np.uint8)).save(folder / "labels" / "0005.png")


def names_gone(folder):
    (folder / "labels.json").write_text(json.dumps({"names": "none"}))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (broken_label, "0005.png: holds label 99, labels.json names 0 to 6"),
        (other_size, "0005.png: is 60x50, its photo is 60x120"),
        (colour_labels, "0005.png: expected one 8- or 16-bit label a pixel"),
        (names_gone, 'labels.json: expected an object with a list "names"'),
        (lambda folder: (folder / "labels" / "0005.png").unlink(), "0005.png is missing"),
        (lambda folder: (folder / "photos" / "0005.jpg").unlink(), "no such photo: .*0005.jpg"),
        (lambda folder: (folder / "splits.json").write_text("{}"), 'expected an object with a list "test"'),
        (
            lambda folder: (folder / "labels.json").unlink(),
            r'labels.json: is missing; write the name of .*"object": "person".*own-dataset.md, Label maps\)',
        ),
        (lambda folder: (folder / "splits.json").unlink(), r'splits.json: is missing; write which .*"test": \["0002'),
    ],
)
def test_what_is_wrong_is_named(folder, break_it, message):
    break_it(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_all(folder, "test")


def draw(folder, edit, photo_id="0005"):
    path = folder / "labels" / f"{photo_id}.png"
    labels = np.asarray(Image.open(path)).copy()
    Image.fromarray(edit(labels)).save(path)


def say(folder, **said):
    path = folder / "labels.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))


def contour(labels):
    labels[100:104, :] = 255
    return labels


def test_255_is_no_label_unless_it_is_named(folder):
    draw(folder, contour)
    scene = read_all(folder, "test")[0]
    assert scene.notes == ("label 255 taken as no label",)
    assert scene.part_index_at((30, 102)) is None and len(scene.parts) == 7
    draw(folder, lambda labels: np.where(labels == 255, 65535, labels.astype(np.uint16)))
    assert read_all(folder, "test")[0].notes == ("label 65535 taken as no label",)
    say(folder, ignore=[65535, 7])
    assert read_all(folder, "test")[0].notes == ()
    assert read_all(folder, "test")[0].part_index_at((30, 102)) is None


def test_a_label_whose_name_says_that_it_is_none(folder):
    say(folder, names=["null", "hair", "skin", "shirt", "jeans", "shoes", "_Void_"])
    scene = read_all(folder, "test")[0]
    assert not {"bag", "Void", " Void "} & {part.name for part in scene.parts}
    assert scene.notes == ("label 6 taken as no label",)


def test_255_as_a_name(folder):
    draw(folder, contour)
    names = json.loads((folder / "labels.json").read_text())["names"]
    say(folder, names=names + [f"label {k}" for k in range(len(names), 255)] + ["belt"])
    assert "belt" in {part.name for part in read_all(folder, "test")[0].parts}


@pytest.mark.parametrize("ignored", [255, [255], [6, 255]])
def test_labels_to_ignore(folder, ignored):
    draw(folder, contour)
    say(folder, ignore=ignored)
    names = {part.name for part in read_all(folder, "test")[0].parts}
    assert ("bag" in names) == (ignored != [6, 255])


@pytest.mark.parametrize("ignored", ["255", [True], [-1], [1.5], {}, None])
def test_what_ignore_may_say(folder, ignored):
    say(folder, ignore=ignored)
    with pytest.raises(LabelError, match='labels.json: "ignore": is .*; expected labels as numbers'):
        open_source("label-map", folder, "test")


def test_black_and_white_masks_are_no_label_maps(folder):
    draw(folder, lambda labels: np.where(labels > 0, 255, 0).astype(np.uint8))
    with pytest.raises(LabelError, match="0005.png: holds label 255 and no other but background"):
        read_all(folder, "test")


def test_a_first_name_that_is_a_part_s_is_noted(folder):
    say(folder, names=["hat", *json.loads((folder / "labels.json").read_text())["names"][1:]])
    assert read_all(folder, "test")[0].notes == ('label 0 taken as background, though labels.json calls it "hat"',)


def turn(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(path).save(path, exif=exif, quality=95)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_labels_of_stored_pixels_are_turned_with_the_photo(folder, orientation):
    plain = read_all(folder, "test")[0]
    turn(folder / "photos" / "0005.jpg", orientation)
    source = open_source("label-map", folder, "test")
    scene = source.read("0005")
    assert scene.size_wh == (120, 60)
    assert scene.notes == ("labels of a photo's stored pixels, turned upright with it",)
    assert sum(part.area_px for part in scene.parts) == sum(part.area_px for part in plain.parts)
    for part in scene.parts:
        if part.name == "shirt":
            shirt = scene.photo[scene.part_map == 1 + scene.parts.index(part)]
            assert np.abs(shirt.mean(axis=0) - (200, 30, 36)).max() < 12


def test_labels_of_upright_pixels_stay(folder):
    plain = read_all(folder, "test")[0]
    path = folder / "photos" / "0005.jpg"
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(path).transpose(Image.Transpose.ROTATE_270).save(path, exif=exif, quality=95)
    scene = read_all(folder, "test")[0]
    assert scene.parts == plain.parts and scene.notes == ()


@pytest.mark.parametrize(("orientation", "turned"), [(3, False), (6, True)])
def test_a_tiff_tells_how_it_was_turned_as_others_do(folder, orientation, turned):
    path = folder / "photos" / "0005.jpg"
    Image.open(path).save(path.with_suffix(".tif"), tiffinfo={0x0112: orientation})
    path.unlink()
    if turned:
        assert read_all(folder, "test")[0].notes == ("labels of a photo's stored pixels, turned upright with it",)
    else:
        with pytest.raises(LabelError, match='the photo has EXIF orientation 3.*"labels_frame"'):
            read_all(folder, "test")


@pytest.mark.parametrize("orientation", [2, 3, 4])
def test_where_the_size_does_not_tell_it_must_be_said(folder, orientation):
    plain = read_all(folder, "test")[0]
    turn(folder / "photos" / "0005.jpg", orientation)
    with pytest.raises(LabelError, match=f'0005.png: the photo has EXIF orientation {orientation}.*"labels_frame"'):
        read_all(folder, "test")
    say(folder, labels_frame="upright")
    assert read_all(folder, "test")[0].parts == plain.parts
    say(folder, labels_frame="stored")
    turned = read_all(folder, "test")[0].part_map > 0
    mirrored = {2: np.s_[:, ::-1], 3: np.s_[::-1, ::-1], 4: np.s_[::-1]}[orientation]
    assert np.array_equal(turned, (plain.part_map > 0)[mirrored])
    say(folder, labels_frame="sideways")
    with pytest.raises(LabelError, match="labels.json: labels_frame: is 'sideways'"):
        open_source("label-map", folder, "test")


@pytest.mark.parametrize("name", ["", " ", "_", "7", "-1.5"])
def test_labels_in_use_have_names_that_can_be_said(folder, name):
    names = json.loads((folder / "labels.json").read_text())["names"]
    say(folder, names=[*names[:3], name, *names[4:]])
    said = f'0005.png: holds label 3, whose name in labels.json, "{name}", has no letter; name it'
    with pytest.raises(LabelError, match=said):
        read_all(folder, "test")
    problem = said.partition(": ")[2].partition(";")[0]
    assert problem in {one.problem for one in check_sources({"label-map": folder}).problems}
    # Names of labels that are not there, or mean nothing, do not matter.
    say(folder, ignore=[3])
    assert "shirt" not in {part.name for part in read_all(folder, "test")[0].parts}
    say(folder, names=[*names, name], ignore=[])
    assert len(read_all(folder, "test")[0].parts) == 7


def test_so_has_the_object(folder):
    say(folder, object="_")
    with pytest.raises(LabelError, match='labels.json: "object": is "_", which has no letter; write what it is'):
        open_source("label-map", folder, "test")


@pytest.mark.parametrize("ending", [".gif", ".jp2", ".nef", ""])
def test_what_lies_in_a_photo_s_place_is_opened(folder, ending):
    path = folder / "photos" / "0005.jpg"
    kind = {".gif": "GIF", ".jp2": "JPEG2000"}.get(ending, "TIFF")
    Image.open(path).save(path.with_suffix(ending), kind, **({"tiffinfo": {254: 1}} if ending == ".nef" else {}))
    path.unlink()
    if ending == ".nef":
        with pytest.raises(ValueError, match="0005.nef is not a photo that can be read: it is a TIFF that begins with"):
            read_all(folder, "test")
    else:
        assert len(read_all(folder, "test")[0].parts) == 7


def test_a_raw_file_beside_the_photo_does_not_matter(folder):
    (folder / "photos" / "0005.nef").write_bytes(b"raw")
    assert open_source("label-map", folder, "test").paths["0005"].name == "0005.jpg"


@pytest.mark.parametrize("ending", [".JPG", ".jpeg", ".JPEG", ".png", ".webp"])
def test_endings_of_photos(folder, ending):
    path = folder / "photos" / "0005.jpg"
    kind = {".png": "PNG", ".webp": "WEBP"}.get(ending, "JPEG")
    Image.open(path).save(path.with_suffix(".new"), kind)
    path.unlink()
    path.with_suffix(".new").rename(path.with_suffix(ending))
    source = open_source("label-map", folder, "test")
    assert source.paths["0005"].name == f"0005{ending}"
    assert len(source.read("0005").parts) == 7


def test_names_with_accents_in_either_form_and_with_endings(folder):
    for kind, ending in (("photos", "jpg"), ("labels", "png")):
        (folder / kind / f"0005.{ending}").rename(folder / kind / f"cafe\u0301.{ending}")
    (folder / "splits.json").write_text(json.dumps({"train": [], "test": ["caf\u00e9", "photos\\0006.jpg"]}))
    source = open_source("label-map", folder, "test")
    assert source.photo_ids == ("0006", "caf\u00e9")
    assert all(len(source.read(photo_id).parts) == 7 for photo_id in source.photo_ids)


def test_two_photos_of_one_name(folder):
    (folder / "photos" / "0005.PNG").write_bytes((folder / "photos" / "0005.jpg").read_bytes())
    with pytest.raises(LabelError, match='photos: 0005.PNG and 0005.jpg: are both photo "0005"; rename'):
        open_source("label-map", folder, "test")
    # Of photos that are not read, it does not matter.
    open_source("label-map", folder, "train")


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_photo_in_both_splits(folder, split):
    (folder / "splits.json").write_text(json.dumps({"train": IDS[:5], "test": ["0001.jpg", *IDS[4:7]]}))
    with pytest.raises(LabelError, match='splits.json: photo "0001": is in both "train" and "test"; leave.*1 more'):
        open_source("label-map", folder, split)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real photos are not beside this checkout")
def test_real_photos():
    scenes = read_all(SHARED, "test")
    assert len(scenes) == 100
    counts = Counter(part.name for scene in scenes for part in scene.parts)
    assert counts["hair"] > 80
    assert sum(counts[name] for name in ("left shoe", "right shoe", "shoe")) > 60
    assert abs(counts["left shoe"] - counts["right shoe"]) < 10 < counts["left shoe"]
    assert counts["face"] > 60
    assert "null" not in counts
    for scene in scenes:
        faces = [part for part in scene.parts if part.name == "face"]
        legs = [part for part in scene.parts if part.name in ("leg", "legs")]
        # A face is above every leg.
        assert all(face.box_xyxy[3] < leg.box_xyxy[3] for face in faces for leg in legs)
