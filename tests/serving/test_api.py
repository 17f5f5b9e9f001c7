from __future__ import annotations

import base64
import io
import json
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from PIL import Image

from talking_points.photos import MAX_PIXELS
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.samples import PhotoPoint
from talking_points.serving.engine import Engine
from talking_points.serving.gate import MOST_BYTES_IN_FLIGHT
from talking_points.serving.server import make_app
from talking_points.serving.settings import MOST_MEGAPIXELS, ServeSettings
from tests.serving.conftest import SIZE_WH, photo_bytes

PHOTO = photo_bytes()
BASE64 = base64.b64encode(PHOTO).decode()
NOT_ASKED = {"found_x": None, "found_y": None, "there": None}
FOUND = {"text", "found_x", "found_y", "confidence", "runner_up_x", "runner_up_y", "there"}


def form(client: TestClient, task: str, photo: bytes = PHOTO, **fields: object) -> Response:
    return client.post(f"/v1/{task}", files={"photo": ("a.png", photo)}, data=fields)


@pytest.mark.usefixtures("nothing_is_there")
def test_what_is_not_in_the_photo_keeps_its_numbers(client: TestClient) -> None:
    [point] = form(client, "localize", text=["the unicorn"]).json()["points"]
    numbers = {"found_x": 7, "found_y": 8, "confidence": 0.5, "runner_up_x": 60, "runner_up_y": 30, "there": 0.04}
    assert point == {"text": "the unicorn", **numbers}


def message(response: Response) -> str:
    """Of an error, in the shape that every error has."""
    assert response.status_code >= 400
    error = response.json()["error"]
    assert set(error) == {"message", "type"} and "\n" not in error["message"]
    return str(error["message"])


def test_form_and_json_give_the_librarys_answers(client: TestClient, tp: TalkingPoints) -> None:
    image = Image.open(io.BytesIO(PHOTO))
    texts = tp.describe(image, [(3.5, 4.0), (60.0, 30.0)])
    expected = {
        "model": "tiny",
        "photo": {"width": 70, "height": 40},
        "points": [
            {"x": 3.5, "y": 4, "description": texts[0], **NOT_ASKED},
            {"x": 60, "y": 30, "description": texts[1], **NOT_ASKED},
        ],
    }
    by_form = form(client, "describe", point=["3.5,4", "60, 30"])
    assert by_form.status_code == 200, by_form.text
    assert by_form.json() == expected
    for photo in (BASE64, f"data:image/png;base64,{BASE64}", "\n".join([BASE64[:40], BASE64[40:]])):
        asked = {"photo": photo, "points": [[3.5, 4], [60, 30]], "model": "tiny"}
        assert client.post("/v1/describe", json=asked).json() == expected


def test_localize_and_round_trip(client: TestClient) -> None:
    found = form(client, "localize", text=["the left shoe", "a hood"]).json()["points"]
    assert [point["text"] for point in found] == ["the left shoe", "a hood"]
    assert all({"text", "found_x", "found_y", "there"} <= set(point) <= FOUND for point in found)
    [alone] = client.post("/v1/localize", json={"photo": BASE64, "texts": ["a hood"]}).json()["points"]
    assert alone.pop("text") == found[1].pop("text")
    assert alone == pytest.approx(found[1], abs=1e-3)
    [trip] = form(client, "round-trip", point="3.5,4").json()["points"]
    assert {"x", "y", "description", "found_x", "found_y", "there", "error"} <= set(trip)
    assert set(trip) <= {"x", "y", "description", "error"} | FOUND - {"text"}
    assert 0 <= trip["found_x"] <= SIZE_WH[0] and 0 <= trip["found_y"] <= SIZE_WH[1]


def test_two_clients_at_once_get_their_own_answers(client: TestClient, tp: TalkingPoints) -> None:
    points = [(float(x), 20.0) for x in range(1, 61, 10)]
    expected = tp.describe(Image.open(io.BytesIO(PHOTO)), points)
    answers: dict[int, str] = {}

    def ask(n: int) -> None:
        answers[n] = form(client, "describe", point=f"{points[n][0]},20").json()["points"][0]["description"]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(len(points))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[n] for n in range(len(points))] == expected


def bomb() -> bytes:
    """A PNG of 30000 x 30000 pixels in a few hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 30001))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        (b"", "not a photo"),
        (b"hello", "not a photo"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a photo"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a photo"),
        (PHOTO[:-200], "truncated or damaged"),
        (bomb(), "pixels"),
        (photo_bytes((2000, 1100), "JPEG"), "2000x1100, 2,200,000 pixels; at most 2,000,000"),
    ],
    ids=["empty", "text", "eps", "svg", "truncated", "bomb", "too many pixels"],
)
def test_broken_photos(client_of: Callable[..., TestClient], photo: bytes, said: str) -> None:
    client = client_of(max_megapixels=2)
    for response in (
        form(client, "describe", photo, point="1,1"),
        client.post("/v1/describe", json={"photo": base64.b64encode(photo).decode() or "=", "points": [[1, 1]]}),
    ):
        assert response.status_code == 400
        assert said in message(response) or (not photo and "photo is empty" in message(response))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body: Field required"),
        (b"{", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "error parsing the body"),
        (b"[1]", "Input should be"),
        (b'{"photo": "AAAA", "points": [[NaN, 1]]}', "points 1 1: Input should be a finite number"),
        (b'{"photo": "AAAA", "points": [[1e999, 1]]}', "points 1 1: Input should be a finite number"),
        (b'{"photo": "AAAA", "points": [[' + b"9" * 5000 + b", 1]]}", "error parsing the body"),
        (b'{"photo": "AAAA", "points": [[1]]}', "points 1 2: Field required"),
        (b'{"photo": "AAAA", "points": []}', "points: List should have at least 1 item"),
        (b'{"photo": "AAAA", "points": [["1", true]]}', "points 1 1: Input should be a valid number"),
        (b'{"photo": "AAAA"}', "points: Field required"),
        (b'{"photo": "AAAA", "points": [[1, 1]], "n": 1}', "n: Extra inputs are not permitted"),
        (b'{"photo": "AAAA", "points": [[1, 1]], "a\\nb": 1}', "a b: Extra inputs are not permitted"),
        (b'{"photo": 1, "points": [[1, 1]]}', "photo: Input should be a valid string"),
        (b'{"photo": "", "points": [[1, 1]]}', "photo: String should have at least 1 character"),
        (b'{"photo": "\\ud800", "points": [[1, 1]]}', "photo"),
        (b'{"photo": "!!", "points": [[1, 1]]}', "neither base64 nor a data URL"),
        (b'{"photo": "data:image/png,AAAA", "points": [[1, 1]]}', "data URL is not like"),
        (b'{"photo": "/etc/passwd", "points": [[1, 1]]}', "the photo"),
        (b'{"photo": "file:///etc/passwd", "points": [[1, 1]]}', "neither base64"),
        (b'{"photo": "https://example.org/a.jpg", "points": [[1, 1]]}', "not fetched from URLs here"),
    ],
)
def test_broken_json(client: TestClient, body: bytes, said: str) -> None:
    response = client.post("/v1/describe", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    assert said in message(response)


@pytest.mark.parametrize(
    ("task", "fields", "said"),
    [
        ("describe", {"point": "nan,1"}, "not finite"),
        ("describe", {"point": "inf,1"}, "not finite"),
        ("describe", {"point": "70.1,1"}, "point 1 [70.1, 1.0] is outside the 70x40 photo"),
        ("describe", {"point": ["1,1", "-1,1"]}, "point 2 [-1.0, 1.0] is outside"),
        ("describe", {"point": "1;1"}, "point 1: a point is X,Y such as 120,45.5, got '1;1'"),
        ("describe", {"point": ["1,1", "1"]}, "point 2: a point is X,Y such as 120,45.5, got '1'"),
        ("describe", {"point": "1,1,1"}, "a point is X,Y"),
        ("describe", {}, "point: Field required"),
        ("describe", {"points": "1,1"}, "point: Field required; points: Extra inputs are not permitted"),
        ("describe", {"point": ["1,1"] * 6}, "6 points or texts; allowed: 1 to 5"),
        ("localize", {"text": " "}, "text 1: the text is empty"),
        ("localize", {"text": "\0"}, "text 1: the text is empty"),
        ("describe", {"point": "0.4,0.3"}, "the point [0.4, 0.3] looks normalised; expected pixels of the 70x40 photo"),
        ("round-trip", {"point": ["0.4,0.3", "1,0"]}, "looks normalised; expected pixels of the 70x40 photo (its top"),
        ("localize", {"text": "the <mark>"}, "reserved"),
        ("localize", {"text": "a" * 101}, "text 1 has 101 characters; at most 100 are allowed"),
        ("localize", {}, "text: Field required"),
    ],
)
def test_bad_fields(client_of: Callable[..., TestClient], task: str, fields: dict[str, object], said: str) -> None:
    response = form(client_of(max_points=5, max_text_chars=100), task, **fields)
    assert response.status_code == 400
    assert said in message(response)


def test_the_top_left_pixel_can_be_asked_about(client: TestClient) -> None:
    for points in ("0,0", ["0.5,0.5", "12,30"]):
        assert form(client, "describe", point=points).status_code == 200


def test_other_bodies_models_and_methods(client: TestClient) -> None:
    assert client.post("/v1/describe", content=b"photo", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.post("/v1/describe", content=b"photo").status_code == 415
    response = form(client, "describe", point="1,1", model="huge")
    assert response.status_code == 404 and message(response) == "model 'huge' is not served here; served: tiny"
    other = client.post("/v1/describe", files={"picture": b"a"}, data={"point": "1,1"})
    assert message(other) == "photo: Field required; picture: Extra inputs are not permitted"
    named = client.post("/v1/describe", data={"photo": "a", "point": "1,1"}, files={"photo": ("", b"")})
    assert message(named).startswith("photo: ")
    # As of curl's -F photo=street.jpg, without the @.
    as_words = client.post("/v1/describe", files={"photo": (None, "street.jpg"), "point": (None, "1,1")})
    assert message(as_words) == "photo: expected a file; with curl, -F photo=@street.jpg"
    point = client.post("/v1/describe", files={"photo": PHOTO, "point": b"1,1"})
    assert "a point is X,Y" in message(point)
    broken = client.post(
        "/v1/describe", content=b"--x\r\n", headers={"Content-Type": "multipart/form-data; boundary=y"}
    )
    assert broken.status_code == 400
    assert client.post("/v1/describe", content=b"", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    assert client.get("/v1/describe").status_code == 405
    assert client.post("/v1/nothing").status_code == 404


def test_too_large_bodies(client_of: Callable[..., TestClient]) -> None:
    client = client_of(max_megabytes=0.005, max_text_chars=10)
    most = ServeSettings(max_megabytes=0.005, max_text_chars=10).max_body_bytes
    # A photo above the limit in a body below it.
    assert "5,001 bytes; at most 5,000" in message(form(client, "describe", bytes(5001), point="1,1"))
    said = message(form(client, "describe", bytes(most), point="1,1"))
    assert f"larger than the {most:,} bytes allowed" in said
    # Without a length in the header.
    pieces = (b" " * 10_000 for _ in range(20))
    response = client.post("/v1/describe", content=pieces, headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_no_room_for_more_bodies(engine: Engine) -> None:
    app = make_app({"tiny": engine}, ServeSettings(max_megabytes=0.001, max_text_chars=10, max_points=1, page=False))
    client = TestClient(app)
    assert form(client, "describe", photo_bytes((4, 4)), point="1,1").status_code == 200
    app._bytes_in_flight = MOST_BYTES_IN_FLIGHT - 100  # what others are sending
    response = form(client, "describe", photo_bytes((4, 4)), point="1,1")
    assert response.status_code == 429 and response.headers["Retry-After"] == "1"
    assert client.get("/v1/models").status_code == 200
    app._bytes_in_flight = 0
    assert form(client, "describe", photo_bytes((4, 4)), point="1,1").status_code == 200
    assert app._bytes_in_flight == 0


def test_a_full_queue_is_a_429(tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("tiny", tp, ServeSettings(max_waiting=1))
    begun, go, work = threading.Event(), threading.Event(), engine._answer

    def wait_first(batch: list[object]) -> None:
        begun.set()
        assert go.wait(60)
        work(batch)  # type: ignore[arg-type]

    monkeypatch.setattr(engine, "_answer", wait_first)
    client = TestClient(make_app({"tiny": engine}, ServeSettings(page=False)))
    prepared = engine.prepare(Image.open(io.BytesIO(PHOTO)))
    first = engine.submit("describe", prepared, [PhotoPoint(point_px=(1.0, 1.0))])
    assert begun.wait(60)
    second = engine.submit("describe", prepared, [PhotoPoint(point_px=(1.0, 1.0))])
    response = form(client, "describe", point="1,1")
    assert response.status_code == 429 and int(response.headers["Retry-After"]) >= 1
    assert "try again in" in message(response)
    go.set()
    assert first.result(60) and second.result(60)
    assert form(client, "describe", point="1,1").status_code == 200
    engine.close()
    assert form(client, "describe", point="1,1").status_code == 503


def test_a_failure_tells_nothing_of_the_inside(
    client: TestClient, tp: TalkingPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(tp, "describe_many", fail)
    response = form(client, "describe", point="1,1")
    assert response.status_code == 500 and "secret" not in response.text
    assert response.json()["error"]["type"] == "server_error"


class TestToken:
    TOKEN = "correct horse"

    @pytest.fixture
    def locked(self, client_of: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> TestClient:
        monkeypatch.setenv("TOKEN_OF_THE_TEST", self.TOKEN)
        return client_of(token_env="TOKEN_OF_THE_TEST")

    @pytest.mark.parametrize(
        "given",
        [
            None,
            "",
            "Bearer",
            "Bearer wrong",
            "correct horse",
            "Bearer correct horse2",
            "Bearer corr\xe9ct",
            "Basic !",
            "Basic " + base64.b64encode(b"correct horse").decode(),
            "Basic " + base64.b64encode(b"correct horse:x").decode(),
            "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        ],
    )
    def test_without_it(self, locked: TestClient, given: str | None) -> None:
        headers = {} if given is None else {"Authorization": given.encode("latin-1")}
        for path in ("/v1/models", "/metrics", "/docs", "/label-studio/health"):
            response = locked.get(path, headers=headers)
            assert response.status_code == 401 and self.TOKEN not in response.text
            assert response.headers["WWW-Authenticate"]
        assert locked.post("/v1/describe", content=b"{}", headers=headers).status_code == 401
        assert locked.get("/health", headers=headers).status_code == 200

    def test_with_it(self, locked: TestClient) -> None:
        basic = base64.b64encode(f"anybody:{self.TOKEN}".encode()).decode()
        for given in (f"Bearer {self.TOKEN}", f"bearer {self.TOKEN}", f"Basic {basic}"):
            assert locked.get("/v1/models", headers={"Authorization": given}).status_code == 200

    def test_one_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for bad, said in (
            ("", "not set, or empty"),
            ("bre-f", "at least 8 ASCII"),
            ("pässword-of-eight", "at least 8"),
        ):
            monkeypatch.setenv("TOKEN_OF_THE_TEST", bad)
            with pytest.raises(ValueError, match=f"TOKEN_OF_THE_TEST.*{said}") as refused:
                ServeSettings(token_env="TOKEN_OF_THE_TEST").read_token()
            assert not bad or bad not in str(refused.value)


def test_photos_by_url_where_allowed(client_of: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(allow_urls=True)
    asked = {"photo": "http://photos.example/a.png", "points": [[1, 1]]}

    async def fetch(url: str, **options: Any) -> bytes:
        return PHOTO if url == asked["photo"] else b""

    with monkeypatch.context() as patched:
        patched.setattr("talking_points.serving.service.fetch", fetch)
        assert client.post("/v1/describe", json=asked).status_code == 200
    for url in ("http://127.0.0.1/a.png", "http://localhost:22/", "http://169.254.169.254/latest/", "http://[::1]/"):
        response = client.post("/v1/describe", json={**asked, "photo": url})
        assert response.status_code == 400 and "not public" in message(response)


def test_health_models_metrics_and_schema(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok", "models": ["tiny"]}
    assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
    form(client, "describe", point="1,1")
    form(client, "describe", b"", point="1,1")
    # A batch is counted once its answers are out.
    for _ in range(1000):
        told = client.get("/metrics").text
        if 'talking_points_batch_prompts_count{model="tiny"} 1.0' in told:
            break
    assert 'talking_points_requests_total{route="/v1/describe",status="200"} 1.0' in told
    assert 'talking_points_requests_total{route="/v1/describe",status="400"} 1.0' in told
    assert 'talking_points_batch_prompts_count{model="tiny"} 1.0' in told
    assert 'talking_points_waiting{model="tiny"} 0.0' in told
    openapi = client.get("/openapi.json").json()
    paths, schemas = openapi["paths"], openapi["components"]["schemas"]
    content = paths["/v1/describe"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    for kind, points in (("application/json", "points"), ("multipart/form-data", "point")):
        schema = content[kind]["schema"]
        schema = schemas[schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
        assert set(schema["required"]) == {"photo", points} and set(schema["properties"]) == {"model", "photo", points}
    assert set(paths["/v1/describe"]["post"]["responses"]) == {
        *("200", "400", "401", "404", "408", "413", "415", "429", "503", "4XX")
    }
    assert "$defs" not in json.dumps(paths)


def test_the_docs_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "https://" not in page.replace("https://www.w3.org", "") and "swagger-ui-bundle.js" in page
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_limits_that_make_no_sense() -> None:
    for settings, said in (
        ({"max_points": 0}, "max_points is 0"),
        ({"max_megapixels": 1000.0}, "max_megapixels is 1000.0; allowed: above 0, at most 100"),
        ({"max_megabytes": float("nan")}, "max_megabytes is nan"),
        ({"wait_ms": -1.0}, "wait_ms is -1"),
        ({"wait_ms": float("nan")}, "wait_ms is nan"),
        ({"max_waiting": 0}, "max_waiting is 0"),
        ({"port": 70_000}, "port is 70000"),
        ({"model": ()}, "model is empty"),
        ({"label_studio": "localhost:8080"}, "label_studio is 'localhost:8080'"),
    ):
        with pytest.raises(ValueError, match=said):
            ServeSettings(**settings)  # type: ignore[arg-type]
    assert MOST_MEGAPIXELS * 1_000_000 == MAX_PIXELS
