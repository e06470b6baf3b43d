"""Few-shot arm: a GAN of the seen classes is adapted to the few images, and draws more of them."""

import torch

from sega_utils.augmenters import adaptation
from sega_utils.core import artifacts
from sega_utils.studies.few_shot import worlds

STEPS = 2000  # of the source
STUDENT = 0.5  # its weight of correspondence, as a share of the teacher's; printed are 20 and 40


def source_of(world: worlds.World) -> adaptation.State:
    """Return the GAN of a world's seen classes, which is trained once and kept in a file.

    Raises:
        ArtifactError: the file is damaged, or of other seen images.
    """
    file = worlds.file_of(world.place, f"source-{world.split.name()}-{STEPS}")
    if not file.exists():
        seen = world.seen
        state = adaptation.fit_source(seen.images, seen.labels, num_classes=len(seen.class_names), seed=0, steps=STEPS)
        artifacts.save_tensors(file, *state)
    found = artifacts.load_tensors(file)
    worlds.check_seen(found[1], world.digest, "source GAN")
    return found


def adapted(
    world: worlds.World, task: worlds.Task, rng: torch.Generator, *, weight: float, each: int, **settings: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Adapt the source to the few images; return what it draws, labels int64, and weights of 1 each.

    Args:
        weight: of correspondence in the teacher's training; 0 is the control, plain fine-tuning at the same steps.
        each: images of each class. settings: further ones of ``adaptation.adapt``.
    """
    seed, draw = torch.randint(2**31, (2,), generator=rng).tolist()
    weights = {"w_teacher": weight, "w_student": STUDENT * weight}
    state = adaptation.adapt(source_of(world), task.few.images, task.few.labels, seed=seed, **weights, **settings)
    labels = torch.arange(len(task.few.class_names)).repeat_interleave(each)
    return adaptation.sample(state, labels, draw), labels, torch.ones(len(labels))
