"""What is planned of robust training: the primary comparison that was fixed beforehand, the trials of both sides."""

from pathlib import Path

from sega_utils.core import paths, plans
from sega_utils.core.parameters import Parameter
from sega_utils.core.plans import COUNT, SEED, SEEDS

FILE = paths.PARAMS / "robust.yaml"
REAL, SYNTHETIC = "real", "synthetic"  # the two sides, as records name them in param_arm
# how a classifier is trained: what a trial may change, and what it is where nobody says otherwise
SETTINGS = {
    "classifier": Parameter("resnet8-half", "see training/classifiers.py", "any text"),
    "steps": plans.STEPS,
    "batch_size": Parameter(96, "images of a step", "1 .. 1000000"),
    "lr": Parameter(0.1, "peak of the rate", "1e-9 .. 1000"),
    "weight_decay": Parameter(0.002, "of the weights", "0 .. 1000"),
    "pixel": Parameter(True, "crop and flip", "true or false"),
    "policy": Parameter("none", "see data/augment.py", "any text"),
    "mixing": Parameter("none", "see data/augment.py", "any text"),
    "smoothing": Parameter(0.0, "of the targets", "0 .. 0.99"),
    "averaging": Parameter(0.99, "decay of the averaged weights; 0 takes the last", "0 .. 0.99999"),
    "loss": Parameter("pgd", "see training/robust.py", "one of: none | pgd | trades"),
    "beta": Parameter(6.0, "of TRADES", "0 .. 1000"),
    "inner": Parameter(3, "steps of the attack in training", "1 .. 1000"),
    "epsilon": Parameter(4.0, "radius of all attacks, in 1/255", "0.001 .. 14000"),
    "norm": Parameter("Linf", "of all attacks", "one of: Linf | L2"),
    "share": Parameter(0.0, "of a batch, synthetic", "0 .. 0.99"),
    "augmenter": Parameter("none", "of the zoo, that drew them", "any text"),
    "labels": Parameter("class", "of synthetic images", "one of: class | filtered | random | teacher"),
}
PARTS = {
    # images: test images that are attacked, others for each subset
    "primary": {"per_class": plans.PER_CLASS, "subsets": SEEDS, "seeds": SEEDS, "images": COUNT},
    "drawn": {"seconds": plans.SECONDS, "images": COUNT},
    "tuning": {"subset": SEED, "seed": SEED, "images": COUNT, "steps": COUNT},
    "checks": {"images": COUNT, "restarts": COUNT, "steps": COUNT},
}
LISTS = ("base", REAL, SYNTHETIC, "exploratory")  # of changes of the settings


def read(file: Path = FILE) -> dict:
    """Return the plan of a YAML file: its ``PARTS``, complete ``settings``, and ``LISTS`` of what changes these.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not such a file, or one side has more trials than the other.
    """
    plan, shown = plans.read(file, {}, PARTS, others=["settings", *LISTS]), paths.shown(file)
    changed = lambda part, name: plans.checked(part, SETTINGS, f"{shown}: {name}", whole=False)
    changes = {name: [changed(part, name) for part in plan[name] or []] for name in LISTS}
    settings = {name: rule.default for name, rule in SETTINGS.items()} | changed(plan["settings"], "settings")
    check(changes, settings, shown)
    return plan | changes | {"settings": settings}


def check(changes: dict[str, list[dict]], settings: dict, shown: str) -> None:
    """Refuse trials that are of no use, or give one side more chances than the other.

    Raises:
        ValueError: the message names the list.
    """
    if not changes["base"] or not len(changes[REAL]) == len(changes[SYNTHETIC]) > 0:
        numbers = ", ".join(f"{len(changes[name])} of {name}" for name in LISTS[:3])
        raise ValueError(
            f"{shown} has {numbers}; base must have a trial, and both sides as many as each other, above 0"
        )
    for name in LISTS[:3]:
        for part in changes[name]:
            whole = settings | part
            if (whole["share"] > 0) != (name == SYNTHETIC) or (whole["share"] > 0) == (whole["augmenter"] == "none"):
                raise ValueError(
                    f"{shown}: {name} has {part}; synthetic trials have a share and an augmenter, others not"
                )
