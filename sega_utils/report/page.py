"""One self-contained page that shows a run: ``results/<run>/<dataset>/report.html``."""

from html import escape
from pathlib import Path

from sega_utils.core import artifacts, paths, records
from sega_utils.evaluation import classified, robustness, shift
from sega_utils.report import claims, comparisons, pictures, poster, sentences, sources, tables, words
from sega_utils.report.layout import contents, figure, folded, section, table, turned, whole
from sega_utils.studies import efficiency, entries, loops
from sega_utils.studies.zoo import claims as zoo_claims

FIGURES = {
    "at_a_glance": "Prompts, the images drawn from them that were kept, and what each filter rejected.",
    "fractions": "Accuracy against the fraction of the real data; right: points above SEGA-Net of that fraction.",
    "severity": "Mean accuracy over the corruptions of a group against their severity.",
    "attacks": "Accuracy against epsilon, the mean over the seeds; dashed: the poster's, which has none.",
    "accuracy": "Test accuracy of each seed, and the difference to Std Aug, paired by seed, with its 95 % interval.",
    "ablation_bars": "What each choice costs or gains, in points above SEGA-Net.",
    "ablation_curves": "Numbers turned up and down; the dashed line is SEGA-Net as it is.",
}


def report_html(run: str, dataset: str) -> Path:
    """Write the run's report, from its records and figures, as one file that needs no other; return where it is.

    Figures that it draws itself are also saved beside the others. A figure that was not saved, and a table without
    rows, is left out; of a user's own images, so is all that is about the poster.

    Raises:
        FileNotFoundError, ArtifactError, ValueError: as ``tables.summary``.
    """
    own, name = dataset.startswith(paths.OWN), paths.results_name(dataset)
    rows, caption = tables.summary(run, dataset)
    caption = caption.replace(dataset, name, 1)
    short = in_short(run, dataset) + ("" if own else verdicts(run, dataset))
    parts = [
        section(
            "Test accuracy",
            caption,
            table(rows, label="test accuracy of each arm"),
            saved(run, dataset, "accuracy"),
            sources.links(run, dataset, "training", "accuracy", "05_training"),
        ),
        section(
            "SEGA-Net beside each other arm",
            "Points of accuracy, paired by seed, with 95 % interval; corrupted: the mean over all corruptions and "
            "severities; over subsets, each with a CLIP, a GAN and a projector of its own, where make subsets was run.",
            table(tables.ahead(run, dataset), label="SEGA-Net minus each other arm"),
        ),
        section("What the filters did", "", *filtered(run, dataset)),
        section("Did the prompts steer?", STEERING, *steered(run, dataset)),
        *measured(run, dataset, own),
        *([] if own else [*about_poster(run, dataset), about_others(run, dataset)]),
        section("What ran", "", table(provenance(run, dataset), label="what ran")),
    ]
    body = "\n".join(part for part in parts if part)
    header = f"<h1>SEGA-Net on {escape(name)}: did synthetic images help?</h1>\n"
    header += f"<p>Run <em>{escape(run)}</em>. Every number below was computed from the records of this run.</p>"
    footer = f"<p>Made by <code>{escape(sentences.where(run, dataset))}</code>.</p>"
    path = paths.artifact(run, dataset, "report")
    artifacts.save_text(
        path, whole(f"SEGA-Net: {run}, {name}", header, "\n".join([short, contents(short + body), body]), footer)
    )
    return path


def by_stage(run: str, dataset: str) -> dict[str, list[dict]]:
    """Return the run's records by stage, all that sentences speak of."""
    found = classified.belonging(run, dataset) | {
        stage: classified.evaluated(run, dataset, stage) for stage in ("shift", "attacks")
    }
    found |= {stage: records.read(run, dataset, stage) for stage in ("efficiency", "shards")}
    return found | {"ablation": classified.current(run, dataset)}


def told(run: str, dataset: str) -> list[str]:
    """Return the three sentences that are computed from the records; of a user's own images, those about them."""
    say = sentences.of_folder if dataset.startswith(paths.OWN) else sentences.of_method
    return say(by_stage(run, dataset), tables.ablated(run, dataset))


def in_short(run: str, dataset: str) -> str:
    """Return the section with how many claims have which verdict, and the three sentences."""
    claimed = tables.claimed(run, dataset)
    items = "".join(f"<li>{escape(text)}</li>" for text in told(run, dataset))
    return section("In short", sentences.counted(claimed) if claimed else "", f"<ul>{items}</ul>")


def verdicts(run: str, dataset: str) -> str:
    """Return the poster's claims with our verdicts, each with what it is computed from."""
    ids = [row["id"] for row in claims.claimed_by()]
    return "\n" + section(
        "The poster's claims",
        "Reproduced: the whole 95 % interval reaches the claim. Not reproduced: all of it lies below. Undecided: the "
        "claim lies within it.",
        table(
            tables.claimed(run, dataset),
            label="the poster's claims and our verdicts",
            links=[sources.of_claim(run, dataset, name) for name in ids],
        ),
    )


STEERING = (
    "Cohen's d of the measured attribute from prompts with its low to those with its high word, with 95 % interval; "
    "above zero, the images follow the words."
)


def steered(run: str, dataset: str) -> list[str]:
    """Return how far images follow the words, of all that are drawn, and where it was measured of those kept."""
    rows = tables.steering(run, dataset)
    effects = [r["effects"] for r in classified.belonging(run, dataset)["synthesis"] if "effects" in r]
    return [
        table(rows, label="effect of the prompts"),
        table(tables.drawn_and_kept(effects[0]), label="effect before and after the filters") if effects else "",
        sources.links(run, dataset, "projector", "steering", "03_projector") if rows else "",
    ]


def filtered(run: str, dataset: str) -> list[str]:
    """Return examples, what each filter rejected first, and the alignment before and after."""
    rows = [
        {"filter": words.REASONS[row["filter"]]} | {k: row[k] for k in ("candidates", "rejected")}
        for row in tables.rejections(run, dataset)
    ]
    aligned = "<p>CLIP's cosine of an image with its class. The filter cuts by this score: its rise is no proof.</p>"
    columns = tables.TABLES["alignment"][1]
    alignment = table(tables.alignment(run, dataset), columns, label="alignment with the own class")
    return [
        saved(run, dataset, "at_a_glance"),
        table(rows, label="what the filters rejected; a candidate counts with the first one"),
        f"{aligned}\n{alignment}" if alignment else "",
        sources.links(run, dataset, "synthesis", "filters", "04_synthesis") if rows else "",
    ]


def measured(run: str, dataset: str, own: bool) -> list[str]:
    """Return the sections of what was measured on trained classifiers, and of costs."""
    rows = {name: tables.TABLES[name][0](run, dataset) for name in ("shift", "efficiency", "kernels", "scale")}
    of = lambda stage, name, notebook: sources.links(run, dataset, stage, name, notebook) if rows[name] else ""
    loop = loops.loop_rows(tables.costed(run, dataset))
    return [
        section(
            "Other test images",
            "Generated corruptions (CIFAR-10-C-like) and two shifts of ours; accuracy in percent, n seeds.",
            table([{**row, "seeds": row["n"]} for row in rows["shift"]], SHIFT, label="accuracy on other test images"),
            by_severity(run, dataset),
            of("shift", "shift", "06_shift"),
        ),
        section("Under attack", "Accuracy in percent, the mean over the seeds.", *under_attack(run, dataset, own)),
        section("Fewer and more real images", "", by_fraction(run, dataset)),
        section("Ablations", ABLATIONS, *ablations(run, dataset)),
        section(
            "What an image costs, and what it is worth",
            "Seconds on one core. The Frechet distance is in CLIP's features, no FID.",
            table(turned(rows["efficiency"], EFFICIENCY, "variant"), label="what an image costs and is worth"),
            of("efficiency", "efficiency", "09_efficiency"),
        ),
        section(
            "Our kernels beside the libraries",
            "Medians of the seconds for all images; ratio is theirs to ours.",
            table(rows["kernels"], label="kernels beside libraries"),
        ),
        section("The training loop beside a plain one", LOOPS, table(loop, label="training loops")),
        section(
            "Very many candidates",
            "Drawn in shards and merged: extrapolated from those on record.",
            table(rows["scale"], label="very many candidates"),
        ),
    ]


SHIFT = ("arm", "shift", "mean", "std", "seeds")
EFFICIENCY = [name for name in efficiency.EFFICIENCY if name != "features"]
ABLATIONS = "Each changes one thing in SEGA-Net; the difference is to SEGA-Net, paired by seed, with 95 % interval."
LOOPS = (
    "Milliseconds a step with quartiles, and the accuracy that each reaches; the plain one is torchvision's transforms "
    "and a DataLoader."
)


def about_poster(run: str, dataset: str) -> list[str]:
    """Return the sections of the poster's numbers: beside ours, and those that we do not measure."""
    folder = paths.DATA / "paper"
    rows = tables.TABLES["attacks"][0](run, dataset)
    return [
        section(
            "Beside the poster",
            "The last column says why the numbers do not compare directly.",
            table(tables.beside_poster(run, dataset), poster.BESIDE, label="the poster's numbers beside ours"),
        ),
        section(
            "The poster's attacks",
            "It names no epsilon: the last columns say at which one ours would be the same.",
            table(claims.attacks_beside(rows) if rows else [], label="the poster's attacks beside ours"),
        ),
        section(
            "The poster's costs",
            "On an unnamed GPU, with a true FID and grades by unnamed graders: none of these compares with ours.",
            table(artifacts.load_csv(folder / "efficiency.csv"), label="the poster's costs"),
        ),
        section(
            "Where the poster contradicts itself",
            "What it says, and what speaks against it.",
            table(artifacts.load_csv(folder / "contradictions.csv"), label="where the poster contradicts itself"),
        ),
    ]


OTHERS = (
    "Of GenVision, papers of ICPR 2024, FLARE and SAGE, each judged by one rule. Reproduced: the whole 95 % interval "
    "reaches the claim. Contradicted: all of it lies on the other side of zero. Not reproduced: neither, and the last "
    "column says whether the interval leaves the claim possible."
)


def about_others(run: str, dataset: str) -> str:
    """Return the section of the claims on other generators, its table folded: most wait for a measurement or cannot."""
    rows = tables.claimed_by_others(run, dataset)
    kinds = (zoo_claims.REPRODUCED, zoo_claims.NOT_REPRODUCED, zoo_claims.CONTRADICTED, zoo_claims.INCOMPARABLE)
    counted = sentences.counted(rows, "other systems", kinds)
    return section(
        "Claims on other generators",
        OTHERS,
        f"<p>{escape(counted)}</p>",
        folded("All of them", table(rows, zoo_claims.COLUMNS, label="claims on other generators and our verdicts")),
        sources.links(run, dataset, "zoo", "augmenters-claims", "10_augmenters"),
    )


def saved(run: str, dataset: str, name: str, drawing: pictures.Drawing | None = None) -> str:
    """Return a figure of the run's folder with its caption, drawn anew if it is given; nothing if it was not saved."""
    path = paths.artifact(run, dataset, "figures") / f"{name}.png"
    if drawing is not None:
        pictures.save(drawing, path)
    return figure(pictures.load(path), FIGURES[name], f"figures/{name}.png") if path.exists() else ""


def by_severity(run: str, dataset: str) -> str:
    """Return the figure of accuracy against severity; nothing if no corruption was measured."""
    curves = shift.severity_curves(classified.evaluated(run, dataset, "shift"))
    return saved(run, dataset, "severity", comparisons.severity_curves(curves)) if curves else ""


def by_fraction(run: str, dataset: str) -> str:
    """Return the figure of the low-data curve; nothing if no other fraction was measured."""
    rows = [row for row in tables.ablated(run, dataset) if row["name"] == entries.FRACTION]
    if len({row["value"] for row in rows}) < 2:
        return ""
    return saved(run, dataset, "fractions", comparisons.low_data_curves(rows))


def ablations(run: str, dataset: str) -> list[str]:
    """Return the two figures of the ablations, and all rows folded; nothing if there are none."""
    rows = tables.ablated(run, dataset)
    choices = [row for row in rows if isinstance(row["value"], str) and row["diff"] != ""]
    numeric = [row for row in rows if not isinstance(row["value"], str) and row["name"] != entries.FRACTION]
    shown = [
        {"what is changed": words.entry(row), "accuracy (%)": row["mean"], "standard deviation": row["std"]}
        | {"seeds": row["n"], "points above SEGA-Net": row["diff"], "from": row["ci_low"], "to": row["ci_high"]}
        for row in rows
    ]
    return [
        saved(run, dataset, "ablation_bars", comparisons.ablation_bars(choices)) if choices else "",
        saved(run, dataset, "ablation_curves", comparisons.ablation_curves(numeric)) if numeric else "",
        folded(f"All {len(rows)} rows", table(shown, label="ablations")) if rows else "",
        sources.links(run, dataset, "ablation", "ablation", "08_ablations") if rows else "",
    ]


def under_attack(run: str, dataset: str, own: bool) -> list[str]:
    """Return the accuracies under attack, table and figure; nothing if there are none."""
    rows = tables.TABLES["attacks"][0](run, dataset)
    if not rows:
        return []
    published = [] if own else artifacts.load_csv(paths.DATA / "paper" / "adversarial.csv")
    return [
        table(robustness.accuracy_table(rows), label="accuracy under attack"),
        saved(run, dataset, "attacks", comparisons.attack_curves(rows, published)),
        sources.links(run, dataset, "attacks", "attacks", "07_adversarial"),
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
