"""Published weights of restoration: converted once, the same images as by their own network, and nothing else taken."""

import pytest
import torch
from torch import nn

from sega_utils.augmenters import published_restorer
from sega_utils.augmenters.restoration import restore
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.images import resize

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid")


def swinir(upscale):
    """Return a small network of SwinIR's authors with random weights."""
    from spandrel.architectures.SwinIR import SwinIR

    torch.manual_seed(0)
    sizes = {"img_size": 16, "window_size": 8, "depths": [1, 1], "embed_dim": 12, "num_heads": [2, 2]}
    how = {"upsampler": "pixelshuffledirect", "resi_connection": "1conv"}
    return SwinIR(**sizes, **how, mlp_ratio=2, upscale=upscale).eval()


@pytest.mark.parametrize(("upscale", "key"), [(2, "params"), (4, "params_ema")])
def test_a_converted_file_restores_as_its_own_network_does(tmp_path, upscale, key):
    network, images = swinir(upscale), torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.save({key: network.state_dict()}, tmp_path / "x.pth")
    digest = published_restorer.adopt(tmp_path / "x.pth", tmp_path / "x.safetensors")
    assert len(digest) == 64
    with torch.no_grad():
        expected = resize(network(images).clamp(0, 1), 64).clamp(0, 1)
    ours = restore(published_restorer.load(tmp_path / "x.safetensors", 3), images, batch=2)
    torch.testing.assert_close(ours, expected)
    grey = restore(published_restorer.load(tmp_path / "x.safetensors", 1), images[:, :1])
    with torch.no_grad():
        colour = network(images[:, :1].expand(-1, 3, -1, -1)).clamp(0, 1)
    torch.testing.assert_close(grey, resize(colour.mean(1, keepdim=True), 64).clamp(0, 1))


def test_what_does_not_enlarge_images_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(ArtifactError, match="no network that enlarges images at least 2 times .UnsupportedModelError"):
        published_restorer.adopt(tmp_path / "linear.pth", tmp_path / "x.safetensors")
    torch.save({"params": nn.Linear(2, 2)}, tmp_path / "code.pth")
    with pytest.raises(ArtifactError, match="holds more than weights and plain values"):
        published_restorer.adopt(tmp_path / "code.pth", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()
    with pytest.raises(
        FileNotFoundError, match="x.safetensors is missing; make it with: python -m sega_utils restorer"
    ):
        published_restorer.load(tmp_path / "x.safetensors", 3)


def test_without_spandrel_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    torch.save(swinir(2).state_dict(), tmp_path / "x.pth")
    monkeypatch.setattr(published_restorer, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'sega-utils\[restoration\]'"):
        published_restorer.adopt(tmp_path / "x.pth", tmp_path / "x.safetensors")
