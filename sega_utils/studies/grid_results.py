"""The paper's grid: what it costs, counted and from records, and what its finished runs found."""

from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from pathlib import Path
from statistics import mean

import torch
from torch.utils.flop_counter import FlopCounterMode

from sega_utils.augmenters.gan import train_gan
from sega_utils.core import artifacts, parameters, paths, records
from sega_utils.core.numbers import aligned
from sega_utils.data.images import Dataset
from sega_utils.evaluation import classified
from sega_utils.studies import grid
from sega_utils.studies.grid import PARAMS, SHARED, Grid, runs, settings
from sega_utils.training.classifiers import train_classifier

ACCURACIES = ("dataset", *classified.ACCURACY)
FEWEST = 3  # seeds from which an interval is given: of two, it is wider than any difference
SUSTAINED = 20.0  # TFLOP/s: assumed of a GPU that trains small networks, a small share of its peak


def accuracies(grid: Grid, name: str = "paper") -> list[dict]:
    """Return the rows of ``classified.accuracy_rows``, each with its data set (``ACCURACIES``), of every finished run.

    A run is finished once every arm is on record with every seed. With fewer than ``FEWEST`` seeds, a difference has no
    interval.
    """
    cells, rows = set(product(grid.arms, grid.seeds)), []
    for dataset, run in product(grid.datasets, runs(grid, name)):
        if cells <= {(r["param_arm"], r["param_seed"]) for r in records.read(run, dataset, "training")}:
            rows += [{"dataset": dataset} | row for row in classified.accuracy_rows(run, dataset, grid.arms)]
    return [row if row["n"] >= FEWEST else row | {"ci_low": "", "ci_high": ""} for row in rows]


def on_gpu(root: Path) -> list[dict]:
    """Return the records of the grid's stages below a results folder that were measured on a GPU, each once."""
    files = (
        file
        for file in root.glob("*/*/records/*/*.json")
        if not file.parent.is_symlink() and file.parent.name != "shards"
    )
    found = [records.load(file) for file in sorted(files)]
    return [record for record in found if "seconds" in record and " CPU" not in record.get("device", " CPU")]


def gpu_hours(grid: Grid, found: list[dict], counted: dict[str, float], *, sustained: float = SUSTAINED) -> list[dict]:
    """Return a row for each kind of job: how many there are, and GPU hours for all, computed and measured.

    Either is empty where nothing was counted or measured. What is computed are the operations of all jobs at the rate
    that a GPU sustains.

    A training takes its steps times the mean seconds a step of its classifier and arm. Any other stage takes the mean
    over the measured runs of the sum of its records' seconds, and is counted once a run.

    Args:
        found: records with ``seconds``, see ``on_gpu``.
        counted: operations of one job, by the row's name, see ``of_grid``.
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
    return [
        {
            "job": row["job"],
            "jobs": row["jobs"],
            "computed": hours(row["jobs"], seconds.get(row["job"], [])),
            "measured": row["measured"],
        }
        for row in rows
    ]


def hours(jobs: int, seconds: Iterable[float]) -> str:
    """Return the hours that jobs take, from the seconds that each of some took; empty if there is none."""
    seconds = list(seconds)
    return f"{jobs * mean(seconds) / 3600:.1f}" if seconds else ""


def cost_text(grid: Grid, params: Path = PARAMS, *, sustained: float = SUSTAINED) -> str:
    """Return the jobs and GPU hours of the grid, counted and from the records of GPU runs, in aligned columns."""
    found = on_gpu(paths.results_root())
    rows = gpu_hours(grid, found, of_grid(grid, params), sustained=sustained)
    computed, measured = ([float(row[name]) for row in rows if row[name]] for name in ("computed", "measured"))
    devices = " and ".join(sorted({record["device"] for record in found}))
    return (
        f"{aligned(rows)}\n\n{sum(row['jobs'] for row in rows):,} jobs. GPU hours: {sum(computed):,.0f} computed, "
        f"at {sustained:g} TFLOP/s, for the {len(computed)} rows of trainings; {sum(measured):,.1f} measured on "
        f"{devices or 'no GPU'}, for {len(measured)} of {len(rows)} rows"
    )


def accuracies_text(grid: Grid, name: str = "paper") -> str:
    """Write the accuracies of the grid to ``results/<name>.csv``; return them in aligned columns, and how many runs.

    Raises:
        FileNotFoundError: no run is finished.
        ArtifactError, ValueError: as ``classified.accuracy_rows``.
    """
    rows, expected = accuracies(grid, name), len(grid.datasets) * len(runs(grid, name))
    if not rows:
        raise FileNotFoundError(f"no run of the grid {name} is finished; make them with: make paper")
    file = paths.results_root() / f"{name}.csv"
    artifacts.save_csv(file, rows, ACCURACIES)
    finished = len({(row["dataset"], row["classifier"], row["fraction"]) for row in rows})
    return f"{aligned(rows)}\n\n{finished} of {expected} runs are finished; written to {paths.shown(file)}"


FEW = 8  # images of the step that is counted; operations grow in proportion with them


def of_grid(found: grid.Grid, params: Path = grid.PARAMS) -> dict[str, float]:
    """Return the operations of one job that trains a generator or a classifier, by its row in ``grid_tables``.

    The other jobs are not counted: CLIP's embeddings, projector, filters, evaluation.
    """
    notebook = paths.NOTEBOOKS / "02_generator.ipynb"
    known = parameters.read(notebook)
    given = parameters.check(parameters.read_file(params, notebook), known)
    names = ("steps", "width", "depth", "z_dim")
    gan = of_gan(**{name: given.get(name.upper(), known[name.upper()].default) for name in names})
    return {"generator": gan} | {
        f"{classifier}, {arm}": of_classifier(settings)
        for classifier in found.classifiers
        for arm, settings in grid.settings(found, classifier).items()
    }


def of_classifier(settings: dict) -> float:
    """Return the operations of one training with an arm's complete settings (see ``recipes.settings_of``).

    Multiplications and additions count as one each, forward and backward, of colour images of ten classes: neither
    changes the sum by more than a few percent. Images have 32 pixels a side; with 64 it is about four times as many.
    """
    return _classifier_step(settings["classifier"]) / FEW * settings["batch_size"] * settings["steps"]


@lru_cache
def _classifier_step(classifier: str) -> int:
    with FlopCounterMode(display=False) as counter:
        train_classifier(_random(), classifier=classifier, steps=1, batch_size=FEW, pixel=False)
    return counter.get_total_flops()


@lru_cache
def of_gan(*, steps: int, width: int, depth: int, z_dim: int, batch_size: int = 64) -> float:
    """Return the operations of one training of the generator, counted as those of a classifier."""
    with FlopCounterMode(display=False) as counter:
        train_gan(_random(), steps=1, seed=0, width=width, depth=depth, z_dim=z_dim, batch_size=FEW)
    return counter.get_total_flops() / FEW * batch_size * steps


def _random() -> Dataset:
    return Dataset(torch.rand(FEW, 3, 32, 32), torch.arange(FEW), tuple("abcdefghij"))
