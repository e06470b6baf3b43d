import judged_folders as drawn
import pytest
import tiny_outside
import torch

from sega_utils.core import artifacts, paths
from sega_utils.data import outside
from sega_utils.studies.judge import (
    arms as judge_arms,
    folder as judge_folder,
    gate as judge_gate,
    instruments,
    outside as judge_outside,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder of shapes."""
    monkeypatch.setattr(outside, "load", tiny_outside.patches)
    drawn.write(tmp_path / "shapes", "train", 9, seed=0)
    drawn.write(tmp_path / "shapes", "test", 4, seed=1)
    return tmp_path / "shapes"


PLAN = drawn.TINY._replace(backbone="patches", augmenters={"real": {}, "noise": {}})


def looked_at(root) -> tuple[str, judge_folder.Pictures, judge_folder.Judged]:
    dataset = f"{paths.OWN}{root}"
    pictures, place = judge_folder.look(root), judge_folder.place("judge", dataset)
    judge_folder.store(place, pictures, *judge_folder.split(place / "split.csv", pictures), 32)
    return dataset, pictures, judge_folder.load(place)


def keep(dataset: str, name: str, images: torch.Tensor, labels: torch.Tensor) -> None:
    pool = {"images": (images * 255).byte(), "class_ids": labels, "nearest": torch.full((len(labels),), -1)}
    file = judge_arms.pool_file(judge_folder.place("judge", dataset), name, "r0f0", 0)
    artifacts.save_tensors(file, pool, {})


def test_the_gate_is_asked_once_more_in_outside_features_and_noise_does_not_pass(folder, monkeypatch):
    dataset, _, judged = looked_at(folder)
    _, held = judge_arms.part_of(judged, "r0f0")
    real, labels = judged.data.images[held], judged.data.labels[held]
    keep(dataset, "real", real, labels)
    keep(dataset, "noise", torch.rand(real.shape, generator=torch.Generator().manual_seed(0)), labels)
    found = instruments.gates("judge", dataset, PLAN)
    assert list(found) == ["real", "noise"] and found["noise"]["passed"] == 0
    assert found["real"]["agreement"] == found["real"]["agreement_real"]
    assert found["real"]["precision"] > found["noise"]["precision"] and found["real"]["param_backbone"] == "patches"
    monkeypatch.setattr(judge_gate, "at_the_gate", lambda *args: pytest.fail("it is on record"))
    assert instruments.gates("judge", dataset, PLAN) == found


def test_pictures_nearer_than_mirror_images_usually_are_may_be_twins(folder, monkeypatch):
    dataset, pictures, _ = looked_at(folder)
    points = torch.eye(39, 64)
    points[30] = points[5] + 0.1 * points[6]
    monkeypatch.setattr(judge_outside, "features_of", lambda *args: points)
    monkeypatch.setattr(outside, "features", lambda known, images: points + 0.5 * points.roll(1, 0))
    (row,) = instruments.twins("judge", dataset, PLAN, pictures)
    name = lambda i: pictures.files[i].relative_to(folder).as_posix()
    assert (row["a"], row["b"]) == (name(5), name(30)) and row["distance"] == pytest.approx(0.216, abs=0.01)
    assert row["classes"] == "bar", "both are bars, one of the test"


def test_pairs_that_are_near_are_found_once_each_across_blocks():
    points = torch.arange(1200.0)[:, None]
    points[1100] = 3.25
    found = list(instruments.near(points, 0.5))
    assert found == [(3, 1100, 0.25)]
