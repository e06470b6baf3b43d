"""The campaign of few shots: arms are tuned on seen classes, then measured on unseen ones; all of it is resumable."""

from collections import defaultdict
from statistics import mean

from sega_utils.core import artifacts, records
from sega_utils.studies.few_shot import arms, worlds
from sega_utils.studies.few_shot.worlds import Place, Split

STAGE = "few-shot"
GROUPS = ("baseline", "method", "control", "ours")


def named(group: str) -> list[str]:
    """Return the arms of a group.

    Raises:
        ValueError: an unknown group.
    """
    if group not in GROUPS:
        raise ValueError(f"unknown group {group!r}; known are {', '.join(GROUPS)}")
    return [name for name, arm in arms.ARMS.items() if arm.group == group]


def asked(place: Place, split: Split, group: str) -> dict:
    """Return the parameters that all records of a group have."""
    about = {"unseen": split.name(), "group": group, "arms": ", ".join(named(group))}
    return about | {name: value for name, value in place._asdict().items() if name not in {"run", "dataset"}}


def tune(place: Place, split: Split, group: str, shots: list[int], draws: int) -> dict:
    """Return the record of the settings that are best on seen classes, for each arm and number of shots.

    Every other seen class acts as unseen, in two ways; networks and atoms are trained anew on the rest.

    Returns:
        With ``tuned``, arm to shots to settings, and ``scores``, arm to shots to their accuracy.
    """
    seen = [worlds.world_of(place, part).digest for part in worlds.inner(split)]
    tried = {name: arms.trials(name) for name in named(group) if not arms.ARMS[name].like}

    def measure() -> dict:
        found: dict = defaultdict(lambda: [[] for _ in range(arms.TRIALS)])
        for part in worlds.inner(split):
            world = worlds.world_of(place, part)
            for k in shots:
                for draw in range(draws):
                    task = worlds.task_of(world, k, draw)
                    for name, settings in tried.items():
                        for i, score in enumerate(arms.measure(world, task, name, settings, draw)):
                            found[name, k][i].append(score)
        best: dict = {"tuned": {name: {} for name in tried}, "scores": {name: {} for name in tried}}
        for (name, k), scores in found.items():
            means = [mean(part) for part in scores if part]
            top = max(range(len(means)), key=means.__getitem__)
            best["tuned"][name][str(k)], best["scores"][name][str(k)] = tried[name][top], means[top]
        return best

    parameters = asked(place, split, group) | {"draws": draws, "shots": ", ".join(map(str, shots))}
    inputs = dict(zip(("seen_first", "seen_second"), seen, strict=True))
    name = f"tuning-{split.name()}-{group}"
    return records.once(place.run, place.dataset, STAGE, name, parameters=parameters, inputs=inputs, measure=measure)


def settings_of(place: Place, split: Split, shots: list[int], draws: int) -> dict[str, dict]:
    """Return the tuned settings of every arm: arm to shots to settings."""
    found = {}
    for group in GROUPS:
        found |= tune(place, split, group, shots, draws)["tuned"] if named(group) else {}
    return found | {name: found[arm.like] for name, arm in arms.ARMS.items() if arm.like}


def measure_draw(place: Place, split: Split, draw: int, group: str, tuned: dict, shots: list[int]) -> dict:
    """Return the record of a group's accuracies on the tasks of one draw, by shots and by arm."""
    world, names = worlds.world_of(place, split), named(group)
    used = {name: tuned[name] for name in names}
    parts = {"seen": world.digest, "tuned": artifacts.digest_json(used)}
    parts["test"] = artifacts.digest({"images": world.query.images, "labels": world.query.labels})

    def measure() -> dict:
        found = {}
        for k in shots:
            task = worlds.task_of(world, k, draw)
            found[str(k)] = {n: arms.measure(world, task, n, [used[n][str(k)]], draw)[0] for n in names}
        return {"arms": found, "n_test": len(world.query.labels)}

    parameters = asked(place, split, group) | {"draw": draw, "shots": ", ".join(map(str, shots))}
    name = f"{split.name()}-draw{draw}-{group}"
    return records.once(place.run, place.dataset, STAGE, name, parameters=parameters, inputs=parts, measure=measure)


def measure_split(place: Place, split: Split, draws: list[int], groups: list[str], plan: dict) -> list[dict]:
    """Return the records of a split: all groups on some draws, with the settings tuned on its seen classes."""
    tuned = settings_of(place, split, plan["shots"], plan["tuning"])
    return [measure_draw(place, split, draw, group, tuned, plan["shots"]) for group in groups for draw in draws]
