"""Very many candidates: shards of one plan, each drawn and filtered by a job of its own, and merged into one set.

Candidates and rules are those of the run's 04_synthesis, of which there are only more. How cost grows with their
number, and what very many would take, follows from the records that drawing and merging leave.
"""

import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from sega_utils import filters
from sega_utils.augmenters import pools
from sega_utils.augmenters.pools import VARIANTS, produce
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.core.numbers import aligned
from sega_utils.data.images import from_uint8
from sega_utils.filters import rules
from sega_utils.filters.duplicates import better_copies
from sega_utils.filters.hashes import pack

PART_SIZE = 100_000  # images a file of the merged set


def shard_path(run: str, dataset: str, shard: int, of: int) -> Path:
    """Return where the survivors of a shard are kept."""
    return paths.artifact(run, dataset, "shards") / f"{shard}-of-{of}.safetensors"


def part_path(run: str, dataset: str, part: int) -> Path:
    """Return where a part of the merged set is kept; it has the columns of ``draw_block``."""
    return paths.artifact(run, dataset, "shards") / "merged" / f"{part}.safetensors"


def span(n: int, of: int, shard: int) -> tuple[int, int]:
    """Return where a shard's candidates begin and end: whole blocks, as many as in the others, or one more."""
    return tuple(min(n, -(-n // BLOCK) * k // of * BLOCK) for k in (shard, shard + 1))


def is_whole(path: Path, asked: dict) -> bool:
    """Return whether a shard is there, undamaged, and depends on exactly this."""
    try:
        return artifacts.load_tensors(path)[1].get("asked") == asked
    except (FileNotFoundError, artifacts.ArtifactError):
        return False


def load_shard(run: str, dataset: str, shard: int, of: int, asked: dict) -> tuple[dict[str, torch.Tensor], dict]:
    """Return a shard's columns, checked and then read from the file only where they are used, and its counts.

    Raises:
        FileNotFoundError, ArtifactError: see ``merge``.
    """
    path, n = shard_path(run, dataset, shard, of), asked["candidates"]
    advice = (
        f"draw it with: python -m sega_utils shard-draw --run {run} --dataset {shlex.quote(dataset)} "
        f"--candidates {n} --shard {shard} --of {of}"
    )
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; {advice}")
    try:
        tensors, meta = artifacts.load_tensors(path)
    except artifacts.ArtifactError as error:
        raise artifacts.ArtifactError(f"{error}; {advice}") from error
    if meta.get("asked") != asked:
        differing = sorted(key for key in asked if meta.get("asked", {}).get(key) != asked[key])
        raise artifacts.ArtifactError(f"{paths.shown(path)} was drawn for other {', '.join(differing)}; {advice}")
    (start, stop), index = span(n, of, shard), tensors["index"]
    if len(index) and not start <= index[0] <= index[-1] < stop:
        raise artifacts.ArtifactError(
            f"{paths.shown(path)} holds the candidates {int(index[0])} .. {int(index[-1])}, but its own are {start} .. "
            f"{stop - 1}: it is another shard's; {advice}"
        )
    return tensors, meta["counts"] | {"sha256": meta["sha256"]}


def write_merged(run: str, dataset: str, n: int, shards: tuple[dict, ...], kept: torch.Tensor, asked: dict) -> int:
    """Write the merged set in place of another, which has no record until it is complete; return its bytes.

    Args:
        shards: columns of every shard, in their order; ``kept``: ascending int64 (K,), rows of all shards as if one.
    """
    records.path(run, dataset, "shards", f"merge-{n}").unlink(missing_ok=True)
    for left in part_path(run, dataset, 0).parent.glob("*.safetensors"):
        left.unlink()
    size = 0
    for part, rows in enumerate(kept.split(PART_SIZE)):
        path = part_path(run, dataset, part)
        artifacts.save_tensors(path, {name: read_column(shards, name, rows) for name in shards[0]}, {"asked": asked})
        size += path.stat().st_size
    return size


def read_column(shards: tuple[dict, ...], column: str, rows: torch.Tensor | None = None) -> torch.Tensor:
    """Return rows, ascending int64 (K,), or all, of a column of all shards as if they were one."""
    columns = [shard[column] for shard in shards]
    if rows is None:
        return torch.cat(columns)
    ends = torch.tensor([len(part) for part in columns]).cumsum(0)
    each = torch.searchsorted(rows, ends).diff(prepend=torch.tensor([0])).tolist()
    starts = [0, *ends[:-1].tolist()]
    return torch.cat([part[mine - at] for part, mine, at in zip(columns, rows.split(each), starts, strict=True)])


# Candidates that are drawn and scored together. A shard is whole blocks, for sums run in another order in a batch of
# another size: so no bit depends on the number of shards. A multiple of the batches of generator and CLIP.
BLOCK = 10_000
RULE = ("draw_seed", "sigma", "alignment_percentile", "blur_percentile", "max_distance", "min_ssim", "use")


def draw_shard(run: str, dataset: str, shard: int, *, of: int, n: int, device: torch.device | str = "cpu") -> dict:
    """Draw a shard of ``n`` candidates, write those that pass every filter but ``duplicate``, and return the record.

    A shard that is whole, and was drawn from the same files by the same rules, is not drawn again.

    Args:
        shard: 0 .. of - 1; each has one block of candidates or several.

    Raises:
        ValueError: a number out of range.
        FileNotFoundError, ArtifactError: a file or record of the run is missing or damaged.
    """
    _check(n, of)
    if not 0 <= shard < of:
        raise ValueError(f"received shard {shard} of {of}; allowed are 0 .. {of - 1}")
    inputs, asked = load_shard_inputs(run, dataset, n, device)
    path = shard_path(run, dataset, shard, of)
    start, stop = span(n, of, shard)

    def measure() -> dict:
        thresholds, reasons, parts = rules.thresholds(inputs, inputs["recipe"]), Counter(), []
        for at in runtime.progress(range(start, stop, BLOCK), f"shard {shard} of {of}"):
            part, rejected = draw_block(inputs, at, min(BLOCK, stop - at), thresholds)
            parts.append(part)
            reasons.update(rejected)
        tensors = {column: torch.cat([part[column] for part in parts]) for column in parts[0]}
        counts = {"drawn": stop - start, "survivors": len(tensors["index"])}
        counts |= {"rejected": {reason: reasons[reason] for reason in filters.FILTERS[:-1]}}
        artifacts.save_tensors(path, tensors, {"asked": asked, "counts": counts})
        return counts | {"bytes": path.stat().st_size}

    return records.once(
        run,
        dataset,
        "shards",
        f"draw-{n}-{shard}-of-{of}",
        parameters=asked["rule"] | {"candidates": n, "shard": shard, "of": of},
        inputs=asked["inputs"],
        measure=measure,
        is_whole=lambda record: is_whole(path, asked),
    )


def draw_block(inputs: dict, start: int, n: int, thresholds: dict) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return columns of what survives of ``n`` candidates from ``start`` on, and why each of the others does not.

    Columns: ``index``, ``class_ids``, ``prompt_ids``, ``seeds`` and ``hashes`` (packed) int64 (N,), ``clip_score`` and
    ``blur_score`` float32 (N,), ``images`` uint8 (N, C, S, S).
    """
    recipe = inputs["recipe"]
    pool = pools.draw(inputs, recipe, n, start=start)
    others = " ".join(name for name in recipe["use"].split() if name != "duplicate")
    kept, table = pools.judge(pool, inputs, recipe | {"use": others}, thresholds)
    scores = {name: torch.tensor(table[name]) for name in ("clip_score", "blur_score")}
    columns = {"index": torch.arange(start, start + n)} | pool | scores
    columns |= {"hashes": pack(filters.phash(from_uint8(pool["images"])))}
    return {name: column.cpu()[kept.cpu()] for name, column in columns.items()}, [r for r in table["reason"] if r]


def merge(
    run: str,
    dataset: str,
    *,
    of: int,
    n: int,
    device: torch.device | str = "cpu",
    decided: Callable[[], tuple[torch.Tensor, dict]] | None = None,
) -> dict:
    """Remove near-duplicates among the survivors of all shards, write what is kept in parts, and return the record.

    What is kept, and its order, is what ``rules.apply_filters`` keeps of all candidates at once. Of a survivor only
    hash, score and rank are held in memory; its image is read where the hashes propose a pair.

    Args:
        decided: returns which survivors stay, bool (N,), and what that depended on as parameters, where jobs have
            searched before; else the search is made here.

    Raises:
        ValueError: a number out of range.
        FileNotFoundError, ArtifactError: a shard is missing, damaged, or was drawn from other files or by other rules;
            the message names the command that draws it.
    """
    _check(n, of)
    inputs, asked = load_shard_inputs(run, dataset, n, device)
    recipe, device = inputs["recipe"], inputs["device"]
    with runtime.measure() as cost:
        shards, counts = zip(*(load_shard(run, dataset, shard, of, asked) for shard in range(of)), strict=True)
        with runtime.measure() as searching:
            kept, about = decided() if decided else (search(shards, recipe, device), {})
        written = write_merged(run, dataset, n, shards, kept.nonzero()[:, 0], asked)
    rejected = {name: sum(count["rejected"][name] for count in counts) for name in counts[0]["rejected"]}
    metrics = {name: sum(count[name] for count in counts) for name in ("drawn", "survivors")}
    metrics |= {"rejected": rejected | {"duplicate": int((~kept).sum())}, "kept": int(kept.sum())}
    metrics |= {"searching": searching["seconds"]}
    # the search holds hashes of 8 bytes and scores of 4, and as many as the hashes' again, twice: each image's rank,
    # and what it copies; of what was decided before, it holds a flag
    metrics |= {"bytes": written, "bytes_held": (1 if decided else 28) * len(kept)}
    return records.write(
        run,
        dataset,
        "shards",
        f"merge-{n}",
        metrics=metrics,
        inputs=asked["inputs"],
        cost=cost,
        parameters=asked["rule"] | {"candidates": n, "of": of} | about,
    )


def search(shards: tuple[dict, ...], recipe: dict, device: torch.device | str) -> torch.Tensor:
    """Return which survivors of all shards are no copy of a better one that stays, bool (N,)."""
    hashes, scores = (read_column(shards, name).to(device) for name in ("hashes", "clip_score"))
    if "duplicate" not in recipe["use"].split():
        return torch.ones(len(scores), dtype=torch.bool)
    images = lambda rows: from_uint8(read_column(shards, "images", rows.cpu())).to(device)
    limits = {name: recipe[name] for name in ("max_distance", "min_ssim")}
    return better_copies(hashes, scores, images, **limits).cpu() < 0


def load_shard_inputs(run: str, dataset: str, n: int, device: torch.device | str) -> tuple[dict, dict]:
    """Return what candidates are drawn and filtered with, and what they depend on."""
    inputs = pools.load_inputs(run, dataset, VARIANTS["SEGA-Net"][1], device)
    inputs = inputs | {"recipe": pools.recipe_of(run, dataset)}
    rule = {name: inputs["recipe"][name] for name in RULE}
    return inputs, {"candidates": n, "block": BLOCK, "rule": rule, "inputs": inputs["digests"]}


def _check(n: int, of: int) -> None:
    """Refuse a number of shards that leaves one without a block."""
    if not 1 <= of <= -(-n // BLOCK):
        raise ValueError(
            f"received {n:,} candidates in {of} shards; allowed are 1 .. {max(1, -(-n // BLOCK))} shards "
            f"of at least one candidate: each has {BLOCK:,} or more"
        )


def measure_growth(run: str, dataset: str, n: int, seed: int = 0, device: torch.device | str = "cpu") -> dict:
    """Draw ``n`` candidates of SEGA-Net, filter them, and return the record of what that took.

    Peak memory is the process's: call it in one of its own.
    """
    inputs = pools.load_inputs(run, dataset, VARIANTS["SEGA-Net"][1], device)
    inputs = inputs | {"recipe": pools.recipe_of(run, dataset)}
    pool = produce(inputs, "SEGA-Net", n, seed=seed)
    values = {"kept": int(pool["kept"].sum()), "drawing": pool["drawing"], "filtering": pool["filtering"]}
    return records.write(
        run,
        dataset,
        "efficiency",
        f"growth-{n}",
        metrics=values,
        cost=pool["cost"],
        inputs=inputs["digests"],
        parameters={"candidates": n, "seed": seed},
    )


GROWTH = ("candidates", "kept", "drawing", "filtering", "seconds", "per_1000_more", "peak_memory_gb")


def growth_rows(found: list[dict]) -> list[dict]:
    """Return a row (``GROWTH``) for each number of candidates on record, in ascending order.

    ``per_1000_more`` is what a thousand candidates more cost beyond the row before, in seconds.
    """
    rows = [record | {"candidates": record["param_candidates"]} for record in found if "param_candidates" in record]
    rows.sort(key=lambda row: row["candidates"])
    more = [""] + [
        1000 * (b["seconds"] - a["seconds"]) / (b["candidates"] - a["candidates"]) for a, b in zip(rows, rows[1:])
    ]
    rows = [row | {"per_1000_more": price} for row, price in zip(rows, more, strict=False)]
    return [{name: row[name] for name in GROWTH} for row in rows]


def counts_text(found: dict) -> str:
    """Return how many candidates of a shard or merge were drawn, rejected and kept, in aligned columns."""
    row = {name: found[name] for name in ("drawn", "survivors")}
    row |= {f"rejected: {name}": found["rejected"][name] for name in filters.FILTERS if name in found["rejected"]}
    return aligned([row | {name: found[name] for name in ("kept", "seconds") if name in found}])
