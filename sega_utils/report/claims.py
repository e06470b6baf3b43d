"""The poster's numbers and claims, each beside what we measured, with verdicts that are computed from the two."""

from collections.abc import Callable, Iterable, Sequence
from statistics import mean

from sega_utils.core import artifacts, numbers, paths
from sega_utils.core.numbers import cell, interval, spread
from sega_utils.evaluation import robustness, shift
from sega_utils.studies.entries import COMPONENTS
from sega_utils.training.recipes import BASELINE, OURS

BESIDE = ("table", "row", "poster", "ours", "what differs")
CLEAN, ALIGNMENT = "clean accuracy (%)", "alignment (median / spread)"


def published(table: str, dataset: str) -> dict[str, dict[str, str]]:
    """Return a data set's rows of ``data/paper/<table>.csv`` by their first column; none if the poster has none."""
    rows = artifacts.load_csv(paths.DATA / "paper" / f"{table}.csv")
    return {next(iter(row.values())): row for row in rows if row["dataset"].lower() == dataset}


def beside(dataset: str, found: dict[str, list[dict]], rows: dict[str, list[dict]]) -> list[dict[str, str]]:
    """Return the poster's numbers for a data set beside ours, as rows (``BESIDE``) of text.

    Where the run measured nothing, ``ours`` says so.

    Args:
        found: the run's records by stage, of which ``training`` and ``clip`` are read.
        rows: of the tables ``accuracy``, ``alignment``, ``shift`` and ``ablation``.

    Source: poster, "Clean Accuracy Evaluation", "Semantic Alignment Evaluation", "Generalization Under Domain Shifts"
    and "Sensitivity and Ablation Studies".
    """
    texts = [
        *clean_rows(dataset, found["training"], rows["accuracy"]),
        *alignment_rows(dataset, found["clip"], rows["alignment"]),
        *shift_rows(dataset, rows["shift"]),
        *ablation_rows(dataset, rows["ablation"]),
    ]
    return [dict(zip(BESIDE, row if row[3] else (*row[:3], "not measured", ""), strict=True)) for row in texts]


def measured_text(row: dict) -> str:
    """Return ``mean ± deviation (n = ...)`` of a row of a table."""
    return f"{spread(row['mean'], row['std'])} (n = {row['n']})"


def clean_rows(dataset: str, trained: list[dict], accuracy: list[dict]) -> list[tuple[str, ...]]:
    """Return a row for each method of the poster's clean table, and one for what SEGA-Net gains over Std Aug."""
    rows, ours = [], {row["arm"]: row for row in accuracy}
    clean, ablation = published("clean_accuracy", dataset), published("ablation", dataset)
    scale = scale_of(trained[0]) if trained else ""
    for arm, row in clean.items():
        mine, twice = ours.get(arm), ablation.get(arm, row)["accuracy"]
        doubt = f"; the poster's own ablation has {twice}" if float(twice) != float(row["accuracy"]) else ""
        value = measured_text(mine) if mine else ""
        rows.append((CLEAN, arm, f"{row['accuracy']} ± {row['std']}", value, scale + doubt))
    if {"SEGA-Net", "Std Aug"} <= clean.keys():
        gain = float(clean["SEGA-Net"]["accuracy"]) - float(clean["Std Aug"]["accuracy"])
        mine = ours.get("SEGA-Net", {})
        value = interval(*(mine.get(key, "") for key in ("diff_to_std_aug", "ci_low", "ci_high")))
        rows.append((CLEAN, "SEGA-Net minus Std Aug", f"{gain:+.1f}", value, f"{scale}; ours is paired by seed"))
    return rows


def alignment_rows(dataset: str, clips: list[dict], alignment: list[dict]) -> list[tuple[str, ...]]:
    """Return a row for each stage of the poster's alignment table."""
    rows, measured = [], {row["stage"]: row for row in alignment}
    names = [record["param_clip"] for record in clips]
    model = "".join(
        f"{name}{' (our stand-in)' if name.endswith('.safetensors') else ''} instead of an unnamed CLIP; "
        for name in names
    )
    unsaid = "ours are a cosine and its interquartile range, the poster defines neither its score nor its spread"
    for stage, row in published("semantic_alignment", dataset).items():
        mine = measured.get(stage)
        value = f"{mine['median']:.2f} / {mine['iqr']:.2f} (n = {mine['n']:,})" if mine else ""
        rows.append((ALIGNMENT, stage, f"{row['median']} / {row['spread']}", value, model + unsaid))
    return rows


def shift_rows(dataset: str, measured: list[dict]) -> list[tuple[str, ...]]:
    """Return a row for each method of the poster's shift of a data set, beside each of our shifts."""
    ours: dict[str, list[str]] = {}
    for row in measured:
        if row["shift"] in shift.SHIFTS.get(dataset, {}):
            value = f"{spread(row['mean'], row['std'])} {row['shift']} (n = {row['n']})"
            ours.setdefault(row["arm"], []).append(value)
    doubt = "the poster does not say what it shifts to; ours are named"
    return [
        (
            "accuracy under shift (%)",
            row["method"],
            f"{row['accuracy']} ± {row['std']}",
            ", ".join(ours.get(row["method"], [])),
            doubt,
        )
        for row in artifacts.load_csv(paths.DATA / "paper" / "domain_shift.csv")
        if row["shift"].lower().startswith(f"{dataset} shift")
    ]


def ablation_rows(dataset: str, measured: list[dict]) -> list[tuple[str, ...]]:
    """Return a row for each variant of the poster's ablation of a data set."""
    ours = {row["value"]: measured_text(row) for row in measured if row["name"] == "components"}
    return [
        ("ablation (%)", name, row["accuracy"], ours.get(name, ""), "the poster defines none of its rows")
        for name, row in published("ablation", dataset).items()
    ]


def scale_of(trained: dict) -> str:
    """Return how the budget of a training record differs from the poster's 300 epochs on all training images."""
    return (
        f"{100 * trained['fraction']:g} % of the training images instead of all; {trained['param_classifier']} instead "
        f"of an unnamed one of four classifiers; {trained['param_steps']:,} steps instead of 300 epochs"
    )


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
    rows = []
    for claim in artifacts.load_csv(paths.DATA / "paper" / "claims.csv"):
        measured, unit, least = measure[claim["id"]](), claim["unit"], float(claim["at_least"])
        said, why = judge(measured, least) if measured else (INCOMPARABLE, "this run did not measure it")
        if measured and claim["id"] in UNKNOWN:
            said, why = INCOMPARABLE, UNKNOWN[claim["id"]]
        value = f"{gained(measured)} {unit}" if measured else ""
        rows.append(
            {
                "claim": claim["claim"],
                "published": f"at least {least:g} {unit}",
                "measured": value,
                "verdict": said,
                "why": why,
            }
        )
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
    scores = {
        arm: {record["param_seed"]: score(record) for record in found if record["param_arm"] == arm}
        for arm in (OURS, over)
    }
    shared = set.intersection(*map(set, scores.values()))
    scores = {
        arm: {seed: 100 * mine[seed] for seed in shared if mine[seed] is not None} for arm, mine in scores.items()
    }
    return numbers.paired_difference(scores[OURS], scores[over]) if len(scores[OURS]) > 1 else None


def ahead(found: dict[str, list[dict]], arms: Iterable[str]) -> list[dict[str, str]]:
    """Return SEGA-Net's lead over each other arm that was measured, in points, paired by seed, with 95 % interval.

    Args:
        found: as in ``claim_rows``.
        arms: in the order of the rows.
    """
    rows = []
    for arm in arms:
        leads = {
            title: paired(found.get(stage, []), score, arm)
            for title, stage, score in (("clean images", "training", clean), ("corrupted images", "shift", corrupted))
        }
        if arm != OURS and leads["clean images"]:
            rows.append({f"{OURS} minus": arm} | {title: gained(lead) if lead else "" for title, lead in leads.items()})
    return rows


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
    """Return the mean accuracy over attacks and epsilons above zero, 0 .. 1."""
    return average(row["accuracy"] for row in record["attacked"] if row["epsilon"] > 0)


def average(values: Iterable[float]) -> float | None:
    """Return the mean of values; ``None`` if there are none."""
    values = list(values)
    return mean(values) if values else None


def gained(measured: dict[str, float]) -> str:
    """Return a gain for people, with its 95 % interval if it has one."""
    if "ci_low" not in measured:
        return f"{measured['difference']:+.2f}"
    return numbers.interval(*(measured[key] for key in ("difference", "ci_low", "ci_high")))


def risen(found: list[dict]) -> dict[str, float] | None:
    """Return by how much the filters raise the median alignment."""
    if not found:
        return None
    return {"difference": found[0]["alignment"]["post"]["median"] - found[0]["alignment"]["pre"]["median"]}


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
    return numbers.paired_difference({seed: mine[OURS] for seed, mine in complete.items()}, reduced)


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
