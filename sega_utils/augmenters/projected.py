"""A GAN whose critics see images through a frozen network that knows other photographs, its features mixed at random.

What it draws knows more than the training images: it is named *outside* wherever it is shown. Its control is ``hinge``,
the same generator, loss, rates and augmentation with a critic of its own.

Source: Sauer et al. 2021, Projected GANs Converge Faster, sections 3 and 4.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sega_utils.augmenters import gan, losses
from sega_utils.data import outside
from sega_utils.data.images import Dataset
from sega_utils.data.outside import Outside

SCALES = 4  # sizes at which features are taken
PATCHES = 4  # scores a side that each critic gives


def taps(known: Outside, images: torch.Tensor) -> list[torch.Tensor]:
    """Return features of images (N, C, S, S) in [0, 1] at four sizes, the largest first; gradients flow through."""
    images = F.interpolate(images, known.side, mode="bilinear", align_corners=False)
    normal = outside.normalised(known, images)
    return known.network.forward_intermediates(normal, indices=SCALES, intermediates_only=True)


class Mixing(nn.Module):
    """Mix features across channels, and from each size into the next larger one, by weights that are never trained.

    A critic that sees mixed features cannot look at a few of them alone.

    Args:
        channels: of the features at each size; width: of what comes out, at all sizes.

    Source: Sauer et al. 2021, section 3.2; random weights after He et al. 2015, for layers without activation.
    """

    def __init__(self, channels: list[int], width: int):
        super().__init__()
        fixed = lambda *shape: nn.init.kaiming_normal_(torch.empty(shape), nonlinearity="linear")
        for i, n in enumerate(channels):  # buffers, which no optimiser takes for its own, and which a checkpoint keeps
            self.register_buffer(f"channels{i}", fixed(width, n, 1, 1))
            self.register_buffer(f"scales{i}", fixed(width, width, 3, 3))

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        mixed = [F.conv2d(x, self.get_buffer(f"channels{i}")) for i, x in enumerate(features)]
        for i in reversed(range(len(mixed) - 1)):
            larger = F.interpolate(mixed[i + 1], mixed[i].shape[-2:], mode="bilinear", align_corners=False)
            mixed[i] = mixed[i] + F.conv2d(larger, self.get_buffer(f"scales{i}"), padding=1)
        return mixed


class PatchCritic(nn.Module):
    """Score mixed features (N, width, size, size) given labels (N,), patch by patch: (N, 16); higher is more real.

    The head is the projection of ``gan.Discriminator`` at each patch.
    """

    def __init__(self, width: int, size: int, n_classes: int):
        super().__init__()
        body = []
        while size > PATCHES:
            body += [spectral_norm(nn.Conv2d(width, width, 4, 2, 1)), nn.GroupNorm(1, width), nn.LeakyReLU(0.2)]
            size //= 2
        self.body = nn.Sequential(*body, spectral_norm(nn.Conv2d(width, width, 3, 1, 1)), nn.LeakyReLU(0.2))
        self.score = spectral_norm(nn.Conv2d(width, 1, 1))
        self.embed = spectral_norm(nn.Embedding(n_classes, width))

    def forward(self, features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        h = self.body(features)
        scores = self.score(h) + (self.embed(labels)[..., None, None] * h).sum(1, keepdim=True)
        # where there are fewer patches, each counts for several, so that all critics count alike
        return F.interpolate(scores, PATCHES).flatten(1)


class ProjectedCritic(nn.Module):
    """A critic at each size of the frozen network's mixed features: scores (N, 64) of images and labels.

    Args:
        known: the frozen network, which is neither trained nor kept in a checkpoint.
        width: of the mixed features and of the critics.
    """

    def __init__(self, known: Outside, *, n_classes: int, width: int):
        super().__init__()
        self.known = known
        with torch.no_grad():
            device = next(known.network.parameters()).device
            found = taps(known, torch.zeros(1, 3, known.side, known.side, device=device))
        self.mixing = Mixing([x.shape[1] for x in found], width)
        self.critics = nn.ModuleList(PatchCritic(width, x.shape[-1], n_classes) for x in found)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        mixed = self.mixing(taps(self.known, images))
        return torch.cat([critic(x, labels) for critic, x in zip(self.critics, mixed, strict=True)], 1)


def train_projected(
    data: Dataset,
    *,
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
    width: int = 96,
    z_dim: int = 64,
    batch_size: int = 64,
    ema: float = 0.999,
    side: int = 64,
    mixed: int = 64,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 100,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train the generator of ``gan.train_gan`` by the hinge loss of critics on frozen features; the rest is as there.

    Args:
        side: pixels at which the frozen network sees the images; mixed: width of the mixed features.

    Raises:
        ValueError: the weights of the frozen network are not installed; the message says how to get them.
        FloatingPointError, ArtifactError: as ``gan.train_gan``.
    """
    known, row = outside.load(outside.LITE0, device, side=side), losses.loss_of("hinge")
    torch.manual_seed(seed)
    generator = gan.Generator(z_dim=z_dim, width=width, **data.shape())
    critic = ProjectedCritic(known, n_classes=len(data.class_names), width=mixed)
    duel = gan.Duel(generator, critic, row, None, device=device, **gan.OWN)
    settings = gan.OWN | row.settings() | {"width": width, "z_dim": z_dim, "side": side, "mixed": mixed}
    settings |= {"outside": known.sha256}
    budget = {"steps": steps, "seconds": seconds, "checkpoint": checkpoint, "every": every}
    return gan.fight(duel, data, settings, seed=seed, batch_size=batch_size, ema=ema, device=device, **budget)
