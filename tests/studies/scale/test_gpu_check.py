"""A check of a machine keeps its deadline, names what did not fit, and leaves records that tables read."""

from types import SimpleNamespace

import pytest
import tiny_pipeline
import torch

from sega_utils.__main__ import main
from sega_utils.core import records
from sega_utils.data import catalogue
from sega_utils.studies.scale import gpu_check

RUN = ("check", "fashion-mnist")
TINY = {"images": 60, "classifier": "resnet8-half", "batch_size": 8, "epochs": 1, "drawn": 12, "trial": 2}
TINY |= {"peaks": {"side": 64, "megabytes": 1}}


@pytest.fixture
def data(monkeypatch):
    """Let the data set be a few of its images."""
    load = catalogue.load
    few = {split: catalogue.subset(load("fashion-mnist", split), 4)[0] for split in ("train", "test")}
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: few[split])


def check(minutes: float, parts: list[str]) -> list[dict]:
    return gpu_check.check(*RUN, minutes=minutes, parts=parts, device=torch.device("cpu"), sizes=TINY)


def test_every_part_leaves_a_record_with_seeds_versions_and_device(data, tmp_path):
    sizes = gpu_check.SIZES | TINY | {"pipeline": str(tiny_pipeline.write(tmp_path))}
    loaded = tuple(catalogue.load("fashion-mnist", split) for split in ("train", "test"))
    for part in gpu_check.PARTS:
        assert gpu_check.measure(*RUN, part, loaded, 0.5, sizes, torch.device("cpu")) == part
    found = records.read(*RUN, gpu_check.STAGE)
    assert all(r["param_seed"] == 0 and r["device"] and r["version_torch"] for r in found)
    table = gpu_check.rows(found)
    quantities = {(row["part"], row["quantity"]) for row in table}
    for part, quantity in (
        ("kernels", "phash_per_second"),
        ("resnet18", "accuracy_with_synthetic"),
        ("gan", "images_per_second"),
        ("ddpm", "steps_per_second"),
        ("stable-diffusion", "seconds_per_image"),
    ):
        assert (part, quantity) in quantities
    assert any(quantity.startswith("frechet after") for _, quantity in quantities)
    assert all(row["value"] >= 0 and tuple(row) == gpu_check.ROWS for row in table)


def test_the_deadline_is_kept_and_what_does_not_fit_is_named(data, monkeypatch):
    clock, shares = [0.0], []

    def slow(data, seconds, sizes, device):
        shares.append(seconds)
        clock[0] += 2 * seconds if len(shares) == 1 else seconds  # the first takes twice what it is given
        return {"n": 1}

    monkeypatch.setattr(gpu_check, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(gpu_check, "PARTS", {name: (1, slow) for name in "abc"} | {"d": (0.03, slow)})
    rows = check(1, list("abcd"))
    assert shares == pytest.approx([60 / 3.03, (60 - 120 / 3.03) / 2.03] + [(60 - 120 / 3.03) / 2.03])
    assert [row["found"] for row in rows[:3]] == ["a", "b", "c"] and clock[0] <= 60
    assert rows[3]["found"] == "left out: 0 s are left for it"


def test_what_a_machine_lacks_is_named_and_the_rest_measured(data, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    small = lambda *_: {"n": 1}
    parts = {"kernels": (1, full), "gan": (1, small), "stable-diffusion": gpu_check.PARTS["stable-diffusion"]}
    monkeypatch.setattr(gpu_check, "PARTS", parts)
    first, second, last = check(0.2, list(parts))
    assert "OutOfMemoryError: CUDA out of memory" in first["found"] and second["found"] == "gan"
    assert "FileNotFoundError: no weights are named; give --pipeline FOLDER" in last["found"]
    assert [record["name"] for record in records.read(*RUN, gpu_check.STAGE)] == ["gan"]


def test_the_verb_refuses_what_it_does_not_know(data, capsys):
    assert main(["gpu-check", "--parts", "colour", "--device", "cpu"]) == 1
    assert "allowed are more than 0 and kernels, resnet18" in capsys.readouterr().err
