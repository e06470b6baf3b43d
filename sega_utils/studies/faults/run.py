"""A tiny run with a file of each stage, which faults are put into; its networks are untrained, its records are real."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils.augmenters import base, diffusion, gan, sega
from sega_utils.core import artifacts, paths, runtime, schema
from sega_utils.data.images import to_uint8
from sega_utils.text import clip
from sega_utils.training import classifiers

RUN, OTHER, DATASET = "tiny", "other", "fashion-mnist"
CLASSES = ("trouser", "bag", "ankle boot")
LOOKS = ("dark", "grey", "wide", "long")
ARM, SEED = "SEGA-Net", 0
SHAPE = {"n_classes": len(CLASSES), "channels": 1, "side": 32}


class Bench(NamedTuple):
    """What generators of faults are given.

    Attributes:
        folder: for what faults are put into beside the runs.
        rng: chooses bits, values and images.
        command, execute: the two command lines; no notebook is run.
        verbs: of the first, by name: the function and its arguments.
        figure: loads a figure for the report.
        tags: make HTML of a text for the report, by what the text is.
    """

    folder: Path
    rng: random.Random
    command: Callable[[list[str]], int]
    execute: Callable[[list[str]], int]
    verbs: dict[str, tuple]
    figure: Callable[[Path], bytes]
    tags: dict[str, Callable[[str], str]]


def noise(n: int, *, seed: int, channels: int = 1) -> torch.Tensor:
    """Return smooth noisy images, float32 (n, channels, 32, 32) in [0, 1]."""
    coarse = torch.rand(n, channels, 8, 8, generator=runtime.generator(seed))
    return torch.nn.functional.interpolate(coarse, 32, mode="bicubic").clamp(0, 1)


def place(name: str, run: str = RUN) -> Path:
    """Return where an artifact of the tiny run is."""
    return paths.artifact(run, DATASET, name)


def classifier_file(run: str = RUN) -> Path:
    """Return where the tiny run's only classifier is."""
    return place("classifiers", run) / f"sega-net-seed{SEED}.safetensors"


def write(run: str, seed: int) -> None:
    """Write all files of a run but its records; another seed makes a run of other images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        images, labels = to_uint8(noise(36, seed=seed)), torch.arange(36) % 3
        real = artifacts.save_tensors(
            place("real", run), {"images": images, "labels": labels}, {"class_names": list(CLASSES), "fraction": 0.01}
        )
        unit = torch.nn.functional.normalize(torch.randn(12, clip.EMBED_DIM), dim=1)
        bank = {"embeddings": unit, "class_ids": torch.arange(12) // 4, "cluster_ids": torch.arange(12) // 2}
        bank |= {"centroids": unit[::2].clone(), "class_embeddings": unit[::4].clone()}
        texts = [f"a {look} {name}" for name in CLASSES for look in LOOKS]
        artifacts.save_tensors(place("prompts", run), bank, {"prompts": texts})
        origin = {"data": real, "curve": []}
        generator = gan.Generator(n_classes=3, width=16, z_dim=8)
        base.save_generator(place("generator", run), generator, origin)
        sega.save_projector(place("projector", run), sega.build_projector(clip.EMBED_DIM, 8), {"sigma": 1.0})
        diffusion.save_diffusion(place("diffusion", run), diffusion.build_denoiser(n_classes=3, width=8), origin)
        network = classifiers.build("resnet8-half", **SHAPE)
        artifacts.save_tensors(classifier_file(run), network.state_dict(), {"classifier": "resnet8-half"} | SHAPE)
        drawn = to_uint8(noise(24, seed=seed + 10))
        classes = torch.arange(24) % 3
        pool = {"images": drawn, "class_ids": classes, "prompt_ids": classes * 4, "seeds": torch.arange(24) + seed}
        pool |= {"kept": torch.ones(24, dtype=torch.bool), "clip_score": torch.rand(24)}
        artifacts.save_tensors(place("candidates", run), pool, {"reasons": [""] * 24})
        chosen = {"images": drawn[:12], "class_ids": classes[:12], "index": torch.arange(12)}
        artifacts.save_tensors(place("synthetic", run), chosen, {"n_syn": 3})
        test = to_uint8(noise(36, seed=100))  # the same for all runs of a data set
        noisy = {"labels": labels, "clean": test, "fog_1": test // 2}
        about = {"source": "generated", "seed": 0, "names": sorted(noisy), "classes": len(CLASSES)}
        artifacts.save_tensors(place("corrupted", run), noisy, about)
        words = clip.vocabulary_of(CLASSES)
        weights = place("clip", run).with_name("clip.safetensors")
        sha256 = clip.save_clip(weights, clip.build_clip(words), words, {"data": real})
        artifacts.save_json(place("clip", run), {"name": str(weights), "sha256": sha256})


def write_all() -> None:
    """Write the tiny run, another one, and for records and tables a copy of the committed ones."""
    for run, seed in ((RUN, 0), (OTHER, 1)):
        write(run, seed)
    committed = paths.reference_root() / "embedded" / DATASET
    for name in ("records", "tables", "figures"):
        shutil.copytree(committed / name, place(name), ignore=shutil.ignore_patterns("ablation", "attacks"))
    digests = {name: artifacts.stated_digest(place(name)) for name in MADE} | {"clip": clip_of()["sha256"]}
    own = {"input_weights": artifacts.stated_digest(classifier_file())}
    for record in place("records").rglob("*.json"):
        found = artifacts.load_json(record) | {"run": RUN}
        if record.parent.name in {"prompts", "projector", "synthesis"}:
            found |= {f"input_{name}": digest for name, digest in digests.items() if f"input_{name}" in found}
        found |= own if record.parent.name == "training" and record.stem == classifier_file().stem else {}
        artifacts.save_json(record, schema.sealed(found))


MADE = ("real", "prompts", "generator", "projector", "candidates", "synthetic")  # what the records of stages name


def clip_of() -> dict[str, str]:
    """Return what the run says of its CLIP: ``name`` and ``sha256``."""
    return artifacts.load_json(place("clip"))
