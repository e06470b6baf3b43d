"""Published claims on generators, beside what the zoo measured of them, with verdicts that are computed.

Each claim of ``FILES`` has a rule, which says what of the zoo's records decides on it, or a reason why nothing does.
"""

from collections.abc import Callable
from typing import NamedTuple

from sega_utils.core import artifacts, numbers, paths
from sega_utils.studies.zoo import rows as zoo_rows
from sega_utils.studies.zoo.rows import Key

FILES = ("genvision_claims", "icpr_claims", "flare_claims", "sage_claims")  # of data/paper
COLUMNS = ("system", "claim", "published", "ours", "interval", "n", "verdict", "why")
REPRODUCED, NOT_REPRODUCED, CONTRADICTED = "reproduced", "not reproduced", "contradicted"
INCOMPARABLE = "cannot be compared"
MAIN = 30  # real images of each class, where a rule names no other number; GenVision has as many


class Rule(NamedTuple):
    """What decides on a claim: a quantity of ``QUANTITIES``, of which augmenter, beside which, at how many images."""

    quantity: str
    ours: str
    rivals: tuple[str, ...] = ()  # the best of which counts; none stands for the arms on real images alone
    per_class: tuple[int, ...] = (MAIN,)
    at_least: float | None = None  # how far the quantity must lie in the claimed direction; absent, as published
    direction: int = 1  # -1 where the claim is that the quantity is lower
    note: str = ""  # how ours differs from what is claimed


DIFFUSION, GANS = "ddim", ("vanilla", "lsgan", "wgan-gp")
# GenVision's 10, 25, 50 and 100 % of the data, with the page's only generator of these gains
GENVISION = {
    "WGAN-GP over the baseline": Rule("gain", "wgan-gp"),
    "VAE over the baseline": Rule("gain", "vae"),
    "Diffusion over the baseline": Rule("gain", DIFFUSION),
    "all combined over the baseline": Rule("gain", "combined"),
    "gain at 10 % of the data": Rule("gain", DIFFUSION, per_class=(6,)),
    "gain at 25 % of the data": Rule("gain", DIFFUSION, per_class=(15,)),
    "gain at 50 % of the data": Rule("gain", DIFFUSION, per_class=(30,)),
    "gain at 100 % of the data": Rule("gain", DIFFUSION, per_class=(60,)),
    "WGAN-GP gain": Rule("gain", "wgan-gp"),
    "VAE gain": Rule("gain", "vae"),
    "DDPM gain": Rule("gain", "ddpm"),
    "DDIM gain": Rule("gain", "ddim"),
    "gain at 10 %": Rule("gain", DIFFUSION, per_class=(6,)),
    "gain of all combined": Rule("gain", "combined"),
    "diffusion models have the best FID": Rule("frechet", DIFFUSION, GANS, at_least=0, direction=-1),
    # what the source's own five points have
    "strong correlation of FID and gain": Rule("prediction", "frechet", at_least=0.70, direction=-1),
    # 12.9 points at a tenth of the data less 4.1 at all of it: a form as such four sizes do not tell from others
    "gain is exponentially higher with less data": Rule("growth", DIFFUSION, per_class=(6, 60), at_least=8.8),
    "combining models beats every single one": Rule("lead", "combined", ("wgan-gp", "vae", "ddim"), at_least=0),
    "18K synthetic images": "it counts the source's own images",
    "training and test images": "it counts the source's own images",
    "stability of training goes with steady gains": "the source gives no number for stability",
    "three architectures from scratch": "it is about the source's own networks",
    "cross-validated over data fractions": "the source gives neither folds nor a spread to compare with",
    "gains are measured": "it is about the source's own code",
}
BETA_SIGMA = {
    "better FID than constant sigma at the same beta": Rule(
        "frechet", "bs-vae", ("vae",), at_least=0, direction=-1, note="beta is 1 against 0.8, and the networks differ"
    ),
    "at beta = 1 better FID than constant sigma at any beta": Rule(
        "frechet", "bs-vae", ("vae beta 0", "vae", "vae beta 4"), at_least=0, direction=-1, note="the networks differ"
    ),
    "best FID at beta = 10": "the zoo has the optimal variance at one beta only",
    "with constant sigma the likelihood rises as beta falls": "the zoo measures no likelihood",
}
ROADS = "it is about roads in satellite images, which none of our data has"
T2R = {
    "F1 79.23": ROADS,
    "5.53 over AD-LinkNet": ROADS,
    "bilateral hinge against the ordinary loss (ELA-GAN)": Rule(
        "lead", "bilateral", ("hinge",), at_least=0, note="of accuracy, not of F1, so that only the sign can agree"
    ),
}
HINGE_RLC = {
    "best FID of the regularisations": Rule(
        "frechet", "lecam", ("hinge",), at_least=0, direction=-1, note="of its rivals the zoo has only no penalty"
    ),
    "30 % better mode capture than DROPOUT-GAN": "it is read off a picture, and no measure is defined",
    "KID steadily better": "the zoo measures no KID",
}
GM = {
    "FID significantly lower than GAN from epoch 40": Rule(
        "frechet", "gm-gan", ("vanilla",), at_least=0, direction=-1, note="at equal seconds; the networks differ"
    ),
    "half the data suffice": "the source shows pictures of one epoch, and no measure",
}
# system: a rule or a reason for each claim, or one reason for all
RULES: dict[str, dict[str, Rule | str] | str] = {
    "GenVision": GENVISION,
    "Beta-Sigma VAE": BETA_SIGMA,
    "T2R-GAN": T2R,
    "HingeRLC-GAN": HINGE_RLC,
    "GM-GAN": GM,
    "NCDS": "it is about a loss of the classifier, and the zoo compares generators; chapter 08 has it as an entry",
    "CFTS-GAN": "it is about a generator's new classes of few images; an arm of chapter 12 without its distances",
    "task-oriented IQA": "it is about how far a score agrees with people's, which we do not have",
    "double descent": "it is about shape and texture in classifiers, and no generator",
    "mango": "it is about photographs of mangoes and pretrained classifiers, and no generator",
    "well log": "it is about measurements in wells, which are no images",
    "FLARE": "chapter 11 judges it from records of its own",
    "SAGE": "chapter 12 judges it from records of its own",
}


class Evidence(NamedTuple):
    """What the zoo has on record as planned: classifiers by ``Key``, and records of the augmenters' quality."""

    groups: dict[Key, list[dict]]
    qualities: list[dict]

    def chosen(self, names: tuple[str, ...], per_class: int) -> tuple[Key | None, list[dict]]:
        """Return which of some arms or augmenters validation prefers, and its records; all must have some."""
        mine = {k: r for k, r in self.groups.items() if k.augmenter in names and k.per_class == per_class}
        whole = {k.augmenter for k in mine} == set(names)
        best = zoo_rows.best(mine) if whole else None
        return best, mine.get(best, [])

    def undrawn(self, name: str, sizes: tuple[int, ...]) -> bool:
        """Return whether an augmenter's images passed the gate of realism on no subset of one of the sizes."""
        passed = {size: [] for size in sizes}
        for r in self.qualities:
            if r["param_augmenter"] == name and r["param_per_class"] in passed:
                passed[r["param_per_class"]].append(r["gate_passed"])
        return any(mine and not any(mine) for mine in passed.values())

    def known(self, names: tuple[str, ...], sizes: tuple[int, ...]) -> bool:
        """Return whether there is a classifier of each augmenter at each size."""
        return {(n, s) for n in names for s in sizes} <= {(k.augmenter, k.per_class) for k in self.groups}

    def real(self, per_class: int) -> tuple[Key | None, list[dict]]:
        """Return the same of the arms on real images alone, as many as were measured."""
        mine = [k.augmenter for k in self.groups if (k.protocol, k.per_class) == ("none", per_class)]
        return self.chosen(tuple(mine), per_class)


def evidence(found: list[dict], qualities: list[dict], plan: dict) -> Evidence:
    """Return what of the records is as planned; other seconds, steps or shares say nothing of a claim.

    Args:
        found, qualities: records of the stages zoo and augmenters. plan: as ``zoo_plan.read`` returns it.
    """
    how = plan["primary"]["protocol"], plan["seconds"]
    same = [r for r in qualities if (r["param_protocol"], r["param_seconds"]) == how]
    return Evidence(zoo_rows.as_planned(found, plan), same)


def gain(have: Evidence, rule: Rule) -> dict:
    """Return the accuracy with an augmenter less that of the best arm on real images alone, in points."""
    (size,) = rule.per_class
    return less(have.chosen((rule.ours,), size), have.real(size))


def lead(have: Evidence, rule: Rule) -> dict:
    """Return the accuracy with an augmenter less that with the best of its rivals, in points."""
    (size,) = rule.per_class
    return less(have.chosen((rule.ours,), size), have.chosen(rule.rivals, size))


def less(ours: tuple[Key | None, list[dict]], theirs: tuple[Key | None, list[dict]]) -> dict:
    """Return the accuracy of one choice less that of another, and of what; nothing where it was not measured."""
    found = zoo_rows.difference(ours[1], theirs[1]) if ours[1] and theirs[1] else {}
    if not found:
        return {}
    what = f"accuracy with {ours[0].augmenter} less that with {theirs[0].augmenter}"
    return measured(found | {"difference": found["diff"]}, found["over"], what)


def measured(found: dict, n: str, what: str) -> dict:
    """Return a difference and its interval as rules are judged by, with how many it is of, and of what."""
    return {name: found[name] for name in ("difference", "ci_low", "ci_high")} | {"n": n, "what": what}


def growth(have: Evidence, rule: Rule) -> dict:
    """Return the gain at few images a class less the gain at more of them, in points."""
    sides = [side for size in rule.per_class for side in (have.chosen((rule.ours,), size), have.real(size))]
    if not all(mine for _, mine in sides):
        return {}
    scores, n = zoo_rows.pairs(*(mine for _, mine in sides))
    if len(scores[0]) < 2:
        return {}
    gains = [{key: ours[key] - theirs[key] for key in ours} for ours, theirs in zip(*[iter(scores)] * 2, strict=True)]
    few, more = rule.per_class
    return measured(numbers.paired_difference(*gains), n, f"gain of {rule.ours} at {few} a class less that at {more}")


def frechet(have: Evidence, rule: Rule) -> dict:
    """Return the Frechet distance of an augmenter less that of its best rival, over the subsets that both have."""
    (size,) = rule.per_class
    mine = [r for r in have.qualities if r["param_per_class"] == size]
    found = {
        name: {r["param_subset"]: r["frechet"] for r in mine if r["param_augmenter"] == name}
        for name in (rule.ours, *rule.rivals)
    }
    shared = set.intersection(*map(set, found.values()))
    if len(shared) < 2:
        return {}
    scores = {name: {subset: values[subset] for subset in shared} for name, values in found.items()}
    rival = min(rule.rivals, key=lambda name: sum(scores[name].values()))
    what = f"Frechet distance of {rule.ours} less that of {rival}, in a classifier's features"
    return measured(numbers.paired_difference(scores[rule.ours], scores[rival]), f"{len(shared)} subsets", what)


def prediction(have: Evidence, rule: Rule) -> dict:
    """Return the rank correlation of a measure of quality with the gain, over all augmenters."""
    (size,) = rule.per_class
    found = [r for key, mine in have.groups.items() if key.per_class == size for r in mine]
    qualities = [r for r in have.qualities if r["param_per_class"] == size]
    rows = zoo_rows.prediction_rows(zoo_rows.augmenter_rows(found), zoo_rows.quality_rows(qualities))
    row = next((row for row in rows if row["quality"] == rule.ours), None)
    if row is None:
        return {}
    return measured(
        row | {"difference": row["rho"]}, f"{row['n']} augmenters", f"rank correlation of {rule.ours} and gain"
    )


OF_ACCURACY = ("gain", "lead", "growth")
QUANTITIES: dict[str, Callable[[Evidence, Rule], dict]] = {
    "gain": gain,
    "lead": lead,
    "growth": growth,
    "frechet": frechet,
    "prediction": prediction,
}


def judge(low: float, high: float, at_least: float) -> tuple[str, str]:
    """Return the verdict on an interval, taken in the direction that is claimed, and what it says.

    Reproduced: the whole interval reaches the claim. Contradicted: all of it lies on the other side of zero. Else it is
    not reproduced, whether the interval leaves the claim possible or not.
    """
    if low >= at_least and low > 0:
        return REPRODUCED, "the whole interval reaches the claim"
    if high < 0:
        return CONTRADICTED, "the whole interval lies on the other side of zero"
    if high < at_least:
        return NOT_REPRODUCED, "the whole interval falls short of the claim"
    return NOT_REPRODUCED, "the interval holds the claim, but less as well: these measurements cannot tell"


def rule_of(system: str, claim: str) -> Rule | str:
    """Return the rule of a claim, or the reason why there is none.

    Raises:
        ValueError: neither is known.
    """
    rules = RULES.get(system, {})
    if isinstance(rules, str):
        return rules
    if claim not in rules:
        raise ValueError(f"no rule and no reason for {claim!r} of {system}; add one to RULES of studies/zoo/claims.py")
    return rules[claim]


def claim_row(published: dict[str, str], have: Evidence) -> dict[str, object]:
    """Return the row (``COLUMNS``) of a published claim.

    Raises:
        ValueError: neither a rule nor a reason is known for it.
    """
    row = dict.fromkeys(COLUMNS, "") | {"system": published["system"], "claim": published["claim"]}
    row["published"] = f"{published['claimed']} {published['unit']}".strip() if published["claimed"] else ""
    rule = rule_of(published["system"], published["claim"])
    if isinstance(rule, str):
        return row | {"verdict": INCOMPARABLE, "why": rule}
    found = QUANTITIES[rule.quantity](have, rule)
    if not found:
        return row | {"verdict": INCOMPARABLE, "why": unmeasured(have, rule)}
    ends = sorted(rule.direction * found[end] for end in ("ci_low", "ci_high"))
    at_least = float(published["claimed"]) if rule.at_least is None else rule.at_least
    verdict, says = judge(*ends, at_least)
    note = f" ({rule.note})" if rule.note else ""
    row |= {"ours": found["difference"], "interval": f"{found['ci_low']:+.3g} to {found['ci_high']:+.3g}"}
    if rule.quantity in OF_ACCURACY and have.undrawn(rule.ours, rule.per_class):
        short = f"{found['what']}{note}: trained for too short a time, its images pass the gate of realism nowhere"
        return row | {"n": found["n"], "verdict": INCOMPARABLE, "why": short}
    return row | {"n": found["n"], "verdict": verdict, "why": f"{found['what']}{note}: {says}"}


def unmeasured(have: Evidence, rule: Rule) -> str:
    """Return why a quantity has no interval."""
    names = GANS if rule.quantity == "prediction" else (rule.ours, *rule.rivals)
    what = f"{', '.join((rule.ours, *rule.rivals))}, at {' and '.join(map(str, rule.per_class))} images a class"
    once = rule.quantity in (*OF_ACCURACY, "prediction") and have.known(names, rule.per_class)
    return f"{'measured on one subset alone, which gives no interval' if once else 'not measured yet'}: {what}"


def published() -> list[dict[str, str]]:
    """Return all claims of ``FILES``."""
    return [row for name in FILES for row in artifacts.load_csv(paths.DATA / "paper" / f"{name}.csv")]


def claim_rows(found: list[dict], qualities: list[dict], plan: dict) -> list[dict[str, object]]:
    """Return a row (``COLUMNS``) for each claim of GenVision, the ICPR papers, FLARE and SAGE.

    Args:
        found, qualities: records of the stages zoo and augmenters. plan: as ``zoo_plan.read`` returns it.

    Raises:
        ArtifactError: the records cannot be compared, see ``zoo_rows.grouped``.
        ValueError: a claim without a rule or a reason.
    """
    have = evidence(found, qualities, plan)
    return [claim_row(row, have) for row in published()]
