"""Perceptual hashes: their distances, and every pair within one, without comparing all pairs."""

from collections.abc import Iterator

import torch


def plus_minus(bits: torch.Tensor) -> torch.Tensor:
    """Return hashes as float32 of +1 and -1; the product of two is 64 minus twice their Hamming distance."""
    return bits.float() * 2 - 1


def hamming(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the number of differing bits of every two hashes.

    Args:
        a, b: bool (N, 64) and (M, 64).

    Returns:
        int64 (N, M), 0 (same hash) to 64.
    """
    return ((64 - plus_minus(a) @ plus_minus(b).T) / 2).long()


def close_hashes(
    left: torch.Tensor,
    right: torch.Tensor,
    *,
    max_distance: int,
    same: bool,
    size: int = 0,
    shares: list[tuple[torch.Tensor, torch.Tensor]] | None = None,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each pair of hashes within a distance once, a tile at a time.

    Hashes that differ in d bits agree on one of d + 1 blocks of bits. Sorted by a block, they need comparing only
    within runs of equal keys; where the runs are so long that one pass over all pairs is cheaper, that is made.

    Args:
        left, right: bool (N, 64) and (M, 64).
        max_distance: largest number of differing bits, 0 .. 64.
        same: ``right`` is ``left``; pairs i < j only.
        size: rows and columns of a tile; 0 takes what suits the device.
        shares: for each block, which rows of ``left`` are compared with which of ``right``, int64 each; all if absent.

    Returns:
        Iterator over int64 (K,), (K,): indices into ``left`` and ``right``; at most size ** 2 pairs at a time.

    Source: Norouzi, Punjani and Fleet 2012 (multi-index hashing), with matrix products inside the runs.
    """
    size = size or (1024 if left.device.type == "cpu" else 8192)
    keys = list(zip(keys_of(left, max_distance), keys_of(right, max_distance), strict=True))
    if shares:
        plan = [
            (i[rows], j[columns], tiles)
            for (a, b), (i, j) in zip(keys, shares, strict=True)
            for rows, columns, tiles in [_tiles(a[i], b[j], size, False)]
        ]
    else:
        unindexed = [(pack(left[:, :0]), pack(right[:, :0]))]  # no bits, one key: a single run
        plans = [[_tiles(*sides, size, same) for sides in choice] for choice in (unindexed, keys)]
        work = [sum(int((t[:, 1] - t[:, 0]) @ (t[:, 3] - t[:, 2])) for *_, t in plan) for plan in plans]
        keys, plan = (keys, plans[1]) if work[1] < work[0] else (unindexed, plans[0])
    left_keys, right_keys = (torch.stack(side) for side in zip(*keys))
    for block, (rows, columns, tiles) in enumerate(plan):
        for i, j in _within(left[rows], right[columns], tiles, size, max_distance):
            i, j = rows[i], columns[j]
            equal = left_keys[: block + 1, i] == right_keys[: block + 1, j]
            new = equal[block] & (equal.sum(0) == 1)  # a pair belongs to the first block it agrees on
            if same:  # where keys are equal, both orders are those of the rows
                new &= i < j
            if new.any():
                yield i[new], j[new]


def _within(
    left: torch.Tensor, right: torch.Tensor, tiles: torch.Tensor, size: int, max_distance: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the places of all pairs within a distance, in tiles of hashes that are sorted by a key."""
    a, b = plus_minus(left), plus_minus(right)
    for start, stop, first, last in tiles.tolist():
        for at in range(first, last, size):
            i, j = torch.where(a[start:stop] @ b[at : min(at + size, last)].T >= 64 - 2 * max_distance)
            yield i + start, j + at


def keys_of(bits: torch.Tensor, max_distance: int) -> list[torch.Tensor]:
    """Return the blocks of bits on one of which hashes within a distance agree, each packed, int64 (N,)."""
    blocks = max_distance + 1
    return [pack(bits[:, block::blocks]) for block in range(blocks)]


def _tiles(
    left_keys: torch.Tensor, right_keys: torch.Tensor, size: int, same: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return both orders sorted by key and int64 tiles (T, 4) of start, stop, first, last.

    Rows start .. stop of the left order have all their partners in columns first .. last of the right order.
    """
    rows, columns = left_keys.argsort(stable=True), right_keys.argsort(stable=True)
    left_keys, right_keys = left_keys[rows], right_keys[columns]
    start = torch.arange(0, len(rows), size, device=rows.device)
    stop = (start + size).clamp(max=len(rows))
    first = start if same else torch.searchsorted(right_keys, left_keys[start])
    last = torch.searchsorted(right_keys, left_keys[stop - 1], right=True)
    return rows, columns, torch.stack([start, stop, first, last], 1).cpu()


def pack(bits: torch.Tensor) -> torch.Tensor:
    """Return rows of up to 64 bits, bool (N, B), as int64 (N,)."""
    return (bits.long() << torch.arange(bits.shape[1], device=bits.device)).sum(1)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """Return what ``pack`` made of rows of 64 bits, bool (N, 64)."""
    return (packed[:, None] >> torch.arange(64, device=packed.device) & 1).bool()
