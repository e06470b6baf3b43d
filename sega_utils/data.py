"""Real images: embedded data sets, checked by digest on every load, and stratified subsets of them."""

import gzip
import hashlib
import math
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sega_utils import paths
from sega_utils.artifacts import ArtifactError


class Dataset(NamedTuple):
    """Images float32 (N, C, 32, 32) in [0, 1], labels int64 (N,) and the class names they index."""

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...]


FASHION_MNIST_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip


def load(dataset: str, split: str) -> Dataset:
    """Load an embedded data set.

    Args:
        dataset: a key of ``DATASETS``.
        split: ``train`` or ``test``.

    Raises:
        ValueError: unknown data set or split.
        FileNotFoundError, ArtifactError: a file is missing, truncated or altered.
    """
    if dataset not in DATASETS:
        raise ValueError(f"unknown data set {dataset!r}; known are {', '.join(DATASETS)}")
    if split not in {"train", "test"}:
        raise ValueError(f"unknown split {split!r}; known are 'train' and 'test'")
    return DATASETS[dataset](split)


def load_fashion_mnist(split: str) -> Dataset:
    """Load the embedded 6,000 training or all 10,000 test images, padded from 28x28 to 32x32 with black.

    Source: Xiao, Rasul and Vollgraf 2017.
    """
    folder = paths.DATA / "fashion-mnist"
    images, labels = (read_checked(folder, f"{split}-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1"))
    images = np.pad(parse_idx(images), ((0, 0), (2, 2), (2, 2)))
    return Dataset(from_uint8(torch.from_numpy(images)[:, None]), torch.from_numpy(parse_idx(labels)).long(),
                   FASHION_MNIST_CLASSES)  # fmt: skip


DATASETS = {"fashion-mnist": load_fashion_mnist}
FULL_PER_CLASS = {"fashion-mnist": 6000}  # training images a class in the full, published set


def read_checked(folder: Path, name: str) -> bytes:
    """Return a file's unpacked bytes after checking it against ``SHA256SUMS`` beside it.

    Raises:
        FileNotFoundError: the file or the list of digests is missing.
        ArtifactError: the digest is another, or the list does not name the file.
    """
    sums = dict(line.split()[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    path = folder / name
    advice = f"restore it with: git checkout {paths.shown(path)}"
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; {advice}")
    raw = path.read_bytes()
    received = hashlib.sha256(raw).hexdigest()
    if received != sums.get(name):
        raise ArtifactError(f"{paths.shown(path)} has sha256 {received}, expected {sums.get(name)}; {advice}")
    return gzip.decompress(raw)


def parse_idx(raw: bytes) -> np.ndarray:
    """Return the array in an IDX file of unsigned bytes (format: Xiao et al. 2017, after LeCun's MNIST).

    Raises:
        ArtifactError: not an IDX file of unsigned bytes, or its length does not match its header.
    """
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ArtifactError(f"an IDX file of bytes starts with 00 00 08; received {raw[:3].hex(' ') or 'nothing'}")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise ArtifactError(f"the IDX header promises {raw[3]} dimensions but ends after {len(raw)} bytes")
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    if len(raw) - start != math.prod(shape):
        raise ArtifactError(f"the IDX header promises {math.prod(shape)} bytes, received {len(raw) - start}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()


def per_class(dataset: str, fraction: float) -> int:
    """Return how many images a class a fraction of the full training set holds, rounded.

    Raises:
        ValueError: unknown data set, or a fraction that leaves a class without images.
    """
    if dataset not in FULL_PER_CLASS:
        raise ValueError(f"unknown data set {dataset!r}; known are {', '.join(FULL_PER_CLASS)}")
    count = round(FULL_PER_CLASS[dataset] * fraction)
    if count < 1:
        raise ValueError(f"FRACTION {fraction} leaves no image a class; use at least {1 / FULL_PER_CLASS[dataset]:.5f}")
    return count


def subset(data: Dataset, per_class: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split into a stratified subset and the rest, each class shuffled once by the seed.

    The same seed gives nested subsets: the first 10 images a class are among the first 60.

    Args:
        per_class: images of each class in the subset, at least 1.

    Returns:
        The subset, ordered class by class, and all other images.

    Raises:
        ValueError: fewer than one image a class, or more than there are.
    """
    available = torch.bincount(data.labels, minlength=len(data.class_names))
    if not 1 <= per_class <= int(available.min()):
        raise ValueError(
            f"{per_class} images a class were asked for; allowed are 1 .. {int(available.min())} "
            f"with {len(data.class_names)} classes and {len(data.labels)} images: change FRACTION"
        )
    order = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    order = order[torch.argsort(data.labels[order], stable=True)]
    rank = torch.arange(len(order)) - (available.cumsum(0) - available)[data.labels[order]]
    return take(data, order[rank < per_class]), take(data, order[rank >= per_class])


def take(data: Dataset, index: torch.Tensor) -> Dataset:
    """Return the images and labels at an index or boolean mask."""
    return Dataset(data.images[index], data.labels[index], data.class_names)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Quantise images in [0, 1] to uint8 by rounding."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def from_uint8(images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images as float32 in [0, 1]."""
    return images.float() / 255
