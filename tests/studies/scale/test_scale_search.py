"""A search in jobs that share only files keeps what one process keeps; what is lost, doubled or stale is refused."""

import pytest
import torch
from torch.nn.functional import interpolate

from sega_utils import filters
from sega_utils.__main__ import main
from sega_utils.core import artifacts, records
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.filters import hashes
from sega_utils.studies import shards
from sega_utils.studies.scale import buckets, rounds, search

RUN, N, OF = ("small", "fashion-mnist"), 240, 3
RECIPE = {"max_distance": 12, "min_ssim": 0.8, "use": "duplicate"}
INPUTS = {"recipe": RECIPE, "device": "cpu"}


def candidates(n: int = N) -> dict[str, torch.Tensor]:
    """Return survivors: chains of near-duplicates with tied scores, and forty times one image, pixel by pixel."""
    rng = torch.Generator().manual_seed(3)
    images = interpolate(torch.rand(12, 1, 4, 4, generator=rng), size=32, mode="bilinear")
    images = images[torch.randint(12, (n,), generator=rng)]
    images = (images + 0.12 * torch.rand(images.shape, generator=rng)).clamp(0, 1)
    images[torch.randperm(n, generator=rng)[: n // 6]] = images[0].clone()
    stored = to_uint8(images)
    return {
        "index": torch.arange(n),
        "class_ids": torch.zeros(n, dtype=torch.int64),
        "hashes": hashes.pack(filters.phash(from_uint8(stored))),
        "clip_score": torch.randint(30, (n,), generator=rng) / 30,
        "images": stored,
    }


def write(columns: dict[str, torch.Tensor], shard: int, rows: torch.Tensor | None = None) -> None:
    """Write a shard's rows of the columns, its own if none are given."""
    n = len(columns["index"])
    rows = torch.arange(*shards.span(n, OF, shard)) if rows is None else rows
    meta = {"asked": asked(n), "counts": {"drawn": len(rows), "survivors": len(rows), "rejected": {"blur": 0}}}
    part = {name: column[rows] for name, column in columns.items()}
    artifacts.save_tensors(shards.shard_path(*RUN, shard, OF), part, meta)


def asked(n: int) -> dict:
    return {"candidates": n, "block": shards.BLOCK, "rule": {"sigma": 1.0}, "inputs": {"real": "0"}}


@pytest.fixture
def drawn(monkeypatch):
    """Write three shards, of which search takes a few candidates for very many."""
    monkeypatch.setattr(shards, "BLOCK", 20)
    monkeypatch.setattr(rounds, "FIRST", 10)
    monkeypatch.setattr(search, "_PAIRS", 50)
    monkeypatch.setattr(records, "git_commit", lambda: "unknown")  # it takes longer than a job
    monkeypatch.setattr(shards, "load_shard_inputs", lambda run, dataset, n, device: (INPUTS, asked(n)))
    for shard in range(OF):
        write(candidates(), shard)


def whole(parts: int, n: int = N) -> search.Search:
    return search.Search(*RUN, OF, n, parts)


def searched(parts: int) -> list[dict]:
    """Make all jobs of a search and return their records."""
    asked = whole(parts)
    found = [search.settle(asked, 0)]
    for round in range(rounds.rounds(N)):
        found += [search.compare(asked, round, part) for part in range(parts)]
        found.append(search.settle(asked, round + 1))
    return found


def merged(parts: int = 0) -> tuple[dict, list[bytes]]:
    """Return the record and the files of the set that is merged after a search in parts, or at once."""
    record = shards.merge(*RUN, of=OF, n=N, decided=(lambda: search.decided(whole(parts))) if parts else None)
    return record, [path.read_bytes() for path in sorted(shards.part_path(*RUN, 0).parent.iterdir())]


def test_any_number_of_parts_keeps_what_one_process_keeps(drawn):
    record, files = merged()
    assert 12 < record["kept"] < N * 2 / 3 and rounds.rounds(N) == 4
    for parts in (1, 2, 7):
        found = searched(parts)
        again, same = merged(parts)
        assert same == files and again["rejected"] == record["rejected"] and again["param_parts"] == parts
        assert found[0]["repeated"] >= N // 6 - 1, "equal images are copies before anything is compared"
        assert found[-1]["open"] == 0 and found[-1]["kept"] == record["kept"]


def test_a_bucket_of_equal_images_costs_no_more_than_one_image(drawn):
    columns = candidates()
    columns["images"][:], columns["hashes"][:] = columns["images"][0].clone(), columns["hashes"][0].clone()
    for shard in range(OF):
        write(columns, shard)
    record, files = merged()
    found = searched(3)
    assert merged(3)[1] == files and record["kept"] == 1
    assert found[0]["repeated"] == N - 1 and sum(r.get("compared", 0) for r in found) == 0


def test_equal_fingerprints_alone_make_no_copy(drawn, monkeypatch):
    columns = candidates()
    monkeypatch.setattr(torch, "randint", lambda *a, **b: torch.zeros(a[2], dtype=torch.int64))  # sums of all bytes
    columns["images"][1] = columns["images"][0].flip(-1)
    columns["images"][1, :, :, :8] = columns["images"][0].flip(-1)[:, :, :8]
    found = buckets.repeated([columns], columns["clip_score"].argsort(descending=True, stable=True))
    equal = (columns["images"].flatten(1)[:, None] == columns["images"].flatten(1)).all(2)
    order = sorted(range(N), key=lambda i: (-columns["clip_score"][i], i))
    expected = [any(equal[i, k] for k in order[: order.index(i)]) for i in range(N)]
    assert found.tolist() == expected


def test_every_close_pair_is_compared_by_one_part_alone():
    rng = torch.Generator().manual_seed(0)
    bits = torch.rand(60, 64, generator=rng) < 0.5
    bits = bits[torch.randint(60, (900,), generator=rng)] ^ (torch.rand(900, 64, generator=rng) < 0.04)
    bits[:300] = bits[0]  # a heavy bucket of each block
    rows, all_of = torch.arange(900) * 3, torch.arange(900)
    expected = {tuple(pair) for pair in ((hashes.hamming(bits, bits) <= 4).triu(1)).nonzero().tolist()}
    for parts in (1, 2, 5):
        first, slices = buckets.deal(buckets.sizes(bits, 4), parts)
        dealt = {"first": first, "slices": slices}
        found, work = [], []
        for part in range(parts):
            shares = buckets.shares(dealt, rows, bits, (all_of, all_of), part, 4, parts)
            pairs = hashes.close_hashes(bits, bits, max_distance=4, same=True, size=64, shares=shares)
            mine = [tuple(pair) for i, j in pairs for pair in zip(i.tolist(), j.tolist(), strict=True)]
            found, work = found + mine, [*work, sum(len(i) * len(j) for i, j in shares)]
        assert len(found) == len(set(found)) and set(found) == expected
        assert (slices > 1).any() == (parts > 1), "a bucket that is more than a part's share is sliced"
        assert max(work) < 1.5 * sum(work) / parts


def test_what_is_whole_is_not_done_again_and_a_killed_job_is(drawn, monkeypatch):
    first = searched(2)
    compared = []
    similar = search.similar_pairs
    monkeypatch.setattr(search, "similar_pairs", lambda *given: compared.append(1) or similar(*given))
    assert searched(2) == first and not compared
    path = whole(2).file("pairs", 1, 1)
    intact = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    path.unlink()
    with pytest.raises(FileNotFoundError, match="shard-compare --part 1 --round 1 --run small .* --parts 2"):
        search.settle(whole(2), 2)
    monkeypatch.setattr(search, "similar_pairs", killed)
    with pytest.raises(KeyboardInterrupt):
        search.compare(whole(2), 1, 1)
    assert not path.exists()
    monkeypatch.setattr(search, "similar_pairs", similar)
    search.compare(whole(2), 1, 1)
    assert path.read_bytes() == intact, "and a doubled job writes the same file"
    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    with pytest.raises(artifacts.ArtifactError, match="does not match its own digest.*shard-compare --part 1"):
        search.settle(whole(2), 2)


def test_a_lost_a_doubled_and_another_shard_are_refused(drawn):
    search.settle(whole(2), 0)
    path = shards.shard_path(*RUN, 1, OF)
    intact = path.read_bytes()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="1-of-3.safetensors is missing"):
        search.compare(whole(2), 0, 0)
    with pytest.raises(FileNotFoundError, match="1-of-3.*is missing; draw it with: .*--shard 1"):
        search.settle(whole(2), 0)
    path.write_bytes(shards.shard_path(*RUN, 0, OF).read_bytes())
    for refused in (lambda: search.settle(whole(2), 0), merged):
        with pytest.raises(artifacts.ArtifactError, match="holds the candidates 0 .. 79, but its own are 80 .. 159"):
            refused()
    write(candidates(), 1, torch.arange(80, 150))
    with pytest.raises(artifacts.ArtifactError, match="was drawn anew; begin with shard-settle --round 0"):
        search.compare(whole(2), 0, 0)
    path.write_bytes(intact)
    search.compare(whole(2), 0, 0)


def test_pairs_that_a_slow_node_found_in_another_state_are_refused(drawn):
    searched(2)
    path = whole(2).file("pairs", 0, 0)
    late = path.read_bytes()
    columns = candidates()
    columns["clip_score"] = columns["clip_score"].flip(0)
    for shard in range(OF):
        write(columns, shard)
    search.settle(whole(2), 0)
    for part in range(2):
        search.compare(whole(2), 0, part)
    path.write_bytes(late)
    with pytest.raises(artifacts.ArtifactError, match="follows from other files than are there now; make it with"):
        search.settle(whole(2), 1)
    files = merged()[1]
    searched(2)
    assert merged(2)[1] == files, "the same command goes on"


@pytest.mark.parametrize(("round", "part", "parts"), [(4, 0, 2), (-1, 0, 2), (0, 2, 2), (0, 0, 0)])
def test_numbers_out_of_range_are_refused(drawn, round, part, parts):
    with pytest.raises(ValueError, match="received"):
        search.compare(whole(parts), round, part)


def test_a_run_that_keeps_near_duplicates_is_not_searched(drawn, monkeypatch):
    monkeypatch.setitem(RECIPE, "use", "blur")
    with pytest.raises(ValueError, match="this run keeps near-duplicates"):
        search.settle(whole(2), 0)


def test_the_verbs_make_and_name_the_jobs(drawn, capsys):
    options = ["--run", RUN[0], "--candidates", str(N), "--of", str(OF), "--device", "cpu", "--parts", "1"]
    assert main(["shard-compare", *options, "--round", "0", "--part", "0"]) == 1
    assert (
        "state-0-of-1.safetensors is missing; make it with: python -m sega_utils shard-settle"
        in capsys.readouterr().err
    )
    assert main(["shard-settle", *options, "--round", "0"]) == 0
    for round in range(rounds.rounds(N)):
        assert main(["shard-compare", *options, "--round", str(round), "--part", "0"]) == 0
        assert main(["shard-settle", *options, "--round", str(round + 1)]) == 0
    assert main(["shard-merge", *options]) == 0 and "duplicate" in capsys.readouterr().out
    assert len(records.read(*RUN, search.STAGE)) == 2 * rounds.rounds(N) + 1
