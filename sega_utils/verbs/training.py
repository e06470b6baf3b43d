"""Verbs about the classifiers of a run: how they are tuned, and how sure they are."""

import argparse

from sega_utils.core import paths
from sega_utils.training import recipes
from sega_utils.verbs import RUN, verb


@verb(
    "tune",
    *RUN,
    ("--arms", {"nargs": "+", "default": list(recipes.ARMS), "choices": recipes.ARMS}),
    ("--trials", {"type": int, "default": 6, "help": "trials for each arm"}),
    ("--finalists", {"type": int, "default": 2, "help": "trials that are repeated with the other seeds"}),
    ("--seeds", {"type": int, "nargs": "+", "default": [100, 101], "help": "never those of 05"}),
    ("--per-class", {"type": int, "default": 500, "help": "validation images a class"}),
    ("--workers", {"type": int, "default": 2, "help": "trials at a time"}),
)
def tune_arms(args: argparse.Namespace) -> None:
    """Choose each arm's settings on validation images, and write the trials and the winners."""
    from sega_utils.training import arms

    for arm in args.arms:  # saved arm by arm, so that what is lost to an interruption is one arm's search
        found = arms.tune(
            args.run,
            args.dataset,
            arm,
            trials=args.trials,
            finalists=args.finalists,
            seeds=args.seeds,
            per_class=args.per_class,
            workers=args.workers,
        )
        print(f"{arm}: {found}", flush=True)


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
