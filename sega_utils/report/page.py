"""One self-contained page that shows a run: ``results/<run>/<dataset>/report.html``."""

import base64
from html import escape
from pathlib import Path

from sega_utils.core import artifacts, numbers, paths, records
from sega_utils.evaluation import classified, robustness, shift
from sega_utils.report import claims, comparisons, pictures, tables
from sega_utils.studies import entries, loops

FIGURES = {
    "at_a_glance": "Prompts, the images drawn from them that were kept, and what each filter rejected.",
    "fractions": "Accuracy against the fraction of the real data; right: points above SEGA-Net of that fraction.",
    "severity": "Mean accuracy over the corruptions of a group against their severity.",
    "attacks": "Accuracy against epsilon, the mean over the seeds; dashed: the poster's, which has none.",
    "accuracy": "Test accuracy of each seed, and the difference to Std Aug, paired by seed, with its 95 % interval.",
}
# table of tables.TABLES: (heading, how to read it)
NOTES = {
    "claims": (
        "The poster's claims",
        "The verdict follows from our interval and the claimed gain: reproduced if it lies above zero and "
        "reaches the claim.",
    ),
    "shift": (
        "Other test images",
        "Generated corruptions (CIFAR-10-C-like) and two shifts of ours; accuracy in percent.",
    ),
    "ablation": ("Ablations", "Each changes one thing in SEGA-Net; the difference is to SEGA-Net, paired by seed."),
    "efficiency": (
        "What an image costs, and what it is worth",
        "Seconds on one core, for each image drawn and each that is kept. The Frechet distance is in CLIP's "
        "features, no FID. nas: accuracy after training on real and drawn images; cas: on drawn ones "
        "alone.",
    ),
    "kernels": ("Our kernels beside the libraries", "Medians of the seconds for all images; ratio is theirs to ours."),
    "scale": ("Very many candidates", "Drawn in shards and merged: extrapolated from those on record."),
    "alignment": (
        "Alignment with the own class",
        "CLIP's cosine of an image with its class. The filter cuts by this score: its rise is no proof.",
    ),
    "filters": ("What the filters rejected", "Each candidate is counted with the first filter that rejects it."),
    "steering": (
        "Did the prompts steer?",
        "Cohen's d of the measured attribute from prompts with its low to those with its high word, with 95 % "
        "interval; above zero, the images follow the words.",
    ),
}
STYLE = """
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; overflow-wrap: normal }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #8884 }
td { font-variant-numeric: tabular-nums } td:last-child { min-width: 9rem }
figure { margin: 1rem 0; overflow-x: auto }
img { width: 100%; min-width: 36rem; background: white; border-radius: 4px }
p, figcaption { max-width: 42rem } figcaption, .small { font-size: .85rem; opacity: .8 }
""".strip()


def report_html(run: str, dataset: str) -> Path:
    """Write the run's report, from its records and figures, as one file that needs no other; return where it is.

    A figure that was not saved, and a table without rows, is left out.

    Raises:
        FileNotFoundError, ArtifactError, ValueError: as ``tables.summary``.
    """
    rows, caption = tables.summary(run, dataset)
    parts = [
        f"<h1>SEGA-Net on {escape(dataset)}: did synthetic images help?</h1>",
        f"<p>Run <em>{escape(run)}</em>. Every number below was computed from the records of this run.</p>",
        section("Test accuracy", caption, rows),
        section(
            "SEGA-Net beside each other arm",
            "Points of accuracy, paired by seed, with 95 % interval; corrupted: the mean over all corruptions and "
            "severities.",
            tables.ahead(run, dataset),
        ),
        saved(run, dataset, "accuracy"),
        saved(run, dataset, "at_a_glance"),
        section(
            "Beside the poster",
            "The last column says why the numbers do not compare directly.",
            tables.beside_poster(run, dataset),
            claims.BESIDE,
        ),
    ]
    parts += noted(run, dataset) + by_fraction(run, dataset) + by_severity(run, dataset) + under_attack(run, dataset)
    parts += published()
    parts.append(section("What ran", "", provenance(run, dataset)))
    path = paths.artifact(run, dataset, "report")
    artifacts.save_text(path, whole(f"SEGA-Net, {run}, {dataset}", "\n".join(part for part in parts if part)))
    return path


def whole(title: str, body: str) -> str:
    """Return the page of a title and a body."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def noted(run: str, dataset: str) -> list[str]:
    """Return the sections of ``NOTES``, and the comparison of training loops."""
    found = [(*note, tables.TABLES[name]) for name, note in NOTES.items()]
    parts = [section(heading, note, table(run, dataset), columns) for heading, note, (table, columns) in found]
    note = "Milliseconds a step with quartiles, and the accuracy that each reaches; the plain one is torchvision's "
    note += "transforms and a DataLoader."
    return [*parts, section("The training loop beside a plain one", note, loops.loop_rows(tables.costed(run, dataset)))]


def published() -> list[str]:
    """Return the sections of what the poster says and we do not measure."""
    folder = paths.DATA / "paper"
    costs = "On an unnamed GPU, with a true FID and grades by unnamed graders: none of these compares with ours."
    doubt = "What it says, and what speaks against it."
    return [
        section("The poster's costs", costs, artifacts.load_csv(folder / "efficiency.csv")),
        section("Where the poster contradicts itself", doubt, artifacts.load_csv(folder / "contradictions.csv")),
    ]


def section(heading: str, note: str, rows: list[dict], columns: tuple[str, ...] | None = None) -> str:
    """Return a heading, a sentence and a table, all escaped; nothing if there are no rows."""
    if not rows:
        return ""
    return f"<h2>{escape(heading)}</h2>\n<p>{escape(note)}</p>\n{numbers.html_table(rows, columns or rows[0])}"


def saved(run: str, dataset: str, name: str) -> str:
    """Return a saved figure with its caption; nothing if it was not saved."""
    path = paths.artifact(run, dataset, "figures") / f"{name}.png"
    return figure(pictures.load(path), name) if path.exists() else ""


def figure(png: bytes, name: str) -> str:
    """Return a PNG, inside the page, with its caption of ``FIGURES``."""
    data, text = base64.b64encode(png).decode(), escape(FIGURES[name])
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def by_severity(run: str, dataset: str) -> list[str]:
    """Return the figure of accuracy against severity; nothing if no corruption was measured."""
    curves = shift.severity_curves(classified.evaluated(run, dataset, "shift"))
    drawing = comparisons.severity_curves(curves) if curves else None
    return ["<h2>Corruptions</h2>", figure(drawing._repr_png_(), "severity")] if drawing else []


def by_fraction(run: str, dataset: str) -> list[str]:
    """Return the figure of the low-data curve; nothing if no other fraction was measured."""
    rows = [row for row in tables.ablated(run, dataset) if row["name"] == entries.FRACTION]
    if len({row["value"] for row in rows}) < 2:
        return []
    return ["<h2>Fewer and more real images</h2>", figure(comparisons.low_data_curves(rows)._repr_png_(), "fractions")]


def under_attack(run: str, dataset: str) -> list[str]:
    """Return the accuracies under attack: table, figure, and beside the poster's; nothing if there are none."""
    table, _ = tables.TABLES["attacks"]
    if not (rows := table(run, dataset)):
        return []
    drawing = comparisons.attack_curves(rows, artifacts.load_csv(paths.DATA / "paper" / "adversarial.csv"))
    return [
        section(
            "Under attack",
            "Accuracy in percent, the mean over the seeds, for each epsilon.",
            robustness.accuracy_table(rows),
        ),
        figure(drawing._repr_png_(), "attacks"),
        section(
            "The poster's attacks",
            "It names no epsilon: the last columns say at which one ours would be the same.",
            claims.attacks_beside(rows),
        ),
    ]


def provenance(run: str, dataset: str) -> list[dict[str, str]]:
    """Return what each stage was asked for, on what, and what it cost; of several records, what is common to them."""
    rows = []
    for stage in paths.STAGES:
        if found := records.read(run, dataset, stage):
            common = {k: v for k, v in found[0].items() if all(record.get(k) == v for record in found)}
            rows.append(
                {
                    "stage": stage,
                    "records": len(found),
                    "seconds": f"{sum(record['seconds'] for record in found):.1f}",
                    "device": common.get("device", "several"),
                    "torch": common.get("version_torch", "several"),
                    "commit": common.get("git_commit", "several")[:12],
                    "parameters": ", ".join(f"{k[6:]} = {v}" for k, v in common.items() if k.startswith("param_")),
                }
            )
    return rows
