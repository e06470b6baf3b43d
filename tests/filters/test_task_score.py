"""The task score: the paper's numbers along the way from a source to a target, and a form that grows along it."""

import math

import pytest
import torch

from sega_utils.filters import task_score
from sega_utils.filters.task_score import levels

WAY = [0.0, 0.1, 0.5, 1.0]


def along(shares=WAY, scale=1.0):
    """Return features that are so far on the way between two that are ``scale`` apart, and both ends."""
    source, target = torch.tensor([[0.3, 0.2]]) * scale, torch.tensor([[0.9, 1.0]]) * scale
    share = torch.tensor(shares)[:, None]
    ends = source.expand(len(shares), 2), target.expand(len(shares), 2)
    return (1 - share) * ends[0] + share * ends[1], *ends


def test_as_printed_the_source_scores_as_high_as_the_target_and_half_way_is_least():
    found = task_score.task_score(*along(), form="printed").tolist()
    assert found == pytest.approx([4052, 5.05, 1.50, 4052], rel=2e-3)
    assert pytest.approx(1.2341e-4, rel=1e-4) == task_score.EPS


def test_the_bounded_form_grows_from_source_to_target_and_stays_within_0_and_1():
    found = task_score.task_score(*along())
    assert found.tolist() == pytest.approx([0.5, 0.5 / 1.1 + 0.05, 0.5 / 1.5 + 0.25, 0.75], abs=1e-5)
    assert (found.diff() > 0).all()
    far = torch.randn(3, 50, 8, generator=torch.Generator().manual_seed(0)) * 100
    for beta in (0.0, 0.3, 1.0):
        found = task_score.task_score(*far, beta=beta)
        assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize(
    ("form", "content", "style"),
    [
        ("bounded", [1, 1 / 1.1, 1 / 1.5, 1 / 2], [0, 0.1, 0.5, 1]),
        ("printed", [8103.08, 9.98767, 1.99951, 0.999877], [0, 0.111096, 0.999753, 8103.08]),
    ],
)
def test_beta_of_1_is_the_content_and_of_0_the_style(form, content, style):
    assert task_score.task_score(*along(), beta=1.0, form=form).tolist() == pytest.approx(content, rel=1e-3)
    assert task_score.task_score(*along(), beta=0.0, form=form).tolist() == pytest.approx(style, rel=1e-3, abs=1e-6)


def test_the_bounded_form_does_not_depend_on_the_scale_of_features_and_the_printed_one_does():
    plain, large = along([0.2, 0.7]), along([0.2, 0.7], scale=50.0)
    torch.testing.assert_close(task_score.task_score(*plain), task_score.task_score(*large))
    printed = [task_score.task_score(*ends, form="printed") for ends in (plain, large)]
    assert (printed[0] / printed[1] > 1.5).all()


def test_eps_is_what_the_ends_of_the_printed_form_hang_on():
    found = task_score.task_score(*along([0.0]), form="printed", eps=1e-3)
    assert found.tolist() == pytest.approx([500], rel=1e-4)


def test_ten_steps_give_eleven_images_whose_ends_are_exact():
    rng = torch.Generator().manual_seed(0)
    source, target = torch.rand(2, 3, 3, 32, 32, generator=rng).unbind(0)
    found = levels(source, target)
    assert found.shape == (11, 3, 3, 32, 32) and found.dtype == torch.float32
    assert torch.equal(found[0], source) and torch.equal(found[10], target)
    torch.testing.assert_close(found[3], 0.7 * source + 0.3 * target)
    assert len(levels(source, target, k=1)) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": torch.ones(2, 3)}, r"of one shape; received torch.float32 \(2, 4\), .* \(2, 3\)"),
        ({"source": torch.ones(2, 4, dtype=torch.int64)}, r"must be float .* torch.int64 \(2, 4\)"),
        ({"generated": torch.tensor([[math.nan] * 4] * 2)}, "features must be finite"),
        ({"target": torch.tensor([[2.0] * 4, [0.0] * 4])}, r"the same in rows \[1\]; give a target that differs"),
        ({"form": "plain"}, "form is 'plain'; allowed are bounded, printed"),
        ({"beta": 1.5}, "beta is 1.5; allowed are 0 .. 1"),
        ({"eps": 0.0}, "eps is 0.0; allowed is what is above 0"),
    ],
)
def test_what_has_no_score_is_refused(change, message):
    good = {"generated": torch.ones(2, 4), "source": torch.zeros(2, 4), "target": torch.full((2, 4), 2.0)}
    assert task_score.task_score(**good).shape == (2,)
    for form in ("bounded", "printed"):
        with pytest.raises(ValueError, match=message):
            task_score.task_score(**(good | {"form": form} | change))


def test_levels_need_two_sets_of_images_and_a_step():
    images = torch.zeros(1, 1, 32, 32)
    with pytest.raises(ValueError, match="k is 0; allowed are 1 and above"):
        levels(images, images, k=0)
    with pytest.raises(ValueError, match="of one shape"):
        levels(images, torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        levels(images, images + 2)
