"""Channels as measured curves: each operation has the numbers of its formula, and what must stay as it is does."""

import math

import pytest
import torch

from sega_utils.core import runtime
from sega_utils.data import augment, policies, signals


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 32, 32, generator=runtime.generator(0)).mul(255).round() / 255


@pytest.mark.parametrize("name", signals.POLICIES)
@pytest.mark.parametrize(("channels", "side"), [(1, 32), (3, 64)])
def test_a_policy_changes_images_and_keeps_their_shape_and_range(name, channels, side):
    images = torch.rand(40, channels, side, side, generator=runtime.generator(0))
    images[0], images[1] = 0.0, 1.0
    kept = images.clone()
    changed = augment.POLICIES[name](images)
    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert 0 <= changed.min() and changed.max() <= 1
    assert torch.equal(images, kept) and not torch.equal(changed, images)


# A: smoothing


def test_smoothing_keeps_constants_and_spreads_a_pixel_over_its_neighbours():
    for value in (0.0, 0.3, 1.0):
        flat = torch.full((2, 3, 32, 32), value)
        torch.testing.assert_close(signals.smooth(flat), flat, rtol=0, atol=1e-6)
    dot = torch.zeros(1, 1, 32, 32)
    dot[..., 10, 10], dot[..., 0, 31] = 9.0, 36.0
    found = signals.smooth(dot)[0, 0]
    assert torch.equal(found[9:12, 9:12], torch.ones(3, 3)) and float(found[3:20, 3:20].sum()) == 9
    # a corner has 4 pixels, and an edge 6
    assert torch.equal(found[:2, 30:], torch.tensor([[6.0, 9.0], [4.0, 6.0]]))


# B: fluctuation


def test_fluctuation_has_the_numbers_of_its_formula():
    curve = torch.tensor([1.0, 2.0, 9.0]).view(1, 1, 1, 3)
    torch.testing.assert_close(signals.fluctuate(curve).flatten(), torch.tensor([5 / 6, 10 / 6, 10.5]))
    torch.testing.assert_close(signals.fluctuate(curve, m=1).flatten(), torch.tensor([0.0, 0.0, 18.0]))
    even = torch.tensor([4.0, 5.0, 6.0]).view(1, 1, 1, 3)
    assert torch.equal(signals.fluctuate(even), even)  # 6 - 4 is not above 5
    edge = torch.tensor([2.0, 3.0, 5.0, 2.0]).view(1, 1, 2, 2)
    assert torch.equal(signals.fluctuate(edge), edge)  # 5 - 2 is the mean


def test_each_channel_fluctuates_about_its_own_mean_and_is_cut_to_one(images):
    dark = torch.cat((images[:, :1], images[:, 1:2] * 0.1, 0.9 + 0.1 * images[:, 2:]), 1)
    found = signals.fluctuate(dark)
    for c in (0, 1):
        assert torch.equal(found[:, c : c + 1], signals.fluctuate(dark[:, c : c + 1]))
        assert not torch.equal(found[:, c], dark[:, c])
    assert torch.equal(found[:, 2], dark[:, 2]) and found.max() > 1
    assert torch.equal(signals.POLICIES["fluctuated"](dark), found.clamp(0, 1))
    with pytest.raises(ValueError, match="m is 0; allowed is 1 or more, the paper has 6"):
        signals.fluctuate(images, m=0)


# E: Haar threshold


def test_the_haar_transform_is_means_and_differences_and_keeps_the_energy(images):
    square = torch.tensor([[1.0, 2.0], [3.0, 8.0]]).view(1, 1, 2, 2)
    assert signals.haar(square).flatten().tolist() == [7.0, -3.0, -4.0, 2.0]
    bands = signals.haar(images)
    assert bands.shape == (6, 3, 4, 16, 16)
    torch.testing.assert_close(bands[:, :, 0] / 2, torch.nn.functional.avg_pool2d(images, 2))
    torch.testing.assert_close(bands.square().sum((2, 3, 4)), images.square().sum((2, 3)))


def test_the_haar_transform_inverts_exactly(images):
    dyadic = (images * 255).round() / 256  # sums of these are exact
    assert torch.equal(signals.unhaar(signals.haar(dyadic)), dyadic)
    torch.testing.assert_close(signals.unhaar(signals.haar(images)), images, rtol=0, atol=1e-6)
    bands = torch.randn(2, 3, 4, 8, 8, generator=runtime.generator(1))
    torch.testing.assert_close(signals.haar(signals.unhaar(bands)), bands)
    with pytest.raises(ValueError, match="images are 32 x 31; a Haar transform takes even sides"):
        signals.haar(images[..., :31])


def test_the_threshold_has_the_numbers_of_its_formula():
    details = torch.tensor([[-3.0, 1.0, 2.0], [0.5, -0.5, 0.5]])
    found = signals.universal(details, values=96)
    assert found.tolist() == pytest.approx([2 * 4.4794, 0.5 * 4.4794], rel=1e-4)
    assert signals.universal(details, values=96, level=3).tolist() == pytest.approx(found.div(2).tolist())
    assert float(signals.universal(torch.tensor([7.0]), values=1)) == 0
    blank = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1e-8, -2.0], [0.0] * 6])
    assert signals.universal(blank, values=96).tolist() == pytest.approx([2 * 4.4794, 0.0], rel=1e-4)
    for wrong in ({"values": 0}, {"values": 96, "level": 0}):
        with pytest.raises(ValueError, match="values and level are .*; allowed is 1 or more"):
            signals.universal(details, **wrong)


def test_a_threshold_of_zero_is_the_identity_and_a_large_one_leaves_means(images):
    torch.testing.assert_close(signals.threshold(images, torch.zeros(6, 3)), images, rtol=0, atol=1e-6)
    means = torch.nn.functional.avg_pool2d(images, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(signals.threshold(images, torch.full((6, 3), 9.0)), means)
    flat = torch.full((2, 1, 32, 32), 0.3)
    torch.testing.assert_close(signals.threshold(flat), flat)


def test_details_move_towards_zero_by_the_threshold_of_their_channel(images):
    lam = torch.linspace(0.01, 0.3, 18).view(6, 3)
    grey = images * 0.2 + 0.4  # so that nothing is cut
    before, after = signals.haar(grey), signals.haar(signals.threshold(grey, lam))
    torch.testing.assert_close(after[:, :, 0], before[:, :, 0])
    for image, channel in ((0, 0), (2, 1), (5, 2)):
        soft = torch.nn.functional.softshrink(before[image, channel, 1:], float(lam[image, channel]))
        torch.testing.assert_close(after[image, channel, 1:], soft, rtol=0, atol=1e-6)


def test_noise_on_a_blank_ground_goes_and_an_edge_stays():
    clean = torch.full((1, 1, 32, 32), 0.2)
    clean[..., 16:] = 0.8
    clean[..., 5:, 20:] -= 0.3  # this edge lies inside squares of 2 x 2
    noisy = clean + 0.01 * torch.randn(1, 1, 32, 32, generator=runtime.generator(0))
    lam = signals.universal(signals.haar(noisy)[:, :, 3].flatten(2), values=1024)
    assert float(lam) == pytest.approx(0.01 * math.sqrt(2 * math.log(1024)), rel=0.2)  # noise of 0.01 in each band
    found = signals.threshold(noisy)
    error = lambda image: float((image - clean)[..., 8:, :].square().mean().sqrt())
    assert error(found) < 0.6 * error(noisy)
    assert float((found[..., 4, 20:] - found[..., 5, 20:]).mean()) == pytest.approx(0.3, abs=0.05)
    torch.testing.assert_close(found, signals.threshold(noisy, lam))


# combined


def test_in_sequence_smoothing_comes_first(images):
    found = augment.POLICIES["time and frequency"](images)
    assert torch.equal(found, signals.threshold(signals.smooth(images)))
    assert not torch.allclose(found, signals.smooth(signals.threshold(images)), atol=1e-3)


def test_separately_each_image_is_itself_smoothed_or_thresholded_by_torch_s_seed_alone(images):
    many = images[:1].repeat(900, 1, 1, 1)
    torch.manual_seed(0)
    found = augment.POLICIES["separately"](many)
    kinds = [images[0], signals.smooth(images[:1])[0], signals.threshold(images[:1])[0]]
    same = torch.stack([torch.isclose(found, kind, rtol=0, atol=1e-6).all((1, 2, 3)) for kind in kinds], 1)
    assert (same.sum(1) == 1).all() and (same.sum(0) > 200).all()
    torch.manual_seed(0)
    assert torch.equal(found, signals.separate(many))
    torch.manual_seed(1)
    assert not torch.equal(found, signals.separate(many))


def test_it_all_goes_through_what_chooses_a_version(images, monkeypatch):
    monkeypatch.setattr(policies, "one_of", lambda *versions: torch.stack(versions))
    found = signals.separate(images)
    assert torch.equal(found, torch.stack((images, signals.smooth(images), signals.threshold(images))))
