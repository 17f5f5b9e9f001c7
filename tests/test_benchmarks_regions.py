"""Thin and compact parts by hand, and regions compared with a describer and a localizer whose answers are known."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.scene import make_scene
from talking_points.pointing.descriptor import PointDescriptor
from talking_points.samples import FoundPoint
from tests.benchmark_modules import load_benchmark, needs_benchmarks, refused
from tests.conftest import write_coco, write_label_map

pytestmark = needs_benchmarks


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_benchmark(monkeypatch, "regions")


def test_compactness_by_hand(regions: ModuleType) -> None:
    part_map = np.zeros((60, 80), np.int16)
    part_map[2:12, 2:12] = 1  # a square of 10: its diagonal is 9 sqrt(2) from pixel to pixel, and one more
    part_map[40:44, 2:42] = 2  # a strip of 4 x 40
    part_map[2:12, 30:40] = 3  # the same square again,
    part_map[2:12, 60:70] = 3  # in two pieces
    rows, columns = np.mgrid[:60, :80]
    part_map[(rows - 45) ** 2 + (columns - 65) ** 2 <= 100] = 4
    scene = make_scene(
        np.zeros((60, 80, 3), np.uint8), part_map, list("abcd"), [0] * 4, ["thing"], source="drawn", photo_id="one"
    )
    square = 100 / (1 + 9 * math.sqrt(2)) ** 2
    for point, wanted in (((3.5, 3.5), square), ((35.5, 5.5), square), ((65.5, 5.5), square)):
        assert regions.compactness_at(scene, point) == pytest.approx(wanted)
    assert regions.compactness_at(scene, (5.5, 41.5)) == pytest.approx(160 / (1 + math.hypot(39, 3)) ** 2)
    assert regions.compactness_at(scene, (65.5, 45.5)) == pytest.approx(math.pi / 4, abs=0.08)
    assert regions.compactness_at(scene, (5.5, 41.5)) < regions.THIN < square
    with pytest.raises(ValueError, match="on no part"):
        regions.compactness_at(scene, (75.5, 20.5))


def test_thin_and_compact_are_scored_apart(regions: ModuleType) -> None:
    shapes = np.array([0.1, 0.2, 0.25, 0.5])
    first, other = np.array([0.05, 0.15, 0.3, 0.05]), np.array([0.05, 0.05, 0.3, 0.3])
    rows = regions.scored("content", other, first, shapes, ["a", "b", "c", "d"])
    assert [(row["parts"], row["n"], row["mpck"]["value"], row["difference"]["value"]) for row in rows] == [
        ("all", 4, 50.0, -12.5),
        ("thin", 2, 100.0, 25.0),
        ("compact", 2, 0.0, -50.0),
    ]
    assert all("difference" not in row for row in regions.scored("gaussian", first, None, shapes, list("abcd")))


def test_the_comparison(
    regions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Texts of "far" lead to a corner, others to the true point."""
    write_label_map(tmp_path / "clothing_parts", ["a"], ["b", "c"])
    write_coco(tmp_path / "car_parts", ["d"])
    sets = sys.modules["mini_data"].SETS
    for name in set(sets) - {"clothing_parts", "car_parts"}:
        monkeypatch.delitem(sets, name)

    def from_pretrained(folder: str, *, device: str | None) -> SimpleNamespace:
        return SimpleNamespace(describe_many=lambda pairs: [f"{folder} {x} {y}" for _, (x, y) in pairs])

    def locate_many(pairs: list[tuple[Image.Image, str]]) -> list[FoundPoint]:
        said = [text.split() for _, text in pairs]
        points = [(0.0, 0.0) if folder == "far" else (float(x), float(y)) for folder, x, y in said]
        return [FoundPoint(point_px=point, confidence=None, runner_up_px=None, there=None) for point in points]

    localizer = SimpleNamespace(
        network=SimpleNamespace(prompts=SimpleNamespace(is_readable=lambda _: True)), locate_many=locate_many
    )
    monkeypatch.setattr(PointDescriptor, "from_pretrained", from_pretrained)
    monkeypatch.setattr(regions, "load_model", lambda *_, **__: localizer)
    out = tmp_path / "regions.json"
    some = ["--descriptor", "gaussian=near", "--descriptor", "content=far", "--points", "3", "--split", "test"]
    regions.main(["--data", str(tmp_path), *some, "--out", str(out)])
    result = json.loads(out.read_text())
    rows = {(row["region"], row["parts"]): row for row in result["rows"]}
    assert rows["gaussian", "all"]["mpck"]["value"] == 100
    worse = rows["content", "all"]
    assert worse["n"] == len(result["answers"]) / 2 and worse["photos"] == 3
    assert worse["difference"]["value"] == worse["mpck"]["value"] - 100 < -50
    apart = [rows["content", parts]["n"] for parts in ("thin", "compact") if ("content", parts) in rows]
    assert sum(apart) == worse["n"]
    assert "| content | all |" in capsys.readouterr().out


def test_a_descriptor_needs_a_name(regions: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with refused(capsys, "give NAME=DIR"):
        regions.main(["--data", "d", "--out", "o", "--descriptor", "runs/one"])
