"""Every table of a run, computed from its records."""

from collections.abc import Iterable
from pathlib import Path
from statistics import mean

from sega_utils import filters
from sega_utils.core import artifacts, paths, records
from sega_utils.core.numbers import aligned, interval, markdown, spread
from sega_utils.evaluation import classified, robustness, shift
from sega_utils.evaluation.classified import (
    ACCURACY,
    accuracy_rows,
    belonging,
    check_same,
    evaluated,
    is_input,
    of_arms,
)
from sega_utils.report import claims, poster, sentences, settled, subsets
from sega_utils.studies import benchmark, efficiency, entries
from sega_utils.studies.scale import plan as scale_plan
from sega_utils.studies.zoo import claims as zoo_claims, plan as zoo_plan
from sega_utils.training import recipes

README = paths.ROOT / "README.md"
MARKERS = {name: (f"<!-- {name}:begin -->", f"<!-- {name}:end -->") for name in ("answer", "results")}
PRIMARIES = (
    "All but the first were written down before they were measured, and what stands "
    "beside a method was chosen without test images. *Ruled out* is what lies above the 95 % interval:"
)
FAULTS = paths.ROOT / "docs" / "faults.md"


def alignment(run: str, dataset: str) -> list[dict]:
    """Return the cosine of images and their own class before and after the filters: median, interquartile range, n."""
    return [
        {"stage": stage} | record["alignment"][key]
        for record in belonging(run, dataset)["synthesis"]
        for stage, key in (("Pre-filter", "pre"), ("Post-filter", "post"))
    ]


def steering(run: str, dataset: str) -> list[dict]:
    """Return, for each attribute that was measured, Cohen's d from its low to its high word, with 95 % interval."""
    return [row for record in belonging(run, dataset)["projector"] for row in record["effects"]["prompts"]]


def rejections(run: str, dataset: str) -> list[dict]:
    """Return how many of all candidates each filter was the first to reject, in the order the filters are applied."""
    return [
        {"filter": name, "candidates": record["candidates"], "rejected": record["rejected"][name]}
        for record in belonging(run, dataset)["synthesis"]
        for name in (*filters.FILTERS, "test_duplicate")
        if name in record["rejected"]
    ]


def drawn_and_kept(effects: dict[str, list[dict]]) -> list[dict[str, str]]:
    """Return each attribute's effect of all drawn images beside that of the kept ones, with intervals, for people.

    Args:
        effects: of all and of the kept images, each rows of ``attributes.effects``, by a name.
    """
    texts = {
        way: {row["attribute"]: f"{interval(*(row[k] for k in EFFECT))} (n = {row['n']:,})" for row in rows}
        for way, rows in effects.items()
    }
    return [
        {"attribute": name} | {way: mine.get(name, "") for way, mine in texts.items()}
        for name in next(iter(texts.values()))
    ]


EFFECT = ("effect", "ci_low", "ci_high")


def claimed(run: str, dataset: str) -> list[dict]:
    """Return the poster's claims with our verdicts, see ``claims.claim_rows``; none of a user's own images."""
    if dataset.startswith(paths.OWN):
        return []
    found = belonging(run, dataset) | {stage: evaluated(run, dataset, stage) for stage in ("shift", "attacks")}
    found["ablation"] = classified.current(run, dataset)
    return claims.claim_rows(found, efficiency.efficiency_rows(costed(run, dataset)))


def claimed_by_others(run: str, dataset: str) -> list[dict]:
    """Return the claims on other generators with our verdicts, see ``zoo_claims``; none of a user's own images."""
    if dataset.startswith(paths.OWN):
        return []
    found, judged = (records.read(run, dataset, stage) for stage in ("zoo", "augmenters"))
    return zoo_claims.claim_rows(found, judged, zoo_plan.read())


def verdicts_beside(run: str, dataset: str, reference: str) -> list[dict]:
    """Return each of the poster's claims with a run's verdict and the reference's.

    Returns:
        Rows with ``claim``, ``verdict``, ``reference`` and ``same``: yes, or NO where the two contradict each other;
        empty where one of them decides nothing and the other does, as with fewer seeds.
    """
    ours, theirs = ({row["claim"]: row["verdict"] for row in claimed(name, dataset)} for name in (run, reference))
    rows = []
    for claim, verdict in ours.items():
        other = theirs.get(claim, claims.INCOMPARABLE)
        opposed = {verdict, other} == {claims.REPRODUCED, claims.NOT_REPRODUCED}
        same = "yes" if verdict == other else "NO" if opposed else ""
        rows.append({"claim": claim, "verdict": verdict, "reference": other, "same": same})
    return rows


def ahead(run: str, dataset: str) -> list[dict[str, str]]:
    """Return SEGA-Net's lead over each other arm, on clean and on corrupted images, see ``claims.ahead``.

    Where other subsets were measured, a column has the lead over all of them, see ``subsets.subset_rows``.
    """
    rows = claims.ahead(belonging(run, dataset) | {"shift": evaluated(run, dataset, "shift")}, recipes.ARMS)
    over = {row["arm"]: row for row in subsets.subset_rows(run, dataset)}
    if over:
        (n,) = {row["subsets"] for row in over.values()}
        for row in rows:
            mine = over.get(row[claims.AHEAD], dict.fromkeys(subsets.COLUMNS, ""))
            row[f"clean images, {n} subsets"] = interval(*(mine[k] for k in ("difference", "ci_low", "ci_high")))
    return rows


def ablated(run: str, dataset: str) -> list[dict]:
    """Return a row for each ablation on record of today's SEGA-Net, see ``entries.ablation_rows``."""
    return entries.ablation_rows(classified.current(run, dataset))


def costed(run: str, dataset: str) -> list[dict]:
    """Return the records of what things cost, after checking that they read the same files as the other stages.

    Raises:
        ArtifactError: they read others.
    """
    found, others = records.read(run, dataset, "efficiency"), belonging(run, dataset)
    check_same([*found, *(record for stage in others.values() for record in stage)], is_input)
    return found


def settled_by(run: str, dataset: str) -> list[dict]:
    """Return the primary comparison of each study, see ``settled.settled_rows``; none of a user's own images."""
    return [] if dataset.startswith(paths.OWN) else settled.settled_rows(run, dataset)


def scale(run: str, dataset: str) -> list[dict]:
    """Return what a million and a hundred million candidates would take in shards, see ``scale.plan.scale_rows``."""
    return scale_plan.scale_rows(records.read(run, dataset, "shards"), [1_000_000, 100_000_000])


TABLES = {
    "accuracy": (accuracy_rows, ACCURACY),
    "subsets": (subsets.subset_rows, subsets.COLUMNS),
    "settled": (settled_by, settled.COLUMNS),
    "alignment": (alignment, ("stage", "median", "iqr", "n")),
    "steering": (steering, ("attribute", "effect", "ci_low", "ci_high", "n")),
    "filters": (rejections, ("filter", "candidates", "rejected")),
    "corruptions": (
        lambda *run: shift.corruption_rows(evaluated(*run, "shift")),
        ("arm", "corruption", "severity", "seed", "accuracy"),
    ),
    "shift": (lambda *run: shift.shift_rows(evaluated(*run, "shift")), ("arm", "shift", "mean", "std", "n")),
    "attacks": (lambda *run: robustness.attack_rows(evaluated(*run, "attacks")), robustness.COLUMNS),
    "ablation": (ablated, entries.ROWS),
    "efficiency": (lambda *run: efficiency.efficiency_rows(costed(*run)), efficiency.EFFICIENCY),
    "kernels": (lambda *run: benchmark.kernel_rows(costed(*run)), benchmark.KERNEL_ROWS),
    "scale": (scale, scale_plan.SCALE),
    "claims": (claimed, claims.COLUMNS),
}


def write_tables(run: str, dataset: str) -> dict[str, Path]:
    """Write ``tables/<name>.csv`` for every table of ``TABLES`` and return where they are.

    A record that is missing leaves its rows out.

    Raises:
        ArtifactError, ValueError: as ``accuracy``; then no table is written.
    """
    rows = {name: table(run, dataset) for name, (table, _) in TABLES.items()}
    files = {name: paths.artifact(run, dataset, "tables") / f"{name}.csv" for name in TABLES}
    for name, file in files.items():
        artifacts.save_csv(file, rows[name], TABLES[name][1])
    return files


def summary(
    run: str, dataset: str, names: Iterable[str] = recipes.ARMS, seeds: Iterable[int] | None = None
) -> tuple[list[dict], str]:
    """Return the named arms' accuracies for people, and a sentence on what it was measured on and what it cost.

    Args:
        seeds: only these; all on record if absent.

    Raises:
        FileNotFoundError: no classifier was trained yet.
        ArtifactError, ValueError: as ``accuracy``.
    """
    rows, trained = accuracy_rows(run, dataset, names, seeds), of_arms(run, dataset, names, seeds)
    if not rows:
        folder = paths.artifact(run, dataset, "records") / "training"
        raise FileNotFoundError(f"{paths.shown(folder)} holds no records; make them with: make run")
    images = f"{trained[0]['n_test']:,} test images"
    shown = [
        {
            "arm": row["arm"],
            f"accuracy (%), {images}": spread(row["mean"], row["std"]),
            "difference to Std Aug (95 % interval)": interval(
                *(row[k] for k in ("diff_to_std_aug", "ci_low", "ci_high"))
            ),
            "seeds": row["n"],
            "seconds each": f"{mean(r['seconds'] for r in trained if r['param_arm'] == row['arm']):.1f}",
        }
        for row in rows
    ]
    first, devices = trained[0], sorted({record["device"] for record in trained})
    return shown, (
        f"{dataset}, {first['n_real']:,} training images ({first['fraction']:.3g} of the published set), "
        f"{first['n_test']:,} test images; {first['param_classifier']}, {first['param_steps']:,} steps of "
        f"{first['param_batch_size']} images; mean ± standard deviation over the seeds; {len(trained)} classifiers in "
        f"{sum(r['seconds'] for r in trained):,.0f} seconds on {' and '.join(devices)}."
    )


def accuracy_text(run: str, dataset: str) -> str:
    """Return the accuracy table and SEGA-Net's leads in aligned columns, and where notebooks and report are."""
    rows, caption = summary(run, dataset)
    leads = ["", aligned(found)] if (found := ahead(run, dataset)) else []
    places = [
        f"{what}: {paths.shown(paths.artifact(run, dataset, name))}"
        for what, name in (("executed notebooks", "notebooks"), ("report", "report"))
    ]
    return "\n".join([aligned(rows), *leads, "", caption, "", *places])


def update_readme(run: str, dataset: str, readme: Path = README) -> Path:
    """Replace what stands between the markers of the README, by the answer and by the tables; return the file.

    Raises:
        ValueError: the README does not hold each marker once, in their order.
        FileNotFoundError, ArtifactError: as ``summary``.
    """
    rows, caption = summary(run, dataset)
    shown = [markdown(found) for found in (rows, ahead(run, dataset)) if found]
    trained, shifted = belonging(run, dataset)["training"], evaluated(run, dataset, "shift")
    answered = sentences.answer(trained, shifted, claimed(run, dataset))
    rows = settled_by(run, dataset)
    said = [f"**{settled.plainly(rows)}** {settled.counted(rows)} {PRIMARIES}", markdown(rows)]
    return fill(readme, {"answer": "\n\n".join(said), "results": "\n\n".join([answered, *shown, caption])})


def update_faults(page: Path = FAULTS) -> Path:
    """Replace what stands between the two markers of the page on faults by the committed table; return the file.

    Raises:
        ValueError: as ``update_readme``.
        FileNotFoundError, ArtifactError: there is no such table, or it is damaged.
    """
    rows = artifacts.load_csv(paths.reference_root() / "faults.csv")
    *kinds, whole = rows
    said = ", ".join(f"{int(whole[name]):,} {name}" for name in list(whole)[2:])
    text = f"{int(whole['faults']):,} faults of {len(kinds)} kinds: {said}.\n\n{markdown(rows)}"
    return fill(page, {"results": text})


def fill(file: Path, insides: dict[str, str]) -> Path:
    """Replace what stands between the markers of a Markdown file, by their names; return the file.

    Raises:
        ValueError: it does not hold each marker once, in their order.
    """
    text = file.read_text(encoding="utf-8")
    for name, inside in insides.items():
        begin, end = MARKERS[name]
        if (text.count(begin), text.count(end)) != (1, 1) or text.index(begin) > text.index(end):
            raise ValueError(f"{paths.shown(file)} must hold {begin} and, below it, {end}, once each; put them back")
        text = f"{text[: text.index(begin)]}{begin}\n{inside}\n{text[text.index(end) :]}"
    artifacts.save_text(file, text)
    return file


def beside_poster(run: str, dataset: str) -> list[dict[str, str]]:
    """Return the poster's numbers for a data set beside ours, see ``poster.beside``.

    Raises:
        ArtifactError, ValueError: as ``classified.accuracy_rows``.
    """
    rows = {name: TABLES[name][0](run, dataset) for name in ("accuracy", "alignment", "shift", "ablation")}
    return poster.beside(dataset, belonging(run, dataset), rows)
