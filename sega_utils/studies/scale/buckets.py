"""Buckets of hashes that agree on a block of bits: how many each holds, which jobs compare it, what a job reads."""

import torch

from sega_utils.filters.hashes import keys_of, unpack
from sega_utils.studies.shards import read_column

BUCKETS = 1021  # of a block; keys of more bits share them
_ROWS = 10_000  # images that are looked at together


def numbers_of(bits: torch.Tensor, max_distance: int) -> torch.Tensor:
    """Return in which bucket of each block a hash is, int64 (max_distance + 1, N), 0 .. BUCKETS - 1.

    Args:
        bits: bool (N, 64).
    """
    return torch.stack(keys_of(bits, max_distance)).remainder(BUCKETS)


def sizes(bits: torch.Tensor, max_distance: int) -> torch.Tensor:
    """Return how many hashes are in each bucket, int64 (max_distance + 1, BUCKETS)."""
    return torch.stack([block.bincount(minlength=BUCKETS) for block in numbers_of(bits, max_distance)])


def deal(sizes: torch.Tensor, parts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Deal the buckets of each block to parts so that each has about as much to compare.

    A bucket that is more than a part's share is sliced: several parts read it, and each compares some of its hashes
    with all. Largest first, each goes to the part with the least so far.

    Returns:
        The first part of each bucket and in how many slices it and those that follow have it, int64 (blocks, BUCKETS).

    Source: Graham 1969, longest processing time first.
    """
    first, slices = torch.zeros_like(sizes), torch.ones_like(sizes)
    for block, cost in enumerate(sizes.double().square()):
        slices[block] = (cost * parts / cost.sum().clamp(min=1)).ceil().clamp(1, parts).long()
        load = torch.zeros(parts, dtype=torch.float64)
        for bucket in cost.argsort(descending=True, stable=True)[: int((cost > 0).sum())].tolist():
            start, n = int(load.argmin()), int(slices[block, bucket])
            load[(start + torch.arange(n)) % parts] += cost[bucket] / n
            first[block, bucket] = start
    return first, slices


def members(
    columns: list[dict], wanted: torch.Tensor, dealt: dict, part: int, recipe: dict, parts: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the rows, ascending int64 (K,), and hashes of those wanted that are in a bucket of a part.

    Args:
        columns: of the shards; wanted: bool, of all their rows; dealt: ``first`` and ``slices`` of the buckets.
    """
    rows, hashes, start = [], [], 0
    for column in columns:
        mine = wanted[start : start + len(column["hashes"])].nonzero()[:, 0]
        for some in mine.split(100 * _ROWS):
            own = column["hashes"][some]
            taken = (turns(dealt, numbers_of(unpack(own), recipe["max_distance"]), part, parts) >= 0).any(0)
            rows.append(some[taken] + start)
            hashes.append(own[taken])
        start += len(column["hashes"])
    empty = torch.empty(0, dtype=torch.int64)
    return torch.cat([empty, *rows]), torch.cat([empty, *hashes])


def turns(dealt: dict, buckets: torch.Tensor, part: int, parts: int) -> torch.Tensor:
    """Return which slice of each bucket a part has, or -1, int64 as ``buckets`` (blocks, N)."""
    turn = (part - dealt["first"].gather(1, buckets)) % parts
    return turn.where(turn < dealt["slices"].gather(1, buckets), -1)


def shares(
    dealt: dict,
    rows: torch.Tensor,
    bits: torch.Tensor,
    sides: tuple[torch.Tensor, torch.Tensor],
    part: int,
    max_distance: int,
    parts: int,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return, for each block, which of the one side a part compares with which of the other, as indices into them.

    Args:
        rows: of the members, which say in which slice each is; sides: int64, which members are compared with which.
    """
    buckets = numbers_of(bits, max_distance)
    turn, slices = turns(dealt, buckets, part, parts), dealt["slices"].gather(1, buckets)
    own = (turn == rows % slices)[:, sides[0]]
    read = (turn >= 0)[:, sides[1]]
    return [(i.nonzero()[:, 0], j.nonzero()[:, 0]) for i, j in zip(own, read, strict=True)]


def repeated(columns: list[dict], order: torch.Tensor) -> torch.Tensor:
    """Return which images one of a better rank has pixel by pixel, bool (N,).

    Equal fingerprints propose, the pixels confirm.

    Args:
        columns: of the shards; order: int64 (N,), all rows from the best rank down.
    """
    rng = torch.Generator().manual_seed(0)
    parts = (some.flatten(1).view(torch.int64) for column in columns for some in column["images"].split(_ROWS))
    weights = torch.randint(-(2**62), 2**62, (columns[0]["images"].shape[1:].numel() // 8,), generator=rng) * 2 + 1
    prints = torch.cat([torch.empty(0, dtype=torch.int64), *((some * weights).sum(1) for some in parts)])
    _, group = prints[order].unique(return_inverse=True)
    best = torch.full((len(order),), len(order)).scatter_reduce(0, group, torch.arange(len(order)), "amin")[group]
    other = best < torch.arange(len(order))
    copies, result = torch.stack([order, order[best]], 1)[other], torch.zeros(len(order), dtype=torch.bool)
    for some in copies.split(_ROWS):
        rows, at = some.unique(return_inverse=True)
        images = read_column(columns, "images", rows)
        equal = (images[at[:, 0]] == images[at[:, 1]]).flatten(1).all(1)
        result[some[:, 0]] = equal
    return result
