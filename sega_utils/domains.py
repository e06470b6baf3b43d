"""Shifts of a whole data set, of our own where the poster names none.

Each takes images float32 (N, C, S, S) in [0, 1] and a seed and returns as many such images; what is random in an
image comes from (seed, its index, the shift).
"""

import numpy as np
import torch
from scipy import ndimage

from sega_utils.kernels import check_images
from sega_utils.pixels import streams


def inverted(images: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Return the photometric negatives, 1 - x: the same shapes on white ground; the seed is not needed.

    Raises:
        ValueError: not images, see ``kernels.check_images``.
    """
    check_images(images)
    return 1 - images


def cluttered(images: torch.Tensor, *, seed: int, strength: float = 0.5, dark: float = 0.04) -> torch.Tensor:
    """Return images whose black background is filled with pieces of other images of the set; the object stays.

    Sixteen squares, each cut at random from another random image, tile the background. The object is
    what is brighter than ``dark``, and what it encloses.

    Args:
        images: float32 (N, C, S, S) in [0, 1], at least two, objects on black.
        strength: what the pieces are multiplied by, 0 .. 1.

    Raises:
        ValueError: not such images, or one without background.
    """
    check_images(images)
    n, channels, side, _ = images.shape
    tile = side // 4
    in_plane = ndimage.generate_binary_structure(3, 1) & (np.arange(3) == 1)[:, None, None]
    objects = ndimage.binary_fill_holes(images.amax(1).cpu().numpy() > dark, in_plane)
    if n < 2 or objects.all((1, 2)).any():
        full = objects.all((1, 2)).sum()
        raise ValueError(f"received {n} images, {full} of them without a black background; cluttered needs at least "
                         "two images, all of objects on black")  # fmt: skip
    rngs = streams("cluttered", seed, range(n))
    donors = (np.arange(n)[:, None] + np.stack([rng.integers(1, n, 16) for rng in rngs])) % n
    corners = np.stack([rng.integers(0, side - tile + 1, (2, 16)) for rng in rngs])
    rows, cols = (corners[:, axis, :, None] + np.arange(tile) for axis in (0, 1))
    pieces = images.cpu().numpy()[donors[:, :, None, None], :, rows[..., None], cols[:, :, None]]
    clutter = pieces.reshape(n, 4, 4, tile, tile, channels).transpose(0, 5, 1, 3, 2, 4).reshape(images.shape)
    mixed = np.where(objects[:, None], images.cpu().numpy(), strength * clutter).astype(np.float32)
    return torch.from_numpy(mixed).to(images.device)


# data set: shift: function of its test images and a seed
SHIFTS = {"fashion-mnist": {"inverted": inverted, "cluttered": cluttered}}
