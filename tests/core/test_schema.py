import math

import pytest
import torch

from sega_utils.core import artifacts, paths, records, schema
from sega_utils.core.artifacts import ArtifactError

METRICS = {"accuracy": 0.5, "fraction": 0.01, "n_real": 600, "n_test": 100, "accuracy_by_class": [0.25, 0.75]}
PARAMETERS = {"arm": "Std Aug", "seed": 0, "classifier": "resnet8", "steps": 10, "batch_size": 8, "pixel": True}


@pytest.fixture
def file():
    cost = {"seconds": 1.5, "peak_memory_gb": 0.3}
    records.write(
        "r", "d", "training", "a", parameters=PARAMETERS, metrics=METRICS, inputs={"weights": "ab"}, cost=cost
    )
    return records.path("r", "d", "training", "a")


def test_a_record_is_read_as_it_was_written_and_knows_when_it_was_altered(file):
    record = records.load(file)
    assert record["digest"] == schema.digest_json({k: v for k, v in record.items() if k != "digest"})
    assert schema.sealed(record) == record
    for changed in (record | {"accuracy": 0.51}, record | {"more": 1}, record | {"digest": "0" * 64}):
        artifacts.save_json(file, changed)
        with pytest.raises(ArtifactError, match="^results/r/d/records/training/a.json .*own digest; delete it"):
            records.load(file)
    del record["digest"]
    artifacts.save_json(file, record)
    with pytest.raises(ArtifactError, match="a.json .*no digest; .*sega_utils rewrite; else delete it"):
        records.load(file)


# key, value, what the error names and allows
WRONG = [
    ("accuracy", True, "accuracy is True; allowed is a finite number from 0 to 1"),
    ("accuracy", 84.9, "accuracy is 84.9; allowed is a finite number from 0 to 1"),
    ("accuracy", -1, "accuracy is -1; allowed"),
    ("accuracy", "0.8", "accuracy is '0.8'; allowed"),
    ("accuracy", [0.8], r"accuracy is \[0.8\]; allowed is single values"),
    ("accuracy", None, "accuracy is None; allowed"),
    ("accuracy_by_class", [0.5, 50], "accuracy_by_class.1 is 50; allowed"),
    ("accuracy_by_class", 0.5, "accuracy_by_class is 0.5; allowed is a list of single values"),
    ("seconds", -2.5, "seconds is -2.5; allowed is a finite number from 0 on"),
    ("n_test", 10.5, "n_test is 10.5; allowed is an integer from 0 on"),
    ("shifts", {"clean": 90}, "shifts.clean is 90; allowed"),
    ("corruptions", {"fog": 0.5}, "corruptions is .*; allowed is by name a list of single values"),
    ("attacked", [{"accuracy": 0.5, "epsilon": -1}], "attacked.0.epsilon is -1; allowed"),
    ("effects", {"prompts": [{"ci_low": None}]}, "effects.prompts.0.ci_low is None; allowed is a finite number"),
    ("param_seed", 0.5, "param_seed is 0.5; allowed is an integer"),
    ("param_arm", "", "param_arm is ''; allowed is a text that is not empty"),
    ("param_lr", {}, None),
    ("input_real", 3, "input_real is 3; allowed is a text"),
    ("run", 1, "run is 1; allowed is a text"),
    ("comment", "by hand", "comment is 'by hand'; allowed is a finite number"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG, ids=[f"{key}={value}" for key, value, _ in WRONG])
def test_a_value_of_another_type_or_range_is_named_with_what_is_allowed(file, key, value, message):
    artifacts.save_json(file, schema.sealed(records.load(file) | {key: value}))
    if message is None:
        assert records.load(file)[key] == value
    else:
        with pytest.raises(ArtifactError, match=f"^results/r/d/records/training/a.json cannot be used: {message}"):
            records.load(file)


@pytest.mark.parametrize("text", ["NaN", "Infinity", '0.5, "accuracy": 0.6'])
def test_what_json_would_let_pass_is_refused(file, text):
    file.write_text(file.read_text().replace('"accuracy": 0.5', f'"accuracy": {text}'))
    with pytest.raises(ArtifactError, match="training/a.json is not valid JSON .*; delete it and run"):
        records.load(file)


def test_a_metric_that_lacks_and_a_record_in_anothers_place_are_named(file):
    record = records.load(file)
    short = {key: value for key, value in record.items() if key not in {"accuracy", "param_steps"}}
    artifacts.save_json(file, schema.sealed(short))
    with pytest.raises(ArtifactError, match="a.json .*it lacks accuracy, param_steps; delete it"):
        records.read("r", "d", "training")
    artifacts.save_json(file.with_name("b.json"), record)
    with pytest.raises(ArtifactError, match="b.json .*its name is 'a', but it lies where that of 'b' belongs"):
        records.load(file.with_name("b.json"))


@pytest.mark.parametrize("value", [1.01, -0.5, 84.9])
def test_a_value_that_could_not_be_read_again_is_not_written(results, value):
    with pytest.raises(ValueError, match=f"record shards/x cannot be written: accuracy is {value}; allowed"):
        records.write("r", "d", "shards", "x", parameters={}, metrics={"accuracy": value}, inputs={}, cost={})
    assert not results.exists()


# tensors


def real(n: int = 4) -> dict[str, torch.Tensor]:
    return {"images": torch.zeros(n, 1, 32, 32, dtype=torch.uint8), "labels": torch.arange(n)}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": torch.tensor([0.0, 1.7, 2.0, 3.0])}, r"labels is torch.float32 \[4\]; allowed is int64 \[N\]"),
        ({"labels": torch.arange(3)}, r"labels is torch.int64 \[3\]; allowed is int64 \[N\] with N = 4"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, "labels holds -1; allowed are integers from 0 on"),
        ({"images": torch.zeros(4, 1, 32, 31, dtype=torch.uint8)}, "images is .*; allowed is"),
        ({"images": torch.zeros(4, 32, 32, dtype=torch.uint8)}, "images is .*; allowed is"),
        ({"images": torch.zeros(4, 1, 32, 32)}, "images is torch.float32 .*; allowed is uint8"),
    ],
    ids=str,
)
def test_tensors_of_another_type_shape_or_range_are_named(changed, message):
    path = paths.artifact("r", "d", "real")
    artifacts.save_tensors(path, real())
    artifacts.load_tensors(path)
    artifacts.save_tensors(path, real() | changed)
    with pytest.raises(ArtifactError, match=f"real.safetensors cannot be used: {message}.*; delete it and run"):
        artifacts.load_tensors(path)


def test_a_file_of_another_stage_is_refused_by_what_it_lacks():
    path = paths.artifact("r", "d", "candidates")
    artifacts.save_tensors(path, real())
    with pytest.raises(ArtifactError, match="lacks class_ids; it holds images, labels"):
        artifacts.load_tensors(path)


def prompts(**changed) -> dict[str, torch.Tensor]:
    ids = {"class_ids": torch.tensor([0, 0, 1]), "cluster_ids": torch.tensor([0, 1, 2])}
    floats = {"embeddings": torch.ones(3, 8), "centroids": torch.ones(3, 8), "class_embeddings": torch.ones(2, 8)}
    return ids | floats | changed


def test_an_index_points_into_what_it_is_of_and_numbers_are_finite():
    path = paths.artifact("r", "d", "prompts")
    artifacts.save_tensors(path, prompts())
    artifacts.load_tensors(path)
    artifacts.save_tensors(path, prompts(cluster_ids=torch.tensor([0, 1, 3])))
    with pytest.raises(ArtifactError, match="cluster_ids holds 3; allowed are integers from 0 on, below K = 3"):
        artifacts.load_tensors(path)
    artifacts.save_tensors(path, prompts(centroids=torch.full((3, 8), math.nan)))
    with pytest.raises(ArtifactError, match="centroids holds numbers that are not finite"):
        artifacts.load_tensors(path)


def test_all_sets_of_corrupted_images_have_their_shape(results):
    images, labels = torch.zeros(3, 1, 32, 32, dtype=torch.uint8), torch.arange(3)
    file = results / "corrupted.safetensors"
    artifacts.save_tensors(file, {"labels": labels, "clean": images, "fog_1": images[:2].clone()})
    with pytest.raises(artifacts.ArtifactError, match="fog_1"):
        artifacts.load_tensors(file)
