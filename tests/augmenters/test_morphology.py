"""GM-GAN's layers against max-pooling, closed forms and the laws of morphology, and its two networks."""

import math

import pytest
import torch
from torch.nn import functional as F

from sega_utils.augmenters.morphology import (
    METRICS,
    Morphoblock,
    MorphoGenerator,
    PerceptronCritic,
    dilation,
    distances,
    erosion,
    structuring,
    told,
)


@pytest.fixture
def maps():
    return torch.randn(2, 3, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def structure():
    return structuring(distances(5, "disc"), torch.tensor([0.5, 1.0, 3.0]).view(3, 1, 1))


# the structuring function


@pytest.mark.parametrize(("k", "c"), [(2, 0.25), (1.5, 0.14815), (3, 0.38490)])
def test_its_factor(k, c):
    assert structuring(torch.tensor(1.0), torch.tensor(1.0), k=k).item() == pytest.approx(c, abs=1e-5)


def test_its_values_and_the_distances():
    assert structuring(torch.tensor(2.0), torch.tensor(1.0)).item() == 1
    disc, plane = distances(5, "disc"), distances(5, "euclid")
    assert disc.shape == (5, 5) and disc[2, 2] == plane[2, 2] == 0
    assert plane[0, 0].item() == pytest.approx(0.9) and disc[0, 0].item() == pytest.approx(2 * math.atanh(0.9))
    middle = distances(3, "disc")[1, 0].item()  # of a window whose side's middle lies at 0.9 / sqrt 2
    assert middle == pytest.approx(2 * math.atanh(0.9 / 2**0.5))
    assert 2 * math.atanh(0.5) == pytest.approx(math.log(3)), "d(0, 1/2), to which the formula comes"
    assert torch.equal(disc, disc.T) and torch.equal(disc, disc.flip(0))


def test_two_scales_one_after_the_other_are_their_sum():
    """A semigroup, in one dimension: the least of b_0.5(x - y) + b_0.7(y) is b_1.2(x), 0.35208 at 1.3."""
    y, x = torch.arange(-3, 3, 0.0025, dtype=torch.float64), 1.3
    at = lambda distance, t: structuring(distance, torch.tensor(t, dtype=torch.float64))
    least = (at((x - y).abs(), 0.5) + at(y.abs(), 0.7)).min().item()
    assert least == pytest.approx(0.35208, abs=1e-5)
    assert at(torch.tensor(x, dtype=torch.float64), 1.2).item() == pytest.approx(least, abs=1e-5)


# the layers


@pytest.mark.parametrize("window", [1, 3, 5])
def test_flat_structuring_functions_are_max_pooling(maps, window):
    flat = torch.zeros(3, window, window)
    pooled = F.max_pool2d(maps, window, 1, window // 2)
    assert torch.equal(dilation(maps, flat), pooled)
    assert torch.equal(erosion(maps, flat), -F.max_pool2d(-maps, window, 1, window // 2))


def test_a_dilation_is_the_largest_of_the_window_less_the_structure(maps, structure):
    windows = F.pad(maps, [2] * 4, value=-torch.inf).unfold(2, 5, 1).unfold(3, 5, 1)
    assert torch.equal(dilation(maps, structure), (windows - structure[:, None, None]).amax((-2, -1)))


def test_gradients_are_those_of_the_maximum(maps, structure):
    inputs = [(tensor.double()).requires_grad_() for tensor in (maps, structure)]
    windows = F.pad(inputs[0], [2] * 4, value=-torch.inf).unfold(2, 5, 1).unfold(3, 5, 1)
    expected = (windows - inputs[1][:, None, None]).amax((-2, -1)).square().sum()
    found = dilation(*inputs).square().sum()
    for a, b in zip(*(torch.autograd.grad(of, inputs) for of in (found, expected)), strict=True):
        torch.testing.assert_close(a, b)


def test_relu_is_a_dilation(maps):
    """Proposition 5: by the maps' largest value everywhere but in the centre, where that is not negative."""
    one = maps[:1, :1, :7, :7]
    around = one.max().expand(1, 13, 13).clone()
    around[:, 6, 6] = 0
    torch.testing.assert_close(dilation(one, around), F.relu(one), rtol=0, atol=1e-6)
    low = one - 10  # its largest value is negative: the structure is, too, and it is no ReLU
    assert not torch.allclose(dilation(low, around - around.max() + low.max()), F.relu(low))


def test_the_laws_of_morphology(maps, structure):
    low, high = erosion(maps, structure), dilation(maps, structure)
    assert (low <= maps).all() and (maps <= high).all()
    assert torch.equal(erosion(-maps, structure), -high), "duality"
    torch.testing.assert_close(dilation(maps + 2, structure), high + 2)
    opened = dilation(low, structure)
    assert (opened <= maps + 1e-6).all(), "an opening lies below"
    torch.testing.assert_close(dilation(erosion(opened, structure), structure), opened)
    moved = dilation(maps.roll((1, 2), (2, 3)), structure).roll((-1, -2), (2, 3))
    assert torch.equal(moved[:, :, 2:-3, 2:-4], high[:, :, 2:-3, 2:-4]), "shifts commute inside the border"
    for function in (erosion, dilation):
        assert torch.equal(function(maps, structuring(distances(5, "disc"), torch.full((3, 1, 1), 1e-6))), maps)


def test_gradients_are_finite_where_values_tie():
    flat = torch.zeros(1, 1, 6, 6, requires_grad=True)
    block = Morphoblock(1, "disc")
    block(flat).square().sum().backward()
    assert flat.grad.isfinite().all() and block.scales.grad.isfinite().all()


# the networks


def test_the_scales_begin_at_1_and_are_learned(maps):
    block = Morphoblock(3, "euclid")
    torch.testing.assert_close(F.softplus(block.scales), torch.ones(2, 3, 1, 1))
    block(maps).square().sum().backward()
    assert (block.scales.grad != 0).all() and block(maps).shape == maps.shape


def test_the_control_differs_by_the_scales_alone():
    shapes = [{n: tuple(p.shape) for n, p in Morphoblock(8, metric).named_parameters()} for metric in METRICS]
    assert shapes[0] == shapes[1] == shapes[2] | {"scales": (2, 8, 1, 1)}
    maps, flat = torch.randn(1, 8, 8, 8), Morphoblock(8, "flat")
    expected = flat.eroded(maps.clamp(min=0)) + flat.dilated(dilation(maps, torch.zeros(8, 5, 5)))
    torch.testing.assert_close(flat(maps), expected)


@pytest.mark.parametrize(("channels", "side"), [(1, 32), (3, 64)])
def test_networks_map_latents_to_images_and_images_to_scores(channels, side):
    shape, labels = {"n_classes": 3, "channels": channels, "side": side}, torch.tensor([0, 2])
    generator, critic = MorphoGenerator(**shape, z_dim=8).eval(), PerceptronCritic(**shape)
    images = generator(torch.randn(2, 8), labels)
    assert images.shape == (2, channels, side, side) and 0 <= images.min() and images.max() <= 1
    assert critic(images, labels).shape == (2,) and not torch.equal(
        critic(images, labels), critic(images, labels.flip(0))
    )
    again = MorphoGenerator(**{k: v for k, v in generator.settings.items() if k != "network"})
    again.load_state_dict(generator.state_dict())


def test_a_class_weighs_as_much_as_all_values():
    joined = told(torch.randn(2, 100), torch.tensor([1, 0]), 3)
    assert joined[:, 100:].tolist() == [[0, 10, 0], [10, 0, 0]] and joined.dtype == torch.float32


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match="metric is 'sphere'; allowed are disc, euclid, flat"):
        MorphoGenerator(n_classes=3, metric="sphere")
