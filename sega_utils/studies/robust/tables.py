"""What the records of robust training say: the trials, each side's best, both beside each other, and the sentence.

The best are chosen by robust accuracy on validation images; differences are of test images, in points, seeds of one
subset averaged first, since they share their images.
"""

from statistics import mean

from sega_utils.core import artifacts, numbers, paths, records
from sega_utils.evaluation import masking
from sega_utils.studies.robust.arms import CHECKED, MEASURED, TUNING, side_of
from sega_utils.studies.robust.plan import REAL, SETTINGS, SYNTHETIC
from sega_utils.studies.zoo import rows as zoo_rows


def settings_of(record: dict) -> dict:
    """Return the settings that a record is of."""
    return {name: record[f"param_{name}"] for name in SETTINGS}


def changes(settings: dict, plan: dict) -> str:
    """Return in words where settings differ from those of the plan."""
    return ", ".join(f"{name} {value}" for name, value in settings.items() if value != plan["settings"][name])


def tried(found: list[dict], plan: dict, trials: list[dict]) -> list[dict]:
    """Return the records of trials in their order, those that there are; ``trials`` are changes of the settings."""
    how = plan["tuning"]
    where = {"subset": how["subset"], "seed": how["seed"], "per_class": plan["primary"]["per_class"]}
    mine = [r for r in found if all(r[f"param_{name}"] == value for name, value in where.items())]
    return [r for change in trials for r in mine if settings_of(r) == plan["settings"] | change]


def best_base(found: list[dict], plan: dict) -> dict:
    """Return the changes of the trial on real images that both sides go on from, {} where none is on record."""
    mine = tried(found, plan, plan["base"])
    return {k: v for k, v in settings_of(best(mine)).items() if v != plan["settings"][k]} if mine else {}


def best(mine: list[dict]) -> dict:
    """Return the record of the highest robust accuracy, the first of equals."""
    return max(mine, key=lambda r: r["robust"])


def winners(found: list[dict], plan: dict) -> dict[str, dict]:
    """Return the settings of each side's best trial by robust validation accuracy; none before all are on record.

    The real side may keep what both began with; the synthetic side's best is one with synthetic images.
    """
    start = best_base(found, plan)
    lists = {REAL: [*plan["base"], *(start | c for c in plan[REAL])], SYNTHETIC: [start | c for c in plan[SYNTHETIC]]}
    mine = {side: tried(found, plan, trials) for side, trials in lists.items()}
    if any(len(mine[side]) < len(lists[side]) for side in lists):
        return {}
    return {side: settings_of(best(rows)) for side, rows in mine.items()}


def trial_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return a row for each trial: what it changed, robust and clean accuracy on validation images, in percent."""
    chosen = winners(found, plan)
    return [
        {
            "side": side_of(settings_of(r)),
            "changed": changes(settings_of(r), plan) or "nothing",
            "robust": 100 * r["robust"],
            "clean": 100 * r["accuracy"],
            "n": r["n"],
            "best of": ", ".join(side for side, settings in chosen.items() if settings == settings_of(r)),
        }
        for r in sorted(found, key=lambda r: -r["robust"])
    ]


def pairs(found: list[dict], tuned: list[dict], plan: dict) -> dict[str, list[dict]]:
    """Return the records of the primary comparison by side, those that both sides have.

    Args:
        found, tuned: records of the stages robust and robust-tuning.
    """
    first, chosen, mine = plan["primary"], winners(tuned, plan), {}
    for side, settings in chosen.items():
        mine[side] = {
            (r["param_subset"], r["param_seed"]): r
            for r in found
            if settings_of(r) == settings
            and r["param_per_class"] == first["per_class"]
            and r["param_subset"] in first["subsets"]
            and r["param_seed"] in first["seeds"]
        }
    shared = sorted(set.intersection(*map(set, mine.values()))) if mine else []
    return {side: [rows[key] for key in shared] for side, rows in mine.items()}


def difference(mine: dict[str, list[dict]], what: str) -> dict:
    """Return the synthetic side less the real side in ``robust`` or ``accuracy``, see ``zoo_rows.difference``."""
    if not mine:
        return {}
    return zoo_rows.difference(*([r | {"accuracy": r[what]} for r in mine[side]] for side in (SYNTHETIC, REAL)))


def side_rows(found: list[dict], plan: dict) -> list[dict]:
    """Return a row for each kind of classifier that was measured on test images, in percent, with what it cost."""
    groups: dict[str, list[dict]] = {}
    for r in found:
        groups.setdefault(changes(settings_of(r), plan) or "nothing", []).append(r)
    rows = []
    for changed, mine in groups.items():
        robust, clean = (numbers.summary(100 * r[name] for r in mine) for name in ("robust", "accuracy"))
        rows.append(
            {
                "side": side_of(settings_of(mine[0])),
                "changed": changed,
                "robust": numbers.spread(robust["mean"], robust["std"]),
                "clean": numbers.spread(clean["mean"], clean["std"]),
                "n": len(mine),
                "gradients": mine[0]["gradients"],
                "CPU minutes": mean(r["cpu_seconds"] + r["cpu_seconds_attacks"] for r in mine) / 60,
            }
        )
    return rows


def check_rows(found: list[dict]) -> list[dict]:
    """Return a row for each classifier that was looked at: accuracy by attack in percent, and findings."""
    return [
        {
            "side": r["param_arm"],
            **{name: 100 * r[name] for name in ("robust", "autoattack", "adaptive")},
            "n": r["n"],
            "masking": "; ".join(masking.findings(r["masking"], n=r["n"])) or "none",
        }
        for r in found
    ]


def primary_rows(found: list[dict], tuned: list[dict], plan: dict) -> list[dict]:
    """Return the rows of the primary comparison, as far as it is measured: robust and clean, in points."""
    mine, rows = pairs(found, tuned, plan), []
    for name, what in (("robust", "robust"), ("clean", "accuracy")):
        if line := difference(mine, what):
            side = lambda side: mean(100 * r[what] for r in mine[side])
            rows.append({"accuracy": name, SYNTHETIC: side(SYNTHETIC), REAL: side(REAL)} | line)
    return rows


def sentence(found: list[dict], tuned: list[dict], plan: dict) -> str:
    """Return what the records answer to the primary comparison, and how much of the plan they are."""
    first, mine = plan["primary"], pairs(found, tuned, plan)
    planned = len(first["subsets"]) * len(first["seeds"])
    measured = f"{len(mine[REAL]) if mine else 0} of {planned} planned pairs are on record"
    robust, clean = (difference(mine, what) for what in ("robust", "accuracy"))
    if not robust:
        return f"Not measured yet: {measured}."
    told = lambda line: numbers.interval(line["diff"], line["ci_low"], line["ci_high"])
    if robust["ci_low"] > 0:
        verdict = "synthetic images pay"
    elif robust["ci_high"] < 0:
        verdict = "synthetic images harm"
    else:
        verdict = f"no gain is shown, and one above {robust['rules_out_above']:.1f} points is ruled out"
    return (
        f"With synthetic images, robust accuracy changes by {told(robust)} points and clean accuracy by {told(clean)}, "
        f"over {robust['over']}: {verdict}. {measured[0].upper()}{measured[1:]}."
    )


def read(run: str, dataset: str, plan: dict) -> tuple[dict[str, list[dict]], str]:
    """Return the tables that a run's records make, by their names, and the sentence that answers the plan."""
    found, tuned = records.read(run, dataset, MEASURED), records.read(run, dataset, TUNING)
    tables = {
        "robust-trials": trial_rows(tuned, plan),
        "robust": side_rows(found, plan),
        "robust-primary": primary_rows(found, tuned, plan),
        "robust-checks": check_rows(records.read(run, dataset, CHECKED)),
    }
    return tables, sentence(found, tuned, plan)


def write(run: str, dataset: str, plan: dict) -> tuple[dict[str, list[dict]], str]:
    """Write those of a run's tables that have rows, and return what ``read`` does."""
    tables, answer = read(run, dataset, plan)
    artifacts.save_tables(paths.artifact(run, dataset, "tables"), tables)
    return tables, answer
