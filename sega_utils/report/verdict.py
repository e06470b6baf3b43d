"""The judge's verdict for people: two sentences, the text below them, and a page with pictures."""

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path

from sega_utils.core import artifacts, numbers
from sega_utils.report import layout

PICTURES = 12  # on the page, of each kind
ROWS = 10  # of each table in the terminal


def lines(found: dict) -> list[str]:
    """Return the verdict in two sentences, without and with outside images.

    Args:
        found: what ``judge.judge`` returned.
    """
    inside, outside = found["inside"], found["outside"]
    return [f"Add synthetic images? {without(inside, found)}", f"With outside images: {beyond(outside, found)}"]


def without(inside: dict, found: dict) -> str:
    """Return the sentence on the run's own images alone."""
    best, reached = inside["best"], f"{inside['test'][inside['best']]:.1f} %"
    if not inside["augmenter"]:
        tried = ", ".join(row["augmenter"] for row in inside["gates"])
        why = f"none of the generators tried ({tried}) passed the gate" if tried else "no generator was tried"
        return f"No: {best} alone reaches {reached}; {why}."
    augmenter, change = inside["augmenter"], points(inside["difference"])
    costs = f"costs {found['augmenter_minutes']:.1f} minutes"
    if inside["answer"] == "yes":
        return f"Yes: those of {augmenter} change the {reached} of {best} by {change}, which {costs}."
    ends = f"the best generator ({augmenter}) changes that by {change} and {costs}"
    if inside["answer"] == "no":
        return f"No: {best} alone reaches {reached}; {ends}."
    return f"Undecided: {best} alone reaches {reached}; {ends}; {more(inside['needed'])}. Until then, leave them out."


def beyond(outside: dict, found: dict) -> str:
    """Return the sentence on a network that has seen other images."""
    if not outside:
        tries = "the same command without BACKBONE=none"
        if found["asked"] != "none":
            tries = ".venv/bin/uv sync --frozen --extra outside, then the same command again"
        worth = "A network that has seen other photographs is often worth more than any generator"
        return f"not tried. {worth}; this tries it: {tries}."
    name, reached, gain = f"{outside['backbone']}, {outside['how']}", f"{outside['test']:.1f} %", outside["gain"]
    if gain["ci_low"] > 0:
        said = f"use a pretrained network ({name}): {points(gain)}, {reached}"
    elif gain["ci_high"] < 0:
        said = f"a pretrained network ({name}) is no help: {points(gain)}, {reached}"
    else:
        said = f"a pretrained network ({name}) does about as well: {points(gain)}, {reached}"
    ends = "no synthetic images were there to add"
    if "difference" in outside:
        verdict = {"yes": "add them", "no": "leave them out", "undecided": f"undecided, {more(outside['needed'])}"}
        of = found["inside"]["augmenter"]
        ends = f"synthetic images of {of} on top change that by {points(outside['difference'])}: "
        ends += verdict[outside["answer"]]
    return f"{said}; {ends}.{untuned(outside, found)}"


def untuned(outside: dict, found: dict) -> str:
    """Return a sentence on fine-tuning where it was not tried, and on how it is."""
    if len(outside["arms"]) > 1:
        return ""
    tries = "the same command without QUICK=1" if found["quick"] else "a faster or less busy machine"
    return f" Fine-tuning it was not tried: {tries} does."


def points(difference: dict) -> str:
    """Return a difference with its interval."""
    return f"{difference['difference']:+.1f} [{difference['ci_low']:+.1f}, {difference['ci_high']:+.1f}] points"


def more(needed: dict) -> str:
    """Return in words what would decide an undecided difference."""
    words = {"images": "test images", "seeds": "seeds"}
    several = " or ".join(f"{n:,} more {words[what]}" for what, n in needed.items())
    return f"about {several} would decide it, were it as large as it looks"


def text(found: dict) -> str:
    """Return what the terminal shows: the verdict first, then the tables."""
    parts = [*lines(found), *notes(found)]
    for heading, note, rows in tables(found):
        parts += ["", f"{heading}. {note}".strip(), numbers.aligned(rows[:ROWS])]
        parts += [f"and {len(rows) - ROWS} more in verdict.html"] if len(rows) > ROWS else []
    return "\n".join(parts)


def gate_rows(gates: Iterable[dict]) -> list[dict]:
    """Return what the gate found of each augmenter, in brackets the same of held-out real images; none of none."""
    beside = lambda row, name: f"{numbers.cell(row[name])} ({numbers.cell(row[f'{name}_real'])})"
    return [
        {"augmenter": row["augmenter"], "passed": row["passed"]}
        | {name: beside(row, name) for name in ("agreement", "precision", "distance")}
        | {"copies": f"{row['copies']:.0%}"}
        for row in gates
    ]


def refused_rows(gates: list[dict]) -> list[dict]:
    """Return a row for each rule of the gate that an augmenter has broken."""
    return [{"augmenter": row["augmenter"], "refused because": why} for row in gates for why in row["reasons"]]


def notes(found: dict) -> list[str]:
    """Return further sentences: another arm on the test images, how many images, the files, the minutes."""
    inside, said = found["inside"], []
    if inside["overruled"]:
        said.append(
            f"Inside the training images {inside['selected']} was best, on the test images {inside['best']} by "
            f"{points(inside['overruled'])}: the test images differ from the training images."
        )
    elif inside["strange"]:
        reached = inside["cv"][inside["best"]]
        said.append(
            f"Inside the training images {inside['best']} reaches {reached:.1f} %, far more than on the test images: "
            "they differ, and what was chosen by the training images may be wrong for the others. Look at both, and "
            "add photographs like those of the test."
        )
    said.append(
        f"{found['n_training']} training and {found['n_test']} test images; {found['left_out']} files left out "
        f"(left-out.csv); {found['minutes']:.1f} minutes."
    )
    if found["spared"]:
        said.append(f"Left out of the plan to keep its minutes on this machine: {', '.join(found['spared'])}.")
    if more_images := found["more_images"]:
        said.append(
            f"{more_images['then'] - more_images['now']:.0f} more photographs a class would change accuracy by about "
            f"{more_images['gain']:+.1f} points: a line through the learning curve, carried on, not measured."
        )
    kept = f" and {found['synthetic_files']} synthetic images by class" if found["synthetic_files"] else ""
    said.append(f"To use, in the folder use: {', '.join(found['files'])}{kept}.")
    said.append("Prompts for the whole recipe need no key: make prompts DATASET=folder:PATH MODEL=template.")
    return said


def tables(found: dict) -> list[tuple[str, str, list[dict]]]:
    """Return heading, note and rows of every table below the verdict; one without rows is left out."""
    inside, outside = found["inside"], found["outside"]
    accuracy = [
        {"arm": arm, "cross-validation (%)": inside["cv"].get(arm, ""), "test (%)": value}
        for arm, value in inside["test"].items()
    ]
    block = []
    for arm in outside.get("arms", ()):
        name = f"{outside['backbone']}, {arm['how']}"
        block.append({"arm": name, "cross-validation (%)": arm["cv"], "test (%)": arm["test"]})
        if "test_synthetic" in arm:
            name = f"the same + {inside['augmenter']}"
            block.append({"arm": name, "cross-validation (%)": "", "test (%)": arm["test_synthetic"]})
    if "by_name" in outside:
        name = "without a single label, from the class names alone"
        block.append({"arm": name, "cross-validation (%)": "", "test (%)": outside["by_name"]})
    knew = f"Another block: this network has seen {outside.get('images', '')}, maybe some like these."
    beside = [row | {"augmenter": f"{row['augmenter']}, beside"} for row in outside.get("gates", ())]
    again = f"The same in features of {outside.get('backbone')}, beside; it refuses nothing."
    made = [
        ("Accuracy", "Chosen by cross-validation inside the training images; the test is read once.", accuracy),
        ("With outside images", knew, block),
        ("The gate", "In brackets real images'. What fails never reaches a classifier.", gate_rows(inside["gates"])),
        ("What the gate refused", "", refused_rows([*inside["gates"], *beside])),
        ("The gate with outside images", again, gate_rows(outside.get("gates", ()))),
        ("Possible twins", "Nearer than an image usually is to its mirror image; see each.", outside.get("twins", ())),
        ("More photographs", "Accuracy inside the training images, of the chosen arm.", found["curve"]),
        ("By class", "Accuracy on test images in percent.", found["by_class"]),
        ("Confusions", "On test images, the mean over the seeds.", found["confusion"]),
        ("Surest mistakes", "On test images.", found["mistakes"]),
        ("Suspicious labels", "Training images that look like another class; see each.", found["suspicious"]),
        ("Calibration", "On test images; the temperature comes from cross-validation.", found["calibration"]),
        ("Plan", "", found["plan"]),
    ]
    return [table for table in made if table[2]]


def html(found: dict, root: Path, file: Path) -> Path:
    """Write the verdict as one page that needs no other file, and return where.

    Args:
        root: the user's folder, of which the page shows pictures.
    """
    first, *rest = lines(found)
    said = [f"<h1>{escape(first)}</h1>", *(f"<p><strong>{escape(line)}</strong></p>" for line in rest)]
    said += [f"<p>{escape(note)}</p>" for note in notes(found)]
    sections = []
    for heading, note, rows in tables(found):
        shown = pictures(rows[:PICTURES], root) if heading in {"Surest mistakes", "Suspicious labels"} and rows else ""
        sections.append(layout.section(heading, note, layout.table(rows, label=heading), shown))
    main, footer = "\n".join(sections), f"<p>Computed from the records beside {escape(file.name)}.</p>"
    title = f"Synthetic images for {found['folder']}?"
    artifacts.save_text(file, layout.whole(title, "\n".join(said), layout.contents(main) + main, footer))
    return file


def pictures(rows: list[dict], root: Path) -> str:
    """Return the pictures that rows name, each with what it is and what it was taken for."""
    shown = []
    for row in rows:
        said = f"{row.get('class', row.get('label'))}, taken for {row.get('taken for', row.get('probably'))}"
        file = root / row["image"]
        kind = "png" if file.suffix.lower() == ".png" else "jpeg"
        if file.stat().st_size > 200_000:
            shown.append(f"<li>{escape(row['image'])}: {escape(said)} (too large to show)</li>")
            continue
        data = base64.b64encode(file.read_bytes()).decode()
        image = f'<img alt="{escape(said)}" src="data:image/{kind};base64,{data}">'
        shown.append(f"<li>{image}<br>{escape(said)}</li>")
    style = "<style>.small-pictures{display:flex;flex-wrap:wrap;gap:1rem;list-style:none;padding:0;font-size:.8rem}"
    style += ".small-pictures li{width:8rem}.small-pictures img{width:6rem;min-width:0}</style>"
    return f'{style}<ul class="small-pictures">{"".join(shown)}</ul>'
