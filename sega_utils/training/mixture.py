"""How real and synthetic images share a training: what a batch holds of each, in which order, and by whose statistics
it is normalised."""

import copy
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import nn

from sega_utils.core import learning

# mixed: both in every batch. ALONE: synthetic images alone in their share of the steps, and after it real ones alone.
# APART: both in every batch, with norms of their own, and mixed each with its own kind.
BATCHES = MIXED, ALONE, APART = "mixed", "synthetic first", "split norms"
Batch = tuple[torch.Tensor, torch.Tensor]


def real_of(size: int, ratio: float) -> int:
    """Return how many images of a batch are real.

    Raises:
        ValueError: a ratio that leaves no room for one of both kinds.
    """
    extra = round(ratio * size)
    if extra in {0, size}:
        raise ValueError(
            f"ratio {ratio} puts {extra} synthetic images into a batch of {size}; choose one that leaves room for both "
            "kinds"
        )
    return size - extra


def batches(
    real: Batch, synthetic: Batch | None, *, size: int, ratio: float, rng: torch.Generator, alone: int = 0
) -> Iterator[Batch]:
    """Yield batches of images and targets, the real ones first, on the device of ``rng``, where all images stay.

    Args:
        alone: so many batches are of synthetic images alone, and all after them of real ones alone; 0 mixes both.

    Raises:
        ValueError: as ``real_of``, or no images to draw from.
    """
    sources, alone = [(*real, size)], 0 if synthetic is None else alone
    if synthetic is not None:
        n = real_of(size, ratio)
        sources = [(*real, size), (*synthetic, size)] if alone else [(*real, n), (*synthetic, size - n)]
    streams = [(x.to(rng.device), y.to(rng.device), learning.shuffled(len(x), n, rng)) for x, y, n in sources]
    pick = lambda x, y, stream: ((x[i], y[i]) for i in stream)
    if alone:
        yield from islice(pick(*streams.pop()), alone)
        yield from pick(*streams[0])
    for parts in zip(*(pick(*stream) for stream in streams), strict=True):
        images, targets = (torch.cat(part) for part in zip(*parts, strict=True))
        yield images, targets


class SplitNorm(nn.Module):
    """Two batch norms in training: one of the first images of a batch, the real ones, and one of all others; then that
    of the real ones alone.

    Source: Xie et al. 2020, section 4.2, with synthetic images in place of attacked ones.
    """

    def __init__(self, norm: nn.Module, real: int):
        super().__init__()
        self.own, self.other, self.real = norm, copy.deepcopy(norm), real

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return self.own(x)
        return torch.cat((self.own(x[: self.real]), self.other(x[self.real :])))


def split_norms(model: nn.Module, real: int) -> None:
    """Give every batch norm of a classifier another one beside it, for all but the first ``real`` images of a batch.

    Raises:
        ValueError: the classifier has no batch norm.
    """
    found = _children(model, nn.BatchNorm2d)
    if not found:
        raise ValueError(
            f"batches is {APART!r}, but the classifier has no batch norm; choose another one, or {MIXED!r}"
        )
    for parent, name, norm in found:
        setattr(parent, name, SplitNorm(norm, real))


def join_norms(model: nn.Module) -> nn.Module:
    """Return a classifier with the norms of its real images alone."""
    for parent, name, both in _children(model, SplitNorm):
        setattr(parent, name, both.own)
    return model


def _children(model: nn.Module, kind: type) -> list[tuple[nn.Module, str, nn.Module]]:
    """Return parent, name and module of every module of a kind."""
    return [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, kind)
    ]


def apart(change: Callable[[torch.Tensor, torch.Tensor], Batch], batch: Batch, real: int) -> Batch:
    """Return a batch whose real and other images were changed apart, so that neither is mixed with the other kind."""
    images, targets = batch
    own, others = change(images[:real], targets[:real]), change(images[real:], targets[real:])
    return torch.cat((own[0], others[0])), torch.cat((own[1], others[1]))
