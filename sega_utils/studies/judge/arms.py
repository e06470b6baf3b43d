"""The judge's trainings and pools of synthetic images, each a record of its own that is made once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters import registry
from sega_utils.core import artifacts, learning, records, runtime
from sega_utils.data.images import Dataset, from_uint8, take, to_uint8
from sega_utils.studies.judge import folder as judge_folder, gate as judge_gate
from sega_utils.training import classifiers
from sega_utils.training.recipes import slug

STAGE = "judge"
PLAIN = "crop and flip"
ARMS = {  # on real images alone; what differs from the defaults of train_classifier
    PLAIN: {},
    "any turn": {"policy": "turn"},  # in no policy of all trades: TrivialAugment turns one image in fourteen
    "CutMix": {"mixing": "cutmix"},
    "TrivialAugment": {"policy": "trivial"},
    "TrivialAugment + CutMix": {"policy": "trivial", "mixing": "cutmix"},
}
RATE = {"lr": 0.1, "weight_decay": 2e-3}
WHOLE = "all"  # the part of all training images; a fold's is written r0f1: repeat 0, all but fold 1


class Plan(NamedTuple):
    """What the judge will do: sizes and budgets, from the images alone.

    Attributes:
        side: of the images, in pixels. steps, batch_size: of each classifier.
        repeats: of the cross-validation in three folds; seeds: of the final trainings; curve: of the learning curve.
        augmenters: name in the registry to settings of its fit.
        pool: synthetic images of an augmenter; ratio: their share of every batch.
        balanced: every class counts alike in an accuracy, because the classes differ in size.
        backbone: a name for ``outside.load``, or ``none``.
        workers: processes at a time; 0 does all in this one.
        tuned: steps of each fine-tuning of the backbone; 0 leaves it frozen.
        spared: what was taken out of the plan to keep its minutes, in words.
    """

    side: int
    steps: int
    batch_size: int
    repeats: int
    seeds: int
    curve: int
    augmenters: dict[str, dict]
    pool: int
    ratio: float
    balanced: bool
    backbone: str
    workers: int
    tuned: int = 0
    spared: tuple[str, ...] = ()


class Job(NamedTuple):
    """One training: an arm on real images, with an augmenter's images or without, on a part of the training images.

    Attributes:
        share: of each class's images in the part, for the learning curve.
    """

    arm: str
    augmenter: str = ""
    part: str = WHOLE
    seed: int = 0
    share: float = 1.0

    def name(self) -> str:
        """Return the record's name."""
        share = f"-{self.share:g}" if self.share < 1 else ""
        return "-".join(filter(None, (slug(self.arm), slug(self.augmenter), self.part))) + f"{share}-seed{self.seed}"


def part_of(judged: judge_folder.Judged, part: str, share: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the places of the images to train on, and of those held out: a fold's, or for ``all`` the test images."""
    held = judged.tests
    if part != WHOLE:
        repeat, fold = map(int, part[1:].split("f"))
        held = ~judged.tests & (judged.folds[repeat] == fold)
    train = (~judged.tests & ~held).nonzero()[:, 0]
    if share < 1:
        chosen = []
        for c in judged.data.labels.unique():
            mine = sorted(train[judged.data.labels[train] == c].tolist(), key=lambda i: judged.digests[i])
            chosen += mine[: max(2, round(share * len(mine)))]
        train = torch.tensor(sorted(chosen))
    return train, held.nonzero()[:, 0]


def digest_of(data: Dataset) -> str:
    """Return what tells a training's images from those of another, whatever their order on disk."""
    return artifacts.digest({"images": to_uint8(data.images), "labels": data.labels})


def train(run: str, dataset: str, plan: Plan, job: Job) -> dict:
    """Train one classifier, keep its weights, and return its record; one that is on record is not trained again.

    Raises:
        ValueError: a pool that its gate has refused; FloatingPointError: the loss is not finite.
    """
    folder = judge_folder.place(run, dataset)
    judged = judge_folder.load(folder)
    real = take(judged.data, part_of(judged, job.part, job.share)[0])
    inputs, synthetic = {"images": digest_of(real)}, None
    if job.augmenter:
        about = draw(run, dataset, plan, job.augmenter, job.part, job.seed)
        if not about["passed"]:
            raise ValueError(f"the gate has refused {job.augmenter} on {job.part}: no classifier trains on its images")
        images, labels = kept_of(folder, job.augmenter, job.part, job.seed)
        synthetic = from_uint8(images), F.one_hot(labels, len(real.class_names)).float()
        inputs["pool"] = about["input_pool"]
    file = weights_file(folder, job)
    settings = RATE | {"steps": plan.steps, "batch_size": plan.batch_size} | ARMS[job.arm]
    parameters = settings | job._asdict() | {"mirrors": real.mirrors} | ({"ratio": plan.ratio} if synthetic else {})

    def measure() -> dict:
        model = classifiers.train_classifier(real, synthetic=synthetic, ratio=plan.ratio, seed=job.seed, **settings)
        meta = {"classifier": "resnet8-half"} | real.shape()
        return {"n": len(real.labels), "weights": artifacts.save_tensors(file, model.state_dict(), meta)}

    return records.once(
        run,
        dataset,
        STAGE,
        job.name(),
        parameters=parameters,
        inputs=inputs,
        measure=measure,
        made=("weights",),
        is_whole=is_kept(file, "weights"),
    )


def weights_file(folder: Path, job: Job) -> Path:
    """Return where a training's weights are kept."""
    return folder / "classifiers" / f"{job.name()}.safetensors"


def classifier(folder: Path, job: Job) -> nn.Module:
    """Return a trained classifier, frozen and in eval mode.

    Raises:
        FileNotFoundError, ArtifactError: it was not trained, or its file is damaged.
    """
    return restore(weights_file(folder, job))


def restore(file: Path) -> nn.Module:
    """Return the classifier that a file of weights holds, with its ``meta``, frozen and in eval mode.

    Raises:
        FileNotFoundError, ArtifactError: as ``learning.load_network``.
    """
    shape = ("n_classes", "channels", "side")
    build = lambda meta, _: classifiers.build(meta["classifier"], **{name: meta[name] for name in shape})
    return learning.load_network(file, build, what="classifier of the judge")


@torch.no_grad()
def logits(model: nn.Module, images: torch.Tensor, *, batch: int = 500) -> torch.Tensor:
    """Return the logits float32 (N, K) of images, some at a time."""
    return torch.cat([model(part) for part in images.split(batch)])


def draw(run: str, dataset: str, plan: Plan, augmenter: str, part: str, seed: int) -> dict:
    """Fit an augmenter to a part of the training images, draw its pool, put it to the gate, and return both records.

    The gate's instruments are those of fold 0: a classifier trained on real images of the other folds, and its held-out
    real images. They have a record of their own, so that an image more among them repeats no augmenter's training.
    """
    made = draw_pool(run, dataset, plan, augmenter, part, seed)
    folder = judge_folder.place(run, dataset)
    judged, judge_part = judge_folder.load(folder), Job(PLAIN, part="r0f0")
    model, file = classifier(folder, judge_part), gate_file(folder, augmenter, part, seed)
    seen, held = (take(judged.data, index) for index in part_of(judged, judge_part.part))

    def measure() -> dict:
        pool = artifacts.load_tensors(pool_file(folder, augmenter, part, seed))[0]
        drawn = from_uint8(pool["images"]), pool["class_ids"]
        found = judge_gate.pass_or_refuse(model, seen, held, *drawn, nearest=pool["nearest"])
        tensors = {name: found.pop(name) for name in ("predicted", "sure")}
        return found | {"gate": artifacts.save_tensors(file, tensors, {"augmenter": augmenter, "seed": seed})}

    found = records.once(
        run,
        dataset,
        STAGE,
        f"gate-{slug(augmenter)}-{part}-seed{seed}",
        parameters={"augmenter": augmenter, "part": part, "seed": seed},
        inputs={"pool": made["input_pool"], "instruments": model.meta["sha256"], "held_out": digest_of(held)},
        measure=measure,
        made=("gate",),
        is_whole=is_kept(file, "gate"),
    )
    return found | {"seconds": made["seconds"]}


def draw_pool(run: str, dataset: str, plan: Plan, augmenter: str, part: str, seed: int) -> dict:
    """Fit an augmenter to a part of the training images, draw and keep its pool, and return the record."""
    folder = judge_folder.place(run, dataset)
    judged = judge_folder.load(folder)
    real = take(judged.data, part_of(judged, part)[0])
    file, settings = pool_file(folder, augmenter, part, seed), plan.augmenters[augmenter]

    def measure() -> dict:
        fit, sample = registry.AUGMENTERS[augmenter]
        state = fit(real.images, real.labels, num_classes=len(real.class_names), seed=seed, **settings)
        labels = torch.arange(plan.pool) % len(real.class_names)
        images = to_uint8(sample(state, labels, seed))
        nearest = judge_gate.originals(from_uint8(images), real.images)
        tensors = {"images": images, "class_ids": labels, "nearest": nearest, "kept": nearest < 0}
        return {"pool": artifacts.save_tensors(file, tensors, {"augmenter": augmenter, "seed": seed})}

    return records.once(
        run,
        dataset,
        STAGE,
        f"pool-{slug(augmenter)}-{part}-seed{seed}",
        parameters={"augmenter": augmenter, "part": part, "seed": seed, "pool": plan.pool} | settings,
        inputs={"images": digest_of(real)},
        measure=measure,
        made=("pool",),
        is_whole=is_kept(file, "pool"),
    )


def is_kept(file: Path, name: str) -> Callable[[dict], bool]:
    """Return what tells of a record whether the file that it has made, named ``input_<name>``, is there as it was."""
    return lambda record: file.exists() and artifacts.load_tensors(file)[1]["sha256"] == record[f"input_{name}"]


def pool_file(folder: Path, augmenter: str, part: str, seed: int) -> Path:
    """Return where a pool is kept."""
    return folder / "pools" / f"{slug(augmenter)}-{part}-seed{seed}.safetensors"


def gate_file(folder: Path, augmenter: str, part: str, seed: int) -> Path:
    """Return where is kept what the gate's classifier sees in a pool."""
    return folder / "gates" / f"{slug(augmenter)}-{part}-seed{seed}.safetensors"


def load_pool(folder: Path, augmenter: str, part: str, seed: int) -> dict[str, torch.Tensor]:
    """Return a pool: ``images`` uint8 (M, C, S, S), ``class_ids`` int64 (M,), ``kept`` bool (M,), and its scores."""
    files = (pool_file, gate_file)
    return dict(item for of in files for item in artifacts.load_tensors(of(folder, augmenter, part, seed))[0].items())


def kept_of(folder: Path, augmenter: str, part: str, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images of a pool that are no copies, uint8 (M, C, S, S), and their labels int64 (M,)."""
    pool = artifacts.load_tensors(pool_file(folder, augmenter, part, seed))[0]
    return pool["images"][pool["kept"]], pool["class_ids"][pool["kept"]]


def every(function: Callable, jobs: list[tuple], *, workers: int, label: str) -> list:
    """Call a function for every job, in this process or in several; results come in the jobs' order."""
    if workers < 2 or len(jobs) < 2:
        return [function(*job) for job in runtime.progress(jobs, label)]
    return runtime.map_workers(function, jobs, workers=workers, label=label)


def train_all(run: str, dataset: str, plan: Plan, jobs: list[Job], label: str) -> list[dict]:
    """Train all jobs and return their records."""
    return every(partial(train, run, dataset, plan), [(job,) for job in jobs], workers=plan.workers, label=label)


def draw_all(run: str, dataset: str, plan: Plan, wanted: list[tuple[str, str, int]], label: str) -> list[dict]:
    """Draw the pools of (augmenter, part, seed) and return their records."""
    return every(partial(draw, run, dataset, plan), wanted, workers=plan.workers, label=label)
