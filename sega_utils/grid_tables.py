"""What the paper's grid costs and what it found, in one table each: ``python -m sega_utils.grid_tables``."""

import argparse
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from statistics import mean

from sega_utils import accuracies, artifacts, operations, paths, records, runtime
from sega_utils.formats import aligned
from sega_utils.grid import FILE, PARAMS, SHARED, Grid, read, runs, settings

ACCURACY = ("dataset", *accuracies.ACCURACY)
SUSTAINED = 20.0  # TFLOP/s: assumed of a GPU that trains small networks, a small share of its peak


def accuracy_rows(grid: Grid, name: str = "paper") -> list[dict]:
    """Return the rows (columns ``ACCURACY``) of ``accuracies.accuracy``, each with its data set, of every finished run.

    A run is finished once every arm is on record with every seed.
    """
    cells, rows = set(product(grid.arms, grid.seeds)), []
    for dataset, run in product(grid.datasets, runs(grid, name)):
        if cells <= {(r["param_arm"], r["param_seed"]) for r in records.read(run, dataset, "training")}:
            rows += [{"dataset": dataset} | row for row in accuracies.accuracy(run, dataset, grid.arms)]
    return rows


def on_gpu(root: Path) -> list[dict]:
    """Return the records of the grid's stages below a results folder that were measured on a GPU, each once."""
    files = (file for file in root.glob("*/*/records/*/*.json") if not file.parent.is_symlink()
             and file.parent.name != "shards")  # fmt: skip
    found = [artifacts.load_json(file) for file in sorted(files)]
    return [record for record in found if "seconds" in record and " CPU" not in record.get("device", " CPU")]


def estimate(grid: Grid, found: list[dict], counted: dict[str, float], *, sustained: float = SUSTAINED) -> list[dict]:
    """Return a row for each kind of job: how many there are, and GPU hours for all, computed and measured.

    Either is empty where nothing was counted or measured. What is computed are the operations of all jobs at the rate
    that a GPU sustains.

    A training takes its steps times the mean seconds a step of its classifier and arm. Any other stage takes the mean
    over the measured runs of the sum of its records' seconds, and is counted once a run.

    Args:
        found: records with ``seconds``, see ``on_gpu``.
        counted: operations of one job, by the row's name, see ``operations.of_grid``.
        sustained: TFLOP/s.
    """
    per_step: dict[tuple, list[float]] = {}
    per_run: dict[str, dict[tuple, float]] = {}
    for r in found:
        if r["stage"] == "training":
            key = r["param_classifier"], r["param_arm"]
            per_step.setdefault(key, []).append(r["seconds"] / r["param_steps"])
        else:
            total = per_run.setdefault(r["stage"], {})
            total[r["run"], r["dataset"]] = total.get((r["run"], r["dataset"]), 0) + r["seconds"]
    bases = len(grid.datasets) * len(grid.fractions)
    rows = []
    for stage in (*SHARED, *sorted(set(per_run) - set(SHARED))):
        runs = bases * (1 if stage in SHARED else len(grid.classifiers))
        rows.append({"job": stage, "jobs": runs, "measured": hours(runs, per_run.get(stage, {}).values())})
    for classifier in grid.classifiers:
        for arm, chosen in settings(grid, classifier).items():
            jobs = bases * len(grid.seeds)
            each = [chosen["steps"] * seconds for seconds in per_step.get((classifier, arm), [])]
            rows.append({"job": f"{classifier}, {arm}", "jobs": jobs, "measured": hours(jobs, each)})
    seconds = {job: [operations / (sustained * 1e12)] for job, operations in counted.items()}
    return [{"job": row["job"], "jobs": row["jobs"], "computed": hours(row["jobs"], seconds.get(row["job"], [])),
             "measured": row["measured"]} for row in rows]  # fmt: skip


def hours(jobs: int, seconds: Iterable[float]) -> str:
    """Return the hours that jobs take, from the seconds that each of some took; empty if there is none."""
    seconds = list(seconds)
    return f"{jobs * mean(seconds) / 3600:.1f}" if seconds else ""


def cost_text(grid: Grid, params: Path = PARAMS, *, sustained: float = SUSTAINED) -> str:
    """Return the jobs and GPU hours of the grid, counted and from the records of GPU runs, in aligned columns."""
    found = on_gpu(paths.results_root())
    rows = estimate(grid, found, operations.of_grid(grid, params), sustained=sustained)
    computed, measured = ([float(row[name]) for row in rows if row[name]] for name in ("computed", "measured"))
    devices = " and ".join(sorted({record["device"] for record in found}))
    return (f"{aligned(rows)}\n\n{sum(row['jobs'] for row in rows):,} jobs. GPU hours: {sum(computed):,.0f} computed, "
            f"at {sustained:g} TFLOP/s, for the {len(computed)} rows of trainings; {sum(measured):,.1f} measured on "
            f"{devices or 'no GPU'}, for {len(measured)} of {len(rows)} rows")  # fmt: skip


def accuracy_text(grid: Grid, name: str = "paper") -> str:
    """Write the accuracies of the grid to ``results/<name>.csv``; return them in aligned columns, and how many runs.

    Raises:
        FileNotFoundError: no run is finished.
        ArtifactError, ValueError: as ``accuracies.accuracy``.
    """
    rows, expected = accuracy_rows(grid, name), len(grid.datasets) * len(runs(grid, name))
    if not rows:
        raise FileNotFoundError(f"no run of the grid {name} is finished; make them with: make paper")
    file = paths.results_root() / f"{name}.csv"
    artifacts.save_csv(file, rows, ACCURACY)
    finished = len({(row["dataset"], row["classifier"], row["fraction"]) for row in rows})
    return f"{aligned(rows)}\n\n{finished} of {expected} runs are finished; written to {paths.shown(file)}"


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Print what the grid costs, or the accuracies of its finished runs."""
    parser = argparse.ArgumentParser("python -m sega_utils.grid_tables", description=main.__doc__)
    parser.add_argument("what", choices=("cost", "accuracy"))
    parser.add_argument("--grid", type=Path, default=FILE)
    parser.add_argument("--params", type=Path, default=PARAMS)
    parser.add_argument("--run", default="paper", help="what the names of its runs begin with")
    parser.add_argument("--tflops", type=float, default=SUSTAINED, help="that a GPU sustains, for the computed hours")
    args = parser.parse_args(arguments)
    grid = read(args.grid, args.params)
    cost = args.what == "cost"
    print(cost_text(grid, args.params, sustained=args.tflops) if cost else accuracy_text(grid, args.run))


if __name__ == "__main__":
    sys.exit(main())
