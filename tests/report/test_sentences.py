import pytest

from sega_utils.report import claims, sentences


def trained(**scores: tuple[float, ...]) -> list[dict]:
    return [
        {"param_arm": arm.replace("_", " "), "param_seed": seed, "accuracy": value / 100, "n_test": 1000}
        for arm, values in scores.items()
        for seed, value in enumerate(values)
    ]


STAGES = dict.fromkeys(
    ("training", "synthesis", "generator", "shift", "attacks", "ablation", "efficiency", "shards"), ()
)


def test_a_gain_over_the_baseline_is_no_gain_over_the_best_arm_on_real_images():
    found = trained(
        **{"SEGA-Net": (84, 85, 86), "Std_Aug": (80, 81, 82), "GAN-only": (90, 90, 90), "No_Aug": (84, 86, 85)}
    )
    text = sentences.gain(found)
    assert text == (
        "Beside Std Aug, SEGA-Net has +4.00 [+4.00, +4.00] points (3 seeds, 1,000 test images): a gain; beside No Aug, "
        "the best arm on real images alone, SEGA-Net has +0.00 [-2.48, +2.48] points: no difference these seeds can "
        "tell."
    )


def test_where_std_aug_is_the_best_it_is_said_once_and_without_seeds_nothing_is_claimed():
    assert sentences.gain(trained(**{"SEGA-Net": (70, 71), "Std_Aug": (80, 81)})).count("SEGA-Net has") == 1
    assert "not both trained with two seeds" in sentences.gain(trained(**{"SEGA-Net": (70,)}))


def test_the_filters_are_worth_what_the_ablations_say():
    rejected = {"alignment": 10, "blur": 30}
    found = STAGES | {"synthesis": [{"kept": 60, "candidates": 100, "rejected": rejected}]}
    row = {"name": "components", "value": "GAN+LLM", "diff": 0.4, "ci_low": -0.41, "ci_high": 1.21, "n": 3}
    second = sentences.of_method(found | {"training": trained()}, [row])[1]
    assert second == (
        "The filters keep 60 of 100 candidates, most of the others being rejected as blurred. Accuracy changes without "
        "them by +0.40 [-0.41, +1.21] points (3 seeds): no difference these seeds can tell."
    )
    assert "was not measured" in sentences.filters_worth([])


def test_what_has_no_record_is_named():
    found = STAGES | {"training": trained(**{"SEGA-Net": (70,)}), "attacks": [1]}
    text = sentences.unmeasured(found)
    assert "other test images" in text and "the arm Std Aug" in text and "attacks" not in text and "one CLIP" in text


@pytest.mark.parametrize("ours, word", [((90, 90.5, 91), "Yes"), ((70, 70.5, 71), "No"), ((70, 80, 95), "Undecided")])
def test_a_folder_is_told_whether_to_add_synthetic_images_and_that_few_seeds_decide_little(ours, word):
    found = trained(**{"SEGA-Net": ours, "Std_Aug": (80, 80.5, 81.5), "GAN-only": (99, 99, 99)})
    text = sentences.advice(found)
    assert (
        text.startswith(f"Should synthetic images be added? {word}: beside Std Aug") and "3 seeds decide little" in text
    )
    assert "decide little" not in sentences.advice(trained(**{"SEGA-Net": (1, 2, 3, 4, 5), "Std_Aug": (1, 2, 3, 4, 6)}))


def test_a_folder_is_told_when_its_images_are_not_recognised():
    text = sentences.recognised([{"agreement": 0.072, "agreement_real": 0.688}])
    assert "7% of the generator's images, and in 69% of real ones: they are not recognised" in text
    assert sentences.recognised([{"agreement": 0.6, "agreement_real": 0.688}]).endswith("they are recognised.")
    assert "not measured" in sentences.recognised([])


def test_verdicts_are_counted():
    rows = [{"verdict": claims.UNDECIDED}, {"verdict": claims.INCOMPARABLE}, {"verdict": claims.INCOMPARABLE}]
    assert sentences.counted(rows) == (
        "Of 3 claims of the poster: 0 reproduced, 0 not reproduced, 1 undecided, 2 cannot be compared."
    )
