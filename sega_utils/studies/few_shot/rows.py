"""What the records of few shots say: each arm beside real images alone, over episodes and over splits."""

from statistics import mean

from sega_utils.augmenters import composition
from sega_utils.core import numbers
from sega_utils.studies.few_shot import arms, campaign

PLAIN = "real only"
COLUMNS = (
    "features",
    "shots",
    "group",
    "arm",
    "mean",
    "to",
    "diff",
    "ci_low",
    "ci_high",
    "splits_low",
    "splits_high",
    "episodes",
)
BESIDE = ("shots", "features", "arm", "to", "diff", "ci_low", "ci_high", "splits_low", "splits_high", "episodes")
Episodes = dict[tuple[str, int], float]  # (split, draw) to accuracy in percent


def of(found: list[dict], features: str) -> list[dict]:
    """Return the records of arms that work with some features."""
    return [r for r in found if r["param_features"] == features]


def scores(found: list[dict]) -> dict[tuple[int, str], Episodes]:
    """Return accuracies in percent by shots and arm, then by split and draw.

    Args:
        found: records of the stage; those of tuning are left out.
    """
    table: dict[tuple[int, str], Episodes] = {}
    for r in found:
        for part in r.get("accuracies", ()):
            episode = r["param_unseen"], r["param_draw"]
            table.setdefault((part["shots"], part["arm"]), {})[episode] = 100 * part["accuracy"]
    return table


def difference(ours: Episodes, theirs: Episodes) -> dict:
    """Return the mean difference of two arms over the episodes that both have, with two 95 % intervals, in points.

    Returns:
        ``diff``; ``ci_low``, ``ci_high`` over episodes; ``splits_low``, ``splits_high`` over the means of splits, as
        the episodes of one split share its classes; ``episodes``. Nothing of fewer than two.
    """
    shared = sorted(ours.keys() & theirs.keys())
    if len(shared) < 2:
        return {}
    found = numbers.paired_difference(*({key: side[key] for key in shared} for side in (ours, theirs)))
    row = {"diff": found["difference"], "ci_low": found["ci_low"], "ci_high": found["ci_high"]}
    splits = sorted({split for split, _ in shared})
    if len(splits) > 1:
        means = [{s: mean(side[key] for key in shared if key[0] == s) for s in splits} for side in (ours, theirs)]
        over = numbers.paired_difference(*means)
        row |= {"splits_low": over["ci_low"], "splits_high": over["ci_high"]}
    return row | {"episodes": len(shared)}


def arm_rows(found: list[dict]) -> list[dict]:
    """Return a row (``COLUMNS``) for each arm, number of shots and kind of features, beside real images alone; a
    control has one beside its arm, too."""
    return [
        {"features": features} | row
        for features in sorted({r["param_features"] for r in found})
        for row in _arm_rows(scores(of(found, features)))
    ]


def _arm_rows(table: dict[tuple[int, str], Episodes]) -> list[dict]:
    order, out = list(arms.ARMS), []
    for k, name in sorted((key for key in table if key[1] in order), key=lambda key: (key[0], order.index(key[1]))):
        for rival in dict.fromkeys((PLAIN, arms.ARMS[name].like)):
            row = {"shots": k, "group": arms.ARMS[name].group, "arm": name, "mean": mean(table[k, name].values())}
            if rival and (k, rival) in table and rival != name:
                row |= {"to": rival} | difference(table[k, name], table[k, rival])
            if "to" in row or name == rival:
                row.setdefault("episodes", len(table[k, name]))
                out.append({column: row.get(column, "") for column in COLUMNS[1:]})
    return out


def strongest(found: list[dict], shots: int) -> str:
    """Return the baseline that is best on seen classes, where arms are tuned, over all splits; empty of none."""
    tuned = [r["tuned"] for r in found if "tuned" in r and r["param_group"] == "baseline"]
    scores = [{row["arm"]: row["score"] for row in part if row["shots"] == shots} for part in tuned]
    names = [name for name in campaign.named("baseline") if tuned and all(name in part for part in scores)]
    return max(names, key=lambda name: mean(part[name] for part in scores), default="")


def primary_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return the primary comparison: ours beside the strongest baseline as chosen on seen classes, then beside each.

    The first row is the comparison that was named beforehand; it is won if the interval over splits lies above zero,
    and a gain above ``rules_out_above`` is not compatible with that interval.
    """
    k, ours = plan["primary"]["shots"], plan["primary"]["ours"]
    found = of(found, plan["primary"]["features"])
    table, first = scores(found), strongest(found, k)
    rivals = sorted(campaign.named("baseline"), key=lambda name: name != first)
    out = []
    for rival in rivals:
        if rival != ours and (k, ours) in table and (k, rival) in table:
            row = {"shots": k, "ours": ours, "to": rival, "chosen on seen classes": "yes" if rival == first else ""}
            row |= difference(table[k, ours], table[k, rival])
            if "splits_high" in row:  # what is ruled out is a gain above it
                row |= {
                    "won": "yes" if row["splits_low"] > 0 else "no",
                    "rules_out_above": max(0.0, row["splits_high"]),
                }
            out.append(row)
    return out


def composed_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return how much better other features are, each with its strongest baseline, for each number of shots.

    Each is the strongest on seen classes, in its own features: of networks that learn from composed images, too, the
    plan's first. ``planned`` marks the comparison that was named beforehand; all others are exploratory.
    """
    named, sides = plan["composed"], {r["param_features"]: of(found, r["param_features"]) for r in found}
    order = sorted(sides.keys() & {*composition.LESSONS}, key=lambda kind: (kind != named["ours"], kind))
    out = []
    for kind, k in ((kind, k) for kind in order for k in sorted(plan["shots"], key=lambda k: k != named["shots"])):
        arm, rival = strongest(sides[kind], k), strongest(sides.get(named["to"], []), k)
        if not arm or not rival:
            continue
        row = {"shots": k, "features": kind, "arm": arm, "to": f"{named['to']}: {rival}"}
        mine, theirs = scores(sides[kind]), scores(sides[named["to"]])
        row |= difference(mine.get((k, arm), {}), theirs.get((k, rival), {}))
        row |= {"planned": "yes" if (kind, k) == (named["ours"], named["shots"]) else ""}
        row["won"] = {True: "yes", False: "no"}[row["splits_low"] > 0] if "splits_low" in row else ""
        out.append({column: row.get(column, "") for column in (*BESIDE, "won", "planned")})
    return out
