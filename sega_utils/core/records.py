"""Records: one flat JSON a (stage, configuration, seed), with what was asked, came out, was spent, and ran."""

import math
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

from sega_utils.core import artifacts, paths

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
    record = {"run": run, "dataset": dataset, "stage": stage, "name": name} | metrics | cost | describe()
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
