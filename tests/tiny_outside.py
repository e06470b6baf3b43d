"""A stand-in for a network that has seen other photographs: small, random and frozen, with features at four sizes."""

import torch
from torch import nn

from sega_utils.data.outside import Outside


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = (3, 4, 6, 8, 10)
        self.stages = nn.ModuleList(nn.Conv2d(a, b, s, s) for a, b, s in zip(sizes, sizes[1:], (4, 2, 2, 2)))

    def forward_intermediates(self, x, indices, intermediates_only):
        assert indices == len(self.stages) and intermediates_only
        found = []
        for stage in self.stages:
            found.append(x := stage(x).relu())
        return found


def load(name: str, device: str = "cpu", *, side: int = 0) -> Outside:
    """Return the stand-in, the same each time, as ``outside.load`` returns a network."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Tiny().to(device).eval().requires_grad_(False)
    return Outside(name, "none", network, side or 32, (0.5,) * 3, (0.25,) * 3, "0" * 64)


class Patches(nn.Module):
    """A backbone whose features are a picture's patches, weighted."""

    num_features = 3 * 64

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return nn.functional.avg_pool2d(images, 4).flatten(1) * self.weight


def patches(name: str, *, side: int = 0) -> Outside:
    """Return a backbone whose features are patches, as ``outside.load`` returns a network."""
    return Outside(name, "none", Patches(), 32, (0.5,) * 3, (0.5,) * 3, "0" * 64)
