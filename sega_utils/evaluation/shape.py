"""Whether a classifier sees shapes or textures: how alike its features are where one of the two stays the same."""

from collections.abc import Iterable

import torch
from torch import nn

from sega_utils.core import numbers, runtime
from sega_utils.data.images import batched, check_images
from sega_utils.evaluation import classified
from sega_utils.text import attributes

TEXTURES, WAVES = 8, 5  # stripes a side
DARKEST = 0.2  # of a texture, so that a silhouette's edge is seen everywhere


def textures(side: int, *, seed: int = 0) -> torch.Tensor:
    """Return one image each of stripes (across, down, slanted), checks, dots, rings, coarse and fine noise, float32
    (8, 1, side, side) from ``DARKEST`` to 1.

    Args:
        side: pixels. seed: of the places at which waves begin, and of the noise.
    """
    rng = runtime.generator(seed)
    phase = 2 * torch.pi * torch.rand(2, TEXTURES, generator=rng)
    along = torch.arange(side) / side * WAVES * 2 * torch.pi
    rows, columns = torch.meshgrid(along, along, indexing="ij")
    a, b = (rows + phase[0, :, None, None]).unbind(), (columns + phase[1, :, None, None]).unbind()
    coarse = torch.rand(1, 1, side // 4, side // 4, generator=rng)
    waves = (
        a[0].sin(),
        b[1].sin(),
        (a[2] + b[2]).sin(),
        # checks and dots have other periods than stripes, to be unlike them wherever they begin
        ((a[3] / 2).sin() * (b[3] / 2).sin()).sign(),
        ((0.8 * a[4]).sin() + (0.8 * b[4]).sin()).clamp(min=0.5),
        (torch.hypot(rows - WAVES * torch.pi, columns - WAVES * torch.pi) + phase[0, 5]).sin(),
        nn.functional.interpolate(coarse, side, mode="bilinear")[0, 0],
        torch.rand(side, side, generator=rng),
    )
    flat = torch.stack(waves)[:, None]
    low, high = flat.amin((2, 3), keepdim=True), flat.amax((2, 3), keepdim=True)
    return (DARKEST + (1 - DARKEST) * (flat - low) / (high - low)).clamp(max=1)


def silhouettes(images: torch.Tensor) -> torch.Tensor:
    """Return the objects' pixels of those images whose object is neither missing nor fills them, bool (M, S, S).

    Raises:
        ValueError: no images (``check_images``).
    """
    check_images(images)
    shapes = attributes.foreground(images)
    share = shapes.float().mean((1, 2))
    return shapes[(share > 0) & (share < 1)]


def filled(images: torch.Tensor, *, seed: int = 0) -> torch.Tensor:
    """Return the silhouette of each image filled with each texture on black, float32 (N, 8, C, S, S).

    A silhouette is ``attributes.foreground``: of an object on a plain ground. Photographs have none, and their shares
    say little.

    Raises:
        ValueError: no images (``check_images``), or fewer than two silhouettes: objects that are neither missing nor
            fill their image.
    """
    shapes = silhouettes(images)
    if len(shapes.flatten(1).unique(dim=0)) < 2:
        raise ValueError(
            f"{len(images)} images hold fewer than two different silhouettes; give objects on a plain ground"
        )
    patterns = textures(images.shape[-1], seed=seed).to(images.device)
    grey = shapes[:, None, None] * patterns
    return grey.expand(-1, -1, images.shape[1], -1, -1)


@torch.no_grad()
def pooled_features(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return what the last linear layer of a classifier reads, float32 (N, units): its pooled features.

    Raises:
        ValueError: the model is in train mode, or has no linear layer.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if model.training or not layers:
        state = "is in train mode; call model.eval() first" if layers else "has no linear layer, whose inputs are read"
        raise ValueError(f"the {type(model).__name__} {state}")
    found: list[torch.Tensor] = []
    hook = layers[-1].register_forward_pre_hook(lambda layer, given: found.append(given[0]))
    try:
        device = next(model.parameters()).device
        batched(lambda part: model(part.to(device)), images)
    finally:
        hook.remove()
    return torch.cat(found).to(images.device)


def correlations(values: torch.Tensor) -> torch.Tensor:
    """Return for each unit the correlation over pairs of equal shape, and over pairs of equal texture, float64 (2, U).

    They are those of pairs whose other half is drawn anew from all there are, and not from the few at hand: a unit
    that reads the texture alone has 0 over pairs of equal shape, where pairs of eight different textures would give
    -1/7. All pairs are taken at once, by their variances. A unit that is constant has 0.

    Args:
        values: of each unit, (shapes, textures, U), at least two of both.

    Source: Shrout and Fleiss 1979, case 2 (two-way random effects), the components of shape and of texture alike.
    """
    values = values.double()
    n, k, _ = values.shape
    mean, shape, texture = values.mean((0, 1)), values.mean(1), values.mean(0)
    rest = (values - shape[:, None] - texture + mean).square().sum((0, 1)) / ((n - 1) * (k - 1))
    parts = torch.stack((shape.var(0) - rest / k, texture.var(0) - rest / n))
    total = parts.sum(0) + rest
    # what float32 rounds is no response
    return torch.where(total > 1e-10 * mean.square(), parts / total, 0.0)


def shares(shape: float, texture: float) -> dict[str, float]:
    """Return the shares ``shape``, ``texture`` and ``rest``, 0 .. 1, sum 1, of a network with these mean correlations.

    Source: Islam et al. 2021 and Iwase et al. 2025, section 3.3: a softmax with the rest at 1. They print the sums over
    all units and their number, for which the softmax saturates; ours are the means.
    """
    parts = torch.tensor([shape, texture, 1.0], dtype=torch.float64).softmax(0)
    return dict(zip(("shape", "texture", "rest"), parts.tolist(), strict=True))


def shape_share(model: nn.Module, images: torch.Tensor, *, seed: int = 0) -> dict[str, float]:
    """Return how much of a classifier's features follows shapes, and how much textures.

    A unit is one of the pooled features that the last linear layer reads. The network sees 8 N images.

    Args:
        model: a classifier in eval mode. images: whose silhouettes are filled, see ``filled``. seed: see ``textures``.

    Returns:
        ``shape``, ``texture`` and ``rest``, see ``shares``, and the correlations' means over all units,
        ``rho_shape`` and ``rho_texture``, at most 1.

    Raises:
        ValueError: as ``filled`` and ``pooled_features``.

    Source: Iwase et al. 2025, section 3.3, whose pairs are photographs of other styles; ours need no outside images.
    """
    drawn = filled(images, seed=seed)
    features = pooled_features(model, drawn.flatten(0, 1))
    shape, texture = correlations(features.unflatten(0, drawn.shape[:2])).mean(1).tolist()
    return shares(shape, texture) | {"rho_shape": shape, "rho_texture": texture}


def shape_rows(run: str, dataset: str, arms: Iterable[str], seeds: Iterable[int], images: torch.Tensor) -> list[dict]:
    """Return a row for each arm: the means over its seeds of what ``shape_share`` says of its classifiers.

    Of images without silhouettes, as photographs are, there is no row.

    Args:
        images: float32 (N, C, S, S), whose silhouettes are filled; some hundreds say enough.

    Raises:
        ValueError, FileNotFoundError, ArtifactError: as ``shape_share`` and ``classified.load_classifier``.
    """
    rows, seeds = [], list(seeds)
    for arm in arms if len(silhouettes(images).flatten(1).unique(dim=0)) > 1 else ():
        found = [shape_share(classified.load_classifier(run, dataset, arm, seed)[0], images) for seed in seeds]
        means = {name: numbers.summary(one[name] for one in found)["mean"] for name in found[0]}
        rows.append({"arm": arm, "n": len(found)} | means)
    return rows
