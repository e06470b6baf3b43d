"""Train one classifier on real and synthetic images with a fixed number of optimiser steps."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils import augment, classifiers, runtime
from sega_utils.data import Dataset


def train_classifier(
    real: Dataset,
    *,
    synthetic: tuple[torch.Tensor, torch.Tensor] | None = None,
    real_targets: torch.Tensor | None = None,
    classifier: str = "resnet8-half",
    steps: int = 1000,
    batch_size: int = 96,
    lr: float = 0.1,
    weight_decay: float = 1e-3,
    pixel: bool = True,
    policy: str = "none",
    mixing: str = "none",
    ratio: float = 0.3,
    precision: str = "float32",
    compile: bool = False,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Train a classifier and return it in eval mode.

    Args:
        real: the run's training subset.
        synthetic: images float32 (M, C, S, S) and targets float32 (M, n_classes), each row a distribution.
        real_targets: float32 (N, n_classes) instead of the labels, e.g. CLIP's class distribution.
        lr: peak learning rate of SGD with Nesterov momentum 0.9 (AdamW for a transformer); one cosine cycle after 10 %
            of warm-up.
        pixel: crop (up to a sixteenth of the side) real and synthetic images, and flip them where ``real.mirrors``.
        policy: a key of ``augment.POLICIES``, applied image by image after crop and flip.
        mixing: a key of ``augment.MIXING``.
        batch_size: images a step sees, real and synthetic together: arms of one batch size cost the same.
        ratio: synthetic share of every batch, 0 .. 1 exclusive; the poster's is 0.3.
        precision: of the classifier's forward and backward pass, see ``runtime.autocast``; loss, optimiser, and the
            model that is returned are float32.
        compile: fuse the classifier's operations with torch.compile, which takes minutes at first and rounds otherwise.
        device: where images, augmentation and mixing stay for all steps.

    Raises:
        ValueError: unknown pixel, policy, mixing or classifier, a ratio outside its range, or as
            ``runtime.autocast``.
        FloatingPointError: the loss is not finite.

    Source: poster, Robust Training with Augmentation (70:30, pixel-based and mixing-based augmentation).
    """
    if policy not in augment.POLICIES:
        raise ValueError(f"policy is {policy!r}; allowed are {', '.join(augment.POLICIES)}")
    if mixing not in augment.MIXING:
        raise ValueError(f"mixing is {mixing!r}; allowed are {', '.join(augment.MIXING)}")
    if not isinstance(pixel, bool):
        raise ValueError(f"pixel is {pixel!r}; allowed are true and false")
    if not 0 < ratio < 1:
        raise ValueError(f"ratio is {ratio}; allowed is 0 .. 1, both excluded; leave synthetic away for none")
    model, optimise = prepare(real, classifier=classifier, steps=steps, lr=lr, weight_decay=weight_decay,
                              precision=precision, compile=compile, seed=seed, device=device)  # fmt: skip
    if real_targets is None:
        real_targets = F.one_hot(real.labels, len(real.class_names)).float()
    sources = [(real.images, real_targets, batch_size)]
    if synthetic is not None:
        extra = round(ratio * batch_size)
        if extra in {0, batch_size}:
            raise ValueError(f"ratio {ratio} puts {extra} synthetic images into a batch of {batch_size}; choose one "
                             "that leaves room for both kinds")  # fmt: skip
        sources = [(real.images, real_targets, batch_size - extra), (*synthetic, extra)]
    rng = runtime.generator(seed, device)
    streams = [(x.to(device), y.to(device), shuffled(len(x), n, rng)) for x, y, n in sources]
    for step in range(steps):
        picked = [(x[i], y[i]) for x, y, stream in streams for i in [next(stream)]]
        images, targets = (torch.cat(parts) for parts in zip(*picked, strict=True))
        if pixel:
            images = augment.shift(images, rng, pad=images.shape[-1] // 16, flip=real.mirrors)
        images = augment.POLICIES[policy](images)
        if mixing != "none":
            order = torch.randperm(len(images), generator=rng, device=device)  # partners across real and synthetic
            images, targets = augment.MIXING[mixing](images[order], targets[order])
        loss = optimise(images, targets)
        if ((step + 1) % 100 == 0 or step + 1 == steps) and not math.isfinite(loss.item()):
            raise FloatingPointError(f"the loss is {loss.item()} at step {step + 1}; lower the learning rate ({lr})")
    return model.eval()


def prepare(
    real: Dataset, *, classifier: str, steps: int, lr: float, weight_decay: float, precision: str, compile: bool,
    seed: int, device: torch.device | str,
) -> tuple[nn.Module, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:  # fmt: skip
    """Return a new classifier, and what takes a batch and its targets, makes one of ``steps`` and returns the loss.

    Arguments and errors are those of ``train_classifier``; targets are distributions or int64 labels.
    """
    autocast = runtime.autocast(precision, device)
    torch.manual_seed(seed)
    model = classifiers.build(classifier, **real.shape()).to(device)
    if classifier in classifiers.TRANSFORMERS:
        optimiser = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    else:
        optimiser = torch.optim.SGD(model.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: one_cycle(step / steps))
    forward = torch.compile(model) if compile else model

    def optimise(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with autocast:
            logits = forward(images)
        loss = F.cross_entropy(logits.float(), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        return loss

    return model, optimise


def shuffled(n: int, size: int, rng: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield indices int64 (size,), on the device of ``rng``, that run through successive random orders of 0 .. n - 1.

    Raises:
        ValueError: n is 0: there is nothing to run through.
    """
    if n < 1:
        raise ValueError("no images to draw batches from; give at least one, or leave synthetic away for none")
    queue = torch.empty(0, dtype=torch.int64, device=rng.device)
    while True:
        while len(queue) < size:
            queue = torch.cat((queue, torch.randperm(n, generator=rng, device=rng.device)))
        yield queue[:size]
        queue = queue[size:]


def one_cycle(progress: float) -> float:
    """Return the learning rate, as a share of its peak, after a share of all steps: 10 % of warm-up, then a cosine."""
    return progress / 0.1 if progress < 0.1 else 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))
