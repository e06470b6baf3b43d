"""Policies that treat each channel of an image as a measured curve: smoothing, fluctuation and Haar thresholds.

The paper augments curves that were measured in wells; a channel of an image is a curve here. It has five operations, of
which these are A, B and E, and combines them in sequence or as images of their own.

Source: A Data Augmentation Approach for Well Log Interpretation (ICPR 2024).
"""

import math
from collections.abc import Callable

import torch
from torch.nn import functional as F

from sega_utils.data import policies

CURVES = 6  # of the paper's wells: what it takes for m
ROUNDING = 1e-6  # far below a grey level of 8 bits, far above what a sum of four leaves
HAAR = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2  # its own inverse


def smooth(images: torch.Tensor) -> torch.Tensor:
    """Return images whose pixels are the mean of the 3 x 3 around them, at an edge of those that there are.

    Args:
        images: float (N, C, S, S).

    Source: operation A; the size of the box is unsaid, ours is 3.
    """
    return F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


def fluctuate(images: torch.Tensor, *, m: int = CURVES) -> torch.Tensor:
    """Return images with more contrast, (m + 1) / m times what is above a channel's mean, (m - 1) / m times the rest.

    A channel stays as it is if its range is not above its mean.

    Args:
        images: float (N, C, S, S) in [0, 1]; what comes out may be above 1.
        m: number of curves, 1 or more; the more, the weaker.

    Raises:
        ValueError: m below 1.

    Source: operation B.
    """
    if m < 1:
        raise ValueError(f"m is {m}; allowed is 1 or more, the paper has {CURVES}")
    mean = images.mean((2, 3), keepdim=True)
    wide = images.amax((2, 3), keepdim=True) - images.amin((2, 3), keepdim=True) > mean
    factor = torch.where(images > mean, (m + 1) / m, (m - 1) / m)
    return torch.where(wide, images * factor, images)


def haar(images: torch.Tensor) -> torch.Tensor:
    """Return the Haar transform of one level, float (N, C, 4, S / 2, S / 2).

    The four bands are twice the means of 2 x 2 pixels, then differences of columns, of rows, and of diagonals.

    Args:
        images: float (N, C, S, S), S even.

    Raises:
        ValueError: an odd side.
    """
    if images.shape[-1] % 2 or images.shape[-2] % 2:
        raise ValueError(f"images are {images.shape[-2]} x {images.shape[-1]}; a Haar transform takes even sides")
    return _transformed(F.pixel_unshuffle(images, 2).unflatten(1, (-1, 4)))


def unhaar(bands: torch.Tensor) -> torch.Tensor:
    """Return the images (N, C, S, S) whose Haar transform is given, float (N, C, 4, S / 2, S / 2)."""
    return F.pixel_shuffle(_transformed(bands).flatten(1, 2), 2)


def _transformed(parts: torch.Tensor) -> torch.Tensor:
    return torch.einsum("pq,ncqhw->ncphw", HAAR.to(parts), parts)


def universal(details: torch.Tensor, *, values: int, level: int = 1) -> torch.Tensor:
    """Return the threshold of each row of details: what noise of their size stays below, float (...).

    It is median |detail| sqrt(2 ln values) / (0.6745 log2(level + 1)), and 0 of no details.

    Args:
        details: float (..., K). The median leaves out those that are 0: of blank ground, which measured curves have
            none of, there is so much in images of clothes and digits that it would be 0 and change nothing (ours).
        values: in the curve, 1 or more. level: of the transform, 1 or more.

    Raises:
        ValueError: values or level below 1.

    Source: operation E; Donoho and Johnstone 1994 without its last factor.
    """
    if values < 1 or level < 1:
        raise ValueError(f"values and level are {values} and {level}; allowed is 1 or more")
    size = details.abs()
    median = size.masked_fill(size < ROUNDING, torch.nan).nanmedian(-1).values.nan_to_num(0.0)
    return median * math.sqrt(2 * math.log(values)) / (0.6745 * math.log2(level + 1))


def threshold(images: torch.Tensor, lam: torch.Tensor | None = None) -> torch.Tensor:
    """Return images whose details of one Haar level are moved towards 0, by a threshold at most.

    Args:
        images: float (N, C, S, S) in [0, 1], S even.
        lam: the thresholds, float (N, C), 0 or more; those of ``universal`` if absent, by the differences of diagonals.

    Source: operation E; which details of an image give the threshold is unsaid, ours are those of diagonals, which
        edges along rows and columns do not reach.
    """
    means, details = haar(images).split([1, 3], 2)
    if lam is None:
        lam = universal(details[:, :, 2].flatten(2), values=images.shape[-1] * images.shape[-2])
    most = lam[:, :, None, None, None]
    return unhaar(torch.cat((means, details - details.clamp(-most, most)), 2)).clamp(0, 1)


def separate(images: torch.Tensor) -> torch.Tensor:
    """Return for each image itself, its smoothed or its thresholded form, as chance has it: as likely each.

    The paper joins all to its set, which so takes more steps an epoch; here the steps stay the same.
    """
    return policies.one_of(images, smooth(images), threshold(images))


POLICIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "smoothed": smooth,
    "fluctuated": lambda images: fluctuate(images).clamp(0, 1),
    "thresholded": threshold,
    "time and frequency": lambda images: threshold(smooth(images)),
    "separately": separate,
}
