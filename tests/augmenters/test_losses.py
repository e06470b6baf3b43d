"""The losses of a GAN: their values, what their training takes with them, and what is refused."""

import math

import pytest
import torch
from torch.nn import functional as F

from sega_utils.augmenters.losses import LOSSES, loss_of

ZERO = torch.zeros(4)


@pytest.fixture
def scores():
    return torch.randn(2, 64, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [("hinge", 2, 0), ("vanilla", 2 * math.log(2), math.log(2)), ("lsgan", 0.5, 0.5), ("wgan-gp", 0, 0)],
)
def test_losses_at_scores_of_zero(name, critic, generator):
    assert LOSSES[name].critic(ZERO, ZERO).item() == pytest.approx(critic)
    assert LOSSES[name].generator(ZERO).item() == pytest.approx(generator)


@pytest.mark.parametrize(
    ("name", "critic", "generator"),
    [
        ("hinge", lambda r, f: (1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(), lambda f: (-f).mean()),
        ("vanilla", lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(), lambda f: F.softplus(-f).mean()),
        (
            "lsgan",
            lambda r, f: (F.mse_loss(r, torch.ones_like(r)) + F.mse_loss(f, ZERO[:1].expand(64))) / 2,
            lambda f: F.mse_loss(f, torch.ones_like(f)) / 2,
        ),
        ("wgan-gp", lambda r, f: (f - r).mean(), lambda f: (-f).mean()),
    ],
)
def test_losses_equal_an_independent_formula(name, critic, generator, scores):
    torch.testing.assert_close(LOSSES[name].critic(*scores), critic(*scores))
    torch.testing.assert_close(LOSSES[name].generator(scores[1]), generator(scores[1]))


def test_a_constant_added_to_all_scores_changes_the_wasserstein_loss_alone_not(scores):
    moved = {n: row.critic(*(scores + 5)).item() - row.critic(*scores).item() for n, row in LOSSES.items()}
    assert abs(moved.pop("wgan-gp")) < 1e-5 and min(map(abs, moved.values())) > 0.1


@pytest.mark.parametrize("name", LOSSES)
def test_descending_separates_scores_and_raises_those_of_the_generator(name):
    real, fake = torch.zeros(2, 4, requires_grad=True).unbind()
    slopes = torch.autograd.grad(LOSSES[name].critic(real, fake), (real, fake))
    assert (slopes[0] < 0).all() and (slopes[1] >= 0).all() and (name == "lsgan" or (slopes[1] > 0).all())
    (up,) = torch.autograd.grad(LOSSES[name].generator(fake), fake)
    assert (up < 0).all()


def test_rows_hold_what_the_losses_were_published_with():
    assert LOSSES["hinge"].settings() == {
        "critic_steps": 1,
        "betas": [0.0, 0.99],
        "lr_generator": 2e-4,
        "lr_discriminator": 4e-4,
        "spectral": True,
        "slope": 0.0,
    }
    rows = {name: LOSSES[name].settings() for name in ("vanilla", "lsgan", "wgan-gp")}
    assert [row.pop("slope") for row in rows.values()] == [0, 0, 10]
    expected = {"critic_steps": 5, "betas": [0.0, 0.9], "spectral": False}
    assert all(row == expected | {"lr_generator": 2e-4, "lr_discriminator": 2e-4} for row in rows.values())


def test_a_row_is_changed_for_one_training_alone():
    assert loss_of("wgan-gp", slope=0.0, critic_steps=2).settings()["critic_steps"] == 2
    assert loss_of("wgan-gp") == LOSSES["wgan-gp"] and LOSSES["wgan-gp"].slope == 10


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("hingee", {}, "the loss is 'hingee'; allowed are hinge, vanilla, lsgan, wgan-gp"),
        ("hinge", {"rate": 1}, r"received the settings \['rate'\]; those of a loss are critic_steps, betas"),
        ("hinge", {"critic": 1}, r"received the settings \['critic'\]"),
        ("wgan-gp", {"critic_steps": 0}, "critic_steps is 0 .*; allowed are whole steps from 1 on"),
        ("wgan-gp", {"slope": -1.0}, "slope -1.0; allowed"),
        ("wgan-gp", {"slope": float("nan")}, "slope nan; allowed"),
    ],
)
def test_unknown_losses_and_settings_out_of_range_are_refused(name, changes, message):
    with pytest.raises(ValueError, match=message):
        loss_of(name, **changes)
