"""A class-conditional GAN: its two networks, and their training on few images (hinge loss, DiffAugment, averaging)."""

import copy
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sega_utils.core import artifacts, learning
from sega_utils.data import augment
from sega_utils.data.images import Dataset

WRONG = "the GAN's loss is not finite at step {step}: {losses}; lower the rates"


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
        side: in pixels, one of ``images.SIDES``.

    Source: poster, Algorithm 1, ``G(z, y)``; conditional batch norm and projection after Miyato and Koyama 2018.
    """

    def __init__(
        self, *, n_classes: int, channels: int = 1, z_dim: int = 64, width: int = 192, depth: int = 1, side: int = 32
    ):
        super().__init__()
        self.settings = {
            "n_classes": n_classes,
            "channels": channels,
            "z_dim": z_dim,
            "width": width,
            "depth": depth,
            "side": side,
        }
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


def diff_augment(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Augment images float32 (N, C, H, W) in [0, 1] differentiably: brightness, contrast, translation, cutout.

    Source: Zhao et al. 2020, DiffAugment, policy color, translation, cutout.
    """
    uniform = lambda: torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device)
    images = images + (uniform() - 0.5) * 0.5
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (uniform() + 0.5) + mean
    side = images.shape[-1]
    return augment.cutout(augment.shift(images, rng, pad=side // 8, flip=False), rng, size=side * 3 // 8)


def train_gan(
    data: Dataset,
    *,
    steps: int,
    seed: int,
    width: int = 192,
    depth: int = 1,
    z_dim: int = 64,
    batch_size: int = 64,
    lr_generator: float = 2e-4,
    lr_discriminator: float = 4e-4,
    mode_seeking: float = 0.0,
    ema: float = 0.999,
    bf16: bool = False,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 500,
) -> tuple[Generator, list[dict[str, float]]]:
    """Train a GAN on the run's training subset alone; return the averaged generator and its loss curve.

    Args:
        steps: generator updates; the discriminator is updated as often. mode_seeking, bf16: as in ``duel``.
        ema: decay of the averaged generator weights (Yazici et al. 2019).
        checkpoint: where to keep the state every ``every`` steps; an existing one of the same settings is resumed.

    Raises:
        FloatingPointError: a loss is not finite; the last checkpoint is untouched.
        ValueError: a width that cannot be halved as often as the side of the images asks for.
        ArtifactError: the checkpoint is damaged or belongs to other settings.
    """
    torch.manual_seed(seed)
    shape = data.shape() | {"width": width, "depth": depth}
    generator, critic = Generator(z_dim=z_dim, **shape).to(device), Discriminator(**shape).to(device)
    networks = {"generator": generator, "critic": critic, "average": copy.deepcopy(generator).requires_grad_(False)}
    adam = partial(torch.optim.Adam, betas=(0.0, 0.99))
    optimisers = [adam(generator.parameters(), lr_generator), adam(critic.parameters(), lr_discriminator)]
    settings = {"seed": seed, "width": width, "depth": depth, "z_dim": z_dim, "batch_size": batch_size}
    settings |= {"lr": [lr_generator, lr_discriminator], "mode_seeking": mode_seeking, "ema": ema, "bf16": bf16}
    settings["data"] = artifacts.digest({"images": data.images, "labels": data.labels})
    state = learning.State(checkpoint, every, networks, optimisers, settings)
    run = learning.Steps(steps, label="GAN", wrong=WRONG, state=state)
    images, labels = data.images.to(device), data.labels.to(device)
    for step in run:
        rng = learning.chance(seed, step, device)
        pick = torch.randint(len(labels), (batch_size,), generator=rng, device=device)
        real = images[pick], labels[pick]
        losses = duel(generator, critic, optimisers, *real, rng=rng, mode_seeking=mode_seeking, bf16=bf16)
        learning.follow(networks["average"], generator, step, ema)
        run.note(**losses)
    return networks["average"].eval(), run.curve


def duel(
    generator: Generator,
    critic: Discriminator,
    optimisers: list[torch.optim.Optimizer],
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    rng: torch.Generator,
    mode_seeking: float,
    bf16: bool,
) -> dict[str, torch.Tensor]:
    """Update the critic on real images and as many fakes of their labels, and then the generator; return the losses.

    Args:
        optimisers: the generator's, the critic's.
        mode_seeking: weight of the term that pushes images of different latents apart (Mao et al. 2019, equation 5).
        bf16: compute the networks in bfloat16, see ``forward``.

    Source: hinge loss, Lim and Ye 2017; two time scales, Heusel et al. 2017.
    """
    run = partial(forward, bf16=bf16)
    latents = lambda n: torch.randn(n, generator.z_dim, generator=rng, device=images.device)
    real = diff_augment(images, rng)
    fakes = run(generator, latents(len(labels)), labels)
    both = torch.cat((real, diff_augment(fakes.detach(), rng)))
    real, fake = run(critic, both, labels.repeat(2)).chunk(2)
    loss_critic = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    learning.update(loss_critic, optimisers[1])

    critic.requires_grad_(False)
    labels = labels[: len(labels) // 2].repeat(2)  # two latents a label, for the mode-seeking term
    z = latents(len(labels))
    fakes = run(generator, z, labels)
    loss_generator = -run(critic, diff_augment(fakes, rng), labels).mean()
    apart = lambda a, b: (a - b).abs().flatten(1).mean(1)
    ratio = apart(*fakes.chunk(2)) / apart(*z.chunk(2))
    learning.update(loss_generator + mode_seeking / (ratio.mean() + 1e-5), optimisers[0])
    critic.requires_grad_(True)
    return {"critic": loss_critic, "generator": loss_generator}


def forward(network: torch.nn.Module, *inputs: torch.Tensor, bf16: bool) -> torch.Tensor:
    """Return what a network makes of its inputs, as float32; ``bf16`` lets autocast compute it in bfloat16.

    Weights, losses and averages stay float32, so bfloat16's range needs no scaling of the loss.
    """
    with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=bf16):
        return network(*inputs).float()
