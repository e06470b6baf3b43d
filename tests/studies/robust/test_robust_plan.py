"""The plan of robust training: what is committed holds, and what would be unfair is refused."""

import pytest
import yaml

from sega_utils.core import parameters
from sega_utils.studies.robust import plan as robust_plan


def test_the_committed_plan_gives_both_sides_as_many_trials():
    plan = robust_plan.read()
    assert len(plan["real"]) == len(plan["synthetic"]) > 0 and plan["base"]
    assert plan["tuning"]["seed"] not in plan["primary"]["seeds"]
    assert set(plan["settings"]) == set(robust_plan.SETTINGS) and plan["settings"]["share"] == 0
    assert parameters.check(plan["settings"], robust_plan.SETTINGS) == plan["settings"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"real": []}, "has 2 of base, 0 of real, 1 of synthetic; base must have a trial, and both sides as many"),
        ({"base": []}, "has 0 of base"),
        ({"synthetic": [{"share": 0.3}]}, "synthetic trials have a share and an augmenter"),
        ({"real": [{"share": 0.3, "augmenter": "vae"}]}, "real has .* synthetic trials have a share"),
        ({"settings": {"loss": "mart"}}, "settings: loss is 'mart'; allowed is text: one of: none . pgd . trades"),
        ({"settings": {"pace": 1}}, "settings: unknown parameter 'pace'"),
        ({"checks": {"images": 1}}, "checks lacks restarts, steps"),
        ({"base": [3]}, "base is 3; it must hold classifier, steps"),
        ({"more": 1}, "must hold primary, drawn, tuning, checks, settings, base, real, synthetic, exploratory"),
    ],
)
def test_a_plan_that_is_none_is_refused(tmp_path, plan, change, said):
    file = tmp_path / "robust.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | change))
    with pytest.raises(ValueError, match=said):
        robust_plan.read(file)
