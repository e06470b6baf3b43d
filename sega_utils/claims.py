"""The poster's claims, each beside what we measured, with a verdict that is computed from the two."""

from collections.abc import Callable, Iterable
from statistics import mean

from sega_utils import artifacts, formats, metrics, paths
from sega_utils.entries import COMPONENTS
from sega_utils.recipes import BASELINE, OURS

COLUMNS = ("claim", "published", "measured", "verdict", "why")
REPRODUCED, NOT_REPRODUCED, INCOMPARABLE = "reproduced", "not reproduced", "cannot be compared"


def claim_rows(found: dict[str, list[dict]], efficiency: list[dict]) -> list[dict[str, str]]:
    """Return a row (``COLUMNS``) for each claim of ``data/paper/claims.csv``.

    Args:
        found: the run's records by stage; a stage may have none.
        efficiency: the rows of that table.
    """
    gain = lambda stage, score, over: lambda: paired(found.get(stage, []), score, over)
    measure = {
        "clean": gain("training", clean, BASELINE), "gan": gain("training", clean, "GAN-only"),
        "corruption": gain("shift", corrupted, BASELINE), "corruption_none": gain("shift", corrupted, "No Aug"),
        "shift": gain("shift", shifted, BASELINE), "attacks": gain("attacks", attacked, BASELINE),
        "alignment": lambda: risen(found.get("synthesis", [])), "efficiency": lambda: faster(efficiency),
        "ablation": lambda: costs(found.get("ablation", [])),
    }  # fmt: skip
    rows = []
    for claim in artifacts.load_csv(paths.DATA / "paper" / "claims.csv"):
        measured, unit, least = measure[claim["id"]](), claim["unit"], float(claim["at_least"])
        said, why = judge(measured, least) if measured else (INCOMPARABLE, "this run did not measure it")
        if measured and claim["id"] in UNKNOWN:
            said, why = INCOMPARABLE, UNKNOWN[claim["id"]]
        value = f"{gained(measured)} {unit}" if measured else ""
        rows.append({"claim": claim["claim"], "published": f"at least {least:g} {unit}", "measured": value,
                     "verdict": said, "why": why})  # fmt: skip
    return rows


# What no measurement of ours can decide, because the poster leaves out what it depends on.
UNKNOWN = {
    "attacks": "the poster names no epsilon and no step size; ours is the mean over the run's attacks and epsilons",
    "shift": "the poster does not say what Fashion-MNIST shifts to; ours are two named shifts",
}


def judge(measured: dict[str, float], at_least: float) -> tuple[str, str]:
    """Return the verdict on a gain (``difference``, ``ci_low``, ``ci_high``), ``at_least`` of which is claimed; why.

    A gain measured once has no interval; its value decides.
    """
    if "ci_low" not in measured:
        once = "measured once, without an interval: the value"
        if measured["difference"] < at_least:
            return NOT_REPRODUCED, f"{once} lies below the claim"
        return REPRODUCED, f"{once} reaches the claim"
    low, high = measured["ci_low"], measured["ci_high"]
    if high < 0:
        return NOT_REPRODUCED, "the effect has the opposite sign"
    if low <= 0:
        return NOT_REPRODUCED, "the interval contains zero: these seeds cannot tell it from no effect"
    if high < at_least:
        return NOT_REPRODUCED, "the effect has the claimed sign, but the whole interval lies below the claim"
    return REPRODUCED, "the interval lies above zero and reaches the claim"


def paired(found: list[dict], score: Callable[[dict], float | None], over: str) -> dict[str, float] | None:
    """Return how much higher SEGA-Net scores than another arm, in points, paired by seed; ``None`` without both."""
    scores = {arm: {record["param_seed"]: score(record) for record in found if record["param_arm"] == arm}
              for arm in (OURS, over)}  # fmt: skip
    shared = set.intersection(*map(set, scores.values()))
    scores = {arm: {seed: 100 * mine[seed] for seed in shared if mine[seed] is not None}
              for arm, mine in scores.items()}  # fmt: skip
    return metrics.paired_difference(scores[OURS], scores[over]) if len(scores[OURS]) > 1 else None


def ahead(found: dict[str, list[dict]], arms: Iterable[str]) -> list[dict[str, str]]:
    """Return SEGA-Net's lead over each other arm that was measured, in points, paired by seed, with 95 % interval.

    Args:
        found: as in ``claim_rows``.
        arms: in the order of the rows.
    """
    rows = []
    for arm in arms:
        leads = {title: paired(found.get(stage, []), score, arm) for title, stage, score in (
            ("clean images", "training", clean), ("corrupted images", "shift", corrupted))}  # fmt: skip
        if arm != OURS and leads["clean images"]:
            rows.append({f"{OURS} minus": arm} | {title: gained(lead) if lead else "" for title, lead in leads.items()})
    return rows


def clean(record: dict) -> float:
    """Return the accuracy on clean test images, 0 .. 1."""
    return record["accuracy"]


def mean_of(record: dict, wanted: Callable[[str], bool]) -> float | None:
    """Return the mean of the metrics ``accuracy_*`` whose name, without that prefix, is wanted."""
    values = [v for k, v in record.items() if k.startswith("accuracy_") and wanted(k.removeprefix("accuracy_"))]
    return mean(values) if values else None


def corrupted(record: dict) -> float | None:
    """Return the mean accuracy over corruptions and severities, 0 .. 1."""
    return mean_of(record, lambda name: name[-1].isdigit())


def shifted(record: dict) -> float | None:
    """Return the mean accuracy over the named shifts, 0 .. 1."""
    return mean_of(record, lambda name: not name[-1].isdigit() and name != "clean")


def attacked(record: dict) -> float | None:
    """Return the mean accuracy over attacks and epsilons above zero, 0 .. 1."""
    return mean_of(record, lambda name: float(name.rpartition("_")[2]) > 0)


def gained(measured: dict[str, float]) -> str:
    """Return a gain for people, with its 95 % interval if it has one."""
    if "ci_low" not in measured:
        return f"{measured['difference']:+.2f}"
    return formats.interval(*(measured[key] for key in ("difference", "ci_low", "ci_high")))


def risen(found: list[dict]) -> dict[str, float] | None:
    """Return by how much the filters raise the median alignment."""
    if not found:
        return None
    return {"difference": found[0]["alignment_post_median"] - found[0]["alignment_pre_median"]}


def faster(efficiency: list[dict]) -> dict[str, float] | None:
    """Return how many times longer an image of the diffusion model takes than one of SEGA-Net."""
    seconds = {row["variant"]: float(row["seconds_per_image"]) for row in efficiency if row["seconds_per_image"] != ""}
    slow = [value for variant, value in seconds.items() if "diffusion" in variant.lower() or "DDIM" in variant]
    return {"difference": slow[0] / seconds[OURS]} if slow and OURS in seconds else None


def costs(ablation: list[dict]) -> dict[str, float] | None:
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
    return metrics.paired_difference({seed: mine[OURS] for seed, mine in complete.items()}, reduced)
