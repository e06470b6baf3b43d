import pytest

from sega_utils.report import claims


def records(stage: str, **scores: tuple[float, ...]) -> list[dict]:
    """Return a record for each arm and seed, whose metrics are what ``stage`` measures."""
    metrics = {
        "training": lambda value: {"accuracy": value},
        "shift": lambda value: {"corruptions": {"fog": [value, value]}, "shifts": {"clean": 1.0}},
        "attacks": lambda value: {"attacked": [{"attack": "FGSM", "epsilon": 1.0, "accuracy": value}]},
    }
    return [
        {"param_arm": arm.replace("_", " "), "param_seed": seed} | metrics[stage](value / 100)
        for arm, values in scores.items()
        for seed, value in enumerate(values)
    ]


def verdicts(found: dict[str, list[dict]], efficiency=()) -> dict[str, dict]:
    ids = [row["id"] for row in claims.claimed_by()]
    return dict(zip(ids, claims.claim_rows(found, list(efficiency)), strict=True))


def test_what_was_not_measured_cannot_be_compared():
    rows = verdicts({})
    assert {row["verdict"] for row in rows.values()} == {claims.INCOMPARABLE}
    assert all(tuple(row) == claims.COLUMNS and row["why"] and not row["measured"] for row in rows.values())


@pytest.mark.parametrize(
    "ours, verdict, why",
    [
        ((90, 91, 92), claims.REPRODUCED, "the whole interval reaches the claim"),
        ((82, 83.1, 84), claims.NOT_REPRODUCED, "below the claim; it lies above zero"),
        ((80, 82, 82.5), claims.NOT_REPRODUCED, "below the claim; it contains zero"),
        ((70, 71.1, 72), claims.NOT_REPRODUCED, "below the claim; it lies below zero"),
        ((87, 91, 92), claims.UNDECIDED, "contains the claim"),
        ((60, 90, 99), claims.UNDECIDED, "it contains zero"),
    ],
)
def test_the_verdict_follows_from_the_paired_interval(ours, verdict, why):
    found = {"training": records("training", **{"SEGA-Net": ours, "Std_Aug": (80, 81, 82)})}
    row = verdicts(found)["clean"]
    assert row["verdict"] == verdict and why in row["why"]
    assert row["measured"].startswith(f"{sum(ours) / 3 - 81:+.2f} [") and row["measured"].endswith("points (3 seeds)")
    assert row["published"] == "at least 8 points"


def test_one_seed_is_no_measurement():
    found = {"training": records("training", **{"SEGA-Net": (90,), "Std_Aug": (80,)})}
    assert verdicts(found)["clean"]["verdict"] == claims.INCOMPARABLE


def test_corruption_is_the_mean_over_severities_and_shifts_are_apart():
    record = {"corruptions": {"fog": [0.8, 0.4]}, "shifts": {"clean": 1.0, "inverted": 0.1}, "accuracy_at_90": 0}
    assert claims.corrupted(record) == pytest.approx(0.6) and claims.shifted(record) == pytest.approx(0.1)
    assert claims.corrupted(record | {"corruptions": {}}) is None


def test_attacks_count_every_epsilon_above_zero_and_leave_autoattack_out():
    rows = [{"attack": "PGD", "epsilon": eps, "accuracy": a} for eps, a in ((0, 1.0), (0.25, 0.5), (8, 0.1))]
    rows.append({"attack": "AutoAttack", "epsilon": 8, "accuracy": 0.0})
    assert claims.attacked({"attacked": rows}) == pytest.approx(0.3)


def test_a_claim_that_depends_on_what_the_poster_hides_has_no_verdict_but_a_value():
    found = {"attacks": records("attacks", **{"SEGA-Net": (50, 51.5), "Std_Aug": (40, 41)})}
    row = verdicts(found)["attacks"]
    assert row["verdict"] == claims.INCOMPARABLE and "epsilon" in row["why"] and row["measured"].startswith("+10.25")


def test_compute_counts_kept_images_names_its_rival_and_compares_with_no_gpu_hours():
    found = {"synthesis": [{"alignment": {"pre": {"median": 0.4}, "post": {"median": 0.55}}}]}
    costs = {"SEGA-Net": ("0.01", "0.02"), "GAN-only": ("0.001", "0.001"), "diffusion": ("0.2", "0.3")}
    efficiency = [
        {"variant": name, "seconds_per_image": drawn, "seconds_per_kept_image": kept}
        for name, (drawn, kept) in costs.items()
    ]
    rows = verdicts(found, efficiency)
    assert rows["efficiency"]["measured"] == (
        "15.0 times (0.3 against 0.02 seconds for each kept image; rival: diffusion; one run)"
    )
    assert rows["alignment"]["measured"] == "+0.15 cosine (one run)"
    assert {rows[k]["verdict"] for k in ("alignment", "efficiency")} == {claims.INCOMPARABLE}
    assert "GPU hours" in rows["efficiency"]["why"] and "training" in rows["efficiency"]["why"]
    dearer = efficiency + [{"variant": "Stable Diffusion", "seconds_per_image": "3", "seconds_per_kept_image": "4"}]
    assert "rival: Stable Diffusion" in verdicts(found, dearer)["efficiency"]["measured"]


def components(*losses: float) -> list[dict]:
    """Return ablation records in which each reduced variant loses so many points with the seeds 0, 1, ..."""
    names = ("GAN-only", "LLM-only", "GAN+LLM", "GAN+Filter", "LLM+Filter")
    return [
        {"param_ablation": "components", "param_value": name, "param_seed": seed, "accuracy": 0.9 - part * lost / 100}
        for seed, lost in enumerate(losses)
        for name, part in ((names[0], 0), (names[1], 2), *((name, 1) for name in names[2:]), ("SEGA-Net", 0))
    ]


@pytest.mark.parametrize(
    "losses, measured, verdict",
    [((4, 4.2, 4.4), "+4.20 [", claims.REPRODUCED), ((1, 1.2, 1.4), "+1.20 [", claims.NOT_REPRODUCED)],
)
def test_what_a_component_costs_is_paired_by_seed(losses, measured, verdict):
    row = verdicts({"ablation": components(*losses)})["ablation"]
    assert row["measured"].startswith(measured) and row["verdict"] == verdict


def test_a_seed_that_lacks_a_component_does_not_count():
    found = components(4, 4.2, 4.4)
    assert verdicts({"ablation": found[:-1]})["ablation"]["measured"].startswith("+4.10 [")
    assert verdicts({"ablation": found[:-7]})["ablation"]["verdict"] == claims.INCOMPARABLE


def test_the_lead_over_each_arm_is_paired_and_empty_where_nothing_was_measured():
    found = {
        "training": records("training", **{"SEGA-Net": (90, 92), "Std_Aug": (80, 81), "No_Aug": (70, 72)}),
        "shift": records("shift", **{"SEGA-Net": (50, 52), "No_Aug": (40, 42)}),
    }
    rows = claims.ahead(found, ["No Aug", "Std Aug", "GAN-only", "SEGA-Net"])
    clean, corrupted = "clean images (2 seeds)", "corrupted images (2 seeds)"
    assert [row["SEGA-Net minus"] for row in rows] == ["No Aug", "Std Aug"]
    assert rows[0][clean] == "+20.00 [+20.00, +20.00]" and rows[0][corrupted].startswith("+10.00 [")
    assert rows[1][clean].startswith("+10.50 [+4.15") and rows[1][corrupted] == ""


def test_each_column_of_leads_says_of_how_many_images_and_seeds():
    found = {
        "training": records("training", **{"SEGA-Net": (90, 92, 91), "Std_Aug": (80, 81, 82), "No_Aug": (70, 72)}),
        "shift": records("shift", **{"SEGA-Net": (50, 52), "No_Aug": (40, 42)}),
    }
    for record in found["training"]:
        record["n_test"] = 10_000
    for record in found["shift"]:
        record["n_test"] = 300
    rows = claims.ahead(found, ["No Aug", "Std Aug"])
    assert list(rows[0]) == [
        "SEGA-Net minus",
        "clean images (10,000 of the test set)",
        "corrupted images (300 of the test set, 2 seeds)",
    ]
    assert [row["clean images (10,000 of the test set)"][-9:] for row in rows] == ["(2 seeds)", "(3 seeds)"]
