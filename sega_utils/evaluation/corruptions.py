"""The 15 corruptions of Hendrycks and Dietterich 2019, generated: "CIFAR-10-C-like", not CIFAR-10-C itself.

The constants of the five severities, in ``severities``, are those of CIFAR-10-C and, for images of 64 pixels, of
Tiny-ImageNet-C. What differs from their images:
- frost: the original lays photographs of frozen panes over the images; here the texture is a ridged fractal;
- randomness: each image has a stream of its own, from (seed, index, corruption), so that severities share their draws
  and any subset in any order gives the same pixels; the original draws everything from one unseeded stream;
- arithmetic: in double precision, rounded down to 8 bit once at the end, as the original; its intermediate roundings
  are kept only where a step is 8 bit by nature (glass blur's scattering, pixelate, JPEG);
- motion blur, also of snow, follows ImageMagick's, which the original calls; gray images go the way of colour images.

A higher severity lies farther from the clean image, but where the constants themselves say otherwise: the severities of
elastic transform and, at 32 pixels, of glass blur trade one strength for another, and single steps of frost and motion
blur come out level.
"""

import io

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from sega_utils.data.images import check_images, from_uint8, to_uint8
from sega_utils.evaluation.pixels import Rngs, each, interpolate, pillow, plasma, smear, streams, zoom

ZOOMS = ((1.06,), (1.11,), (1.16,), (1.21,), (1.26,))
CONSTANTS = {
    32: {
        "gaussian_noise": ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,)),
        "shot_noise": ((500,), (250,), (100,), (75,), (50,)),
        "impulse_noise": ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,)),
        "defocus_blur": ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        "glass_blur": ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        "motion_blur": ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        "zoom_blur": ZOOMS,
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        "frost": ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        "fog": ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        "brightness": ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,)),
        "contrast": ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,)),
        "elastic_transform": ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96)),
        "pixelate": ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,)),
        "jpeg_compression": ((80,), (65,), (58,), (50,), (40,)),
    },
    64: {
        "gaussian_noise": ((0.04,), (0.08,), (0.12,), (0.15,), (0.18,)),
        "shot_noise": ((250,), (100,), (50,), (30,), (15,)),
        "impulse_noise": ((0.01,), (0.02,), (0.05,), (0.08,), (0.14,)),
        "defocus_blur": ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        "glass_blur": ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        "motion_blur": ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        "zoom_blur": ZOOMS,
        "snow": (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        "frost": ((1, 0.3), (0.9, 0.4), (0.8, 0.45), (0.75, 0.5), (0.7, 0.55)),
        "fog": ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        "brightness": ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,)),
        "contrast": ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,)),
        "elastic_transform": (
            (0, 0, 5.12),
            (3.2, 19.2, 3.84),
            (6.4, 5.12, 3.84),
            (6.4, 1.92, 1.92),
            (10.24, 1.92, 1.28),
        ),
        "pixelate": ((0.9,), (0.8,), (0.7,), (0.6,), (0.5,)),
        "jpeg_compression": ((65,), (58,), (50,), (40,), (25,)),
    },
}


def gaussian_noise(x: np.ndarray, rngs: Rngs, sigma: float) -> np.ndarray:
    """Add normal noise."""
    return x + sigma * each(rngs, lambda rng: rng.normal(size=x.shape[1:]))


def shot_noise(x: np.ndarray, rngs: Rngs, photons: int) -> np.ndarray:
    """Count a Poisson number of photons, of which full white has ``photons`` on average."""
    return np.stack([rng.poisson(image * photons) / photons for image, rng in zip(x, rngs, strict=True)])


def impulse_noise(x: np.ndarray, rngs: Rngs, share: float) -> np.ndarray:
    """Turn a share of the values black or white."""
    hit, salt = each(rngs, lambda rng: rng.random((2, *x.shape[1:]))).swapaxes(0, 1)
    return np.where(hit < share, salt < 0.5, x)


def defocus_blur(x: np.ndarray, rngs: Rngs, radius: float, softness: float) -> np.ndarray:
    """Convolve with a disk whose edge is softened by a 3x3 Gaussian."""
    axis = np.arange(-int(radius) - 1, int(radius) + 2)
    disk = (axis**2 + axis[:, None] ** 2 <= radius**2).astype(float)
    taps = np.exp(-np.array([1, 0, 1]) / (2 * softness**2))
    kernel = ndimage.correlate(disk, np.outer(taps, taps), mode="constant")
    return ndimage.correlate(x, kernel[None, None] / kernel.sum(), mode="mirror")


def glass_blur(x: np.ndarray, rngs: Rngs, sigma: float, reach: int, times: int) -> np.ndarray:
    """Blur, let pixels take over the value of a near one, and blur again.

    The original means to swap both, but on colour arrays its in-place exchange copies; so are the published images.
    """
    blur = lambda x: ndimage.gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest", truncate=4)
    x = np.floor(blur(x) * 255 + 1e-6) / 255
    images, first, n = np.arange(len(x)), reach + 1, x.shape[-1] - 2 * reach
    for _ in range(times):
        down, right = each(rngs, lambda rng: rng.integers(-reach, reach, (2, n, n))).swapaxes(0, 1)
        for row in range(n - 1, -1, -1):  # one after the other, as what was moved may be moved again
            for col in range(n - 1, -1, -1):
                near = first + row + down[:, row, col], first + col + right[:, row, col]
                x[:, :, first + row, first + col] = x[images, :, *near]
    return blur(x)


def motion_blur(x: np.ndarray, rngs: Rngs, radius: int, sigma: float) -> np.ndarray:
    """Smear along a direction at most 45 degrees from the horizontal."""
    return smear(x, each(rngs, lambda rng: rng.uniform(-45, 45)), radius, sigma)


def zoom_blur(x: np.ndarray, rngs: Rngs, end: float) -> np.ndarray:
    """Average the image with its enlargements in steps of 1 %."""
    zooms = [zoom(factor, x.shape[-1]) for factor in np.arange(1, end, 0.01)]
    return (x + sum(matrix @ x @ matrix.T for matrix in zooms)) / (len(zooms) + 1)


def snow(
    x: np.ndarray,
    rngs: Rngs,
    mean: float,
    spread: float,
    size: float,
    cut: float,
    radius: int,
    sigma: float,
    keep: float,
) -> np.ndarray:
    """Whiten, and add streaks of falling flakes: smeared bright specks, and the same turned by 180 degrees."""
    matrix = zoom(size, x.shape[-1])
    flakes = matrix @ each(rngs, lambda rng: rng.normal(mean, spread, (1, *x.shape[2:]))) @ matrix.T
    flakes = np.where(flakes < cut, 0, flakes).clip(0, 1)
    flakes = smear(flakes, each(rngs, lambda rng: rng.uniform(-135, -45)), radius, sigma)
    gray = x if x.shape[1] == 1 else np.tensordot(x, (0.299, 0.587, 0.114), (1, 0))[:, None]
    return keep * x + (1 - keep) * np.maximum(x, 1.5 * gray + 0.5) + flakes + flakes[:, :, ::-1, ::-1]


def frost(x: np.ndarray, rngs: Rngs, image: float, ice: float) -> np.ndarray:
    """Lay a generated texture of bright ridges over the image."""
    return image * x + ice * (1 - np.abs(2 * plasma(rngs, 1.4, x.shape[-1]) - 1))


def fog(x: np.ndarray, rngs: Rngs, amount: float, decay: float) -> np.ndarray:
    """Add a cloud and scale back to the image's brightest value."""
    brightest = x.max((1, 2, 3), keepdims=True)
    return (x + amount * plasma(rngs, decay, x.shape[-1])) * brightest / (brightest + amount)


def brightness(x: np.ndarray, rngs: Rngs, amount: float) -> np.ndarray:
    """Raise the value in the hue, saturation and value of each pixel."""
    value = x.max(1, keepdims=True)
    raised = np.minimum(value + amount, 1)
    return np.where(value > 0, x * raised / np.where(value > 0, value, 1), raised)


def contrast(x: np.ndarray, rngs: Rngs, share: float) -> np.ndarray:
    """Keep a share of the difference to the mean of each channel."""
    mean = x.mean((2, 3), keepdims=True)
    return (x - mean) * share + mean


def elastic_transform(x: np.ndarray, rngs: Rngs, amount: float, sigma: float, reach: float) -> np.ndarray:
    """Move three points by up to ``reach``, the image with them, then each pixel by a smooth random field."""
    side = x.shape[-1]
    low, high = float(side // 2 - side // 3), float(side // 2 + side // 3)
    corners = np.array([[high, high], [high, low], [low, low]])  # (x, y)
    moved = corners + each(rngs, lambda rng: rng.uniform(-reach, reach, (3, 2)))
    back = np.linalg.solve(np.concatenate((moved, np.ones((len(x), 3, 1))), 2), np.broadcast_to(corners, moved.shape))
    rows, cols = np.indices((side, side))
    places = np.stack((cols, rows, np.ones_like(rows)), -1).reshape(-1, 3) @ back
    x = interpolate(x, places[..., 1].reshape(-1, side, side), places[..., 0].reshape(-1, side, side))
    field = each(rngs, lambda rng: rng.uniform(-1, 1, (2, side, side)))
    field = amount * ndimage.gaussian_filter(field, (0, 0, sigma, sigma), mode="reflect", truncate=3)
    return interpolate(x, rows + field[:, 1], cols + field[:, 0])


def pixelate(x: np.ndarray, rngs: Rngs, share: float) -> np.ndarray:
    """Shrink to a share of the side and enlarge again, averaging over boxes."""
    small, box = int(x.shape[-1] * share), Image.Resampling.BOX
    return pillow(x, lambda image: image.resize((small, small), box).resize(image.size, box))


def jpeg_compression(x: np.ndarray, rngs: Rngs, quality: int) -> np.ndarray:
    """Write as JPEG and read again."""

    def compressed(image: Image.Image) -> Image.Image:
        image.save(buffer := io.BytesIO(), "JPEG", quality=quality)
        return Image.open(buffer)

    return pillow(x, compressed)


CORRUPTIONS = {
    function.__name__: function
    for function in (
        gaussian_noise,
        shot_noise,
        impulse_noise,
        defocus_blur,
        glass_blur,
        motion_blur,
        zoom_blur,
        snow,
        frost,
        fog,
        brightness,
        contrast,
        elastic_transform,
        pixelate,
        jpeg_compression,
    )
}
GROUPS = {
    "noise": ("gaussian_noise", "shot_noise", "impulse_noise"),
    "blur": ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"),
    "weather": ("snow", "frost", "fog", "brightness"),
    "digital": ("contrast", "elastic_transform", "pixelate", "jpeg_compression"),
}
SEVERITIES = (1, 2, 3, 4, 5)
BATCH = 500  # images at a time; bounds the memory, changes no pixel


def corrupt(
    images: torch.Tensor, name: str, severity: int, *, seed: int, indices: torch.Tensor | None = None
) -> torch.Tensor:
    """Return corrupted images; each depends on itself, the seed and its index alone.

    Args:
        images: float32 (N, C, S, S) in [0, 1], see ``check_images``; taken at 8 bit, as the original's are.
        name: a key of ``CORRUPTIONS``; severity: 1 .. 5, 5 the worst; seed: not negative.
        indices: int64 (N,), the images' places in the set they were taken from; absent, 0 .. N - 1.

    Returns:
        float32 (N, C, S, S) on 256 levels in [0, 1].

    Raises:
        ValueError: an unknown corruption, a severity outside 1 .. 5, or images or indices that are not as above.

    Source: Hendrycks and Dietterich 2019, section 3 and appendix B.
    """
    if name not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {name!r}; known are {', '.join(CORRUPTIONS)}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity is {severity!r}; allowed are 1 .. 5")
    check_images(images)
    if not len(images):
        raise ValueError("received no images; give at least one")
    indices = torch.arange(len(images)) if indices is None else indices
    if indices.shape != (len(images),):
        raise ValueError(f"received indices of shape {tuple(indices.shape)} for {len(images)} images; each needs one")
    constants = CONSTANTS[images.shape[-1]][name][severity - 1]
    parts = []
    for part, places in zip(to_uint8(images.cpu()).split(BATCH), indices.split(BATCH), strict=True):
        values = CORRUPTIONS[name](part.numpy() / 255, streams(name, seed, places.tolist()), *constants)
        # a level that survived unchanged must not fall by one because a sum of doubles ended just below it
        parts.append(np.floor(values.clip(0, 1) * 255 + 1e-6).astype(np.uint8))
    return from_uint8(torch.from_numpy(np.concatenate(parts))).to(images.device)
