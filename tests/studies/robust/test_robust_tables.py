"""What is concluded from records of robust training, some of which are missing."""

import pytest

from sega_utils.studies.robust import tables

TRIALS = {"trades": 0.5, "pgd": 0.4, "smooth": 0.6, "drawn": 0.55}


def record(plan, robust, subset=0, seed=100, accuracy=0.8, **change):
    settings = plan["settings"] | change
    return {f"param_{name}": value for name, value in settings.items()} | {
        "param_subset": subset,
        "param_seed": seed,
        "param_per_class": 4,
        "robust": robust,
        "accuracy": accuracy,
        "n": 12,
        "gradients": 36,
        "cpu_seconds": 60.0,
        "cpu_seconds_attacks": 60.0,
    }


@pytest.fixture
def tuned(plan):
    drawn = {"loss": "trades", "augmenter": "offsets-pixels", "share": 0.3}
    return [
        record(plan, 0.4),
        record(plan, 0.5, loss="trades"),
        record(plan, 0.45, loss="trades", smoothing=0.1),
        record(plan, 0.48, **drawn),
        record(plan, 0.9, smoothing=0.1),  # no trial of this plan
        record(plan, 0.99, subset=1),  # nor this one
    ]


def test_both_sides_go_on_from_the_best_on_real_images_and_the_real_side_may_keep_it(plan, tuned):
    assert tables.best_base(tuned, plan) == {"loss": "trades"}
    chosen = tables.winners(tuned, plan)
    assert tables.changes(chosen["real"], plan) == "loss trades"
    assert tables.changes(chosen["synthetic"], plan) == "loss trades, share 0.3, augmenter offsets-pixels"
    assert tables.winners(tuned[:3], plan) == tables.winners([], plan) == {}
    rows = {row["changed"]: row["best of"] for row in tables.trial_rows(tuned[:4], plan)}
    assert rows["loss trades"] == "real" and rows["nothing"] == ""


def test_differences_are_of_what_both_sides_have(plan, tuned):
    chosen = tables.winners(tuned, plan)
    found = [record(plan, 0.50, 0, 0, 0.80, **chosen["real"]), record(plan, 0.54, 0, 0, 0.79, **chosen["synthetic"])]
    assert tables.sentence([], tuned, plan) == "Not measured yet: 0 of 2 planned pairs are on record."
    assert "1 of 2 planned pairs" in tables.sentence(found, tuned, plan) and not tables.primary_rows(found, tuned, plan)
    found += [record(plan, 0.60, 1, 0, 0.80, **chosen["real"])]
    assert len(tables.pairs(found, tuned, plan)["real"]) == 1
    found += [record(plan, 0.66, 1, 0, 0.81, **chosen["synthetic"]), record(plan, 0.1, 1, 7, **chosen["real"])]
    robust, clean = tables.primary_rows(found, tuned, plan)
    assert (robust["diff"], clean["diff"]) == (pytest.approx(5), pytest.approx(0, abs=1e-9))
    assert (robust["synthetic"], robust["real"]) == (pytest.approx(60), pytest.approx(55))
    told = tables.sentence(found, tuned, plan)
    assert "changes by +5.00 [-7.71, +17.71] points" in told and "2 of 2 planned pairs" in told
    assert "no gain is shown, and one above 17.7 points is ruled out" in told


@pytest.mark.parametrize(("gain", "said"), [(0.04, "synthetic images pay"), (-0.04, "synthetic images harm")])
def test_the_verdict_is_that_of_the_interval(plan, tuned, gain, said):
    chosen = tables.winners(tuned, plan)
    found = [record(plan, 0.5, subset, 0, **chosen["real"]) for subset in (0, 1)]
    found += [record(plan, 0.5 + gain + 0.001 * subset, subset, 0, **chosen["synthetic"]) for subset in (0, 1)]
    assert said in tables.sentence(found, tuned, plan)


def test_rows_say_what_it_cost(plan, tuned):
    rows = tables.side_rows(tuned[:2], plan)
    assert [(row["changed"], row["n"], row["CPU minutes"]) for row in rows] == [
        ("nothing", 1, 2.0),
        ("loss trades", 1, 2),
    ]
