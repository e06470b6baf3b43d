"""Image files: what the bytes of a PNG or JPEG show, and what is wrong with them."""

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

LARGEST = 200_000_000  # pixels; opened, such an image takes most of a gigabyte
LARGE = 2**24  # pixels from which an image is made smaller before anything else
ENOUGH = 512  # pixels that the shorter side of such an image keeps
WHITE = 32  # levels by which a drawing must differ from its ground to be seen
SEEN = 0.1  # share of what is drawn that must be seen on white; else the ground may be black
# what a file begins with that is no PNG or JPEG: what it is
OTHERS = {
    rb"\s*$": "is empty",
    rb"version https://git-lfs": "is a pointer of Git LFS: get the image with 'git lfs pull'",
    rb"RIFF....WEBP": "is a WebP image: convert it",
    rb"GIF8": "is a GIF image: convert it",
    rb"II\*\0|MM\0\*": "is a TIFF image: convert it",
    rb"BM": "is a BMP image: convert it",
    rb"....ftyp": "is a HEIC or AVIF image: convert it",
    rb"%PDF": "is a PDF",
    rb"(\xef\xbb\xbf)?\s*<(\?xml|svg)": "is an SVG drawing: convert it",
    rb"(\xef\xbb\xbf)?\s*<": "is a web page, saved in place of the image",
}


def decode(raw: bytes, *, size: int = 32, bits: int = 16) -> np.ndarray:
    """Return a PNG or JPEG file as uint8 (3, size, size): upright, cut to a square about its centre, resized.

    What is transparent becomes white, or black where on white hardly anything would be seen. A large image is read at
    reduced size.

    Args:
        bits: that the values of 16-bit files use, see ``bits_of``; 8 .. 16.

    Raises:
        ValueError: it is no such file, damaged or too large; the message says which.
    """
    image = _opened(raw)
    if image.format == "JPEG" and image.width * image.height > LARGE:
        image.draft(None, (ENOUGH, ENOUGH))
    _check_size(image)
    _attempted(lambda: ImageOps.exif_transpose(image, in_place=True))
    image = on_ground(_attempted(lambda: _reduced(image, bits)))
    image = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def examine(raw: bytes) -> tuple[bool, int]:
    """Return whether a PNG or JPEG file has no colours, by its header and palette, and its largest value if of 16 bits.

    The value of all other files is 0.

    Raises:
        ValueError: as ``decode``; or its colours have 16 bits of which the upper ones are not used.
    """
    image = _opened(raw)
    if image.mode.startswith("I"):
        _check_size(image)
        return True, _attempted(lambda: int(np.asarray(image).max()))
    if raw[24:25] == b"\x10" and image.format == "PNG":  # Pillow keeps the upper 8 bits of colours of 16
        _check_size(image)
        top = max(high for _, high in _attempted(image.getextrema)[:3])
        if top < 64:
            raise ValueError(
                f"has colours of 16 bits that end at {256 * top + 255:,} of 65,535, almost black: save it with 8 bits"
            )
    if image.mode == "P":
        palette = np.frombuffer(image.palette.palette, np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all()), 0
    return image.mode in {"1", "L", "LA"}, 0


def shorter_side(raw: bytes) -> int:
    """Return the shorter side of a PNG or JPEG file in pixels, by its header.

    Raises:
        ValueError: it is no such file, or too large.
    """
    image = _opened(raw)
    _check_size(image)
    return min(image.size)


def bits_of(top: int) -> int:
    """Return how many bits the values of 16-bit files use, by the largest of all files: 8, 10, 12, 14 or 16."""
    return next(bits for bits in (8, 10, 12, 14, 16) if top < 2**bits) if top else 16


def on_ground(image: Image.Image) -> Image.Image:
    """Return an image with what is transparent put on white, or on black if it is drawn in white; others as they are.

    White, unless less than a tenth of what is drawn would differ from it and more would differ from black.
    """
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    step = max(1, min(image.size) // 256)
    red, green, blue, drawn = np.ascontiguousarray(np.asarray(image)[::step, ::step].transpose(2, 0, 1))
    on_white = np.minimum(np.minimum(red, green), blue) < 255 - WHITE
    on_black = np.maximum(np.maximum(red, green), blue) > WHITE
    seen, otherwise, whole = (float(drawn[where].sum()) for where in (on_white, on_black, ...))
    ground = "black" if seen < SEEN * whole and otherwise > seen else "white"
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image)


def _opened(raw: bytes) -> Image.Image:
    """Return an image of which only the header was read, whatever its size."""
    kind = {b"\x89PNG": PngImageFile, b"\xff\xd8\xff": JpegImageFile}
    opened = next((kind for start, kind in kind.items() if raw.startswith(start)), None)
    if opened is None:
        said = next((said for start, said in OTHERS.items() if re.match(start, raw[:256], re.DOTALL)), "is no image")
        raise ValueError(said)
    return _attempted(lambda: opened(io.BytesIO(raw)))


def _attempted(read: Callable) -> Any:
    try:
        return read()
    except Exception as error:  # Pillow raises whatever the malformed part happens to cause
        raise ValueError(f"is damaged or cut off ({str(error)[:80]})") from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > LARGEST:
        raise ValueError(
            f"is too large with {image.width:,} x {image.height:,} pixels, allowed are {LARGEST // 10**6} million: "
            "save it smaller"
        )


def _reduced(image: Image.Image, bits: int) -> Image.Image:
    """Return an image with 8 bits a channel, a large one smaller by a whole factor, made a strip at a time."""
    factor = min(image.size) // ENOUGH if image.width * image.height > LARGE else 1
    if factor < 2:
        return _eight(image, bits)
    height = 64 * factor
    strips = [
        _eight(image.crop((0, top, image.width, min(top + height, image.height))), bits).reduce(factor)
        for top in range(0, image.height, height)
    ]
    whole = Image.new(strips[0].mode, (strips[0].width, sum(strip.height for strip in strips)))
    for number, strip in enumerate(strips):
        whole.paste(strip, (0, number * 64))
    return whole


def _eight(image: Image.Image, bits: int) -> Image.Image:
    if image.mode.startswith("I"):
        scaled = np.asarray(image).clip(0, 2**bits - 1) / ((2**bits - 1) / 255)
        return Image.fromarray(scaled.round().astype(np.uint8))
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
