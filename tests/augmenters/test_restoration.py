"""Restoration: twice the side, bicubic before training and better after it, resumed to the same weights."""

import pytest
import torch

from sega_utils.augmenters import restoration
from sega_utils.augmenters.restoration import Restorer, restore, train_restorer
from sega_utils.core import artifacts
from sega_utils.data.images import Dataset, resize

TINY = {"seed": 0, "width": 6, "batch_size": 4}


def squares(n, channels=1, side=32):
    """Return images of sharp squares, which bicubic blurs."""
    rng = torch.Generator().manual_seed(n)
    images = torch.zeros(n, channels, side, side)
    for image in images:
        top, left = torch.randint(2, side // 2, (2,), generator=rng).tolist()
        image[:, top : top + 9, left : left + 9] = 1
    return Dataset(images, torch.arange(n) % 2, ("a", "b"))


@pytest.mark.parametrize(("channels", "side"), [(1, 32), (3, 32), (1, 64)])
def test_an_untrained_network_doubles_the_side_as_bicubic_does(channels, side):
    images = torch.rand(2, channels, side, side, generator=torch.Generator().manual_seed(0))
    model = Restorer(channels=channels, side=16, width=6, stages=1).eval()
    large = restore(model, images)
    assert large.shape == (2, channels, 2 * side, 2 * side)
    torch.testing.assert_close(large, resize(images, 2 * side))


def test_it_learns_to_restore_held_out_images_better_than_bicubic_and_stays_in_range():
    model, curve = train_restorer(squares(16), seed=0, steps=150, width=12, batch_size=4, lr=0.01, ema=0.9)
    whole = squares(6).images
    half = resize(whole, 16)
    large = restore(model, half)
    assert 0 <= large.min() and large.max() <= 1 and curve[-1]["step"] == 150
    assert (large - whole).square().mean() < 0.97 * (resize(half, 32) - whole).square().mean()


def test_a_resumed_training_ends_in_the_same_weights(tmp_path, monkeypatch):
    data, path, calls = squares(4), tmp_path / "state.safetensors", []
    whole, _ = train_restorer(data, steps=4, **TINY)
    follow = restoration.learning.follow

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        follow(*args, **kwargs)

    monkeypatch.setattr(restoration.learning, "follow", killed)
    with pytest.raises(KeyboardInterrupt):
        train_restorer(data, steps=4, checkpoint=path, every=2, **TINY)
    monkeypatch.undo()
    resumed, _ = train_restorer(data, steps=4, checkpoint=path, every=2, **TINY)
    assert artifacts.digest(resumed.state_dict()) == artifacts.digest(whole.state_dict())


def test_a_loss_that_is_not_finite_stops_the_training(monkeypatch):
    monkeypatch.setattr(restoration.F, "l1_loss", lambda a, b: (a - b).mean() * torch.nan)
    with pytest.raises(FloatingPointError, match="at step 1; lower lr"):
        train_restorer(squares(4), steps=1, **TINY)


@pytest.mark.parametrize("settings", [{"side": 28}, {"side": 0}, {"width": 10}, {"width": 0}])
def test_a_side_or_width_that_cannot_be_built_is_refused(settings):
    with pytest.raises(ValueError, match="allowed are multiples of 8 and of 6"):
        Restorer(**settings)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"received images \(2, 3, 32, 32\); the network restores \(N, 1, S, S\)"):
        restore(Restorer(side=16, width=6, stages=1), torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.full((1, 1, 32, 32), float("nan")), "finite float32"),
        (torch.zeros(1, 1, 32, 32, dtype=torch.uint8), "received torch.uint8"),
        (torch.zeros(1, 1, 32, 16), "restores .N, 1, S, S."),
        (torch.zeros(0, 1, 32, 32), "N of 1 or more"),
    ],
)
def test_what_is_no_image_is_not_restored(images, message):
    with pytest.raises(ValueError, match=message):
        restore(Restorer(side=16, width=6, stages=1).eval(), images)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"ema": 1.0}])
def test_a_training_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="allowed are 1 or more, and 0 .. 1, 1 excluded"):
        train_restorer(squares(4), steps=1, **TINY | wrong)
