"""Image kernels, batched and on the images' own device: grey levels, structural similarity, sharpness."""

from collections.abc import Callable
from functools import cache

import torch

from sega_utils import data

C1, C2 = 0.01**2, 0.03**2 * 48 / 49  # SSIM's constants; a window's variance is 48/49 of the sample variance


def check_images(images: torch.Tensor, name: str = "images") -> None:
    """Refuse anything but float32 images (N, C, S, S) in [0, 1] with C = 1 or 3 and S of ``data.SIDES``; N may be 0.

    Raises:
        ValueError: another type, shape or range, or NaN.
    """
    sides = " or ".join(map(str, data.SIDES))
    allowed = f"{name} must be a float32 tensor (N, C, S, S), C = 1 or 3, S = {sides}, with values in [0, 1]"
    if not isinstance(images, torch.Tensor):
        raise ValueError(f"{allowed}; received a {type(images).__name__}: convert it with torch.as_tensor")
    if images.dtype != torch.float32 or images.shape[1:] not in {(c, s, s) for c in (1, 3) for s in data.SIDES}:
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
    """Return images as 8-bit grey ones, uint8 (N, S, S), colours weighted as Pillow's ``convert("L")`` does.

    Source: ITU-R BT.601 luma in 16-bit fixed point.
    """
    pixels = data.to_uint8(images)
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    red, green, blue = pixels.int().unbind(1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768 >> 16).to(torch.uint8)


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
    """Score sharpness as the variance of the Laplacian of the 8-bit grey image; higher is sharper.

    Args:
        images: float32 (N, C, S, S) in [0, 1], see ``check_images``.

    Returns:
        float32 (N,), 0 for a flat image; equal to ``cv2.Laplacian(grey, cv2.CV_64F).var()``.

    Raises:
        ValueError: not such images.

    Source: Pech-Pacheco, Cristobal, Chamorro-Martinez and Fernandez-Valdivia 2000.
    """
    check_images(images)
    return batched(_blur_score, images)


def _blur_score(images: torch.Tensor) -> torch.Tensor:
    grey = to_grey8(images).float()
    second = _second_difference(grey.shape[-1]).to(images.device)
    laplacian = (second @ grey + grey @ second.T).flatten(1)
    return laplacian.square().mean(1) - laplacian.mean(1).square()


@cache
def _second_difference(side: int) -> torch.Tensor:
    """Return second differences along a side, float32 (side, side), mirrored as OpenCV's BORDER_REFLECT_101."""
    ones = torch.ones(side - 1)
    matrix = torch.diag(torch.full((side,), -2.0)) + ones.diag(1) + ones.diag(-1)
    matrix[0, 1] = matrix[-1, -2] = 2  # the border is not repeated
    return matrix
