import pytest
import torch

from sega_utils.core import numbers
from sega_utils.studies.judge import verdict as judge_verdict


def hits(share: float, *, seeds: int = 4, n: int = 400, seed: int = 0) -> torch.Tensor:
    return torch.rand(seeds, n, generator=torch.Generator().manual_seed(seed)) < share


EVEN = judge_verdict.weights_of(torch.arange(400) % 4, balanced=False)


def test_the_difference_is_that_of_paired_seeds_and_its_interval_is_wider_by_the_images():
    ours, theirs = hits(0.8), hits(0.7, seed=1)
    found = judge_verdict.difference(ours, theirs, EVEN)
    by_seed = [{i: 100 * float(row.double().mean()) for i, row in enumerate(own)} for own in (ours, theirs)]
    paired = numbers.paired_difference(*by_seed)
    assert found["difference"] == pytest.approx(paired["difference"])
    large = judge_verdict.difference(ours.repeat(1, 100), theirs.repeat(1, 100), EVEN.repeat(100) / 100)
    assert large["ci_low"] == pytest.approx(paired["ci_low"], abs=0.3)
    assert found["ci_high"] - found["ci_low"] > large["ci_high"] - large["ci_low"]


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Both arms are right with probability 0.7: the truth is no difference."""
    found = [judge_verdict.difference(hits(0.7, seed=2 * i), hits(0.7, seed=2 * i + 1), EVEN) for i in range(200)]
    inside = sum(row["ci_low"] <= 0 <= row["ci_high"] for row in found) / 200
    assert inside > 0.93 and sum(row["p"] < 0.05 for row in found) / 200 < 0.07


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.1, 3, "yes"), (-2, 0.9, "no"), (-1, 3, "undecided"), (0, 0, "no")]
)
def test_the_answer(low, high, expected):
    assert judge_verdict.answer({"ci_low": low, "ci_high": high}) == expected


def test_what_is_needed_decides_it():
    found = {"difference": 2.0, "by_seed": 0.01, "by_image": 3.0, "n_seeds": 5, "n_images": 100}
    more = judge_verdict.needed(found)
    assert list(more) == ["images"], "no number of seeds makes up for the images"
    variance = 0.01 + 3.0 * 100 / (100 + more["images"])
    assert 1.9 < found["difference"] / variance**0.5 < 2.05


def test_classes_count_alike_where_it_is_asked_for():
    weights = judge_verdict.weights_of(torch.tensor([0, 0, 0, 1]), balanced=True)
    assert weights.tolist() == pytest.approx([1 / 6] * 3 + [1 / 2])


def test_only_a_certain_other_arm_overrules_the_chosen_one():
    arms = {"a": hits(0.6), "b": hits(0.62, seed=1), "c": hits(0.9, seed=2)}
    assert judge_verdict.overruled(arms, "a", EVEN)[0] == "c"
    assert judge_verdict.overruled({"a": arms["a"], "b": arms["b"]}, "a", EVEN) == ("a", None)
    assert judge_verdict.overruled({"c": arms["c"], "a": arms["a"]}, "c", EVEN) == ("c", None)


@pytest.mark.parametrize(
    ("inside", "outside", "n", "expected"),
    [
        (90, 60, 300, True),
        (60, 90, 300, False),  # easier images are no reason to warn
        (74, 70, 100_000, False),  # certain, and too little
        (80, 70, 30, False),  # much, and by chance
    ],
)
def test_only_much_harder_test_images_are_strange(inside, outside, n, expected):
    assert judge_verdict.strange(inside, outside, n, n) is expected
