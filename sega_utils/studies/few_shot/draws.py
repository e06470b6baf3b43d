"""What few-shot arms draw: images or features of each unseen class, begun from its few images."""

import torch

from sega_utils.augmenters import fusion, sage, transfer
from sega_utils.data import augment
from sega_utils.studies.few_shot.worlds import Task, World

EACH = 50  # images or features drawn for each class; the paper has 100, here they share one weight, however many
Drawn = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images or features, labels, weights


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
