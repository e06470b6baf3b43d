"""A class-conditional GAN: its two networks, and their training on few images (DiffAugment, averaging)."""

import copy
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from sega_utils.augmenters import losses, morphology, penalties
from sega_utils.core import artifacts, learning
from sega_utils.data import augment
from sega_utils.data.images import Dataset

OWN = {"mode_seeking": 0.0, "augmented": True, "bf16": False}  # of ``Duel``
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
        self.settings = {"n_classes": n_classes, "channels": channels, "z_dim": z_dim}
        self.settings |= {"width": width, "depth": depth, "side": side}
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

    A projection head (Miyato and Koyama 2018, equation 3). ``width``, ``depth`` and ``side`` as in ``Generator``.

    Args:
        spectral: whether every layer has spectral norm (Miyato et al. 2018).
    """

    def __init__(
        self,
        *,
        n_classes: int,
        channels: int = 1,
        width: int = 192,
        depth: int = 1,
        side: int = 32,
        spectral: bool = True,
    ):
        super().__init__()
        bound = spectral_norm if spectral else (lambda layer: layer)
        conv = lambda *args: bound(nn.Conv2d(*args))
        sizes = widths(width, side)[:0:-1]
        self.stem = conv(channels, sizes[0], 4, 2, 1)
        self.same = nn.ModuleList(
            nn.ModuleList(conv(i, o if k == depth - 1 else i, 3, 1, 1) for k in range(depth))
            for i, o in zip(sizes, sizes[1:] + sizes[-1:], strict=True)
        )
        self.down = nn.ModuleList(conv(o, o, 4, 2, 1) for o in sizes[1:])
        self.linear = bound(nn.Linear(sizes[-1], 1))
        self.embed = bound(nn.Embedding(n_classes, sizes[-1]))
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
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
    width: int = 192,
    depth: int = 1,
    z_dim: int = 64,
    batch_size: int = 64,
    ema: float = 0.999,
    metric: str = "",
    loss: str = "hinge",
    penalty: str = "",
    penalty_weight: float | None = None,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 500,
    **more: object,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train a GAN on the run's training subset alone; return the averaged generator and its loss curve.

    Args:
        steps, seconds: generator updates, CPU seconds; what is first ends the training, see ``learning.Steps``.
        ema: decay of the averaged generator weights (Yazici et al. 2019); metric: as in ``networks_of``.
        loss, penalty: of ``losses.LOSSES`` and ``penalties.PENALTIES``.
        checkpoint: where to keep the state every ``every`` steps; an existing one of the same settings is resumed.
        more: mode_seeking, augmented and bf16 as in ``Duel``, and what is to differ from the loss's row.

    Raises:
        FloatingPointError: a loss is not finite; the last checkpoint is untouched.
        ValueError, ArtifactError: a setting out of its range; a checkpoint damaged or of other settings.
    """
    torch.manual_seed(seed)
    own = {name: more.pop(name, default) for name, default in OWN.items()}
    row, term = losses.loss_of(loss, **more), penalties.penalty_of(penalty, penalty_weight)
    sizes = {"metric": metric} if metric else {"width": width, "depth": depth}
    duel = Duel(*networks_of(data.shape(), z_dim, spectral=row.spectral, **sizes), row, term, device=device, **own)
    settings = sizes | own | row.settings() | {"z_dim": z_dim, "loss": loss, "penalty": [penalty, term and term.weight]}
    budget = {"steps": steps, "seconds": seconds, "checkpoint": checkpoint, "every": every}
    return fight(duel, data, settings, seed=seed, batch_size=batch_size, ema=ema, device=device, **budget)


def fight(
    duel: "Duel",
    data: Dataset,
    settings: dict,
    *,
    seed: int,
    batch_size: int,
    ema: float,
    steps: int | None,
    seconds: float | None,
    device: torch.device | str,
    checkpoint: Path | None,
    every: int,
) -> tuple[nn.Module, list[dict[str, float]]]:
    """Train both networks of a duel, as ``train_gan`` says; ``settings`` are those that a checkpoint must share."""
    average = copy.deepcopy(duel.generator).requires_grad_(False)
    settings = settings | {"seed": seed, "batch_size": batch_size, "ema": ema}
    settings["data"] = artifacts.digest({"images": data.images, "labels": data.labels})
    state = learning.State(checkpoint, every, duel.networks | {"average": average}, duel.optimisers, settings)
    run = learning.Steps(steps, seconds=seconds, label="GAN", wrong=WRONG, state=state)
    images, labels = data.images.to(device), data.labels.to(device)
    for step in run:
        rng = learning.chance(seed, step, device)
        run.note(**duel.turn(images, labels, batch_size, rng=rng, progress=run.progress()))
        learning.follow(average, duel.generator, step, ema)
    return average.eval(), run.curve


def networks_of(
    shape: dict[str, int], z_dim: int, *, spectral: bool, width: int = 0, depth: int = 0, metric: str = ""
) -> tuple[nn.Module, nn.Module]:
    """Return an untrained generator and critic.

    Args:
        shape: of the images, ``Dataset.shape``.
        metric: for the two networks of GM-GAN, one of ``morphology.METRICS``; they have neither width nor depth.
    """
    if metric:
        return morphology.MorphoGenerator(z_dim=z_dim, metric=metric, **shape), morphology.PerceptronCritic(**shape)
    shape = shape | {"width": width, "depth": depth}
    return Generator(z_dim=z_dim, **shape), Discriminator(spectral=spectral, **shape)


class Duel:
    """A generator and a critic that are updated in turn.

    Args:
        penalty: of the critic; None is none.
        mode_seeking: weight of the term that pushes images of different latents apart (Mao et al. 2019, equation 5).
        augmented: whether the critic sees images through ``diff_augment`` alone.
        bf16: compute the networks in bfloat16, see ``forward``.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        loss: losses.Loss,
        penalty: penalties.Penalty | None,
        *,
        device: torch.device | str,
        mode_seeking: float,
        augmented: bool,
        bf16: bool,
    ):
        self.generator, self.critic, self.loss, self.penalty = generator.to(device), critic.to(device), loss, penalty
        self.networks = {"generator": self.generator, "critic": self.critic}
        if penalty:
            self.networks["means"] = penalties.Means().to(device)
        adam = partial(torch.optim.Adam, betas=tuple(loss.betas))
        rates = ((generator, loss.lr_generator), (critic, loss.lr_discriminator))
        self.optimisers = [adam(network.parameters(), rate) for network, rate in rates]
        self.mode_seeking, self.run = mode_seeking, partial(forward, bf16=bf16)
        self.seen = diff_augment if augmented else lambda images, rng: images

    def latents(self, n: int, rng: torch.Generator) -> torch.Tensor:
        """Draw latents from the prior, on the device of ``rng``."""
        return torch.randn(n, self.generator.z_dim, generator=rng, device=rng.device)

    def turn(
        self, images: torch.Tensor, labels: torch.Tensor, size: int, *, rng: torch.Generator, progress: float
    ) -> dict[str, torch.Tensor]:
        """Update the critic as often as its loss asks for, on batches of a size, and then the generator once."""
        for _ in range(self.loss.critic_steps):
            pick = torch.randint(len(labels), (size,), generator=rng, device=rng.device)
            found = self.update_critic(images[pick], labels[pick], rng=rng, progress=progress)
        return found | self.update_generator(labels[pick], rng=rng)

    def update_critic(
        self, images: torch.Tensor, labels: torch.Tensor, *, rng: torch.Generator, progress: float
    ) -> dict[str, torch.Tensor]:
        """Update the critic on real images and as many fakes of their labels; return its loss and its penalties."""
        seen = self.seen(images, rng)
        with torch.no_grad():
            fakes = self.run(self.generator, self.latents(len(labels), rng), labels)
        both = torch.cat((seen, self.seen(fakes, rng)))
        real, fake = self.run(self.critic, both, labels.repeat(2)).chunk(2)
        found = {"critic": self.loss.critic(real, fake)}
        whole = found["critic"]
        if self.loss.slope:
            share = torch.rand(len(labels), generator=rng, device=rng.device)
            mixed = penalties.between(*both.chunk(2), share)
            found["slope"] = penalties.slope(lambda images: self.run(self.critic, images, labels), mixed)
            whole = whole + self.loss.slope * found["slope"]
        if self.penalty:
            means, weights = self.networks["means"], list(self.critic.parameters())
            found["penalty"] = self.penalty.term(penalties.Seen(whole, real, fake, weights, means, progress))
            if self.penalty.weight:  # adding 0 times its gradients may still change how others are summed
                whole = whole + self.penalty.weight * found["penalty"]
            means.follow(real, fake)
        learning.update(whole, self.optimisers[1])
        return found

    def update_generator(self, labels: torch.Tensor, *, rng: torch.Generator) -> dict[str, torch.Tensor]:
        """Update the generator on fakes of half of the labels, two latents each; return its loss."""
        self.critic.requires_grad_(False)
        labels = labels[: len(labels) // 2].repeat(2)  # two latents a label, for the mode-seeking term
        z = self.latents(len(labels), rng)
        fakes = self.run(self.generator, z, labels)
        loss = self.loss.generator(self.run(self.critic, self.seen(fakes, rng), labels))
        learning.update(loss + self.extra(z, labels, fakes), self.optimisers[0])
        self.critic.requires_grad_(True)
        return {"generator": loss}

    def extra(self, z: torch.Tensor, labels: torch.Tensor, fakes: torch.Tensor) -> torch.Tensor | float:
        """Return what the generator descends besides its loss, of fakes that it drew: the mode-seeking term."""
        apart = lambda a, b: (a - b).abs().flatten(1).mean(1)
        ratio = apart(*fakes.chunk(2)) / apart(*z.chunk(2))
        return self.mode_seeking / (ratio.mean() + 1e-5)


def forward(network: torch.nn.Module, *inputs: torch.Tensor, bf16: bool) -> torch.Tensor:
    """Return what a network makes of its inputs, as float32; ``bf16`` lets autocast compute it in bfloat16.

    Weights, losses and averages stay float32, so bfloat16's range needs no scaling of the loss.
    """
    with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=bf16):
        return network(*inputs).float()


# what the zoo's GANs are trained with, the same networks for every loss; GM-GAN has its own pair, and the settings of
# the code whose defaults its paper has
MEMBERS = {
    "hinge": {"width": 96},
    "vanilla": {"width": 96, "loss": "vanilla"},
    "lsgan": {"width": 96, "loss": "lsgan"},
    "wgan-gp": {"width": 96, "loss": "wgan-gp"},
    "gm-gan": {"metric": "disc", "z_dim": 100, "loss": "vanilla", "critic_steps": 1, "betas": (0.5, 0.999)},
}
