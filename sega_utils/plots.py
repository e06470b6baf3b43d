"""Charts of a run."""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.patheffects import withStroke

from sega_utils import metrics
from sega_utils.formats import cell, interval
from sega_utils.pictures import KEPT, MUTED, REJECTED, Drawing, styled

LINE = "#24476b"


@styled
def histograms(
    scores: Sequence[float], keep_mask: torch.Tensor, class_ids: torch.Tensor, thresholds: torch.Tensor, *,
    class_names: Sequence[str], label: str = "CLIP similarity with the own class",
) -> Drawing:  # fmt: skip
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
    axes = figure.add_subplot(xlabel=f"first principal axis ({share[0]:.0%} of the variance)",
                              ylabel=f"second ({share[1]:.0%})")  # fmt: skip
    for k in np.unique(cluster_ids):
        mine = points[cluster_ids == k]
        c, centre = int(class_ids[cluster_ids == k][0]), mine.mean(0)
        spokes = np.stack((mine, np.broadcast_to(centre, mine.shape)), 1).transpose(2, 1, 0)
        axes.plot(*spokes, color=f"C{c % 10}", linewidth=0.7)
        axes.scatter(*mine.T, s=9, color=f"C{c % 10}")
        axes.scatter(*centre, s=52, color=f"C{c % 10}", edgecolor="white", linewidth=1, zorder=3)
    for c in np.unique(class_ids):
        mine = points[class_ids == c]
        axes.annotate(class_names[c], (mine[:, 0].mean(), mine[:, 1].max()), (0, 5), textcoords="offset points",
                      ha="center", weight="bold", color=f"C{c % 10}", zorder=4, parse_math=False,
                      path_effects=[withStroke(linewidth=2.5, foreground="white")])  # fmt: skip
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
        compare: way to rows with ``attribute``, ``effect``, ``ci_low``, ``ci_high`` (see ``steering.effects``).
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
def accuracy_bars(trained: Sequence[dict], *, baseline: str = "Std Aug") -> Drawing:
    """Return each arm's accuracies, one dot a seed, and its difference to the baseline with the 95 % interval.

    Args:
        trained: training records with ``param_arm``, ``param_seed`` and ``accuracy`` (0 .. 1).

    Raises:
        ValueError: there are none, or an arm and the baseline were trained with different seeds.
    """
    if not trained:
        raise ValueError("received no training records; run 05_training first")
    scores: dict[str, dict[int, float]] = {}
    for record in trained:
        scores.setdefault(record["param_arm"], {})[record["param_seed"]] = 100 * record["accuracy"]
    names = sorted(scores, key=lambda arm: (np.mean(list(scores[arm].values())), arm))
    figure = Drawing(figsize=(9, 0.4 * len(names) + 0.9))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    for y, arm in enumerate(names):
        values = np.array([scores[arm][seed] for seed in sorted(scores[arm])])
        left.plot(values, np.full(len(values), y), "o", color=LINE, alpha=0.45, markersize=4.5, markeredgewidth=0)
        left.plot(values.mean(), y, "|", color="black", markersize=15, markeredgewidth=2)
        left.text(values.mean(), y + 0.3, f"{values.mean():.2f}", ha="center", va="bottom")
        paired = scores.get(baseline, {})
        if arm != baseline and len(values) > 1 and paired:
            row = metrics.paired_difference(scores[arm], paired)
            whiskers(right, [y], [row], "difference", color=KEPT if row["ci_low"] > 0 else MUTED)
            text = interval(row["difference"], row["ci_low"], row["ci_high"])
            right.text(row["difference"], y + 0.3, text, ha="center", va="bottom")
    right.axvline(0, color="black", linewidth=0.8)
    left.set(xlabel="test accuracy in %, a dot a seed", ylim=(-0.6, len(names) - 0.2))
    right.set(xlabel=f"points above {baseline}, paired by seed, with 95 % interval")
    left.set_yticks(range(len(names)), names)
    for axes in (left, right):
        axes.margins(x=0.2)
    return figure


@styled
def ablation_bars(rows: Sequence[dict]) -> Drawing:
    """Return how far each ablation falls below or rises above SEGA-Net, with the 95 % interval, one line a row.

    Args:
        rows: of ``ablations.ablation_rows``; those without a difference are left out.
    """
    rows = [row for row in rows if row["diff"] != ""]
    figure = Drawing(figsize=(7, 0.24 * len(rows) + 0.9))
    axes = figure.add_subplot(xlabel="points above SEGA-Net, paired by seed, with 95 % interval")
    whiskers(axes, range(len(rows)), rows, "diff", color=LINE)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [f"{row['name']}: {cell(row['value'])}" for row in rows])
    axes.invert_yaxis()
    return figure


@styled
def ablation_curves(rows: Sequence[dict], *, x: str = "value", label: str = "") -> Drawing:
    """Return accuracy (mean and standard deviation over the seeds) against a number, a panel a name.

    Args:
        rows: of ``ablations.ablation_rows`` or ``yield_rows``; ``x`` is the column of the number.
        label: of the horizontal axis, if it is not the name.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    columns = min(4, max(len(names), 1))
    figure = Drawing(figsize=(2.3 * columns + 0.5, 1.9 * -(-len(names) // columns) + 0.3))
    for i, name in enumerate(names):
        mine = sorted((row for row in rows if row["name"] == name), key=lambda row: row[x])
        axes = figure.add_subplot(-(-len(names) // columns), columns, i + 1, title=name, xlabel=label or name)
        axes.errorbar([row[x] for row in mine], [row["mean"] for row in mine], [row["std"] or 0 for row in mine],
                      fmt="o-", color=LINE, markersize=4, linewidth=0.9)  # fmt: skip
        axes.set_ylabel("accuracy in %" if i % columns == 0 else "")
        axes.margins(x=0.1)
    return figure


@styled
def attack_curves(rows: Sequence[dict], published: Sequence[dict[str, str]] = ()) -> Drawing:
    """Return accuracy against epsilon for each attack: a line an arm, the mean over its seeds, a dot each seed.

    Args:
        rows: with ``arm``, ``attack``, ``epsilon`` (in 1/255), ``seed``, ``accuracy`` (in percent).
        published: accuracies without an epsilon, with ``method``, ``attack``, ``accuracy``; dashed.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("received no rows to draw; run 07_adversarial first")
    arms, attacks = (list(dict.fromkeys(row[key] for row in rows)) for key in ("arm", "attack"))
    figure = Drawing(figsize=(2.1 * len(attacks) + 0.6, 2.7))
    ticks = sorted({row["epsilon"] for row in rows})
    for axes, attack in zip(figure.subplots(1, len(attacks), sharey=True, squeeze=False).flat, attacks, strict=True):
        for i, arm in enumerate(arms):
            mine = [row for row in rows if (row["arm"], row["attack"]) == (arm, attack)]
            points = {eps: np.mean([row["accuracy"] for row in mine if row["epsilon"] == eps])
                      for eps in sorted({row["epsilon"] for row in mine})}  # fmt: skip
            axes.plot([r["epsilon"] for r in mine], [r["accuracy"] for r in mine], ".", color=f"C{i}", alpha=0.4)
            axes.plot(points.keys(), points.values(), color=f"C{i}", linewidth=1.2, label=arm)
            for row in published:
                if (row["method"], row["attack"]) == (arm, attack):
                    axes.axhline(float(row["accuracy"]), color=f"C{i}", linewidth=0.8, linestyle="--")
        smallest = min((tick for tick in ticks if tick > 0), default=1)
        axes.set_xscale("symlog", base=2, linthresh=smallest)
        axes.set_xlim(-smallest / 4, 1.2 * max(ticks[-1], smallest))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], rotation=90)
        axes.set(title=attack, xlabel="epsilon in 1/255", ylim=(-2, 102))
        axes.minorticks_off()
    figure.axes[0].set_ylabel("accuracy in %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(arms))
    return figure


@styled
def severity_curves(curves: dict[str, dict[str, Sequence[float]]]) -> Drawing:
    """Return accuracy in percent against severity 1, 2, ...: a panel a group of corruptions, a line an arm."""
    figure = Drawing(figsize=(2.2 * len(curves) + 0.6, 2.5))
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False).flat
    for axes, (group, arms) in zip(panels, curves.items(), strict=True):
        for i, (arm, values) in enumerate(arms.items()):
            axes.plot(range(1, len(values) + 1), values, "o-", color=f"C{i}", markersize=3, linewidth=1, label=arm)
        axes.set(title=group, xlabel="severity", xticks=range(1, len(values) + 1))
    figure.axes[0].set_ylabel("accuracy in %")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=len(arms))
    return figure
