"""The plain loop trains the same thing on the same images, and both are timed and measured alike."""

import pytest
import torch

from sega_utils.__main__ import main
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.data import augment, catalogue
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.studies import loops
from sega_utils.training import classifiers, recipes

RUN = ("loops", "fashion-mnist")
OPTIONS = {"classifier": "resnet8-half", "steps": 3, "batch_size": 8, "lr": 0.1, "weight_decay": 1e-3} | recipes.SPEED
SETTINGS = recipes.SETTINGS | OPTIONS


@pytest.fixture
def run(tiny, monkeypatch):
    """Write the real images; the test set is the same tiny data set."""
    tensors = {"images": to_uint8(tiny.images), "labels": tiny.labels}
    artifacts.save_tensors(paths.artifact(*RUN, "real"), tensors, {"class_names": tiny.class_names})
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: tiny)


def plain(tiny, *, seed: int = 0, workers: int = 0, **options) -> torch.nn.Module:
    pictures = loops.Pictures(tiny)
    return loops.train_plain(tiny, pictures=pictures, seed=seed, workers=workers, **OPTIONS | options)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_one_of_the_crops_and_flips_of_our_augmentation(tiny, channels):
    images = from_uint8(to_uint8(tiny.images[:1])).expand(-1, channels, -1, -1)
    ours = augment.shift(images.repeat(2000, 1, 1, 1), runtime.generator(0), pad=2)
    theirs = loops.Pictures(tiny._replace(images=images, labels=tiny.labels[:1]))
    torch.manual_seed(0)
    drawn = [theirs[0] for _ in range(300)]
    rows = lambda stack: {to_uint8(image).numpy().tobytes() for image in stack}
    assert rows(image for image, _ in drawn) <= rows(ours) and len(rows(ours)) == 2 * 5 * 5
    assert len(rows(image for image, _ in drawn)) > 40 and {label for _, label in drawn} == {int(tiny.labels[0])}


def test_the_plain_loop_learns_what_ours_learns(tiny):
    model = plain(tiny, steps=60, batch_size=16)
    assert not model.training and classifiers.accuracy(model, tiny.images, tiny.labels) == 1.0


def test_the_plain_loop_depends_on_its_seed_and_its_precision(tiny):
    first, again, reduced, other = (
        artifacts.digest(plain(tiny, **options).state_dict())
        for options in ({}, {}, {"precision": "bfloat16"}, {"seed": 1})
    )
    assert first == again and len({first, reduced, other}) == 3


def test_workers_load_epoch_after_epoch(tiny, monkeypatch):
    sizes, original = [], classifiers.prepare

    def prepare(*args, **options):
        model, optimise = original(*args, **options)
        return model, lambda images, labels: sizes.append((len(images), len(labels))) or optimise(images, labels)

    monkeypatch.setattr(loops, "prepare", prepare)
    plain(tiny, workers=1, steps=6)
    assert sizes == [(8, 8)] * 6, "36 images are 4 whole batches of 8 an epoch"


def test_a_batch_larger_than_the_data_set_is_refused(tiny):
    with pytest.raises(ValueError, match="a batch of 37 is more than the 36 images"):
        plain(tiny, batch_size=37)


def test_loops_take_turns_at_the_start_with_the_same_seeds_and_settings(run, monkeypatch):
    calls = []

    def spy(name):
        original = getattr(loops, name)
        record = lambda options: calls.append((name, options["seed"], {key: options[key] for key in OPTIONS}))
        monkeypatch.setattr(loops, name, lambda real, **options: record(options) or original(real, **options))

    spy("train_classifier"), spy("train_plain")
    loops.measure_loops(*RUN, SETTINGS, workers=0, turns=3, seed=5)
    ours, theirs = "train_classifier", "train_plain"
    order = [(ours, 5), (theirs, 5), (theirs, 6), (ours, 6), (ours, 7), (theirs, 7)]
    assert [call[:2] for call in calls[2:]] == order
    assert [call[0] for call in calls[:2]] == [ours, theirs] and all(call[2] == OPTIONS for call in calls[2:])


def test_a_record_holds_times_and_accuracies_of_both(run):
    record = loops.measure_loops(*RUN, SETTINGS | {"precision": "bfloat16"}, workers=0, turns=2)
    assert [record] == records.read(*RUN, "efficiency")
    assert record["name"] == "loop-resnet8-half-8-bfloat16-0-workers"
    for side in ("ours", "theirs"):
        assert 0 < record[f"{side}_q1"] <= record[f"seconds_{side}"] <= record[f"{side}_q3"] < record["seconds"] / 3
        assert 0 <= record[f"accuracy_{side}"] <= 1 and record[f"std_{side}"] >= 0
    assert record["ci_low"] <= record["difference"] <= record["ci_high"]
    assert record["difference"] == pytest.approx(record["accuracy_ours"] - record["accuracy_theirs"])
    assert (record["param_steps"], record["param_precision"], record["n_real"]) == (3, "bfloat16", 36)


def test_one_turn_has_no_spread(run):
    with pytest.raises(ValueError, match="turns is 1; allowed is 2 or more"):
        loops.measure_loops(*RUN, SETTINGS, turns=1)


def test_the_command_prints_a_pair_of_rows_for_each_precision_and_number_of_workers(run, capsys):
    arguments = [
        "--run",
        RUN[0],
        "--dataset",
        RUN[1],
        "--steps",
        "1",
        "--turns",
        "2",
        "--workers",
        "0",
        "1",
        "--device",
        "cpu",
    ]
    file = paths.results_root() / "tuned.yaml"
    file.write_text("Std Aug: {batch_size: 8, lr: 0.05, precision: bfloat16}")
    assert main(["loops", *arguments, "--tuned", str(file), "--precision", "float32", "bfloat16"]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split()[:4] == ["classifier", "precision", "compiled", "loop"] and len(lines) == 1 + 2 * 2 * 2
    assert {record["param_lr"] for record in records.read(*RUN, "efficiency")} == {0.05}
    assert main(["loops", *arguments, "--tuned", str(file)]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 1 + 2 * 2 and all("bfloat16" in line for line in lines[1:])
    file.write_text("arms: {Std Aug: {batch_size: 8}}\nclassifiers: {resnet18: {lr: 0.025}, resnet8-half: {lr: 0.2}}")
    assert main(["loops", *arguments, "--tuned", str(file), "--classifier", "resnet8-half"]) == 0
    found = {(record["param_classifier"], record["param_lr"]) for record in records.read(*RUN, "efficiency")}
    assert ("resnet8-half", 0.2) in found and "resnet18" not in {name for name, _ in found}
    assert main(["loops", *arguments, "--tuned", str(file)]) == 1
    assert "needs a classifier to be named; there are resnet18, resnet8-half" in capsys.readouterr().err
    file.write_text("No Aug: {}")
    assert main(["loops", *arguments, "--tuned", str(file)]) == 1
    assert "tuned.yaml lacks the arm 'Std Aug'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong, message",
    [
        (["--precision", "float16"], "precision is 'float16'"),
        (["--run", "none"], "00_data.ipynb -p RUN none"),
        (["--tuned", "none.yaml"], "none.yaml"),
        (["--turns", "1"], "turns is 1"),
    ],
)
def test_mistakes_are_told_in_a_line(run, capsys, wrong, message):
    given = {"--run": RUN[0], "--dataset": RUN[1], "--steps": "1", "--device": "cpu"}
    given |= dict(zip(wrong[::2], wrong[1::2], strict=True))
    assert main(["loops", *(word for pair in given.items() for word in pair)]) == 1
    assert message in capsys.readouterr().err
