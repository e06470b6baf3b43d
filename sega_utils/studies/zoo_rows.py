"""What is planned of the zoo, and what its records say: each augmenter beside the best arm on real images, quality.

The best are chosen by the mean accuracy on validation images, differences are of the accuracy on test images. Those of
several subsets are averaged over the seeds of each first: seeds of one subset share their images.
"""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from sega_utils.core import artifacts, numbers, parameters, paths, records
from sega_utils.evaluation import classified, quality
from sega_utils.studies import zoo, zoo_arms

FILE = paths.PARAMS / "augmenters.yaml"
KEYS = ("primary", "steps", "seconds", "images", "shares", "augmenters", "arms", "exploratory")
SEEDS = parameters.Parameter([0], "each once", "list of: 0 .. 1000000")
RULES = {
    "steps": parameters.Parameter(1000, "of each classifier", "1 .. 1000000"),
    "seconds": parameters.Parameter(600.0, "of the CPU, for each augmenter", "1 .. 1000000"),
    "images": parameters.Parameter(100, "drawn of each class", "1 .. 1000000"),
    "shares": parameters.Parameter([0.1], "of a batch", "list of: 0 .. 1"),
    **dict.fromkeys(("augmenters", "arms"), parameters.Parameter(["x"], "names", "list of: any text")),
}
SIZE, PROTOCOL = ("real images of each class", "1 .. 1000000"), ("of fitting", "one of: A | B")
PRIMARY = {"per_class": parameters.Parameter(30, *SIZE), "protocol": parameters.Parameter("A", *PROTOCOL)}
EXPLORATORY = {
    name: parameters.Parameter([rule.default], rule.meaning, f"list of: {rule.allowed}")
    for name, rule in PRIMARY.items()
}
PRIMARY |= {"subsets": SEEDS, "seeds": SEEDS}
ROWS = (
    "augmenter",
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
    """What a row is of; an arm on real images alone has the protocol none, no share and no seconds."""

    augmenter: str
    share: float
    per_class: int
    steps: int  # of a single classifier
    protocol: str
    seconds: float


def read(file: Path = FILE) -> dict:
    """Return the plan of a YAML file: ``primary``, the comparison that was fixed beforehand, and what is measured.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or an augmenter or an arm that there is not.
    """
    plan, shown = parameters.load_yaml(file), paths.shown(file)
    if not isinstance(plan, dict) or set(plan) != set(KEYS):
        raise ValueError(f"{shown} must hold {', '.join(KEYS)}")
    parts = {name: plan.pop(name) for name in ("primary", "exploratory")}
    plan = _checked(plan, RULES, shown)
    for (name, part), rules in zip(parts.items(), (PRIMARY, EXPLORATORY), strict=True):
        plan[name] = _checked(part, rules, f"{shown}: {name}")
    for key, known in (("augmenters", zoo.ZOO | zoo.COMBINED), ("arms", zoo_arms.REAL)):
        if unknown := [name for name in plan[key] if name not in known]:
            raise ValueError(f"{shown} has {unknown[0]!r} among its {key}; known are {', '.join(known)}")
    return plan


def _checked(part: object, rules: dict[str, parameters.Parameter], where: str) -> dict:
    """Return a part of a plan, each value of the type and within the range that its rule names.

    Raises:
        ValueError: it is not such a part.
    """
    if not isinstance(part, dict):
        raise ValueError(f"{where} is {part!r}; it must hold {', '.join(rules)}")
    if lacking := [name for name in rules if name not in part]:
        raise ValueError(f"{where} lacks {', '.join(lacking)}; it must hold {', '.join(rules)}")
    try:
        return parameters.check(part, rules)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def grouped(found: list[dict]) -> dict[Key, list[dict]]:
    """Return records of the stage zoo by what their row is of, after checking that they can be compared.

    Raises:
        ArtifactError: rows have other batches, classifiers or images to test, or one row has other settings.
    """
    classified.check_same(found, lambda key: key in BUDGET)
    groups: dict[Key, list[dict]] = {}
    for r in found:
        arm, share, size, protocol, seconds = (
            r[f"param_{name}"] for name in ("arm", "share", "per_class", "protocol", "seconds")
        )
        key = Key(arm, share, size, r["param_steps"] // r["param_longer"], protocol, seconds)
        groups.setdefault(key, []).append(r)
    for mine in groups.values():
        classified.check_same(mine, lambda key: key.startswith("param_") and key not in OF_A_RUN)
    order = [*zoo_arms.REAL, *zoo.ZOO, *zoo.COMBINED]
    return {key: groups[key] for key in sorted(groups, key=lambda key: (key.per_class, order.index(key[0]), key))}


def validated(mine: Iterable[dict]) -> float:
    """Return the mean validation accuracy of records, in percent."""
    return 100 * mean(r["accuracy_validation"] for r in mine)


def best(groups: dict[Key, list[dict]]) -> Key | None:
    """Return which group is best on validation images; None of none."""
    return max(groups, key=lambda key: validated(groups[key]), default=None)


def difference(ours: list[dict], theirs: list[dict]) -> dict:
    """Return the mean difference of two groups on test images, in points, over what both have, with its 95 % interval.

    Returns:
        ``diff``, ``ci_low``, ``ci_high``, ``over`` (what its n counts) and ``rules_out_above``, the gain above which
        nothing is compatible with the interval, 0 at least; nothing of fewer than two pairs.
    """
    scores = [{(r["param_subset"], r["param_seed"]): 100 * r["accuracy"] for r in mine} for mine in (ours, theirs)]
    shared = sorted(scores[0].keys() & scores[1].keys())
    subsets = sorted({subset for subset, _ in shared})
    if len(subsets) > 1:
        pairs = [{s: mean(mine[k] for k in shared if k[0] == s) for s in subsets} for mine in scores]
    else:
        pairs = [{seed: mine[subset, seed] for subset, seed in shared} for mine in scores]
    if len(pairs[0]) < 2:
        return {}
    found = numbers.paired_difference(*pairs)
    over = f"{len(pairs[0])} {'subsets' if len(subsets) > 1 else 'seeds'}"
    limits = {"ci_low": found["ci_low"], "ci_high": found["ci_high"], "rules_out_above": max(0.0, found["ci_high"])}
    return {"diff": found["difference"], "over": over} | limits


def augmenter_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``ROWS``) for each arm and augmenter with records, in percent.

    ``diff`` is to the arm ``to``, which is the best one on real images alone with as many images a class and steps.

    Raises:
        ArtifactError: as ``grouped``.
    """
    groups, rows = grouped(found), []
    for key, mine in groups.items():
        rivals = {k: r for k, r in groups.items() if k.protocol == "none" and k[2:4] == key[2:4]}
        rival = best(rivals)
        row = key._asdict() | numbers.summary(100 * r["accuracy"] for r in mine) | {"validation": validated(mine)}
        if rival not in {None, key}:
            row |= difference(mine, rivals[rival]) | {"to": rival.augmenter}
        rows.append({column: row.get(column, "") for column in ROWS})
    return rows


def primary_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return the row of the primary comparison, once it is complete; else none.

    Only what has all its subsets and seeds, and for augmenters the plan's seconds and shares, can be chosen.
    """
    wanted = set(product(plan["primary"]["subsets"], plan["primary"]["seeds"]))
    size, protocol = plan["primary"]["per_class"], plan["primary"]["protocol"]
    whole: dict[Key, list[dict]] = {}
    for key, mine in grouped(found).items():
        mine = [r for r in mine if (r["param_subset"], r["param_seed"]) in wanted]
        if (key.per_class, key.steps) == (size, plan["steps"]) and len(mine) == len(wanted):
            whole[key] = mine
    real = {k: r for k, r in whole.items() if k.protocol == "none" and k.augmenter in plan["arms"]}
    drawn = {k: r for k, r in whole.items() if (k.protocol, k.seconds) == (protocol, plan["seconds"])}
    drawn = {k: r for k, r in drawn.items() if k.augmenter in plan["augmenters"] and k.share in plan["shares"]}
    ours, theirs = best(drawn), best(real)
    if ours is None or theirs is None:
        return []
    row = {"augmenter": ours.augmenter, "share": ours.share, "to": theirs.augmenter}
    row |= {"chosen among": f"{len(drawn)} and {len(real)}"}
    return [row | difference(whole[ours], whole[theirs])]


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


def write_tables(run: str, dataset: str, plan: dict) -> dict[str, list[dict]]:
    """Write a run's tables of the zoo that have rows, and return all by their names.

    Raises:
        ArtifactError: as ``grouped``.
    """
    found = records.read(run, dataset, "zoo")
    tables = {"augmenters": augmenter_rows(found)}
    tables["augmenters-quality"] = quality_rows(records.read(run, dataset, "augmenters"))
    tables["augmenters-prediction"] = prediction_rows(*tables.values())
    tables["augmenters-primary"] = primary_rows(found, plan)
    for name, rows in tables.items():
        if rows:
            artifacts.save_csv(paths.artifact(run, dataset, "tables") / f"{name}.csv", rows, rows[0])
    return tables


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
