"""What a scene's images are drawn with: its own CLIP, GAN, projector and autoencoder, which see its training images
alone, and the prompts, of which some ask for what these lack."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from sega_utils.augmenters import pools, sega
from sega_utils.augmenters.registry import AUGMENTERS, State
from sega_utils.core import artifacts, learning, paths
from sega_utils.data.images import Dataset
from sega_utils.studies.groups import scenes
from sega_utils.studies.groups.scenes import Scene
from sega_utils.text import attributes, authored, clip, clip_training, looks, prompts

GAN, AUTOENCODER = "hinge", "offsets"  # entries of the registry
# of the projector, as 03_projector has them
PROJECTOR = {"sigma": 1.0, "tau": 0.1, "lam": 0.01, "lr": 5e-4, "batch_size": 64}
CLUSTERS = 3  # of each class's prompts
CONTRAST = 0.15  # of CLIP's training, as 01_clip has it


def file_of(scene: Scene, part: str) -> Path:
    """Return where a part of a scene is kept."""
    return paths.artifact(scene.run, scene.dataset, "augmenters") / f"groups-{scene.name}-{part}.safetensors"


def once(scene: Scene, part: str, settings: dict, make: Callable[[], State]) -> State:
    """Return a part's tensors and what is told of them: those on disk of these settings and images, or made now."""
    train, file = scenes.real_of(scene).train, file_of(scene, part)
    key = artifacts.digest_json([settings, artifacts.digest({"images": train.images, "labels": train.labels})])
    if file.exists():
        tensors, meta = artifacts.load_tensors(file)
        if meta["key"] == key:
            return tensors, meta
    tensors, meta = make()
    artifacts.save_tensors(file, tensors, meta | {"key": key})
    return tensors, meta | {"key": key}


def bins_of(scene: Scene, train: Dataset) -> torch.Tensor:
    """Return each training image's third of every attribute within its class, int64 (N, 5), as CLIP is told of it.

    Who asks for what a class lacks knows that it lacks it: what is left of that class is its other two thirds.
    """
    values = attributes.measure(train.images)
    bins = attributes.terciles(values, train.labels)
    column = list(attributes.WORDS).index(scene.attribute) if scene.attribute else 0
    for c in scene.classes:
        mine = train.labels == c
        rank = values[mine, column].argsort(stable=True).argsort(stable=True)
        bins[mine, column] = rank * 2 // int(mine.sum()) + (scene.third == 0)
    return bins


def clip_of(scene: Scene, budget: dict) -> clip.Clip:
    """Return the CLIP of a scene, trained for ``budget["clip_steps"]`` steps."""
    train, steps = scenes.real_of(scene).train, budget["clip_steps"]

    def make() -> State:
        bins = bins_of(scene, train)
        model, vocabulary, _ = clip_training.train_clip(
            train, steps=steps, seed=scene.subset, contrast=CONTRAST, bins=bins
        )
        return model.state_dict(), {"vocabulary": vocabulary}

    once(scene, "clip", {"steps": steps, "contrast": CONTRAST}, make)
    return clip.load_own(file_of(scene, "clip"), "cpu")


def network_of(scene: Scene, name: str, seconds: float) -> State:
    """Return the state of an augmenter of the registry, trained for CPU seconds; a killed training goes on."""
    train, training = scenes.real_of(scene).train, file_of(scene, f"{name}-training")

    def make() -> State:
        state = AUGMENTERS[name].fit(
            train.images,
            train.labels,
            num_classes=len(train.class_names),
            seed=scene.subset,
            checkpoint=training,
            seconds=seconds,
        )
        training.unlink(missing_ok=True)  # three times as large as the state
        return state

    return once(scene, name, {"seconds": seconds}, make)


def bank(scene: Scene, train: Dataset) -> tuple[list[str], torch.Tensor]:
    """Return a scene's prompts, class by class, and their classes, int64 (P,): one and two looks of every class.

    Words are of what varies among the training images of any class, and of the attribute that the scene is about.
    """
    varies = {look.attribute for look in looks.varying(train) if not look.reason} | {scene.attribute}
    words = [(a, word) for a, thirds in attributes.WORDS.items() if a in varies for word in thirds if word]
    pairs = [(one, two) for a, one in words for b, two in words if a < b]
    chosen = [(), *((word,) for _, word in words), *pairs]
    answers = {name: authored.sentences(name, chosen, len(chosen)) for name in train.class_names}
    return prompts.flatten(answers)


def kinds_of(scene: Scene, texts: list[str], class_ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return which prompts are of which kind, bool (P,).

    asked: of a class that lacks a look, and naming it. there: of such a class, naming a look of that attribute that it
    has. all: any of them.
    """
    found = {"all": torch.ones(len(texts), dtype=torch.bool)}
    if scene.attribute:
        said = attributes.said(texts)[:, list(attributes.WORDS).index(scene.attribute)]
        concerned = torch.isin(class_ids, torch.tensor(scene.classes))
        found["asked"] = concerned & (said == scene.third)
        found["there"] = concerned & (said >= 0) & (said != scene.third)
    return found


def generator_of(scene: Scene, budget: dict) -> nn.Module:
    """Return the scene's frozen GAN, trained for ``budget["seconds"]`` of the CPU."""
    tensors, meta = network_of(scene, GAN, budget["seconds"])
    return learning.freeze(pools.network_of(meta["settings"]), tensors)


def projector_of(scene: Scene, budget: dict) -> tuple[nn.Module, torch.Tensor]:
    """Return the scene's frozen projector, trained on all prompts of its ``bank``, and their embeddings."""
    generator, model = generator_of(scene, budget), clip_of(scene, budget)
    texts, class_ids = bank(scene, scenes.real_of(scene).train)
    embeddings, steps = model.encode_text(texts), budget["projector_steps"]

    def make() -> State:
        within, centroids = sega.cluster(embeddings, class_ids, m=CLUSTERS, seed=scene.subset)
        where = {"embeddings": embeddings, "cluster_ids": class_ids * CLUSTERS + within, "centroids": centroids}
        network, curve = sega.train_projector(generator, model, **where, **PROJECTOR, steps=steps, seed=scene.subset)
        return network.state_dict(), {"curve": curve}

    made = {name: budget[name] for name in ("clip_steps", "seconds", "projector_steps")}
    tensors, _ = once(scene, "projector", made | PROJECTOR | {"texts": texts}, make)
    return learning.freeze(sega.build_projector(embeddings.shape[1], generator.z_dim), tensors), embeddings


def fit_all(scene: Scene, budget: dict) -> None:
    """Train what prompts of a scene need and is not there yet: its CLIP, GAN and projector.

    Args:
        budget: ``clip_steps``, ``seconds`` (of the CPU, for the GAN), ``projector_steps``; for the fill by offsets also
            ``autoencoder_seconds``.
    """
    projector_of(scene, budget)
