"""Records: one JSON a (stage, configuration, seed), with what was asked, what came out, what it cost and what ran."""

import math
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from sega_utils.core import artifacts, paths, runtime, schema

# What may differ between two runs of the same code on the same machine.
VOLATILE = ("seconds", "peak_memory_gb", "peak_gpu_memory_gb", "git_commit", schema.DIGEST)


def write(
    run: str, dataset: str, stage: str, name: str, *, parameters: dict, metrics: dict, inputs: dict, cost: dict
) -> dict:
    """Write ``records/<stage>/<name>.json`` and return it.

    Args:
        stage: the notebook's name without its number, e.g. ``training``.
        name: the configuration and seed, e.g. ``sega-net-seed0``.
        parameters: what was asked for; stored as ``param_*``.
        metrics: what came out: finite numbers, or lists and dicts of them; in these, texts may say what a number is of.
        inputs: name to digest of what was read; stored as ``input_*``.
        cost: what ``runtime.measure`` yielded.

    Raises:
        ValueError: a metric that is not a finite number, a value that its key does not allow, or a run whose records
            are only read.
    """
    if paths.is_reference(run):
        raise ValueError(f"{run} holds committed records, which are only read; give a run a name of its own")
    for key, value in metrics.items():
        if isinstance(value, str) or not all(map(is_finite, leaves(value))):
            raise ValueError(f"metric {key!r} of record {stage}/{name} is {value!r}; it must be a finite number")
    record = {"run": run, "dataset": dataset, "stage": stage, "name": name} | metrics | cost | describe()
    record |= {f"param_{k}": v for k, v in parameters.items()} | {f"input_{k}": v for k, v in inputs.items()}
    file, record = path(run, dataset, stage, name), schema.sealed(record)
    if problem := schema.wrong_value(record):
        raise ValueError(f"record {stage}/{name} cannot be written: {problem}")
    artifacts.save_json(file, record)
    return record


def load(file: Path) -> dict:
    """Return the record of a file, after checking its values and its digest, see ``schema.check_record``.

    Raises:
        FileNotFoundError, ArtifactError: it is missing, damaged, altered, or holds what no record may.
    """
    found = artifacts.load_json(file)
    schema.check_record(found, file)
    return found


def leaves(value: object) -> Iterator[object]:
    """Yield what a value holds below its lists and dicts."""
    if isinstance(value, (list, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from leaves(part)
    else:
        yield value


def is_finite(value: object) -> bool:
    """Return whether a value is a finite number, or a text that says what the numbers beside it are of."""
    if isinstance(value, str):
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def path(run: str, dataset: str, stage: str, name: str) -> Path:
    """Return where a record lives."""
    return paths.artifact(run, dataset, "records") / stage / f"{name}.json"


def once(
    run: str,
    dataset: str,
    stage: str,
    name: str,
    *,
    parameters: dict,
    inputs: dict,
    measure: Callable[[], dict],
    made: Sequence[str] = (),
    is_whole: Callable[[dict], bool] = lambda record: True,
) -> dict:
    """Return the record of exactly these parameters and inputs: the one on disk, or that of a measurement made now.

    Args:
        measure: returns the metrics, and under the names in ``made`` digests of what the measurement itself makes,
            which are stored as ``input_*``. A metric named as a cost replaces that cost.
        is_whole: tells whether what a record on disk is about is still there.

    Raises:
        ValueError, ArtifactError: as ``write``, or the record on disk is damaged; whatever ``measure`` raises.
    """
    file = path(run, dataset, stage, name)
    if file.exists():
        found = load(file)
        own = {digest: found.get(f"input_{digest}") for digest in made}
        if matches(found, parameters, inputs | own) and is_whole(found):
            return found
    with runtime.measure() as cost:
        metrics = dict(measure())
    digests = inputs | {digest: metrics.pop(digest) for digest in made}
    cost |= {key: metrics.pop(key) for key in cost if key in metrics}
    return write(run, dataset, stage, name, parameters=parameters, metrics=metrics, inputs=digests, cost=cost)


def matches(record: dict, parameters: dict, inputs: dict) -> bool:
    """Return whether a record is of exactly these parameters and inputs."""
    asked = {f"param_{k}": v for k, v in parameters.items()} | {f"input_{k}": v for k, v in inputs.items()}
    return asked == {k: v for k, v in record.items() if k.startswith(("param_", "input_"))}


def read(run: str, dataset: str, stage: str) -> list[dict]:
    """Return every record of a stage, sorted by name; an empty list if there is none.

    Raises:
        ArtifactError: as ``load``, or one lacks what tables are made from.
    """
    files = sorted((paths.artifact(run, dataset, "records") / stage).glob("*.json"))
    found = [load(file) for file in files]
    for record, file in zip(found, files, strict=True):
        schema.check_keys(record, file, schema.NEEDED.get(stage, ()))
    return found


LIBRARIES = ("torch", "torchvision", "open-clip-torch", "numpy", "scikit-image", "scikit-learn", "imagehash")


def comparable(record: dict) -> dict:
    """Return the part of a record that two runs on the same machine must share."""
    return {key: value for key, value in record.items() if key not in VOLATILE}


def describe() -> dict[str, str]:
    """Return what produced a record: device, threads, library versions and git commit."""
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    else:
        device = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    versions = {f"version_{name}": version(name) for name in LIBRARIES}
    return {"device": device, "python": platform.python_version(), "git_commit": git_commit()} | versions


def git_commit() -> str:
    """Return the commit of the project's code, ``-dirty`` if the package or the data changed, or ``unknown``."""
    try:
        run = lambda *args: subprocess.run(
            ["git", *args], cwd=paths.ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
        dirty = run("status", "--porcelain", "--untracked-files=no", "--", "sega_utils", "data")
        return run("rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
