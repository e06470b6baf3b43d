"""Verbs about whole runs: what is on record, beside what, and where it is shown."""

import argparse
from pathlib import Path

from sega_utils.core import paths
from sega_utils.verbs import RUN, verb


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
    """Compare a run with the committed reference, a line for each claim; the status is 0 if all agrees."""
    from sega_utils.core.numbers import aligned
    from sega_utils.report import tables
    from sega_utils.studies import reproduce, verify

    if args.bits:
        folders = [paths.artifact(run, args.dataset, "records").parent for run in (args.run, args.reference)]
        rows, n = verify.compare(*folders)
        print(*([aligned(rows), ""] if rows else []), f"{n} files compared, {len(rows)} differences", sep="\n")
        return int(bool(rows))
    told, agrees = reproduce.text(args.run, args.dataset, args.reference, since=args.since)
    verdicts = tables.verdicts_beside(args.run, args.dataset, args.reference)
    print(told, aligned(verdicts), sep="\n\n")
    return int(not agrees or any(row["same"] == "NO" for row in verdicts))


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
