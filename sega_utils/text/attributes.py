"""Image attributes that words name: measured, put into words by terciles within a class, and found in prompts."""

import re

import torch

from sega_utils.core import numbers

FOREGROUND = 0.1  # pixels that differ from the background by more than this belong to the object
# attribute: its words for the lowest, middle and highest third of a class; an empty word is never said
WORDS = {
    "brightness": ("dark", "grey", "light"),
    "width": ("narrow", "", "wide"),
    "length": ("short", "", "long"),
    "fill": ("open", "", "solid"),
    "texture": ("plain", "", "patterned"),
}


def background(images: torch.Tensor) -> torch.Tensor:
    """Return the colour of each image's background: the median of its outermost pixels, float32 (N, C).

    What is no brighter than ``FOREGROUND`` counts as black, so that noise on a black ground moves nothing.
    """
    images = images.float()
    rim = torch.cat((images[:, :, 0], images[:, :, -1], images[:, :, 1:-1, 0], images[:, :, 1:-1, -1]), 2)
    colour = rim.median(2).values
    return colour * (colour.mean(1, keepdim=True) > FOREGROUND)


def foreground(images: torch.Tensor, threshold: float = FOREGROUND) -> torch.Tensor:
    """Return which pixels differ from the background, in the mean over the channels; bool (N, H, W).

    On a black background these are the pixels brighter than the threshold.

    Args:
        images: float (N, C, H, W) in [0, 1].
        threshold: 0 .. 1.
    """
    return contrast(images) > threshold


def contrast(images: torch.Tensor) -> torch.Tensor:
    """Return how much each pixel differs from the background, in the mean over the channels; float32 (N, H, W)."""
    return (images.float() - background(images)[:, :, None, None]).abs().mean(1)


def measure(images: torch.Tensor, threshold: float = FOREGROUND) -> torch.Tensor:
    """Measure every attribute of every image, in the order of ``WORDS``.

    Brightness is the mean intensity of the object; width and length are its extents, as four standard deviations of
    its pixels' columns and rows, in pixels; fill is its share of its bounding box; texture is the mean absolute
    Laplacian over its contrast to the background, on black its brightness. An empty image measures 0 throughout.

    Args:
        images: float (N, C, H, W) in [0, 1].
        threshold: of ``foreground``.

    Returns:
        float32 (N, 5).
    """
    grey = images.float().mean(1)
    mask = foreground(images, threshold).float()
    count = mask.sum((1, 2)).clamp(min=1)
    brightness = (grey * mask).sum((1, 2)) / count

    def extent(marginal: torch.Tensor) -> torch.Tensor:
        weight = marginal / marginal.sum(1, keepdim=True).clamp(min=1)
        position = torch.arange(marginal.shape[1], device=images.device, dtype=torch.float32)
        mean = (weight * position).sum(1, keepdim=True)
        return 4 * (weight * (position - mean) ** 2).sum(1).sqrt()

    columns, rows = mask.sum(1), mask.sum(2)
    box = (_span(columns) * _span(rows)).clamp(min=1)
    x = images.float()
    laplacian = x[..., :-2, 1:-1] + x[..., 2:, 1:-1] + x[..., 1:-1, :-2] + x[..., 1:-1, 2:] - 4 * x[..., 1:-1, 1:-1]
    against = (contrast(images) * mask).sum((1, 2)) / count
    edges = laplacian.abs().mean(1) * mask[:, 1:-1, 1:-1]
    texture = edges.sum((1, 2)) / count / against.clamp(min=FOREGROUND)
    return torch.stack((brightness, extent(columns), extent(rows), mask.sum((1, 2)) / box, texture), 1)


def _span(marginal: torch.Tensor) -> torch.Tensor:
    """Return first-to-last occupied length (N,) of a marginal (N, L)."""
    filled = marginal > 0
    length = marginal.shape[1]
    first = filled.int().argmax(1)
    last = length - 1 - filled.flip(1).int().argmax(1)
    return (last - first + 1) * filled.any(1)


def terciles(values: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
    """Return each value's third within its class: 0 lowest, 1 middle, 2 highest; int64 like ``values`` (N, A)."""
    bins = torch.empty(values.shape, dtype=torch.int64, device=values.device)
    for c in class_ids.unique():
        mine = class_ids == c
        rank = values[mine].argsort(dim=0, stable=True).argsort(dim=0, stable=True)
        bins[mine] = rank * 3 // int(mine.sum())
    return bins


def plural(name: str) -> str:
    """Return the plural of a class name, as captions use it."""
    if re.search("[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def said(texts: list[str]) -> torch.Tensor:
    """Return which third of each attribute a text names, int64 (len(texts), 5): 0, 1, 2, or -1 if it names none."""
    found = torch.full((len(texts), len(WORDS)), -1)
    for row, text in zip(found, texts, strict=True):
        words = set(re.findall(r"[a-z]+", text.lower()))
        for a, names in enumerate(WORDS.values()):
            hits = [third for third, name in enumerate(names) if name in words]
            row[a] = hits[0] if len(hits) == 1 else -1
    return found


def effects(
    images: torch.Tensor, class_ids: torch.Tensor, claims: torch.Tensor, *, real: torch.Tensor, real_ids: torch.Tensor
) -> list[dict]:
    """Return, for each attribute, how far images move from its low word to its high word.

    Values are standardised with the mean and deviation of the class's real images, so that classes can be pooled.

    Args:
        images: float (N, C, S, S); class_ids: int64 (N,); claims: int64 (N, 5), each image's row of ``said``.
        real, real_ids: the training subset.

    Returns:
        Rows with ``attribute``, ``effect`` (Cohen's d, positive if the image follows the words), ``ci_low``,
        ``ci_high`` and ``n``; an attribute named fewer than twice at either end has no row.
    """
    values, reference = measure(images.cpu()), measure(real.cpu())
    for c in class_ids.unique():
        centre, spread = reference[real_ids == c].mean(0), reference[real_ids == c].std(0).clamp(min=1e-6)
        values[class_ids == c] = (values[class_ids == c] - centre) / spread
    rows = []
    for a, name in enumerate(WORDS):
        low, high = values[claims[:, a] == 0, a], values[claims[:, a] == 2, a]
        if min(len(low), len(high)) >= 2:
            rows.append({"attribute": name} | numbers.effect_size(low, high))
    return rows
