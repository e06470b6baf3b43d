"""A gate of realism: noise, one image over and over, wrong labels and mere copies do not get to a classifier.

What is asked of synthetic images comes from what real ones reach that were not trained on, the *held-out* ones:

- agreement: the classifier finds at least half of what it finds of held-out images' labels beyond chance. One that is
  itself no better than chance on these (by two standard errors) can vouch for nothing.
- precision: at least half as many images lie among the training images as of the held-out ones.
- distance: to the nearest training image of the label's class. No class's middle one is among the farthest 5 % of
  held-out images, else it is unlike the real class; the middle one of all is not among the nearest 5 %, else they are
  copies and nothing new.
- spread: within a class, the features vary by at least a tenth as much as the training images' do, else the class is
  one image over and over.

The rules are about the middle of many images: to reject a single one is the filters' part.
"""

from collections.abc import Callable, Sequence

import torch

from sega_utils.augmenters import base
from sega_utils.data.images import check_images
from sega_utils.evaluation.quality import agreement

K = 3  # neighbours of precision
EDGE = 0.05  # of held-out distances, on each side
LEAST_SPREAD = 0.1  # of the training images'


def nearest_of_class(
    points: torch.Tensor, labels: torch.Tensor, real: torch.Tensor, real_labels: torch.Tensor
) -> torch.Tensor:
    """Return the distance, double (N,), of each point (N, d) to the nearest real one (M, d) of its own class.

    Raises:
        ValueError: a class without real images.
    """
    if missing := sorted(set(labels.tolist()) - set(real_labels.tolist())):
        raise ValueError(f"classes {missing} have no real image to compare with; give some, or leave them out")
    found = torch.empty(len(points), dtype=torch.float64)
    for c in labels.unique():
        mine = labels == c
        # the faster way by products is off by more than the distance of a copy
        exact = torch.cdist(points[mine], real[real_labels == c], compute_mode="donot_use_mm_for_euclid_dist")
        found[mine] = exact.min(1).values
    return found


def spread_within(points: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the variance of features (N, d) about their class's mean, summed over features."""
    parts = [points[labels == c] - points[labels == c].mean(0) for c in labels.unique()]
    return float(torch.cat(parts).square().sum(1).mean())


def measured(
    images: torch.Tensor, labels: torch.Tensor, seen: torch.Tensor, seen_labels: torch.Tensor, look: Callable
) -> dict:
    """Return what the rules ask of images: ``agreement``, ``precision``, ``spread``, ``distances`` double (N,).

    And ``worst``, the largest middle distance of a class, with the class.
    """
    points, said = look(images)
    return {
        "agreement": agreement(lambda _: said, images, labels),
        "precision": base.precision_recall(seen, points, k=K)["precision"],
        "spread": spread_within(points, labels),
        "distances": (distances := nearest_of_class(points, labels, seen, seen_labels)),
        "worst": max((float(distances[labels == c].quantile(0.5)), int(c)) for c in labels.unique()),
    }


def gate(
    synthetic: torch.Tensor,
    labels: torch.Tensor,
    *,
    real: torch.Tensor,
    real_labels: torch.Tensor,
    held_out: torch.Tensor,
    held_out_labels: torch.Tensor,
    features: Callable,
    predict: Callable,
    names: Sequence[str] = (),
) -> dict:
    """Judge whether synthetic images are real enough, and new enough, to be trained on.

    Args:
        synthetic, real, held_out: float32 (N, C, S, S) in [0, 1], more than 3 each: to judge, those that generator and
            classifier were trained on, and others of the same kind, that neither has seen.
        labels, real_labels, held_out_labels: int64 (N,).
        features: float (N, d) of images; predict: int64 (N,) of images, the classes.
        names: of the classes, for the reasons; their numbers without.

    Returns:
        ``passed``, ``reasons`` (a sentence for each rule that is broken, see above), ``n``; and of each rule the
        number, that of the held-out (or training) images, and the limit, as a record holds them.

    Raises:
        ValueError: images or labels that are none, too few, or a class without real images.
    """
    for images, own, name in (
        (synthetic, labels, "synthetic"),
        (real, real_labels, "real"),
        (held_out, held_out_labels, "held_out"),
    ):
        check_set(images, own, name)

    def look(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return features(images).detach().double().flatten(1).cpu(), predict(images).cpu()

    seen, _ = look(real)
    ours, theirs = (
        measured(*some, seen, real_labels, look) for some in ((synthetic, labels), (held_out, held_out_labels))
    )
    share = held_out_labels.bincount().max().item() / len(held_out_labels)
    numbers = limits(ours, theirs, chance=share, n=len(held_out), spread=spread_within(seen, real_labels))
    reasons = broken(numbers, names)
    return {"passed": not reasons, "reasons": reasons, "n": len(synthetic)} | numbers


def check_set(images: torch.Tensor, labels: torch.Tensor, name: str) -> None:
    """Refuse what is no set of labelled images, or too small to have ``K`` neighbours.

    Raises:
        ValueError: it is.
    """
    check_images(images, name)
    if labels.dtype != torch.int64 or labels.shape != (len(images),) or len(images) <= K:
        raise ValueError(
            f"{name} has {len(images)} images and labels {labels.dtype} {tuple(labels.shape)}; give more than {K} "
            "images, and an int64 label for each"
        )


def limits(ours: dict, theirs: dict, *, chance: float, n: int, spread: float) -> dict[str, float]:
    """Return each rule's number, what it is of real images, and its limit.

    Args:
        ours, theirs: ``measured`` of synthetic and held-out images; chance: accuracy of naming one class always.
        n: held-out images; spread: of the training images.
    """
    low, middle, high = theirs["distances"].quantile(torch.tensor([EDGE, 0.5, 1 - EDGE]).double()).tolist()
    doubt = 2 * (chance * (1 - chance) / n) ** 0.5
    return {
        "agreement": ours["agreement"],
        "agreement_real": theirs["agreement"],
        "agreement_least": (chance + theirs["agreement"]) / 2,
        "agreement_doubtful": chance + doubt,
        "precision": ours["precision"],
        "precision_real": theirs["precision"],
        "precision_least": theirs["precision"] / 2,
        "distance": ours["distances"].quantile(0.5).item(),
        "distance_real": middle,
        "distance_worst": ours["worst"][0],
        "worst_class": ours["worst"][1],
        "distance_least": low,
        "distance_most": high,
        "spread": ours["spread"],
        "spread_real": spread,
        "spread_least": spread * LEAST_SPREAD,
    }


def broken(at: dict[str, float], names: Sequence[str] = ()) -> list[str]:
    """Return a sentence for each rule that is broken; what is not a number breaks it."""
    worst = names[at["worst_class"]] if names else at["worst_class"]
    say = lambda name, what, limit: f"{what}: {name} is {at[name]:.3g}, real images' {at[limit]:.3g} is the limit"
    rules = (
        (
            at["agreement_real"] > at["agreement_doubtful"],
            f"the classifier vouches for nothing: of held-out real images it names {at['agreement_real']:.3g}, of "
            f"which chance alone may reach {at['agreement_doubtful']:.3g}",
        ),
        (
            at["agreement"] >= at["agreement_least"],
            say("agreement", "the classifier sees other classes", "agreement_least"),
        ),
        (
            at["precision"] >= at["precision_least"],
            say("precision", "too few lie among real images", "precision_least"),
        ),
        (
            at["distance_worst"] <= at["distance_most"],
            say("distance_worst", f"unlike real images of class {worst}", "distance_most"),
        ),
        (at["distance"] > at["distance_least"], say("distance", "copies of training images", "distance_least")),
        (at["spread"] >= at["spread_least"], say("spread", "one image over and over", "spread_least")),
    )
    return [sentence for kept, sentence in rules if not kept]
