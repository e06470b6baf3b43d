"""The campaign of robust training on a tiny run: what is tried, chosen, measured, and never twice."""

import pytest
import torch

from sega_utils.core import records, runtime
from sega_utils.evaluation import robustness
from sega_utils.studies.robust import arms, campaign, tables
from sega_utils.studies.robust.arms import Task
from sega_utils.studies.zoo.zoo import Place
from sega_utils.training import classifiers

TUNED = {"Std Aug": {"steps": 2, "batch_size": 6}}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Work in this process, and attack for a moment: three classes would be attacked two thousand steps long."""
    monkeypatch.setattr(runtime, "map_workers", lambda f, jobs, **_: [f(*job) for job in jobs])
    few = lambda *data, whole=False, **attack: robustness.restarted(*data, restarts=1 + whole, steps=2, **attack)
    monkeypatch.setattr(arms.robustness, "strongest", few)


@pytest.fixture
def task(run, plan):
    return Task(Place(*run, per_class=4), plan, plan["settings"], 0, TUNED)


def drawn_by(task, **change):
    return task._replace(settings=task.settings | {"augmenter": "offsets-pixels", "share": 0.3} | change)


def test_the_whole_plan_is_measured_once_and_the_sentence_is_computed(run, plan, monkeypatch):
    told = list(campaign.measure(*run, plan, TUNED, workers=1))
    found = {stage: records.read(*run, stage) for stage in (arms.TUNING, arms.MEASURED, arms.CHECKED)}
    assert {stage: len(rows) for stage, rows in found.items()} == {
        arms.TUNING: 4,
        arms.MEASURED: 7,  # two sides of two subsets; the teacher once; no attack for both sides
        arms.CHECKED: 2,
    }
    assert any("without the run's own generator" in line for line in told)
    rows, sentence = tables.write(*run, plan)
    assert len(rows["robust-trials"]) == 4 and [row["n"] for row in rows["robust-checks"]] == [12, 12]
    assert "2 of 2 planned pairs are on record" in sentence and "over 2 subsets" in sentence
    monkeypatch.setattr(classifiers, "train_classifier", lambda *_, **__: pytest.fail("trained again"))
    list(campaign.measure(*run, plan, TUNED, workers=1))
    assert records.read(*run, arms.MEASURED) == found[arms.MEASURED]


def test_a_classifier_is_kept_between_its_measurements_and_made_anew_of_other_settings(task, monkeypatch):
    first = arms.measure(task)
    trained, own = [], classifiers.train_classifier
    monkeypatch.setattr(classifiers, "train_classifier", lambda *a, **k: trained.append(1) or own(*a, **k))
    assert arms.check(task)["n"] == 12 and not trained
    other = arms.measure(task._replace(settings=task.settings | {"smoothing": 0.2}))
    assert len(trained) == 1 and other["name"] != first["name"]
    assert first["param_arm"] == "real" and first["gradients"] == 2 * 9 * 2
    arms.prepare(drawn := drawn_by(task))
    assert arms.measure(drawn)["param_arm"] == "synthetic" and "input_drawn" in arms.measure(drawn)


def test_labels_of_synthetic_images(task, monkeypatch):
    arms.prepare(drawn_by(task))
    images, targets = arms.synthetic(drawn_by(task, smoothing=0.3))
    assert images.shape == (18, 1, 32, 32)
    torch.testing.assert_close(targets[0], torch.tensor([0.8, 0.1, 0.1]))
    assert arms.synthetic(task) is None
    seen = torch.tensor([0] * 6 + [1, 1, 0, 0, 0, 0] + [2] * 6)  # the teacher takes four of class 1 for class 0
    monkeypatch.setattr(arms.classifiers, "predict", lambda *_: seen)
    filtered, kept = arms.synthetic(drawn_by(task, labels="filtered"))
    assert kept.sum(0).tolist() == [6, 2, 6] and torch.equal(filtered[6:8], images[6:8])
    dropped, any_of = arms.synthetic(drawn_by(task, labels="random"))
    assert any_of.sum(0).tolist() == [6, 2, 6] and not torch.equal(dropped, filtered)
    _, soft = arms.synthetic(drawn_by(task, labels="teacher"))
    torch.testing.assert_close(soft.sum(1), torch.ones(18))
    assert 0 < float(soft.max()) < 1


def test_a_teacher_of_more_real_images_is_refused(task):
    fewer = drawn_by(task._replace(place=task.place._replace(per_class=2)), labels="teacher")
    arms.prepare(fewer)
    with pytest.raises(ValueError, match="of a teacher that has seen 12 real images, and the classifier sees 6"):
        arms.synthetic(fewer)


def test_attacks_cost_gradients(task):
    count = lambda **change: arms.gradients(task.settings | {"inner": 3, "steps": 10} | change)
    assert [count(loss=loss) for loss in ("none", "pgd", "trades")] == [90, 360, 450]


def test_pairs_stand_together_by_seed(task):
    plan = task.plan | {"primary": task.plan["primary"] | {"seeds": [0, 1]}}
    winners = {"real": task.settings, "synthetic": drawn_by(task).settings}
    found = campaign.finals(task._replace(plan=plan), winners)
    assert [(a.seed, a.place.subset) for a, _ in found] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert all((a.seed, a.place) == (b.seed, b.place) for a, b in found)
    assert all((a.settings["share"], b.settings["share"]) == (0, 0.3) for a, b in found)
