"""Six classes that are told apart by where a block is, as a data set of its own."""

import torch

from sega_utils.data.images import Dataset
from sega_utils.studies.few_shot import worlds

PLACE = worlds.Place("mine", "fashion-mnist", base=14, steps=3, components=12, atoms=6, clusters=2)


def six(split: str) -> Dataset:
    """Return 16 images of each of six classes, other ones of ``train`` than of ``test``."""
    labels = torch.arange(96) % 6
    images = torch.rand(96, 1, 32, 32, generator=torch.Generator().manual_seed(len(split))) * 0.3
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 4 + 4 * label : 10 + 4 * label, 4:28] += 0.6
    return Dataset(images, labels, tuple("abcdef"))
