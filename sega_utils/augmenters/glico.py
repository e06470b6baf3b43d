"""GLICO: a generator with one learnt latent for each real image, drawn from between two images of a class.

Without a critic nothing can collapse: every image has its own place among the latents. The classifier, with which GLICO
judges what lies between, and its pretrained perceptual loss are left out: the images are all that is seen.
"""

import math
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters import base
from sega_utils.augmenters.gan import Generator
from sega_utils.core import learning
from sega_utils.data.images import Dataset

WRONG = "GLICO's loss is not finite at step {step}: {losses}; lower the rates"


class Glico(nn.Module):
    """The GAN's generator, the latents of the images it was fitted to, and the classes of these.

    Args:
        n_images: how many; shape: as for ``gan.Generator``.
    """

    def __init__(self, *, n_images: int, **shape: int):
        super().__init__()
        self.generator = Generator(**shape)
        self.settings = {"n_images": n_images} | self.generator.settings
        self.latents = nn.Parameter(on_sphere(torch.randn(n_images, self.generator.z_dim)))
        self.register_buffer("class_ids", torch.zeros(n_images, dtype=torch.int64))


def on_sphere(z: torch.Tensor) -> torch.Tensor:
    """Return latents (N, d) at the length of a typical normal one, the root of d."""
    return F.normalize(z, dim=1) * z.shape[1] ** 0.5


def pyramid_distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the mean over images (N, C, S, S) of squared differences, and of absolute ones of Laplacian pyramids.

    Each level of a pyramid counts as its mean: there are four times as few pixels as on the one before, and they weigh
    four times as much.

    Source: Bojanowski et al. 2018, section 3.2; smoothing by 2x2 means instead of their Gaussian is ours.
    """
    rest = a - b  # a pyramid is linear: the difference of two is that of the difference
    total = rest.square().mean()
    while rest.shape[-1] > 4:
        smaller = F.avg_pool2d(rest, 2)
        total = total + (rest - F.interpolate(smaller, scale_factor=2)).abs().mean()
        rest = smaller
    return total + rest.abs().mean()


def turn(step: int, size: int, n: int, seed: int) -> torch.Tensor:
    """Return the images of a step, int64 (size,): all n have their turn before one has its next."""
    at = torch.arange(step * size, (step + 1) * size)
    epochs = range(step * size // n, ((step + 1) * size - 1) // n + 1)
    orders = torch.cat([torch.randperm(n, generator=learning.chance(seed, epoch, "cpu")) for epoch in epochs])
    return orders[at - epochs[0] * n]


def optimiser_of(model: Glico, lr_generator: float, lr_latents: float) -> torch.optim.Optimizer:
    """Return the optimiser of generator and latents, each with its rate.

    Raises:
        ValueError: a rate that is not above 0.
    """
    if not (0 < lr_generator < math.inf and 0 < lr_latents < math.inf):
        raise ValueError(f"lr_generator is {lr_generator} and lr_latents {lr_latents}; allowed are numbers above 0")
    own = {"params": list(model.generator.parameters()), "lr": lr_generator}
    return torch.optim.Adam([own, {"params": [model.latents], "lr": lr_latents}])


def train_glico(
    data: Dataset,
    *,
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
    batch_size: int = 64,
    lr_generator: float = 1e-3,
    lr_latents: float = 1e-2,
    ema: float = 0.999,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 500,
    **shape: int,
) -> tuple[Glico, list[dict[str, float]]]:
    """Fit a generator and one latent an image to the images; return their average and the loss curve.

    Args:
        steps, seconds: as for ``learning.Steps``. ema: decay of the averaged weights and latents.
        checkpoint: where the state is kept every ``every`` steps.
        shape: ``width``, ``depth`` and ``z_dim`` of ``gan.Generator``.

    Raises:
        FloatingPointError, ArtifactError: a loss that is not finite, a checkpoint of other settings.
        ValueError: a class of fewer than two images, which has nothing in between; a setting outside its range.

    Source: Bojanowski et al. 2018, equation 2; by class, Azuri and Weinshall 2021.
    """
    base.check_data(data.images, data.labels, len(data.class_names), least=2)
    rates = (lr_generator, lr_latents)
    torch.manual_seed(seed)
    model = Glico(n_images=len(data.labels), **data.shape(), **shape).to(device)
    model.class_ids.copy_(data.labels)
    optimiser = optimiser_of(model, *rates)
    settings = {"seed": seed, "steps": steps, "seconds": seconds, "batch_size": batch_size}
    settings |= {"lr": list(rates), "ema": ema}
    run = base.training(model, optimiser, data, settings, path=checkpoint, every=every, label="GLICO", wrong=WRONG)
    images, labels, average = data.images.to(device), data.labels.to(device), run.state.networks["average"]
    for step in run:
        pick = turn(step, batch_size, len(labels), seed).to(device)
        base.schedule(optimiser, rates, run.progress())
        loss = pyramid_distance(model.generator(model.latents[pick], labels[pick]), images[pick])
        learning.update(loss, optimiser)
        model.latents.data = on_sphere(model.latents.data)
        learning.follow(average, model, step, ema)
        run.note(loss=loss)
    average.latents.data = on_sphere(average.latents.data)
    return average.eval(), run.curve


def sources(
    class_ids: torch.Tensor, labels: torch.Tensor, seed: int, *, low: float = 0.0, high: float = 0.5
) -> dict[str, torch.Tensor]:
    """Return the two real images that each drawn one lies between, and how far it is from the first.

    Args:
        class_ids: int64 (P,), of the real images, a state's tensor of this name; labels: int64 (N,), to draw.
        low, high: least and largest weight of the second image, 0 .. 1.

    Returns:
        ``first`` and ``second``, int64 (N,), of the label's class, never the same; ``weight`` float32 (N,). Every image
        of a class is the first of one drawn image before it is that of another.

    Raises:
        ValueError: weights outside 0 .. 1 or in the wrong order.
    """
    if not 0 <= low <= high <= 1:
        raise ValueError(f"the weights are {low} .. {high}; allowed are two ascending numbers in 0 .. 1")
    chance = base.noise_of(base.seeds_of(seed, len(labels)), 2, torch.rand)
    first, counts = base.rotation(class_ids, labels, seed), class_ids.bincount()[labels]
    others = (chance[:, 0].double() * (counts - 1)).long()
    second = base.nth_of(class_ids, labels, base.places(class_ids)[first] + 1 + others)
    return {"first": first, "second": second, "weight": low + (high - low) * chance[:, 1]}


def between(a: torch.Tensor, b: torch.Tensor, weight: torch.Tensor, *, way: str) -> torch.Tensor:
    """Return the latents (N, d) that lie a share of the way, float (N,), from those of a to those of b.

    Args:
        way: ``spherical`` along the great circle (Shoemake 1985), or ``linear``.

    Raises:
        ValueError: another way.
    """
    if way not in ("spherical", "linear"):
        raise ValueError(f"way is {way!r}; allowed are spherical, linear")
    weight = weight[:, None]
    if way == "linear":
        return (1 - weight) * a + weight * b
    angle = F.cosine_similarity(a, b)[:, None].clamp(-1 + 1e-6, 1 - 1e-6).arccos()
    return (((1 - weight) * angle).sin() * a + (weight * angle).sin() * b) / angle.sin()


def sample_glico(
    state: tuple[dict, dict],
    labels: torch.Tensor,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = 250,
    way: str = "spherical",
    **weights: float,
) -> torch.Tensor:
    """Draw between the two real images that ``sources`` names; ``weights`` are its low and high."""
    model = base.revive(lambda settings: Glico(**settings), state, device)
    base.check_labels(labels, model.generator.n_classes)
    at = sources(model.class_ids.cpu(), labels, seed, **weights)
    latents = model.latents.cpu()
    z = between(latents[at["first"]], latents[at["second"]], at["weight"], way=way)
    return base.generate(model.generator, labels, z=z, batch=batch).cpu()
