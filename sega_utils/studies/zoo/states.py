"""States of the zoo that come with the project, in half precision, so that its images can be seen without training."""

from pathlib import Path

import torch

from sega_utils.core import artifacts, paths, schema
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.zoo import Fitting, Place

LARGEST = 20e6  # bytes that all together may take


def committed(place: Place, name: str, fitting: Fitting) -> Path:
    """Return where a run's state of an augmenter lies, once ``keep`` has been called."""
    run = place.run if paths.is_reference(place.run) else f"{paths.REFERENCE}/{place.run}"
    return zoo.file_of(place._replace(run=run), name, fitting, "state")


def seen(place: Place, fitting: Fitting) -> str:
    """Return the digest of the images that an augmenter of a place is fitted on."""
    images = zoo.seen_by(zoo.real_of(place), fitting.protocol)
    return artifacts.digest({"images": images.images, "labels": images.labels})


def keep(place: Place, names: list[str], fitting: Fitting) -> list[Path]:
    """Write a run's states in half precision among the committed results; return where.

    Raises:
        ValueError: an unknown augmenter, or all together would be larger than ``LARGEST``; nothing is written then.
        FileNotFoundError, ArtifactError: a state is not there, damaged, or too large a number for half precision.
    """
    data, found = seen(place, fitting), {}
    for name in names:
        zoo.check(name)
        source = zoo.file_of(place, name, fitting, "state")
        tensors, meta = artifacts.load_tensors(source)
        halves = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in tensors.items()}
        schema.check_finite(halves, source)
        told = {"augmenter": name, "data": data, "state": meta.pop("sha256")}
        found[committed(place, name, fitting)] = halves, meta | told
    size = sum(tensor.nbytes for tensors, _ in found.values() for tensor in tensors.values())
    if size > LARGEST:
        raise ValueError(f"{len(names)} states take {size / 1e6:.1f} MB; allowed are {LARGEST / 1e6:g}: name fewer")
    for file, state in found.items():
        artifacts.save_tensors(file, *state)
    return list(found)


def drawn(
    place: Place, run: str, names: list[str], fitting: Fitting, device: torch.device | str = "cpu"
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return an image of each class by each augmenter whose state comes with the project, and the labels, by its name.

    Args:
        place: of the images that it must have been fitted on; what was fitted on others is left out.
        run: whose committed states.

    Raises:
        ArtifactError: a state is damaged.
    """
    data, labels = seen(place, fitting), torch.arange(len(zoo.real_of(place).few.class_names))
    found = {}
    for name in names:
        file = committed(place._replace(run=run), name, fitting)
        if not file.exists():
            continue
        tensors, meta = artifacts.load_tensors(file)
        if meta["data"] == data:
            state = {key: part.float() if part.is_floating_point() else part for key, part in tensors.items()}, meta
            found[name] = zoo.sample(name, state, labels, place.subset, device), labels
    return found
