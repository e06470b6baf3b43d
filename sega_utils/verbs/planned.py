"""Verbs of studies that have a plan: each measures it, goes on where it was killed, and shows its tables."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.verbs import RUN, verb


def planned(file: str) -> list[tuple]:
    """Return the options of a study: its plan, and how many trainings run at a time."""
    return [
        ("--file", {"type": Path, "default": paths.PARAMS / file, "help": "the plan"}),
        ("--workers", {"type": int, "default": 2, "help": "trainings at a time"}),
    ]


TUNED = ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms"})
FEATURES = ("network", "composed", "blended", "longer", "shapes", "latents", "style")


def show(found: dict[str, list[dict]]) -> None:
    """Print tables with their names."""
    from sega_utils.core.numbers import aligned

    print(*(f"{name}\n{aligned(rows)}\n" for name, rows in found.items()), sep="\n")


@verb("flare", *RUN, *planned("flare.yaml"), TUNED)
def measure_flare(args: argparse.Namespace) -> None:
    """Restore and draw images, and train FLARE's rows and their controls, as planned; a killed run goes on."""
    from sega_utils.studies.flare import campaign, tables
    from sega_utils.training import recipes

    plan = campaign.read(args.file, args.dataset)
    for line in campaign.measure(args.run, args.dataset, plan, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    show(tables.write_tables(args.run, args.dataset, plan))


@verb("robust", *RUN, *planned("robust.yaml"), TUNED)
def train_robust(args: argparse.Namespace) -> None:
    """Train against attacks with and without synthetic images, as planned, and say which withstands more."""
    from sega_utils.studies.robust import campaign, plan, tables
    from sega_utils.training import recipes

    asked = plan.read(args.file)
    for line in campaign.measure(args.run, args.dataset, asked, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    found, answer = tables.write(args.run, args.dataset, asked)
    show(found)
    print(answer)


@verb("groups", RUN[0], *planned("groups.yaml"), TUNED)
def measure_groups(args: argparse.Namespace) -> None:
    """Measure what images for missing combinations and rare classes are worth, as planned; a killed run goes on."""
    from sega_utils.studies.groups import campaign, plan, rows
    from sega_utils.training import recipes

    asked = plan.read(args.file)
    for line in campaign.measure(args.run, asked, recipes.read(args.tuned), args.workers):
        print(line, flush=True)
    show(rows.write_tables(args.run, asked))


@verb(
    "few-shot",
    *RUN,
    *planned("few_shot.yaml"),
    ("--features", {"choices": FEATURES, "help": "what arms work with; the primary's if absent"}),
    ("--splits", {"type": int, "nargs": "+", "help": "which of the plan's, from 0 on; all if absent"}),
    ("--shots", {"type": int, "nargs": "+", "help": "real images of each unseen class; the plan's if absent"}),
    ("--draws", {"type": int, "help": "of the few images for each split, instead of the plan's"}),
    ("--groups", {"nargs": "+", "help": "baseline, method, control, ours, other, adapted, fine-tuned; all if absent"}),
    ("--quality", {"action": "store_true", "help": "measure the images that arms draw, too"}),
    ("--brief", {"action": "store_true", "help": "print no tables"}),
)
def measure_few_shots(args: argparse.Namespace) -> None:
    """Tune arms on seen classes, measure them on few images of unseen ones, as planned; a killed run goes on."""
    from sega_utils.core import runtime
    from sega_utils.studies.few_shot import campaign, plan as few_plan, quality, tables

    plan = few_plan.read(args.file)
    planned_shots, plan["shots"] = plan["shots"], args.shots or plan["shots"]
    features = args.features or plan["primary"]["features"]
    place, splits = few_plan.place_of(plan, args.run, args.dataset, features), few_plan.splits_of(plan, args.dataset)
    draws, groups = plan["draws"] if args.draws is None else args.draws, args.groups or list(campaign.GROUPS)
    chosen = range(len(splits)) if args.splits is None else args.splits
    if wrong := [i for i in chosen if not 0 <= i < len(splits)]:
        raise ValueError(f"splits are {wrong}; allowed are 0 .. {len(splits) - 1}, those of the plan")
    if unplanned := [k for k in plan["shots"] if k not in planned_shots]:
        raise ValueError(f"shots are {unplanned}; allowed are those of the plan, {planned_shots}")
    if draws < 1:
        raise ValueError(f"draws is {draws}; allowed is 1 or more")
    for group in groups:
        campaign.named(group)
    if args.quality:
        quality.check(place)
    jobs = [(place, splits[i], list(range(draws)), groups, plan) for i in chosen]
    measure = quality.measure_split if args.quality else campaign.measure_split
    runtime.map_workers(measure, jobs, workers=args.workers, label="splits")
    found = tables.write(args.run, args.dataset, plan | {"shots": planned_shots})
    show({} if args.brief else found)
