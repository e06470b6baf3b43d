"""What the records of the scenes say: each arm, the comparisons over scenes, and how much of the plan is measured.

Seeds of a scene share its images: they are averaged first, and intervals are over scenes.
"""

from statistics import mean
from typing import NamedTuple

from sega_utils.core import artifacts, numbers, paths, records
from sega_utils.studies.groups import fills, plan
from sega_utils.studies.groups.arms import ADJUSTED

METRICS = ("accuracy", "worst", "lacking", "accuracy_validation")
PRIMARY = {"missing": "worst", "rare": "accuracy"}  # what is compared in the first place
ALONE = "CMO"  # a policy that is no ground for fills: what they make equal, it makes equal itself
ROWS = ("kind", "dataset", "arm", "scenes", "seeds", *METRICS, "worst_std")
COMPARED = ("kind", "ours", "theirs", "metric", "diff", "ci_low", "ci_high", "scenes")


class Arm(NamedTuple):
    """What was trained: a fill with the scene's best policy, or a policy on real images alone, adjusted or not."""

    name: str
    real: bool  # no synthetic image


Scored = dict[tuple[str, str], dict[Arm, dict[int, dict[str, float]]]]  # (dataset, scene): arm: seed: metrics


def scored(found: list[dict], kind: str) -> Scored:
    """Return the metrics of a kind's records, in percent, by data set and scene, arm and seed."""
    table: Scored = {}
    for r in (r for r in found if r["param_kind"] == kind):
        place = table.setdefault((r["dataset"], r["param_scene"]), {})
        for prefix, more in (("", ""), (f"{ADJUSTED}_", f", {ADJUSTED}")):
            if f"{prefix}accuracy" in r and not (more and r["param_fill"]):
                arm = Arm((r["param_fill"] or r["param_arm"]) + more, r["param_fill"] in ("", fills.REAL))
                values = {name: 100 * r[prefix + name] for name in METRICS}
                place.setdefault(arm, {})[r["param_seed"]] = values
    return table


def averaged(seeds: dict[int, dict[str, float]], metric: str) -> float:
    """Return the mean of a metric over the seeds of an arm in a scene."""
    return mean(values[metric] for values in seeds.values())


def best_real(arms: dict[Arm, dict[int, dict]]) -> Arm:
    """Return which arm without synthetic images is best on a scene's validation images."""
    return max((arm for arm in arms if arm.real), key=lambda arm: averaged(arms[arm], "accuracy_validation"))


def best_policy(found: list[dict]) -> str:
    """Return which policy on real images alone is best on the validation images of the scene that records are of."""
    alone = [r for r in found if not r["param_fill"] and r["param_arm"] != ALONE]
    names = {r["param_arm"] for r in alone}
    return max(sorted(names), key=lambda name: mean(r["accuracy_validation"] for r in alone if r["param_arm"] == name))


def arm_rows(found: list[dict]) -> list[dict]:
    """Return a row (columns ``ROWS``) for each arm, kind and data set: in percent, means over the scenes.

    ``worst_std`` is the standard deviation of the scenes' worst groups.
    """
    rows = []
    for kind in plan.KINDS:
        table = scored(found, kind)
        for dataset in dict.fromkeys(name for name, _ in table):
            places = [arms for (name, _), arms in table.items() if name == dataset]
            for arm in dict.fromkeys(arm for arms in places for arm in arms):
                mine = [arms[arm] for arms in places if arm in arms]
                row = {"kind": kind, "dataset": dataset, "arm": arm.name, "scenes": len(mine)}
                row |= {"seeds": sum(map(len, mine))}
                row |= {metric: mean(averaged(seeds, metric) for seeds in mine) for metric in METRICS}
                row["worst_std"] = numbers.summary(averaged(seeds, "worst") for seeds in mine)["std"]
                rows.append(row)
    return rows


def compared_rows(found: list[dict]) -> list[dict]:
    """Return differences of what prompts fill to all else, in points, over scenes that have both, with 95 % intervals.

    The best on real images is chosen in each scene by validation images. Student's interval needs two scenes.
    """
    rows = []
    for kind in plan.KINDS:
        table, ours = scored(found, kind), Arm(fills.OURS[kind], False)
        table = {place: arms for place, arms in table.items() if ours in arms}
        others = [Arm(name, name == fills.REAL) for name in fills.FILLS[kind] if name != ours.name]
        rivals = {"best on real images": best_real} | {arm.name: (lambda arms, arm=arm: arm) for arm in others}
        for name, rival in rivals.items():
            for metric in ("worst", "lacking", "accuracy"):
                pairs = {
                    place: (averaged(arms[ours], metric), averaged(arms[rival(arms)], metric))
                    for place, arms in table.items()
                    if rival(arms) in arms
                }
                rows.append({"kind": kind, "ours": ours.name, "theirs": name, "metric": metric} | _over(pairs))
    return [{column: row.get(column, "") for column in COMPARED} for row in rows if row["scenes"]]


def _over(pairs: dict) -> dict:
    """Return the mean difference of pairs, with its interval where there are two of them."""
    found = {"scenes": len(pairs), "diff": mean(a - b for a, b in pairs.values()) if pairs else ""}
    if len(pairs) > 1:
        both = numbers.paired_difference(*({place: pair[i] for place, pair in pairs.items()} for i in (0, 1)))
        found |= {"diff": both["difference"], "ci_low": both["ci_low"], "ci_high": both["ci_high"]}
    return found


def primary_rows(found: list[dict], planned: dict) -> list[dict]:
    """Return the row of the primary comparison once every classifier that it needs is on record."""
    kind, compared = plan.PRIMARY
    scenes = [scene for scene in plan.scenes_of("", planned) if scene.kind == kind]
    wanted = {(s.dataset, s.name, *what) for s in scenes for what in plan.asked(s, planned, compared)}
    if wanted - set(map(key_of, found)):
        return []
    named = (kind, "best on real images", PRIMARY[kind])
    return [row for row in compared_rows(found) if (row["kind"], row["theirs"], row["metric"]) == named]


def key_of(record: dict) -> tuple[str, str, str, int]:
    """Return what a classifier's record is of: data set, scene, policy or fill, and seed."""
    return record["dataset"], record["param_scene"], record["param_fill"] or record["param_arm"], record["param_seed"]


def progress_rows(found: list[dict], planned: dict) -> list[dict]:
    """Return for each kind how many classifiers are planned and on record, their minutes, and about those to come."""
    rows = []
    for kind in plan.KINDS:
        asked = [(s, what) for s in plan.scenes_of("", planned) if s.kind == kind for what in plan.asked(s, planned)]
        wanted = {(s.dataset, s.name, *what) for s, what in asked}
        mine = {key_of(r): r["seconds"] / 60 for r in found}
        done = wanted & mine.keys()
        row = {"kind": kind, "planned": len(wanted), "on record": len(done)}
        row["minutes"] = sum(mine[key] for key in done)
        row["minutes left"] = row["minutes"] / len(done) * (len(wanted) - len(done)) if done else ""
        rows.append(row)
    return rows


def fill_rows(found: list[dict]) -> list[dict]:
    """Return for each fill which share of its images shows what is missing, in percent, the mean over its scenes.

    Args:
        found: records of the stage groups-fills.
    """
    shares: dict[tuple[str, str], list[float]] = {}
    for r in (r for r in found if "shows" in r):
        shares.setdefault((r["dataset"], r["param_fill"]), []).append(100 * r["shows"])
    order = list(fills.FILLS["missing"])
    return [
        {"dataset": dataset, "fill": fill, "scenes": len(mine), "shows what is missing": mean(mine)}
        for (dataset, fill), mine in sorted(shares.items(), key=lambda item: (item[0][0], order.index(item[0][1])))
    ]


def read(run: str, planned: dict, stage: str = "groups") -> list[dict]:
    """Return a run's records of all data sets of a plan; of classifiers, those with the plan's steps."""
    names = dict.fromkeys(scene.dataset for scene in plan.scenes_of(run, planned))
    steps = planned["budget"]["steps"]
    return [r for name in names for r in records.read(run, name, stage) if r.get("param_steps", steps) == steps]


def tables(run: str, planned: dict) -> dict[str, list[dict]]:
    """Return what a run's records of a plan say, by the table's name; a table may have no rows."""
    found = read(run, planned)
    return {
        "groups": arm_rows(found),
        "groups-compared": compared_rows(found),
        "groups-primary": primary_rows(found, planned),
        "groups-fills": fill_rows(read(run, planned, "groups-fills")),
        "groups-progress": progress_rows(found, planned),
    }


def write_tables(run: str, planned: dict) -> dict[str, list[dict]]:
    """Write those of ``tables`` that have rows, below the first data set of the plan, and return all."""
    made = tables(run, planned)
    artifacts.save_tables(paths.artifact(run, plan.scenes_of(run, planned)[0].dataset, "tables"), made)
    return made
