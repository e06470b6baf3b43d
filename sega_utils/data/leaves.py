"""Dead leaves: images of random shapes that lie upon each other, as many as one asks for, from a seed and no photo."""

import math
from functools import lru_cache

import torch

from sega_utils.core import runtime

LEAVES = 150  # of an image, of which the first ones are hidden in the end
SMALLEST, LARGEST = 1 / 16, 1 / 2  # radius as a share of the side
CORNERS = (0, 3, 4)  # of the shapes, in turn; one without corners is a disc


def radii(u: torch.Tensor, *, low: float, high: float) -> torch.Tensor:
    """Return radii whose density falls as their third power between two limits, of uniform numbers u in [0, 1).

    Source: Lee, Mumford and Huang 2001, section 4: shapes look alike at every scale.
    """
    return (low**-2 - u * (low**-2 - high**-2)) ** -0.5


def covered(
    down: torch.Tensor, right: torch.Tensor, radius: torch.Tensor, turn: torch.Tensor, corners: int
) -> torch.Tensor:
    """Return which pixels a shape covers, bool (N, S, S).

    Args:
        down, right: float (N, S, S), a pixel's place beside the shape's centre. radius: float (N, 1, 1), to the
            middle of a side. turn: float (N, 1, 1), in radians. corners: 0 for a disc, or 3 and more.
    """
    if not corners:
        return down.square() + right.square() <= radius.square()
    angles = [turn + 2 * math.pi * side / corners for side in range(corners)]
    return torch.stack([right * angle.cos() + down * angle.sin() <= radius for angle in angles]).all(0)


@lru_cache(maxsize=4)
def dead_leaves(n: int, *, channels: int, side: int, seed: int = 0, device: torch.device | str = "cpu") -> torch.Tensor:
    """Return images float32 (n, channels, side, side) in [0, 1] of discs, triangles and squares in random colours.

    Args:
        seed: all of it; the same on every device, as it is drawn on the CPU.

    Source: Baradad et al. 2021, section 3.1.
    """
    rng = runtime.generator(seed)
    draw = lambda *shape: torch.rand(n, *shape, generator=rng)
    images, at = draw(channels, 1, 1).repeat(1, 1, side, side), torch.arange(side).float()
    for leaf in range(LEAVES):
        centre = draw(2, 1, 1) * side
        down, right = (at[:, None] - centre[:, 0]).expand(n, side, side), (at - centre[:, 1]).expand(n, side, side)
        radius = radii(draw(1, 1), low=SMALLEST * side, high=LARGEST * side)
        inside = covered(down, right, radius, 2 * math.pi * draw(1, 1), CORNERS[leaf % len(CORNERS)])
        images = torch.where(inside[:, None], draw(channels, 1, 1), images)
    return images.to(device)
