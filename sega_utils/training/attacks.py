"""White-box attacks inside a ball around each image: one gradient step or many, in L-inf or L2."""

from functools import partial

import torch
from torch.nn import functional as F

from sega_utils.core import runtime

NORMS = ("Linf", "L2")


def check_inputs(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str = "Linf",
    batch: int = 250,
) -> torch.Tensor:
    """Return the logits (N, K) of the clean images, after checking what every attack relies on.

    Args:
        images: float32 (N, C, H, W) in [0, 1], padding included: an attack may change every pixel.
        labels: int64 (N,) in 0 .. K - 1.
        eps: radius of the ball; for Linf 0 .. 1, for L2 0 .. the diagonal of the cube of all images.

    Raises:
        ValueError: train mode, wrong dtype, shape or range, or outputs that are probabilities.
    """
    if model.training:
        raise ValueError("the model is in train mode, where images of a batch affect each other; call model.eval()")
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}; allowed are {' and '.join(NORMS)}")
    if images.ndim != 4 or len(images) == 0 or images.dtype != torch.float32:
        raise ValueError(f"images are {images.dtype} of shape {tuple(images.shape)}; pass float32 (N, C, H, W), N > 0")
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise ValueError(
            f"images lie in [{images.min():g}, {images.max():g}]; budgets are in units of [0, 1]: scale "
            "the images and leave the normalisation to the model"
        )
    largest = 1.0 if norm == "Linf" else images[0].numel() ** 0.5
    if not 0 <= eps <= largest:
        raise ValueError(f"eps is {eps!r}; allowed for {norm} is 0 .. {largest:g}, in units of the pixels' [0, 1]")
    with torch.no_grad():
        logits = torch.cat([model(part) for part in images.split(batch)])
    n, n_classes = logits.shape
    if labels.dtype != torch.int64 or labels.shape != (n,) or not 0 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)} with {labels.unique().tolist()}; "
            f"pass int64 ({n},) in 0 .. {n_classes - 1}"
        )
    if not bool(logits.isfinite().all()):
        raise ValueError("the model's output is not finite for some images; train it again before attacking it")
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-4).all()):
        raise ValueError("the model returns probabilities, whose gradients vanish; let it return logits (no softmax)")
    return logits


def distance(difference: torch.Tensor, norm: str) -> torch.Tensor:
    """Return the length (N,) of differences (N, C, H, W) of images, in L-inf or L2."""
    flat = difference.reshape(len(difference), -1)
    return flat.abs().amax(1) if norm == "Linf" else flat.square().sum(1).sqrt()


def project(x: torch.Tensor, images: torch.Tensor, *, eps: float, norm: str) -> torch.Tensor:
    """Return the points nearest to ``x`` in the balls around the images, then within [0, 1]."""
    change = x - images
    return (images + (change.clamp(-eps, eps) if norm == "Linf" else change.renorm(2, 0, eps))).clamp(0, 1)


def random_point(images: torch.Tensor, *, eps: float, norm: str, seed: int) -> torch.Tensor:
    """Return a point drawn uniformly from the ball around each image, clipped to [0, 1]."""
    rng = runtime.generator(seed)
    if norm == "Linf":
        change = eps * (2 * torch.rand(images.shape, generator=rng) - 1)
    else:
        change = torch.randn(images.shape, generator=rng)
        radius = eps * torch.rand(len(images), generator=rng) ** (1 / images[0].numel())
        change *= (radius / distance(change, norm))[:, None, None, None]
    return (images + change.to(images.device)).clamp(0, 1)


def ascend(
    model: torch.nn.Module,
    x: torch.Tensor,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    step_size: float,
    norm: str,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Take one step up the cross-entropy from ``x`` within the balls around the images.

    Returns:
        The new points, and the logits at ``x``.
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(x)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), x)
    if norm == "Linf":
        gradient = gradient.sign()
    else:
        gradient = gradient / distance(gradient, norm).clamp_min(1e-12)[:, None, None, None]
    return project(x.detach() + step_size * gradient, images, eps=eps, norm=norm), logits.detach()


def pgd(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    steps: int = 10,
    step_size: float | None = None,
    norm: str = "Linf",
    random_start: bool = True,
    seed: int = 0,
    early_stop: bool = True,
    batch: int = 250,
) -> torch.Tensor:
    """Return adversarial images by projected gradient ascent on the cross-entropy.

    Args:
        images, labels, eps, norm: see ``check_inputs``.
        step_size: if absent, 2.5 eps / steps, enough to cross the ball and come back.
        early_stop: an image that is fooled, be it from the start, stays as it is and costs no more steps.

    Returns:
        float32 (N, C, H, W) in [0, 1], within ``eps`` of the images up to rounding.

    Raises:
        ValueError: see ``check_inputs``; fewer than one step.

    Source: Madry et al. 2018; the default step size is that of their figure 6.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; an attack takes at least 1")
    correct = check_inputs(model, images, labels, eps=eps, norm=norm, batch=batch).argmax(1) == labels
    take = partial(ascend, model, eps=eps, norm=norm, step_size=2.5 * eps / steps if step_size is None else step_size)
    start = random_point(images, eps=eps, norm=norm, seed=seed) if random_start else images
    adversarial = torch.where(correct[:, None, None, None] | (not early_stop), start, images)
    for rows in (correct if early_stop else torch.ones_like(correct)).nonzero().squeeze(1).split(batch):
        for _ in range(steps):
            if len(rows) == 0:
                break
            moved, logits = take(adversarial[rows], images[rows], labels[rows])
            if early_stop:
                standing = logits.argmax(1) == labels[rows]
                rows, moved = rows[standing], moved[standing]
            adversarial[rows] = moved
    return adversarial


def bim(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, *, eps: float, steps: int = 10, **options
) -> torch.Tensor:
    """Return adversarial images by steps of eps / steps from the image itself; options as for ``pgd``.

    Source: Kurakin et al. 2017, "basic iterative method".
    """
    own = {"step_size": eps / steps, "random_start": False}
    return pgd(model, images, labels, eps=eps, steps=steps, **own | options)


def fgsm(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, *, eps: float, **options) -> torch.Tensor:
    """Return adversarial images by a single step of length eps; options as for ``pgd``.

    Source: Goodfellow et al. 2015, section 4.
    """
    return bim(model, images, labels, eps=eps, steps=1, **options)


def standing(
    model: torch.nn.Module,
    images: torch.Tensor,
    adversarial: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str = "Linf",
) -> torch.Tensor:
    """Return which images (N,) are recognised both clean and attacked.

    Raises:
        ValueError: see ``check_inputs``; adversarial images outside [0, 1] or further than ``eps`` away.
    """
    clean, attacked = (check_inputs(model, x, labels, eps=eps, norm=norm).argmax(1) for x in (images, adversarial))
    furthest = float(distance(adversarial - images, norm).max())
    if not furthest <= eps * (1 + 1e-5) + 1e-6:
        raise ValueError(f"an adversarial image is {furthest:g} away in {norm}; allowed is {eps:g}: mend the attack")
    return (clean == labels) & (attacked == labels)


# the poster's names
ATTACKS = {"FGSM": fgsm, "BIM": bim, "PGD-10": pgd, "PGD-50": partial(pgd, steps=50)}
