"""FLARE's plan, and the plan as it is measured: the primary comparison first, then seed by seed all other arms."""

from collections.abc import Iterator
from pathlib import Path

from sega_utils.core import parameters, paths, plans, records, runtime
from sega_utils.core.parameters import Parameter
from sega_utils.studies.flare import arms, listed, parts
from sega_utils.studies.flare.parts import Making
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.zoo import Place

FILE = paths.PARAMS / "flare.yaml"
RULES = {
    "per_class": plans.PER_CLASS,
    "steps": plans.STEPS,
    "seconds": Parameter(0.0, "CPU seconds of the denoiser; 0 takes the data set's own", "0 .. 1000000"),
    "restoring": Parameter(60.0, "CPU seconds of the restoration", "0.1 .. 1000000"),
    "sampling": Parameter(25, "steps of DDIM", "1 .. 1000"),
    "restorer": Parameter("", "outside knowledge: a file of published weights of restoration", "any text"),
    "pipeline": Parameter("", "outside knowledge: a folder or tag of Stable Diffusion", "any text"),
    "strength": Parameter(0.5, "of variations", "0 .. 1"),
    "variations": Parameter(4, "of each drawn image", "0 .. 100"),
    "limit": Parameter(25.0, "of the gate, in dB", "0 .. 100"),
    "seeds": plans.SEEDS,
    "arms": plans.NAMES,
    "macro": plans.NAMES,
}
PRIMARY = {"ours": plans.NAME, "theirs": plans.NAME, "subsets": plans.SEEDS, "seeds": plans.SEEDS}
PARTIES = ("theirs", "ours")  # of the primary comparison, the control first
Job = tuple[str, int, bool]  # arm, seed, whether it is trained on macro classes


def read(file: Path = FILE, dataset: str = "") -> dict:
    """Return the plan of a YAML file: ``primary``, the comparison that was fixed beforehand, ``groups``, all else.

    Args:
        dataset: whose values under ``datasets`` stand in for the plan's, if there are any.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or an arm that there is not.
    """
    plan, shown = plans.read(file, RULES, {"primary": PRIMARY}, others=["groups"], dataset=dataset), paths.shown(file)
    groups = plan["groups"]
    if (
        not isinstance(groups, dict)
        or not groups
        or not all(isinstance(names, list) and names for names in groups.values())
    ):
        raise ValueError(f"{shown} has groups {groups!r}; they must be lists of class names by macro class")
    compared = list(map(plan["primary"].get, PARTIES))
    if compared[0] == compared[1]:
        raise ValueError(f"{shown} compares {compared[0]!r} with itself; give another arm in theirs")
    plans.known([*plan["arms"], *plan["macro"], *compared], arms.ARMS, f"{shown}: arms")
    return plan


def others(file: Path = FILE) -> list[str]:
    """Return the data sets that a plan names values for, beside those that it is of as it stands.

    Raises:
        FileNotFoundError, ValueError: as ``read``.
    """
    read(file)
    return list(parameters.load_yaml(file).get("datasets", {}))


def titled(dataset: str) -> str:
    """Return a data set's name as tables show it: of a folder, its own."""
    return Path(dataset.removeprefix(paths.OWN)).name


def making_of(plan: dict) -> Making:
    """Return how a plan's parts are made."""
    return Making(**{name: plan[name] for name in Making._fields})


def jobs(plan: dict) -> list[Job]:
    """Return what is trained at a subset: both arms of the primary comparison, then seed by seed all others."""
    primary = [(arm, s, False) for s in plan["primary"]["seeds"] for arm in map(plan["primary"].get, PARTIES)]
    others = [(arm, s, False) for s in plan["seeds"] for arm in plan["arms"]]
    return list(dict.fromkeys(primary + others + [(arm, s, True) for s in plan["seeds"] for arm in plan["macro"]]))


def places_of(run: str, dataset: str, plan: dict) -> list[Place]:
    """Return the places of a plan's subsets."""
    return [Place(run, dataset, subset, plan["per_class"]) for subset in plan["primary"]["subsets"]]


def is_done(place: Place, job: Job, plan: dict) -> bool:
    """Return whether a job is on record, of images that are made as the plan says."""
    (arm, seed, coarse), making = job, making_of(plan)
    file = records.path(*place[:2], arms.STAGE, arms.name_of(place, arm, seed, coarse, plan["steps"], making))
    return file.exists() and listed.is_of(records.load(file), arm, making)


def asked(place: Place, plan: dict) -> list[Job]:
    """Return the jobs of a place, without the arms of a gate that is known to drop nothing: they are FLARE itself."""
    file = records.path(*place[:2], parts.STAGE, parts.name_of(place, making_of(plan)))
    made = records.load(file) if file.exists() else {}
    idle = min(made.get("passing_real", 0), made.get("passing_drawn", 0)) == 1
    return [job for job in jobs(plan) if not (idle and arms.ARMS[job[0]].gate)]


def coverage(run: str, dataset: str, plan: dict) -> tuple[int, int]:
    """Return how many of a plan's classifiers are on record, and how many there are in all."""
    done = [is_done(place, job, plan) for place in places_of(run, dataset, plan) for job in asked(place, plan)]
    return sum(done), len(done)


def train_job(place: Place, job: Job, plan: dict, tuned: dict) -> dict:
    """Do one of ``jobs``, see ``arms.train_once``, in a process of its own."""
    arm, seed, coarse = job
    how = {"making": making_of(plan), "tuned": tuned, "groups": plan["groups"], "steps": plan["steps"]}
    return arms.train_once(place, arm, seed, coarse=coarse, **how)


def measure(run: str, dataset: str, plan: dict, tuned: dict, workers: int) -> Iterator[str]:
    """Measure a plan, and yield a line before each part; what is on record is not repeated.

    Args:
        tuned: settings by arm of 05_training. workers: trainings at a time.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    for place in places_of(run, dataset, plan):
        arms.grouping(plan["groups"], zoo.real_of(place).few.class_names)  # before hours of work, not after
        yield f"subset {place.subset}: restored and drawn images"
        runtime.map_workers(parts.make_once, [(place, making_of(plan))], workers=1, label="parts")
        mine = asked(place, plan)
        if len(mine) < len(jobs(plan)):
            yield f"the gate at {plan['limit']:g} dB drops no image: its arms are FLARE itself, and left out"
        todo = [job for job in mine if not is_done(place, job, plan)]
        yield f"subset {place.subset}: {len(todo)} of {len(mine)} classifiers to train"
        work = [(place, job, plan, tuned) for job in mine]
        runtime.map_workers(train_job, work, workers=workers, label="classifiers")
