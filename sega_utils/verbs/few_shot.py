"""Verbs of few shots."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.verbs import RUN, verb


@verb(
    "few-shot",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "few_shot.yaml", "help": "the plan"}),
    ("--features", {"choices": ("network", "latents"), "help": "what arms work with; the primary's if absent"}),
    ("--splits", {"type": int, "nargs": "+", "help": "which of the plan's, from 0 on; all if absent"}),
    ("--draws", {"type": int, "help": "of the few images for each split, instead of the plan's"}),
    ("--groups", {"nargs": "+", "help": "baseline, method, control, ours; all if absent"}),
    ("--workers", {"type": int, "default": 2, "help": "splits at a time"}),
    ("--brief", {"action": "store_true", "help": "print no tables"}),
)
def measure_few_shots(args: argparse.Namespace) -> None:
    """Tune arms on seen classes, measure them on few images of unseen ones, as planned; a killed run goes on."""
    from sega_utils.core import runtime
    from sega_utils.core.numbers import aligned
    from sega_utils.studies.few_shot import campaign, plan as few_plan, tables

    plan = few_plan.read(args.file)
    features = args.features or plan["primary"]["features"]
    place, splits = few_plan.place_of(plan, args.run, args.dataset, features), few_plan.splits_of(plan, args.dataset)
    draws, groups = list(range(args.draws or plan["draws"])), args.groups or list(campaign.GROUPS)
    jobs = [(place, split, draws, groups, plan) for i, split in enumerate(splits) if i in (args.splits or range(99))]
    runtime.map_workers(campaign.measure_split, jobs, workers=args.workers, label="splits")
    for name, rows in tables.write(args.run, args.dataset, plan).items():
        print("" if args.brief else f"{name}\n{aligned(rows)}\n", flush=True)
