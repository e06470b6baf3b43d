"""What fills the gap of a scene: real images once more, or synthetic ones of the classes that lack images or a look."""

from collections.abc import Callable
from pathlib import Path

import torch

from sega_utils.augmenters import base, offsets, pools, registry, sega
from sega_utils.core import artifacts, records
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, from_uint8, take, to_uint8
from sega_utils.studies.groups import parts, scenes
from sega_utils.studies.groups.scenes import Scene
from sega_utils.text import attributes
from sega_utils.text.clip_training import BARE
from sega_utils.training import recipes

# how the prompted images are filtered, as in 04_synthesis
RECIPE = {"use": "alignment class blur real_duplicate duplicate", "alignment_percentile": 1, "blur_percentile": 1}
RECIPE |= {"max_distance": 6, "min_ssim": 0.9}
OVERSAMPLE = 4  # prompted images drawn for one that is taken


def wanted(scene: Scene, train: Dataset) -> torch.Tensor:
    """Return the labels of what fills a scene, int64 (N,): the missing third of a class, or up to the largest class."""
    n_classes = len(train.class_names)
    if scene.attribute:
        count = torch.zeros(n_classes, dtype=torch.int64)
        count[list(scene.classes)] = scene.images // 2
    else:
        count = scene.images - train.labels.bincount(minlength=n_classes)
    return torch.arange(n_classes).repeat_interleave(count)


def repeated(scene: Scene, budget: dict, labels: torch.Tensor) -> torch.Tensor:
    """Return real images once more: those nearest to the missing look, or each image of a rare class in turn."""
    train = scenes.real_of(scene).train
    if not scene.attribute:
        return train.images[base.rotation(train.labels, labels, scene.subset)]
    order = scenes.look_of(scene, train.images).argsort(stable=True, descending=scene.third > 0)
    return train.images[order[base.nth_of(train.labels[order], labels, base.places(labels))]]


def plain(scene: Scene, budget: dict, labels: torch.Tensor) -> torch.Tensor:
    """Return images of the GAN, latents from its prior."""
    return registry.sample_gan(parts.network_of(scene, parts.GAN, budget["seconds"]), labels, scene.subset)


def prompted(scene: Scene, budget: dict, labels: torch.Tensor, *, kind: str) -> torch.Tensor:
    """Return images drawn by prompts of a kind, see ``parts.kinds_of``; those that the filters keep come first.

    Of the kind ``random`` are prompts of all classes that lack nothing, whatever the label.
    """
    generator, (projector, embeddings) = parts.generator_of(scene, budget), parts.projector_of(scene, budget)
    texts, class_ids = parts.bank(scene, scenes.real_of(scene).train)
    many = labels.repeat_interleave(OVERSAMPLE)
    if kind == "random":
        others = (~torch.isin(class_ids, torch.tensor(scene.classes))).nonzero()[:, 0]
        said = others[base.rotation(torch.zeros_like(others), torch.zeros_like(many), scene.subset)]
    else:
        chosen = parts.kinds_of(scene, texts, class_ids)[kind].nonzero()[:, 0]
        said = chosen[base.rotation(class_ids[chosen], many, scene.subset)]
    plan = {"prompt_ids": said, "class_ids": many, "seeds": base.seeds_of(scene.subset, len(many))}
    images = sega.draw(generator, projector, embeddings=embeddings, sigma=parts.PROJECTOR["sigma"], **plan)
    order = (~kept_of(scene, budget, images, many)).int().argsort(stable=True)
    return images[order[base.nth_of(many[order], labels, base.places(labels))]]


def kept_of(scene: Scene, budget: dict, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return which drawn images the run's filters keep, bool (N,), by the scene's own CLIP and training images."""
    train, model = scenes.real_of(scene).train, parts.clip_of(scene, budget)
    classes = model.encode_text([BARE.format(name) for name in train.class_names])
    known = {"real": train, "clip": model, "class_embeddings": classes}
    return pools.judge({"images": to_uint8(images), "class_ids": labels}, known, RECIPE)[0]


def moved(scene: Scene, budget: dict, labels: torch.Tensor) -> torch.Tensor:
    """Return real images plus what tells two real images of another class apart, in an autoencoder's latents.

    Where a look is missing, of the two the one that is added shows it and the other one does not, and both are of a
    class that lacks nothing; else they are as ``offsets.sources`` draws them.

    Source: Schwartz et al. 2018, figure 2, without training the offsets; directed by what is missing.
    """
    state = parts.network_of(scene, parts.AUTOENCODER, budget["autoencoder_seconds"])
    if not scene.attribute:
        return registry.AUGMENTERS[parts.AUTOENCODER].sample(state, labels, seed=scene.subset)
    train, rng = scenes.real_of(scene).train, torch.Generator().manual_seed(scene.subset)
    bank = base.revive(lambda settings: offsets.Codes(**settings), state, "cpu")
    shows = parts.bins_of(scene, train)[:, list(attributes.WORDS).index(scene.attribute)] == scene.third
    others = torch.tensor([c for c in range(len(train.class_names)) if c not in scene.classes])
    other = others[torch.randint(len(others), (len(labels),), generator=rng)]
    one_of = lambda mask, classes: mask.nonzero()[:, 0][base.rotation(train.labels[mask], classes, scene.subset)]
    plus, minus = one_of(shows, other), one_of(~shows, other)
    start = base.rotation(train.labels, labels, scene.subset)
    with torch.no_grad():  # not the whole function: the autoencoder may still have to be trained
        return bank.decode(bank.codes[start] + bank.codes[plus] - bank.codes[minus], labels)


# name: how it is made; repeated is re-weighting of what is nearest, or re-sampling of rare classes
FILLS: dict[str, dict[str, Callable[[Scene, dict, torch.Tensor], torch.Tensor]]] = {
    "missing": {
        "repeated": repeated,
        "GAN": plain,
        "random prompts": lambda *at: prompted(*at, kind="random"),
        "prompts of what is there": lambda *at: prompted(*at, kind="there"),
        "prompts of what is missing": lambda *at: prompted(*at, kind="asked"),
        "offsets": moved,
    },
    "rare": {"repeated": repeated, "GAN": plain, "prompts": lambda *at: prompted(*at, kind="all"), "offsets": moved},
}
REAL = "repeated"  # the fill that has no synthetic image
OURS = {"missing": "prompts of what is missing", "rare": "prompts"}


def fill_once(scene: Scene, budget: dict, name: str) -> dict:
    """Make a fill of a scene, keep its images, and return its record, made now or on disk.

    Its metrics: ``n`` images, and where a look is missing, which share of them shows it, ``shows``.

    Args:
        budget: see ``parts.fit_all``; name: a key of ``FILLS`` for the scene's kind.
    """
    train, file = scenes.real_of(scene).train, file_of(scene, name)
    labels, seen = wanted(scene, train), {"images": train.images, "labels": train.labels}

    def measure() -> dict:
        images = to_uint8(FILLS[scene.kind][name](scene, budget, labels))
        drawn = artifacts.save_tensors(file, {"images": images, "labels": labels}, {"fill": name})
        found = {"n": len(labels), "drawn": drawn}
        if scene.attribute:
            shown = scenes.missing(scene, train._replace(images=from_uint8(images), labels=labels))
            found["shows"] = float(shown.double().mean())
        return found

    return records.once(
        scene.run,
        scene.dataset,
        "groups-fills",
        f"{scene.name}-{recipes.slug(name)}",
        parameters={"scene": scene.name, "fill": name, "oversample": OVERSAMPLE} | budget,
        inputs={"real": artifacts.digest(seen)},
        measure=measure,
        made=("drawn",),
        is_whole=lambda found: file.exists() and artifacts.stated_digest(file) == found["input_drawn"],
    )


def file_of(scene: Scene, name: str) -> Path:
    """Return where the images of a fill are kept."""
    return parts.file_of(scene, f"{recipes.slug(name)}-images")


def load(scene: Scene, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``fill_once`` made: float32 (N, C, S, S) in [0, 1] and int64 (N,).

    Raises:
        FileNotFoundError, ArtifactError: it is not there, or damaged.
    """
    tensors, _ = artifacts.load_tensors(file_of(scene, name))
    return from_uint8(tensors["images"]), tensors["labels"]


def gallery(scene: Scene, *, columns: int = 12) -> tuple[torch.Tensor, int, list[str]]:
    """Return images of the classes that lack a look, how many are in a row, and the rows' titles.

    The rows are training images that the scene lacks, those that it has, and every fill whose images are on disk.
    """
    data = catalogue.load(scene.dataset, "train")
    lacking, real = take(data, scenes.missing(scene, data)), scenes.real_of(scene).train
    sets = {f"real, {scene.word}": lacking[:2], "real, to train on": real[:2]}
    sets |= {name: load(scene, name) for name in FILLS[scene.kind] if file_of(scene, name).exists()}
    each = columns // len(scene.classes)
    first = [images[labels == c][:each] for images, labels in sets.values() for c in scene.classes]
    return torch.cat(first), each * len(scene.classes), list(sets)
