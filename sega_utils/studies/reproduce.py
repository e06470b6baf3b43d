"""A run beside the committed reference: facts must be equal, measurements within what the reference's seeds spread.

Times, memory, commits and library versions are no part of it, nor are digests of anything trained: another processor
rounds otherwise, and from there on a training takes another course, as it would with another seed.
"""

import re
from statistics import mean, stdev

from scipy.special import stdtrit

from sega_utils.core import numbers, paths, records
from sega_utils.core.records import is_finite
from sega_utils.studies.verify import TIMED

COMPARED = (*paths.BEFORE, "training", "shift", "attacks", "ablation", "efficiency")
FREE = "ablation"  # a run may measure any part of it
COSTS = ("kernel-", "growth-", "loop-")  # records of what things cost, which is no part of it
LEVEL = 0.999  # two-sided: of a thousand measurements that agree, one is outside
ROUNDING = 1e-3  # of a value: what sums in another order may change where the reference holds no spread
SEED = re.compile(r"-seed(\d+)$")
FACTS = ("input_real", "input_train")  # digests of what is read, not made
COLUMNS = ("stage", "of", "quantity", "ours", "n", "reference", "n_reference", "tolerance", "within")


def rows(run: str, dataset: str, reference: str) -> list[dict]:
    """Return a row (columns ``COLUMNS``) for each fact and each measurement that both runs have.

    A fact is a parameter, a digest of what is read, or a count that is the same for every seed of the reference; its
    tolerance is 0. A measurement is compared by its mean over seeds; its tolerance is that of the difference of two
    means whose seeds spread as the reference's do, over all arms of a stage together, since two seeds of one arm may
    agree by chance. Where the reference has one seed, its runs ``NAME-seed-1`` and so on, made with other seeds, show
    the spread; where nothing shows it, what is not equal is not judged. Records of other parameters are no
    measurements of the same thing: of them there is one row that names the parameters. ``within`` is empty for both.

    Raises:
        ArtifactError: a record is damaged.
    """
    ours, theirs = (grouped(name, dataset) for name in (run, reference))
    repeated = [grouped(f"{paths.REFERENCE}/{name}", dataset) for name in siblings(reference)]
    spread, found = spreads(theirs, repeated), []
    for key in sorted(ours.keys() & theirs.keys(), key=lambda key: (COMPARED.index(key[0]), key[1])):
        if different := differing(ours[key][0], theirs[key][0]):
            told = {"quantity": f"not compared, other {', '.join(different)}", "within": ""}
            found.append(dict.fromkeys(COLUMNS, "") | {"stage": key[0], "of": key[1]} | told)
        else:
            found += compared(key, ours[key], theirs[key], spread)
    return found


def spreads(reference: dict, repeated: list[dict]) -> dict[tuple[str, str], list[tuple[float, int]]]:
    """Return by stage and quantity the variance over seeds and its degrees of freedom, of each thing that shows one.

    Args:
        reference: records by stage and name, see ``grouped``; repeated: such of the runs with other seeds.
    """
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for key, mine in reference.items():
        others = [record for group in repeated for record in group.get(key, [])] if len(mine) == 1 else []
        measured = [quantities(record) for record in mine + others]
        for name in measured[0]:
            values = [record[name] for record in measured if name in record]
            if len(values) > 1:
                found.setdefault((key[0], name), []).append((stdev(values) ** 2, len(values) - 1))
    return found


def siblings(reference: str) -> list[str]:
    """Return the names of the committed runs that repeat a committed one with other seeds."""
    name = reference.removeprefix(f"{paths.REFERENCE}/")
    return sorted(folder.name for folder in paths.reference_root().glob(f"{name}-seed-*"))


def grouped(run: str, dataset: str) -> dict[tuple[str, str], list[dict]]:
    """Return a run's records by stage and by name without the seed."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for stage in COMPARED:
        for record in records.read(run, dataset, stage):
            if record["name"].startswith(COSTS):
                continue
            groups.setdefault((stage, SEED.sub("", record["name"])), []).append(record)
    return groups


def differing(ours: dict, theirs: dict) -> list[str]:
    """Return the parameters, in the notebooks' spelling, in which two records differ, the seed aside."""
    names = {key for key in ours.keys() | theirs.keys() if key.startswith("param_") and not key.endswith("seed")}
    own = {"param_from_run"}  # the run's own name
    return sorted(key.removeprefix("param_").upper() for key in names - own if ours.get(key) != theirs.get(key))


def compared(key: tuple[str, str], ours: list[dict], theirs: list[dict], spread: dict) -> list[dict]:
    """Return the rows of one thing that both runs have measured."""
    first = {"stage": key[0], "of": key[1]}
    facts = [
        first
        | {"quantity": name, "ours": mine[name], "n": 1, "reference": theirs[0][name], "n_reference": 1}
        | {"tolerance": 0, "within": mine[name] == theirs[0][name]}
        for mine in ours[:1]
        for name in FACTS
        if name in mine and name in theirs[0]
    ]
    mine, known = ([quantities(record) for record in found] for found in (ours, theirs))
    measured = []
    for name in known[0]:
        values, reference = ([found[name] for found in side if name in found] for side in (mine, known))
        if values:
            shown = spread.get((key[0], name), [])
            is_fact = all(isinstance(v, int) for v in reference) and not any(variance for variance, _ in shown)
            allowed = 0 if is_fact else tolerance(mean(reference), shown, len(values), len(reference))
            within = abs(mean(values) - mean(reference)) <= allowed
            row = {"quantity": name, "ours": mean(values), "n": len(values)}
            row |= {"reference": mean(reference), "n_reference": len(reference), "tolerance": allowed}
            measured.append(first | row | {"within": within or (False if shown or is_fact else "")})
    return facts + measured


def tolerance(reference: float, spread: list[tuple[float, int]], n: int, n_reference: int) -> float:
    """Return how far the mean of ``n`` values may be from the reference's mean, from the spread on record.

    Args:
        spread: variances with their degrees of freedom, which are pooled.

    Source: Student 1908: the interval of the difference of two means of equal, unknown variance.
    """
    rounding, freedom = ROUNDING * abs(reference), sum(part for _, part in spread)
    if not freedom:
        return rounding
    variance = sum(variance * part for variance, part in spread) / freedom
    quantile = float(stdtrit(freedom, (1 + LEVEL) / 2))
    return rounding + quantile * (variance * (1 / n + 1 / n_reference)) ** 0.5


def quantities(record: dict) -> dict[str, float]:
    """Return the measurements of a record by name: what is nested gets the names of its keys, a list its mean."""
    skipped = set(records.VOLATILE) | TIMED | {"python", "device"}
    plain = {k: v for k, v in record.items() if k not in skipped and not k.startswith(("param_", "input_", "version_"))}
    return dict(flat({key: value for key, value in plain.items() if not isinstance(value, str)}))


def flat(value: object, name: str = "") -> list[tuple[str, float]]:
    """Return the numbers below a value with their names; rows of a table are named by their texts."""
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in flat(part, f"{name} {key}".strip())]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [leaf for row in value for leaf in flat(*named(row, name))]
    if isinstance(value, list) and value and all(map(is_finite, value)):
        return [(name, mean(value))]
    return [(name, value)] if is_finite(value) and not isinstance(value, str) else []


def named(row: dict, name: str) -> tuple[dict, str]:
    """Return the measurements of a table's row, and its name: its texts, and the epsilon of an attack."""
    is_name = lambda key, value: isinstance(value, str) or key == "epsilon"
    texts = [f"{value:g}" if key == "epsilon" else value for key, value in row.items() if is_name(key, value)]
    bounds = {"ci_low", "ci_high"}  # an interval's ends say how sure a value is, and are none themselves
    return {k: v for k, v in row.items() if not is_name(k, v) and k not in bounds}, " ".join([name, *texts])


def lacking(run: str, dataset: str, reference: str) -> dict[str, list[str]]:
    """Return by stage what the reference has measured and the run has not, by name without the seed."""
    ours, theirs = (grouped(name, dataset) for name in (run, reference))
    return {stage: sorted(of for s, of in theirs.keys() - ours.keys() if s == stage) for stage in COMPARED}


def by_stage(found: list[dict], missing: dict[str, list[str]]) -> list[dict]:
    """Return a row for each stage: facts and measurements that were compared, those within, and those not compared.

    Args:
        found: of ``rows``; missing: of ``lacking``.
    """
    table = []
    for stage in dict.fromkeys([row["stage"] for row in found] + [stage for stage in missing if missing[stage]]):
        mine = [row for row in found if row["stage"] == stage]
        judged = [row for row in mine if row["within"] != ""]
        table.append(
            {"stage": stage, "compared": len(judged), "within": sum(row["within"] for row in judged)}
            | {"facts": sum(row["tolerance"] == 0 for row in judged), "not compared": len(mine) - len(judged)}
            | {"not measured": len(missing.get(stage, []))}
        )
    return table


def accuracies(found: list[dict]) -> list[dict[str, str]]:
    """Return the arms' accuracies in percent, ours beside the reference's."""
    percent = lambda row, *keys: [f"{100 * row[key]:.2f}" for key in keys]
    return [
        {"arm": row["of"]}
        | dict(zip(("ours", "reference", "tolerance"), percent(row, "ours", "reference", "tolerance"), strict=True))
        | {"n": f"{row['n']} and {row['n_reference']}", "within": "yes" if row["within"] else "NO"}
        for row in found
        if row["stage"] == "training" and row["quantity"] == "accuracy"
    ]


def allowed(run: str, dataset: str) -> list[dict[str, str]]:
    """Return what the arms' accuracies of a repetition with as many seeds may differ by: claim, value, tolerance."""
    return [
        {
            "claim": f"accuracy of {row['arm']} (%), mean of {row['n'].split()[0]} seeds",
            "value": row["reference"],
            "tolerance": f"± {row['tolerance']}",
        }
        for row in accuracies(rows(run, dataset, run))
    ]


def reused(run: str, dataset: str, since: float) -> tuple[int, int]:
    """Return how many of a run's records are older than a time (seconds since 1970), and how many there are."""
    files = list(paths.artifact(run, dataset, "records").glob("*/*.json"))
    return sum(file.stat().st_mtime < since for file in files), len(files)


def text(run: str, dataset: str, reference: str, *, since: float | None = None) -> tuple[str, bool]:
    """Return the comparison for people, and whether all is within its tolerance and no stage is missing.

    Raises:
        FileNotFoundError: there is nothing to compare.
    """
    found = rows(run, dataset, reference)
    if not found:
        raise FileNotFoundError(
            f"{run} and {reference} share no records of {dataset}; make them with: make run RUN={run}"
        )
    outside = [row for row in found if row["within"] is False]
    missing = lacking(run, dataset, reference)
    parts = [numbers.aligned(by_stage(found, missing)), numbers.aligned(accuracies(found))]
    if outside:
        parts.append(f"Outside:\n{numbers.aligned([{k: row[k] for k in COLUMNS[:-1]} for row in outside])}")
    judged = sum(row["within"] != "" for row in found)
    parts.append(f"{judged - len(outside)} of {judged} facts and measurements agree with {reference}.")
    if since is not None:
        old, total = reused(run, dataset, since)
        parts.append(f"{old} of {total} records are re-used from an earlier run of yours, {total - old} measured now.")
    have = {row["stage"] for row in found if row["within"] != ""} | {FREE}
    stages = dict.fromkeys([row["stage"] for row in found] + [stage for stage, names in missing.items() if names])
    if absent := [stage for stage in stages if stage not in have]:
        parts.append(f"Nothing of these could be compared, so that nothing is confirmed of them: {', '.join(absent)}.")
    return "\n\n".join(parts), not outside and not absent
