"""docs/gallery.md: every picture is there with its attribution, and the page is what its answers say."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from talking_points import open_photo

DOCS = Path(__file__).resolve().parents[1] / "docs"
PICTURES = DOCS / "gallery"

pytestmark = pytest.mark.skipif(not PICTURES.is_dir(), reason="docs/ is not beside the tests")


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery_of_docs", DOCS / "gallery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def answers() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (PICTURES / "answers.jsonl").read_text(encoding="utf-8").splitlines()]


# The page


def test_the_page_is_what_its_answers_say(gallery: ModuleType, answers: list[dict[str, Any]]) -> None:
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.page(answers), "python docs/gallery.py --data DATA"
    assert len(answers) == gallery.PHOTOS


def test_the_page_shows_each_picture_once_and_each_has_its_attribution(gallery: ModuleType) -> None:
    text = gallery.PAGE.read_text(encoding="utf-8")
    entries = re.findall(r"!\[([^\]]+)\]\(gallery/([^)]+)\)\n(.*?)<small>Photo: (.*?)</small>", text, re.DOTALL)
    assert sorted(name for _, name, _, _ in entries) == sorted(path.name for path in PICTURES.glob("*.jpg"))
    assert {path.suffix for path in PICTURES.iterdir()} == {".jpg", ".jsonl"}
    for alt, name, texts, credit in entries:
        assert len(alt) > 20 and "1. **Described**" in texts and "2. **Asked for**" in texts, name
        assert re.search(r"CC BY|CC0|public domain", credit) and "resized, marked" in credit, name
        assert not re.search(r"\bNC\b|\bND\b|-N[CD]", credit), name


def test_the_pictures_are_small(gallery: ModuleType) -> None:
    sizes = [path.stat().st_size for path in PICTURES.iterdir()]
    assert sum(sizes) < 2_500_000
    assert all(max(open_photo(path).size) == gallery.LONG_SIDE for path in PICTURES.glob("*.jpg"))


# What makes it


@pytest.mark.parametrize(
    ("available", "count", "given"),
    [
        ([5, 13, 29], 21, [5, 8, 8]),  # what the first lacks the others give
        ([4, 4], 3, [2, 1]),  # the first ones get what is left over
        ([1, 0, 2], 9, [1, 0, 2]),  # there are no more
    ],
)
def test_photos_are_drawn_evenly(gallery: ModuleType, available: list[int], count: int, given: list[int]) -> None:
    assert gallery.shares(available, count) == given


def test_only_photos_that_anybody_may_show_are_shown(gallery: ModuleType) -> None:
    credits = {n: gallery.credit_of("coco_people", {"license": n, "coco_id": 7}) for n in (None, *range(1, 9))}
    assert [n for n, credit in credits.items() if credit] == [4, 5]
    assert "CC BY-SA 2.0" in credits[5] and "explore?id=7)" in credits[5]
    assert gallery.credit_of("clothing_parts", {}) is None and gallery.credit_of("car_parts", {}) is None
    assert "Yiwei Wang" in gallery.credit_of("livestock", {})


def line(text: str, x: float) -> dict[str, Any]:
    return {"set": "pets", "x": x, "y": 2.5, "object": "dog", "long": f"long {text}", "short": f"short {text}"}


def test_what_is_asked_is_drawn_of_two_points_and_of_absent_things(gallery: ModuleType) -> None:
    texts = [line("a", 1.5), line("b", 2.5), line("c", 3.5)]
    absent = [{"kind": "wrong", "text": "its blue ear"}, {"kind": "absent", "text": "a bus"}]
    seen = set()
    for seed in range(40):
        one = gallery.asked_of(Path("1.jpg"), texts, absent, "somebody", np.random.default_rng(seed))
        assert one.described_px != one.text_px and one.absent == "a bus" and one.title == "dog"
        [at] = [text for text in texts if text["x"] == one.text_px[0]]
        assert one.text == at["long" if one.form == "at length" else "short"]
        seen.add((one.described_px, one.text))
    assert len(seen) == 12  # any of three points, and of each of the two others either text
    assert gallery.asked_of(Path("1.jpg"), texts, absent[:1], "x", np.random.default_rng(0)).absent is None


def points(own: float | None, given: float | None, there: float, missing: float | None = None) -> list[dict[str, Any]]:
    found = [{"description": "a *b*", "there": there}, {"text": "c", "there": there}]
    for point, error in zip(found, (own, given), strict=True):
        point |= {} if error is None else {"error": error}
    return found + ([] if missing is None else [{"text": "d", "there": missing}])


def test_counts_are_of_what_was_found_and_rightly_told(gallery: ModuleType) -> None:
    answered = [
        {"set": "pets", "points": points(0.05, 0.3, 0.9, missing=0.7)},
        {"set": "facades", "points": points(0.0999, 0.1, 0.2, missing=0.1)},  # a tenth away is not within
        {"set": "pets", "points": points(None, 0.0, 0.6)},  # no answer
        {"set": "demo", "points": points(0.0, 0.0, 1.0, missing=0.0)},
    ]
    tests, demo = gallery.counts_of(answered).splitlines()
    assert re.findall(r"\d+ of \d+", tests) == ["2 of 3", "1 of 3", "4 of 6", "1 of 2"]
    assert re.findall(r"\d+ of \d+", demo) == ["1 of 1", "1 of 1", "2 of 2", "1 of 1"]


def test_an_entry_says_what_went_wrong(gallery: ModuleType) -> None:
    said = {"set": "pets", "picture": "p.jpg", "title": "dog", "credit": "somebody", "form": "in passing"}
    text = gallery.entry(said | {"points": points(0.0321, None, 0.9, missing=0.7)})
    assert r"“a \*b\*” (found again 3.2% away)" in text and "**Asked for** in passing: “c” (no answer)" in text
    assert "“d” (taken to be there, wrongly; 70% likely there)" in text and "Photo: somebody" in text
    text = gallery.entry(said | {"points": points(0.2, 0.5, 0.4, missing=0.2)})
    assert "said to be not in the photo, wrongly; likeliest place 50.0% away" in text
    assert "“d” (said to be not in the photo; 20% likely there)" in text


def test_texts_show_as_they_are(gallery: ModuleType) -> None:
    assert gallery.plain("a_b [c]\n<i> & `d`") == r"a\_b \[c\] &lt;i&gt; &amp; \`d\`"


def test_a_line_that_lacks_something_is_named(gallery: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"set": "pets", "split": "test", "photo": "1.jpg", "x": 1}\n')
    assert list(gallery.lines_of(tmp_path / "t.jsonl", "x")) == [("pets", "1.jpg")]
    with pytest.raises(ValueError, match=r"t.jsonl, line 1: 'y' is missing"):
        gallery.lines_of(tmp_path / "t.jsonl", "x", "y")
    with pytest.raises(FileNotFoundError, match="none.jsonl"):
        gallery.lines_of(tmp_path / "none.jsonl")
