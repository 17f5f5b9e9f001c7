"""The photos of the demo: what comes with the package, and how they are laid out."""

import pytest
from PIL import Image

from talking_points import check_points, open_photo
from talking_points.demo import COLUMNS, FOLDER, demo_photos, on_one_sheet


def test_every_photo_is_named_and_its_terms_are_told() -> None:
    terms = (FOLDER / "TERMS.md").read_text(encoding="utf-8")
    named = [photo.path.name for photo in demo_photos()]
    assert sorted(named) == sorted(path.name for path in FOLDER.glob("*.jpg"))
    assert len(named) >= 4 and all(f"`{name}`" in terms for name in named)


def test_the_photos_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 300_000
    for photo in demo_photos():
        assert photo.path.stat().st_size <= 60_000
        assert max(open_photo(photo.path).size) <= 640


def test_something_is_asked_of_each() -> None:
    for photo in demo_photos():
        check_points(photo.points_px, open_photo(photo.path).size)
        assert photo.title and photo.credit and photo.points_px and photo.texts and photo.absent


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_sheet_keeps_every_figure(count: int) -> None:
    photos = demo_photos()[:count]
    colours = [(40 * n, 255 - 40 * n, 128) for n in range(count)]
    figures = [Image.new("RGB", (60 + n, 30 + 10 * n), colour) for n, colour in enumerate(colours)]
    sheet = on_one_sheet(photos, figures)
    pixels = dict((colour, n) for n, colour in sheet.getcolors(sheet.width * sheet.height) or [])
    assert [pixels[colour] for colour in colours] == [figure.width * figure.height for figure in figures]
    assert sheet.width < (min(count, COLUMNS) + 1) * 100
