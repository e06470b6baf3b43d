"""When synthetic images harm: each share, budget and amount of real images beside a control of the same seeds."""

from collections.abc import Iterable, Sequence
from statistics import mean

from sega_utils.core import numbers
from sega_utils.studies import entries
from sega_utils.studies.entries import FRACTION, REAL, Entry
from sega_utils.training.recipes import OURS

AHEAD, BEHIND, UNCLEAR = "ahead", "behind", "cannot be told apart"
BESIDE = ("value", "with", "without", "difference", "ci_low", "ci_high", "n", "verdict")


def beside(found: Iterable[dict], pairs: Iterable[tuple[Entry, Entry]]) -> list[dict]:
    """Return a row (columns ``BESIDE``) for each pair of an entry and its control that share at least two seeds.

    Args:
        found: ablation records of one run.
        pairs: an entry with synthetic images and the one that it is to be compared with.

    Returns:
        Rows with ``with`` and ``without``, mean accuracies in percent over the shared seeds, and the first minus the
        second in points with its 95 % interval.
    """
    scores = {
        entry: {record["param_seed"]: 100 * record["accuracy"] for record in mine}
        for entry, mine in entries.grouped(list(found)).items()
    }
    rows = []
    for entry, control in pairs:
        ours, theirs = scores.get(entry, {}), scores.get(control, {})
        shared = ours.keys() & theirs.keys()
        if len(shared) < 2 or entry == control:
            continue
        ours, theirs = ({seed: side[seed] for seed in shared} for side in (ours, theirs))
        paired = numbers.paired_difference(ours, theirs)
        row = {"value": entry.value, "with": mean(ours.values()), "without": mean(theirs.values())} | paired
        rows.append(row | {"n": len(shared), "verdict": verdict(paired)})
    return rows


def verdict(row: dict[str, float]) -> str:
    """Return whether a difference's interval lies above zero, below zero, or contains it."""
    return AHEAD if row["ci_low"] > 0 else BEHIND if row["ci_high"] < 0 else UNCLEAR


def values(found: Iterable[dict], name: str) -> list:
    """Return the values that an ablation was measured at, rising."""
    return sorted({record["param_value"] for record in found if record["param_ablation"] == name})


def replaced(found: Sequence[dict]) -> list[dict]:
    """Return rows of synthetic images in place of real ones beside none, by their share of a batch."""
    none = Entry("ratio_replace", 0)
    return beside(found, [(Entry("ratio_replace", share), none) for share in values(found, "ratio_replace")])


def added(found: Sequence[dict]) -> list[dict]:
    """Return rows of synthetic images on top of a batch of real ones beside as many more real ones."""
    shares = values(found, "ratio_add")
    return beside(found, [(Entry("ratio_add", share), Entry(f"ratio_add{REAL}", share)) for share in shares])


def longer(found: Sequence[dict]) -> list[dict]:
    """Return rows of SEGA-Net beside the same settings without synthetic images, by optimiser steps."""
    return beside(found, [(Entry("steps", steps), Entry(f"steps{REAL}", steps)) for steps in values(found, "steps")])


def fewer(found: Sequence[dict], arm: str) -> list[dict]:
    """Return rows of SEGA-Net beside an arm of real images, by the fraction of the published training images."""
    fractions = values(found, FRACTION)
    return beside(found, [(Entry(FRACTION, part, OURS), Entry(FRACTION, part, arm)) for part in fractions])
