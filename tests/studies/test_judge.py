import runpy
import shutil
import sys

import judged_folders as drawn
import pytest
import torch

from sega_utils.augmenters import registry
from sega_utils.core import artifacts, paths
from sega_utils.report import verdict
from sega_utils.studies.judge import arms as judge_arms, judge, plan as judge_plan
from sega_utils.training import classifiers

TWO = {name: judge_arms.ARMS[name] for name in (judge_arms.PLAIN, "CutMix")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a folder of shapes, judged with two arms on real images; the test's bars stand upright, others lie."""
    small = lambda **shape: classifiers.ResNet(blocks=1, width=8, stem_stride=2, **shape)
    monkeypatch.setitem(classifiers.CLASSIFIERS, "resnet8-half", small)
    monkeypatch.setattr(judge_arms, "ARMS", TWO)
    monkeypatch.setattr(judge, "ARMS", TWO)
    monkeypatch.setattr(judge_plan, "minutes", lambda plan, pictures: 1.0)
    drawn.write(tmp_path / "shapes", "train", 9, seed=0)
    drawn.write(tmp_path / "shapes", "test", 20, seed=1, turned=True)
    return tmp_path / "shapes"


@pytest.fixture
def trained(monkeypatch):
    """Return what every training of a classifier was given, without its images."""
    seen, own = [], classifiers.train_classifier

    def train(real, **options):
        seen.append(options)
        return own(real, **options)

    monkeypatch.setattr(classifiers, "train_classifier", train)
    return seen


def judged(folder, **change):
    return judge.judge(folder, plan=drawn.TINY._replace(**change), say=lambda line: None)


def add_a_photo(folder):
    drawn.write(folder.parent / "more", "train", 1, seed=5)
    shutil.copy(folder.parent / "more" / "train" / "ring" / "5-000.png", folder / "train" / "ring")


def test_copies_and_noise_never_reach_a_classifier_and_the_answer_is_no(folder, trained, monkeypatch):
    noise = lambda state, labels, seed: torch.rand(len(labels), 3, 32, 32)
    monkeypatch.setitem(registry.AUGMENTERS, "copies", registry.Augmenter(drawn.keep, drawn.first_of))
    monkeypatch.setitem(registry.AUGMENTERS, "noise", registry.Augmenter(drawn.keep, noise))
    found = judged(folder, augmenters={"copies": {}, "noise": {}})
    failed = {row["augmenter"]: "; ".join(row["reasons"]) for row in found["inside"]["gates"]}
    assert "copies of training images" in failed["copies"] and "sees other classes" in failed["noise"]
    assert trained and all(options.get("synthetic") is None for options in trained)
    assert (found["inside"]["answer"], found["inside"]["augmenter"]) == ("no", "")
    first, second = verdict.lines(found)
    assert first.startswith("Add synthetic images? No: ") and "without BACKBONE=none" in second
    with pytest.raises(ValueError, match="the gate has refused noise"):
        dataset = f"{paths.OWN}{folder}"
        plan = drawn.TINY._replace(augmenters={"copies": {}, "noise": {}})
        judge_arms.train("judge", dataset, plan, judge_arms.Job(judge_arms.PLAIN, "noise", "r0f0"))


@pytest.fixture
def turning(monkeypatch):
    """Let an augmenter draw the training images turned, a third of each class by a right angle, the rest by two."""

    def turned(state, labels, seed):
        images = drawn.first_of(state, labels, seed)
        upright = torch.arange(len(labels)) // len(drawn.CLASSES) % 3 == 0
        images[upright] = images[upright].rot90(1, (2, 3))
        images[~upright] = images[~upright].rot90(2, (2, 3))
        return images

    fits: list[int] = []

    def keep(images, labels, **settings):
        fits.append(len(images))
        return drawn.keep(images, labels)

    monkeypatch.setitem(registry.AUGMENTERS, "turned", registry.Augmenter(keep, turned))
    return {"augmenters": {"turned": {}}, "steps": 40}, fits


def test_turned_images_win_where_the_test_holds_turned_ones(folder, turning, trained):
    plan, fits = turning
    found = judged(folder, **plan)
    assert found["inside"]["augmenter"] == "turned" and found["inside"]["answer"] == "yes", found["inside"]
    assert verdict.lines(found)[0].startswith("Add synthetic images? Yes: those of turned change ")
    place = paths.artifact("judge", f"{paths.OWN}{folder}", "judge")
    rows = artifacts.load_csv(place / "use" / "synthetic" / "provenance.csv")
    written = [row for row in rows if row["file"]]
    assert len(written) == found["synthetic_files"] > 0 and {row["class"] for row in rows} == set(drawn.CLASSES)
    assert all((place / "use" / row["file"]).exists() for row in written)
    assert all(bool(row["file"]) != bool(row["copy of"]) for row in rows)
    page = verdict.html(found, folder, place / "verdict.html").read_text()
    assert verdict.lines(found)[0].split("?")[1][:5] in page and page.count("<script") == 1

    n = len(trained)
    assert fits == [18] * 3 + [27] * 2, "each fold, and each final seed"
    judged(folder, **plan | {"seeds": 3})
    assert len(trained) == n + 3 and fits[5:] == [27], "one seed more of each arm, and all else on record"
    add_a_photo(folder)
    judged(folder, **plan | {"seeds": 3})
    assert sorted(fits[6:]) == [19] * 2 + [28] * 3, "the fold that holds the new photo out is not fitted again"


def test_an_added_photo_keeps_every_part_and_repeats_only_what_depends_on_it(folder, trained, capsys, monkeypatch):
    judged(folder)
    split = paths.artifact("judge", f"{paths.OWN}{folder}", "judge") / "split.csv"
    before, n = artifacts.load_csv(split), len(trained)
    add_a_photo(folder)
    judged(folder)
    after = {row["digest"]: row for row in artifacts.load_csv(split)}
    assert len(after) == len(before) + 1 and all(after[row["digest"]] == row for row in before)
    assert len(trained) - n == n - 2, "the fold that holds the new photo out is as it was, for both arms"

    monkeypatch.setattr(sys, "argv", ["predict.py", str(next((folder / "test" / "ring").iterdir()))])
    runpy.run_path(str(split.parent / "use" / "predict.py"), run_name="__main__")
    told = capsys.readouterr().out
    assert any(f": {name} (" in told for name in drawn.CLASSES)
