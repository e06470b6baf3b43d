"""The campaign, end to end on blocks: what is made, on what, that it goes on, and what is concluded."""

import pytest
import torch
import yaml
from blocks import MISSING, RARE

from sega_utils.core import artifacts
from sega_utils.studies.groups import arms, campaign, fills, parts, plan, rows, scenes
from sega_utils.text import attributes

BUDGET = {"steps": 2, "seconds": 0.05, "clip_steps": 2, "projector_steps": 2, "autoencoder_seconds": 0.05}
TUNED = {arm: {"batch_size": 6} for arm in ("Std Aug", "Std Aug + CutMix", "Std Aug + TrivialAugment")}
PLANNED = {
    "missing": {"images": 4, "mnist-5000": [{"word": "wide", "classes": [0, 2]}]},
    "rare": {"datasets": ["mnist-5000"], "images": 8, "ratio": 4.0, "subsets": [0]},
    "policies": {"missing": ["Std Aug"], "rare": ["CutMix", "CMO"]},
    "seeds": [0],
    "budget": BUDGET,
}


@pytest.fixture
def here(monkeypatch):
    """Do a worker's jobs in this process, where the tiny data set is."""
    same = lambda function, jobs, *, workers, label: [function(*job) for job in jobs]
    monkeypatch.setattr(campaign.runtime, "map_workers", same)


def test_a_plan_is_measured_once_and_every_fill_is_of_the_right_classes(here, monkeypatch):
    lines = list(campaign.measure("mine", PLANNED, TUNED, 1))
    assert [line.split(": ")[1].removesuffix(" classifiers on record") for line in lines] == [
        "0 of 3",
        "3 of 7",
        "0 of 6",
    ]
    missing, rare = plan.scenes_of("mine", PLANNED)
    for name in fills.FILLS["missing"]:
        images, labels = fills.load(missing, name)
        assert labels.bincount().tolist() == [2, 0, 2] and images.shape == (4, 1, 32, 32)
    assert fills.load(rare, "GAN")[1].bincount(minlength=3).tolist() == (8 - scenes.counts(rare, 3)).tolist()
    found = rows.read("mine", PLANNED)
    assert {r["n_train"] for r in found if r["param_kind"] == "missing"} == {12, 16}
    assert {r["n_train"] for r in found if r["param_kind"] == "rare"} == {14, 24}
    progress = rows.progress_rows(found, PLANNED)
    assert [(row["planned"], row["on record"]) for row in progress] == [(7, 7), (6, 6)]
    assert len(rows.primary_rows(found, PLANNED)) == 1
    compared = [r for r in found if r["param_kind"] == "missing" and r["param_fill"] in ("", *plan.PRIMARY[1])]
    assert len(compared) == 3 and len(rows.primary_rows(compared, PLANNED)) == 1
    assert not rows.primary_rows(compared[:2], PLANNED)
    tables = rows.write_tables("mine", PLANNED)
    assert {row["arm"] for row in tables["groups"]} >= {"Std Aug", "CMO, adjusted", "prompts of what is missing"}
    monkeypatch.setattr(arms.classifiers, "train_classifier", None)  # nothing is trained again
    assert "3 of 3" in next(campaign.measure("mine", PLANNED, TUNED, 1))


def test_repeated_images_are_those_next_to_the_gap():
    labels = torch.tensor([0, 0, 2])
    images = fills.repeated(MISSING, BUDGET, labels)
    train = scenes.real_of(MISSING).train
    width = lambda x: (x[:, 0, 10] > 0).sum(1)
    own = width(train.images)[train.labels == 0].sort(descending=True).values
    assert width(images)[:2].tolist() == own[:2].tolist()


def test_clip_is_told_that_what_is_left_of_a_class_is_not_what_is_missing():
    train = scenes.real_of(MISSING).train
    column = list(attributes.WORDS).index("width")
    bins, usual = parts.bins_of(MISSING, train), attributes.terciles(attributes.measure(train.images), train.labels)
    for c in MISSING.classes:
        assert set(bins[train.labels == c, column].tolist()) == {0, 1}
    assert torch.equal(bins[train.labels == 1], usual[train.labels == 1])
    short = MISSING._replace(third=0)
    assert set(parts.bins_of(short, train)[train.labels == 0, column].tolist()) == {1, 2}


def test_prompts_ask_for_what_is_missing_and_for_nothing_else():
    texts, class_ids = parts.bank(MISSING, scenes.real_of(MISSING).train)
    kinds = parts.kinds_of(MISSING, texts, class_ids)
    asked = [texts[i] for i in kinds["asked"].nonzero()[:, 0].tolist()]
    assert asked and all("wide" in text for text in asked)
    assert set(class_ids[kinds["asked"]].tolist()) == set(MISSING.classes) == set(class_ids[kinds["there"]].tolist())
    assert not (kinds["asked"] & kinds["there"]).any()


def test_what_is_made_of_other_images_is_made_anew():
    made = []
    part = lambda settings: parts.once(MISSING, "x", settings, lambda: (made.append(1) or {"a": torch.zeros(1)}, {}))
    part({"steps": 1}), part({"steps": 1}), part({"steps": 2})
    assert len(made) == 2


def test_rare_images_are_pasted_as_often_as_all_classes_are():
    real = scenes.real_of(RARE).train
    settings = arms.settings_of("CMO", TUNED, 2)
    model = arms.train_cmo(real, seed=0, **settings)
    again = arms.train_cmo(real, seed=0, **settings)
    assert artifacts.digest(model.state_dict()) == artifacts.digest(again.state_dict()) and not model.training


def test_logits_are_adjusted_by_how_frequent_classes_are():
    real = scenes.real_of(RARE).train
    chance = arms.adjustment(real).exp()
    assert torch.allclose(chance, real.labels.bincount() / len(real.labels))


def test_differences_are_of_means_over_seeds_and_paired_by_scene():
    def record(scene, arm, fill, seed, worst, validation):
        values = {"accuracy": 0.8, "lacking": 0.5, "worst": worst, "accuracy_validation": validation, "seconds": 60.0}
        return values | {
            "dataset": "d",
            "param_kind": "missing",
            "param_scene": scene,
            "param_arm": arm,
            "param_fill": fill,
            "param_seed": seed,
        }

    found = []
    for scene, gain in (("a", 0.02), ("b", 0.04)):
        for seed, noise in ((0, 0.1), (1, -0.1)):
            found += [record(scene, "Std Aug", "", seed, 0.9, 0.5), record(scene, "CutMix", "", seed, 0.4 + noise, 0.6)]
            found += [record(scene, "CutMix", fills.OURS["missing"], seed, 0.4 + gain, 0.7)]
    assert rows.best_policy([r for r in found if r["param_scene"] == "a"]) == "CutMix"
    row = next(row for row in rows.compared_rows(found) if row["metric"] == "worst")
    assert row["theirs"] == "best on real images" and row["scenes"] == 2
    assert row["diff"] == pytest.approx(3) and row["ci_low"] == pytest.approx(3 - 12.706 * 1, abs=0.01)


def test_the_committed_plan_is_read_and_mistakes_are_named(tmp_path):
    planned = plan.read()
    found = plan.scenes_of("mine", planned)
    assert [s.kind for s in found].count("missing") == 6 and len({s.name for s in found if s.kind == "rare"}) == 3
    assert len({(s.dataset, s.name) for s in found}) == len(found)
    for name, change in (
        ("missing", {"images": 4, "mnist-5000": [{"word": "heavy", "classes": [0]}]}),
        ("policies", {"missing": ["None"], "rare": []}),
        ("budget", {"steps": 1}),
    ):
        file = tmp_path / "plan.yaml"
        artifacts.save_text(file, yaml.safe_dump(planned | {name: change}))
        with pytest.raises(ValueError, match=name if name != "policies" else "policies has 'None'"):
            plan.read(file)
