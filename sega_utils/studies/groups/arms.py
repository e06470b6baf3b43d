"""Classifiers of a scene: arms on its real images alone, and the same with what fills the gap."""

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core import artifacts, learning, records, runtime
from sega_utils.data import augment
from sega_utils.data.images import Dataset, batched, to_uint8
from sega_utils.studies.groups import fills, scenes
from sega_utils.studies.groups.scenes import Scene
from sega_utils.training import classifiers, mixture, recipes

# name: the arm of 05_training whose tuned settings it has, and what differs
POLICIES: dict[str, tuple[str, dict]] = {
    "Std Aug": ("Std Aug", {}),
    "photometric": ("Std Aug", {"policy": "photometric"}),
    "affine": ("Std Aug", {"policy": "affine"}),
    "TrivialAugment": ("Std Aug + TrivialAugment", {}),
    "CutMix": ("Std Aug + CutMix", {}),
    "CMO": ("Std Aug + CutMix", {"mixing": "none"}),  # mixes by itself
}
TRAINED_BY = ("classifier", "batch_size", "lr", "weight_decay", "pixel", "policy", "mixing")
ADJUSTED = "adjusted"  # begins the metrics of logits that are adjusted to classes equally frequent


def settings_of(policy: str, tuned: dict, steps: int) -> dict:
    """Return what a policy gives ``train_classifier``.

    Raises:
        ValueError: an unknown policy.
    """
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}; known are {', '.join(POLICIES)}")
    base, more = POLICIES[policy]
    found = {name: recipes.settings_of(base, tuned.get(base))[name] for name in TRAINED_BY}
    return found | more | {"steps": steps}


def train_once(scene: Scene, policy: str, fill: str, seed: int, tuned: dict, budget: dict) -> dict:
    """Train one classifier of a scene and return its record, made now or on disk.

    Its metrics are those of ``scenes.scores`` on test images and ``accuracy_validation``; where classes are rare, the
    same of ``adjusted`` logits, too.

    Args:
        policy: a key of ``POLICIES``; fill: of ``fills.FILLS`` that ``fill_once`` made, or empty for none.
        tuned: settings by arm of 05_training; budget: ``steps`` of the classifier, and what the fill was made with.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    real, settings = scenes.real_of(scene), settings_of(policy, tuned, budget["steps"])
    data = filled(real.train, *fills.load(scene, fill)) if fill else real.train
    inputs = {"data": artifacts.digest({"images": to_uint8(data.images), "labels": data.labels})}

    def measure() -> dict:
        train = train_cmo if policy == "CMO" else classifiers.train_classifier
        model, at = train(data, seed=seed, **settings), scenes.tested(scene)
        with torch.no_grad():
            logits, held = batched(model, at.data.images), batched(model, real.validation.images)
        found = valued(logits, held, at, real.validation)
        if scene.kind == "rare":
            prior = adjustment(data)
            found |= {
                f"{ADJUSTED}_{k}": v for k, v in valued(logits - prior, held - prior, at, real.validation).items()
            }
        return found | {"n_train": len(data.labels), "n_test": len(at.data.labels)}

    told = scene._asdict() | {"classes": " ".join(map(str, scene.classes)), "scene": scene.name, "kind": scene.kind}
    parameters = settings | {k: v for k, v in told.items() if k not in ("run", "dataset")}
    parameters |= {"arm": policy, "fill": fill, "seed": seed}
    return records.once(
        scene.run,
        scene.dataset,
        "groups",
        name_of(scene, policy, fill, budget["steps"], seed),
        parameters=parameters,
        inputs=inputs,
        measure=measure,
    )


def name_of(scene: Scene, policy: str, fill: str, steps: int, seed: int) -> str:
    """Return the name of a classifier's record."""
    return "-".join((scene.name, *map(recipes.slug, filter(None, (policy, fill))), f"{steps}-steps", f"seed{seed}"))


def valued(logits: torch.Tensor, held: torch.Tensor, at: scenes.Tested, validation: Dataset) -> dict:
    """Return what logits on test and on validation images are worth."""
    return scenes.scores(logits, at) | {"accuracy_validation": scenes.balanced(held, validation.labels)}


def filled(train: Dataset, images: torch.Tensor, labels: torch.Tensor) -> Dataset:
    """Return training images with others behind them, from which batches are drawn alike."""
    return train._replace(images=torch.cat((train.images, images)), labels=torch.cat((train.labels, labels)))


def adjustment(data: Dataset) -> torch.Tensor:
    """Return what is taken off the logits so that they are those of equally frequent classes, float32 (n_classes,).

    Source: Menon et al. 2021, equation 9 with tau = 1.
    """
    return (data.labels.bincount(minlength=len(data.class_names)) / len(data.labels)).log()


def train_cmo(real: Dataset, *, seed: int, pixel: bool, policy: str, mixing: str, **settings) -> nn.Module:
    """Train a classifier on images into which, every other step, a box of an image of a rare class is pasted.

    What is pasted is drawn with all classes equally likely, what it is pasted into as images come.

    Args:
        settings: ``classifier``, ``steps``, ``batch_size``, ``lr``, ``weight_decay`` of ``train_classifier``.

    Source: Park et al. 2022, algorithm 1, with probability 1/2 as for CutMix.
    """
    size, rng = settings.pop("batch_size"), runtime.generator(seed)
    model, optimise = classifiers.prepare(real, precision="float32", compile=False, seed=seed, device="cpu", **settings)
    targets = F.one_hot(real.labels, len(real.class_names)).float()
    weight = 1 / real.labels.bincount(minlength=len(real.class_names))[real.labels]
    stream = mixture.batches((real.images, targets), None, size=size, ratio=0.5, rng=rng)
    run = learning.Steps(settings["steps"], every=100, wrong="the loss is {loss} at step {step}; lower the rate")
    changed = {"pixel": pixel, "policy": policy, "mixing": "none", "mirrors": real.mirrors, "rng": rng}
    for _, batch in zip(run, stream):
        images, truth = classifiers.augmented(*batch, **changed)
        if torch.rand((), generator=rng) < 0.5:
            pick = torch.multinomial(weight, size, replacement=True, generator=rng)
            front, theirs = classifiers.augmented(real.images[pick], targets[pick], **changed)
            # the box comes from the image before: of every second image, from one that was drawn to be pasted
            turns = lambda one, other: torch.stack((one, other), 1).flatten(0, 1)
            images, truth = (part[::2] for part in augment.cutmix(turns(images, front), turns(truth, theirs)))
        run.note(loss=optimise(images, truth))
    return model.eval()
