"""Scenes: training images in which some classes lack a look that others show, or in which classes are ever rarer.

A class's looks are the thirds of a measured attribute among all its training images. What a scene leaves out, no
generator, CLIP or classifier of it sees, and neither do those who choose by validation images.
"""

from functools import lru_cache
from typing import NamedTuple

import torch

from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, take
from sega_utils.text import attributes

ENDS = (0, 2)  # thirds that a word names and that can be missing


class Scene(NamedTuple):
    """What the training images are: some ``classes`` lack a ``third`` of an ``attribute``, and all have ``images``
    images; or, without an attribute, the most frequent class has ``images`` and the rarest ``ratio`` times fewer."""

    run: str
    dataset: str
    attribute: str = ""
    third: int = 0
    classes: tuple[int, ...] = ()
    images: int = 60
    ratio: float = 1.0
    subset: int = 0  # seed of which images there are, and of which classes are rare

    @property
    def kind(self) -> str:
        """Return ``missing`` or ``rare``."""
        return "missing" if self.attribute else "rare"

    @property
    def word(self) -> str:
        """Return the word for what is missing."""
        return attributes.WORDS[self.attribute][self.third]

    @property
    def name(self) -> str:
        """Return the scene's name, as a file may carry it."""
        size = f"{self.images}-images-subset{self.subset}"
        if self.attribute:
            return f"no-{self.word}-{'-'.join(map(str, self.classes))}-{size}"
        return f"ratio{self.ratio:g}-{size}"


class Real(NamedTuple):
    """The images to train on, and the images to choose by, which lack the same."""

    train: Dataset
    validation: Dataset


class Tested(NamedTuple):
    """Test images; the group of each, int64 (N,); the groups that training images lack or that are rare, ascending."""

    data: Dataset
    groups: torch.Tensor
    lacking: tuple[int, ...]


def check(scene: Scene, n_classes: int) -> None:
    """Refuse a scene that cannot be.

    Raises:
        ValueError: an attribute, third, class, number or ratio that is not allowed.
    """
    if scene.attribute:
        fits = scene.attribute in attributes.WORDS and scene.third in ENDS and scene.classes
        if not fits or not set(scene.classes) < set(range(n_classes)):
            raise ValueError(
                f"received the third {scene.third} of {scene.attribute!r} missing in classes {scene.classes}; allowed "
                f"are 0 (lowest) and 2 (highest) of {', '.join(attributes.WORDS)}, in some of the classes 0 .. "
                f"{n_classes - 1}, but not in all"
            )
    elif not scene.ratio > 1:
        raise ValueError(f"the ratio is {scene.ratio}; allowed are numbers above 1, or name an attribute that misses")
    if scene.images < 2:
        raise ValueError(f"received {scene.images} images; allowed are 2 and more")


@lru_cache(maxsize=8)
def edges(dataset: str, attribute: str) -> torch.Tensor:
    """Return the two ends of an attribute's middle third in each class, float32 (n_classes, 2).

    They say what the group is, and are taken from all training images; only test images and the choice of what is left
    out are measured by them.
    """
    data = catalogue.load(dataset, "train")
    values = attributes.measure(data.images)[:, list(attributes.WORDS).index(attribute)]
    at = torch.tensor([1 / 3, 2 / 3])
    return torch.stack([values[data.labels == c].quantile(at) for c in range(len(data.class_names))])


def look_of(scene: Scene, images: torch.Tensor) -> torch.Tensor:
    """Return the scene's attribute of each image, float32 (N,)."""
    return attributes.measure(images)[:, list(attributes.WORDS).index(scene.attribute)]


def thirds(scene: Scene, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return which third of its class's attribute each image shows, int64 (N,): 0, 1 or 2."""
    return (look_of(scene, images)[:, None] > edges(scene.dataset, scene.attribute)[labels]).sum(1)


def missing(scene: Scene, data: Dataset) -> torch.Tensor:
    """Return which images show what the scene's training images lack, bool (N,)."""
    concerned = torch.isin(data.labels, torch.tensor(scene.classes))
    return concerned & (thirds(scene, data.images, data.labels) == scene.third)


def counts(scene: Scene, n_classes: int) -> torch.Tensor:
    """Return how many training images a class has, int64 (n_classes,).

    Where classes are rare, the numbers fall exponentially (Cui et al. 2019, section 5.1) from one class to the next, in
    an order that the scene's subset draws.
    """
    if scene.attribute:
        return torch.full((n_classes,), scene.images)
    place = torch.arange(n_classes) / (n_classes - 1)
    fall = (scene.images * scene.ratio**-place).round().long().clamp(min=1)
    found = torch.empty_like(fall)
    found[torch.randperm(n_classes, generator=torch.Generator().manual_seed(scene.subset))] = fall
    return found


@lru_cache(maxsize=2)
def real_of(scene: Scene) -> Real:
    """Return a scene's training images, and all others that lack what these lack, to choose by.

    Raises:
        ValueError, FileNotFoundError, ArtifactError: as ``check`` and ``catalogue.load``, or too few images of a class.
    """
    data = catalogue.load(scene.dataset, "train")
    check(scene, len(data.class_names))
    left = take(data, ~missing(scene, data)) if scene.attribute else data
    return Real(*catalogue.subset(left, counts(scene, len(data.class_names)), scene.subset))


@lru_cache(maxsize=2)
def tested(scene: Scene) -> Tested:
    """Return a scene's test images and their groups: class and third, or class alone where classes are rare.

    Lacking are the groups that the training images lack, or the rarest third of the classes.
    """
    data = catalogue.load(scene.dataset, "test")
    if scene.attribute:
        groups = 3 * data.labels + thirds(scene, data.images, data.labels)
        return Tested(data, groups, tuple(3 * c + scene.third for c in sorted(scene.classes)))
    n = len(data.class_names)
    rarest = counts(scene, n).argsort(stable=True)[: max(1, n // 3)]
    return Tested(data, data.labels, tuple(sorted(rarest.tolist())))


def scores(logits: torch.Tensor, at: Tested) -> dict:
    """Return what logits (N, K) on a scene's test images are worth, each 0 .. 1.

    Returns:
        ``accuracy``, the mean over the classes; ``worst``, of the group with the lowest accuracy; ``lacking``, the mean
        over the groups that training images lack, or that are rare; ``by_group``, of every group by its number.

    Source: worst-group accuracy, Sagawa et al. 2020.
    """
    hits = (logits.argmax(1) == at.data.labels).double()
    by_group = {g: float(hits[at.groups == g].mean()) for g in at.groups.unique().tolist()}
    return {
        "accuracy": balanced(logits, at.data.labels),
        "worst": min(by_group.values()),
        "lacking": sum(by_group[g] for g in at.lacking) / len(at.lacking),
        "by_group": {str(g): value for g, value in by_group.items()},
    }


def balanced(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean over the classes of the accuracy, 0 .. 1."""
    hits = (logits.argmax(1) == labels).double()
    return float(torch.stack([hits[labels == c].mean() for c in labels.unique()]).mean())
