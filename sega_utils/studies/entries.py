"""The ablations: what each one changes in the run's SEGA-Net, which to measure, and what their records say."""

import re
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from sega_utils import filters
from sega_utils.core import numbers, parameters, paths
from sega_utils.data import augment
from sega_utils.evaluation import classified
from sega_utils.studies import sift
from sega_utils.training import mixture, recipes
from sega_utils.training.supervision import SUPERVISIONS

# The rows of the poster's table, which defines none of them. GAN: the generator is told the class. LLM: the latents
# come from the prompts. Without either: a generator of the average class, and latents of the prior.
COMPONENTS = {
    "GAN-only": {"latents": "plain", "use": ""},
    "LLM-only": {"conditioning": "average", "use": ""},
    "GAN+LLM": {"use": ""},
    "GAN+Filter": {"latents": "plain"},
    "LLM+Filter": {"conditioning": "average"},
    "SEGA-Net": {},
}
FILTER_ROWS = {f"only {name}": {"use": name} for name in filters.FILTERS}
FILTER_ROWS |= {f"random as {name}": {"use": name, "choice": "random"} for name in filters.FILTERS}
FILTER_ROWS |= {"random as all": {"choice": "random"}}
# after the filters, another choice among what they keep, see ``sift``
SIFT_ROWS = {name: {"sift": name} for name in sift.SIFTS}
SIFT_ROWS |= {f"random as {name}": {"sift": name, "sift_choice": "random"} for name in sift.SIFTS}
NO_SYNTHETIC = {"synthetic": "none", "labels": "class"}  # the real images keep their labels
SUPERVISED = NO_SYNTHETIC | {"mixing": "none", "policy": "none", "pixel": True}


def on_top(own: dict, ratio: float) -> dict:
    """Return the batch size of which the run's own is all but ``ratio``."""
    return {"batch_size": round(own["batch_size"] / (1 - ratio))}


# name: (what is allowed: choices, a range of integers or the limits of a number; value, SEGA-Net's settings -> what
# differs from the run's SEGA-Net in the settings of ``recipes.SETTINGS`` and in the recipe of ``pools.recipe_of``)
ABLATIONS = {
    "components": (tuple(COMPONENTS), lambda value, own: ({}, COMPONENTS[value])),
    "filters": (tuple(FILTER_ROWS), lambda value, own: ({}, FILTER_ROWS[value])),
    "alignment_percentile": ([0, 100], lambda value, own: ({}, {"alignment_percentile": value})),
    "blur_percentile": ([0, 100], lambda value, own: ({}, {"blur_percentile": value})),
    "ratio_replace": ([0, 0.95], lambda value, own: ({"ratio": value} if value else NO_SYNTHETIC, {})),
    "ratio_add": ([0.01, 0.95], lambda value, own: ({"ratio": value} | on_top(own, value), {})),
    "ratio_add_real": ([0.01, 0.95], lambda value, own: (NO_SYNTHETIC | on_top(own, value), {})),
    "steps": (range(1, 10**7), lambda value, own: ({"steps": value}, {})),
    "steps_real": (range(1, 10**7), lambda value, own: (NO_SYNTHETIC | {"steps": value}, {})),
    "amount": ([0.1, 100], lambda value, own: ({"amount": value}, {})),
    "labels": (("class", "clip"), lambda value, own: ({"labels": value}, {})),
    "mixing": (tuple(augment.MIXING), lambda value, own: ({"mixing": value}, {})),
    "sigma": ([0, 4], lambda value, own: ({}, {"sigma": value})),
    "tau": ([0.001, 10], lambda value, own: ({}, {"tau": value})),
    "lam": ([0, 10], lambda value, own: ({}, {"lam": value})),
    "m": (range(1, 21), lambda value, own: ({}, {"m": value})),
    "n_prompts": (range(1, 101), lambda value, own: ({}, {"n_prompts": value})),
    "prompts": (("own", "shuffled"), lambda value, own: ({}, {"prompts": value})),
    "batches": (mixture.BATCHES, lambda value, own: ({"batches": value}, {})),
    "weight": ([0.001, 1000], lambda value, own: ({"weight": value}, {})),
    "supervision": (tuple(SUPERVISIONS), lambda value, own: (SUPERVISED | {"supervision": value}, {})),
    "sift": (tuple(SIFT_ROWS), lambda value, own: ({}, SIFT_ROWS[value])),
}
REAL = "_real"  # ends the name of an entry's control: the same without synthetic images
# An arm at another fraction of the real data is another run, with its own CLIP and GAN; only its records are read.
FRACTION = "fraction"
ALLOWED = {name: allowed for name, (allowed, _) in ABLATIONS.items()} | {FRACTION: [0, 1]}


class Entry(NamedTuple):
    """One ablation: a key of ``ALLOWED``, the value it takes, and for ``FRACTION`` the arm."""

    name: str
    value: str | int | float
    arm: str = ""

    def __str__(self) -> str:
        value = self.value if isinstance(self.value, str) else format(self.value, "g")
        return f"{self.name}{self.arm and f': {self.arm}'}={value}"


def read(file: Path) -> tuple[list[Entry], list[int]]:
    """Return the entries of a YAML file, in its order, and the seeds that each is measured with.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, an unknown name, or a value that is not allowed or there twice.
    """
    content = parameters.load_yaml(file)
    lists = dict(content) if isinstance(content, dict) else {}
    by_arm = lists.pop(FRACTION, {})
    lists |= {(FRACTION, arm): values for arm, values in by_arm.items()} if isinstance(by_arm, dict) else {FRACTION: 0}
    if not lists or not all(isinstance(values, list) and values for values in lists.values()):
        raise ValueError(
            f"{paths.shown(file)} must hold 'seeds: [0, ...]', lines 'name: [value, ...]', and for {FRACTION} lines "
            "'arm: [value, ...]'"
        )
    seeds = lists.pop("seeds", [])
    if not seeds or any(type(s) is not int or not 0 <= s < 2**32 for s in seeds):
        raise ValueError(f"seeds of {paths.shown(file)} are {seeds}; needed are different ones of 0 .. 4294967295")
    parameters.check_set(seeds, f"seeds of {paths.shown(file)}")
    named = [(*key, values) if isinstance(key, tuple) else (key, "", values) for key, values in lists.items()]
    found = [check(Entry(name, value, arm)) for name, arm, values in named for value in values]
    if twice := [str(entry) for entry in found if found.count(entry) > 1]:
        raise ValueError(f"{paths.shown(file)} holds {twice[0]} twice; leave one")
    return found, seeds


def check(entry: Entry) -> Entry:
    """Return an entry that is allowed.

    Raises:
        ValueError: its name is unknown or its value not allowed; the message lists what is.
    """
    name, value, arm = entry
    if name not in ALLOWED:
        raise ValueError(f"unknown ablation {name!r}; known are {', '.join(ALLOWED)}")
    if (name == FRACTION) != (arm in recipes.ARMS) or (arm and name != FRACTION):
        raise ValueError(
            f"{name} is of the arm {arm!r}; {FRACTION}, and nothing else, is of one of {list(recipes.ARMS)}"
        )
    allowed = ALLOWED[name]
    if isinstance(allowed, list):
        fits, text = type(value) in {int, float} and allowed[0] <= value <= allowed[1], f"{allowed[0]} .. {allowed[1]}"
    elif isinstance(allowed, range):
        fits, text = type(value) is int and value in allowed, f"{allowed[0]} .. {allowed[-1]}, an integer"
    else:
        fits, text = value in allowed, f"one of: {' | '.join(allowed)}"
    if not fits:
        raise ValueError(f"{name} is {value!r}; allowed is {text}")
    return entry


def choose(found: list[Entry], wanted: list[str]) -> list[Entry]:
    """Return the entries that texts name: ``name`` alone for every value of it, or ``name=value``.

    Raises:
        ValueError: a text that names none; the message lists what there is.
    """
    for text in wanted:
        if not any(text in {entry.name, str(entry)} for entry in found):
            raise ValueError(
                f"there is no ablation {text!r}; there are {', '.join(map(str, found))}, "
                "and the name alone stands for all its values"
            )
    return [entry for entry in found if {entry.name, str(entry)} & set(wanted)]


def slug(entry: Entry) -> str:
    """Return an entry's name and value as a file may carry them."""
    return re.sub("[^a-z0-9.]+", "-", str(entry).lower().replace("+", " plus "))


FILE = paths.PARAMS / "ablations.yaml"
OF_A_SEED = ("input_reference", "input_weights", "param_seed")  # what the records of one entry may differ in
ROWS = ("name", "arm", "value", "mean", "std", "n", "diff", "ci_low", "ci_high")


def ablation_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``ROWS``) for each entry that has records, in percent; ordered by name and value.

    ``diff`` is to SEGA-Net, paired by seed, with its 95 % interval; empty for SEGA-Net itself and for a single seed.

    Raises:
        ArtifactError: an entry's records are of different files, settings, budgets or library versions.
    """
    rows = []
    for (name, value, arm), mine in grouped(found).items():
        classified.check_same(mine, lambda key: key.startswith(("param_", "input_")) and key not in OF_A_SEED)
        classified.check_same(mine, classified.is_budget)
        ours, theirs = ({r["param_seed"]: 100 * r[key] for r in mine} for key in ("accuracy", "accuracy_reference"))
        row = {"name": name, "arm": arm, "value": value} | numbers.summary(ours.values())
        if len(ours) > 1 and any(r["input_weights"] != r["input_reference"] for r in mine):
            paired = numbers.paired_difference(ours, theirs)
            row |= {"diff": paired["difference"], "ci_low": paired["ci_low"], "ci_high": paired["ci_high"]}
        rows.append({column: row.get(column, "") for column in ROWS})
    return rows


def yield_rows(found: list[dict]) -> list[dict]:
    """Return the rows of ``ablation_rows`` that drew candidates, with ``kept_share``, 0 .. 1: what the filters kept."""
    groups = grouped([r for r in found if "kept_share" in r])
    rows = ablation_rows([r for mine in groups.values() for r in mine])
    return [row | {"kept_share": groups[row["name"], row["value"], row["arm"]][0]["kept_share"]} for row in rows]


def of_record(record: dict) -> Entry:
    """Return the entry that a record is of."""
    name = record["param_ablation"]
    return Entry(name, record["param_value"], record["param_arm"] if name == FRACTION else "")


def grouped(found: list[dict]) -> dict[Entry, list[dict]]:
    """Return records by entry: names in the order of ``ALLOWED``, arms and choices in theirs, numbers rising."""
    groups: dict[Entry, list[dict]] = {}
    for r in found:
        groups.setdefault(of_record(r), []).append(r)
    names, arms = list(ALLOWED), ["", *recipes.ARMS]

    def place(key: Entry) -> tuple:
        choices = ALLOWED[key.name]
        value = choices.index(key.value) if isinstance(choices, tuple) else key.value
        return names.index(key.name), arms.index(key.arm), value

    return {key: groups[key] for key in sorted(groups, key=place)}


def time_left(run: str, dataset: str, wanted: list[Entry], seeds: list[int], *, workers: int) -> list[dict]:
    """Return, for each name and in all, how many (entry, seed) there are, how many are on record, and minutes left.

    A record counts while the SEGA-Net that it was paired with is the run's present one. The time is the mean of the
    records' seconds, or of SEGA-Net's own training before there are any. Entries of other runs have no time, as they
    are read once these runs are made.

    Raises:
        FileNotFoundError: SEGA-Net was not trained with one of the seeds.
        ValueError: fewer than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}; allowed is 1 or more")
    references = [classified.trained(run, dataset, recipes.OURS, seed) for seed in seeds]
    found = classified.current(run, dataset)
    done = {(*of_record(r), r["param_seed"]) for r in found}
    timed = [r for r in found if r["input_weights"] != r["input_reference"] and r["param_from_run"] == run]
    seconds = mean(r["seconds"] for r in timed or references)
    rows = []
    for name in dict.fromkeys(entry.name for entry in wanted):
        asked = {(*entry, seed) for entry in wanted for seed in seeds if entry.name == name}
        left = "" if name == FRACTION else len(asked - done) * seconds / workers / 60
        rows.append({"name": name, "asked": len(asked), "on record": len(asked & done), "minutes left": left})
    total = {key: sum(row[key] or 0 for row in rows) for key in ("asked", "on record", "minutes left")}
    return [*rows, {"name": "all"} | total]
