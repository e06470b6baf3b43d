"""The campaign: tuned on seen classes, resumed, and what its tables and verdicts say."""

import pytest
from six_classes import PLACE

from sega_utils.core import parameters, records
from sega_utils.studies.few_shot import arms, campaign, claims, plan, rows, tables, worlds
from sega_utils.studies.zoo import claims as zoo_claims

SPLIT = worlds.split_of(6, (1, 4))
PLAN = {"shots": [1], "tuning": 1, "primary": {"shots": 1, "ours": "offsets in features", "features": "network"}}
PLAN["composed"] = {"ours": "composed", "to": "network", "shots": 1}
PLAN["shapes"] = {"ours": "shapes", "to": ["network", "longer"], "shots": 1}


@pytest.fixture
def few(monkeypatch):
    """Leave three arms, and two trials of each."""
    monkeypatch.setattr(arms, "TRIALS", 2)
    kept = {name: arms.ARMS[name] for name in ("real only", "offsets in features", "inverted only")}
    monkeypatch.setattr(arms, "ARMS", kept)


def test_what_is_on_record_is_not_measured_again(few, monkeypatch):
    first = campaign.measure_split(PLACE, SPLIT, [0, 1], ["baseline"], PLAN)
    assert [r["name"] for r in first] == ["network-1-4-draw0-baseline", "network-1-4-draw1-baseline"]
    assert {(row["arm"], row["shots"]) for row in first[0]["accuracies"]} >= {("real only", 1)}
    assert {row["arm"] for row in first[0]["accuracies"]} == {"real only", "offsets in features"}
    monkeypatch.setattr(arms, "measure", lambda *_: pytest.fail("it is on record"))
    assert campaign.measure_split(PLACE, SPLIT, [0, 1], ["baseline"], PLAN) == first


def test_tuning_takes_the_best_trial_and_looks_at_inner_splits_alone(few, monkeypatch):
    asked = []

    def measure(world, task, name, settings, seed):
        asked.append(world.digest)
        return [0.2, 0.7][: len(settings)]

    monkeypatch.setattr(arms, "measure", measure)
    found = campaign.tune(PLACE, SPLIT, "baseline", [1], 2)
    row = next(row for row in found["tuned"] if (row["arm"], row["shots"]) == ("real only", 1))
    assert row["settings"] == arms.trials("real only")[1] and row["score"] == pytest.approx(0.7)
    assert set(asked) == {worlds.world_of(PLACE, worlds.inner(SPLIT)).digest}
    with pytest.raises(ValueError, match="unknown group 'ablation'; known are baseline"):
        campaign.tune(PLACE, SPLIT, "ablation", [1], 1)


def test_every_arm_is_in_one_group_and_one_that_wants_ten_images_is_left_out_below():
    found = [name for group in campaign.GROUPS for name in campaign.named(group)]
    assert sorted(found) == sorted(arms.ARMS)
    names = ["mango", "smoothed", "fluctuated", "thresholded", "time and frequency", "separately"]
    assert campaign.named("other") == [*names, "SAGE, better half", "SAGE, random half"]
    assert campaign.able(campaign.named("adapted"), 3) == [] != campaign.able(campaign.named("adapted"), 10)


def test_a_group_of_which_no_arm_can_do_with_so_few_images_is_left_out(monkeypatch):
    monkeypatch.setattr(arms, "measure", lambda world, task, name, settings, seed: [0.5] * len(settings))
    assert campaign.measure_split(PLACE, SPLIT, [0], ["adapted"], PLAN | {"shots": [1, 3]}) == []
    (found,) = campaign.measure_split(PLACE, SPLIT, [0], ["adapted"], PLAN | {"shots": [1, 10]})
    assert {row["shots"] for row in found["accuracies"]} == {10} and found["param_source_steps"] == 2


def made(accuracies: dict[str, list[list[float]]], k: int = 10) -> list[dict]:
    """Return records of arms: for each the accuracies by split and draw."""
    shape = next(iter(accuracies.values()))
    return [
        {
            "param_unseen": f"s{s}",
            "param_draw": d,
            "param_features": "network",
            "accuracies": [{"arm": name, "shots": k, "accuracy": part[s][d]} for name, part in accuracies.items()],
        }
        for s in range(len(shape))
        for d in range(len(shape[0]))
    ]


def test_a_difference_has_an_interval_over_episodes_and_one_over_splits():
    found = rows.scores(made({"SAGE": [[0.5, 0.6], [0.7, 0.6]], "real only": [[0.4, 0.5], [0.4, 0.3]]}))
    row = rows.difference(found[10, "SAGE"], found[10, "real only"])
    assert row["diff"] == pytest.approx(20) and row["episodes"] == 4
    assert row["splits_high"] - row["splits_low"] == pytest.approx(2 * 12.7062 * 10, rel=1e-4)  # 10 and 30, t of 1
    assert row["ci_low"] > row["splits_low"]
    assert rows.difference(found[10, "SAGE"], {}) == {}


def test_the_strongest_baseline_is_that_of_the_seen_classes():
    tuning = {
        "param_features": "network",
        "param_group": "baseline",
        "param_unseen": "s0",
        "tuned": [
            {"arm": name, "shots": 1, "score": 0.6 if name == "CutMix" else 0.5} for name in campaign.named("baseline")
        ],
    }
    few = made({"CutMix": [[0.2], [0.3]], "real only": [[0.9], [0.8]], "offsets in features": [[0.5], [0.6]]}, k=1)
    first, *rest = rows.primary_rows([tuning, *few], PLAN)
    assert (first["to"], first["chosen on seen classes"]) == ("CutMix", "yes")
    assert first["diff"] == pytest.approx(30) and {row["to"] for row in rest} >= {"real only"}


def test_claims_are_judged_by_the_interval_over_splits():
    few = {
        "SAGE": [[0.50], [0.51], [0.49]],
        "SAGE-I": [[0.60], [0.62], [0.61]],
        "AGE": [[0.40], [0.42], [0.41]],
        "real only": [[0.70], [0.7], [0.7]],
        "inverted, alone": [[0.60], [0.61], [0.6]],
    }
    found = {(row["claim"], row["what"]): row for row in claims.claim_rows(made(few), "network")}
    assert len({number for number, _ in found}) == 9 and len(found) == len(claims.CLAIMS)
    verdicts = {what: row["verdict"] for (_, what), row in found.items()}
    assert verdicts["class embedding mapping helps"] == zoo_claims.CONTRADICTED
    assert verdicts["SAGE is above AGE"] == zoo_claims.REPRODUCED
    assert verdicts["inverted images cost 5 points"] == zoo_claims.REPRODUCED
    assert verdicts["the gain falls as images grow"] == zoo_claims.INCOMPARABLE
    assert found[1, "class embedding mapping helps"]["published"] == "+0.06 to +0.83 on 4 data sets"
    assert found[7, "inverted images cost 5 points"]["published"] == "+5.81 to +26.77 on 4 data sets"


def test_the_plan_names_splits_of_both_data_sets_and_an_arm_of_ours():
    found = plan.read()
    assert set(found["splits"]) == {"fashion-mnist", "mnist-5000"}
    for dataset in found["splits"]:
        splits = plan.splits_of(found, dataset)
        assert len(splits) == len(set(splits)) >= 5 and all(len(split.unseen) == 4 for split in splits)
    assert arms.ARMS[found["primary"]["ours"]].group == "ours"
    with pytest.raises(ValueError, match="no splits of 'cifar-10'; it has some of fashion-mnist"):
        plan.splits_of(found, "cifar-10")


@pytest.mark.parametrize(
    "change",
    [
        {"draws": 0},
        {"primary": {"ours": "GAN", "shots": 1, "features": "network"}},
        {"shapes": {"ours": "shapes", "to": ["network", "shapes"], "shots": 1, "steps": 9}},
        {"shapes": {"ours": "shapes", "to": ["networks"], "shots": 1, "steps": 9}},
        {"more": 1},
    ],
)
def test_what_is_no_plan_is_refused(change, tmp_path):
    import yaml

    file = tmp_path / "plan.yaml"
    file.write_text(yaml.safe_dump(parameters.load_yaml(plan.FILE) | change))
    with pytest.raises(ValueError):
        plan.read(file)


def test_tables_are_written_of_what_is_on_record(few, results):
    campaign.measure_split(PLACE, SPLIT, [0, 1], ["baseline"], PLAN)
    found = tables.write(*PLACE[:2], PLAN)
    assert {row["arm"] for row in found["few_shot"]} == {"real only", "offsets in features"}
    assert sorted(file.name for file in results.rglob("*.csv")) == [
        "few_shot-claims.csv",
        "few_shot-primary.csv",
        "few_shot.csv",
    ]
    assert len(records.read(*PLACE[:2], campaign.STAGE)) == 3


def test_a_record_of_more_numbers_of_images_is_not_replaced_by_one_of_fewer(few):
    campaign.measure_split(PLACE, SPLIT, [0], ["baseline"], PLAN | {"shots": [1, 3]})
    with pytest.raises(ValueError, match="holds 1, 3 images a class, and would be replaced by one of 1; leave --shots"):
        campaign.measure_split(PLACE, SPLIT, [0], ["baseline"], PLAN)


WHOLE = PLAN | {"splits": {"made": [[0], [1], [2]]}, "draws": 2}  # three splits, whose unseen class names them


def kind_of(features: str, told: dict[str, tuple[float, float]]) -> list[dict]:
    """Return records of all tasks of ``WHOLE`` on which arms have a score on seen classes, and an accuracy."""
    found, about = [], {"param_features": features, "dataset": "made"}
    for group, split in ((g, str(s)) for g in ("baseline", "fine-tuned") for s in range(3)):
        mine = {name: told[name] for name in campaign.named(group) if name in told}
        tuned = [{"arm": name, "shots": 1, "score": seen} for name, (seen, _) in mine.items()]
        found.append(about | {"param_group": group, "param_unseen": split, "tuned": tuned})
        for draw in range(2):
            parts = [{"arm": name, "shots": 1, "accuracy": value + draw / 100} for name, (_, value) in mine.items()]
            found.append(about | {"param_group": group, "param_unseen": split, "param_draw": draw, "accuracies": parts})
    return found


def arms_of(*groups: str, **others: tuple[float, float]) -> dict[str, tuple[float, float]]:
    """Return a score and an accuracy of every arm of some groups."""
    return dict.fromkeys((name for group in groups for name in campaign.named(group)), (0.1, 0.9)) | others


def test_features_are_compared_by_the_arm_that_is_strongest_on_seen_classes_in_each():
    network = kind_of("network", arms_of("baseline", CutMix=(0.9, 0.5)))
    composed = kind_of("composed", arms_of("baseline", **{"real only": (0.9, 0.6)}))
    row, *more = rows.composed_rows(network + composed, WHOLE)
    assert (row["arm"], row["to"], row["won"], row["planned"]) == ("real only", "network: CutMix", "yes", "yes")
    assert row["diff"] == pytest.approx(10) and row["episodes"] == 6 and not more
    assert rows.composed_rows(network, WHOLE) == []


def test_drawn_shapes_stand_beside_the_best_of_all_features_without_them_and_tuned_networks_count():
    groups, tuned = ("baseline", "fine-tuned"), "fine-tuning"
    sides = {
        "network": kind_of("network", arms_of(*groups, **{"real only": (0.7, 0.6)})),
        "longer": kind_of("longer", arms_of(*groups, **{tuned: (0.8, 0.5)})),
        "shapes": kind_of("shapes", arms_of(*groups, **{tuned: (0.9, 0.7)})),
    }
    planned = lambda found: [row for row in rows.composed_rows(found, WHOLE) if row["planned"]]
    (row,) = planned(sum(sides.values(), []))
    assert (row["features"], row["arm"], row["to"]) == ("shapes", tuned, "longer: fine-tuning")
    assert row["diff"] == pytest.approx(20) and row["won"] == "yes"
    (alone,) = rows.first_rows(sum(sides.values(), []), WHOLE)
    assert (alone["features"], alone["episodes"]) == ("shapes", 2) and alone["diff"] == pytest.approx(20)
    assert rows.first_rows([], WHOLE) == []
    for name, side in sides.items():  # nothing is concluded while a task, a split's tuning or a group is missing
        others = sum((part for kind, part in sides.items() if kind != name), [])
        a_task = [r for r in side if (r["param_unseen"], r.get("param_draw")) != ("2", 1)]
        a_split = [r for r in side if r["param_unseen"] != "2" or "tuned" not in r]
        for part in (a_task, a_split, [r for r in side if r["param_group"] == "baseline"], []):
            assert planned(others + part) == []
