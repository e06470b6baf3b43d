"""Fusing an edited image with the real one that it is of: in pixels (p), in frequencies (f), or both (p+f)."""

import torch
from torch.nn import functional as F

FORMS = ("difference", "blend", "printed")


def smooth(images: torch.Tensor, *, sigma: float = 1.3) -> torch.Tensor:
    """Return images (N, C, H, W) under a Gaussian of 3x3 pixels; its size and sigma are those of the authors' code."""
    line = torch.exp(-(torch.tensor([-1.0, 0.0, 1.0]) ** 2) / (2 * sigma**2))
    kernel = (line[:, None] * line / line.sum() ** 2).expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=images.shape[1])


def lost(
    real: torch.Tensor, inverted: torch.Tensor, edited: torch.Tensor, *, beta: float = 0.5, stretch: bool = True
) -> torch.Tensor:
    """Return where inversion has lost something that the edit did not change, float32 (N, C, H, W) in [0, 1].

    Args:
        real, inverted, edited: images (N, C, H, W). beta: weight of the edit, unsaid in the paper, of its code.
        stretch: divide by each image's largest value, without which losses of small images are next to nothing.

    Source: Ding et al. 2023 (SAGE), equation 21.
    """
    found = smooth((real - inverted).abs() - beta * (edited - inverted).abs()).clamp(min=0)
    top = found.amax((1, 2, 3), keepdim=True)
    return torch.where(top > 0, found / top.clamp(min=1e-12), 0.0) if stretch else found


def in_pixels(
    real: torch.Tensor, inverted: torch.Tensor, edited: torch.Tensor, mask: torch.Tensor, *, form: str = "difference"
) -> torch.Tensor:
    """Return edited images with what inversion has lost put back where a mask says so, cut to [0, 1].

    Args:
        form: ``difference`` adds what is lost, as the paper's text has it; ``blend`` takes the real image's pixels, as
            its code; ``printed`` adds all of the real image, which brightens.

    Raises:
        ValueError: an unknown form.

    Source: Ding et al. 2023 (SAGE), equation 22.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; allowed are {', '.join(FORMS)}")
    fused = {
        "difference": edited + mask * (real - inverted),
        "blend": mask * real + (1 - mask) * edited,
        "printed": edited + mask * real,
    }[form]
    return fused.clamp(0, 1)


def low_pass(images: torch.Tensor, *, cycles: float = 5.0) -> torch.Tensor:
    """Return images (N, C, H, W) under a Gaussian in their spectrum whose sigma is so many cycles an image."""
    height, width = images.shape[2:]
    rows, columns = torch.fft.fftfreq(height) * height, torch.fft.rfftfreq(width) * width
    gain = torch.exp(-(rows[:, None] ** 2 + columns**2) / (2 * cycles**2))
    return torch.fft.irfft2(torch.fft.rfft2(images) * gain, s=(height, width))


def in_frequencies(
    real: torch.Tensor, inverted: torch.Tensor, edited: torch.Tensor, *, g1: float = 1.0, g2: float = 1.0
) -> torch.Tensor:
    """Return edited images whose low frequencies are moved as the real image's differ from its inversion's.

    Args:
        g1, g2: unsaid in the paper; a flat image is multiplied by g1 + 1 - g2, so that equal ones keep it.

    Source: Ding et al. 2023 (SAGE), equation 23.
    """
    high = edited - low_pass(edited)
    return (high + g1 * low_pass(edited) + low_pass(real) - g2 * low_pass(inverted)).clamp(0, 1)


def fuse(real: torch.Tensor, inverted: torch.Tensor, edited: torch.Tensor, how: str) -> torch.Tensor:
    """Return edited images fused as ``p``, ``f`` or ``p+f`` says; the order of the two is unsaid, here p comes first.

    Raises:
        ValueError: another way of fusing.
    """
    if how not in {"p", "f", "p+f"}:
        raise ValueError(f"fusion is {how!r}; allowed are p, f, p+f")
    if "p" in how:
        edited = in_pixels(real, inverted, edited, lost(real, inverted, edited))
    return in_frequencies(real, inverted, edited) if "f" in how else edited
