"""The judge's plan: sides, budgets and minutes from a folder's images alone; there is nothing to set by hand."""

import os
import time

import torch

from sega_utils.data import outside
from sega_utils.data.images import Dataset
from sega_utils.studies import judge_arms, judge_folder
from sega_utils.studies.judge_arms import RATE, Plan
from sega_utils.training import classifiers

UNEQUAL = 3  # from this ratio of the largest to the smallest class on, every class counts alike
GENERATORS = {"glico": {}, "vae": {}, "gan": {"width": 64}, "ddim": {"width": 32}, "offsets": {}}
AT_ONCE = {"offsets-pixels": {}}  # these train nothing
QUICK_GENERATORS = ("glico", "vae", "gan")
LIMITS = {True: 15, False: 60}  # minutes


def make(
    pictures: judge_folder.Pictures, *, quick: bool, backbone: str = outside.LITE0, workers: int | None = None
) -> Plan:
    """Return the plan for a folder.

    Args:
        quick: at most 15 minutes on two cores for some hundred images, else at most an hour.
        backbone: a name for ``outside.load``, or ``none``.
        workers: processes at a time; None takes one a core, at most four.
    """
    counts = pictures.labels.bincount(minlength=len(pictures.names))
    n = len(pictures.labels) if pictures.tests is None else int((~pictures.tests).sum())
    steps = round(min(max(1000 * (n / 360) ** 0.5, 600), 5000), -2) if n else 0
    chosen = QUICK_GENERATORS if quick else tuple(GENERATORS)
    seconds = {"seconds": 40.0 if quick else 180.0}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Plan(
        side=64 if not quick and int(pictures.shorter.median()) >= 64 and n <= 1000 else 32,
        steps=int(steps),
        batch_size=96,
        repeats=1 if quick else 2,
        seeds=3 if quick else 5,
        curve=1 if quick else 2,
        augmenters={name: GENERATORS[name] | seconds for name in chosen} | AT_ONCE,
        pool=min(max(4 * n, 500), 4000) // len(counts) * len(counts),
        ratio=0.3,
        balanced=bool(counts.max() >= UNEQUAL * counts.min()),
        backbone=backbone,
        workers=min(cores, 4) if workers is None else workers,
    )


def trainings(plan: Plan) -> dict[str, int]:
    """Return how many trainings of each kind the plan holds; of the augmenters, two thirds are expected to pass."""
    folds, passing = plan.repeats * judge_folder.FOLDS, len(plan.augmenters) * 2 // 3
    return {
        "classifiers": len(judge_arms.ARMS) * (folds + plan.seeds)
        + passing * folds
        + plan.seeds
        + 2 * plan.curve * judge_folder.FOLDS,
        "augmenters": len(plan.augmenters) + passing * (folds - 1) + plan.seeds,
    }


def minutes(plan: Plan, pictures: judge_folder.Pictures) -> float:
    """Return how many minutes the plan will take on this machine as busy as it is now, from a few steps of each arm."""
    channels = pictures.images.shape[1]
    images = torch.rand(plan.batch_size, channels, plan.side, plan.side)
    data = Dataset(images, torch.arange(plan.batch_size) % len(pictures.names), pictures.names, pictures.mirrors)
    threads, spent = torch.get_num_threads(), 0.0
    torch.set_num_threads(1)
    for arm in judge_arms.ARMS.values():
        for steps in (1, 4):
            began = time.perf_counter()
            classifiers.train_classifier(data, steps=steps, batch_size=plan.batch_size, **RATE | arm)
            last = (time.perf_counter() - began) / steps
        spent += last / len(judge_arms.ARMS)
    torch.set_num_threads(threads)
    count = trainings(plan)
    fits = next(iter(plan.augmenters.values()), {}).get("seconds", 0) * 1.3 * count["augmenters"]
    known = 0 if plan.backbone == outside.NONE else (len(pictures.files) + 360 * plan.seeds) / 15
    return (plan.steps * spent * count["classifiers"] + fits) / max(plan.workers, 1) / 60 + known / 60 + 1


def rows(plan: Plan, pictures: judge_folder.Pictures, tests: torch.Tensor) -> list[dict[str, str]]:
    """Return the plan for people: a row for each thing that was looked at or decided, with its reason."""
    counts = pictures.labels[~tests].bincount(minlength=len(pictures.names))
    whose = "the folder's own" if pictures.tests is not None else "a fifth of each class, held out for good"
    count, shorter = trainings(plan), pictures.shorter
    said = {
        "classes": f"{len(pictures.names)}, of {int(counts.min())} to {int(counts.max())} training images",
        "training images": f"{int(counts.sum())}, {'colour' if pictures.images.shape[1] == 3 else 'grey'}",
        "test images": f"{int(tests.sum())}, {whose}",
        "left out": f"{len(pictures.left_out)} files, see left-out.csv",
        "sizes": f"shorter sides of {shorter.min()} to {shorter.max()} pixels, median {shorter.median()}",
        "side": f"{plan.side} pixels",
        "accuracy": "each class counts alike" if plan.balanced else "each image counts alike",
        "classifiers": f"{count['classifiers']} trainings of {plan.steps} steps",
        "augmenters": f"{', '.join(plan.augmenters) or 'none'}: about {count['augmenters']} trainings",
        "outside images": plan.backbone,
        "processes": f"{max(plan.workers, 1)} at a time, about 1 GB each",
    }
    return [{"what": name, "plan": value} for name, value in said.items()]
