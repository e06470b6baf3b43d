"""FLARE's rows and their controls: one classifier of each, at equal steps, with what came of it on record."""

from collections.abc import Callable
from functools import lru_cache, partial
from statistics import mean
from typing import NamedTuple

import torch
from torch import nn

from sega_utils.augmenters import flare
from sega_utils.augmenters.restoration import TIMES, restore
from sega_utils.core import artifacts, learning, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, batched, from_uint8, resize, take, to_uint8
from sega_utils.evaluation.shift import SHIFTS
from sega_utils.filters import rules
from sega_utils.studies.flare import parts
from sega_utils.studies.flare.parts import Making
from sega_utils.studies.zoo import arms as zoo_arms, zoo
from sega_utils.studies.zoo.zoo import Place
from sega_utils.training import classifiers

STAGE = "flare"
PLAIN = Making()  # of no outside knowledge
BEST = "CutMix"  # of the zoo's arms on real images alone, by validation, where it has measured 60 a class
SHIFTED = 2000  # test images that are shifted, at most


class Arm(NamedTuple):
    """What an arm trains on and how, and which arm it is compared with.

    Attributes:
        to: its control. real: what versions are made of: raw, restored, or nothing; alpha: share of their kinds.
        drawn: a name of ``parts.load``, or nothing; beta: share of its kinds.
        share: of every batch, drawn; 0 takes images as they come in the pool.
        gate: psnr, which drops images below the limit, or matched, which drops any, as many of each class and kind.
        recipe: fixed (images as they are in the pool), anew (versions drawn at each step), or best (``BEST``).
        varied: whether drawn images have variations; without any, as large a share of a batch is drawn as of ``to``'s.
        choice: how rows of the shares are chosen: the first kinds, or of each class those that a classifier of the
            real images gives the highest score, or any at random.
        enlarge: what doubles the side of test images, bicubic or restorer, and of a pool of ``raw`` images, which is
            always bicubic; nothing: all images keep their side, restored ones are brought back to it.
    """

    to: str = ""
    real: str = "restored"
    alpha: float = 0.5
    drawn: str = "drawn restored"
    beta: float = 1.0
    share: float = 0.0
    gate: str = ""
    recipe: str = "fixed"
    varied: bool = True
    choice: str = ""
    enlarge: str = ""


LATER = {"choice", "enlarge"}  # fields that records state where they say something

NOTHING = {"real": "", "drawn": ""}  # but the real images themselves
ARMS = {
    "Raw_LR": Arm("", **NOTHING),
    "Raw_Aug_LR": Arm("Raw_LR", real="raw", alpha=1.0, drawn=""),
    "Raw_Aug_HR": Arm("Raw_Aug_LR", alpha=1.0, drawn=""),
    "T2I_Aug_HR": Arm("Raw_Aug_HR", real=""),
    "FLARE": Arm("Raw_Aug_HR"),
    "FLARE alpha 0.5 beta 0.5": Arm("FLARE", beta=0.5),
    "FLARE alpha 0.5 beta 0.75": Arm("FLARE", beta=0.75),
    "FLARE alpha 1 beta 1": Arm("FLARE", alpha=1.0),
    "FLARE alpha 0.5 beta 0.5 at random": Arm("FLARE alpha 0.5 beta 0.5", beta=0.5, choice="random"),
    "FLARE alpha 0.5 beta 0.5 by score": Arm("FLARE alpha 0.5 beta 0.5 at random", beta=0.5, choice="score"),
    "Raw_Aug_LR drawn anew": Arm("Raw_Aug_LR", **NOTHING, recipe="anew"),
    "FLARE without restoration": Arm("FLARE", real="raw", drawn="drawn"),
    "FLARE without I2I": Arm("FLARE", varied=False),
    "FLARE with I2I of real images": Arm("FLARE", drawn="redrawn restored"),
    "FLARE share 0.1": Arm("FLARE", share=0.1),
    "FLARE share 0.3": Arm("FLARE", share=0.3),
    "FLARE gate": Arm("FLARE random gate", gate="psnr"),
    "FLARE random gate": Arm("FLARE", gate="matched"),
    "Raw_Aug_LR enlarged": Arm("Raw_Aug_LR", real="raw", alpha=1.0, drawn="", enlarge="bicubic"),
    "Raw_Aug_HR enlarged": Arm("Raw_Aug_LR enlarged", alpha=1.0, drawn="", enlarge="bicubic"),
    "Raw_Aug_HR enlarged, test too": Arm("Raw_Aug_LR enlarged", alpha=1.0, drawn="", enlarge="restorer"),
    BEST: Arm("Raw_Aug_LR drawn anew", **NOTHING, recipe="best"),
    f"FLARE onto {BEST}": Arm(BEST, recipe="best"),
}


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
    own, real = arm_of(place, arm, making), zoo.real_of(place)
    group, names = grouping(groups, real.few.class_names)
    settings = settings_of(own, tuned, steps)
    inputs = inputs_of(place, own, making, tuned)

    def measure() -> dict:
        data, extra, share = data_of(place, own, making, tuned)
        counts = {"n_pool": len(data.labels) + (len(extra[1]) if extra else 0), "drawn_share": share}
        if coarse:
            data = data._replace(labels=group[data.labels], class_names=names)
            extra = extra and (extra[0], group[extra[1]])
        predict = fit(data, extra, own, settings, seed=seed, device=device)
        if own.enlarge:
            enlarge, small = enlarger(place, own.enlarge, making), predict
            predict = lambda images: small(enlarge(images))
        return measured(place, predict, real.rest, group, coarse) | counts

    asked = settings | told(own, making)
    asked |= {"subset": place.subset, "per_class": place.per_class, "arm": arm, "seed": seed, "coarse": coarse}
    name = name_of(place, arm, seed, coarse, steps, making)
    return records.once(*place[:2], STAGE, name, parameters=asked, inputs=inputs, measure=measure)


def told(arm: Arm, making: Making) -> dict:
    """Return what records say of an arm, and of how its images were made if it needs any."""
    unsaid = {"to", "varied"} | {name for name in LATER if not getattr(arm, name)}
    own = {name: value for name, value in arm._asdict().items() if name not in unsaid}
    return own | (making.told() if needs(arm) else {})


def is_of(record: dict, arm: str, making: Making) -> bool:
    """Return whether a record is of an arm as it is today, of images that are made in this way."""
    decided = set() if ARMS[arm].varied else {"beta", "share"}  # by its place
    return all(record.get(f"param_{k}") == v for k, v in told(ARMS[arm], making).items() if k not in decided)


def arm_of(place: Place, arm: str, making: Making) -> Arm:
    """Return an arm as it is at a place: the shares of one whose drawn images are not varied depend on the others'."""
    own = ARMS[arm]
    if own.varied:
        return own
    kinds = 1 + making.variations
    full, versions = ARMS[own.to], len(flare.kinds_of(zoo.real_of(place).few.mirrors))
    drawn, real = (flare.count_of(part, n) for part, n in ((full.beta, kinds), (full.alpha, versions)))
    return own._replace(beta=1 / kinds, share=drawn / (drawn + real))


def name_of(place: Place, arm: str, seed: int, coarse: bool, steps: int, making: Making = PLAIN) -> str:
    """Return the name of an arm's record, which tells apart what outside knowledge is in it."""
    outside = [name for name in (making.restorer, making.pipeline) if name and needs(ARMS[arm])]
    more = ["outside", artifacts.digest_json(outside)[:8]] if outside else []
    return zoo.name_of(place, arm, "macro" if coarse else "fine", f"{steps}-steps", *more, f"seed{seed}")


def needs(arm: Arm) -> str:
    """Return what an arm needs to be made first: ``drawn`` (all parts), the ``restorer`` alone, or nothing."""
    restored = "restorer" if arm.real == "restored" or arm.enlarge == "restorer" else ""
    return restored if arm.enlarge else "drawn" if restored or arm.drawn else ""


def inputs_of(place: Place, arm: Arm, making: Making, tuned: dict) -> dict[str, str]:
    """Return the digests of what an arm is made of, by name."""
    found = {"real": parts.digest_of(zoo.real_of(place).few)}
    if needs(arm) == "drawn":
        made = records.load(records.path(*place[:2], parts.STAGE, parts.name_of(place, making)))
        found["drawn"] = made["input_drawn"]
    if needs(arm) == "restorer":
        found["restorer"] = artifacts.stated_digest(parts.restorer_file(place, making))
    if arm.choice == "score":
        found["judge"] = zoo.judge_of(place, tuned).meta["sha256"]
    return found


def settings_of(arm: Arm, tuned: dict, steps: int = 0) -> dict:
    """Return what an arm gives ``train_classifier``: of its recipe, the tuned settings of the same arm on real images.

    The pool is fixed where FLARE's is: nothing is changed as it is trained on.
    """
    if arm.recipe == "best":
        return zoo_arms.settings_of(BEST, tuned, steps)[0]
    return zoo_arms.settings_of("Std Aug", tuned, steps)[0] | {"pixel": False}


def data_of(place: Place, arm: Arm, making: Making, tuned: dict) -> tuple[Dataset, tuple | None, float]:
    """Return the images that an arm trains on, those of a share of their own, and which share of a batch is drawn."""
    few = zoo.real_of(place).few
    if not (arm.real or arm.drawn):
        return few, None, 0.0
    if arm.enlarge:
        large = enlarger(place, "restorer" if arm.real == "restored" else "bicubic", making)(few.images)
        pool = flare.augmented(few, large, seed=place.subset)
        return few._replace(images=pool.images, labels=pool.labels), None, 0.0
    kept = parts.load(place, making) if needs(arm) else {}
    judge = zoo.judge_of(place, tuned) if arm.choice == "score" else None
    pool = pool_of(few, kept, arm, seed=place.subset, judge=judge)
    if arm.gate:
        pool = gated(pool, kept, arm, making.limit, seed=place.subset)
    drawn = is_drawn(pool)
    data = few._replace(images=pool.images, labels=pool.labels)
    if arm.share:
        return take(data, ~drawn), (pool.images[drawn], pool.labels[drawn]), arm.share
    return data, None, float(drawn.double().mean())


def pool_of(
    few: Dataset, kept: dict[str, torch.Tensor], arm: Arm, *, seed: int, judge: nn.Module | None = None
) -> flare.Pool:
    """Return an arm's pool: versions of real images, drawn ones, or a mix of both; kinds and sources of every row.

    Args:
        judge: a classifier of the real images, for an arm that chooses by score.
    """
    real = drawn = None
    if arm.real:
        images = few.images if arm.real == "raw" else kept["real restored"][0]
        real = flare.augmented(few, images, seed=seed)
    if arm.drawn:
        drawn = flare.synthetic(few, kept[arm.drawn])
    if arm.choice:
        whole, n = flare.mix(few, real, drawn, alpha=1.0, beta=1.0), len(real.labels)
        score = scores(whole, judge, seed)
        parts = flare.highest(real, arm.alpha, score[:n]), flare.highest(drawn, arm.beta, score[n:])
        return flare.together(*parts)
    if real and drawn:
        return flare.mix(few, real, drawn, alpha=arm.alpha, beta=arm.beta)
    return flare.share_of(real, arm.alpha, "alpha") if real else flare.share_of(drawn, arm.beta, "beta")


def scores(pool: flare.Pool, judge: nn.Module | None, seed: int) -> torch.Tensor:
    """Return for each row the log-probability, float32 (M,), that a judge gives its class; without one, any number."""
    if judge is None:
        return torch.rand(len(pool.labels), generator=runtime.generator(seed))
    with torch.no_grad():
        logits = batched(judge, pool.images, size=500)
    return logits.log_softmax(1).gather(1, pool.labels[:, None])[:, 0]


def enlarger(place: Place, how: str, making: Making) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return what doubles the side of images: ``bicubic``, or the ``restorer`` of a place."""
    if how == "bicubic":
        return lambda images: resize(images, TIMES * images.shape[-1]).clamp(0, 1)
    restorer, _ = parts.restorer_once(place, making)
    return partial(restore, restorer)


def is_drawn(pool: flare.Pool) -> torch.Tensor:
    """Return which rows of a pool are drawn, bool (M,)."""
    return torch.tensor([kind == "t2i" or kind.startswith("v") for kind in pool.kinds])


def gated(pool: flare.Pool, kept: dict[str, torch.Tensor], arm: Arm, limit: float, *, seed: int) -> flare.Pool:
    """Return the rows of a pool that an arm's gate keeps: those that are restored from their source within a limit, or
    as many of each class and kind at random."""
    drawn, which = is_drawn(pool), kept[arm.drawn.replace("restored", "psnr")]
    place = torch.tensor([int(kind[1:]) if kind.startswith("v") else 0 for kind in pool.kinds])
    score = torch.where(drawn, which[place, pool.sources], kept["real psnr"][0][pool.sources])
    keep = score >= limit
    if arm.gate == "matched":
        kinds = list(dict.fromkeys(pool.kinds))
        groups = pool.labels * len(kinds) + torch.tensor([kinds.index(kind) for kind in pool.kinds])
        keep = rules.at_random(keep, groups, seed=seed)
    return flare.take(pool, keep)


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
