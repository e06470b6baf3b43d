import os
import pickle

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from sega_utils.augmenters import base
from sega_utils.core import numbers
from sega_utils.core.artifacts import ArtifactError


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def textbook_frechet(a, b):
    """Heusel et al. 2017, equation 6, with the matrix square root itself."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    return np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root)


@pytest.mark.parametrize("shape", [(200, 5), (100, 40), (1000, 2)])
def test_frechet_distance_equals_the_textbook_formula(rng, shape):
    a = rng.normal(size=shape) @ rng.normal(size=(shape[1], shape[1]))
    b = rng.normal(size=(shape[0] + 17, shape[1])) * 0.5 + 1
    received = base.frechet_distance(torch.from_numpy(a), torch.from_numpy(b))
    assert received == pytest.approx(textbook_frechet(a, b), rel=1e-6)
    assert received == pytest.approx(base.frechet_distance(torch.from_numpy(b), torch.from_numpy(a)), rel=1e-9)


def test_frechet_distance_between_axis_aligned_gaussians_has_a_closed_form(rng):
    a = rng.normal(size=(500, 3))
    a = (a - a.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(a, rowvar=False))).T  # exactly N(0, I)
    scale, shift = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, -2.0])
    received = base.frechet_distance(torch.from_numpy(a), torch.from_numpy(a * scale + shift))
    assert received == pytest.approx(np.square(shift).sum() + np.square(scale - 1).sum(), rel=1e-9)


def test_frechet_distance_of_a_set_to_itself_is_zero_even_where_the_covariance_is_singular():
    features = torch.randn(10, 64, generator=torch.Generator().manual_seed(0))
    assert abs(base.frechet_distance(features, features)) < 1e-5
    assert base.frechet_distance(features, features + 1) == pytest.approx(64, abs=1e-4)


def test_intra_class_distance_pools_the_pairs_of_each_class():
    images = torch.zeros(5, 1, 2, 2)
    images[1] = 1.0  # class 0: one pair at distance 2
    images[3, 0, 0, 0], images[4, 0, 1, 1] = 1.0, 1.0  # class 1: pairs at 1, 1 and sqrt(2)
    received = base.intra_class_distance(images, torch.tensor([0, 0, 1, 1, 1]))
    assert received == pytest.approx((2 + 1 + 1 + 2**0.5) / 4)


def test_intra_class_distance_ignores_other_classes_and_lonely_images():
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = base.intra_class_distance(images[:2], torch.tensor([3, 3]))
    assert base.intra_class_distance(images, torch.tensor([3, 3, 1, 7])) == pytest.approx(alone)
    assert base.intra_class_distance(images[:1].repeat(3, 1, 1, 1), torch.tensor([0, 0, 0])) == 0


def test_retrieval_is_the_share_that_finds_its_own_cluster():
    centroids = torch.eye(4)
    ids = torch.tensor([0, 1, 2, 3])
    assert base.retrieval(centroids, centroids, ids) == 1
    assert base.retrieval(centroids, centroids, ids.roll(1)) == 0
    assert base.retrieval(centroids, centroids, torch.tensor([0, 1, 2, 0])) == pytest.approx(0.75)


def test_effect_size_is_cohens_d_with_the_sign_of_the_shift():
    low, high = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([3.0, 4.0, 5.0, 6.0])
    expected = 2 / np.sqrt(5 / 3)  # the sample variance of four consecutive numbers is 5/3
    there, back = numbers.effect_size(low, high), numbers.effect_size(high, low)
    assert there["effect"] == pytest.approx(expected) and back["effect"] == pytest.approx(-expected)
    assert there["ci_low"] < expected < there["ci_high"] and there["n"] == 8
    assert numbers.effect_size(low, high) == there, "the bootstrap must be seeded"
    assert numbers.effect_size(low, high, seed=1)["ci_low"] != there["ci_low"]


@pytest.mark.parametrize("shift", [-0.8, 0.0, 1.5])
def test_effect_size_interval_covers_a_known_shift_about_as_often_as_it_says(rng, shift):
    repeats, hits = 60, 0
    for seed in range(repeats):
        low, high = (torch.from_numpy(rng.normal(centre, 1, 80)) for centre in (0, shift))
        row = numbers.effect_size(low, high, seed=seed)
        hits += row["ci_low"] <= shift <= row["ci_high"]
    # of 60 intervals at 95 %, fewer than 51 cover once in 1,350 tries; an interval of half the width covers 40
    assert 51 <= hits
    assert scipy.stats.binom.cdf(50, repeats, 0.95) < 1e-3


def test_effect_size_interval_is_no_wider_than_it_must_be(rng):
    low, high = (torch.from_numpy(rng.normal(centre, 1, 400)) for centre in (0, 1))
    row = numbers.effect_size(low, high)
    deviation = np.sqrt(2 / 400 + row["effect"] ** 2 / 1600)  # Hedges and Olkin 1985, large samples
    assert row["ci_high"] - row["ci_low"] == pytest.approx(2 * 1.96 * deviation, rel=0.15)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_paired_difference_is_the_interval_of_scipys_paired_t_test(rng, n):
    ours, theirs = rng.normal(83, 0.5, n), rng.normal(82, 0.5, n)
    seeds = rng.permutation(1000)[:n].tolist()
    received = numbers.paired_difference(
        dict(zip(seeds, ours, strict=True)), dict(reversed(list(zip(seeds, theirs, strict=True))))
    )
    interval = scipy.stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert received["difference"] == pytest.approx((ours - theirs).mean())
    assert (received["ci_low"], received["ci_high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_paired_difference_uses_the_pairing():
    theirs = {seed: 80.0 + 3 * seed for seed in range(5)}  # seeds differ much, the arm always gains about one point
    ours = {seed: value + 1 + 0.01 * seed for seed, value in theirs.items()}
    assert 0.9 < numbers.paired_difference(ours, theirs)["ci_low"]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({0: 1.0, 1: 2.0}, {0: 1.0, 2: 2.0}),
        ({0: 1.0, 1: 2.0, 2: 1.0}, {0: 1.0, 1: 2.0}),
        ({0: 1.0}, {0: 2.0}),
        ({}, {}),
    ],
)
def test_paired_difference_refuses_other_seeds_and_a_single_one(ours, theirs):
    with pytest.raises(ValueError, match="same seeds, at least two") as error:
        numbers.paired_difference(ours, theirs)
    assert str(sorted(ours)) in str(error.value) and str(sorted(theirs)) in str(error.value)


def test_precision_and_recall_by_hand():
    real = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0]])
    drawn = torch.tensor([[0.5], [1.5], [2.5], [20.0], [21.0]])
    # k = 1, reach of the real: 1, 1, 1, 1, 7, so 0.5, 1.5, 2.5 are covered; of the drawn: 1, 1, 1, 1, 1
    assert base.precision_recall(real, drawn, k=1) == {"precision": 0.6, "recall": 0.8}


def test_a_set_covers_itself_and_no_other_far_away(rng):
    features = torch.from_numpy(rng.normal(size=(50, 4)))
    assert base.precision_recall(features, features) == {"precision": 1.0, "recall": 1.0}
    assert base.precision_recall(features, features + 100) == {"precision": 0.0, "recall": 0.0}
    narrow = base.precision_recall(features, features[:1] + 0.01 * features)
    assert narrow["precision"] > 0.9 > 0.5 > narrow["recall"], "all alike: precise, without variety"


def test_precision_needs_more_images_than_neighbours():
    with pytest.raises(ValueError, match="received 3 real and 9 drawn images; give more than k = 3"):
        base.precision_recall(torch.rand(3, 2), torch.rand(9, 2))


def test_fid_and_kid_are_those_of_torch_fidelity(tmp_path, monkeypatch):
    images = torch.zeros(5, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(FileNotFoundError, match="no Inception weights"):
        base.inception_distances(images, images, weights=tmp_path / "none.pth")
    weights = tmp_path / "some.pth"
    torch.save({"fc.weight": torch.ones(2, 3)}, weights)
    asked, extractor = {}, "torch_fidelity.feature_extractor_inceptionv3.FeatureExtractorInceptionV3"
    monkeypatch.setattr(extractor, lambda *_, feature_extractor_weights_path: None)
    result = {"frechet_inception_distance": 7.0, "kernel_inception_distance_mean": 0.5}
    monkeypatch.setattr("torch_fidelity.calculate_metrics", lambda **options: asked.update(options) or result)
    found = base.inception_distances(images + 1, images[:4], weights=weights)
    assert found == {"fid": 7.0, "kid": 0.5} and asked["kid_subset_size"] == 4 and asked["fid"] and asked["kid"]
    assert asked["feature_extractor_weights_path"] != str(weights), "a copy that holds tensors and nothing else"
    assert len(asked["input1"]) == 4 and int(asked["input2"][0].min()) == 1


class Attack:
    """A pickle that runs a command of the shell when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.parametrize("zipped", [True, False])
def test_inception_weights_run_no_code(tmp_path, zipped):
    images, weights = torch.zeros(5, 3, 8, 8, dtype=torch.uint8), tmp_path / "some.pth"
    attack = Attack(tmp_path / "ran")
    torch.save({"fc.weight": attack}, weights, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ArtifactError, match="some.pth is damaged, or holds more than weights and plain values"):
        base.inception_distances(images, images, weights=weights)
    weights.write_bytes(pickle.dumps(attack))
    with pytest.raises(ArtifactError, match="some.pth is damaged, or holds more"):
        base.inception_distances(images, images, weights=weights)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{"a": torch.ones(2)}, {"a": "text"}, {"a": torch.tensor([float("nan")])}, [1]])
def test_inception_weights_of_another_network_are_refused(tmp_path, content):
    images, weights = torch.zeros(5, 3, 8, 8, dtype=torch.uint8), tmp_path / "some.pth"
    torch.save(content, weights)
    with pytest.raises(ArtifactError, match="some.pth (holds no Inception weights|cannot be used: a holds numbers)"):
        base.inception_distances(images, images, weights=weights)
