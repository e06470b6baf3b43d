"""Every command but ``python -m sega_utils.execute``: ``python -m sega_utils VERB``, see ``--help``.

A verb imports what it needs when it runs, so that help and typing errors cost no time.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from sega_utils.core import parameters, paths
from sega_utils.training import recipes

VERBS: dict[str, tuple[Callable, list[tuple]]] = {}
RUN = [
    ("--run", {"default": "embedded", "help": "name of the results folder"}),
    ("--dataset", {"default": "fashion-mnist", "help": "data set, or folder:PATH"}),
]
DEVICE = ("--device", {"default": "auto", "choices": ("auto", "cpu", "cuda"), "help": "where to compute"})
GRID = [
    ("--grid", {"type": Path, "default": paths.PARAMS / "grid.yaml", "help": "what is multiplied"}),
    ("--params", {"type": Path, "default": paths.PARAMS / "paper.yaml", "help": "what the notebooks are given"}),
]
SHARDS = [
    ("--candidates", {"type": int, "required": True, "help": "of all shards"}),
    ("--of", {"type": int, "required": True, "help": "number of shards"}),
    DEVICE,
]


def verb(name: str, *arguments: tuple) -> Callable:
    """Register a function as a verb; its docstring is the help, and the arguments are argparse's."""

    def register(function: Callable) -> Callable:
        VERBS[name] = function, list(arguments)
        return function

    return register


@verb("tables", *RUN, ("--readme", {"action": "store_true", "help": "write the tables into README.md instead"}))
def show_tables(args: argparse.Namespace) -> None:
    """Print a run's accuracies, and what SEGA-Net is ahead of."""
    from sega_utils.report import tables

    if args.readme:
        print(f"wrote the table into {paths.shown(tables.update_readme(args.run, args.dataset))}")
    else:
        print(tables.accuracy_text(args.run, args.dataset))


@verb("verify", *RUN, ("--reference", {"type": Path, "required": True, "help": "results/<run>/<dataset> of another"}))
def verify_run(args: argparse.Namespace) -> int:
    """Compare a run with another, but for times, memory and commit; the status is 0 if nothing differs."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies import verify

    ours = paths.artifact(args.run, args.dataset, "records").parent
    rows, n = verify.compare(ours, paths.located(str(args.reference)))
    print(*([aligned(rows), ""] if rows else []), f"{n} files compared, {len(rows)} differences", sep="\n")
    return int(bool(rows))


@verb("rewrite", ("--results", {"type": Path, "help": "folder of any records; all results if absent"}))
def rewrite_records(args: argparse.Namespace) -> None:
    """Give older records today's form and a digest of their own; no value changes."""
    from sega_utils.studies import rewrite

    print(f"{rewrite.rewrite_all(args.results or paths.results_root())} records rewritten")


@verb(
    "prompts",
    ("--dataset", {"default": "fashion-mnist"}),
    ("--model", {"default": "gpt-4o-mini"}),
    ("--bank", {"type": Path, "help": "JSONL file; the data set's own in data/prompts if absent"}),
    ("--base-url", {"help": "of any server compatible with OpenAI's"}),
    ("--n-prompts", {"type": int, "default": 12, "help": "prompts a class"}),
    ("--prices", {"type": float, "nargs": 2, "metavar": ("READ", "WRITTEN"), "help": "of a million tokens"}),
)
def record_prompts(args: argparse.Namespace) -> None:
    """Record a data set's prompts and print their cost; the key is read from OPENAI_API_KEY."""
    from sega_utils.data import catalogue
    from sega_utils.text import prompts

    bank = args.bank or catalogue.about(args.dataset)[1]
    used = prompts.record_prompts(
        args.dataset, model=args.model, bank=args.bank, base_url=args.base_url, n_prompts=args.n_prompts
    )
    print(
        f"{used['answers']} new answers of {args.model} in {paths.shown(bank)}: {used['read']:,} tokens read, "
        f"{used['written']:,} written; {used['unmetered']} answers came without a count"
    )
    cost = f"{prompts.price(used, args.prices):.4f}" if args.prices else "unknown; give --prices READ WRITTEN"
    print(f"cost: {cost}")


@verb("digits", ("path", {"type": Path, "metavar": "PATH", "help": "a new folder, e.g. build/digits"}))
def write_digits(args: argparse.Namespace) -> None:
    """Write scikit-learn's digits as a tree of class folders, to try folder:PATH with."""
    from sega_utils.data import folders

    print(f"wrote {folders.write_digits(args.path)} images; use them with DATASET=folder:{args.path}")


@verb(
    "studiogan",
    ("checkpoint", {"type": Path, "help": "model=G_ema-best-weights-step=....pth"}),
    ("target", {"type": Path, "help": "the .safetensors file to write, the CHECKPOINT of 02_generator"}),
    ("--run", {"required": True, "help": "a run that has been through 00_data with FRACTION = 1"}),
    ("--dataset", {"required": True}),
)
def adopt_generator(args: argparse.Namespace) -> None:
    """Turn a published checkpoint of PyTorch-StudioGAN into a generator of this project."""
    from sega_utils.augmenters import biggan

    digest = biggan.adopt(args.checkpoint, args.target, run=args.run, dataset=args.dataset)
    print(f"wrote {args.target}, digest {digest}")


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


@verb(
    "ablations",
    *RUN,
    ("--file", {"type": Path, "default": paths.PARAMS / "ablations.yaml", "help": "YAML"}),
    ("--workers", {"type": int, "default": 2, "help": "entries measured at a time"}),
    ("--brief", {"action": "store_true", "help": "one line instead of a table"}),
)
def time_ablations(args: argparse.Namespace) -> None:
    """Print which ablations are on record and how long the rest will take."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies import entries

    wanted, seeds = entries.read(args.file)
    rows = entries.time_left(args.run, args.dataset, wanted, seeds, workers=args.workers)
    done, asked, minutes = (rows[-1][key] for key in ("on record", "asked", "minutes left"))
    brief = f"{done} of {asked} ablations on record, about {minutes:.0f} minutes left"
    print(brief if args.brief else aligned(rows))


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


@verb("shard-draw", *RUN, *SHARDS, ("--shard", {"type": int, "required": True, "help": "from 0 on"}))
def draw_shard(args: argparse.Namespace) -> None:
    """Draw and filter one shard of very many candidates."""
    from sega_utils.core import runtime
    from sega_utils.studies import shards

    device = runtime.start(0, args.device)
    found = shards.draw_shard(args.run, args.dataset, args.shard, of=args.of, n=args.candidates, device=device)
    print(shards.counts_text(found))


@verb("shard-merge", *RUN, *SHARDS)
def merge_shards(args: argparse.Namespace) -> None:
    """Merge all shards into one set without near-duplicates."""
    from sega_utils.core import runtime
    from sega_utils.studies import shards

    device = runtime.start(0, args.device)
    print(shards.counts_text(shards.merge(args.run, args.dataset, of=args.of, n=args.candidates, device=device)))


@verb("shard-estimate", *RUN, ("--candidates", {"type": int, "nargs": "+", "required": True, "help": "numbers"}))
def estimate_shards(args: argparse.Namespace) -> None:
    """Print what many candidates would take, from the draws and merges on record."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies import shards

    print(aligned(shards.estimate(args.run, args.dataset, args.candidates)))


@verb("grid-cost", *GRID, ("--tflops", {"type": float, "default": 20.0, "help": "that a GPU is assumed to sustain"}))
def cost_grid(args: argparse.Namespace) -> None:
    """Print the jobs and GPU hours of the paper's grid."""
    from sega_utils.studies import grid, grid_results

    print(grid_results.cost_text(grid.read(args.grid, args.params), args.params, sustained=args.tflops))


@verb("grid-accuracy", *GRID, ("--run", {"default": "paper", "help": "what the names of its runs begin with"}))
def tabulate_grid(args: argparse.Namespace) -> None:
    """Write and print one table of the accuracies of all finished runs of a grid."""
    from sega_utils.studies import grid, grid_results

    print(grid_results.accuracies_text(grid.read(args.grid, args.params), args.run))


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    root = argparse.ArgumentParser(
        "python -m sega_utils", description=(__doc__ or "").partition(":")[0], allow_abbrev=False
    )
    verbs = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, (function, arguments) in VERBS.items():
        sub = verbs.add_parser(name, help=function.__doc__, description=function.__doc__, allow_abbrev=False)
        for flag, options in arguments:
            sub.add_argument(flag, **options)
    return root


def check(args: argparse.Namespace) -> None:
    """Refuse a run's name that cannot be one, and a value that stands twice in a list, before anything is done.

    Raises:
        ValueError: the message says which.
    """
    if "run" in args:
        paths.run_name(args.run)
    for name, values in vars(args).items():
        if isinstance(values, list) and name != "prices":  # of reading and of writing, which may cost the same
            parameters.check_set(values, f"--{name.replace('_', '-')}")


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; a foreseeable error is one line. Return 0, 1 for a failure, 2 for a request that is wrong."""
    args = parser().parse_args(arguments)
    from sega_utils.core.artifacts import ArtifactError  # torch takes seconds, too long to wait for help

    try:
        check(args)
        return VERBS[args.verb][0](args) or 0
    except (OSError, ValueError, FloatingPointError, ArtifactError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
