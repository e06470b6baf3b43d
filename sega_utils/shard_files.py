"""Files of very many candidates: shards of survivors, and the parts of the set they are merged into."""

import shlex
from pathlib import Path

import torch

from sega_utils import artifacts, paths, records

PART = 100_000  # images a file of the merged set


def file_of(run: str, dataset: str, shard: int, of: int) -> Path:
    """Return where the survivors of a shard are kept."""
    return paths.artifact(run, dataset, "shards") / f"{shard}-of-{of}.safetensors"


def part_of(run: str, dataset: str, part: int) -> Path:
    """Return where a part of the merged set is kept; it has the columns of ``shards.draw_block``."""
    return paths.artifact(run, dataset, "shards") / "merged" / f"{part}.safetensors"


def is_whole(path: Path, asked: dict) -> bool:
    """Return whether a shard is there, undamaged, and depends on exactly this."""
    try:
        return artifacts.load_tensors(path)[1].get("asked") == asked
    except (FileNotFoundError, artifacts.ArtifactError):
        return False


def load_shard(run: str, dataset: str, shard: int, of: int, asked: dict) -> tuple[dict[str, torch.Tensor], dict]:
    """Return a shard's columns, checked and then read from the file only where they are used, and its counts.

    Raises:
        FileNotFoundError, ArtifactError: see ``shards.merge``.
    """
    path, n = file_of(run, dataset, shard, of), asked["candidates"]
    advice = (f"draw it with: python -m sega_utils.shards draw --run {run} --dataset {shlex.quote(dataset)} "
              f"--candidates {n} --shard {shard} --of {of}")  # fmt: skip
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; {advice}")
    try:
        tensors, meta = artifacts.load_tensors(path)
    except artifacts.ArtifactError as error:
        raise artifacts.ArtifactError(f"{error}; {advice}") from error
    if meta.get("asked") != asked:
        differing = sorted(key for key in asked if meta.get("asked", {}).get(key) != asked[key])
        raise artifacts.ArtifactError(f"{paths.shown(path)} was drawn for other {', '.join(differing)}; {advice}")
    return tensors, meta["counts"]


def write_merged(run: str, dataset: str, n: int, shards: tuple[dict, ...], kept: torch.Tensor, asked: dict) -> int:
    """Write the merged set in place of another, which has no record until it is complete; return its bytes.

    Args:
        shards: columns of every shard, in their order; ``kept``: ascending int64 (K,), rows of all shards as if one.
    """
    records.path(run, dataset, "shards", f"merge-{n}").unlink(missing_ok=True)
    for left in part_of(run, dataset, 0).parent.glob("*.safetensors"):
        left.unlink()
    size = 0
    for part, rows in enumerate(kept.split(PART)):
        path = part_of(run, dataset, part)
        artifacts.save_tensors(path, {name: read(shards, name, rows) for name in shards[0]}, {"asked": asked})
        size += path.stat().st_size
    return size


def read(shards: tuple[dict, ...], column: str, rows: torch.Tensor | None = None) -> torch.Tensor:
    """Return rows, ascending int64 (K,), or all, of a column of all shards as if they were one."""
    columns = [shard[column] for shard in shards]
    if rows is None:
        return torch.cat(columns)
    ends = torch.tensor([len(part) for part in columns]).cumsum(0)
    each = torch.searchsorted(rows, ends).diff(prepend=torch.tensor([0])).tolist()
    starts = [0, *ends[:-1].tolist()]
    return torch.cat([part[mine - at] for part, mine, at in zip(columns, rows.split(each), starts, strict=True)])
