"""The table of arms: mean, spread and difference to the baseline over the seeds, from the records of 05_training."""

from collections.abc import Iterable
from statistics import mean, stdev

from sega_utils import metrics, recipes
from sega_utils.consistency import load
from sega_utils.recipes import BASELINE

ACCURACY = ("arm", "classifier", "fraction", "mean", "std", "n", "diff_to_std_aug", "ci_low", "ci_high")


def accuracy(run: str, dataset: str, names: Iterable[str] = recipes.ARMS) -> list[dict]:
    """Return a row (columns ``ACCURACY``) for each of the named arms that has records, in percent.

    ``std`` is the sample standard deviation over the seeds; ``diff_to_std_aug`` is paired by seed, with its 95 %
    interval. A value that nothing can give is empty: the spread of a single seed, and the difference of Std Aug to
    itself, in its absence, or from one seed.

    Raises:
        ArtifactError: records that do not belong together, see ``consistency.load``.
        ValueError: an arm and Std Aug were trained with different seeds.
    """
    trained, rows = [r for r in load(run, dataset)["training"] if r["param_arm"] in names], []
    scores: dict[str, dict[int, float]] = {arm: {} for arm in recipes.ARMS}
    for record in trained:
        scores[record["param_arm"]][record["param_seed"]] = 100 * record["accuracy"]
    for arm, ours in scores.items():
        if ours:
            row = {"arm": arm, "classifier": trained[0]["param_classifier"], "fraction": trained[0]["fraction"],
                   "mean": mean(ours.values()), "n": len(ours)}  # fmt: skip
            row |= {"std": stdev(ours.values())} if len(ours) > 1 else {}
            row |= difference(arm, ours, scores[BASELINE]) if arm != BASELINE and scores[BASELINE] else {}
            rows.append({name: row.get(name, "") for name in ACCURACY})
    return rows


def difference(arm: str, ours: dict[int, float], theirs: dict[int, float]) -> dict[str, float]:
    """Return the columns of an arm's paired difference to Std Aug; none of them from one and the same seed."""
    if len(ours) == 1 and ours.keys() == theirs.keys():
        return {}
    try:
        paired = metrics.paired_difference(ours, theirs)
    except ValueError as error:
        raise ValueError(f"{arm} beside {BASELINE}: {error} with 05_training") from error
    return {"diff_to_std_aug": paired["difference"], "ci_low": paired["ci_low"], "ci_high": paired["ci_high"]}
