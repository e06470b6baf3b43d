"""A linear generator: the principal components of seen images, in which every equation of AGE and SAGE is exact."""

import torch

from sega_utils.augmenters import base
from sega_utils.core import artifacts
from sega_utils.data.images import check_images

State = tuple[dict[str, torch.Tensor], dict]


def fit(
    images: torch.Tensor, labels: torch.Tensor, *, num_classes: int, components: int = 64, groups: int = 1
) -> State:
    """Return the generator of images as sums of their principal components; its meta names what it has seen.

    Args:
        images, labels: of the seen classes, as ``Dataset`` holds them, at least two of each class.
        components: of all groups together; a latent is (groups, components / groups), the first group the coarsest.

    Raises:
        ValueError: as ``base.check_data``; a single class; more components than images or pixels, or not as many in
            each group.

    Source: the double of StyleGAN2 with its inversion in Ding et al. 2023 (SAGE), section 3.2.
    """
    base.check_data(images, labels, num_classes, least=2)
    if num_classes < 2:
        raise ValueError("received images of 1 seen class; what tells images of a class apart needs at least 2")
    flat = images.flatten(1).double()
    most = min(len(flat) - 1, flat.shape[1])
    if not 1 <= components <= most or groups < 1 or components % groups:
        raise ValueError(
            f"received {components} components in {groups} groups; allowed are 1 .. {most} components of these "
            "images, as many in each group"
        )
    mean = flat.mean(0)
    variance, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    axes = vectors.flip(1)[:, :components].T
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # of the two signs, always the same
    scale = variance[-components:].clamp(min=1e-12).mean().sqrt()
    tensors = {"mean": mean.float().view(images.shape[1:]), "axes": axes.float(), "scale": scale.float()}
    seen = artifacts.digest({"images": images, "labels": labels})
    return tensors, {"augmenter": "linear", "groups": groups, "seen": seen}


def invert(state: State, images: torch.Tensor) -> torch.Tensor:
    """Return the latents of images, float32 (N, G, d); of an image in the generator's span it is the exact inverse.

    Raises:
        ValueError: no images, or of another side or channels than the generator's.
    """
    tensors, meta = state
    check_images(images)
    if images.shape[1:] != tensors["mean"].shape:
        raise ValueError(
            f"received images {tuple(images.shape[1:])}; allowed are those of the generator, "
            f"{tuple(tensors['mean'].shape)}"
        )
    codes = (images - tensors["mean"]).flatten(1) @ tensors["axes"].T / tensors["scale"]
    return codes.view(len(images), meta["groups"], -1)


def render(state: State, codes: torch.Tensor) -> torch.Tensor:
    """Return the images of latents (N, G, d), float32 (N, C, S, S), cut to [0, 1]."""
    tensors, _ = state
    flat = codes.flatten(1) * tensors["scale"] @ tensors["axes"]
    return (flat.view(-1, *tensors["mean"].shape) + tensors["mean"]).clamp(0, 1)
