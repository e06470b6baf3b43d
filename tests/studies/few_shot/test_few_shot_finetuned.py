"""Arms that tune the network: what they begin with, what they learn, what stays as it is, and what is refused."""

import pytest
import torch
from six_classes import PLACE

from sega_utils.core import artifacts, records, runtime
from sega_utils.studies.few_shot import arms, campaign, claims, draws, finetuned, rows, worlds

SPLIT = worlds.split_of(6, (1, 4))
ONE = {"lr": 0.003, "steps": 3, "trained": "block"}
PLAN = {"shots": [1], "tuning": 1, "primary": {"shots": 1, "ours": "offsets in features", "features": "network"}}


@pytest.fixture
def world():
    return worlds.world_of(PLACE, SPLIT)


@pytest.fixture
def two(monkeypatch):
    """Leave two arms that tune the network, and two trials of each."""
    monkeypatch.setattr(arms, "TRIALS", 2)
    monkeypatch.setattr(draws, "EACH", 6)
    kept = {name: arms.ARMS[name] for name in ("real only", "fine-tuning", "fine-tuning + CutMix")}
    monkeypatch.setattr(arms, "ARMS", kept)


def digest(model) -> str:
    return artifacts.digest(dict(model.state_dict()))


def drawn_of(task, labels=None) -> draws.Drawn:
    return task.few.images, task.few.labels if labels is None else labels, torch.ones(len(task.few.labels))


def test_before_the_first_step_it_is_a_new_head_on_the_networks_features(world):
    model = finetuned.Tuned(world, 2, trained="all", rng=runtime.generator(0))
    wanted = world.plain(world.query.images) @ model.head.weight.T + model.head.bias
    assert model.head.weight.shape == (2, 64) and torch.allclose(model(world.query.images), wanted, atol=1e-4)
    again = finetuned.Tuned(world, 2, trained="block", rng=runtime.generator(0))
    assert digest(model) == digest(again)


def test_a_task_that_can_be_told_apart_is_learnt_as_its_labels_say(world):
    task = worlds.task_of(world, 10, 0)
    swapped = task._replace(few=task.few._replace(labels=1 - task.few.labels))
    tell = lambda task: finetuned.accuracy(world, task, None, 0, lr=0.001, steps=60, trained="all")
    assert tell(task) > 0.95 and tell(swapped) < 0.05


def test_the_seed_says_all_and_the_worlds_network_stays_as_it_is(world):
    task, before = worlds.task_of(world, 2, 0), digest(world.network)
    more = drawn_of(task)
    first, again, other = (finetuned.fit(world, task, more, seed=seed, ratio=0.9, **ONE) for seed in (0, 0, 1))
    assert digest(first) == digest(again) != digest(other)
    begun = finetuned.Tuned(world, 2, trained="block", rng=runtime.generator(0))
    assert digest(world.network) == before and not first.training
    assert not torch.equal(first.head.weight, begun.head.weight)


@pytest.mark.parametrize("trained", finetuned.TRAINED)
def test_what_is_not_trained_stays_and_so_do_the_statistics_of_seen_classes(world, trained):
    task = worlds.task_of(world, 1, 0)
    before = world.network.state_dict()
    after = finetuned.fit(world, task, lr=0.01, steps=2, trained=trained).body.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert any(name.startswith("blocks.2") for name in moved) and not any("running" in name for name in moved)
    assert any(not name.startswith("blocks.2") for name in moved) == (trained == "all")


def test_drawn_images_count_by_ratio_and_the_query_is_read_as_images(world):
    task = worlds.task_of(world, 3, 0)
    wrong = drawn_of(task, 1 - task.few.labels)
    tell = lambda ratio: finetuned.accuracy(world, task, wrong, 0, lr=0.003, steps=100, trained="all", ratio=ratio)
    assert tell(0.1) > 0.8 > 0.2 > tell(0.9)
    blind = world._replace(features={})
    assert finetuned.accuracy(blind, task, None, 0, **ONE) == finetuned.accuracy(world, task, None, 0, **ONE)
    dark = world._replace(query=world.query._replace(images=torch.zeros_like(world.query.images)))
    assert finetuned.accuracy(dark, task, None, 0, **ONE) == 0.5


def test_an_image_of_two_classes_weighs_as_much_as_another(world):
    task = worlds.task_of(world, 2, 0)
    images, labels, weights = drawn_of(task)
    whole, halved = (finetuned.fit(world, task, (images, labels, weights * share), **ONE) for share in (1.0, 0.5))
    assert digest(whole) == digest(halved)


def test_what_cannot_be_learnt_from_is_refused(world):
    task = worlds.task_of(world, 2, 0)
    few = task.few._replace(images=task.few.images[:2], labels=task.few.labels[:2])
    with pytest.raises(ValueError, match=r"few images of the classes are \[2, 0\]; allowed is 1 or more of each"):
        finetuned.fit(world, task._replace(few=few), **ONE)
    none = task.few._replace(images=task.few.images[:0], labels=task.few.labels[:0])
    with pytest.raises(ValueError, match=r"are \[0, 0\]; allowed"):
        finetuned.fit(world, task._replace(few=none), **ONE)
    for change, told in (
        ({"lr": 0.0}, "lr is 0.0 and steps are 3; allowed"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"steps": 0}, "steps are 0; allowed"),
        ({"trained": "none"}, "trained is 'none'; allowed are block, all"),
    ):
        with pytest.raises(ValueError, match=told):
            finetuned.fit(world, task, **ONE | change)
    with pytest.raises(ValueError, match="latents, which have no network to tune; choose any other kind"):
        finetuned.fit(world._replace(network=None), task, **ONE)
    with pytest.raises(ValueError, match="ratio 1.0 puts 48 synthetic images into a batch of 48"):
        finetuned.fit(world, task, drawn_of(task), ratio=1.0, **ONE)
    with pytest.raises(FloatingPointError, match="the loss of fine-tuning is nan at step 3.*choose a lower lr"):
        finetuned.fit(world, task, lr=1e30, steps=3, trained="all")


def test_each_arm_has_as_many_trials_and_those_that_add_images_try_the_same():
    names = campaign.named("fine-tuned")
    assert names == ["fine-tuning", *(f"fine-tuning + {name}" for name in arms.MORE)]
    assert {len(arms.trials(name)) for name in names} == {arms.TRIALS}
    assert all(arms.trials(name) == arms.trials(names[1]) for name in names[2:])
    assert {each["trained"] for each in arms.trials(names[1])} == set(finetuned.TRAINED)


def test_settings_are_tuned_on_seen_classes_alone_and_records_say_what_was_seen(two, monkeypatch):
    asked, measure = [], finetuned.accuracy

    def accuracy(world, task, drawn, seed, **settings):
        asked.append((world.digest, world.split.final))
        return measure(world, task, drawn, seed, **settings)

    monkeypatch.setattr(finetuned, "accuracy", accuracy)
    found = campaign.tune(PLACE, SPLIT, "fine-tuned", [1], 1)
    part = worlds.world_of(PLACE, worlds.inner(SPLIT))
    assert set(asked) == {(part.digest, False)} and len(asked) == 2 * arms.TRIALS
    assert found["name"] == "network-tuning-1-4-fine-tuned" and found["input_seen"] == part.digest
    assert [row["arm"] for row in found["tuned"]] == ["fine-tuning", "fine-tuning + CutMix"]
    (record,) = campaign.measure_split(PLACE, SPLIT, [0], ["fine-tuned"], PLAN)
    assert record["input_seen"] == worlds.world_of(PLACE, SPLIT).digest and record["param_tuned_batch"] == 48
    assert {row["arm"] for row in record["accuracies"]} == {"fine-tuning", "fine-tuning + CutMix"}


def test_what_other_groups_have_on_record_stays_valid(two):
    for group in campaign.GROUPS:
        about = campaign.asked(PLACE, SPLIT, group)
        assert ("tuned_batch" in about) == (group == "fine-tuned")
        assert "fine-tuning" not in about["arms"] or group == "fine-tuned"


def test_without_a_network_the_group_is_left_out(two):
    assert campaign.possible(["baseline", "fine-tuned"], [1], "latents") == ["baseline"]
    assert campaign.possible(["baseline", "fine-tuned"], [1], "network") == ["baseline", "fine-tuned"]


def test_tables_show_it_beside_real_images_alone_and_beside_itself_without_more_images(two):
    campaign.measure_split(PLACE, SPLIT, [0, 1], ["baseline", "fine-tuned"], PLAN)
    found = records.read(*PLACE[:2], campaign.STAGE)
    shown = [(row["group"], row["arm"], row["to"]) for row in rows.arm_rows(found)]
    assert shown == [
        ("baseline", "real only", ""),
        ("fine-tuned", "fine-tuning", "real only"),
        ("fine-tuned", "fine-tuning + CutMix", "real only"),
        ("fine-tuned", "fine-tuning + CutMix", "fine-tuning"),
    ]


def tuning(group: str, scores: dict[str, float], split: str = "s0", features: str = "network") -> dict:
    """Return a record of tuning with one image of each class."""
    about = {"param_features": features, "param_group": group, "param_unseen": split}
    return about | {"tuned": [{"arm": arm, "shots": 1, "score": score} for arm, score in scores.items()]}


def measured(accuracies: dict[str, float], features: str = "network") -> list[dict]:
    """Return records of two splits on which arms have these accuracies."""
    rows_of = [{"arm": arm, "shots": 1, "accuracy": value} for arm, value in accuracies.items()]
    about = {"param_features": features, "param_draw": 0, "accuracies": rows_of}
    return [about | {"param_unseen": split} for split in ("s0", "s1")]


def all_but(**others: float) -> dict[str, float]:
    return dict.fromkeys(campaign.named("baseline"), 0.5) | others


def test_the_planned_comparison_keeps_its_rival_and_says_who_else_would_be_it():
    found = [tuning("baseline", all_but(CutMix=0.6)), tuning("fine-tuned", {"fine-tuning": 0.7})]
    assert rows.strongest(found, 1) == "CutMix" and rows.strongest(found, 1, rows.BASELINES) == "fine-tuning"
    found += measured(all_but(**{"soft mapping": 0.8, "fine-tuning": 0.9}))
    primary = {"primary": {"shots": 1, "ours": "soft mapping", "features": "network"}}
    first, *rest = rows.primary_rows(found, primary)
    assert (first["to"], first["chosen on seen classes"]) == ("CutMix", "yes")
    marked = {row["to"]: row["chosen on seen classes"] for row in rest if row["chosen on seen classes"]}
    assert marked == {"fine-tuning": "with fine-tuning"}
    weak = [tuning("fine-tuned", {"fine-tuning": 0.1}), *(r for r in found if r.get("param_group") != "fine-tuned")]
    assert [row["chosen on seen classes"] for row in rows.primary_rows(weak, primary)][:1] == ["yes"]


def test_an_arm_that_is_not_tuned_on_every_split_is_not_the_strongest():
    found = [tuning("baseline", all_but(CutMix=0.6), split) for split in ("s0", "s1")]
    found.append(tuning("fine-tuned", {"fine-tuning": 0.9}))
    assert rows.strongest(found, 1, rows.BASELINES) == "CutMix"
    found.append(tuning("fine-tuned", {"fine-tuning": 0.9}, "s1"))
    assert rows.strongest(found, 1, rows.BASELINES) == "fine-tuning"


def test_other_features_are_held_against_it_only_where_both_sides_have_it_and_nobody_planned_otherwise(monkeypatch):
    monkeypatch.setattr(rows, "is_whole", lambda *_: True)
    found = []
    for features in ("network", "composed", "blended"):
        found += measured(all_but(**{"fine-tuning": 0.9}), features)
        found.append(tuning("baseline", all_but(CutMix=0.6), features=features))
        if features != "blended":
            found.append(tuning("fine-tuned", {"fine-tuning": 0.7}, features=features))
    shapes = {"ours": "shapes", "to": ["network"], "shots": 1}
    plan = {"composed": {"ours": "composed", "to": "network", "shots": 1}, "shapes": shapes, "shots": [1]}
    told = lambda plan: {row["features"]: (row["arm"], row["to"]) for row in rows.composed_rows(found, plan)}
    assert told(plan) == {kind: ("CutMix", "network: CutMix") for kind in ("composed", "blended")}
    plan["composed"]["ours"] = "blended"
    assert told(plan)["composed"] == ("fine-tuning", "network: fine-tuning")


def test_a_claim_of_the_strongest_baseline_counts_it():
    found = [tuning("baseline", all_but(CutMix=0.6)), tuning("fine-tuned", {"fine-tuning": 0.7})]
    found += measured(all_but(**{"SAGE": 0.8, "fine-tuning": 0.9}))
    for r in found:
        for row in [*r.get("tuned", ()), *r.get("accuracies", ())]:
            row["shots"] = claims.SHOTS
    (row,) = (row for row in claims.claim_rows(found, "network") if row["claim"] == 4)
    assert row["why"].startswith("SAGE less fine-tuning") and row["ours"] == pytest.approx(-10)
