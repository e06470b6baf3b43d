"""Blocks of three classes and of all widths, and scenes in which some of them are missing or rare."""

import torch

from sega_utils.data.images import Dataset
from sega_utils.studies.groups.scenes import Scene

MISSING = Scene("mine", "mnist-5000", "width", 2, (0, 2), images=4)
RARE = Scene("mine", "mnist-5000", images=8, ratio=4.0)


def blocks() -> Dataset:
    """Return 24 blocks of each of three classes, of widths 4 .. 27 in a random order; brightness tells the class."""
    labels, images = torch.arange(72) % 3, torch.zeros(72, 1, 32, 32)
    for c in range(3):
        mine = (labels == c).nonzero()[:, 0]
        order = torch.randperm(24, generator=torch.Generator().manual_seed(c))
        for i, width in zip(mine.tolist(), (order + 4).tolist(), strict=True):
            images[i, :, 8:24, 2 : 2 + width] = 0.3 + 0.3 * c
    return Dataset(images, labels, ("trouser", "bag", "ankle boot"))
