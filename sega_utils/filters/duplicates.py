"""Near-duplicate search: perceptual hashes propose pairs, structural similarity confirms them."""

from collections.abc import Callable

import torch

from sega_utils.data.images import check_pair
from sega_utils.filters.bands import bands_of, similar_pairs
from sega_utils.filters.hashes import close_hashes, unpack
from sega_utils.filters.kernels import phash

_PAIRS = 4096  # after so many pairs, those of new copies are left out


def near_duplicates(
    images: torch.Tensor, *, max_distance: int, min_ssim: float, against: torch.Tensor | None = None
) -> torch.Tensor:
    """Find every pair of images that is close in both pHash and SSIM.

    Hashes propose, SSIM confirms: by a quicker sum over windows, and by ``ssim`` where that could decide otherwise.

    Args:
        images: float32 (N, C, S, S) in [0, 1], see ``images.check_images``.
        max_distance: largest Hamming distance of the hashes, 0 .. 64.
        min_ssim: smallest SSIM, -1 .. 1; -1 leaves the decision to the hashes.
        against: a second set; None compares the images with each other.

    Returns:
        int64 (K, 2), sorted: i < j within one set, or i in ``images`` and j in ``against``.

    Raises:
        ValueError: not such images, different channels or sides, or a threshold outside its range.
    """
    other = images if against is None else against
    check_pair(images, other)
    _check_thresholds(max_distance, min_ssim)

    left = phash(images)
    right = left if against is None else phash(other)
    bands = bands_of(images) if min_ssim > -1 else []
    other_bands = bands_of(other) if min_ssim > -1 and against is not None else bands
    found = [torch.empty(0, 2, dtype=torch.int64, device=images.device)]
    for i, j in close_hashes(left, right, max_distance=max_distance, same=against is None):
        similar = similar_pairs(images, other, bands, other_bands, i, j, min_ssim)
        found.append(torch.stack([i[similar], j[similar]], 1))
    pairs = torch.cat(found)
    return pairs[(pairs[:, 0] * len(other) + pairs[:, 1]).argsort()]


def better_copies(
    hashes: torch.Tensor,
    scores: torch.Tensor,
    read: Callable[[torch.Tensor], torch.Tensor],
    *,
    max_distance: int,
    min_ssim: float,
    stripe: int = 20_000,
) -> torch.Tensor:
    """Return, for each image, the first better-scored and kept one that it is a near-duplicate of.

    From the best score down, what is not a copy of a kept image is kept. Images are taken a stripe at a time, first
    against itself, then against all that remain, a stripe at a time: memory does not grow with their number but for
    the hashes, and what is known to be a copy is compared no more.

    Args:
        hashes: int64 (N,), from ``pack(phash(images))``.
        scores: (N,), higher is better; of equally scored images the first is the better.
        read: returns the images of ascending indices int64 (K,) as float32 (K, C, S, S) in [0, 1], K <= 2 * stripe.
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
            close = [
                torch.stack(pair, 1) for pair in close_hashes(*bits, max_distance=max_distance, same=right is head)
            ]
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
    bands = bands_of(images)
    for pairs in at.split(_PAIRS):
        i, j = pairs[(copies[rows[pairs]] < 0).all(1)].T
        similar = similar_pairs(images, images, bands, bands, i, j, min_ssim)
        found: dict[int, int] = {}
        for better, worse in zip(i[similar].tolist(), j[similar].tolist(), strict=True):
            if better not in found:
                found.setdefault(worse, better)
        worse, better = (
            torch.tensor(list(side), dtype=torch.int64, device=rows.device) for side in (found, found.values())
        )
        copies[rows[worse]] = rows[better]


def _check_thresholds(max_distance: int, min_ssim: float) -> None:
    if not isinstance(max_distance, int) or not 0 <= max_distance <= 64:
        raise ValueError(f"max_distance is {max_distance!r}; allowed are the whole numbers 0 .. 64")
    if not -1 <= min_ssim <= 1:
        raise ValueError(f"min_ssim is {min_ssim!r}; allowed are -1 .. 1")
