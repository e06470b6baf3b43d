import pytest

from sega_utils.core import paths
from sega_utils.training import recipes

ARMS = "{Std Aug: {}, SEGA-Net: {ratio: 0.2, lr: 0.3}}"
SEVERAL = f"arms: {ARMS}\nclassifiers: {{resnet18: {{lr: 0.1, steps: 9}}, vgg16: {{}}}}"


def test_a_file_of_arms_is_taken_as_it_is(tmp_path):
    file = tmp_path / "tuned.yaml"
    file.write_text(ARMS)
    assert recipes.read(file) == {"Std Aug": {}, "SEGA-Net": {"ratio": 0.2, "lr": 0.3}}


def test_of_a_file_of_classifiers_one_is_taken_and_what_an_arm_says_itself_goes_first(tmp_path):
    file = tmp_path / "classifiers.yaml"
    file.write_text(SEVERAL)
    assert recipes.read(file, "resnet18") == {
        "Std Aug": {"classifier": "resnet18", "lr": 0.1, "steps": 9},
        "SEGA-Net": {"classifier": "resnet18", "lr": 0.3, "steps": 9, "ratio": 0.2},
    }
    assert recipes.read(file, "vgg16")["Std Aug"] == {"classifier": "vgg16"}


@pytest.mark.parametrize(
    "content, classifier, message",
    [
        (SEVERAL, "", "x.yaml needs a classifier to be named; there are resnet18, vgg16"),
        (SEVERAL, "resnet8", "x.yaml lacks the classifier resnet8; there are resnet18, vgg16"),
        (ARMS, "resnet18", "x.yaml holds settings by arm and no classifiers, so it has no resnet18"),
        ("[Std Aug]", "", "x.yaml must hold settings by arm"),
        ("Std Aug: 3", "", "x.yaml has 3 for Std Aug; it must hold settings by name, or {} for the defaults"),
        ("Std Aug: ", "", "x.yaml has None for Std Aug; it must hold settings by name"),
        ("arms: {Std Aug: {}}\nclassifiers: {vgg16: }", "vgg16", "x.yaml has None for vgg16"),
        ("arms: [Std Aug]\nclassifiers: {vgg16: {}}", "vgg16", "x.yaml must hold settings by arm"),
    ],
)
def test_what_a_file_cannot_say_is_refused(content, classifier, message, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        recipes.read(file, classifier)


def test_the_projects_own_files_have_settings_for_every_arm():
    for file, classifier in ((paths.PARAMS / "tuned.yaml", ""), (paths.PARAMS / "classifiers.yaml", "vit-tiny")):
        found = recipes.read(file, classifier)
        assert list(found) == list(recipes.ARMS)
        assert len({recipes.settings_of(arm, found[arm])["steps"] for arm in found}) == 1


@pytest.mark.parametrize(
    ("tuned", "message"),
    [
        ({"steps": 0}, r"steps of Std Aug is 0; allowed is an integer 1 \.\. "),
        ({"steps": 10.0}, "steps of Std Aug is 10.0; allowed is an integer"),
        ({"batch_size": True}, "batch_size of Std Aug is True; allowed is an integer"),
        ({"lr": "1e-3"}, "lr of Std Aug is '1e-3'; allowed is a number"),
        ({"lr": None}, "lr of Std Aug is None; allowed is a number"),
        ({"ratio": 1}, r"ratio of Std Aug is 1; allowed is a number 0 \.\. 0.99"),
        ({"ratio": float("nan")}, "ratio of Std Aug is nan; allowed"),
        ({"pixel": 1}, "pixel of Std Aug is 1; allowed is true or false"),
        ({"mixing": []}, r"mixing of Std Aug is \[\]; allowed is a text"),
        ({1: 2}, r"unknown settings \['1'\]"),
    ],
)
def test_a_setting_of_another_type_or_range_is_named(tuned, message):
    with pytest.raises(ValueError, match=message):
        recipes.settings_of("Std Aug", tuned)
