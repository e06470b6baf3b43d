"""What is planned of the zoo, and what its records say: each augmenter beside the best arm on real images, quality.

The best are chosen by the mean accuracy on validation images, differences are of the accuracy on test images. Those of
several subsets are averaged over the seeds of each first: seeds of one subset share their images.
"""

from collections.abc import Callable, Iterable
from itertools import product
from statistics import mean
from typing import NamedTuple

from sega_utils.core import numbers
from sega_utils.evaluation import classified, quality
from sega_utils.studies.zoo import arms as zoo_arms, zoo

ROWS = (
    "augmenter",
    "onto",
    "share",
    "per_class",
    "steps",
    "protocol",
    "seconds",
    "mean",
    "std",
    "n",
    "validation",
    "to",
    "over",
)
ROWS += ("diff", "ci_low", "ci_high", "rules_out_above")
MEASURES = ("frechet", "precision", "recall", "density", "coverage", "agreement", "duplicates", "gate_passed")
QUALITY = ("augmenter", "per_class", "protocol", "seconds", "n", *MEASURES, "fit_steps", "seconds_per_image")
OF_A_RUN = {"param_seed", "param_subset"}  # what the records of one row may differ in
BUDGET = {"param_batch_size", "param_classifier", "n_test", "n_validation"}  # what all rows share


class Key(NamedTuple):
    """What a row is of; an arm on real images alone has the protocol none, no share, no seconds, and joins nothing."""

    augmenter: str
    share: float
    per_class: int
    steps: int  # of a single classifier
    protocol: str
    seconds: float
    onto: str = ""


def grouped(found: list[dict]) -> dict[Key, list[dict]]:
    """Return records of the stage zoo by what their row is of, see ``grouped_by``.

    Raises:
        ArtifactError: as ``grouped_by``.
    """

    def key_of(r: dict) -> Key:
        names = ("arm", "share", "per_class", "protocol", "seconds")
        arm, share, size, protocol, seconds = (r[f"param_{name}"] for name in names)
        return Key(arm, share, size, r["param_steps"] // r["param_longer"], protocol, seconds, r.get("param_onto", ""))

    groups = grouped_by(found, key_of)
    order = [*zoo_arms.REAL, *zoo.ZOO, *zoo.COMBINED, *zoo.OUTSIDE, *zoo.OF_RUN]
    return {key: groups[key] for key in sorted(groups, key=lambda key: (key.per_class, order.index(key[0]), key))}


def grouped_by(found: list[dict], key_of: Callable[[dict], tuple]) -> dict[tuple, list[dict]]:
    """Return classifiers' records by what their row is of, after checking that they can be compared.

    Raises:
        ArtifactError: rows have other batches, classifiers or images to test, or one row has other settings.
    """
    classified.check_same(found, lambda key: key in BUDGET)
    groups: dict[tuple, list[dict]] = {}
    for r in found:
        groups.setdefault(key_of(r), []).append(r)
    for mine in groups.values():
        classified.check_same(mine, lambda key: key.startswith("param_") and key not in OF_A_RUN)
    return groups


def validated(mine: Iterable[dict]) -> float:
    """Return the mean validation accuracy of records, in percent."""
    return 100 * mean(r["accuracy_validation"] for r in mine)


def best(groups: dict[Key, list[dict]]) -> Key | None:
    """Return which group is best on validation images; None of none."""
    return max(groups, key=lambda key: validated(groups[key]), default=None)


def pairs(*groups: list[dict]) -> tuple[list[dict], str]:
    """Return the accuracies on test images, in percent, that groups of records share, and in words what they count.

    Returns:
        For each group subset to the mean over its seeds, or of a single subset seed to accuracy.
    """
    scores = [{(r["param_subset"], r["param_seed"]): 100 * r["accuracy"] for r in mine} for mine in groups]
    shared = sorted(set.intersection(*map(set, scores)))
    subsets = sorted({subset for subset, _ in shared})
    if len(subsets) > 1:
        found = [{s: mean(mine[k] for k in shared if k[0] == s) for s in subsets} for mine in scores]
    else:
        found = [{seed: mine[subset, seed] for subset, seed in shared} for mine in scores]
    return found, f"{len(found[0])} {'subsets' if len(subsets) > 1 else 'seeds'}"


def difference(ours: list[dict], theirs: list[dict]) -> dict:
    """Return the mean difference of two groups on test images, in points, over what both have, with its 95 % interval.

    Returns:
        ``diff``, ``ci_low``, ``ci_high``, ``over`` (what its n counts) and ``rules_out_above``, the gain above which
        nothing is compatible with the interval, 0 at least; nothing of fewer than two pairs.
    """
    scores, over = pairs(ours, theirs)
    if len(scores[0]) < 2:
        return {}
    found = numbers.paired_difference(*scores)
    limits = {"ci_low": found["ci_low"], "ci_high": found["ci_high"], "rules_out_above": max(0.0, found["ci_high"])}
    return {"diff": found["difference"], "over": over} | limits


def augmenter_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``ROWS``) for each arm and augmenter with records, in percent.

    ``diff`` is to the arm ``to``, of as many images a class and steps: to the one that an augmenter's images joined,
    and of an arm on real images alone to the best of these by validation.

    Raises:
        ArtifactError: as ``grouped``.
    """
    groups, rows = grouped(found), []
    for key, mine in groups.items():
        rivals = {k: r for k, r in groups.items() if k.protocol == "none" and k[2:4] == key[2:4]}
        rivals = {k: r for k, r in rivals.items() if key.onto in {"", k.augmenter}}
        rival = best(rivals)
        row = key._asdict() | numbers.summary(100 * r["accuracy"] for r in mine) | {"validation": validated(mine)}
        if rival not in {None, key}:
            row |= difference(mine, rivals[rival]) | {"to": rival.augmenter}
        rows.append({column: row.get(column, "") for column in ROWS})
    return rows


def apart(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """Return the rows of what knows the training images alone, and those of what has learnt from others, too."""
    is_outside = lambda row: row["augmenter"] in zoo.OUTSIDE
    return [row for row in rows if not is_outside(row)], [row for row in rows if is_outside(row)]


def finalists(found: list[dict], plan: dict) -> tuple[list[str], list[str]]:
    """Return the augmenters and the arms on real images that are best on validation images where the plan screens.

    What the plan names and has not screened cannot be chosen.
    """
    where, screened = plan["screening"], {}
    for key, mine in planned(found, plan).items():
        mine = [r for r in mine if (r["param_subset"], r["param_seed"]) == (where["subset"], where["seed"])]
        if mine and key.onto in {"", where["onto"]}:
            screened[key] = validated(mine)
    chosen: tuple[list[str], list[str]] = ([], [])
    for key in sorted(screened, key=lambda key: -screened[key]):
        names = chosen[key.protocol == "none"]
        if key.augmenter not in names and len(names) < where["keep"]:
            names.append(key.augmenter)
    return chosen


def as_planned(found: list[dict], plan: dict) -> dict[Key, list[dict]]:
    """Return of ``grouped`` what has the plan's steps, and its arms or its protocol, seconds and shares; any size."""
    real = lambda k: k.protocol == "none" and k.augmenter in plan["arms"]
    how = plan["primary"]["protocol"], plan["seconds"]
    drawn = lambda k: (k.protocol, k.seconds) == how and k.share in plan["shares"]
    return {k: mine for k, mine in grouped(found).items() if k.steps == plan["steps"] and (real(k) or drawn(k))}


def planned(found: list[dict], plan: dict) -> dict[Key, list[dict]]:
    """Return of ``as_planned`` what the primary comparison names: the arms and augmenters, at its size."""
    size, named = plan["primary"]["per_class"], {*plan["arms"], *plan["augmenters"]}
    fits = lambda k: k.per_class == size and k.augmenter in named
    return {key: mine for key, mine in as_planned(found, plan).items() if fits(key)}


def primary_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return the row of the primary comparison, once it is complete; else none.

    Only ``finalists`` that have all its subsets and seeds can be chosen, augmenters that join the best screened arm.
    """
    wanted, names = set(product(plan["primary"]["subsets"], plan["primary"]["seeds"])), finalists(found, plan)
    whole: tuple[dict[Key, list[dict]], ...] = ({}, {})
    for key, mine in planned(found, plan).items():
        mine, is_real = [r for r in mine if (r["param_subset"], r["param_seed"]) in wanted], key.protocol == "none"
        if key.augmenter in names[is_real] and len(mine) == len(wanted) and key.onto in {"", *names[True][:1]}:
            whole[is_real][key] = mine
    if not all(len({key.augmenter for key in part}) == len(mine) > 0 for part, mine in zip(whole, names)):
        return []
    (drawn, real), (ours, theirs) = whole, map(best, whole)
    row = {"augmenter": ours.augmenter, "onto": ours.onto, "share": ours.share, "to": theirs.augmenter}
    row |= {"chosen among": f"{len(drawn)} and {len(real)}"}
    return [row | difference(drawn[ours], real[theirs])]


def quality_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``QUALITY``) for each augmenter with records of its quality, means over its ``n`` subsets.

    Args:
        found: records of the stage augmenters.
    """
    groups: dict[tuple, list[dict]] = {}
    for r in found:
        groups.setdefault(tuple(r[f"param_{name}"] for name in QUALITY[:4]), []).append(r)
    rows = []
    for key, mine in sorted(groups.items()):
        row = dict(zip(QUALITY, key, strict=False)) | {"n": len(mine)}
        for name in QUALITY[5:]:
            values = [r[name] for r in mine if name in r]
            row[name] = mean(values) if values else ""
        rows.append(row)
    return rows


def prediction_rows(rows: list[dict], qualities: list[dict]) -> list[dict]:
    """Return for each measure of quality how its ranks go along with those of the gain, over all augmenters.

    Args:
        rows: of ``augmenter_rows``, of which each augmenter's best share by validation counts; qualities: of
            ``quality_rows``.

    Returns:
        A row a measure: ``quality``, and what ``quality.rank_correlation`` returns; none with fewer than 4 augmenters.
    """
    shared = QUALITY[:4]
    known = {tuple(q[name] for name in shared): q for q in qualities}
    gains: dict[tuple, dict] = {}
    for row in rows:
        key = tuple(row[name] for name in shared)
        better = key not in gains or row["validation"] > gains[key]["validation"]
        if row["diff"] != "" and key in known and better:
            gains[key] = row
    found = []
    for measure in MEASURES:
        values = [known[key][measure] for key in gains]
        if len(values) >= 4 and len(set(values)) > 1:
            gained = [row["diff"] for row in gains.values()]
            found.append({"quality": measure} | quality.rank_correlation(values, gained))
    return found
