"""Near-duplicate search: perceptual hashes propose pairs, structural similarity confirms them."""

from collections.abc import Callable

import torch

from sega_utils.hashes import close_hashes, unpack
from sega_utils.kernels import C1, C2, WINDOWS, batch_size, batched, check_images, mean_ssim, phash

_PAIRS = 4096  # after so many pairs, those of new copies are left out
_SLACK = 0.005  # several times the worst error of a similarity in float32; inside it, float64 decides


def near_duplicates(
    images: torch.Tensor, *, max_distance: int, min_ssim: float, against: torch.Tensor | None = None
) -> torch.Tensor:
    """Find every pair of images that is close in both pHash and SSIM.

    Hashes propose, SSIM confirms: in single precision, and in double precision where that could decide otherwise.

    Args:
        images: float32 (N, C, 32, 32) in [0, 1], C = 1 or 3.
        max_distance: largest Hamming distance of the hashes, 0 .. 64.
        min_ssim: smallest SSIM, -1 .. 1; -1 leaves the decision to the hashes.
        against: a second set; None compares the images with each other.

    Returns:
        int64 (K, 2), sorted: i < j within one set, or i in ``images`` and j in ``against``.

    Raises:
        ValueError: not such images, different channels, or a threshold outside its range.
    """
    other = images if against is None else against
    check_images(images)
    check_images(other, "against")
    if images.shape[1] != other.shape[1]:
        raise ValueError(f"both sets must have the same channels; received {images.shape[1]} and {other.shape[1]}")
    _check_thresholds(max_distance, min_ssim)

    left = phash(images)
    right = left if against is None else phash(other)
    stats = batched(_statistics, images)
    other_stats = stats if against is None else batched(_statistics, other)
    found = [torch.empty(0, 2, dtype=torch.int64, device=images.device)]
    for i, j in close_hashes(left, right, max_distance=max_distance, same=against is None):
        similar = _similar(images, other, stats, other_stats, i, j, min_ssim)
        found.append(torch.stack([i[similar], j[similar]], 1))
    pairs = torch.cat(found)
    return pairs[(pairs[:, 0] * len(other) + pairs[:, 1]).argsort()]


def better_copies(
    hashes: torch.Tensor, scores: torch.Tensor, read: Callable[[torch.Tensor], torch.Tensor], *, max_distance: int,
    min_ssim: float, stripe: int = 20_000,
) -> torch.Tensor:  # fmt: skip
    """Return, for each image, the first better-scored and kept one that it is a near-duplicate of.

    From the best score down, what is not a copy of a kept image is kept. Images are taken a stripe at a time, first
    against itself, then against all that remain, a stripe at a time: memory does not grow with their number but for
    the hashes, and what is known to be a copy is compared no more.

    Args:
        hashes: int64 (N,), from ``pack(phash(images))``.
        scores: (N,), higher is better; of equally scored images the first is the better.
        read: returns the images of ascending indices int64 (K,) as float32 (K, C, 32, 32) in [0, 1], K <= 2 * stripe.
        max_distance, min_ssim: as for ``near_duplicates``.
        stripe: how many images are compared with how many others at a time.

    Returns:
        int64 (N,), an index or -1 for what is kept; the same for every ``stripe``.

    Raises:
        ValueError: a threshold outside its range.
    """
    _check_thresholds(max_distance, min_ssim)
    copies = torch.full((len(scores),), -1, device=scores.device)
    order = scores.argsort(descending=True, stable=True)
    while len(order):
        head, rest = order[:stripe], order[stripe:]
        for right in (head, *rest.split(stripe)):
            left = head[copies[head] < 0]
            bits = unpack(hashes[left]), unpack(hashes[right])
            close = [torch.stack(pair, 1) for pair in close_hashes(*bits, max_distance=max_distance,
                                                                   same=right is head)]  # fmt: skip
            i, j = torch.cat([torch.empty(0, 2, dtype=torch.int64, device=scores.device), *close]).T
            i, j = (side[(i * len(right) + j).argsort()] for side in (i, j))
            _follow(copies, torch.stack([left[i], right[j]], 1), read, min_ssim)
        order = rest[copies[rest] < 0]
    return copies


def _follow(copies: torch.Tensor, pairs: torch.Tensor, read: Callable, min_ssim: float) -> None:
    """Enter into ``copies`` what close pairs (K, 2) of better and worse mean, sorted by the better one's rank."""
    if not len(pairs):
        return
    rows, at = pairs.unique(return_inverse=True)
    images = read(rows)
    stats = batched(_statistics, images)
    for pairs in at.split(_PAIRS):
        i, j = pairs[(copies[rows[pairs]] < 0).all(1)].T
        similar = _similar(images, images, stats, stats, i, j, min_ssim)
        found: dict[int, int] = {}
        for better, worse in zip(i[similar].tolist(), j[similar].tolist(), strict=True):
            if better not in found:
                found.setdefault(worse, better)
        worse, better = (torch.tensor(list(side), dtype=torch.int64, device=rows.device)
                         for side in (found, found.values()))  # fmt: skip
        copies[rows[worse]] = rows[better]


def _similar(
    images: torch.Tensor, other: torch.Tensor, stats: torch.Tensor, other_stats: torch.Tensor, i: torch.Tensor,
    j: torch.Tensor, min_ssim: float,
) -> torch.Tensor:  # fmt: skip
    """Return of which pairs of rows, (K,) each, the SSIM is at least ``min_ssim``; bool (K,)."""
    if min_ssim == -1 or not len(i):
        return torch.ones_like(i, dtype=torch.bool)
    above = _estimates(images, other, stats, other_stats, i, j) - min_ssim
    unclear, similar = above.abs() <= _SLACK, above > 0
    if unclear.any():
        exact = batched(lambda i, j: mean_ssim(images[i], other[j]), i[unclear], j[unclear], size=4096)
        similar[unclear] = exact >= min_ssim
    return similar


def _check_thresholds(max_distance: int, min_ssim: float) -> None:
    if not isinstance(max_distance, int) or not 0 <= max_distance <= 64:
        raise ValueError(f"max_distance is {max_distance!r}; allowed are the whole numbers 0 .. 64")
    if not -1 <= min_ssim <= 1:
        raise ValueError(f"min_ssim is {min_ssim!r}; allowed are -1 .. 1")


def _statistics(images: torch.Tensor) -> torch.Tensor:
    """Return the means and the variances + C2 / 2 of all windows, float32 (N, 2, C, 26, 26)."""
    mean = _window(images)
    return torch.stack([mean, _window(images.square()).sub_(mean.square()).add_(C2 / 2)], 1)


def _estimates(
    images: torch.Tensor, other: torch.Tensor, stats: torch.Tensor, other_stats: torch.Tensor, i: torch.Tensor,
    j: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """Return the SSIM of pairs of rows in single precision, float32 (K,), near -1 .. 1.

    Args:
        images, other: float32 (N, C, 32, 32) and (M, C, 32, 32); ``stats``, ``other_stats``: their ``_statistics``.
        i, j: int64 (K,), rows of the one and the other.

    Hashes may propose a hundred pairs an image: all batches share their memory, which so stays in the cache.
    """
    size, channels = batch_size(images.device), images.shape[1]
    band, (c1, both) = WINDOWS.to(images), images.new_tensor((C1, C1 + C2))
    shapes = [(channels, 32, 32)] * 2 + [(2, channels, 26, 26)] * 2 + [(channels, 32, 26)] + [(channels, 26, 26)] * 2
    buffers = [images.new_empty(size, *shape) for shape in shapes]
    result = images.new_empty(len(i))
    for found, x, y in zip(result.split(size), i.split(size), j.split(size), strict=True):
        a, b, stats_a, stats_b, rows, covariance, means = (buffer[: len(x)] for buffer in buffers)
        for rows_of, index, part in ((images, x, a), (other, y, b), (stats, x, stats_a), (other_stats, y, stats_b)):
            torch.index_select(rows_of, 0, index, out=part)
        (mean_a, variance_a), (mean_b, variance_b) = stats_a.unbind(1), stats_b.unbind(1)
        torch.addcmul(both, a, b, value=2, out=a)
        torch.mm(a.view(-1, 32), band, out=rows.view(-1, 26))
        torch.bmm(rows.view(-1, 32, 26).mT, band.expand(len(x) * channels, 32, 26), out=covariance.view(-1, 26, 26))
        torch.addcmul(c1, mean_a, mean_b, value=2, out=means)
        squares = mean_a.sub_(mean_b).square_().add_(means)
        maps = covariance.sub_(means).mul_(means).div_(variance_a.add_(variance_b).mul_(squares))
        torch.mean(maps, (1, 2, 3), out=found)
    return result


def _window(maps: torch.Tensor) -> torch.Tensor:
    band = WINDOWS.to(maps)
    return (maps @ band).mT @ band
