"""Fidelity: PSNR and MS-SSIM agree with their references, and the random gate drops as many."""

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from sega_utils.filters import fidelity

# of torchmetrics 1.9.0, multiscale_structural_similarity_index_measure with data_range = 1 and the same weights, for
# the images of ``pair``
TORCHMETRICS = {
    (32, 1): [0.997023, 0.979039, 0.790274],
    (32, 3): [0.99848, 0.983471, 0.594263],
    (64, 1): [0.995162, 0.968236, 0.805453],
    (64, 3): [0.997627, 0.988186, 0.782812],
}


def pair(side, channels, n=3):
    """Return smooth images and what waves make of them, the same on every machine."""
    at = torch.linspace(0, 1, side)
    waves = [torch.sin(6 * (k + 1) * at)[:, None] * torch.cos(5 * (k + 1) * at) for k in range(n * channels)]
    a = (torch.stack(waves).view(n, channels, side, side) + 1) / 2
    noise = torch.sin(torch.arange(a.numel(), dtype=torch.float64) ** 1.5).float().view_as(a)
    strength = torch.tensor([0.02, 0.1, 0.4])[:, None, None, None]
    return a, (a + strength * noise).clamp(0, 1)


def test_psnr_is_that_of_scikit_image():
    a, b = pair(32, 3)
    expected = [peak_signal_noise_ratio(x.numpy(), y.numpy(), data_range=1) for x, y in zip(a, b)]
    torch.testing.assert_close(fidelity.psnr(a, b), torch.tensor(expected).float(), rtol=0, atol=1e-4)


def test_a_constant_offset_of_a_tenth_is_20_db_and_equal_images_have_the_cap():
    a = torch.full((2, 1, 32, 32), 0.25)
    assert fidelity.psnr(a, a + 0.1).tolist() == pytest.approx([20, 20], abs=1e-5)
    assert fidelity.psnr(a, a).tolist() == [fidelity.BEST] * 2


@pytest.mark.parametrize(("side", "channels"), TORCHMETRICS)
def test_ms_ssim_is_that_of_torchmetrics(side, channels):
    found = fidelity.ms_ssim(*pair(side, channels))
    assert found.tolist() == pytest.approx(TORCHMETRICS[side, channels], abs=1e-5)
    assert (found.diff() < 0).all()  # the more noise, the lower


def test_equal_images_have_an_ms_ssim_of_1():
    a, _ = pair(32, 1)
    torch.testing.assert_close(fidelity.ms_ssim(a, a), torch.ones(3))


@pytest.mark.parametrize(("side", "scales"), [(11, 1), (32, 2), (64, 3), (128, 4), (161, 5)])
def test_a_side_has_as_many_scales_as_its_window_allows(side, scales):
    assert fidelity.scales_of(side) == scales


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 64, 64), r"of one shape; received .*32\) and .*64\)"),
        (torch.zeros(1, 1, 32, 32).double(), torch.zeros(1, 1, 32, 32).double(), "must both be float32"),
        (torch.full((1, 1, 32, 32), 2.0), torch.zeros(1, 1, 32, 32), r"must lie in \[0, 1\]; received 0.0 .. 2.0"),
        (torch.full((1, 1, 32, 32), torch.nan), torch.zeros(1, 1, 32, 32), "look for NaN"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8), "side is 8 pixels; MS-SSIM needs at least 11"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        fidelity.ms_ssim(a, b)


def test_more_scales_than_a_side_has_are_refused():
    with pytest.raises(ValueError, match="scales is 3; 32 pixels a side allow 1 .. 2"):
        fidelity.ms_ssim(*pair(32, 1), scales=3)
