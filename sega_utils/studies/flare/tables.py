"""FLARE's tables: each arm beside its control, macro classes, restoration, the primary comparison, and verdicts."""

from collections.abc import Iterable
from statistics import mean
from typing import NamedTuple

from sega_utils.core import artifacts, numbers, paths, records
from sega_utils.studies.flare import arms, campaign, parts
from sega_utils.studies.flare.parts import Making
from sega_utils.studies.zoo import claims as zoo_claims, rows as zoo_rows
from sega_utils.studies.zoo.claims import COLUMNS, CONTRADICTED, INCOMPARABLE, NOT_REPRODUCED, REPRODUCED

ROWS = ("arm", "classes", "per_class", "steps", "n_pool", "drawn", "mean", "std", "n", "validation", "shifted")
ROWS += ("to", "diff", "ci_low", "ci_high", "over", "shifted_diff", "shifted_low", "shifted_high")
SHIFTED_ENDS = (("diff", "diff"), ("low", "ci_low"), ("high", "ci_high"))
MACRO = ("arm", "mean", "collapsed", "n", "diff", "ci_low", "ci_high", "over")
QUALITY = ("images", "psnr", "ms_ssim", "passing", "duplicates", "n")


OUTSIDE = ("restorer", "pipeline")
ROUNDING = 1e-6  # in points, of equal differences
VERDICTS = (CONTRADICTED, NOT_REPRODUCED, INCOMPARABLE, REPRODUCED)  # the one that is farthest from a claim first


class Key(NamedTuple):
    """What a row is of."""

    arm: str
    coarse: bool
    per_class: int
    steps: int
    restorer: str = ""
    pipeline: str = ""


def grouped(found: list[dict]) -> dict[Key, list[dict]]:
    """Return records of the stage flare by what their row is of, after checking that they can be compared.

    Raises:
        ArtifactError: rows have other batches, classifiers or images to test, or are of images that were made
            otherwise; or one row has other settings.
    """
    check_made(found)
    groups = zoo_rows.grouped_by(found, lambda r: Key(*(r.get(f"param_{name}", "") for name in Key._fields)))
    order = list(arms.ARMS)
    return {key: groups[key] for key in sorted(groups, key=lambda key: (key[1:], order.index(key.arm)))}


def check_made(found: list[dict]) -> None:
    """Refuse records of drawn and restored images that were not made in one and the same way.

    Raises:
        ArtifactError: the message names what differs.
    """
    own = [f"param_{name}" for name in Making._fields if name not in OUTSIDE] + ["input_drawn", "input_restorer"]
    of = lambda r: tuple(r.get(f"param_{name}", "") for name in (*OUTSIDE, "subset", "per_class"))
    for name in own:
        values: dict[tuple, set] = {}
        for record in (r for r in found if name in r):
            values.setdefault(of(record), set()).add(record[name])
        if several := next((mine for mine in values.values() if len(mine) > 1), None):
            shown = ", ".join(sorted(map(str, several)))
            raise artifacts.ArtifactError(
                f"records of FLARE do not belong together: {name} is {shown}; delete those of all but one"
            )


def by(found: Iterable[dict], name: str) -> list[dict]:
    """Return records whose accuracy is another of their accuracies."""
    return [r | {"accuracy": r[name]} for r in found if name in r]


def arm_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``ROWS``) for each arm with records, in percent, beside its control of the same size.

    Raises:
        ArtifactError: as ``grouped``.
    """
    groups, rows = grouped(found), []
    for key, mine in groups.items():
        to = arms.ARMS[key.arm].to
        row = key._asdict() | {
            "arm": titled(key),
            "classes": "macro" if key.coarse else "fine",
            "drawn": mine[0]["drawn_share"],
        }
        row |= numbers.summary(100 * r["accuracy"] for r in mine) | {"validation": zoo_rows.validated(mine)}
        row |= {"n_pool": mine[0]["n_pool"], "to": to}
        if moved := by(mine, "accuracy_shifted"):
            row["shifted"] = 100 * mean(r["accuracy"] for r in moved)
        if theirs := groups.get(key._replace(arm=to)) or groups.get(key._replace(arm=to, restorer="", pipeline="")):
            row |= zoo_rows.difference(mine, theirs)
            if moved and (apart := zoo_rows.difference(moved, by(theirs, "accuracy_shifted"))):
                row |= {f"shifted_{end}": apart[name] for end, name in SHIFTED_ENDS}
        rows.append({column: row.get(column, "") for column in ROWS})
    return rows


def titled(key: Key) -> str:
    """Return an arm's name, which says so if outside knowledge is in it."""
    return f"{key.arm} (outside)" if key.restorer or key.pipeline else key.arm


def macro_rows(found: list[dict]) -> list[dict]:
    """Return for each arm its accuracy on macro classes, trained on these, and trained on all and collapsed to them."""
    groups, rows = grouped(found), []
    for key, mine in groups.items():
        fine = groups.get(key._replace(coarse=False), [])
        if key.coarse and fine:
            collapsed = by(fine, "accuracy_macro")
            row = {"arm": titled(key)} | numbers.summary(100 * r["accuracy"] for r in mine)
            row |= {"collapsed": 100 * mean(r["accuracy"] for r in collapsed)}
            row |= zoo_rows.difference(mine, collapsed)
            rows.append({column: row.get(column, "") for column in MACRO})
    return rows


def primary_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return the row of the primary comparison, once it is complete; else none."""
    parties = planned(found, plan["primary"]["theirs"], plan), planned(found, plan["primary"]["ours"], plan)
    places, seeds = plan["primary"]["subsets"], plan["primary"]["seeds"]
    theirs, ours = ([r for r in mine if in_plan(r, places, seeds)] for mine in parties)
    if not len(theirs) == len(ours) == len(places) * len(seeds):
        return []
    names = {"arm": plan["primary"]["ours"], "to": plan["primary"]["theirs"]}
    return [names | zoo_rows.difference(ours, theirs)]


CHOICES = {  # what the paper sets by its tests: the share of drawn images in a batch, and the shares of kinds
    "share of drawn images": ("FLARE", "FLARE share 0.1", "FLARE share 0.3"),
    "alpha and beta": ("FLARE", "FLARE alpha 0.5 beta 0.5", "FLARE alpha 0.5 beta 0.75", "FLARE alpha 1 beta 1"),
}
CHOSEN = ("what", "among", "chosen", "validation", "mean", "to", "diff", "ci_low", "ci_high", "over")


def chosen_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return for each of ``CHOICES`` the arm that validation images prefer, the first if level, and its test accuracy.

    It stands beside the same fixed pool of restored real images, of as many kinds, without a drawn one; there is no row
    before all arms of a choice are on record.
    """
    rows = []
    for what, names in CHOICES.items():
        tried = {arm: planned(found, arm, plan) for arm in names}
        if not all(tried.values()):
            continue
        best = max(tried, key=lambda arm: zoo_rows.validated(tried[arm]))
        to = "Raw_Aug_HR" if arms.ARMS[best].alpha == 1 else "Raw_Aug_HR alpha 0.5"
        row = {"what": what, "among": len(names), "chosen": best, "validation": zoo_rows.validated(tried[best])}
        row |= {"mean": 100 * mean(r["accuracy"] for r in tried[best]), "to": to}
        row |= zoo_rows.difference(tried[best], planned(found, to, plan)) or {}
        rows.append({column: row.get(column, "") for column in CHOSEN})
    return rows


def in_plan(record: dict, subsets: list[int], seeds: list[int]) -> bool:
    """Return whether a record is of one of some subsets and seeds."""
    return record["param_subset"] in subsets and record["param_seed"] in seeds


def planned(found: list[dict], arm: str, plan: dict, coarse: bool = False) -> list[dict]:
    """Return the records of an arm that have a plan's size and steps, and no outside knowledge."""
    return grouped(found).get(Key(arm, coarse, plan["per_class"], plan["steps"]), [])


def quality_rows(made: list[dict]) -> list[dict]:
    """Return a row (columns ``QUALITY``) for each set of restored images, over places: how far they are from bicubic.

    Those held out are compared with the images that they were halved from, by the restorer and by bicubic.

    Args:
        made: records of the stage flare-parts.
    """
    rows = []
    for name in ("real", "drawn", "redrawn", "held_out_restorer", "held_out_bicubic"):
        row = {"images": name.replace("_", " "), "n": len(made)}
        for column in QUALITY[1:-1]:
            values = [r[f"{column}_{name}"] for r in made if f"{column}_{name}" in r]
            row[column] = mean(values) if values else ""
        rows.append({column: row[column] for column in QUALITY})
    return rows if made else []


class Rule(NamedTuple):
    """What decides on a claim: an arm's accuracy less another's; ``at_least`` none takes the published number."""

    ours: str
    theirs: str
    at_least: float | None = None
    direction: int = 1  # -1 where the claim is that the difference is below zero
    of: str = "accuracy"
    note: str = ""


OWN, TABLES = "it counts the source's own images", "it is about the source's own tables"
SHIFTS = "accuracy_shifted"
LEVEL = "all seeds differ by the same number of test images, which are too few to give an interval"
SHIFTED = "of the named shifts of 06 instead of other data sets"
BLIND = "without a clean image the measure compares with bicubic, of which an image that is left as it is comes nearest"
RULES: dict[str, Rule | list[Rule] | str] = {  # of several, all must be met
    "highest gain for fine classes": "it is the largest of four classifiers' gains, and ours is one classifier",
    "average increment over classifiers, baseline not named": Rule("FLARE", "Raw_Aug_LR"),
    "above simply augmented data": Rule("FLARE", "Raw_Aug_LR"),
    "test accuracy on 8 classes, up to": OWN,
    "SpaceNet has about 12900 images": OWN,
    "SpaceNet is larger than the raw data by": OWN,
    "mean PSNR": BLIND,
    "mean MS-SSIM": BLIND,
    "PSNR above 25 is high quality: classes that reach it": BLIND,
    "augmenting LR images adds": Rule("Raw_Aug_LR", "Raw_LR", 5.0),
    "super-resolution adds": Rule(
        "Raw_Aug_HR", "Raw_Aug_LR", 9.0, note="the larger part of the claim is of augmenting"
    ),
    "training on synthetic images beats Raw_Aug_LR by": Rule("T2I_Aug_HR", "Raw_Aug_LR", 16.0),
    "models trained on synthetic images alone fail to generalise to raw images": Rule(
        "T2I_Aug_HR", "Raw_Aug_HR", 0.0, direction=-1, note="any loss counts, as the claim names none"
    ),
    "FLARE over Raw_LR in-domain": Rule("FLARE", "Raw_LR"),
    "FLARE over Raw_LR out-of-domain, on average": Rule("FLARE", "Raw_LR", of="accuracy_shifted", note=SHIFTED),
    "FLARE over Raw_Aug_LR out-of-domain": Rule("FLARE", "Raw_Aug_LR", 0.0, of="accuracy_shifted", note=SHIFTED),
    "FLARE over Raw_Aug_HR and T2I_Aug_HR": [Rule("FLARE", "Raw_Aug_HR", 12.0), Rule("FLARE", "T2I_Aug_HR", 6.0)],
    "consistently above standard augmentation, out-of-domain": TABLES,
    "the same, beyond an unpaired 95 % interval": TABLES,
    "all rows are scored on one fixed test set": TABLES,
    "alpha = 0.5, beta = 1 is best: over alpha = beta = 1": Rule("FLARE", "FLARE alpha 1 beta 1"),
    "recall in Table 4 is accuracy (weighted recall always is)": TABLES,
    "differences printed in Table 3": TABLES,
    "differences printed in Tables 2 and 5": TABLES,
    "optimal variance of the combined set": "the source shows a picture, and no measure",
    "cost-effective": "the source gives no time and no number of images",
}


def claim_rows(found: list[dict], plan: dict) -> list[dict[str, object]]:
    """Return a row (``zoo_claims.COLUMNS``) for each of FLARE's claims, judged by the plan's records, fine classes.

    Raises:
        ArtifactError: as ``grouped``.
        ValueError: a claim without a rule or a reason.
    """
    return [claim_row(row, found, plan) for row in artifacts.load_csv(paths.DATA / "paper" / "flare_claims.csv")]


def claim_row(published: dict[str, str], found: list[dict], plan: dict) -> dict[str, object]:
    """Return the row of a published claim, of several rules that of the one which is met least."""
    claim = published["claim"]
    row = dict.fromkeys(COLUMNS, "") | {"system": published["system"], "claim": claim}
    row["published"] = f"{published['claimed']} {published['unit']}".strip() if published["claimed"] else ""
    if claim not in RULES:
        raise ValueError(f"no rule and no reason for {claim!r}; add one to RULES of studies/flare/tables.py")
    if isinstance(rules := RULES[claim], str):
        return row | {"verdict": INCOMPARABLE, "why": rules}
    judged = [judged_by(rule, published, found, plan) for rule in (rules if isinstance(rules, list) else [rules])]
    least = min(judged, key=lambda one: VERDICTS.index(one["verdict"]))
    return row | least | {"why": "; ".join(one["why"] for one in judged)}


def judged_by(rule: Rule, published: dict[str, str], found: list[dict], plan: dict) -> dict[str, object]:
    """Return what one rule says of a claim: the difference, its interval, the verdict and why."""
    diff = zoo_rows.difference(*(by(planned(found, arm, plan), rule.of) for arm in (rule.ours, rule.theirs)))
    if not diff and rule.of == SHIFTS and all(planned(found, arm, plan) for arm in (rule.ours, rule.theirs)):
        return {"verdict": INCOMPARABLE, "why": "this data set has no shifts"}
    if not diff:
        return {"verdict": INCOMPARABLE, "why": f"not measured yet: {rule.ours} and {rule.theirs}"}
    ends = sorted(rule.direction * diff[end] for end in ("ci_low", "ci_high"))
    at_least = float(published["claimed"]) if rule.at_least is None else rule.at_least
    verdict, says = zoo_claims.judge(*ends, at_least) if ends[1] - ends[0] > ROUNDING else (INCOMPARABLE, LEVEL)
    note = f" ({rule.note})" if rule.note else ""
    row = {"ours": diff["diff"], "interval": f"{diff['ci_low']:+.3g} to {diff['ci_high']:+.3g}", "n": diff["over"]}
    return row | {"verdict": verdict, "why": f"{rule.ours} less {rule.theirs}{note}: {says}"}


def write_tables(run: str, dataset: str, plan: dict) -> dict[str, list[dict]]:
    """Write a run's tables of FLARE that have rows, and return all by their names.

    Raises:
        ArtifactError: as ``grouped``.
    """
    found = records.read(run, dataset, arms.STAGE)
    tables = {"flare": arm_rows(found), "flare-macro": macro_rows(found), "flare-primary": primary_rows(found, plan)}
    tables["flare-chosen"] = chosen_rows(found, plan)
    tables["flare-restoration"] = quality_rows(records.read(run, dataset, parts.STAGE))
    tables["flare-claims"] = claim_rows(found, plan)
    artifacts.save_tables(paths.artifact(run, dataset, "tables"), tables)
    done, total = campaign.coverage(run, dataset, plan)
    return tables | {"flare-coverage": [{"measured": done, "planned": total}]}
