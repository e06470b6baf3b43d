"""``ARTIFACT.md``: what the artifact needs, and each claim with its command, expected result and tolerance."""

import tomllib
from collections.abc import Sequence

from sega_utils.core import numbers, paths, records
from sega_utils.report import tables
from sega_utils.report.claims import claimed_by

TEMPLATE = paths.ROOT / "docs" / "templates" / "artifact.md"
ENVIRONMENT = "about 3 GB to download and 7 GB unpacked, most of it CUDA libraries"  # of uv.lock, on Linux and x86_64
# stage: the notebook that measures it, and the command that measures all of its records
STAGES = {
    "data": ("00_data", "make run"),
    "clip": ("01_clip", "make run"),
    "prompts": ("01_prompts", "make run"),
    "generator": ("02_generator", "make run"),
    "projector": ("03_projector", "make run"),
    "synthesis": ("04_synthesis", "make run"),
    "training": ("05_training", "make run"),
    "shift": ("06_shift", "make run"),
    "attacks": ("07_adversarial", "make run"),
    "ablation": ("08_ablations", "make ablations"),
    "efficiency": ("09_efficiency", "make run"),
}
# id of data/paper/claims.csv: the stage that measures it, and the table that shows it
CLAIMS = {
    "clean": ("training", "accuracy"),
    "gan": ("training", "accuracy"),
    "corruption": ("shift", "corruptions"),
    "corruption_none": ("shift", "corruptions"),
    "shift": ("shift", "shift"),
    "attacks": ("attacks", "attacks"),
    "alignment": ("synthesis", "alignment"),
    "efficiency": ("efficiency", "efficiency"),
    "ablation": ("ablation", "ablation"),
}
SAME = "the same verdict"


def page(run: str, dataset: str, tolerances: Sequence[dict] = ()) -> str:
    """Return the text of the appendix.

    Args:
        tolerances: rows with ``claim``, ``value`` and ``tolerance``. One whose claim is the poster's goes beside it,
            where *the same verdict* stands else; the others are a table of their own.

    Raises:
        FileNotFoundError, ArtifactError, ValueError: as ``tables.summary``.
    """
    found = {stage: records.read(run, dataset, stage) for stage in STAGES}
    everything = [record for stage in found.values() for record in stage]
    claims, arms = claim_rows(run, dataset, tolerances), tables.summary(run, dataset)
    known = {row["claim"] for row in claims}
    rest = numbers.markdown([row for row in tolerances if row["claim"] not in known])
    size = sum(file.stat().st_size for file in paths.DATA.rglob("*") if is_ours(file))
    return (
        TEMPLATE.read_text(encoding="utf-8")
        .format(
            run=run,
            dataset=dataset,
            seeds=",".join(map(str, sorted({r["param_seed"] for r in found["training"]}))),
            version=tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
            devices=", ".join(sorted({record["device"] for record in everything})),
            memory=f"{max(record['peak_memory_gb'] for record in everything):.1f}",
            data=f"{size / 1e6:.0f}",
            environment=ENVIRONMENT,
            stages=numbers.markdown(stage_rows(found)),
            claims=numbers.markdown(claims),
            arms=numbers.markdown(arms[0]),
            caption=arms[1],
            tolerances="" if rest == numbers.NONE else f"What may differ on another machine:\n\n{rest}",
        )
        .rstrip()
        + "\n"
    )


def is_ours(file) -> bool:
    """Return whether a file of ``data/`` comes with the project."""
    return file.is_file() and "downloads" not in file.parts and "__pycache__" not in file.parts


def stage_rows(found: dict[str, list[dict]]) -> list[dict[str, str]]:
    """Return a row for each stage that has records: where they come from, and what they cost."""
    return [
        {
            "notebook": f"[{STAGES[stage][0]}](notebooks/{STAGES[stage][0]}.ipynb)",
            "command": f"`{STAGES[stage][1]}`",
            "records": f"{len(mine)}",
            "minutes of one core": f"{sum(record['seconds'] for record in mine) / 60:.1f}",
            "memory (GB)": f"{max(record['peak_memory_gb'] for record in mine):.1f}",
        }
        for stage, mine in found.items()
        if mine
    ]


def claim_rows(run: str, dataset: str, tolerances: Sequence[dict] = ()) -> list[dict[str, str]]:
    """Return a row for each claim of the poster: how to measure it, what our run gives, and what may differ."""
    allowed = {row["claim"]: row["tolerance"] for row in tolerances}
    ids = [row["id"] for row in claimed_by()]
    rows = []
    for name, row in zip(ids, tables.claimed(run, dataset), strict=True):
        stage, table = CLAIMS[name]
        rows.append(
            {
                "claim": row["claim"],
                "command": f"`{STAGES[stage][1]}`",
                "notebook": STAGES[stage][0],
                "table": f"{table}.csv",
                "claimed": row["published"],
                "expected": row["measured"] or "not measured",
                "verdict": row["verdict"],
                "tolerance": allowed.get(row["claim"], SAME),
            }
        )
    return rows
