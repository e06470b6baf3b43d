"""Charts of what the stages make and of what things cost."""

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
    return figure


@styled
def prompt_map(
    embeddings: torch.Tensor, class_ids: torch.Tensor, cluster_ids: torch.Tensor, class_names: Sequence[str]
) -> Drawing:
    """Return the prompts' embeddings (P, d) on their two principal axes, each tied to the centre of its cluster."""
    centred = (embeddings - embeddings.mean(0)).double().cpu()
    _, spread, axes_ = torch.linalg.svd(centred, full_matrices=False)
    largest = axes_[:2].gather(1, axes_[:2].abs().argmax(1, keepdim=True))
    points = (centred @ (axes_[:2] * largest.sign()).T).numpy()  # an axis has no direction: the largest entry sets it
    share = (spread.square() / spread.square().sum())[:2].tolist()
    class_ids, cluster_ids = class_ids.cpu().numpy(), cluster_ids.cpu().numpy()
    figure = Drawing(figsize=(7.2, 5))
    axes = figure.add_subplot(
        xlabel=f"first principal axis ({share[0]:.0%} of the variance)", ylabel=f"second ({share[1]:.0%})"
    )
    for k in np.unique(cluster_ids):
        mine = points[cluster_ids == k]
        c, centre = int(class_ids[cluster_ids == k][0]), mine.mean(0)
        spokes = np.stack((mine, np.broadcast_to(centre, mine.shape)), 1).transpose(2, 1, 0)
        axes.plot(*spokes, color=f"C{c % 10}", linewidth=0.7)
        axes.scatter(*mine.T, s=9, color=f"C{c % 10}")
        axes.scatter(*centre, s=52, color=f"C{c % 10}", edgecolor="white", linewidth=1, zorder=3)
    for c in np.unique(class_ids):
        mine = points[class_ids == c]
        axes.annotate(
            class_names[c],
            (mine[:, 0].mean(), mine[:, 1].max()),
            (0, 5),
            textcoords="offset points",
            ha="center",
            weight="bold",
            color=f"C{c % 10}",
            zorder=4,
            parse_math=False,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    return figure


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
    return figure


@styled
def heatmap(values: Sequence[Sequence[float]], *, rows: Sequence[str], columns: Sequence[str]) -> Drawing:
    """Return a table of numbers, shaded within each column from its lowest to its highest."""
    values = np.array([[float(value) for value in row] for row in values])
    low, high = values.min(0), values.max(0)
    figure = Drawing(figsize=(0.72 * len(columns) + 1.6, 0.27 * len(rows) + 0.6))
    axes = figure.add_subplot()
    axes.imshow((values - low) / np.maximum(high - low, 1e-12), cmap="Blues", vmin=0, vmax=1.8, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        axes.text(j, i, cell(float(value)), ha="center", va="center")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    return figure


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
    return figure


def whiskers(axes, y: Sequence[float], rows: Sequence[dict], name: str, **look) -> None:
    """Draw each row's value ``name`` at a height, with its interval ``ci_low`` .. ``ci_high``."""
    value, low, high = (np.array([row[key] for row in rows], float) for key in (name, "ci_low", "ci_high"))
    axes.errorbar(value, y, xerr=(value - low, high - value), fmt="o", markersize=4.5, linewidth=1.6, **look)


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
    return figure


@styled
def worth(rows: Sequence[dict]) -> Drawing:
    """Return what the images of each variant are worth against the seconds that a kept one costs.

    Args:
        rows: of ``efficiency.efficiency_rows``; those without a cost are drawn as a line.
    """
    panels = {"frechet": "Frechet distance in CLIP's features", "cas": "accuracy from drawn images alone, in %"}
    figure = Drawing(figsize=(8, 3))
    for axes, (name, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for row in (row for row in rows if row[name] != ""):
            if row["seconds_per_kept_image"] == "":
                axes.axhline(row[name], color="black", linewidth=0.8, linestyle="--", label=row["variant"])
                axes.legend(loc="best")
            else:
                axes.plot(row["seconds_per_kept_image"], row[name], "o", color=LINE)
                axes.annotate(
                    row["variant"],
                    (row["seconds_per_kept_image"], row[name]),
                    (0, 6),
                    textcoords="offset points",
                    ha="center",
                )
        axes.set(xscale="log", xlabel="seconds for each kept image, one core", ylabel=label)
        axes.margins(x=0.25, y=0.2)
    return figure
