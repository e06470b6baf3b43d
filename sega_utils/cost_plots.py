"""Charts of what things cost."""

from collections.abc import Sequence

import numpy as np

from sega_utils import cost_tables
from sega_utils.pictures import KEPT, REJECTED, Drawing, styled
from sega_utils.plots import LINE


@styled
def growth_curves(rows: Sequence[dict]) -> Drawing:
    """Return seconds and peak memory against the number of candidates, log-log, with the fitted exponent.

    Args:
        rows: of ``cost_tables.growth_rows``, at least two.
    """
    n = np.array([row["candidates"] for row in rows])
    figure = Drawing(figsize=(8, 2.8))
    left, right = figure.subplots(1, 2)
    for name, color in (("drawing", KEPT), ("filtering", REJECTED), ("seconds", LINE)):
        power = cost_tables.exponent(rows, y=name)
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
        rows: of ``cost_tables.efficiency_rows``; those without a cost are drawn as a line.
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
                axes.annotate(row["variant"], (row["seconds_per_kept_image"], row[name]), (0, 6),
                              textcoords="offset points", ha="center")  # fmt: skip
        axes.set(xscale="log", xlabel="seconds for each kept image, one core", ylabel=label)
        axes.margins(x=0.25, y=0.2)
    return figure
