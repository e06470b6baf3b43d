from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

from sega_utils.core import artifacts
from sega_utils.data import outside


@pytest.fixture
def mean_colours(monkeypatch):
    """Return a network whose features are mean colours, and the number of images that it has seen."""
    seen = []

    class Means(nn.Module):
        num_features = 3

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, images):
            seen.append(len(images))
            return images.mean((2, 3)) * self.weight

    return outside.Outside("means", "none", Means(), 8, (0.5,) * 3, (0.25,) * 3, "0" * 64), seen


def test_images_are_resized_normalised_and_grey_ones_get_three_channels(mean_colours):
    network, _ = mean_colours
    found = outside.features(network, torch.full((3, 1, 32, 32), 0.75), batch=2)
    assert torch.allclose(found, torch.ones(3, 3))


def test_features_are_made_once_for_an_image_and_a_network(mean_colours, tmp_path):
    network, seen = mean_colours
    images = torch.rand(5, 3, 8, 8)
    read = lambda places: images[places]
    names = ["a", "b", "c", "a", "e"]
    first = outside.cached(tmp_path / "f.safetensors", network, names[:4], read)
    assert sum(seen) == 3 and torch.equal(first[0], first[3])
    again = outside.cached(tmp_path / "f.safetensors", network, names, read)
    assert sum(seen) == 4 and torch.equal(again[:4], first)
    outside.cached(tmp_path / "f.safetensors", network._replace(sha256="1" * 64), names, read)
    assert sum(seen) == 8


@pytest.mark.parametrize("name", ["no_such_network", "tf_efficientnet_lite0"])
def test_weights_that_cannot_be_had_are_an_error_never_a_random_network(name, monkeypatch):
    import timm

    def create(name, pretrained=False, **_):
        if name == "no_such_network":
            raise RuntimeError(f"Unknown model ({name})")
        network = nn.Identity()
        network.pretrained_cfg = {"architecture": name}
        return network

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ValueError, match="cannot be had with its weights"):
        outside.load(name)


def test_without_the_extra_the_error_names_what_installs_it(monkeypatch):
    monkeypatch.setattr(outside, "_converted", lambda: Path("/nowhere/none.safetensors"))
    monkeypatch.setattr(outside, "find_spec", lambda name: None)
    assert not outside.is_installed()
    with pytest.raises(ValueError, match=r"pip install 'sega-utils\[outside\]'"):
        outside.load("lite0")


needs_wheel = pytest.mark.skipif(outside.find_spec(outside.WHEEL) is None, reason="the extra outside is not installed")


@needs_wheel
def test_photographs_are_recognised_after_the_conversion(tmp_path, monkeypatch):
    """Index of ImageNet and probability, from the issue's specification; a single wrong tensor would change them."""
    from skimage import data

    monkeypatch.setenv("SEGA_DATA", str(tmp_path))
    network, full = outside.classifier(), outside.load("lite0")
    for photograph, index, least in ((data.chelsea(), 285, 0.35), (data.coffee(), 967, 0.9)):
        square = ImageOps.fit(Image.fromarray(photograph), (224, 224), Image.Resampling.BICUBIC)
        image = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None] / 255
        chance = network(outside.normalised(full, image)).softmax(1)[0]
        assert int(chance.argmax()) == index and float(chance[index]) > least
        assert outside.features(full, image).shape == (1, 1280)
    meta = artifacts.load_tensors(tmp_path / "outside" / "efficientnet-lite0.safetensors")[1]
    assert meta["licence"] == "Apache-2.0" and meta["source_sha256"] == outside.SHA256


@needs_wheel
def test_tensors_of_other_shapes_or_names_are_refused(monkeypatch):
    class Other(nn.Module):
        def state_dict(self):
            published = torch.load(Path(outside.find_spec(outside.WHEEL).origin).parent / outside.FILE)
            names = list(published)
            return published | {names[-1]: torch.zeros(7)}

    with pytest.raises(artifacts.ArtifactError, match="is not"):
        outside._published(Other())
