"""Which of very many pairs of images are similar: SSIM, summed over bands of windows until that is decided."""

import math
from functools import cache

import torch

from sega_utils.data.images import batch_size, batched
from sega_utils.filters.kernels import C1, C2, mean_ssim

_SLACK = 0.005  # several times the worst error of a similarity in float32; inside it, the whole SSIM decides


def bands_of(images: torch.Tensor) -> list[torch.Tensor]:
    """Return what comparing each of ``_cuts`` takes: pixels, windows' means, and variances + C2 / 2.

    Args:
        images: float32 (N, C, S, S).

    Returns:
        float32 (N, C * ((height + 6) * S + 2 * height * (S - 6))) for each band; an image's are in one row.
    """
    channels, side = images.shape[1], images.shape[-1]

    def cut(images: torch.Tensor) -> torch.Tensor:
        mean = _window(images)
        variance = _window(images.square()).sub_(mean.square()).add_(C2 / 2)
        return torch.cat(
            [
                part.flatten(1)
                for start, stop in _cuts(side)
                for part in (images[:, :, start : stop + 6], mean[:, :, start:stop], variance[:, :, start:stop])
            ],
            1,
        )

    heights = [stop - start for start, stop in _cuts(side)]
    lengths = [channels * ((height + 6) * side + 2 * height * (side - 6)) for height in heights]
    return list(batched(cut, images).split(lengths, 1))


def similar_pairs(
    images: torch.Tensor,
    other: torch.Tensor,
    bands: list[torch.Tensor],
    other_bands: list[torch.Tensor],
    i: torch.Tensor,
    j: torch.Tensor,
    min_ssim: float,
) -> torch.Tensor:
    """Return of which pairs of rows, (K,) each, the SSIM is at least ``min_ssim``; bool (K,).

    It is a mean over windows, of which none is above 1: a pair is left once the bands so far rule it out.
    """
    if min_ssim == -1 or not len(i):
        return torch.ones_like(i, dtype=torch.bool)
    # by how much a pair is above the threshold, if all windows that were not compared yet are equal
    above = torch.full(i.shape, 1.0 - min_ssim, device=i.device)
    shape = images.shape[1:]
    for (start, stop), left, right in zip(_cuts(shape[-1]), bands, other_bands, strict=True):
        hopeful = torch.nonzero(above >= -_SLACK)[:, 0]
        lost = _losses(left, right, i[hopeful], j[hopeful], height=stop - start, shape=shape)
        above[hopeful] -= lost
    unclear, similar = above.abs() <= _SLACK, above > 0
    if unclear.any():
        exact = batched(lambda i, j: mean_ssim(images[i], other[j]), i[unclear], j[unclear], size=4096)
        similar[unclear] = exact >= min_ssim
    return similar


def _cuts(side: int) -> tuple[tuple[int, int], ...]:
    """Return the bands of rows of windows, of which a side has 6 less than pixels; first where images differ most."""
    first, second = ((side - 6) * share // 26 for share in (8, 18))
    return (first, second), (second, side - 6), (0, first)


def _losses(
    left: torch.Tensor,
    right: torch.Tensor,
    i: torch.Tensor,
    j: torch.Tensor,
    *,
    height: int,
    shape: tuple[int, int, int],
) -> torch.Tensor:
    """Return by how much a band keeps the SSIM of pairs below 1, in single precision, float32 (K,).

    Args:
        left, right: one of ``bands_of``, of both sets; i, j: int64 (K,), rows of the one and the other.
        height: of the band, in windows; shape: of an image.

    Hashes may propose a hundred pairs an image: all batches share their memory, which so stays in the cache.
    """
    channels, side, _ = shape
    windows = side - 6
    size = batch_size(left.device) * windows // height * 32 * 32 // (side * side)
    across = _windows(side).to(left)
    down = across[: height + 6, :height].T
    c1, both = left.new_tensor((C1, C1 + C2))
    pixels, maps = (channels, height + 6, side), (channels, height, windows)
    n_pixels, n_maps = math.prod(pixels), math.prod(maps)
    shapes = [left.shape[1:]] * 2 + [pixels, (channels, height + 6, windows), maps, maps]
    buffers = [left.new_empty(size, *shape) for shape in shapes]
    result = left.new_empty(len(i))
    for found, x, y in zip(result.split(size), i.split(size), j.split(size), strict=True):
        a, b, product, rows, covariance, means = (buffer[: len(x)] for buffer in buffers)
        torch.index_select(left, 0, x, out=a)
        torch.index_select(right, 0, y, out=b)
        (a, mean_a, variance_a), (b, mean_b, variance_b) = (
            [
                part.unflatten(1, shape)
                for part, shape in zip(rows_of.split((n_pixels, n_maps, n_maps), 1), (pixels, maps, maps), strict=True)
            ]
            for rows_of in (a, b)
        )
        torch.addcmul(both, a, b, value=2, out=product)
        torch.mm(product.view(-1, side), across, out=rows.view(-1, windows))
        torch.bmm(
            down.expand(len(x) * channels, *down.shape),
            rows.view(-1, *rows.shape[2:]),
            out=covariance.view(-1, *covariance.shape[2:]),
        )
        torch.addcmul(c1, mean_a, mean_b, value=2, out=means)
        squares = mean_a.sub_(mean_b).square_().add_(means)
        similarity = covariance.sub_(means).mul_(means).div_(variance_a.add_(variance_b).mul_(squares))
        torch.sum(similarity, (1, 2, 3), out=found)
    return (n_maps - result) / (channels * windows * windows)


def _window(maps: torch.Tensor) -> torch.Tensor:
    band = _windows(maps.shape[-1]).to(maps)
    return band.T @ (maps @ band)


@cache
def _windows(side: int) -> torch.Tensor:
    """Return float32 (side, side - 6) whose column k averages the k-th of the windows of 7 neighbours along a side."""
    return ((torch.arange(side)[:, None] - torch.arange(side - 6)) // 7 == 0).float() / 7
