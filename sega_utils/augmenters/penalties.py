"""Penalties of a GAN's critic, one row each: terms that are added to its loss, with the weight they were given."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

BEGIN = 0.1  # share of the training after which LeCam's running means are trusted
DECAY = 0.99  # of the running means; no source gives one


class Means(nn.Module):
    """The running means of a critic's scores of real and of drawn images, kept with the training's state."""

    def __init__(self):
        super().__init__()
        for name in ("real", "fake", "count"):
            self.register_buffer(name, torch.zeros(()))

    @torch.no_grad()
    def follow(self, real: torch.Tensor, fake: torch.Tensor) -> None:
        """Move the means towards those of a batch; at first they are plain averages."""
        decay = (self.count / (self.count + 1)).clamp(max=DECAY)
        self.real.copy_(decay * self.real + (1 - decay) * real.mean())
        self.fake.copy_(decay * self.fake + (1 - decay) * fake.mean())
        self.count += 1


class Seen(NamedTuple):
    """What a penalty may look at once the critic has scored a batch.

    Attributes:
        loss: of the critic, a scalar; real, fake: its scores, float (N,); weights: its parameters.
        means: those of the scores before this batch; progress: share of the training that is done, 0 .. 1.
    """

    loss: torch.Tensor
    real: torch.Tensor
    fake: torch.Tensor
    weights: list[torch.Tensor]
    means: Means
    progress: float


def gradient(seen: Seen) -> torch.Tensor:
    """Return the squared gradient of the critic's loss by its weights (HingeRLC-GAN as printed, section 3.4)."""
    slopes = torch.autograd.grad(seen.loss, seen.weights, create_graph=True)
    return sum(slope.square().sum() for slope in slopes)


def lecam(seen: Seen, *, relu: bool = False) -> torch.Tensor:
    """Return how far scores are from the running mean of the other kind's; 0 in the first tenth of the training.

    Args:
        relu: count only scores on the far side of that mean, as the authors' code does.

    Source: Tseng et al. 2021, equation 4, to which HingeRLC-GAN refers.
    """
    if seen.progress <= BEGIN:
        return torch.zeros_like(seen.loss)
    real, fake = seen.real - seen.means.fake, seen.means.real - seen.fake
    if relu:
        real, fake = F.relu(real), F.relu(fake)
    return real.square().mean() + fake.square().mean()


def one(seen: Seen) -> torch.Tensor:
    """Return how far the scores of real images are from 1 (what the notebook of HingeRLC-GAN's authors trains)."""
    return (seen.real - 1).square().mean()


def bilateral(seen: Seen, *, theta: float = 2.0) -> torch.Tensor:
    """Return how far scores of real images are above theta, and those of drawn ones below 0 (T2R-GAN, section 3.3)."""
    return F.relu(seen.real - theta).mean() + F.relu(-seen.fake).mean()


class Penalty(NamedTuple):
    """A term of the critic's loss, and its weight unless another is given."""

    term: Callable[[Seen], torch.Tensor]
    weight: float


PENALTIES = {
    "gradient": Penalty(gradient, 1e-3),  # unsaid: the middle of what is searched
    "lecam": Penalty(lecam, 0.3),
    "lecam-relu": Penalty(partial(lecam, relu=True), 0.3),
    "one": Penalty(one, 0.15),
    "bilateral": Penalty(bilateral, 0.5),
}


def penalty_of(name: str, weight: float | None = None) -> Penalty | None:
    """Return a row of ``PENALTIES``, its weight changed if one is given; None for no name.

    Raises:
        ValueError: an unknown penalty, a negative weight, or one without a penalty.
    """
    if name not in {"", *PENALTIES}:
        raise ValueError(f"the penalty is {name!r}; allowed are {', '.join(PENALTIES)}, and '' for none")
    if weight is not None and not (weight >= 0 and name):
        raise ValueError(f"the weight of the penalty {name!r} is {weight}; allowed are 0 and more, with a penalty")
    if not name:
        return None
    return PENALTIES[name] if weight is None else PENALTIES[name]._replace(weight=weight)


def between(real: torch.Tensor, fake: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return ``share`` of real images and the rest of drawn ones, both float (N, ...); share float (N,)."""
    share = share.view(-1, *[1] * (real.ndim - 1))
    return share * real + (1 - share) * fake


def slope(critic: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """Return how far the norm of the critic's gradient by an image is from 1, squared and averaged.

    Args:
        critic: maps images to scores (N,), each of which depends on no other image.

    Source: Gulrajani et al. 2017, equation 3.
    """
    images = images.detach().requires_grad_()
    (by_pixel,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    return (by_pixel.flatten(1).norm(dim=1) - 1).square().mean()
