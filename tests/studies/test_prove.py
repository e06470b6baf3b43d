"""The proof of the judge: what counts as right, what is recorded, and that nothing is judged twice."""

import numpy as np
import pytest
import torch
from torch import nn

from sega_utils import __main__ as commands
from sega_utils.core import artifacts, paths, runtime
from sega_utils.studies.judge import arms as judge_arms, folder as judge_folder, judge, verdict as numbers
from sega_utils.studies.prove import drawings, folders as prove_folders, prove

ARMS = ("crop and flip", "TrivialAugment")


class Sees(nn.Module):
    """A classifier of colours that is right but for a share of the images, those of the darkest first."""

    def __init__(self, wrong: float):
        super().__init__()
        self.wrong = wrong

    def forward(self, images):
        colours = torch.tensor([drawings.COLOURS[name] for name in sorted(drawings.COLOURS)]) / 255
        scores = images.mean((2, 3)) @ torch.nn.functional.normalize(colours, dim=1).T
        dark = images.mean((1, 2, 3)).argsort()[: round(self.wrong * len(images))]
        scores[dark] *= -1
        return scores


@pytest.fixture
def judged(monkeypatch, tmp_path):
    """Let a judge of no time say what a test wants; return the answers it is to give and the folders that it saw."""
    for name in ("EACH", "EACH_TEST", "EACH_MORE"):
        monkeypatch.setattr(prove_folders, name, 10)
    says, seen = {"answer": "no", "best": "TrivialAugment", "selected": "crop and flip", "augmenter": ""}, []

    def stub(folder, *, run, quick, backbone, plan, say):
        seen.append((folder, plan))
        pictures = judge_folder.look(folder)
        place = judge_folder.place(run, f"{paths.OWN}{folder}")
        tests, folds = judge_folder.split(place / "split.csv", pictures)
        judge_folder.store(place, pictures, tests, folds, plan.side)
        counted = {"n_training": int((~tests).sum()), "n_test": int(tests.sum()), "left_out": 0, "minutes": 0.1}
        return counted | {"inside": dict(says)}

    wrong = {
        "crop and flip": 0.3,
        "any turn": 0.4,
        "TrivialAugment": 0.1,
        "CutMix": 0.4,
        "TrivialAugment + CutMix": 0.4,
    }
    monkeypatch.setattr(judge, "judge", stub)
    monkeypatch.setattr(runtime, "map_workers", lambda f, jobs, **_: [f(*job) for job in jobs])
    error = lambda job: 0.0 if job.augmenter else wrong[job.arm]
    monkeypatch.setattr(judge_arms, "classifier", lambda place, job: Sees(error(job)))
    return says, seen


def run(tmp_path, *names, **options) -> list[dict]:
    return list(prove.prove(tmp_path / "folders", list(names), [0], **options))


def test_what_is_right_by_construction_is_asked_of_the_verdict(judged, tmp_path):
    says, seen = judged
    colours, turned = run(tmp_path, "colours", "turned", changes={"steps": 5})
    assert (colours["agrees"], turned["agrees"]) == (1, 1) and seen[0][1].steps == 5
    assert turned["truth"]["right"] == "best with any turn or TrivialAugment" and turned["n_training"] == 80
    assert prove.known("no", {"answer": "undecided", "best": ""})["agrees"] == 0
    assert prove.known("turns", {"answer": "no", "best": "any turn"})["agrees"] == 1
    assert prove.known("turns", {"answer": "no", "best": "CutMix"})["agrees"] == 0


def test_a_verdict_on_record_is_not_repeated_unless_images_or_plan_differ(judged, tmp_path):
    _, seen = judged
    first = run(tmp_path, "colours")
    assert run(tmp_path, "colours") == first and len(seen) == 1
    run(tmp_path, "colours", changes={"steps": 5})
    next((tmp_path / "folders" / "colours-seed0" / "train" / "red").iterdir()).unlink()
    run(tmp_path, "colours", changes={"steps": 5})
    assert len(seen) == 3


def test_images_outside_the_folder_decide_what_the_advice_costs(judged, tmp_path, monkeypatch):
    says, _ = judged
    colours = prove_folders.FOLDERS["colours"]._replace(known="")
    monkeypatch.setitem(prove_folders.FOLDERS, "colours", colours)
    (best,) = run(tmp_path, "colours", run="a")
    assert (
        best["truth"]["right"] == "TrivialAugment" and best["agrees"] == 1 and best["truth"]["lost"]["difference"] == 0
    )
    assert best["truth"]["percent"]["crop and flip"] == pytest.approx(70)
    says["best"] = "crop and flip"
    (worse,) = run(tmp_path, "colours", run="b")
    assert worse["agrees"] == 0 and worse["truth"]["lost"]["difference"] == pytest.approx(20)
    assert worse["truth"]["lost"]["n_images"] == 40, "those of the part that is in no folder"
    says |= {"augmenter": "glico", "answer": "no", "difference": {"difference": 1.0, "ci_low": -1.0, "ci_high": 3.0}}
    (missed,) = run(tmp_path, "colours", run="c")
    assert missed["truth"]["right"] == "crop and flip + glico" and missed["agrees"] == 0
    says["answer"] = "yes"
    (taken,) = run(tmp_path, "colours", run="d")
    assert taken["agrees"] == 1 and taken["verdict"]["ci_high"] == 3.0


def test_the_table_has_a_row_for_each_folder_and_seed(judged, tmp_path, capsys):
    options = ["--path", str(tmp_path / "folders"), "--run", "mine", "--seeds", "0", "1", "--augmenters", "glico"]
    assert commands.main(["prove", "--folders", "colours", *options, "--seconds", "3", "--workers", "0"]) == 0
    assert "colours-seed1: no, agrees: 1" in capsys.readouterr().out
    table = artifacts.load_csv(paths.artifact("mine", prove.DATASET, "tables") / "proof.csv")
    assert [(row["folder"], row["seed"], row["agrees"], row["lost"]) for row in table] == [
        ("colours", "0", "1", ""),
        ("colours", "1", "1", ""),
    ]
    (row,) = prove.agreement(prove.rows("mine"))
    assert row == {
        "folder": "colours", "right": "no (2)", "answer": "no (2)", "best": "TrivialAugment (2)",
        "augmenter": "none (2)", "agrees": 2, "of": 2,
    }  # fmt: skip
    assert prove.agreement([]) == []
    assert judged[1][0][1].augmenters == {"glico": {"seconds": 3.0}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: list(prove.prove(None, ["colours"], [0], changes={"stepz": 1})), "a plan has no .'stepz'."),
        (lambda: list(prove.prove(None, ["colors"], [0])), "unknown folder 'colors'; known are"),
        (lambda: prove.smaller(steps=1, seconds=None, augmenters=["sega"], workers=None), "unknown augmenter 'sega'"),
    ],
)
def test_what_is_not_known_is_refused_before_anything_is_judged(judged, wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
    assert judged[1] == []


def test_images_that_decide_are_read_as_the_judge_reads_them(monkeypatch, tmp_path):
    monkeypatch.setattr(prove_folders, "EACH", 2)
    image = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    make = lambda part, seed: iter(
        [prove_folders.Picture("b", image, "x"), prove_folders.Picture("a", 255 - image, "y")]
    )
    monkeypatch.setitem(prove_folders.FOLDERS, "mnist", prove_folders.Proof(make, "x"))
    data = judge_folder.Dataset(torch.zeros(1, 1, 32, 32), torch.zeros(1, dtype=torch.int64), ("a", "b"))
    images, labels = prove.deciding("mnist", 0, data)
    assert labels.tolist() == [1, 0] and images.shape == (2, 1, 32, 32)
    assert numbers.WORTH == 1.0
