"""Few-shot worlds: which classes are seen, what is learnt from these alone, and tasks on the classes that are not."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from sega_utils.augmenters import composition, fusion, linear, sage, style, transfer
from sega_utils.core import artifacts, learning, paths
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, check_images, take
from sega_utils.studies.zoo import zoo
from sega_utils.training import classifiers

# what arms work with: features of a network, of one that learns composed classes beside the seen ones, or the same
# images as mixtures of these, of one that learns longer, or learns drawn shapes in as many steps, or the linear
# generator's latents, which cost no training; with style, the network's features, but the style autoencoder draws
FEATURES = ("network", *composition.LESSONS, "latents", "style")
GENERATORS = {"linear": linear, "style": style}
LAMBDA = 0.0005  # of orthogonality, as printed
STEPS = 500  # of the dictionary
STYLE = 1000  # of the style autoencoder
AGAIN = "delete the file, and it is made again"
TURNED = 150  # images of each seen class that are turned, to see how the means of more classes lie


class Place(NamedTuple):
    """A run and a data set; how many images of each seen class there are at most; sizes, see params/few_shot.yaml."""

    run: str
    dataset: str
    base: int = 600
    steps: int = 300
    components: int = 64
    atoms: int = 30
    clusters: int = 10
    features: str = "network"  # one of FEATURES


class Split(NamedTuple):
    """Which classes are seen and which are not; a final one is judged on test images, any other on training images."""

    seen: tuple[int, ...]
    unseen: tuple[int, ...]
    final: bool = True

    def name(self) -> str:
        """Return what records and files of it are called."""
        seen = () if self.final else ("of", *self.seen)
        return "-".join(map(str, (*self.unseen, *seen)))


class World(NamedTuple):
    """What is known before the first task.

    Attributes:
        network: which seen classes have trained; None where features are the linear generator's latents.
        pool: images of unseen classes that few are drawn from, query: those that the accuracy is measured on; both are
            labelled from 0 on, as is ``seen``.
        digest: of the seen images, which all that was trained carries.
        latents: of the seen images, in ``generator``.
        parts: labels int64 (N,) of the seen images by ``classes`` and by ``clusters``, -1 for an image left out.
        editing: atoms and codes by name. moments: of the seen features.
        place, split: whose world it is, for what an arm trains once and keeps.
    """

    seen: Dataset
    pool: Dataset
    query: Dataset
    digest: str
    network: nn.Module | None
    generator: linear.State | style.State
    latents: torch.Tensor
    parts: dict[str, torch.Tensor]
    editing: dict[str, sage.Editing]
    moments: transfer.Moments
    centre: torch.Tensor
    features: dict[str, torch.Tensor]
    place: Place
    split: Split

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Return features float32 (N, d) of length 1, from the seen images' centre.

        Source: Wang et al. 2019 (SimpleShot), section 3.
        """
        return unit(self.plain(images) - self.centre)

    def plain(self, images: torch.Tensor) -> torch.Tensor:
        """Return features float32 (N, d) as they are."""
        return zoo.features(self.network, images) if self.network else self.invert(images).flatten(1)

    def invert(self, images: torch.Tensor) -> torch.Tensor:
        """Return the latents (N, G, d) of images in the world's generator."""
        return GENERATORS[self.generator[1]["augmenter"]].invert(self.generator, images)

    def render(self, latents: torch.Tensor) -> torch.Tensor:
        """Return the images of latents (N, G, d)."""
        return GENERATORS[self.generator[1]["augmenter"]].render(self.generator, latents)

    def prior(self, pseudo: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the centre (d,) and the covariance (d, d) of the mean features of classes, or of turned classes."""
        means = sage.class_means(self.features[pseudo], self.parts[pseudo])
        return means.mean(0), means.T.cov()


class Task(NamedTuple):
    """K images of each unseen class, class by class, with their features, and which of the query counts, bool (N,)."""

    shots: int
    few: Dataset
    features: torch.Tensor
    counts: torch.Tensor


def unit(features: torch.Tensor) -> torch.Tensor:
    """Return features of length 1."""
    return nn.functional.normalize(features, dim=1)


def split_of(classes: int, unseen: Iterable[int]) -> Split:
    """Return the split of which some classes are unseen and all others seen.

    Raises:
        ValueError: a class twice or none of the data set's, or fewer than two on a side.
    """
    unseen = tuple(unseen)
    return checked(Split(tuple(c for c in range(classes) if c not in unseen), unseen), classes)


def checked(split: Split, classes: int) -> Split:
    """Return a split, if it is one.

    Raises:
        ValueError: a class both seen and unseen, twice, or none of the data set's; fewer than two on a side.
    """
    if both := set(split.seen) & set(split.unseen):
        raise ValueError(f"classes {sorted(both)} are seen and unseen; each class may be one of these")
    for what, named in (("seen", split.seen), ("unseen", split.unseen)):
        if len(set(named)) != len(named) or not set(named) <= set(range(classes)) or len(named) < 2:
            raise ValueError(f"{what} classes are {list(named)}; allowed are at least two of 0 .. {classes - 1}")
    return split


def inner(split: Split) -> Split:
    """Return the split to tune on: every other seen class acts as unseen, and no unseen class is touched."""
    return Split(split.seen[::2], split.seen[1::2], final=False)


def only(data: Dataset, classes: Iterable[int], most: int | None = None) -> Dataset:
    """Return the images of some classes, at most so many of each, with labels from 0 on in the order of the classes."""
    classes = list(classes)
    found = [(data.labels == c).nonzero()[:most, 0] for c in classes]
    labels = torch.arange(len(classes)).repeat_interleave(torch.tensor([len(part) for part in found]))
    return take(data, torch.cat(found))._replace(labels=labels, class_names=tuple(data.class_names[c] for c in classes))


def check_seen(meta: dict, digest: str, file: Path | str) -> None:
    """Refuse what was trained on other images than the seen ones.

    Args:
        file: that it is of, or what it is.

    Raises:
        ArtifactError: it was, or does not say on which.
    """
    if meta.get("seen") != digest:
        told = str(meta["seen"])[:8] if "seen" in meta else "none that it names"
        raise artifacts.ArtifactError(
            f"{paths.shown(file) if isinstance(file, Path) else file} has seen images {told}, allowed are only "
            f"{digest[:8]}, those of the seen classes: with few shots nothing may be used that saw an unseen class, as "
            f"a run's CLIP, generator and filters did; {AGAIN}"
        )


def file_of(place: Place, name: str) -> Path:
    """Return where something that is trained once is kept."""
    return paths.artifact(place.run, place.dataset, "few-shot") / f"{name}.safetensors"


def network_of(place: Place, split: Split, seen: Dataset, digest: str) -> nn.Module:
    """Return a classifier of the seen classes in four orientations, trained once, whose features all arms use.

    What it learns of a kind of features beside them is what ``composition.lessons`` says, in as many steps.

    Raises:
        ArtifactError: the file is damaged, or of other seen images.
    """
    kind = f"{place.features}-" if place.features in composition.LESSONS else ""
    if place.features == "shapes":
        kind += "-".join(map(str, composition.SHAPES.values())) + "-"
    file = file_of(place, f"network-{kind}{split.name()}-{place.steps}")
    data, more = composition.lessons(seen, place.features)
    model = kept_classifier(file, data, steps=place.steps, meta={"seen": digest}, **more)
    check_seen(model.meta, digest, file)
    return model


def kept_classifier(file: Path, data: Dataset, *, steps: int, meta: dict, **more: object) -> nn.Module:
    """Return the classifier of a file, with its ``meta``; where there is no file, it is trained and kept there.

    Args:
        more: options of ``train_classifier``.

    Raises:
        ArtifactError: the file is damaged.
    """
    if not file.exists():
        learning.save_network(file, classifiers.train_classifier(data, steps=steps, **more), meta)
    build = lambda *_: classifiers.build("resnet8-half", **data.shape())
    return learning.load_network(file, build, what="network of few shots")


def generator_of(place: Place, split: Split, seen: Dataset) -> linear.State | style.State:
    """Return what draws images: the linear generator, or the style autoencoder, which is trained once."""
    if place.features != "style":
        return linear.fit(seen.images, seen.labels, num_classes=len(split.seen), components=place.components)
    file = file_of(place, f"style-{split.name()}-{STYLE}")
    if not file.exists():
        artifacts.save_tensors(file, *style.fit(seen.images, seen.labels, num_classes=len(split.seen), steps=STYLE))
    return artifacts.load_tensors(file)


def clustered(latents: torch.Tensor, labels: torch.Tensor, clusters: int) -> torch.Tensor:
    """Return pseudo-classes int64 (N,): clusters of each class's latents; -1 where a cluster is a single image.

    They are ours, not the paper's, whose data sets have a hundred classes and more.
    """
    from sklearn.cluster import KMeans  # takes seconds to import

    found = torch.full_like(labels, -1)
    for c in range(int(labels.max()) + 1):
        mine = latents[labels == c].flatten(1).numpy()
        within = torch.as_tensor(KMeans(clusters, n_init=1, random_state=0).fit_predict(mine)).long()
        found[labels == c] = clusters * c + within
    counts = found.bincount()
    names = torch.where(counts > 1, (counts > 1).cumsum(0) - 1, -1)
    return names[found]


def editing_of(place: Place, split: Split, world: World) -> dict[str, sage.Editing]:
    """Return the atoms and codes that arms edit with; those that are learnt are kept in a file.

    Raises:
        ArtifactError: the file is damaged, or of other seen images.
    """
    kind, made = "", {"seen": world.digest}
    if place.features == "style":  # the linear generator is fitted anew, and another number of threads rounds otherwise
        kind, made = f"style-{STYLE}-", made | {"generator": artifacts.digest(world.generator[0])}
    file = file_of(place, f"atoms-{kind}{split.name()}-{place.atoms}")
    learnt = {"classes": ("classes", LAMBDA), "clusters": ("clusters", LAMBDA)}
    learnt |= {"lambda 0": ("classes", 0.0)} if split.final else {}  # a control, which is not tuned
    if file.exists():
        atoms, meta = artifacts.load_tensors(file)
        check_seen(meta, world.digest, file)
        if meta.get("generator") != made.get("generator"):
            raise artifacts.ArtifactError(f"{paths.shown(file)} was learnt through another generator; {AGAIN}")
    else:
        atoms = {name: _learnt(world, part, weight, place.atoms) for name, (part, weight) in learnt.items()}
        artifacts.save_tensors(file, atoms, made)
    found = {name: sage.prepare(*_part(world, learnt[name][0]), atoms[name]) for name in learnt}
    latents, labels = _part(world, "classes")
    means = sage.class_means(latents, labels)
    for name, orthogonal in (("PCA", False), ("PCA orthogonal", True)):
        closed = sage.closed_atoms(latents - means[labels], means, place.atoms, orthogonal=orthogonal)
        found[name] = sage.prepare(latents, labels, closed)
    return found


def _part(world: World, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    kept = world.parts[name] >= 0
    return world.latents[kept], world.parts[name][kept]


def _learnt(world: World, part: str, orthogonal: float, atoms: int) -> torch.Tensor:
    latents, labels = _part(world, part)
    means, error = sage.class_means(latents, labels), None
    if world.generator[1]["augmenter"] == "style":
        draw, images = style.network_of(world.generator), world.seen.images[world.parts[part] >= 0]
        error = lambda index, made: nn.functional.mse_loss(draw(means[labels[index]] + made), images[index])
    return sage.learn_atoms(latents - means[labels], means, atoms, orthogonal=orthogonal, steps=STEPS, error=error)


@lru_cache(maxsize=2)
def world_of(place: Place, split: Split) -> World:
    """Return what a split's seen classes teach, trained now or from its files.

    Raises:
        ValueError: no such split, or images that cannot be used. ArtifactError: a file of other seen images.
    """
    train = catalogue.load(place.dataset, "train")
    checked(split, len(train.class_names))
    seen, pool = only(train, split.seen, place.base), only(train, split.unseen)
    query = only(catalogue.load(place.dataset, "test"), split.unseen) if split.final else pool
    for part in (seen, pool, query):
        check_images(part.images)
    digest = artifacts.digest({"images": seen.images, "labels": seen.labels})
    network = network_of(place, split, seen, digest) if place.features != "latents" else None
    generator = generator_of(place, split, seen)
    check_seen(generator[1], digest, "the generator")
    latents = GENERATORS[generator[1]["augmenter"]].invert(generator, seen.images)
    upside = composition.turned(only(seen, range(len(split.seen)), TURNED))
    parts = {"classes": seen.labels, "turned": upside.labels}
    parts["clusters"] = clustered(latents, seen.labels, place.clusters)
    empty = transfer.Moments(*[torch.empty(0)] * 4)
    known = (seen, pool, query, digest, network, generator, latents, parts)
    world = World(*known, {}, empty, torch.empty(0), {}, place, split)
    plain = world.plain(seen.images)
    world = world._replace(centre=plain.mean(0), moments=transfer.moments(unit(plain - plain.mean(0)), seen.labels))
    features = {"classes": unit(plain - plain.mean(0)), "pool": world.encode(pool.images)}
    features |= {"turned": world.encode(upside.images)}
    features["query"] = world.encode(query.images) if split.final else features["pool"]
    if split.final:
        low = fusion.low_pass(query.images)
        features["query low"] = world.encode(low.clamp(0, 1))
        features["query high"] = world.encode((query.images - low).clamp(0, 1))
    return world._replace(editing=editing_of(place, split, world), features=features)


def task_of(world: World, shots: int, draw: int) -> Task:
    """Return K images of each unseen class; those of a smaller K are among those of a larger one.

    Where the query is the pool itself, all of it but these images counts.

    Raises:
        ValueError: K is not 1 .. the images that each class has.
    """
    least = int(world.pool.labels.bincount().min())
    if not 1 <= shots <= least:
        raise ValueError(f"K is {shots}; allowed are 1 .. {least}, the images of the smallest unseen class")
    index, _ = catalogue.pick(world.pool, shots, draw)
    counts = torch.ones(len(world.query.labels), dtype=torch.bool)
    if world.query is world.pool:
        counts[index] = False
    return Task(shots, take(world.pool, index), world.features["pool"][index], counts)
