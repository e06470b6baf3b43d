"""The judge's gate: drawn images that a classifier of real images does not recognise never reach another classifier."""

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters.base import frechet_distance, precision_recall
from sega_utils.data.images import Dataset
from sega_utils.filters import near_duplicates

COPIES = {"max_distance": 4, "min_ssim": 0.95}  # what is so near to a training image adds nothing to it
LEAST_AGREEMENT, LEAST_PRECISION, FARTHEST, MOST_COPIES = 0.5, 0.5, 5.0, 0.5
RULES = ("agreement", "precision", "distance", "copies")


@torch.no_grad()
def outputs(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the features before a classifier's last layer, float32 (N, d), and its logits (N, K)."""
    seen: list[torch.Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        logits = torch.cat([model(part) for part in images.split(500)])
    finally:
        hook.remove()
    return torch.cat(seen), logits


def gate(
    model: nn.Module, seen: Dataset, held: Dataset, images: torch.Tensor, labels: torch.Tensor, *, own: Dataset
) -> dict:
    """Measure drawn images beside held-out real ones, and decide whether they may train a classifier.

    They may if the classifier agrees with their labels at least half as much above chance as with those of held-out
    real images, if at least half as many of them look real, if their distance from the held-out images is at most
    five times that of real ones, and if less than half are copies of training images.

    Args:
        model: a classifier with a ``head``, trained on ``seen``; held: real images that it was not trained on.
        images, labels: drawn, float32 (M, C, S, S) and int64 (M,).
        own: the real images that the augmenter was fitted to.

    Returns:
        For each of ``RULES`` its value and ``..._real``, that of held-out real images; ``passed``, 1 or 0;
        ``failed``, a dict of the rules that were not kept; and of each image ``kept`` (bool, no copy), ``nearest``
        (its copy's place in ``own``, or -1), ``predicted`` and ``sure`` (the classifier's class and probability).
    """
    (of_seen, _), (of_held, held_logits), (of_drawn, logits) = (
        outputs(model, x) for x in (seen.images, held.images, images)
    )
    n = min(len(of_held), len(of_seen), len(of_drawn))
    sure, predicted = F.softmax(logits, 1).max(1)
    nearest = torch.full((len(images),), -1)
    for drawn, real in near_duplicates(images, against=own.images, **COPIES).tolist():
        nearest[drawn] = real
    some = torch.randperm(len(of_drawn), generator=torch.Generator().manual_seed(0))[:n]
    found = {
        "agreement": float((predicted == labels).double().mean()),
        "agreement_real": float((held_logits.argmax(1) == held.labels).double().mean()),
        "precision": precision_recall(of_held, of_drawn[some])["precision"],
        "precision_real": precision_recall(of_held, of_seen[:n])["precision"],
        "distance": frechet_distance(of_held, of_drawn[some]),
        "distance_real": frechet_distance(of_held, of_seen[:n]),
        "copies": float((nearest >= 0).double().mean()),
    }
    chance = 1 / len(own.class_names)
    failed = {
        "agreement": found["agreement"] - chance < LEAST_AGREEMENT * (found["agreement_real"] - chance),
        "precision": found["precision"] < LEAST_PRECISION * found["precision_real"],
        "distance": found["distance"] > FARTHEST * found["distance_real"],
        "copies": found["copies"] >= MOST_COPIES
        or bool((labels[nearest < 0].bincount(minlength=len(own.class_names)) < 1).any()),
    }
    found |= {"failed": {rule: int(failed[rule]) for rule in RULES}, "passed": int(not any(failed.values()))}
    return found | {"kept": nearest < 0, "nearest": nearest, "predicted": predicted, "sure": sure}
