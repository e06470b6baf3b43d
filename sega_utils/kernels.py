"""Image kernels, batched and on the images' own device: perceptual hash, structural similarity, sharpness."""

from collections.abc import Callable

import numpy as np
import scipy.fftpack
import torch

from sega_utils import data

# The 8 lowest rows of the unnormalised 32-point DCT-II: the part of the spectrum that pHash looks at.
_DCT = 2 * torch.cos(torch.pi / 64 * torch.arange(8, dtype=torch.float64)[:, None] * (2 * torch.arange(32) + 1))
# Spectra reach 10**6 and are good to 10**-9: a median closer than this to a coefficient is decided by rounding.
_UNCLEAR = 1e-6
C1, C2 = 0.01**2, 0.03**2 * 48 / 49  # SSIM's constants; a window's variance is 48/49 of the sample variance
# Second differences along 32 pixels, mirrored at the border without repeating it (OpenCV's BORDER_REFLECT_101).
_SECOND_DIFFERENCE = torch.diag(torch.full((32,), -2.0)) + torch.ones(31).diag(1) + torch.ones(31).diag(-1)
_SECOND_DIFFERENCE[0, 1] = _SECOND_DIFFERENCE[31, 30] = 2


def check_images(images: torch.Tensor, name: str = "images") -> None:
    """Refuse anything but float32 images (N, C, 32, 32) in [0, 1] with C = 1 or 3; N may be 0.

    Raises:
        ValueError: another type, shape or range, or NaN.
    """
    allowed = f"{name} must be a float32 tensor (N, C, 32, 32), C = 1 or 3, with values in [0, 1]"
    if not isinstance(images, torch.Tensor):
        raise ValueError(f"{allowed}; received a {type(images).__name__}: convert it with torch.as_tensor")
    if images.dtype != torch.float32 or images.shape[1:] not in {(1, 32, 32), (3, 32, 32)}:
        raise ValueError(f"{allowed}; received {images.dtype} {tuple(images.shape)}: convert, resize or pad it")
    if images.numel():
        low, high = (float(v) for v in images.aminmax())
        if not (low >= 0 and high <= 1):  # written so that NaN fails too
            raise ValueError(f"{allowed}; received values in [{low}, {high}]: rescale them, look for NaN")


def batched(function: Callable[..., torch.Tensor], *tensors: torch.Tensor, size: int = 0) -> torch.Tensor:
    """Apply a function to batches of equally long tensors and concatenate what it returns.

    Args:
        size: rows a batch; 0 takes ``batch_size``.
    """
    size = size or batch_size(tensors[0].device)
    return torch.cat([function(*parts) for parts in zip(*(tensor.split(size) for tensor in tensors), strict=True)])


def batch_size(device: torch.device) -> int:
    """Return how many images at a time stay in a core's cache, or fill a GPU."""
    return 64 * torch.get_num_threads() if device.type == "cpu" else 4096


def to_grey8(images: torch.Tensor) -> torch.Tensor:
    """Return images as 8-bit grey ones, uint8 (N, 32, 32), colours weighted as Pillow's ``convert("L")`` does.

    Source: ITU-R BT.601 luma in 16-bit fixed point.
    """
    pixels = data.to_uint8(images)
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    red, green, blue = pixels.int().unbind(1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768 >> 16).to(torch.uint8)


def phash(images: torch.Tensor) -> torch.Tensor:
    """Hash each image by which of its 64 lowest frequencies exceed their median, bit for bit as imagehash does.

    Args:
        images: float32 (N, C, 32, 32) in [0, 1], C = 1 or 3; taken as 8-bit grey images.

    Returns:
        bool (N, 64), the 8x8 spectrum row by row.

    Raises:
        ValueError: not such images.

    Source: ``imagehash.phash`` (Buchner), after Krawetz 2011, "Looks Like It".
    """
    check_images(images)
    return batched(_phash, images)


def _phash(images: torch.Tensor) -> torch.Tensor:
    grey, dct = to_grey8(images), _DCT.to(images.device)
    spectrum = (dct @ grey.double() @ dct.T).flatten(1)
    low, high = _sort(spectrum)[:, 31:33].split(1, 1)
    bits = spectrum > (low + high) / 2
    # In flat or symmetric images many coefficients are equal but for rounding: only imagehash's own DCT rounds alike.
    unclear = (high - low < _UNCLEAR)[:, 0]
    if unclear.any():
        rows = scipy.fftpack.dct(grey[unclear].cpu().numpy(), axis=1)[:, :8]
        spectrum = scipy.fftpack.dct(rows, axis=2)[:, :, :8].reshape(-1, 64)
        exact = torch.from_numpy(spectrum > np.median(spectrum, axis=1, keepdims=True))
        bits[unclear] = exact.to(images.device)
    return bits


def _sort(rows: torch.Tensor) -> torch.Tensor:
    """Return each row sorted; numpy does short rows on a CPU many times faster."""
    return rows.sort(1).values if rows.is_cuda else torch.from_numpy(np.sort(rows.numpy(), axis=1))


def signs(bits: torch.Tensor) -> torch.Tensor:
    """Return hashes as float32 of +1 and -1; the product of two is 64 minus twice their Hamming distance."""
    return bits.float() * 2 - 1


def hamming(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the number of differing bits of every two hashes.

    Args:
        a, b: bool (N, 64) and (M, 64).

    Returns:
        int64 (N, M), 0 (same hash) to 64.
    """
    return ((64 - signs(a) @ signs(b).T) / 2).long()


def ssim(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the structural similarity of each image in ``a`` to the one in ``b``, as scikit-image defines it.

    Args:
        a, b: float32 (N, C, 32, 32) in [0, 1], C = 1 or 3.

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
    channels, pixels, windows = a.shape[1], 32 * 32, 26 * 32
    size = 2 * batch_size(a.device) * channels  # larger batches pay where so many small steps follow one another
    # Memory that all batches share. Maps and their rows lie one after another, so that sums over windows are sums of
    # shifted copies; what the windows beyond the end of a row hold is not counted in the end.
    maps, sums = a.new_empty(2, 4 * min(size, len(a) * channels) * pixels)
    inside = (torch.arange(32, device=a.device) < 26).to(a)
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
        torch.sum(maps.as_strided((7, n, windows), (32, pixels, 1)), 0, out=sums[: n * windows].view(n, windows))
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
        rows = torch.mv(above.div_(below).view(-1, 32), inside)  # then their sum: one of all would round too often
        torch.sum(rows.view(-1, 26), 1, out=found)
    return result.view(-1, channels).mean(1) / 26**2


def blur_score(images: torch.Tensor) -> torch.Tensor:
    """Score sharpness as the variance of the Laplacian of the 8-bit grey image; higher is sharper.

    Args:
        images: float32 (N, C, 32, 32) in [0, 1], C = 1 or 3.

    Returns:
        float32 (N,), 0 for a flat image; equal to ``cv2.Laplacian(grey, cv2.CV_64F).var()``.

    Raises:
        ValueError: not such images.

    Source: Pech-Pacheco, Cristobal, Chamorro-Martinez and Fernandez-Valdivia 2000.
    """
    check_images(images)
    return batched(_blur_score, images)


def _blur_score(images: torch.Tensor) -> torch.Tensor:
    grey, second = to_grey8(images).float(), _SECOND_DIFFERENCE.to(images.device)
    laplacian = (second @ grey + grey @ second.T).flatten(1)
    return laplacian.square().mean(1) - laplacian.mean(1).square()
