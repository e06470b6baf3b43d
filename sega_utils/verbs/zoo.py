"""Verbs of the comparison of all augmenters."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.training import recipes
from sega_utils.verbs import RUN, verb


@verb(
    "augmenters",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "augmenters.yaml", "help": "the plan; what is not given here"}),
    ("--augmenters", {"nargs": "*", "help": "names; none measures the arms on real images alone"}),
    ("--arms", {"nargs": "*", "help": "on real images alone"}),
    ("--onto", {"help": "the arm on real images that the augmenters' images join"}),
    ("--shares", {"type": float, "nargs": "+", "help": "of a batch, synthetic"}),
    ("--per-class", {"type": int, "help": "real images of each class"}),
    (
        "--protocol",
        {"choices": ("A", "B", "run"), "help": "fitted on the same images, on all of the subset, or the run's"},
    ),
    ("--seconds", {"type": float, "help": "of the CPU, for each augmenter"}),
    ("--steps", {"type": int, "help": "of each classifier"}),
    ("--subsets", {"type": int, "nargs": "+", "help": "0 is the run's own"}),
    ("--seeds", {"type": int, "nargs": "+", "help": "of the classifiers"}),
    ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms"}),
    ("--workers", {"type": int, "default": 2, "help": "trainings at a time"}),
    ("--brief", {"action": "store_true", "help": "print no tables"}),
)
def measure_augmenters(args: argparse.Namespace) -> None:
    """Train the zoo's augmenters and classifiers with and without them, as planned; a killed run goes on."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies.zoo import campaign as zoo_campaign, plan as zoo_plan, tables as zoo_tables

    plan = zoo_plan.read(args.file)
    given = {name: value for name, value in vars(args).items() if name in zoo_campaign.ASKED and value is not None}
    for line in zoo_campaign.measure(args.run, args.dataset, plan, given, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    tables = zoo_tables.write_tables(args.run, args.dataset, plan)
    if not args.brief:
        print(*(f"{name}\n{aligned(rows)}\n" for name, rows in tables.items()), sep="\n")


@verb(
    "keep-augmenters",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "augmenters.yaml", "help": "the plan; what is not given here"}),
    ("--augmenters", {"nargs": "+", "help": "names"}),
    ("--per-class", {"type": int, "help": "real images of each class"}),
    ("--seconds", {"type": float, "help": "of the CPU, that each was trained for"}),
)
def keep_augmenters(args: argparse.Namespace) -> None:
    """Write states of a run's subset 0, in half precision, among the committed results that 10_augmenters shows."""
    from sega_utils.studies.zoo import plan as zoo_plan, states as zoo_states, zoo
    from sega_utils.studies.zoo.members import made_of

    plan = zoo_plan.read(args.file)
    plan |= plan["primary"] | {"augmenters": [name for name in plan["augmenters"] if not made_of(name)]}
    plan |= {name: value for name, value in vars(args).items() if name in plan and value is not None}
    place = zoo.Place(args.run, args.dataset, per_class=plan["per_class"])
    fitting = zoo.Fitting(float(plan["seconds"]), plan["protocol"])
    for file in zoo_states.keep(place, plan["augmenters"], fitting):
        print(f"wrote {paths.shown(file)}, {file.stat().st_size / 1e6:.2f} MB")
