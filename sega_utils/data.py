"""Real images: every data set by its name, checked on every load, and stratified subsets of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils import folders, paths, sources


class Dataset(NamedTuple):
    """Images float32 (N, C, 32, 32) in [0, 1], labels int64 (N,) and the class names they index."""

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]


class Source(NamedTuple):
    """How a data set is read, see ``sources``, and what an LLM is told that its images are."""

    read: Callable[[str], sources.Images]
    domain: str


CLOTHES, DIGIT = "32x32 greyscale photo of a clothing item", "32x32 greyscale scan of a handwritten digit"
THING = "32x32 colour photo of an animal, a plant, a person, a place or a thing"
DATASETS = {
    "fashion-mnist": Source(sources.read_embedded, CLOTHES),
    "fashion-mnist-full": Source(
        partial(sources.read_idx, folder="fashion-mnist", class_names=sources.FASHION_MNIST_CLASSES), CLOTHES),
    "mnist": Source(partial(sources.read_idx, folder="mnist", class_names=sources.DIGITS), DIGIT),
    "cifar-10": Source(partial(sources.read_cifar, folder="cifar-10"), "32x32 colour photo of an animal or a vehicle"),
    "cifar-100": Source(partial(sources.read_cifar, folder="cifar-100"), THING),
    "svhn": Source(sources.read_svhn, "32x32 colour photo of a house number, cut out around one digit"),
    "tiny-imagenet": Source(sources.read_tiny_imagenet, THING),
    "tiny-imagenet-64": Source(partial(sources.read_tiny_imagenet, size=64), THING.replace("32x32", "64x64")),
}  # fmt: skip
PART = {"fashion-mnist": 0.1}  # share of the published training images that the data set has; 1 where absent


def load(dataset: str, split: str) -> Dataset:
    """Load a data set.

    Args:
        dataset: a key of ``DATASETS``, or ``folder:PATH`` for a tree of class folders, see ``folders.read_folder``.
        split: ``train`` or ``test``.

    Raises:
        ValueError: unknown data set or split, or a folder that cannot be used.
        FileNotFoundError, ArtifactError: a file is missing, truncated or altered.
    """
    if split not in {"train", "test"}:
        raise ValueError(f"unknown split {split!r}; known are 'train' and 'test'")
    if dataset.startswith(paths.OWN):
        images, labels, class_names = folders.read_folder(paths.own_folder(dataset), split)
    else:
        images, labels, class_names = _source(dataset).read(split)
    return Dataset(from_uint8(images), labels, class_names)


def about(dataset: str) -> tuple[str, dict[str, str], Path]:
    """Return what an LLM is told of the images, of some classes by their names, and where recorded answers would be.

    Raises:
        ValueError: unknown data set, or a folder that cannot be used.
    """
    if dataset.startswith(paths.OWN):
        folder = paths.own_folder(dataset)
        domain, _, descriptions = folders.about(folder)
        return domain, descriptions, folder / "prompts.jsonl"
    return _source(dataset).domain, {}, paths.DATA / "prompts" / f"{dataset}.jsonl"


def _source(dataset: str) -> Source:
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; known are {', '.join(DATASETS)}, folder:PATH")
    return DATASETS[dataset]


def counts(dataset: str, fraction: float, labels: torch.Tensor) -> torch.Tensor:
    """Return how many images of each class a fraction of the published training set holds, rounded.

    Args:
        fraction: of the published set, of which a data set may have a ``PART`` only.
        labels: int64 (N,), of all training images that the data set has.

    Returns:
        int64 (n_classes,).

    Raises:
        ValueError: the fraction leaves a class without images.
    """
    published = labels.bincount() / PART.get(dataset, 1)
    count = (published * fraction).round().long()
    if count.min() < 1:
        least = 1 / float(published.min())
        raise ValueError(f"FRACTION {fraction} leaves no image a class; use at least {least:.5f}")
    return count


FULL_PER_CLASS = {"fashion-mnist": 6000}  # training images a class in the full, published set


def subset(data: Dataset, per_class: int | torch.Tensor, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split into a stratified subset and the rest, each class shuffled once by the seed.

    The same seed gives nested subsets: the first 10 images a class are among the first 60.

    Args:
        per_class: images of each class in the subset, at least 1; one number for all, or int64 (n_classes,).

    Returns:
        The subset, ordered class by class, and all other images.

    Raises:
        ValueError: fewer than one image of a class, or more than there are.
    """
    available = torch.bincount(data.labels, minlength=len(data.class_names))
    wanted = torch.as_tensor(per_class).expand_as(available)
    if (wanted < 1).any() or (wanted > available).any():
        worst = (wanted - available).argmax()
        raise ValueError(
            f"{int(wanted[worst])} images a class were asked for; allowed are 1 .. {int(available[worst])} "
            f"with {len(data.class_names)} classes and {len(data.labels)} images: change FRACTION"
        )
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    order = order[torch.argsort(data.labels[order], stable=True)]
    rank = torch.arange(len(order)) - (available.cumsum(0) - available)[data.labels[order]]
    chosen = rank < wanted[data.labels[order]]
    return take(data, order[chosen]), take(data, order[~chosen])


def take(data: Dataset, index: torch.Tensor) -> Dataset:
    """Return the images and labels at an index or boolean mask."""
    return Dataset(data.images[index], data.labels[index], data.class_names)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Quantise images in [0, 1] to uint8 by rounding."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def from_uint8(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images.float() / 255
