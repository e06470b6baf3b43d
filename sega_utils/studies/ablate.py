"""Change one thing in the run's SEGA-Net, train it again with the same seeds and steps, and record what came out.

As the arms are, an ablation is measured on the test set. It explains a result and chooses nothing: settings are chosen
by ``arms.tune``, which never loads the test set.
"""

from contextlib import suppress
from functools import cache

from sega_utils.augmenters import pools
from sega_utils.core import artifacts, records
from sega_utils.data import catalogue
from sega_utils.evaluation import classified
from sega_utils.evaluation.classified import trained
from sega_utils.studies import altered, entries
from sega_utils.studies.entries import OF_A_SEED, Entry
from sega_utils.training import arms, classifiers, recipes, supervision


def run_entry(run: str, dataset: str, entry: Entry, seeds: list[int]) -> list[dict]:
    """Measure an entry with every seed and return its records ``records/ablation/<entry>-seed<seed>.json``.

    What the entry does not change is as in the run's own SEGA-Net of the same seed, the number of steps included. What
    is on record is not repeated. A record of other files or settings is deleted, lest it be averaged with the new ones.

    Raises:
        ValueError: an entry that is not allowed, or whose pool is exhausted.
        FileNotFoundError, ArtifactError: SEGA-Net was not trained with a seed, or on other files than there are now.
    """
    entries.check(entry)
    measure = read_fraction if entry.name == entries.FRACTION else train_entry
    found = [measure(run, dataset, entry, seed) for seed in seeds]
    pool_of.cache_clear()
    for path in records.path(run, dataset, "ablation", "x").parent.glob(f"{entries.slug(entry)}-seed*.json"):
        with suppress(FileNotFoundError):  # another seed's process was quicker
            if not alike(records.load(path), found[0]):
                path.unlink()
    return found


def train_entry(run: str, dataset: str, entry: Entry, seed: int) -> dict:
    """Train a classifier as an entry says, measure it, and return its record; SEGA-Net's own is taken over."""
    reference = trained(run, dataset, recipes.OURS, seed)
    inputs, own = pools.load_inputs(run, dataset), pools.recipe_of(run, dataset)
    if missing := [name for name in recipes.SETTINGS if f"param_{name}" not in reference]:
        raise artifacts.ArtifactError(
            f"{classified.file_of(reference)} of run {run} lacks the settings {missing}; "
            "delete it and run 05_training again"
        )
    if {name: reference.get(f"input_{name}") for name in inputs["digests"]} != inputs["digests"]:
        raise artifacts.ArtifactError(
            f"{classified.file_of(reference)} of run {run} is of other files than those "
            "there now; run 05_training again"
        )
    known = recipes.SETTINGS | recipes.UNSAID
    base = {name: reference[f"param_{name}"] for name in known if f"param_{name}" in reference}
    in_settings, in_recipe = entries.ABLATIONS[entry.name][1](entry.value, base)
    settings, recipe = base | in_settings, own | in_recipe

    def measure() -> dict:
        if (settings, recipe) == (base, own):
            taken_over = {"accuracy": reference["accuracy"], "weights": reference["input_weights"]}
            return taken_over | pool_metrics(inputs["candidates"])
        pool = None
        if settings["synthetic"] == "filtered":
            pool = pool_of(run, dataset, round(settings["amount"] * inputs["n_syn"]), **recipe)
        model, test = arms.fit(inputs | {"synthetic": pool}, settings, seed), catalogue.load(dataset, "test")
        accuracy = classifiers.accuracy(model, test.images, test.labels)
        weights = artifacts.digest(model.state_dict())
        return {"accuracy": accuracy, "weights": weights} | (pool_metrics(pool) if pool else {})

    pool_parameters = {f"pool_{name}": value for name, value in recipe.items()}
    if settings.get("supervision"):
        pool_parameters |= {"supervision_tau": supervision.TAU, "supervision_weight": supervision.WEIGHT}
    # its images are chosen from candidates, whatever 04_synthesis chose of them
    files = {name: digest for name, digest in inputs["digests"].items() if name != "synthetic"}
    return record(run, dataset, entry, seed, reference, settings | pool_parameters | {"from_run": run}, files, measure)


def read_fraction(run: str, dataset: str, entry: Entry, seed: int) -> dict:
    """Return the record of an arm at another fraction of the real data, taken over from the run of that fraction."""
    other = run_of(run, dataset, entry, seed)
    found, reference = (trained(other, dataset, name, seed) for name in (entry.arm, recipes.OURS))
    if found["fraction"] != entry.value:
        raise artifacts.ArtifactError(
            f"run {other} has the fraction {found['fraction']}, not {entry.value:g}; "
            f"make it again: {how_to_make(other, dataset, entry)}"
        )
    classified.check_same([found, reference], lambda key: classified.is_input(key) or classified.is_budget(key))
    settings = {key.removeprefix("param_"): value for key, value in found.items() if classified.is_setting(key)}
    files = {key.removeprefix("input_"): value for key, value in found.items() if classified.is_input(key)}
    measure = lambda: {"accuracy": found["accuracy"], "weights": found["input_weights"]}
    return record(run, dataset, entry, seed, reference, settings | {"from_run": other}, files, measure)


def record(run, dataset, entry, seed, reference, parameters, inputs, measure) -> dict:
    """Return the record of an (entry, seed), from disk if one of the same parameters and inputs is there.

    Args:
        reference: SEGA-Net's training record of the same seed, whose accuracy is stored beside the entry's.
        measure: returns metrics and, as ``weights``, the digest of the classifier's.
    """
    shared = {key: reference[key] for key in ("fraction", "n_real", "n_test")}
    return records.once(
        run,
        dataset,
        "ablation",
        f"{entries.slug(entry)}-seed{seed}",
        parameters=parameters | {"ablation": entry.name, "value": entry.value, "seed": seed},
        inputs=inputs | {"reference": reference["input_weights"]},
        measure=lambda: measure() | shared | {"accuracy_reference": reference["accuracy"]},
        made=("weights",),
    )


@cache
def pool_of(run: str, dataset: str, n: int, **recipe) -> dict:
    """Return the pool of a recipe, made once for all seeds of an entry."""
    return altered.make_pool(run, dataset, pools.load_inputs(run, dataset), recipe, n=n)


def pool_metrics(pool: dict) -> dict[str, float]:
    """Return how many candidates were drawn, how many kept, and the classes' mean share: the yield of the filters."""
    drawn = pool["class_ids"].bincount()
    kept = pool["class_ids"][pool["kept"]].bincount(minlength=len(drawn))
    return {"candidates": int(drawn.sum()), "kept": int(kept.sum()), "kept_share": float((kept / drawn).mean())}


def run_of(run: str, dataset: str, entry: Entry, seed: int) -> str:
    """Return the name of the run of an entry's fraction: the run itself where the fraction is its own.

    Raises:
        FileNotFoundError: there is no such run yet; the message names the command that makes it.
    """
    if trained(run, dataset, recipes.OURS, seed)["fraction"] == entry.value:
        return run
    other = f"{run}-fraction-{entry.value:g}"
    if not records.read(other, dataset, "training"):
        raise FileNotFoundError(f"run {other} has no classifiers; make them with: {how_to_make(other, dataset, entry)}")
    return other


def how_to_make(run: str, dataset: str, entry: Entry) -> str:
    """Return the command that makes the run of a fraction."""
    return f"make run RUN={run} DATASET={dataset} PARAMS=notebooks/params/fraction.yaml FRACTION={entry.value:g}"


def alike(one: dict, other: dict) -> bool:
    """Return whether two records of an entry are of the same files and settings."""
    part = lambda found: {k: v for k, v in found.items() if k.startswith(("param_", "input_")) and k not in OF_A_SEED}
    return part(one) == part(other)
