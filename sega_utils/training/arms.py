"""Arms: what each one trains on, runs of (arm, seed) that can be resumed, and the search for its settings.

The search gives every arm the same number of trials, drawn from its space by a seeded random search (Bergstra and
Bengio 2012), and each trial the same budget. The best few of an arm are trained again with further seeds, and the best
mean wins: one seed's luck would choose otherwise. Arms with synthetic images take over the winner among those on real
images and search only what they do with the synthetic ones, so that beside that arm nothing else differs. Validation
images are embedded training images outside the run's subset: no classifier, CLIP, generator or threshold has seen them,
and the test set is not loaded.
"""

import random
from collections.abc import Callable, Iterable
from statistics import mean

import torch
import yaml
from torch.nn import functional as F

from sega_utils.augmenters import pools
from sega_utils.augmenters.base import generate, quota, select
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import from_uint8
from sega_utils.text.clip import embed
from sega_utils.training import classifiers, recipes
from sega_utils.training.classifiers import train_classifier
from sega_utils.training.recipes import SPEED, UNSAID, settings_of, slug
from sega_utils.training.supervision import train_supervised


def fit(inputs: dict, settings: dict, seed: int, device: str = "cpu") -> torch.nn.Module:
    """Train one classifier of an arm with complete settings on what ``load_inputs`` returned."""
    real, n_classes = inputs["real"], len(inputs["real"].class_names)
    images = labels = None
    if settings["synthetic"] == "plain":
        n = round(settings["amount"] * inputs["n_syn"])
        labels = torch.tensor([c for c, k in enumerate(quota(n, n_classes)) for _ in range(k)])
        images = generate(inputs["generator"], labels, seed=1)
    elif settings["synthetic"] == "filtered":
        pool, chosen = inputs["synthetic"], chosen_of(inputs, settings)
        images, labels = from_uint8(pool["images"][chosen]), pool["class_ids"][chosen]
    targets_of = lambda x, y: F.one_hot(y, n_classes).float()
    if settings["labels"] == "clip":
        clip, temperature = inputs["clip"], inputs["clip"].temperature * settings["temperature"]
        classes = inputs["class_embeddings"].T.to(clip.device)
        targets_of = lambda x, y: (embed(clip, x) @ classes / temperature).softmax(1)
    settings, budget = UNSAID | settings, ("classifier", "steps", "batch_size", "lr", "weight_decay")
    if settings["supervision"]:
        check_supervised(settings)
        budgeted = {name: settings[name] for name in ("supervision", *budget)}
        return train_supervised(real, seed=seed, device=device, **budgeted)
    names = (*budget, "pixel", "policy", "mixing", "ratio")
    return train_classifier(
        real,
        # the loss is linear in the targets, so that their sum is an image's weight
        synthetic=None if images is None else (images, settings["weight"] * targets_of(images, labels)),
        real_targets=targets_of(real.images, real.labels) if images is None else None,
        seed=seed,
        device=device,
        **{name: settings[name] for name in (*names, "batches", *SPEED)},
    )


def check_supervised(settings: dict) -> None:
    """Refuse settings of a supervised classifier, which sees two views of each real image and nothing else.

    Raises:
        ValueError: settings that such a training cannot have.
    """
    needed = {"synthetic": "none", "labels": "class", "mixing": "none", "policy": "none", "pixel": True} | SPEED
    if other := {name: settings[name] for name, value in needed.items() if settings[name] != value}:
        raise ValueError(f"supervision {settings['supervision']!r} is received with {other}; it goes with {needed}")


def chosen_of(inputs: dict, settings: dict) -> torch.Tensor:
    """Return which synthetic images an arm with complete settings trains on, int64 (amount * n_syn,); for most, none.

    Raises:
        ValueError: 04_synthesis chose fewer; known here before anything is trained.
    """
    if settings["synthetic"] != "filtered":
        return torch.empty(0, dtype=torch.int64)
    pool, n = inputs["synthetic"], round(settings["amount"] * inputs["n_syn"])
    kept = pool.get("kept", torch.ones(len(pool["class_ids"]), dtype=torch.bool))
    if n > int(kept.sum()):
        raise ValueError(
            f"the arm takes {settings['amount']:g} times {inputs['n_syn']} synthetic images, but there are "
            f"{int(kept.sum())}; raise AMOUNT of 04_synthesis, or lower the arm's amount"
        )
    return select(kept, pool["class_ids"], n=n, n_classes=len(inputs["real"].class_names))


def run_arm(run: str, dataset: str, arm: str, seed: int, tuned: dict, device: str = "cpu") -> dict:
    """Train one (arm, seed), measure it on the test set, and return its record; a finished run is not repeated.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    settings, inputs = settings_of(arm, tuned), pools.load_inputs(run, dataset, device=device)
    name = f"{slug(arm)}-seed{seed}"
    file = paths.artifact(run, dataset, "classifiers") / f"{name}.safetensors"
    asked = settings | inputs["real"].unusual()
    key = artifacts.digest_json([asked, seed, inputs["digests"]])

    def measure() -> dict:
        model = fit(inputs, settings, seed, device)
        test = catalogue.load(dataset, "test")
        hits = (classifiers.predict(model, test.images) == test.labels).double()
        meta = {"key": key, "classifier": settings["classifier"]} | inputs["real"].shape()
        return {
            "accuracy": float(hits.mean()),
            "accuracy_by_class": [float(hits[test.labels == c].mean()) for c in range(len(test.class_names))],
            "fraction": inputs["fraction"],
            "n_test": len(test.labels),
            "n_real": len(inputs["real"].labels),
            "weights": artifacts.save_tensors(file, model.state_dict(), meta),
        }

    def is_whole(record: dict) -> bool:
        meta = artifacts.load_tensors(file)[1] if file.exists() else {}
        return (meta.get("key"), meta.get("sha256")) == (key, record["input_weights"])

    parameters = asked | {"arm": arm, "seed": seed}
    return records.once(
        run,
        dataset,
        "training",
        name,
        parameters=parameters,
        inputs=inputs["digests"],
        measure=measure,
        made=("weights",),
        is_whole=is_whole,
    )


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
TRIALS = ("arm", "trial", "settings", "accuracy", "n_validation", "seeds")


def draw_trials(arm: str, n: int, *, seed: int) -> list[dict]:
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
        raise ValueError(
            f"{arm} takes over what is best on real images, but these arms were not tuned: "
            f"{', '.join(missing)}; tune them first with --arms"
        )
    found = winner(row for row in rows if row["arm"] in real)
    return recipes.ARMS[found["arm"]] | yaml.safe_load(found["settings"])


def validation_accuracy(run: str, dataset: str, arm: str, trial: dict, per_class: int, seed: int) -> float:
    """Return the validation accuracy, in percent, of an arm with a trial's settings."""
    inputs = pools.load_inputs(run, dataset)
    drawn = artifacts.load_tensors(paths.require(run, dataset, "real"))[1]["seed"]
    train = catalogue.load(dataset, "train")
    _, rest = catalogue.subset(train, catalogue.counts(dataset, inputs["fraction"], train.labels), drawn)
    validation, _ = catalogue.subset(rest, per_class, drawn)
    model = fit(inputs, recipes.settings_of(arm, trial), seed)
    return 100 * classifiers.accuracy(model, validation.images, validation.labels)


def search(
    score: Callable[[list[tuple[dict, int]]], list[float]], trials: list[dict], *, seeds: list[int], finalists: int
) -> list[list[float]]:
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


def best_settings(rows: list[dict]) -> dict[str, dict]:
    """Return the settings of each arm's winner, in the order of ``ARMS``."""
    tried = [arm for arm in recipes.ARMS if any(row["arm"] == arm for row in rows)]
    return {arm: yaml.safe_load(winner(row for row in rows if row["arm"] == arm)["settings"]) for arm in tried}


def winner(rows: Iterable[dict]) -> dict:
    """Return the trial with the highest mean accuracy among those with most seeds, the first of equals."""
    return max(rows, key=lambda row: (int(row["seeds"]), float(row["accuracy"])))


def tune(
    run: str, dataset: str, arm: str, *, trials: int, finalists: int, seeds: list[int], per_class: int, workers: int
) -> dict:
    """Search an arm's settings on validation images, log the trials, write the winners so far, and return its own.

    Args:
        trials: how many; ``finalists``: those that are repeated with the further seeds.
        per_class: validation images a class.
    """
    log, chosen = paths.PARAMS / "tuning.csv", paths.PARAMS / "tuned.yaml"
    n_classes = len(pools.load_inputs(run, dataset)["real"].class_names)
    rows = [row for row in artifacts.load_csv(log) if row["arm"] != arm] if log.exists() else []
    tried = [base_of(arm, rows) | trial for trial in draw_trials(arm, trials, seed=0)]
    score = lambda pairs: runtime.map_workers(
        validation_accuracy,
        [(run, dataset, arm, trial, per_class, seed) for trial, seed in pairs],
        workers=workers,
        label=arm,
    )
    scores = search(score, tried, seeds=seeds, finalists=finalists)
    rows += [
        {
            "arm": arm,
            "trial": i,
            "settings": yaml.safe_dump(trial, default_flow_style=True, width=1000).strip(),
            "accuracy": mean(values),
            "n_validation": n_classes * per_class,
            "seeds": len(values),
        }
        for i, (trial, values) in enumerate(zip(tried, scores, strict=True))
    ]
    artifacts.save_csv(log, rows, TRIALS)
    artifacts.save_text(chosen, yaml.safe_dump(best_settings(rows), sort_keys=False))
    return best_settings(rows)[arm]
