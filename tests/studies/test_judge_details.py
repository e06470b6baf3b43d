import math

import pytest
import torch
from torch.nn import functional as F

from sega_utils.studies.judge import details as judge_details

NAMES = ("a", "b", "c")


def noisy_logits(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits whose probabilities are true, times a scale, and labels drawn from them."""
    rng = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 3, generator=rng)
    return logits * scale, torch.multinomial(logits.softmax(1), 1, generator=rng)[:, 0]


def test_the_temperature_is_the_factor_by_which_logits_are_too_large():
    logits, labels = noisy_logits(3.0)
    assert judge_details.temperature_of(logits, labels) == pytest.approx(3, rel=0.05)
    assert judge_details.temperature_of(logits, logits.argmax(1)) == 1.0
    errors = [judge_details.expected_calibration_error(logits / t, labels) for t in (1, 3)]
    assert errors[0] > 0.1 > 0.03 > errors[1]


def test_the_calibration_error_of_one_bin_is_the_gap():
    logits = torch.tensor([[math.log(3.0), 0.0]]).repeat(4, 1)  # sure by three quarters
    assert judge_details.expected_calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0, abs=1e-6)
    assert judge_details.expected_calibration_error(logits, torch.tensor([1, 1, 1, 1])) == pytest.approx(0.75, abs=1e-6)


def test_a_wrong_label_is_suspicious_and_a_right_one_is_not():
    labels = torch.arange(30) % 3
    logits = 4.0 * F.one_hot(labels, 3).float()
    logits[7] = torch.tensor([5.0, 0.0, 0.0])  # looks like a, is labelled b
    rows = judge_details.suspicious_rows(logits, labels, NAMES)
    assert [(row["image"], row["label"], row["probably"]) for row in rows] == [(7, "b", "a")]


def test_mistakes_and_confusions_name_what_was_taken_for_what():
    labels = torch.tensor([0, 0, 1, 2])
    logits = 4.0 * F.one_hot(torch.tensor([0, 1, 1, 1]), 3).float()[None].repeat(2, 1, 1)
    logits[:, 3] *= 2
    assert [row["image"] for row in judge_details.mistake_rows(logits, labels, NAMES)] == [3, 1]
    rows = judge_details.confusion_rows(logits, labels, NAMES)
    assert {(row["class"], row["taken for"], row["images"], row["of"]) for row in rows} == {
        ("a", "b", 1.0, 2),
        ("c", "b", 1.0, 1),
    }


def test_accuracy_by_class_has_counts():
    hits = {"arm": torch.tensor([[True, False, True], [True, True, True]])}
    rows = judge_details.class_rows(hits, torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), ("a", "b"))
    assert rows == [
        {"class": "a", "trained on": 1, "tested": 2, "arm": 75.0},
        {"class": "b", "trained on": 2, "tested": 1, "arm": 100.0},
    ]


def test_more_images_follow_the_line_over_the_logarithm():
    found = judge_details.more_images([(10, 50.0), (20, 60.0)], extra=20)
    assert found["now"] == 20 and found["then"] == 40 and found["gain"] == pytest.approx(10)
