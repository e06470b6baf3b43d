"""Near-duplicate search: perceptual hashes propose pairs, structural similarity confirms them."""

import math
from collections.abc import Callable

import torch

from sega_utils.hashes import close_hashes, unpack
from sega_utils.kernels import C1, C2, batch_size, batched, check_images, mean_ssim, phash

# Column k averages the k-th of the 26 windows of 7 neighbours that fit into 32 pixels.
_WINDOWS = ((torch.arange(32)[:, None] - torch.arange(26)) // 7 == 0).float() / 7
_BANDS = ((8, 18), (18, 26), (0, 8))  # of the 26 rows of windows; where images differ most comes first
_PAIRS = 4096  # after so many pairs, those of new copies are left out
_SLACK = 0.005  # several times the worst error of a similarity in float32; inside it, the whole SSIM decides


def near_duplicates(
    images: torch.Tensor, *, max_distance: int, min_ssim: float, against: torch.Tensor | None = None
) -> torch.Tensor:
    """Find every pair of images that is close in both pHash and SSIM.

    Hashes propose, SSIM confirms: by a quicker sum over windows, and by ``ssim`` where that could decide otherwise.

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
    bands = _bands(images) if min_ssim > -1 else []
    other_bands = _bands(other) if min_ssim > -1 and against is not None else bands
    found = [torch.empty(0, 2, dtype=torch.int64, device=images.device)]
    for i, j in close_hashes(left, right, max_distance=max_distance, same=against is None):
        similar = _similar(images, other, bands, other_bands, i, j, min_ssim)
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
    bands = _bands(images)
    for pairs in at.split(_PAIRS):
        i, j = pairs[(copies[rows[pairs]] < 0).all(1)].T
        similar = _similar(images, images, bands, bands, i, j, min_ssim)
        found: dict[int, int] = {}
        for better, worse in zip(i[similar].tolist(), j[similar].tolist(), strict=True):
            if better not in found:
                found.setdefault(worse, better)
        worse, better = (torch.tensor(list(side), dtype=torch.int64, device=rows.device)
                         for side in (found, found.values()))  # fmt: skip
        copies[rows[worse]] = rows[better]


def _similar(
    images: torch.Tensor, other: torch.Tensor, bands: list[torch.Tensor], other_bands: list[torch.Tensor],
    i: torch.Tensor, j: torch.Tensor, min_ssim: float,
) -> torch.Tensor:  # fmt: skip
    """Return of which pairs of rows, (K,) each, the SSIM is at least ``min_ssim``; bool (K,).

    It is a mean over windows, of which none is above 1: a pair is left once the bands so far rule it out.
    """
    if min_ssim == -1 or not len(i):
        return torch.ones_like(i, dtype=torch.bool)
    # by how much a pair is above the threshold, if all windows that were not compared yet are equal
    above = torch.full(i.shape, 1.0 - min_ssim, device=i.device)
    for (start, stop), left, right in zip(_BANDS, bands, other_bands, strict=True):
        hopeful = torch.nonzero(above >= -_SLACK)[:, 0]
        lost = _losses(left, right, i[hopeful], j[hopeful], height=stop - start, channels=images.shape[1])
        above[hopeful] -= lost
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


def _bands(images: torch.Tensor) -> list[torch.Tensor]:
    """Return what comparing each of ``_BANDS`` takes: pixels, windows' means, and variances + C2 / 2.

    Args:
        images: float32 (N, C, 32, 32).

    Returns:
        float32 (N, C * ((height + 6) * 32 + 2 * height * 26)) for each band; an image's are in one row.
    """
    def cut(images: torch.Tensor) -> torch.Tensor:
        mean = _window(images)
        variance = _window(images.square()).sub_(mean.square()).add_(C2 / 2)
        return torch.cat([part.flatten(1) for start, stop in _BANDS for part in
                          (images[:, :, start : stop + 6], mean[:, :, start:stop], variance[:, :, start:stop])], 1)  # fmt: skip

    lengths = [images.shape[1] * ((stop - start + 6) * 32 + 2 * (stop - start) * 26) for start, stop in _BANDS]
    return list(batched(cut, images).split(lengths, 1))


def _losses(
    left: torch.Tensor, right: torch.Tensor, i: torch.Tensor, j: torch.Tensor, *, height: int, channels: int
) -> torch.Tensor:  # fmt: skip
    """Return by how much a band keeps the SSIM of pairs below 1, in single precision, float32 (K,).

    Args:
        left, right: one of ``_bands``, of both sets; i, j: int64 (K,), rows of the one and the other.
        height: of the band, in windows.

    Hashes may propose a hundred pairs an image: all batches share their memory, which so stays in the cache.
    """
    size = batch_size(left.device) * 26 // height
    across, down = _WINDOWS.to(left), _WINDOWS[: height + 6, :height].T.to(left)
    c1, both = left.new_tensor((C1, C1 + C2))
    pixels, maps = (channels, height + 6, 32), (channels, height, 26)
    n_pixels, n_maps = math.prod(pixels), math.prod(maps)
    shapes = [left.shape[1:]] * 2 + [pixels, (channels, height + 6, 26), maps, maps]
    buffers = [left.new_empty(size, *shape) for shape in shapes]
    result = left.new_empty(len(i))
    for found, x, y in zip(result.split(size), i.split(size), j.split(size), strict=True):
        a, b, product, rows, covariance, means = (buffer[: len(x)] for buffer in buffers)
        torch.index_select(left, 0, x, out=a)
        torch.index_select(right, 0, y, out=b)
        (a, mean_a, variance_a), (b, mean_b, variance_b) = (
            [part.unflatten(1, shape) for part, shape in zip(side.split((n_pixels, n_maps, n_maps), 1),
                                                             (pixels, maps, maps), strict=True)]
            for side in (a, b)
        )  # fmt: skip
        torch.addcmul(both, a, b, value=2, out=product)
        torch.mm(product.view(-1, 32), across, out=rows.view(-1, 26))
        torch.bmm(down.expand(len(x) * channels, *down.shape), rows.view(-1, *rows.shape[2:]),
                  out=covariance.view(-1, *covariance.shape[2:]))  # fmt: skip
        torch.addcmul(c1, mean_a, mean_b, value=2, out=means)
        squares = mean_a.sub_(mean_b).square_().add_(means)
        similarity = covariance.sub_(means).mul_(means).div_(variance_a.add_(variance_b).mul_(squares))
        torch.sum(similarity, (1, 2, 3), out=found)
    return (n_maps - result) / (channels * 26 * 26)


def _window(maps: torch.Tensor) -> torch.Tensor:
    band = _WINDOWS.to(maps)
    return band.T @ (maps @ band)
