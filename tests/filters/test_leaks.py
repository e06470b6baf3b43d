import io
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from sega_utils.core import runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, from_uint8, to_grey8, to_uint8
from sega_utils.filters import leaks

PLANTED = torch.arange(0, 1000, 20)  # 50 of the test images


@pytest.fixture(scope="module")
def test_images() -> torch.Tensor:
    return catalogue.load("fashion-mnist", "test").images[:1000]


def moved(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    return F.pad(images, (2, 2, 2, 2))[:, :, 2 - down : 34 - down, 2 - right : 34 - right]


def as_jpeg(images: torch.Tensor, quality: int = 70) -> torch.Tensor:
    def saved(pixels: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return from_uint8(torch.from_numpy(np.stack([saved(pixels) for pixels in to_uint8(images)[:, 0].numpy()]))[:, None])


def one_pixel(images: torch.Tensor) -> torch.Tensor:
    images = images.clone()
    images[:, :, 12, 15] = 1 - images[:, :, 12, 15]
    return images


def noisy(images: torch.Tensor) -> torch.Tensor:
    return (images + 0.03 * torch.randn(images.shape, generator=runtime.generator(0))).clamp(0, 1)


COPIES = {
    "identical": lambda x: x,
    "one pixel": one_pixel,
    "jpeg": as_jpeg,
    "brighter": lambda x: (x + 0.1).clamp(0, 1),
    "more contrast": lambda x: (1.3 * x).clamp(0, 1),
    "noisy": noisy,
    "mirrored": lambda x: x.flip(3),
    "moved by one": lambda x: moved(x, 1, 0),
    "moved by two": lambda x: moved(x, -2, 2),
    "mirrored and moved": lambda x: moved(x.flip(3), 1, -1),
    "mirrored and noisy": lambda x: noisy(x.flip(3)),
}


@pytest.mark.parametrize("name", COPIES)
def test_all_planted_copies_of_a_kind_are_found(test_images, name):
    pairs = leaks.find(COPIES[name](test_images[PLANTED]), test_images)
    assert pairs.rows.dtype == torch.int64 and len(pairs.rows) == len(pairs.kinds) == len(pairs.scores)
    found = {tuple(row): kind for row, kind in zip(pairs.rows.tolist(), pairs.kinds, strict=True)}
    mine = [found.pop((i, j), None) for i, j in enumerate(PLANTED.tolist())]
    assert None not in mine
    if name in leaks.KINDS:  # an image that is its own mirror image is called by the simpler name
        assert Counter(mine)[name] >= 40
    assert len(found) <= 12, "pairs that nobody planted"


def test_few_pairs_of_the_real_images_look_alike():
    train, test = (catalogue.load("fashion-mnist", split) for split in ("train", "test"))
    real, _ = catalogue.subset(train, 60)
    pairs = leaks.find(real.images, test.images)
    assert 5 < len(pairs.rows) < 30  # of six million
    assert (real.labels[pairs.rows[:, 0]] == test.labels[pairs.rows[:, 1]]).float().mean() > 0.9


def noise(n: int, channels: int = 1, side: int = 32, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(n, channels, side // 4, side // 4, generator=runtime.generator(seed))
    return from_uint8(to_uint8(F.interpolate(coarse, side, mode="bicubic").clamp(0, 1)))


@pytest.mark.parametrize(("channels", "side"), [(1, 32), (3, 32), (3, 64)])
def test_colours_and_larger_images_are_searched_too(channels, side):
    images = noise(30, channels, side)
    assert leaks.find(images, noise(30, channels, side, seed=1)).kinds == []
    copies = from_uint8(to_grey8(images[:5]))[:, None].expand(-1, channels, -1, -1).flip(3)
    pairs = leaks.find(copies, images)
    assert pairs.rows.tolist() == [[i, i] for i in range(5)] and set(pairs.kinds) == {"mirrored"}


def test_within_one_set_each_pair_comes_once_and_no_image_is_its_own_copy():
    images = noise(20)
    pairs = leaks.find(torch.cat([images, images[3:5], moved(images[7:8], 1, 1)]))
    assert pairs.rows.tolist() == [[3, 20], [4, 21], [7, 22]]
    assert pairs.kinds == ["identical", "identical", "moved"] and pairs.scores[:2] == [1, 1]


def test_of_flat_images_only_equal_ones_are_copies():
    flat = torch.tensor([0.0, 0.0, 0.5, 1.0])[:, None, None, None].expand(-1, 1, 32, 32)
    faint = flat[2:3] + noise(1) / 255
    pairs = leaks.find(torch.cat([flat, faint]))
    assert pairs.rows.tolist() == [[0, 1]] and pairs.kinds == ["identical"]


def test_nothing_is_found_in_nothing():
    assert leaks.find(noise(3)[:0], noise(3)).rows.shape == (0, 2)
    assert leaks.find(noise(3), noise(3)[:0]).rows.shape == (0, 2)
    with pytest.raises(ValueError, match="same channels and sides"):
        leaks.find(noise(3), noise(3, channels=3))


def test_a_survey_names_pairs_across_and_inside_splits_and_images_in_two_classes(monkeypatch):
    images = noise(12)
    train = Dataset(images[[0, 1, 2, 3, 1]], torch.tensor([0, 0, 1, 1, 1]), ("ant", "bee"))
    test = Dataset(torch.cat([images[[4, 4]], images[2:3].flip(3)]), torch.tensor([0, 0, 1]), ("ant", "bee"))
    rows = leaks.survey(train, test, ["t0", "t1", "t2", "t3", "t4"], ["s0", "s1", "s2"])
    assert [tuple(row)[:3] for row in map(dict.values, rows)] == [
        ("t2", "s2", "mirrored"),
        ("t1", "t4", "identical"),
        ("s0", "s1", "identical"),
    ]
    assert [row["classes"] for row in rows] == ["bee", "ant / bee", "ant"]
    assert [row["what to do"] for row in rows] == [
        "keep one, or put both into one split",
        "one image in two classes: keep it where it belongs, or nowhere",
        "keep one",
    ]
    assert all(tuple(row) == leaks.COLUMNS for row in rows)
    monkeypatch.setattr(leaks, "LIMIT", 2)
    assert len(leaks.survey(train, test, ["t"] * 5, ["s"] * 3)) == 2
