import pytest
import torch
from torch import nn

from sega_utils.training.classifiers import CLASSIFIERS, BasicBlock, ResNet, accuracy, build, predict, smoothed


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_resnet20_has_the_size_of_he_et_al():
    # table 6 says 0.27 M: the stem, 6 + 5 + 5 square convolutions and two that widen, two numbers a normalised channel
    convolutions = 9 * (3 * 16 + 6 * 16**2 + 16 * 32 + 5 * 32**2 + 32 * 64 + 5 * 64**2)
    norms = 2 * (7 * 16 + 6 * 32 + 6 * 64)
    assert size(build("resnet20", n_classes=10, channels=3)) == convolutions + norms + 64 * 10 + 10 == 269_722


@pytest.mark.parametrize(("blocks", "layers"), [(1, 8), (3, 20), (5, 32)])
def test_a_network_has_six_layers_a_block_and_two(blocks, layers):
    model = ResNet(n_classes=10, blocks=blocks)
    assert sum(isinstance(module, (nn.Conv2d, nn.Linear)) for module in model.modules()) == layers


def test_shortcuts_have_no_parameters_and_pad_new_channels_with_zeros():
    block = BasicBlock(2, 5, stride=2).eval()
    nn.init.zeros_(block.norm2.weight)  # the residual is 0: the shortcut alone is left
    x = torch.rand(1, 2, 8, 8)
    out = block(x)
    assert torch.equal(out[:, :2], x[:, :, ::2, ::2]) and not out[:, 2:].any() and out.shape == (1, 5, 4, 4)


@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_maps_images_to_finite_logits(name, channels, side):
    logits = build(name, n_classes=7, channels=channels, side=side).eval()(torch.rand(2, channels, side, side))
    assert logits.shape == (2, 7) and logits.isfinite().all()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet18", 11_173_962),  # torchvision's 11,181,642 for 10 classes, less 3 * (7 * 7 - 3 * 3) * 64 of the stem
        ("mobilenet-v2", 2_236_682),  # torchvision's for 10 classes: strides cost nothing
        ("vgg16", 14_728_266),  # torchvision's convolutions and norms, 14,723,136, and 512 * 10 + 10
        ("vit-tiny", 5_362_762),  # 12 blocks of 444,864; patches, positions and class token 22,080; norm and head 2,314
    ],
)
def test_the_papers_classifiers_have_their_sizes(name, parameters):
    assert size(build(name, n_classes=10, channels=3)) == parameters


@pytest.mark.parametrize(("name", "side"), [("resnet18", 4), ("mobilenet-v2", 4), ("vgg16", 1)])
def test_the_last_maps_of_the_papers_classifiers_are_as_usual_at_32x32(name, side):
    network, seen = build(name, n_classes=2, channels=1).eval(), []
    last = network.network.layer4 if name == "resnet18" else network.network.features
    last.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[2:]))
    network(torch.rand(1, 1, 32, 32))
    assert seen == [(side, side)]


@pytest.mark.parametrize(("name", "sizes"), [("resnet8", [32, 16, 8]), ("resnet8-half", [16, 8, 4])])
def test_three_stages_halve_the_resolution(name, sizes):
    model, seen = build(name, n_classes=2, channels=1), []
    for block in model.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[1:]))
    model.eval()(torch.rand(1, 1, 32, 32))
    assert seen == [(16 << i, s, s) for i, s in enumerate(sizes)]


def test_an_unknown_classifier_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown classifier 'vgg'; known are resnet8-half, resnet8, resnet20, resnet18"
    ):
        build("vgg", n_classes=10, channels=1)


class Brightest(nn.Module):
    """Answer 1 for images brighter than one half, else 0."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack((0.5 - mean, mean - 0.5), 1)


@pytest.fixture
def graded() -> tuple[torch.Tensor, torch.Tensor]:
    """Return seven flat images and their labels, of which the brightness tells five."""
    levels = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7, 0.4])
    return levels[:, None, None, None].expand(-1, 1, 32, 32), torch.tensor([0, 1, 0, 1, 0, 0, 1])


@pytest.mark.parametrize("batch", [1, 3, 500])
def test_the_batch_does_not_change_the_prediction(graded, batch):
    assert predict(Brightest().eval(), graded[0], batch=batch).tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert predict(Brightest().eval(), graded[0][:0], batch=batch).shape == (0,)


def test_accuracy_is_the_share_of_hits(graded):
    assert accuracy(Brightest().eval(), *graded) == pytest.approx(5 / 7)


def test_a_model_in_train_mode_is_refused(graded):
    with pytest.raises(ValueError, match=r"the model is in train mode; call model.eval\(\) first"):
        accuracy(Brightest().train(), *graded)


def test_measuring_changes_nothing(tiny):
    model = build("resnet8", n_classes=3, channels=1).eval()
    before = [tensor.clone() for tensor in model.state_dict().values()]
    accuracy(model, tiny.images, tiny.labels)
    assert all(map(torch.equal, before, model.state_dict().values()))


def test_smoothing_spreads_a_part_over_all_classes():
    found = smoothed(torch.tensor([2, 0]), 4, 0.2)
    torch.testing.assert_close(found, torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]]))
