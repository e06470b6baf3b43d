"""Choose each arm's settings on validation images: ``python -m sega_utils.tune`` writes ``params/tuned.yaml``.

Every arm gets the same number of trials, drawn from its space by a seeded random search (Bergstra and Bengio 2012),
and each trial the same budget. The best few of an arm are trained again with further seeds, and the best mean wins: one
seed's luck would choose otherwise. Arms with synthetic images take over the winner among those on real images and
search only what they do with the synthetic ones, so that beside that arm nothing else differs. Validation images are
embedded training images outside the run's subset: no classifier, CLIP, generator or threshold has seen them, and the
test set is not loaded.
"""

import argparse
import random
import sys
from collections.abc import Callable, Iterable
from statistics import mean

import yaml

from sega_utils import arms, artifacts, classifiers, data, paths, recipes, runtime

COMMON = {"lr": (0.1, 0.05, 0.2), "weight_decay": (0.002, 0.003, 0.001)}
ADDED = {"ratio": (0.3, 0.2, 0.1), "amount": (8, 4, 1)}
SPACES = {
    "No Aug": COMMON,
    "Std Aug": COMMON,
    "Std Aug + MixUp": COMMON,
    "Std Aug + CutMix": COMMON,
    "Std Aug + TrivialAugment": COMMON,
    "GAN-only": ADDED,
    "GAN-only + CLIP labels": ADDED | {"temperature": (1.0, 2.0)},
    "SEGA-Net": ADDED | {"temperature": (1.0, 2.0), "labels": ("clip", "class")},
}
COLUMNS = ("arm", "trial", "settings", "accuracy", "n_validation", "seeds")


def draw(arm: str, n: int, *, seed: int) -> list[dict]:
    """Return ``n`` different settings from an arm's space, or all of them if it holds fewer.

    The first takes the first value of everything, so that the searches of like arms have a trial in common.
    """
    rng, space = random.Random(seed), SPACES[arm]
    trials = [{name: values[0] for name, values in space.items()}]
    for _ in range(1000 * n):
        trial = {name: rng.choice(values) for name, values in space.items()}
        if len(trials) < n and trial not in trials:
            trials.append(trial)
    return trials


def base_of(arm: str, rows: list[dict]) -> dict:
    """Return the settings that an arm with synthetic images takes over from the best on real ones; else none.

    Raises:
        ValueError: an arm on real images was not tuned yet.
    """
    if "synthetic" not in recipes.ARMS[arm]:
        return {}
    real = [name for name, settings in recipes.ARMS.items() if "synthetic" not in settings]
    if missing := [name for name in real if not any(row["arm"] == name for row in rows)]:
        raise ValueError(f"{arm} takes over what is best on real images, but these arms were not tuned: "
                         f"{', '.join(missing)}; tune them first with --arms")  # fmt: skip
    found = winner(row for row in rows if row["arm"] in real)
    return recipes.ARMS[found["arm"]] | yaml.safe_load(found["settings"])


def validate(run: str, dataset: str, arm: str, trial: dict, per_class: int, seed: int) -> float:
    """Return the validation accuracy, in percent, of an arm with a trial's settings."""
    inputs = arms.load_inputs(run, dataset)
    drawn = artifacts.load_tensors(paths.require(run, dataset, "real"))[1]["seed"]
    train = data.load(dataset, "train")
    _, rest = data.subset(train, data.counts(dataset, inputs["fraction"], train.labels), drawn)
    validation, _ = data.subset(rest, per_class, drawn)
    model = arms.fit(inputs, recipes.settings_of(arm, trial), seed)
    return 100 * classifiers.accuracy(model, validation.images, validation.labels)


def search(score: Callable[[list[tuple[dict, int]]], list[float]], trials: list[dict], *, seeds: list[int],
           finalists: int) -> list[list[float]]:  # fmt: skip
    """Score every trial with the first seed and the best few with all seeds; return each trial's scores.

    Args:
        score: takes (trial, seed) pairs and returns a number for each; higher is better.
    """
    scores = [[value] for value in score([(trial, seeds[0]) for trial in trials])]
    best_first = sorted(range(len(trials)), key=lambda i: -scores[i][0])[:finalists]
    again = [(i, seed) for i in best_first for seed in seeds[1:]]
    for (i, _), value in zip(again, score([(trials[i], seed) for i, seed in again]), strict=True):
        scores[i].append(value)
    return scores


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Search each arm's settings, and write the trials and the winners."""
    parser = argparse.ArgumentParser("python -m sega_utils.tune", description=main.__doc__)
    parser.add_argument("--run", default="embedded")
    parser.add_argument("--dataset", default="fashion-mnist", choices=data.DATASETS)
    parser.add_argument("--arms", nargs="+", default=list(recipes.ARMS), choices=recipes.ARMS, help="tune only these")
    parser.add_argument("--trials", type=int, default=6, help="trials for each arm")
    parser.add_argument("--finalists", type=int, default=2, help="trials that are repeated with the other seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101], help="never those of 05")
    parser.add_argument("--per-class", type=int, default=500, help="validation images a class")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(arguments)
    n_classes = len(arms.load_inputs(args.run, args.dataset)["real"].class_names)
    log, chosen = paths.PARAMS / "tuning.csv", paths.PARAMS / "tuned.yaml"
    for arm in args.arms:  # saved arm by arm, so that what is lost to an interruption is one arm's search
        score = lambda pairs, arm=arm: runtime.map_workers(
            validate, [(args.run, args.dataset, arm, trial, args.per_class, seed) for trial, seed in pairs],
            workers=args.workers, label=arm,
        )  # fmt: skip
        rows = [row for row in artifacts.load_csv(log) if row["arm"] != arm] if log.exists() else []
        trials = [base_of(arm, rows) | trial for trial in draw(arm, args.trials, seed=0)]
        scores = search(score, trials, seeds=args.seeds, finalists=args.finalists)
        rows += [
            {"arm": arm, "trial": i, "settings": yaml.safe_dump(trial, default_flow_style=True, width=1000).strip(),
             "accuracy": mean(values), "n_validation": n_classes * args.per_class, "seeds": len(values)}
            for i, (trial, values) in enumerate(zip(trials, scores, strict=True))
        ]  # fmt: skip
        artifacts.save_csv(log, rows, COLUMNS)
        artifacts.save_text(chosen, yaml.safe_dump(best(rows), sort_keys=False))
        print(f"{arm}: {best(rows)[arm]}", flush=True)
    print(f"wrote {paths.shown(log)} and {paths.shown(chosen)}")


def best(rows: list[dict]) -> dict[str, dict]:
    """Return the settings of each arm's winner, in the order of ``ARMS``."""
    tried = [arm for arm in recipes.ARMS if any(row["arm"] == arm for row in rows)]
    return {arm: yaml.safe_load(winner(row for row in rows if row["arm"] == arm)["settings"]) for arm in tried}


def winner(rows: Iterable[dict]) -> dict:
    """Return the trial with the highest mean accuracy among those with most seeds, the first of equals."""
    return max(rows, key=lambda row: (int(row["seeds"]), float(row["accuracy"])))


if __name__ == "__main__":
    sys.exit(main())
