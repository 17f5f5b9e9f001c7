"""Every script of examples/ does what it says."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from talking_points import open_photo
from talking_points.demo import demo_photo
from talking_points.records import Triplet, write_triplets
from talking_points.serving.config import ServingConfig
from talking_points.serving.engine import Engine
from talking_points.serving.server import make_app
from talking_points.talking_points import TalkingPoints
from tests.serving.live import listening

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="examples/ is not beside the tests")

Run = Callable[..., str]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(name: str, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name))
        return capsys.readouterr().out

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    open_photo(demo_photo()).save(path)
    return path


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    path = tmp_path / "triplets.jsonl"
    one = {"size_wh": (512, 600), "text": "the cap"}
    write_triplets(path, [Triplet(photo_path=name, point_px=(345.5, 120.5), **one) for name in ("a", "a", "b")])  # type: ignore[arg-type]
    return path


def test_every_example_is_here() -> None:
    tested = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert f'run("{script.name}"' in tested.replace("'", '"') and f"`{script.name}`" in listed


def test_supervision(run: Run, photo: Path, tp: TalkingPoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TalkingPoints, "from_pretrained", lambda name: tp)
    out = run("supervision_keypoints.py", photo, tmp_path / "out.png")
    assert len(out.splitlines()) == 2
    assert Image.open(tmp_path / "out.png").size == (512, 600)


def test_coco(run: Run, triplets: Path, tmp_path: Path) -> None:
    assert run("coco_keypoints.py", triplets, tmp_path / "out.json") == "3 keypoints on 2 photos\n"
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["annotations"][0]["keypoints"] == [345.0, 120.0, 2]


def test_fiftyone(run: Run, triplets: Path, tmp_path: Path) -> None:
    assert run("fiftyone_samples.py", triplets, tmp_path / "out.json") == "3 keypoints on 2 photos\n"
    assert json.loads((tmp_path / "out.json").read_text())[1]["filepath"] == "b"


def test_over_http(run: Run, photo: Path, engine: Engine) -> None:
    with listening(make_app({"tiny": engine}, ServingConfig(), page=False)) as url:
        assert "found again at (" in run("http_client.py", url, photo, 345.5, 120.5)
        lines = run("label_studio_prefill.py", url, photo, 50, 25).splitlines()
    assert [line.split()[:2] for line in lines] == [["keypointlabels", "a1"], ["textarea", "a1"]]
    assert len(lines[1]) > 20
