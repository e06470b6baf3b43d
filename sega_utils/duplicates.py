"""Near-duplicate search: perceptual hashes propose pairs, structural similarity confirms them."""

from collections.abc import Callable, Iterator

import torch

from sega_utils.kernels import C1, C2, WINDOWS, batched, check_images, mean_ssim, phash, signs

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
    above = batched(lambda i, j: _estimate(images[i], other[j], stats[i], other_stats[j]), i, j) - min_ssim
    unclear, similar = above.abs() <= _SLACK, above > 0
    if unclear.any():
        exact = batched(lambda i, j: mean_ssim(images[i], other[j]), i[unclear], j[unclear])
        similar[unclear] = exact >= min_ssim
    return similar


def close_hashes(
    left: torch.Tensor, right: torch.Tensor, *, max_distance: int, same: bool, size: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each pair of hashes within a distance once, a tile at a time.

    Hashes that differ in d bits agree on one of d + 1 blocks of bits. Sorted by a block, they need comparing only
    within runs of equal keys; where the runs are so long that one pass over all pairs is cheaper, that is made.

    Args:
        left, right: bool (N, 64) and (M, 64).
        max_distance: largest number of differing bits, 0 .. 64.
        same: ``right`` is ``left``; pairs i < j only.
        size: rows and columns of a tile; 0 takes what suits the device.

    Returns:
        Iterator over int64 (K,), (K,): indices into ``left`` and ``right``; at most size ** 2 pairs at a time.

    Source: Norouzi, Punjani and Fleet 2012 (multi-index hashing), with matrix products inside the runs.
    """
    size = size or (1024 if left.device.type == "cpu" else 8192)
    blocks = max_distance + 1
    indexed = [(pack(left[:, block::blocks]), pack(right[:, block::blocks])) for block in range(blocks)]
    unindexed = [(pack(left[:, :0]), pack(right[:, :0]))]  # no bits, one key: a single run
    plans = [[_tiles(*keys, size, same) for keys in choice] for choice in (unindexed, indexed)]
    work = [sum(int((tiles[:, 1] - tiles[:, 0]) @ (tiles[:, 3] - tiles[:, 2])) for *_, tiles in plan) for plan in plans]
    keys, plan = (indexed, plans[1]) if work[1] < work[0] else (unindexed, plans[0])
    left_keys, right_keys = (torch.stack(side) for side in zip(*keys))
    for block, (rows, columns, tiles) in enumerate(plan):
        a, b = signs(left[rows]), signs(right[columns])
        for start, stop, first, last in tiles.tolist():
            for at in range(first, last, size):
                i, j = torch.where(a[start:stop] @ b[at : min(at + size, last)].T >= 64 - 2 * max_distance)
                after = i + start < j + at if same else slice(None)
                i, j = rows[i[after] + start], columns[j[after] + at]
                equal = left_keys[: block + 1, i] == right_keys[: block + 1, j]
                new = equal[block] & (equal.sum(0) == 1)  # a pair belongs to the first block it agrees on
                i, j = i[new], j[new]
                if len(i):
                    yield (torch.minimum(i, j), torch.maximum(i, j)) if same else (i, j)


def _tiles(
    left_keys: torch.Tensor, right_keys: torch.Tensor, size: int, same: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return both orders sorted by key and int64 tiles (T, 4) of start, stop, first, last.

    Rows start .. stop of the left order have all their partners in columns first .. last of the right order.
    """
    rows, columns = left_keys.argsort(stable=True), right_keys.argsort(stable=True)
    left_keys, right_keys = left_keys[rows], right_keys[columns]
    start = torch.arange(0, len(rows), size, device=rows.device)
    stop = (start + size).clamp(max=len(rows))
    first = start if same else torch.searchsorted(right_keys, left_keys[start])
    last = torch.searchsorted(right_keys, left_keys[stop - 1], right=True)
    return rows, columns, torch.stack([start, stop, first, last], 1).cpu()


def pack(bits: torch.Tensor) -> torch.Tensor:
    """Return rows of up to 64 bits, bool (N, B), as int64 (N,)."""
    return (bits.long() << torch.arange(bits.shape[1], device=bits.device)).sum(1)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """Return what ``pack`` made of rows of 64 bits, bool (N, 64)."""
    return (packed[:, None] >> torch.arange(64, device=packed.device) & 1).bool()


def _check_thresholds(max_distance: int, min_ssim: float) -> None:
    if not isinstance(max_distance, int) or not 0 <= max_distance <= 64:
        raise ValueError(f"max_distance is {max_distance!r}; allowed are the whole numbers 0 .. 64")
    if not -1 <= min_ssim <= 1:
        raise ValueError(f"min_ssim is {min_ssim!r}; allowed are -1 .. 1")


def _statistics(images: torch.Tensor) -> torch.Tensor:
    """Return the means and the variances + C2 / 2 of all windows, float32 (N, 2, C, 26, 26)."""
    mean = _window(images)
    return torch.stack([mean, _window(images.square()).sub_(mean.square()).add_(C2 / 2)], 1)


def _estimate(a: torch.Tensor, b: torch.Tensor, stats_a: torch.Tensor, stats_b: torch.Tensor) -> torch.Tensor:
    """Return the SSIM in single precision, (N,), from the images and their statistics."""
    (mean_a, variance_a), (mean_b, variance_b) = stats_a.unbind(1), stats_b.unbind(1)
    means = (mean_a * mean_b).mul_(2).add_(C1)
    covariance = _window(a * b).mul_(2).add_(C1 + C2).sub_(means)
    squares = (mean_a - mean_b).square_().add_(means)
    return means.mul_(covariance).div_(squares.mul_(variance_a + variance_b)).mean((1, 2, 3))


def _window(maps: torch.Tensor) -> torch.Tensor:
    band = WINDOWS.to(maps)
    return (maps @ band).mT @ band
