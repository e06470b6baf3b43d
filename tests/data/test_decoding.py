import io
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw

from sega_utils.data import decoding
from sega_utils.data.decoding import decode


def png(image, **options) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def jpeg(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (50, 20), (31, 100)])
def test_any_size_and_mode_becomes_32_by_32(mode, size):
    level = 255 if mode == "1" else 200
    image = Image.new("L", size, level)
    image = Image.fromarray(np.full(size[::-1], 257 * level, np.uint16)) if mode == "I;16" else image.convert(mode)
    array = decode(png(image))
    assert array.shape == (3, 32, 32) and array.dtype == np.uint8
    assert (array == level).all()


def test_an_image_is_cut_about_its_centre_and_turned_upright():
    wide = Image.new("RGB", (96, 32))
    wide.paste((255, 0, 0), (32, 0, 64, 32))
    assert (decode(png(wide))[0] == 255).all()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    half = Image.new("L", (32, 32))
    half.paste(255, (0, 0, 32, 16))
    array = decode(jpeg(half, exif=exif))
    assert array[0, :, 31].min() > 200 and array[0, :, 0].max() < 50


# transparency


def drawing(ink, *, outline=None, ground=(0, 0, 0, 0)) -> Image.Image:
    image = Image.new("RGBA", (40, 40), ground)
    ImageDraw.Draw(image).ellipse([8, 8, 32, 32], fill=ink, outline=outline, width=2)
    return image


@pytest.mark.parametrize(
    ("image", "ground"),
    [
        (drawing((0, 0, 0, 255)), 255),
        (drawing((200, 60, 60, 255)), 255),
        (drawing((0, 0, 0, 255), ground=(0, 0, 0, 1)), 255),
        (drawing((255, 255, 255, 255), outline=(0, 0, 0, 255)), 255),
        (drawing((255, 255, 255, 255)), 0),
        (drawing((250, 250, 240, 255), ground=(255, 255, 255, 0)), 0),
        (drawing((0, 0, 0, 255)).convert("LA"), 255),
        (drawing((255, 255, 255, 255)).quantize(), 0),
    ],
)
def test_a_drawing_on_transparent_keeps_its_contours(image, ground):
    array = decode(png(image)).astype(int)
    assert np.abs(array[:, 0, 0] - ground).max() <= 1
    assert np.ptp(array.max(0)) > 100 or np.ptp(array.min(0)) > 100


def test_what_is_wholly_transparent_is_white():
    assert (decode(png(Image.new("RGBA", (9, 9), (0, 0, 0, 0)))) == 255).all()


# bits


@pytest.mark.parametrize(("bits", "top"), [(8, 255), (10, 1023), (12, 4095), (14, 16383), (16, 65535)])
def test_values_of_fewer_bits_in_sixteen_reach_white(bits, top):
    levels = np.linspace(0, top, 32).round().astype(np.uint16)[None].repeat(32, 0)
    assert decoding.examine(png(levels)) == (True, top) and decoding.bits_of(top) == bits
    found = decode(png(levels), bits=bits)[0]
    assert (found == np.round(levels / top * 255)).all()


def test_a_byte_more_than_a_number_of_bits_holds_needs_the_next():
    assert [decoding.bits_of(top) for top in (0, 1, 256, 1024, 4096, 16384)] == [16, 8, 10, 12, 14, 16]


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_of_twelve_bits_in_sixteen_are_named(channels):
    values = np.linspace(0, 4095, 64 * channels).astype(np.uint16).reshape(8, 8, channels)
    dark, full = (cv2.imencode(".png", pixels)[1].tobytes() for pixels in (values, values * 16))
    with pytest.raises(ValueError, match="colours of 16 bits that end at 4,095 of 65,535, almost black: save it"):
        decoding.examine(dark)
    assert decoding.examine(full) == (False, 0)


# grey


@pytest.mark.parametrize(
    ("image", "grey"),
    [
        (Image.new("L", (4, 4)), True),
        (Image.new("LA", (4, 4)), True),
        (Image.new("1", (4, 4)), True),
        (Image.linear_gradient("L").convert("P"), True),
        (Image.linear_gradient("L").convert("RGB").quantize(8), True),
        (drawing((200, 60, 60, 255)).convert("RGB").quantize(8), False),
        (Image.new("RGB", (4, 4)), False),
        (Image.new("RGBA", (4, 4)), False),
    ],
)
def test_grey_is_what_is_stored_without_colours(image, grey):
    assert decoding.examine(png(image)) == (grey, 0)


# what is large


def test_a_large_image_is_read_at_reduced_size_and_shows_the_same(monkeypatch):
    monkeypatch.setattr(decoding, "ENOUGH", 64)
    picture = Image.radial_gradient("L").resize((900, 700)).convert("RGB")
    picture.paste((200, 30, 30), (300, 100, 600, 300))
    palette = picture.quantize(64)
    seen = drawing((0, 0, 0, 255)).resize((900, 700))
    sixteen = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257)
    files = [png(image) for image in (picture, palette, seen, sixteen, picture.convert("1"))] + [jpeg(picture)]
    whole = [decode(raw).astype(int) for raw in files]
    monkeypatch.setattr(decoding, "LARGE", 10_000)
    for raw, expected in zip(files, whole, strict=True):
        assert np.abs(decode(raw).astype(int) - expected).mean() < 3


def test_an_image_that_is_too_large_is_named_before_it_is_opened(monkeypatch):
    header = png(Image.new("1", (1, 1)))
    huge = header[:16] + (30_000).to_bytes(4) + (20_000).to_bytes(4) + header[24:29]
    huge += zlib.crc32(huge[12:29]).to_bytes(4) + header[33:]
    with pytest.raises(ValueError, match="is too large with 30,000 x 20,000 pixels, allowed are 200 million: save"):
        decode(huge)


# what is no image


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS: get the image with 'git lfs pull'"),
        (b"<!DOCTYPE html>", "is a web page"),
        (b"<svg xmlns=", "is an SVG drawing"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "is a WebP image: convert it"),
        (b"GIF89a", "is a GIF"),
        (b"II*\0", "is a TIFF"),
        (b"BM\0\0", "is a BMP"),
        (b"\0\0\0\x1cftypheic", "is a HEIC or AVIF image"),
        (b"%PDF-1.7", "is a PDF"),
        (b"hello", "is no image"),
        (png(Image.linear_gradient("L"))[:200], "is damaged or cut off"),
        (png(Image.linear_gradient("L"))[:20], "is damaged or cut off"),
        (jpeg(Image.linear_gradient("L"))[:300], "is damaged or cut off"),
        (jpeg(Image.linear_gradient("L"))[:10], "is damaged or cut off"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(raw, said):
    with pytest.raises(ValueError, match=said) as caught:
        decode(raw)
    assert "BytesIO" not in str(caught.value)
