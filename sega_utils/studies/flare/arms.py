"""FLARE's rows and their controls: one classifier of each, at equal steps, with what came of it on record."""

from collections.abc import Callable
from functools import lru_cache
from statistics import mean

import torch

from sega_utils.augmenters import flare
from sega_utils.core import artifacts, learning, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, from_uint8, take, to_uint8
from sega_utils.evaluation.shift import SHIFTS
from sega_utils.studies.flare import parts, pooled
from sega_utils.studies.flare.listed import ARMS, BEST, Arm, needs, told
from sega_utils.studies.flare.parts import Making
from sega_utils.studies.zoo import arms as zoo_arms, zoo
from sega_utils.studies.zoo.zoo import Place
from sega_utils.training import classifiers

STAGE = "flare"
PLAIN = Making()  # of no outside knowledge
SHIFTED = 2000  # test images that are shifted, at most


def train_once(
    place: Place,
    arm: str,
    seed: int,
    *,
    making: Making,
    tuned: dict,
    groups: dict[str, list[str]],
    coarse: bool = False,
    steps: int = 0,
    device: torch.device | str = "cpu",
) -> dict:
    """Train one classifier of an arm and return its record, made now or on disk.

    Args:
        arm: a key of ``ARMS``; what it is made of is there, see ``parts.make_once``.
        tuned: settings by arm of 05_training. groups: class names by macro class. coarse: train on macro classes.
        steps: 0 takes the settings'.

    Raises:
        ValueError: an unknown arm, or groups that are none of the classes.
        FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; known are {', '.join(ARMS)}")
    own, real = pooled.arm_of(place, arm, making), zoo.real_of(place)
    group, names = grouping(groups, real.few.class_names)
    settings = settings_of(own, tuned, steps)
    inputs = inputs_of(place, own, making, tuned)

    def measure() -> dict:
        data, extra, share = pooled.data_of(place, own, making, tuned, seed)
        counts = {"n_pool": len(data.labels) + (len(extra[1]) if extra else 0), "drawn_share": share}
        if coarse:
            data = data._replace(labels=group[data.labels], class_names=names)
            extra = extra and (extra[0], group[extra[1]])
        predict = fit(data, extra, own, settings, seed=seed, device=device)
        if own.enlarge:
            enlarge, small = pooled.enlarger(place, own.enlarge, making), predict
            predict = lambda images: small(enlarge(images))
        return measured(place, predict, real.rest, group, coarse) | counts

    asked = settings | told(own, making)
    asked |= {"subset": place.subset, "per_class": place.per_class, "arm": arm, "seed": seed, "coarse": coarse}
    name = name_of(place, arm, seed, coarse, steps, making)
    return records.once(*place[:2], STAGE, name, parameters=asked, inputs=inputs, measure=measure)


def name_of(place: Place, arm: str, seed: int, coarse: bool, steps: int, making: Making = PLAIN) -> str:
    """Return the name of an arm's record, which tells apart what outside knowledge is in it."""
    outside = [name for name in (making.restorer, making.pipeline) if name and needs(ARMS[arm])]
    more = ["outside", artifacts.digest_json(outside)[:8]] if outside else []
    return zoo.name_of(place, arm, "macro" if coarse else "fine", f"{steps}-steps", *more, f"seed{seed}")


def inputs_of(place: Place, arm: Arm, making: Making, tuned: dict) -> dict[str, str]:
    """Return the digests of what an arm is made of, by name."""
    found = {"real": parts.digest_of(zoo.real_of(place).few)}
    if needs(arm) == "drawn":
        made = records.load(records.path(*place[:2], parts.STAGE, parts.name_of(place, making)))
        found |= {name: made[f"input_{name}"] for name in ("drawn", "restorer")}
    if needs(arm) == "restorer":
        found["restorer"] = artifacts.stated_digest(parts.restorer_file(place, making))
    if arm.choice == "score":
        found["judge"] = pooled.judge_of(place, tuned).meta["sha256"]
    return found


def settings_of(arm: Arm, tuned: dict, steps: int = 0) -> dict:
    """Return what an arm gives ``train_classifier``: of its recipe, the tuned settings of the same arm on real images.

    The pool is fixed where FLARE's is: nothing is changed as it is trained on.
    """
    if arm.recipe == "best":
        return zoo_arms.settings_of(BEST, tuned, steps)[0]
    return zoo_arms.settings_of("Std Aug", tuned, steps)[0] | {"pixel": False}


def fit(
    data: Dataset, synthetic: tuple | None, arm: Arm, settings: dict, *, seed: int, device: torch.device | str
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Train an arm's classifier, and return what tells images' classes by it."""
    if arm.recipe != "anew":
        return zoo_arms.fit(data, synthetic, settings, zoo_arms.ADDED, share=arm.share, seed=seed, device=device)
    how = {name: settings[name] for name in ("classifier", "steps", "lr", "weight_decay")}
    model, optimise = classifiers.prepare(data, **how, precision="float32", compile=False, seed=seed, device=device)
    order = learning.shuffled(len(data.labels), settings["batch_size"], runtime.generator(seed))
    run = learning.Steps(settings["steps"], every=100, wrong="the loss is {loss} at step {step}; lower lr")
    for _, pick in zip(run, order):
        images = flare.anew(data.images[pick], mirrors=data.mirrors)
        run.note(loss=optimise(images.to(device), data.labels[pick].to(device)))
    return lambda images: classifiers.predict(model.eval(), images)


def measured(
    place: Place, predict: Callable[[torch.Tensor], torch.Tensor], rest: Dataset, group: torch.Tensor, coarse: bool
) -> dict:
    """Return a classifier's accuracies: on test, validation and shifted test images, and once in macro classes."""
    test = catalogue.load(place.dataset, "test")
    collapse = lambda labels: labels if coarse else group[labels]
    right = lambda found, labels: float((found == labels).double().mean())
    own = lambda labels: group[labels] if coarse else labels
    found = predict(test.images)
    result = {"accuracy": right(found, own(test.labels)), "n_test": len(test.labels)}
    result["accuracy_macro"] = right(collapse(found), group[test.labels])
    result |= {"accuracy_validation": right(predict(rest.images), own(rest.labels)), "n_validation": len(rest.labels)}
    sets, labels = shifted(place.dataset)
    shifts = {name: right(predict(from_uint8(images)), own(labels)) for name, images in sets.items()}
    return result | ({"shifts": shifts, "accuracy_shifted": mean(shifts.values())} if shifts else {})


@lru_cache(maxsize=1)
def shifted(dataset: str) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return the first test images under each shift of 06, uint8, and their labels; none of a data set without any."""
    test = take(catalogue.load(dataset, "test"), slice(SHIFTED))
    return {name: to_uint8(shift(test.images, seed=0)) for name, shift in SHIFTS.get(dataset, {}).items()}, test.labels


def grouping(groups: dict[str, list[str]], class_names: tuple[str, ...]) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Return the macro class of each class, int64 (n_classes,), and the macro classes' names.

    Raises:
        ValueError: a class is missing or stands twice, or there is no such class; the message names it.
    """
    members = [name for group in groups.values() for name in group]
    for what, wrong in (
        ("lack", [name for name in class_names if name not in members]),
        ("hold twice", [name for name in members if members.count(name) > 1]),
        ("hold, which is no class,", [name for name in members if name not in class_names]),
    ):
        if wrong:
            raise ValueError(
                f"groups {what} {wrong[0]!r}; they must hold each once: {', '.join(class_names)}; "
                "a data set of other classes needs its own groups, under datasets of the plan"
            )
    of = {name: i for i, group in enumerate(groups.values()) for name in group}
    return torch.tensor([of[name] for name in class_names]), tuple(groups)
