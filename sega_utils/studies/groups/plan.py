"""What is planned: the scenes, what is compared in each, and the budget, as it was fixed beforehand."""

from collections.abc import Iterable
from pathlib import Path

from sega_utils.core import paths, plans
from sega_utils.core.parameters import Parameter
from sega_utils.data import catalogue
from sega_utils.studies.groups import arms, fills
from sega_utils.studies.groups.scenes import ENDS, Scene
from sega_utils.text import attributes

FILE = paths.PARAMS / "groups.yaml"
THIRDS = {words[third]: (name, third) for name, words in attributes.WORDS.items() for third in ENDS}
KINDS = ("missing", "rare")
PRIMARY = KINDS[0], (fills.REAL, fills.OURS[KINDS[0]])  # of the primary comparison: the kind of its scenes, the fills
BUDGET = {
    "steps": plans.STEPS,
    "seconds": Parameter(300.0, "of the CPU, for each GAN", "0.01 .. 1000000"),
    "clip_steps": Parameter(1000, "of each CLIP", "1 .. 1000000"),
    "projector_steps": Parameter(200, "of each projector", "1 .. 1000000"),
    "autoencoder_seconds": Parameter(60.0, "of the CPU, for each autoencoder", "0.01 .. 1000000"),
}
RARE = {
    "datasets": plans.NAMES,
    "images": Parameter(400, "of the most frequent class", "2 .. 1000000"),
    "ratio": Parameter(100.0, "to the rarest", "1.01 .. 100000"),
    "subsets": plans.SEEDS,
}


def read(file: Path = FILE) -> dict:
    """Return the plan of a YAML file: ``missing`` and ``rare``, what the scenes are; ``policies`` of each kind;
    ``seeds`` and ``budget``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file; the message names the part and what is allowed.
    """
    parts = {"rare": RARE, "budget": BUDGET}
    plan = plans.read(file, {"seeds": plans.SEEDS}, parts, others=["missing", "policies"])
    shown, policies = paths.shown(file), plan["policies"]
    _check_missing(plan["missing"], shown)
    if not isinstance(policies, dict) or set(policies) != set(KINDS):
        raise ValueError(f"{shown}: policies must hold {' and '.join(KINDS)}")
    plans.known([name for names in policies.values() for name in names], arms.POLICIES, f"{shown}: policies")
    return plan


def _check_missing(part: object, shown: str) -> None:
    """Refuse anything but ``images`` and, by data set, choices of a word and the classes in which it is missing.

    Raises:
        ValueError: it is something else.
    """
    allowed = f"{shown}: missing must hold images and, by data set, lists of {{word: WORD, classes: [CLASS, ...]}}"
    if not isinstance(part, dict) or type(part.get("images")) is not int or len(part) < 2:
        raise ValueError(allowed)
    for name, choices in part.items():
        if name == "images":
            continue
        if name not in catalogue.DATASETS or not isinstance(choices, list):
            raise ValueError(f"{allowed}; {name!r} is no data set, or holds no list")
        for choice in choices:
            if not isinstance(choice, dict) or set(choice) != {"word", "classes"} or choice["word"] not in THIRDS:
                raise ValueError(f"{allowed}; received {choice!r}, and words are {', '.join(THIRDS)}")


def scenes_of(run: str, plan: dict) -> list[Scene]:
    """Return the planned scenes in the order in which they are measured: the data sets in turn, rare classes last."""
    missing, rare = dict(plan["missing"]), plan["rare"]
    images, found = missing.pop("images"), []
    for turn in range(max(map(len, missing.values()))):
        for dataset, choices in missing.items():
            for choice in choices[turn : turn + 1]:
                found.append(scene_of(run, dataset, **choice, images=images))
    sizes = {"images": rare["images"], "ratio": rare["ratio"]}
    return found + [Scene(run, name, subset=s, **sizes) for s in rare["subsets"] for name in rare["datasets"]]


def asked(scene: Scene, plan: dict, filled: Iterable[str] = ()) -> list[tuple[str, int]]:
    """Return what is trained in a scene, each with every seed: the policy or the fill, and the seed.

    Args:
        filled: only these fills, none for all of them.
    """
    names = [*plan["policies"][scene.kind], *(filled or fills.FILLS[scene.kind])]
    return [(name, seed) for seed in plan["seeds"] for name in names]


def scene_of(run: str, dataset: str, word: str, classes: list[int], images: int) -> Scene:
    """Return the scene in which a word's look is missing in some classes."""
    if word not in THIRDS:
        raise ValueError(f"the word is {word!r}; allowed are {', '.join(THIRDS)}")
    return Scene(run, dataset, *THIRDS[word], tuple(classes), images)
