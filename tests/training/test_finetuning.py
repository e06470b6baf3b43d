import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.data.images import Dataset
from sega_utils.data.outside import Outside
from sega_utils.training import finetuning


class Small(nn.Module):
    """A network with a batch norm, as a backbone has them."""

    num_features = 6

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 3, 2), nn.BatchNorm2d(6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.relu(self.norm(self.conv(images))).mean((2, 3))


@pytest.fixture
def known() -> Outside:
    torch.manual_seed(0)
    network = Small().eval().requires_grad_(False)
    return Outside("small", "none", network, 32, (0.5,) * 3, (0.5,) * 3, "0" * 64)


@pytest.fixture
def coloured() -> Dataset:
    """Return images that are red or green, which a new network must learn."""
    labels = torch.arange(40) % 2
    images = 0.3 * torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    images[torch.arange(40), labels] += 0.5
    return Dataset(images, labels, ("red", "green"), True)


def test_all_weights_are_trained_but_the_statistics_and_the_frozen_network_stay(known, coloured):
    before = {name: tensor.clone() for name, tensor in known.network.state_dict().items()}
    model = finetuning.fine_tune(known, coloured, steps=30, lr=0.02)
    assert float((model(coloured.images).argmax(1) == coloured.labels).double().mean()) > 0.95
    assert all(torch.equal(known.network.state_dict()[name], tensor) for name, tensor in before.items())
    tuned = model.network.state_dict()
    assert torch.equal(tuned["norm.running_mean"], before["norm.running_mean"])
    assert not torch.equal(tuned["conv.weight"], before["conv.weight"])
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_it_begins_with_the_layer_that_it_is_given(known, coloured):
    weight, bias = torch.randn(2, 6), torch.randn(2)
    model = finetuning.fine_tune(known, coloured, steps=1, lr=0.0, layer=(weight, bias))
    features = known.network((coloured.images - 0.5) / 0.5)
    assert torch.allclose(model(coloured.images), features @ weight.T + bias, atol=1e-5)


def test_synthetic_images_are_learnt_from_too_and_wrong_options_are_refused(known, coloured):
    swapped = F.one_hot(1 - coloured.labels, 2).float()
    model = finetuning.fine_tune(known, coloured, steps=30, lr=0.02, synthetic=(coloured.images, swapped), ratio=0.9)
    assert float((model(coloured.images).argmax(1) == coloured.labels).double().mean()) < 0.1
    with pytest.raises(ValueError, match="policy is 'spin'"):
        finetuning.fine_tune(known, coloured, steps=1, lr=0.1, policy="spin")
