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
    left: torch.Tensor, right: torch.Tensor, *, max_distance: int, same: bool, size: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield each pair of hashes within a distance once, a tile at a time.

    Hashes that differ in d bits agree on one of d + 1 blocks of bits. Sorted by a block, they need comparing only
    within runs of equal keys; where the runs are so long that one pass over all pairs is cheaper, that is made.

    Args:
        left, right: bool (N, 64) and (M, 64).
        max_distance: largest number of differing bits, 0 .. 64.
        same: ``right`` is ``left``; pairs i < j only.
        size: rows and columns of a tile; 0 takes what suits the device.

    Returns:
        Iterator over int64 (K,), (K,): indices into ``left`` and ``right``; at most size ** 2 pairs at a time.

    Source: Norouzi, Punjani and Fleet 2012 (multi-index hashing), with matrix products inside the runs.
    """
    size = size or (1024 if left.device.type == "cpu" else 8192)
    blocks = max_distance + 1
    indexed = [(pack(left[:, block::blocks]), pack(right[:, block::blocks])) for block in range(blocks)]
    unindexed = [(pack(left[:, :0]), pack(right[:, :0]))]  # no bits, one key: a single run
    plans = [[_tiles(*keys, size, same) for keys in choice] for choice in (unindexed, indexed)]
    work = [sum(int((tiles[:, 1] - tiles[:, 0]) @ (tiles[:, 3] - tiles[:, 2])) for *_, tiles in plan) for plan in plans]
    keys, plan = (indexed, plans[1]) if work[1] < work[0] else (unindexed, plans[0])
    left_keys, right_keys = (torch.stack(side) for side in zip(*keys))
    for block, (rows, columns, tiles) in enumerate(plan):
        a, b = plus_minus(left[rows]), plus_minus(right[columns])
        for start, stop, first, last in tiles.tolist():
            for at in range(first, last, size):
                i, j = torch.where(a[start:stop] @ b[at : min(at + size, last)].T >= 64 - 2 * max_distance)
                after = i + start < j + at if same else slice(None)
                i, j = rows[i[after] + start], columns[j[after] + at]
                equal = left_keys[: block + 1, i] == right_keys[: block + 1, j]
                new = equal[block] & (equal.sum(0) == 1)  # a pair belongs to the first block it agrees on
                i, j = i[new], j[new]
                if len(i):
                    yield (torch.minimum(i, j), torch.maximum(i, j)) if same else (i, j)


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
