"""The search for near-duplicates among the survivors of all shards, in jobs that share nothing but files.

Who stays is decided in rounds from the best scores down, each of ``GROWTH`` times as many survivors as all before it.
In a round, every job compares what lies in the buckets of hashes that are dealt to it: what the last round kept with
all that are still open, and the open ones of this round with each other. Then one job follows the pairs. To join all
that pairs link would drop too many, as what copies dropped copies alone stays: pairs are followed from the best down,
and what is kept is what ``duplicates.better_copies`` keeps.

Source: Blelloch, Fineman and Shun 2012, "Greedy Sequential Maximal Independent Set and Matching are Parallel on
Average", algorithms 2 and 3.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils.core import artifacts, numbers, paths, records
from sega_utils.data.images import from_uint8
from sega_utils.filters.bands import bands_of, similar_pairs
from sega_utils.filters.hashes import close_hashes, unpack
from sega_utils.studies import shards
from sega_utils.studies.scale import buckets
from sega_utils.studies.scale.rounds import GROWTH, rounds

STAGE = "merging"
OPEN, KEPT, COPY = range(3)
_PAIRS = 2**14  # compared at a time: the images of so many, and their sums over windows, take half a gigabyte


class Search(NamedTuple):
    """Whose search: a run's ``n`` candidates in ``of`` shards, each round in ``parts`` jobs."""

    run: str
    dataset: str
    of: int
    n: int
    parts: int
    device: torch.device | str = "cpu"

    def inputs(self) -> tuple[dict, dict]:
        """Return the recipe of the run, and what the search depends on.

        Raises:
            ValueError: fewer than one part, or a run that keeps near-duplicates.
            FileNotFoundError, ArtifactError: a file or record of the run is missing or damaged.
        """
        inputs, asked = shards.load_shard_inputs(self.run, self.dataset, self.n, self.device)
        if self.parts < 1:
            raise ValueError(f"received {self.parts} parts; give at least 1")
        if "duplicate" not in inputs["recipe"]["use"].split():
            raise ValueError(
                f"this run keeps near-duplicates (it filters by {inputs['recipe']['use']}): merge it at once"
            )
        return inputs["recipe"], asked | {"of": self.of, "parts": self.parts}

    def file(self, kind: str, round: int, part: int | None = None) -> Path:
        """Return where the ``state`` before a round is kept, or the ``pairs`` that one of its jobs found."""
        folder = paths.artifact(self.run, self.dataset, "shards") / "search"
        return folder / f"{kind}-{round}{'' if part is None else f'-{part}'}-of-{self.parts}.safetensors"

    def load(self, round: int, part: int | None = None, **expected: object) -> tuple[dict[str, torch.Tensor], dict]:
        """Return such a file, if its meta says what is expected.

        Raises:
            FileNotFoundError, ArtifactError: it is missing, damaged, or follows from something else; the message names
                the command that makes it.
        """
        path = self.file("state" if part is None else "pairs", round, part)
        verb = "shard-settle" if part is None else f"shard-compare --part {part}"
        advice = (
            f"make it with: python -m sega_utils {verb} --round {round} --run {self.run} --dataset {self.dataset} "
            f"--candidates {self.n} --of {self.of} --parts {self.parts}"
        )
        if not path.exists():
            raise FileNotFoundError(f"{paths.shown(path)} is missing; {advice}")
        try:
            tensors, meta = artifacts.load_tensors(path)
        except artifacts.ArtifactError as error:
            raise artifacts.ArtifactError(f"{error}; {advice}") from error
        if any(meta.get(name) != value for name, value in expected.items()):
            raise artifacts.ArtifactError(f"{paths.shown(path)} follows from other files than are there now; {advice}")
        return tensors, meta

    def once(self, name: str, path: Path, parameters: dict, inputs: dict, meta: dict, work: Callable) -> dict:
        """Return the record of a job whose ``work`` returns the tensors of a file and metrics, unless it is done."""

        def measure() -> dict:
            tensors, metrics = work()
            return metrics | {"made": artifacts.save_tensors(path, tensors, meta)}

        def whole(record: dict) -> bool:
            found = artifacts.load_tensors(path)[1] if path.exists() else {}
            return found == meta | {"sha256": record["input_made"]}

        about = {"candidates": self.n, "of": self.of, "parts": self.parts}
        place = (self.run, self.dataset, STAGE, f"{name}-of-{self.parts}-{self.n}")
        options = {"measure": measure, "made": ("made",), "is_whole": whole}
        return records.once(*place, parameters=about | parameters, inputs=inputs, **options)


def settle(search: Search, round: int) -> dict:
    """Decide what the pairs of the round before mean, write the state before this one, and return the record.

    Before round 0 nothing is decided but that images which another has pixel by pixel are copies of it: what holds for
    the first of them by rank holds for all, so that a bucket of equal images costs no more than a single one.

    Raises:
        ValueError: a round out of range, or as ``Search.inputs``.
        FileNotFoundError, ArtifactError: a shard, the state or pairs of the round before are missing, damaged, or
            follow from other files; the message names the command that makes them.
    """
    _check(search, round, 0, last=rounds(search.n))
    recipe, asked = search.inputs()
    place, inputs = search.file("state", round), dict(asked["inputs"])
    if not round:
        loaded = [shards.load_shard(*search[:2], shard, search.of, _bare(asked)) for shard in range(search.of)]
        digests = [counts["sha256"] for _, counts in loaded]
        inputs["shards"] = artifacts.digest_json(digests)
        begin = lambda: _begin([columns for columns, _ in loaded], search, recipe)
    else:
        state, meta = search.load(round - 1, asked=asked)
        digests, before = meta["shards"], meta["sha256"]
        found = [search.load(round - 1, part, state=before) for part in range(search.parts)]
        inputs |= {"before": before, "pairs": artifacts.digest_json([meta["sha256"] for _, meta in found])}
        pairs = torch.cat([tensors["pairs"] for tensors, _ in found])
        begin = lambda: _follow(state, pairs, _open(search, digests), round - 1)

    def work() -> tuple[dict, dict]:
        tensors, metrics = begin()
        metrics |= {"kept": int((tensors["state"] == KEPT).sum()), "open": int((tensors["state"] == OPEN).sum())}
        return tensors, metrics

    meta = {"asked": asked, "round": round, "shards": digests}
    return search.once(f"settle-{round}", place, {"job": "settle", "round": round}, inputs, meta, work)


def _begin(columns: list[dict], search: Search, recipe: dict) -> tuple[dict, dict]:
    """Return the state before anything is compared, the round of every survivor, and the buckets' parts."""
    scores = shards.read_column(columns, "clip_score")
    order, n, last = scores.argsort(descending=True, stable=True), len(scores), rounds(search.n)
    level = torch.empty(n, dtype=torch.uint8)
    ends = [n // GROWTH ** (last - 1 - round) for round in range(last)]
    for round, (start, stop) in enumerate(zip([0, *ends], ends)):
        level[order[start:stop]] = round
    state = torch.where(buckets.repeated(columns, order), COPY, OPEN).to(torch.uint8)
    alive = (state == OPEN).split([len(part["index"]) for part in columns])
    hashes = (part["hashes"][rows] for part, rows in zip(columns, alive, strict=True))
    sizes = sum(buckets.sizes(unpack(some), recipe["max_distance"]) for some in hashes)
    first, slices = buckets.deal(sizes, search.parts)
    metrics = {"survivors": n, "repeated": int((state == COPY).sum()), "sliced": int((slices > 1).sum())}
    metrics |= {"largest_bucket": int(sizes.max()), "mean_bucket": float(sizes[sizes > 0].double().mean())}
    # order, fingerprints and their places have 8 bytes each, and hashes and scores 12 together
    return {"state": state, "level": level, "first": first, "slices": slices}, metrics | {"bytes_held": 64 * n}


def _follow(before: dict, pairs: torch.Tensor, columns: list[dict], round: int) -> tuple[dict, dict]:
    """Return the state after a round: of its survivors, each copy of a better one that stays is a copy, others stay."""
    state, n_pairs = before["state"].clone(), len(pairs)
    state[pairs[state[pairs[:, 0]] == KEPT, 1]] = COPY
    pairs = pairs[(state[pairs] == OPEN).all(1)]
    scores = shards.read_column(columns, "clip_score")
    swapped = scores[pairs[:, 1]] > scores[pairs[:, 0]]  # of equally scored images the first is the better
    better, worse = torch.where(swapped[:, None], pairs.flip(1), pairs).T
    turns = 0
    while len(better):
        has_better = torch.zeros(len(state), dtype=torch.bool)
        has_better[worse] = True
        state[worse[~has_better[better]]] = COPY
        undecided = (state[better] == OPEN) & (state[worse] == OPEN)
        better, worse, turns = better[undecided], worse[undecided], turns + 1
    state[(before["level"] == round) & (state == OPEN)] = KEPT
    return before | {"state": state}, {"pairs": n_pairs, "turns": turns, "bytes_held": 8 * len(state) + 32 * n_pairs}


def compare(search: Search, round: int, part: int) -> dict:
    """Find the pairs of a round in the buckets that are dealt to a part, write them, and return the record.

    Raises:
        ValueError: a round or part out of range, or as ``Search.inputs``.
        FileNotFoundError, ArtifactError: the state or a shard is missing, damaged, or follows from other files.
    """
    _check(search, round, part, last=rounds(search.n) - 1)
    recipe, asked = search.inputs()
    before, meta = search.load(round, asked=asked)

    def work() -> tuple[dict, dict]:
        columns = _open(search, meta["shards"])
        kept = (before["state"] == KEPT) & (before["level"] == round - 1)
        rows, hashes = buckets.members(columns, kept | (before["state"] == OPEN), before, part, recipe, search.parts)
        images = lambda some: from_uint8(shards.read_column(columns, "images", rows[some])).to(search.device)
        bits, hit = unpack(hashes), torch.zeros(len(rows), dtype=torch.bool)
        options = {"recipe": recipe, "images": images, "hit": hit}
        sides = [kept[rows].nonzero()[:, 0], (~kept[rows]).nonzero()[:, 0]]
        share = lambda *sides: buckets.shares(before, rows, bits, sides, part, recipe["max_distance"], search.parts)
        pairs, compared = _similar(bits, sides, share(*sides), same=False, **options)
        heads = (~kept[rows] & ~hit & (before["level"][rows] == round)).nonzero()[:, 0]
        more, again = _similar(bits, [heads, heads], share(heads, heads), same=True, **options)
        found = rows[torch.cat([pairs, more])]
        metrics = {"members": len(rows), "compared": compared + again, "pairs": len(found)}
        # of a member, its row, hash and bits, and its keys; of any survivor, state and round
        held = len(rows) * (80 + 8 * (recipe["max_distance"] + 1)) + 3 * len(kept) + found.nbytes
        return {"pairs": found}, metrics | {"bytes_held": held}

    place, about = search.file("pairs", round, part), {"job": "compare", "round": round, "part": part}
    inputs, told = asked["inputs"] | {"before": meta["sha256"]}, {"state": meta["sha256"]}
    return search.once(f"compare-{round}-{part}", place, about, inputs, told, work)


def _similar(
    bits: torch.Tensor,
    sides: list[torch.Tensor],
    shares: list,
    *,
    same: bool,
    recipe: dict,
    images: Callable[[torch.Tensor], torch.Tensor],
    hit: torch.Tensor,
) -> tuple[torch.Tensor, int]:
    """Return near-duplicates among members, int64 (K, 2), and how many pairs were compared.

    Args:
        sides: which members are compared with which; those of the first are kept unless both are the ``same``.
        hit: bool, which members a kept one is known to be near to; they are compared no more.
    """
    found, compared = [torch.empty(0, 2, dtype=torch.int64)], 0
    left, right = sides
    for i, j in _gathered(
        close_hashes(bits[left], bits[right], max_distance=recipe["max_distance"], same=same, shares=shares)
    ):
        i, j = left[i], right[j]
        i, j = i[~hit[j]], j[~hit[j]]
        if not len(i):
            continue
        rows, at = torch.stack([i, j], 1).unique(return_inverse=True)
        drawn = images(rows)
        bands = bands_of(drawn)
        similar = similar_pairs(drawn, drawn, bands, bands, *at.T.to(drawn.device), recipe["min_ssim"]).cpu()
        compared += len(i)
        found.append(torch.stack([i, j], 1)[similar])
        if not same:
            hit[j[similar]] = True
    return torch.cat(found), compared


def _gathered(pairs: Iterator) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield pairs ``_PAIRS`` at a time, fewer at the end."""
    rest = [torch.empty(0, 2, dtype=torch.int64)]
    for i, j in pairs:
        rest.append(torch.stack([i, j], 1))
        if sum(map(len, rest)) >= _PAIRS:
            *whole, last = torch.cat(rest).split(_PAIRS)
            yield from (some.T for some in whole)
            rest = [last]
    yield torch.cat(rest).T


def _open(search: Search, digests: list[str]) -> list[dict]:
    """Return the columns of all shards, of which only what is used is read, if they are those checked in round 0.

    Raises:
        FileNotFoundError, ArtifactError: one is missing or another.
    """
    files = [shards.shard_path(*search[:2], shard, search.of) for shard in range(search.of)]
    for file, digest in zip(files, digests, strict=True):
        if artifacts.stated_digest(file) != digest:
            raise artifacts.ArtifactError(f"{paths.shown(file)} was drawn anew; begin with shard-settle --round 0")
    return [artifacts.load_tensors(file, known=digest)[0] for file, digest in zip(files, digests, strict=True)]


def decided(search: Search) -> tuple[torch.Tensor, dict]:
    """Return which survivors stay after the last round, bool (N,), and the number of parts.

    Raises:
        FileNotFoundError, ArtifactError: as ``settle``.
    """
    state, _ = search.load(rounds(search.n), asked=search.inputs()[1])
    return state["state"] == KEPT, {"parts": search.parts}


def text(found: dict) -> str:
    """Return what a job has found, in aligned columns."""
    names = ("survivors", "repeated", "members", "compared", "pairs", "kept", "open", "seconds")
    return numbers.aligned([{name: found[name] for name in names if name in found}])


def _bare(asked: dict) -> dict:
    return {name: value for name, value in asked.items() if name not in {"of", "parts"}}


def _check(search: Search, round: int, part: int, *, last: int) -> None:
    if not 0 <= round <= last or not 0 <= part < max(search.parts, 1):
        raise ValueError(
            f"received round {round} and part {part}; allowed are 0 .. {last} and 0 .. {search.parts - 1} for "
            f"{search.n:,} candidates in {search.parts} parts"
        )
