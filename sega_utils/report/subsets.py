"""The comparison of 05 over several subsets of the data, each with a CLIP, a generator and a projector of its own."""

from itertools import count, takewhile

from sega_utils.core import numbers, paths
from sega_utils.evaluation.classified import belonging
from sega_utils.report.claims import clean, paired
from sega_utils.training.recipes import ARMS, OURS

COLUMNS = ("arm", "difference", "ci_low", "ci_high", "subsets", "each")


def runs(run: str, dataset: str) -> list[str]:
    """Return a run, and those of ``make subsets`` beside it that have trained classifiers: ``NAME-subset-1``, ..."""
    others = (f"{run}-subset-{k}" for k in count(1))
    return [run, *takewhile(lambda name: any(paths.artifact(name, dataset, "records").glob("training/*")), others)]


def subset_rows(run: str, dataset: str) -> list[dict]:
    """Return SEGA-Net's lead over each other arm, in points, as a mean over subsets with its 95 % interval.

    A subset's lead is the mean over the seeds that all subsets have; the interval is Student's t over the subsets, so
    it holds what the subset, its CLIP, its generator and its projector change.

    Returns:
        Rows of ``COLUMNS``; ``each`` is the lead on each subset. None where fewer than two subsets are measured.

    Raises:
        ArtifactError: as ``classified.belonging``.
    """
    found = [belonging(name, dataset)["training"] for name in runs(run, dataset)]
    seeds = set.intersection(*({r["param_seed"] for r in trained} for trained in found))
    found = [[r for r in trained if r["param_seed"] in seeds] for trained in found]
    rows = []
    for arm in (arm for arm in ARMS if arm != OURS and len(found) > 1):
        leads = [lead["difference"] for trained in found if (lead := paired(trained, clean, arm))]
        if len(leads) == len(found):
            each = " ".join(f"{lead:+.2f}" for lead in leads)
            over = numbers.paired_difference(dict(enumerate(leads)), dict.fromkeys(range(len(leads)), 0.0))
            rows.append({"arm": arm} | over | {"subsets": len(leads), "each": each})
    return rows
