"""Every data set by its name, checked on every load, and stratified subsets of them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import folders, published, tree
from sega_utils.data.images import Dataset, from_uint8, take


class Source(NamedTuple):
    """How a data set is read, see ``sources``; its bank in ``data/prompts``; what an LLM is told of its images; and
    ``Dataset.mirrors``."""

    read: Callable[[str], published.Images]
    bank: str
    told: dict  # arguments of ``prompts.expand``
    mirrors: bool = True


# Only the grey images have measured attributes and words for them; of a colour photo, any may be said.
CLOTHES = {"domain": "32x32 greyscale photo of a clothing item"}
DIGIT = {"domain": "32x32 greyscale scan of a handwritten digit"}
NUMBER = {"domain": "32x32 colour photo of a house number, cut out around a single digit", "words": ()}
VEHICLE = {"domain": "32x32 colour photo of an animal or a vehicle", "words": ()}
THING = {
    "domain": "32x32 colour photo of an animal, a plant, a person, a landscape, a building, a vehicle or an object",
    "words": (),
    "descriptions": {
        "can": "a container of sheet metal",
        "keyboard": "of a computer",
        "mouse": "the rodent",
        "orange": "the fruit",
        "plain": "wide flat land",
        "plate": "tableware",
        "poppy": "the flower",
        "ray": "the flat fish",
        "rose": "the flower",
        "seal": "the marine mammal",
        "tank": "the armoured vehicle",
    },
}
OBJECT = {
    "domain": "small colour photo of an animal, food, clothing, a vehicle, a device, a building or a landscape",
    "words": (),
    "descriptions": {
        "alp": "a high mountain",
        "beacon": "a lighthouse",
        "brass": "a memorial plaque",
        "chain": "of metal links",
        "chest": "a large box with a lid",
        "crane": "the lifting machine",
        "drumstick": "of a drummer",
        "fly": "the insect",
        "monarch": "the butterfly",
        "nail": "of metal, to be hammered",
        "organ": "the musical instrument",
        "plate": "a meal as it is served",
        "pole": "a long rod",
        "projectile": "a missile",
        "reel": "a winder for line, thread or film",
        "tabby": "the cat",
        "teddy": "the toy bear",
        "torch": "a stick with a flame",
        "vestment": "a priest's garment",
        "walking stick": "the insect",
    },
}
DATASETS = {
    "fashion-mnist": Source(published.read_embedded, "fashion-mnist", CLOTHES),
    "fashion-mnist-full": Source(
        partial(published.read_idx, folder="fashion-mnist", class_names=published.FASHION_MNIST_CLASSES),
        "fashion-mnist",
        CLOTHES,
    ),
    "mnist": Source(
        partial(published.read_idx, folder="mnist", class_names=published.DIGITS), "mnist", DIGIT, mirrors=False
    ),
    "mnist-5000": Source(
        partial(published.read_embedded, folder="mnist-5000", class_names=published.DIGITS),
        "mnist",
        DIGIT,
        mirrors=False,
    ),
    "cifar-10": Source(partial(published.read_cifar, folder="cifar-10"), "cifar-10", VEHICLE),
    "cifar-100": Source(partial(published.read_cifar, folder="cifar-100"), "cifar-100", THING),
    "svhn": Source(published.read_svhn, "svhn", NUMBER, mirrors=False),
    "tiny-imagenet": Source(published.read_tiny_imagenet, "tiny-imagenet", OBJECT),
    "tiny-imagenet-64": Source(partial(published.read_tiny_imagenet, size=64), "tiny-imagenet", OBJECT),
}
# share of the published training images that the data set has; 1 where absent
PART = {"fashion-mnist": 0.1, "mnist-5000": 1 / 30}


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
        images, labels, class_names = folders.read_folder(_folder(dataset), split)
    else:
        images, labels, class_names = _source(dataset).read(split)
    if len(images) != len(labels) or not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ArtifactError(
            f"{dataset} has {len(images)} images and {len(labels)} labels from {labels.min()} to {labels.max()} for "
            f"{len(class_names)} classes; each image needs one of them: download the files again"
        )
    return Dataset(from_uint8(images), labels, class_names, mirrors(dataset))


def names(dataset: str, split: str, n: int) -> list[str]:
    """Return what each of a split's ``n`` images is called, in the order of ``load``: its file, or its number.

    Raises:
        ValueError, FileNotFoundError, ArtifactError: as ``load``.
    """
    if dataset.startswith(paths.OWN):
        root = _folder(dataset)
        return [tree.inside(root, file) for file, _ in tree.ordered(root)[split]]
    return [f"{split} {i}" for i in range(n)]


def notes(dataset: str) -> list[str]:
    """Return sentences on what in a folder is taken otherwise than its owner may expect, see ``folders.notes``."""
    return folders.notes(_folder(dataset)) if dataset.startswith(paths.OWN) else []


def load_real(run: str, dataset: str) -> tuple[Dataset, dict]:
    """Return the training subset that a run's 00_data drew, and the metadata of its file, ``sha256`` included.

    Raises:
        FileNotFoundError, ArtifactError: the file is missing or damaged.
    """
    path = paths.require(run, dataset, "real")
    tensors, meta = artifacts.load_tensors(path)
    images, labels, class_names = (*map(tensors.get, ("images", "labels")), meta.get("class_names"))
    sound = None not in (images, labels, class_names) and images.dtype == torch.uint8 and images.ndim == 4
    sound = sound and labels.dtype == torch.int64 and labels.shape == images.shape[:1] and len(labels) > 0
    if not sound or not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ArtifactError(
            f"{paths.shown(path)} must hold images uint8 (N, C, S, S), labels int64 (N,) and their class_names; "
            f"received {[(name, str(x.dtype), *x.shape) for name, x in tensors.items()]}: execute 00_data again"
        )
    return Dataset(from_uint8(tensors["images"]), tensors["labels"], tuple(meta["class_names"]), mirrors(dataset)), meta


def mirrors(dataset: str) -> bool:
    """Return ``Dataset.mirrors`` of a data set.

    Raises:
        ValueError: unknown data set, or a folder that cannot be used.
    """
    if dataset.startswith(paths.OWN):
        return folders.about(_folder(dataset)).mirrors
    return _source(dataset).mirrors


def about(dataset: str) -> tuple[dict, Path]:
    """Return what an LLM is told of the images, as arguments of ``prompts.expand``, and where its answers are recorded.

    Raises:
        ValueError: unknown data set, or a folder that cannot be used.
    """
    if dataset.startswith(paths.OWN):
        folder = _folder(dataset)
        told = folders.about(folder)
        return {"domain": told.domain, "descriptions": told.descriptions}, folder / "prompts.jsonl"
    source = _source(dataset)
    return source.told, paths.DATA / "prompts" / f"{source.bank}.jsonl"


def _folder(dataset: str) -> Path:
    return paths.own_folder(dataset)


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
        advice = ""
        if dataset.startswith(paths.OWN):
            advice = "; of a folder take all: '00_data: {FRACTION: 1.0}' in the file of PARAMS, as in digits.yaml"
        raise ValueError(f"FRACTION {fraction} leaves no image a class; use at least {least:.5f}{advice}")
    return count


def subset(data: Dataset, per_class: int | torch.Tensor, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split into a stratified subset and the rest, see ``pick``.

    Returns:
        The subset, ordered class by class, and all other images.

    Raises:
        ValueError: fewer than one image of a class, or more than there are.
    """
    chosen, others = pick(data, per_class, seed)
    return take(data, chosen), take(data, others)


def pick(data: Dataset, per_class: int | torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the indices, int64, of a stratified subset and of the rest, each class shuffled once by the seed.

    The same seed gives nested subsets: the first 10 images a class are among the first 60.

    Args:
        per_class: images of each class in the subset, at least 1; one number for all, or int64 (n_classes,).

    Returns:
        The subset's, class by class, and all others.

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
    return order[chosen], order[~chosen]
