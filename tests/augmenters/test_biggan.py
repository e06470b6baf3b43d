import pytest
import torch

from sega_utils.augmenters.biggan import Attention, BigGan, Block


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BigGan(n_classes=3, z_dim=8, width=16, shared_dim=6, attention=[1]).eval().requires_grad_(False)


def test_images_are_in_range_and_depend_on_label_and_on_every_part_of_the_latent(model):
    z, labels = torch.randn(2, 8), torch.tensor([0, 2])
    images = model(z, labels)
    assert images.shape == (2, model.channels, 32, 32) and 0 <= images.min() < images.max() <= 1
    assert not torch.equal(images, model(z, torch.tensor([1, 2])))
    for part in range(4):
        changed = z.clone()
        changed[:, 2 * part : 2 * part + 2] += 1
        assert not torch.allclose(images, model(changed, labels), atol=1e-4)


def test_attention_stands_where_it_is_asked_for_and_begins_as_the_identity(model):
    kinds = [type(part) for (part,) in model.blocks]
    assert kinds == [Block, Attention, Block, Block]
    assert BigGan(**{k: v for k, v in model.settings.items() if k != "network"}).settings == model.settings
    x = torch.randn(2, 16, 8, 8)
    (attention,) = model.blocks[1]
    assert torch.equal(attention(x), x)
    attention.sigma.fill_(1.0)
    assert not torch.allclose(attention(x), x)


def test_attention_of_equal_looks_adds_the_mean_of_the_values(model):
    x = torch.randn(2, 16, 8, 8)
    (attention,) = model.blocks[1]
    attention.sigma.fill_(2.0)
    attention.conv1x1_theta.weight.zero_()  # every position looks at all others alike
    values = torch.nn.functional.max_pool2d(attention.conv1x1_g(x), 2).mean((2, 3), keepdim=True)
    torch.testing.assert_close(attention(x), x + 2 * attention.conv1x1_attn(values).expand_as(x))


def test_the_defaults_have_as_many_parameters_as_studiogan_has_for_cifar_10():
    # 3 blocks of 384 channels (two 3x3 convolutions and one 1x1), attention after the second, z of 4 parts of 20
    block = 2 * (384 * 384 * 9 + 384) + 384 * 384 + 384 + 4 * 148 * 384
    attention = 2 * 384 * 48 + 2 * 384 * 192 + 1
    rest = (20 + 1) * 384 * 16 + 10 * 128 + 2 * 384 + (384 * 9 + 1) * 3
    with torch.device("meta"):
        assert sum(p.numel() for p in BigGan(n_classes=10).parameters()) == 3 * block + attention + rest


def test_at_64_pixels_as_many_as_studiogan_has_for_tiny_imagenet():
    # 1280 channels at 4x4, halved by each of 4 blocks; attention on the 160 after the third; z of 5 parts of 20
    blocks = sum(
        i * o * 9 + o + o * o * 9 + o + i * o + o + 2 * 148 * (i + o)
        for i, o in ((1280, 640), (640, 320), (320, 160), (160, 80))
    )
    attention = 2 * 160 * 20 + 2 * 160 * 80 + 1
    rest = (20 + 1) * 1280 * 16 + 200 * 128 + 2 * 80 + (80 * 9 + 1) * 3
    with torch.device("meta"):
        model = BigGan(n_classes=200, z_dim=100, width=1280, attention=[3], side=64)
        assert sum(p.numel() for p in model.parameters()) == blocks + attention + rest
