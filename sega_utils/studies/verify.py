"""Two runs side by side: are their records, tables and files the same, but for what they cost?"""

import json
from pathlib import Path

from safetensors import safe_open

from sega_utils.core import artifacts, paths, records

# Columns and metrics that are times, or follow from them.
TIMED = {
    "seconds",
    "seconds each",
    "seconds_per_image",
    "seconds_per_kept_image",
    "seconds_ours",
    "seconds_theirs",
    "ratio",
    "ours_q1",
    "ours_q3",
    "theirs_q1",
    "theirs_q3",
    "turns",
    "drawing",
    "filtering",
    "searching",
    "peak_memory_gb",
    "drawing_hours",
    "merging_hours",
    "machines_for_a_day",
    "per_1000_more",
    "search_exponent",
    "shard_memory_gb",
    "merge_memory_gb",
}


def compare(ours: Path, theirs: Path) -> tuple[list[dict[str, str]], int]:
    """Return a row for each difference of two runs' results on a data set, and how many files were compared.

    Compared are records, tables, prompts, provenance, and of every safetensors file its digest. Times, memory, commits
    and the runs' names may differ; what only one of the two has is a difference.

    Args:
        ours, theirs: folders ``results/<run>/<dataset>``.

    Returns:
        Rows with ``file``, ``what``, ``ours``, ``theirs``; and the number of files.

    Raises:
        FileNotFoundError: there is no such folder.
        ArtifactError: a record is damaged.
    """
    for folder in (ours, theirs):
        if not folder.is_dir():
            raise FileNotFoundError(f"there are no results in {paths.shown(folder)}; make them with: make run")
    kinds = ("records/*/*.json", "tables/*.csv", "*.csv", "*.jsonl", "*.safetensors", "classifiers/*.safetensors")
    names = sorted(
        {
            str(file.relative_to(folder))
            for folder in (ours, theirs)
            for kind in kinds
            for file in folder.glob(kind)
            if "-state" not in file.name
        }
    )
    rows = []
    for name in names:
        pair = [read(folder / name) for folder in (ours, theirs)]
        for key in sorted(pair[0].keys() | pair[1].keys()):
            here, there = (side.get(key, "missing") for side in pair)
            if here != there:
                rows.append({"file": name, "what": key, "ours": str(here)[:60], "theirs": str(there)[:60]})
    return rows, len(names)


def read(file: Path) -> dict[str, object]:
    """Return what of a file must be the same in both runs, by a name; nothing if the file is not there."""
    if not file.exists():
        return {}
    if file.suffix == ".json":
        found = records.comparable(artifacts.load_json(file))
        return {key: value for key, value in found.items() if key not in TIMED | {"run", "param_from_run"}}
    if file.suffix == ".csv":
        same = lambda row: [value for key, value in row.items() if key not in TIMED]  # some are sorted by time
        return {
            f"row {i}, {key}": value
            for i, row in enumerate(sorted(artifacts.load_csv(file), key=same), 1)
            for key, value in row.items()
            if key not in TIMED and not value.endswith(" times")
        }
    if file.suffix == ".safetensors":
        with safe_open(file, "pt") as handle:
            return {"digest": json.loads(handle.metadata()["sega_utils"])["sha256"]}
    return {"sha256": artifacts.sha256(file)}
