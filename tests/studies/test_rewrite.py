import pytest

from sega_utils.core import artifacts, paths, schema
from sega_utils.core.artifacts import ArtifactError
from sega_utils.studies import rewrite

SAME = {"run": "r", "dataset": "d", "seconds": 1.5, "input_real": "ab", "param_seed": 0}
# stage: what version 0.1 wrote, and what stands there now
OLD_AND_NEW = {
    "clip": (
        {"zero_shot_accuracy": 0.8, "attribute_accuracy_fill": 0.9},
        {"zero_shot_accuracy": 0.8, "attribute_accuracy": {"fill": 0.9}},
    ),
    "projector": (
        {"retrieval_plain": 0.1, "intra_class_distance_real": 7.0, "effect_fill": 1.0, "ci_low_fill": 0.5}
        | {"ci_high_fill": 1.5, "n_fill": 10, "plain_effect_fill": 0.0, "plain_ci_low_fill": -0.5}
        | {"plain_ci_high_fill": 0.5, "plain_n_fill": 9},
        {
            "retrieval": {"plain": 0.1},
            "intra_class_distance": {"real": 7.0},
            "effects": {
                "plain": [{"attribute": "fill", "effect": 0.0, "ci_low": -0.5, "ci_high": 0.5, "n": 9}],
                "prompts": [{"attribute": "fill", "effect": 1.0, "ci_low": 0.5, "ci_high": 1.5, "n": 10}],
            },
        },
    ),
    "synthesis": (
        {"kept": 5, "rejected_blur": 3, "alignment_pre_median": 0.4, "alignment_post_median": 0.5},
        {"kept": 5, "rejected": {"blur": 3}, "alignment": {"pre": {"median": 0.4}, "post": {"median": 0.5}}},
    ),
    "training": (
        {"accuracy": 0.5, "accuracy_class_10": 0.3, "accuracy_class_2": 0.2},
        {"accuracy": 0.5, "accuracy_by_class": [0.2, 0.3]},
    ),
    "shift": (
        {"n_test": 3, "accuracy_clean": 0.9} | {f"accuracy_fog_{s}": s / 10 for s in range(1, 6)},
        {"n_test": 3, "shifts": {"clean": 0.9}, "corruptions": {"fog": [0.1, 0.2, 0.3, 0.4, 0.5]}},
    ),
    "attacks": (
        {"accuracy_PGD-10_Linf_0.25": 0.5, "n_PGD-10": 7, "masking_noise": 0.0},
        {
            "attacked": [{"attack": "PGD-10", "norm": "Linf", "epsilon": 0.25, "accuracy": 0.5, "n": 7}],
            "masking": {"noise": 0.0},
        },
    ),
    "ablation": (
        {"param_ablation": "fraction: Std Aug", "param_value": 0.1},
        {"param_ablation": "fraction", "param_arm": "Std Aug", "param_value": 0.1},
    ),
    "shards": ({"rejected_blur": 3}, {"rejected": {"blur": 3}}),
    "few-shot": (
        {"arms": {"1": {"SAGE": 0.5}}, "quality": {"10": {"SAGE": {"n": 3}}}}
        | {"tuned": {"SAGE": {"1": {"alpha": 2.0}}}, "scores": {"SAGE": {"1": 0.6}}},
        {
            "accuracies": [{"arm": "SAGE", "shots": 1, "accuracy": 0.5}],
            "images": [{"arm": "SAGE", "shots": 10, "n": 3}],
            "tuned": [{"arm": "SAGE", "shots": 1, "settings": {"alpha": 2.0}, "score": 0.6}],
        },
    ),
    "generator": ({"frechet": 0.1, "frechet_real": 0.2}, {"frechet": 0.1, "frechet_real": 0.2}),
}


@pytest.mark.parametrize("stage", OLD_AND_NEW)
def test_values_move_from_names_to_keys_and_nothing_else_changes(stage):
    old, new = (SAME | {"stage": stage} | values for values in OLD_AND_NEW[stage])
    assert rewrite.rewrite(old) == new
    assert rewrite.rewrite(new) == new, "a second time changes nothing"


def test_every_record_below_a_folder_is_rewritten_once_and_sealed(results):
    for stage, (old, _) in OLD_AND_NEW.items():
        artifacts.save_json(results / "run/data/records" / stage / "x.json", SAME | {"stage": stage, "name": "x"} | old)
    assert rewrite.rewrite_all(results) == len(OLD_AND_NEW)
    record = artifacts.load_json(results / "run/data/records/training/x.json")
    assert record == schema.sealed(record) and record.items() >= OLD_AND_NEW["training"][1].items()


def test_what_was_altered_or_holds_nonsense_gets_no_digest(results):
    file = results / "reference/run/data/records/generator/x.json"
    good = SAME | {"stage": "generator", "name": "x", "frechet": 0.5}
    artifacts.save_json(file, good | {"accuracy": 84.9})
    with pytest.raises(ArtifactError, match="generator/x.json.* accuracy is 84.9; allowed is a finite number"):
        rewrite.rewrite_all(results)
    artifacts.save_json(file, schema.sealed(good) | {"frechet": 0.1})
    with pytest.raises(ArtifactError, match="generator/x.json.* altered .* own digest"):
        rewrite.rewrite_all(results)
    artifacts.save_json(file, good)
    assert rewrite.rewrite_all(results / "reference") == 1 and rewrite.rewrite_all(results) == 0


def test_the_committed_records_have_todays_form():
    files = list(paths.reference_root().rglob("records/*/*.json"))
    assert len(files) > 400
    for file in files:
        schema.check_record(found := artifacts.load_json(file), file)
        assert rewrite.rewrite(found) == found
