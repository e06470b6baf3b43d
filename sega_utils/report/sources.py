"""Where a number comes from: records, table, notebook and command, as links of the page that shows it."""

import os
from collections.abc import Callable
from pathlib import Path

from sega_utils.core import paths, records
from sega_utils.report.layout import folded, link
from sega_utils.report.sentences import where
from sega_utils.training.recipes import BASELINE, OURS

# id of a claim: (stage, arms of its records or an ablation's name, table, notebook)
CLAIMS = {
    "clean": ("training", (OURS, BASELINE), "accuracy", "05_training"),
    "gan": ("training", (OURS, "GAN-only"), "accuracy", "05_training"),
    "corruption": ("shift", (OURS, BASELINE), "corruptions", "06_shift"),
    "corruption_none": ("shift", (OURS, "No Aug"), "corruptions", "06_shift"),
    "shift": ("shift", (OURS, BASELINE), "shift", "06_shift"),
    "attacks": ("attacks", (OURS, BASELINE), "attacks", "07_adversarial"),
    "alignment": ("synthesis", (), "alignment", "04_synthesis"),
    "efficiency": ("efficiency", (), "efficiency", "09_efficiency"),
    "ablation": ("ablation", ("components",), "ablation", "08_ablations"),
}

COMMANDS = {"ablation": "make ablations", "zoo": "make augmenters"}  # stage: what measures it, if not make run


def of_claim(run: str, dataset: str, claim: str) -> str:
    """Return the links of a claim of ``data/paper/claims.csv``, by its id."""
    stage, which, table, notebook = CLAIMS[claim]
    if claim == "efficiency":
        wanted = lambda record: record["name"].startswith("variant-")
    else:
        wanted = lambda record: not which or {record.get("param_arm"), record.get("param_ablation")} & set(which)
    return links(run, dataset, stage, table, notebook, wanted=wanted)


def links(
    run: str, dataset: str, stage: str, table: str, notebook: str, *, wanted: Callable[[dict], bool] = lambda _: True
) -> str:
    """Return links to a table, a notebook and the records of a stage, and the command that makes them.

    What does not exist is not linked.
    """
    folder = paths.artifact(run, dataset, "report").parent
    names = [record["name"] for record in records.read(run, dataset, stage) if wanted(record)]
    files = " ".join(link(f"records/{stage}/{name}.json", name) for name in names)
    found = [
        link(place, text)
        for place, text in ((f"tables/{table}.csv", f"{table}.csv"), (notebook_from(folder, notebook), notebook))
        if (folder / place).exists()
    ]
    command = COMMANDS.get(stage, "make run")
    found.append(f"<code>{where(run, dataset).replace('make run', command)}</code>")
    one = "1 record" if len(names) == 1 else f"{len(names)} records"
    return f'<div class="sources">{", ".join(found)}{folded(one, files)}</div>'


def notebook_from(folder: Path, notebook: str) -> str:
    """Return where a notebook is, seen from a folder: in the project if the folder is, else beside the page."""
    name = f"{notebook}.ipynb"
    if folder.is_relative_to(paths.ROOT):
        return Path(os.path.relpath(paths.NOTEBOOKS / name, folder)).as_posix()
    return f"notebooks/{name}"
