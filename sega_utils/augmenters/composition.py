"""Classes that there are not: halves of images of two classes, joined to images of a class of their own.

Where a network is to learn what tells *unseen* classes apart, it lacks classes and not images. Each ordered pair of
seen classes gives two more: the upper half of the one above the lower half of the other, and the left half beside the
right. That two classes can be mixed to a third is of Zhu et al. 2021 (IL2A), which blends images; halves are ours, cut
as in CutMix (Yun et al. 2019), whose target is a mixture of both and not a new class.
"""

import itertools

import torch

from sega_utils.augmenters import shapes
from sega_utils.core import runtime
from sega_utils.data.images import Dataset

LESSONS = ("composed", "blended", "longer", "shapes")
EACH = 200  # images composed for each pair and way
SHAPES = {"classes": 200, "each": 60}  # drawn by a formula


def pairs(classes: int) -> list[tuple[int, int]]:
    """Return the ordered pairs of classes, as ``composed`` goes through them for each of its two ways."""
    return list(itertools.permutations(range(classes), 2))


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
        for pair in pairs(classes):
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


def turned(data: Dataset) -> Dataset:
    """Return each image in its four orientations, each of which is a class of its own: four times the classes.

    Source: Lee et al. 2020 (joint labels of class and rotation).
    """
    images = torch.cat([data.images.rot90(k, (2, 3)) for k in range(4)])
    labels = torch.cat([4 * data.labels + k for k in range(4)])
    names = tuple(f"{name} {90 * k}" for name in data.class_names for k in range(4))
    return Dataset(images, labels, names, data.mirrors)


def lessons(data: Dataset, kind: str) -> tuple[Dataset, dict]:
    """Return what a network of a kind learns, in four orientations, and options of ``training.train_classifier``.

    Args:
        kind: ``composed``, with composed classes; ``blended``, its control: the same images in the same share of what
            is seen, each as half of either class, so that no class is new; ``shapes``, with classes of ``shapes``,
            which are not turned; ``longer``, its control, with a policy and no new class; any other: the classes of
            ``data`` alone.
    """
    if kind == "shapes":
        size = {"side": data.images.shape[-1], "channels": data.images.shape[1]}
        return joined(turned(data), shapes.drawn(**SHAPES, **size)), {}
    if kind == "longer":
        return turned(data), {"policy": "trivial"}
    if kind not in LESSONS:
        return turned(data), {}
    both = turned(joined(data, composed(data)))
    if kind == "composed":
        return both, {}
    classes, made = 4 * len(data.class_names), both.labels >= 4 * len(data.class_names)
    halves = torch.tensor(2 * pairs(len(data.class_names)))[both.labels[made] // 4 - len(data.class_names)]
    targets = torch.nn.functional.one_hot(4 * halves + both.labels[made, None] % 4, classes).float().mean(1)
    share = float(made.double().mean())
    return turned(data), {"synthetic": (both.images[made], targets), "ratio": share}
