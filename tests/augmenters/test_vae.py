"""Variational autoencoders: their loss against torch.distributions and closed forms, their training, their samples."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from sega_utils.augmenters import vae
from sega_utils.augmenters.vae import divergence, surprise, train_bs_vae, train_vae, weight_of
from sega_utils.core import artifacts
from sega_utils.data.images import Dataset

SMALL = {"seed": 0, "width": 16, "z_dim": 8, "batch_size": 8}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pairs(rng):
    """Return images and others near them, in double precision."""
    images = torch.rand(5, 1, 6, 6, generator=rng, dtype=torch.float64)
    return images, images + torch.randn(images.shape, generator=rng, dtype=torch.float64) * 0.2


# the loss


def test_the_divergence_is_that_of_torch_distributions(rng):
    mean, log_variance = torch.randn(2, 7, 4, generator=rng, dtype=torch.float64).unbind(0)
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, log_variance), expected, rtol=1e-9, atol=1e-9)


def test_the_divergence_is_0_at_the_prior_and_half_a_nat_a_unit_of_mean():
    zeros, ones = torch.zeros(1, 1), torch.ones(1, 1)
    assert float(divergence(zeros, zeros)) == 0 and float(divergence(ones, zeros)) == 0.5


@pytest.mark.parametrize("variance", [1.0, 0.125, 0.01])
def test_the_surprise_is_the_negative_likelihood_of_torch_distributions(pairs, variance):
    images, drawn = pairs
    expected = -Normal(drawn, variance**0.5).log_prob(images).flatten(1).sum(1)
    torch.testing.assert_close(surprise(images, drawn, variance=variance), expected)


@pytest.mark.parametrize("pool", vae.POOLS)
def test_the_optimal_variance_is_the_mean_square_and_nothing_is_less_surprised(pairs, pool):
    images, drawn = pairs
    squares = (images - drawn).square().flatten(1).mean(1, keepdim=True)
    best = squares if pool == "image" else squares.mean(0, keepdim=True).expand_as(squares)
    expected = -Normal(drawn.flatten(1), best.sqrt()).log_prob(images.flatten(1)).sum(1)
    received = surprise(images, drawn, variance=None, pool=pool)
    torch.testing.assert_close(received, expected)
    for variance in (best * grid for grid in (0.5, 0.9, 1.1, 2.0)):
        other = -Normal(drawn.flatten(1), variance.sqrt()).log_prob(images.flatten(1)).sum(1)
        assert received.sum() < other.sum() and (pool == "batch" or bool((received < other).all()))


def test_the_derivative_by_the_variance_is_0_at_the_optimum(pairs):
    images, drawn = (part[:1] for part in pairs)
    best = (images - drawn).square().mean().requires_grad_(True)
    size = images[0].numel()
    loss = best.detach() * size / (2 * best) + size / 2 * (2 * math.pi * best).log()
    assert float(torch.autograd.grad(loss, best)[0]) == pytest.approx(0, abs=1e-9)


def test_the_surprise_of_four_pixels_by_hand():
    images, drawn = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.5)
    assert float(surprise(images, drawn, variance=None)) == pytest.approx(2.9032, abs=1e-4)
    # the variance that is taken for the deviation: 4 x 0.25 / (2 x 0.5) + 2 ln(2 pi 0.5)
    assert float(surprise(images, drawn, variance=0.5)) == pytest.approx(3.2895, abs=1e-4)


def test_the_gradient_is_that_of_a_constant_variance_which_is_the_mean_square(pairs):
    images, drawn = pairs
    drawn.requires_grad_(True)
    optimal = torch.autograd.grad(surprise(images, drawn, variance=None).sum(), drawn)[0]
    for i in range(len(images)):
        best = float((images[i] - drawn[i]).detach().square().mean())
        constant = torch.autograd.grad(surprise(images[i : i + 1], drawn[i : i + 1], variance=best).sum(), drawn)[0]
        torch.testing.assert_close(optimal[i], constant[i])


def test_a_weight_and_a_variance_are_one_knob(pairs, rng):
    """The gradients of (beta, variance) are 1 / variance' times those of another pair with equal beta x variance."""
    images, drawn = pairs
    drawn.requires_grad_(True)
    mean, log_variance = torch.randn(2, 5, 3, generator=rng, dtype=torch.float64).requires_grad_(True).unbind(0)
    kl = lambda: divergence(mean, log_variance).sum()
    grad = lambda loss: torch.autograd.grad(loss, (drawn, mean, log_variance))
    ours = grad(surprise(images, drawn, variance=0.3).sum() + 4 * kl())
    theirs = grad(surprise(images, drawn, variance=1.2).sum() + kl())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, 4 * b, rtol=1e-6, atol=1e-9)


def test_an_eighth_is_the_sum_of_squares_of_pixels_from_minus_1_to_1(pairs):
    images, drawn = pairs
    drawn.requires_grad_(True)
    squares = ((2 * images - 1) - (2 * drawn - 1)).square().sum()
    expected = torch.autograd.grad(squares, drawn)[0]
    received = torch.autograd.grad(surprise(images, drawn, variance=1 / 8).sum(), drawn)[0]
    torch.testing.assert_close(received, expected)


def test_a_perfect_reconstruction_stays_finite():
    images = torch.rand(2, 1, 4, 4)
    drawn = images.clone().requires_grad_(True)
    loss = surprise(images, drawn, variance=None).sum()
    loss.backward()
    assert loss.isfinite() and drawn.grad.isfinite().all()


def test_the_weight_grows_in_a_line_and_stays():
    at = [weight_of(0.8, 0.2, share) for share in (0.0, 0.1, 0.2, 0.6, 1.0)]
    assert at == pytest.approx([0, 0.4, 0.8, 0.8, 0.8])
    assert weight_of(4.0, 0.0, 0.0) == 4.0 and weight_of(0.0, 0.2, 0.5) == 0, "which leaves an autoencoder's loss"


# the network


def test_the_latent_moves_with_mean_and_deviation():
    torch.manual_seed(0)
    mean, log_deviation, noise = torch.randn(3, 2, 4, dtype=torch.float64).unbind(0)
    mean.requires_grad_(True), log_deviation.requires_grad_(True)
    z = vae.latent(mean, 2 * log_deviation, noise)
    by_mean, by_deviation = torch.autograd.grad(z.sum(), (mean, log_deviation))
    assert (by_mean == 1).all()
    torch.testing.assert_close(by_deviation, log_deviation.exp() * noise)


def test_the_networks_are_as_large_as_the_spec_counts_and_take_the_sides():
    count = lambda model: sum(p.numel() for p in model.parameters())
    assert 1.0e6 < count(vae.Vae(n_classes=10)) < 1.1e6
    for shape in ({"side": 64, "channels": 3, "width": 32}, {"side": 32, "depth": 2, "width": 16}):
        model = vae.Vae(n_classes=2, z_dim=4, **shape).eval()
        images = torch.rand(2, model.settings["channels"], model.settings["side"], model.settings["side"])
        mean, log_variance = model.encode(images, torch.tensor([0, 1]))
        assert mean.shape == log_variance.shape == (2, 4)
        assert model(mean, torch.tensor([0, 1])).shape == images.shape


def test_the_class_is_told_before_anything_is_learnt():
    torch.manual_seed(0)
    model = vae.Vae(n_classes=3, z_dim=16, width=16).eval()
    with torch.no_grad():
        apart = model(torch.zeros(3, 16), torch.arange(3))
        alike = model(torch.zeros(3, 16), torch.zeros(3, dtype=torch.int64))
    assert (apart[0] - apart[1]).abs().max() > 1e-3 and torch.equal(alike[0], alike[1])


# the training


@pytest.mark.parametrize("train", [train_vae, train_bs_vae])
def test_it_learns_to_draw_the_class_asked_for(train):
    labels = torch.arange(20) % 2  # black and white, with grains that keep the optimal variance from 0
    images = 0.8 * labels.float()[:, None, None, None] + 0.2 * torch.rand(20, 1, 32, 32)
    options = SMALL | {"width": 32, "batch_size": 20, "steps": 40, "lr": 0.01, "ema": 0.9}
    model, curve = train(Dataset(images, labels, ("black", "white")), **options)
    state = model.state_dict(), {"settings": model.settings}
    drawn = vae.sample_vae(state, torch.arange(16) % 2, 0)
    black, white = drawn.mean((1, 2, 3)).view(-1, 2).unbind(1)
    assert black.max() < 0.3 < 0.7 < white.min()
    assert set(curve[0]) == {"step", "error", "divergence"}


def test_weights_of_the_divergence_are_obeyed(tiny):
    """A large weight leaves nothing of the image in the latents, and their samples alike; none at all keeps it."""
    options = {"steps": 40, "lr": 0.01, "ema": 0.9, "ramp": 0.0}
    kl = {beta: train_vae(tiny, beta=beta, **SMALL | options)[1][-1]["divergence"] for beta in (0.0, 1000.0)}
    assert kl[1000.0] < 0.1 < 1 < kl[0.0]


def test_annealed_is_not_constant_and_beta_0_has_no_ramp(tiny):
    weights = lambda **options: artifacts.digest(train_vae(tiny, steps=3, **SMALL | options)[0].state_dict())
    assert weights(ramp=0.9) != weights(ramp=0.0)
    assert weights(beta=0.0, ramp=0.9) == weights(beta=0.0, ramp=0.0)


def test_noise_is_added_to_the_same_images_and_as_large_as_the_likelihood_says(tiny):
    model, _ = train_bs_vae(tiny, steps=20, lr=0.01, ema=0.9, **SMALL)
    state, labels = (model.state_dict(), {"settings": model.settings}), torch.arange(30) % 3
    plain, noisy = (vae.sample_vae(state, labels, 0, noise=noise) for noise in (False, True))
    inside = (noisy > 0) & (noisy < 1)
    grain = (noisy - plain)[inside]
    assert 0.01 < float(model.deviation) < 0.5
    assert float(grain.std()) == pytest.approx(float(model.deviation), rel=0.4)
    assert torch.equal(vae.sample_vae(state, labels[:7], 0, noise=True), noisy[:7])


def test_a_training_of_seconds_ends(tiny):
    model, curve = train_vae(tiny, seconds=0.2, **SMALL)
    assert curve[-1]["step"] >= 1 and not model.training


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beta": -1.0}, "beta is -1.0; allowed are 0 and above"),
        ({"ramp": 1.5}, "ramp is 1.5; allowed is a share"),
        ({"variance": 0.0}, "variance is 0.0; allowed are numbers above 0"),
        ({"pool": "pixel"}, "pool is 'pixel'; allowed are image, batch"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"lr": 0.0}, "lr 0.0"),
        ({"steps": None}, "give steps, or seconds"),
        ({"width": 15}, "width is 15"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(tiny, wrong, message):
    with pytest.raises(ValueError, match=message):
        train_vae(tiny, **SMALL | {"steps": 1} | wrong)


def test_a_loss_that_is_not_finite_stops_the_training(tiny):
    with pytest.raises(FloatingPointError, match="the VAE's loss is not finite at step .*lower lr"):
        train_vae(tiny, steps=20, lr=1e30, **SMALL)
