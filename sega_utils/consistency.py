"""Records may only stand side by side if they come from the same files and the same budget."""

from collections.abc import Callable

from sega_utils import recipes, records
from sega_utils.artifacts import ArtifactError

STAGES = ("data", "clip", "prompts", "generator", "projector", "synthesis", "training")
UNSAID = {f"param_{name}": value for name, value in recipes.SPEED.items()}  # in records that do not say it


def load(run: str, dataset: str) -> dict[str, list[dict]]:
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
    weights = {(r.get("param_arm"), r.get("param_seed")): r.get("input_weights")
               for r in records.read(run, dataset, "training")}  # fmt: skip
    found = records.read(run, dataset, stage)
    check_same(found, is_run)
    for record in found:
        own = record.get("input_weights")
        if own is None or weights.get((record.get("param_arm"), record.get("param_seed"))) != own:
            raise ArtifactError(f"{file_of(record)} is of another classifier than the one on record; delete it and run "
                                "the notebook that measured it again")  # fmt: skip
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
    same = {"python", "param_classifier", "param_steps", "param_batch_size", "param_precision", "param_compile",
            "fraction", "n_real", "n_test"}  # fmt: skip
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
            raise ArtifactError(f"these records do not belong together, {key} is {held}. "
                                "Delete those that are out of date and run their notebooks again")  # fmt: skip


def check_arms(trained: list[dict]) -> list[str]:
    """Return the arms that have records, in the order of ``recipes.ARMS``.

    Raises:
        ArtifactError: a record of an unknown arm, of an (arm, seed) that another one already holds, or incomplete.
    """
    seen: dict[tuple, str] = {}
    for record in trained:
        needed = ("param_arm", "param_seed", "param_classifier", "param_steps", "param_batch_size", "accuracy",
                  "fraction", "n_real", "n_test", "seconds", "device")  # fmt: skip
        if missing := [key for key in needed if key not in record]:
            raise ArtifactError(f"{file_of(record)} lacks {', '.join(missing)}; delete it and run 05_training")
        key = record["param_arm"], record["param_seed"]
        if key[0] not in recipes.ARMS:
            raise ArtifactError(f"{file_of(record)} is of the arm {key[0]!r}; known are {', '.join(recipes.ARMS)}: "
                                "delete it and run 05_training")  # fmt: skip
        if key in seen:
            raise ArtifactError(f"{seen[key]} and {file_of(record)} both hold {key[0]}, seed {key[1]}; delete one")
        seen[key] = file_of(record)
    return [arm for arm in recipes.ARMS if arm in {arm for arm, _ in seen}]


def file_of(record: dict) -> str:
    """Return the record's file, short: its stage and name say it all."""
    return f"records/{record.get('stage')}/{record.get('name')}.json"
