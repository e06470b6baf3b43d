"""Plans of studies: YAML files that say what is measured, and which comparison was fixed beforehand."""

from collections.abc import Iterable
from pathlib import Path

from sega_utils.core import parameters, paths
from sega_utils.core.parameters import Parameter

COUNT = Parameter(1, "how many", "1 .. 1000000")
STEPS = Parameter(1000, "of each classifier", "1 .. 1000000")
PER_CLASS = Parameter(60, "real images of each class", "1 .. 1000000")
SECONDS = Parameter(60.0, "of the CPU, for each augmenter", "0.01 .. 1000000")
SEED, SEEDS = Parameter(0, "a seed", "0 .. 1000000"), Parameter([0], "each once", "list of: 0 .. 1000000")
NAME, NAMES = Parameter("x", "a name", "any text"), Parameter(["x"], "names", "list of: any text")
Rules = dict[str, Parameter]


def read(file: Path, rules: Rules, parts: dict[str, Rules], *, others: Iterable[str] = (), dataset: str = "") -> dict:
    """Return the plan of a YAML file.

    Args:
        rules: of each value. parts: of each mapping of values, by its name. others: what is returned as it stands.
        dataset: whose values, if the file has a mapping ``datasets`` that names it, stand in for the others; a slash at
            its end changes nothing.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else, or something more; the message names the part and what is allowed.
    """
    plan, shown = parameters.load_yaml(file), paths.shown(file)
    wanted = [*parts, *others, *rules]
    apart = plan.pop("datasets", {}) if isinstance(plan, dict) else {}
    if not isinstance(plan, dict) or set(plan) != set(wanted):
        raise ValueError(f"{shown} must hold {', '.join(wanted)}")
    if not isinstance(apart, dict) or not all(isinstance(own, dict) for own in apart.values()):
        raise ValueError(f"{shown} has datasets {apart!r}; they must be values of the plan by data set")
    for name, own in apart.items():
        known(own, wanted, f"{shown}: {name}")
    plan |= apart.get(dataset.rstrip("/"), {})
    found = {name: checked(plan[name], own, f"{shown}: {name}") for name, own in parts.items()}
    found |= checked({name: plan[name] for name in rules}, rules, shown)
    return found | {name: plan[name] for name in others}


def checked(part: object, rules: Rules, where: str, *, whole: bool = True) -> dict:
    """Return a mapping, each value of the type and within the range that its rule names.

    Args:
        whole: it must hold a value for every rule.

    Raises:
        ValueError: it is not such a mapping.
    """
    if not isinstance(part, dict):
        raise ValueError(f"{where} is {part!r}; it must hold {', '.join(rules)}")
    try:
        found = parameters.check(part, rules)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if lacking := [name for name in rules if whole and name not in part]:
        raise ValueError(f"{where} lacks {', '.join(lacking)}; it must hold {', '.join(rules)}")
    return found


def known(names: Iterable[str], among: Iterable[str], where: str) -> None:
    """Refuse names that are not among those there are.

    Raises:
        ValueError: the message lists what there is.
    """
    if strange := [name for name in names if name not in among]:
        raise ValueError(f"{where} has {strange[0]!r}; known are {', '.join(among)}")
