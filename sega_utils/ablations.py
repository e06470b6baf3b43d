"""What the ablations say, from their records, and how long the rest will take: ``python -m sega_utils.ablations``."""

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev

from sega_utils import artifacts, consistency, entries, metrics, paths, recipes, records, runtime
from sega_utils.entries import Entry
from sega_utils.formats import aligned

FILE = paths.PARAMS / "ablations.yaml"
OF_A_SEED = ("input_reference", "input_weights", "param_seed")  # what the records of one entry may differ in
COLUMNS = ("name", "value", "mean", "std", "n", "diff", "ci_low", "ci_high")


def ablation_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``COLUMNS``) for each entry that has records, in percent; ordered by name and value.

    ``diff`` is to SEGA-Net, paired by seed, with its 95 % interval; empty for SEGA-Net itself and for a single seed.

    Raises:
        ArtifactError: an entry's records are of different files, settings, budgets or library versions.
    """
    rows = []
    for (name, value), mine in grouped(found).items():
        consistency.check_same(mine, lambda key: key.startswith(("param_", "input_")) and key not in OF_A_SEED)
        consistency.check_same(mine, consistency.is_budget)
        ours, theirs = ({r["param_seed"]: 100 * r[key] for r in mine} for key in ("accuracy", "accuracy_reference"))
        row = {"name": name, "value": value, "mean": mean(ours.values()), "n": len(ours)}
        if len(ours) > 1:
            row["std"] = stdev(ours.values())
            if any(r["input_weights"] != r["input_reference"] for r in mine):
                paired = metrics.paired_difference(ours, theirs)
                row |= {"diff": paired["difference"], "ci_low": paired["ci_low"], "ci_high": paired["ci_high"]}
        rows.append({column: row.get(column, "") for column in COLUMNS})
    return rows


def yield_rows(found: list[dict]) -> list[dict]:
    """Return the rows of ``ablation_rows`` that drew candidates, with ``kept_share``, 0 .. 1: what the filters kept."""
    groups = grouped([r for r in found if "kept_share" in r])
    rows = ablation_rows([r for mine in groups.values() for r in mine])
    return [row | {"kept_share": groups[row["name"], row["value"]][0]["kept_share"]} for row in rows]


def grouped(found: list[dict]) -> dict[tuple, list[dict]]:
    """Return records by (name, value): names in the order of ``entries.ALLOWED``, choices in theirs, numbers rising."""
    groups: dict[tuple, list[dict]] = {}
    for r in found:
        groups.setdefault((r["param_ablation"], r["param_value"]), []).append(r)
    names = list(entries.ALLOWED)

    def place(key: tuple) -> tuple:
        choices = entries.ALLOWED[key[0]]
        return names.index(key[0]), choices.index(key[1]) if isinstance(choices, tuple) else key[1]

    return {key: groups[key] for key in sorted(groups, key=place)}


def is_current(found: dict) -> bool:
    """Return whether the SEGA-Net that a record was paired with is the one that its run has now."""
    name = f"{recipes.slug(recipes.OURS)}-seed{found['param_seed']}"
    path = records.path(found["param_from_run"], found["dataset"], "training", name)
    return path.exists() and artifacts.load_json(path)["input_weights"] == found["input_reference"]


def current(run: str, dataset: str) -> list[dict]:
    """Return a run's ablation records whose SEGA-Net is the present one."""
    return [record for record in records.read(run, dataset, "ablation") if is_current(record)]


def trained(run: str, dataset: str, arm: str, seed: int) -> dict:
    """Return the training record of an (arm, seed).

    Raises:
        FileNotFoundError: it was not trained; the message names the command that trains it.
    """
    path = records.path(run, dataset, "training", f"{recipes.slug(arm)}-seed{seed}")
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; {recipes.how_to_train(run, dataset, arm, seed)}")
    return artifacts.load_json(path)


def estimate(run: str, dataset: str, wanted: list[Entry], seeds: list[int], *, workers: int) -> list[dict]:
    """Return, for each name and in all, how many (entry, seed) there are, how many are on record, and minutes left.

    A record counts while the SEGA-Net that it was paired with is the run's present one. The time is the mean of the
    records' seconds, or of SEGA-Net's own training before there are any. Entries of other runs take none.

    Raises:
        FileNotFoundError: SEGA-Net was not trained with one of the seeds.
        ValueError: fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; allowed is 1 or more")
    references = [trained(run, dataset, recipes.OURS, seed) for seed in seeds]
    found = current(run, dataset)
    done = {(r["param_ablation"], r["param_value"], r["param_seed"]) for r in found}
    timed = [r for r in found if r["input_weights"] != r["input_reference"] and r["param_from_run"] == run]
    seconds = mean(r["seconds"] for r in timed or references)
    rows = []
    for name in dict.fromkeys(entry.name for entry in wanted):
        asked = {(*entry, seed) for entry in wanted for seed in seeds if entry.name == name}
        left = 0 if name.startswith(entries.FRACTION) else len(asked - done)
        rows.append({"name": name, "asked": len(asked), "on record": len(asked & done),
                     "minutes left": left * seconds / workers / 60})  # fmt: skip
    total = {key: sum(row[key] for row in rows) for key in ("asked", "on record", "minutes left")}
    return [*rows, {"name": "all"} | total]


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Print what is on record and how long the rest will take."""
    parser = argparse.ArgumentParser("python -m sega_utils.ablations", description=main.__doc__)
    parser.add_argument("--run", default="embedded")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--file", type=Path, default=FILE, help="YAML of entries and seeds")
    parser.add_argument("--workers", type=int, default=2, help="entries measured at a time")
    parser.add_argument("--brief", action="store_true", help="one line instead of a table")
    args = parser.parse_args(arguments)
    wanted, seeds = entries.read(args.file)
    rows = estimate(args.run, args.dataset, wanted, seeds, workers=args.workers)
    done, asked, minutes = (rows[-1][key] for key in ("on record", "asked", "minutes left"))
    brief = f"{done} of {asked} ablations on record, about {minutes:.0f} minutes left"
    print(brief if args.brief else aligned(rows))


if __name__ == "__main__":
    sys.exit(main())
