"""A class-conditional GAN: its two networks, and drawing images from a frozen generator."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sega_utils import artifacts, paths
from sega_utils.biggan import BigGan

# About 50 M parameters with the discriminator and the projector, on each of the five data sets. The poster's 50.2 M
# (efficiency table) cannot hold CLIP, whose ViT-B/32 has 151 M: they are read as all networks that are trained.
PAPER = {"width": 1216, "depth": 3, "z_dim": 128}


class ConditionalBatchNorm(nn.Module):
    """Batch normalisation whose scale and shift depend on the class (de Vries et al. 2017)."""

    def __init__(self, channels: int, n_classes: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.scale = nn.Embedding(n_classes, channels)
        self.shift = nn.Embedding(n_classes, channels)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.norm(x) * self.scale(labels)[..., None, None] + self.shift(labels)[..., None, None]


class GeneratorBlock(nn.Module):
    """Double the resolution with one transposed convolution, then refine with ``depth - 1`` residual convolutions."""

    def __init__(self, inputs: int, outputs: int, n_classes: int, depth: int):
        super().__init__()
        self.norm = ConditionalBatchNorm(inputs, n_classes)
        # A 4x4 kernel at stride 2 covers every pixel equally: no checkerboard, and 2.25 times fewer multiplications
        # than upsampling first.
        self.up = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        self.norms = nn.ModuleList(ConditionalBatchNorm(outputs, n_classes) for _ in range(depth - 1))
        self.convs = nn.ModuleList(nn.Conv2d(outputs, outputs, 3, padding=1) for _ in range(depth - 1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = self.up(F.relu(self.norm(x, labels)))
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(F.relu(norm(x, labels)))
        return x


class Generator(nn.Module):
    """Map latents (N, z_dim) and labels (N,) to images (N, channels, side, side) in [0, 1].

    Args:
        width: channels at 4x4, halved whenever the side doubles; a multiple of side / 4.
        depth: convolutions a resolution, at least 1.
        side: in pixels, one of ``data.SIDES``.

    Source: poster, Algorithm 1, ``G(z, y)``; conditional batch norm and projection after Miyato and Koyama 2018.
    """

    def __init__(
        self, *, n_classes: int, channels: int = 1, z_dim: int = 64, width: int = 192, depth: int = 1, side: int = 32
    ):
        super().__init__()
        self.settings = {"n_classes": n_classes, "channels": channels, "z_dim": z_dim, "width": width, "depth": depth,
                         "side": side}  # fmt: skip
        self.n_classes, self.channels, self.z_dim, self.width, self.side = n_classes, channels, z_dim, width, side
        sizes = widths(width, side)
        self.project = nn.Linear(z_dim, width * 16)
        self.blocks = nn.ModuleList(GeneratorBlock(i, o, n_classes, depth) for i, o in zip(sizes, sizes[1:]))
        self.norm = ConditionalBatchNorm(sizes[-1], n_classes)
        self.out = nn.Conv2d(sizes[-1], channels, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        h = self.project(z).view(len(z), self.width, 4, 4).contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            h = block(h, labels)
        return torch.sigmoid(self.out(F.relu(self.norm(h, labels))))


def widths(width: int, side: int) -> list[int]:
    """Return the channels at 4x4, 8x8, ... ``side`` x ``side``.

    Raises:
        ValueError: a width that cannot be halved so often.
    """
    if width < side // 4 or width % (side // 4):
        raise ValueError(f"width is {width}; allowed for images of {side} pixels are the multiples of {side // 4}")
    return [width >> i for i in range(side.bit_length() - 2)]


class Discriminator(nn.Module):
    """Score images (N, channels, side, side) given labels (N,); higher is more real.

    Spectral norm on every layer (Miyato et al. 2018) and a projection head (Miyato and Koyama 2018, equation 3).
    ``width``, ``depth`` and ``side`` as in ``Generator``.
    """

    def __init__(self, *, n_classes: int, channels: int = 1, width: int = 192, depth: int = 1, side: int = 32):
        super().__init__()
        conv = lambda *args: spectral_norm(nn.Conv2d(*args))
        sizes = widths(width, side)[:0:-1]
        self.stem = conv(channels, sizes[0], 4, 2, 1)
        self.same = nn.ModuleList(
            nn.ModuleList(conv(i, o if k == depth - 1 else i, 3, 1, 1) for k in range(depth))
            for i, o in zip(sizes, sizes[1:] + sizes[-1:], strict=True)
        )
        self.down = nn.ModuleList(conv(o, o, 4, 2, 1) for o in sizes[1:])
        self.linear = spectral_norm(nn.Linear(sizes[-1], 1))
        self.embed = spectral_norm(nn.Embedding(n_classes, sizes[-1]))
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        h = F.leaky_relu(self.stem(images * 2 - 1), 0.1)
        for i, convs in enumerate(self.same):
            for conv in convs:
                h = F.leaky_relu(conv(h), 0.1)
            if i < len(self.down):
                h = F.leaky_relu(self.down[i](h), 0.1)
        features = h.sum((2, 3))
        return self.linear(features)[:, 0] + (self.embed(labels) * features).sum(1)


# by the name in a checkpoint's settings; this module's own has none
NETWORKS = {"own": Generator, "biggan": BigGan}


def save_generator(path: Path, generator: Generator | BigGan, meta: dict) -> str:
    """Write a generator's weights and settings atomically; return their digest."""
    return artifacts.save_tensors(path, generator.state_dict(), meta | {"settings": generator.settings})


def load_generator(path: Path, device: torch.device | str = "cpu") -> Generator | BigGan:
    """Return a frozen generator in eval mode with ``z_dim``, ``n_classes`` and ``meta``.

    Raises:
        FileNotFoundError, ArtifactError: the checkpoint is missing, truncated, altered or of another architecture.
    """
    tensors, meta = artifacts.load_tensors(path)
    try:
        settings = dict(meta["settings"])
        generator = NETWORKS[settings.pop("network", "own")](**settings)
        generator.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise artifacts.ArtifactError(f"{paths.shown(path)} holds no generator of this package, or other weights "
                                      "than it says") from error  # fmt: skip
    generator.meta = meta
    return generator.to(device).eval().requires_grad_(False)


@torch.no_grad()
def generate(
    generator: Generator | BigGan, labels: torch.Tensor, *, z: torch.Tensor | None = None, seed: int = 0,
    batch: int = 250,
) -> torch.Tensor:  # fmt: skip
    """Draw one image for each label.

    Args:
        labels: int64 (N,), 0 .. n_classes - 1.
        z: latents float32 (N, z_dim); drawn from N(0, I) with ``seed`` if absent.

    Returns:
        float32 (N, C, S, S) in [0, 1] on the generator's device.

    Raises:
        ValueError: a label the generator was not trained on, or latents of another shape.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < generator.n_classes:
        raise ValueError(f"labels span {int(labels.min())} .. {int(labels.max())}; "
                         f"this generator knows 0 .. {generator.n_classes - 1}")  # fmt: skip
    if z is None:
        z = torch.randn(len(labels), generator.z_dim, generator=torch.Generator().manual_seed(seed))
    if z.shape != (len(labels), generator.z_dim):
        raise ValueError(f"latents have shape {tuple(z.shape)}; expected ({len(labels)}, {generator.z_dim})")
    device, side = next(generator.parameters()).device, generator.side
    parts = [generator(a.to(device), b.to(device)) for a, b in zip(z.split(batch), labels.split(batch), strict=True)]
    return torch.cat(parts) if parts else torch.empty(0, generator.channels, side, side, device=device)
