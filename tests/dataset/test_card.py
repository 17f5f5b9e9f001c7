import numpy as np
from PIL import Image

from talking_points.dataset.audit import AuditResult
from talking_points.dataset.card import draw_composition, draw_contact_sheet, write_card
from tests.dataset.records import NAMED, a_record, photo_bytes

REPORT = {
    "rejected": {"it is empty": 2},
    "skipped": [("people", "a", "broken")],
    "not_chosen": 7,
    "spent": {"requests": 1234, "tokens": 56789},
}
SETTINGS = {"sources": {"people": "/secret/place", "animals": "/photos"}, "seed": 0, "points_per_photo": 3}


def some_records():
    records = [a_record(number, split="test" if number > 7 else "train") for number in range(12)]
    return [*records, a_record(40, source="animals", object_category="dog|wolf", **NAMED)]


def test_the_card_has_the_counts(tmp_path):
    audit = AuditResult(asked=20, answered=10, found=9)
    write_card(tmp_path, some_records(), photo_bytes, report=REPORT, settings=SETTINGS, audit=audit)
    card = (tmp_path / "README.md").read_text()
    assert "  - split: train\n    path: data/train-*.parquet\n  - split: test\n" in card
    for line in (
        "| split | animals | people |",
        "| train | 1 | 8 |",
        "| test | 0 | 4 |",
        "| dog\\|wolf | 1 |",
        "- points_per_photo: `3`",
        "- it is empty: 2",
        "1,234 answers of 56,789 tokens",
        "Points found and not needed: 7.",
        "9 (90.0%, 95% interval 59.6 to 98.2)",
    ):
        assert line in card, line
    # Where somebody keeps their photos is nobody's business.
    assert "/secret/place" not in card
    for name in ("composition", "examples"):
        with Image.open(tmp_path / f"figures/{name}.png") as figure:
            assert figure.width > 500
    assert not list(tmp_path.rglob("*.part"))


def test_the_card_of_an_empty_set(tmp_path):
    write_card(tmp_path, [], photo_bytes, report=REPORT, settings=SETTINGS, audit=None)
    assert "0 records" in (tmp_path / "README.md").read_text()


def test_figures_are_equal_for_equal_records():
    records = some_records()
    for draw in (draw_composition, lambda records: draw_contact_sheet(records, photo_bytes, seed=3)):
        one, other = (draw(records) for _ in range(2))
        for figure in (one, other):
            figure.canvas.draw()
        assert np.array_equal(np.asarray(one.canvas.buffer_rgba()), np.asarray(other.canvas.buffer_rgba()))


def test_rings_count_sources_inside_and_names_outside():
    figure = draw_composition(some_records())
    of_objects, of_parts = figure.axes
    # Two sources and three objects, or parts: one more wedge for each name.
    assert len(of_objects.patches) == 2 + 2
    assert len(of_parts.patches) == 2 + 2
    assert [text.get_text() for text in of_objects.get_legend().get_texts()] == ["animals: 1", "people: 12"]
    assert of_objects.get_title() == "(a) 2 object categories"
