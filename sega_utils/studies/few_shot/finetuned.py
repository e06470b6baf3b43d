"""Few-shot arms: the network that seen classes have trained goes on to learn, from the few images themselves.

All other arms keep its features as they are, and only put a classifier on them. No image of an unseen class but the few
is looked at, and settings are chosen on seen classes, as those of every arm are.
"""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core import learning, runtime
from sega_utils.studies.few_shot import draws
from sega_utils.studies.few_shot.worlds import Task, World
from sega_utils.training import classifiers, mixture

BATCH = 48  # images a step, at most; where images are drawn these fill it up
HEAD_LR = 0.01  # of the new head, which has all to learn; the network below it has a lower one
TRAINED = ("block", "all")  # what is trained beside the head: the last block of the network, or all of it
WRONG = "the loss of fine-tuning is {loss} at step {step}; allowed are finite ones: choose a lower lr"


def settings() -> dict[str, float]:
    """Return what a record of these arms must say beside their settings."""
    return {"tuned_batch": BATCH, "tuned_head_lr": HEAD_LR}


class Tuned(nn.Module):
    """A copy of a world's network below a new linear head.

    That the head is new, with a rate of its own, and does not begin as the nearest centroid of the few images, was
    chosen on seen classes of the first three splits of both data sets, by the mean of as many trials of either: their
    best ones hardly differ, and what begins at the centroid fails at more of the settings.

    Args:
        classes: that the head tells apart. trained: one of ``TRAINED``; all else of the network stays.
        rng: of the head's first weights.
    """

    def __init__(self, world: World, classes: int, *, trained: str, rng: torch.Generator):
        super().__init__()
        self.body, self.head = copy.deepcopy(world.network), nn.Linear(len(world.centre), classes)
        self.body.head = nn.Identity()
        self.body.requires_grad_(trained == "all")
        self.body.blocks[-1].requires_grad_(True)
        for part in self.head.parameters():  # as torch begins, but from our own random numbers
            nn.init.uniform_(part, -(len(world.centre) ** -0.5), len(world.centre) ** -0.5, generator=rng)
        # batch norms keep the statistics of seen classes: four images say nothing reliable of them
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float32 (N, C, S, S) in [0, 1] to logits (N, classes)."""
        return self.head(self.body(images))


def check(world: World, task: Task, *, lr: float, steps: int, trained: str) -> None:
    """Refuse what nothing can be learnt from.

    Raises:
        ValueError: no network, a class without an image, or a setting outside its range.
    """
    if world.network is None:
        raise ValueError("features are latents, which have no network to tune; choose any other kind")
    found = task.few.labels.bincount(minlength=len(task.few.class_names)).tolist()
    if min(found, default=0) < 1:
        raise ValueError(f"the few images of the classes are {found}; allowed is 1 or more of each: draw more of them")
    if not 0 < lr < math.inf or steps < 1:
        raise ValueError(f"lr is {lr} and steps are {steps}; allowed are a finite lr above 0 and 1 step or more")
    if trained not in TRAINED:
        raise ValueError(f"trained is {trained!r}; allowed are {', '.join(TRAINED)}")


def fit(
    world: World,
    task: Task,
    drawn: draws.Drawn | None = None,
    *,
    lr: float,
    steps: int,
    trained: str,
    ratio: float = 0.5,
    seed: int = 0,
) -> Tuned:
    """Return a copy of the world's network that has learnt the few images, in eval mode; the world's own stays.

    Args:
        drawn: images float32 (N, C, S, S) in [0, 1], labels int64 (N,) and weights float32 (N,) that share batches
            with the few; None for the few alone.
        lr: of the network, above 0, where Adam begins; it falls to 0 by a cosine, as ``HEAD_LR`` does.
        steps: 1 or more.
        trained: one of ``TRAINED``. ratio: share of ``drawn`` in a batch, 0 .. 1 exclusive.

    Raises:
        ValueError: as ``check``, or a ratio that leaves no room for both. FloatingPointError: the loss is not finite.

    Source: Chen et al. 2019 (A closer look at few-shot classification), section 3.2, which trains the head alone. What
    else is trained, and how, is ours.
    """
    check(world, task, lr=lr, steps=steps, trained=trained)
    rng, classes = runtime.generator(seed), len(task.few.class_names)
    model = Tuned(world, classes, trained=trained, rng=rng)
    few = task.few.images, F.one_hot(task.few.labels, classes).float()
    others = None
    if drawn:  # an image of two classes comes twice, and weighs as much as any other
        others = drawn[0], F.one_hot(drawn[1], classes) * (drawn[2] / drawn[2].mean())[:, None]
    size = BATCH if drawn else min(BATCH, len(few[0]))
    batches = mixture.batches(few, others, size=size, ratio=ratio, rng=rng)
    body = [part for part in model.body.parameters() if part.requires_grad]
    optimiser = torch.optim.Adam([{"params": body, "lr": lr}, {"params": model.head.parameters(), "lr": HEAD_LR}])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _, batch in zip(run := learning.Steps(steps, wrong=WRONG), batches, strict=False):
        loss = classifiers.cross_entropy(model, *batch)
        learning.update(loss, optimiser, schedules=(schedule,))
        run.note(loss=loss)
    return model


def accuracy(world: World, task: Task, drawn: draws.Drawn | None, seed: int, **settings: float | int | str) -> float:
    """Return how often a tuned network is right on the query's images that count, 0 .. 1; see ``fit``."""
    model = fit(world, task, drawn, seed=seed, **settings)
    return classifiers.accuracy(model, world.query.images[task.counts], world.query.labels[task.counts])
