"""Quality of synthetic images in the features of a network, and whether it goes along with what they gain."""

import itertools
from collections.abc import Callable

import numpy as np
import torch

from sega_utils import filters
from sega_utils.augmenters import base
from sega_utils.core import runtime
from sega_utils.data.images import check_images

PERMUTED = 10_000  # random orders, where all of them would be about as many or more


def density_coverage(real: torch.Tensor, drawn: torch.Tensor, *, k: int = 5) -> dict[str, float]:
    """Return how densely drawn images lie among the real ones, and how many real ones they cover; higher is better.

    Where ``base.precision_recall`` is swayed by a single outlier, whose reach is wide, these are not.

    Args:
        real, drawn: features float (N, d) and (M, d), N and M above ``k``.
        k: a real image reaches as far as its ``k``-th neighbour among the real ones.

    Returns:
        ``density``, 0 and above, 1 is expected of real images; ``coverage``, 0 .. 1.

    Raises:
        ValueError: a set of ``k`` images or fewer.

    Source: Naeem et al. 2020, equations 3 and 4.
    """
    if min(len(real), len(drawn)) <= k:
        raise ValueError(f"received {len(real)} real and {len(drawn)} drawn images; give more than k = {k} of each")
    reach = torch.cdist(real, real).kthvalue(k + 1, dim=1).values  # the nearest is the image itself
    inside = torch.cdist(drawn, real) <= reach
    return {"density": inside.double().sum(1).mean().item() / k, "coverage": inside.any(0).double().mean().item()}


def agreement(predict: Callable, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose class ``predict``, int64 (N,) of images, says to be their label, 0 .. 1."""
    return float((predict(images) == labels).double().mean())


def duplicate_share(images: torch.Tensor, training: torch.Tensor, *, max_distance: int, min_ssim: float) -> float:
    """Return the share of images that are near-duplicates of a training image, 0 .. 1; lower is newer.

    Args:
        images, training: float32 (N, C, S, S) and (M, C, S, S) in [0, 1].
        max_distance, min_ssim: as for ``filters.near_duplicates``.
    """
    pairs = filters.near_duplicates(images, max_distance=max_distance, min_ssim=min_ssim, against=training)
    return len(pairs[:, 0].unique()) / max(len(images), 1)


def measure(
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    real: torch.Tensor,
    training: torch.Tensor,
    features: Callable,
    predict: Callable,
    max_distance: int,
    min_ssim: float,
    k: int = 3,
    seed: int = 0,
) -> dict[str, float]:
    """Return all that this module knows of synthetic images, as a record holds it.

    Args:
        images, labels: float32 (N, C, S, S) in [0, 1], int64 (N,).
        real: images to compare with, (M, C, S, S), best ones that no generator has seen; training: those it has.
        features: float (N, d) of images, by a named network; predict: int64 (N,), by one trained on real images.
        k: neighbours of precision and recall.
        seed: of which images are taken from the larger set: sets of two sizes have distances that do not compare.

    Returns:
        ``frechet``, ``precision``, ``recall``, ``density``, ``coverage``, ``agreement``, ``duplicates``, ``n`` images
        of each set in the first five.

    Raises:
        ValueError: images that are none, or too few.
    """
    check_images(images)
    n, rng = min(len(images), len(real)), runtime.generator(seed)
    some = lambda x: features(x[torch.randperm(len(x), generator=rng)[:n]])
    theirs, ours = some(real), some(images)
    found = base.precision_recall(theirs, ours, k=k) | density_coverage(theirs, ours)
    found |= {"frechet": base.frechet_distance(theirs, ours), "agreement": agreement(predict, images, labels)}
    copies = duplicate_share(images, training, max_distance=max_distance, min_ssim=min_ssim)
    return found | {"duplicates": copies, "n": n}


def rank_correlation(quality: list[float], gain: list[float], *, seed: int = 0, resamples: int = 2000) -> dict:
    """Return Spearman's correlation of the quality of synthetic images and the gain of training on them.

    The interval is that of Efron's percentile bootstrap over pairs, which is too narrow for few of them: any monotone
    five points have [1, 1]. How often chance alone orders as many points as well, ``p``, is said beside it.

    Args:
        quality, gain: one number an augmenter, in the same order.
        resamples: of the bootstrap; those of equal numbers have no ranks, and are drawn again.

    Returns:
        ``rho``, ``ci_low``, ``ci_high`` in -1 .. 1 (95 %), two-sided ``p``, and ``n``.

    Raises:
        ValueError: different lengths, fewer than 4 pairs, numbers that are not finite or all the same.

    Source: Spearman 1904; bootstrap and permutation test, Efron and Tibshirani 1993, chapters 13 and 15.
    """
    from scipy import stats  # takes seconds, which only this function should cost

    pair = np.array([quality, gain], dtype=float) if len(quality) == len(gain) else np.empty((2, 0))
    if pair.shape[1] < 4 or not np.isfinite(pair).all() or (np.ptp(pair, axis=1) == 0).any():
        raise ValueError(
            f"received {len(quality)} and {len(gain)} numbers; give a quality and a gain, both finite, for each of at "
            "least 4 augmenters, not all the same"
        )

    def centred(values):
        ranks = stats.rankdata(values, axis=-1)
        return ranks - ranks.mean(-1, keepdims=True)

    def rho(a, b):
        return (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))

    rng, n, drawn = np.random.default_rng(seed), pair.shape[1], []
    while len(drawn) < resamples:
        again = pair[:, rng.integers(n, size=n)]
        if (np.ptp(again, axis=1) > 0).all():
            drawn.append(again)
    low, high = np.quantile(rho(*centred(np.stack(drawn, 1))), (0.025, 0.975))
    ours, theirs = centred(pair)
    found = float(rho(ours, theirs))
    p = np.mean(np.abs(rho(ours, theirs[orders(n, rng)])) >= abs(found) - 1e-12)  # the first order is the one found
    return {"rho": found, "ci_low": float(low), "ci_high": float(high), "p": float(p), "n": n}


def orders(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return orders of n things, int (K, n), the given one first: all that there are up to 7 things, else some."""
    if n <= 7:
        return np.array(list(itertools.permutations(range(n))))
    return np.concatenate((np.arange(n)[None], rng.permuted(np.tile(np.arange(n), (PERMUTED, 1)), axis=1)))
