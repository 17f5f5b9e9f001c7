"""Every script of examples/ does what it says."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

# Here, not in the example alone: the client keeps the stderr of the time when it is imported, which must be a file.
import mcp  # noqa: F401
import pytest
from PIL import Image

from talking_points import open_photo
from talking_points.dataset.sources.coco_parts import open_coco_parts
from talking_points.dataset.sources.label_map import open_label_map
from talking_points.demo import demo_photos
from talking_points.pointing.round_trip import TalkingPoints
from talking_points.serving.engine import Engine
from talking_points.serving.server import make_app
from talking_points.serving.settings import ServeSettings
from tests.serving.live import listening
from tests.tiny import TEXTS

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
    open_photo(demo_photos()[0].path).save(path)
    return path


@pytest.fixture
def triplets(tmp_path: Path) -> Path:
    path = tmp_path / "triplets.jsonl"
    one = {"x": 345.5, "y": 120.5, "size_wh": [512, 600], "text": "the cap"}
    path.write_text("".join(json.dumps({"photo": name, **one}) + "\n" for name in ("a", "a", "b")))
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
    assert content["images"][1] == {"id": 2, "file_name": "b", "width": 512, "height": 600}
    first = content["annotations"][0]
    # COCO counts from the centre of the first pixel
    assert first["keypoints"] == [345.0, 120.0, 2] and first["bbox"] == [345.0, 120.0, 1.0, 1.0]
    assert [one["image_id"] for one in content["annotations"]] == [1, 1, 2] and first["caption"] == "the cap"


def test_fiftyone(run: Run, triplets: Path, tmp_path: Path) -> None:
    assert run("fiftyone_samples.py", triplets, tmp_path / "out.json") == "3 keypoints on 2 photos\n"
    a, b = json.loads((tmp_path / "out.json").read_text())
    assert b["filepath"] == "b" and b["metadata"]["width"] == 512
    assert a["points"]["keypoints"][0]["points"] == [[345.5 / 512, 120.5 / 600]]
    assert a["points"]["keypoints"][1]["description"] == ["the cap"]


def test_shrunk_photos_are_read_as_the_whole_ones(
    run: Run,
    label_map_writer: Callable[[Path, list[str], list[str]], None],
    coco_writer: Callable[[Path, list[str]], Path],
    tmp_path: Path,
) -> None:
    label_map_writer(tmp_path / "people", ["a", "b"], [])
    coco_writer(tmp_path / "cars", ["c"])
    for name, open_source in (("people", open_label_map), ("cars", open_coco_parts)):
        assert "MB in" in run("shrink_photos.py", tmp_path / name, tmp_path / "small" / name, 64)
        whole, small = (open_source(folder / name, "train") for folder in (tmp_path, tmp_path / "small"))
        assert small.photo_ids == whole.photo_ids and whole.photo_ids
        for photo_id in whole.photo_ids:
            before, after = whole.read(photo_id), small.read(photo_id)
            assert max(after.photo.shape) == 64 < max(before.photo.shape)
            assert {part.name for part in after.parts} == {part.name for part in before.parts}
            assert (after.part_map > 0).mean() == pytest.approx((before.part_map > 0).mean(), abs=0.02)


def test_over_http(run: Run, photo: Path, engine: Engine) -> None:
    with listening(make_app({"tiny": engine}, ServeSettings(page=False))) as url:
        assert "found again at (" in run("http_client.py", url, photo, 345.5, 120.5)
        lines = run("label_studio_prefill.py", url, photo, 50, 25).splitlines()
    assert [line.split()[:2] for line in lines] == [["keypointlabels", "a1"], ["textarea", "a1"]]
    assert len(lines[1]) > 20


def test_an_agents_loop(run: Run, photo: Path, tp: TalkingPoints, tmp_path: Path) -> None:
    tp.save_pretrained(tmp_path / "tiny")
    located, verified, rest = run("agent_loop.py", photo, TEXTS[0], "--model", tmp_path / "tiny").splitlines()
    assert located.startswith("locate: (") and f"): {TEXTS[0]}; " in located
    assert verified.startswith("verify: ") and "the words lead to (" in verified
    assert rest.startswith("act on: " if verified.startswith("verify: yes") else "leave it: ")
