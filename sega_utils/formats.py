"""Numbers and rows as people read them."""

import html
import re
from collections.abc import Iterable

NONE = "none on record"


def cell(value: object) -> str:
    """Return a value as tables show it: fractional numbers with two decimals, below 0.1 with two significant digits."""
    if isinstance(value, float) or (isinstance(value, str) and re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", value)):
        return f"{float(value):.2f}" if abs(float(value)) >= 0.1 or float(value) == 0 else f"{float(value):.2g}"
    return str(value)


def spread(value: float, deviation: float | str) -> str:
    """Return ``mean ± deviation``; without the latter where it is empty."""
    return f"{value:.2f}" if deviation == "" else f"{value:.2f} ± {deviation:.2f}"


def interval(value: float | str, low: float | str, high: float | str) -> str:
    """Return ``+value [low, high]``, signed, or an empty text for an empty value."""
    return "" if value == "" else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def aligned(rows: list[dict]) -> str:
    """Return rows, which share their keys, as lines of text in aligned columns."""
    if not rows:
        return NONE
    lines = [list(rows[0])] + [[cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def markdown(rows: list[dict]) -> str:
    """Return rows, which share their keys, as a Markdown table."""
    if not rows:
        return NONE
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    return "\n".join("| " + " | ".join(value.replace("|", r"\|") for value in line) + " |" for line in lines)


def html_table(rows: Iterable[dict], columns: Iterable[str]) -> str:
    """Return rows as an HTML table with these columns, every text escaped; it scrolls sideways where it must."""

    def line(tag: str, values: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(value)}</{tag}>" for value in values) + "</tr>"

    columns = list(columns)
    body = "\n".join(line("td", [cell(row.get(name, "")) for name in columns]) for row in rows)
    return f'<div class="wide"><table>\n<thead>{line("th", columns)}</thead>\n<tbody>\n{body}\n</tbody></table></div>'
