"""Plans of studies: what is read, and what is refused by name."""

import pytest

from sega_utils.core import plans

RULES, PARTS = {"steps": plans.STEPS, "arms": plans.NAMES}, {"primary": {"seeds": plans.SEEDS}}
WHOLE = "steps: 5\narms: [a, b]\nprimary: {seeds: [0, 1]}\nmore: {x: 1}\n"


def test_a_plan_has_its_values_its_parts_and_the_rest_as_it_stands(tmp_path):
    (tmp_path / "plan.yaml").write_text(WHOLE)
    found = plans.read(tmp_path / "plan.yaml", RULES, PARTS, others=["more"])
    assert found == {"steps": 5, "arms": ["a", "b"], "primary": {"seeds": [0, 1]}, "more": {"x": 1}}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps: 5", "steps: 0", r"plan.yaml: steps is 0; allowed is int: 1 \.\. 1000000"),
        ("steps: 5\n", "", "must hold primary, more, steps, arms"),
        ("more:", "others:", "must hold primary, more, steps, arms"),
        ("{seeds: [0, 1]}", "5", "primary is 5; it must hold seeds"),
        ("{seeds: [0, 1]}", "{}", "primary lacks seeds; it must hold seeds"),
        ("[0, 1]", "[0, 0]", "primary: seeds is .*holds 0 twice"),
        (WHOLE, "- steps", "must hold primary"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_part(tmp_path, old, new, said):
    (tmp_path / "plan.yaml").write_text(WHOLE.replace(old, new))
    with pytest.raises(ValueError, match=said):
        plans.read(tmp_path / "plan.yaml", RULES, PARTS, others=["more"])


def test_a_part_need_not_be_whole_and_a_strange_name_is_named():
    assert plans.checked({}, RULES, "here", whole=False) == {}
    with pytest.raises(ValueError, match="arms has 'c'; known are a, b"):
        plans.known(["a", "c"], ["a", "b"], "arms")
