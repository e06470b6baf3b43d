"""Published weights of super-resolution, e.g. SwinIR's: outside knowledge, read without running code they hold.

spandrel knows the networks by their weights alone; it is of the extra ``restoration``, and imported where it is used.
"""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from sega_utils.augmenters.restoration import TIMES
from sega_utils.core import artifacts, learning, paths, schema
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.images import resize

WEIGHTS = ("params_ema", "params", "state_dict")  # under which files hold them, the averaged ones first


class Published(nn.Module):
    """Twice the side by a published network, whatever its own factor.

    Grey images go through it as colour images, and come back as their mean.

    Args:
        descriptor: what spandrel makes of the weights. channels: of the images, 1 or 3.
    """

    def __init__(self, descriptor: object, channels: int):
        super().__init__()
        self.descriptor, self.network = descriptor, descriptor.model
        self.settings = {"channels": channels, "scale": descriptor.scale}

    def sized(self, side: int) -> "Published":
        """Return the network for images of a side: itself, as it takes any."""
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float32 (N, C, S, S) in [0, 1] to (N, C, 2 S, 2 S) in [0, 1]."""
        large = self.descriptor(images.expand(-1, self.descriptor.input_channels, -1, -1))
        large = large.mean(1, keepdim=True) if self.settings["channels"] == 1 else large
        return resize(large, TIMES * images.shape[-1])


def adopt(path: Path, target: Path) -> str:
    """Write the weights of a published network as safetensors, atomically; return their digest.

    Args:
        path: as its authors publish it, e.g. ``001_classicalSR_DIV2K_s48w8_SwinIR-M_x2.pth``.

    Raises:
        ValueError: spandrel is not installed.
        FileNotFoundError: there is no such file.
        ArtifactError: the file is damaged, holds more than weights and plain values, or weights of no network that
            enlarges images.
    """
    held = learning.load_plain(path)
    inside = next((held[name] for name in WEIGHTS if isinstance(held, dict) and name in held), held)
    descriptor = described(inside, path)
    schema.check_finite(descriptor.model.state_dict(), path)
    about = {"source": path.name, "source_sha256": artifacts.sha256(path), "scale": descriptor.scale}
    return artifacts.save_tensors(target, inside, about | {"architecture": descriptor.architecture.id})


def load(path: Path, channels: int, device: torch.device | str = "cpu") -> Published:
    """Return the frozen network of a file of ``adopt``, for images of as many channels.

    Raises:
        ValueError: spandrel is not installed. FileNotFoundError: there is no such file.
        ArtifactError: the file is damaged, or none of ``adopt``; or its network takes other channels.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"{paths.shown(path)} is missing; make it with: python -m sega_utils restorer FILE.pth TARGET"
        )
    weights, _ = artifacts.load_tensors(path)
    descriptor = described(weights, path)
    if descriptor.input_channels not in {channels, 3}:
        raise ArtifactError(
            f"{paths.shown(path)} takes {descriptor.input_channels} channels; the images have {channels}"
        )
    return Published(descriptor.to(device), channels).eval().requires_grad_(False)


def described(weights: object, path: Path):
    """Return spandrel's ``ImageModelDescriptor`` of weights.

    Raises:
        ValueError: spandrel is not installed. ArtifactError: they are of no network that enlarges images.
    """
    if find_spec("spandrel") is None:
        raise ValueError(
            "published weights of restoration need the package spandrel; install it with: "
            "pip install 'sega-utils[restoration]', or leave restorer empty in the plan"
        )
    from spandrel import ImageModelDescriptor, ModelLoader

    try:
        descriptor = ModelLoader().load_from_state_dict(weights)
    except Exception as error:  # every network's reader raises its own
        descriptor, why = None, f"{type(error).__name__}: {str(error)[:200]}"
    else:
        why = f"spandrel takes it for {descriptor.architecture.name}, {descriptor.purpose}, {descriptor.scale} times"
    good = isinstance(descriptor, ImageModelDescriptor) and descriptor.scale >= TIMES
    if not good or descriptor.input_channels != descriptor.output_channels:
        raise ArtifactError(
            f"{paths.shown(path)} holds the weights of no network that enlarges images at least {TIMES} times ({why}); "
            "give a file of a super-resolution network, e.g. one of SwinIR's"
        )
    return descriptor
