import math

import numpy as np
import pytest

from sega_utils.core import artifacts, records

PARTS = {
    "parameters": {"arm": "SEGA-Net", "seed": 0},
    "metrics": {"accuracy": 0.8, "n_test": 100},
    "inputs": {"real": "ab12"},
    "cost": {"seconds": 1.5, "peak_memory_gb": 0.3},
}


def write(name="one", **parts):
    return records.write("mine", "fashion-mnist", "shards", name, **PARTS | parts)


def test_a_record_is_flat_and_read_back_as_written(results):
    record = write()
    assert artifacts.load_json(results / "mine/fashion-mnist/records/shards/one.json") == record
    assert records.read("mine", "fashion-mnist", "shards") == [record]
    assert all(isinstance(value, (str, int, float)) for value in record.values())
    expected = {
        "run": "mine",
        "dataset": "fashion-mnist",
        "stage": "shards",
        "name": "one",
        "accuracy": 0.8,
        "n_test": 100,
        "param_arm": "SEGA-Net",
        "param_seed": 0,
        "input_real": "ab12",
        "seconds": 1.5,
    }
    assert expected.items() <= record.items()
    assert {"device", "python", "git_commit", "version_torch"} <= set(record)


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, True, "0.8", None, [0.8, math.nan], {"a": [True]}, np.float32(0.8)]
)
def test_a_metric_that_is_no_finite_number_is_refused_by_name(results, value):
    with pytest.raises(ValueError, match="metric 'accuracy' of record shards/one is .*must be a finite number"):
        write(metrics={"accuracy": value})
    assert not results.exists()


def test_a_parameter_that_is_not_finite_leaves_no_file(results):
    with pytest.raises(ValueError):
        write(parameters={"lr": math.nan})
    assert not any(results.rglob("*.json")) and not any(results.rglob("*.tmp"))


def test_a_stage_is_read_in_the_order_of_names():
    for name in ("b", "a", "c"):
        write(name)
    assert [record["name"] for record in records.read("mine", "fashion-mnist", "shards")] == ["a", "b", "c"]
    assert records.read("mine", "fashion-mnist", "report") == []


def test_a_damaged_record_is_named():
    write()
    path = records.path("mine", "fashion-mnist", "shards", "one")
    path.write_text(path.read_text()[:-10])
    with pytest.raises(artifacts.ArtifactError, match="records/shards/one.json is not valid JSON"):
        records.read("mine", "fashion-mnist", "shards")


def test_two_runs_that_differ_only_in_cost_are_comparable():
    first, second = write(), write(cost={"seconds": 99.0, "peak_memory_gb": 9.0})
    assert first != second
    assert records.comparable(first) == records.comparable(second)
    assert records.comparable(first) != records.comparable(write(metrics={"accuracy": 0.81, "n_test": 100}))


def test_numbers_may_stand_under_keys_and_texts_beside_them():
    metrics = {"accuracy": 0.8, "attacked": [{"attack": "FGSM", "accuracy": 0.5}], "shifts": {"clean": 1}}
    assert write(metrics=metrics).items() >= metrics.items()


def test_what_is_on_record_is_not_measured_again_unless_asked_for_otherwise():
    calls = []
    where, asked = ("run", "dataset", "shards", "x"), {"parameters": {"seed": 1}, "inputs": {"real": "a"}}

    def measure():
        calls.append(1)
        return {"accuracy": 0.5, "weights": f"w{len(calls)}", "seconds": 7.0}

    once = lambda **changed: records.once(*where, **{**asked, **changed}, measure=measure, made=("weights",))
    written = once()
    assert written["input_weights"] == "w1" and written["seconds"] == 7.0 and "weights" not in written
    assert once() == written == artifacts.load_json(records.path(*where)) and len(calls) == 1
    for changed in (
        {"parameters": {"seed": 2}},
        {"inputs": {"real": "b"}},
        {"parameters": {"seed": 1, "steps": 2}},
        {"is_whole": lambda record: record["input_weights"] != "w4"},
    ):
        n = len(calls)
        once(**changed)
        assert len(calls) == n + 1


def test_a_measurement_that_fails_leaves_no_record(results):
    with pytest.raises(KeyError):
        records.once("run", "dataset", "shards", "x", parameters={}, inputs={}, measure=lambda: {}["x"])
    assert not results.exists()
