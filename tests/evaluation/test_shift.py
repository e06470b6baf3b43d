import numpy as np
import pytest
import torch

from sega_utils.core import artifacts, paths
from sega_utils.data import catalogue
from sega_utils.data.images import from_uint8
from sega_utils.evaluation import classified, shift
from sega_utils.training import classifiers

RUN = ("mine", "fashion-mnist")


@pytest.fixture
def run(tiny, monkeypatch):
    """Put two seeds of two untrained arms where 05_training would, and the tiny data set in place of the test set."""
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: tiny)
    for name in ("std-aug-seed0", "std-aug-seed1", "sega-net-seed0", "sega-net-seed1"):
        model = classifiers.build("resnet8-half", n_classes=3, channels=1)
        artifacts.save_tensors(
            paths.artifact(*RUN, "classifiers") / f"{name}.safetensors",
            model.state_dict(),
            {"classifier": "resnet8-half", "n_classes": 3, "channels": 1, "side": 32},
        )


def make(**options):
    return shift.make_sets(*RUN, **{"n_test": 12, "corruptions": ["fog", "contrast"], "seed": 0} | options)


def test_the_sets_are_made_once_and_again_only_for_another_request(run, monkeypatch):
    sets, meta = make()
    made = {f"{corruption}_{severity}" for corruption in ("fog", "contrast") for severity in range(1, 6)}
    assert set(sets) == {"labels", "clean", "inverted", "cluttered"} | made
    assert all(len(images) == 12 for images in sets.values()) and meta["source"] == "generated"
    again = shift.generate_set
    calls = []
    monkeypatch.setattr(shift, "generate_set", lambda *args: calls.append(args) or again(*args))
    assert make()[1]["sha256"] == meta["sha256"] and not calls
    assert make(seed=1)[1]["sha256"] != meta["sha256"] and len(calls) == 2


@pytest.mark.parametrize("wrong", [["fog", "rain"], ["fog", "fog"]])
def test_a_corruption_that_is_unknown_or_named_twice_is_refused_before_any_is_made(run, monkeypatch, tmp_path, wrong):
    monkeypatch.setattr(shift, "generate_set", lambda *_: pytest.fail("made one already"))
    for folder in ("", str(tmp_path)):
        with pytest.raises((ValueError, FileNotFoundError), match=f"corruptions hold '{wrong[1]}'; allowed are"):
            make(corruptions=wrong, folder=folder)
    assert not shift.corrupted_path(*RUN).exists()


def test_published_files_take_the_place_of_generated_ones(run, tiny, tmp_path):
    made = np.random.default_rng(0).integers(0, 256, (5, 36, 32, 32, 1), np.uint8)
    for name, content in (("fog", made.reshape(-1, 32, 32, 1)), ("labels", np.tile(tiny.labels, 5))):
        np.save(tmp_path / f"{name}.npy", content)
    listed = [f"{artifacts.sha256(path)}  {path.name}\n" for path in tmp_path.glob("*.npy")]
    (tmp_path / "SHA256SUMS").write_text("".join(listed))
    sets, meta = make(corruptions=["fog"], folder=str(tmp_path))
    assert meta["source"] == "official" and np.array_equal(sets["fog_4"][:, 0], made[3, :12, ..., 0])
    np.save(tmp_path / "labels.npy", np.tile(tiny.labels.roll(1), 5))
    listed = [f"{artifacts.sha256(path)}  {path.name}\n" for path in tmp_path.glob("*.npy")]
    (tmp_path / "SHA256SUMS").write_text("".join(listed))
    with pytest.raises(ValueError, match="fog.npy is not of this data set's test images"):
        make(corruptions=["fog"], folder=str(tmp_path))


@pytest.mark.parametrize("lacks", ["SEGA-Net", "Std Aug"])
def test_a_seed_that_one_arm_lacks_is_an_error(run, lacks):
    make()
    measured = [shift.measure_shift(*RUN, arm, seed) for arm in ("SEGA-Net", "Std Aug") for seed in (0, 1)]
    measured = [r for r in measured if (r["param_arm"], r["param_seed"]) != (lacks, 1)]
    with pytest.raises(ValueError, match="seed"):
        shift.corruption_differences(measured)


@pytest.mark.parametrize(
    "change",
    [{"run": "other"}, {"version_torch": "9"}, {"input_corrupted": "x"}, {"param_arm": "Magic"}, {"param_seed": 0}],
    ids=str,
)
def test_records_that_do_not_belong_together_are_refused(run, change):
    make()
    first, second = (shift.measure_shift(*RUN, "Std Aug", seed) for seed in (0, 1))
    with pytest.raises(artifacts.ArtifactError, match="belong together|no known arm, or another record holds it"):
        shift.shift_rows([first, second | change])


@pytest.mark.parametrize("n", [0, 37])
def test_more_images_than_there_are_is_an_error(run, n):
    with pytest.raises(ValueError, match=rf"N_TEST is {n}; allowed are 1 .. 36"):
        make(n_test=n)


def test_measured_accuracy_is_that_of_the_stored_images(run):
    sets, meta = make()
    record = shift.measure_shift(*RUN, "SEGA-Net", 1)
    model = classified.evaluate.__globals__["load_classifier"](*RUN, "SEGA-Net", 1)[0]
    accuracy = lambda name: classifiers.accuracy(model, from_uint8(sets[name]), sets["labels"])
    assert record["shifts"] == {name: accuracy(name) for name in ("clean", "cluttered", "inverted")}
    assert record["corruptions"]["fog"] == [accuracy(f"fog_{severity}") for severity in range(1, 6)]
    assert record["corruptions"].keys() == {"fog", "contrast"}
    assert record["n_test"] == 12 and record["input_corrupted"] == meta["sha256"]


def test_without_the_sets_the_notebook_that_makes_them_is_named(run):
    with pytest.raises(FileNotFoundError, match="corrupted.safetensors is missing; make it with 06_shift"):
        shift.measure_shift(*RUN, "Std Aug", 0)


def test_tables_are_in_percent_and_differences_paired(run):
    make()
    measured = [shift.measure_shift(*RUN, arm, seed) for arm in ("SEGA-Net", "Std Aug") for seed in (0, 1)]
    rows = shift.corruption_rows(measured)
    assert len(rows) == 4 * 10 and rows[0]["arm"] == "Std Aug"
    ours, theirs = (
        [
            sum(100 * sum(r["corruptions"][c]) for c in ("fog", "contrast")) / 10
            for r in measured
            if r["param_arm"] == arm
        ]
        for arm in ("SEGA-Net", "Std Aug")
    )
    means = {row["arm"]: row["mean"] for row in shift.shift_rows(measured) if row["shift"] == "mean corruption"}
    assert means == {"Std Aug": pytest.approx(sum(theirs) / 2), "SEGA-Net": pytest.approx(sum(ours) / 2)}
    (row,) = shift.corruption_differences(measured)
    assert row["arm"] == "SEGA-Net" and row["difference"] == pytest.approx(sum(ours) / 2 - sum(theirs) / 2)


@pytest.mark.parametrize("enlarge", [1, 2])
def test_inverted_is_the_negative_and_clutter_leaves_the_object(tiny, enlarge):
    x = tiny.images.repeat_interleave(enlarge, 2).repeat_interleave(enlarge, 3)
    assert torch.equal(shift.inverted(x, seed=0), 1 - x)
    x = x * (x > 0.1)
    out = shift.cluttered(x, seed=0)
    assert torch.equal(out[x > 0.1], x[x > 0.1]) and (out[x <= 0.1] > 0).float().mean() > 0.05
    assert torch.equal(out, shift.cluttered(x, seed=0)) and not torch.equal(out, shift.cluttered(x, seed=1))


@pytest.mark.parametrize("change", [{"source": None}, {"names": ["clean"]}, {"classes": 2}])
def test_sets_that_do_not_say_what_they_are_or_have_other_labels_are_refused(run, change):
    sets, meta = make()
    meta = {key: value for key, value in (meta | change).items() if value is not None and key != "sha256"}
    artifacts.save_tensors(shift.corrupted_path(*RUN), sets, meta)
    with pytest.raises(artifacts.ArtifactError, match="corrupted.safetensors .*delete it"):
        shift.read_sets(*RUN)


def test_a_classifier_that_is_not_the_one_on_record_is_refused(run, monkeypatch):
    known = paths.artifact(*RUN, "records") / "training" / "sega-net-seed0.json"
    artifacts.save_text(known, "{}")
    monkeypatch.setattr(classified.records, "load", lambda _: {"input_weights": "0" * 64})
    with pytest.raises(artifacts.ArtifactError, match="is not the classifier of .*run 05_training again"):
        classified.load_classifier(*RUN, "SEGA-Net", 0)
