"""FLARE's pool: how many of which kinds, of which sources, and never one that is a test image."""

import pytest
import torch

from sega_utils.augmenters import flare
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, take


def real_of(n=8, channels=1, mirrors=True):
    """Return images each of a grey level of its own, which neither a mirror nor a crop changes."""
    grey = torch.linspace(0.1, 0.9, n)[:, None, None, None]
    return Dataset(grey.expand(n, channels, 32, 32).contiguous(), torch.arange(n) % 2, ("a", "b"), mirrors)


def parts_of(real, k=5):
    drawn = torch.stack([real.images] * k)
    return flare.augmented(real, real.images, seed=0), flare.synthetic(real, drawn)


def counts(pool):
    return {kind: pool.kinds.count(kind) for kind in dict.fromkeys(pool.kinds)}


def test_the_paper_s_shares_give_eight_images_for_every_real_one():
    real = real_of()
    pool = flare.mix(real, *parts_of(real), alpha=0.5, beta=1.0)
    assert counts(pool) == dict.fromkeys(("original", "flip", "jitter", "t2i", "v1", "v2", "v3", "v4"), 8)
    assert len(pool.images) == 8 * 8 and pool.images.dtype == torch.float32
    assert torch.equal(pool.labels, real.labels[pool.sources])
    assert pool.sources.bincount().tolist() == [8] * 8


@pytest.mark.parametrize(
    ("alpha", "beta", "times"), [(1, 1, 11), (0.5, 0.5, 6), (0.5, 0.75, 7), (1 / 6, 0.2, 2), (0.25, 0.1, 3)]
)
def test_shares_of_kinds_are_rounded_half_up(alpha, beta, times):
    real = real_of()
    assert len(flare.mix(real, *parts_of(real), alpha=alpha, beta=beta).kinds) == 8 * times


@pytest.mark.parametrize("channels", [1, 3])
def test_versions_are_what_their_kinds_say(channels):
    rng = torch.Generator().manual_seed(0)
    real = real_of(channels=channels)._replace(images=torch.rand(8, channels, 32, 32, generator=rng))
    pool = flare.augmented(real, real.images, seed=0)
    of = lambda kind: pool.images[torch.tensor([k == kind for k in pool.kinds])]
    assert list(counts(pool)) == ["original", "flip", "jitter", "flip + jitter", "crop", "perspective"]
    torch.testing.assert_close(of("original"), real.images)
    torch.testing.assert_close(of("flip"), real.images.flip(3))
    assert all((of(kind) != real.images).any() for kind in ("jitter", "flip + jitter", "crop", "perspective"))
    assert 0 <= pool.images.min() and pool.images.max() <= 1
    again, other = (flare.augmented(real, real.images, seed=seed).images for seed in (0, 1))
    assert torch.equal(again, pool.images) and not torch.equal(other, pool.images)


def test_images_that_must_not_be_mirrored_have_four_kinds_and_none_is_a_mirror():
    real = real_of(mirrors=False)
    assert list(counts(flare.augmented(real, real.images, seed=0))) == ["original", "jitter", "crop", "perspective"]


def test_versions_that_are_drawn_anew_differ_from_step_to_step():
    rng = torch.Generator().manual_seed(0)
    images = torch.rand(6, 1, 32, 32, generator=rng)
    first, second = (flare.anew(images, mirrors=True) for _ in range(2))
    assert first.shape == images.shape and not torch.equal(first, second)


def test_the_pool_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    flare.augmented(real_of(), real_of().images, seed=5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("seed", range(25))
def test_no_source_of_a_training_row_is_a_test_image_whatever_the_split(seed):
    """Every image has a grey level of its own, so that what a row is made of is seen, and not only told."""
    rng = torch.Generator().manual_seed(seed)
    draw = lambda low, high: int(torch.randint(low, high, (), generator=rng))
    n = draw(6, 20)
    everything = real_of(n)
    train, test = catalogue.pick(everything, draw(1, n // 2), seed)
    real = take(everything, train)
    alpha, beta = (draw(2, 10) / 10 for _ in range(2))
    pool = flare.mix(real, *parts_of(real, k=draw(3, 7)), alpha=alpha, beta=beta)
    assert set(train[pool.sources].tolist()) <= set(train.tolist())
    assert not set(train[pool.sources].tolist()) & set(test.tolist())
    told = torch.tensor([kind in {"original", "flip", "crop", "t2i"} for kind in pool.kinds])
    torch.testing.assert_close(
        pool.images[told].mean((1, 2, 3)), everything.images[train][pool.sources[told]].mean((1, 2, 3))
    )


def test_rows_are_taken_and_put_together_with_all_that_is_known_of_them():
    real = real_of()
    first, second = parts_of(real)
    pool = flare.together(first, second)
    kept = flare.take(pool, pool.sources == 3)
    assert len(kept.kinds) == 11 == len(kept.images) and set(kept.labels.tolist()) == {1}


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ({"alpha": 0}, "alpha is 0; allowed are 0 .. 1, 0 excluded"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"beta": float("nan")}, "beta is nan"),
        ({"alpha": 0.05}, "alpha 0.05 of 6 kinds is less than one; allowed are 0.0833333 .. 1"),
    ],
)
def test_shares_that_are_none_are_refused(shares, message):
    real = real_of()
    with pytest.raises(ValueError, match=message):
        flare.mix(real, *parts_of(real), **{"alpha": 0.5, "beta": 1.0} | shares)


def test_parts_that_are_not_of_these_images_are_refused():
    real, shares = real_of(), {"alpha": 0.5, "beta": 1.0}
    first, second = parts_of(real)
    empty = flare.take(second, torch.zeros(len(second.kinds), dtype=torch.bool))
    for wrong, message in (
        (empty, "drawn has no rows; give at least one kind"),
        (second._replace(labels=1 - second.labels), "drawn has labels other than those of its sources"),
        (second._replace(sources=second.sources + 1), "drawn has sources 1 .. 8; there are 8 real images"),
        (second._replace(images=second.images[1:]), r"images, labels, kinds and sources of \[39, 40, 40, 40\] rows"),
        (second._replace(images=second.images.expand(-1, 3, -1, -1)), r"restored images are \(1, 32, 32\), drawn ones"),
        (first, "swap them"),
    ):
        with pytest.raises(ValueError, match=message):
            flare.mix(real, first, wrong, **shares)
    with pytest.raises(ValueError, match="received 3 images for 8 real ones"):
        flare.augmented(real, real.images[:3], seed=0)
    with pytest.raises(ValueError, match="with at least one kind"):
        flare.synthetic(real, torch.zeros(0, 8, 1, 32, 32))
    with pytest.raises(ValueError, match="images must be a float32 tensor"):
        flare.augmented(real, real.images * 2, seed=0)


def test_the_rows_of_the_highest_score_are_taken_in_each_class_and_the_first_of_equal_ones():
    real = real_of()
    pool, _ = parts_of(real)
    score = torch.zeros(len(pool.labels))
    score[pool.sources == 7] = 1.0
    found = flare.highest(pool, 0.5, score)
    assert found.labels.bincount().tolist() == [12, 12]  # of six kinds three, of four images a class
    assert (found.sources == 7).sum() == 6 and found.sources[found.labels == 0].tolist() == [0, 2, 4, 6] * 3
    for wrong in (score[1:], torch.full_like(score, float("nan"))):
        with pytest.raises(ValueError, match="score must be finite and .48,.; received"):
            flare.highest(pool, 0.5, wrong)


def test_pools_of_what_is_no_image_and_empty_ones_are_refused():
    real = real_of()
    restored, drawn = parts_of(real)
    broken = drawn._replace(images=drawn.images * float("nan"))
    with pytest.raises(ValueError, match="images of drawn must be a float32 tensor .* look for NaN"):
        flare.mix(real, restored, broken, alpha=0.5, beta=1.0)
    with pytest.raises(ValueError, match="of a pool without a row"):
        flare.share_of(flare.take(restored, torch.zeros(48, dtype=torch.bool)), 0.5)
    with pytest.raises(ValueError, match="share is 'half'; allowed are 0 .. 1"):
        flare.share_of(restored, "half")
