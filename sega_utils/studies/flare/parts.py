"""What FLARE's arms are made of: images restored, drawn and redrawn from training images alone, made once and kept."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils.augmenters import base, diffusion, published_restorer, registry, stable_diffusion
from sega_utils.augmenters.restoration import Restorer, restore, train_restorer
from sega_utils.core import artifacts, learning, paths, records
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, batched, from_uint8, resize, to_uint8
from sega_utils.evaluation import quality
from sega_utils.filters import fidelity
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.zoo import Place

STAGE, RESTORER = "flare-parts", "flare-restorer"
AT_ONCE = 8  # images that Stable Diffusion draws
HELD_OUT = 50  # validation images of each class that restoration is measured on


class Making(NamedTuple):
    """How the parts are made: CPU seconds of the denoiser, of which 0 takes the data set's own checkpoint, and of the
    restoration; steps of DDIM; strength and number of variations; dB, a limit below which the gate drops an image.

    Outside knowledge, and neither is trained then: a file of published weights of restoration, see
    ``published_restorer.adopt``, and a folder or tag of Stable Diffusion, which draws and varies."""

    seconds: float = 0.0
    restoring: float = 60.0
    sampling: int = 25
    strength: float = 0.5
    variations: int = 4
    limit: float = 25.0
    restorer: str = ""
    pipeline: str = ""

    def told(self) -> dict:
        """Return what records say: all but outside knowledge that is not asked for."""
        return {name: value for name, value in self._asdict().items() if value != ""}


def file_of(place: Place, making: Making) -> Path:
    """Return where the parts of a place are kept."""
    return paths.artifact(place.run, place.dataset, "augmenters") / f"{name_of(place, making)}.safetensors"


def name_of(place: Place, making: Making) -> str:
    """Return the name of the parts' file and record."""
    return zoo.name_of(place, "flare", artifacts.digest_json(making.told())[:8])


def digest_of(data: Dataset) -> str:
    """Return the digest of images and labels."""
    return artifacts.digest({"images": data.images, "labels": data.labels})


def make_once(place: Place, making: Making, device: torch.device | str = "cpu") -> dict:
    """Make the parts of a place and measure them; return the record, made now or on disk.

    Raises:
        ValueError: a place that the data set's own denoiser has not been trained on, or a setting that is not allowed.
        FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    real, file = zoo.real_of(place), file_of(place, making)
    restorer, steps = restorer_once(place, making, device)

    def measure() -> dict:
        tensors = draw(*painters(place, making, real.few, device), real.few, making, place.subset)
        found = {"restoring_steps": steps} | held_out(restorer, real.rest)
        for name, images in list(tensors.items()) + [("real", real.few.images[None])]:
            parts, told = restored(restorer, images.flatten(0, 1), making.limit)
            tensors |= {f"{name} {what}": part.unflatten(0, images.shape[:2]) for what, part in parts.items()}
            found |= {f"{what}_{name}": value for what, value in told.items()}
        for name in ("drawn", "redrawn"):
            copies = quality.duplicate_share(tensors[name].flatten(0, 1), real.few.images, **zoo.COPIES)
            found[f"duplicates_{name}"] = copies
        kept = {name: to_uint8(part) if part.ndim == 5 else part for name, part in tensors.items()}
        return found | {"drawn": artifacts.save_tensors(file, kept)}

    whole = lambda found: file.exists() and artifacts.stated_digest(file) == found["input_drawn"]
    asked, made = {"subset": place.subset, "per_class": place.per_class} | making.told(), ("drawn",)
    inputs = {"real": digest_of(real.few), "restorer": artifacts.stated_digest(restorer_file(place, making))}
    inputs |= {"pipeline": registry.pipeline_of(making.pipeline, device).sha256} if making.pipeline else {}
    return records.once(
        *place[:2],
        STAGE,
        name_of(place, making),
        parameters=asked,
        inputs=inputs,
        measure=measure,
        made=made,
        is_whole=whole,
    )


def load(place: Place, making: Making) -> dict[str, torch.Tensor]:
    """Return what ``make_once`` kept: images float32 (K, N, C, S, S) in [0, 1] and PSNRs float32 (K, N), by name.

    ``drawn`` holds an image for the label of every real one and then its variations, ``redrawn`` variations of the real
    images themselves; ``... restored`` and ``... psnr`` are what became of these and of ``real``.

    Raises:
        FileNotFoundError, ArtifactError: they were not made, or the file is damaged.
    """
    tensors, _ = artifacts.load_tensors(file_of(place, making))
    return {name: from_uint8(part) if part.dtype == torch.uint8 else part for name, part in tensors.items()}


def restorer_file(place: Place, making: Making) -> Path:
    """Return where the restoration of a place is kept, or the published one."""
    if making.restorer:
        return paths.located(making.restorer)
    stem = zoo.name_of(place, "restorer", f"{making.restoring:g}s")
    return paths.artifact(place.run, place.dataset, "augmenters") / f"{stem}.safetensors"


def restorer_once(place: Place, making: Making, device: torch.device | str = "cpu") -> tuple[torch.nn.Module, int]:
    """Return the restoration of a place, trained now or on disk, and its steps; or the published one, with 0.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    few, file = zoo.real_of(place).few, restorer_file(place, making)
    if making.restorer:
        return published_restorer.load(file, few.shape()["channels"], device), 0

    def measure() -> dict:
        trained, curve = train_restorer(few, seed=place.subset, seconds=making.restoring, device=device)
        kept = artifacts.save_tensors(file, trained.state_dict(), {"settings": trained.settings})
        return {"restoring_steps": curve[-1]["step"], "restorer": kept}

    whole = lambda found: file.exists() and artifacts.stated_digest(file) == found["input_restorer"]
    asked = {"subset": place.subset, "per_class": place.per_class, "restoring": making.restoring}
    how = {"inputs": {"real": digest_of(few)}, "measure": measure, "made": ("restorer",), "is_whole": whole}
    found = records.once(*place[:2], RESTORER, file.stem, parameters=asked, **how)
    tensors, meta = artifacts.load_tensors(file)
    return learning.freeze(Restorer(**meta["settings"]), tensors, device), found["restoring_steps"]


def painters(place: Place, making: Making, few: Dataset, device: torch.device | str) -> tuple[Callable, Callable]:
    """Return what draws float32 (N, C, S, S) for labels and seeds, and what varies images for theirs.

    Raises:
        ValueError, FileNotFoundError, ArtifactError, FloatingPointError: as ``denoiser``, or Stable Diffusion's.
    """
    how = {"strength": making.strength, "steps": making.sampling}
    if not making.pipeline:
        model = denoiser(place, making, few, device)
        fresh = lambda labels, seeds: diffusion.sample_ddim(model, labels, seeds=seeds, steps=making.sampling)
        return fresh, lambda images, labels, seeds: diffusion.redraw(model, images, labels, seeds=seeds, **how)
    pipeline, shape = registry.pipeline_of(making.pipeline, device), few.shape()
    texts = captions(place.dataset, few.class_names)
    named = lambda labels: [texts[label] for label in labels.tolist()]
    size = {"steps": making.sampling, "channels": shape["channels"], "side": shape["side"]}

    def fresh(labels: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        paint = lambda part, own: stable_diffusion.paint(pipeline, named(part), own, **size)
        return from_uint8(batched(paint, labels, seeds, size=AT_ONCE))

    def vary(images: torch.Tensor, labels: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        paint = lambda images, part, own: stable_diffusion.repaint(pipeline, named(part), images, own, **how)
        return from_uint8(batched(paint, images, labels, seeds, size=AT_ONCE))

    return fresh, vary


def captions(dataset: str, class_names: tuple[str, ...]) -> list[str]:
    """Return the one text of each class that FLARE draws for: the class and what the images are of."""
    domain = catalogue.about(dataset)[0]["domain"]
    return [f"{name}, {domain}" for name in class_names]


def denoiser(place: Place, making: Making, few: Dataset, device: torch.device | str) -> torch.nn.Module:
    """Return the denoiser of a place: trained now on its images, or the data set's own, which saw the same.

    Raises:
        ValueError: the data set's own saw others.
        FileNotFoundError: none comes with the data set.
    """
    if making.seconds:
        fitting = zoo.Fitting(making.seconds)
        state = zoo.trained(place, "ddim", fitting, few, device)
        return base.revive(lambda settings: diffusion.build_denoiser(**settings), state, device)
    model = diffusion.load_diffusion(paths.pretrained(place.dataset, "diffusion"), device)
    _, meta = catalogue.load_real(place.run, place.dataset)
    if place.subset or len(few.labels) != len(zoo.real_of(place).whole.labels):
        raise ValueError(
            f"the denoiser of {place.dataset} has seen the run's whole subset, not subset {place.subset} with "
            f"{place.per_class} images a class; give seconds above 0 to train one on these"
        )
    artifacts.check_origin(model.meta, meta["sha256"], "denoiser")
    return model


def draw(fresh: Callable, vary: Callable, few: Dataset, making: Making, seed: int) -> dict[str, torch.Tensor]:
    """Return ``drawn`` and ``redrawn`` as ``load`` does, each image of a seed of its own; see ``painters``."""
    labels, n = few.labels, len(few.labels)
    seeds = lambda k: base.seeds_of(seed, n, start=k * n)
    varied = lambda images, turns: [vary(images, labels, seeds(k)).cpu() for k in turns]
    first, count = fresh(labels, seeds(0)), 1 + making.variations
    drawn = [first.cpu(), *varied(first, range(1, count))]
    return {"drawn": torch.stack(drawn), "redrawn": torch.stack(varied(few.images, range(count, 2 * count)))}


def restored(restorer: torch.nn.Module, images: torch.Tensor, gate: float) -> tuple[dict, dict]:
    """Return images restored and brought back to their side, with their PSNRs, and means of the measures.

    What is compared is the restored image with the bicubic enlargement of the one that it is made of, as no other of
    its size exists: what changes nothing would score best.
    """
    large = restore(restorer, images)
    control = resize(images, large.shape[-1])
    psnr = fidelity.psnr(large, control)
    told = {"psnr": psnr.mean().item(), "ms_ssim": fidelity.ms_ssim(large, control).mean().item()}
    told["passing"] = (psnr >= gate).float().mean().item()
    return {"restored": resize(large, images.shape[-1]), "psnr": psnr}, told


def held_out(restorer: torch.nn.Module, rest: Dataset) -> dict[str, float]:
    """Return how near validation images, halved and restored, come to themselves, and how near bicubic comes."""
    each = max(1, min(HELD_OUT, int(rest.labels.bincount().min())))
    whole = catalogue.subset(rest, each)[0].images
    half = resize(whole, whole.shape[-1] // 2)
    found = {}
    for name, images in (("restorer", restore(restorer, half)), ("bicubic", resize(half, whole.shape[-1]))):
        found[f"psnr_held_out_{name}"] = fidelity.psnr(images, whole).mean().item()
        found[f"ms_ssim_held_out_{name}"] = fidelity.ms_ssim(images, whole).mean().item()
    return found
