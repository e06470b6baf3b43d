"""Batched augmentations on tensors: pixel-level, and mixing of images with their targets."""

from collections.abc import Callable

import torch
from torch.nn import functional as F

from sega_utils.data import policies, signals


def shift(images: torch.Tensor, rng: torch.Generator, *, pad: int, flip: bool = True) -> torch.Tensor:
    """Crop every image at its own place after padding with black, and flip half of them; gradients flow through.

    Args:
        images: float (N, C, H, W).
        rng: source of randomness, on the images' device.
        pad: largest shift in pixels.
        flip: whether to mirror left and right.

    Source: He et al. 2016, section 4.2 (they pad 32x32 images by 4).
    """
    n, channels, height, width = images.shape
    at = lambda size: torch.arange(size, device=images.device)
    draw = lambda high: torch.randint(high, (n, 1), generator=rng, device=images.device)
    rows, columns = draw(2 * pad + 1) + at(height), draw(2 * pad + 1) + at(width)
    if flip:
        columns = torch.where(draw(2) == 1, columns.flip(1), columns)
    index = (
        at(n)[:, None, None, None],
        at(channels)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None],
    )
    return F.pad(images, (pad,) * 4)[index]


def cutout(images: torch.Tensor, rng: torch.Generator, *, size: int) -> torch.Tensor:
    """Blank a ``size`` x ``size`` square of every image (DeVries and Taylor 2017); images float (N, C, H, W)."""
    n, _, height, width = images.shape
    inside = lambda extent: _between(
        torch.randint(extent - size + 1, (n, 1), generator=rng, device=images.device), size, extent
    )
    return images * ~(inside(height)[:, None, :, None] & inside(width)[:, None, None, :])


def _between(start: torch.Tensor, size: int, extent: int) -> torch.Tensor:
    position = torch.arange(extent, device=start.device)
    return (position >= start) & (position < start + size)


def mixup(images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Blend neighbours in the batch and their targets (Zhang et al. 2018); torchvision's, seeded by torch's own."""
    from torchvision.transforms import v2  # torchvision takes seconds to import

    return v2.MixUp(alpha=0.4)(images, targets)


def cutmix(images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste a box of the neighbour (Yun et al. 2019); torchvision's, seeded by torch's own generator."""
    from torchvision.transforms import v2  # torchvision takes seconds to import

    return v2.CutMix(alpha=1.0)(images, targets)


def saliencymix(images: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Paste the neighbour's box around its most salient pixel (Uddin et al. 2021).

    Saliency is the smoothed gradient magnitude, so that no further model is needed; the paper's uses a detector.
    """
    n, _, height, width = images.shape
    lam = float(torch.rand(()))
    cut_h, cut_w = (int(size * (1 - lam) ** 0.5) for size in (height, width))
    source = images.roll(1, 0)
    grey = source.mean(1, keepdim=True)
    edges = F.pad(grey.diff(dim=2).abs(), (0, 0, 0, 1)) + F.pad(grey.diff(dim=3).abs(), (0, 1))
    peak = F.avg_pool2d(edges, 5, 1, 2).flatten(1).argmax(1)[:, None]
    box = lambda centre, cut, size: _between((centre - cut // 2).clamp(0, size - cut), cut, size)
    inside = box(peak // width, cut_h, height)[:, None, :, None] & box(peak % width, cut_w, width)[:, None, None, :]
    share = cut_h * cut_w / (height * width)
    return torch.where(inside, source, images), targets * (1 - share) + targets.roll(1, 0) * share


def trivial(images: torch.Tensor) -> torch.Tensor:
    """Change every image by one random operation of random strength (Mueller and Hutter 2021); torchvision's.

    It goes image by image, and what is drawn for one comes from the host: nothing else here keeps a GPU waiting.

    Args:
        images: float (N, C, H, W) in [0, 1]. The randomness is torch's own generator; no gradients flow.
    """
    from torchvision.transforms import v2  # torchvision takes seconds to import

    change = v2.TrivialAugmentWide()
    return torch.stack([change(image) for image in (images * 255).round().to(torch.uint8)]).float() / 255


def turn(images: torch.Tensor) -> torch.Tensor:
    """Turn every image by an angle of its own, of the whole circle; what comes into view is what it mirrors.

    Args:
        images: float (N, C, S, S). The randomness is torch's own generator, on the CPU.
    """
    return policies.turned(images, 2 * torch.pi * torch.rand(len(images)))


POLICIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda images: images,
    "trivial": trivial,
    "turn": turn,
    "randaugment": policies.randaugment,
    "augmix": policies.augmix,
    "pixmix": policies.pixmix,
    "photometric": policies.photometric,
    "affine": policies.affine,
    "mango": policies.mango,
    **signals.POLICIES,
}
MIXING: dict[str, Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]] = {
    "none": lambda images, targets: (images, targets),
    "mixup": mixup,
    "cutmix": cutmix,
    "saliencymix": saliencymix,
}
