"""A style autoencoder: images become latents in three groups, from coarse to fine, and latents become images again.

It stands where StyleGAN2 and its inversion stand in SAGE, at the size of a few thousand small images: what the linear
generator is an exact double of. Unseen images need an encoder, so a latent for each training image would not do.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters import base, gan, losses, vae
from sega_utils.core import artifacts, learning
from sega_utils.data.images import check_images

State = tuple[dict[str, torch.Tensor], dict]
GROUPS = 3  # of layers: they draw 8x8, 16x16 and the rest
WRONG = "the style autoencoder's loss is not finite at step {step}: {losses}; lower lr"
CRITIC = {"n_classes": 1, "width": 32}  # told no class: an unseen image has none yet


class Encoder(nn.Module):
    """Map images to the means and log variances of latents, float32 (N, GROUPS, dims) each; the first group sees most.

    Args:
        width: channels at half the side, doubled whenever the side halves again.
    """

    def __init__(self, *, channels: int, dims: int, width: int):
        super().__init__()
        sizes = [channels, *(width << i for i in range(GROUPS))]
        self.down = nn.ModuleList(nn.Conv2d(i, o, 4, 2, 1) for i, o in zip(sizes, sizes[1:]))
        self.heads = nn.ModuleList(nn.Linear(o * 16, 2 * dims) for o in sizes[1:])

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h, found = images * 2 - 1, []
        for down, head in zip(self.down, self.heads, strict=True):
            h = F.leaky_relu(down(h), 0.2)
            found.append(head(F.adaptive_avg_pool2d(h, 4).flatten(1)))
        mean, log_variance = torch.stack(found[::-1], 1).chunk(2, 2)
        return mean, log_variance.clamp(-10, 10)


class Block(nn.Module):
    """Double the resolution; a latent scales and shifts each channel (Perez et al. 2018, equation 1)."""

    def __init__(self, inputs: int, outputs: int, dims: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)
        self.style = nn.Linear(dims, 2 * outputs)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, h: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        scale, shift = self.style(latents)[..., None, None].chunk(2, 1)
        h = F.leaky_relu(self.up(h) * (1 + scale) + shift, 0.2)
        return F.leaky_relu(h + self.conv(h), 0.2)


class Autoencoder(nn.Module):
    """Encoder and decoder; neither is told a class.

    Args:
        dims: of each group of a latent. width: channels of the decoder at 4x4, a multiple of side / 4; of the encoder
            at half the side, a quarter of it. side: in pixels, one of ``images.SIDES``.

    Source: the generator of Karras et al. 2019, whose layers take latents by scale and shift, without its noise.
    """

    def __init__(self, *, channels: int, side: int, dims: int = 64, width: int = 64):
        super().__init__()
        self.settings = {"channels": channels, "side": side, "dims": dims, "width": width}
        sizes = gan.widths(width, side)
        self.encoder = Encoder(channels=channels, dims=dims, width=width // 4)
        self.start = nn.Parameter(torch.randn(1, width, 4, 4))
        self.blocks = nn.ModuleList(Block(i, o, dims) for i, o in zip(sizes, sizes[1:]))
        self.out = nn.Conv2d(sizes[-1], channels, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode latents (N, GROUPS, dims) to images (N, channels, side, side) in [0, 1]."""
        h = self.start.expand(len(latents), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        for i, block in enumerate(self.blocks):
            h = block(h, latents[:, min(i, GROUPS - 1)])
        return torch.sigmoid(self.out(h))


def terms(
    model: Autoencoder, images: torch.Tensor, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what is decoded from one latent of each image's distribution, and two means over pixels, in nats: how
    surprising the images are given it, each by its best variance, and the divergence of the latents from the prior.

    Source: Kingma and Welling 2014, equation 10; the variance, Beta-Sigma VAE (ICPR 2024).
    """
    mean, log_variance = (part.flatten(1) for part in model.encoder(images))
    latents = vae.latent(mean, log_variance, torch.randn(mean.shape, generator=rng, device=mean.device))
    drawn, size = model(latents.unflatten(1, (GROUPS, -1))), images[0].numel()
    error = vae.surprise(images, drawn, variance=None).mean() / size
    return drawn, error, vae.divergence(mean, log_variance).mean() / size


def fit(
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    num_classes: int,
    seed: int = 0,
    steps: int = 1000,
    batch_size: int = 64,
    lr: float = 3e-3,
    adversarial: float = 0.1,
    ema: float = 0.999,
    **shape: int,
) -> State:
    """Train the autoencoder on images of seen classes; its meta names what it has seen, its labels play no part.

    Args:
        images, labels: as ``Dataset`` holds them. steps, batch_size, lr: of Adam, after a cycle of rates.
        adversarial: weight of a hinge critic's score of what is decoded, beside means over pixels; 0 trains no critic.
        ema: decay of the averaged weights, which are returned. shape: ``dims`` and ``width`` of ``Autoencoder``.

    Raises:
        ValueError: as ``base.check_data``, or a width that does not fit. FloatingPointError: the loss is not finite.
    """
    base.check_data(images, labels, num_classes, least=2)
    torch.manual_seed(seed)
    size = {"channels": images.shape[1], "side": images.shape[-1]}
    model, average = Autoencoder(**size, **shape), Autoencoder(**size, **shape)
    critic = gan.Discriminator(**size, **CRITIC)
    adam = partial(torch.optim.Adam, betas=(0.0, 0.99))
    optimisers = adam(model.parameters(), lr), adam(critic.parameters(), losses.LOSSES["hinge"].lr_discriminator)
    for step in (run := learning.Steps(steps, wrong=WRONG, label="style autoencoder")):
        rng = learning.chance(seed, step, "cpu")
        picked = images[torch.randint(len(images), (batch_size,), generator=rng)]
        base.schedule(optimisers[0], [lr], run.progress())
        drawn, error, divergence = terms(model, picked, rng)
        loss = error + divergence
        if adversarial:
            loss = loss + adversarial * judged(critic, optimisers[1], picked, drawn, rng)
        learning.update(loss, optimisers[0])
        learning.follow(average, model, step, ema)
        run.note(error=error, divergence=divergence)
    seen = artifacts.digest({"images": images, "labels": labels})
    return average.state_dict(), {"augmenter": "style", "settings": model.settings, "seen": seen}


def judged(
    critic: nn.Module, optimiser: torch.optim.Optimizer, images: torch.Tensor, drawn: torch.Tensor, rng: torch.Generator
) -> torch.Tensor:
    """Update a critic on images and what was drawn of them; return the loss of the drawn ones by its new weights."""
    none = torch.zeros(len(images), dtype=torch.int64)
    see = lambda found: critic(gan.diff_augment(found, rng), none)
    critic.requires_grad_(True)
    learning.update(losses.hinge(see(images), see(drawn.detach())), optimiser)
    critic.requires_grad_(False)
    return losses.raised(see(drawn))


def network_of(state: State) -> Autoencoder:
    """Return the autoencoder of a state, frozen.

    Raises:
        ArtifactError: the state of another augmenter, or other weights than it says.
    """
    return base.revive(lambda settings: Autoencoder(**settings), state, "cpu")


@torch.no_grad()
def invert(state: State, images: torch.Tensor, *, batch: int = 500) -> torch.Tensor:
    """Return the mean latents of images, float32 (N, GROUPS, dims).

    Raises:
        ValueError: no images, or of another side or channels than the autoencoder's.
    """
    check_images(images)
    model = network_of(state)
    allowed = (model.settings["channels"], model.settings["side"], model.settings["side"])
    if images.shape[1:] != allowed:
        raise ValueError(f"received images {tuple(images.shape[1:])}; allowed are those of the generator, {allowed}")
    return torch.cat([model.encoder(part)[0] for part in images.split(batch)])


@torch.no_grad()
def render(state: State, codes: torch.Tensor, *, batch: int = 500) -> torch.Tensor:
    """Return the images of latents (N, GROUPS, dims), float32 (N, C, S, S) in [0, 1]."""
    model = network_of(state)
    return torch.cat([model(part) for part in codes.split(batch)])
