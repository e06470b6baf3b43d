"""Offsets of another class, added to real images in latents or pixels; and that killed latent trainings go on."""

import pytest
import torch
from test_gan_training import Killed, kill_at, same

from sega_utils.augmenters import glico, offsets, vae
from sega_utils.core import artifacts
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.images import Dataset

SMALL = {"seed": 0, "width": 16, "z_dim": 8, "batch_size": 8}
TRAIN = {"vae": vae.train_vae, "bs-vae": vae.train_bs_vae, "glico": glico.train_glico, "offsets": offsets.train_offsets}


def state_of(network):
    return network.state_dict(), {"settings": network.settings}


@pytest.fixture(scope="module")
def trained(tiny):
    return offsets.train_offsets(tiny, steps=40, lr=0.01, ema=0.9, **SMALL | {"batch_size": 16})[0]


def draw(network, labels, **options):
    return offsets.sample_offsets(state_of(network), labels, 0, bank=type(network), **options)


def test_the_start_is_of_the_class_and_the_other_two_of_one_other_class(tiny):
    labels = torch.arange(300) % 3
    at = offsets.sources(tiny.labels, labels, 0)
    plus, minus = tiny.labels[at["plus"]], tiny.labels[at["minus"]]
    assert (tiny.labels[at["start"]] == labels).all() and (plus == minus).all() and (plus != labels).all()
    assert (at["plus"] != at["minus"]).all()
    assert (at["start"][:36].bincount(minlength=36) == 1).all(), "each image once before one is met again"
    # from each class to both others, as often by chance
    counts = torch.zeros(3, 3).index_put_((labels, plus), torch.ones(300), accumulate=True)
    assert (counts.diagonal() == 0).all() and counts.sum(1).tolist() == [100] * 3
    assert (counts + 100 * torch.eye(3)).min() > 30


def test_pixels_are_sums_cut_to_the_range(tiny):
    bank, curve = offsets.keep_pixels(tiny, seed=0)
    labels = torch.arange(10) % 3
    at = offsets.sources(tiny.labels, labels, 0)
    images = tiny.images
    for strength in (1.0, 0.3):
        expected = (images[at["start"]] + strength * (images[at["plus"]] - images[at["minus"]])).clamp(0, 1)
        torch.testing.assert_close(draw(bank, labels, strength=strength), expected, rtol=0, atol=1e-6)
    assert torch.equal(draw(bank, labels, strength=0.0), images[at["start"]]) and curve == []


def test_latents_without_an_offset_are_the_images_reconstruction(trained, tiny):
    labels = tiny.labels
    start = offsets.sources(labels, labels, 0)["start"]
    plain, moved = draw(trained, labels, strength=0.0), draw(trained, labels)
    with torch.no_grad():
        mean, _ = trained.vae.encode(tiny.images[start], labels)
        expected = trained.vae(mean, labels)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-4)
    assert (plain - tiny.images[start]).square().mean() < 0.02
    assert (moved - plain).abs().amax((1, 2, 3)).median() > 0.01, "images are changed by their offsets"


def test_inputs_are_left_as_they_were(tiny):
    before = artifacts.digest({"images": tiny.images})
    bank, _ = offsets.keep_pixels(tiny, seed=0)
    bank.codes.zero_()
    assert artifacts.digest({"images": tiny.images}) == before


def test_a_single_class_a_lonely_image_and_wrong_strengths_are_refused(tiny, trained):
    one = Dataset(tiny.images, torch.zeros(36, dtype=torch.int64), ("bag",))
    lonely = tiny._replace(images=tiny.images[:4], labels=tiny.labels[:4])
    for fit in (offsets.train_offsets, offsets.keep_pixels):
        with pytest.raises(ValueError, match="images of 1 class; offsets are those of another class"):
            fit(one, seed=0)
        with pytest.raises(ValueError, match=r"classes \[1, 2\] have fewer than 2 images"):
            fit(lonely, seed=0)
    for strength in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="allowed are 0 and above"):
            draw(trained, tiny.labels, strength=strength)


@pytest.mark.parametrize("name", TRAIN)
def test_a_killed_training_goes_on_bit_for_bit_and_other_settings_are_refused(tiny, tmp_path, name):
    train = lambda path=None, **changed: TRAIN[name](
        tiny, **SMALL | {"steps": 6, "checkpoint": path, "every": 2} | changed
    )
    whole, curve = train()
    checkpoint = tmp_path / "state.safetensors"
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
        kill_at(monkeypatch, 5)
        train(checkpoint)
    assert artifacts.load_tensors(checkpoint)[1]["step"] == 4
    resumed, resumed_curve = train(checkpoint)
    assert same(whole, resumed) and resumed_curve[-1] == curve[-1]
    for changed in ({"seed": 1}, {"batch_size": 4}, {"ema": 0.5}, {"steps": 7}, {"depth": 3}):
        with pytest.raises(ArtifactError, match="made with other settings"):
            train(checkpoint, **changed)
