import pytest

from sega_utils import execute
from sega_utils.__main__ import main
from sega_utils.core import artifacts
from sega_utils.report import pictures
from sega_utils.studies import faults
from sega_utils.studies.faults_judge import Fault, Refused, Told, judge
from sega_utils.verbs import VERBS


def fails(error):
    def attempt():
        raise error

    return attempt


@pytest.mark.parametrize(
    ("attempt", "expected", "outcome"),
    [
        (fails(ValueError("SEED is -1; allowed is 0 .. 9")), None, "clear"),
        (fails(ValueError("SEED is -1")), None, "unclear"),
        (fails(ValueError("it is wrong; delete it")), None, "unclear"),
        (fails(KeyError("SEED is -1; allowed is 0 .. 9")), None, "unclear"),
        (fails(artifacts.ArtifactError("SEED is damaged; restore it")), None, "clear"),
        (fails(Refused("error: SEED is -1; allowed is 0 .. 9\n")), None, "clear"),
        (fails(Refused("Traceback\nerror: SEED is -1; allowed is 0 .. 9\n")), None, "unclear"),
        (lambda: Told("SEED is the same; keep one"), None, "clear"),
        (lambda: 1, lambda: 1, "recovered"),
        (lambda: 1, lambda: 2, "silent"),
        (lambda: 1, None, "silent"),
    ],
)
def test_an_outcome_is_told_by_the_rule(attempt, expected, outcome):
    assert judge(Fault("kind", "name", attempt, ("SEED",), expected))[0] == outcome


def test_code_that_ran_is_silent_whatever_was_said(tmp_path):
    canary = tmp_path / "canary"

    def attempt():
        canary.touch()
        raise ValueError("SEED is wrong; delete it")

    assert judge(Fault("pickle", "name", attempt, ("SEED",), None, canary)) == ("silent", "code ran")
    assert not canary.exists()


def test_a_sample_of_the_faults_is_told_clearly_or_recovered_from():
    doors = {"command": main, "execute": execute.main, "figure": pictures.load}
    rows = faults.measure(doors, VERBS, sample=60)
    assert len(rows) == 60
    assert [row for row in rows if row["outcome"] in {"silent", "unclear"}] == []
