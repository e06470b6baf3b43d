"""What corruptions are made of, for whole batches: draws for each image, moved pixels, clouds, 8-bit operations.

Images are float64 (N, C, S, S) in [0, 1]; S is a power of two.
"""

import math
import zlib
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np
from PIL import Image
from scipy import ndimage

Rngs = list[np.random.Generator]


def streams(name: str, seed: int, indices: Iterable[int]) -> Rngs:
    """Return a random generator for each image, from what is done to it, the seed and its index alone."""
    return [np.random.default_rng((seed, zlib.crc32(name.encode()), index)) for index in indices]


def each(rngs: Rngs, draw: Callable) -> np.ndarray:
    """Return one draw from each image's generator, stacked."""
    return np.stack([draw(rng) for rng in rngs])


def pick(x: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return the pixels at whole rows and columns, broadcast to (N, S, S); beyond the edge lies the edge."""
    images, last = np.arange(len(x))[:, None, None], x.shape[-1] - 1
    return np.moveaxis(x[images, :, rows.clip(0, last), cols.clip(0, last)], -1, 1)


def interpolate(x: np.ndarray, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return bilinearly interpolated pixels at rows and columns (N, S, S); the image is mirrored at its edges."""
    last = x.shape[-1] - 1
    rows, cols = (last - np.abs(last - place % (2 * last)) for place in (rows, cols))
    top, left = (np.floor(place).astype(int) for place in (rows, cols))
    down, right = (rows - top)[:, None], (cols - left)[:, None]
    upper = pick(x, top, left) * (1 - right) + pick(x, top, left + 1) * right
    lower = pick(x, top + 1, left) * (1 - right) + pick(x, top + 1, left + 1) * right
    return upper * (1 - down) + lower * down


def smear(x: np.ndarray, angles: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    """Return images blurred to one side along an angle each (N,), in degrees.

    Source: ImageMagick's MotionBlurImage: a half Gaussian of 2 radius + 1 taps, each at the nearest whole pixel.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    angles = np.deg2rad(angles)[:, None]
    down, right = (np.ceil(steps * part - 0.5).astype(int) for part in (np.sin(angles), np.cos(angles)))
    _, rows, cols = np.ogrid[:1, : x.shape[2], : x.shape[3]]
    taps = (w * pick(x, rows + down[:, i, None, None], cols + right[:, i, None, None]) for i, w in enumerate(weights))
    return sum(taps) / weights.sum()


@cache
def zoom(factor: float, side: int) -> np.ndarray:
    """Return the (side, side) matrix that linearly enlarges the middle of as many pixels by a factor of at least 1."""
    part = math.ceil(side / factor)
    top = (side - part) // 2
    wide = ndimage.zoom(np.eye(side)[top : top + part], (factor, 1), order=1, mode="nearest")
    return wide[(len(wide) - side) // 2 :][:side]


def plasma(rngs: Rngs, decay: float, side: int) -> np.ndarray:
    """Return a cloud in [0, 1] for each image, (N, 1, side, side), by the diamond-square algorithm on a torus.

    Source: Fournier, Fussell and Carpenter 1982; amplitude 100**2 at first, divided by decay**2 when the step halves.
    """
    noise = each(rngs, lambda rng: rng.uniform(-1, 1, side * side - 1))
    cloud, used, step, amplitude = np.zeros((len(rngs), side, side)), 0, side, 100.0**2
    while step >= 2:
        half, n = step // 2, side // step
        fresh = amplitude * noise[:, used : used + 3 * n * n].reshape(-1, 3, n, n)
        corners = cloud[:, ::step, ::step]
        centres = sum(np.roll(corners, (-i, -j), (1, 2)) for i in (0, 1) for j in (0, 1)) / 4 + fresh[:, 0]
        cloud[:, half::step, half::step] = centres
        across, below = corners + np.roll(corners, -1, 2), corners + np.roll(corners, -1, 1)
        cloud[:, ::step, half::step] = (across + centres + np.roll(centres, 1, 1)) / 4 + fresh[:, 1]
        cloud[:, half::step, ::step] = (below + centres + np.roll(centres, 1, 2)) / 4 + fresh[:, 2]
        used, step, amplitude = used + 3 * n * n, half, amplitude / decay**2
    cloud -= cloud.min((1, 2), keepdims=True)
    return (cloud / cloud.max((1, 2), keepdims=True))[:, None]


def pillow(x: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Return what a function of 8-bit Pillow images makes of each image."""
    levels = np.round(x * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    changed = np.stack([np.asarray(change(Image.fromarray(image.squeeze()))) for image in levels])
    return changed.reshape(levels.shape).transpose(0, 3, 1, 2) / 255
