"""The campaign of few shots: arms are tuned on seen classes, then measured on unseen ones; all of it is resumable."""

from collections import defaultdict
from collections.abc import Iterable
from statistics import mean

from sega_utils.augmenters import composition
from sega_utils.core import artifacts, paths, records
from sega_utils.studies.few_shot import adapted, arms, finetuned, worlds
from sega_utils.studies.few_shot.worlds import Place, Split

STAGE = "few-shot"
GROUPS = ("baseline", "method", "control", "ours", "other", "adapted", "fine-tuned")


def named(group: str) -> list[str]:
    """Return the arms of a group.

    Raises:
        ValueError: an unknown group.
    """
    if group not in GROUPS:
        raise ValueError(f"unknown group {group!r}; known are {', '.join(GROUPS)}")
    return [name for name, arm in arms.ARMS.items() if arm.group == group]


def able(names: Iterable[str], shots: int) -> list[str]:
    """Return those arms that can do with so few images of a class."""
    return [name for name in names if arms.ARMS[name].least <= shots]


def possible(groups: Iterable[str], shots: Iterable[int], features: str) -> list[str]:
    """Return those groups of which some arm can do with some of these numbers of images, and with these features."""
    kept = [group for group in groups if group != "fine-tuned" or features != "latents"]  # which have no network
    return [group for group in kept if any(able(named(group), k) for k in shots)]


def asked(place: Place, split: Split, group: str) -> dict:
    """Return the parameters that all records of a group have."""
    about = {"unseen": split.name(), "group": group, "arms": ", ".join(named(group))}
    about |= {"style_steps": worlds.STYLE} if place.features == "style" else {}
    about |= {f"shapes_{k}": v for k, v in composition.SHAPES.items()} if place.features == "shapes" else {}
    about |= {"adapted": adapted.settings, "fine-tuned": finetuned.settings}.get(group, dict)()
    return about | {name: value for name, value in place._asdict().items() if name not in {"run", "dataset"}}


def check_kept(place: Place, name: str, shots: list[int]) -> None:
    """Refuse to replace a record of more numbers of images by one of fewer, which would lose what was measured.

    Raises:
        ValueError: there is such a record.
    """
    file = records.path(place.run, place.dataset, STAGE, name)
    kept = str(records.load(file)["param_shots"]).split(", ") if file.exists() else []
    if {*map(str, shots)} < {*kept}:
        raise ValueError(
            f"{paths.shown(file)} holds {', '.join(kept)} images a class, and would be replaced by one of "
            f"{', '.join(map(str, shots))}; leave --shots away"
        )


def tune(place: Place, split: Split, group: str, shots: list[int], times: int) -> dict:
    """Return the record of the settings that are best on seen classes, for each arm and number of shots.

    Every other seen class acts as unseen; network and atoms are trained anew on the rest.

    Returns:
        With ``tuned``, rows of ``arm``, ``shots``, ``settings`` and their ``score``, an accuracy of 0 .. 1.
    """
    world = worlds.world_of(place, worlds.inner(split))
    tried = {name: arms.trials(name) for name in named(group) if not arms.ARMS[name].like}

    def measure() -> dict:
        found: dict = defaultdict(lambda: [[] for _ in range(arms.TRIALS)])
        for k in shots:
            for draw in range(times):
                task = worlds.task_of(world, k, draw)
                for name in able(tried, k):
                    for i, score in enumerate(arms.measure(world, task, name, tried[name], draw)):
                        found[name, k][i].append(score)
        best = []
        for (name, k), scores in found.items():
            means = [mean(part) for part in scores if part]
            top = max(range(len(means)), key=means.__getitem__)
            best.append({"arm": name, "shots": k, "settings": tried[name][top], "score": means[top]})
        return {"tuned": best}

    parameters = asked(place, split, group) | {"draws": times, "shots": ", ".join(map(str, shots))}
    name = f"{place.features}-tuning-{split.name()}-{group}"
    check_kept(place, name, shots)
    inputs = {"seen": world.digest, "trials": artifacts.digest_json(tried)}
    return records.once(place.run, place.dataset, STAGE, name, parameters=parameters, inputs=inputs, measure=measure)


def settings_of(place: Place, split: Split, groups: list[str], shots: list[int], times: int) -> dict[str, dict]:
    """Return the tuned settings of the arms of some groups: arm to shots to settings."""
    likes = [arms.ARMS[name].like for group in groups for name in named(group)]
    needed = {*groups, *(arms.ARMS[name].group for name in likes if name)}
    return shared([tune(place, split, group, shots, times) for group in GROUPS if group in needed])


def on_record(found: list[dict], place: Place, split: Split) -> dict[str, dict]:
    """Return the same from records of the stage; nothing of arms that were not tuned on this split's seen classes."""
    about = split.name(), place.features
    return shared([r for r in found if "tuned" in r and (r["param_unseen"], r["param_features"]) == about])


def shared(found: list[dict]) -> dict[str, dict]:
    """Return the settings of records of tuning, and of the arms that take them over."""
    tuned: dict[str, dict] = {}
    for row in (row for r in found for row in r["tuned"]):
        tuned.setdefault(row["arm"], {})[str(row["shots"])] = row["settings"]
    return tuned | {name: tuned[arm.like] for name, arm in arms.ARMS.items() if arm.like in tuned}


def measure_draw(place: Place, split: Split, draw: int, group: str, tuned: dict, shots: list[int]) -> dict:
    """Return the record of a group's accuracies on the tasks of one draw: rows of ``arm``, ``shots``, ``accuracy``."""
    world, names = worlds.world_of(place, split), [n for n in named(group) if any(able([n], k) for k in shots)]
    used = {name: tuned[name] for name in names}
    parts = {"seen": world.digest, "tuned": artifacts.digest_json(used)}
    parts["test"] = artifacts.digest({"images": world.query.images, "labels": world.query.labels})

    def measure() -> dict:
        found = []
        for k in shots:
            task = worlds.task_of(world, k, draw)
            for arm in able(names, k):
                accuracy = arms.measure(world, task, arm, [used[arm][str(k)]], draw)[0]
                found.append({"arm": arm, "shots": k, "accuracy": accuracy})
        return {"accuracies": found, "n_test": len(world.query.labels)}

    parameters = asked(place, split, group) | {"draw": draw, "shots": ", ".join(map(str, shots))}
    name = f"{place.features}-{split.name()}-draw{draw}-{group}"
    check_kept(place, name, shots)
    return records.once(place.run, place.dataset, STAGE, name, parameters=parameters, inputs=parts, measure=measure)


def measure_split(place: Place, split: Split, chosen: list[int], groups: list[str], plan: dict) -> list[dict]:
    """Return the records of a split: all groups on some draws, with the settings tuned on its seen classes."""
    groups = possible(groups, plan["shots"], place.features)
    tuned = settings_of(place, split, groups, plan["shots"], plan["tuning"])
    return [measure_draw(place, split, draw, group, tuned, plan["shots"]) for group in groups for draw in chosen]
