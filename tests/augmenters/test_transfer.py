"""Transfer: draws have the moments that their equations say, and a class's mean goes where it probably is."""

import pytest
import torch

from sega_utils.augmenters import transfer


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def seen():
    labels = torch.arange(300) % 3
    return transfer.moments(4 * torch.eye(3, 5)[labels] + torch.randn(300, 5, generator=rng()), labels)


def test_calibrated_features_have_the_mean_and_the_covariance_of_equations_5_and_6(seen):
    feature = torch.tensor([3.0, 1, 0, 0, 0])  # nearest to classes 0 and 1
    drawn = transfer.calibrated(seen, feature, 20_000, rng(1), k=2, spread=0.5)
    near = seen.covariances[:2].mean(0)
    assert torch.allclose(drawn.mean(0), (seen.means[:2].sum(0) + feature) / 3, atol=0.05)
    assert torch.allclose(drawn.T.cov(), near + 0.5 * near.trace() / 5 * torch.eye(5), atol=0.06)
    with pytest.raises(ValueError, match="k is 4; allowed are 1 .. 3"):
        transfer.calibrated(seen, feature, 1, rng(), k=4)


def test_raw_offsets_are_of_each_class_as_often():
    labels = torch.tensor([0] * 2 + [1] * 198)
    seen = transfer.moments(torch.cat((torch.eye(2), torch.zeros(198, 2))), labels)
    drawn = transfer.offsets(seen, 4000, rng())
    assert float(drawn.any(1).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_the_mean_of_a_class_goes_between_what_is_seen_of_it_and_the_centre():
    features, centre = torch.tensor([[4.0, 4.0], [2.0, 2.0]]), torch.zeros(2)
    between, within = torch.diag(torch.tensor([1.0, 3.0])), 2 * torch.eye(2)
    mean, covariance = transfer.posterior(features, centre, between, within)
    assert torch.allclose(mean, torch.tensor([1.5, 2.25]))  # 3 b / (b + 2 / 2)
    assert torch.allclose(covariance, torch.diag(torch.tensor([0.5, 0.75])))
    sure, _ = transfer.posterior(features, centre, 1e6 * torch.eye(2), within)
    assert torch.allclose(sure, features.mean(0), atol=1e-4)


def test_a_shrunk_covariance_keeps_its_trace():
    covariance = torch.tensor([[2.0, 1], [1, 4]])
    found = transfer.shrunk(covariance, 0.25)
    assert torch.allclose(found, torch.tensor([[2.25, 0.75], [0.75, 3.75]]))
    assert float(found.trace()) == pytest.approx(6)


def test_a_class_of_one_image_has_no_covariance():
    with pytest.raises(ValueError, match=r"classes \[1\] have fewer than 2 images"):
        transfer.moments(torch.eye(3), torch.tensor([0, 0, 1]))
