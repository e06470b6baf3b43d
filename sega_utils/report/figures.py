"""Charts of what the stages make and of what things cost."""

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.patheffects import withStroke

from sega_utils.core import numbers
from sega_utils.core.numbers import cell
from sega_utils.report.pictures import KEPT, MUTED, REJECTED, Drawing, styled

LINE = "#24476b"


@styled
def histograms(
    scores: Sequence[float],
    keep_mask: torch.Tensor,
    class_ids: torch.Tensor,
    thresholds: torch.Tensor,
    *,
    class_names: Sequence[str],
    label: str = "CLIP similarity with the own class",
) -> Drawing:
    """Return each class's histogram of a score (N,), kept apart from rejected, with the class's threshold."""
    scores, keep_mask, class_ids = (np.asarray(torch.as_tensor(x).cpu()) for x in (scores, keep_mask, class_ids))
    columns = min(5, len(class_names))
    rows = -(-len(class_names) // columns)
    figure = Drawing(figsize=(1.75 * columns + 0.4, 1.35 * rows + 0.7))
    bins = np.linspace(scores.min(), scores.max() + 1e-6, 31)
    panels = list(figure.subplots(rows, columns, sharex=True, squeeze=False).flat)
    for c, (axes, name) in enumerate(zip(panels, class_names, strict=False)):
        parts = [scores[(class_ids == c) & wanted] for wanted in (keep_mask, ~keep_mask)]
        axes.hist(parts, bins, stacked=True, color=[KEPT, REJECTED], label=["kept", "rejected"])
        axes.axvline(float(thresholds[c]), color="black", linewidth=1, linestyle="--", label="threshold")
        axes.set(title=name, yticks=[])
        axes.spines["left"].set_visible(False)
    for axes in panels[len(class_names) :]:
        axes.remove()
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    figure.supxlabel(label, fontsize=9)
    mine = [(name, class_ids == c) for c, name in enumerate(class_names)]
    counts = [f"{name}: {int((is_c & keep_mask).sum())} of {int(is_c.sum())} kept" for name, is_c in mine]
    figure.alt = f"Histograms of {label}, one a class, kept beside rejected, with the threshold. {'; '.join(counts)}."
    return figure


@styled
def prompt_map(
    embeddings: torch.Tensor, class_ids: torch.Tensor, cluster_ids: torch.Tensor, class_names: Sequence[str]
) -> Drawing:
    """Return the prompts' embeddings (P, d), tied to the centres of their clusters, on the two axes along which the
    classes' centres differ most; each class's name stands at its centre.

    What the prompts of one class differ in shows only as far as it falls onto these axes.
    """
    embeddings, class_ids, cluster_ids = (x.cpu() for x in (embeddings.double(), class_ids, cluster_ids))
    present = class_ids.unique()
    centres = torch.stack([embeddings[class_ids == c].mean(0) for c in present])
    _, spread, axes_ = torch.linalg.svd(centres - centres.mean(0), full_matrices=False)
    largest = axes_[:2].gather(1, axes_[:2].abs().argmax(1, keepdim=True))
    turned = (axes_[:2] * largest.sign()).T  # an axis has no direction: the largest entry sets it
    points, middle = ((x - centres.mean(0)) @ turned for x in (embeddings, centres))
    share = (spread.square() / spread.square().sum())[:2].tolist()
    figure = Drawing(figsize=(7.2, 5))
    axes = figure.add_subplot(xlabel=f"first axis ({share[0]:.0%} of what the classes' centres differ in)")
    axes.set_ylabel(f"second axis ({share[1]:.0%})")
    for k in cluster_ids.unique():
        mine = points[cluster_ids == k].numpy()
        color, centre = f"C{int(class_ids[cluster_ids == k][0]) % 10}", mine.mean(0)
        spokes = np.stack((mine, np.broadcast_to(centre, mine.shape)), 1).transpose(2, 1, 0)
        axes.plot(*spokes, color=color, linewidth=0.7, alpha=0.6)
        axes.scatter(*mine.T, s=9, color=color, alpha=0.6)
        axes.scatter(*centre, s=40, color=color, edgecolor="white", linewidth=1, zorder=3)
    around = [withStroke(linewidth=2.5, foreground="white")]
    look = {"ha": "center", "va": "center", "weight": "bold", "zorder": 4, "parse_math": False, "path_effects": around}
    for c, place in zip(present.tolist(), apart(middle.numpy(), points.numpy()), strict=True):
        axes.text(*place, class_names[c], color=f"C{c % 10}", **look)
    names = ", ".join(class_names[c] for c in present.tolist())
    figure.alt = (
        f"{len(points):,} prompts in {len(cluster_ids.unique())} clusters on the two axes along which the centres of "
        f"the classes differ most ({sum(share):.0%} of it); each class's name at its centre: {names}."
    )
    return figure


def apart(places: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the places (N, 2) of labels, lifted as little as keeps them from lying on each other among points."""
    wide, high = np.ptp(points, axis=0) * (0.14, 0.045)
    done: list[np.ndarray] = []
    for i in np.argsort(places[:, 1], kind="stable"):
        place = places[i].copy()
        while any(abs(place[0] - x) < wide and abs(place[1] - y) < 0.999 * high for x, y in done):
            place[1] = min(y for x, y in done if abs(place[0] - x) < wide and y + high > place[1]) + high
        places[i] = place
        done.append(place)
    return places


@styled
def curves(curve: Sequence[dict[str, float]], *, x: str = "step", title: str = "") -> Drawing:
    """Return each column of a loss curve against ``x``, in a panel of its own."""
    names = [name for name in (curve[0] if curve else {}) if name != x]
    figure = Drawing(figsize=(max(3.2 * len(names), 4), 2.3))
    figure.suptitle(title if names else f"{title}: none was recorded", x=0.01, ha="left", fontsize=10)
    for i, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), i + 1, title=name, xlabel=x)
        axes.plot([row[x] for row in curve], [row[name] for row in curve], color=LINE, linewidth=0.9)
        axes.margins(x=0.02)
    ends = [f"{name} goes from {cell(float(curve[0][name]))} to {cell(float(curve[-1][name]))}" for name in names]
    figure.alt = f"{title or 'Curves'} against {x}: {'; '.join(ends) or 'none was recorded'}."
    return figure


@styled
def heatmap(
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    percent: bool = False,
    shade: str = "column",
) -> Drawing:
    """Return a table of numbers with shades.

    Args:
        percent: the values are shares, 0 .. 1, to be shown in percent.
        shade: within what a shade goes from the lowest to the highest number: ``column``, or ``row``.

    Raises:
        ValueError: unknown ``shade``.
    """
    if shade not in {"column", "row"}:
        raise ValueError(f"shade is {shade!r}; allowed are column and row")
    values = np.array([[float(value) for value in row] for row in values])
    low, high = (f(values, axis=("column", "row").index(shade), keepdims=True) for f in (np.min, np.max))
    heads = [textwrap.fill(str(name), 10, break_long_words=False) for name in columns]
    lines, widest = (max(f(head) for head in heads) for f in (lambda x: x.count("\n") + 1, longest))
    wide = max(0.72, 0.075 * widest + 0.12)
    figure = Drawing(figsize=(wide * len(columns) + 1.6, 0.27 * len(rows) + 0.4 + 0.18 * lines))
    axes = figure.add_subplot()
    axes.imshow((values - low) / np.maximum(high - low, 1e-12), cmap="Blues", vmin=0, vmax=1.8, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, format_of(value, percent), ha="center", va="center")
    axes.set_xticks(range(len(columns)), heads, parse_math=False)
    axes.set_yticks(range(len(rows)), rows, parse_math=False)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    ends = [
        f"{row}: lowest {columns[mine.argmin()]}, {format_of(mine.min(), percent)}, highest {columns[mine.argmax()]}, "
        f"{format_of(mine.max(), percent)}"
        for row, mine in zip(rows, values, strict=True)
    ]
    figure.alt = f"Table of {len(rows)} rows and {len(columns)} columns, shaded within each {shade}. {'; '.join(ends)}."
    return figure


def longest(text: str) -> int:
    """Return the length of a text's longest line."""
    return max(map(len, text.splitlines()), default=0)


def format_of(value: float, percent: bool) -> str:
    """Return a heatmap's number for people."""
    return f"{100 * value:.1f} %" if percent else cell(float(value))


@styled
def effects(compare: dict[str, Sequence[dict]]) -> Drawing:
    """Return effect sizes with their 95 % intervals, side by side for several ways of drawing images.

    Args:
        compare: way to rows with ``attribute``, ``effect``, ``ci_low``, ``ci_high`` (see ``attributes.effects``).
    """
    names = list(dict.fromkeys(row["attribute"] for rows in compare.values() for row in rows))
    figure = Drawing(figsize=(6, 0.42 * len(names) + 0.9))
    axes = figure.add_subplot(xlabel="effect of the prompt: Cohen's d from low to high word, with 95 % interval")
    for i, (way, rows) in enumerate(compare.items()):
        y = [names.index(row["attribute"]) + 0.22 * (i - (len(compare) - 1) / 2) for row in rows]
        whiskers(axes, y, rows, "effect", color=(MUTED, KEPT, REJECTED, LINE)[i % 4], label=way)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    said = [
        f"{way}: " + ", ".join(f"{row['attribute']} {interval_of(row, 'effect')}" for row in rows)
        for way, rows in compare.items()
    ]
    figure.alt = f"Effect of prompts on image attributes, Cohen's d with 95 % interval. {'; '.join(said)}."
    return figure


def whiskers(axes, y: Sequence[float], rows: Sequence[dict], name: str, **look) -> None:
    """Draw each row's value ``name`` at a height, with its interval ``ci_low`` .. ``ci_high``."""
    value, low, high = (np.array([row[key] for row in rows], float) for key in (name, "ci_low", "ci_high"))
    axes.errorbar(value, y, xerr=(value - low, high - value), fmt="o", markersize=4.5, linewidth=1.6, **look)


def interval_of(row: dict, name: str) -> str:
    """Return a row's value ``name`` with its interval ``ci_low`` .. ``ci_high``."""
    return numbers.interval(*(float(row[key]) for key in (name, "ci_low", "ci_high")))


@styled
def growth_curves(rows: Sequence[dict]) -> Drawing:
    """Return seconds and peak memory against the number of candidates, log-log, with the fitted exponent.

    Args:
        rows: of ``shards.growth_rows``, at least two.
    """
    n = np.array([row["candidates"] for row in rows])
    figure = Drawing(figsize=(8, 2.8))
    left, right = figure.subplots(1, 2)
    for name, color in (("drawing", KEPT), ("filtering", REJECTED), ("seconds", LINE)):
        power = numbers.exponent(rows, y=name)
        label = f"{'both' if name == 'seconds' else name}: n to the power of {power:.2f}"
        left.plot(n, [row[name] for row in rows], "o-", color=color, markersize=4, linewidth=1, label=label)
    left.plot(n, rows[0]["seconds"] * (n / n[0]) ** 2, ":", color="black", linewidth=0.8, label="quadratic, to compare")
    left.set(ylabel="seconds")
    left.legend(fontsize=8)
    right.plot(n, [row["peak_memory_gb"] for row in rows], "o-", color=LINE, markersize=4, linewidth=1)
    right.set(ylabel="peak memory of the process in GiB", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="candidates", xscale="log")
        axes.set_xticks(n, [f"{value:,}" for value in n])
        axes.minorticks_off()
    left.set_yscale("log")
    sizes = [f"{r['candidates']:,} candidates {r['seconds']:.3g} s, {r['peak_memory_gb']:.2f} GiB" for r in rows]
    figure.alt = f"Seconds and peak memory against the number of candidates: {'; '.join(sizes)}."
    return figure


@styled
def worth(rows: Sequence[dict]) -> Drawing:
    """Return what the images of each variant are worth against the seconds that a kept one costs.

    Args:
        rows: of ``efficiency.efficiency_rows``; those without a cost are drawn as a line.
    """
    panels = {"frechet": "Frechet distance (CLIP)", "cas": "accuracy from drawn\nimages alone (cas), in %"}
    figure_of = {"frechet": "Frechet distance", "cas": "accuracy from drawn images alone"}
    figure = Drawing(figsize=(8, 3))
    for axes, (name, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for i, row in enumerate(row for row in rows if row[name] != ""):
            if row["seconds_per_kept_image"] == "":
                axes.axhline(row[name], color="black", linewidth=0.8, linestyle="--", label=row["variant"])
                axes.legend(loc="best")
            else:
                axes.plot(row["seconds_per_kept_image"], row[name], "o", color=LINE)
                axes.annotate(
                    row["variant"],
                    (row["seconds_per_kept_image"], row[name]),
                    (0, -14 if i % 2 else 6),  # neighbours may be too near for two names side by side
                    textcoords="offset points",
                    ha="center",
                )
        axes.set(xscale="log", xlabel="seconds for each kept image, one core", ylabel=label)
        axes.margins(x=0.25, y=0.2)
    said = [
        f"{row['variant']}: "
        + ", ".join(f"{what} {cell(float(row[name]))}" for name, what in figure_of.items() if row[name] != "")
        for row in rows
    ]
    figure.alt = f"What drawn images are worth against the seconds for each kept one. {'; '.join(said)}."
    return figure
