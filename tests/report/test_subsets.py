"""A lead over subsets is the mean of their leads, with Student's interval over the subsets."""

import fake_run
import pytest
import scipy.stats
from fake_run import ACCURACY, DATASET, RUN, write_run

from sega_utils.report import settled, subsets, tables


@pytest.fixture
def three(results, monkeypatch):
    """Three runs, whose SEGA-Net is ahead of GAN-only by 2.5, 1.5 and 0.5 points."""
    for name, shift in ((RUN, 0.0), (f"{RUN}-subset-1", 0.01), (f"{RUN}-subset-2", 0.02)):
        monkeypatch.setattr(fake_run, "RUN", name)
        write_run({arm: tuple(v + shift * (arm == "GAN-only") for v in values) for arm, values in ACCURACY.items()})


def test_the_lead_over_subsets_is_that_of_their_means(three):
    assert subsets.runs(RUN, DATASET) == [RUN, f"{RUN}-subset-1", f"{RUN}-subset-2"]
    row = next(row for row in subsets.subset_rows(RUN, DATASET) if row["arm"] == "GAN-only")
    assert row["each"] == "+2.42 +1.42 +0.42" and row["subsets"] == 3
    low, high = scipy.stats.t.interval(0.95, 2, 1.4166667, scipy.stats.sem([2.4166667, 1.4166667, 0.4166667]))
    assert (row["difference"], row["ci_low"], row["ci_high"]) == pytest.approx((1.4166667, low, high), abs=1e-4)


def test_readmes_tables_have_the_subsets(three):
    row = next(row for row in settled.settled_rows(RUN, DATASET) if row["chapter"] == "05_training")
    assert row["over"] == "3 subsets" and row["method"] == "SEGA-Net"
    assert next(iter(tables.ahead(RUN, DATASET)))["clean images, 3 subsets"].startswith("+")


def test_one_subset_says_nothing(results):
    write_run()
    assert subsets.subset_rows(RUN, DATASET) == []
    assert not any("subsets" in head for row in tables.ahead(RUN, DATASET) for head in row)
