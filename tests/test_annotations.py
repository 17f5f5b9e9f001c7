from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from talking_points.sample_files import Line, count_samples, read_points, read_samples

SIZE_WH = (80, 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.jpg, and turned.jpg, which is stored lying and upright 40 wide and 80 high."""
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE_WH, "gray").save(tmp_path / "images" / "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE_WH, "gray").save(tmp_path / "turned.jpg", exif=exif)
    return tmp_path


def region(**changes: Any) -> dict[str, Any]:
    value = {"x": 50, "y": 25.0, "width": 0.5, "keypointlabels": ["nose"]}
    known = {"id": "r1", "type": "keypointlabels", "original_width": 80, "original_height": 40, "image_rotation": 0}
    return {**known, "value": value, **changes}


def task(*regions: dict[str, Any], image: str = "/data/upload/1/0123abcd-a.jpg", **changes: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"image": image}, "annotations": [{"result": list(regions)}], **changes}


def lines(folder: Path, tasks: Any) -> list[Line]:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks))
    return list(read_samples(path))


def test_label_studio_keypoints_become_pixels_of_the_upright_photo(folder: Path) -> None:
    text = {"id": "r1", "type": "textarea", "value": {"text": ["the tip", "of it"]}}
    choice = {"id": "c", "type": "choices", "value": {"choices": ["a"]}}
    turned = region(original_width=400, original_height=800)
    cancelled = task(region(), annotations=[{"was_cancelled": True, "result": [region()]}])
    first, second = lines(folder, [task(region(), text, choice), task(turned, image="turned.jpg"), cancelled])
    assert first.record == {
        "photo": "images/a.jpg",
        "x": 40.0,
        "y": 10.0,
        "annotation_id": "r1",
        "label": "nose",
        "text": "the tip of it",
    }
    assert (second.record["photo"], second.record["x"], second.record["y"]) == ("turned.jpg", 20.0, 20.0)
    [_, point] = read_points(folder / "export.json")
    assert point.point_px == (20.0, 20.0) and count_samples(folder / "export.json") == 2


@pytest.mark.parametrize(
    "image",
    [
        "a.jpg",
        "images/a.jpg",
        "http://host:8080/data/upload/1/0123abcd-a.jpg?x=1",
        "/data/local-files/?d=images/a.jpg",
        "s3://bucket/folder/a.jpg",
    ],
)
def test_photos_of_label_studio_are_found_beside_the_file(folder: Path, image: str) -> None:
    [line] = lines(folder, [task(region(), image=image)])
    assert line.record["photo"] == "images/a.jpg"


TWO = {"image": "a.jpg", "image2": "turned.jpg"}
PAGES = {"image": ["turned.jpg", "a.jpg"]}


@pytest.mark.parametrize(
    ("data", "changes", "photo"),
    [
        (TWO, {"to_name": "image"}, "images/a.jpg"),
        (PAGES, {"item_index": 1}, "images/a.jpg"),
        ({"image": ["a.jpg"]}, {}, "images/a.jpg"),
        ({"photo": "a.jpg", "of": "https://host/page", "said": "a word.word"}, {"to_name": "img"}, "images/a.jpg"),
        ({"image": "turned.jpg", "b": "images/a.jpg"}, {"to_name": "b", "item_index": 0}, "images/a.jpg"),
    ],
)
def test_the_photo_of_several_is_the_regions_own(
    folder: Path, data: dict[str, Any], changes: dict[str, Any], photo: str
) -> None:
    [line] = lines(folder, [task(region(**changes), data=data)])
    assert line.record.get("photo") == photo, line.problem


@pytest.mark.parametrize(
    ("data", "changes", "said"),
    [
        (TWO, {"to_name": "image2"}, "a 80x40 picture was labelled, the photo is 40x80 upright"),
        (TWO, {"to_name": "img"}, "the task's data names photos as image, image2, and the region is on 'img'"),
        ({"one": "a.jpg", "two": "b.jpg"}, {}, "names photos as one, two, and the region is on None"),
        ({"image": "a.jpg", "b": "http://host/blob/2"}, {"to_name": "b"}, "no such photo beside the file: 2"),
        (PAGES, {}, "item_index is None; expected a place, from 0, in the task's 2 photo(s)"),
        (PAGES, {"item_index": 2}, "item_index is 2; expected a place"),
        ({"image": "a.jpg"}, {"item_index": 1}, "item_index is 1; expected a place, from 0, in the task's 1 photo(s)"),
        (
            {"html": '<img src="a.jpg">', "video": "a.mp4"},
            {},
            "task 7, region 'r1': the task's data (html, video) names",
        ),
        ({"image": "data:image/jpeg;base64," + 6000 * "A"}, {}, "the photo lies in the task itself, as a data: URL"),
        ({"image": "http://[a.jpg"}, {}, "no such photo beside the file: http://[a.jpg"),
        ({"image": 6000 * "a"}, {}, "no such photo beside the file: aaa"),
    ],
)
def test_a_photo_that_is_not_known_to_be_the_regions(
    folder: Path, data: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    bad, good = lines(folder, [task(region(**changes), data=data), task(region(), image="a.jpg")])
    assert said in str(bad.problem) and len(str(bad.problem)) < 300 and good.problem is None


def test_photos_of_one_name_are_not_taken_for_each_other(folder: Path) -> None:
    def uploaded(prefix: str) -> dict[str, Any]:
        return task(region(), image=f"/data/upload/1/{prefix}-a.jpg")

    first, _ = lines(folder, [uploaded("0123abcd"), uploaded("4567abcd"), task(image="/data/upload/1/89ab4567-a.jpg")])
    assert first.problem == (
        "task 7, region 'r1': images/a.jpg beside the file may be data/upload/1/0123abcd-a.jpg or "
        "data/upload/1/4567abcd-a.jpg; keep both in their folders"
    )
    both = [task(region(), image="s3://one/a.jpg"), task(region(), image="s3://two/a.jpg")]
    assert all("may be" in str(line.problem) for line in lines(folder, both))
    # A prefix that no upload gave is the photo's own.
    [line] = lines(folder, [task(region(), image="s3://one/0123abcd-a.jpg")])
    assert "no such photo beside the file: 0123abcd-a.jpg" in str(line.problem)
    # With their own names each is known; one photo may be in many tasks.
    (folder / "4567abcd-a.jpg").write_bytes((folder / "images/a.jpg").read_bytes())
    found = lines(folder, [uploaded("0123abcd"), uploaded("4567abcd"), uploaded("0123abcd")])
    assert [one.record.get("photo") for one in found] == ["images/a.jpg", "4567abcd-a.jpg", "images/a.jpg"]


def test_what_is_said_of_a_keypoint_is_no_shape(folder: Path) -> None:
    said = [
        {"id": "r1", "type": kind, "value": {"x": 50, "y": 25, "width": 0.5, kind: ["a"]}}
        for kind in ("choices", "rating", "labels", "taxonomy")
    ]
    turns = [region(image_rotation=turn) for turn in (360, "0", -360, None)]
    for known in turns:
        [line] = lines(folder, [task(known, *said)])
        assert line.problem is None and line.record["x"] == 40


def test_a_text_and_a_label_are_texts(folder: Path) -> None:
    text = {"id": "r1", "type": "textarea", "value": {"text": [5, None]}}
    known = region(value={"x": 50, "y": 25, "keypointlabels": "nose"})
    bad, good = lines(folder, [task(region(), text), task(known)])
    assert "its text is [5, None]; expected a text" in str(bad.problem) and good.record["label"] == "nose"


def test_a_text_that_may_be_anothers(folder: Path) -> None:
    first, second = ({"id": "r1", "type": "textarea", "from_name": name, "value": {"text": name}} for name in "ab")
    [line] = lines(folder, [task(region(), first, second)])
    assert "it has 2 texts (a, b); which is meant? Leave one" in str(line.problem)
    both = lines(folder, [task(region(), region(value={"x": 1, "y": 1}), first)])
    assert ["another region has the same id" in str(line.problem) for line in both] == [True, True]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"annotations": [{"was_cancelled": True, "result": [region()]}]},
            "; left out: cancelled annotations (1); submit",
        ),
        ({"annotations": [], "predictions": [{"result": [region()]}]}, "; left out: predictions (1); submit them"),
        ({"annotations": None, "drafts": [{}, {}]}, "; left out: drafts (2); submit them"),
        ({"annotations": [{"result": None}]}, "no keypoint is in a submitted annotation of its tasks"),
    ],
)
def test_why_an_export_has_no_points(folder: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"export\.json has no points") as told:
        lines(folder, [task(**changes)])
    assert str(told.value).endswith(said) or said in str(told.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (region(type="rectanglelabels"), "task 7, region 'r1': it is of the type rectanglelabels; only keypoints"),
        (region(type="polygonlabels", value={"points": [[1, 2]]}), "of the type polygonlabels"),
        (region(type="vectorlabels", value={"vertices": [{"x": 1, "y": 2}]}), "of the type vectorlabels"),
        (region(type="bitmask", value={"imageDataURL": "data:"}), "of the type bitmask"),
        (region(value={"x": 1, "y": 2, "radiusX": 3, "radiusY": 4}), "keypointlabels with radiusX, radiusY; only"),
        (region(value={"x": 1, "y": 2, "rotation": 45}), "it is rotated"),
        (region(value={"width": 1}), "x is None; expected a number"),
        (region(value=[1, 2]), "value is [1, 2]; expected an object"),
        (region(image_rotation=90), "the picture was rotated by 90 degrees; rotate it back"),
        (region(image_rotation="left"), "image_rotation is 'left'; expected a number"),
        (region(original_height=0), "a 80x0 picture was labelled"),
        (region(original_width=40, original_height=80), "a 40x80 picture was labelled, the photo is 80x40 upright"),
        (region(original_width=None), "original_width is None; expected a number"),
        (region(value={"x": 100.0001, "y": 0}), "(100.0001, 0) per cent is outside the photo"),
        (region(value={"x": "a", "y": 0}), "x is 'a'; expected a number"),
        (region(value={"x": True, "y": 0}), "x is True; expected a number"),
    ],
)
def test_regions_that_are_no_points_of_the_photo(folder: Path, wrong: dict[str, Any], said: str) -> None:
    bad, good = lines(folder, [task(wrong, region())])
    assert said in str(bad.problem) and bad.record == {} and good.problem is None


def test_a_photo_that_is_not_there_is_told(folder: Path) -> None:
    [line] = lines(folder, [task(region(), image="/data/upload/1/0123abcd-b.jpg")])
    assert line.problem == "task 7, region 'r1': no such photo beside the file: b.jpg"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            [{"id": 1, "image": "a.jpg", "annotation_id": 3, "kp": [{"x": 1}]}],
            "export the project as JSON, not as JSON-MIN",
        ),
        ([task(annotations=[3])], "export.json, task 7: annotations is [3]; expected a list of objects"),
        ([task(3)], "export.json, task 7: result is [3]; expected a list of objects"),  # type: ignore[arg-type]
        ([task()], "export.json has no points"),
    ],
)
def test_other_exports_are_refused_in_a_line(folder: Path, content: Any, said: str) -> None:
    with pytest.raises(ValueError, match=".") as told:
        lines(folder, content)
    assert said in str(told.value) and "\n" not in str(told.value)


def cvat(*images: str, head: str = '<?xml version="1.0" encoding="utf-8"?>\n') -> str:
    return f"{head}<annotations><version>1.1</version><meta/>{''.join(images)}</annotations>"


def image(*shapes: str, name: str = "a.jpg", width: int = 80, height: int = 40) -> str:
    return f'<image id="0" name="{name}" width="{width}" height="{height}">{"".join(shapes)}</image>'


@pytest.fixture
def read(folder: Path) -> Callable[[str], list[Line]]:
    def read(content: str) -> list[Line]:
        (folder / "annotations.xml").write_text(content)
        return list(read_samples(folder / "annotations.xml"))

    return read


def test_cvat_points_are_pixels(read: Callable[[str], list[Line]]) -> None:
    points = '<points label="nose" occluded="0" points="12.5,30.25;40,0"><attribute name="a">1</attribute></points>'
    skeleton = (
        '<skeleton label="dog"><points label="ear" outside="0" points="1,2"/>'
        '<points label="tail" outside="1" points="3,4"/></skeleton>'
    )
    found = read(
        cvat(image('<tag label="t"/>', points, skeleton), image(points, name="turned.jpg", width=40, height=80))
    )
    assert [(one.record["x"], one.record["y"], one.record["label"]) for one in found[:3]] == [
        (12.5, 30.25, "nose"),
        (40.0, 0.0, "nose"),
        (1.0, 2.0, "ear"),
    ]
    assert found[2].record["object_name"] == "dog" and found[0].record["photo"] == "images/a.jpg"
    assert [one.record["photo"] for one in found[3:]] == ["turned.jpg"] * 2


def test_points_outside_the_picture_are_none(read: Callable[[str], list[Line]]) -> None:
    outside = '<points label="nose" outside="1" points="1,2"/><tag label="t"/>'
    [line] = read(cvat(image(outside, '<points label="nose" outside="0" points="3,4"/>')))
    assert (line.record["x"], line.record["y"]) == (3, 4)
    with pytest.raises(ValueError, match="has no points: its images have no shapes, or only such that are outside"):
        read(cvat(image(outside, f'<skeleton label="dog" outside="1">{outside}</skeleton>')))
    [line] = read(cvat(image('<skeleton label="dog"><box label="ear" xtl="1"/></skeleton>')))
    assert "box 'ear': only points are read" in str(line.problem)


def test_images_of_one_name_are_not_taken_for_each_other(folder: Path, read: Callable[[str], list[Line]]) -> None:
    point = '<points label="nose" points="1,2"/>'
    both = cvat(image(point, name="x/a.jpg"), image(name="y/a.jpg"))
    [line] = read(both)
    assert str(line.problem).endswith(
        "images/a.jpg beside the file may be x/a.jpg or y/a.jpg; keep both in their folders"
    )
    (folder / "x").mkdir()
    (folder / "images/a.jpg").rename(folder / "x/a.jpg")
    [line] = read(both)
    assert line.record["photo"] == "x/a.jpg"
    # A project's photos lie in its subsets.
    first, second = (image(point).replace("<image", f'<image subset="{one}"') for one in ("x", "z"))
    known, missing = read(cvat(first, second))
    assert known.record["photo"] == "x/a.jpg" and "no such photo" in str(missing.problem)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ('<box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/>', "image 'a.jpg', box 'car': only points are read"),
        ('<polygon label="car" points="1,2;3,4;5,6"/>', "polygon 'car': only points are read"),
        ('<points label="nose" points="1,2,3"/>', "expected points as x,y;x,y, got '1,2,3'"),
        ('<points label="nose" points="nan,2"/>', "x is 'nan'; expected a number"),
        ('<points label="nose" points="81,2"/>', "(81, 2) is outside the 80x40 photo"),
        ('<circle label="nose" cx="1"/>', "circle 'nose': only points are read"),
        ('<points label="nose" rotation="45" points="1,2"/>', "they are rotated"),
        ('<points label="nose"/>', "expected points as x,y;x,y, got ''"),
    ],
)
def test_shapes_that_are_no_points(read: Callable[[str], list[Line]], shape: str, said: str) -> None:
    bad, good = read(cvat(image(shape, '<points label="nose" points="1,2"/>')))
    assert said in str(bad.problem) and good.problem is None


def test_points_of_stored_pixels_are_refused(read: Callable[[str], list[Line]]) -> None:
    [line] = read(cvat(image('<points label="nose" points="1,2"/>', name="turned.jpg")))
    assert "a 80x40 picture was labelled, the photo is 40x80 upright" in str(line.problem)


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (cvat(image(), head=BOMB), "declares a document type or entities"),
        (cvat(image(), head='<!doctype a SYSTEM "file:///etc/hostname">'), "declares a document type or entities"),
        (cvat(image(), head='<?xml version="1.0" encoding="cp037"?>'), "is XML in cp037; save it as UTF-8"),
        (cvat('<track label="a"/>'), "XML of a video"),
        ("<svg/>", "is XML of another kind, <svg>"),
        ("<annotations>", "is not XML: no element found"),
        ("photo,x,y", "is not XML"),
        (cvat(image()), "annotations.xml has no points"),
    ],
)
def test_xml_that_is_not_read(read: Callable[[str], list[Line]], content: str, said: str) -> None:
    with pytest.raises(ValueError, match=".") as told:
        read(content)
    assert said in str(told.value) and "\n" not in str(told.value)


def test_xml_of_any_size_is_not_read(read: Callable[[str], list[Line]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talking_points.annotations.MOST_XML_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100 are read"):
        read(cvat(image('<points label="nose" points="1,2"/>')))
