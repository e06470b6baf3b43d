"""Scenes: what is left out stays out, and groups are what they say."""

import pytest
import torch
from blocks import MISSING, RARE

from sega_utils.data.images import Dataset
from sega_utils.studies.groups import scenes


def widths(data: Dataset) -> torch.Tensor:
    return (data.images[:, 0, 10] > 0).sum(1)


def test_neither_training_nor_validation_images_show_what_is_missing():
    real = scenes.real_of(MISSING)
    assert real.train.labels.bincount().tolist() == [4, 4, 4]
    for part in real:
        concerned = torch.isin(part.labels, torch.tensor(MISSING.classes))
        assert int(widths(part)[concerned].max()) <= 19 and not scenes.missing(MISSING, part).any()
    everything = torch.cat(
        (widths(real.train)[real.train.labels == 1], widths(real.validation)[real.validation.labels == 1])
    )
    assert sorted(everything.tolist()) == list(range(4, 28))
    assert len(real.train.labels) + len(real.validation.labels) == 72 - 16


def test_test_images_keep_all_groups_and_the_worst_is_found():
    at = scenes.tested(MISSING)
    assert at.groups.bincount().tolist() == [8] * 9 and at.lacking == (2, 8)
    right = torch.nn.functional.one_hot(at.data.labels, 3).float()
    right[at.groups == 8] = torch.tensor([1.0, 0.0, 0.0])
    found = scenes.scores(right, at)
    assert found["worst"] == 0 and found["lacking"] == 0.5 and found["accuracy"] == pytest.approx(8 / 9)
    assert found["by_group"]["8"] == 0 and found["by_group"]["2"] == 1


def test_rare_classes_fall_exponentially_and_the_subset_says_which():
    assert sorted(scenes.counts(RARE, 3).tolist()) == [2, 4, 8]
    assert scenes.real_of(RARE).train.labels.bincount().tolist() == scenes.counts(RARE, 3).tolist()
    orders = {tuple(scenes.counts(RARE._replace(subset=s), 3).tolist()) for s in range(6)}
    assert len(orders) > 1
    rarest = scenes.tested(RARE).lacking
    assert [scenes.counts(RARE, 3)[c] for c in rarest] == [2]


@pytest.mark.parametrize(
    "wrong", [MISSING._replace(third=1), MISSING._replace(classes=(0, 1, 2)), MISSING._replace(attribute="weight")]
)
def test_what_cannot_be_missing_is_refused(wrong):
    with pytest.raises(ValueError, match="allowed are 0 .lowest. and 2 .highest. of brightness"):
        scenes.check(wrong, 3)


def test_a_ratio_of_one_is_no_imbalance():
    with pytest.raises(ValueError, match="the ratio is 1.0; allowed are numbers above 1"):
        scenes.real_of(RARE._replace(ratio=1.0))
