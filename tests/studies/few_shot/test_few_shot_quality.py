"""Quality of what arms draw: what is measured, on which images, and that accuracies and claims do not read it."""

import pytest
import torch
from six_classes import PLACE

from sega_utils.augmenters import base
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.studies.few_shot import arms, campaign, claims, draws, quality, rows, tables, worlds
from sega_utils.training import classifiers

SPLIT = worlds.split_of(6, (1, 4))
PLAN = {"shots": [1, 3], "tuning": 1, "primary": {"shots": 1, "ours": "offsets in features", "features": "network"}}
PLAN["composed"] = {"ours": "composed", "to": "network", "shots": 1}
PLAN["shapes"] = {"ours": "shapes", "to": ["network", "longer"], "shots": 1}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Leave a few arms, a trial of each, and a judge that is trained for seconds."""
    monkeypatch.setattr(arms, "TRIALS", 1)
    monkeypatch.setattr(draws, "EACH", 6)
    monkeypatch.setattr(quality, "STEPS", 40)
    names = "real only", "MixUp", "offsets in features", "SAGE", "inverted only", "labels permuted", "soft mapping"
    monkeypatch.setattr(arms, "ARMS", {name: arms.ARMS[name] for name in names})


@pytest.fixture
def world():
    return worlds.world_of(PLACE, SPLIT)


@pytest.fixture
def standard(world):
    return quality.standard_of(world, quality.judge_of(PLACE, SPLIT, world))


def measured(groups=quality.GROUPS, place=PLACE):
    return quality.measure_split(place, SPLIT, [0], list(groups), PLAN)


def test_only_arms_that_draw_images_are_measured_and_only_at_some_shots():
    found = {r["param_group"]: r["images"] for r in measured(campaign.GROUPS) if "images" in r}
    assert {group: {row["arm"] for row in part} - {quality.REAL} for group, part in found.items()} == {
        "baseline": {"MixUp"},
        "method": {"SAGE"},
        "control": {"inverted only", "labels permuted"},
    }
    # the plan has no 10, and 3 is not asked for
    assert {row["shots"] for part in found.values() for row in part} == {1}


def test_images_are_those_of_the_tuned_settings_and_are_held_against_test_images(world, standard):
    record = next(r for r in measured(["method"]) if "images" in r)
    found = next(row for row in record["images"] if (row["arm"], row["shots"]) == ("SAGE", 1))
    alpha = campaign.settings_of(PLACE, SPLIT, ["method"], PLAN["shots"], 1)["SAGE"]["1"]["alpha"]
    task = worlds.task_of(world, 1, 0)
    images, labels, _ = draws.edited(world, task, runtime.generator(0), alpha=alpha)
    features = world.encode(images)
    test = world.encode(world.query.images)
    left = [f for f in test if any(torch.allclose(f, other, atol=1e-5) for other in standard.rest)]
    assert len(left) == len(test) - len(standard.real[0])
    assert found["frechet"] == pytest.approx(base.frechet_distance(torch.stack(left), features), rel=1e-3)
    assert found["recall"] == base.precision_recall(standard.some, features)["recall"]
    assert found["intra_class_distance"] == pytest.approx(base.intra_class_distance(images, labels))
    right = classifiers.predict(standard.judge, images) == labels
    assert found["retention"] == pytest.approx(float(right.float().mean())) and found["n"] == 2 * draws.EACH


def test_what_is_compared_and_what_stands_beside_the_arms_are_different_test_images_of_each_class(world, standard):
    images, labels, _ = standard.real
    apart = world.encode(images)
    assert labels.bincount().tolist() == [draws.EACH] * 2 and len(standard.some) == 2 * draws.EACH
    assert len(standard.rest) == len(world.query.labels) - len(labels)
    assert torch.cdist(standard.some, apart, compute_mode="donot_use_mm_for_euclid_dist").min() > 1e-6
    assert torch.cdist(standard.rest, apart, compute_mode="donot_use_mm_for_euclid_dist").min() > 1e-6
    assert torch.cdist(standard.some, standard.rest).min(1).values.max() < 1e-2  # these are among the rest


def test_a_judge_of_all_real_images_keeps_real_classes_and_tells_permuted_labels(world, standard):
    real = quality.judged(world, standard, standard.real)
    wrong = quality.judged(world, standard, (standard.real[0], 1 - standard.real[1], standard.real[2]))
    assert real["retention"] >= 0.9 and wrong["retention"] == pytest.approx(1 - real["retention"])
    noise = torch.rand(standard.real[0].shape, generator=torch.Generator().manual_seed(0))
    other = quality.judged(world, standard, (noise, *standard.real[1:]))
    assert other["frechet"] > real["frechet"] and other["precision"] < real["precision"]


def test_an_image_of_two_classes_counts_once_as_an_image_and_by_its_shares_as_a_class(world, standard):
    images, labels, weights = standard.real
    twice = torch.cat((images[:1], images[:1], images[1:]))
    both = torch.cat((labels[:1], 1 - labels[:1], labels[1:])), torch.cat((torch.tensor([0.7, 0.3]), weights[1:]))
    found, plain = quality.judged(world, standard, (twice, *both)), quality.judged(world, standard, standard.real)
    assert found["n"] == plain["n"] and found["frechet"] == pytest.approx(plain["frechet"], abs=1e-5)
    first = classifiers.predict(standard.judge, images[:1]) == labels[:1]
    lost = 0.3 if first else -0.3
    assert found["retention"] == pytest.approx(plain["retention"] - lost / len(labels), abs=1e-5)
    assert quality.distinct(torch.zeros(3, 1, 32, 32), torch.ones(3)).all()  # an arm may draw an image again


def test_the_judge_is_trained_once_a_split_and_one_of_other_images_is_refused(world, monkeypatch):
    first = quality.judge_of(PLACE, SPLIT, world)
    monkeypatch.setattr(classifiers, "train_classifier", lambda *_, **__: pytest.fail("it is in its file"))
    again = quality.judge_of(PLACE, SPLIT, world)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values()))
    changed = world._replace(pool=world.pool._replace(images=1 - world.pool.images))
    with pytest.raises(artifacts.ArtifactError, match="allowed are only .* those of the unseen classes now: delete it"):
        quality.judge_of(PLACE, SPLIT, changed)


def test_what_is_on_record_is_not_measured_again_and_other_settings_are(monkeypatch):
    tuned = {"SAGE": {"1": {"alpha": 1.0, "ratio": 0.5, "strength": 1.0}}}
    first = quality.measure(PLACE, SPLIT, "method", tuned, [1])
    assert first["name"] == "network-quality-1-4-method"
    tuned["SAGE"]["1"]["strength"] = 10.0  # of the head, which draws nothing
    monkeypatch.setattr(quality, "judged", lambda *_: pytest.fail("it is on record"))
    assert quality.measure(PLACE, SPLIT, "method", tuned, [1]) == first
    monkeypatch.setattr(quality, "judged", lambda *_: {"n": 1})
    tuned["SAGE"]["1"]["alpha"] = 2.0
    again = quality.measure(PLACE, SPLIT, "method", tuned, [1])["images"]
    assert {"arm": "SAGE", "shots": 1, "n": 1} in again


def test_latents_are_refused_before_anything_is_measured(monkeypatch):
    monkeypatch.setattr(campaign, "measure_split", lambda *_: pytest.fail("it is too late"))
    with pytest.raises(
        ValueError, match="received latents, allowed are network, composed, blended, longer, shapes, style"
    ):
        quality.measure_split(PLACE._replace(features="latents"), SPLIT, [0], ["method"], PLAN)


def test_accuracies_and_claims_do_not_change_when_quality_is_on_record():
    campaign.measure_split(PLACE, SPLIT, [0], list(campaign.GROUPS[:3]), PLAN)
    told = lambda found: (rows.arm_rows(found), rows.primary_rows(found, PLAN), claims.claim_rows(found, "network"))
    read = lambda: records.read(*PLACE[:2], campaign.STAGE)
    before, count = told(read()), len(read())
    assert quality.rows(read()) == []
    measured()
    assert told(read()) == before and len(read()) == count + 3


def test_the_table_has_means_over_splits_and_says_that_it_is_no_fid():
    values = dict.fromkeys(("frechet", "precision", "recall", "intra_class_distance", "retention"), 0.5) | {"shots": 10}
    about = {"param_features": "style"}
    found = [
        about | {"param_unseen": "a", "images": [values | {"arm": arm} for arm in ("SAGE", quality.REAL, "gone")]},
        about | {"param_unseen": "b", "images": [values | {"arm": "SAGE", "frechet": 0.1, "retention": 1.0}]},
        about | {"param_unseen": "b", "param_draw": 0, "accuracies": [{"arm": "SAGE", "shots": 10, "accuracy": 0.5}]},
    ]
    real, sage = quality.rows(found)
    assert (real["arm"], real["group"], real["splits"]) == (quality.REAL, "real", 1)
    assert list(sage) == ["features", "shots", "group", "arm", *quality.COLUMNS, "splits"]
    assert (sage["features"], sage["shots"], sage["group"], sage["arm"]) == ("style", 10, "method", "SAGE")
    assert sage["frechet (not FID)"] == pytest.approx(0.3) and sage["retention"] == pytest.approx(0.75)
    assert sage["splits"] == 2


def test_the_table_is_written_beside_the_others():
    measured(["method", "baseline"])
    measured(["method"], PLACE._replace(features="style"))  # whose images another generator draws
    found = tables.write(*PLACE[:2], PLAN)["few_shot-quality"]
    assert [row["arm"] for row in found] == [quality.REAL, "MixUp", "SAGE", quality.REAL, "SAGE"]
    assert [row["features"] for row in found] == ["network"] * 3 + ["style"] * 2
    kept = artifacts.load_csv(paths.artifact(*PLACE[:2], "tables") / "few_shot-quality.csv")
    assert [row["arm"] for row in kept] == [row["arm"] for row in found]


def test_the_verb_measures_it_when_asked_to(monkeypatch):
    from sega_utils import __main__ as commands

    asked = []
    monkeypatch.setattr(runtime, "map_workers", lambda function, jobs, **_: asked.append(function))
    monkeypatch.setattr(tables, "write", lambda *_: {})
    for flag in ([], ["--quality"]):
        commands.main(["few-shot", "--run", "mine", "--brief", *flag])
    assert asked == [campaign.measure_split, quality.measure_split]
