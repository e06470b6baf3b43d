"""A run's records, tables and figures become the committed reference that other runs are compared with."""

import shutil

from sega_utils.core import artifacts, paths, records
from sega_utils.evaluation import classified

PARTS = ("records", "tables", "figures")


def publish(run: str, dataset: str) -> dict[str, int]:
    """Copy a run's records, tables and figures into ``results/reference``; return how many files came and went.

    Records that the reference holds beside them stay as long as they belong to the run: what was measured on files or
    classifiers that the run no longer has is deleted.

    Raises:
        FileNotFoundError: the run has no records.
        ArtifactError: its records do not belong together, see ``classified.belonging``.
    """
    classified.belonging(run, dataset)
    target = f"{paths.REFERENCE}/{run}"
    source = paths.artifact(run, dataset, "records")
    if not source.is_dir():
        raise FileNotFoundError(f"{paths.shown(source)} is missing; make it with: make run")
    count = {"copied": 0, "deleted": 0}
    for part in PARTS:
        own = paths.artifact(run, dataset, part)
        for file in (path for path in own.rglob("*") if path.is_file() and path.suffix in {".json", ".csv", ".png"}):
            copy = paths.artifact(target, dataset, part) / file.relative_to(own)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            count["copied"] += 1
    for file in stale(target, dataset):
        file.unlink()
        count["deleted"] += 1
    return count


def stale(run: str, dataset: str) -> list:
    """Return the files of records that are of other files or classifiers than those of the run's stages."""
    stages = classified.belonging(run, dataset)
    shared = {k: v for found in stages.values() for r in found for k, v in r.items() if classified.is_input(k)}
    weights = {r["input_weights"] for r in stages["training"]}
    current = {record["name"] for record in classified.current(run, dataset)}
    found = []
    for stage in ("shift", "attacks", "calibration", "ablation", "efficiency"):
        for file in sorted((paths.artifact(run, dataset, "records") / stage).glob("*.json")):
            record = artifacts.load_json(file)
            inputs = {k: v for k, v in record.items() if classified.is_input(k) and k in shared}
            if stage == "ablation":
                gone = record["name"] not in current
            elif stage == "efficiency":
                gone = any(shared[key] != value for key, value in inputs.items())
            else:
                gone = record["input_weights"] not in weights
            found += [records.path(run, dataset, stage, record["name"])] if gone else []
    return found
