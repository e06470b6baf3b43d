"""Verbs that time our kernels, training loop and attacks beside what people use for the same."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.training import recipes
from sega_utils.verbs import DEVICE, RUN, verb


@verb(
    "benchmark",
    *RUN,
    ("--images", {"type": int, "nargs": "*", "default": [], "help": "for the kernels"}),
    ("--candidates", {"type": int, "nargs": "*", "default": [], "help": "for the growth"}),
    ("--repeats", {"type": int, "default": 5, "help": "turns of each kernel"}),
    DEVICE,
)
def time_kernels(args: argparse.Namespace) -> None:
    """Time our kernels beside the libraries people use for the same, and how the cost of the pipeline grows."""
    from sega_utils.core import numbers, runtime
    from sega_utils.studies import benchmark, shards

    found = benchmark.measure(
        args.run,
        args.dataset,
        images=args.images,
        candidates=args.candidates,
        repeats=args.repeats,
        device=runtime.start(0, args.device),
    )
    for rows in filter(None, (benchmark.kernel_rows(found), shards.growth_rows(found))):
        print(numbers.aligned(rows), end="\n\n")
    if len(args.candidates) > 1:
        power = numbers.exponent(shards.growth_rows(found))
        print(f"seconds grow as the number of candidates to the power of {power:.2f}")


@verb(
    "loops",
    *RUN,
    ("--tuned", {"type": Path, "default": paths.PARAMS / "tuned.yaml", "help": "settings of arms"}),
    ("--classifier", {"default": "", "help": "which one, where --tuned is a file of several"}),
    ("--steps", {"type": int, "help": "of each training, instead of the settings'"}),
    ("--precision", {"nargs": "+", "help": "of both loops, instead of the settings'; several in turn"}),
    ("--compile", {"action": "store_true", "help": "compile the network for both loops"}),
    ("--workers", {"type": int, "nargs": "+", "default": [2], "help": "of the DataLoader; several in turn"}),
    ("--turns", {"type": int, "default": 5, "help": "trainings of each loop, each with another seed"}),
    DEVICE,
)
def time_loops(args: argparse.Namespace) -> None:
    """Train with our loop and with a plain one in turns, and compare time and accuracy."""
    from sega_utils.core import numbers, runtime
    from sega_utils.studies import loops

    asked = {"steps": args.steps, "compile": args.compile or None}
    found = loops.compare(
        args.run,
        args.dataset,
        args.tuned,
        asked,
        classifier=args.classifier,
        precisions=args.precision,
        workers=args.workers,
        turns=args.turns,
        device=runtime.start(0, args.device),
    )
    print(numbers.aligned(loops.loop_rows(found)))


@verb(
    "attacks",
    *RUN,
    ("--arm", {"default": "Std Aug", "choices": recipes.ARMS}),
    ("--seed", {"type": int, "default": 0}),
    ("--images", {"type": int, "default": 50, "help": "test images"}),
    ("--epsilons", {"type": float, "nargs": "+", "default": [8, 16], "help": "in 1/255"}),
)
def time_attacks(args: argparse.Namespace) -> int:
    """Run our AutoAttack and its reference's own loop once each; the status is 0, or 1 if a verdict differs."""
    from sega_utils.core.numbers import aligned
    from sega_utils.evaluation import classified, robustness
    from sega_utils.studies import benchmark

    model, _ = classified.load_classifier(args.run, args.dataset, args.arm, args.seed)
    images, labels, *_ = robustness.sample_test(args.dataset, args.images)
    rows = [
        {"epsilon": f"{eps:g}/255"} | benchmark.compare_with_reference(model, images, labels, eps=eps / 255)
        for eps in args.epsilons
    ]
    shown = ("epsilon", "n", "accuracy_ours", "agreement", "seconds_ours", "seconds_reference", "speedup")
    print(aligned([{name: row[name] for name in shown} for row in rows]))
    return int(any(row["agreement"] < 1 for row in rows))
