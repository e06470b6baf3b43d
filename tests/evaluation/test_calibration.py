"""Calibration against closed forms, scikit-learn, and classifiers whose probabilities are known to be right."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch.nn import functional as F

from sega_utils.data.images import Dataset
from sega_utils.evaluation import calibration


def drawn(n: int, *, seed: int, sharper: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits and labels of a classifier that is calibrated, and then ``sharper`` times as sure."""
    rng = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(n, 4, generator=rng)
    labels = torch.multinomial(logits.softmax(1), 1, generator=rng)[:, 0]
    return sharper * logits, labels


def test_the_temperature_is_what_made_the_classifier_too_sure():
    logits, labels = drawn(20_000, seed=0, sharper=3.0)
    assert calibration.temperature_of(logits, labels) == pytest.approx(3, rel=0.05)
    assert calibration.temperature_of(logits, logits.argmax(1)) == 1.0
    errors = [calibration.expected_calibration_error(logits / t, labels, bins=10) for t in (1, 3)]
    assert errors[0] > 0.1 > 0.03 > errors[1]


def test_the_error_of_one_bin_is_the_gap():
    logits = torch.tensor([[3.0, 1.0]]).log().repeat(4, 1)  # sure by three quarters
    gap = lambda *labels: calibration.expected_calibration_error(logits, torch.tensor(labels))
    assert gap(0, 0, 0, 1) == pytest.approx(0, abs=1e-6) and gap(1, 1, 1, 1) == pytest.approx(0.75, abs=1e-6)


def test_errors_of_two_bins_by_hand():
    sure = torch.tensor([0.9, 0.9, 0.6, 0.6])
    logits = torch.stack((sure, 1 - sure), 1).log()
    labels = torch.tensor([0, 1, 0, 0])
    # 0.9 and half right; 0.6 and always right
    assert calibration.expected_calibration_error(logits, labels) == pytest.approx((0.4 + 0.4) / 2, abs=1e-6)
    pairs = (-0.1 * 0.9, 0.4 * 0.4)  # of each bin the one pair of different images
    assert calibration.squared_calibration_error(logits, labels) == pytest.approx(sum(pairs) / 2, abs=1e-6)


def test_the_squared_error_has_no_bias_and_the_other_has():
    some = [drawn(60, seed=seed) for seed in range(400)]
    squared = np.array([calibration.squared_calibration_error(*pair) for pair in some])
    plain = np.mean([calibration.expected_calibration_error(*pair) for pair in some])
    assert abs(squared.mean()) < 3 * squared.std() / len(squared) ** 0.5
    assert plain > 0.05


def test_brier_and_auroc_agree_with_scikit_learn():
    logits, labels = drawn(500, seed=1)
    chance = logits.double().softmax(1).numpy()
    ours = calibration.brier(logits, labels)
    assert ours == pytest.approx(((chance - np.eye(4)[labels]) ** 2).sum(1).mean())
    binary = metrics.brier_score_loss(labels == 0, chance[:, 0])
    two = torch.stack((logits[:, 0], logits[:, 1:].logsumexp(1)), 1)
    assert calibration.brier(two, (labels > 0).long()) == pytest.approx(2 * binary)
    inside, outside = logits[:, 0].round(), logits[:100, 1].round() + 1  # with ties
    truth = [1] * len(inside) + [0] * len(outside)
    theirs = metrics.roc_auc_score(truth, torch.cat((inside, outside)))
    assert calibration.auroc(inside, outside) == pytest.approx(theirs)


def test_a_classifier_is_measured_and_the_temperature_is_not_of_the_test():
    class Bright(torch.nn.Module):
        def forward(self, x):
            return torch.stack((x.mean((1, 2, 3)), 1 - x.mean((1, 2, 3))), 1) * 20

    images = torch.linspace(0, 1, 40)[:, None, None, None].expand(-1, 1, 32, 32).contiguous()
    test = Dataset(images, (images[:, 0, 0, 0] < 0.5).long(), ("light", "dark"))
    noisy = test._replace(labels=test.labels.roll(3))
    found = calibration.calibration(Bright().eval(), test, noisy, {"grey": torch.full((5, 1, 32, 32), 0.5)})
    assert found["accuracy"] == 1 and found["temperature"] > 1 and found["auroc_grey"] == 1
    logits = Bright()(images)
    assert found["nll"] == pytest.approx(float(F.cross_entropy(logits.double(), test.labels)))
    assert found["nll_tempered"] > found["nll"]


def test_outliers_are_of_another_data_set_and_of_the_same_shape():
    test = Dataset(torch.zeros(6, 3, 32, 32), torch.zeros(6, dtype=torch.int64), ("a",))
    found = calibration.outliers("cifar-10", test, seed=0)
    assert set(found) == {"other", "noise", "inverted"}
    assert all(x.shape[1:] == test.images.shape[1:] for x in found.values())
    assert float(found["inverted"].min()) == 1
    same = calibration.outliers("cifar-10", test, seed=0)["noise"]
    assert torch.equal(found["noise"], same)
