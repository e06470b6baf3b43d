"""Two more ways to choose among kept images, and the controls that drop as many at random."""

import pytest
import torch

from sega_utils.augmenters import pools
from sega_utils.data.images import Dataset, to_uint8
from sega_utils.studies import altered, entries, sift


@pytest.fixture
def inputs(monkeypatch):
    """Features are an image's mean and spread; real images are light, and so is every second synthetic one."""
    rng = torch.Generator().manual_seed(0)
    level = lambda n, high: torch.rand(n, 1, 16, 16, generator=rng) * 0.2 + (0.7 if high else 0.1)
    monkeypatch.setattr(sift, "embed", lambda clip, x: torch.stack((x.mean((1, 2, 3)), x.std((1, 2, 3))), 1))
    real = Dataset(level(20, True), torch.arange(20) % 2, ("a", "b"))
    pool = {"images": to_uint8(torch.cat((level(8, True), level(8, False)))), "class_ids": torch.arange(16) % 2}
    return {"real": real, "clip": None}, pool


def test_the_density_ratio_keeps_of_each_class_the_half_that_looks_real(inputs):
    known, pool = inputs
    stay = sift.densest(known, pool["images"], pool["class_ids"])
    assert stay.tolist() == [True] * 8 + [False] * 8


def test_a_teacher_keeps_the_images_whose_class_it_names(inputs, monkeypatch):
    known, pool = inputs
    given = {}
    monkeypatch.setattr(sift.classifiers, "train_classifier", lambda real, **options: given.update(options))
    monkeypatch.setattr(sift.classifiers, "predict", lambda model, x: (x.mean((1, 2, 3)) > 0.5).long())
    stay = sift.known(known, pool["images"], pool["class_ids"])
    assert stay.tolist() == [c == light for light in (1, 0) for c in [0, 1] * 4]
    assert given["mixing"] == "cutmix" and given["steps"] == 1000


@pytest.mark.parametrize("name", sift.SIFTS)
def test_the_control_drops_as_many_of_each_class_of_what_the_filters_keep(inputs, monkeypatch, name):
    known, pool = inputs
    kept = torch.arange(16) % 8 != 3
    monkeypatch.setattr(pools, "judge", lambda *args: (kept, {}))
    monkeypatch.setitem(sift.SIFTS, name, lambda known, images, class_ids: torch.arange(len(images)) < 5)
    recipe = {"choice": "filtered", "draw_seed": 0}
    chosen, control = (
        altered.keep(pool, known, recipe | entries.SIFT_ROWS[row]) for row in (name, f"random as {name}")
    )
    count = lambda mask: pool["class_ids"][mask].bincount(minlength=2).tolist()
    assert chosen.nonzero()[:, 0].tolist() == [0, 1, 2, 4, 5] and count(chosen) == count(control)
    assert not (control & ~kept).any() and not torch.equal(chosen, control)
