"""Very many candidates: shards of one plan, each drawn and filtered by a job of its own, and merged into one set.

    python -m sega_utils.shards draw --candidates 1000000 --shard 3 --of 7
    python -m sega_utils.shards merge --candidates 1000000 --of 7
    python -m sega_utils.shards estimate --candidates 1000000 100000000

Candidates and rules are those of the run's 04_synthesis, of which there are only more. The last command says what that
would take, from the records that the others leave.
"""

import argparse
import sys
from collections import Counter

import torch

from sega_utils import artifacts, cost_tables, data, filters, formats, pools, records, runtime, synthesis
from sega_utils.duplicates import better_copies
from sega_utils.hashes import pack
from sega_utils.shard_files import file_of, is_whole, load_shard, read, write_merged
from sega_utils.variants import VARIANTS, load_inputs

# Candidates that are drawn and scored together. A shard is whole blocks, for sums run in another order in a batch of
# another size: so no bit depends on the number of shards. A multiple of the batches of generator and CLIP.
BLOCK = 10_000
RULE = ("draw_seed", "draw_sigma", "alignment_percentile", "blur_percentile", "max_distance", "min_ssim", "use")


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
    inputs, asked = load(run, dataset, n, device)
    path, name = file_of(run, dataset, shard, of), f"draw-{n}-{shard}-of-{of}"
    known = {"parameters": asked["rule"] | {"candidates": n, "shard": shard, "of": of}, "inputs": asked["inputs"]}
    if is_whole(path, asked) and (found := records.find(run, dataset, "shards", name, **known)):
        return found
    thresholds, reasons, parts = pools.thresholds(inputs, inputs["recipe"]), Counter(), []
    start, stop = (min(n, -(-n // BLOCK) * k // of * BLOCK) for k in (shard, shard + 1))
    with runtime.measure() as cost:
        for at in runtime.progress(range(start, stop, BLOCK), f"shard {shard} of {of}"):
            part, rejected = draw_block(inputs, at, min(BLOCK, stop - at), thresholds)
            parts.append(part)
            reasons.update(rejected)
    tensors = {column: torch.cat([part[column] for part in parts]) for column in parts[0]}
    counts = {"drawn": stop - start, "survivors": len(tensors["index"])}
    counts |= {f"rejected_{reason}": reasons[reason] for reason in filters.FILTERS[:-1]}
    artifacts.save_tensors(path, tensors, {"asked": asked, "counts": counts})
    metrics = counts | {"bytes": path.stat().st_size}
    return records.write(run, dataset, "shards", name, metrics=metrics, cost=cost, **known)


def draw_block(inputs: dict, start: int, n: int, thresholds: dict) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return columns of what survives of ``n`` candidates from ``start`` on, and why each of the others does not.

    Columns: ``index``, ``class_ids``, ``prompt_ids``, ``seeds`` and ``hashes`` (packed) int64 (N,), ``clip_score`` and
    ``blur_score`` float32 (N,), ``images`` uint8 (N, C, S, S).
    """
    recipe, device, clip = inputs["recipe"], inputs["device"], inputs["clip"]
    plan = synthesis.plan(inputs["prompts"]["class_ids"], n, seed=recipe["draw_seed"], start=start)
    drawn = synthesis.draw(inputs["generator"], inputs["projector"], sigma=recipe["draw_sigma"],
                           embeddings=inputs["prompts"]["embeddings"].to(device), **plan)  # fmt: skip
    stored = data.to_uint8(drawn)
    images = data.from_uint8(stored)
    kept, table = filters.apply_filters(
        images, plan["class_ids"], real_images=inputs["real"].images, max_distance=recipe["max_distance"],
        class_scores=filters.class_scores(images, clip=clip, class_embeddings=inputs["class_embeddings"]),
        min_ssim=recipe["min_ssim"], use=set(recipe["use"].split()) - {"duplicate"}, **thresholds,
    )  # fmt: skip
    scores = {name: torch.tensor(table[name]) for name in ("clip_score", "blur_score")}
    columns = {"index": torch.arange(start, start + n)} | plan | scores
    columns |= {"hashes": pack(filters.phash(images)), "images": stored}
    return {name: column.cpu()[kept.cpu()] for name, column in columns.items()}, [r for r in table["reason"] if r]


def merge(run: str, dataset: str, *, of: int, n: int, device: torch.device | str = "cpu") -> dict:
    """Remove near-duplicates among the survivors of all shards, write what is kept in parts, and return the record.

    What is kept, and its order, is what ``filters.apply_filters`` keeps of all candidates at once. Of a survivor only
    hash, score and rank are held in memory; its image is read where the hashes propose a pair.

    Raises:
        ValueError: a number out of range.
        FileNotFoundError, ArtifactError: a shard is missing, damaged, or was drawn from other files or by other rules;
            the message names the command that draws it.
    """
    _check(n, of)
    inputs, asked = load(run, dataset, n, device)
    recipe, device = inputs["recipe"], inputs["device"]
    with runtime.measure() as cost:
        shards, counts = zip(*(load_shard(run, dataset, shard, of, asked) for shard in range(of)), strict=True)
        hashes, scores = (read(shards, name).to(device) for name in ("hashes", "clip_score"))
        images = lambda rows: data.from_uint8(read(shards, "images", rows.cpu())).to(device)
        kept = torch.ones(len(scores), dtype=torch.bool)
        with runtime.measure() as searching:
            if "duplicate" in recipe["use"].split():
                limits = {name: recipe[name] for name in ("max_distance", "min_ssim")}
                kept = better_copies(hashes, scores, images, **limits).cpu() < 0
        written = write_merged(run, dataset, n, shards, kept.nonzero()[:, 0], asked)
    metrics = {name: sum(count[name] for count in counts) for name in counts[0]}
    metrics |= {"rejected_duplicate": int((~kept).sum()), "kept": int(kept.sum()), "searching": searching["seconds"]}
    # the search holds as many bytes again as the hashes have, twice: each image's rank, and what it copies
    metrics |= {"bytes": written, "bytes_held": 3 * hashes.nbytes + scores.nbytes}
    return records.write(
        run, dataset, "shards", f"merge-{n}", metrics=metrics, inputs=asked["inputs"], cost=cost,
        parameters=asked["rule"] | {"candidates": n, "of": of},
    )  # fmt: skip


def load(run: str, dataset: str, n: int, device: torch.device | str) -> tuple[dict, dict]:
    """Return what candidates are drawn and filtered with, and what they depend on."""
    inputs = load_inputs(run, dataset, networks=VARIANTS["SEGA-Net"][1], device=device)
    rule = {name: inputs["recipe"][name] for name in RULE}
    return inputs, {"candidates": n, "block": BLOCK, "rule": rule, "inputs": inputs["digests"]}


def _check(n: int, of: int) -> None:
    """Refuse a number of shards that leaves one without a block."""
    if not 1 <= of <= -(-n // BLOCK):
        raise ValueError(f"received {n:,} candidates in {of} shards; allowed are 1 .. {max(1, -(-n // BLOCK))} shards "
                         f"of at least one candidate: each has {BLOCK:,} or more")  # fmt: skip


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Draw a shard, merge all, or say what many candidates would take."""
    parser = argparse.ArgumentParser("python -m sega_utils.shards", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("draw", "merge", "estimate"):
        command = commands.add_parser(name)
        command.add_argument("--run", default="embedded")
        command.add_argument("--dataset", default="fashion-mnist")
        many = name == "estimate"
        command.add_argument("--candidates", type=int, required=True, nargs="+" if many else None, help="of all shards")
        if not many:
            command.add_argument("--of", type=int, required=True, help="number of shards")
            command.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    commands.choices["draw"].add_argument("--shard", type=int, required=True, help="from 0 on")
    args = parser.parse_args(arguments)
    run = args.run, args.dataset
    if args.command == "estimate":
        found = records.read(*run, "shards")
        if not (rows := cost_tables.scale_rows(found, args.candidates)):
            raise ValueError(f"{len(found)} draws and merges of shards are on record; an estimate needs draws, and "
                             "merges of two sizes, on one device: make them with draw and merge")  # fmt: skip
        print(formats.aligned(rows))
        return
    options = {"of": args.of, "n": args.candidates, "device": runtime.start(0, args.device)}
    found = draw_shard(*run, args.shard, **options) if args.command == "draw" else merge(*run, **options)
    shown = ("drawn", "survivors", *(f"rejected_{name}" for name in filters.FILTERS), "kept", "seconds")
    print(formats.aligned([{name: found[name] for name in shown if name in found}]))


if __name__ == "__main__":
    sys.exit(main())
