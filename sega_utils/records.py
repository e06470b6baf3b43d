"""One flat JSON a (stage, configuration, seed): what was asked, what came out, what it cost, what it ran on."""

import math
from pathlib import Path

from sega_utils import artifacts, paths, runtime

# What may differ between two runs of the same code on the same machine.
VOLATILE = ("seconds", "peak_memory_gb", "peak_gpu_memory_gb", "git_commit")


def write(
    run: str, dataset: str, stage: str, name: str, *, parameters: dict, metrics: dict, inputs: dict, cost: dict
) -> dict:
    """Write ``records/<stage>/<name>.json`` and return it.

    Args:
        stage: the notebook's name without its number, e.g. ``training``.
        name: the configuration and seed, e.g. ``sega-net-seed0``.
        parameters: what was asked for; stored as ``param_*``.
        metrics: finite numbers that came out.
        inputs: name to digest of what was read; stored as ``input_*``.
        cost: what ``runtime.measure`` yielded.

    Raises:
        ValueError: a metric that is not a finite number.
    """
    for key, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"metric {key!r} of record {stage}/{name} is {value!r}; it must be a finite number")
    record = {"run": run, "dataset": dataset, "stage": stage, "name": name} | metrics | cost | runtime.describe()
    record |= {f"param_{k}": v for k, v in parameters.items()} | {f"input_{k}": v for k, v in inputs.items()}
    artifacts.save_json(path(run, dataset, stage, name), record)
    return record


def path(run: str, dataset: str, stage: str, name: str) -> Path:
    """Return where a record lives."""
    return paths.artifact(run, dataset, "records") / stage / f"{name}.json"


def find(run: str, dataset: str, stage: str, name: str, *, parameters: dict, inputs: dict) -> dict | None:
    """Return a record if it is there with exactly these parameters and inputs, else ``None``."""
    file = path(run, dataset, stage, name)
    found = artifacts.load_json(file) if file.exists() else {}
    asked = {f"param_{k}": v for k, v in parameters.items()} | {f"input_{k}": v for k, v in inputs.items()}
    return found if asked == {k: v for k, v in found.items() if k.startswith(("param_", "input_"))} else None


def read(run: str, dataset: str, stage: str) -> list[dict]:
    """Return every record of a stage, sorted by name; an empty list if there is none."""
    folder = paths.artifact(run, dataset, "records") / stage
    return [artifacts.load_json(file) for file in sorted(folder.glob("*.json"))]


def comparable(record: dict) -> dict:
    """Return the part of a record that two runs on the same machine must share."""
    return {key: value for key, value in record.items() if key not in VOLATILE}
