"""The poster's numbers beside ours, and what differs."""

from sega_utils import artifacts, paths
from sega_utils.formats import interval, spread

COLUMNS = ("table", "row", "poster", "ours", "what differs")
CLEAN, ALIGNMENT = "clean accuracy (%)", "alignment (median / spread)"


def published(table: str, dataset: str) -> dict[str, dict[str, str]]:
    """Return a data set's rows of ``data/paper/<table>.csv`` by their first column; none if the poster has none."""
    rows = artifacts.load_csv(paths.DATA / "paper" / f"{table}.csv")
    return {next(iter(row.values())): row for row in rows if row["dataset"].lower() == dataset}


def beside(dataset: str, found: dict[str, list[dict]], accuracy: list[dict], alignment: list[dict]) -> list[dict]:
    """Return rows (``COLUMNS``) of text; where the run measured nothing, ``ours`` says so.

    Args:
        found: the run's records by stage; accuracy, alignment: the rows of those tables.

    Source: poster, "Clean Accuracy Evaluation" and "Semantic Alignment Evaluation".
    """
    rows = clean_rows(dataset, found["training"], accuracy) + alignment_rows(dataset, found["clip"], alignment)
    return [dict(zip(COLUMNS, row if row[3] else (*row[:3], "not measured", ""), strict=True)) for row in rows]


def clean_rows(dataset: str, trained: list[dict], accuracy: list[dict]) -> list[tuple[str, ...]]:
    """Return a row for each method of the poster's clean table, and one for what SEGA-Net gains over Std Aug."""
    rows, ours = [], {row["arm"]: row for row in accuracy}
    clean, ablation = published("clean_accuracy", dataset), published("ablation", dataset)
    scale = scale_of(trained[0]) if trained else ""
    for arm, row in clean.items():
        mine, twice = ours.get(arm), ablation.get(arm, row)["accuracy"]
        doubt = f"; the poster's own ablation has {twice}" if float(twice) != float(row["accuracy"]) else ""
        value = f"{spread(mine['mean'], mine['std'])} (n = {mine['n']})" if mine else ""
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
    model = "".join(f"{name}{' (our stand-in)' if name.endswith('.safetensors') else ''} instead of an unnamed CLIP; "
                    for name in names)  # fmt: skip
    unsaid = "ours are a cosine and its interquartile range, the poster defines neither its score nor its spread"
    for stage, row in published("semantic_alignment", dataset).items():
        mine = measured.get(stage)
        value = f"{mine['median']:.2f} / {mine['iqr']:.2f} (n = {mine['n']:,})" if mine else ""
        rows.append((ALIGNMENT, stage, f"{row['median']} / {row['spread']}", value, model + unsaid))
    return rows


def scale_of(trained: dict) -> str:
    """Return how the budget of a training record differs from the poster's 300 epochs on all training images."""
    return (
        f"{100 * trained['fraction']:g} % of the training images instead of all; {trained['param_classifier']} instead "
        f"of an unnamed one of four classifiers; {trained['param_steps']:,} steps instead of 300 epochs"
    )
