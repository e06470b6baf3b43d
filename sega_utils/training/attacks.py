"""White-box attacks inside a ball around each image, and standard AutoAttack by its reference, resumable."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch.nn import functional as F

from sega_utils.core import artifacts, runtime
from sega_utils.training import classifiers

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
STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
MISCLASSIFIED = -1  # where misclassified clean images fall
# One or two rows are multiplied by other kernels than more rows are, which round differently.
FEW = 4


class AllFooled(Exception):
    """Nothing is left to attack."""


class Standing:
    """A model, for one run of an attack on one batch, that computes only the rows that were not fooled yet.

    In eval mode rows do not affect each other, so those that stand take the path they take in the whole batch. A
    fooled row answers with its label and no gradient; the images of all rows are in ``adversarial``.
    """

    def __init__(
        self, attack: APGDAttack | FABAttack_PT, model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor
    ):
        self.attack, self.model, self.images, self.labels = attack, model, images, labels
        self.adversarial = images.clone()
        self.stands = torch.ones_like(labels, dtype=torch.bool)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) != len(self.labels):
            raise RuntimeError(
                f"the attack asks for {len(x)} of {len(self.labels)} images: the model classifies an "
                "image differently when it is asked again; make it deterministic"
            )
        rows = self.stands.nonzero().squeeze(1)
        company = self.images[: max(0, min(FEW, len(x)) - len(rows))]
        fresh = self.model(torch.cat((x[rows], company)))[: len(rows)]
        hit = rows[(fresh.argmax(1) != self.labels[rows]) & self.accepts(x[rows].detach(), self.images[rows])]
        self.adversarial[hit] = x[hit].detach()
        self.stands[hit] = False
        if not self.stands.any():
            raise AllFooled
        return F.one_hot(self.labels, fresh.shape[1]).to(fresh).index_copy(0, rows, fresh)

    def accepts(self, x: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return for which rows (N,) the reference takes a misclassified point as success.

        APGD never leaves the ball, but for rounding. FAB does, and has the class only of the points that it visits
        without a gradient in view.
        """
        if isinstance(self.attack, APGDAttack):
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        return (distance(x - images, self.attack.norm) <= self.attack.eps) & (not torch.is_grad_enabled())


def drop_fooled(attack: APGDAttack | FABAttack_PT) -> APGDAttack | FABAttack_PT:
    """Let every run of an attack leave out rows that are fooled, and end once all are; return the attack.

    Random numbers are drawn for the whole batch before the first step, so that the seeds mean what they mean in the
    reference.
    """
    single_run, name = attack.attack_single_run, "model" if isinstance(attack, APGDAttack) else "predict"
    model = getattr(attack, name)

    def run(x: torch.Tensor, y: torch.Tensor, **options):
        watched = Standing(attack, model, x, y)
        setattr(attack, name, watched)
        try:
            with suppress(AllFooled):
                single_run(x, y, **options)
        finally:
            setattr(attack, name, model)
        if isinstance(attack, APGDAttack):
            return watched.adversarial, watched.stands, None, watched.adversarial
        return watched.adversarial

    attack.attack_single_run = run
    return attack


def reference_attacks(
    model: torch.nn.Module, *, eps: float, norm: str, seed: int, n_classes: int, device: torch.device
) -> dict[str, APGDAttack | FABAttack_PT | SquareAttack]:
    """Return the attacks of the standard version by name, set up as the reference sets them up.

    Source: Croce and Hein 2020.
    """
    reference = AutoAttack(model, norm=norm, eps=eps, seed=seed, version="standard", device=device)
    reference.apgd.loss, reference.fab.targeted = "ce", True
    reference.apgd_targeted.n_target_classes = reference.fab.n_target_classes = min(9, n_classes - 1)
    found = (reference.apgd, reference.apgd_targeted, reference.fab, reference.square)
    return dict(zip(STANDARD, found, strict=True))


def auto_attack(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str = "Linf",
    seed: int = 0,
    names: Sequence[str] = STANDARD,
    batch: int = 250,
    checkpoint: Path | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attack with one attack after the other, each on the images that still stand.

    Args:
        images, labels, eps, norm: see ``check_inputs``; at least four classes.
        names: attacks of ``STANDARD``, in this order.
        checkpoint: file that is written after each attack; one of the same call is taken up where it ends.

    Returns:
        The adversarial images, clean where none was found, and for each image (N,) the index in ``names`` of the
        attack that it fell to: ``CLEAN`` if misclassified anyway, ``len(names)`` if it stands.

    Raises:
        ValueError: see ``check_inputs``; eps of 0, an unknown attack, too few classes.
        ArtifactError: the checkpoint is damaged.
    """
    if not names or not set(names) <= set(STANDARD):
        raise ValueError(f"names are {list(names)}; allowed are {', '.join(STANDARD)}")
    logits = check_inputs(model, images, labels, eps=eps, norm=norm, batch=batch)
    if eps == 0 or logits.shape[1] < 4:
        raise ValueError(f"eps is {eps}, with {logits.shape[1]} classes; AutoAttack needs eps > 0 and 4 classes")
    digests = {
        "weights": artifacts.digest(model.state_dict()),
        "data": artifacts.digest({"images": images, "labels": labels}),
    }
    key = artifacts.digest_json(digests | {"eps": eps, "norm": norm, "seed": seed, "names": names, "batch": batch})
    adversarial, done = images.clone(), 0
    fell_to = torch.where(logits.argmax(1) == labels, len(names), MISCLASSIFIED)
    if checkpoint and checkpoint.exists():
        tensors, meta = artifacts.load_tensors(checkpoint)
        if meta["key"] == key:
            adversarial, fell_to = (tensors[name].to(images.device) for name in ("adversarial", "fell_to"))
            done = meta["done"]
    found = reference_attacks(model, eps=eps, norm=norm, seed=seed, n_classes=logits.shape[1], device=images.device)
    for index, name in list(enumerate(names))[done:]:
        # Square leaves out fooled rows by itself
        attack = found[name] if name == "square" else drop_fooled(found[name])
        for rows in (fell_to == len(names)).nonzero().squeeze(1).split(batch):
            if len(rows):
                with torch.no_grad():
                    changed = attack.perturb(images[rows], labels[rows])
                fooled = classifiers.predict(model, changed) != labels[rows]
                adversarial[rows[fooled]], fell_to[rows[fooled]] = changed[fooled], index
        if checkpoint:
            artifacts.save_tensors(
                checkpoint, {"adversarial": adversarial, "fell_to": fell_to}, {"key": key, "done": index + 1}
            )
    return adversarial, fell_to
