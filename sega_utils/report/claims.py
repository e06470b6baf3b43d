"""The poster's claims beside what we measured, with verdicts that are computed from the two."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean

from sega_utils.core import artifacts, numbers, paths
from sega_utils.core.numbers import cell
from sega_utils.evaluation import robustness
from sega_utils.studies.entries import COMPONENTS
from sega_utils.studies.zoo.claims import INCOMPARABLE, NOT_REPRODUCED, REPRODUCED
from sega_utils.training.recipes import BASELINE, OURS

COLUMNS = ("claim", "published", "measured", "verdict", "why")
UNDECIDED = "undecided"


def claim_rows(found: dict[str, list[dict]], efficiency: list[dict]) -> list[dict[str, str]]:
    """Return a row (``COLUMNS``) for each claim of the poster in ``data/paper/claims.csv``.

    Args:
        found: the run's records by stage; a stage may have none.
        efficiency: the rows of that table.
    """
    gain = lambda stage, score, over: lambda: paired(found.get(stage, []), score, over)
    measure = {
        "clean": gain("training", clean, BASELINE),
        "gan": gain("training", clean, "GAN-only"),
        "corruption": gain("shift", corrupted, BASELINE),
        "corruption_none": gain("shift", corrupted, "No Aug"),
        "shift": gain("shift", shifted, BASELINE),
        "attacks": gain("attacks", attacked, BASELINE),
        "alignment": lambda: risen(found.get("synthesis", [])),
        "efficiency": lambda: faster(efficiency),
        "ablation": lambda: costs(found.get("ablation", [])),
    }
    return [beside(claim, measure[claim["id"]]()) for claim in claimed_by()]


def claimed_by() -> list[dict[str, str]]:
    """Return the poster's rows of ``data/paper/claims.csv``; those of others are in files of their own."""
    return [row for row in artifacts.load_csv(paths.DATA / "paper" / "claims.csv") if row["system"] == OURS]


def beside(claim: dict[str, str], measured: dict | None) -> dict[str, str]:
    """Return the row (``COLUMNS``) of a claim and of what was measured of it, None for nothing."""
    unit, least = claim["unit"], float(claim["at_least"])
    if not measured:
        said, why = INCOMPARABLE, "this run did not measure it"
    elif claim["id"] in UNKNOWN:
        said, why = INCOMPARABLE, UNKNOWN[claim["id"]]
    else:
        said, why = judge(measured, least)
    shown = f"{gained(measured)} {unit} ({measured['of']})" if measured else ""
    return {
        "claim": claim["claim"],
        "published": f"at least {least:g} {unit}",
        "measured": shown,
        "verdict": said,
        "why": why,
    }


# What no measurement of ours can decide, because the poster leaves out what it depends on, or counts something else.
UNKNOWN = {
    "attacks": (
        "the poster names no epsilon and no step size; ours is the mean over the run's epsilons and its attacks, "
        "AutoAttack left out"
    ),
    "shift": "the poster does not say what Fashion-MNIST shifts to; ours are two named shifts",
    "alignment": "the poster defines neither its score nor its CLIP; ours is a cosine, and the filter cuts by it",
    "efficiency": (
        "the poster counts GPU hours of a run with Stable Diffusion; ours counts seconds for each kept image on one "
        "machine, beside the named rival, and leaves out what training either took"
    ),
}


def judge(measured: dict, at_least: float) -> tuple[str, str]:
    """Return the verdict on a gain (``difference``, ``ci_low``, ``ci_high``), ``at_least`` of which is claimed; why.

    Where the interval lies decides: all of it at or above the claim, all of it below, or about it.
    """
    low, high = measured["ci_low"], measured["ci_high"]
    sign = "lies above zero" if low > 0 else "lies below zero" if high < 0 else "contains zero"
    if low >= at_least:
        return REPRODUCED, f"the whole interval reaches the claim; it {sign}"
    if high < at_least:
        return NOT_REPRODUCED, f"the whole interval lies below the claim; it {sign}"
    return UNDECIDED, f"the interval contains the claim, so that these seeds cannot tell; it {sign}"


def paired(found: list[dict], score: Callable[[dict], float | None], over: str) -> dict | None:
    """Return how much higher SEGA-Net scores than another arm, in points, paired by seed; ``None`` without both.

    Returns:
        ``difference``, ``ci_low``, ``ci_high``, and in words ``of`` how many seeds.
    """
    scores = {
        arm: {record["param_seed"]: score(record) for record in found if record["param_arm"] == arm}
        for arm in (OURS, over)
    }
    shared = set.intersection(*map(set, scores.values()))
    scores = {
        arm: {seed: 100 * mine[seed] for seed in shared if mine[seed] is not None} for arm, mine in scores.items()
    }
    if len(scores[OURS]) < 2:
        return None
    return numbers.paired_difference(scores[OURS], scores[over]) | {"of": seeds_of(scores[OURS])}


def seeds_of(scores: dict[int, float]) -> str:
    """Return how many seeds there are, in words."""
    return f"{len(scores)} seeds"


AHEAD = f"{OURS} minus"  # head of the column of arms


def ahead(found: dict[str, list[dict]], arms: Iterable[str]) -> list[dict[str, str]]:
    """Return SEGA-Net's lead over each other arm that was measured, in points, paired by seed, with 95 % interval.

    The head of a column says of how many test images, a lead of how many seeds if they are not the same for all.

    Args:
        found: as in ``claim_rows``.
        arms: in the order of the rows.
    """
    leads = {
        what: {arm: paired(found.get(stage, []), score, arm) for arm in arms if arm != OURS}
        for what, stage, score in (("clean", "training", clean), ("corrupted", "shift", corrupted))
    }
    heads = {
        what: f"{what} images ({', '.join(filter(None, (images_of(found.get(stage, [])), common(leads[what]))))})"
        for what, stage in (("clean", "training"), ("corrupted", "shift"))
    }
    rows = []
    for arm, lead in leads["clean"].items():
        if lead:
            shown = {heads[what]: with_seeds(mine[arm], mine) for what, mine in leads.items()}
            rows.append({AHEAD: arm} | shown)
    return rows


def images_of(found: list[dict]) -> str:
    """Return how many test images records were measured on, in words; empty if they do not say or not the same."""
    counts = {record.get("n_test", record.get("param_n_test")) for record in found}
    return f"{counts.pop():,} of the test set" if len(counts) == 1 and None not in counts else ""


def common(leads: dict[str, dict | None]) -> str:
    """Return how many seeds all leads are of, in words; empty if they differ."""
    said = {lead["of"] for lead in leads.values() if lead}
    return said.pop() if len(said) == 1 else "not measured" if not said else ""


def with_seeds(lead: dict | None, leads: dict[str, dict | None]) -> str:
    """Return a lead for people; with its seeds where the others have other ones; empty without."""
    if not lead:
        return ""
    return gained(lead) if common(leads) else f"{gained(lead)} ({lead['of']})"


def clean(record: dict) -> float:
    """Return the accuracy on clean test images, 0 .. 1."""
    return record["accuracy"]


def corrupted(record: dict) -> float | None:
    """Return the mean accuracy over corruptions and severities, 0 .. 1."""
    return average(value for values in record["corruptions"].values() for value in values)


def shifted(record: dict) -> float | None:
    """Return the mean accuracy over the named shifts, 0 .. 1."""
    return average(value for name, value in record["shifts"].items() if name != "clean")


def attacked(record: dict) -> float | None:
    """Return the mean accuracy over attacks and epsilons above zero, 0 .. 1; AutoAttack, which not all seeds have and
    fewer images, is left out."""
    mine = [row for row in record["attacked"] if row["epsilon"] > 0 and row["attack"] != robustness.AUTOATTACK]
    return average(row["accuracy"] for row in mine)


def average(values: Iterable[float]) -> float | None:
    """Return the mean of values; ``None`` if there are none."""
    values = list(values)
    return mean(values) if values else None


def gained(measured: dict) -> str:
    """Return a gain for people, with its 95 % interval if it has one; a ratio has no sign."""
    if measured.get("is_ratio"):
        return f"{measured['difference']:.1f}"
    if "ci_low" not in measured:
        return f"{measured['difference']:+.2f}"
    return numbers.interval(*(measured[key] for key in ("difference", "ci_low", "ci_high")))


def risen(found: list[dict]) -> dict | None:
    """Return by how much the filters raise the median alignment; measured once, it has no interval."""
    if not found:
        return None
    pre, post = (found[0]["alignment"][stage] for stage in ("pre", "post"))
    of = f"medians of {pre['n']:,} and {post['n']:,} images, one run" if "n" in post else "one run"
    return {"difference": post["median"] - pre["median"], "of": of}


def faster(efficiency: list[dict]) -> dict | None:
    """Return how many times longer a kept image of a diffusion model takes than one of SEGA-Net; measured once.

    The rival is Stable Diffusion where it was measured, else the small diffusion model of the run.
    """
    key = "seconds_per_kept_image"
    seconds = {row["variant"]: float(row[key]) for row in efficiency if row[key] != ""}
    rival = next((name for name in ("Stable Diffusion", "diffusion") if name in seconds), None)
    if rival is None or OURS not in seconds:
        return None
    of = f"{seconds[rival]:.2g} against {seconds[OURS]:.2g} seconds for each kept image; rival: {rival}; one run"
    return {"difference": seconds[rival] / seconds[OURS], "of": of, "is_ratio": True}


def costs(ablation: list[dict]) -> dict | None:
    """Return what the poster's reduced variants cost on average, in points, paired by seed.

    Only seeds that every variant was measured with count; ``None`` if there are fewer than two.
    """
    scores: dict[int, dict[str, float]] = {}
    for record in ablation:
        if record["param_ablation"] == "components":
            scores.setdefault(record["param_seed"], {})[record["param_value"]] = 100 * record["accuracy"]
    complete = {seed: mine for seed, mine in scores.items() if mine.keys() == set(COMPONENTS)}
    if len(complete) < 2:
        return None
    reduced = {seed: mean(mine[name] for name in mine if name != OURS) for seed, mine in complete.items()}
    whole = {seed: mine[OURS] for seed, mine in complete.items()}
    return numbers.paired_difference(whole, reduced) | {"of": seeds_of(whole)}


def epsilon_for(
    rows: Iterable[dict], arm: str, attack: str, accuracy: float, norm: str = "Linf"
) -> tuple[float, float, float] | None:
    """Return the smallest epsilon (in 1/255) at which an accuracy (in percent) holds, and the two measured beside it.

    Between neighbours of the grid the accuracy is taken to fall along a line. ``None`` if the clean accuracy is lower
    already, or if the largest epsilon leaves it higher.
    """
    points = list(robustness.curve(rows, arm, attack, norm).items())
    for (left, high), (right, low) in zip(points, points[1:], strict=False):
        if high >= accuracy >= low:
            share = (high - accuracy) / (high - low) if high > low else 0.0
            return left + share * (right - left), left, right
    return None


def attacks_beside(rows: Sequence[dict], norm: str = "Linf") -> list[dict[str, str]]:
    """Return the poster's accuracy of each arm and attack, and the epsilon (in 1/255) at which ours would be the same.

    Source: poster, "Adversarial Robustness Evaluation", which names no epsilon.
    """
    table = []
    for row in artifacts.load_csv(paths.DATA / "paper" / "adversarial.csv"):
        arm, attack, published = row["method"], row["attack"], float(row["accuracy"])
        measured = robustness.curve(rows, arm, attack, norm)
        found = epsilon_for(rows, arm, attack, published, norm)
        low = measured[max(measured)] if measured else ""
        missing = "outside the grid" if measured else "not measured"
        table.append(
            {
                "arm": arm,
                "attack": attack,
                "poster (%)": f"{row['accuracy']} ± {row['std']}",
                "ours, clean (%)": cell(measured.get(0, "")),
                "at the largest epsilon": cell(low),
                "poster's holds at epsilon (1/255)": f"{found[0]:.2f}" if found else missing,
                "between measured": f"{found[1]:g} and {found[2]:g}" if found else "",
            }
        )
    return table
