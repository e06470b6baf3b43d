"""Choose each arm's settings on validation images: ``python -m sega_utils.tune`` writes ``notebooks/params/tuned.yaml``.

Every arm gets the same number of trials, drawn from its space by a seeded random search (Bergstra and Bengio 2012),
and each trial the same optimiser steps. Validation images are embedded training images outside the run's subset:
no classifier, CLIP, generator or threshold has seen them, and the test set is not loaded.
"""

import argparse
import random

import yaml

from sega_utils import arms, artifacts, classifiers, data, paths

COMMON = {"lr": (0.05, 0.1, 0.2), "weight_decay": (0.002, 0.005, 0.01)}
MIXED = {"mix": ("add", "replace"), "ratio": (0.3, 0.15), "amount": (4, 1), "mixing": ("none", "mixup")}
SPACES = {
    "No Aug": COMMON,
    "Std Aug": COMMON,
    "Std Aug + MixUp": COMMON,
    "Std Aug + CLIP labels": COMMON | {"temperature": (1.0, 3.0)},
    "GAN-only": COMMON | MIXED,
    "SEGA-Net": COMMON | MIXED | {"labels": ("class", "clip")},
}
COLUMNS = ("arm", "trial", "settings", "accuracy", "n_validation", "seeds")


def draw(arm: str, n: int, *, seed: int) -> list[dict]:
    """Return ``n`` different settings from an arm's space, or all of them if it holds fewer.

    The first is the middle of the common space, so that every arm's search includes it.
    """
    rng, space = random.Random(seed), SPACES[arm]
    trials = [{"lr": 0.1, "weight_decay": 0.005} | {k: v[0] for k, v in space.items() if k not in COMMON}]
    for _ in range(1000 * n):
        trial = {name: rng.choice(values) for name, values in space.items()}
        if len(trials) < n and trial not in trials:
            trials.append(trial)
    return trials


def validate(run: str, dataset: str, arm: str, trial: dict, per_class: int, seeds: tuple[int, ...]) -> float:
    """Return the mean validation accuracy, 0 .. 1, of an arm with a trial's settings over the seeds."""
    inputs, seed = arms.load_inputs(run, dataset), artifacts.load_tensors(paths.require(run, dataset, "real"))[1]["seed"]
    count = data.per_class(dataset, inputs["fraction"])
    _, rest = data.subset(data.load(dataset, "train"), count, seed)
    validation, _ = data.subset(rest, per_class, seed)
    models = [arms.fit(inputs, arms.settings_of(arm, trial), s) for s in seeds]
    return sum(classifiers.accuracy(m, validation.images, validation.labels) for m in models) / len(models)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", default="embedded")
    parser.add_argument("--dataset", default="fashion-mnist", choices=data.DATASETS)
    parser.add_argument("--arms", nargs="+", default=list(arms.ARMS), choices=arms.ARMS, help="tune only these")
    parser.add_argument("--trials", type=int, default=5, help="trials for each arm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100], help="seeds of a trial; never those of 05")
    parser.add_argument("--per-class", type=int, default=200, help="validation images a class")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    log, chosen = paths.PARAMS / "tuning.csv", paths.PARAMS / "tuned.yaml"
    for arm in args.arms:  # saved arm by arm, so that what is lost to an interruption is one arm's search
        trials = draw(arm, args.trials, seed=0)
        jobs = [(args.run, args.dataset, arm, trial, args.per_class, tuple(args.seeds)) for trial in trials]
        scores = arms.map_workers(validate, jobs, workers=args.workers, label=arm)
        rows = [row for row in artifacts.load_csv(log) if row["arm"] != arm] if log.exists() else []
        rows += [
            {"arm": arm, "trial": i, "settings": yaml.safe_dump(trial, default_flow_style=True, width=1000).strip(),
             "accuracy": 100 * score, "n_validation": 10 * args.per_class, "seeds": len(args.seeds)}
            for i, (trial, score) in enumerate(zip(trials, scores, strict=True))
        ]  # fmt: skip
        artifacts.save_csv(log, rows, COLUMNS)
        artifacts.save_text(chosen, yaml.safe_dump(best(rows), sort_keys=False))
        print(f"{arm}: {best(rows)[arm]}")
    print(f"wrote {paths.shown(log)} and {paths.shown(chosen)}")


def best(rows: list[dict]) -> dict[str, dict]:
    """Return each arm's settings with the highest validation accuracy, the first of equals; in the order of ``ARMS``."""
    winners = {}
    for arm in arms.ARMS:
        if mine := [row for row in rows if row["arm"] == arm]:
            winners[arm] = yaml.safe_load(max(mine, key=lambda row: float(row["accuracy"]))["settings"])
    return winners


if __name__ == "__main__":
    main()
