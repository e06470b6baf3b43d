"""The verb of FLARE's plan."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.training import recipes
from sega_utils.verbs import RUN, verb


@verb(
    "flare",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "flare.yaml", "help": "the plan"}),
    ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms"}),
    ("--workers", {"type": int, "default": 2, "help": "trainings at a time"}),
)
def measure_flare(args: argparse.Namespace) -> None:
    """Restore and draw images, and train FLARE's rows and their controls, as planned; a killed run goes on."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies.flare import campaign, tables

    plan = campaign.read(args.file)
    for line in campaign.measure(args.run, args.dataset, plan, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    for name, rows in tables.write_tables(args.run, args.dataset, plan).items():
        print(f"{name}\n{aligned(rows)}\n")
