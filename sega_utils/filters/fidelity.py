"""Fidelity: how far images are from others of the same size, image by image."""

import math

import torch
from torch.nn import functional as F

BEST = 100.0  # dB, of equal images: a record holds no infinity
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, the finest first
WINDOW, SIGMA = 11, 1.5  # pixels


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the peak signal-to-noise ratio of each image in ``a`` to the one in ``b``; higher is closer.

    Args:
        a, b: float32 (N, C, H, W) in [0, 1].

    Returns:
        float32 (N,) in dB, at most ``BEST``.

    Raises:
        ValueError: not such images, or two different shapes.
    """
    check(a, b)
    return (-10 * (a - b).double().square().mean((1, 2, 3)).log10()).clamp(max=BEST).float()


def scales_of(side: int) -> int:
    """Return how many scales ``ms_ssim`` has for images of a side: two at 32 pixels, three at 64, five above 160.

    Raises:
        ValueError: the side is smaller than the window.
    """
    if side < WINDOW:
        raise ValueError(f"the side is {side} pixels; MS-SSIM needs at least {WINDOW}")
    fits = lambda m: side > (WINDOW - 1) * (m - 1) ** 2 and side >> (m - 1) > WINDOW // 2
    return max(filter(fits, range(1, len(WEIGHTS) + 1)))


def ms_ssim(a: torch.Tensor, b: torch.Tensor, *, scales: int = 0) -> torch.Tensor:
    """Return the structural similarity over several scales of each image in ``a`` to the one in ``b``.

    Args:
        a, b: float32 (N, C, S, S) in [0, 1].
        scales: 1 .. 5; 0 takes ``scales_of`` the side. The weights are the first of ``WEIGHTS``, made to sum to 1.

    Returns:
        float32 (N,) in [0, 1], 1 for equal images.

    Raises:
        ValueError: not such images, two different shapes, or more scales than the side has.

    Source: Wang, Simoncelli and Bovik 2003, equation 7; windows at the border as in torchmetrics.
    """
    check(a, b)
    most = scales_of(a.shape[-1])
    if not 0 <= scales <= most:
        raise ValueError(f"scales is {scales}; {a.shape[-1]} pixels a side allow 1 .. {most}, or 0 for the most")
    weights, product = torch.tensor(WEIGHTS[: scales or most]), 1.0
    for i, weight in enumerate(weights / weights.sum()):
        whole, contrast = similarity(a, b)
        last = i == len(weights) - 1
        product = product * (whole if last else contrast).clamp(min=0) ** weight
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return product


def similarity(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the structural similarity, float32 (N,), and the part of it that contrast and structure have.

    The first is a mean over Gaussian windows about all pixels of the mirrored image, the second over those inside it.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, equations 12 and 13.
    """
    at, edge = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2, WINDOW // 2
    line = (-((at / SIGMA) ** 2) / 2).exp()
    window = (line[:, None] * line / line.sum() ** 2)[None, None]
    n, channels, *side = a.shape
    a, b = (F.pad(x, (edge,) * 4, mode="reflect") for x in (a, b))
    parts = torch.cat((a, b, a * a, b * b, a * b), 1).flatten(0, 1)[:, None]
    mean_a, mean_b, aa, bb, ab = F.conv2d(parts, window).view(n, 5, channels, *side).unbind(1)
    c1, c2 = 0.01**2, 0.03**2
    contrast = (2 * (ab - mean_a * mean_b) + c2) / ((aa - mean_a**2).clamp(min=0) + (bb - mean_b**2).clamp(min=0) + c2)
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    inside = contrast[..., edge:-edge, edge:-edge]
    return (light * contrast).mean((1, 2, 3)), inside.mean((1, 2, 3))


def check(a: torch.Tensor, b: torch.Tensor) -> None:
    """Refuse what are not two equally shaped sets of images.

    Raises:
        ValueError: the message says what was received and what is allowed.
    """
    if a.shape != b.shape or a.ndim != 4 or {a.dtype, b.dtype} != {torch.float32}:
        raise ValueError(
            f"a and b must both be float32 (N, C, H, W) of one shape; received {a.dtype} {tuple(a.shape)} and "
            f"{b.dtype} {tuple(b.shape)}: enlarge or shrink one with images.resize"
        )
    ends = [float(v) for x in (a, b) if x.numel() for v in x.aminmax()]
    if not all(0 <= v <= 1 and math.isfinite(v) for v in ends):
        raise ValueError(f"images must lie in [0, 1]; received {min(ends)} .. {max(ends)}: rescale, look for NaN")
