"""The paper's grid, and its cost in GPU hours from what is on record: ``python -m sega_utils.grid``."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import yaml

from sega_utils import arms, artifacts, classifiers, data, parameters, paths
from sega_utils.formats import aligned

FILE, PARAMS = paths.PARAMS / "grid.yaml", paths.PARAMS / "paper.yaml"
AXES = ("datasets", "fractions", "classifiers")
SHARED = ("data", "clip", "prompts", "generator", "projector", "synthesis")  # stages before any classifier
TRAINING = paths.NOTEBOOKS / "05_training.ipynb"


class Grid(NamedTuple):
    """What is multiplied: each combination is one training."""

    datasets: list[str]
    fractions: list[float]
    classifiers: list[str]
    arms: list[str]
    seeds: list[int]
    folder: Path  # of the classifiers' settings


def read(file: Path = FILE, params: Path = PARAMS) -> Grid:
    """Return the grid: a file of data sets, fractions and classifiers, and the arms and seeds given to 05_training.

    Raises:
        FileNotFoundError: no such file, or no settings of a classifier.
        ValueError: not such a file, or a name or number that is not allowed; the message lists what is.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no grid {paths.shown(file)}")
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or set(content) != set(AXES) or not all(
        isinstance(values, list) and values and len(set(values)) == len(values) for values in content.values()
    ):
        raise ValueError(f"{paths.shown(file)} must hold {', '.join(AXES)}, each a list of different values")
    known = parameters.read(TRAINING)
    given = parameters.check(parameters.read_file(params, TRAINING), known)
    chosen = {name: given.get(name.upper(), known[name.upper()].default) for name in ("arms", "seeds")}
    found = Grid(**content, **chosen, folder=file.parent)
    for what, values, allowed in (("data set", found.datasets, data.DATASETS),
                                  ("classifier", found.classifiers, classifiers.CLASSIFIERS)):  # fmt: skip
        if strange := [value for value in values if value not in allowed and not str(value).startswith(paths.OWN)]:
            raise ValueError(f"{paths.shown(file)} has the {what} {strange[0]!r}; known are {', '.join(allowed)}")
    if strange := [f for f in found.fractions if type(f) not in {int, float} or not 0 < f <= 1]:
        raise ValueError(f"{paths.shown(file)} has the fraction {strange[0]!r}; allowed is 0 .. 1 without 0")
    for classifier in found.classifiers:
        settings(found, classifier)
    return found


def settings_file(grid: Grid, classifier: str) -> Path:
    """Return where a classifier's settings are: beside the grid's file."""
    return grid.folder / f"tuned-{classifier}.yaml"


def settings(grid: Grid, classifier: str) -> dict[str, dict]:
    """Return the complete settings of the grid's arms with a classifier, by arm.

    Raises:
        FileNotFoundError: the classifier has no file of settings.
        ValueError: the file lacks an arm, or its settings are unknown or of another classifier.
    """
    file = settings_file(grid, classifier)
    if not file.is_file():
        raise FileNotFoundError(f"the classifier {classifier} needs its settings of each arm in {paths.shown(file)}")
    tuned = yaml.safe_load(file.read_text(encoding="utf-8"))
    if missing := [name for name in grid.arms if name not in tuned]:
        raise ValueError(f"{paths.shown(file)} lacks the arm {missing[0]!r}")
    found = {name: arms.settings_of(name, tuned[name]) for name in grid.arms}
    if strange := {s["classifier"] for s in found.values()} - {classifier}:
        raise ValueError(f"{paths.shown(file)} is for {classifier} but names {strange.pop()}")
    return found


def share(source: Path, target: Path, names: Iterable[str]) -> None:
    """Link files or folders of one run into another, by relative links, in place of what is there.

    Every writer of the project replaces a file as a whole, so none writes through a link.
    """
    for name in names:
        link = target / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(source / name, link.parent))


def on_gpu(root: Path) -> list[dict]:
    """Return the records below a results folder that were measured on a GPU, each once."""
    files = (file for file in root.glob("*/*/records/*/*.json") if not file.parent.is_symlink())
    found = [artifacts.load_json(file) for file in sorted(files)]
    return [record for record in found if "seconds" in record and " CPU" not in record.get("device", " CPU")]


def estimate(grid: Grid, found: list[dict]) -> list[dict]:
    """Return a row for each kind of job: how many there are, and GPU hours for all; empty where nothing was measured.

    A training takes its steps times the mean seconds a step of its classifier and arm. Any other stage takes the mean
    over the measured runs of the sum of its records' seconds, and is counted once a run.

    Args:
        found: records with ``seconds``, see ``on_gpu``.
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
        rows.append({"job": stage, "jobs": runs, "GPU hours": hours(runs, per_run.get(stage, {}).values())})
    for classifier in grid.classifiers:
        for arm, chosen in settings(grid, classifier).items():
            jobs = bases * len(grid.seeds)
            each = [chosen["steps"] * seconds for seconds in per_step.get((classifier, arm), [])]
            rows.append({"job": f"{classifier}, {arm}", "jobs": jobs, "GPU hours": hours(jobs, each)})
    return rows


def hours(jobs: int, seconds: Iterable[float]) -> str:
    """Return the hours that jobs take, from the seconds that each of some took; empty if none was measured."""
    seconds = list(seconds)
    return f"{jobs * mean(seconds) / 3600:.1f}" if seconds else ""


def main(arguments: list[str] | None = None) -> int:
    """Print what the grid costs, from the records of GPU runs; return 0, or 1 after an error."""
    parser = argparse.ArgumentParser("python -m sega_utils.grid", description=main.__doc__)
    parser.add_argument("--grid", type=Path, default=FILE)
    parser.add_argument("--params", type=Path, default=PARAMS)
    args = parser.parse_args(arguments)
    try:
        found = on_gpu(paths.results_root())
        rows = estimate(read(args.grid, args.params), found)
    except (OSError, ValueError, artifacts.ArtifactError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(aligned(rows))
    known = [float(row["GPU hours"]) for row in rows if row["GPU hours"]]
    devices = " and ".join(sorted({record["device"] for record in found}))
    print(f"\n{sum(row['jobs'] for row in rows):,} jobs; {sum(known):,.1f} GPU hours on {devices or 'no GPU'}, "
          f"{len(rows) - len(known)} of {len(rows)} rows without a measurement on a GPU")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
