"""Charts of how arms compare."""

import textwrap
from collections.abc import Sequence

import numpy as np

from sega_utils.core import numbers
from sega_utils.core.numbers import interval
from sega_utils.report import words
from sega_utils.report.figures import LINE, interval_of, whiskers
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
    figure = Drawing(figsize=(9.6, 0.4 * len(names) + 0.9))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.15, 1))
    said = []
    for y, arm in enumerate(names):
        values = np.array([scores[arm][seed] for seed in sorted(scores[arm])])
        left.plot(values, np.full(len(values), y), "o", color=LINE, alpha=0.45, markersize=4.5, markeredgewidth=0)
        left.plot(values.mean(), y, "|", color="black", markersize=15, markeredgewidth=2)
        left.text(values.mean(), y + 0.3, f"{values.mean():.2f}", ha="center", va="bottom")
        text = beside_baseline(right, y, scores[arm], scores.get(baseline, {}), is_baseline=arm == baseline)
        said.append(f"{arm} {values.mean():.2f}{f', {text}' if text else ''}")
    right.axvline(0, color="black", linewidth=0.8, zorder=0)
    left.set(xlabel="test accuracy in %, a dot a seed", ylim=(-0.6, len(names) - 0.2))
    right.set(xlabel=f"points above {baseline}, paired by seed, with 95 % interval")
    left.set_yticks(range(len(names)), names)
    for axes in (left, right):
        axes.margins(x=0.2)
    figure.alt = (
        f"Test accuracy of each arm in percent, mean over its seeds, and points above {baseline} with 95 % interval: "
        f"{'; '.join(said[::-1])}."
    )
    return figure


def beside_baseline(axes, y: float, ours: dict[int, float], theirs: dict[int, float], *, is_baseline: bool) -> str:
    """Draw an arm's paired difference to the baseline, its numbers in the margin; return them, "" if there are none."""
    text = ""
    if is_baseline:
        axes.plot(0, y, "D", color=MUTED, markersize=4.5)
        text = "the baseline"
    elif len(ours) > 1 and theirs:
        row = numbers.paired_difference(ours, theirs)
        whiskers(axes, [y], [row], "difference", color=KEPT if row["ci_low"] > 0 else MUTED)
        text = interval(row["difference"], row["ci_low"], row["ci_high"])
    axes.annotate(text, (1.02, y), xycoords=("axes fraction", "data"), va="center")
    return text


@styled
def ablation_bars(rows: Sequence[dict]) -> Drawing:
    """Return how far each ablation falls below or rises above SEGA-Net, with the 95 % interval, one line a row.

    Args:
        rows: of ``entries.ablation_rows``; those without a difference are left out.
    """
    rows = [row for row in rows if row["diff"] != ""]
    figure = Drawing(figsize=(8.4, 0.24 * len(rows) + 0.9))
    axes = figure.add_subplot(xlabel="points above SEGA-Net, paired by seed, with 95 % interval")
    whiskers(axes, range(len(rows)), rows, "diff", color=LINE)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [words.entry(row) for row in rows])
    axes.invert_yaxis()
    said = [f"{words.entry(row)} {interval_of(row, 'diff')}" for row in rows]
    figure.alt = f"Points above SEGA-Net with 95 % interval: {'; '.join(said)}."
    return figure


@styled
def ablation_curves(rows: Sequence[dict], *, x: str = "value", label: str = "") -> Drawing:
    """Return accuracy (mean and standard deviation over the seeds) against a number, a panel a name, all of one range.

    The run's own SEGA-Net is a line; a name's control without synthetic images stands in its panel, in grey.

    Args:
        rows: of ``entries.ablation_rows`` or ``yield_rows``; ``x`` is the column of the number.
        label: of the horizontal axis, if it is not the name.
    """
    names = list(dict.fromkeys(row["name"].removesuffix(REAL) for row in rows))
    columns = min(4, max(len(names), 1))
    lines = -(-len(names) // columns)
    figure = Drawing(figsize=(2.4 * columns + 0.5, 2.1 * lines + 0.6))
    panels = list(figure.subplots(max(lines, 1), columns, sharey=True, squeeze=False).flat)
    own = [row["mean"] for row in rows if row["diff"] == "" and row["n"] > 1]
    handles, said = {}, []
    for axes, name in zip(panels, names, strict=False):
        for shown, color, what in ((name, LINE, "SEGA-Net, changed"), (name + REAL, MUTED, "real images only")):
            if mine := sorted((row for row in rows if row["name"] == shown), key=lambda row: row[x]):
                places, means, deviations = ([row[key] or 0 for row in mine] for key in (x, "mean", "std"))
                look = {"fmt": "o-", "color": color, "markersize": 4, "linewidth": 0.9}
                handles[what] = axes.errorbar(places, means, deviations, **look)
                said.append(f"{words.ABLATIONS.get(shown, shown)}: " + ", ".join(map(point, places, means)))
        if own:
            handles["SEGA-Net as it is"] = axes.axhline(own[0], color=KEPT, linewidth=0.9, linestyle="--", zorder=0)
        axes.set(title=textwrap.fill(words.ABLATIONS.get(name, name), 29), xlabel=label)
        if x == "value" and name in words.LOGARITHMIC:
            ticks = sorted({row[x] for row in rows if row["name"] == name})
            axes.set_xscale("log")
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], fontsize=8)
            axes.minorticks_off()
        axes.margins(x=0.1)
    for axes in panels[::columns]:
        axes.set_ylabel("accuracy in %")
    for axes in panels[len(names) :]:
        axes.remove()
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    figure.alt = f"Accuracy in percent, mean over the seeds. {'; '.join(said)}."
    if own:
        figure.alt += f" SEGA-Net as it is: {own[0]:.2f}."
    return figure


def point(place: float, value: float) -> str:
    """Return a point of a curve as text."""
    return f"{value:.2f} at {place:.3g}"


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
    said = [f"{arm} " + ", ".join(point(r["value"], r["mean"]) for r in rows if r["arm"] == arm) for arm in arms]
    figure.alt = f"Accuracy in percent against the fraction of the real data: {'; '.join(said)}."
    return figure


@styled
def attack_curves(rows: Sequence[dict], published: Sequence[dict[str, str]] = ()) -> Drawing:
    """Return accuracy against epsilon for each attack: a line an arm, or a dash where there are two points at
    most: the mean over its seeds; a dot each seed.

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
            how = {"linestyle": "-"} if len(points) > 2 else {"linestyle": "none", "marker": "_"}  # two are no curve
            axes.plot(points.keys(), points.values(), color=f"C{i}", linewidth=1.2, label=arm, **how)
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
    figure.alt = f"Accuracy in percent under attack, mean over the seeds. {'; '.join(under_attack(rows))}."
    return figure


def under_attack(rows: Sequence[dict]) -> list[str]:
    """Return, for each attack and arm, the mean accuracy at the smallest and at the largest epsilon, as text."""
    said = []
    for attack, arm in dict.fromkeys((row["attack"], row["arm"]) for row in rows):
        mine = [row for row in rows if (row["attack"], row["arm"]) == (attack, arm)]
        ends = (
            (eps, np.mean([row["accuracy"] for row in mine if row["epsilon"] == eps]))
            for eps in (min(row["epsilon"] for row in mine), max(row["epsilon"] for row in mine))
        )
        said.append(f"{attack}, {arm}: " + ", ".join(f"{value:.1f} at {eps:g}/255" for eps, value in ends))
    return said


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
    said = [
        f"{group}: " + ", ".join(f"{arm} from {values[0]:.1f} to {values[-1]:.1f}" for arm, values in arms.items())
        for group, arms in curves.items()
    ]
    figure.alt = f"Accuracy in percent from the lowest to the highest severity. {'; '.join(said)}."
    return figure
