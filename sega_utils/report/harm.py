"""The page ``docs/why-your-gan-made-it-worse.md``: what the ablations say to people who train on drawn images."""

from collections.abc import Callable, Sequence

from sega_utils.core import numbers, paths
from sega_utils.evaluation import classified
from sega_utils.report import comparisons, settled
from sega_utils.report.pictures import Drawing
from sega_utils.studies import entries, harm
from sega_utils.training.recipes import BASELINE

CUTMIX = "Std Aug + CutMix"
# name of an ablation: what its panel is called
BATCHES = {"ratio_replace": "share in place of real", "ratio_add": "share on top", "steps": "optimiser steps"}

TEMPLATE = paths.ROOT / "docs" / "templates" / "harm.md"


def page(run: str, dataset: str) -> str:
    """Return the page's text, every number of it computed from the run's ablation records.

    Raises:
        FileNotFoundError: the run has no ablations on record.
    """
    found = classified.current(run, dataset)
    if not found:
        raise FileNotFoundError(f"{run} has no ablations of {dataset} on record; make them with: make ablations")
    groups = {"replaced": harm.replaced(found), "added": harm.added(found), "longer": harm.longer(found)}
    groups |= {"few": harm.fewer(found, BASELINE), "mixed": harm.fewer(found, CUTMIX)}
    named = {"few": part, "longer": steps, "mixed": part}
    parts = {name: table(rows) for name, rows in groups.items()}
    parts |= {f"{name}_said": said(rows, named.get(name, share)) for name, rows in groups.items()}
    rows = controls(found)
    parts |= {"controls": numbers.markdown([shown(row) for row in rows]), "controls_said": controlled(rows)}
    return TEMPLATE.read_text(encoding="utf-8").format(
        records=f"../{paths.shown(paths.artifact(run, dataset, 'tables'))}/ablation.csv",
        short=short(groups),
        baseline=BASELINE,
        cutmix=CUTMIX,
        limits=limits(found),
        unclear=harm.UNCLEAR,
        again=again(settled.of_longer(run, dataset)),
        **parts,
    )


def again(row: dict[str, str]) -> str:
    """Return what a planned comparison of more steps says, beside those that were looked at first; nothing of none."""
    if not row["points"]:
        return ""
    return (
        f" Asked again, with a plan written beforehand and {row['over']} not used above, {row['method']} has "
        f"{row['points']} points beside {row['beside']}: {row['says']}. Of many values that are looked at, some are "
        "told apart by chance."
    )


def drawn(run: str, dataset: str) -> dict[str, Drawing]:
    """Return the page's figures by their file's name below ``docs/figures``."""
    rows = entries.ablation_rows(classified.current(run, dataset))
    batches = []
    for row in rows:
        name, control, _ = row["name"].partition(entries.REAL)
        if name in BATCHES:
            batches.append(row | {"name": BATCHES[name] + control})
    fractions = [row for row in rows if row["name"] == entries.FRACTION]
    return {
        "harm-batches.png": comparisons.ablation_curves(batches),
        "harm-fractions.png": comparisons.low_data_curves(fractions),
    }


def share(row: dict) -> str:
    """Return a row's value as a share of a batch."""
    return f"{100 * row['value']:g} %"


def part(row: dict) -> str:
    """Return a row's value as a part of the published images."""
    return f"{100 * row['value']:g} % of the data"


def steps(row: dict) -> str:
    """Return a row's value as a number of steps."""
    return f"{row['value']:,} steps"


def table(rows: Sequence[dict]) -> str:
    """Return rows of ``harm.beside`` as Markdown."""
    return numbers.markdown(
        [
            {"value": f"{row['value']:g}", "with": row["with"], "without": row["without"]}
            | {"with minus without": difference(row), "seeds": row["n"], "*with* is": row["verdict"]}
            for row in rows
        ]
    )


def difference(row: dict) -> str:
    """Return a row's difference with its interval."""
    return numbers.interval(row["difference"], row["ci_low"], row["ci_high"])


def listed(rows: Sequence[dict], name: Callable[[dict], str]) -> str:
    """Return ``a (difference), b (difference) and c (difference)``."""
    texts = [f"{name(row)} ({difference(row)})" for row in rows]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))


def said(rows: Sequence[dict], name: Callable[[dict], str]) -> str:
    """Return sentences on which rows are ahead, behind, or cannot be told apart."""
    if not rows:
        return "Not measured yet."
    groups = {word: [row for row in rows if row["verdict"] == word] for word in (harm.BEHIND, harm.AHEAD)}
    sentences = [f"*With* is {word} at {listed(mine, name)}." for word, mine in groups.items() if mine]
    if unclear := sum(row["verdict"] == harm.UNCLEAR for row in rows):
        sentences.append(f"At {unclear} of {len(rows)} values, the interval contains zero.")
    missing = " or ".join(word for word, mine in groups.items() if not mine)
    return " ".join([*sentences, f"At none does the interval show it {missing}."] if missing else sentences)


def short(groups: dict[str, list[dict]]) -> str:
    """Return a sentence for each group of rows: at how many values it is ahead or behind."""
    titles = {
        "replaced": "In place of real images",
        "added": "On top of real images, beside as many more real ones",
        "longer": "At equal steps, beside the same settings without them",
        "few": f"Beside {BASELINE}, over fractions of the data",
        "mixed": f"Beside {CUTMIX}, over the same fractions",
    }
    sentences = []
    for name, title in titles.items():
        verdicts = [row["verdict"] for row in groups[name]]
        told = " and ".join(f"{word} at {verdicts.count(word)}" for word in (harm.AHEAD, harm.BEHIND))
        sentences.append(f"{title}, it is {told} of {len(verdicts)} values." if verdicts else "")
    return " ".join(filter(None, sentences)).replace("it is", "*with* is", 1)


CONTROLS = (("prompts", "shuffled"), ("filters", "random as all"), ("labels", "clip"), ("mixing", "none"))


def controls(found: Sequence[dict]) -> list[dict]:
    """Return the rows of ``entries.ablation_rows`` that take prompts, filters, labels or mixing away."""
    return [
        row for row in entries.ablation_rows(found) if (row["name"], row["value"]) in CONTROLS and row["diff"] != ""
    ]


def shown(row: dict) -> dict:
    """Return a row of ``controls`` as the page shows it."""
    value = numbers.interval(row["diff"], row["ci_low"], row["ci_high"])
    return {"change": f"{row['name']}: {row['value']}", "accuracy": row["mean"], "difference": value, "seeds": row["n"]}


def controlled(rows: Sequence[dict]) -> str:
    """Return a sentence on which changes cost accuracy, by their intervals."""
    named = lambda mine: ", ".join(f"*{row['name']}: {row['value']}*" for row in mine)
    costly, free = ([row for row in rows if (row["ci_high"] < 0) is bad] for bad in (True, False))
    sentences = [
        f"The interval lies below zero with {named(costly)}." if costly else "",
        f"It does not lie below zero with {named(free)}." if free else "",
    ]
    return " ".join(filter(None, sentences)) or "Not measured yet."


def limits(found: Sequence[dict]) -> str:
    """Return what the records are of: data set, images, classifiers, seeds."""
    first = found[0]
    seeds = {record["param_seed"] for record in found}
    return (
        f"One data set ({first['dataset']}), one training subset a fraction, one generator of each, "
        f"one small classifier ({first['param_classifier']}), {len(seeds)} seeds, {len(found):,} records. Each "
        "interval is taken alone, at 95 %: of many, one in twenty leaves zero out where there is nothing to find."
    )
