import pytest
from fake_run import ACCURACY, DATASET, RUN, change, remove, write_run

from sega_utils.core import paths, records, schema
from sega_utils.core.artifacts import ArtifactError
from sega_utils.evaluation import classified
from sega_utils.training import recipes


@pytest.fixture(autouse=True)
def run():
    write_run()


def test_records_of_one_run_belong_together():
    found = classified.belonging(RUN, DATASET)
    assert list(found) == list(classified.STAGES)
    assert {stage: len(records) for stage, records in found.items() if records} == {
        "clip": 1,
        "projector": 1,
        "synthesis": 1,
        "training": 3 * len(ACCURACY),
    }


def test_a_run_of_the_grid_goes_on_from_the_stages_of_its_base_and_of_no_other():
    names = [f"{arm}-seed{seed}" for arm in map(recipes.slug, ACCURACY) for seed in range(3)]
    for name in names:
        change("training", name, run=f"{RUN}@resnet18")
    classified.belonging(RUN, DATASET)
    change("training", names[0], run=f"{RUN}@vgg16")
    with pytest.raises(ArtifactError, match=f"run is '{RUN}@resnet18' in .*; '{RUN}@vgg16' in .*{names[0]}.json"):
        classified.belonging(RUN, DATASET)
    for name in names:
        change("training", name, run="other@resnet18")
    with pytest.raises(ArtifactError, match=f"run is '{RUN}' in .*; 'other' in .*{names[0]}.json"):
        classified.belonging(RUN, DATASET)


def test_a_run_without_records_has_none():
    assert classified.belonging("none", DATASET) == {stage: [] for stage in classified.STAGES}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("run", "other"),
        ("param_steps", 500),
        ("param_batch_size", 32),
        ("param_classifier", "resnet20"),
        ("version_torch", "1.0"),
        ("python", "3.12.0"),
        ("fraction", 0.1),
        ("n_real", 6000),
        ("n_test", 100),
        ("input_candidates", "x" * 64),
    ],
)
def test_arms_of_different_budgets_are_refused_by_name(key, value):
    change("training", "sega-net-seed1", **{key: value})
    with pytest.raises(ArtifactError) as error:
        classified.belonging(RUN, DATASET)
    message = str(error.value)
    assert key in message and repr(value) in message and "Delete those that are out of date" in message
    assert f"{value!r} in records/training/sega-net-seed1.json" in message


@pytest.mark.parametrize("key", ["param_lr", "param_ratio", "param_synthetic"])
def test_seeds_of_an_arm_share_its_settings_but_arms_may_be_tuned_apart(key):
    for seed in range(3):
        change("training", f"sega-net-seed{seed}", **{key: 0.7})
    classified.belonging(RUN, DATASET)
    change("training", "sega-net-seed2", **{key: 0.8})
    with pytest.raises(ArtifactError, match=f"{key} is 0.7 in .*seed0.json, .*seed1.json; 0.8 in .*seed2.json"):
        classified.belonging(RUN, DATASET)


def test_records_that_do_not_say_how_a_step_was_computed_mean_the_usual_way():
    change("training", "sega-net-seed1", param_precision="float32", param_compile=False)
    classified.belonging(RUN, DATASET)
    change("training", "sega-net-seed1", param_precision="bfloat16")
    with pytest.raises(ArtifactError, match="param_precision is 'float32' in .*'bfloat16' in .*sega-net-seed1.json"):
        classified.belonging(RUN, DATASET)


def test_what_differs_between_runs_of_the_same_code_is_allowed():
    change(
        "training",
        "sega-net-seed1",
        seconds=99.0,
        peak_memory_gb=9.0,
        git_commit="1" * 40,
        device="another GPU",
        input_weights="other weights",
    )
    classified.belonging(RUN, DATASET)


@pytest.mark.parametrize(
    ("stage", "name", "key"),
    [
        ("synthesis", "synthesis", "input_real"),
        ("projector", "projector", "input_clip"),
        ("clip", "clip", "input_real"),
    ],
)
def test_stages_that_read_other_files_are_refused(stage, name, key):
    change(stage, name, **{key: "y" * 64})
    with pytest.raises(ArtifactError, match=f"{key} is .*records/{stage}/{name}.json"):
        classified.belonging(RUN, DATASET)


def test_a_record_of_an_unknown_arm_is_refused():
    change("training", "sega-net-seed1", param_arm="Magic")
    with pytest.raises(ArtifactError, match="sega-net-seed1.json is of the arm 'Magic'; known are No Aug, "):
        classified.belonging(RUN, DATASET)


def test_two_records_of_the_same_arm_and_seed_are_refused():
    change("training", "sega-net-seed1", param_seed=0)
    with pytest.raises(ArtifactError, match="sega-net-seed0.json and .*sega-net-seed1.json both hold SEGA-Net, seed 0"):
        classified.belonging(RUN, DATASET)


@pytest.mark.parametrize(
    "key", ["accuracy", "param_arm", "param_seed", "param_steps", "param_batch_size", "device", "seconds"]
)
def test_an_incomplete_record_is_refused(key):
    path = records.path(RUN, DATASET, "training", "sega-net-seed1")
    record = records.artifacts.load_json(path)
    del record[key]
    records.artifacts.save_json(path, record)
    with pytest.raises(ArtifactError, match=f"training/sega-net-seed1.json .*it lacks {key}; delete it and run"):
        classified.belonging(RUN, DATASET)


@pytest.mark.parametrize(
    "values", [{"input_weights": "retrained"}, {"param_arm": "Magic"}, {"param_seed": 9}, {"run": "other"}], ids=str
)
def test_measurements_of_other_classifiers_or_runs_are_refused(values):
    for seed in range(3):
        training = records.path(RUN, DATASET, "training", f"sega-net-seed{seed}")
        record = records.load(training) | {"stage": "shift", "shifts": {}, "corruptions": {}}
        records.artifacts.save_json(training.parent.parent / "shift" / training.name, schema.sealed(record))
    assert len(classified.evaluated(RUN, DATASET, "shift")) == 3
    change("shift", "sega-net-seed1", **values)
    with pytest.raises(ArtifactError, match="shift/sega-net-seed1.json"):
        classified.evaluated(RUN, DATASET, "shift")


@pytest.mark.parametrize("key", ["param_arm", "param_seed", "input_weights"])
def test_an_incomplete_measurement_is_refused(key):
    path = records.path(RUN, DATASET, "training", "sega-net-seed1")
    record = records.load(path) | {"stage": "shift", "shifts": {}, "corruptions": {}}
    del record[key]
    records.artifacts.save_json(path.parent.parent / "shift" / path.name, schema.sealed(record))
    with pytest.raises(ArtifactError, match=f"shift/sega-net-seed1.json .*it lacks {key}"):
        classified.evaluated(RUN, DATASET, "shift")


def test_a_truncated_record_is_refused():
    path = records.path(RUN, DATASET, "training", "sega-net-seed1")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match="sega-net-seed1.json is not valid JSON"):
        classified.belonging(RUN, DATASET)


def test_the_arms_come_in_their_own_order():
    remove("training", "gan-only-*")
    trained = classified.belonging(RUN, DATASET)["training"]
    assert classified.check_arms(trained[::-1]) == [
        arm for arm in recipes.ARMS if arm in ACCURACY and arm != "GAN-only"
    ]
    assert str(paths.ROOT) not in classified.file_of(trained[0])
