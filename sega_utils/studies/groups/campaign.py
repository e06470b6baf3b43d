"""The plan, measured scene by scene; what is on record is not repeated, so that a killed call goes on."""

from collections.abc import Callable, Iterator

from sega_utils.core import runtime
from sega_utils.studies.groups import arms, fills, parts, plan, rows


def call(function: Callable, *args: object) -> object:
    """Return what a function returns: so that different ones share a pool of workers."""
    return function(*args)


def measure(run: str, planned: dict, tuned: dict, workers: int) -> Iterator[str]:
    """Measure a plan, and yield a line before each scene.

    In every scene the arms on real images come first; the best of them by validation is the policy that what fills the
    gap is trained with.

    Args:
        planned: as ``plan.read`` returns it; tuned: settings by arm of 05_training; workers: trainings at a time.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    budget, seeds = planned["budget"], planned["seeds"]
    for scene in plan.scenes_of(run, planned):
        mine = lambda scene: [r for r in rows.read(run, planned) if of(r) == (scene.dataset, scene.name)]
        whole = plan.asked(scene, planned)
        yield f"{scene.dataset}, {scene.name}: {len(mine(scene))} of {len(whole)} classifiers on record"
        train = lambda scene, names: [
            (arms.train_once, scene, *name, seed, tuned, budget) for seed in seeds for name in names
        ]
        jobs = train(scene, [(policy, "") for policy in planned["policies"][scene.kind]])
        runtime.map_workers(call, [(parts.fit_all, scene, budget), *jobs], workers=workers, label="real images alone")
        policy = rows.best_policy(mine(scene))
        names = list(fills.FILLS[scene.kind])
        made = [(fills.fill_once, scene, budget, name) for name in names]
        runtime.map_workers(call, made, workers=workers, label="fills")
        jobs = train(scene, [(policy, name) for name in names])
        runtime.map_workers(call, jobs, workers=workers, label=f"filled, with {policy}")


def of(record: dict) -> tuple[str, str]:
    """Return the data set and the scene that a record is of."""
    return record["dataset"], record["param_scene"]
