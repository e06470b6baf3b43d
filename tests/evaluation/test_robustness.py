import json

import pytest
import torch
from tiny_net import tiny_net

from sega_utils.__main__ import main
from sega_utils.core import artifacts, paths, records
from sega_utils.evaluation import masking, robustness
from sega_utils.report import claims
from sega_utils.studies import benchmark
from sega_utils.training import attacks, autoattack, classifiers

RUN, DATASET = "fake", "fashion-mnist"
SOUND = {
    "noise": 0.0,
    "one_step": 0.2,
    "many_steps": 0.05,
    "black_box": 0.05,
    "unbounded": 0.0,
    "loss_clean": 0.1,
    "loss_attacked": 5.0,
    "rising": 1.0,
    "padding": 0.99,
}
SMALL = {"n_test": 6, "epsilons": (0, 1), "n_autoattack": 3, "autoattack_epsilons": (2,)}


@pytest.fixture
def trained(monkeypatch):
    """Put a classifier where 05_training would, and keep its masking checks and AutoAttack out of the way."""
    torch.manual_seed(0)
    model = classifiers.build("resnet8-half", n_classes=10, channels=1).eval()
    folder = paths.artifact(RUN, DATASET, "classifiers")
    for seed in (0, 1):
        artifacts.save_tensors(
            folder / f"std-aug-seed{seed}.safetensors",
            model.state_dict(),
            {"classifier": "resnet8-half", "n_classes": 10, "channels": 1, "side": 32},
        )
    monkeypatch.setattr(masking, "signs", lambda *_, **__: dict(SOUND))
    calls = []

    def auto_attack(model, images, labels, **options):
        calls.append(options)
        return images, labels

    monkeypatch.setattr(autoattack, "auto_attack", auto_attack)
    return calls


def test_accuracy_falls_with_epsilon_and_is_the_clean_one_at_zero():
    model, images, labels = tiny_net()
    found = [robustness.accuracy_under(model, images, labels, "PGD-10", eps) for eps in (0, 0.1, 0.2)]
    assert found[0] == classifiers.accuracy(model, images, labels)
    assert found[0] > found[1] > found[2] == 0


def test_a_stronger_attack_leaves_less_standing():
    model, images, labels = tiny_net()
    found = {name: robustness.accuracy_under(model, images, labels, name, 0.1) for name in robustness.NAMES}
    assert found["AutoAttack"] <= found["PGD-50"] <= found["FGSM"]


def test_an_unknown_attack_is_refused():
    with pytest.raises(ValueError, match="FGSM, BIM, PGD-10, PGD-50, AutoAttack"):
        robustness.accuracy_under(*tiny_net(), "pgd", 0.1)


def test_the_sample_is_seeded_and_nested():
    few, many = robustness.sample_test(DATASET, 5), robustness.sample_test(DATASET, 9)
    assert torch.equal(few.images, many.images[:5]) and torch.equal(few.labels, many.labels[:5])
    assert not torch.equal(robustness.sample_test(DATASET, 9, seed=1).images, many.images)
    for n in (0, 10_001):
        with pytest.raises(ValueError, match="1 .. 10000"):
            robustness.sample_test(DATASET, n)


def test_a_record_holds_every_attack_and_what_the_checks_saw(trained):
    record = robustness.measure_attacks(RUN, DATASET, "Std Aug", 0, **SMALL)
    assert record == artifacts.load_json(records.path(RUN, DATASET, "attacks", "std-aug-seed0"))
    rows = {(row["attack"], row["norm"], row["epsilon"]): row["n"] for row in record["attacked"]}
    assert rows == {(name, "Linf", eps): 6 for name in attacks.ATTACKS for eps in (0, 1)} | {
        ("AutoAttack", "Linf", 0): 3,
        ("AutoAttack", "Linf", 2): 3,
    }
    assert record["masking"].keys() == {"epsilon"} | SOUND.keys() and record["masking"]["epsilon"] >= 8
    (call,) = trained
    assert call["eps"] == 2 / 255
    folder = paths.artifact(RUN, DATASET, "attacks")
    assert call["checkpoint"] == folder / "std-aug-seed0-Linf-2.safetensors"


def test_what_is_on_record_is_not_attacked_again_unless_asked_for_otherwise(trained):
    first = robustness.measure_attacks(RUN, DATASET, "Std Aug", 0, **SMALL)
    assert robustness.measure_attacks(RUN, DATASET, "Std Aug", 0, **SMALL) == first and len(trained) == 1
    robustness.measure_attacks(RUN, DATASET, "Std Aug", 0, **SMALL | {"n_test": 7})
    assert len(trained) == 2


def test_masked_gradients_stop_the_run_and_leave_no_record(trained, monkeypatch):
    monkeypatch.setattr(masking, "signs", lambda *_, **__: SOUND | {"unbounded": 0.5})
    with pytest.raises(masking.MaskingError, match="Std Aug, seed 0.*unbounded"):
        robustness.measure_attacks(RUN, DATASET, "Std Aug", 0, **SMALL)
    assert records.read(RUN, DATASET, "attacks") == []


def write(arm, seed, values, **changed):
    """Write a record with accuracies of PGD-10 by epsilon; return it."""
    rows = [
        {"attack": "PGD-10", "norm": "Linf", "epsilon": float(eps), "accuracy": value, "n": 200}
        for eps, value in values.items()
    ]
    metrics = {"attacked": rows, "masking": dict(SOUND)}
    return records.write(
        RUN,
        DATASET,
        "attacks",
        f"{arm}-{seed}",
        metrics=metrics,
        cost={"seconds": 1.0},
        parameters={"arm": arm, "seed": seed, "norm": "Linf", "n_test": 200} | changed,
        inputs={"test": "t", "weights": f"{arm}{seed}"},
    )


@pytest.fixture
def found(monkeypatch):
    monkeypatch.setattr(records, "git_commit", lambda: "0" * 40)
    write("SEGA-Net", 0, {0: 0.9, 0.25: 0.5, 2: 0.1})
    write("No Aug", 0, {0: 0.8, 0.25: 0.6, 2: 0.0})
    write("No Aug", 1, {0: 0.7, 0.25: 0.5, 2: 0.1})
    return records.read(RUN, DATASET, "attacks")


def test_rows_are_read_back_from_the_records(found):
    rows = robustness.attack_rows(found)
    assert [tuple(row) for row in rows] == [robustness.COLUMNS] * 9
    assert rows[0] == {
        "arm": "No Aug",
        "attack": "PGD-10",
        "norm": "Linf",
        "epsilon": 0.0,
        "seed": 0,
        "accuracy": pytest.approx(80),
        "n": 200,
    }
    assert [(r["epsilon"], r["seed"]) for r in rows] == [(e, s) for e in (0, 0.25, 2) for s in (0, 1)] + [
        (e, 0) for e in (0, 0.25, 2)
    ]
    assert robustness.attack_rows([]) == [] == robustness.masking_rows([])


def test_a_deleted_record_takes_its_rows_with_it(found):
    assert {row["arm"] for row in robustness.attack_rows(found[:2])} == {"No Aug"}


@pytest.mark.parametrize("changed", [{"norm": "L2"}, {"n_test": 9}])
def test_records_of_other_parameters_do_not_stand_side_by_side(found, changed):
    with pytest.raises(artifacts.ArtifactError, match="do not belong together"):
        robustness.attack_rows([*found, write("No Aug", 2, {0: 0.5}, **changed)])


def test_records_of_other_test_images_or_versions_do_not_stand_side_by_side(found):
    for key in ("run", "input_test", "version_torch"):
        with pytest.raises(artifacts.ArtifactError, match=key):
            robustness.attack_rows([*found[:2], found[2] | {key: "other"}])


def test_the_curve_is_the_mean_over_the_seeds(found):
    rows = robustness.attack_rows(found)
    assert robustness.curve(rows, "No Aug", "PGD-10") == pytest.approx({0: 75, 0.25: 55, 2: 5})
    assert robustness.curve(rows, "No Aug", "PGD-10", "L2") == robustness.curve(rows, "GAN-only", "PGD-10") == {}


def test_the_table_for_people_leaves_empty_what_was_not_measured(found):
    rows = robustness.attack_rows(found)
    rows.append(rows[0] | {"attack": "AutoAttack", "epsilon": 1.0, "n": 9, "accuracy": 10.0})
    table = robustness.accuracy_table(rows)
    assert [row["arm"] + " " + row["attack"] for row in table] == [
        "No Aug PGD-10",
        "SEGA-Net PGD-10",
        "No Aug AutoAttack",
    ]
    first, last = ({key: row[key] for key in row if key.endswith("/255")} for row in (table[0], table[2]))
    assert first.pop("1/255") == "" and first == pytest.approx({"0/255": 75, "0.25/255": 55, "2/255": 5})
    assert last == {"0/255": "", "0.25/255": "", "1/255": 10, "2/255": ""} and table[2]["n"] == 9
    assert robustness.accuracy_table(rows, "L2") == []


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (75, (0, 0, 0.25)),
        (65, (0.125, 0, 0.25)),
        (55, (0.25, 0, 0.25)),
        (30, (1.125, 0.25, 2)),
        (5, (2, 0.25, 2)),
        (4, None),
        (76, None),
    ],
)
def test_an_epsilon_is_read_off_the_curve_or_there_is_none(found, accuracy, expected):
    got = claims.epsilon_for(robustness.attack_rows(found), "No Aug", "PGD-10", accuracy)
    assert got == (expected and pytest.approx(expected))


def test_a_flat_curve_gives_the_smallest_epsilon():
    rows = [{"arm": "A", "attack": "FGSM", "norm": "Linf", "epsilon": eps, "accuracy": 50.0} for eps in (1, 2)]
    assert claims.epsilon_for(rows, "A", "FGSM", 50.0) == (1, 1, 2)


def test_the_posters_row_stands_beside_ours(found):
    table = claims.attacks_beside(robustness.attack_rows(found))
    assert len(table) == 15 and len({tuple(row) for row in table}) == 1
    by = {(row["arm"], row["attack"]): row for row in table}
    mine = by["SEGA-Net", "PGD-10"]
    assert mine["poster (%)"] == "41.2 ± 0.5" and mine["ours, clean (%)"] == "90.00"
    assert mine["poster's holds at epsilon (1/255)"] == "0.63" and mine["between measured"] == "0.25 and 2"
    missing = by["Std Aug", "PGD-10"]
    assert missing["poster's holds at epsilon (1/255)"] == "not measured" and missing["ours, clean (%)"] == ""


def test_the_findings_stand_beside_what_the_checks_saw(found):
    few = {"param_n_autoattack": 16}
    rows = robustness.masking_rows([found[0] | few, found[1] | few | {"masking": SOUND | {"unbounded": 0.5}}])
    assert rows[0] == {"arm": "No Aug", "seed": 0} | SOUND | {"findings": "none"}
    assert rows[1]["findings"] == "unbounded epsilon does not reach 0"
    json.dumps(rows)


# the command


def test_the_command_compares_with_the_reference_and_fails_where_they_differ(trained, monkeypatch, capsys):
    asked = []

    def compare(model, images, labels, *, eps):
        asked.append((len(images), eps))
        return {
            "n": 7,
            "accuracy_ours": 0.5,
            "agreement": 1 - 0.5 * (len(asked) > 2),
            "seconds_ours": 1.0,
            "seconds_reference": 4.5,
            "speedup": 4.5,
        }

    monkeypatch.setattr(benchmark, "compare_with_reference", compare)
    options = ["--run", RUN, "--images", "7", "--epsilons", "4", "0.5"]
    assert main(["attacks", *options]) == 0
    assert asked == [(7, 4 / 255), (7, 0.5 / 255)]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["epsilon", "4/255", "0.5/255"]
    assert main(["attacks", *options]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--run", "none"], "classifiers is missing; make it with"),
        (["--seed", "9"], "9 among its SEEDS"),
        (["--images", "0"], "allowed are 1 .. 10000"),
    ],
)
def test_the_command_says_what_is_missing_or_wrong(trained, capsys, options, message):
    run = [] if "--run" in options else ["--run", RUN]
    assert main(["attacks", *run, *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
