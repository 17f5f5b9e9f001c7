import io
import struct
import sys
import warnings
import zlib
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from talking_points.photos import (
    CLIP_MEAN_RGB,
    CLIP_STD_RGB,
    decode_photo,
    encode_photo,
    letterbox,
    open_photo,
    open_turned_photo,
    photo_header,
    photo_size,
)
from talking_points.points import photo_to_square

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"
ORANGE = (250, 130, 20)


def save(image: Image.Image, path: Path, **options) -> Path:
    image.save(path, **options)
    return path


def noise(width: int, height: int) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


class TestKindsOfPhoto:
    def test_plain_rgb_is_unchanged(self, tmp_path):
        photo = noise(7, 5)
        opened = open_photo(save(photo, tmp_path / "a.png"))
        assert (opened.mode, opened.size) == ("RGB", (7, 5))
        assert opened.tobytes() == photo.tobytes()

    def test_path_as_text(self, tmp_path):
        assert open_photo(str(save(noise(3, 2), tmp_path / "a.png"))).size == (3, 2)

    def test_bytes_are_the_file(self, tmp_path):
        path = save(noise(30, 20), tmp_path / "a.png")
        assert decode_photo(path.read_bytes()).tobytes() == open_photo(path).tobytes()
        for data, said in ((b"", "the photo is not a photo"), (path.read_bytes()[:-500], "the photo is truncated")):
            with pytest.raises(ValueError, match=said):
                decode_photo(data)
        with pytest.raises(ValueError, match="the photo is 30x20, 600 pixels; at most 5"):
            decode_photo(path.read_bytes(), max_pixels=5)

    def test_greyscale(self, tmp_path):
        opened = open_photo(save(Image.new("L", (4, 3), 77), tmp_path / "a.png"))
        assert opened.mode == "RGB"
        assert opened.getpixel((2, 1)) == (77, 77, 77)

    def test_one_bit(self, tmp_path):
        assert open_photo(save(Image.new("1", (4, 3), 1), tmp_path / "a.png")).getpixel((0, 0)) == (255,) * 3

    def test_palette(self, tmp_path):
        photo = Image.new("RGB", (4, 3), ORANGE).convert("P", palette=Image.Palette.ADAPTIVE)
        assert open_photo(save(photo, tmp_path / "a.png")).getpixel((1, 1)) == ORANGE

    def test_cmyk(self, tmp_path):
        # full magenta and yellow ink, no cyan, no black: red
        path = save(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), tmp_path / "a.jpg", quality=95)
        red, green, blue = open_photo(path).getpixel((4, 4))
        assert red > 240 and green < 20 and blue < 20

    @pytest.mark.parametrize("suffix", ["png", "tif"])
    def test_sixteen_bit_greyscale_is_scaled_not_cut(self, tmp_path, suffix):
        values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
        opened = open_photo(save(Image.fromarray(values), tmp_path / f"a.{suffix}"))
        assert np.asarray(opened)[0, :, 0].tolist() == [0, 100, 255]

    def test_sixteen_bits_are_rounded_and_kept_in_range(self):
        # 257 levels are one: half of that is 128.5
        assert np.asarray(open_photo(np.uint16([[128, 129, 385, 386, 65535]])))[0, :, 0].tolist() == [0, 1, 1, 2, 255]
        for values in ([-900, 5000], [0, 70_000]):
            said = f"the image has pixels from {values[0]} to {values[1]}; scale them to 0-65535"
            with pytest.raises(ValueError, match=said):
                open_photo(Image.fromarray(np.int32([values])))

    @pytest.mark.parametrize("kind", ["uint16.png", "uint16.tif", "int32.tif"])
    def test_eight_or_twelve_bits_written_into_more_are_refused(self, tmp_path, kind):
        dtype, _, suffix = kind.partition(".")
        for brightest in (255, 3900):
            path = tmp_path / f"a.{suffix}"
            Image.fromarray(np.array([[0, brightest]], dtype=dtype)).save(path)
            with pytest.raises(ValueError, match=f"a.{suffix} has over 8 bits .* it would be black; scale its values"):
                open_photo(path)
        Image.fromarray(np.array([[0, 16 * 257]], dtype=dtype)).save(path)
        assert np.asarray(open_photo(path))[0, :, 0].tolist() == [0, 16]

    @pytest.mark.parametrize(("colour", "opens"), [(200, False), (40_000, True)])
    def test_so_are_those_of_colours_of_which_pillow_keeps_eight(self, tmp_path, colour, opens):
        path = tmp_path / "a.png"
        cv2.imwrite(str(path), np.full((4, 6, 3), colour, np.uint16))
        assert ";16" in str(Image.open(path).tile)
        if opens:
            assert open_photo(path).getpixel((0, 0)) == (40_000 >> 8,) * 3
            return
        with pytest.raises(ValueError, match="it would be black"):
            open_photo(path)

    def test_so_are_arrays_and_transparency_does_not_count(self):
        for shape in ((3, 2), (3, 2, 3), (3, 2, 4)):
            array = np.full(shape, 255, np.uint16)
            array[..., 3:] = 65535
            with pytest.raises(ValueError, match="the array has over 8 bits"):
                open_photo(array)

    def test_a_black_photo_of_eight_bits_is_one(self, tmp_path):
        assert open_photo(save(Image.new("L", (3, 2)), tmp_path / "a.png")).getextrema() == ((0, 0),) * 3

    def test_sixteen_bit_portable_greymap(self, tmp_path):
        path = tmp_path / "a.pgm"
        path.write_bytes(b"P5 2 1 65535\n" + np.array([0, 257 * 100], dtype=">u2").tobytes())
        assert np.asarray(open_photo(path))[0, :, 0].tolist() == [0, 100]

    @pytest.mark.parametrize("mode", ["RGBA", "LA"])
    def test_transparency_lies_on_white(self, tmp_path, mode):
        photo = Image.new(mode, (2, 1))
        photo.putpixel((1, 0), (10, 20, 30, 255) if mode == "RGBA" else (10, 255))
        opened = open_photo(save(photo, tmp_path / "a.png"))
        assert opened.getpixel((0, 0)) == (255, 255, 255)
        assert opened.getpixel((1, 0)) == ((10, 20, 30) if mode == "RGBA" else (10, 10, 10))

    def test_half_transparent_black_is_grey(self):
        assert open_photo(Image.new("RGBA", (1, 1), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)

    def test_transparent_palette_colour(self, tmp_path):
        photo = Image.new("P", (2, 1), 0)
        photo.putpalette([0, 0, 0, *ORANGE])
        photo.putpixel((1, 0), 1)
        opened = open_photo(save(photo, tmp_path / "a.png", transparency=0))
        assert [opened.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), ORANGE]

    def test_first_frame_of_an_animation(self, tmp_path):
        frames = [Image.new("RGB", (3, 3), colour) for colour in ("red", "blue")]
        path = save(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        assert open_photo(path).getpixel((1, 1)) == (255, 0, 0)

    @pytest.mark.parametrize("suffix", ["jpg", "webp", "bmp", "tif", "jp2"])
    def test_other_formats(self, tmp_path, suffix):
        opened = open_photo(save(Image.new("RGB", (16, 8), ORANGE), tmp_path / f"a.{suffix}"))
        assert opened.size == (16, 8)
        assert np.abs(np.asarray(opened, dtype=int) - ORANGE).max() < 12

    @pytest.mark.parametrize("size_wh", [(1, 1), (20_000, 10), (10, 20_000)])
    def test_extreme_sizes(self, tmp_path, size_wh):
        assert open_photo(save(Image.new("RGB", size_wh), tmp_path / "a.png")).size == size_wh


class TestOrientation:
    # where the top-left pixel of the stored 3x2 photo is seen, by EXIF orientation
    @pytest.mark.parametrize(
        ("orientation", "size_wh", "seen_at"),
        [
            (1, (3, 2), (0, 0)),
            (2, (3, 2), (2, 0)),
            (3, (3, 2), (2, 1)),
            (4, (3, 2), (0, 1)),
            (5, (2, 3), (0, 0)),
            (6, (2, 3), (1, 0)),
            (7, (2, 3), (1, 2)),
            (8, (2, 3), (0, 2)),
        ],
    )
    @pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
    def test_photo_is_turned_upright(self, tmp_path, suffix, orientation, size_wh, seen_at):
        photo = Image.new("RGB", (3, 2), "black")
        photo.putpixel((0, 0), (255, 255, 255))
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if suffix == "webp" else {}
        opened = open_photo(save(photo, tmp_path / f"a.{suffix}", exif=exif, **options))
        assert opened.size == size_wh
        assert opened.getpixel(seen_at) == (255, 255, 255)
        # opening twice turns it once
        assert open_photo(opened).tobytes() == opened.tobytes()

    def test_photo_of_a_telephone(self, tmp_path):
        # stored lying on its side, white at the stored left; orientation 6 turns that to the top
        stored = Image.new("RGB", (64, 32), "black")
        stored.paste((255, 255, 255), (0, 0, 16, 32))
        exif = Image.Exif()
        exif[0x0112] = 6
        opened = open_photo(save(stored, tmp_path / "a.jpg", exif=exif, quality=95))
        assert opened.size == (32, 64)
        assert min(opened.getpixel((16, 4))) > 240
        assert max(opened.getpixel((16, 60))) < 15

    def test_damaged_exif_leaves_the_photo_as_stored(self, tmp_path):
        path = save(Image.new("RGB", (16, 8)), tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00\x2agarbage")
        assert open_photo(path).size == (16, 8)


class TestArraysAndImages:
    @pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1), (2, 3, 3), (2, 3, 4)])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_shapes(self, shape, dtype):
        opened = open_photo(np.full(shape, np.iinfo(dtype).max, dtype=dtype))
        assert (opened.mode, opened.size) == ("RGB", (3, 2))
        assert opened.getpixel((0, 0)) == (255, 255, 255)

    def test_channels_are_rgb(self):
        assert open_photo(np.uint8([[ORANGE]])).getpixel((0, 0)) == ORANGE

    def test_a_view_of_an_array(self):
        array = np.zeros((4, 6, 3), dtype=np.uint8)
        array[0, 5] = ORANGE
        assert open_photo(array[:, ::-1]).getpixel((0, 0)) == ORANGE

    @pytest.mark.parametrize(
        ("array", "message"),
        [
            (np.zeros((2, 2, 3)), "uint8 or uint16, got float64"),
            (np.zeros((2, 2, 2), np.uint8), r"got \(2, 2, 2\)"),
            (np.zeros(4, np.uint8), r"got \(4,\)"),
            (np.zeros((2, 2, 3, 3), np.uint8), r"got \(2, 2, 3, 3\)"),
            (np.zeros((2, 2, 5), np.uint8), r"got \(2, 2, 5\)"),
            (np.zeros((0, 5, 3), np.uint8), "at least 1x1"),
        ],
    )
    def test_other_arrays_are_refused(self, array, message):
        with pytest.raises(ValueError, match=message):
            open_photo(array)

    @pytest.mark.parametrize("size_wh", [(0, 5), (5, 0)])
    def test_an_image_has_pixels(self, size_wh):
        with pytest.raises(
            ValueError, match=f"the image is {size_wh[0]}x{size_wh[1]}; expected a photo of at least 1x1 pixels"
        ):
            open_photo(Image.new("RGB", size_wh))

    def test_the_image_given_is_left_alone(self):
        given_image = Image.new("RGB", (2, 2))
        open_photo(given_image).putpixel((0, 0), ORANGE)
        assert given_image.getpixel((0, 0)) == (0, 0, 0)

    def test_floating_point_pixels_are_refused(self):
        with pytest.raises(ValueError, match="floating-point"):
            open_photo(Image.new("F", (2, 2)))


class TestErrors:
    def test_no_such_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such photo: .*absent.jpg"):
            open_photo(tmp_path / "absent.jpg")

    def test_folder(self, tmp_path):
        with pytest.raises(ValueError, match="is not a file"):
            open_photo(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"hello, I am a text\n" * 100, b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
    def test_not_a_photo(self, tmp_path, content):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="photo"):
            open_photo(path)

    def test_formats_that_run_programs_are_not_photos(self, tmp_path):
        path = save(noise(8, 8), tmp_path / "a.eps")
        with pytest.raises(ValueError, match="is not a photo"):
            open_photo(path)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "gif", "bmp", "jp2"])
    @pytest.mark.parametrize("kept", [0.5, 0.9])
    def test_truncated(self, tmp_path, suffix, kept):
        whole = save(noise(64, 48), tmp_path / f"whole.{suffix}").read_bytes()
        path = tmp_path / f"cut.{suffix}"
        path.write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(ValueError, match=r"cut\.\w+ (is truncated or damaged|is not a photo|cannot be read)"):
            open_photo(path)

    @settings(max_examples=60, deadline=None)
    @given(
        suffix=st.sampled_from(["JPEG", "PNG", "TIFF", "GIF", "WEBP"]),
        damage=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=20),
    )
    def test_damaged_bytes_give_a_photo_or_the_one_error(self, tmp_path_factory, suffix, damage):
        stream = io.BytesIO()
        noise(20, 15).save(stream, suffix)
        content = bytearray(stream.getvalue())
        for position, value in damage:
            content[position % len(content)] = value
        path = tmp_path_factory.getbasetemp() / "damaged"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow comments on odd metadata
            try:
                assert open_photo(path).mode == "RGB"
            except ValueError as error:
                assert str(path) in str(error)

    def test_more_pixels_than_allowed(self, tmp_path):
        path = save(Image.new("L", (30, 20)), tmp_path / "a.png")
        assert open_photo(path, max_pixels=600).size == (30, 20)
        with pytest.raises(ValueError, match="30x20, 600 pixels; at most 599 are allowed"):
            open_photo(path, max_pixels=599)
        with pytest.raises(ValueError, match="at most 599"):
            open_photo(Image.new("RGB", (30, 20)), max_pixels=599)
        with pytest.raises(ValueError, match="at most 599"):
            open_photo(np.zeros((20, 30), np.uint8), max_pixels=599)

    @pytest.mark.parametrize("side", [10_001, 20_000])
    def test_decompression_bomb_is_refused_by_its_header(self, tmp_path, side):
        # a header that promises side x side pixels, and no pixels: decoding would raise something else.
        # Below and above the size at which Pillow itself refuses.
        whole = save(Image.new("1", (8, 8)), tmp_path / "small.png").read_bytes()
        size = side.to_bytes(4, "big")
        header = b"IHDR" + size + size + whole[24:29]
        content = whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]
        path = tmp_path / "bomb.png"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="100,000,000 (are )?allowed"):
            open_photo(path)
        if side == 20_000:
            with pytest.raises(ValueError, match="more pixels than the 178,956,970 allowed"):
                open_photo(path, max_pixels=500_000_000)

    def test_large_but_allowed_says_nothing(self, tmp_path):
        path = save(Image.new("1", (9_500, 9_500)), tmp_path / "a.png")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match="at most 90,000,000"):
                open_photo(path, max_pixels=90_000_000)


class TestLetterbox:
    def test_padding_is_exactly_zero_and_the_photo_normalised(self):
        square = letterbox(Image.new("RGB", (8, 4), ORANGE), 16)
        assert (square.shape, square.dtype) == ((3, 16, 16), np.float32)
        assert (square[:, :4] == 0).all() and (square[:, 12:] == 0).all()
        expected = (np.array(ORANGE) / 255 - CLIP_MEAN_RGB) / CLIP_STD_RGB
        np.testing.assert_allclose(square[:, 4:12], np.broadcast_to(expected[:, None, None], (3, 8, 16)), atol=1e-5)

    @pytest.mark.parametrize(
        ("size_wh", "side", "first", "end"),
        [
            # 8 rows of 10 with 1 above, at 0.8: from 0.8 to 7.2
            ((10, 8), 8, 1, 7),
            # 3 rows with 3 above: from 2.4 to 4.8
            ((10, 3), 8, 2, 5),
            # 7 rows with 1 above, at 0.7: from 0.7 to 5.6
            ((10, 7), 7, 1, 6),
            # one row with 499 above, at 0.008: from 3.992 to 4, and at least one
            ((1000, 1), 8, 4, 5),
            # 300 with 350 above, at 0.256: from 89.6 to 166.4
            ((1000, 300), 256, 90, 166),
        ],
    )
    def test_borders_are_rounded(self, size_wh, side, first, end):
        landscape = letterbox(Image.new("RGB", size_wh, "white"), side, (0, 0, 0), (1, 1, 1))
        portrait = letterbox(Image.new("RGB", size_wh[::-1], "white"), side, (0, 0, 0), (1, 1, 1))
        expected = np.zeros((3, side, side))
        expected[:, first:end] = 1
        np.testing.assert_allclose(landscape, expected, atol=1e-6)
        np.testing.assert_allclose(portrait, expected.transpose(0, 2, 1), atol=1e-6)

    def test_values_are_those_that_clip_was_trained_on(self):
        # (1 - 0.48145466) / 0.26862954, (0 - 0.4578275) / 0.26130258, (128 / 255 - 0.40821073) / 0.27577711
        square = letterbox(Image.new("RGB", (2, 2), (255, 0, 128)), 2)
        np.testing.assert_allclose(square[:, 0, 0], [1.930336, -1.752097, 0.339952], atol=1e-5)

    def test_the_mean_colour_becomes_zero(self):
        square = letterbox(Image.new("RGB", (2, 2), (51, 102, 153)), 4, (0.2, 0.4, 0.6), (1, 1, 1))
        np.testing.assert_allclose(square, 0, atol=1e-6)

    def test_square_photo_of_the_side_is_copied(self):
        photo = noise(16, 16)
        square = letterbox(photo, 16, (0, 0, 0), (1, 1, 1))
        np.testing.assert_allclose(square.transpose(1, 2, 0) * 255, np.asarray(photo), atol=1e-3)

    @pytest.mark.parametrize("size_wh", [(1, 1), (1, 2), (20_000, 10), (10, 20_000), (1, 5_000), (99_999, 1)])
    @pytest.mark.parametrize("side", [1, 7, 256])
    def test_extreme_sizes_keep_some_of_the_photo(self, size_wh, side):
        square = letterbox(Image.new("RGB", size_wh, ORANGE), side)
        assert np.isfinite(square).all()
        assert (square != 0).any()

    @settings(max_examples=40, deadline=None)
    @given(
        width=st.integers(1, 300),
        height=st.integers(1, 300),
        at=st.tuples(st.floats(0, 0.999), st.floats(0, 0.999)),
        side=st.sampled_from([96, 128, 255]),
    )
    def test_a_painted_dot_lands_at_its_square_coordinates(self, width, height, at, side):
        i, j = int(at[0] * width), int(at[1] * height)
        photo = Image.new("RGB", (width, height), "black")
        photo.putpixel((i, j), (255, 255, 255))
        brightness = letterbox(photo, side, (0, 0, 0), (1, 1, 1)).sum(axis=0)
        brightness = np.where(brightness > brightness.max() / 2, brightness, 0)  # the dot without its ringing
        rows, columns = np.mgrid[:side, :side] + 0.5
        found = np.array([(columns * brightness).sum(), (rows * brightness).sum()]) / brightness.sum()
        expected = photo_to_square([(i + 0.5, j + 0.5)], (width, height))[0] * side
        # one pixel of the square; in a photo smaller than the square, bicubic resampling cuts a dot off at
        # the border, which moves the middle of what is left by a part of a photo pixel
        allowed = 1 + 0.25 * side / max(width, height)
        assert np.abs(found - expected).max() <= allowed

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="open_photo"):
            letterbox(Image.new("L", (2, 2)), 8)
        with pytest.raises(ValueError, match="at least 1 pixel, got 0"):
            letterbox(Image.new("RGB", (2, 2)), 0)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the photos of ../shared/data are not here")
def test_real_photos_open():
    photos = sorted(SHARED_DATA.glob("*_sample/*.jp*g"))
    assert photos
    for path in photos:
        photo = open_photo(path)
        assert photo.mode == "RGB"
        assert letterbox(photo, 64).shape == (3, 64, 64)


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"pixels" * 20


class FakeHeif(ImageFile.ImageFile):
    format = "HEIF"

    def _open(self):
        self._size, self._mode = (5, 4), "RGB"

    def load(self):
        self.im = Image.new("RGB", (5, 4), ORANGE).im
        return None


class TestHeic:
    def test_without_the_reader_the_way_out_is_said(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        path = tmp_path / "a.heic"
        path.write_bytes(HEIC)
        with pytest.raises(ValueError, match="a.heic is HEIC: pip install pillow-heif, or convert it to JPEG"):
            open_photo(path)
        with pytest.raises(ValueError, match="the photo is HEIC: pip install pillow-heif"):
            decode_photo(HEIC)

    def test_with_the_reader_it_is_read(self, tmp_path, monkeypatch):
        module = ModuleType("pillow_heif")
        module.register_heif_opener = lambda: Image.register_open("HEIF", FakeHeif)
        monkeypatch.setitem(sys.modules, "pillow_heif", module)
        # Another name: what counts is what is in the file.
        path = tmp_path / "a.jpg"
        path.write_bytes(HEIC)
        try:
            assert open_photo(path).getpixel((1, 1)) == decode_photo(HEIC).getpixel((1, 1)) == ORANGE
        finally:
            Image.OPEN.pop("HEIF")
            Image.ID.remove("HEIF")

    @pytest.mark.skipif(not (SHARED_DATA.parent / "cases").is_dir(), reason="the cases are not beside this checkout")
    def test_an_iphone_s_photo(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(ValueError, match="h.heic is HEIC: pip install pillow-heif"):
            open_photo(SHARED_DATA.parent / "cases" / "11-heic" / "h.heic")


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "packed.tif", "xmp.jpg", "xmp.tif"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_how_a_photo_was_turned_is_told(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"exif": exif}
    if suffix.startswith("xmp"):
        said = XMP.format(orientation).encode()
        options = {"tiffinfo": {700: said}} if suffix.endswith("tif") else {"xmp": said}
    elif suffix.startswith("packed") and 1 <= orientation <= 8:
        options["compression"] = "tiff_lzw"
    path = save(noise(7, 5), tmp_path / f"a.{suffix}", **options)
    photo, applied = open_turned_photo(path)
    assert photo_header(path) == (photo.size, applied)
    assert applied == (orientation if 1 <= orientation <= 8 else 1)
    assert photo.size == photo_size(path) == ((5, 7) if applied >= 5 else (7, 5))
    turns = dict(zip(range(2, 9), (0, 3, 1, 5, 4, 6, 2), strict=True))
    stored = Image.open(io.BytesIO(save(noise(7, 5), tmp_path / f"b.{suffix.split('.')[-1]}").read_bytes()))
    upright = stored.transpose(Image.Transpose(turns[applied])) if applied > 1 else stored
    assert photo.tobytes() == upright.tobytes()


def test_equal_photos_are_encoded_as_equal_files():
    photo = Image.new("RGB", (50, 40), (10, 200, 30))
    assert encode_photo(photo) == encode_photo(photo.copy())
    assert decode_photo(encode_photo(photo, "PNG")).getpixel((3, 3)) == (10, 200, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_size_in_the_header_is_that_of_the_opened_photo(kind, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (40, 30)).save(tmp_path / "photo", kind, exif=exif)
    assert photo_size(tmp_path / "photo") == open_photo(tmp_path / "photo").size


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "odd",
    [
        (0x0128, 2, 2, b"i\0\0\0"),
        (0x8298, 5, 1, struct.pack("<I", 38)),
    ],
    ids=["a unit in words", "a copyright that is a number"],
)
def test_an_odd_tag_beside_the_orientation_turns_the_photo_all_the_same(tmp_path, ending, odd):
    tags = struct.pack("<HHII", 0x0112, 3, 1, 6) + struct.pack("<HHI", *odd[:3]) + odd[3]
    raw = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + tags + struct.pack("<I", 0) + struct.pack("<II", 7, 2)
    upright = Image.new("RGB", (40, 60), "blue")
    upright.paste("red", (0, 0, 40, 30))
    path = tmp_path / f"a.{ending}"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, exif=raw, quality=95)
    opened, orientation = open_turned_photo(path)
    assert (opened.size, orientation) == photo_header(path) == ((40, 60), 6)
    assert opened.getpixel((20, 5))[0] > 200 and opened.getpixel((20, 55))[2] > 200


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "RGB"])
def test_a_tiff_stored_sideways_is_the_same_by_its_path_and_by_its_bytes(tmp_path, mode):
    values = np.zeros((30, 20, 3), np.uint8)
    values[:10, :7] = 250
    upright = Image.fromarray(values)
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    grey = np.asarray(stored.convert("L")).astype(np.uint16) * 257
    stored = Image.fromarray(grey) if mode == "I;16" else stored.convert(mode)
    path = tmp_path / "a.tif"
    stored.save(path, tiffinfo={0x0112: 6})
    opened = open_photo(path)
    assert opened.size == upright.size == photo_header(path)[0]
    assert np.array_equal(np.asarray(opened), np.asarray(decode_photo(path.read_bytes())))
    bright = np.asarray(opened.convert("L")) > 128
    assert bright[:10, :7].all() and bright.sum() == 70


@pytest.mark.parametrize("colour", [(1000,), (1000, 2000, 3000)])
def test_a_transparent_colour_of_16_bits_is_white(tmp_path, colour):
    """A PNG of two pixels, one of them of the colour that is transparent."""
    grey = len(colour) == 1
    other = (40_000,) * len(colour)
    row = b"\0" + b"".join(v.to_bytes(2, "big") for v in (*colour, *other))

    def chunk(name, content):
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    head = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 0 if grey else 2, 0, 0, 0])
    clear = b"".join(v.to_bytes(2, "big") for v in colour)
    path = tmp_path / "a.png"
    chunks = chunk(b"IHDR", head) + chunk(b"tRNS", clear) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    opened = open_photo(path)
    assert opened.getpixel((0, 0)) == (255, 255, 255) and max(opened.getpixel((1, 0))) < 200
