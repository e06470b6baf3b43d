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
    return records.write("mine", "fashion-mnist", "training", name, **PARTS | parts)


def test_a_record_is_flat_and_read_back_as_written(results):
    record = write()
    assert artifacts.load_json(results / "mine/fashion-mnist/records/training/one.json") == record
    assert records.read("mine", "fashion-mnist", "training") == [record]
    assert all(isinstance(value, (str, int, float)) for value in record.values())
    expected = {
        "run": "mine",
        "dataset": "fashion-mnist",
        "stage": "training",
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


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "0.8", None, [0.8], np.float32(0.8)])
def test_a_metric_that_is_no_finite_number_is_refused_by_name(results, value):
    with pytest.raises(ValueError, match="metric 'accuracy' of record training/one is .*must be a finite number"):
        write(metrics={"accuracy": value})
    assert not results.exists()


def test_a_parameter_that_is_not_finite_leaves_no_file(results):
    with pytest.raises(ValueError):
        write(parameters={"lr": math.nan})
    assert not any(results.rglob("*.json")) and not any(results.rglob("*.tmp"))


def test_a_stage_is_read_in_the_order_of_names():
    for name in ("b", "a", "c"):
        write(name)
    assert [record["name"] for record in records.read("mine", "fashion-mnist", "training")] == ["a", "b", "c"]
    assert records.read("mine", "fashion-mnist", "report") == []


def test_a_damaged_record_is_named():
    write()
    path = records.path("mine", "fashion-mnist", "training", "one")
    path.write_text(path.read_text()[:-10])
    with pytest.raises(artifacts.ArtifactError, match="records/training/one.json is not valid JSON"):
        records.read("mine", "fashion-mnist", "training")


def test_two_runs_that_differ_only_in_cost_are_comparable():
    first, second = write(), write(cost={"seconds": 99.0, "peak_memory_gb": 9.0})
    assert first != second
    assert records.comparable(first) == records.comparable(second)
    assert records.comparable(first) != records.comparable(write(metrics={"accuracy": 0.81, "n_test": 100}))


def test_a_record_is_found_by_exactly_its_parameters_and_inputs():
    asked = {"parameters": {"seed": 1}, "inputs": {"real": "a"}}
    where = ("run", "dataset", "training", "x")
    assert records.find(*where, **asked) is None
    written = records.write(*where, metrics={"accuracy": 0.5}, cost={}, **asked)
    assert records.find(*where, **asked) == written
    assert records.find(*where, parameters={"seed": 2}, inputs={"real": "a"}) is None
    assert records.find(*where, parameters={"seed": 1}, inputs={"real": "b"}) is None
    assert records.find(*where, parameters={"seed": 1, "steps": 2}, inputs={"real": "a"}) is None
