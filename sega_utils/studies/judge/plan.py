"""The judge's plan: sides, budgets and minutes from a folder's images alone; there is nothing to set by hand."""

import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import torch

from sega_utils.core import artifacts
from sega_utils.data import outside
from sega_utils.data.images import Dataset
from sega_utils.studies.judge import (
    arms as judge_arms,
    folder as judge_folder,
    instruments as judge_instruments,
    tuned as judge_tuned,
)
from sega_utils.studies.judge.arms import RATE, Plan
from sega_utils.training import classifiers, finetuning

UNEQUAL = 3  # from this ratio of the largest to the smallest class on, every class counts alike
GENERATORS = {"glico": {}, "vae": {}, "offsets": {}, "gan": {"width": 64}, "ddim": {"width": 32}}  # last, first spared
AT_ONCE = {"offsets-pixels": {}}  # these train nothing
QUICK_GENERATORS = ("glico", "vae")
LIMITS = {True: 15, False: 60}  # minutes
MARGIN = 0.9  # of the limit; what the estimate knows nothing of has the rest
# CPU seconds, measured on the clip art: a process until it can train, a pool drawn and put to the gate, what is fitted
# to features.
PROCESS, GATE, LAYER = 8.0, 5.0, 8.0
SMALL = 0.2  # of the time that features of a whole image take, those of one at the side of fine-tuning
CALLS = 6  # how often processes are started
SAME = 0.1  # of the images; so many more or fewer make no other plan
LEAST_STEPS = 250  # of a classifier; fewer say nothing, so a machine too slow for these takes longer than it should


def make(
    pictures: judge_folder.Pictures, *, quick: bool, backbone: str = outside.LITE0, workers: int | None = None
) -> Plan:
    """Return the plan for a folder on a machine that is fast enough for all of it, see ``within``.

    Args:
        quick: for 15 minutes on two cores for some hundred images, else for an hour.
        backbone: a name for ``outside.load``, or ``none``.
        workers: processes at a time; None takes one a core, at most four.
    """
    counts = pictures.labels.bincount(minlength=len(pictures.names))
    n = len(pictures.labels) if pictures.tests is None else int((~pictures.tests).sum())
    steps = round((500 if quick else 1000) * min(max((n / 360) ** 0.5, 0.6), 5), -2)
    chosen = QUICK_GENERATORS if quick else tuple(GENERATORS)
    seconds = {"seconds": 30.0 if quick else 90.0}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Plan(
        side=64 if not quick and int(pictures.shorter.median()) >= 64 and n <= 1000 else 32,
        steps=int(steps),
        batch_size=96,
        repeats=1 if quick else 2,
        seeds=3 if quick else 5,
        curve=1 if quick else 2,
        augmenters={name: GENERATORS[name] | seconds for name in chosen} | AT_ONCE,
        pool=int(round(min(max(4 * n, 500), 4000), -2)) // len(counts) * len(counts),
        ratio=0.3,
        balanced=bool(counts.max() >= UNEQUAL * counts.min()),
        backbone=backbone,
        workers=min(cores, 4) if workers is None else workers,
        tuned=0 if quick or backbone == outside.NONE else int(round(0.15 * steps, -1)),
    )


def moment(pictures: judge_folder.Pictures, *, backbone: str = outside.NONE) -> Plan:
    """Return a plan of a minute, which shows how a verdict comes about and decides nothing."""
    augmenters = {"glico": {"seconds": 3.0}} | AT_ONCE
    small = {"steps": 30, "batch_size": 48, "seeds": 2, "augmenters": augmenters, "pool": 20 * len(pictures.names)}
    return make(pictures, quick=True, backbone=backbone, workers=0)._replace(**small)


def choose(file: Path, pictures: judge_folder.Pictures, *, quick: bool, backbone: str) -> Plan:
    """Return the plan that keeps its minutes on this machine; the first one made stays.

    So a killed run goes on, and one with a few images more or fewer repeats only what depends on these.

    Args:
        file: remembers the plans, each with the number of images that it was made for.

    Raises:
        ArtifactError: the file is damaged.
    """
    whole, n = make(pictures, quick=quick, backbone=backbone), len(pictures.files)
    of_number = {"steps": 0, "pool": 0, "tuned": bool(whole.tuned)}
    key = artifacts.digest_json([whole._replace(**of_number)._asdict(), len(pictures.names)])
    known = artifacts.load_json(file) if file.exists() else {}
    if key not in known or abs(known[key]["images"] - n) > SAME * n:
        known[key] = {"images": n, "plan": within(whole, pictures, limit=LIMITS[quick])._asdict()}
        artifacts.save_json(file, known)
    kept = known[key]["plan"]
    return Plan(**kept | {"spared": tuple(kept["spared"])})


def within(plan: Plan, pictures: judge_folder.Pictures, *, limit: float) -> Plan:
    """Return a plan without what does not fit into some minutes on this machine as busy as it is now.

    Repeats go before augmenters, and those before anything that the verdict needs; ``spared`` says what.
    """
    for words, change in reductions(plan):
        if minutes(plan, pictures) <= MARGIN * limit:
            break
        plan = plan._replace(**change(plan), spared=(*plan.spared, words))
    spent, allowed = cpu_seconds(plan, pictures), 60 * MARGIN * limit * max(plan.workers, 1) / busyness()
    if sum(spent.values()) > allowed:
        share = 1 - (sum(spent.values()) - allowed) / spent["classifiers"]
        steps = max(int(plan.steps * share), LEAST_STEPS)
        plan = plan._replace(steps=steps, spared=(*plan.spared, f"{plan.steps - steps} steps of each classifier"))
    return plan


def reductions(plan: Plan) -> Iterator[tuple[str, Callable[[Plan], dict]]]:
    """Yield what can be spared, the least missed first: in words, and as the changes that it makes to a plan."""
    if plan.side > 32:
        yield f"{plan.side} pixels a side instead of 32", lambda plan: {"side": 32}
    if plan.repeats > 1:
        yield "the cross-validation's second round", lambda plan: {"repeats": 1}
    for name in [name for name in reversed(plan.augmenters) if "seconds" in plan.augmenters[name]][:-1]:
        drop = lambda plan, name=name: {"augmenters": {k: v for k, v in plan.augmenters.items() if k != name}}
        yield f"the augmenter {name}", drop
    if plan.tuned:
        yield "fine-tuning", lambda plan: {"tuned": 0}
    if plan.curve > 1:
        yield "the learning curve's second seed", lambda plan: {"curve": 1}
    if plan.seeds > 3:
        yield f"{plan.seeds - 3} of {plan.seeds} seeds", lambda plan: {"seeds": 3}
    if plan.curve:
        yield "the learning curve", lambda plan: {"curve": 0}


def trainings(plan: Plan) -> dict[str, int]:
    """Return how many trainings of each kind the plan holds at most, which is when all augmenters pass the gate."""
    folds, augmenters = plan.repeats * judge_folder.FOLDS, len(plan.augmenters)
    return {
        "classifiers": len(judge_arms.ARMS) * (folds + plan.seeds)
        + augmenters * folds
        + bool(augmenters) * plan.seeds
        + 2 * plan.curve * judge_folder.FOLDS,
        "augmenters": augmenters * folds + bool(augmenters) * plan.seeds,
        "fine-tunings": judge_tuned.count(plan) if plan.tuned else 0,
    }


def minutes(plan: Plan, pictures: judge_folder.Pictures) -> float:
    """Return how many minutes the plan will take at most on this machine as busy as it is now."""
    return busyness() * sum(cpu_seconds(plan, pictures).values()) / max(plan.workers, 1) / 60


def cpu_seconds(plan: Plan, pictures: judge_folder.Pictures) -> dict[str, float]:
    """Return the CPU seconds of each part of a plan at most, from a few steps of each kind of training."""
    shape = len(pictures.names), pictures.images.shape[1], plan.side, plan.batch_size
    count, n = trainings(plan), len(pictures.files)
    n_training = n if pictures.tests is None else int((~pictures.tests).sum())
    fits = [settings.get("seconds", 0.0) for settings in plan.augmenters.values()]
    fitted = plan.repeats * judge_folder.FOLDS * sum(fits) + plan.seeds * max(fits, default=0.0)
    spent = {
        "classifiers": count["classifiers"] * plan.steps * step_seconds(*shape),
        "augmenters": fitted + GATE * count["augmenters"],
        "processes": CALLS * PROCESS * plan.workers,
    }
    if plan.backbone != outside.NONE:
        pools = plan.seeds if plan.augmenters else 0
        seen = n + pools * min(plan.pool, n_training) + judge_instruments.MIRRORED
        seen += SMALL * n_training * (1 + len(plan.augmenters))  # at the gate
        spent["outside images"] = seen * feature_seconds(plan.backbone) + (2 + pools) * LAYER
    if plan.tuned:
        spent["fine-tuning"] = count["fine-tunings"] * plan.tuned * tuning_seconds(plan.backbone)
    return spent


@lru_cache
def step_seconds(n_classes: int, channels: int, side: int, batch: int) -> float:
    """Return the CPU seconds of a classifier's step, the mean over the arms, on one thread."""
    images = torch.rand(batch, channels, side, side)
    data = Dataset(images, torch.arange(batch) % n_classes, tuple(map(str, range(n_classes))), True)
    spent = []
    for arm in judge_arms.ARMS.values():
        run = lambda steps, arm=arm: classifiers.train_classifier(data, steps=steps, batch_size=batch, **RATE | arm)
        run(1)  # what is only done once
        spent.append(_timed(lambda run=run: run(8))[0] / 8)
    return sum(spent) / len(spent)


@lru_cache
def feature_seconds(backbone: str) -> float:
    """Return the CPU seconds that a backbone takes for the features of an image, on one thread."""
    network = outside.load(backbone)
    images = torch.rand(8, 3, network.side, network.side)
    outside.features(network, images[:1])
    return _timed(lambda: outside.features(network, images))[0] / len(images)


@lru_cache
def tuning_seconds(backbone: str) -> float:
    """Return the CPU seconds of a step of fine-tuning, on one thread."""
    network = outside.load(backbone, side=judge_tuned.side_of(backbone))
    data = Dataset(torch.rand(32, 3, network.side, network.side), torch.arange(32) % 2, ("0", "1"), True)
    run = lambda: finetuning.fine_tune(network, data, steps=1, lr=1e-4, batch_size=judge_tuned.BATCH)
    run()
    return _timed(run)[0]


@lru_cache
def busyness() -> float:
    """Return by how much work takes longer on this machine now than its own CPU seconds, 1 on an idle one."""
    data = Dataset(torch.rand(96, 3, 32, 32), torch.arange(96) % 2, ("0", "1"), True)
    used, passed = _timed(lambda: classifiers.train_classifier(data, steps=20))
    return max(1.0, passed / used)


def _timed(run: Callable) -> tuple[float, float]:
    """Return the seconds of the CPU and of the clock that something takes on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        used, passed = time.process_time(), time.perf_counter()
        run()
        return max(time.process_time() - used, 1e-3), time.perf_counter() - passed
    finally:
        torch.set_num_threads(threads)


def rows(plan: Plan, pictures: judge_folder.Pictures, tests: torch.Tensor) -> list[dict[str, str]]:
    """Return the plan for people: a row for each thing that was looked at or decided, with its reason."""
    counts = pictures.labels[~tests].bincount(minlength=len(pictures.names))
    whose = "the folder's own" if pictures.tests is not None else "a fifth of each class, held out for good"
    count, shorter = trainings(plan), pictures.shorter
    tuned = f", then {count['fine-tunings']} fine-tunings of {plan.tuned} steps" if plan.tuned else ""
    said = {
        "classes": f"{len(pictures.names)}, of {int(counts.min())} to {int(counts.max())} training images",
        "training images": f"{int(counts.sum())}, {'colour' if pictures.images.shape[1] == 3 else 'grey'}",
        "test images": f"{int(tests.sum())}, {whose}",
        "left out": f"{len(pictures.left_out)} files, see left-out.csv",
        "sizes": f"shorter sides of {shorter.min()} to {shorter.max()} pixels, median {shorter.median()}",
        "side": f"{plan.side} pixels",
        "accuracy": "each class counts alike" if plan.balanced else "each image counts alike",
        "classifiers": f"at most {count['classifiers']} trainings of {plan.steps} steps",
        "augmenters": f"{', '.join(plan.augmenters) or 'none'}: at most {count['augmenters']} trainings",
        "outside images": f"{plan.backbone}{'' if plan.backbone == outside.NONE else f', frozen{tuned}'}",
        "processes": f"{max(plan.workers, 1)} at a time, about 1 GB each",
        "spared": f"{', '.join(plan.spared)}; plan.json keeps this plan" if plan.spared else "nothing",
    }
    return [{"what": name, "plan": value} for name, value in said.items()]
