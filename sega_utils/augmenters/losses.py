"""The losses of a GAN, one row each: what critic and generator descend, and what their training takes with it."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional as F


class Loss(NamedTuple):
    """Two functions of scores float (N,), higher is more real, and the settings that a loss was published with.

    Attributes:
        critic: takes the scores of real and of drawn images; generator: those of drawn images; both return a scalar.
        critic_steps: of the critic for each of the generator, each on images of its own.
        betas: of Adam; lr_generator, lr_discriminator: its rates.
        spectral: whether the critic's layers have spectral norm.
        slope: weight of the penalty ``penalties.slope``; 0 is none.
    """

    critic: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    generator: Callable[[torch.Tensor], torch.Tensor]
    critic_steps: int = 1
    betas: tuple[float, float] = (0.0, 0.99)
    lr_generator: float = 2e-4
    lr_discriminator: float = 4e-4
    spectral: bool = True
    slope: float = 0.0

    def settings(self) -> dict:
        """Return all but the two functions, as JSON holds it."""
        return {
            k: list(v) if k == "betas" else v for k, v in self._asdict().items() if k not in {"critic", "generator"}
        }


def hinge(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the critic's hinge loss (Lim and Ye 2017)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def raised(fake: torch.Tensor) -> torch.Tensor:
    """Return the generator's loss that raises the scores themselves: of hinge and Wasserstein."""
    return -fake.mean()


def vanilla(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the critic's cross-entropy (Goodfellow et al. 2014, equation 1): 2 ln 2 at scores of 0."""
    one = F.binary_cross_entropy_with_logits
    return one(real, torch.ones_like(real)) + one(fake, torch.zeros_like(fake))


def non_saturating(fake: torch.Tensor) -> torch.Tensor:
    """Return the generator's cross-entropy with swapped labels (Goodfellow et al. 2014, section 3): ln 2 at 0."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def squares(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return the critic's least squares with targets 1 and 0 (Mao et al. 2017, equation 9): 0.5 at scores of 0."""
    return 0.5 * (real - 1).square().mean() + 0.5 * fake.square().mean()


def towards_one(fake: torch.Tensor) -> torch.Tensor:
    """Return the generator's least squares with target 1 (Mao et al. 2017, equation 9): 0.5 at scores of 0."""
    return 0.5 * (fake - 1).square().mean()


def wasserstein(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """Return how much higher the critic scores drawn images (Arjovsky et al. 2017, equation 2)."""
    return fake.mean() - real.mean()


# of GenVision's three: one rate for both networks, and none of them has spectral norm, as the slope bounds the same
GENVISION = {"critic_steps": 5, "betas": (0.0, 0.9), "lr_discriminator": 2e-4, "spectral": False}

LOSSES = {
    "hinge": Loss(hinge, raised),
    "vanilla": Loss(vanilla, non_saturating, **GENVISION),
    "lsgan": Loss(squares, towards_one, **GENVISION),
    "wgan-gp": Loss(wasserstein, raised, **GENVISION, slope=10.0),  # Gulrajani et al. 2017, algorithm 1
}


def loss_of(name: str, **changes: object) -> Loss:
    """Return a row of ``LOSSES``, some of its settings changed.

    Raises:
        ValueError: an unknown loss, setting, or a setting out of its range.
    """
    if name not in LOSSES:
        raise ValueError(f"the loss is {name!r}; allowed are {', '.join(LOSSES)}")
    allowed = LOSSES[name].settings()
    if unknown := changes.keys() - allowed.keys():
        raise ValueError(f"received the settings {sorted(unknown)}; those of a loss are {', '.join(allowed)}")
    row = LOSSES[name]._replace(**changes)
    if row.critic_steps < 1 or not row.slope >= 0:
        raise ValueError(
            f"critic_steps is {row.critic_steps} and slope {row.slope}; allowed are whole steps from 1 on, and a slope "
            "from 0 on"
        )
    return row
