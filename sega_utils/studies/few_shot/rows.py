"""What the records of few shots say: each arm beside real images alone, over episodes and over splits."""

from collections.abc import Iterable
from statistics import mean

from sega_utils.augmenters import composition
from sega_utils.core import numbers
from sega_utils.studies.few_shot import arms, campaign

PLAIN = "real only"
PLANNED = ("baseline",)  # of which comparisons that were named beforehand choose: those that there were by then
BASELINES = (*PLANNED, "fine-tuned")  # of which all others choose
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
FIRST = ("shots", "features", "arm", "to", "diff", "ci_low", "ci_high", "episodes")
KEYS = ("ours", "shots", "to")  # of a comparison between features
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
    control has one beside its arm, too, and a tuned network with more images one beside that of the few alone."""
    return [
        {"features": features} | row
        for features in sorted({r["param_features"] for r in found})
        for row in _arm_rows(scores(of(found, features)))
    ]


def _arm_rows(table: dict[tuple[int, str], Episodes]) -> list[dict]:
    order, out = list(arms.ARMS), []
    for k, name in sorted((key for key in table if key[1] in order), key=lambda key: (key[0], order.index(key[1]))):
        for rival in dict.fromkeys((PLAIN, arms.ARMS[name].like, arms.ARMS[name].beside)):
            row = {"shots": k, "group": arms.ARMS[name].group, "arm": name, "mean": mean(table[k, name].values())}
            if rival and (k, rival) in table and rival != name:
                row |= {"to": rival} | difference(table[k, name], table[k, rival])
            if "to" in row or name == rival:
                row.setdefault("episodes", len(table[k, name]))
                out.append({column: row.get(column, "") for column in COLUMNS[1:]})
    return out


def seen_scores(found: list[dict], shots: int, groups: Iterable[str]) -> dict[str, float]:
    """Return the accuracy 0 .. 1 on seen classes, where arms are tuned, of the arms of some groups, over all splits.

    Arms that are not tuned on every split are left out: their mean would be one of other splits.
    """
    scores: dict[str, dict[str, float]] = {}
    for r in (r for r in found if "tuned" in r and r["param_group"] in groups):
        mine = {row["arm"]: row["score"] for row in r["tuned"] if row["shots"] == shots}
        scores.setdefault(r["param_unseen"], {}).update(mine)
    names = [name for group in groups for name in campaign.named(group)]
    shared = [name for name in names if scores and all(name in part for part in scores.values())]
    return {name: mean(part[name] for part in scores.values()) for name in shared}


def strongest(found: list[dict], shots: int, groups: Iterable[str] = PLANNED) -> str:
    """Return the baseline of some groups that is best on seen classes, see ``seen_scores``; empty of none."""
    scores = seen_scores(found, shots, groups)
    return max(scores, key=scores.__getitem__, default="")


def primary_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return the primary comparison: ours beside the strongest baseline as chosen on seen classes, then beside each.

    The first row is the comparison that was named beforehand, when no baseline tuned the network; it is won if the
    interval over splits lies above zero, and a gain above ``rules_out_above`` is not compatible with that interval.
    Where a baseline that tunes it is stronger on seen classes, its row says so.
    """
    k, ours = plan["primary"]["shots"], plan["primary"]["ours"]
    found = of(found, plan["primary"]["features"])
    table, first = scores(found), strongest(found, k)
    rivals = sorted((name for group in BASELINES for name in campaign.named(group)), key=lambda name: name != first)
    chosen = {strongest(found, k, BASELINES): "with fine-tuning", first: "yes"}
    out = []
    for rival in rivals:
        if rival != ours and (k, ours) in table and (k, rival) in table:
            row = {"shots": k, "ours": ours, "to": rival, "chosen on seen classes": chosen.get(rival, "")}
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

    Each is the strongest on seen classes, in its own features, and of several kinds of features to compare with, in
    that which has it. ``planned`` marks the comparisons that were named beforehand, of which the first knew no baseline
    that tunes the network; they have no row before all of it is on record. All others are exploratory.
    """
    sides = {kind: of(found, kind) for kind in {r["param_features"] for r in found}}
    first, second = plan["composed"], plan["shapes"]
    planned = [(first["ours"], first["shots"], [first["to"]], PLANNED), (*map(second.get, KEYS), BASELINES)]
    named = [part[:2] for part in planned]
    rivals = lambda kind: second["to"] if kind == second["ours"] else [first["to"]]
    others = [(kind, k, rivals(kind), BASELINES) for kind in composition.LESSONS for k in plan["shots"]]
    out = []
    for kind, k, to, groups in planned + [other for other in others if other[:2] not in named]:
        compared = [sides.get(name, []) for name in (kind, *to)]
        if (kind, k) in named and not all(is_whole(side, k, groups, plan) for side in compared):
            continue
        arm, rival, theirs = _strongest_of(sides.get(kind, []), {name: sides.get(name, []) for name in to}, k, groups)
        if not arm:
            continue
        row = {"shots": k, "features": kind, "arm": arm, "to": f"{theirs}: {rival}"}
        row |= difference(scores(sides[kind]).get((k, arm), {}), scores(sides[theirs]).get((k, rival), {}))
        row |= {"planned": "yes" if (kind, k) in named else ""}
        row["won"] = {True: "yes", False: "no"}[row["splits_low"] > 0] if "splits_low" in row else ""
        out.append({column: row.get(column, "") for column in (*BESIDE, "won", "planned")})
    return out


def first_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return the planned rows of ``composed_rows`` of the first split alone, over its draws.

    The forms of synthetic classes were chosen on its seen classes, some of which are unseen ones of all other splits.
    """
    if not found:
        return []
    splits = {found[0]["dataset"]: plan["splits"][found[0]["dataset"]][:1]}
    name = "-".join(map(str, splits[found[0]["dataset"]][0]))
    mine = composed_rows([r for r in found if r["param_unseen"] == name], plan | {"splits": splits})
    return [{column: row[column] for column in FIRST} for row in mine if row["planned"]]


def is_whole(side: list[dict], shots: int, groups: Iterable[str], plan: dict) -> bool:
    """Return whether records of one kind of features have every arm of some groups, tuned and on all the plan's tasks.

    Args:
        plan: with ``splits`` by data set, and ``draws``.
    """
    if not side:
        return False
    splits = ["-".join(map(str, unseen)) for unseen in plan["splits"][side[0]["dataset"]]]
    tasks, table = {(split, draw) for split in splits for draw in range(plan["draws"])}, scores(side)
    names = campaign.able((name for group in groups for name in campaign.named(group)), shots)
    tuned = {(r["param_unseen"], row["arm"]) for r in side for row in r.get("tuned", ()) if row["shots"] == shots}
    untuned = {arm for arm in names if arms.ARMS[arm].like}
    return all(
        table.get((shots, arm), {}).keys() >= tasks and (arm in untuned or all((s, arm) in tuned for s in splits))
        for arm in names
    )


def _strongest_of(
    ours: list[dict], rivals: dict[str, list[dict]], shots: int, groups: Iterable[str]
) -> tuple[str, str, str]:
    """Return the strongest baseline of ours, of the rivals, and which rival it is of, among those that all have."""
    mine, theirs = (seen_scores(ours, shots, groups), {k: seen_scores(r, shots, groups) for k, r in rivals.items()})
    shared = [name for name in mine if all(name in scores for scores in theirs.values())]
    if not shared:
        return "", "", ""
    kind, rival = max(((k, name) for k in theirs for name in shared), key=lambda at: theirs[at[0]][at[1]])
    return max(shared, key=mine.__getitem__), rival, kind
