from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from talking_points.evaluation.endpoints import EndpointContestant

from talking_points.endpoint import Budget, Endpoint, parse_endpoint
from talking_points.journal import Ledger, Spent
from tests.endpoint_server import completion, serving

# Wider than what is sent: answers come back in other pixels than the photo's.
PHOTO = Image.new("RGB", (2048, 1024), "gray")


def shown(asked: dict[str, Any]) -> tuple[str, Image.Image]:
    text, picture = asked["messages"][0]["content"]
    data = picture["image_url"]["url"].partition(",")[2]
    return text["text"], Image.open(io.BytesIO(base64.b64decode(data)))


@pytest.fixture
def ledger(tmp_path: Path):  # type: ignore[no-untyped-def]
    with Ledger(tmp_path) as opened:
        yield opened


def endpoint(url: str, model: str, ledger: Ledger) -> Endpoint:
    budget = Budget(max_requests=None, max_tokens=None, spent=Spent(requests=0, tokens=0))
    return Endpoint(parse_endpoint(f"endpoint:{url},{model}"), ledger, budget)


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("Molmo-7B", '<point x="75" y="50" alt="a">'),
        ("qwen3-vl", '[{"point_2d": [750, 500]}]'),
        ("moondream2", '{"points": [{"x": 0.75, "y": 0.5}]}'),
        ("gpt-5", '{"x": 768, "y": 256}'),
    ],
)
def test_a_pointing_model_is_asked_and_understood(model: str, answer: str, ledger: Ledger) -> None:
    with serving(lambda asked, number: completion(answer)) as server:
        localizer = EndpointContestant(endpoint(server.url, model, ledger), concurrency=2)
        found = localizer.locate_many([(PHOTO, "the left shoe"), (PHOTO, "a hat"), (PHOTO, "the left shoe")])
        assert [one.point_px for one in found] == [(1536.0, 512.0)] * 3
        prompt, picture = shown(server.requests[0])
        assert picture.size == (1024, 512) and ("shoe" in prompt or "hat" in prompt)
        asked = len(server.requests)
        assert localizer.locate_many([(PHOTO, "a hat")])[0].point_px == (1536.0, 512.0)
        assert len(server.requests) == asked


def test_an_answer_without_a_point_is_a_miss(ledger: Ledger) -> None:
    with serving(lambda asked, number: completion("I see no shoe.")) as server:
        localizer = EndpointContestant(endpoint(server.url, "gpt-5", ledger), concurrency=1)
        [found] = localizer.locate_many([(PHOTO, "the left shoe")])
        assert all(map(math.isnan, found.point_px))


def test_a_describer_sees_the_ring_and_the_numbers(ledger: Ledger) -> None:
    with serving(lambda asked, number: completion("on a  wall\n")) as server:
        describer = EndpointContestant(endpoint(server.url, "gpt-5", ledger), concurrency=2)
        assert describer.describe_many([(PHOTO, (1000.0, 500.0)), (PHOTO, (20.0, 30.0))]) == ["on a wall"] * 2
        prompts = [shown(asked) for asked in server.requests]
        prompt, picture = next(one for one in prompts if "x = 500, y = 250" in one[0])
        assert "1024 pixels wide" in prompt and picture.size == (1024, 512)
        red = [picture.convert("RGB").getpixel((500 + dx, 250)) for dx in range(14, 24)]
        assert any(r - g > 60 for r, g, _ in red)  # type: ignore[misc]


def test_what_is_no_endpoint() -> None:
    for wrong in ("endpoint:", "endpoint:http://a/v1", "http://a/v1,m", "endpoint:ftp://a,m"):
        with pytest.raises(ValueError, match="endpoint"):
            parse_endpoint(wrong)
    assert json.dumps(parse_endpoint("endpoint:http://a/v1,m,n").model) == '"m,n"'
