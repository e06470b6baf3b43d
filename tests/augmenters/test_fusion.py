"""Fusion: its limits, in which an image is the real one or the edited one again."""

import pytest
import torch

from sega_utils.augmenters import fusion


@pytest.fixture
def three():
    """Return a real image, its inversion and an edit, all well inside 0 .. 1."""
    rng = torch.Generator().manual_seed(0)
    return [0.3 + 0.3 * torch.rand(2, 1, 32, 32, generator=rng) for _ in range(3)]


def test_where_nothing_is_edited_and_all_was_lost_the_real_image_comes_back(three):
    real, inverted, _ = three
    ones = torch.ones_like(real)
    assert torch.allclose(fusion.in_pixels(real, inverted, inverted, ones), real, atol=1e-6)
    assert torch.allclose(fusion.in_pixels(real, inverted, inverted, ones, form="blend"), real)
    assert (fusion.in_pixels(real, inverted, inverted, ones, form="printed") >= real).all()
    with pytest.raises(ValueError, match="allowed are difference, blend, printed"):
        fusion.in_pixels(real, inverted, inverted, ones, form="none")


def test_the_mask_without_edit_is_the_smoothed_loss_and_a_large_edit_leaves_none(three):
    real, inverted, edited = three
    found = fusion.lost(real, inverted, edited, beta=0, stretch=False)
    assert torch.allclose(found, fusion.smooth((real - inverted).abs()))
    assert not fusion.lost(real, inverted, edited, beta=1e6).any()
    stretched = fusion.lost(real, inverted, inverted)
    assert torch.allclose(stretched.amax((1, 2, 3)), torch.ones(2))
    assert not fusion.lost(real, real, real).any()  # 0/0


def test_the_low_band_of_an_unedited_image_becomes_the_real_ones(three):
    real, inverted, _ = three
    found = fusion.in_frequencies(real, inverted, inverted)
    band = found - (inverted - fusion.low_pass(inverted))
    assert torch.allclose(band, fusion.low_pass(real), atol=1e-5)


def test_flat_images_are_multiplied_as_the_weights_say():
    flat = torch.full((1, 1, 32, 32), 0.3)
    for g1, g2 in ((1.0, 1.0), (0.8, 0.3)):
        found = fusion.in_frequencies(flat, flat, flat, g1=g1, g2=g2)
        assert torch.allclose(found, flat * (g1 + 1 - g2), atol=1e-6)


def test_the_low_pass_keeps_the_mean_and_smooths(three):
    real = three[0]
    low = fusion.low_pass(real)
    assert torch.allclose(low.mean((2, 3)), real.mean((2, 3)), atol=1e-6)
    assert (low.var((2, 3)) < 0.5 * real.var((2, 3))).all()


def test_fusing_in_both_ways_begins_with_the_pixels(three):
    real, inverted, edited = three
    first = fusion.fuse(real, inverted, edited, "p")
    assert torch.equal(fusion.fuse(real, inverted, edited, "p+f"), fusion.in_frequencies(real, inverted, first))
    with pytest.raises(ValueError, match=r"fusion is 'x'; allowed are p, f, p\+f"):
        fusion.fuse(real, inverted, edited, "x")
