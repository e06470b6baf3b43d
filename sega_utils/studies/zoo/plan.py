"""What is planned of the zoo: the primary comparison that was fixed beforehand, and what is measured."""

from pathlib import Path

from sega_utils.core import paths, plans
from sega_utils.core.parameters import Parameter
from sega_utils.studies.zoo import arms as zoo_arms, zoo

FILE = paths.PARAMS / "augmenters.yaml"
RULES = {
    "steps": plans.STEPS,
    "seconds": plans.SECONDS,
    "images": Parameter(100, "drawn of each class", "1 .. 1000000"),
    "shares": Parameter([0.1], "of a batch", "list of: 0 .. 1"),
    "augmenters": plans.NAMES,
    "arms": plans.NAMES,
}
PARTS = {
    "primary": {
        "per_class": plans.PER_CLASS,
        "protocol": Parameter("A", "of fitting", "one of: A | B"),
        "subsets": plans.SEEDS,
        "seeds": plans.SEEDS,
    },
    "screening": {
        "subset": plans.SEED,
        "seed": plans.SEED,
        "keep": Parameter(2, "how many go on", "1 .. 100"),
        "onto": Parameter("x", "the arm that images join", "any text"),
    },
    "exploratory": {
        "arms": plans.NAMES,
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
    plan, shown = plans.read(file, RULES, PARTS), paths.shown(file)
    arms = [*plan["arms"], *plan["exploratory"]["arms"], plan["screening"]["onto"]]
    plans.known(plan["augmenters"], zoo.ZOO | zoo.COMBINED, f"{shown}: augmenters")
    plans.known(arms, zoo_arms.REAL, f"{shown}: arms")
    return plan
