import json
import shutil

import pytest
from fake_run import DATASET, RUN, change, write_run

from sega_utils.__main__ import main
from sega_utils.core import artifacts, paths, records, schema
from sega_utils.report import tables
from sega_utils.studies import publish, reproduce

REFERENCE = f"reference/{RUN}"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Write a run, publish it into a reference folder of the test's own, and return that folder."""
    monkeypatch.setattr(paths, "reference_root", lambda: tmp_path / "project" / "results" / "reference")
    write_run()
    assert publish.publish(RUN, DATASET)["deleted"] == 0
    return paths.reference_root() / RUN / DATASET


def of(found, stage, quantity):
    return [row for row in found if (row["stage"], row["quantity"]) == (stage, quantity)]


def test_a_run_is_within_tolerance_of_itself_and_says_what_was_re_used(published, capsys):
    assert main(["verify", "--run", RUN, "--dataset", DATASET, "--reference", REFERENCE, "--since", "0"]) == 0
    said = capsys.readouterr().out
    total = len(list((paths.results_root() / RUN / DATASET / "records").glob("*/*.json")))
    assert f"0 of {total} records are re-used from an earlier run of yours, {total} measured now." in said
    assert "NO" not in said and "claim" in said
    main(["verify", "--run", RUN, "--dataset", DATASET, "--reference", REFERENCE, "--since", "9e9"])
    assert f"{total} of {total} records are re-used" in capsys.readouterr().out


def test_a_measurement_may_differ_as_the_seeds_of_the_reference_do_and_no_more(published, capsys):
    row = of(reproduce.rows(RUN, DATASET, REFERENCE), "training", "accuracy")[0]
    name, shift = f"{row['of']}-seed0", row["tolerance"] * row["n"]
    found = artifacts.load_json(records.path(RUN, DATASET, "training", name))["accuracy"]
    for factor, agrees in ((0.9, True), (1.1, False)):
        change("training", name, accuracy=found - factor * shift)
        row = of(reproduce.rows(RUN, DATASET, REFERENCE), "training", "accuracy")[0]
        assert row["within"] is agrees
    assert main(["verify", "--run", RUN, "--dataset", DATASET, "--reference", REFERENCE]) == 1
    assert "Outside:" in capsys.readouterr().out


def test_a_fact_must_be_equal(published):
    change("synthesis", "synthesis", input_real="0" * 64)
    assert of(reproduce.rows(RUN, DATASET, REFERENCE), "synthesis", "input_real")[0]["within"] is False


def test_records_of_other_parameters_are_not_compared_and_named(published):
    change("synthesis", "synthesis", param_oversample=7)
    rows = [row for row in reproduce.rows(RUN, DATASET, REFERENCE) if row["stage"] == "synthesis"]
    assert [row["quantity"] for row in rows] == ["not compared, other OVERSAMPLE"]


@pytest.mark.parametrize(
    "spread, half", [([(0.0004, 1)], 0.02 * 636.6192), ([(0.0004, 1), (0.0004, 2)], 0.02 * 12.9240)]
)
def test_the_tolerance_is_that_of_the_difference_of_two_means(spread, half):
    expected = half * (1 / 2 + 1 / 5) ** 0.5 + reproduce.ROUNDING * 0.5
    assert reproduce.tolerance(0.5, spread, 2, 5) == pytest.approx(expected, rel=1e-4)


def test_two_seeds_that_agree_by_chance_show_the_spread_of_the_other_arms():
    record = lambda accuracy: {"accuracy": accuracy}
    reference = {
        ("attacks", "a"): [record(0.5), record(0.5)],
        ("attacks", "b"): [record(0.4), record(0.6)],
        ("shift", "a"): [record(0.5)],
    }
    found = reproduce.spreads(reference, [{("shift", "a"): [record(0.7)]}])
    assert found["attacks", "accuracy"] == [(0, 1), (pytest.approx(0.02), 1)]
    assert found["shift", "accuracy"] == [(pytest.approx(0.02), 1)]
    assert ("shift", "accuracy") not in reproduce.spreads(reference, [])


def test_what_was_measured_once_and_has_no_spread_is_equal_or_not_judged(published):
    effects = artifacts.load_json(published / "records/projector/projector.json")["effects"]
    effects["prompts"][0]["effect"] += 1
    change("projector", "projector", effects=effects)
    quantity = f"effects prompts {effects['prompts'][0]['attribute']} effect"
    row = of(reproduce.rows(RUN, DATASET, REFERENCE), "projector", quantity)[0]
    assert row["within"] == "" and row["n_reference"] == 1


def test_runs_of_other_seeds_show_the_spread_of_what_was_measured_once(published):
    first = artifacts.load_json(published / "records/projector/projector.json")
    other = paths.reference_root() / f"{RUN}-seed-1" / DATASET / "records/projector/projector.json"
    value = first["effects"]["prompts"][0]["effect"]
    artifacts.save_json(other, schema.sealed(json.loads(json.dumps(first).replace(str(value), str(value * 0.9)))))
    quantity = f"effects prompts {first['effects']['prompts'][0]['attribute']} effect"
    row = of(reproduce.rows(RUN, DATASET, REFERENCE), "projector", quantity)[0]
    assert row["tolerance"] > 0.1 * value and row["n_reference"] == 1


def test_the_reference_is_read_and_never_written(published):
    with pytest.raises(ValueError, match="only read"):
        records.write(REFERENCE, DATASET, "data", "x", parameters={}, metrics={}, inputs={}, cost={})
    with pytest.raises(ValueError, match="'reference', which is reserved"):
        paths.artifact("reference", DATASET, "records")


def test_publishing_leaves_out_what_was_measured_on_classifiers_that_are_gone(published):
    cost = {"seconds": 1.0, "peak_memory_gb": 0.5}
    for name, weights in (("gone-seed0", "f" * 64), ("sega-net-seed0", "SEGA-Net0")):
        records.write(
            RUN, DATASET, "shift", name, parameters={}, metrics={"n_test": 3}, inputs={"weights": weights}, cost=cost
        )
    assert publish.publish(RUN, DATASET)["deleted"] == 1
    assert [file.name for file in (published / "records/shift").glob("*.json")] == ["sega-net-seed0.json"]


def test_a_run_that_lacks_a_stage_confirms_nothing_of_it(published, capsys):
    shutil.rmtree(paths.artifact(RUN, DATASET, "records") / "training")
    assert main(["verify", "--run", RUN, "--dataset", DATASET, "--reference", REFERENCE]) == 1
    assert "so that nothing is confirmed of them: training." in capsys.readouterr().out
    assert len(reproduce.lacking(RUN, DATASET, REFERENCE)["training"]) == 4


def test_a_stage_of_other_parameters_alone_confirms_nothing(published, capsys):
    for file in (paths.artifact(RUN, DATASET, "records") / "training").glob("*.json"):
        change("training", file.stem, param_steps=17)
    assert main(["verify", "--run", RUN, "--dataset", DATASET, "--reference", REFERENCE]) == 1
    assert "so that nothing is confirmed of them: training." in capsys.readouterr().out


def test_what_a_run_is_free_to_leave_out_is_no_stage_that_it_lacks(published, monkeypatch, capsys):
    assert reproduce.FREE == "ablation"
    monkeypatch.setattr(reproduce, "FREE", "training")  # which the run of the tests has
    shutil.rmtree(paths.artifact(RUN, DATASET, "records") / "training")
    assert reproduce.text(RUN, DATASET, REFERENCE)[1]


@pytest.mark.parametrize(
    ("ours", "same", "status"), [("reproduced", "yes", 0), ("not reproduced", "NO", 1), ("undecided", "", 0)]
)
def test_verdicts_that_contradict_each_other_do_not_agree(published, monkeypatch, ours, same, status):
    said = {RUN: ours, REFERENCE: "reproduced"}
    monkeypatch.setattr(tables, "claimed", lambda run, dataset: [{"claim": "it helps", "verdict": said[run]}])
    rows = tables.verdicts_beside(RUN, DATASET, REFERENCE)
    assert [(row["verdict"], row["reference"], row["same"]) for row in rows] == [(ours, "reproduced", same)]
    assert main(["verify", "--run", RUN, "--dataset", DATASET, "--reference", REFERENCE]) == status


def test_what_an_image_is_worth_is_compared_and_what_it_costs_is_not(published):
    cost = {"seconds": 1.0, "peak_memory_gb": 0.5}
    metrics = {"frechet": 2.0, "seconds_per_image": 0.1}
    for name in ("variant-x", "kernel-x"):
        records.write(RUN, DATASET, "efficiency", name, parameters={}, metrics=metrics, inputs={}, cost=cost)
    found = reproduce.grouped(RUN, DATASET)
    assert ("efficiency", "variant-x") in found and ("efficiency", "kernel-x") not in found
    assert reproduce.quantities(found["efficiency", "variant-x"][0]) == {"frechet": 2.0}


def test_nothing_to_compare_is_an_error(published, capsys):
    assert main(["verify", "--run", "other", "--dataset", DATASET, "--reference", REFERENCE]) == 1
    assert "share no records" in capsys.readouterr().err
