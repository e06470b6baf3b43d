"""The judge's fine-tuned arm: the backbone trained on, with settings chosen inside the training images."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from sega_utils.core import artifacts, records
from sega_utils.data import outside
from sega_utils.data.images import from_uint8, resize, take
from sega_utils.studies.judge import (
    arms as judge_arms,
    folder as judge_folder,
    outside as judge_outside,
    verdict as numbers,
)
from sega_utils.studies.judge.arms import STAGE, WHOLE, Plan
from sega_utils.training import finetuning
from sega_utils.training.recipes import slug

TRIALS = (  # as many as there are arms on real images alone
    {"lr": 1e-4, "policy": "none"},
    {"lr": 5e-4, "policy": "none"},
    {"lr": 1e-4, "policy": "trivial"},
    {"lr": 5e-4, "policy": "trivial"},
    {"lr": 5e-4, "policy": "turn"},
)
BATCH, SEEDS = 32, 3  # images of a step; of the final trainings, as one takes minutes
STRENGTH = 1e-2  # of the layer that it begins with


class Tuning(NamedTuple):
    """One fine-tuning, with an augmenter's images or without, on a part of the training images."""

    trial: int
    part: str = WHOLE
    seed: int = 0
    augmenter: str = ""

    def name(self) -> str:
        """Return the record's name."""
        words = ("tuned", slug(self.augmenter), f"trial{self.trial}", self.part, f"seed{self.seed}")
        return "-".join(filter(None, words))


def side_of(backbone: str) -> int:
    """Return the side of the images of a fine-tuning, in pixels; 0 is what the backbone was trained with."""
    return 96 if backbone == outside.LITE0 else 0


def count(plan: Plan) -> int:
    """Return how many fine-tunings a plan holds: the trials on one fold, the other folds, the final ones twice."""
    return len(TRIALS) + judge_folder.FOLDS - 1 + (1 + bool(plan.augmenters)) * min(plan.seeds, SEEDS)


def measure(
    run: str, dataset: str, plan: Plan, pictures: judge_folder.Pictures, augmenter: str = ""
) -> tuple[dict, dict[str, torch.Tensor]]:
    """Choose a trial on fold 0, fine-tune on every fold and on all training images, with synthetic ones too.

    Returns:
        The accuracy out of fold in percent (``cv_accuracy``), the chosen trial's settings and the CPU's seconds; and
        logits as ``judge_outside.measure`` returns them: ``training`` (N_train, K), ``test`` and ``with_pools``
        (S, N_test, K).

    Raises:
        ValueError, ArtifactError: as ``outside.load``. FloatingPointError: the loss is not finite.
    """
    folder = judge_folder.place(run, dataset)
    store_images(folder, plan, pictures)
    judged = judge_folder.load(folder)
    labels = judged.data.labels
    told = partial(_tune_all, run, dataset, plan)
    trials = [Tuning(trial, "r0f0") for trial in range(len(TRIALS))]
    made = told(trials)
    held = labels[judge_arms.part_of(judged, "r0f0")[1]]
    counts_as = numbers.weights_of(held, balanced=plan.balanced)
    score = lambda job: float((logits_of(folder, job).argmax(1) == held).double() @ counts_as)
    best = max(trials, key=score).trial
    folds = [Tuning(best, f"r0f{f}") for f in range(judge_folder.FOLDS)]
    made += told(folds[1:])
    training = torch.empty(len(labels), len(judged.data.class_names))
    for job in folds:
        training[judge_arms.part_of(judged, job.part)[1]] = logits_of(folder, job)
    training, own = training[~judged.tests], labels[~judged.tests]
    hits = (training.argmax(1) == own).double()
    final = {
        name: [Tuning(best, seed=seed, augmenter=with_) for seed in range(min(plan.seeds, SEEDS))]
        for name, with_ in (("test", ""), ("with_pools", augmenter))
        if with_ or name == "test"
    }
    made += told([job for jobs in final.values() for job in jobs])
    cv = 100 * float(hits @ numbers.weights_of(own, balanced=plan.balanced))
    found = {"cv_accuracy": cv, "seconds": sum(record["seconds"] for record in made)} | TRIALS[best]
    tensors = {name: torch.stack([logits_of(folder, job) for job in jobs]) for name, jobs in final.items()}
    return found, {"training": training} | tensors


def _tune_all(run: str, dataset: str, plan: Plan, jobs: list[Tuning]) -> list[dict]:
    return judge_arms.every(
        partial(tune, run, dataset, plan), [(job,) for job in jobs], workers=plan.workers, label="fine-tuning"
    )


def tune(run: str, dataset: str, plan: Plan, job: Tuning) -> dict:
    """Fine-tune once, keep the logits of the images that are held out, and return the record.

    What is on record is not trained again.
    """
    folder, known = judge_folder.place(run, dataset), outside.load(plan.backbone, side=side_of(plan.backbone))
    judged, file = judge_folder.load(folder), logits_file(folder, job)
    kept = load_images(folder)
    data = judged.data._replace(images=from_uint8(kept["images"]))
    train, held = judge_arms.part_of(judged, job.part)
    real, tested, synthetic = take(data, train), take(data, held), None
    inputs = {"network": known.sha256, "images": judge_arms.digest_of(real), "held_out": judge_arms.digest_of(tested)}
    if job.augmenter:
        images, labels = judge_arms.kept_of(folder, job.augmenter, job.part, job.seed)
        inputs["pool"] = artifacts.digest({"images": images, "labels": labels})
        targets = F.one_hot(labels, len(data.class_names)).float()
        synthetic = resize(from_uint8(images).expand(-1, 3, -1, -1), data.images.shape[-1]), targets
    settings = TRIALS[job.trial] | {"steps": plan.tuned, "batch_size": BATCH, "ratio": plan.ratio}

    def made() -> dict:
        layer = first_layer(kept["features"][train], real.labels, balanced=plan.balanced)
        model = finetuning.fine_tune(known, real, layer=layer, synthetic=synthetic, seed=job.seed, **settings)
        tensors = {"logits": judge_arms.logits(model, tested.images, batch=BATCH)}
        return {"n": len(train), "logits": artifacts.save_tensors(file, tensors, job._asdict())}

    return records.once(
        run,
        dataset,
        STAGE,
        job.name(),
        parameters=settings | job._asdict() | {"backbone": plan.backbone, "side": known.side, "mirrors": data.mirrors},
        inputs=inputs,
        measure=made,
        made=("logits",),
        is_whole=judge_arms.is_kept(file, "logits"),
    )


def first_layer(features: torch.Tensor, labels: torch.Tensor, *, balanced: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (K, d) and bias (K,) of logistic regression on frozen features (N, d) of real images."""
    counts = labels.bincount()[labels].numpy()
    weights = 1 / counts if balanced else np.ones(len(labels))
    weight, bias = judge_outside.Linear(features.numpy(), labels.numpy(), weights / weights.mean(), STRENGTH).parts()
    return torch.from_numpy(weight).float(), torch.from_numpy(bias).float()


def logits_file(folder: Path, job: Tuning) -> Path:
    """Return where the logits of a fine-tuning's held-out images are kept."""
    return folder / "tuned" / f"{job.name()}.safetensors"


def logits_of(folder: Path, job: Tuning) -> torch.Tensor:
    """Return the logits float32 (N, K) of the images that a fine-tuning has not seen, in their order."""
    return artifacts.load_tensors(logits_file(folder, job))[0]["logits"]


def store_images(folder: Path, plan: Plan, pictures: judge_folder.Pictures) -> None:
    """Read the pictures at the side of fine-tuning, and their frozen features, once for all its processes."""
    known = outside.load(plan.backbone, side=side_of(plan.backbone))
    meta = {"digests": pictures.digests, "side": known.side, "network": known.sha256}
    file = folder / "tuning-images.safetensors"
    if file.exists():
        kept = artifacts.load_tensors(file)[1]
        if all(kept.get(name) == value for name, value in meta.items()):
            return
    images = torch.from_numpy(np.stack(list(judge_outside.read_all(pictures, range(len(pictures.files)), known.side))))
    artifacts.save_tensors(file, {"images": images, "features": outside.features(known, from_uint8(images))}, meta)


def load_images(folder: Path) -> dict[str, torch.Tensor]:
    """Return what ``store_images`` wrote, in the order of the judge's images: ``images`` uint8 (N, 3, S, S), and
    ``features`` float32 (N, d)."""
    return artifacts.load_tensors(folder / "tuning-images.safetensors")[0]
