import pytest
import torch
import yaml

from sega_utils.augmenters import sega
from sega_utils.augmenters.base import generate, save_generator
from sega_utils.augmenters.gan import Discriminator, Generator
from sega_utils.augmenters.pools import load_generator
from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "generator.safetensors"


# the networks


@pytest.mark.parametrize(("channels", "width", "depth"), [(1, 16, 1), (3, 16, 2), (1, 40, 3)])
def test_width_depth_and_channels_are_parameters(channels, width, depth):
    labels = torch.tensor([0, 2, 1])
    model = Generator(n_classes=3, channels=channels, z_dim=5, width=width, depth=depth)
    images = model(torch.randn(3, 5), labels)
    assert images.shape == (3, channels, 32, 32)
    assert 0 <= images.min() and images.max() <= 1
    critic = Discriminator(n_classes=3, channels=channels, width=width, depth=depth)
    assert critic(images, labels).shape == (3,)


@pytest.mark.parametrize(("side", "sizes"), [(32, [64, 32, 16, 8]), (64, [64, 32, 16, 8, 4])])
def test_channels_halve_whenever_the_side_doubles(side, sizes, path):
    model, seen = Generator(n_classes=3, width=64, depth=2, side=side), []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape[1:])))
    labels = torch.tensor([0, 2])
    images = generate(model.eval(), labels)
    assert images.shape == (2, 1, side, side) and generate(model, labels[:0]).shape == (0, 1, side, side)
    assert seen[: len(model.blocks)] == [(size, 8 << i, 8 << i) for i, size in enumerate(sizes[1:])]
    critic = Discriminator(n_classes=3, width=64, depth=2, side=side)
    assert critic(images, labels).shape == (2,) and critic.stem.out_channels == sizes[-1]
    save_generator(path, model, {})
    assert torch.equal(generate(load_generator(path), labels), images)


@pytest.mark.parametrize(("width", "side"), [(4, 32), (20, 32), (24, 64), (0, 32)])
def test_a_width_that_cannot_be_halved_so_often_is_refused(width, side):
    with pytest.raises(ValueError, match=f"width is {width}; allowed for images of {side} .* multiples of {side // 4}"):
        Generator(n_classes=2, width=width, side=side)


def test_depth_is_the_number_of_convolutions_at_each_resolution():
    for depth in (1, 2, 3):
        model = Generator(n_classes=2, width=16, depth=depth)
        for block in model.blocks:
            assert 1 + len(block.convs) == depth


def test_image_and_score_depend_on_latent_and_label(generator):
    z, labels = torch.randn(2, 8), torch.tensor([0, 1])
    assert not torch.equal(generator(z[:1], labels[:1]), generator(z[:1], labels[1:]))
    assert not torch.equal(generator(z[:1], labels[:1]), generator(z[1:], labels[:1]))
    critic = Discriminator(n_classes=3, width=16).eval()
    images = torch.rand(1, 1, 32, 32)
    assert critic(images, labels[:1]) != critic(images, labels[1:])


def test_every_layer_of_the_discriminator_has_spectral_norm_one():
    torch.manual_seed(0)
    critic = Discriminator(n_classes=3, width=16, depth=2)
    images, labels = torch.rand(4, 1, 32, 32), torch.tensor([0, 1, 2, 0])
    for _ in range(100):  # each forward pass takes one step of the power iteration
        critic(images, labels)
    layers = [m for m in critic.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear, torch.nn.Embedding))]
    assert len(layers) == 1 + 6 + 2 + 2
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("n_classes", "channels"), [(10, 1), (10, 3), (100, 3), (200, 3)])
def test_all_that_is_trained_at_paper_scale_has_about_the_posters_50_million_parameters(n_classes, channels):
    given = yaml.safe_load((paths.PARAMS / "paper.yaml").read_text())["02_generator"]
    sizes = {name: given[name.upper()] for name in ("width", "depth")}
    with torch.device("meta"):
        networks = [
            Generator(n_classes=n_classes, channels=channels, z_dim=given["Z_DIM"], **sizes),
            Discriminator(n_classes=n_classes, channels=channels, **sizes),
            sega.build_projector(512, given["Z_DIM"]),  # ViT-B/32 embeds texts as 512 numbers
        ]
    assert sum(p.numel() for network in networks for p in network.parameters()) == pytest.approx(50.2e6, rel=0.03)


# drawing


def test_a_seed_fixes_the_images_and_labels_choose_the_class(generator):
    labels = torch.tensor([0, 1, 2, 1])
    torch.manual_seed(1)
    first = generate(generator, labels, seed=3)
    torch.manual_seed(2)
    assert torch.equal(first, generate(generator, labels, seed=3))
    assert not torch.equal(first, generate(generator, labels, seed=4))
    z = torch.randn(4, 8, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, generate(generator, labels, z=z))
    assert not first.requires_grad


def test_the_batch_size_does_not_matter(generator):
    labels = torch.arange(23) % 3
    torch.testing.assert_close(generate(generator, labels, batch=5), generate(generator, labels), rtol=0, atol=1e-6)
    assert generate(generator, labels[:0]).shape == (0, 1, 32, 32)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
def test_a_class_the_generator_was_not_trained_on_is_refused(generator, labels):
    with pytest.raises(ValueError, match=f"labels span {min(labels)} .. {max(labels)}; this generator knows 0 .. 2"):
        generate(generator, torch.tensor(labels))


@pytest.mark.parametrize("shape", [(2, 7), (3, 8), (8,)])
def test_latents_of_another_shape_are_refused(generator, shape):
    with pytest.raises(ValueError, match=r"latents have shape .*; expected \(2, 8\)"):
        generate(generator, torch.tensor([0, 1]), z=torch.zeros(shape))


# checkpoints


def test_a_saved_generator_comes_back_frozen_and_draws_the_same(path, generator):
    value = save_generator(path, generator.train(), {"data": "ab"})
    loaded = load_generator(path)
    assert (loaded.z_dim, loaded.n_classes) == (8, 3)
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.meta["data"] == "ab" and loaded.meta["sha256"] == value
    labels = torch.tensor([0, 1, 2])
    assert torch.equal(generate(loaded, labels), generate(generator.eval(), labels))


def test_drawing_changes_neither_weights_nor_statistics(path, generator):
    save_generator(path, generator, {})
    loaded = load_generator(path)
    before = artifacts.digest(loaded.state_dict())
    generate(loaded, torch.arange(30) % 3)
    assert artifacts.digest(loaded.state_dict()) == before


@pytest.mark.parametrize("as_text", [False, True])
def test_a_checkpoint_of_another_architecture_is_refused(path, generator, as_text):
    weights = generator.state_dict()
    foreign = [
        (weights, {}),
        (weights, {"settings": {"n_classes": 4}}),
        (weights, {"settings": generator.settings | {"blocks": 3}}),
        (weights, {"settings": generator.settings | {"width": 32}}),
        (weights, {"settings": generator.settings | {"width": 20}}),
        (weights, {"settings": generator.settings | {"network": "other"}}),
        ({"a": torch.ones(1)}, {"settings": generator.settings}),
    ]
    for tensors, meta in foreign:
        artifacts.save_tensors(path, tensors, meta)
        with pytest.raises(ArtifactError, match="generator.safetensors holds no generator of this package"):
            load_generator(str(path) if as_text else path)


def test_a_cut_or_altered_checkpoint_is_refused(path, generator):
    save_generator(path, generator, {})
    whole = path.read_bytes()
    for raw in (b"", whole[:50], whole[: len(whole) // 2], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match="generator.safetensors"):
            load_generator(path)


def test_a_missing_checkpoint_is_missing(path):
    with pytest.raises(FileNotFoundError):
        load_generator(path)
