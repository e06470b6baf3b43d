"""Verbs that draw very many candidates in parts and merge them."""

import argparse

from sega_utils.verbs import DEVICE, RUN, verb

SHARDS = [
    ("--candidates", {"type": int, "required": True, "help": "of all shards"}),
    ("--of", {"type": int, "required": True, "help": "number of shards"}),
    DEVICE,
]


@verb("shard-draw", *RUN, *SHARDS, ("--shard", {"type": int, "required": True, "help": "from 0 on"}))
def draw_shard(args: argparse.Namespace) -> None:
    """Draw and filter one shard of very many candidates."""
    from sega_utils.core import runtime
    from sega_utils.studies import shards

    device = runtime.start(0, args.device)
    found = shards.draw_shard(args.run, args.dataset, args.shard, of=args.of, n=args.candidates, device=device)
    print(shards.counts_text(found))


PARTS = ("--parts", {"type": int, "required": True, "help": "jobs of a round of the search"})
ROUND = ("--round", {"type": int, "required": True, "help": "from 0 on"})


@verb("shard-compare", *RUN, *SHARDS, PARTS, ROUND, ("--part", {"type": int, "required": True, "help": "from 0 on"}))
def compare_part(args: argparse.Namespace) -> None:
    """Find the near-duplicates of a round in the buckets of hashes that are dealt to one job."""
    from sega_utils.studies.scale import search

    print(search.text(search.compare(asked(args), args.round, args.part)))


@verb("shard-settle", *RUN, *SHARDS, PARTS, ROUND)
def settle_round(args: argparse.Namespace) -> None:
    """Begin a search in parts with round 0; before any other, decide who stayed in the last."""
    from sega_utils.studies.scale import search

    print(search.text(search.settle(asked(args), args.round)))


def asked(args: argparse.Namespace) -> object:
    """Return the search that a verb's arguments name."""
    from sega_utils.core import runtime
    from sega_utils.studies.scale import search

    device = runtime.start(0, args.device)
    return search.Search(args.run, args.dataset, args.of, args.candidates, args.parts, device)


@verb("shard-merge", *RUN, *SHARDS, ("--parts", {"type": int, "help": "of a search that has ended; else search here"}))
def merge_shards(args: argparse.Namespace) -> None:
    """Merge all shards into one set without near-duplicates."""
    from functools import partial

    from sega_utils.core import runtime
    from sega_utils.studies import shards
    from sega_utils.studies.scale import search

    decided = None if args.parts is None else partial(search.decided, asked(args))
    options = {"of": args.of, "n": args.candidates, "device": runtime.start(0, args.device), "decided": decided}
    print(shards.counts_text(shards.merge(args.run, args.dataset, **options)))


@verb(
    "shard-estimate",
    *RUN,
    ("--candidates", {"type": int, "nargs": "+", "required": True, "help": "numbers"}),
    ("--machines", {"type": int, "default": 100, "help": "that share the files and search in parts"}),
    ("--start", {"type": float, "default": 30, "help": "seconds that a job waits for its machine, assumed"}),
)
def estimate_shards(args: argparse.Namespace) -> None:
    """Print what many candidates would take, from the draws, merges and searches on record."""
    from sega_utils.core.numbers import aligned
    from sega_utils.studies.scale import plan

    place = (args.run, args.dataset, args.candidates)
    print(aligned(plan.estimate(*place)))
    print("", aligned(plan.in_parts(*place, machines=args.machines, start=args.start)), sep="\n")
