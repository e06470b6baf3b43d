"""Numbers: paired differences and effect sizes with their intervals, and rows as people read them."""

import re
from collections.abc import Iterable
from statistics import mean, stdev

import numpy as np
import torch
from scipy.special import stdtrit

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


def exponent(rows: list[dict], *, y: str = "seconds", x: str = "candidates") -> float:
    """Return b of the line log y = a + b log x fitted to rows; 1 means that cost grows in proportion, 2 quadratically.

    Raises:
        ValueError: fewer than two different sizes.
    """
    if len({row[x] for row in rows}) < 2:
        raise ValueError(f"an exponent needs at least two different {x}; received {[row[x] for row in rows]}")
    return float(np.polyfit(np.log([row[x] for row in rows]), np.log([row[y] for row in rows]), 1)[0])


def effect_size(low: torch.Tensor, high: torch.Tensor, *, seed: int = 0) -> dict[str, float]:
    """Return Cohen's d of ``high`` over ``low`` with a bootstrapped 95 % interval; positive if steering works.

    Args:
        low, high: float (N,) and (M,), measured where the prompt named the low and the high end.

    Returns:
        ``effect``, ``ci_low``, ``ci_high`` in pooled standard deviations, and ``n`` = N + M.

    Source: Cohen 1988; percentile bootstrap, Efron and Tibshirani 1993.
    """
    from scipy import stats  # takes seconds, which only this function should cost

    def cohen(x, y, axis=-1):
        pooled = np.sqrt((x.var(axis, ddof=1) + y.var(axis, ddof=1)) / 2)
        return (y.mean(axis) - x.mean(axis)) / np.maximum(pooled, 1e-12)

    pair = (low.double().cpu().numpy(), high.double().cpu().numpy())
    interval = stats.bootstrap(pair, cohen, n_resamples=1000, method="percentile", rng=seed).confidence_interval
    return {
        "effect": float(cohen(*pair)),
        "ci_low": float(interval.low),
        "ci_high": float(interval.high),
        "n": len(low) + len(high),
    }


def summary(values: Iterable[float]) -> dict[str, float | str]:
    """Return ``mean``, sample standard deviation ``std`` (empty for a single value) and ``n`` of values."""
    values = list(values)
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else "", "n": len(values)}


def paired_difference(ours: dict[int, float], theirs: dict[int, float]) -> dict[str, float]:
    """Return the mean difference over paired seeds with its 95 % interval (Student's t).

    Args:
        ours, theirs: seed to accuracy; both must hold the same seeds, at least two.

    Raises:
        ValueError: the seeds differ or are fewer than two.
    """
    if set(ours) != set(theirs) or len(ours) < 2:
        raise ValueError(
            f"a paired comparison needs the same seeds, at least two; received {sorted(ours)} and "
            f"{sorted(theirs)}: run the missing ones"
        )
    difference = np.array([ours[seed] - theirs[seed] for seed in sorted(ours)])
    half = stdtrit(len(difference) - 1, 0.975) * difference.std(ddof=1) / len(difference) ** 0.5
    centre = float(difference.mean())
    return {"difference": centre, "ci_low": centre - float(half), "ci_high": centre + float(half)}
