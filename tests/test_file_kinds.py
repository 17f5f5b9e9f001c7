"""Files that look like a photo's and hold none, or hold it where it would not be read."""

from pathlib import Path

import pytest
from PIL import Image

from talking_points.photos import decode_photo, open_photo, photo_size
from tests.test_photos import noise, save


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty; copy it anew"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\n",
            "it is a pointer of Git LFS; .*git lfs pull",
        ),
        (b"\xff\x0a" + bytes(60), "it is JPEG XL; convert it to JPEG or PNG"),
        (b"8BPS\0\1" + bytes(60), "it is Photoshop's PSD; convert it"),
        # Pillow takes it for a TIFF.
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(60), "it is CR2, a camera's raw file; convert it"),
        (b"\0\0\0\x18ftypcrx " + bytes(60), "it is CR3, a camera's raw file; convert it"),
        (b'<?xml version="1.0"?>\n<svg/>', "it is SVG, a drawing; convert it"),
        (b"<!DOCTYPE html><html>404</html>", "it is a web page; download the file itself"),
    ],
)
def test_what_it_is_instead_is_told(tmp_path, content, said):
    (tmp_path / "a.jpg").write_bytes(content)
    for opens in (open_photo, photo_size):
        with pytest.raises(ValueError, match=f"a.jpg is not a photo that can be read: {said}"):
            opens(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["tga", "ico", "pdf", "eps", "dds", "sgi"])
def test_formats_of_pictures_that_are_not_read_are_named(tmp_path, suffix):
    path = save(noise(32, 32), tmp_path / f"a.{suffix}")
    named = {"eps": "PostScript"}.get(suffix, suffix.upper())
    with pytest.raises(ValueError, match=f"it is {named}.*; convert it to JPEG or PNG"):
        open_photo(path)


def thumbnail_first(path: Path, **tags: object) -> Path:
    return save(noise(6, 4), path, tiffinfo={int(name[1:]): value for name, value in tags.items()})


class TestTiffs:
    @pytest.mark.parametrize(
        ("tags", "said"),
        [
            ({"_254": 1}, "it is a TIFF that begins with a thumbnail, as cameras' raw files"),
            ({"_254": 1, "_50706": b"\1\4\0\0"}, "it is DNG, a camera's raw file; convert it to JPEG or PNG"),
            ({"_50706": b"\1\4\0\0"}, "it is DNG, a camera's raw file; convert it to JPEG or PNG"),
        ],
    )
    def test_a_camera_s_raw_file_is_not_its_thumbnail(self, tmp_path, tags, said):
        path = thumbnail_first(tmp_path / "a.tif", **tags)
        for opens in (open_photo, photo_size, lambda path: decode_photo(path.read_bytes())):
            with pytest.raises(ValueError, match=said):
                opens(path)

    def test_other_kinds_of_page_are_photos(self, tmp_path):
        assert open_photo(thumbnail_first(tmp_path / "a.tif", _254=2)).size == (6, 4)

    @pytest.mark.parametrize("number", [2, 3])
    def test_a_first_page_that_is_smaller_than_another(self, tmp_path, number):
        pages = [noise(6, 4)] * (number - 2) + [noise(30, 20)]
        path = save(noise(6, 4), tmp_path / "a.tif", save_all=True, append_images=pages)
        for opens in (open_photo, photo_size):
            with pytest.raises(ValueError, match=f"first page, 6x4, is smaller than page {number}, 30x20; save the"):
                opens(path)

    def test_pages_of_one_size_or_smaller_ones_are_not_looked_at(self, tmp_path):
        first = noise(30, 20)
        path = save(first, tmp_path / "a.tif", save_all=True, append_images=[Image.new("RGB", (30, 20)), noise(6, 4)])
        assert open_photo(path).tobytes() == decode_photo(path.read_bytes()).tobytes() == first.tobytes()
        # Nor are those that cannot be read.
        pages = path.read_bytes()
        path.write_bytes(pages[:-100])
        assert open_photo(path).tobytes() == first.tobytes()
