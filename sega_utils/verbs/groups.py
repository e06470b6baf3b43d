"""Verbs of missing combinations and rare classes, and of calibration."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.training import recipes
from sega_utils.verbs import RUN, verb


@verb(
    "groups",
    RUN[0],
    ("--file", {"type": Path, "default": paths.PARAMS / "groups.yaml", "help": "the plan"}),
    ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms"}),
    ("--workers", {"type": int, "default": 2, "help": "trainings at a time"}),
)
def measure_groups(args: argparse.Namespace) -> None:
    """Measure what images for missing combinations and rare classes are worth, as planned; a killed run goes on."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies.groups import campaign, plan, rows

    planned = plan.read(args.file)
    for line in campaign.measure(args.run, planned, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    for name, table in rows.write_tables(args.run, planned).items():
        print(f"{name}\n{aligned(table)}\n")


@verb("calibration", *RUN)
def measure_calibration(args: argparse.Namespace) -> None:
    """Measure how well each classifier that 05_training trained is calibrated, and print and write the table."""
    from sega_utils.core import artifacts, records
    from sega_utils.core.numbers import aligned
    from sega_utils.evaluation import calibration

    for trained in records.read(args.run, args.dataset, "training"):
        calibration.measure_calibration(args.run, args.dataset, trained["param_arm"], trained["param_seed"])
    table = calibration.calibration_rows(args.run, args.dataset)
    file = paths.artifact(args.run, args.dataset, "tables") / "calibration.csv"
    artifacts.save_csv(file, table, calibration.CALIBRATION)
    print(aligned(table))
