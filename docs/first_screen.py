"""The README's picture: what `mini` says and finds on three of the demo's photos; `python docs/first_screen.py` draws it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from talking_points import PhotoPoint, TalkingPoints, open_photo
from talking_points.demo import demo_photos, on_one_sheet
from talking_points.evaluation.figures import draw_points

OUT = Path(__file__).parent / "assets" / "first-screen.jpg"
SHOWN = ("Eileen Collins", "Chelsea, a cat", "A cow")
WIDTH_PX = 1600


def main() -> None:
    """Write the picture."""
    tp = TalkingPoints.from_pretrained("mini", device="cpu")
    photos = [photo for photo in demo_photos() if photo.title in SHOWN]
    figures = []
    for photo in photos:
        image = open_photo(photo.path)
        points = [trip.as_point() for trip in tp.round_trip(image, photo.points_px)]
        texts = [*photo.texts, *photo.absent]
        found = tp.locate(image, texts)
        points += [PhotoPoint(text=text).answered(one, image.size) for text, one in zip(texts, found, strict=True)]
        figures.append(draw_points(image, points))
    sheet = on_one_sheet(photos, figures)
    height = round(sheet.height * WIDTH_PX / sheet.width)
    sheet.resize((WIDTH_PX, height), Image.Resampling.LANCZOS).save(OUT, quality=82, optimize=True)


if __name__ == "__main__":
    main()
