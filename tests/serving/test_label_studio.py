from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from talking_points.pointing.round_trip import TalkingPoints
from talking_points.serving.label_studio import read_interface
from tests.serving.conftest import photo_bytes

PHOTO = photo_bytes()
URL = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"
INTERFACE = """<View><Image name="image" value="$photo"/>
<KeyPointLabels name="kp" toName="image"><Label value="thing"/><Label value="other"/></KeyPointLabels>
<TextArea name="words" toName="image" perRegion="true"/></View>"""


def keypoint(name: str, x: float, y: float) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 0.5, "keypointlabels": ["thing"]}
    return {"id": name, "from_name": "kp", "to_name": "image", "type": "keypointlabels", "value": value}


def textarea(name: str, text: str) -> dict[str, Any]:
    return {"id": name, "from_name": "words", "to_name": "image", "type": "textarea", "value": {"text": [text]}}


def predict(client: TestClient, regions: list[dict[str, Any]], **task: Any) -> Any:
    asked = {
        "tasks": [{"id": 1, "data": {"photo": URL}, **task}],
        "project": "1.2",
        "label_config": INTERFACE,
        "params": {"login": None, "context": {"result": regions} if regions else None},
    }
    return client.post("/label-studio/predict", json=asked)


def test_setup_and_health(client: TestClient) -> None:
    assert client.get("/label-studio/health").json()["status"] == "UP"
    asked = {"project": "1.2", "schema": INTERFACE, "hostname": "http://localhost:8080", "access_token": "x"}
    assert client.post("/label-studio/setup", json=asked).json() == {"model_version": "tiny"}
    assert client.post("/label-studio/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 200


def test_a_keypoint_gets_its_description(client: TestClient, tp: TalkingPoints) -> None:
    answer = predict(client, [keypoint("a", 50, 25), keypoint("b", 10, 90), textarea("b", "has words")]).json()
    assert answer["model_version"] == "tiny"
    point, text = answer["results"][0]["result"]
    assert point == keypoint("a", 50, 25)
    [expected] = tp.describe(Image.open(io.BytesIO(PHOTO)), [(35.0, 10.0)])
    assert (text["id"], text["type"], text["from_name"]) == ("a", "textarea", "words")
    assert text["value"] == {"x": 50, "y": 25, "width": 0.5, "text": [expected]}
    assert (text["original_width"], text["original_height"]) == (70, 40)


def test_a_description_gets_its_keypoint(client: TestClient, tp: TalkingPoints) -> None:
    annotated = [{"result": [textarea("t", "the left shoe")]}]
    point, text = predict(client, [], annotations=annotated).json()["results"][0]["result"]
    [(x, y)] = tp.localize(Image.open(io.BytesIO(PHOTO)), ["the left shoe"])
    assert point["type"] == "keypointlabels" and point["from_name"] == "kp" and point["id"] == text["id"] != "t"
    assert (point["value"]["x"], point["value"]["y"]) == pytest.approx((100 * x / 70, 100 * y / 40), abs=0.1)
    assert point["value"]["keypointlabels"] == ["thing"] and text["value"]["text"] == ["the left shoe"]


@pytest.mark.usefixtures("nothing_is_there")
def test_what_is_not_in_the_photo_gets_no_keypoint(client: TestClient) -> None:
    annotated = [{"result": [textarea("t", "the left shoe")]}]
    assert predict(client, [], annotations=annotated).json()["results"][0]["result"] == []
    # A keypoint beside it is described as ever.
    point, text = predict(client, [keypoint("a", 50, 25), textarea("t", "x")]).json()["results"][0]["result"]
    assert point["id"] == text["id"] == "a"


def test_nothing_to_do(client: TestClient) -> None:
    for regions in ([], [keypoint("b", 10, 90), textarea("b", "has words")]):
        assert predict(client, regions).json()["results"] == [{"result": [], "score": 0.0, "model_version": "tiny"}]


def test_photos_in_label_studio(client_of: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    data = {"photo": "/data/upload/1.png"}
    assert "--label-studio URL" in predict(client_of(), [keypoint("a", 1, 1)], data=data).text
    asked: list[Any] = []

    async def fetch(url: str, **options: Any) -> bytes:
        asked.extend([url, options["trusted_headers"]])
        return PHOTO

    monkeypatch.setattr("talking_points.serving.service.fetch", fetch)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    client = client_of(label_studio="http://localhost:8080/")
    assert predict(client, [keypoint("a", 1, 1)], data=data).status_code == 200
    assert asked == ["http://localhost:8080/data/upload/1.png", {"Authorization": "Token secret"}]
    # Only Label Studio's own paths; the API takes no paths at all.
    other = predict(client, [keypoint("a", 1, 1)], data={"photo": "http://localhost:8080/data/upload/1.png"})
    assert "not fetched from URLs" in other.text
    assert client.post("/v1/describe", json={"photo": "/data/1.png", "points": [[1, 1]]}).status_code == 400


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "is no XML"),
        ("<View>", "is no XML"),
        ("<View/>", "needs an Image"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "document type"),
        ("<View>" + " " * 100_000 + "</View>", "too long"),
        (
            INTERFACE.replace('toName="image"', 'toName="picture"'),
            "toName='picture'; expected the name of an Image, of image",
        ),
        (INTERFACE.replace('"words" toName="image"', '"words" toName="image2"'), "no TextArea with toName='image'"),
    ],
)
def test_interfaces_that_do_not_fit(client: TestClient, config: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_interface(config)
    response = client.post("/label-studio/predict", json={"tasks": [], "label_config": config})
    assert response.status_code == 400 and said in response.text


@pytest.mark.parametrize(
    "change",
    [
        {"tasks": [{}]},
        {"tasks": [{"data": {"photo": 1}}]},
        {"tasks": [{"data": []}]},
        {"params": {"context": [1]}},
        {"params": {"context": {"result": [1]}}},
        {"params": {"context": {"result": [{"id": 1, "from_name": "kp", "value": {"x": "a", "y": 1}}]}}},
        {"params": {"context": {"result": [{"id": 1, "from_name": "kp", "value": {"x": 200, "y": 1}}]}}},
        {"params": {"context": {"result": [{"id": 1, "from_name": "words", "value": {"text": 1}}]}}},
    ],
)
def test_requests_that_are_none(client: TestClient, change: dict[str, Any]) -> None:
    asked = {"tasks": [{"data": {"photo": URL}}], "label_config": INTERFACE, **change}
    assert client.post("/label-studio/predict", json=asked).status_code == 400


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "rectanglelabels"}, "region 'a': it is of the type rectanglelabels; only keypoints are points"),
        ({"type": "rectangle"}, "region 'a': it is of the type rectangle;"),
        (
            {"value": {"x": 10, "y": 10, "width": 20, "height": 20}},
            "region 'a': it is of the type keypointlabels with h",
        ),
        ({"value": {"points": [[1, 1]], "x": 1, "y": 1}}, "region 'a': it is of the type keypointlabels with points"),
        (
            {"type": None, "value": {"x": 1, "y": 1, "radiusX": 3, "radiusY": 4}},
            "with radiusX, radiusY; only keypoints",
        ),
        ({"value": {"x": 10, "y": 10, "width": 1, "rotation": 45}}, "region 'a': it is rotated"),
        ({"value": {"width": 1}}, "region 'a': it is a keypoint without x and y"),
        ({"to_name": "image2"}, "region 'a': it is on 'image2'; only regions on 'image' are read"),
        ({"item_index": 1}, "region 'a': its item_index is 1; a task has one photo here, 0"),
        ({"image_rotation": 90}, "region 'a': the picture was rotated by 90 degrees; rotate it back"),
        ({"image_rotation": -90}, "rotated by -90 degrees"),
        ({"image_rotation": "left"}, "image_rotation: Input should be a valid number"),
        ({"original_width": 40, "original_height": 70}, "a 40x70 picture was labelled, the photo is 70x40 upright"),
        ({"original_width": 0, "original_height": 70}, "a 0x70 picture was labelled"),
        ({"original_width": "wide", "original_height": 70}, "original_width: Input should be a valid number"),
    ],
)
def test_regions_that_are_no_keypoints_of_the_upright_photo(
    client: TestClient, change: dict[str, Any], said: str
) -> None:
    response = predict(client, [{**keypoint("a", 50, 25), **change}])
    assert response.status_code == 400 and said in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "same",
    [
        {"original_width": 70, "original_height": 40, "image_rotation": 0},
        {"original_width": 700, "original_height": 400, "image_rotation": 360},
        {"original_width": "70", "original_height": "40", "image_rotation": None},
        {"original_width": None, "original_height": None},
        {"to_name": None, "item_index": 0},
    ],
)
def test_sizes_that_agree(client: TestClient, same: dict[str, Any]) -> None:
    expected = predict(client, [keypoint("a", 50, 25)]).json()["results"][0]["result"][1]
    assert predict(client, [{**keypoint("a", 50, 25), **same}]).json()["results"][0]["result"][1] == expected


def test_the_interface_is_of_the_picture_that_the_keypoints_are_on() -> None:
    others = '<View><Image name="other" value="$o"/><TextArea name="of" toName="other"/>'
    others += '<TextArea name="all" toName="image"/>'
    controls = read_interface(INTERFACE.replace("<View>", others))
    assert [one.get("name") for one in controls] == ["image", "kp", "words"]


def test_a_cancelled_annotation_is_not_answered(client: TestClient) -> None:
    cancelled, kept = ({"was_cancelled": one, "result": [keypoint("ab"[one], 5, 5)]} for one in (True, False))
    assert predict(client, [], annotations=[cancelled]).json()["results"][0]["result"] == []
    [point, _] = predict(client, [], annotations=[kept, cancelled]).json()["results"][0]["result"]
    assert point["id"] == "a"


def test_two_regions_of_one_id_are_refused(client: TestClient) -> None:
    for one, control in ((keypoint("a", 5, 5), "kp"), (textarea("a", "the left shoe"), "words")):
        response = predict(client, [one, {**one, "value": {**one["value"], "x": 1, "y": 1}}])
        assert response.status_code == 400 and f"two regions of '{control}' have the id 'a'" in response.text


def test_a_list_of_photos_is_refused(client: TestClient) -> None:
    answer = predict(client, [keypoint("a", 5, 5)], data={"photo": [URL, URL]})
    assert "the Image 'image' shows a list of photos; expected one photo a task" in answer.text


def test_a_keypoint_with_an_empty_text_gets_its_description(client: TestClient) -> None:
    _, text = predict(client, [keypoint("a", 5, 5), textarea("a", " ")]).json()["results"][0]["result"]
    assert text["id"] == "a" and text["value"]["text"][0].strip()


def test_an_emptied_text_without_a_keypoint_is_left_alone(client: TestClient) -> None:
    for nothing in (" ", ""):
        [answer] = predict(client, [keypoint("a", 5, 5), textarea("b", nothing)]).json()["results"]
        assert {one["id"] for one in answer["result"]} == {"a"}


def test_relations_are_left_alone(client: TestClient) -> None:
    relation = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"}
    assert len(predict(client, [keypoint("a", 50, 25), relation]).json()["results"][0]["result"]) == 2


def test_regions_of_other_controls_are_left_alone(client: TestClient) -> None:
    box = {"id": "r", "from_name": "boxes", "type": "rectanglelabels", "image_rotation": 90}
    box["value"] = {"x": 1, "y": 1, "width": 9, "height": 9}
    point, text = predict(client, [box, keypoint("a", 50, 25)]).json()["results"][0]["result"]
    assert point["id"] == text["id"] == "a"
    # The text of a box is found, too; its keypoint is a region of its own.
    words = textarea("r", "the left shoe")
    words["value"] |= {"x": 1, "y": 1, "width": 9, "height": 9}
    point, _ = predict(client, [box, words]).json()["results"][0]["result"]
    assert point["type"] == "keypointlabels" and point["id"] != "r"
