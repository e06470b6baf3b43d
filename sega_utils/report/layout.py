"""The parts of a page: tables that sort, figures, sections and their sources; every text is escaped."""

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape

from sega_utils.core.numbers import cell
from sega_utils.report import pictures
from sega_utils.report.words import readable

STYLE = """
:root { color-scheme: light dark; background: Canvas; color: CanvasText }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere }
a { color: light-dark(#0a4fb4, #8ab4f8) }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem } h3 { font-size: 1rem }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: .9rem; overflow-wrap: normal }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid #8884 }
th[scope=row] { font-weight: normal } td { font-variant-numeric: tabular-nums } td:last-child { min-width: 9rem }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; text-align: left; cursor: pointer }
th button::after { content: " ↕" } [aria-sort=ascending] button::after { content: " ↑" }
[aria-sort=descending] button::after { content: " ↓" }
figure { margin: 1rem 0 } img { width: 100%; height: auto; background: white; border-radius: 4px }
p, figcaption, ol, ul { max-width: 42rem } figcaption, .sources { font-size: .85rem } nav ol { columns: 2 20rem }
""".strip()
# A head becomes a button only where the script runs; numbers are compared as such if every filled cell begins with one.
SCRIPT = """
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    if ("fixed" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      const text = row => row.cells[column].textContent.trim();
      const number = row => parseFloat(text(row).replaceAll(",", ""));
      const rows = [...body.rows], filled = rows.filter(row => text(row)), empty = rows.filter(row => !text(row));
      const numeric = filled.every(row => !isNaN(number(row)));
      filled.sort((a, b) => numeric ? number(a) - number(b) : text(a).localeCompare(text(b)));
      if (order === "descending") filled.reverse();
      body.append(...filled, ...empty);
      for (const other of heads.filter(other => other.ariaSort)) other.ariaSort = other === head ? order : "none";
    });
  });
}
""".strip()


def whole(title: str, header: str, main: str, footer: str) -> str:
    """Return the page of a title and its three parts, as HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"<header>\n{header}\n</header>\n<main>\n{main}\n</main>\n<footer>\n{footer}\n</footer>\n"
        f"<script>\n{SCRIPT}\n</script>\n</body>\n</html>\n"
    )


def anchor(heading: str) -> str:
    """Return the id of a section from its heading."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def section(heading: str, note: str = "", *parts: str) -> str:
    """Return a section with its heading, a sentence, and parts that are HTML; nothing if there is no part."""
    inside = "\n".join(part for part in (f"<p>{escape(note)}</p>" if note else "", *parts) if part)
    if not any(parts):
        return ""
    return f'<section id="{anchor(heading)}">\n<h2>{escape(heading)}</h2>\n{inside}\n</section>'


def contents(main: str) -> str:
    """Return links to the sections of a page."""
    found = re.findall(r'<section id="([^"]+)">\n<h2>(.*?)</h2>', main)
    items = "\n".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading in found)
    return f'<nav aria-label="Contents">\n<h2 id="contents">Contents</h2>\n<ol>\n{items}\n</ol>\n</nav>'


def table(rows: Sequence[dict], columns: Iterable[str] = (), *, label: str, links: Sequence[str] = ()) -> str:
    """Return rows as a table that scrolls sideways where it must and sorts by its heads; nothing without rows.

    Args:
        columns: all of the first row's if empty.
        label: what the table is, for those who do not see it.
        links: HTML of a last column, one entry a row.
    """
    if not rows:
        return ""
    names = list(columns or rows[0])
    heads = "".join(f'<th scope="col">{escape(readable(name))}</th>' for name in names)
    heads += '<th scope="col" data-fixed>sources</th>' if links else ""
    lines = []
    for i, row in enumerate(rows):
        first, *others = (escape(cell(row.get(name, ""))) for name in names)
        cells = [f'<th scope="row">{first}</th>', *(f"<td>{text}</td>" for text in others)]
        lines.append(f"<tr>{''.join(cells)}{f'<td>{links[i]}</td>' if links else ''}</tr>")
    body = "\n".join(lines)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="Table: {escape(label)}">'
        f"<table data-sortable>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def turned(rows: Sequence[dict], columns: Iterable[str], head: str) -> list[dict]:
    """Return rows and columns exchanged, without the columns that are empty throughout.

    Args:
        head: the column whose values become the heads.
    """
    names = [name for name in columns if name != head and any(row.get(name, "") != "" for row in rows)]
    return [{"measure": readable(name)} | {row[head]: row.get(name, "") for row in rows} for name in names]


def folded(summary: str, inside: str) -> str:
    """Return HTML that is shown on demand; nothing if there is none."""
    return f"<details>\n<summary>{escape(summary)}</summary>\n{inside}\n</details>" if inside else ""


def link(place: str, text: str) -> str:
    """Return a link."""
    return f'<a href="{escape(place)}">{escape(text)}</a>'


def figure(png: bytes, caption: str, place: str) -> str:
    """Return a PNG inside the page with a caption, and a link to its file; its own description is its alternative."""
    data, text = base64.b64encode(png).decode(), pictures.description(png) or caption
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{escape(caption)} {link(place, 'The figure in full size')}</figcaption></figure>"
    )
