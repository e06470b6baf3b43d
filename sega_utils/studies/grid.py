"""The paper's grid: what is multiplied, and where its runs are. Each job plans it anew, so nothing here needs torch."""

import os
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

from sega_utils.core import parameters, paths
from sega_utils.training import recipes

FILE, PARAMS = paths.PARAMS / "grid.yaml", paths.PARAMS / "paper.yaml"
AXES = ("datasets", "fractions", "classifiers")
SHARED = paths.BEFORE  # what all classifiers of a run have in common
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
        FileNotFoundError: no such file, or none of settings beside it.
        ValueError: not such a file, or a name or number that is not allowed, or a classifier or an arm without
            settings; the message lists what there is.
    """
    content = parameters.load_yaml(file)
    if (
        not isinstance(content, dict)
        or set(content) != set(AXES)
        or not all(isinstance(values, list) and values for values in content.values())
    ):
        raise ValueError(f"{paths.shown(file)} must hold {', '.join(AXES)}, each a list of different values")
    for axis, values in content.items():
        parameters.check_set(values, f"{paths.shown(file)}: {axis}")
    known = parameters.read(TRAINING)
    given = parameters.check(parameters.read_file(params, TRAINING), known)
    chosen = {name: given.get(name.upper(), known[name.upper()].default) for name in ("arms", "seeds")}
    found = Grid(**content, **chosen, folder=file.parent)
    for dataset in found.datasets:
        try:
            parameters.check({"DATASET": dataset}, known)
        except ValueError as error:
            raise ValueError(f"{paths.shown(file)}: {error}") from error
    if strange := [f for f in found.fractions if type(f) not in {int, float} or not 0 < f <= 1]:
        raise ValueError(f"{paths.shown(file)} has the fraction {strange[0]!r}; allowed is 0 .. 1 without 0")
    if strange := [name for name in found.classifiers if not isinstance(name, str)]:
        raise ValueError(f"{paths.shown(file)} has the classifier {strange[0]!r}; it must be a text")
    for classifier in found.classifiers:
        settings(found, classifier)
    return found


def bases(grid: Grid, name: str = "paper") -> dict[str, float]:
    """Return the runs that hold what comes before any classifier, and the fraction of each."""
    return {f"{name}-{fraction:g}": fraction for fraction in grid.fractions}


def runs(grid: Grid, name: str = "paper") -> list[str]:
    """Return the runs that end with a report: each classifier on each of the ``bases``."""
    return [f"{base}@{classifier}" for base, classifier in product(bases(grid, name), grid.classifiers)]


def settings_file(grid: Grid) -> Path:
    """Return where the settings of the classifiers are: beside the grid's file."""
    return grid.folder / "classifiers.yaml"


def settings(grid: Grid, classifier: str) -> dict[str, dict]:
    """Return the complete settings of the grid's arms with a classifier, by arm.

    Raises:
        FileNotFoundError: there is no file of settings.
        ValueError: the file lacks the classifier or an arm, or its settings are unknown or of another classifier.
    """
    file = settings_file(grid)
    tuned, shown = recipes.read(file, classifier), paths.shown(file)
    if missing := [name for name in grid.arms if name not in tuned]:
        raise ValueError(f"{shown} lacks the arm {missing[0]!r}")
    found = {name: recipes.settings_of(name, tuned[name]) for name in grid.arms}
    if strange := {s["classifier"] for s in found.values()} - {classifier}:
        raise ValueError(f"{shown} is for {classifier} but names {strange.pop()}")
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
