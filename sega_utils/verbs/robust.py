"""The verb of robust training."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.verbs import RUN, verb


@verb(
    "robust",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "robust.yaml", "help": "the plan"}),
    ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms, for the teacher"}),
    ("--workers", {"type": int, "default": 2, "help": "trainings at a time"}),
)
def train_robust(args: argparse.Namespace) -> None:
    """Train against attacks with and without synthetic images, as planned, and say which withstands more."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies.robust import campaign, plan, tables
    from sega_utils.training import recipes

    asked = plan.read(args.file)
    for line in campaign.measure(args.run, args.dataset, asked, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    found, answer = tables.write(args.run, args.dataset, asked)
    print(*(f"{name}\n{aligned(rows)}\n" for name, rows in found.items()), answer, sep="\n")
