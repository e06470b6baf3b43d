"""Figures without a display or shared state, the same input giving the same bytes; and those made of images."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import style
from matplotlib.figure import Figure
from PIL import Image

from sega_utils.core import artifacts, schema

KEPT, REJECTED, MUTED = "#1b7f79", "#d9863d", "#767676"
# why the filters of ``rules.FILTERS`` reject an image, in a few words
REASONS = {
    "alignment": "unlike its class",
    "class": "more like another",
    "blur": "blurred",
    "real_duplicate": "copies a real image",
    "duplicate": "copies a kept image",
}
# also makes a user's own matplotlibrc irrelevant
styled = style.context(
    [
        "default",
        {
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.grid": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
        },
    ]
)


class Drawing(Figure):
    """A figure that a notebook shows as ``save`` would write it."""

    def _repr_png_(self) -> bytes:
        buffer, small = io.BytesIO(), io.BytesIO()
        with style.context("default"):
            self.draw_without_rendering()
            self.set_layout_engine("none")  # laying out again would move things by a hair each time
            self.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08)
        # a palette makes the file a third of the size; PIL writes neither a date nor a version
        Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        return small.getvalue()


def save(figure: Drawing, path: Path) -> None:
    """Write a figure as PNG, atomically and without a date or version in it."""
    with artifacts.atomic(path) as temporary:
        temporary.write_bytes(figure._repr_png_())


def load(path: Path) -> bytes:
    """Return the bytes of a whole PNG.

    Raises:
        FileNotFoundError, ArtifactError: there is no such file, or it is truncated, altered or of another kind.
    """
    raw = artifacts.present(path).read_bytes()
    try:
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        schema.refuse(path, f"it is no whole PNG ({type(error).__name__})")
    return raw


def tile(images: torch.Tensor, columns: int, gap: int = 2) -> np.ndarray:
    """Return images (N, C, H, W), uint8 or float in [0, 1], as one RGB array of ``columns`` columns on white."""
    images = (images.float() / 255 if images.dtype == torch.uint8 else images.float()).cpu().clamp(0, 1)
    (n, _, height, width), rows = images.shape, -(-len(images) // columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.float32)
    for i, image in enumerate(images.expand(n, 3, height, width).permute(0, 2, 3, 1).numpy()):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def picture(axes, sheet: np.ndarray, **where) -> None:
    """Show an array pixel by pixel, without frame and ticks."""
    axes.imshow(sheet, interpolation="nearest", **where)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


@styled
def grid(images: torch.Tensor, *, columns: int, row_titles: Iterable[str] = (), title: str = "") -> Drawing:
    """Return images (N, C, H, W) in rows of ``columns``, each row with its title to the left."""
    if len(images) == 0 or columns < 1:
        raise ValueError(f"received {len(images)} images for {columns} columns; a grid needs at least one of each")
    sheet, side = tile(images, columns), images.shape[2]
    inches = 32 / 58 / side  # a pixel's, so that images of any side are equally large
    figure = Drawing(figsize=(sheet.shape[1] * inches + 2, sheet.shape[0] * inches + 0.3))
    axes = figure.add_subplot(title=title)
    picture(axes, sheet)
    titles = [textwrap.fill(text, 34) for text in row_titles]
    axes.set_yticks([(side + 2) * i + side / 2 for i in range(len(titles))], titles, parse_math=False)
    axes.tick_params(length=0)
    return figure


@styled
def reasons_gallery(images: torch.Tensor, reasons: Sequence[str], *, n: int = 14) -> Drawing:
    """Return the first ``n`` kept images, and the first ``n`` of those that each filter rejected.

    Args:
        images: (N, C, H, W); reasons: for each image the filter that rejected it, "" if it was kept.

    Raises:
        ValueError: not one reason an image.
    """
    if len(images) != len(reasons):
        raise ValueError(f"received {len(reasons)} reasons for {len(images)} images; each image needs one, maybe empty")
    groups = {why: [i for i, reason in enumerate(reasons) if reason == why] for why in ("", *REASONS) if why in reasons}
    blank = torch.full((n, *images.shape[1:]), 255 if images.dtype == torch.uint8 else 1, dtype=images.dtype)
    rows = [torch.cat((images[mine[:n]].cpu(), blank))[:n] for mine in groups.values()]
    titles = [f"{REASONS.get(why, 'kept')} ({len(mine):,})" for why, mine in groups.items()]
    return grid(torch.cat(rows), columns=n, row_titles=titles)


@styled
def at_a_glance(
    pool: dict[str, torch.Tensor], rows: Sequence[dict[str, str]], *, prompts: Sequence[int] = (), n_prompts: int = 3
) -> Drawing:
    """Return the method in one figure: prompts, images drawn from them that were kept, and what each filter rejected.

    Args:
        pool: ``images`` (N, C, S, S) and ``prompt_ids`` (N,), the candidates.
        rows: the provenance table, one row a candidate, with ``class``, ``prompt`` and ``reason``.
        prompts: which prompts to show; if empty, ``n_prompts`` of different classes that show the most filters at work.

    Raises:
        ArtifactError: the table is of other candidates, or altered.
        ValueError: no candidate is of one of the prompts.
    """
    check_provenance(pool, rows)
    groups: dict[int, dict[str, list[int]]] = {}
    for i, (prompt, row) in enumerate(zip(pool["prompt_ids"].tolist(), rows, strict=True)):
        groups.setdefault(prompt, {}).setdefault(row["reason"], []).append(i)
    prompts = list(prompts) or telling(groups, rows, n_prompts)
    if unknown := set(prompts) - set(groups):
        raise ValueError(f"no candidate was drawn from the prompts {sorted(unknown)}; known are 0 .. {max(groups)}")
    columns = ["", *(why for why in REASONS if any(why in mine for mine in groups.values()))]
    wide = [2 if why else 4 for why in columns]  # images side by side, two rows of them
    left = [34 * sum(wide[:i]) + 14 * i for i in range(len(wide) + 1)]
    width, height = max(left[-1] - 16, 520), 15 + 105 * len(prompts)  # in pixels of images of 32
    pixel = 32 / pool["images"].shape[-1]
    figure = Drawing(figsize=(9, 9 * height / width), dpi=200, layout="none")
    axes = figure.add_axes((0, 0, 1, 1))
    for x, why in zip(left, columns, strict=False):
        axes.text(
            x,
            20,
            textwrap.fill(REASONS.get(why, "kept"), 13),
            va="bottom",
            fontsize=10,
            weight="bold",
            linespacing=1,
            color=REJECTED if why else KEPT,
        )
    for row, prompt in enumerate(prompts):
        top, total = 40 + 105 * row, sum(map(len, groups[prompt].values()))
        text = rows[next(iter(groups[prompt].values()))[0]]["prompt"]
        quoted = f"“{textwrap.shorten(text, 100, placeholder=' …')}”"
        axes.text(0, top - 6, quoted, va="bottom", fontsize=11, parse_math=False)
        for x, n, why in zip(left, wide, columns, strict=False):
            mine = groups[prompt].get(why, [])
            if mine:
                sheet = tile(pool["images"][mine[: 2 * n]], n)
                picture(axes, sheet, extent=(x, x + pixel * sheet.shape[1], top + pixel * sheet.shape[0], top))
            axes.text(x, top + 69, f"{len(mine)} of {total}", va="top", fontsize=9, color=MUTED)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return figure


def check_provenance(pool: dict[str, torch.Tensor], rows: Sequence[dict[str, str]]) -> None:
    """Refuse a provenance table, as 04_synthesis made it, of other candidates than a pool's, or an altered one.

    Args:
        pool: the candidates as 04_synthesis wrote them; what it lacks is not compared.

    Raises:
        ArtifactError: a column lacks, a reason is unknown, or a row is not of the candidate in its place.
    """
    wrong = lambda problem: artifacts.ArtifactError(
        f"synthetic.csv is not the provenance table of these candidates: {problem}; run 04_synthesis again"
    )
    if len(rows) != len(pool["images"]):
        raise wrong(f"it has {len(rows)} rows for {len(pool['images'])} candidates")
    texts: dict[int, str] = {}
    known = {name: pool[name].tolist() for name in ("prompt_ids", "kept", "clip_score", "seeds") if name in pool}
    for i, row in enumerate(rows):
        mine = {name: values[i] for name, values in known.items()}
        if lacking := [name for name in ("class", "prompt", "reason") if row.get(name) is None]:
            raise wrong(f"row {i + 1} lacks {', '.join(lacking)}")
        if row["reason"] and row["reason"] not in REASONS:
            raise wrong(f"row {i + 1} has the reason {row['reason']!r}; known are {', '.join(REASONS)}")
        if texts.setdefault(mine.get("prompt_ids"), row["prompt"]) != row["prompt"] and "prompt_ids" in mine:
            raise wrong(f"row {i + 1} has another prompt than its candidate")
        if mine.get("kept", not row["reason"]) != (not row["reason"]):
            raise wrong(f"row {i + 1} is {'rejected' if row['reason'] else 'kept'}, its candidate is not")
        for name, key in (("latent_seed", "seeds"), ("clip_score", "clip_score")):
            if name in row and key in mine and f"{float(row[name] or 'nan'):.5g}" != f"{float(f'{mine[key]:.6g}'):.5g}":
                raise wrong(f"row {i + 1} has the {name} {row[name]!r}, its candidate {mine[key]:.6g}")


def telling(groups: dict[int, dict[str, list[int]]], rows: Sequence[dict[str, str]], n: int) -> list[int]:
    """Return up to ``n`` prompts of different classes, those first whose images met most filters not yet shown."""
    chosen, classes, met = [], set(), set()
    class_of = {prompt: rows[next(iter(reasons.values()))[0]]["class"] for prompt, reasons in groups.items()}
    while len(chosen) < n and (left := [p for p in sorted(groups) if class_of[p] not in classes]):
        best = max(left, key=lambda p: ("" in groups[p], len(groups[p].keys() - met), len(groups[p])))
        chosen.append(best)
        classes.add(class_of[best])
        met |= groups[best].keys()
    return chosen
