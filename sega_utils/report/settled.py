"""The primary comparison of each study, side by side; all but the recipe's were written down beforehand."""

from sega_utils.core import artifacts, parameters, paths, records
from sega_utils.core.numbers import interval
from sega_utils.report import subsets
from sega_utils.report.claims import clean, paired
from sega_utils.report.sentences import best_real
from sega_utils.studies.few_shot import campaign as few_campaign, plan as few_plan, rows as few_rows
from sega_utils.studies.flare import campaign as flare_campaign, tables as flare_tables
from sega_utils.studies.groups import plan as groups_plan, rows as groups_rows
from sega_utils.studies.robust import plan as robust_plan, tables as robust_tables
from sega_utils.studies.zoo import plan as zoo_plan, rows as zoo_rows
from sega_utils.training import recipes
from sega_utils.training.recipes import OURS

LONGER = paths.PARAMS / "longer" / "plan.yaml"
GAIN, LOSS = "a gain", "a loss"
COLUMNS = ("question", "method", "beside", "points", "over", "says", "chapter")


def settled_rows(run: str, dataset: str) -> list[dict[str, str]]:
    """Return a row (``COLUMNS``) for each question: what synthetic images change, in points, with 95 % interval.

    A comparison that is not complete has no points, and says so.

    Raises:
        ArtifactError: a record is damaged.
    """
    return [
        of_recipe(run, dataset),
        of_longer(run, dataset),
        of_zoo(run, dataset),
        *of_flare(run, dataset),
        *of_few_shots(run),
        of_robust(run, dataset),
        of_groups(run),
    ]


def counted(rows: list[dict[str, str]]) -> str:
    """Return in a sentence how many of the rows show a gain, how many a loss, and how many neither."""
    said = [row["says"] for row in rows if row["points"]]
    gains, losses = said.count(GAIN), said.count(LOSS)
    missing = f"; {len(rows) - len(said)} are not measured yet" if len(said) < len(rows) else ""
    return (
        f"Of {len(said)} primary comparisons, {gains} show a gain over the best that does without, {losses} a loss, "
        f"and {len(said) - gains - losses} no difference{missing}."
    )


def plainly(rows: list[dict[str, str]]) -> str:
    """Return in a plain sentence whether synthetic images help, by the rows' own words."""
    measured = [row for row in rows if row["points"]]
    gains = [row["question"] for row in measured if row["says"] == GAIN]
    none = "not shown in any setting" if measured else "nothing is measured yet"
    where = f"yes, in {len(gains)} of {len(measured)} settings: {'; '.join(gains)}" if gains else none
    return f"Do synthetic images help, beside the best that can be done without them? {where[0].upper()}{where[1:]}."


def row_of(question: str, chapter: str, drawn: str, beside: str, found: dict) -> dict[str, str]:
    """Return the row of a comparison; ``found`` holds ``diff``, ``ci_low``, ``ci_high`` and ``over``, or nothing."""
    row = {"question": question, "method": drawn, "beside": beside, "chapter": chapter}
    if found:
        none = f"no difference shown; a gain above {found['ci_high']:.2f} is ruled out"
        verdict = GAIN if found["ci_low"] > 0 else LOSS if found["ci_high"] < 0 else none
        row |= {"points": interval(*(found[k] for k in ("diff", "ci_low", "ci_high"))), "over": found["over"]}
        row |= {"says": verdict}
    else:
        row |= {"points": "", "over": "", "says": "not measured yet"}
    return {column: row[column] for column in COLUMNS}


def of_recipe(run: str, dataset: str) -> dict[str, str]:
    """Return SEGA-Net's row over subsets, beside the arm on real images alone that was best in the search of settings.

    This comparison alone has no plan that was written beforehand.
    """
    trained = records.read(run, dataset, "training")
    tried, has = artifacts.load_csv(paths.PARAMS / "tuning.csv"), {r["param_arm"] for r in trained}
    of_run = [{"param_arm": row["arm"]} | row for row in tried if row["arm"] in has]
    best = best_real(of_run, lambda row: float(row["accuracy"]), max) or ""
    found = next((row for row in subsets.subset_rows(run, dataset) if row["arm"] == best), {})
    found = found and found | {"diff": found["difference"], "over": f"{found['subsets']} subsets"}
    ours = next((r for r in trained if r["param_arm"] == OURS), {})
    share = f", {ours['param_ratio']:.0%} of a batch synthetic" if ours else ""
    size = "".join(f", {record['n_train']:,} training images" for record in records.read(run, dataset, "data"))
    return row_of(f"the poster's recipe as tuned{share}{size}", "05_training", OURS, best, found)


def of_longer(run: str, dataset: str) -> dict[str, str]:
    """Return SEGA-Net's row where all train for longer, by the plan of ``params/longer``; nothing of a part of it."""
    plan = parameters.load_yaml(LONGER)["05_training"]
    steps = recipes.read(paths.located(plan["TUNED"]))[OURS]["steps"]
    trained = [r for r in records.read(f"{run}-longer", dataset, "training") if r["param_seed"] in plan["SEEDS"]]
    rival = plan["ARMS"][0]
    whole = all(sum(r["param_arm"] == arm for r in trained) == len(plan["SEEDS"]) for arm in (rival, OURS))
    lead = paired(trained, clean, rival) if whole else None
    found = lead and lead | {"diff": lead["difference"], "over": f"{len(plan['SEEDS'])} seeds"}
    return row_of(f"the same for longer, {steps:,} steps", "05_training", OURS, rival, found or {})


def of_zoo(run: str, dataset: str) -> dict[str, str]:
    """Return the row of all augmenters, the best of them by validation."""
    plan = zoo_plan.read()
    found = next(iter(zoo_rows.primary_rows(records.read(run, dataset, "zoo"), plan)), {})
    first, names = plan["primary"], plan["augmenters"]
    how = {"param_per_class": first["per_class"], "param_protocol": first["protocol"], "param_seconds": plan["seconds"]}
    drawn = [r for r in records.read(run, dataset, "augmenters") if r.items() >= how.items() and r["gate_passed"]]
    real = len({r["param_augmenter"] for r in drawn} & set(names))
    each = f"{len(names)} augmenters of {plan['seconds']:g} seconds, {real} of which pass the gate of realism"
    question = f"the best by validation of {each}, {first['per_class']} images a class"
    return row_of(question, "10_augmenters", found.get("augmenter", ""), found.get("to", ""), found)


def of_flare(run: str, dataset: str) -> list[dict[str, str]]:
    """Return FLARE's rows: of a data set, and of those that the plan names beside it."""
    rows = []
    for name in (dataset, *flare_campaign.others()):
        plan = flare_campaign.read(dataset=name)
        found = next(iter(flare_tables.primary_rows(records.read(run, name, "flare"), plan)), {})
        where = "" if name == dataset else f", {flare_campaign.titled(name)}"
        question = f"a fixed pool of restored and drawn images, {plan['per_class']} a class{where}"
        rows.append(row_of(question, "11_flare", plan["primary"]["ours"], plan["primary"]["theirs"], found))
    return rows


CLASSES = {"composed": "halves of seen classes", "shapes": "shapes drawn by a formula that was written by hand"}


def of_few_shots(run: str) -> list[dict[str, str]]:
    """Return the rows of the few shots, three for each data set: more images of the few, and two kinds of classes."""
    plan, rows = few_plan.read(), []
    for name, splits in plan["splits"].items():
        records_of, tasks = records.read(run, name, few_campaign.STAGE), len(splits) * plan["draws"]
        found = over_splits(next(iter(few_rows.primary_rows(records_of, plan)), {}), tasks, len(splits))
        question = f"images of other classes, {plan['primary']['shots']} image a class, {name}"
        rows.append(row_of(question, "12_few_shot", plan["primary"]["ours"], found.get("to", ""), found))
        composed = {row["features"]: row for row in few_rows.composed_rows(records_of, plan) if row["planned"]}
        for part, images in CLASSES.items():
            found, named = over_splits(composed.get(plan[part]["ours"], {}), tasks, len(splits)), plan[part]
            question = f"{images} as new classes to learn from, {named['shots']} image a class, {name}"
            ours = f"{named['ours']}: {found.get('arm', '')}".removesuffix(": ")
            rows.append(row_of(question, "12_few_shot", ours, found.get("to", ""), found))
    return rows


def over_splits(found: dict, tasks: int, splits: int) -> dict:
    """Return a comparison with its interval over splits; nothing, if it is not of all tasks."""
    if found.get("episodes") != tasks:
        return {}
    return found | {"ci_low": found["splits_low"], "ci_high": found["splits_high"], "over": f"{splits} splits"}


def of_robust(run: str, dataset: str) -> dict[str, str]:
    """Return the row of training against attacks, in robust accuracy."""
    plan = robust_plan.read()
    stages = [records.read(run, dataset, stage) for stage in ("robust", "robust-tuning")]
    pairs = robust_tables.pairs(*stages, plan)
    whole = all(len(mine) == len(plan["primary"]["subsets"]) * len(plan["primary"]["seeds"]) for mine in pairs.values())
    found = robust_tables.difference(pairs, "robust") if whole else {}
    question = f"training against attacks, {plan['primary']['per_class']} images a class: robust accuracy"
    return row_of(question, "13_robust", "best by validation", "best on real images alone", found)


def of_groups(run: str) -> dict[str, str]:
    """Return the row of looks that some classes lack, in the accuracy of the worst group."""
    plan = groups_plan.read()
    found = next(iter(groups_rows.primary_rows(groups_rows.read(run, plan), plan)), {})
    found = found and found | {"over": f"{found['scenes']} scenes"}
    question = "looks that some classes lack: accuracy of the worst group"
    return row_of(question, "16_groups", found.get("ours", ""), "best on real images alone", found)
