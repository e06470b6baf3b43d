import pytest
import torch

from sega_utils.core import artifacts, paths, records
from sega_utils.evaluation import classified
from sega_utils.training import classifiers

RUN = ("mine", "fashion-mnist")


@pytest.fixture
def trained():
    """Write an untrained classifier as 05_training would."""

    def write(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        model = classifiers.build("resnet8-half", n_classes=3, channels=1)
        meta = {"classifier": "resnet8-half", "n_classes": 3, "channels": 1, "side": 32}
        file = paths.artifact(*RUN, "classifiers") / "std-aug-seed0.safetensors"
        artifacts.save_tensors(file, model.state_dict(), meta)
        return model.eval()

    return write


def evaluate(calls: list, **options) -> dict:
    measure = lambda model: calls.append(model) or {"accuracy_clean": 0.5}
    options = {"measure": measure, "parameters": {}, "inputs": {}} | options
    return classified.evaluate(*RUN, "shift", "Std Aug", 0, **options)


def test_the_classifier_is_the_trained_one_frozen_and_in_eval_mode(trained, tiny):
    model, (loaded, sha256) = trained(0), classified.load_classifier(*RUN, "Std Aug", 0)
    assert torch.equal(loaded(tiny.images), model(tiny.images)) and not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters()) and sha256 == artifacts.digest(model.state_dict())


def test_a_missing_classifier_says_how_to_train_it(trained):
    with pytest.raises(FileNotFoundError, match="classifiers is missing; make it with: .*05_training"):
        classified.load_classifier(*RUN, "Std Aug", 0)
    trained(0)
    with pytest.raises(FileNotFoundError, match=r"std-aug-seed3.safetensors is missing; .* 3 among its SEEDS"):
        classified.load_classifier(*RUN, "Std Aug", 3)


@pytest.mark.parametrize("meta", [{}, {"classifier": "resnet20", "n_classes": 3, "channels": 1, "side": 32}], ids=str)
def test_a_file_of_another_kind_is_refused(trained, meta):
    model = trained(0)
    artifacts.save_tensors(paths.artifact(*RUN, "classifiers") / "std-aug-seed0.safetensors", model.state_dict(), meta)
    with pytest.raises(artifacts.ArtifactError, match="std-aug-seed0.safetensors holds no classifier, .*05_training"):
        classified.load_classifier(*RUN, "Std Aug", 0)


def test_the_record_holds_what_was_asked_and_whose_weights(trained):
    model = trained(0)
    record = evaluate([], parameters={"n": 7}, inputs={"images": "abc"})
    assert record["accuracy_clean"] == 0.5 and record["param_n"] == 7 and record["input_images"] == "abc"
    assert (record["param_arm"], record["param_seed"]) == ("Std Aug", 0)
    assert record["input_weights"] == artifacts.digest(model.state_dict())
    assert records.load(records.path(*RUN, "shift", record["name"])) == record


@pytest.mark.parametrize("changed", [{"parameters": {"n": 8}}, {"inputs": {"images": "def"}}, {"retrained": True}])
def test_only_what_is_on_record_for_the_same_request_is_not_repeated(trained, changed):
    trained(0)
    calls, asked = [], {"parameters": {"n": 7}, "inputs": {"images": "abc"}}
    assert evaluate(calls, **asked) == evaluate(calls, **asked) and len(calls) == 1
    if changed.pop("retrained", False):
        trained(1)
    evaluate(calls, **asked | changed)
    assert len(calls) == 2


def test_a_failed_measurement_leaves_no_record(trained):
    trained(0)
    with pytest.raises(ZeroDivisionError):
        evaluate([], measure=lambda model: 1 / 0)
    assert records.read(*RUN, "shift") == []
