"""What an image of each way to draw costs, and what it is worth: one record a measurement."""

from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from torch.nn import functional as F

from sega_utils.augmenters import base, pools
from sega_utils.augmenters.pools import VARIANTS, produce
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, from_uint8, to_uint8
from sega_utils.text import clip
from sega_utils.training import classifiers, recipes
from sega_utils.training.classifiers import train_classifier

REAL_IMAGES = "real images"  # what a score is to be compared with


def measure_variant(
    run: str,
    dataset: str,
    variant: str,
    *,
    n: int,
    oversample: int = 4,
    seed: int = 0,
    sampling_steps: int = 25,
    inception: str = "",
    pipeline: str = "",
    device: torch.device | str = "cpu",
) -> dict:
    """Measure what an image of a variant costs and how ``n`` of them look; keep these and return the record.

    A record of the same files and parameters is returned as it stands. Peak memory is the process's, see
    ``measure_alone``.

    Args:
        oversample: how many images are drawn for each of ``n`` where some are filtered out.
        inception: file of Inception weights for FID and KID; neither is measured if empty.
        pipeline: folder or tag of Stable Diffusion, for the variant of that name.

    Raises:
        ValueError: the filters keep too few of a class.
        FileNotFoundError, ArtifactError: as ``load_inputs``.
    """
    _, networks, filtered = VARIANTS[variant]
    inputs = pools.load_inputs(run, dataset, networks, device, pipeline)
    inputs = inputs | {"recipe": pools.recipe_of(run, dataset)}
    parameters = {"variant": variant, "n": n, "oversample": oversample if filtered else 1, "seed": seed}
    parameters |= {"sampling_steps": sampling_steps, "inception": Path(inception).name}
    if variant == "Stable Diffusion":
        parameters["pipeline"] = Path(pipeline).name if Path(pipeline).exists() else pipeline
    file, read = images_of(run, dataset, variant), inputs["digests"]
    if inception:
        read = read | {"inception": artifacts.sha256(artifacts.present(Path(inception)))}

    def measure() -> dict:
        images, labels, values = drawn(inputs, parameters)
        values["params_millions"] = sum(count(inputs[name]) for name in networks) / 1e6
        artifacts.save_tensors(file, {"images": images, "labels": labels}, {"variant": variant})
        return values | quality(images, labels, catalogue.load(dataset, "test"), inputs, inception=inception)

    known = {"parameters": parameters, "inputs": read, "is_whole": lambda record: file.exists()}
    return records.once(run, dataset, "efficiency", f"variant-{recipes.slug(variant)}", measure=measure, **known)


def drawn(inputs: dict, asked: dict) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
    """Return ``n`` kept images of a variant, uint8 (n, C, S, S), their labels int64 (n,), and what they cost.

    Args:
        inputs: as for ``pools.produce``; asked: ``variant``, ``n``, ``oversample``, ``seed`` and ``sampling_steps``.
    """
    options = {name: asked[name] for name in ("seed", "sampling_steps")}
    pool = produce(inputs, asked["variant"], asked["n"] * asked["oversample"], **options)
    kept, labels = pool["kept"].cpu(), pool["class_ids"]
    chosen = base.select(kept, labels, n=asked["n"], n_classes=len(inputs["real"].class_names))
    return (
        pool["images"].cpu()[chosen],
        labels[chosen],
        pool["cost"]
        | {
            "seconds_per_image": pool["drawing"] / len(kept),
            "drawn": len(kept),
            "kept": int(kept.sum()),
            "seconds_per_kept_image": pool["cost"]["seconds"] / int(kept.sum()),
        },
    )


def measure_alone(run: str, dataset: str, variant: str, options: dict) -> dict:
    """Return the record of ``measure_variant`` with keyword arguments, from a process of its own on one core."""
    alone = partial(measure_variant, **options)
    return runtime.map_workers(alone, [(run, dataset, variant)], workers=1, label=variant)[0]


def count(network: object) -> int:
    """Return the number of parameters of a network, of the one inside a ``clip.Clip``, or of all in a pipeline."""
    parts = network.components.values() if hasattr(network, "components") else [getattr(network, "model", network)]
    return sum(p.numel() for part in parts if isinstance(part, torch.nn.Module) for p in part.parameters())


def quality(images: torch.Tensor, labels: torch.Tensor, test: Dataset, inputs: dict, *, inception: str = "") -> dict:
    """Return Frechet distance, precision and recall in CLIP's features, and how often CLIP sees the class asked for.

    Args:
        images, labels: uint8 (N, C, S, S), int64 (N,); as many test images, balanced, are their peers for precision
            and recall, fewer if some class has fewer; all of them for the Frechet distance.
    """
    n_classes, everything = len(test.class_names), torch.ones(len(test.labels), dtype=torch.bool)
    ours, theirs = (clip.embed(inputs["clip"], x).cpu() for x in (from_uint8(images), test.images))
    n = min(len(labels), n_classes * int(test.labels.bincount(minlength=n_classes).min()))
    peers = base.select(everything, test.labels, n=n, n_classes=n_classes)
    seen = (ours @ inputs["class_embeddings"].T).argmax(1)
    values = {"agreement": (seen == labels).double().mean().item(), "frechet": base.frechet_distance(ours, theirs)}
    values |= base.precision_recall(theirs[peers], ours)
    if inception:
        coloured = [x.expand(-1, 3, -1, -1) for x in (to_uint8(test.images), images)]
        values |= base.inception_distances(*coloured, weights=Path(inception))
    return values


def images_of(run: str, dataset: str, variant: str) -> Path:
    """Return where the images that a variant's record is about are kept."""
    return paths.artifact(run, dataset, "variants") / f"{recipes.slug(variant)}.safetensors"


def kinds(variant: str) -> tuple[str, ...]:
    """Return the scores of a variant: real images are only scored alone."""
    return ("cas",) if variant == REAL_IMAGES else ("cas", "nas")


def score(run: str, dataset: str, variant: str, kind: str, seed: int, steps: int) -> dict:
    """Train one classifier with a variant's images, measure it on the test set, and return the record.

    A record of the same images and parameters is returned as it stands.

    Args:
        variant: a key of ``VARIANTS`` that ``measure_variant`` has measured, or ``REAL``.
        kind: ``cas``, on the variant's images alone, or ``nas``, on real images with a share of 0.3 of the variant's.

    Source: classification accuracy score and naive augmentation score, Ravuri and Vinyals 2019.
    """
    real, meta = catalogue.load_real(run, dataset)
    images, labels, drawn = real.images, real.labels, {"real": meta["sha256"]}
    if variant != REAL_IMAGES:
        tensors, meta = artifacts.load_tensors(images_of(run, dataset, variant))
        images, labels = from_uint8(tensors["images"]), tensors["labels"]
        drawn |= {f"images_{recipes.slug(variant)}": meta["sha256"]}
    parameters = {"variant": variant, "score": kind, "seed": seed, "steps": steps} | real.unusual()

    def measure() -> dict:
        targets = F.one_hot(labels, len(real.class_names)).float()
        if kind == "nas":
            model = train_classifier(real, synthetic=(images, targets), steps=steps, seed=seed)
        else:
            model = train_classifier(real._replace(images=images, labels=labels), steps=steps, seed=seed)
        test = catalogue.load(dataset, "test")
        return {"accuracy": classifiers.accuracy(model, test.images, test.labels)}

    name = f"{kind}-{recipes.slug(variant)}-seed{seed}"
    return records.once(run, dataset, "efficiency", name, parameters=parameters, inputs=drawn, measure=measure)


EFFICIENCY = (
    "variant",
    "seconds_per_image",
    "seconds_per_kept_image",
    "peak_memory_gb",
    "params_millions",
    "frechet",
    "features",
    "precision",
    "recall",
    "agreement",
    "nas",
    "cas",
    "fid",
    "kid",
)


def efficiency_rows(found: list[dict]) -> list[dict]:
    """Return a row (``EFFICIENCY``) for each variant on record, cheapest first; what was not measured is empty.

    Scores (``nas``, ``cas``) are in percent, the mean over the seeds; the Frechet distance is in CLIP's features.
    """
    rows = []
    for variant in dict.fromkeys(record["param_variant"] for record in found if "param_variant" in record):
        mine = [record for record in found if record.get("param_variant") == variant]
        row = next(({"features": "CLIP"} | record for record in mine if "frechet" in record), {})
        for kind in ("nas", "cas"):
            values = [100 * record["accuracy"] for record in mine if record.get("param_score") == kind]
            row |= {kind: mean(values)} if values else {}
        rows.append({"variant": variant} | {name: row.get(name, "") for name in EFFICIENCY[1:]})
    return sorted(rows, key=lambda row: row["seconds_per_image"] or np.inf)
