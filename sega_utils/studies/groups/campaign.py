"""The plan, measured scene by scene; what is on record is not repeated, so that a killed call goes on."""

from collections.abc import Callable, Iterator

from sega_utils.core import runtime
from sega_utils.studies.groups import arms, fills, parts, plan, rows


def call(function: Callable, *args: object) -> object:
    """Return what a function returns: so that different ones share a pool of workers."""
    return function(*args)


def measure(run: str, planned: dict, tuned: dict, workers: int) -> Iterator[str]:
    """Measure a plan, and yield a line before each part of it.

    The primary comparison comes first in all its scenes, and then everything else. In every scene the arms on real
    images come first; the best of them by validation is the policy that what fills the gap is trained with.

    Args:
        planned: as ``plan.read`` returns it; tuned: settings by arm of 05_training; workers: trainings at a time.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    scenes, (kind, compared) = plan.scenes_of(run, planned), plan.PRIMARY
    primary = [(scene, compared) for scene in scenes if scene.kind == kind]
    for scene, names in primary + [(scene, tuple(fills.FILLS[scene.kind])) for scene in scenes]:
        mine = lambda scene: [r for r in rows.read(run, planned) if rows.key_of(r)[:2] == (scene.dataset, scene.name)]
        whole = plan.asked(scene, planned, names)
        done = set(whole) & {rows.key_of(r)[2:] for r in mine(scene)}
        yield f"{scene.dataset}, {scene.name}: {len(done)} of {len(whole)} classifiers on record"
        train = lambda scene, names: [
            (arms.train_once, scene, *name, seed, tuned, planned["budget"])
            for seed in planned["seeds"]
            for name in names
        ]
        jobs = train(scene, [(policy, "") for policy in planned["policies"][scene.kind]])
        fitted = (parts.fit_all, scene, planned["budget"])
        runtime.map_workers(call, [fitted, *jobs], workers=workers, label="real images alone")
        policy = rows.best_policy(mine(scene))
        made = [(fills.fill_once, scene, planned["budget"], name) for name in names]
        runtime.map_workers(call, made, workers=workers, label="fills")
        jobs = train(scene, [(policy, name) for name in names])
        runtime.map_workers(call, jobs, workers=workers, label=f"filled, with {policy}")
