"""The poster's claims, each beside what we measured, with a verdict that is computed from the two."""

from collections.abc import Callable, Iterable
from statistics import mean

from sega_utils import artifacts, formats, metrics, paths
from sega_utils.entries import COMPONENTS

COLUMNS = ("claim", "published", "measured", "verdict", "why")
REPRODUCED, NOT_REPRODUCED, INCOMPARABLE = "reproduced", "not reproduced", "cannot be compared"
OURS, BASELINE = "SEGA-Net", "Std Aug"


def claim_rows(found: dict[str, list[dict]], efficiency: list[dict], ablation: list[dict]) -> list[dict[str, str]]:
    """Return a row (``COLUMNS``) for each claim of ``data/paper/claims.csv``.

    Args:
        found: the run's records by stage; a stage may have none.
        efficiency, ablation: the rows of those tables.
    """
    gain = lambda stage, score, over: lambda: paired(found.get(stage, []), score, over)
    measure = {
        "clean": gain("training", clean, BASELINE), "gan": gain("training", clean, "GAN-only"),
        "corruption": gain("shift", corrupted, BASELINE), "corruption_none": gain("shift", corrupted, "No Aug"),
        "shift": gain("shift", shifted, BASELINE), "attacks": gain("attacks", attacked, BASELINE),
        "alignment": lambda: risen(found.get("synthesis", [])), "efficiency": lambda: faster(efficiency),
        "ablation": lambda: costs(ablation),
    }  # fmt: skip
    rows = []
    for claim in artifacts.load_csv(paths.DATA / "paper" / "claims.csv"):
        measured, unit, least = measure[claim["id"]](), claim["unit"], float(claim["at_least"])
        said, why = judge(measured, least) if measured else (INCOMPARABLE, "this run did not measure it")
        if measured and claim["id"] in UNKNOWN:
            said, why = INCOMPARABLE, UNKNOWN[claim["id"]]
        value = formats.interval(*(measured[k] for k in ("difference", "ci_low", "ci_high"))) if measured else ""
        rows.append({"claim": claim["claim"], "published": f"at least {least:g} {unit}",
                     "measured": f"{value} {unit}" if measured else "", "verdict": said, "why": why})  # fmt: skip
    return rows


# What no measurement of ours can decide, because the poster leaves out what it depends on.
UNKNOWN = {
    "attacks": "the poster names no epsilon and no step size; ours is the mean over the run's attacks and epsilons",
    "shift": "the poster does not say what Fashion-MNIST shifts to; ours are two named shifts",
}


def judge(measured: dict[str, float], at_least: float) -> tuple[str, str]:
    """Return the verdict on a gain (``difference``, ``ci_low``, ``ci_high``), ``at_least`` of which is claimed; why."""
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
            leads = {title: formats.interval(*(lead[k] for k in ("difference", "ci_low", "ci_high"))) if lead else ""
                     for title, lead in leads.items()}  # fmt: skip
            rows.append({f"{OURS} minus": arm} | leads)
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


def point(value: float) -> dict[str, float]:
    """Return a measurement whose spread is not known: its interval is the value."""
    return {"difference": value, "ci_low": value, "ci_high": value}


def risen(found: list[dict]) -> dict[str, float] | None:
    """Return by how much the filters raise the median alignment."""
    return point(found[0]["alignment_post_median"] - found[0]["alignment_pre_median"]) if found else None


def faster(efficiency: list[dict]) -> dict[str, float] | None:
    """Return how many times longer an image of the diffusion model takes than one of SEGA-Net."""
    seconds = {row["variant"]: float(row["seconds_per_image"]) for row in efficiency if row["seconds_per_image"] != ""}
    slow = [value for variant, value in seconds.items() if "diffusion" in variant.lower() or "DDIM" in variant]
    return point(slow[0] / seconds[OURS]) if slow and OURS in seconds else None


def costs(ablation: list[dict]) -> dict[str, float] | None:
    """Return what the poster's reduced variants cost on average, in points; ``None`` unless all were measured."""
    lost = {row["value"]: -float(row["diff"]) for row in ablation if row["name"] == "components" and row["diff"] != ""}
    reduced = set(COMPONENTS) - {OURS}
    return point(mean(lost[name] for name in reduced)) if reduced <= lost.keys() else None
