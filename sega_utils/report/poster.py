"""The poster's numbers beside ours."""

from sega_utils.core import artifacts, paths
from sega_utils.core.numbers import interval, spread
from sega_utils.evaluation import shift

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
