"""The judge's verdict for people: two sentences, the text below them, and a page with pictures."""

import base64
from html import escape
from pathlib import Path

from sega_utils.core import artifacts, numbers
from sega_utils.report import layout

PICTURES = 12  # on the page, of each kind


def lines(found: dict) -> list[str]:
    """Return the verdict in two sentences, without and with outside images.

    Args:
        found: what ``judge.judge`` returned.
    """
    inside, outside = found["inside"], found["outside"]
    return [f"Add synthetic images? {without(inside, found)}", f"With outside images: {beyond(outside, inside)}"]


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


def beyond(outside: dict, inside: dict) -> str:
    """Return the sentence on a network that has seen other images."""
    if not outside:
        return (
            "not tried. A network that has seen other photographs is often worth more than any generator; this tries "
            "it: pip install 'sega-utils[outside]', then the same command again."
        )
    name, reached, gain = outside["backbone"], f"{outside['test']:.1f} %", outside["gain"]
    if gain["ci_low"] > 0:
        said = f"use a pretrained network ({name}, frozen): {points(gain)}, {reached}"
    elif gain["ci_high"] < 0:
        said = f"a pretrained network ({name}, frozen) is no help: {points(gain)}, {reached}"
    else:
        said = f"a pretrained network ({name}, frozen) does about as well: {points(gain)}, {reached}"
    if "difference" not in outside:
        return f"{said}; no synthetic images were there to add."
    ends = f"synthetic images of {inside['augmenter']} on top change that by {points(outside['difference'])}"
    verdict = {"yes": "add them", "no": "leave them out", "undecided": f"undecided, {more(outside['needed'])}"}
    return f"{said}; {ends}: {verdict[outside['answer']]}."


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
        parts += ["", f"{heading}. {note}".strip(), numbers.aligned(rows[:10])]
    return "\n".join(parts)


def notes(found: dict) -> list[str]:
    """Return further sentences: another arm on the test images, how many images, the files, the minutes."""
    inside, said = found["inside"], []
    if inside["overruled"]:
        said.append(
            f"Inside the training images {inside['selected']} was best, on the test images {inside['best']} by "
            f"{points(inside['overruled'])}: the test images differ from the training images."
        )
    said.append(
        f"{found['n_training']} training and {found['n_test']} test images; {found['left_out']} files left out "
        f"(left-out.csv); {found['minutes']:.1f} minutes."
    )
    if more_images := found["more_images"]:
        said.append(
            f"{more_images['then'] - more_images['now']:.0f} more photographs a class would change accuracy by about "
            f"{more_images['gain']:+.1f} points: a line through the learning curve, carried on, not measured."
        )
    kept = f" and {found['synthetic_files']} synthetic images by class" if found["synthetic_files"] else ""
    said.append(f"To use, in the folder use: {', '.join(found['files'])}{kept}.")
    return said


def tables(found: dict) -> list[tuple[str, str, list[dict]]]:
    """Return heading, note and rows of every table below the verdict; one without rows is left out."""
    inside, outside = found["inside"], found["outside"]
    accuracy = [
        {"arm": arm, "cross-validation (%)": inside["cv"].get(arm, ""), "test (%)": value}
        for arm, value in inside["test"].items()
    ]
    block = []
    if outside:
        block = [
            {
                "arm": f"{outside['backbone']}, frozen",
                "cross-validation (%)": outside["cv"],
                "test (%)": outside["test"],
            }
        ]
        if "test_synthetic" in outside:
            block.append(
                {
                    "arm": f"the same + {inside['augmenter']}",
                    "cross-validation (%)": "",
                    "test (%)": outside["test_synthetic"],
                }
            )
    knew = f"Another block: this network has seen {outside.get('images', '')}, maybe some like these."
    made = [
        ("Accuracy", "Chosen by cross-validation inside the training images; the test is read once.", accuracy),
        ("With outside images", knew, block),
        ("The gate", "Beside held-out real images; what fails never reaches a classifier.", inside["gates"]),
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
