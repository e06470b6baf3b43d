"""Images as tensors: the type that holds them, the checks they pass, quantising, batching, resizing."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional as F

SIDES = (32, 64)  # pixels a side of the images that all parts take


class Dataset(NamedTuple):
    """Images float32 (N, C, S, S) in [0, 1] with S one of ``SIDES``, labels int64 (N,), the class names they index, and
    whether a mirrored image is still one of its class: a mirrored digit is none."""

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]
    mirrors: bool = True

    def shape(self) -> dict[str, int]:
        """Return what a network for the images is built with: ``n_classes``, ``channels`` and ``side`` in pixels."""
        _, channels, _, side = self.images.shape
        return {"n_classes": len(self.class_names), "channels": channels, "side": side}

    def unusual(self) -> dict[str, bool]:
        """Return what a record adds to its parameters where images may not be mirrored."""
        return {} if self.mirrors else {"mirrors": False}


def take(data: Dataset, index: torch.Tensor) -> Dataset:
    """Return the images and labels at an index or boolean mask."""
    return data._replace(images=data.images[index], labels=data.labels[index])


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Quantise images in [0, 1] to uint8 by rounding."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def from_uint8(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images.float() / 255


def check_images(images: torch.Tensor, name: str = "images") -> None:
    """Refuse anything but float32 images (N, C, S, S) in [0, 1] with C = 1 or 3 and S of ``SIDES``; N may be 0.

    Raises:
        ValueError: another type, shape or range, or NaN.
    """
    sides = " or ".join(map(str, SIDES))
    allowed = f"{name} must be a float32 tensor (N, C, S, S), C = 1 or 3, S = {sides}, with values in [0, 1]"
    if not isinstance(images, torch.Tensor):
        raise ValueError(f"{allowed}; received a {type(images).__name__}: convert it with torch.as_tensor")
    if images.dtype != torch.float32 or images.shape[1:] not in {(c, s, s) for c in (1, 3) for s in SIDES}:
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
    pixels = to_uint8(images)
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    red, green, blue = pixels.int().unbind(1)
    return (19595 * red + 38470 * green + 7471 * blue + 32768 >> 16).to(torch.uint8)


def resize(images: torch.Tensor, size: int) -> torch.Tensor:
    """Return images float32 (N, C, H, W) in [0, 1] as (N, C, size, size), as PIL's bicubic filter does, unrounded."""
    for shape in ((images.shape[2], size), (size, size)):
        # PIL resizes the columns first and clips what overshoots before it resizes the rows
        images = F.interpolate(images, shape, mode="bicubic", antialias=True).clamp(0, 1)
    return images


def check_pair(images: torch.Tensor, against: torch.Tensor) -> None:
    """Refuse two sets of images that cannot be compared.

    Raises:
        ValueError: not images, see ``check_images``, or of different channels or sides.
    """
    check_images(images)
    check_images(against, "against")
    if images.shape[1:] != against.shape[1:]:
        raise ValueError(
            f"both sets must have the same channels and sides; received {tuple(images.shape)} and "
            f"{tuple(against.shape)}"
        )
