"""What GenVision asks is answered from records: made-up ones, whose answers are known."""

import pytest

from sega_utils.studies.zoo import members as zoo_members, questions as zoo_questions, rows as zoo_rows, zoo


def records(arm, gain, *, size=30, validation=0.6, share=0.0, places=((0, 0), (1, 0)), **more) -> list[dict]:
    """Return records of an arm that is right in ``gain`` points more than 0.7, by place (subset, seed)."""
    asked = {"arm": arm, "share": share, "per_class": size, "steps": 1000, "longer": 1}
    asked |= {"protocol": "A", "seconds": 600.0} if share else {"protocol": "none", "seconds": 0.0}
    gains = gain if isinstance(gain, tuple) else (gain,) * len(places)
    return [
        {"accuracy": 0.7 + points / 100, "accuracy_validation": validation}
        | {f"param_{k}": v for k, v in (asked | {"subset": subset, "seed": seed} | more).items()}
        for points, (subset, seed) in zip(gains, places, strict=True)
    ]


def test_every_question_is_about_members_of_the_zoo():
    known = zoo.ZOO | zoo_members.COMBINED
    for _, name, others in zoo_questions.QUESTIONS:
        assert {name, *others} <= known.keys() and others


def test_one_sampler_is_compared_with_the_other_at_the_share_that_validation_prefers():
    found = records("ddpm 1000", (1.0, 2.0), share=0.1, validation=0.65)
    found += records("ddpm 1000", 30.0, share=0.3, validation=0.5)
    assert zoo_questions.question_rows(found) == []
    (row,) = zoo_questions.question_rows(found + records("ddim 100", 0.5, share=0.3) + records("CutMix", 5.0))
    assert (row["question"], row["augmenter"], row["to"]) == ("DDPM or DDIM", "ddpm 1000", "ddim 100")
    assert row["diff"] == pytest.approx(1.0) and row["over"] == "2 subsets" and row["per_class"] == 30
    assert row["ci_low"] < 0 < row["ci_high"]  # Student's t with one degree of freedom: 1 +- 12.7 * 0.5


def test_all_together_are_beside_the_best_single_one_of_as_many_images():
    single = records("wgan-gp", 1.0, share=0.3) + records("ddim", 4.0, share=0.3, validation=0.5)
    both = records("combined", 3.0, share=0.3)
    assert zoo_questions.question_rows(single + both) == []  # which of the three is the best is not known yet
    (row,) = zoo_questions.question_rows(single + both + records("vae", 2.0, share=0.3, validation=0.7))
    assert (row["to"], row["question"]) == ("vae", "all together, as many images")
    assert row["diff"] == pytest.approx(1.0)
    more = zoo_questions.question_rows(both + records("combined x3", 3.5, share=0.3))
    assert [(row["question"], row["to"]) for row in more] == [("three times as many of all", "combined")]


def test_protocols_sizes_and_budgets_are_not_compared():
    ours = records("vae beta 0", 1.0, share=0.3)
    for other in ({"protocol": "B"}, {"seconds": 60.0}, {"per_class": 60}, {"steps": 500}):
        assert zoo_questions.question_rows(ours + records("vae", 1.0, share=0.3, **other)) == []


def test_a_gain_that_halves_with_every_doubling_of_images_has_that_line():
    places = ((0, 0), (0, 1), (1, 0))
    found = []
    for size, gain in ((15, 3.0), (30, 2.0), (60, 1.0)):
        found += records("CutMix", 5.0, size=size, places=places)
        found += records("Std Aug", 9.0, size=size, validation=0.1, places=places)  # not chosen
        found += records("vae", (5.0 + gain, 5.0 + gain, 5.0 + gain), size=size, share=0.3, places=places)
    (row,) = zoo_questions.fewer_rows(found)
    assert row["sizes"] == "15, 30, 60" and row["over"] == "2 subsets" and row["r2"] == pytest.approx(1.0)
    assert [row[k] for k in ("per_doubling", "ci_low", "ci_high")] == pytest.approx([-1.0, -1.0, -1.0])


def test_lines_that_differ_from_subset_to_subset_leave_the_slope_open():
    found = records("CutMix", 0.0, size=15) + records("CutMix", 0.0, size=60)
    found += records("vae", (1.0, 1.0), size=15, share=0.3) + records("vae", (3.0, 0.0), size=60, share=0.3)
    (row,) = zoo_questions.fewer_rows(found)
    assert row["per_doubling"] == pytest.approx((1.0 - 0.5) / 2) and row["ci_low"] < 0 < row["ci_high"]


def test_a_slope_needs_two_sizes_and_two_subsets_or_seeds_that_all_sizes_share():
    one_size = records("CutMix", 0.0) + records("vae", 1.0, share=0.3)
    assert zoo_questions.fewer_rows(one_size) == []
    other = records("CutMix", 0.0, size=60, places=((0, 0), (2, 0)))
    other += records("vae", 1.0, size=60, share=0.3, places=((0, 0), (2, 0)))
    assert zoo_questions.fewer_rows(one_size + other) == []


def test_the_units_of_a_pair_are_subsets_where_there_are_several():
    ours = records("vae", (1.0, 3.0, 5.0), share=0.3, places=((0, 0), (0, 1), (1, 0)))
    (mine, theirs), over = zoo_rows.pairs(ours, records("CutMix", 0.0, places=((0, 0), (0, 1), (1, 0), (2, 0))))
    assert mine == pytest.approx({0: 72.0, 1: 75.0}) and theirs == pytest.approx({0: 70.0, 1: 70.0})
    assert over == "2 subsets" and zoo_rows.pairs(ours[:2], ours[:2])[1] == "2 seeds"
