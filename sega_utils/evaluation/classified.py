"""Trained classifiers and their records: loaded, measured once, checked to belong together, and tabled by arm."""

from collections.abc import Callable, Iterable

import torch

from sega_utils.core import learning, numbers, paths, records
from sega_utils.core.artifacts import ArtifactError
from sega_utils.training import classifiers, recipes
from sega_utils.training.recipes import BASELINE


def load_classifier(run: str, dataset: str, arm: str, seed: int) -> tuple[torch.nn.Module, str]:
    """Return a classifier that 05_training trained, frozen and in eval mode, and the digest of its weights.

    Raises:
        FileNotFoundError: it was not trained; the message names the command that trains it.
        ArtifactError: its file is damaged or holds something else.
    """
    path = paths.require(run, dataset, "classifiers") / f"{recipes.slug(arm)}-seed{seed}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; {recipes.how_to_train(run, dataset, arm, seed)}")
    shape = ("n_classes", "channels", "side")
    build = lambda meta, _: classifiers.build(meta["classifier"], **{name: meta[name] for name in shape})
    what = "classifier, or other weights than it says; delete it and run 05_training again"
    model = learning.load_network(path, build, what=what)
    known = records.path(run, dataset, "training", path.stem)
    if known.exists() and records.load(known).get("input_weights", model.meta["sha256"]) != model.meta["sha256"]:
        raise ArtifactError(
            f"{paths.shown(path)} is not the classifier of {paths.shown(known)}; restore it, or delete it and run "
            "05_training again"
        )
    return model, model.meta["sha256"]


def evaluate(
    run: str,
    dataset: str,
    stage: str,
    arm: str,
    seed: int,
    *,
    measure: Callable[[torch.nn.Module], dict[str, float]],
    parameters: dict,
    inputs: dict,
) -> dict:
    """Measure one trained classifier and write its record ``records/<stage>/<arm>-seed<seed>.json``; return the record.

    A record of the same weights, parameters and inputs is returned as it stands.

    Args:
        measure: takes the classifier, returns metrics as finite numbers.
        parameters: everything that the metrics depend on beside the classifier; stored as ``param_*``.
        inputs: name to digest of other files that were read; stored as ``input_*``.

    Raises:
        FileNotFoundError, ArtifactError: as ``load_classifier``; whatever ``measure`` raises.
    """
    model, weights = load_classifier(run, dataset, arm, seed)
    return records.once(
        run,
        dataset,
        stage,
        f"{recipes.slug(arm)}-seed{seed}",
        parameters=parameters | {"arm": arm, "seed": seed},
        inputs=inputs | {"weights": weights},
        measure=lambda: measure(model),
    )


STAGES = (*paths.BEFORE, "training")  # whose records must belong together
UNSAID = {f"param_{name}": value for name, value in recipes.UNSAID.items()}  # in records that do not say it


def belonging(run: str, dataset: str) -> dict[str, list[dict]]:
    """Return the run's records by stage, after checking that they belong together; a stage may have none.

    Raises:
        ArtifactError: a record is damaged or incomplete; stages are of different runs or read different files; or
            classifiers were trained with different steps, batch sizes, data or library versions, or the seeds of one
            arm with different settings.
    """
    found = {stage: records.read(run, dataset, stage) for stage in STAGES}
    trained = found["training"]
    names = check_arms(trained)
    everything = [record for stage in STAGES for record in found[stage]]
    check_same(everything, is_input)
    check_same([of_base(record) for record in everything], is_run)
    check_same(trained, lambda key: is_run(key) or is_budget(key))
    for arm in names:
        check_same([record for record in trained if record["param_arm"] == arm], is_setting)
    return found


def evaluated(run: str, dataset: str, stage: str) -> list[dict]:
    """Return the records of what was measured on trained classifiers, after checking that these are the run's own.

    Raises:
        ArtifactError: a record is of a classifier that was since trained anew, or is not on record; or records are of
            different runs.
    """
    weights = {
        (r.get("param_arm"), r.get("param_seed")): r.get("input_weights")
        for r in records.read(run, dataset, "training")
    }
    found = records.read(run, dataset, stage)
    check_same(found, is_run)
    for record in found:
        own = record.get("input_weights")
        if own is None or weights.get((record.get("param_arm"), record.get("param_seed"))) != own:
            raise ArtifactError(
                f"{file_of(record)} is of another classifier than the one on record; delete it and run "
                "the notebook that measured it again"
            )
    return found


def is_input(key: str) -> bool:
    """Return whether a key holds the digest of a file that stages share; weights are each classifier's own."""
    return key.startswith("input_") and key != "input_weights"


def is_run(key: str) -> bool:
    """Return whether a key names the run; a data set may be spelled in two ways, and its digest tells it apart."""
    return key == "run"


def of_base(record: dict) -> dict:
    """Return a record as of its run's base: in the grid, ``paper-1@vgg16`` goes on from the stages of ``paper-1``."""
    return record | {"run": record["run"].partition("@")[0]} if "run" in record else record


def is_budget(key: str) -> bool:
    """Return whether a key must be the same for every arm, or the comparison is of something else."""
    same = {
        "python",
        "param_classifier",
        "param_steps",
        "param_batch_size",
        "param_precision",
        "param_compile",
        "fraction",
        "n_real",
        "n_test",
    }
    return key in same or key.startswith("version_")


def is_setting(key: str) -> bool:
    """Return whether a key must be the same for every seed of an arm."""
    return key.startswith("param_") and key != "param_seed"


def check_same(found: list[dict], concerns: Callable[[str], bool]) -> None:
    """Refuse records that hold different values of a key that concerns all of them.

    Raises:
        ArtifactError: they do; the message names the values and the files.
    """
    for key in sorted(filter(concerns, set().union(*found))):
        files: dict[str, list[str]] = {}
        for record in (UNSAID | record for record in found):
            if key in record:
                files.setdefault(repr(record[key]), []).append(file_of(record))
        if len(files) > 1:
            held = "; ".join(f"{value} in {', '.join(names)}" for value, names in files.items())
            raise ArtifactError(
                f"these records do not belong together, {key} is {held}. "
                "Delete those that are out of date and run their notebooks again"
            )


def check_arms(trained: list[dict]) -> list[str]:
    """Return the arms that have records, in the order of ``recipes.ARMS``.

    Raises:
        ArtifactError: a record of an unknown arm, of an (arm, seed) that another one already holds.
    """
    seen: dict[tuple, str] = {}
    for record in trained:
        key = record["param_arm"], record["param_seed"]
        if key[0] not in recipes.ARMS:
            raise ArtifactError(
                f"{file_of(record)} is of the arm {key[0]!r}; known are {', '.join(recipes.ARMS)}: "
                "delete it and run 05_training"
            )
        if key in seen:
            raise ArtifactError(f"{seen[key]} and {file_of(record)} both hold {key[0]}, seed {key[1]}; delete one")
        seen[key] = file_of(record)
    return [arm for arm in recipes.ARMS if arm in {arm for arm, _ in seen}]


def file_of(record: dict) -> str:
    """Return the record's file, short: its stage and name say it all."""
    return f"records/{record.get('stage')}/{record.get('name')}.json"


ACCURACY = ("arm", "classifier", "fraction", "mean", "std", "n", "diff_to_std_aug", "ci_low", "ci_high")


def of_arms(run: str, dataset: str, names: Iterable[str], seeds: Iterable[int] | None = None) -> list[dict]:
    """Return the training records of some arms and, where they are given, of some seeds; as ``belonging``."""
    found = [r for r in belonging(run, dataset)["training"] if r["param_arm"] in names]
    return found if seeds is None else [r for r in found if r["param_seed"] in seeds]


def accuracy_rows(
    run: str, dataset: str, names: Iterable[str] = recipes.ARMS, seeds: Iterable[int] | None = None
) -> list[dict]:
    """Return a row (columns ``ACCURACY``) for each of the named arms that has records, in percent.

    ``std`` is the sample standard deviation over the seeds; ``diff_to_std_aug`` is paired by seed, with its 95 %
    interval. A value that nothing can give is empty: the spread of a single seed, and the difference of Std Aug to
    itself, in its absence, or from one seed.

    Raises:
        ArtifactError: records that do not belong together, see ``belonging``.
        ValueError: an arm and Std Aug were trained with different seeds.
    """
    trained, rows = of_arms(run, dataset, names, seeds), []
    scores: dict[str, dict[int, float]] = {arm: {} for arm in recipes.ARMS}
    for record in trained:
        scores[record["param_arm"]][record["param_seed"]] = 100 * record["accuracy"]
    for arm, ours in scores.items():
        if ours:
            first = {"arm": arm, "classifier": trained[0]["param_classifier"], "fraction": trained[0]["fraction"]}
            row = first | numbers.summary(ours.values())
            row |= to_baseline(arm, ours, scores[BASELINE]) if arm != BASELINE and scores[BASELINE] else {}
            rows.append({name: row.get(name, "") for name in ACCURACY})
    return rows


def to_baseline(arm: str, ours: dict[int, float], theirs: dict[int, float]) -> dict[str, float]:
    """Return the columns of an arm's paired difference to Std Aug; none of them from one and the same seed."""
    if len(ours) == 1 and ours.keys() == theirs.keys():
        return {}
    try:
        paired = numbers.paired_difference(ours, theirs)
    except ValueError as error:
        raise ValueError(f"{arm} beside {BASELINE}: {error} with 05_training") from error
    return {"diff_to_std_aug": paired["difference"], "ci_low": paired["ci_low"], "ci_high": paired["ci_high"]}


def is_current(found: dict, prefix: str = "") -> bool:
    """Return whether the SEGA-Net that a record was paired with is the one that its run has now.

    Args:
        prefix: what the names of committed runs begin with.
    """
    name = f"{recipes.slug(recipes.OURS)}-seed{found['param_seed']}"
    path = records.path(prefix + found["param_from_run"], found["dataset"], "training", name)
    return path.exists() and records.load(path)["input_weights"] == found["input_reference"]


def current(run: str, dataset: str) -> list[dict]:
    """Return a run's ablation records whose SEGA-Net is the present one."""
    prefix = f"{paths.REFERENCE}/" if paths.is_reference(run) else ""
    return [record for record in records.read(run, dataset, "ablation") if is_current(record, prefix)]


def trained(run: str, dataset: str, arm: str, seed: int) -> dict:
    """Return the training record of an (arm, seed).

    Raises:
        FileNotFoundError: it was not trained; the message names the command that trains it.
    """
    path = records.path(run, dataset, "training", f"{recipes.slug(arm)}-seed{seed}")
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; {recipes.how_to_train(run, dataset, arm, seed)}")
    return records.load(path)
