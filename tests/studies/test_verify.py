import shutil

import pytest
import torch
from fake_run import DATASET, RUN, change, write_run

from sega_utils.__main__ import main
from sega_utils.core import artifacts
from sega_utils.studies import verify


@pytest.fixture
def pair(results):
    """Return a run's results and a copy of them, under another run's name."""
    write_run()
    ours = results / RUN / DATASET
    artifacts.save_csv(
        ours / "tables/accuracy.csv", [{"arm": "a", "mean": 1.5, "ratio": 2.0}], ("arm", "mean", "ratio")
    )
    artifacts.save_tensors(ours / "real.safetensors", {"images": torch.zeros(2)})
    return ours, shutil.copytree(ours, results / "other" / DATASET)


def test_a_run_is_the_same_as_itself_but_for_costs_and_name(pair, capsys):
    change("training", "sega-net-seed1", seconds=99.0, git_commit="f" * 40, run="x")
    artifacts.save_csv(
        pair[0] / "tables/accuracy.csv", [{"arm": "a", "mean": 1.5, "ratio": 7.0}], ("arm", "mean", "ratio")
    )
    assert verify.compare(*pair)[0] == []
    assert main(["verify", "--run", RUN, "--reference", "other", "--bits"]) == 0
    assert " files compared, 0 differences" in capsys.readouterr().out


@pytest.mark.parametrize(
    "alter",
    [
        lambda ours: change("training", "sega-net-seed1", accuracy=0.1),
        lambda ours: change("training", "sega-net-seed1", input_real="0" * 64),
        lambda ours: artifacts.save_csv(
            ours / "tables/accuracy.csv", [{"arm": "a", "mean": 1.6, "ratio": 2.0}], ("arm", "mean", "ratio")
        ),
        lambda ours: artifacts.save_tensors(ours / "real.safetensors", {"images": torch.ones(2)}),
        lambda ours: (ours / "real.safetensors").unlink(),
    ],
)
def test_each_other_difference_is_a_row_and_a_status(pair, capsys, alter):
    alter(pair[0])
    rows, n = verify.compare(*pair)
    assert len(rows) == 1 and set(rows[0]) == {"file", "what", "ours", "theirs"} and n > 10
    assert main(["verify", "--run", RUN, "--reference", "other", "--bits"]) == 1


def test_results_that_are_not_there_are_named(pair, capsys):
    assert main(["verify", "--run", "none", "--reference", "other", "--bits"]) == 1
    assert "results/none/fashion-mnist; make them with: make run" in capsys.readouterr().err
