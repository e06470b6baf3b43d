"""Each published claim has a rule or a reason, and its verdict follows from where the interval lies."""

from collections import Counter
from itertools import product

import pytest

from sega_utils.studies.zoo import claims as zoo_claims, plan as zoo_plan, rows as zoo_rows, zoo
from sega_utils.studies.zoo.claims import CONTRADICTED, INCOMPARABLE, NOT_REPRODUCED, REPRODUCED, Rule

PLAN = zoo_plan.read() | {"seconds": 600, "shares": [0.3]}
BASE = (0.70, 0.71, 0.72)  # accuracy of CutMix on the test images of each subset


def classifiers(
    arm: str, gain: float, *, per_class: int = 30, spread: float = 0.0, validation=0.6, **more
) -> list[dict]:
    """Return records of three subsets and two seeds, ``gain`` points above those of CutMix, give or take the spread."""
    drawn = arm in zoo.ZOO | zoo.COMBINED
    asked = {"arm": arm, "per_class": per_class, "share": 0.3 if drawn else 0.0, "steps": 1000, "longer": 1}
    asked |= {"protocol": "A", "seconds": 600.0} if drawn else {"protocol": "none", "seconds": 0.0}
    found = []
    for subset, seed in product(range(3), range(2)):
        accuracy = BASE[subset] + (gain + spread * (subset - 1)) / 100
        told = {f"param_{name}": value for name, value in (asked | more | {"subset": subset, "seed": seed}).items()}
        found.append({"accuracy": accuracy, "accuracy_validation": validation} | told)
    return found


def drawn(name: str, frechet: float, *, per_class: int = 30, spread: float = 0.1, protocol: str = "A") -> list[dict]:
    """Return records of an augmenter's quality on three subsets."""
    asked = {"augmenter": name, "per_class": per_class, "protocol": protocol, "seconds": 600.0}
    told = {f"param_{key}": value for key, value in asked.items()}
    return [told | {"param_subset": i, "frechet": frechet + spread * (i - 1)} for i in range(3)]


def judged(claim: str, found: list[dict] = (), qualities: list[dict] = ()) -> dict:
    (row,) = (row for row in zoo_claims.claim_rows(list(found), list(qualities), PLAN) if row["claim"] == claim)
    return row


def test_every_claim_has_a_rule_or_a_reason_and_every_rule_a_claim():
    claims = [(row["system"], row["claim"]) for row in zoo_claims.published()]
    assert len(set(claims)) == len(claims) > 100
    for system, claim in claims:
        rule = zoo_claims.rule_of(system, claim)
        assert rule if isinstance(rule, str) else rule.quantity in zoo_claims.QUANTITIES
    ruled = {(system, c) for system, rules in zoo_claims.RULES.items() if isinstance(rules, dict) for c in rules}
    assert ruled <= set(claims) and zoo_claims.RULES.keys() == {system for system, _ in claims}


def test_rules_name_augmenters_of_the_zoo_and_sizes_of_the_plan():
    rules = [rule for mine in zoo_claims.RULES.values() if isinstance(mine, dict) for rule in mine.values()]
    rules = [rule for rule in rules if isinstance(rule, Rule)]
    sizes = {PLAN["primary"]["per_class"], *PLAN["exploratory"]["per_class"]}
    assert all(set(rule.per_class) <= sizes for rule in rules)
    named = {name for rule in rules if rule.quantity != "prediction" for name in (rule.ours, *rule.rivals)}
    assert named <= {*zoo.ZOO, *zoo.COMBINED}


def test_an_unknown_claim_is_refused():
    with pytest.raises(ValueError, match="no rule and no reason for 'flies' of GM-GAN; add one to RULES"):
        zoo_claims.rule_of("GM-GAN", "flies")
    with pytest.raises(ValueError, match="of Nobody"):
        zoo_claims.rule_of("Nobody", "FID")


def test_without_records_nothing_is_judged_and_each_row_says_why():
    rows = zoo_claims.claim_rows([], [], PLAN)
    assert {row["verdict"] for row in rows} == {INCOMPARABLE}
    assert all(row["why"] and row["ours"] == row["interval"] == row["n"] == "" for row in rows)
    waiting = [row for row in rows if row["why"].startswith("not measured yet: ")]
    assert len(waiting) == sum(isinstance(zoo_claims.rule_of(r["system"], r["claim"]), Rule) for r in rows)
    assert judged("DDPM gain")["why"] == "not measured yet: ddpm, at 30 images a class"
    assert list(rows[0]) == list(zoo_claims.COLUMNS)


@pytest.mark.parametrize(
    ("gain", "spread", "verdict", "says"),
    [
        (5.0, 0.1, REPRODUCED, "reaches the claim"),
        (1.0, 0.1, NOT_REPRODUCED, "falls short of the claim"),
        (3.6, 0.1, NOT_REPRODUCED, "cannot tell"),
        (-1.0, 0.1, CONTRADICTED, "other side of zero"),
        (-1.0, 1.0, NOT_REPRODUCED, "falls short"),
    ],
)
def test_a_gain_is_judged_by_where_its_interval_lies(gain, spread, verdict, says):
    found = classifiers("CutMix", 0.0) + classifiers("Std Aug", -3.0, validation=0.5)
    found += classifiers("wgan-gp", gain, spread=spread)
    row = judged("WGAN-GP over the baseline", found)
    assert row["verdict"] == verdict and says in row["why"]
    assert row["why"].startswith("accuracy with wgan-gp less that with CutMix: ")
    assert row["ours"] == pytest.approx(gain) and row["n"] == "3 subsets" and row["published"] == "3.6 points"


def test_only_what_was_planned_decides():
    real, more = classifiers("CutMix", 0.0), {"steps": 100}
    others = classifiers("vae", 9.0, seconds=2.0) + classifiers("vae", 9.0, protocol="B")
    others += (
        classifiers("vae", 9.0, share=0.9) + classifiers("vae", 9.0, **more) + classifiers("vae", 9.0, per_class=6)
    )
    assert judged("VAE over the baseline", real + others)["why"].startswith("not measured yet")
    row = judged("VAE over the baseline", real + others + classifiers("vae", 1.0))
    assert row["ours"] == pytest.approx(1.0) and row["verdict"] == NOT_REPRODUCED


def test_a_lead_waits_for_all_rivals_and_is_over_the_one_that_validation_prefers():
    found = classifiers("combined", 1.0, spread=0.01) + classifiers("wgan-gp", 3.0, validation=0.5)
    found += classifiers("vae", 0.5, validation=0.7)
    claim = "combining models beats every single one"
    assert judged(claim, found)["verdict"] == INCOMPARABLE
    row = judged(claim, found + classifiers("ddim", 2.0, validation=0.6))
    assert row["verdict"] == REPRODUCED and "combined less that with vae" in row["why"]
    assert row["ours"] == pytest.approx(0.5)


def test_growth_is_the_gain_at_few_images_less_that_at_many():
    real = classifiers("CutMix", 0.0, per_class=6) + classifiers("CutMix", 1.0, per_class=60)
    claim = "gain is exponentially higher with less data"
    for few, verdict in ((15.0, REPRODUCED), (7.0, NOT_REPRODUCED), (1.0, CONTRADICTED)):
        found = real + classifiers("ddim", few, per_class=6, spread=0.1) + classifiers("ddim", 5.0, per_class=60)
        row = judged(claim, found)
        assert row["verdict"] == verdict and row["ours"] == pytest.approx(few - 4.0)


def test_a_lower_distance_is_the_claimed_direction():
    rivals = drawn("vanilla", 9.0) + drawn("lsgan", 8.0) + drawn("wgan-gp", 5.0, spread=0.2)
    claim = "diffusion models have the best FID"
    for distance, verdict in ((3.0, REPRODUCED), (5.0, NOT_REPRODUCED), (7.0, CONTRADICTED)):
        row = judged(claim, qualities=rivals + drawn("ddim", distance))
        assert row["verdict"] == verdict and row["ours"] == pytest.approx(distance - 5.0)
        assert "less that of wgan-gp" in row["why"]
    assert judged(claim, qualities=rivals + drawn("ddim", 1.0, protocol="B"))["verdict"] == INCOMPARABLE


def test_a_strong_correlation_is_one_as_that_of_the_sources_own_points():
    names = ["hinge", "vanilla", "lsgan", "wgan-gp", "vae", "ddim"]
    found = classifiers("CutMix", 0.0)
    found += [record for i, name in enumerate(names) for record in classifiers(name, float(i))]
    for sign, verdict in ((-1, REPRODUCED), (1, CONTRADICTED)):
        qualities = [
            r | dict.fromkeys(zoo_rows.MEASURES[1:], 1.0) for i, n in enumerate(names) for r in drawn(n, sign * i)
        ]
        row = judged("strong correlation of FID and gain", found, qualities)
        assert row["verdict"] == verdict and row["n"] == "6 augmenters" and row["ours"] == pytest.approx(sign)


def test_one_measurement_decides_on_every_claim_about_it():
    rows = zoo_claims.claim_rows(classifiers("CutMix", 0.0) + classifiers("vae", -2.0, spread=0.1), [], PLAN)
    assert Counter(row["verdict"] for row in rows)[CONTRADICTED] == 2, "the page gives two gains of its VAE"
