"""From hits on test images to a verdict: differences with intervals, and what more would decide it."""

import torch
from scipy.special import stdtr, stdtrit

STRANGE = 5.0  # points; less is no reason to warn
WORTH = 1.0  # points; a gain below it is not worth the minutes and the care that synthetic images cost


def weights_of(labels: torch.Tensor, *, balanced: bool) -> torch.Tensor:
    """Return what each image counts in an accuracy, float64 (N,), 1 in sum: the same, or the same for each class."""
    if not balanced:
        return torch.full((len(labels),), 1 / len(labels), dtype=torch.float64)
    counts = labels.bincount()
    return 1 / (counts[labels].double() * int((counts > 0).sum()))


def difference(ours: torch.Tensor, theirs: torch.Tensor, weights: torch.Tensor) -> dict[str, float]:
    """Return how much better ours is, in points, with a 95 % interval over seeds and over images.

    The variance is that of the seeds on these images and that of the images at these seeds; what belongs to both is in
    either, so that the interval is rather too wide. Its t distribution is Welch and Satterthwaite's.

    Args:
        ours, theirs: hits bool (S, N), paired by seed; what does not depend on a seed has S = 1.
        weights: of the images, see ``weights_of``.

    Returns:
        ``difference``, ``ci_low``, ``ci_high``, in points; ``p`` (two-sided); ``by_seed``, ``by_image``: the parts of
        the variance of the mean, in points squared; ``n_seeds``, ``n_images``.
    """
    seeds = max(len(ours), len(theirs))
    hits = 100 * (ours.double().expand(seeds, -1) - theirs.double().expand(seeds, -1))
    n, by_seed, mean = hits.shape[1], hits @ weights, hits.mean(0)
    value = float(by_seed.mean())
    image_part = float((weights.square() * (mean - value).square()).sum() * n / (n - 1))
    seed_part = float(by_seed.var()) / seeds if seeds > 1 else 0.0
    variance = image_part + seed_part
    spread = image_part**2 / (n - 1) + (seed_part**2 / (seeds - 1) if seeds > 1 else 0)
    freedom = variance**2 / spread if spread else n - 1
    half = float(stdtrit(freedom, 0.975)) * variance**0.5
    p = 2 * float(stdtr(freedom, -abs(value) / variance**0.5)) if variance else float(value == 0)
    return {
        "difference": value,
        "ci_low": value - half,
        "ci_high": value + half,
        "p": p,
        "by_seed": seed_part,
        "by_image": image_part,
        "n_seeds": seeds,
        "n_images": n,
    }


def answer(found: dict[str, float]) -> str:
    """Return ``yes`` (a gain is certain), ``no`` (no gain worth it is likely), or ``undecided``."""
    if found["ci_low"] > 0:
        return "yes"
    return "no" if found["ci_high"] < WORTH else "undecided"


def needed(found: dict[str, float]) -> dict[str, int]:
    """Return how many more test ``images`` or ``seeds`` would probably decide it, were the difference as found.

    Returns:
        Each alone where it suffices; both where neither does.
    """
    distance = max(found["difference"], WORTH - found["difference"])
    allowed = (distance / 1.96) ** 2
    total = {"seeds": found["by_seed"] * found["n_seeds"], "images": found["by_image"] * found["n_images"]}
    more = {}
    for mine, other in (("seeds", "by_image"), ("images", "by_seed")):
        if allowed > found[other] * 1.05:
            more[mine] = max(1, round(total[mine] / (allowed - found[other]) - found[f"n_{mine}"] + 0.5))
    return more or {mine: max(1, round(2 * total[mine] / allowed - found[f"n_{mine}"])) for mine in total}


def strange(inside: float, outside: float, n_inside: int, n_outside: int) -> bool:
    """Return whether test images are so much harder than training images said that they must differ from these.

    Args:
        inside, outside: accuracy of one arm by cross-validation and on test images, in percent; of how many images.

    Returns:
        The difference exceeds ``STRANGE`` points and three standard errors of two binomial shares. Cross-validation
        trains on fewer images, so that it should rather be the lower one.
    """
    p, q = inside / 100, outside / 100
    error = (p * (1 - p) / n_inside + q * (1 - q) / n_outside) ** 0.5
    return inside - outside > max(STRANGE, 300 * error)


def overruled(hits: dict[str, torch.Tensor], chosen: str, weights: torch.Tensor) -> tuple[str, dict | None]:
    """Return the arm to compare with: the one that cross-validation chose, unless the test images are sure of another.

    That happens where they differ from the training images. All arms are compared with the chosen one at once, so the
    smallest p must pass Bonferroni's limit (as Holm 1979 begins).

    Returns:
        The arm, and its difference to the chosen one if it is another.
    """
    found = {arm: difference(own, hits[chosen], weights) for arm, own in hits.items() if arm != chosen}
    better = {arm: row for arm, row in found.items() if row["difference"] > 0}
    if not better:
        return chosen, None
    best = min(better, key=lambda arm: better[arm]["p"])
    return (best, better[best]) if better[best]["p"] < 0.05 / len(found) else (chosen, None)
