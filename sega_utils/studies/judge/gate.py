"""The judge's gate: its instruments are a classifier of real images and real images which that has not seen."""

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.data.images import Dataset
from sega_utils.evaluation.gate import gate
from sega_utils.filters import near_duplicates

COPIES = {"max_distance": 4, "min_ssim": 0.95}  # what is so near to a training image adds nothing to it


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


def originals(images: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """Return of which of ``own`` each drawn image is a copy, int64 (M,), or -1.

    Args:
        images: drawn, float32 (M, C, S, S); own: float32 (N, C, S, S), what the augmenter was fitted to.
    """
    nearest = torch.full((len(images),), -1)
    for drawn, real in near_duplicates(images, against=own, **COPIES).tolist():
        nearest[drawn] = real
    return nearest


def pass_or_refuse(
    model: nn.Module, seen: Dataset, held: Dataset, images: torch.Tensor, labels: torch.Tensor, *, nearest: torch.Tensor
) -> dict:
    """Put drawn images to the gate of realism.

    Args:
        model: a classifier with a ``head``, trained on ``seen``; held: real images that it was not trained on.
        images, labels: drawn, float32 (M, C, S, S) and int64 (M,).
        nearest: what ``originals`` returned.

    Returns:
        What ``gate`` returns, ``passed`` as 1 or 0 (0, too, if a class has only copies); ``copies``, their share; and
        of each image ``predicted`` and ``sure`` (the classifier's class and probability).
    """
    look = lru_cache(partial(outputs, model))
    found = at_the_gate(look, seen, held, images, labels)
    left = labels[nearest < 0].bincount(minlength=len(seen.class_names))
    if not found["reasons"] and bool((left == 0).any()):
        found["reasons"] = ["of a class there are only copies of training images"]
    sure, predicted = F.softmax(look(images)[1], 1).max(1)
    found |= {"passed": int(not found["reasons"]), "copies": float((nearest >= 0).double().mean())}
    return found | {"predicted": predicted, "sure": sure}


def at_the_gate(look: Callable, seen: Dataset, held: Dataset, images: torch.Tensor, labels: torch.Tensor) -> dict:
    """Return what ``gate`` says of drawn images and labels, by what ``look`` makes of images: features and logits."""
    return gate(
        images,
        labels,
        real=seen.images,
        real_labels=seen.labels,
        held_out=held.images,
        held_out_labels=held.labels,
        features=lambda x: look(x)[0],
        predict=lambda x: look(x)[1].argmax(1),
        names=seen.class_names,
    )
