"""Few-shot arms: what is drawn for each unseen class from its few images, and which settings are tried."""

import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from sega_utils.augmenters import fusion, sage, transfer
from sega_utils.core import runtime
from sega_utils.data import augment
from sega_utils.studies.few_shot import heads
from sega_utils.studies.few_shot.worlds import Task, World

EACH = 50  # images or features drawn for each class; the paper has 100, here they share one weight, however many
TRIALS = 8  # settings tried for each arm
STRENGTHS = [0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
RATIOS = [0.3, 0.5, 0.7, 0.9]
SHARES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9]
ALPHAS = [0.5, 1.0, 2.0]
Drawn = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images or features, labels, weights


class Arm(NamedTuple):
    """What an arm does.

    Attributes:
        group: baseline, method, control, ours, or other.
        draw: what joins the real images, of a world, a task and random numbers; None for nothing.
        drawn: the settings that ``draw`` takes; all others are the head's.
        grid: the values of each setting, of which ``TRIALS`` together are tried.
        like: the arm whose settings it takes untried, so that nothing else differs.
        head: how features become a classifier; that of ``soft`` is what ever more draws lead to.
        band: of the query's images, if not all of their frequencies.
    """

    group: str
    draw: Callable | None = None
    drawn: dict[str, list] = {}
    grid: dict[str, list] = {}
    like: str = ""
    head: str = "logistic"
    band: str = ""


def starts(task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Return labels of what is drawn, ``EACH`` of a class, and for each the few image that it begins with, in turn."""
    classes = len(task.few.class_names)
    labels = torch.arange(classes).repeat_interleave(EACH)
    return labels, labels * task.shots + torch.arange(EACH).repeat(classes) % task.shots


def even(images: torch.Tensor, labels: torch.Tensor) -> Drawn:
    """Return what was drawn, each with the same weight."""
    return images, labels, torch.ones(len(labels))


def moved(world: World, task: Task, rng: torch.Generator) -> Drawn:
    """Shift by two pixels at most, and mirror where a mirrored image is still one of its class."""
    labels, index = starts(task)
    return even(augment.shift(task.few.images[index], rng, pad=2, flip=task.few.mirrors), labels)


def policy(world: World, task: Task, rng: torch.Generator, *, name: str) -> Drawn:
    """Change each image by a policy of ``augment.POLICIES``."""
    labels, index = starts(task)
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=rng)))
    return even(augment.POLICIES[name](task.few.images[index]), labels)


def mixed(world: World, task: Task, rng: torch.Generator, *, name: str, batch: int = 20) -> Drawn:
    """Mix images by ``augment.MIXING``; one with two classes joins each of these with its share."""
    labels, index = starts(task)
    order = torch.randperm(len(labels), generator=rng)
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=rng)))
    targets = torch.nn.functional.one_hot(labels).float()[order]
    parts = zip(task.few.images[index][order].split(batch), targets.split(batch))
    images, shares = (torch.cat(found) for found in zip(*(augment.MIXING[name](*part) for part in parts)))
    which, label = shares.nonzero().unbind(1)
    return images[which], label, shares[which, label]


def raw(world: World, task: Task, rng: torch.Generator, *, alpha: float, outside: bool = False) -> Drawn:
    """Add offsets of seen images to the latents of the few; ``outside`` leaves out what lies along the class means."""
    labels, index = starts(task)
    editing = world.editing["classes"]
    chosen = torch.randint(len(world.latents), (len(labels),), generator=rng)
    added = world.latents[chosen] - editing.means[world.seen.labels[chosen]]
    if outside:
        span = sage.class_basis(editing.means, len(editing.means) - 1).directions
        added = added - torch.einsum("gdt,get,nge->ngd", span, span, added)
    latents = world.invert(task.few.images)[index]
    return even(world.render(latents + alpha * added), labels)


def edited(
    world: World,
    task: Task,
    rng: torch.Generator,
    *,
    alpha: float = 0.0,
    t_B: float = 1.0,
    atoms: str = "classes",
    mapped: bool = True,
    adaptive: bool = True,
    farthest: bool = False,
    control: str = "",
    how: str = "",
) -> Drawn:
    """Edit the few images by AGE, SAGE or one of their parts, through the world's generator.

    Args:
        alpha: strength; 0 inverts only. t_B: share of the class means' rank. atoms: a name in ``World.editing``.
        mapped: begin at the class embedding, and not at the image. adaptive: the nearest third of the classes, or a
            quarter where they are pseudo-classes, and half of the atoms. how: fusion, see ``fusion.fuse``.
    """
    labels, index = starts(task)
    latents, editing = world.invert(task.few.images), world.editing[atoms]
    editing = {"shuffled": sage.shuffled, "anywhere": sage.anywhere}.get(control, lambda same, _: same)(editing, rng)
    seen = len(editing.means)
    share = 4 if atoms == "clusters" else 3
    t_C, t_A = (max(1, seen // share), editing.atoms.shape[2] // 2) if adaptive else (seen, editing.atoms.shape[2])
    basis = sage.class_basis(editing.means, max(1, round(t_B * min(seen - 1, editing.means.shape[2]))))
    found = []
    for c in range(len(task.few.class_names)):
        embedding = sage.embed(basis, latents[task.few.labels == c])
        added = sage.edits(editing, embedding, EACH, rng, t_C=t_C, t_A=t_A, farthest=farthest)
        added = sage.isotropic(added, rng) if control == "direction" else added
        found.append((embedding if mapped else latents[index[labels == c]]) + alpha * added)
    images = world.render(torch.cat(found))
    if how:
        inverted = world.render(latents)[index]
        images = fusion.fuse(task.few.images[index], inverted, images, how)
    if control == "labels":
        labels = labels[torch.randperm(len(labels), generator=rng)]
    return even(images, labels)


def calibrated(world: World, task: Task, rng: torch.Generator, *, k: int, spread: float) -> Drawn:
    """Draw features by distribution calibration, from each of the few as often."""
    labels, index = starts(task)
    each = index.bincount()
    found = [
        transfer.calibrated(world.moments, feature, int(n), rng, k=k, spread=spread)
        for feature, n in zip(task.features, each, strict=True)
    ]
    return even(torch.cat(found), torch.arange(len(task.few.class_names)).repeat_interleave(EACH))


def feature_offsets(world: World, task: Task, rng: torch.Generator, *, alpha: float) -> Drawn:
    """Add offsets of seen images to the features of the few."""
    labels, index = starts(task)
    return even(task.features[index] + alpha * transfer.offsets(world.moments, len(labels), rng), labels)


def softly(world: World, task: Task, rng: torch.Generator, *, pseudo: str, share: float, white: float) -> Drawn:
    """Draw features of each class from where its mean probably is, as far apart as images of seen classes are."""
    labels, _ = starts(task)
    means, covariance = probable(world, task, pseudo=pseudo, share=share, white=white)
    added = transfer.gaussian(torch.zeros(len(covariance)), covariance, len(labels), rng)
    return even(means[labels] + added, labels)


def probable(world: World, task: Task, *, pseudo: str, share: float, white: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where the unseen classes probably have their means (C, d), and the covariance (d, d) of a next image.

    Args:
        pseudo: what says how means of classes lie: ``classes``, or ``turned``, the classes in four orientations.
        share, white: how far the covariance of means, and that of images, are moved towards all directions alike.
    """
    centre, between = world.prior(pseudo)
    between, within = transfer.shrunk(between, share), transfer.shrunk(world.moments.within(), white)
    found = [
        transfer.posterior(task.features[task.few.labels == c], centre, between, within)
        for c in range(len(task.few.class_names))
    ]
    means, unsure = (torch.stack(part) for part in zip(*found))
    return means, within + unsure[0]  # as many images of each class leave each mean as unsure


ALONE = {"strength": STRENGTHS}
WITH = {"strength": STRENGTHS, "ratio": RATIOS}
EDIT = {"alpha": ALPHAS}
SOFT = {"pseudo": ["classes", "turned"], "share": [0.01, 0.1, 0.3, 0.6], "white": [0.03]}
CONTROL = {
    "direction at random": {"control": "direction"},
    "atoms at random": {"control": "anywhere"},
    "codes shuffled": {"control": "shuffled"},
    "atoms by PCA": {"atoms": "PCA"},
    "atoms by PCA, orthogonal": {"atoms": "PCA orthogonal"},
    "lambda_1 = 0": {"atoms": "lambda 0"},
    "farthest classes": {"farthest": True},
    "labels permuted": {"control": "labels"},
}
OTHER = ("mango", "smoothed", "fluctuated", "thresholded", "time and frequency", "separately")  # policies of papers
ARMS: dict[str, Arm] = {
    "real only": Arm("baseline", grid=ALONE),
    "nearest centroid": Arm("baseline", head="nearest"),
    "whitened centroid": Arm("baseline", grid={"share": SHARES}, head="whitened"),
    "shift and flip": Arm("baseline", moved, grid=WITH),
    "TrivialAugment": Arm("baseline", partial(policy, name="trivial"), grid=WITH),
    "MixUp": Arm("baseline", partial(mixed, name="mixup"), grid=WITH),
    "CutMix": Arm("baseline", partial(mixed, name="cutmix"), grid=WITH),
    "calibration": Arm("baseline", calibrated, {"k": [1, 2], "spread": [0.03, 0.21, 1.0]}, WITH),
    "raw offsets": Arm("baseline", raw, EDIT, WITH),
    "offsets in features": Arm("baseline", feature_offsets, EDIT, WITH),
    "AGE": Arm("method", partial(edited, mapped=False, adaptive=False), EDIT, WITH),
    "SAGE-Q": Arm("method", partial(edited, adaptive=False), EDIT, WITH),
    "SAGE-I": Arm("method", partial(edited, mapped=False), EDIT, WITH),
    "SAGE": Arm("method", edited, EDIT, WITH),
    "SAGE of clusters": Arm("method", partial(edited, atoms="clusters"), EDIT | {"t_B": [0.17, 0.5]}, WITH),
    **{f"SAGE_{how}": Arm("method", partial(edited, how=how), EDIT, WITH) for how in ("p", "f", "p+f")},
    **{name: Arm("control", partial(edited, **what), EDIT, WITH, like="SAGE") for name, what in CONTROL.items()},
    "inverted only": Arm("control", partial(edited, mapped=False), {}, WITH),
    "embedding only": Arm("control", edited, {}, WITH),
    "inverted p+f": Arm("control", partial(edited, mapped=False, how="p+f"), {}, WITH),
    "inverted, alone": Arm("control", partial(edited, mapped=False), {}, ALONE | {"ratio": [1.0]}),
    "raw offsets outside B": Arm("control", partial(raw, outside=True), EDIT, WITH, like="raw offsets"),
    "soft mapping": Arm("ours", grid=SOFT, head="soft"),
    "soft mapping, drawn": Arm("ours", softly, SOFT, {"strength": [30.0, 1000.0], "ratio": [0.9, 1.0]}),
    "soft mapping, all means alike": Arm("ours", grid=SOFT | {"share": [1.0]}, head="soft"),
    **{f"real only, {band} pass": Arm("control", grid=ALONE, like="real only", band=band) for band in ("low", "high")},
    **{name: Arm("other", partial(policy, name=name), grid=WITH) for name in OTHER},
}


def trials(name: str) -> list[dict]:
    """Return the settings of an arm that are tried: all there are, or ``TRIALS`` of them, the same for one grid."""
    arm = ARMS[name]
    table = arm.drawn | arm.grid
    found = [dict(zip(table, values, strict=True)) for values in itertools.product(*table.values())]
    return found if len(found) <= TRIALS else random.Random(repr(table)).sample(found, TRIALS)


def measure(world: World, task: Task, name: str, settings: list[dict], seed: int) -> list[float]:
    """Return an arm's accuracy on a task with each of some settings, 0 .. 1; each begins from the same random numbers.

    Raises:
        ValueError: an arm that there is not.
    """
    if name not in ARMS:
        raise ValueError(f"unknown arm {name!r}; known are {', '.join(ARMS)}")
    arm, kept, found = ARMS[name], {}, []
    query = world.features[f"query {arm.band}".strip()][task.counts], world.query.labels[task.counts]
    for each in settings:
        drawing = {key: value for key, value in each.items() if key in arm.drawn}
        key = tuple(drawing.items())
        if arm.draw and key not in kept:
            drawn, labels, weights = arm.draw(world, task, runtime.generator(seed), **drawing)
            kept[key] = world.encode(drawn) if drawn.ndim == 4 else drawn, labels, weights
        rest = {key: value for key, value in each.items() if key not in arm.drawn}
        found.append(heads.accuracy(head_of(world, task, arm, kept.get(key), rest), *query))
    return found


def head_of(world: World, task: Task, arm: Arm, drawn: Drawn | None, settings: dict) -> heads.Head:
    """Return the head of an arm, on the few images and what was drawn; all together weigh as much as the few."""
    labels = task.few.labels
    if arm.head == "nearest":
        return heads.nearest(task.features, labels)
    if arm.head == "soft":
        return heads.gaussian(*probable(world, task, **settings))
    if arm.head == "whitened":
        return heads.whitened(task.features, labels, world.moments.within(), **settings)
    ratio = settings.get("ratio", 0.0)
    features, weights = task.features, torch.full((len(labels),), 1 - ratio)
    if drawn:
        features, labels = torch.cat((features, drawn[0])), torch.cat((labels, drawn[1]))
        weights = torch.cat((weights, drawn[2] * ratio * len(weights) / drawn[2].sum()))
    kept = weights > 0
    return heads.logistic(features[kept], labels[kept], weights[kept], strength=settings["strength"])
