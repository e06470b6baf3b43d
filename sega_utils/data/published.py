"""Published data sets, read from the files their authors publish, each verified; archives are read, never unpacked.

Every reader returns images uint8 (N, C, H, W), labels int64 (N,) and the class names.
"""

import gzip
import io
import math
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import scipy.io
import torch

from sega_utils.core import artifacts, paths, runtime
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.decoding import decode
from sega_utils.data.downloads import fetch

Images = tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]
FASHION_MNIST_CLASSES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def read_embedded(
    split: str, *, folder: str = "fashion-mnist", class_names: tuple[str, ...] = FASHION_MNIST_CLASSES
) -> Images:
    """Read what comes with the project of Fashion-MNIST or MNIST, padded from 28x28 to 32x32 with black.

    Args:
        folder: below ``data``, which says in its README what each holds.

    Source: as ``read_idx``.
    """
    files = [paths.DATA / folder / f"{split}-{what}-ubyte.gz" for what in ("images-idx3", "labels-idx1")]
    images, labels = (
        unpacked(file, artifacts.listed(file), make) for file, make in zip(files, (padded, whole_labels), strict=True)
    )
    return images, labels, class_names


def read_idx(split: str, *, folder: str, class_names: tuple[str, ...]) -> Images:
    """Read MNIST or a set in its format, padded from 28x28 to 32x32 with black.

    Source: LeCun, Cortes and Burges 1998; Xiao, Rasul and Vollgraf 2017.
    """
    start = {"train": "train", "test": "t10k"}[split]
    files = [fetch(folder, f"{start}-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1")]
    images, labels = (
        unpacked(file, file.read_bytes(), make) for file, make in zip(files, (padded, whole_labels), strict=True)
    )
    return images, labels, class_names


def read_cifar(split: str, *, folder: str) -> Images:
    """Read CIFAR-10, or CIFAR-100 with its 100 fine classes; ``_`` in a class name becomes a space.

    Source: Krizhevsky 2009.
    """
    fine = folder == "cifar-100"
    batches = {
        "train": ["train"] if fine else [f"data_batch_{i}" for i in range(1, 6)],
        "test": ["test" if fine else "test_batch"],
    }[split]
    file = fetch(folder, f"{folder}-python.tar.gz")
    meta, *parts = (unpickle(raw, file) for raw in members(file, ["meta" if fine else "batches.meta", *batches]))
    images = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
    labels = np.concatenate([part["fine_labels" if fine else "labels"] for part in parts])
    names = meta["fine_label_names" if fine else "label_names"]
    return torch.from_numpy(images), whole_labels(labels), tuple(name.replace("_", " ") for name in names)


def read_svhn(split: str) -> Images:
    """Read the cropped digits of SVHN; its label 10 is the digit zero.

    Source: Netzer et al. 2011, format 2.
    """
    content = scipy.io.loadmat(fetch("svhn", f"{split}_32x32.mat"), variable_names=("X", "y"))
    images = np.ascontiguousarray(content["X"].transpose(3, 2, 0, 1))
    return torch.from_numpy(images), whole_labels(content["y"][:, 0] % 10), DIGITS


def read_tiny_imagenet(split: str, *, size: int = 32) -> Images:
    """Read Tiny-ImageNet; its validation images, the only others with labels, are the test images.

    Args:
        size: side in pixels; the files have 64.

    Source: Le and Yang 2015; the class names are the first words of WordNet's that no earlier class has.
    """
    with zipfile.ZipFile(fetch("tiny-imagenet", "tiny-imagenet-200.zip")) as archive:
        lines = lambda name: archive.read(f"tiny-imagenet-200/{name}").decode().splitlines()
        words, names = dict(line.split("\t") for line in lines("words.txt")), {}
        for wnid in lines("wnids.txt"):
            names[wnid] = next(word for word in words[wnid].split(", ") if word not in names.values())
        order = {wnid: label for label, wnid in enumerate(names)}
        if split == "train":
            files = [name for name in archive.namelist() if "/train/" in name and name.endswith(".JPEG")]
            labels = [order[name.split("/")[2]] for name in files]
        else:
            rows = [line.split("\t") for line in lines("val/val_annotations.txt")]
            files = [f"tiny-imagenet-200/val/images/{row[0]}" for row in rows]
            labels = [order[row[1]] for row in rows]
        images = [decode(archive.read(name), size=size) for name in runtime.progress(files, "images")]
    return torch.from_numpy(np.stack(images)), torch.tensor(labels), tuple(names.values())


def unpacked(file: Path, raw: bytes, make: Callable[[np.ndarray], torch.Tensor]) -> torch.Tensor:
    """Return what ``make`` makes of the array in a compressed IDX file.

    Raises:
        ArtifactError: it is none; the message names the file.
    """
    try:
        return make(parse_idx(gzip.decompress(raw)))
    except (OSError, EOFError, zlib.error, ArtifactError) as error:
        raise ArtifactError(
            f"{paths.shown(file)} cannot be used: {error}; download it again, or restore it with git checkout if it is "
            "tracked"
        ) from error


def padded(images: np.ndarray) -> torch.Tensor:
    """Return grey images (N, 28, 28) as (N, 1, 32, 32) with a black frame.

    Raises:
        ArtifactError: they are of another shape.
    """
    if images.shape[1:] != (28, 28):
        raise ArtifactError(f"images must be (N, 28, 28); received {images.shape}: download the file again")
    return torch.from_numpy(np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None])


def whole_labels(labels: np.ndarray) -> torch.Tensor:
    """Return labels as int64 (N,).

    Raises:
        ArtifactError: they are of another shape, or no whole numbers.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iuf" or (labels != np.floor(labels)).any():
        raise ArtifactError(
            f"labels must be whole numbers (N,); received {labels.dtype} {labels.shape}: download the file again"
        )
    return torch.from_numpy(labels.astype(np.int64))


def parse_idx(raw: bytes) -> np.ndarray:
    """Return the array in an IDX file of unsigned bytes (format: Xiao et al. 2017, after LeCun's MNIST).

    Raises:
        ArtifactError: not an IDX file of unsigned bytes, or its length does not match its header.
    """
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise ArtifactError(f"an IDX file of bytes starts with 00 00 08; received {raw[:3].hex(' ') or 'nothing'}")
    if not 1 <= raw[3] <= 3:
        raise ArtifactError(f"the IDX header promises {raw[3]} dimensions; images have 3, labels 1")
    start = 4 + 4 * raw[3]
    if len(raw) < start:
        raise ArtifactError(f"the IDX header promises {raw[3]} dimensions but ends after {len(raw)} bytes")
    shape = struct.unpack(f">{raw[3]}I", raw[4:start])
    if len(raw) - start != math.prod(shape):
        raise ArtifactError(f"the IDX header promises {math.prod(shape)} bytes, received {len(raw) - start}")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape).copy()


def members(file: Path, names: Iterable[str]) -> list[bytes]:
    """Return files of a tar archive by their last name, in the order asked for; nothing is written anywhere.

    Raises:
        ArtifactError: the archive lacks one.
    """
    with tarfile.open(file) as archive:
        found = {Path(entry.name).name: archive.extractfile(entry).read() for entry in archive if entry.isfile()}
    if missing := [name for name in names if name not in found]:
        raise ArtifactError(f"{paths.shown(file)} holds no {missing[0]}; delete it, and download it again")
    return [found[name] for name in names]


def unpickle(raw: bytes, file: Path) -> dict:
    """Return the dict of a CIFAR batch; its pickle may make texts, numbers, lists, dicts and arrays of bytes only.

    Raises:
        ArtifactError: it asks for anything else, or is no such pickle.
    """
    try:
        content = _Unpickler(io.BytesIO(raw), encoding="latin1").load()
        if not isinstance(content, dict):
            raise pickle.UnpicklingError(f"it holds {type(content).__name__}, expected dict")
        return content
    except Exception as error:  # pickle raises whatever the malformed part happens to cause
        raise ArtifactError(f"{paths.shown(file)} holds no CIFAR batch ({error}); download it again") from error


def _bytes_type(name: str, *flags: object) -> np.dtype:
    if name != "u1":
        raise pickle.UnpicklingError(f"it holds an array of {name!r}, expected u1")
    return np.dtype("u1", copy=True)


class _Unpickler(pickle.Unpickler):
    # What numpy's pickles call: none of numpy's own functions, only what rebuilds an array of bytes.
    ALLOWED = {
        ("numpy.core.multiarray", "_reconstruct"): lambda *_: np.empty(0, np.uint8),
        ("numpy", "ndarray"): None,
        ("numpy", "dtype"): _bytes_type,
    }

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.ALLOWED[module, name]
