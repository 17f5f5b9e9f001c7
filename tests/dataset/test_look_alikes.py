import json
import time

import cv2
import numpy as np
import pytest
from PIL import Image

from talking_points.dataset.look_alikes import (
    same_shots,
    shot_among,
    text_to_thumb,
    thumb_to_text,
    thumbnail,
    thumbnail_of_file,
)
from tests.shared import SHARED, needs_photos


def picture(seed: int) -> np.ndarray:
    """Blobs of many sizes, as photos have them."""
    rng = np.random.default_rng(seed)
    photo = np.zeros((240, 320, 3))
    for cells in (3, 6, 12, 24):
        rough = rng.normal(size=(cells, cells + cells // 3, 3)).astype(np.float32)
        photo += cv2.resize(rough, (320, 240), interpolation=cv2.INTER_CUBIC) * 60 / cells**0.5
    return np.clip(photo + 128, 0, 255).astype(np.uint8)


def cropped(photo: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    height, width = photo.shape[:2]
    return photo[round(top * height) : round((1 - bottom) * height), round(left * width) : round((1 - right) * width)]


def coded(photo: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


AGAIN = {
    "smaller": lambda photo: cv2.resize(photo, (100, 80), interpolation=cv2.INTER_AREA),
    "recompressed": lambda photo: coded(photo, 30),
    "darker": lambda photo: (photo * 0.6).astype(np.uint8),
    "paler": lambda photo: (photo * 0.6 + 60).astype(np.uint8),
    "recoloured": lambda photo: np.clip(photo * (1.2, 1.0, 0.7), 0, 255).astype(np.uint8),
    "cropped by 2%": lambda photo: cropped(photo, 0.02, 0.02, 0.02, 0.02),
    "cropped by 6%": lambda photo: cropped(photo, 0.06, 0.06, 0.06, 0.06),
    "shifted by 5%": lambda photo: cropped(photo, 0.05, 0, 0, 0.05),
    "mirrored": lambda photo: photo[:, ::-1],
    "all at once": lambda photo: coded(cropped((photo * 0.8).astype(np.uint8)[:, ::-1], 0.03, 0, 0.05, 0.04), 50),
}


@pytest.mark.parametrize("kind", AGAIN)
def test_the_same_shot_again_is_found_and_only_it(kind: str) -> None:
    photos = [picture(seed) for seed in range(20)]
    thumbs = [thumbnail(photo) for photo in photos]
    again = [thumbnail(np.ascontiguousarray(AGAIN[kind](photo))) for photo in photos]
    assert shot_among(again, thumbs) == list(range(20))
    assert shot_among(again[:5], thumbs[5:]) == [None] * 5
    assert same_shots(thumbs[:10] + again[5:10]) == [[k] for k in range(5)] + [[k, k + 5] for k in range(5, 10)]


def test_another_thing_before_the_same_wall_is_another_photo() -> None:
    one, other = picture(0), picture(0)
    one[60:200, 60:160] = picture(1)[60:200, 60:160]
    other[60:200, 60:160] = picture(2)[60:200, 60:160]
    assert shot_among([thumbnail(one)], [thumbnail(other)]) == [None]


def test_photos_of_one_colour() -> None:
    black, grey = np.zeros((20, 30, 3), np.uint8), np.full((9, 5, 3), 7, np.uint8)
    thumbs = [thumbnail(black), thumbnail(grey), thumbnail(black), thumbnail(picture(0))]
    assert same_shots(thumbs) == [[0, 2], [1], [3]]
    assert shot_among(thumbs[:2], thumbs[2:]) == [0, None]
    assert same_shots([]) == [] and shot_among([], thumbs) == [] and shot_among(thumbs[:1], []) == [None]


def test_a_file_s_thumbnail_is_the_photo_s(tmp_path) -> None:
    photo = cv2.resize(picture(3), (1600, 1200))
    for name, exif in (("a.jpg", None), ("b.png", None), ("c.jpg", 6)):
        image = Image.fromarray(photo)
        marks = Image.Exif()
        if exif:
            # Stored lying on its side, and said to be so.
            image = image.transpose(Image.Transpose.ROTATE_90)
            marks[0x0112] = exif
        image.save(tmp_path / name, exif=marks)
        apart = thumbnail_of_file(tmp_path / name).astype(int) - thumbnail(photo)
        assert np.abs(apart).max() <= 4, name
    assert (text_to_thumb(thumb_to_text(thumbnail(photo))) == thumbnail(photo)).all()
    (tmp_path / "d.jpg").write_bytes(b"no photo")
    assert thumbnail_of_file(tmp_path / "d.jpg") is None


def test_four_thousand_photos_are_grouped_soon() -> None:
    rng = np.random.default_rng(0)
    thumbs = [cv2.resize(rng.integers(0, 256, (6, 8), np.uint8), (32, 32)) for _ in range(4000)]
    begun = time.process_time()
    assert len(same_shots(thumbs)) > 3990
    assert time.process_time() - begun < 60


@needs_photos
def test_known_pairs_of_real_photos_are_found() -> None:
    folder = SHARED / "data" / "clothing_parts"
    splits = json.loads((folder / "splits.json").read_text())
    train, test = ([thumbnail_of_file(folder / f"photos/{one}.jpg") for one in splits[s]] for s in ("train", "test"))
    found = {
        (splits["train"][k], splits["test"][other])
        for k, other in enumerate(shot_among(train, test))
        if other is not None
    }
    assert found == {("0078", "0984"), ("0732", "0692"), ("0223", "0616")}
