"""Supervision of what a network sees on its way: two views of each image are compared after each stage of a ResNet."""

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core.learning import chance
from sega_utils.data import augment
from sega_utils.data.images import Dataset
from sega_utils.training import classifiers

SUPCON, NCDS = "the other view is a positive", "the other view is left out"
# weights of the losses of the class and of the source, in multiples of ``weight``, and the form of the former
SUPERVISIONS = {
    "views": (0, 0, NCDS),
    "source": (0, 1, NCDS),
    "class": (1, 0, NCDS),
    "CDS": (1, 0, SUPCON),
    "NCDS": (1, 1, NCDS),
}
TAU, WEIGHT = 0.1, 0.3  # temperature of the losses of the class, and the weight of all; not tuned
SIZE, NARROW = 128, 32  # of what is compared, and of the narrow layer of SimSiam's predictor


def anchor_losses(q: torch.Tensor, labels: torch.Tensor, source: torch.Tensor, *, tau: float) -> torch.Tensor:
    """Return the loss of each image that another one shares the class with, float (M,), M from 0 to N.

    Args:
        q: float (N, d) of length 1. labels: int64 (N,). tau: temperature, above 0.
        source: int64 (N,), which image each one is a view of; views of one image are not compared with each other.
            With a source each, this is SupCon.

    Source: Ye et al. 2025 (NCDS), equation 9; Khosla et al. 2020 (SupCon), their equation 2.
    """
    compared = source[:, None] != source
    positive = compared & (labels[:, None] == labels)
    rows = positive.any(1)
    compared, positive = compared[rows], positive[rows]
    likely = (q[rows] @ q.T / tau).masked_fill(~compared, -torch.inf).log_softmax(1)
    return -likely.masked_fill(~positive, 0).sum(1) / positive.sum(1)


def class_loss(q: torch.Tensor, labels: torch.Tensor, source: torch.Tensor, *, tau: float) -> torch.Tensor:
    """Return the mean of ``anchor_losses``, 0 where there is none.

    The paper's equation is a sum over the batch, its code a mean, which does not depend on the size of the batch.
    """
    losses = anchor_losses(q, labels, source, tau=tau)
    return losses.sum() / max(1, len(losses))


def source_loss(h: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Return how badly one view predicts the other, -1 .. 1, -1 if perfectly; no gradient flows into what is predicted.

    Args:
        h, g: predictions and projections, float (2 N, d): N of the first views, then those of the second views.

    Source: Ye et al. 2025, equation 10, as a mean; Chen and He 2021 (SimSiam), equation 2.
    """
    return -F.cosine_similarity(h, g.detach().roll(len(g) // 2, 0)).mean()


class Head(nn.Module):
    """The projection q of a stage's pooled features, the projector g of that, and the predictor h of that.

    Source: Ye et al. 2025, equation 1, with a predictor 128-32-128, a quarter as wide in the middle as in SimSiam. The
    layers of q and g are unsaid: ours are a linear one, and two of width 128.
    """

    def __init__(self, width: int):
        super().__init__()
        two = lambda middle: nn.Sequential(
            nn.Linear(SIZE, middle, bias=False), nn.BatchNorm1d(middle), nn.ReLU(), nn.Linear(middle, SIZE)
        )
        self.q, self.g, self.h = nn.Linear(width, SIZE), two(SIZE), two(NARROW)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map features float (N, width) to q, g and h, each (N, 128) of length 1."""
        q = self.q(features)
        g = self.g(q)
        return F.normalize(q), F.normalize(g), F.normalize(self.h(g))


def stage_ends(model: nn.Module) -> list[nn.Module]:
    """Return the last block of each of the three stages.

    Raises:
        ValueError: the model is no ``classifiers.ResNet``.
    """
    if not isinstance(model, classifiers.ResNet):
        raise ValueError(
            f"the stages of a {type(model).__name__} are not known; choose resnet8-half, resnet8 or resnet20, or the "
            "supervision 'views', which has none"
        )
    n = len(model.blocks) // 3
    return list(model.blocks[n - 1 :: n])


def staged(model: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the logits (N, K) of images, and the mean over all places of what each stage puts out, (N, width)."""
    found = []
    keep = lambda block, given, out: found.append(out.mean((2, 3)))
    hooks = [block.register_forward_hook(keep) for block in stage_ends(model)]
    try:
        return model(images), found
    finally:
        for hook in hooks:
            hook.remove()


class Objective(nn.Module):
    """The loss of a batch for ``classifiers.train_classifier``: of two views of each image, which are made here.

    It is the cross-entropy of both views, and beside it the losses of the class and of the source after each stage. The
    heads belong to the objective, whose weights are trained along: the classifier never holds them.

    Args:
        supervision: of ``SUPERVISIONS``. model: a network as the one to be trained, whose widths are read.
        tau: temperature of the loss of the class, above 0. weight: of each loss beside the cross-entropy, 0 or more.
        mirrors: whether views may be mirrored. seed: of the views; each call makes others.

    Raises:
        ValueError: an unknown supervision, tau or weight outside its range, or a network without known stages.

    Source: Ye et al. 2025, equation 11; Zhang et al. 2022 (CDS). tau, the weights and the augmentation are unsaid.
    """

    def __init__(
        self,
        supervision: str,
        model: nn.Module,
        *,
        tau: float = TAU,
        weight: float = WEIGHT,
        mirrors: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        if supervision not in SUPERVISIONS:
            raise ValueError(f"supervision is {supervision!r}; allowed are {', '.join(SUPERVISIONS)}")
        if not (0 < tau < torch.inf and 0 <= weight < torch.inf):
            raise ValueError(f"received tau {tau} and weight {weight}; allowed are a tau above 0 and a weight of 0 ..")
        self.of_class, self.of_source, self.form = SUPERVISIONS[supervision]
        self.tau, self.weight, self.mirrors, self.seed, self.count = tau, weight, mirrors, seed, itertools.count()
        ends = stage_ends(model) if self.of_class or self.of_source else ()
        self.heads = nn.ModuleList(Head(block.conv2.out_channels) for block in ends)

    def forward(self, model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the loss of images that are not augmented yet, and targets of one class each.

        Raises:
            ValueError: targets that are no single class.
        """
        if targets.ndim == 2 and not bool((targets.amax(1) == 1).all()):
            raise ValueError(
                "received targets spread over several classes, or weighted, but images are compared by the one class "
                "of each; train with mixing 'none', labels that are not smoothed, and synthetic images of weight 1"
            )
        rng = chance(self.seed, next(self.count), images.device)
        view = lambda: augment.shift(images, rng, pad=images.shape[-1] // 16, flip=self.mirrors)
        views, both = torch.cat((view(), view())), torch.cat((targets, targets))
        if not self.heads:
            return classifiers.cross_entropy(model, views, both)
        logits, stages = staged(model, views)
        return F.cross_entropy(logits.float(), both) + self.weight * self.beside(stages, both)

    def beside(self, stages: list[torch.Tensor], targets: torch.Tensor) -> torch.Tensor:
        """Return the sum over all stages of the losses beside the cross-entropy, not yet weighted."""
        labels = targets.argmax(1) if targets.ndim == 2 else targets
        source = torch.arange(len(labels), device=labels.device)
        if self.form == NCDS:
            source = source % (len(labels) // 2)
        loss = 0
        for head, features in zip(self.heads, stages, strict=True):
            q, g, h = head(features)
            if self.of_class:
                loss = loss + self.of_class * class_loss(q, labels, source, tau=self.tau)
            if self.of_source:
                loss = loss + self.of_source * source_loss(h, g)
        return loss


def train_supervised(
    real: Dataset,
    *,
    supervision: str,
    tau: float = TAU,
    weight: float = WEIGHT,
    steps: int = 1000,
    batch_size: int = 96,
    lr: float = 0.1,
    weight_decay: float = 1e-3,
    seed: int = 0,
    classifier: str = "resnet8-half",
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Train a classifier on two views of each image of a batch and return it in eval mode, without the heads.

    Args:
        real: the training subset, which is drawn from without mixing.
        supervision, tau, weight: see ``Objective``.
        batch_size: views a step sees, two of each image: even, so that arms of one batch size see equally many.
        steps, lr, weight_decay, classifier, device: see ``classifiers.train_classifier``.

    Raises:
        ValueError: an odd batch, or as ``Objective`` and ``train_classifier``. FloatingPointError: the loss is not
            finite.
    """
    if batch_size < 2 or batch_size % 2:
        raise ValueError(f"batch_size is {batch_size}; allowed is an even number from 2: two views of each image")
    torch.manual_seed(seed)  # of the heads: the classifier itself begins as it does without them
    network = classifiers.build(classifier, **real.shape())
    objective = Objective(supervision, network, tau=tau, weight=weight, mirrors=real.mirrors, seed=seed).to(device)
    return classifiers.train_classifier(
        real,
        classifier=classifier,
        steps=steps,
        batch_size=batch_size // 2,
        lr=lr,
        weight_decay=weight_decay,
        pixel=False,  # the objective makes the views
        objective=objective,
        seed=seed,
        device=device,
    )
