"""Halves of few-shot edits: of twice as many edits of SAGE as an arm draws, those that score best, or as many others.

What comes of the first above the second is what the score is worth as a filter.
"""

import torch

from sega_utils.filters import task_score
from sega_utils.studies.few_shot import draws
from sega_utils.studies.few_shot.worlds import Task, World

BY = ("score", "random")


def halved(world: World, task: Task, rng: torch.Generator, *, alpha: float, by: str) -> draws.Drawn:
    """Draw 2 x ``EACH`` edits of each class by SAGE, and return ``EACH`` of each; both ways choose of the same edits.

    Args:
        alpha: strength of the edits, see ``draws.edited``.
        by: ``score`` keeps those that ``scores`` says are best, ``random`` as many at random.

    Raises:
        ValueError: another way to choose.
    """
    if by not in BY:
        raise ValueError(f"by is {by!r}; allowed are {', '.join(BY)}")
    drawn = [draws.edited(world, task, rng, alpha=alpha) for _ in range(2)]
    images, labels, _ = (torch.cat(part) for part in zip(*drawn, strict=True))
    worth = scores(world, task, images) if by == "score" else torch.rand(len(labels), generator=rng)
    mine = [(labels == c).nonzero()[:, 0] for c in range(len(task.few.class_names))]
    kept = torch.cat([index[worth[index].topk(draws.EACH).indices] for index in mine])
    return draws.even(images[kept], labels[kept])


def scores(world: World, task: Task, images: torch.Tensor) -> torch.Tensor:
    """Return the task score of edits, float32 (N,), in the world's features; higher is better.

    The source is the few image that an edit begins with, in turn as ``draws.starts`` says; SAGE begins with the mean of
    its class, of which that image is a part. The target is the seen image nearest to the source.

    Args:
        images: one draw of ``draws.edited`` after another.

    Source: which images are source and target of a few-shot edit is ours.
    """
    seen = world.features["classes"]
    nearest = seen[torch.cdist(task.features, seen).argmin(1)]
    _, index = draws.starts(task)
    index = index.repeat(len(images) // len(index))
    return task_score.task_score(world.encode(images), task.features[index], nearest[index])
