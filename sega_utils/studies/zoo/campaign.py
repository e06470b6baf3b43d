"""The zoo's plan as it is measured: what is best of the screening goes on, or just what somebody asks for."""

from collections.abc import Iterator

from sega_utils.core import records
from sega_utils.studies.zoo import arms as zoo_arms, rows as zoo_rows
from sega_utils.studies.zoo.zoo import Fitting

ASKED = ("augmenters", "arms", "shares", "per_class", "protocol", "seconds", "steps", "subsets", "seeds", "onto")


def measure(run: str, dataset: str, plan: dict, given: dict, tuned: dict, workers: int) -> Iterator[str]:
    """Measure a plan, and yield a line before each part; what is on record is not repeated.

    Args:
        plan: as ``zoo_plan.read`` returns it. given: what replaces the plan, by the names in ``ASKED``; then all of it
            is measured, and nothing is chosen. tuned: settings by arm. workers: trainings at a time.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    asked = plan | plan["primary"] | {"onto": plan["screening"]["onto"]} | given
    shared = {name: asked[name] for name in ("per_class", "steps", "shares")}
    seconds = 0.0 if asked["protocol"] == "run" else float(asked["seconds"])  # its own generator took its own time
    shared["fitting"] = Fitting(seconds, asked["protocol"], asked["images"])
    part = lambda subsets, **what: zoo_arms.measure(run, dataset, subsets, tuned, workers=workers, **shared | what)
    if given:
        yield from part(asked["subsets"], **{name: asked[name] for name in ("seeds", "augmenters", "arms", "onto")})
        return
    first = plan["screening"]
    everything = {"augmenters": plan["augmenters"], "arms": plan["arms"], "onto": first["onto"]}
    yield from part([first["subset"]], seeds=[first["seed"]], **everything)
    augmenters, arms = zoo_rows.finalists(records.read(run, dataset, "zoo"), plan)
    yield f"best by validation: {', '.join(augmenters)} onto {arms[0]}; on real images alone {', '.join(arms)}"
    yield from part(asked["subsets"], seeds=asked["seeds"], augmenters=augmenters, arms=arms, onto=arms[0])
