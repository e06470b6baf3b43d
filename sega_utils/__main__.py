"""Every command but ``python -m sega_utils.execute``: ``python -m sega_utils VERB``, see ``--help`` and ``verbs``."""

import argparse
import sys

from sega_utils import verbs
from sega_utils.core import parameters, paths
from sega_utils.verbs import VERBS

verbs.load()


def parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs."""
    root = argparse.ArgumentParser(
        "python -m sega_utils", description=(__doc__ or "").partition(":")[0], allow_abbrev=False
    )
    added = root.add_subparsers(dest="verb", required=True, metavar="VERB")
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
    for name in ("run", "reference"):
        if name in args:
            paths.run_name(getattr(args, name).removeprefix(f"{paths.REFERENCE}/"))
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
