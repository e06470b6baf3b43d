"""Few-shot arm: a GAN of the seen classes is adapted to the few images, and draws more of them."""

import inspect

import torch

from sega_utils.augmenters import adaptation
from sega_utils.core import artifacts
from sega_utils.studies.few_shot import draws, worlds

STEPS = 2000  # of the source
STUDENT = 0.5  # its weight of correspondence, as a share of the teacher's; printed are 20 and 40


def settings() -> dict[str, float]:
    """Return what a record of these arms must say beside their weight of correspondence."""
    steps = inspect.signature(adaptation.adapt).parameters
    taken = {name: steps[name].default for name in ("steps", "teacher_steps", "batch_size")}
    return {"source_steps": STEPS, "student": STUDENT} | {f"adapted_{name}": value for name, value in taken.items()}


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
    worlds.check_seen(found[1], world.digest, file)
    return found


def adapted(
    world: worlds.World, task: worlds.Task, rng: torch.Generator, *, weight: float, **settings: int
) -> draws.Drawn:
    """Adapt the source to the few images, and draw with it.

    Args:
        weight: of correspondence in the teacher's training; 0 is the control, plain fine-tuning at the same steps.
        settings: further ones of ``adaptation.adapt``.
    """
    seed, draw = torch.randint(2**31, (2,), generator=rng).tolist()
    weights = {"w_teacher": weight, "w_student": STUDENT * weight}
    state = adaptation.adapt(source_of(world), task.few.images, task.few.labels, seed=seed, **weights, **settings)
    labels = torch.arange(len(task.few.class_names)).repeat_interleave(draws.EACH)
    return draws.even(adaptation.sample(state, labels, draw), labels)
