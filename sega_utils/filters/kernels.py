"""Image kernels, batched and on the images' own device: structural similarity, sharpness, perceptual hashes."""

from functools import cache

import numpy as np
import scipy.fftpack
import torch

from sega_utils.data.images import batch_size, batched, check_images, to_grey8

C1, C2 = 0.01**2, 0.03**2 * 48 / 49  # SSIM's constants; a window's variance is 48/49 of the sample variance


def ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity of each image in ``a`` to the one in ``b``, as scikit-image defines it.

    Args:
        a, b: float32 (N, C, S, S) in [0, 1], see ``check_images``.

    Returns:
        float32 (N,) in [-1, 1], averaged over channels, good to 1e-6; exactly 1 for equal images.

    Raises:
        ValueError: not such images, or two different shapes.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, eq. 13, over 7x7 windows and with sample covariances.
    """
    check_images(a, "a")
    check_images(b, "b")
    if a.shape != b.shape:
        raise ValueError(f"a and b must have the same shape; received {tuple(a.shape)} and {tuple(b.shape)}")
    return mean_ssim(a, b)


def mean_ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return what ``ssim`` does, unchecked.

    With u = a + b and v = a - b, var u - var v = 4 cov(a, b) and var u + var v = 2 (var a + var b), and so it is with
    the squares of the means: u, v and their squares are all that need averaging over windows.
    """
    channels, side = a.shape[1], a.shape[-1]
    across, pixels, windows = side - 6, side * side, (side - 6) * side
    # larger batches than others' pay where so many small steps follow one another
    size = 2 * batch_size(a.device) * channels * 32 * 32 // pixels
    # Memory that all batches share. Maps and their rows lie one after another, so that sums over windows are sums of
    # shifted copies; what the windows beyond the end of a row hold is not counted in the end.
    maps, sums = a.new_empty(2, 4 * min(size, len(a) * channels) * pixels)
    inside = (torch.arange(side, device=a.device) < across).to(a)
    result = a.new_empty(len(a) * channels)
    batches = (x.reshape(-1).split(size * pixels) for x in (a, b))
    for found, left, right in zip(result.split(size), *batches, strict=True):
        levels, squares = maps[: 4 * len(left)].view(2, -1)
        total, difference = levels.view(2, -1)
        # In levels, about each image's mean: sums over windows of 8-bit images are whole numbers that float32 holds.
        torch.mul(left, 255, out=total)
        torch.mul(right, 255, out=difference)
        torch.sub(total.add_(difference), difference, alpha=2, out=difference)
        middles = levels.view(-1, pixels).mean(1, keepdim=True).round_()
        levels.view(-1, pixels).sub_(middles)
        torch.mul(levels, levels, out=squares)
        n = 4 * len(found)
        torch.sum(maps.as_strided((7, n, windows), (side, pixels, 1)), 0, out=sums[: n * windows].view(n, windows))
        sums[n * windows :][:6] = 0  # the last windows reach there; it must not be NaN
        torch.sum(sums.as_strided((7, n * windows), (1, 1)), 0, out=maps[: n * windows])
        # From here on all is 49 times as large as its mean.
        means, variances = maps[: n * windows].view(2, 2, -1)
        variances.addcmul_(means.div_(7), means, value=-1)
        means.view(-1, windows).add_(middles, alpha=7)
        means.square_()
        means[0] += 2 * 49 * C1 * 255**2
        variances[0] += 2 * 49 * C2 * 255**2
        above, below, factor, _ = sums[: n * windows].view(4, -1)
        torch.sub(*means, out=above).mul_(torch.sub(*variances, out=factor))
        torch.add(*means, out=below).mul_(torch.add(*variances, out=factor))
        rows = torch.mv(above.div_(below).view(-1, side), inside)  # then their sum: one of all would round too often
        torch.sum(rows.view(-1, across), 1, out=found)
    return result.view(-1, channels).mean(1) / across**2


def blur_score(images: torch.Tensor) -> torch.Tensor:
    """Score sharpness as the variance of the Laplacian over that of the 8-bit grey image; higher is sharper.

    The variance of the Laplacian alone grows with the square of the contrast: it takes a sharp, dark image on black
    for a blurred one. The ratio does not change when grey levels are multiplied or shifted, but for rounding. It still
    takes sides, less and the other way round: a large, even, light object has much variance and few edges (04 counts).

    Args:
        images: float32 (N, C, S, S) in [0, 1], see ``check_images``.

    Returns:
        float32 (N,), 0 for a flat image; equal to ``cv2.Laplacian(grey, cv2.CV_64F).var() / grey.var()``.

    Raises:
        ValueError: not such images.

    Source: Pech-Pacheco, Cristobal, Chamorro-Martinez and Fernandez-Valdivia 2000; the division is ours.
    """
    check_images(images)
    return batched(_blur_score, images)


def _blur_score(images: torch.Tensor) -> torch.Tensor:
    grey = to_grey8(images).float()
    second = _second_difference(grey.shape[-1]).to(images.device)
    laplacian = second @ grey + grey @ second.T
    sharpness, contrast = (_variance(levels.flatten(1)) for levels in (laplacian, grey))
    return torch.where(contrast > 0, sharpness / contrast, 0)


def _variance(rows: torch.Tensor) -> torch.Tensor:
    """Return the variance of each row, about its rounded mean first, so that whole numbers stay exact."""
    centred = rows - rows.mean(1, keepdim=True).round()
    return centred.square().mean(1) - centred.mean(1).square()


@cache
def _second_difference(side: int) -> torch.Tensor:
    """Return second differences along a side, float32 (side, side), mirrored as OpenCV's BORDER_REFLECT_101."""
    ones = torch.ones(side - 1)
    matrix = torch.diag(torch.full((side,), -2.0)) + ones.diag(1) + ones.diag(-1)
    matrix[0, 1] = matrix[-1, -2] = 2  # the border is not repeated
    return matrix


# The 8 lowest rows of the unnormalised 32-point DCT-II: the part of the spectrum that pHash looks at.
_DCT = 2 * torch.cos(torch.pi / 64 * torch.arange(8, dtype=torch.float64)[:, None] * (2 * torch.arange(32) + 1))
# Two coefficients about the median that are closer than this may change places by rounding: in single precision each is
# good to 1.7 (products of 32 numbers, of at most 255 and 2, and the rounding of 32 such sums again), in double to 1e-9.
_UNCLEAR = {torch.float32: 4.0, torch.float64: 1e-6}


def phash(images: torch.Tensor) -> torch.Tensor:
    """Hash each image by which of its 64 lowest frequencies exceed their median, bit for bit as imagehash does.

    Single precision decides for most images, double for those where it could decide otherwise, and imagehash's own
    transform for those where double could, as in flat or symmetric ones.

    Args:
        images: float32 (N, C, S, S) in [0, 1], see ``check_images``; taken as 8-bit grey images.

    Returns:
        bool (N, 64), the 8x8 spectrum row by row.

    Raises:
        ValueError: not such images.

    Source: ``imagehash.phash`` (Buchner), after Krawetz 2011, "Looks Like It".
    """
    check_images(images)
    size = 8 * batch_size(images.device)  # products of fewer rows leave a core idle for longer than the cache saves
    found = [_above_median(_levels(part), torch.float32) for part in images.split(size)]
    bits, unclear = (torch.cat(parts) for parts in zip(*found, strict=True))
    if unclear.any():
        bits[unclear] = batched(_phash, images[unclear], size=size)
    return bits


def _levels(images: torch.Tensor) -> torch.Tensor:
    """Return images as grey levels of 32 pixels a side, float32 (N, ..., 32, 32)."""
    if images.shape[1:] == (1, 32, 32):
        return images.mul(255).round_()
    return shrunk(to_grey8(images)).float()


def _phash(images: torch.Tensor) -> torch.Tensor:
    levels = _levels(images)
    bits, unclear = _above_median(levels, torch.float64)
    if unclear.any():
        rows = scipy.fftpack.dct(levels[unclear].reshape(-1, 32, 32).byte().cpu().numpy(), axis=1)[:, :8]
        spectrum = scipy.fftpack.dct(rows, axis=2)[:, :, :8].reshape(-1, 64)
        exact = torch.from_numpy(spectrum > np.median(spectrum, axis=1, keepdims=True))
        bits[unclear] = exact.to(images.device)
    return bits


def _above_median(levels: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which coefficients of images (N, ..., 32, 32) exceed their median, and where that is unclear."""
    across, down = (part.to(levels.device) for part in _products(dtype))
    spectrum = (levels.to(dtype).reshape(-1, 32) @ across).view(-1, 256) @ down
    low, high = _sort(spectrum)[:, 31:33].split(1, 1)
    return spectrum > (low + high) / 2, (high - low < _UNCLEAR[dtype])[:, 0]


@cache
def _products(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what takes rows of pixels to 8 frequencies, (32, 8), and 32 such rows to 8x8, (256, 64).

    The second has each frequency of the columns once for each of the rows, so that one product does all images.
    """
    across = _DCT.T.to(dtype).contiguous()
    return across, torch.kron(across, torch.eye(8, dtype=dtype))


def shrunk(grey: torch.Tensor) -> torch.Tensor:
    """Return grey images uint8 (N, S, S) as (N, 32, 32), by Pillow's Lanczos filter, bit for bit.

    Source: Duchon 1979; as Pillow, columns first, in fixed point of 22 bits, rounded to 8 bit after either pass.
    """
    if (side := grey.shape[-1]) == 32:
        return grey
    weights = _lanczos(side).to(grey.device)
    rounded = lambda sums: (sums / 2**22 + 0.5).floor().clamp(0, 255)  # sums of whole numbers are exact in a double
    return rounded(weights.T @ rounded(grey.double() @ weights)).to(torch.uint8)


@cache
def _lanczos(side: int) -> torch.Tensor:
    """Return what takes rows of ``side`` pixels to 32, float64 (side, 32), in whole multiples of 2**-22."""
    places = (np.arange(side)[:, None] + 0.5) / (side / 32) - (np.arange(32) + 0.5)
    weights = np.where(np.abs(places) < 3, np.sinc(places) * np.sinc(places / 3), 0)
    return torch.from_numpy(np.rint(weights / weights.sum(0) * 2**22))


def _sort(rows: torch.Tensor) -> torch.Tensor:
    """Return each row sorted; numpy does short rows on a CPU many times faster."""
    return rows.sort(1).values if rows.is_cuda else torch.from_numpy(np.sort(rows.numpy(), axis=1))
