"""Shards give what all candidates at once give, whatever their number; what is missing or does not fit is refused."""

import os
import shutil
import subprocess
import sys

import pytest
import test_snakefile
import torch
from torch.nn.functional import interpolate

from sega_utils import filters
from sega_utils.__main__ import main
from sega_utils.augmenters import base, pools, sega
from sega_utils.augmenters.base import generate, save_generator
from sega_utils.augmenters.sega import build_projector, save_projector
from sega_utils.core import artifacts, paths, records, schema
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.filters import duplicates, hashes, rules
from sega_utils.report import tables
from sega_utils.studies import grid_results, shards
from sega_utils.studies.scale import plan
from sega_utils.text import clip

RUN, N = ("small", "fashion-mnist"), 150
RECIPE = {
    "draw_seed": 2,
    "sigma": 1.0,
    "alignment_percentile": 20,
    "blur_percentile": 20,
    "max_distance": 8,
    "min_ssim": 0.9,
    "use": "alignment blur real_duplicate duplicate",
}


@pytest.fixture
def run(tiny, prompts, clip_model, generator, monkeypatch):
    """Write what shards read: eight blocks of candidates, some of which each filter rejects."""
    torch.manual_seed(0)
    place = lambda name: paths.artifact(*RUN, name)
    embeddings = {"class_embeddings": prompts["centroids"][::2].contiguous()}
    artifacts.save_tensors(place("prompts"), prompts | embeddings, {"prompts": ["a bag"] * len(prompts["class_ids"])})
    save_generator(place("generator"), generator, {})
    save_projector(place("projector"), build_projector(clip_model.dim, generator.z_dim), {})
    monkeypatch.setattr(clip, "load_run_clip", lambda *_: clip_model)
    monkeypatch.setattr(pools, "recipe_of", lambda *_: RECIPE)
    monkeypatch.setattr(shards, "BLOCK", 20)
    images = to_uint8(generate(generator, tiny.labels, seed=9))
    save = lambda: artifacts.save_tensors(
        place("real"), {"images": images, "labels": tiny.labels}, {"class_names": list(tiny.class_names)}
    )
    save()
    images[:9] = candidates()[1][60:69]
    save()
    pools.load_inputs.cache_clear()


def candidates():
    """Return the inputs, all images at once, and their plan, drawn as in 04_synthesis."""
    inputs = pools.load_inputs(*RUN, pools.VARIANTS["SEGA-Net"][1]) | {"recipe": RECIPE}
    plan = base.plan(inputs["prompts"]["class_ids"], N, seed=RECIPE["draw_seed"])
    drawn = sega.draw(
        inputs["generator"],
        inputs["projector"],
        embeddings=inputs["prompts"]["embeddings"],
        sigma=RECIPE["sigma"],
        **plan,
    )
    return inputs, to_uint8(drawn), plan


def at_once():
    """Return what the filters keep of all candidates at once, and the table of all."""
    inputs, stored, plan = candidates()
    images = from_uint8(stored)
    scores = filters.class_scores(images, clip=inputs["clip"], class_embeddings=inputs["class_embeddings"])
    kept, table = filters.apply_filters(
        images,
        plan["class_ids"],
        class_scores=scores,
        real_images=inputs["real"].images,
        use=RECIPE["use"].split(),
        max_distance=RECIPE["max_distance"],
        min_ssim=RECIPE["min_ssim"],
        **rules.thresholds(inputs, RECIPE),
    )
    columns = plan | {
        "index": torch.arange(N),
        "images": stored,
        "clip_score": torch.tensor(table["clip_score"]),
        "hashes": hashes.pack(filters.phash(images)),
    }
    return {name: column[kept] for name, column in columns.items()}, table["reason"]


def draw(of, n=N):
    return [shards.draw_shard(*RUN, shard, of=of, n=n) for shard in range(of)]


def merged():
    """Return the parts of the merged set by name, as they are on disk."""
    return {path.name: path.read_bytes() for path in sorted(shards.part_path(*RUN, 0).parent.iterdir())}


@pytest.mark.parametrize("part", [7, 1000])
def test_any_number_of_shards_gives_what_all_at_once_give(run, part, monkeypatch):
    monkeypatch.setattr(shards, "PART_SIZE", part)
    expected, reasons = at_once()
    assert set(reasons) == {"", *RECIPE["use"].split()}, "each filter rejects some"
    found = {}
    for of in (1, 2, 7):
        drawn, record = draw(of), shards.merge(*RUN, of=of, n=N)
        found[of] = merged()
        assert sum(r["drawn"] for r in drawn) == N and all(r["drawn"] for r in drawn)
        assert record["rejected"] == {name: reasons.count(name) for name in filters.FILTERS}
        assert record["kept"] == reasons.count("") == record["survivors"] - record["rejected"]["duplicate"]
    assert found[1] == found[2] == found[7] and len(found[1]) == -(-reasons.count("") // part)
    parts = [artifacts.load_tensors(shards.part_path(*RUN, k))[0] for k in range(len(found[1]))]
    for name, column in expected.items():  # the scores of another batch may differ in the last digit
        whole = torch.cat([part[name] for part in parts])
        torch.testing.assert_close(whole, column, rtol=0, atol=1e-6 if name == "clip_score" else 0)


@pytest.mark.parametrize("stripe", [1, 7, 64, 1000])
def test_copies_of_better_ones_are_those_of_all_pairs_whatever_the_stripes(stripe):
    rng = torch.Generator().manual_seed(3)
    images = interpolate(torch.rand(12, 1, 4, 4, generator=rng), size=32, mode="bilinear")
    images = images[torch.randint(12, (90,), generator=rng)]
    images = (images + 0.1 * torch.rand(images.shape, generator=rng)).clamp(0, 1)
    scores = torch.randint(20, (90,), generator=rng) / 20  # with ties
    rule = {"max_distance": 16, "min_ssim": 0.8}
    near = set(map(tuple, filters.near_duplicates(images, **rule).tolist()))
    expected, kept = [-1] * 90, []
    for i in sorted(range(90), key=lambda i: (-scores[i], i)):
        expected[i] = next((k for k in kept if (min(i, k), max(i, k)) in near), -1)
        kept += [i] * (expected[i] < 0)
    assert len(kept) > 12, "copies of removed copies stay"
    found = duplicates.better_copies(
        hashes.pack(filters.phash(images)), scores, lambda rows: images[rows], stripe=stripe, **rule
    )
    assert found.tolist() == expected


def test_packed_hashes_have_eight_bytes_and_unpack_to_the_same():
    bits = torch.rand(100, 64, generator=torch.Generator().manual_seed(0)) < 0.5
    packed = hashes.pack(bits)
    assert packed.nbytes == 800 and torch.equal(hashes.unpack(packed), bits)


def test_a_part_of_a_plan_is_that_part_of_the_whole():
    class_ids = torch.tensor([0, 1, 2, 0, 1, 2, 2, 2])
    whole, part = base.plan(class_ids, 100, seed=1), base.plan(class_ids, 30, seed=1, start=41)
    assert all(torch.equal(part[name], whole[name][41:71]) for name in whole)


def test_a_whole_shard_is_not_drawn_again_and_any_other_is(run, monkeypatch):
    first = draw(2)
    drawn = []
    block = shards.draw_block
    monkeypatch.setattr(shards, "draw_block", lambda *given: drawn.append(given[1]) or block(*given))
    assert draw(2) == first and not drawn
    path = shards.shard_path(*RUN, 1, 2)
    intact = path.read_bytes()
    path.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    draw(2)
    assert drawn == [80, 100, 120, 140] and path.read_bytes() == intact, "the damaged one"
    monkeypatch.setitem(RECIPE, "sigma", 0.5)
    draw(2)
    assert len(drawn) == 4 + 8, "both, by another rule"


def test_what_cannot_be_merged_names_the_command(run, monkeypatch, capsys):
    command = "python -m sega_utils shard-draw --run small --dataset fashion-mnist --candidates 150 --shard 1 --of 2"
    draw(2)
    path = shards.shard_path(*RUN, 1, 2)
    whole = path.read_bytes()
    path.unlink()
    arguments = ["shard-merge", "--run", RUN[0], "--candidates", str(N), "--of", "2", "--device", "cpu"]
    assert main(arguments) == 1
    assert f"1-of-2.safetensors is missing; draw it with: {command}" in capsys.readouterr().err
    path.write_bytes(whole[:-100])
    with pytest.raises(artifacts.ArtifactError, match=f"damaged.*{command}"):
        shards.merge(*RUN, of=2, n=N)
    path.write_bytes(whole)
    shards.draw_shard(*RUN, 1, of=2, n=N - 20)
    with pytest.raises(artifacts.ArtifactError, match=f"was drawn for other candidates; .*{command}"):
        shards.merge(*RUN, of=2, n=N)
    assert main(["shard-draw", *arguments[1:], "--shard", "1"]) == 0
    assert main(arguments) == 0 and "kept" in capsys.readouterr().out
    monkeypatch.setitem(RECIPE, "sigma", 0.5)
    with pytest.raises(artifacts.ArtifactError, match="0-of-2.safetensors was drawn for other rule; .*--shard 0"):
        shards.merge(*RUN, of=2, n=N)


@pytest.mark.parametrize(
    ("shard", "of", "n", "message"),
    [
        (2, 2, N, "received shard 2 of 2; allowed are 0 .. 1"),
        (-1, 2, N, "received shard -1 of 2"),
        (0, 9, N, "received 150 candidates in 9 shards; allowed are 1 .. 8"),
        (0, 0, N, "in 0 shards"),
        (0, 1, 0, "received 0 candidates in 1 shards"),
    ],
)
def test_numbers_out_of_range_are_refused(run, shard, of, n, message):
    with pytest.raises(ValueError, match=message):
        shards.draw_shard(*RUN, shard, of=of, n=n)
    if "received shard" not in message:
        with pytest.raises(ValueError, match=message):
            shards.merge(*RUN, of=of, n=n)


STAND_IN = """
import os
import sys
from sega_utils.core import paths
command, given = sys.argv[1].removeprefix("shard-"), dict(zip(sys.argv[2::2], sys.argv[3::2]))
with open(paths.ROOT / "executed", "a") as log:
    print(command, *given.values(), file=log)
folder = paths.artifact(given["--run"], given["--dataset"], "shards")
names = {
    "draw": "{--shard}-of-{--of}.safetensors",
    "settle": "search/state-{--round}-of-{--parts}.safetensors",
    "compare": "search/pairs-{--round}-{--part}-of-{--parts}.safetensors",
    "merge": "merge-{--candidates}.json",
}
if command == "compare" and given["--round"] == given["--part"] == "1" and not (paths.ROOT / "killed").exists():
    (paths.ROOT / "killed").touch()
    os.kill(os.getpid(), 9)
if command == "settle" and given["--round"] == "2":
    assert len(list((folder / "search").glob("pairs-1-*"))) == int(given["--parts"])
if command == "merge":
    assert len(list(folder.glob("*.safetensors"))) == int(given["--of"])
    folder = paths.artifact(given["--run"], given["--dataset"], "records") / "shards"
file = folder / names[command].format(**given)
file.parent.mkdir(parents=True, exist_ok=True)
file.write_text(str(given))
"""


def test_snakemake_draws_each_shard_once_and_merges_last(tmp_path):
    root = test_snakefile.build(tmp_path / "project")
    shutil.copy(paths.ROOT / "shards.smk", root)
    shutil.copytree(paths.ROOT / "profiles", root / "profiles")
    (root / "sega_utils" / "__main__.py").write_text(STAND_IN)
    environment = os.environ | {"PYTHONPATH": str(root), "SEGA_RESULTS": str(root / "results")}

    def make(*config):
        (root / "executed").unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            "shards.smk",
            "--workflow-profile",
            "profiles/paper",
            "--cores",
            "2",
            "--config",
            *config,
        ]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
        log = root / "executed"
        return done, log.read_text().splitlines() if log.exists() else []

    told = "embedded fashion-mnist 50000 3"
    done, lines = make("candidates=50000", "of=3")
    assert done.returncode == 0, done.stderr
    shards_of = [line for line in lines if line.startswith(("draw", "merge"))]
    assert lines[:-4] and not any(line.startswith("05") for line in lines), "the run is made, up to 04_synthesis"
    assert sorted(shards_of[:-1]) == [f"draw {told} {k}" for k in range(3)] and shards_of[-1] == f"merge {told}"
    assert make("candidates=50000", "of=3")[1] == []
    (root / "results/embedded/fashion-mnist/shards/1-of-3.safetensors").unlink()
    assert make("candidates=50000", "of=3")[1] == []  # what is merged needs no shards
    assert len(make("candidates=60000", "of=3")[1]) == 4
    done, lines = make("candidates=8000", "of=3", "parts=2")
    assert done.returncode == 0, done.stderr
    rounds, searched = 2, [line.split()[0] for line in lines]
    assert searched.count("settle") == rounds + 1 and searched[-1] == "merge" and lines[-1].endswith(" 2")
    assert searched.count("compare") == 2 * rounds + 1, "the one that was killed is made again"
    failed, lines = make("of=3")
    assert failed.returncode and not lines and "say how many" in failed.stdout + failed.stderr


def test_the_estimate_follows_the_records(run, capsys):
    arguments = ["shard-estimate", "--run", RUN[0], "--candidates", "1000000"]
    assert main(arguments) == 1 and "0 draws and merges of shards are on record" in capsys.readouterr().err
    draw(1)
    shards.merge(*RUN, of=1, n=N)
    assert main(arguments) == 1 and "2 draws and merges of shards are on record" in capsys.readouterr().err
    draw(1, n=60)
    shards.merge(*RUN, of=1, n=60)
    assert main(arguments) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].startswith("1000000") and out[2:] == ["", "none on record"], "no search in parts is on record"
    table = artifacts.load_csv(tables.write_tables(*RUN)["scale"])
    assert [(row["candidates"], row["device"]) for row in table] == [
        (n, records.read(*RUN, "shards")[0]["device"]) for n in ("1000000", "100000000")
    ]
    record = records.read(*RUN, "shards")[0] | {"device": "a GPU"}
    artifacts.save_json(records.path(*RUN, "shards", record["name"]), schema.sealed(record))
    assert not grid_results.on_gpu(paths.results_root()), "the grid has no such jobs"


def test_a_device_without_merges_of_two_sizes_has_no_row():
    draw, merge = (
        {"device": "a", "drawn": 1, "survivors": 1, "seconds": 1.0, "bytes": 1} | more for more in ({}, {"kept": 1})
    )
    assert plan.scale_rows([], [10]) == plan.scale_rows([draw, merge], [10]) == []
    assert plan.scale_rows([merge, merge | {"survivors": 2}], [10]) == []


def test_a_scale_is_extrapolated_by_the_powers_between_the_two_largest_merges():
    draws = [
        {"device": "a", "drawn": 1000, "survivors": 500, "seconds": 3.6, "bytes": 500 * 2**10, "peak_memory_gb": 1.5}
    ] * 2
    merges = [
        {
            "device": "a",
            "survivors": n,
            "kept": 10 * n**0.5,
            "searching": n**2 / 1e6,
            "seconds": n**2 / 1e6 + 1,
            "bytes": 10 * n**0.5 * 2**10,
            "bytes_held": 28 * n,
            "peak_memory_gb": 2.0,
        }
        for n in (10_000, 2500, 100)
    ]
    merges[2] |= {"searching": 3.0, "kept": 90}  # of so few, the search takes what it takes to begin
    row, huge = plan.scale_rows(draws + merges, [20_000, 100_000_000])
    assert (row["survivors"], row["kept"], row["drawing_hours"]) == (10_000, 1000, pytest.approx(0.02))
    assert row["search_exponent"] == pytest.approx(2) and row["merging_hours"] == pytest.approx(101 / 3600)
    assert row["disk_gb"] == pytest.approx(11_000 / 2**20) and row["shard_memory_gb"] == 1.5
    assert row["merge_memory_gb"] == pytest.approx(2 + 280_000 / 2**30) and row["machines_for_a_day"] == 1
    assert huge["machines_for_a_day"] == 5 and huge["drawing_hours"] == pytest.approx(100)
    assert huge["merging_hours"] == pytest.approx((2500 * 1e6 + 5000) / 3600)
