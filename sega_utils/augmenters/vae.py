"""Class-conditional variational autoencoders: with a given variance (beta-VAE), or the optimal one (Beta-Sigma VAE)."""

import math
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters import base
from sega_utils.augmenters.gan import ConditionalBatchNorm, Generator, widths
from sega_utils.core import learning
from sega_utils.data.images import Dataset

FLOOR = 1e-6  # of a variance: a perfect reconstruction stays finite
WRONG = "the VAE's loss is not finite at step {step}: {losses}; lower lr"
DECAY = 1e-5  # of the weights, as Beta-Sigma VAE has it
POOLS = ("image", "batch")


class EncoderBlock(nn.Module):
    """Halve the resolution with one convolution, then refine with ``depth - 1`` residual convolutions."""

    def __init__(self, inputs: int, outputs: int, n_classes: int, depth: int):
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 4, 2, 1)
        self.norm = ConditionalBatchNorm(outputs, n_classes)
        self.norms = nn.ModuleList(ConditionalBatchNorm(outputs, n_classes) for _ in range(depth - 1))
        self.convs = nn.ModuleList(nn.Conv2d(outputs, outputs, 3, padding=1) for _ in range(depth - 1))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.down(x), labels))
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(F.relu(norm(x, labels)))
        return x


class Vae(nn.Module):
    """Encode images to normal distributions of latents, and decode latents; both are told the class.

    The decoder is the GAN's generator, the encoder its mirror image, so that what differs from the GAN is the training.

    Args:
        width: channels of the decoder at 4x4 and of the encoder at 2x2; depth: convolutions a resolution.
        side: in pixels, one of ``images.SIDES``.

    Source: Kingma and Welling 2014; conditional, Sohn et al. 2015.
    """

    def __init__(
        self, *, n_classes: int, channels: int = 1, z_dim: int = 128, width: int = 160, depth: int = 1, side: int = 32
    ):
        super().__init__()
        shape = {"n_classes": n_classes, "channels": channels, "width": width, "depth": depth, "side": side}
        self.n_classes, self.channels, self.z_dim, self.side = n_classes, channels, z_dim, side
        self.settings = shape | {"z_dim": z_dim}
        sizes = [channels, *reversed(widths(width, side))]
        self.blocks = nn.ModuleList(EncoderBlock(i, o, n_classes, depth) for i, o in zip(sizes, sizes[1:]))
        self.head = nn.Linear(width * 4, 2 * z_dim)
        self.decoder = Generator(z_dim=z_dim, **shape)
        # scales and shifts alone tell the decoder the class so late that the latents carry it first, and samples of the
        # prior then have none; random places of the classes say it from the first step on
        self.place = nn.Embedding(n_classes, z_dim)
        self.register_buffer("deviation", torch.zeros(()))  # of a pixel about its mean, over the training images
        self.to(memory_format=torch.channels_last)

    def encode(self, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance of the latents, float32 (N, z_dim) each."""
        h = images * 2 - 1
        for block in self.blocks:
            h = block(h, labels)
        return self.head(h.flatten(1)).chunk(2, 1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Decode latents (N, z_dim) of labels (N,) to images (N, channels, side, side) in [0, 1]."""
        return self.decoder(z + self.place(labels), labels)


def latent(mean: torch.Tensor, log_variance: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Return the latent that standard normal noise means in a distribution, all (N, d); gradients reach both of its.

    Source: Kingma and Welling 2014, section 2.4.
    """
    return mean + (log_variance / 2).exp() * noise


def divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of each normal (N, d) from the standard one, in nats, float (N,).

    Source: Kingma and Welling 2014, appendix B.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def surprise(images: torch.Tensor, drawn: torch.Tensor, *, variance: float | None, pool: str = "image") -> torch.Tensor:
    """Return the negative log likelihood of each image in nats, float (N,), every pixel normal about the drawn one.

    Args:
        images, drawn: float (N, C, H, W).
        variance: of a pixel; None takes the one at which the result is least, the mean square of what differs.
        pool: over which that mean is taken, each ``image`` by itself or the whole ``batch``.

    Source: Rybkin et al. 2021, equation 5; by image, Beta-Sigma VAE (ICPR 2024).
    """
    size = images[0].numel()
    squares = (images - drawn).square().flatten(1).sum(1)
    if variance is None:
        best = squares / size if pool == "image" else squares.mean() / size
        variance = best.clamp(min=FLOOR)
    else:
        variance = torch.as_tensor(variance, dtype=squares.dtype, device=squares.device)
    return squares / (2 * variance) + size / 2 * (2 * math.pi * variance).log()


def losses(
    model: Vae,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    rng: torch.Generator,
    variance: float | None,
    pool: str = "image",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean ``surprise`` of images, each decoded from one latent of its distribution, and ``divergence``.

    Source: Kingma and Welling 2014, equation 10.
    """
    mean, log_variance = model.encode(images, labels)
    z = latent(mean, log_variance, torch.randn(mean.shape, generator=rng, device=mean.device))
    error = surprise(images, model(z, labels), variance=variance, pool=pool).mean()
    return error, divergence(mean, log_variance).mean()


def clip(optimiser: torch.optim.Optimizer, *_: object) -> None:
    """Shorten the gradient of all weights together to 1 at most, before an optimiser's step."""
    nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], 1.0)


def weight_of(beta: float, ramp: float, progress: float) -> float:
    """Return the weight of the divergence after a share of the training: it grows in a line to beta, and stays."""
    return beta * min(1.0, progress / ramp) if ramp else beta


def train_vae(
    data: Dataset,
    *,
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
    variance: float | None = 1 / 8,
    pool: str = "image",
    beta: float = 0.8,
    ramp: float = 0.2,
    batch_size: int = 64,
    lr: float = 1e-3,
    ema: float = 0.999,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 500,
    **shape: int,
) -> tuple[Vae, list[dict[str, float]]]:
    """Train an autoencoder; return the averaged one and its loss curve.

    Args:
        steps, seconds: as for ``learning.Steps``. variance, pool: as for ``surprise``; 1/8 is the sum of squares of
            pixels in [-1, 1]. beta: weight of the divergence, reached after the share ``ramp`` of the training.
        ema: decay of the averaged weights. checkpoint: where the state is kept every ``every`` steps.
        shape: ``width``, ``depth`` and ``z_dim`` of ``Vae``.

    Raises:
        FloatingPointError, ValueError, ArtifactError: a loss that is not finite, a setting, a checkpoint is refused.

    Source: Higgins et al. 2017, equation 4; annealed, Bowman et al. 2016, section 3.1.
    """
    check_settings(variance=variance, pool=pool, beta=beta, ramp=ramp, batch_size=batch_size, lr=lr)
    torch.manual_seed(seed)
    model = Vae(**data.shape(), **shape).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), lr, weight_decay=DECAY)
    optimiser.register_step_pre_hook(clip)
    settings = {"seed": seed, "steps": steps, "seconds": seconds, "variance": variance, "pool": pool, "beta": beta}
    settings |= {"ramp": ramp, "batch_size": batch_size, "lr": lr, "ema": ema}
    run = base.training(model, optimiser, data, settings, path=checkpoint, every=every, label="VAE", wrong=WRONG)
    images, labels, average = data.images.to(device), data.labels.to(device), run.state.networks["average"]
    for step in run:
        rng = learning.chance(seed, step, device)
        pick = torch.randint(len(labels), (batch_size,), generator=rng, device=device)
        error, kl = losses(model, images[pick], labels[pick], rng=rng, variance=variance, pool=pool)
        base.schedule(optimiser, [lr], run.progress())
        learning.update(error + weight_of(beta, ramp, run.progress()) * kl, optimiser)
        learning.follow(average, model, step, ema)
        run.note(error=error, divergence=kl)
    average.eval().deviation.copy_(deviation_of(average, images, labels))
    return average, run.curve


train_bs_vae = partial(
    train_vae, variance=None, beta=1.0, ramp=0.0, width=128, depth=2, z_dim=32
)  # three residual convolutions each way


def check_settings(*, variance: float | None, pool: str, beta: float, ramp: float, batch_size: int, lr: float) -> None:
    """Refuse settings that no training makes sense of.

    Raises:
        ValueError: one is outside its range.
    """
    if variance is not None and not 0 < variance < math.inf:
        raise ValueError(f"variance is {variance}; allowed are numbers above 0, or None for the optimal one")
    if pool not in POOLS:
        raise ValueError(f"pool is {pool!r}; allowed are {', '.join(POOLS)}")
    if not 0 <= beta < math.inf:
        raise ValueError(f"beta is {beta}; allowed are 0 and above")
    if not 0 <= ramp <= 1:
        raise ValueError(f"ramp is {ramp}; allowed is a share of the training, 0 .. 1")
    if batch_size < 2 or not 0 < lr < math.inf:
        raise ValueError(f"batch_size is {batch_size} and lr {lr}; allowed are 2 and above, and above 0")


@torch.no_grad()
def coded(model: Vae, images: torch.Tensor, labels: torch.Tensor, *, batch: int = 250) -> torch.Tensor:
    """Return the mean latents of images, float32 (N, z_dim); the model must be in eval mode."""
    parts = zip(images.split(batch), labels.split(batch), strict=True)
    return torch.cat([model.encode(*part)[0] for part in parts])


@torch.no_grad()
def deviation_of(model: Vae, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the root mean square difference of images from what is decoded from their mean latents."""
    drawn = base.generate(model, labels, z=coded(model, images, labels))
    return (images - drawn).square().mean().sqrt()


def sample_vae(
    state: tuple[dict, dict],
    labels: torch.Tensor,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = 250,
    noise: bool = False,
) -> torch.Tensor:
    """Decode latents from the standard normal distribution.

    Args:
        noise: add to every pixel what the likelihood allows it, and cut the sum to [0, 1].
    """
    model = base.revive(lambda settings: Vae(**settings), state, device)
    base.check_labels(labels, model.n_classes)
    seeds = base.seeds_of(seed, len(labels))
    images = base.generate(model, labels, z=base.noise_of(seeds, model.z_dim), batch=batch).cpu()
    if noise:  # negative seeds are no image's own
        grain = base.noise_of(-1 - seeds, images.shape[1:].numel()).view_as(images)
        images = (images + float(model.deviation) * grain).clamp(0, 1)
    return images
