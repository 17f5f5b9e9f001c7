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


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (region(type="rectanglelabels"), "task 7, region 'r1': it is of the type rectanglelabels; only keypoints"),
        (region(type="polygonlabels", value={"points": [[1, 2]]}), "of the type polygonlabels"),
        (region(image_rotation=90), "rotated by 90 degrees"),
        (region(original_width=40, original_height=80), "a 40x80 picture was labelled, the photo is 80x40 upright"),
        (region(original_width=None), "original_width is None; expected a number"),
        (region(value={"x": 101, "y": 0}), "(101, 0) per cent is outside the photo"),
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
        ([task(region(), data={"one": "a.jpg", "two": "b.jpg"})], "a task has 2 addresses of photos"),
        ([task(annotations=[3])], "is no export of Label Studio: AttributeError"),
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


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ('<box label="car" xtl="1" ytl="2" xbr="3" ybr="4"/>', "image 'a.jpg', box 'car': only points are read"),
        ('<polygon label="car" points="1,2;3,4;5,6"/>', "polygon 'car': only points are read"),
        ('<points label="nose" points="1,2,3"/>', "expected points as x,y;x,y, got '1,2,3'"),
        ('<points label="nose" points="nan,2"/>', "x is 'nan'; expected a number"),
        ('<points label="nose" points="81,2"/>', "(81, 2) is outside the 80x40 photo"),
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
