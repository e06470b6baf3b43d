"""Offsets: a real image plus what tells two images of another class apart, in an autoencoder's latents or in pixels."""

import math
from pathlib import Path

import torch
from torch import nn

from sega_utils.augmenters import base, vae
from sega_utils.data.images import Dataset


class Codes(nn.Module):
    """The latents of the images that an autoencoder was trained on, their classes, and the way back to images.

    Args:
        n_images: how many; shape: as for ``vae.Vae``.
    """

    def __init__(self, *, n_images: int, **shape: int):
        super().__init__()
        self.settings = {"n_images": n_images} | shape
        self.vae = vae.Vae(**shape)
        self.register_buffer("codes", torch.zeros(n_images, self.vae.z_dim))
        self.register_buffer("class_ids", torch.zeros(n_images, dtype=torch.int64))

    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.vae(codes, labels)


class Pixels(nn.Module):
    """Images, their classes, and a way back from sums of images to images, as ``Codes`` has them.

    Args:
        n_images, n_classes, channels, side: of the images.
    """

    def __init__(self, *, n_images: int, n_classes: int, channels: int, side: int):
        super().__init__()
        self.settings = {"n_images": n_images, "n_classes": n_classes, "channels": channels, "side": side}
        self.register_buffer("codes", torch.zeros(n_images, channels, side, side))
        self.register_buffer("class_ids", torch.zeros(n_images, dtype=torch.int64))

    def decode(self, codes: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return codes.clamp(0, 1)


def check_classes(data: Dataset) -> None:
    """Refuse data in which no class has an offset of another one.

    Raises:
        ValueError: a single class, or a class of fewer than two images.
    """
    if len(data.class_names) < 2:
        raise ValueError("received images of 1 class; offsets are those of another class: give at least two")
    base.check_data(data.images, data.labels, len(data.class_names), least=2)


def train_offsets(data: Dataset, *, seed: int, **settings: object) -> tuple[Codes, list[dict[str, float]]]:
    """Train an autoencoder, and code the images with it; return both in one network, and the loss curve.

    Args:
        settings: as for ``vae.train_vae``, but for ``beta``, which is 0: no latent is drawn from a prior.

    Raises:
        ValueError, FloatingPointError, ArtifactError: as ``check_classes`` and ``vae.train_vae``.

    Source: raw offsets, the untrained form of Schwartz et al. 2018, figure 2.
    """
    check_classes(data)
    model, curve = vae.train_vae(data, seed=seed, beta=0.0, **settings)
    device = model.deviation.device
    bank = Codes(n_images=len(data.labels), **model.settings)
    bank.vae = model
    bank.codes = vae.coded(model, data.images.to(device), data.labels.to(device))
    bank.class_ids = data.labels.to(device)
    return bank.eval(), curve


def keep_pixels(
    data: Dataset, *, seed: int, device: torch.device | str = "cpu", checkpoint: Path | None = None
) -> tuple[Pixels, list]:
    """Keep the images as they are: nothing is trained, so that seed, device and checkpoint change nothing.

    Raises:
        ValueError: as ``check_classes``.
    """
    check_classes(data)
    bank = Pixels(n_images=len(data.labels), **data.shape())
    bank.codes, bank.class_ids = data.images.clone(), data.labels.clone()
    return bank.eval(), []


def sources(class_ids: torch.Tensor, labels: torch.Tensor, seed: int) -> dict[str, torch.Tensor]:
    """Return the real image that each drawn one starts from, and the two whose difference is added.

    Args:
        class_ids: int64 (P,), of the real images, a state's tensor of this name; labels: int64 (N,), to draw.

    Returns:
        ``start``, int64 (N,), of the label's class, each of its images in turn; ``plus`` and ``minus``, int64 (N,), two
        images of one other class.
    """
    chance = base.noise_of(base.seeds_of(seed, len(labels)), 3, torch.rand).double()
    counts = class_ids.bincount()
    other = (labels + 1 + (chance[:, 0] * (len(counts) - 1)).long()) % len(counts)
    plus = (chance[:, 1] * counts[other]).long()
    minus = plus + 1 + (chance[:, 2] * (counts[other] - 1)).long()
    pair = {name: base.nth_of(class_ids, other, at) for name, at in (("plus", plus), ("minus", minus))}
    return {"start": base.rotation(class_ids, labels, seed)} | pair


@torch.no_grad()
def sample_offsets(
    state: tuple[dict, dict],
    labels: torch.Tensor,
    seed: int,
    *,
    bank: type[Codes] | type[Pixels],
    device: torch.device | str = "cpu",
    batch: int = 250,
    strength: float = 1.0,
) -> torch.Tensor:
    """Add to the image that ``sources`` names the difference of the two others.

    Args:
        bank: what ``state`` is one of; strength: the difference is multiplied by it, at least 0.

    Raises:
        ValueError: labels that were not trained on, or a strength below 0 or not finite.
    """
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength is {strength}; allowed are 0 and above")
    network = base.revive(lambda settings: bank(**settings), state, device)
    base.check_labels(labels, network.settings["n_classes"])
    at = sources(network.class_ids.cpu(), labels, seed)
    side = network.settings["side"]
    parts = [torch.empty(0, network.settings["channels"], side, side)]
    for start, plus, minus, own in zip(*(at[k].split(batch) for k in ("start", "plus", "minus")), labels.split(batch)):
        codes = network.codes[start] + strength * (network.codes[plus] - network.codes[minus])
        parts.append(network.decode(codes, own.to(device)).cpu())
    return torch.cat(parts)
