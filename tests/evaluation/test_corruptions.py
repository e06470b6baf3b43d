import numpy as np
import pytest
import torch

from sega_utils.data import catalogue
from sega_utils.data.images import SIDES, from_uint8, to_uint8
from sega_utils.evaluation import corruptions
from sega_utils.evaluation.corruptions import CONSTANTS, CORRUPTIONS, SEVERITIES, corrupt


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return catalogue.load("fashion-mnist", "test").images[:40]


def distance(images: torch.Tensor, name: str) -> list[float]:
    changes = [corrupt(images, name, severity, seed=0) - images for severity in SEVERITIES]
    return [float(change.square().mean((1, 2, 3)).sqrt().mean()) for change in changes]


def test_there_are_the_fifteen_in_four_groups():
    assert len(CORRUPTIONS) == 15 and sorted(sum(corruptions.GROUPS.values(), ())) == sorted(CORRUPTIONS)


# Steps of severity at which the published constants bring no further distance on dark images: motion blur's fourth
# kernel is its third with longer, empty tails; frost's fourth severity differs from its third by a darker image alone;
# the elastic transform's affine part shrinks as severity grows; glass blur's sigmas are all below half a pixel, so that
# what it blurs away of its own scattering matters as much as the scattering.
NOT_FURTHER = {"motion_blur": {3}, "frost": {3}, "elastic_transform": {1, 2, 3, 4}, "glass_blur": {1, 2, 3, 4}}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_higher_severity_is_further_from_the_clean_image(images, name):
    distances = distance(images, name)
    falls = {s for s, (a, b) in enumerate(zip(distances, distances[1:]), 1) if a >= b}
    assert falls <= NOT_FURTHER.get(name, set()), distances


def test_every_corruption_has_constants_for_both_sides():
    assert set(CONSTANTS) == set(SIDES)
    for constants in CONSTANTS.values():
        assert list(constants) == list(CORRUPTIONS) and {len(each) for each in constants.values()} == {5}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_range_levels_and_shape_are_those_of_8_bit_images(images, name, channels, side):
    x = images[:6].repeat(1, channels, side // 32, side // 32)
    out = corrupt(x, name, 3, seed=0)
    assert out.shape == x.shape and out.dtype == torch.float32 and out.min() >= 0 and out.max() <= 1
    assert torch.equal(out, from_uint8(to_uint8(out))) and not torch.equal(out, x)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_depends_on_itself_the_seed_and_its_index_alone(images, name):
    whole = corrupt(images[:12], name, 4, seed=1)
    some = torch.tensor([7, 2])
    assert torch.equal(corrupt(images[some], name, 4, seed=1, indices=some), whole[some])
    assert torch.equal(corrupt(images[:12], name, 4, seed=1), whole)


@pytest.mark.parametrize(
    "name", ["gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "snow", "frost", "fog"]
)
def test_another_seed_is_another_draw(images, name):
    assert not torch.equal(corrupt(images[:4], name, 5, seed=0), corrupt(images[:4], name, 5, seed=1))


@pytest.mark.parametrize(
    ("side", "strengths"), [(32, (0.04, 0.06, 0.08, 0.09, 0.10)), (64, (0.04, 0.08, 0.12, 0.15, 0.18))]
)
def test_noise_has_the_published_strength(side, strengths):
    grey = torch.full((20, 1, side, side), 0.5)
    for severity, sigma in zip(SEVERITIES, strengths):
        assert float(corrupt(grey, "gaussian_noise", severity, seed=0).std()) == pytest.approx(sigma, rel=0.03)


@pytest.mark.parametrize(("side", "severity", "reach"), [(32, 5, 1), (64, 3, 1), (64, 4, 2), (64, 5, 2)])
def test_glass_blur_moves_pixels_as_far_as_published_and_spares_a_frame(side, severity, reach):
    constants = CONSTANTS[side]["glass_blur"][severity - 1]
    assert constants[1] == reach
    x = np.arange(side * side).reshape(1, 1, side, side) / 255  # each pixel has its own value, far apart
    moved = CORRUPTIONS["glass_blur"](x, [np.random.default_rng(0)], 1e-3, *constants[1:]) * 255
    rows, cols = np.divmod(np.round(moved[0, 0]).astype(int), side)
    down, right = (places - where for places, where in zip((rows, cols), np.indices((side, side))))
    inside = slice(reach + 1, side - reach + 1)
    outside = np.ones((side, side), bool)
    outside[inside, inside] = False
    assert not down[outside].any() and not right[outside].any()
    for shift in (down, right):
        values = set(shift[inside, inside].ravel())
        assert min(values) < 0 and (constants[2] > 1 or reach > 1 or values == {-1, 0})


def test_contrast_keeps_the_mean_and_the_published_share_of_the_spread(images):
    before, after = images.numpy().std((1, 2, 3)), corrupt(images, "contrast", 5, seed=0).numpy().std((1, 2, 3))
    assert np.allclose(after, 0.15 * before, atol=0.004)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": "rain"}, "unknown corruption 'rain'; known are gaussian_noise"),
        ({"severity": 6}, "severity is 6; allowed are 1 .. 5"),
        ({"severity": 0}, "severity is 0; allowed are 1 .. 5"),
        ({"images": torch.zeros(2, 1, 28, 28)}, r"received torch.float32 \(2, 1, 28, 28\)"),
        (
            {"images": torch.full((2, 1, 32, 32), 255.0)},
            r"values in \[0, 1\]; received values in \[255.0, 255.0\]: rescale",
        ),
        ({"images": torch.zeros(0, 1, 32, 32)}, "received no images"),
        ({"indices": torch.arange(3)}, "each needs one"),
    ],
)
def test_what_is_not_allowed_is_named(change, message):
    asked = {"images": torch.zeros(2, 1, 32, 32), "name": "fog", "severity": 1, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        corrupt(**asked)
