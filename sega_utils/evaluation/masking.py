"""Signs that an attack fails because gradients are masked, not because the model is robust."""

import math
from collections.abc import Callable
from statistics import mean

import torch
from pyautoattack.square import SquareAttack
from torch.nn import functional as F

from sega_utils.training import attacks, classifiers

SLACK = 0.02  # share of images by which a comparison may go the wrong way by chance
FEW = 4  # images by which it may, too: of 200 or more the share decides, of fewer these
# Where many steps fool none of the images that one step left, so many of them say that it is no chance: if each fell
# with probability 1/4, ten would all stand once in eighteen times.
LEFT = 10
MANY = 1000  # images, where nothing is said of their number


class MaskingError(RuntimeError):
    """Attacks on this model measure the attack's failure, not the model's robustness."""


def signs(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float = 8 / 255,
    norm: str = "Linf",
    steps: int = 50,
    queries: int = 300,
    seed: int = 0,
) -> dict[str, float]:
    """Return what ``CHECKS`` judge a model by.

    Args:
        images, labels, eps, norm: see ``attacks.check_inputs``; a budget at which an undefended model falls.
        queries: of the black-box attack (Square, Andriushchenko et al. 2020).

    Returns:
        ``noise``: largest difference of two outputs for the same images; ``one_step``, ``many_steps``, ``black_box``
        and ``unbounded``: share of images that stand against FGSM, PGD, Square after PGD, and PGD with every image in
        reach; ``loss_clean``, ``loss_attacked``: mean cross-entropy; ``rising``: share of PGD steps that raise it;
        ``padding``: share of the two outermost rows and columns of pixels that PGD changes. The last four are of the
        images that the model recognises.

    Raises:
        ValueError: see ``attacks.check_inputs``; no image is recognised.

    Source: Athalye, Carlini and Wagner 2018, section 3.1; Carlini et al. 2019.
    """
    options = {"norm": norm, "seed": seed, "steps": steps}
    everything = reach(images, norm)
    first, second = (attacks.check_inputs(model, images, labels, eps=eps, norm=norm) for _ in range(2))
    stand = lambda found, eps: attacks.standing(model, images, found, labels, eps=eps, norm=norm)
    one_step = stand(attacks.fgsm(model, images, labels, eps=eps, norm=norm), eps)
    many_steps = stand(attacks.pgd(model, images, labels, eps=eps, **options), eps)
    unbounded = stand(attacks.pgd(model, images, labels, eps=everything, **options), everything)
    black_box = many_steps & stand(square(model, images, labels, eps=eps, norm=norm, queries=queries, seed=seed), eps)
    correct = classifiers.predict(model, images) == labels
    if not correct.any():
        raise ValueError(f"the model recognises none of {len(labels)} images; there is nothing to attack")
    losses, attacked = climb(model, images[correct], labels[correct], eps=eps, norm=norm)
    shares = {"one_step": one_step, "many_steps": many_steps, "black_box": black_box, "unbounded": unbounded}
    return {"noise": float((first - second).abs().max())} | {
        **{name: float(stands.double().mean()) for name, stands in shares.items()},
        "loss_clean": losses[0],
        "loss_attacked": losses[-1],
        "rising": mean(after > before for before, after in zip(losses, losses[1:], strict=False)),
        "padding": float((attacked != images[correct])[..., border(images)].double().mean()),
    }


def reach(images: torch.Tensor, norm: str) -> float:
    """Return the budget with which an attack may turn each image into any other."""
    return 1.0 if norm == "Linf" else math.sqrt(images[0].numel())


def budget(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    norm: str = "Linf",
    steps: int = 50,
    seed: int = 0,
) -> float:
    """Return the first of 8/255, twice as much and so on at which PGD fools more than half, to judge a model at.

    Where objects stand out more, or in L2, 8/255 may fool nobody, and one step does as well as many without any
    masking. A model that is never fooled is judged with every image in reach.
    """
    eps, everything = 8 / 255, reach(images, norm)
    while eps < everything:
        found = attacks.pgd(model, images, labels, eps=eps, norm=norm, steps=steps, seed=seed)
        if attacks.standing(model, images, found, labels, eps=eps, norm=norm).double().mean() < 0.5:
            return eps
        eps *= 2
    return everything


def square(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str,
    queries: int,
    seed: int,
) -> torch.Tensor:
    """Return adversarial images found without any gradient, clean where none was found."""
    attack = SquareAttack(model, norm=norm, eps=eps, n_queries=queries, seed=seed, resc_schedule=True)
    with torch.no_grad():
        return attack.perturb(images, labels)


def climb(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, *, eps: float, norm: str, steps: int = 10
) -> tuple[list[float], torch.Tensor]:
    """Return the mean cross-entropy before each of the steps of PGD from the images and after the last; the points."""
    x, losses = images, []
    for _ in range(steps + 1):
        points = x
        x, logits = attacks.ascend(model, x, images, labels, eps=eps, step_size=2.5 * eps / steps, norm=norm)
        losses.append(float(F.cross_entropy(logits.double(), labels)))
    return losses, points


def border(images: torch.Tensor, width: int = 2) -> torch.Tensor:
    """Return a mask (H, W) of the pixels by the edge: the padding, where 28x28 was padded to 32x32."""
    mask = torch.ones(images.shape[2:], dtype=torch.bool, device=images.device)
    mask[width:-width, width:-width] = False
    return mask


def randomised(found: dict[str, float]) -> str | None:
    """Find a model whose output changes from call to call: gradients then point to where another call stood."""
    if found["noise"] > 1e-4:
        return f"the same images give outputs that differ by {found['noise']:.2g}; make the model deterministic"


def more_steps_do_not_help(found: dict[str, float]) -> str | None:
    """Find a model against which many steps do no better than one."""
    one, many = found["one_step"], found["many_steps"]
    if many > one + _chance(found) or many >= one >= max(SLACK, LEFT / found["n"]):
        return f"{many:.1%} of the images stand against many steps of PGD, {one:.1%} against the single one of FGSM"


def black_box_beats_white_box(found: dict[str, float]) -> str | None:
    """Find a model that an attack without gradients fools where one with gradients fails."""
    white, black = found["many_steps"], found["black_box"]
    if black < white - _chance(found):
        return f"{white:.1%} of the images stand against PGD, but only {black:.1%} also against Square, a black box"


def unbounded_stands(found: dict[str, float]) -> str | None:
    """Find a model that is not fooled although the attack may turn each image into any other."""
    if found["unbounded"] > SLACK:
        return f"{found['unbounded']:.1%} of the images stand although epsilon has no bound; it must be none"


def loss_does_not_rise(found: dict[str, float]) -> str | None:
    """Find a model whose loss gradient ascent does not raise."""
    if found["loss_attacked"] <= found["loss_clean"] or found["rising"] < 0.5:
        return (
            f"the loss goes from {found['loss_clean']:.3g} to {found['loss_attacked']:.3g}, with "
            f"{found['rising']:.0%} of the steps raising it"
        )


def padding_out_of_reach(found: dict[str, float]) -> str | None:
    """Find a model, or an attack, that exempts the padding from the budget."""
    if found["padding"] == 0:
        return "the attack changed no pixel of the padding, which is inside the threat model"


def _chance(found: dict[str, float]) -> float:
    return max(SLACK, FEW / found["n"])


CHECKS: dict[str, Callable[[dict[str, float]], str | None]] = {
    "black box beats white box": black_box_beats_white_box,
    "more steps do not help": more_steps_do_not_help,
    "unbounded epsilon does not reach 0": unbounded_stands,
    "loss not increasing": loss_does_not_rise,
    "outputs are random": randomised,
    "padding out of reach": padding_out_of_reach,
}


def findings(found: dict[str, float], *, n: int = MANY) -> dict[str, str]:
    """Return what each check of ``CHECKS`` found in ``signs``, by its name; empty if nothing.

    Args:
        n: images that the signs are of; comparisons of two shares of few images give no verdict.
    """
    return {name: said for name, check in CHECKS.items() if (said := check(found | {"n": n}))}


def refuse(found: dict[str, float], who: str, *, n: int = MANY) -> None:
    """Raise if any check finds something in the signs of ``n`` images.

    Raises:
        MaskingError: with every finding.
    """
    if said := findings(found, n=n):
        raise MaskingError(
            f"robustness of {who} cannot be believed, its gradients are masked: "
            + "; ".join(f"{name} ({text})" for name, text in said.items())
            + ". Attack it with a method that fits it (Tramèr et al. 2020)"
        )
