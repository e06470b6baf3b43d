"""Losses that train a classifier against attacks: they take the place of the cross-entropy, step by step."""

import itertools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core.learning import chance
from sega_utils.training import attacks, classifiers

Objective = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
# gradients of the network that a step takes for each image, beside those of the inner attack; with none, that has none
PASSES = {"none": 1, "pgd": 1, "trades": 2}


def attacked(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, *, eps: float, steps: int, norm: str, seed: int
) -> torch.Tensor:
    """Return what ``attacks.pgd`` without early stop makes of images, for a model in training and for soft targets.

    The model is attacked as it will be used, in eval mode: in train mode the statistics of attacked batches would enter
    its running ones (Pang et al. 2021).

    Args:
        images, eps, norm: see ``attacks.check_inputs``. targets: distributions (N, K), or labels int64 (N,).
    """
    was, step_size = model.training, 2.5 * eps / steps
    model.eval()
    x = attacks.random_point(images, eps=eps, norm=norm, seed=seed)
    for _ in range(steps):
        x, _ = attacks.ascend(model, x, images, targets, eps=eps, step_size=step_size, norm=norm)
    model.train(was)
    return x


def objective(
    loss: str, *, eps: float, steps: int = 3, norm: str = "Linf", beta: float = 6.0, seed: int = 0
) -> Objective:
    """Return the loss of a batch for ``classifiers.train_classifier``; each call attacks from other random points.

    Args:
        loss: ``none``, the cross-entropy of the images as they are; ``pgd``, that of the attacked images; ``trades``,
            that of the images and ``beta`` times the divergence of the attacked images' classes from theirs.
        eps, norm: of the inner attack, see ``attacks.check_inputs``. steps: of the inner attack.

    Raises:
        ValueError: an unknown loss or norm, no step, a radius that is not above 0, or a beta below 0.

    Source: Madry et al. 2018, equation 2.1; Zhang et al. 2019, equation 5.
    """
    if loss not in PASSES or norm not in attacks.NORMS:
        allowed = f"{', '.join(PASSES)} and {', '.join(attacks.NORMS)}"
        raise ValueError(f"received the loss {loss!r} in {norm!r}; allowed are {allowed}")
    if steps < 1 or not eps > 0 or beta < 0:
        raise ValueError(f"received {steps} steps, eps {eps:g}, beta {beta:g}; allowed are 1 .., above 0, and 0 ..")
    if loss == "none":
        return classifiers.cross_entropy
    count = itertools.count()

    def attack(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        start = chance(seed, next(count), "cpu").initial_seed()
        return attacked(model, images, targets, eps=eps, steps=steps, norm=norm, seed=start)

    def pgd(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return classifiers.cross_entropy(model, attack(model, images, targets), targets)

    def trades(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        clean = model(images).float()
        # up the cross-entropy to what the model says itself is up the divergence from it
        found = model(attack(model, images, clean.detach().softmax(1))).float()
        apart = F.kl_div(found.log_softmax(1), clean.softmax(1), reduction="batchmean")
        return F.cross_entropy(clean, targets) + beta * apart

    return {"pgd": pgd, "trades": trades}[loss]
