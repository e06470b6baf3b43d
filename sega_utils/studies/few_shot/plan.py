"""The plan of few shots, as its file says: the splits of each data set, the primary comparison, and all sizes."""

from pathlib import Path

from sega_utils.core import paths, plans
from sega_utils.core.parameters import Parameter
from sega_utils.studies.few_shot import arms, worlds

FILE = paths.PARAMS / "few_shot.yaml"
COUNT = "1 .. 1000000"
KINDS = f"one of: {' | '.join(worlds.FEATURES)}"
RULES = {
    "shots": Parameter([1], "real images of each unseen class", "list of: 1 .. 1000000"),
    "draws": Parameter(6, "of the few images, for each split", COUNT),
    "base": Parameter(600, "images of each seen class, at most", COUNT),
    "steps": Parameter(300, "of the network, on seen classes", COUNT),
    "components": Parameter(64, "of the linear generator", COUNT),
    "atoms": Parameter(30, "of the dictionary", COUNT),
    "clusters": Parameter(10, "pseudo-classes of each seen class", COUNT),
    "tuning": Parameter(3, "draws for each of the two inner splits", COUNT),
}
PRIMARY = {
    "ours": Parameter("x", "the arm that should win", "any text"),
    "shots": Parameter(1, "real images of each unseen class", COUNT),
    "features": Parameter("network", "what arms work with", KINDS),
}
COMPOSED = {
    "ours": Parameter("composed", "features that should win", KINDS),
    "to": Parameter("network", "features to compare with", KINDS),
    "shots": Parameter(1, "real images of each unseen class", COUNT),
}
SHAPES = {
    "ours": Parameter("shapes", "features that should win", KINDS),
    "to": Parameter(["network"], "features to compare with, the strongest of them", "list of: any text"),
    "shots": Parameter(1, "real images of each unseen class", COUNT),
    "steps": Parameter(1500, "of the networks of shapes and longer", COUNT),
}
LONGER = ("longer", "shapes")  # kinds of features whose networks take the steps of the third comparison


def read(file: Path = FILE) -> dict:
    """Return the plan of a YAML file: ``primary``, the comparison that was fixed beforehand, ``composed`` and
    ``shapes``, between kinds of features, ``splits``, the unseen classes of each split by data set, and the sizes of
    ``RULES``.

    Raises:
        FileNotFoundError: no such file. ValueError: not such a file, or an arm that there is not.
    """
    plan = plans.read(file, RULES, {"primary": PRIMARY, "composed": COMPOSED, "shapes": SHAPES}, others=["splits"])
    plans.known([plan["primary"]["ours"]], arms.ARMS, f"{paths.shown(file)}: ours")
    for part, rivals in (("composed", [plan["composed"]["to"]]), ("shapes", plan["shapes"]["to"])):
        if plan[part]["ours"] in rivals:
            raise ValueError(
                f"{paths.shown(file)}: {part} compares {plan[part]['ours']} with itself; give others in to"
            )
    plans.known(plan["shapes"]["to"], worlds.FEATURES, f"{paths.shown(file)}: shapes: to")
    return plan


def place_of(plan: dict, run: str, dataset: str, features: str) -> worlds.Place:
    """Return where a run's few shots of a data set are kept, with the plan's sizes."""
    sizes = {name: plan[name] for name in ("base", "steps", "components", "atoms", "clusters")}
    if features in LONGER:
        sizes["steps"] = plan["shapes"]["steps"]
    return worlds.Place(run, dataset, features=features, **sizes)


def splits_of(plan: dict, dataset: str, classes: int = 10) -> list[worlds.Split]:
    """Return the splits of a data set, in the plan's order.

    Raises:
        ValueError: the plan has none of this data set, or one that cannot be, see ``worlds.checked``.
    """
    if dataset not in plan["splits"]:
        raise ValueError(f"the plan has no splits of {dataset!r}; it has some of {', '.join(plan['splits'])}")
    return [worlds.split_of(classes, unseen) for unseen in plan["splits"][dataset]]
