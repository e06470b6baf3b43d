"""The plan of robust training as it is measured: trials on validation images, then the best of both sides.

What is on record is not repeated, so that the same call goes on where a killed one was.
"""

from collections.abc import Iterator

from sega_utils.core import paths, records, runtime
from sega_utils.studies.robust import arms, tables
from sega_utils.studies.robust.arms import Task
from sega_utils.studies.robust.plan import REAL, SYNTHETIC
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.zoo import Place


def measure(run: str, dataset: str, plan: dict, tuned: dict, workers: int, device: str = "cpu") -> Iterator[str]:
    """Measure a plan, and yield a line before each part.

    Args:
        plan: as ``plan.read`` returns it. tuned: settings by arm, of the classifier that judges images and teaches.
        workers: trainings at a time.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    first = Task(Place(run, dataset), plan, plan["settings"], 0, tuned, device)
    part = lambda function, tasks, label: runtime.map_workers(
        function, [(task,) for task in tasks], workers=workers, label=label
    )
    base = trials(first, plan["base"])
    yield f"{len(base)} trials on real images, from which both sides go on"
    part(arms.validate, base, "base")
    start = tables.best_base(records.read(run, dataset, arms.TUNING), plan)
    own = [trials(first, [start | change for change in plan[side]]) for side in (REAL, SYNTHETIC)]
    yield f"{len(own[0])} trials of each side, from {tables.changes(start, plan) or 'the settings of the plan'}"
    part(arms.prepare, drawers(own[1]), "augmenters")
    part(arms.validate, own[0] + own[1], "trials")
    winners = tables.winners(records.read(run, dataset, arms.TUNING), plan)
    for side, settings in winners.items():
        yield f"best {side}: {tables.changes(settings, plan) or 'the settings of the plan'}"
    final = finals(first, winners)
    yield f"{len(final)} pairs of classifiers, measured on test images"
    part(pair, final, "pairs")
    checked = [final[0][0]._replace(settings=settings) for settings in winners.values()]
    yield f"{len(checked)} classifiers looked at for masked gradients"
    part(arms.check, checked, "checks")
    more = explored(first, winners)
    yield f"{len(more)} classifiers that the comparison does not need"
    if not paths.artifact(run, dataset, "generator").exists():
        more = [task for task in more if task.settings["augmenter"] not in zoo.OF_RUN]
        yield f"{len(more)} of them without the run's own generator, which 02_generator would make"
    part(explore, more, "exploratory")


def trials(task: Task, changes: list[dict]) -> list[Task]:
    """Return the tasks of trials where the plan tunes, each of other settings."""
    how, plan = task.plan["tuning"], task.plan
    place = task.place._replace(subset=how["subset"], per_class=plan["primary"]["per_class"])
    return [task._replace(place=place, settings=plan["settings"] | change, seed=how["seed"]) for change in changes]


def drawers(tasks: list[Task]) -> list[Task]:
    """Return a task of each augmenter that some tasks need, so that none is fitted twice at a time."""
    return list({task.settings["augmenter"]: task for task in tasks}.values())


def finals(task: Task, winners: dict[str, dict]) -> list[tuple[Task, Task]]:
    """Return the tasks of the primary comparison in pairs, all subsets of a seed together."""
    first = task.plan["primary"]
    places = [task.place._replace(subset=subset, per_class=first["per_class"]) for subset in first["subsets"]]
    return [
        tuple(task._replace(place=place, settings=settings, seed=seed) for settings in winners.values())
        for seed in first["seeds"]
        for place in places
    ]


def pair(tasks: tuple[Task, Task]) -> list[dict]:
    """Measure both sides of a pair, the augmenter fitted first."""
    return [explore(task) for task in tasks]


def explored(task: Task, winners: dict[str, dict]) -> list[Task]:
    """Return the tasks of what the plan explores, on the first subset of the primary comparison with all its seeds.

    A change is made to the winner of the synthetic side, and to that of the real side if it is none of its images.
    """
    first, found = task.plan["primary"], []
    place = task.place._replace(subset=first["subsets"][0], per_class=first["per_class"])
    for change in task.plan["exploratory"]:
        sides = [SYNTHETIC] if {"share", "augmenter", "labels"} & set(change) else winners
        found += [task._replace(place=place, settings=winners[side] | change) for side in sides]
    return [part._replace(seed=seed) for seed in first["seeds"] for part in found]


def explore(task: Task) -> dict:
    """Measure one classifier on test images, its augmenter fitted first."""
    arms.prepare(task)
    return arms.measure(task)
