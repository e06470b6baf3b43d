import pytest

from sega_utils import artifacts, claims, paths


def records(stage: str, **scores: tuple[float, ...]) -> list[dict]:
    """Return a record for each arm and seed, whose metrics are what ``stage`` measures."""
    names = {"training": ("accuracy",), "shift": ("accuracy_fog_1", "accuracy_fog_2"), "attacks": ("accuracy_FGSM_Linf_1",)}
    return [{"param_arm": arm.replace("_", " "), "param_seed": seed} | {name: value / 100 for name in names[stage]}
            for arm, values in scores.items() for seed, value in enumerate(values)]  # fmt: skip


def verdicts(found: dict[str, list[dict]], efficiency=(), ablation=()) -> dict[str, dict]:
    ids = [row["id"] for row in artifacts.load_csv(paths.DATA / "paper" / "claims.csv")]
    return dict(zip(ids, claims.claim_rows(found, list(efficiency), list(ablation)), strict=True))


def test_what_was_not_measured_cannot_be_compared():
    rows = verdicts({})
    assert {row["verdict"] for row in rows.values()} == {claims.INCOMPARABLE}
    assert all(tuple(row) == claims.COLUMNS and row["why"] and not row["measured"] for row in rows.values())


@pytest.mark.parametrize("ours, verdict, why", [
    ((90, 91, 92), claims.REPRODUCED, "reaches the claim"),
    ((82, 83.1, 84), claims.NOT_REPRODUCED, "below the claim"),
    ((80, 82, 82.5), claims.NOT_REPRODUCED, "contains zero"),
    ((70, 71.1, 72), claims.NOT_REPRODUCED, "opposite sign"),
])  # fmt: skip
def test_the_verdict_follows_from_the_paired_interval(ours, verdict, why):
    found = {"training": records("training", **{"SEGA-Net": ours, "Std_Aug": (80, 81, 82)})}
    row = verdicts(found)["clean"]
    assert row["verdict"] == verdict and why in row["why"]
    assert row["measured"].startswith(f"{sum(ours) / 3 - 81:+.2f} [") and row["published"] == "at least 8 points"


def test_one_seed_is_no_measurement():
    found = {"training": records("training", **{"SEGA-Net": (90,), "Std_Aug": (80,)})}
    assert verdicts(found)["clean"]["verdict"] == claims.INCOMPARABLE


def test_corruption_is_the_mean_over_severities_and_shifts_are_apart():
    record = {"accuracy_fog_1": 0.8, "accuracy_fog_5": 0.4, "accuracy_clean": 1.0, "accuracy_inverted": 0.1, "n_test": 9}
    assert claims.corrupted(record) == pytest.approx(0.6) and claims.shifted(record) == pytest.approx(0.1)
    assert claims.corrupted({"accuracy_clean": 1.0}) is None


def test_attacks_count_every_epsilon_above_zero():
    record = {"accuracy_FGSM_Linf_0": 1.0, "accuracy_FGSM_Linf_0.25": 0.5, "accuracy_PGD-10_Linf_8": 0.1}
    assert claims.attacked(record) == pytest.approx(0.3)


def test_a_claim_that_depends_on_what_the_poster_hides_has_no_verdict_but_a_value():
    found = {"attacks": records("attacks", **{"SEGA-Net": (50, 51.5), "Std_Aug": (40, 41)})}
    row = verdicts(found)["attacks"]
    assert row["verdict"] == claims.INCOMPARABLE and "epsilon" in row["why"] and row["measured"].startswith("+10.25")


def test_alignment_efficiency_and_ablation_come_from_their_tables():
    found = {"synthesis": [{"alignment_pre_median": 0.4, "alignment_post_median": 0.55}]}
    efficiency = [{"variant": "SEGA-Net", "seconds_per_image": "0.01"}, {"variant": "DDIM", "seconds_per_image": "0.08"}]
    losses = {"GAN-only": -1.0, "LLM-only": -1.0, "GAN+LLM": -1.5, "GAN+Filter": -2.0, "LLM+Filter": -2.0, "SEGA-Net": ""}
    ablation = [{"name": "components", "value": value, "diff": lost} for value, lost in losses.items()]
    assert verdicts({}, [], ablation[1:])["ablation"]["verdict"] == claims.INCOMPARABLE, "one of the five is missing"
    rows = verdicts(found, efficiency, ablation)
    assert [rows[k]["measured"][:5] for k in ("alignment", "efficiency", "ablation")] == ["+0.15", "+8.00", "+1.50"]
    assert [rows[k]["verdict"] for k in ("alignment", "efficiency", "ablation")] == [
        claims.REPRODUCED, claims.REPRODUCED, claims.NOT_REPRODUCED,
    ]  # fmt: skip


def test_the_lead_over_each_arm_is_paired_and_empty_where_nothing_was_measured():
    found = {"training": records("training", **{"SEGA-Net": (90, 92), "Std_Aug": (80, 81), "No_Aug": (70, 72)}),
             "shift": records("shift", **{"SEGA-Net": (50, 52), "No_Aug": (40, 42)})}  # fmt: skip
    rows = claims.ahead(found, ["No Aug", "Std Aug", "GAN-only", "SEGA-Net"])
    assert [row["SEGA-Net minus"] for row in rows] == ["No Aug", "Std Aug"]
    assert rows[0]["clean images"] == "+20.00 [+20.00, +20.00]" and rows[0]["corrupted images"].startswith("+10.00 [")
    assert rows[1]["clean images"].startswith("+10.50 [+4.15") and rows[1]["corrupted images"] == ""
