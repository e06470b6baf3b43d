"""What a run found, in three sentences that are computed from its records."""

from collections.abc import Callable
from statistics import mean

from sega_utils.core import paths
from sega_utils.core.numbers import interval
from sega_utils.report import claims, words
from sega_utils.report.claims import gained, paired
from sega_utils.training.recipes import ARMS, BASELINE, OURS

STAGES = {
    "shift": "other test images",
    "attacks": "attacks",
    "ablation": "ablations",
    "efficiency": "costs",
    "shards": "very many candidates",
}
RECOGNISED = 0.5  # share of real images' agreement below which drawn images do not show their class
VERDICTS = (claims.REPRODUCED, claims.NOT_REPRODUCED, claims.UNDECIDED, claims.INCOMPARABLE)
ENOUGH = 5  # seeds from which an interval begins to say something


def of_method(found: dict[str, list[dict]], ablation: list[dict]) -> list[str]:
    """Return whether there is a gain, what the filters do, and what was not measured.

    Args:
        found: the run's records by stage; ablation: the rows of that table.
    """
    return [gain(found["training"]), f"{kept(found)} {filters_worth(ablation)}".strip(), unmeasured(found)]


def of_folder(found: dict[str, list[dict]], ablation: list[dict]) -> list[str]:
    """Return, of a user's own images: whether to add synthetic ones, whether they are recognised, what is not known."""
    return [advice(found["training"]), recognised(found["generator"]), f"{kept(found)} {unmeasured(found)}".strip()]


def counted(verdicts: list[dict], whose: str = "the poster", kinds: tuple[str, ...] = VERDICTS) -> str:
    """Return how many claims have which verdict."""
    said = [f"{sum(row['verdict'] == kind for row in verdicts)} {kind}" for kind in kinds]
    return f"Of {len(verdicts)} claims of {whose}: {', '.join(said)}."


def best_real(
    found: list[dict], score: Callable[[dict], float] = claims.clean, of: Callable[[list[float]], float] = mean
) -> str | None:
    """Return the arm on real images alone of the highest mean score, or another ``of`` them; ``None`` without any."""
    scores: dict[str, list[float]] = {}
    for record in found:
        if "synthetic" not in ARMS[record["param_arm"]]:
            scores.setdefault(record["param_arm"], []).append(score(record))
    return max(scores, key=lambda arm: of(scores[arm]), default=None)


def size(trained: list[dict], lead: dict) -> str:
    """Return of what a lead was taken, in words."""
    return f"{lead['of']}, {trained[0]['n_test']:,} test images"


def told(lead: dict, over: str = "seeds") -> str:
    """Return what an interval says, in words."""
    none = f"no difference these {over} can tell"
    return "a gain" if lead["ci_low"] > 0 else "a loss" if lead["ci_high"] < 0 else none


def gain(trained: list[dict]) -> str:
    """Return SEGA-Net's lead over Std Aug and over the best arm on real images alone."""
    best, parts = best_real(trained), []
    for arm, name in ((BASELINE, BASELINE), (best, f"{best}, the best arm on real images alone")):
        lead = paired(trained, claims.clean, arm) if arm else None
        if lead and not (parts and arm == BASELINE):
            of = f" ({size(trained, lead)})" if not parts else ""
            parts.append(f"beside {name}, {OURS} has {gained(lead)} points{of}: {told(lead)}")
    text = "; ".join(parts) or f"{OURS} and an arm to compare it with were not both trained with two seeds"
    return f"{text[0].upper()}{text[1:]}."


def answer(trained: list[dict], shifted: list[dict], verdicts: list[dict]) -> str:
    """Return what README answers: the leads over arms on real images and over GAN-only, and the verdicts' counts.

    Args:
        trained, shifted: records of the stages training and shift; verdicts: rows of ``claims.claim_rows``.
    """
    lead, parts = paired(trained, claims.clean, "GAN-only"), [gain(trained)]
    if lead:
        parts.append(f"Beside GAN-only, it has {gained(lead)} points ({lead['of']}): {told(lead)}.")
    rival = best_real(shifted, claims.corrupted)
    if lead := rival and paired(shifted, claims.corrupted, rival):
        parts.append(
            f"On corrupted test images it has {gained(lead)} points beside {rival}, the best there on real images "
            f"alone: {told(lead)}. (These rivals are the best by test accuracy, which can only count against {OURS}.)"
        )
    return " ".join([*parts, counted(verdicts)])


def kept(found: dict[str, list[dict]]) -> str:
    """Return how many candidates the filters keep; empty if none were drawn."""
    if not found["synthesis"]:
        return ""
    record = found["synthesis"][0]
    most = max(record["rejected"], key=record["rejected"].get, default="")
    why = f", most of the others being rejected as {words.REASONS[most]}" if most else ""
    return f"The filters keep {record['kept']:,} of {record['candidates']:,} candidates{why}."


def filters_worth(ablation: list[dict]) -> str:
    """Return what SEGA-Net's accuracy becomes without the filters, and with images left out at random instead."""
    parts = []
    for name, value, what in (
        ("components", "GAN+LLM", "without them by"),
        ("filters", "random as all", "with as many left out at random by"),
    ):
        row = next(
            (row for row in ablation if (row["name"], row["value"]) == (name, value) and row["diff"] != ""), None
        )
        if row:
            verdict = told(row)
            parts.append(
                f"{what} {interval(row['diff'], row['ci_low'], row['ci_high'])} points ({row['n']} seeds): {verdict}"
            )
    if not parts:
        return "What they are worth in accuracy was not measured."
    return f"Accuracy changes {'; '.join(parts)}."


def unmeasured(found: dict[str, list[dict]]) -> str:
    """Return what has no record, and what all intervals leave out."""
    arms = {record["param_arm"] for record in found["training"]}
    lacking = [name for stage, name in STAGES.items() if not found.get(stage)]
    lacking += [f"the arm {arm}" for arm in ARMS if arm not in arms]
    parts = [f"Not measured: {', '.join(lacking)}."] if lacking else []
    parts.append(
        "All classifiers of this run share one training subset, one CLIP, one generator and one projector: intervals "
        "over seeds are of the classifiers' alone; those over subsets, where there are any, cover all of these."
    )
    return " ".join(parts)


def advice(trained: list[dict]) -> str:
    """Return whether a run speaks for synthetic images, beside the best arm on real images alone."""
    best = best_real(trained)
    lead = paired(trained, claims.clean, best) if best else None
    if not lead:
        return "Should synthetic images be added? Not known: SEGA-Net and an arm on real images need two seeds each."
    word = "yes" if lead["ci_low"] > 0 else "no" if lead["ci_high"] < 0 else "undecided"
    n = len({record["param_seed"] for record in trained})
    few = f" {n} seeds decide little; take at least {ENOUGH}." if n < ENOUGH else ""
    return (
        f"Should synthetic images be added? {word.capitalize()}: beside {best}, the best arm on real images alone, "
        f"SEGA-Net has {gained(lead)} points ({size(trained, lead)}).{few}"
    )


def recognised(generator: list[dict]) -> str:
    """Return whether CLIP sees in the generator's images the classes that were asked for."""
    if not generator or "agreement_real" not in generator[0]:
        return "Whether the drawn images show their class was not measured."
    drawn, real = generator[0]["agreement"], generator[0]["agreement_real"]
    share = f"CLIP sees the class asked for in {drawn:.0%} of the generator's images, and in {real:.0%} of real ones"
    if drawn < RECOGNISED * real:
        return f"{share}: they are not recognised, and what follows says nothing of synthetic images that are."
    return f"{share}: they are recognised."


def where(run: str, dataset: str) -> str:
    """Return the command that makes a run, without a path of the machine."""
    if (run, dataset) == ("embedded", "fashion-mnist"):
        return "make run"
    if dataset.startswith(paths.OWN):
        return f"make run RUN={run} DATASET=folder:PATH PARAMS=FILE"
    return f"make run RUN={run} DATASET={dataset}"
