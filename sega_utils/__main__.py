"""Every command but ``python -m sega_utils.execute``: ``python -m sega_utils VERB``, see ``--help``.

Those about whole runs are here, all others in ``verbs``.
"""

import argparse
import sys
from pathlib import Path

from sega_utils import verbs
from sega_utils.core import parameters, paths
from sega_utils.verbs import RUN, VERBS, verb

GRID = [
    ("--grid", {"type": Path, "default": paths.PARAMS / "grid.yaml", "help": "what is multiplied"}),
    ("--params", {"type": Path, "default": paths.PARAMS / "paper.yaml", "help": "what the notebooks are given"}),
]


@verb(
    "tables",
    *RUN,
    ("--readme", {"action": "store_true", "help": "write those on record into README.md, docs/faults.md"}),
)
def show_tables(args: argparse.Namespace) -> None:
    """Print a run's accuracies, and what SEGA-Net is ahead of."""
    from sega_utils.report import tables

    if args.readme:
        run = args.run if paths.is_reference(args.run) else f"{paths.REFERENCE}/{args.run}"
        print(f"wrote the tables of {run} into {paths.shown(tables.update_readme(run, args.dataset))}")
        print(f"wrote the table of faults into {paths.shown(tables.update_faults())}")
    else:
        print(tables.accuracy_text(args.run, args.dataset))


@verb(
    "verify",
    *RUN,
    ("--reference", {"default": "reference/embedded", "help": "reference/NAME, or the name of another run"}),
    ("--bits", {"action": "store_true", "help": "bit for bit, but for times, memory and commit"}),
    ("--since", {"type": float, "help": "also count the records that are older, in seconds since 1970"}),
)
def verify_run(args: argparse.Namespace) -> int:
    """Compare a run with the committed reference, a line for each claim; the status is 0 if all is within tolerance."""
    from sega_utils.core.numbers import aligned
    from sega_utils.report import tables
    from sega_utils.studies import reproduce, verify

    if args.bits:
        folders = [paths.artifact(run, args.dataset, "records").parent for run in (args.run, args.reference)]
        rows, n = verify.compare(*folders)
        print(*([aligned(rows), ""] if rows else []), f"{n} files compared, {len(rows)} differences", sep="\n")
        return int(bool(rows))
    told, agrees = reproduce.text(args.run, args.dataset, args.reference, since=args.since)
    print(told, aligned(tables.verdicts_beside(args.run, args.dataset, args.reference)), sep="\n\n")
    return int(not agrees)


@verb("publish", *RUN)
def publish_run(args: argparse.Namespace) -> None:
    """Make a run's records, tables and figures the committed reference, in results/reference."""
    from sega_utils.studies import publish

    count = publish.publish(args.run, args.dataset)
    print(f"{count['copied']} files copied to results/{paths.REFERENCE}/{args.run}, {count['deleted']} deleted there")


@verb("html", *RUN)
def write_site(args: argparse.Namespace) -> None:
    """Write a run's chapters and report as web pages, with an index, into build/site."""
    from sega_utils.report import site

    print(f"wrote {paths.shown(site.build(args.run, args.dataset))}")


@verb(
    "metadata",
    ("--run", {"default": f"{paths.REFERENCE}/embedded", "help": "of the committed run all documents, else its own"}),
    RUN[1],
)
def write_metadata(args: argparse.Namespace) -> None:
    """Describe a run's synthetic set in Croissant's format; for the published run, write ARTIFACT.md and all cards."""
    from sega_utils.report import metadata

    for path in metadata.write(args.run, args.dataset):
        print(f"wrote {paths.shown(path)}")


@verb("rewrite", ("--results", {"type": Path, "help": "folder of runs; the committed ones if absent"}))
def rewrite_records(args: argparse.Namespace) -> None:
    """Give older records today's form and a digest of their own; no value changes."""
    from sega_utils.studies import rewrite

    print(f"{rewrite.rewrite_all(args.results or paths.reference_root())} records rewritten")


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


@verb(
    "faults",
    ("--seed", {"type": int, "default": 0, "help": "of which bits, values and images are taken"}),
    ("--sample", {"type": int, "help": "how many faults of each kind; all if absent"}),
    ("--publish", {"action": "store_true", "help": "write the committed table and docs/faults.md from the log"}),
)
def inject_faults(args: argparse.Namespace) -> int:
    """Inject faults and log what came of each; the status is 0 if all were refused clearly or harmless."""
    from sega_utils.report import tables
    from sega_utils.studies.faults import faults

    rows = faults.measure(doors(), seed=args.seed, sample=args.sample)
    faults.save(rows, log := faults.log_path())
    print(faults.text(rows), f"wrote {paths.shown(log)}", sep="\n\n")
    if args.publish and args.sample is None:
        print(f"wrote {paths.shown(faults.publish(log))} and {paths.shown(tables.update_faults())}")
    return int(bool(faults.bad(rows)))


def doors() -> dict[str, object]:
    """Return what the fault suite goes through that no study may import, see ``faults_run.Bench``."""
    from sega_utils import execute
    from sega_utils.report import layout, pictures

    tags = {
        "title": lambda text: layout.whole(text, "", "", ""),
        "heading": lambda text: layout.section(text, "", "<hr>"),
        "note": lambda text: layout.section("x", text, "<hr>"),
        "cell": lambda text: layout.table([{"x": text}], label="x"),
        "label": lambda text: layout.table([{"x": 1}], label=text),
        "summary": lambda text: layout.folded(text, "<hr>"),
        "link": lambda text: layout.link(text, "x"),
        "text of a link": lambda text: layout.link("x", text),
    }
    return {"command": main, "execute": execute.main, "verbs": VERBS, "figure": pictures.load, "tags": tags}


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    root = argparse.ArgumentParser(
        "python -m sega_utils", description=(__doc__ or "").partition(":")[0], allow_abbrev=False
    )
    added = root.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.load()
    for name, (function, arguments) in VERBS.items():
        sub = added.add_parser(name, help=function.__doc__, description=function.__doc__, allow_abbrev=False)
        sub.register("action", None, parameters.Once)
        for flag, options in arguments:
            sub.add_argument(flag, **options)
    return root


def check(args: argparse.Namespace) -> None:
    """Refuse a run's name that cannot be one, and a value that stands twice in a list, before anything is done.

    Raises:
        ValueError: the message says which.
    """
    if "run" in args:
        paths.run_name(args.run.removeprefix(f"{paths.REFERENCE}/"))
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
