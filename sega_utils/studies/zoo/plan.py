"""What is planned of the zoo: the primary comparison that was fixed beforehand, and what is measured."""

from pathlib import Path

from sega_utils.core import parameters, paths
from sega_utils.core.parameters import Parameter
from sega_utils.studies.zoo import arms as zoo_arms, zoo

FILE = paths.PARAMS / "augmenters.yaml"
SEED, SEEDS = Parameter(0, "a seed", "0 .. 1000000"), Parameter([0], "each once", "list of: 0 .. 1000000")
RULES = {
    "steps": Parameter(1000, "of each classifier", "1 .. 1000000"),
    "seconds": Parameter(600.0, "of the CPU, for each augmenter", "1 .. 1000000"),
    "images": Parameter(100, "drawn of each class", "1 .. 1000000"),
    "shares": Parameter([0.1], "of a batch", "list of: 0 .. 1"),
    **dict.fromkeys(("augmenters", "arms"), Parameter(["x"], "names", "list of: any text")),
}
PARTS = {
    "primary": {
        "per_class": Parameter(30, "real images of each class", "1 .. 1000000"),
        "protocol": Parameter("A", "of fitting", "one of: A | B"),
        "subsets": SEEDS,
        "seeds": SEEDS,
    },
    "screening": {
        "subset": SEED,
        "seed": SEED,
        "keep": Parameter(2, "how many go on", "1 .. 100"),
        "onto": Parameter("x", "the arm that images join", "any text"),
    },
    "exploratory": {
        "arms": RULES["arms"],
        "seconds": Parameter([600.0], "of the CPU, for each augmenter", "list of: 1 .. 1000000"),
        "shares": RULES["shares"],
        "per_class": Parameter([30], "real images of each class", "list of: 1 .. 1000000"),
        "protocol": Parameter(["A"], "of fitting", "list of: A | B"),
    },
}


def read(file: Path = FILE) -> dict:
    """Return the plan of a YAML file: ``primary``, the comparison that was fixed beforehand, ``screening``, the one
    subset and seed on which its ``keep`` best are chosen, ``exploratory``, all else, and what is measured.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or an augmenter or an arm that there is not.
    """
    plan, shown = parameters.load_yaml(file), paths.shown(file)
    if not isinstance(plan, dict) or set(plan) != {*RULES, *PARTS}:
        raise ValueError(f"{shown} must hold {', '.join([*PARTS, *RULES])}")
    parts = {name: checked(plan.pop(name), rules, f"{shown}: {name}") for name, rules in PARTS.items()}
    plan = checked(plan, RULES, shown)
    arms = [*plan["arms"], *parts["exploratory"]["arms"], parts["screening"]["onto"]]
    for key, names, known in (
        ("augmenters", plan["augmenters"], zoo.ZOO | zoo.COMBINED),
        ("arms", arms, zoo_arms.REAL),
    ):
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{shown} has {unknown[0]!r} among its {key}; known are {', '.join(known)}")
    return plan | parts


def checked(part: object, rules: dict[str, Parameter], where: str) -> dict:
    """Return a part of a plan, each value of the type and within the range that its rule names.

    Raises:
        ValueError: it is not such a part.
    """
    if not isinstance(part, dict):
        raise ValueError(f"{where} is {part!r}; it must hold {', '.join(rules)}")
    try:
        found = parameters.check(part, rules)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if lacking := [name for name in rules if name not in part]:
        raise ValueError(f"{where} lacks {', '.join(lacking)}; it must hold {', '.join(rules)}")
    return found
