"""Few-shot arms: what is drawn for each unseen class from its few images, and which settings are tried."""

import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from sega_utils.core import runtime
from sega_utils.studies.few_shot import adapted, draws, finetuned, halves, heads
from sega_utils.studies.few_shot.worlds import Task, World

TRIALS = 8  # settings tried for each arm
STRENGTHS = [0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
RATIOS = [0.3, 0.5, 0.7, 0.9]
SHARES = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9]
ALPHAS = [0.5, 1.0, 2.0]


class Arm(NamedTuple):
    """What an arm does.

    Attributes:
        group: one of ``campaign.GROUPS``.
        draw: what joins the real images, of a world, a task and random numbers; None for nothing.
        drawn: the settings that ``draw`` takes; all others are the head's.
        grid: the values of each setting, of which ``TRIALS`` together are tried.
        like: the arm whose settings it takes untried, so that nothing else differs.
        beside: another arm that tables hold it against, with settings of its own.
        head: how features become a classifier; that of ``soft`` is what ever more draws lead to, and with ``network``
            they do not stay: the network is tuned, too, and reads images.
        band: of the query's images, if not all of their frequencies.
        least: images of each class that it takes; with fewer it is not measured.
    """

    group: str
    draw: Callable | None = None
    drawn: dict[str, list] = {}
    grid: dict[str, list] = {}
    like: str = ""
    beside: str = ""
    head: str = "logistic"
    band: str = ""
    least: int = 1


ALONE = {"strength": STRENGTHS}
WITH = {"strength": STRENGTHS, "ratio": RATIOS}
EDIT = {"alpha": ALPHAS}
TUNED = {"lr": [0.0003, 0.001], "steps": [20, 100], "trained": list(finetuned.TRAINED)}
MIXED = TUNED | {"ratio": [0.5, 0.9]}
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
MORE = {  # what joins the few images where the network is tuned
    "shift and flip": draws.moved,
    "TrivialAugment": partial(draws.policy, name="trivial"),
    "MixUp": partial(draws.mixed, name="mixup"),
    "CutMix": partial(draws.mixed, name="cutmix"),
}
OTHER = ("mango", "smoothed", "fluctuated", "thresholded", "time and frequency", "separately")  # policies of papers
ARMS: dict[str, Arm] = {
    "real only": Arm("baseline", grid=ALONE),
    "nearest centroid": Arm("baseline", head="nearest"),
    "whitened centroid": Arm("baseline", grid={"share": SHARES}, head="whitened"),
    "shift and flip": Arm("baseline", draws.moved, grid=WITH),
    "TrivialAugment": Arm("baseline", partial(draws.policy, name="trivial"), grid=WITH),
    "MixUp": Arm("baseline", partial(draws.mixed, name="mixup"), grid=WITH),
    "CutMix": Arm("baseline", partial(draws.mixed, name="cutmix"), grid=WITH),
    "calibration": Arm("baseline", draws.calibrated, {"k": [1, 2], "spread": [0.03, 0.21, 1.0]}, WITH),
    "raw offsets": Arm("baseline", draws.raw, EDIT, WITH),
    "offsets in features": Arm("baseline", draws.feature_offsets, EDIT, WITH),
    "fine-tuning": Arm("fine-tuned", grid=TUNED, head="network"),
    **{
        f"fine-tuning + {name}": Arm("fine-tuned", draw, grid=MIXED, beside="fine-tuning", head="network")
        for name, draw in MORE.items()
    },
    "AGE": Arm("method", partial(draws.edited, mapped=False, adaptive=False), EDIT, WITH),
    "SAGE-Q": Arm("method", partial(draws.edited, adaptive=False), EDIT, WITH),
    "SAGE-I": Arm("method", partial(draws.edited, mapped=False), EDIT, WITH),
    "SAGE": Arm("method", draws.edited, EDIT, WITH),
    "SAGE of clusters": Arm("method", partial(draws.edited, atoms="clusters"), EDIT | {"t_B": [0.17, 0.5]}, WITH),
    **{f"SAGE_{how}": Arm("method", partial(draws.edited, how=how), EDIT, WITH) for how in ("p", "f", "p+f")},
    **{name: Arm("control", partial(draws.edited, **what), EDIT, WITH, like="SAGE") for name, what in CONTROL.items()},
    "inverted only": Arm("control", partial(draws.edited, mapped=False), {}, WITH),
    "embedding only": Arm("control", draws.edited, {}, WITH),
    "inverted p+f": Arm("control", partial(draws.edited, mapped=False, how="p+f"), {}, WITH),
    "inverted, alone": Arm("control", partial(draws.edited, mapped=False), {}, ALONE | {"ratio": [1.0]}),
    "raw offsets outside B": Arm("control", partial(draws.raw, outside=True), EDIT, WITH, like="raw offsets"),
    "soft mapping": Arm("ours", grid=SOFT, head="soft"),
    "soft mapping, drawn": Arm("ours", draws.softly, SOFT, {"strength": [30.0, 1000.0], "ratio": [0.9, 1.0]}),
    "soft mapping, all means alike": Arm("ours", grid=SOFT | {"share": [1.0]}, head="soft"),
    **{f"real only, {band} pass": Arm("control", grid=ALONE, like="real only", band=band) for band in ("low", "high")},
    **{name: Arm("other", partial(draws.policy, name=name), grid=WITH) for name in OTHER},
    "SAGE, better half": Arm("other", partial(halves.halved, by="score"), EDIT, WITH),
    "SAGE, random half": Arm("other", partial(halves.halved, by="random"), EDIT, WITH, like="SAGE, better half"),
    "CFTS-GAN": Arm("adapted", partial(adapted.adapted, weight=40.0), {}, WITH, least=10),
    "CFTS-GAN, no CDC": Arm("adapted", partial(adapted.adapted, weight=0.0), {}, WITH, like="CFTS-GAN", least=10),
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
    tuned = arm.head == "network"
    query = world.features[f"query {arm.band}".strip()][task.counts], world.query.labels[task.counts]
    for each in settings:
        drawing = {key: value for key, value in each.items() if key in arm.drawn}
        key = tuple(drawing.items())
        if arm.draw and key not in kept:
            drawn, labels, weights = arm.draw(world, task, runtime.generator(seed), **drawing)
            kept[key] = world.encode(drawn) if drawn.ndim == 4 and not tuned else drawn, labels, weights
        rest = {key: value for key, value in each.items() if key not in arm.drawn}
        if tuned:
            found.append(finetuned.accuracy(world, task, kept.get(key), seed, **rest))
        else:
            found.append(heads.accuracy(head_of(world, task, arm, kept.get(key), rest), *query))
    return found


def head_of(world: World, task: Task, arm: Arm, drawn: draws.Drawn | None, settings: dict) -> heads.Head:
    """Return the head of an arm, on the few images and what was drawn; all together weigh as much as the few."""
    labels = task.few.labels
    if arm.head == "nearest":
        return heads.nearest(task.features, labels)
    if arm.head == "soft":
        return heads.gaussian(*draws.probable(world, task, **settings))
    if arm.head == "whitened":
        return heads.whitened(task.features, labels, world.moments.within(), **settings)
    ratio = settings.get("ratio", 0.0)
    features, weights = task.features, torch.full((len(labels),), 1 - ratio)
    if drawn:
        features, labels = torch.cat((features, drawn[0])), torch.cat((labels, drawn[1]))
        weights = torch.cat((weights, drawn[2] * ratio * len(weights) / drawn[2].sum()))
    kept = weights > 0
    return heads.logistic(features[kept], labels[kept], weights[kept], strength=settings["strength"])
