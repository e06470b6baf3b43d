"""A comparison stands in the table of what is settled only when it is complete."""

import pytest
from fake_run import DATASET, RUN, write_run

from sega_utils.core import parameters, paths
from sega_utils.report import settled
from sega_utils.studies.few_shot import rows as few_rows
from sega_utils.studies.robust import tables as robust_tables
from sega_utils.training import recipes


@pytest.mark.parametrize(
    ("low", "high", "says"),
    [(0.1, 2.0, "a gain"), (-2.0, -0.1, "a loss"), (-0.1, 0.2, "no difference shown; a gain above 0.20 is ruled out")],
)
def test_an_interval_is_said_in_words(low, high, says):
    row = settled.row_of(
        "q", "10_augmenters", "vae", "CutMix", {"diff": 0, "ci_low": low, "ci_high": high, "over": "2"}
    )
    assert row["says"] == says and f"[{low:+.2f}, {high:+.2f}]" in row["points"]


def test_gains_and_losses_are_counted():
    row = lambda says, points="+1": {"says": says, "points": points}
    rows = [row("a gain"), row("no difference shown; a gain above 1 is ruled out"), row("not measured yet", "")]
    assert "Of 2 primary comparisons" in settled.counted(rows) and "1 show a gain" in settled.counted(rows)
    assert settled.counted(rows).endswith("0 a loss, and 1 no difference; 1 are not measured yet.")
    assert settled.counted(rows[:2]).endswith("and 1 no difference.")


def test_what_is_not_measured_has_no_points_and_says_so(results):
    write_run()
    rows = settled.settled_rows(RUN, DATASET)
    assert len(rows) == 14 and {row["says"] for row in rows} == {"not measured yet"}
    assert all(row["points"] == "" and tuple(row) == settled.COLUMNS for row in rows)


def test_a_part_of_a_plan_is_no_answer(results, monkeypatch):
    part = {"diff": 3.0, "ci_low": 1.0, "ci_high": 5.0, "splits_low": 1.0, "splits_high": 5.0, "to": "LDA"}
    composed = part | {"planned": "yes", "arm": "centroid", "episodes": 30}
    kinds = [composed | {"features": kind} for kind in ("composed", "shapes")]
    monkeypatch.setattr(few_rows, "composed_rows", lambda *_: kinds)
    monkeypatch.setattr(few_rows, "primary_rows", lambda *_: [part | {"episodes": 4}])
    assert [row["says"] for row in settled.of_few_shots(RUN)] == 2 * ["not measured yet", "a gain", "a gain"]
    monkeypatch.setattr(few_rows, "primary_rows", lambda *_: [part | {"episodes": 30}])
    assert {row["says"] for row in settled.of_few_shots(RUN)} == {"a gain"}

    pairs = {
        side: [{"param_subset": k, "param_seed": 0, "robust": 0.7 + gain} for k in range(4)]
        for side, gain in (("synthetic", 0.02), ("real", 0.0))
    }
    monkeypatch.setattr(robust_tables, "pairs", lambda *_: pairs)
    assert settled.of_robust(RUN, DATASET)["says"] == "not measured yet"
    for mine in pairs.values():
        mine.append(mine[0] | {"param_subset": 4, "robust": mine[0]["robust"] + 0.001})
    assert settled.of_robust(RUN, DATASET)["says"] == "a gain"


def test_the_plain_sentence_names_where_there_is_a_gain_or_says_that_there_is_none():
    rows = [{"question": q, "says": said, "points": "+1"} for q, said in (("a", settled.LOSS), ("b", settled.GAIN))]
    assert settled.plainly(rows).endswith("Yes, in 1 of 2 settings: b.")
    assert settled.plainly(rows[:1]).endswith("Not shown in any setting.")
    assert settled.plainly([rows[1] | {"points": ""}]).endswith("Nothing is measured yet.")


def test_training_for_longer_is_an_answer_once_all_planned_seeds_are_measured(results, monkeypatch):
    plan = parameters.load_yaml(settled.LONGER)["05_training"]
    first, *_, ours = plan["ARMS"]
    made = lambda seeds: [
        {"param_arm": arm, "param_seed": seed, "accuracy": 0.8 + 0.01 * (arm == ours) + 0.001 * seed % 2}
        for seed in seeds
        for arm in (first, ours)
    ]
    for seeds, says in ((plan["SEEDS"][:-1], "not measured yet"), ([0, 1, *plan["SEEDS"]], settled.GAIN)):
        monkeypatch.setattr(settled.records, "read", lambda run, dataset, stage, seeds=seeds: made(seeds))
        row = settled.of_longer("reference/embedded", DATASET)
        assert row["says"] == says and "2,000 steps" in row["question"]
    assert row["over"] == f"{len(plan['SEEDS'])} seeds" and not set(plan["SEEDS"]) & {0, 1, 2}


def test_the_settings_for_longer_differ_in_the_steps_alone():
    plan = parameters.load_yaml(settled.LONGER)["05_training"]
    longer, tuned = recipes.read(paths.located(plan["TUNED"])), recipes.read(paths.PARAMS / "tuned.yaml")
    assert longer == {arm: tuned[arm] | {"steps": 2000} for arm in plan["ARMS"]}
