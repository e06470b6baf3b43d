"""The arms that are compared and their settings: plain data, so that planning a grid needs no torch."""

from pathlib import Path

from sega_utils.core import parameters, paths

# What makes an arm itself; of the other SETTINGS, classifier, steps and batch_size are the budget and the same for all,
# and the rest is tuned for each arm alike. The poster trains SEGA-Net with pixel-based and mixing-based augmentation
# ("Robust Training"): beside the arm on real images that mixes alike, only the images differ.
ARMS = {
    "No Aug": {"pixel": False},
    "Std Aug": {},
    "Std Aug + MixUp": {"mixing": "mixup"},
    "Std Aug + CutMix": {"mixing": "cutmix"},
    "Std Aug + TrivialAugment": {"policy": "trivial"},
    "GAN-only": {"synthetic": "plain"},
    "GAN-only + CLIP labels": {"synthetic": "plain", "labels": "clip"},
    "SEGA-Net": {"synthetic": "filtered"},
}
OURS, BASELINE = "SEGA-Net", "Std Aug"
# synthetic: none, plain (z from the prior, unfiltered) or filtered (prompted, kept by the filters)
# labels: of the synthetic images, or of the real ones where there are no others: class (the label drawn for) or clip
# (CLIP's distribution over the classes)
# batch_size: images a step sees, of which ratio is the synthetic share
# amount: distinct synthetic images, in multiples of N_syn
# temperature: of CLIP's distribution, in multiples of the temperature it learned
SETTINGS = {
    "classifier": "resnet8-half",
    "steps": 1000,
    "batch_size": 96,
    "lr": 0.1,
    "weight_decay": 1e-3,
    "pixel": True,
    "policy": "none",
    "mixing": "none",
    "ratio": 0.3,
    "synthetic": "none",
    "labels": "class",
    "amount": 1,
    "temperature": 1.0,
}
# How a step is computed, what else may be done with synthetic images (weight: of their loss), and what else a
# classifier of real images may learn from (supervision), for those who ask for it; at these defaults it is no part of
# the settings, and of no record.
SPEED = {"precision": "float32", "compile": False}
USE = {"batches": "mixed", "weight": 1.0, "supervision": ""}
UNSAID = SPEED | USE
# what a number among them may be, ends included; a text or a switch has its values where it is used
LIMITS = {
    "steps": (1, 10**8),
    "batch_size": (1, 10**6),
    "lr": (1e-9, 1e3),
    "weight_decay": (0, 1e3),
    "ratio": (0, 0.99),
    "amount": (0.001, 1e6),
    "temperature": (1e-6, 1e6),
    "weight": (1e-3, 1e3),
}


def settings_of(arm: str, tuned: dict | None = None) -> dict:
    """Return an arm's complete settings: defaults, then tuned values, then what makes the arm itself.

    Raises:
        ValueError: unknown arm or setting, or a value of another type or range.
    """
    if arm not in ARMS:
        raise ValueError(f"unknown arm {arm!r}; known are {', '.join(ARMS)}")
    if unknown := set(tuned or {}) - set(SETTINGS | UNSAID):
        raise ValueError(f"unknown settings {sorted(map(str, unknown))}; known are {', '.join(SETTINGS | UNSAID)}")
    for name, value in (tuned or {}).items():
        check_setting(arm, name, value)
    settings = SETTINGS | (tuned or {}) | ARMS[arm]
    return {name: value for name, value in settings.items() if name in SETTINGS or value != UNSAID[name]}


def check_setting(arm: str, name: str, value: object) -> None:
    """Refuse a value that a setting cannot have.

    Raises:
        ValueError: the message says what is allowed.
    """
    default = (SETTINGS | UNSAID)[name]
    if name in LIMITS:
        low, high = LIMITS[name]
        kinds, allowed = {int} if name in {"steps", "batch_size"} else {int, float}, f"{low} .. {high}"
        if type(value) in kinds and low <= value <= high:
            return
        allowed = f"an integer {allowed}" if kinds == {int} else f"a number {allowed}"
    else:
        if type(value) is type(default):
            return
        allowed = "true or false" if isinstance(default, bool) else "a text"
    raise ValueError(f"{name} of {arm} is {value!r}; allowed is {allowed}")


def read(file: Path, classifier: str = "") -> dict[str, dict]:
    """Return what a file says of each arm's settings, by arm.

    Either the file holds these as they are, or under ``arms`` those that differ from arm to arm and under
    ``classifiers`` what each classifier is trained with, whatever the arm.

    Args:
        classifier: which one, of a file of several.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of settings, or it does not have the classifier, or has several and none is asked for.
    """
    content, shown = parameters.load_yaml(file), paths.shown(file)
    several = isinstance(content, dict) and set(content) == {"arms", "classifiers"}
    groups = list(content.values()) if several else [content]
    if not all(isinstance(group, dict) for group in groups):
        raise ValueError(f"{shown} must hold settings by arm, or those in a section arms beside a section classifiers")
    for name, own in ((name, own) for group in groups for name, own in group.items()):
        if not isinstance(own, dict):
            raise ValueError(f"{shown} has {own!r} for {name}; it must hold settings by name, or {{}} for the defaults")
    if not several:
        if classifier:
            raise ValueError(f"{shown} holds settings by arm and no classifiers, so it has no {classifier}")
        return content
    known = content["classifiers"]
    if classifier not in known:
        asked = f"lacks the classifier {classifier}" if classifier else "needs a classifier to be named"
        raise ValueError(f"{shown} {asked}; there are {', '.join(known) or 'none'}")
    return {arm: {"classifier": classifier} | known[classifier] | own for arm, own in content["arms"].items()}


def differences(names: list[str], tuned: dict[str, dict]) -> dict[str, dict]:
    """Return the settings in which each arm differs from the defaults."""
    complete = {arm: settings_of(arm, tuned[arm]) for arm in names}
    return {arm: {k: v for k, v in s.items() if v != SETTINGS.get(k)} for arm, s in complete.items()}


def slug(arm: str) -> str:
    """Return an arm's name as a file may carry it."""
    return "-".join(arm.lower().replace("+", "plus").split())


def how_to_train(run: str, dataset: str, arm: str, seed: int) -> str:
    """Return what to do about an (arm, seed) that was not trained, for error messages."""
    return (
        f"make it with: python -m sega_utils.execute notebooks/05_training.ipynb -p RUN {run} -p DATASET {dataset} "
        f"with {arm!r} among its ARMS and {seed} among its SEEDS"
    )
