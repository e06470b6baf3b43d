"""Score of edited images: how much of the source's content they keep, and how far they went to the target's style.

It is for augmenters that edit an image; one that draws from noise has no source.
"""

import math

import torch

from sega_utils.filters import fidelity

FORMS = ("bounded", "printed")
EPS = math.exp(-9)  # printed as "e^-9", which may also mean 1e-9


def levels(source: torch.Tensor, target: torch.Tensor, k: int = 10) -> torch.Tensor:
    """Return images that go from a source to a target in equal steps, float32 (k + 1, N, C, S, S); both ends exact.

    What the paper's two networks learn to tell apart; they are not built here, and features are the caller's.

    Args:
        source, target: float32 (N, C, S, S) in [0, 1], of one shape.
        k: steps, at least 1; the paper has 10, and so 11 levels.

    Raises:
        ValueError: not such images, or no step.

    Source: Xu et al. 2024 (task-oriented image quality assessment), equation 1.
    """
    fidelity.check(source, target)
    if k < 1:
        raise ValueError(f"k is {k}; allowed are 1 and above: there is at least a step from source to target")
    share = (torch.arange(k + 1) / k).view(-1, 1, 1, 1, 1).to(source)
    return (1 - share) * source + share * target  # in the form source + share * difference, the end would be rounded


def task_score(
    generated: torch.Tensor,
    source: torch.Tensor,
    target: torch.Tensor,
    *,
    beta: float = 0.5,
    form: str = "bounded",
    eps: float = EPS,
) -> torch.Tensor:
    """Return how well each edited image keeps its source's content and takes its target's style; higher is better.

    As printed, it is as high for an untouched source as for a perfect target, and lowest half-way. The bounded form,
    ours, grows all the way from ``beta`` at the source to 1 - ``beta`` / 2 at the target, for ``beta`` up to 1 / 2.

    Args:
        generated, source, target: features float (N, d), row by row of an edit and of its two ends. The paper's are
            of two networks, each made of length 1 (how it normalises is unsaid); here they are the caller's.
        beta: share of content, 0 .. 1; the rest is style's.
        form: ``bounded``, which is 0 .. 1 and the same for features of any scale, or ``printed``, which is neither.
        eps: added to distances in the printed form, above 0.

    Returns:
        float (N,).

    Raises:
        ValueError: features that are not finite or not of one shape, a source equal to its target, unknown form, or
            ``beta`` or ``eps`` outside its range.

    Source: Xu et al. 2024 (task-oriented image quality assessment), equations 3 to 5, beta 0.5 as there.
    """
    _check(generated, source, target, beta=beta, form=form, eps=eps)
    pairs = (generated, source), (generated, target), (source, target)
    gone, left, way = (torch.linalg.vector_norm(a - b, dim=1) for a, b in pairs)
    if same := (way == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"source and target are the same in rows {same}; give a target that differs from its source")
    if form == "printed":
        content, style = 1 / (gone + eps), gone / (left + eps)
    else:
        content, style = 1 / (1 + gone / way), gone / (gone + left)
    return beta * content + (1 - beta) * style


def _check(*features: torch.Tensor, beta: float, form: str, eps: float) -> None:
    shapes = [tuple(part.shape) for part in features]
    if len({*shapes}) > 1 or len(shapes[0]) != 2 or not all(part.is_floating_point() for part in features):
        told = ", ".join(f"{part.dtype} {shape}" for part, shape in zip(features, shapes, strict=True))
        raise ValueError(f"generated, source and target must be float (N, d) of one shape; received {told}")
    if not all(part.isfinite().all() for part in features):
        raise ValueError("features must be finite; received NaN or infinity: look at what encodes the images")
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; allowed are {', '.join(FORMS)}")
    if not 0 <= beta <= 1:
        raise ValueError(f"beta is {beta}; allowed are 0 .. 1")
    if not eps > 0:
        raise ValueError(f"eps is {eps}; allowed is what is above 0: without it the printed form divides by 0")
