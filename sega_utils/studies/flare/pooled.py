"""What an arm of FLARE trains on: its pool, the share that is drawn, gates and choices of rows."""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from sega_utils.augmenters import flare
from sega_utils.augmenters.restoration import TIMES, restore
from sega_utils.core import runtime
from sega_utils.data.images import Dataset, batched, resize, take
from sega_utils.filters import rules
from sega_utils.studies.flare import parts
from sega_utils.studies.flare.listed import ARMS, Arm, needs
from sega_utils.studies.flare.parts import Making
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.zoo import Place


def arm_of(place: Place, arm: str, making: Making) -> Arm:
    """Return an arm as it is at a place: the shares of one whose drawn images are not varied depend on the others'."""
    own = ARMS[arm]
    if own.varied:
        return own
    kinds = 1 + making.variations
    full, versions = ARMS[own.to], len(flare.kinds_of(zoo.real_of(place).few.mirrors))
    drawn, real = (flare.count_of(part, n) for part, n in ((full.beta, kinds), (full.alpha, versions)))
    return own._replace(beta=1 / kinds, share=drawn / (drawn + real))


def data_of(place: Place, arm: Arm, making: Making, tuned: dict, seed: int) -> tuple[Dataset, tuple | None, float]:
    """Return the images that an arm trains on, those of a share of their own, and which share of a batch is drawn.

    Args:
        seed: of the classifier, which gates and choices at random are drawn anew for.
    """
    few = zoo.real_of(place).few
    if not (arm.real or arm.drawn):
        return few, None, 0.0
    if arm.enlarge:
        large = enlarger(place, "restorer" if arm.real == "restored" else "bicubic", making)(few.images)
        pool = flare.augmented(few, large, seed=place.subset)
        return few._replace(images=pool.images, labels=pool.labels), None, 0.0
    kept = parts.load(place, making) if needs(arm) else {}
    judge = judge_of(place, tuned) if arm.choice == "score" else None
    pool = pool_of(few, kept, arm, seed=place.subset, judge=judge, chance=seed)
    if arm.gate:
        pool = gated(few, pool, kept, arm, making.limit, seed=seed)
    drawn = is_drawn(pool)
    data = few._replace(images=pool.images, labels=pool.labels)
    if arm.share:
        return take(data, ~drawn), (pool.images[drawn], pool.labels[drawn]), arm.share
    return data, None, float(drawn.double().mean())


def judge_of(place: Place, tuned: dict) -> nn.Module:
    """Return a classifier of the place's real images.

    Raises:
        ValueError: the run has more of them than the place, which it would have seen.
    """
    real = zoo.real_of(place)
    if len(real.whole.labels) != len(real.few.labels):
        raise ValueError(
            f"a choice by score asks a classifier that has seen {len(real.whole.labels)} real images, and the arm has "
            f"{len(real.few.labels)}; ask for as many images a class as the run has"
        )
    return zoo.judge_of(place, tuned)


def pool_of(
    few: Dataset, kept: dict[str, torch.Tensor], arm: Arm, *, seed: int, judge: nn.Module | None = None, chance: int = 0
) -> flare.Pool:
    """Return an arm's pool: versions of real images, drawn ones, or a mix of both; kinds and sources of every row.

    Args:
        seed: of versions. judge: a classifier of the real images, for an arm that chooses by score. chance: seed of a
            choice at random.
    """
    real = drawn = None
    if arm.real:
        images = few.images if arm.real == "raw" else kept["real restored"][0]
        real = flare.augmented(few, images, seed=seed)
    if arm.drawn:
        drawn = flare.synthetic(few, kept[arm.drawn])
    if arm.choice:
        whole, n = flare.mix(few, real, drawn, alpha=1.0, beta=1.0), len(real.labels)
        score = scores(whole, judge, chance)
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


def gated(
    few: Dataset, pool: flare.Pool, kept: dict[str, torch.Tensor], arm: Arm, limit: float, *, seed: int
) -> flare.Pool:
    """Return the rows of a pool that an arm's gate keeps: those that are restored from their source within a limit.

    A matched gate keeps as many of each class and kind at random, of versions of real images those of as many real
    images, as a gate keeps or drops all versions of one.
    """
    real, drawn = kept["real psnr"][0] >= limit, kept[arm.drawn.replace("restored", "psnr")] >= limit
    if arm.gate == "matched by source":
        masks = [rules.at_random(mask, few.labels, seed=seed + 1000 * i) for i, mask in enumerate((real, *drawn))]
        real, drawn = masks[0], torch.stack(masks[1:])
    place = torch.tensor([int(kind[1:]) if kind.startswith("v") else 0 for kind in pool.kinds])
    return flare.take(pool, torch.where(is_drawn(pool), drawn[place, pool.sources], real[pool.sources]))
