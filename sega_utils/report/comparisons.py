"""Charts of how arms compare."""

from collections.abc import Sequence

import numpy as np

from sega_utils.core import numbers
from sega_utils.core.numbers import cell, interval
from sega_utils.report.figures import LINE, whiskers
from sega_utils.report.pictures import KEPT, MUTED, Drawing, styled
from sega_utils.studies.entries import REAL
from sega_utils.training.recipes import BASELINE


@styled
def accuracy_bars(trained: Sequence[dict], *, baseline: str = BASELINE) -> Drawing:
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
            row = numbers.paired_difference(scores[arm], paired)
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
        rows: of ``entries.ablation_rows``; those without a difference are left out.
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
    """Return accuracy (mean and standard deviation over the seeds) against a number, a panel a name; a name's control
    without synthetic images stands in its panel, in grey.

    Args:
        rows: of ``entries.ablation_rows`` or ``yield_rows``; ``x`` is the column of the number.
        label: of the horizontal axis, if it is not the name.
    """
    names = list(dict.fromkeys(row["name"].removesuffix(REAL) for row in rows))
    columns = min(4, max(len(names), 1))
    figure = Drawing(figsize=(2.3 * columns + 0.5, 1.9 * -(-len(names) // columns) + 0.3))
    for i, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // columns), columns, i + 1, title=name, xlabel=label or name)
        for shown, color in ((name, LINE), (name + REAL, MUTED)):
            if mine := sorted((row for row in rows if row["name"] == shown), key=lambda row: row[x]):
                axes.errorbar(
                    [row[x] for row in mine],
                    [row["mean"] for row in mine],
                    [row["std"] or 0 for row in mine],
                    fmt="o-",
                    color=color,
                    markersize=4,
                    linewidth=0.9,
                )
        axes.set_ylabel("accuracy in %" if i % columns == 0 else "")
        axes.margins(x=0.1)
    return figure


@styled
def low_data_curves(rows: Sequence[dict]) -> Drawing:
    """Return, against the fraction of the real data, each arm's accuracy, and how far it falls below or rises above
    SEGA-Net of that fraction, with the 95 % interval.

    Args:
        rows: those of ``entries.ablation_rows`` whose name is ``entries.FRACTION``.
    """
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    fractions = sorted({row["value"] for row in rows})
    figure = Drawing(figsize=(9, 3))
    left, right = figure.subplots(1, 2)
    for i, arm in enumerate(arms):
        mine = sorted((row for row in rows if row["arm"] == arm), key=lambda row: row["value"])
        left.plot(
            [row["value"] for row in mine],
            [row["mean"] for row in mine],
            "o-",
            color=f"C{i}",
            markersize=3,
            linewidth=1,
            label=arm,
        )
        beside = [row for row in mine if row["diff"] != ""]
        x, difference, low, high = (
            np.array([row[key] for row in beside], float) for key in ("value", "diff", "ci_low", "ci_high")
        )
        right.errorbar(
            x * 1.05 ** (i - len(arms) / 2),
            difference,
            (difference - low, high - difference),
            fmt="o",
            color=f"C{i}",
            markersize=3,
            linewidth=1,
        )
    right.axhline(0, color="black", linewidth=0.8)
    left.set_ylabel("accuracy in %")
    right.set_ylabel("points above SEGA-Net")
    for axes in (left, right):
        axes.set(xscale="log", xlabel="fraction of the real data")
        axes.set_xticks(fractions, [f"{fraction:g}" for fraction in fractions])
        axes.minorticks_off()
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
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
            points = {
                eps: np.mean([row["accuracy"] for row in mine if row["epsilon"] == eps])
                for eps in sorted({row["epsilon"] for row in mine})
            }
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
