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
