"""Classes that there are not: halves of images of two classes, joined to images of a class of their own.

Where a network is to learn what tells *unseen* classes apart, it lacks classes and not images. Each ordered pair of
seen classes gives two more: the upper half of the one above the lower half of the other, and the left half beside the
right. That two classes can be mixed to a third is of Zhu et al. 2021 (IL2A), which blends images; halves are ours, cut
as in CutMix (Yun et al. 2019), whose target is a mixture of both and not a new class.
"""

import itertools

import torch

from sega_utils.core import runtime
from sega_utils.data.images import Dataset

EACH = 200  # images composed for each pair and way


def composed(data: Dataset, *, each: int = EACH, seed: int = 0) -> Dataset:
    """Return ``each`` images of each composed class, of C classes 2 C (C - 1); labels count from 0.

    Raises:
        ValueError: fewer than two classes, or ``each`` below 1.
    """
    classes, side, rng = len(data.class_names), data.images.shape[-1], runtime.generator(seed)
    if classes < 2 or each < 1:
        raise ValueError(f"{each} images of {classes} classes cannot be composed; allowed are 1 or more of at least 2")
    members = [(data.labels == c).nonzero()[:, 0] for c in range(classes)]
    first_half, images, names = torch.arange(side) < side // 2, [], []
    for way, mask in (("above", first_half[:, None]), ("beside", first_half[None])):
        for pair in itertools.permutations(range(classes), 2):
            ours, theirs = (
                data.images[members[c][torch.randint(len(members[c]), (each,), generator=rng)]] for c in pair
            )
            images.append(torch.where(mask, ours, theirs))
            names.append(f" {way} ".join(data.class_names[c] for c in pair))
    labels = torch.arange(len(names)).repeat_interleave(each)
    return Dataset(torch.cat(images), labels, tuple(names), data.mirrors)


def joined(data: Dataset, more: Dataset) -> Dataset:
    """Return the images of both, with the classes of ``more`` after those of ``data``."""
    labels = torch.cat((data.labels, more.labels + len(data.class_names)))
    return Dataset(torch.cat((data.images, more.images)), labels, data.class_names + more.class_names, data.mirrors)
