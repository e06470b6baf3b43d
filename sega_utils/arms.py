"""What each arm trains on, and runs of (arm, seed) that can be resumed; what the arms are is in ``recipes``."""

from functools import lru_cache

import torch
from torch.nn import functional as F

from sega_utils import artifacts, classifiers, data, paths, records, runtime
from sega_utils.clip import embed, load_run_clip
from sega_utils.generator import generate, load_generator
from sega_utils.recipes import SPEED, settings_of, slug
from sega_utils.synthesis import quota, select
from sega_utils.training import train_classifier


@lru_cache(maxsize=1)
def load_inputs(run: str, dataset: str, device: str = "cpu") -> dict:
    """Return what the arms train on, with the digests of the files it came from; the networks are on ``device``.

    Raises:
        FileNotFoundError, ArtifactError: a file of an earlier stage is missing or damaged.
    """
    real, meta = data.load_real(run, dataset)
    names = ("prompts", "candidates", "synthetic")
    files = {name: artifacts.load_tensors(paths.require(run, dataset, name)) for name in names}
    generator = load_generator(paths.require(run, dataset, "generator"), device)
    return {
        "real": real,
        "candidates": files["candidates"][0],
        "n_syn": len(files["synthetic"][0]["labels"]),
        "class_embeddings": files["prompts"][0]["class_embeddings"],
        "clip": load_run_clip(run, dataset, device),
        "generator": generator,
        "fraction": meta["fraction"],
        "digests": {"real": meta["sha256"]} | {name: meta["sha256"] for name, (_, meta) in files.items()}
        | {"generator": generator.meta["sha256"]},
    }


def fit(inputs: dict, settings: dict, seed: int, device: str = "cpu") -> torch.nn.Module:
    """Train one classifier of an arm with complete settings on what ``load_inputs`` returned."""
    real, n_classes = inputs["real"], len(inputs["real"].class_names)
    images = labels = None
    if settings["synthetic"] == "plain":
        n = round(settings["amount"] * inputs["n_syn"])
        labels = torch.tensor([c for c, k in enumerate(quota(n, n_classes)) for _ in range(k)])
        images = generate(inputs["generator"], labels, seed=1)
    elif settings["synthetic"] == "filtered":
        pool, chosen = inputs["candidates"], chosen_of(inputs, settings)
        images, labels = data.from_uint8(pool["images"][chosen]), pool["class_ids"][chosen]
    targets_of = lambda x, y: F.one_hot(y, n_classes).float()
    if settings["labels"] == "clip":
        clip, temperature = inputs["clip"], inputs["clip"].temperature * settings["temperature"]
        classes = inputs["class_embeddings"].T.to(clip.device)
        targets_of = lambda x, y: (embed(clip, x) @ classes / temperature).softmax(1)
    names = ("classifier", "steps", "batch_size", "lr", "weight_decay", "pixel", "policy", "mixing", "ratio", *SPEED)
    return train_classifier(
        real,
        synthetic=None if images is None else (images, targets_of(images, labels)),
        real_targets=targets_of(real.images, real.labels) if images is None else None,
        seed=seed,
        device=device,
        **{name: (SPEED | settings)[name] for name in names},
    )


def chosen_of(inputs: dict, settings: dict) -> torch.Tensor:
    """Return which candidates an arm with complete settings trains on, int64 (amount * n_syn,); none for most arms.

    Raises:
        ValueError: the filters kept too few of a class; known here before anything is trained.
    """
    if settings["synthetic"] != "filtered":
        return torch.empty(0, dtype=torch.int64)
    pool, n = inputs["candidates"], round(settings["amount"] * inputs["n_syn"])
    return select(pool["kept"], pool["class_ids"], n=n, n_classes=len(inputs["real"].class_names))


def run_arm(run: str, dataset: str, arm: str, seed: int, tuned: dict, device: str = "cpu") -> dict:
    """Train one (arm, seed), measure it on the test set, and return its record; a finished run is not repeated.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    settings, inputs = settings_of(arm, tuned), load_inputs(run, dataset, device)
    name = f"{slug(arm)}-seed{seed}"
    weights = paths.artifact(run, dataset, "classifiers") / f"{name}.safetensors"
    record = records.path(run, dataset, "training", name)
    asked = settings | inputs["real"].unusual()
    key = artifacts.digest_json([asked, seed, inputs["digests"]])
    if weights.exists() and record.exists():
        meta, finished = artifacts.load_tensors(weights)[1], artifacts.load_json(record)
        if meta["key"] == key and finished["input_weights"] == meta["sha256"]:
            return finished
    with runtime.measure() as cost:
        model = fit(inputs, settings, seed, device)
    test = data.load(dataset, "test")
    hits = (classifiers.predict(model, test.images) == test.labels).double()
    metrics = {f"accuracy_class_{c}": float(hits[test.labels == c].mean()) for c in test.labels.unique()}
    metrics |= {
        "accuracy": float(hits.mean()), "fraction": inputs["fraction"], "n_test": len(test.labels),
        "n_real": len(inputs["real"].labels),
    }  # fmt: skip
    written = records.write(
        run, dataset, "training", name, parameters=asked | {"arm": arm, "seed": seed}, metrics=metrics,
        inputs=inputs["digests"] | {"weights": artifacts.digest(model.state_dict())}, cost=cost,
    )  # fmt: skip
    meta = {"key": key, "classifier": settings["classifier"]} | inputs["real"].shape()
    artifacts.save_tensors(weights, model.state_dict(), meta)
    return written
