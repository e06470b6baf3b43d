import time
import warnings

import pytest

from sega_utils.core import artifacts, paths
from sega_utils.report import tables
from sega_utils.studies.faults import faults, judge as faults_judge
from sega_utils.studies.faults.judge import Fault, Refused, Told, judge
from sega_utils.verbs import faults as verb


def fails(error):
    def attempt():
        raise error

    return attempt


@pytest.mark.parametrize(
    ("attempt", "expected", "outcome"),
    [
        (fails(ValueError("SEED is -1; allowed is 0 .. 9")), None, "refused clearly"),
        (fails(ValueError("SEED is -1")), None, "unclear"),
        (fails(ValueError("SEED is -1 in this run")), None, "unclear"),
        (fails(ValueError("it is wrong; delete it")), None, "unclear"),
        (fails(KeyError("SEED is -1; allowed is 0 .. 9")), None, "unclear"),
        (fails(artifacts.ArtifactError("SEED is damaged; restore it")), None, "refused clearly"),
        (fails(Refused("error: SEED is -1; allowed is 0 .. 9\n")), None, "refused clearly"),
        (fails(Refused("Traceback\nerror: SEED is -1; allowed is 0 .. 9\n")), None, "unclear"),
        (lambda: Told("SEED is the same; keep one"), None, "refused clearly"),
        (lambda: warnings.warn("SEED is the same; keep one", stacklevel=1), lambda: 1, "refused clearly"),
        (lambda: warnings.warn("SEED is the same", stacklevel=1), lambda: 1, "unclear"),
        (fails(ValueError("")), None, "unclear"),
        (lambda: 1, lambda: 1, "harmless"),
        (lambda: 1, lambda: 2, "silent"),
        (lambda: 1, None, "silent"),
    ],
)
def test_an_outcome_is_told_by_the_rule(attempt, expected, outcome):
    assert judge(Fault("kind", "file", "name", attempt, ("SEED",), expected))[0] == outcome


def test_code_that_ran_is_told_whatever_was_said(tmp_path):
    canary = tmp_path / "canary"

    def attempt():
        canary.touch()
        raise ValueError("SEED is wrong; delete it")

    assert judge(Fault("pickle", "file", "name", attempt, ("SEED",), None, canary))[0] == "ran code"
    assert not canary.exists()


def test_a_fault_that_does_not_end_is_told(monkeypatch):
    monkeypatch.setattr(faults_judge, "LIMIT", 0.05)
    assert judge(Fault("kind", "file", "name", lambda: time.sleep(9), ("SEED",)))[0] == "hung"


def test_a_sample_of_each_kind_is_refused_clearly_or_harmless():
    kinds = {row["kind"] for row in artifacts.load_csv(faults.table_path())}
    rows = faults.measure(verb.doors(), sample=2)
    assert {row["kind"] for row in rows} | {"all"} == kinds
    assert faults.bad(rows) == []


def test_the_page_shows_the_committed_table(tmp_path):
    copy = tmp_path / "faults.md"
    copy.write_bytes(tables.FAULTS.read_bytes())
    assert tables.update_faults(copy).read_text() == tables.FAULTS.read_text()
    *kinds, whole = artifacts.load_csv(faults.table_path())
    assert tuple(whole) == faults.TABLE and int(whole["faults"]) >= 1000
    for column in faults.TABLE[1:]:
        assert int(whole[column]) == sum(int(row[column]) for row in kinds), column
    for row in [*kinds, whole]:
        assert int(row["faults"]) == sum(int(row[name]) for name in faults.TABLE[2:]), row["kind"]
    assert "faults.md" in (paths.ROOT / "README.md").read_text()


def test_a_log_becomes_the_table(tmp_path, monkeypatch):
    outcomes = ("refused clearly", "harmless", "silent", "refused clearly")
    rows = [
        dict(zip(faults.COLUMNS, (kind, "x", "y", outcome, ""))) for kind, outcome in zip("abab", outcomes, strict=True)
    ]
    monkeypatch.setattr(faults, "table_path", lambda: tmp_path / "table.csv")
    faults.save(rows, tmp_path / "log.csv")
    found = artifacts.load_csv(faults.publish(tmp_path / "log.csv"))
    assert [(row["kind"], row["faults"], row["refused clearly"], row["silent"]) for row in found] == [
        ("a", "2", "1", "1"),
        ("b", "2", "1", "0"),
        ("all", "4", "2", "1"),
    ]
