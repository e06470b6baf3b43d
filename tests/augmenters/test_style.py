"""The style autoencoder: its shapes, what it learns, and what it refuses."""

import pytest
import torch

from sega_utils.augmenters import sage, style
from sega_utils.core import artifacts


@pytest.fixture(scope="module")
def state(tiny):
    return style.fit(tiny.images, tiny.labels, num_classes=3, steps=4, batch_size=12, dims=5, width=16)


def test_images_become_latents_in_three_groups_and_images_again(tiny, state):
    latents = style.invert(state, tiny.images)
    assert latents.shape == (36, 3, 5) and latents.dtype == torch.float32
    images = style.render(state, latents)
    assert images.shape == tiny.images.shape and 0 <= float(images.min()) and float(images.max()) <= 1
    assert torch.allclose(style.render(state, latents, batch=7), images, atol=1e-5)
    assert torch.allclose(style.invert(state, tiny.images, batch=7), latents, atol=1e-5)


def test_each_group_moves_images_and_a_fine_one_leaves_coarse_layers_alone(tiny, state):
    network, latents = style.network_of(state), style.invert(state, tiny.images[:2])
    images = style.render(state, latents)
    for group in range(style.GROUPS):
        moved = latents.clone()
        moved[:, group] += 3
        assert not torch.allclose(style.render(state, moved), images, atol=1e-4)
    coarse = [network.blocks[0](network.start.expand(2, -1, -1, -1), part[:, 0]) for part in (latents, moved)]
    assert torch.equal(*coarse)


def test_it_learns_to_reconstruct_without_labels_and_repeats_itself(tiny):
    settings = {"num_classes": 3, "batch_size": 16, "dims": 6, "width": 16, "lr": 0.01, "adversarial": 0.0}
    error = lambda found: float((style.render(found, style.invert(found, tiny.images)) - tiny.images).square().mean())
    early, late = (style.fit(tiny.images, tiny.labels, steps=n, **settings) for n in (2, 60))
    assert error(late) < 0.8 * error(early)
    again = style.fit(tiny.images, tiny.labels.flip(0), steps=2, **settings)
    assert all(torch.equal(early[0][name], tensor) for name, tensor in again[0].items())
    assert early[1]["seen"] != again[1]["seen"]


def test_the_critic_changes_what_is_learnt_and_is_not_kept(tiny, state):
    alone = style.fit(tiny.images, tiny.labels, num_classes=3, steps=4, batch_size=12, dims=5, width=16, adversarial=0)
    assert alone[0].keys() == state[0].keys() and not torch.equal(alone[0]["start"], state[0]["start"])


def test_divergence_pulls_latents_to_the_prior(tiny):
    model = style.Autoencoder(channels=1, side=32, dims=5, width=16)
    for head in model.encoder.heads:
        torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    drawn, error, divergence = style.terms(model, tiny.images, torch.Generator().manual_seed(0))
    assert divergence.item() == 0 and drawn.shape == tiny.images.shape
    best = (tiny.images - drawn).square().mean((1, 2, 3))
    assert error.item() == pytest.approx(float(0.5 * ((2 * torch.pi * best).log() + 1).mean()), rel=1e-4)


def test_atoms_are_learnt_through_it(tiny, state):
    latents = style.invert(state, tiny.images)
    means, network = sage.class_means(latents, tiny.labels), style.network_of(state)
    offsets, sizes = latents - means[tiny.labels], []

    def error(index, made):
        sizes.append(tuple(made.shape))
        return torch.nn.functional.mse_loss(network(means[tiny.labels[index]] + made), tiny.images[index])

    atoms = sage.learn_atoms(offsets, means, 4, steps=3, batch=8, error=error)
    assert sizes == [(8, 3, 5)] * 3 and torch.allclose(atoms.norm(dim=1), torch.ones(3, 4), atol=1e-5)
    assert not torch.equal(atoms, sage.learn_atoms(offsets, means, 4, steps=3, batch=8))


def test_what_it_refuses(tiny, state):
    with pytest.raises(ValueError, match="received images .3, 32, 32.; allowed are those of the generator"):
        style.invert(state, tiny.images.repeat(1, 3, 1, 1))
    with pytest.raises(artifacts.ArtifactError, match="no state of such an augmenter"):
        style.render((state[0], {"augmenter": "linear"}), torch.zeros(1, 3, 5))
    with pytest.raises(FloatingPointError, match="lower lr"):
        style.fit(tiny.images, tiny.labels, num_classes=3, steps=60, batch_size=12, dims=5, width=16, lr=1e9)
    with pytest.raises(ValueError, match="have fewer than 2 images"):
        style.fit(tiny.images[:3], torch.arange(3), num_classes=3)
