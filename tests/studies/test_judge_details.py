import pytest
import torch
from torch.nn import functional as F

from sega_utils.studies.judge import details as judge_details

NAMES = ("a", "b", "c")


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
