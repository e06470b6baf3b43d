"""Quality of synthetic images: hand-computable sets, torch-fidelity and scipy as references, and what is refused."""

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from torch_fidelity import metric_fid, metric_prc

from sega_utils.augmenters import base
from sega_utils.evaluation import quality


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


def test_density_and_coverage_by_hand():
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    drawn = torch.tensor([[0.5], [1.5], [30.0]])
    # k = 1, reach of the real: 1, 1, 1, 8. 0.5 is inside 0 and 1, 1.5 inside 1 and 2; 10 reaches 2 .. 18: neither
    found = quality.density_coverage(real, drawn, k=1)
    assert found == {"density": pytest.approx(4 / 3), "coverage": 0.75}


def test_one_outlier_among_the_real_images_raises_precision_but_hardly_density(rng):
    real, drawn = torch.randn(60, 2, generator=rng), torch.randn(60, 2, generator=rng) + 8
    lone = torch.cat((real, torch.tensor([[20.0, 20.0]])))
    before, after = (base.precision_recall(r, drawn)["precision"] for r in (real, lone))
    assert before < 0.1 and after > 0.9
    assert quality.density_coverage(lone, drawn)["density"] < 0.3


def test_of_equally_distributed_images_density_and_coverage_are_what_is_expected(rng):
    real, drawn = torch.randn(2, 600, 3, generator=rng).unbind(0)
    found = quality.density_coverage(real, drawn)
    # Naeem et al. 2020, lemma 2: 1 - (N - 1) ... (N - k) / ((2N - 1) ... (2N - k))
    expected = 1 - np.prod([(600 - i) / (1200 - i) for i in range(1, 6)])
    assert found["density"] == pytest.approx(1, abs=0.1) and found["coverage"] == pytest.approx(expected, abs=0.04)


def test_precision_recall_and_distance_are_those_of_torch_fidelity(rng):
    real, drawn = torch.randn(90, 5, generator=rng), torch.randn(70, 5, generator=rng) * 0.7 + 0.3
    found = metric_prc.prc_features_to_metric(drawn, real, prc_neighborhood=3, prc_batch_size=1000, verbose=False)
    ours = base.precision_recall(real, drawn)
    assert ours["precision"] == pytest.approx(found["precision"]) and ours["recall"] == pytest.approx(found["recall"])
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (drawn, real)]
    theirs = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert base.frechet_distance(real, drawn) == pytest.approx(theirs, rel=1e-3)


def test_agreement_and_copies_are_shares(tiny):
    predict = lambda images: torch.zeros(len(images), dtype=torch.int64)
    assert quality.agreement(predict, tiny.images, tiny.labels) == pytest.approx(1 / 3)
    copies = torch.cat((tiny.images[:3], torch.rand(9, 1, 32, 32, generator=torch.Generator().manual_seed(1))))
    assert quality.duplicate_share(copies, tiny.images, max_distance=4, min_ssim=0.95) == 0.25
    assert quality.duplicate_share(copies[:0], tiny.images, max_distance=4, min_ssim=0.95) == 0.0


def test_all_measures_of_copies_and_of_noise(tiny):
    options = {
        "real": tiny.images,
        "training": tiny.images,
        "features": lambda x: torch.nn.functional.avg_pool2d(x, 8).flatten(1),
        "predict": lambda x: (x.flatten(1) @ tiny.images.flatten(1).T).argmax(1) % 3,
        "max_distance": 4,
        "min_ssim": 0.95,
    }
    copies = quality.measure(tiny.images, tiny.labels, **options)
    assert copies["frechet"] == pytest.approx(0, abs=1e-4) and copies["duplicates"] == 1 and copies["n"] == 36
    assert copies["precision"] == copies["recall"] == copies["coverage"] == 1
    noise = torch.rand(50, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    found = quality.measure(noise, torch.arange(50) % 3, **options)
    assert found["precision"] == found["duplicates"] == 0 and found["n"] == 36 and found["agreement"] < 0.6
    assert found["frechet"] > 0.1 and found == quality.measure(noise, torch.arange(50) % 3, **options)


def test_too_few_images_and_no_images_are_refused(tiny):
    with pytest.raises(ValueError, match="received 5 real and 9 drawn images; give more than k = 5"):
        quality.density_coverage(torch.rand(5, 2), torch.rand(9, 2))
    options = {"real": tiny.images, "training": tiny.images, "features": None, "predict": None}
    with pytest.raises(ValueError, match="look for NaN"):
        quality.measure(tiny.images * float("nan"), tiny.labels, max_distance=4, min_ssim=0.9, **options)


# rank correlation


@pytest.mark.parametrize("n", [4, 7, 30])
def test_the_correlation_is_spearmans_with_ties(n):
    rng = np.random.default_rng(n)
    a, b = rng.integers(0, 5, n) + 0.0, rng.normal(size=n)
    a[0], a[1] = 0, 9
    found = quality.rank_correlation(a.tolist(), b.tolist(), resamples=200)
    assert found["rho"] == pytest.approx(scipy.stats.spearmanr(a, b).statistic) and found["n"] == n
    assert -1 <= found["ci_low"] <= found["ci_high"] <= 1
    if n == 30:
        assert found["p"] == pytest.approx(scipy.stats.spearmanr(a, b).pvalue, abs=0.03)


def test_the_chance_of_few_points_is_counted_over_all_orders():
    quality_of, gain = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 3.0, 5.0, 4.0]
    rho = scipy.stats.spearmanr(quality_of, gain).statistic
    all_orders = [abs(scipy.stats.spearmanr(quality_of, o).statistic) for o in itertools.permutations(gain)]
    found = quality.rank_correlation(quality_of, gain, resamples=200)
    assert found["p"] == pytest.approx(sum(r >= abs(rho) - 1e-9 for r in all_orders) / 120)


def test_five_points_in_order_have_no_width_but_a_chance():
    found = quality.rank_correlation([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], resamples=200)
    assert found["rho"] == found["ci_low"] == found["ci_high"] == pytest.approx(1) and found["p"] == pytest.approx(
        2 / 120
    )


def test_the_interval_covers_a_correlation_about_as_often_as_it_says():
    hits, rng = 0, np.random.default_rng(0)
    for seed in range(25):
        a = rng.normal(size=40)
        b = 0.6 * a + 0.8 * rng.normal(size=40)
        row = quality.rank_correlation(a.tolist(), b.tolist(), seed=seed, resamples=200)
        hits += row["ci_low"] <= 6 / np.pi * np.arcsin(0.6 / 2) <= row["ci_high"]  # Spearman's of a normal pair
    assert hits >= 20  # of 25 at 95 %, fewer are met once in 800 tries


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([1, 2, 3, 4], [1, 2, 3]),
        ([1, 1, 1, 1], [1, 2, 3, 4]),
        ([1, 2, 3, float("nan")], [1, 2, 3, 4]),
    ],
)
def test_pairs_without_an_order_are_refused(a, b):
    with pytest.raises(ValueError, match=f"received {len(a)} and {len(b)} numbers.*at least 4 augmenters"):
        quality.rank_correlation(a, b)
