"""Published corruption files such as CIFAR-10-C, for those who have them."""

import hashlib
import io
import re
from pathlib import Path

import numpy as np
import torch

from sega_utils import paths
from sega_utils.artifacts import ArtifactError


def load_official(
    folder: Path, name: str, *, digests: dict[str, str] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a published set of corrupted images, e.g. of CIFAR-10-C, after checking its digest.

    Args:
        folder: holds ``<name>.npy``, uint8 (5 N, 32, 32, 1 or 3), one severity after the other, and ``labels.npy``.
        digests: file name to SHA-256; absent, those of ``SHA256SUMS`` in the folder.

    Returns:
        Images uint8 (5, N, C, 32, 32) and labels int64 (N,).

    Raises:
        FileNotFoundError: a file, or the list of digests, is missing.
        ArtifactError: a file is truncated, altered, of another kind or shape, or the list does not name it.
    """
    digests = digests_of(folder) if digests is None else digests
    images, labels = (read_npy(Path(folder) / f"{file}.npy", digests) for file in (name, "labels"))
    n = len(images) // 5 if images.ndim else 0
    if images.dtype != np.uint8 or images.shape not in {(5 * n, 32, 32, 1), (5 * n, 32, 32, 3)} or not n:
        raise ArtifactError(f"{name}.npy holds {images.dtype} {images.shape}; it must be uint8 (5 N, 32, 32, 1 or 3)")
    if labels.shape != (5 * n,) or (labels.reshape(5, n) != labels[:n]).any():
        raise ArtifactError(f"labels.npy of shape {labels.shape} does not hold the same {n} labels for each severity")
    return (torch.from_numpy(images).view(5, n, 32, 32, -1).permute(0, 1, 4, 2, 3),
            torch.from_numpy(labels[:n].astype(np.int64)))  # fmt: skip


def digests_of(folder: Path) -> dict[str, str]:
    """Return file name to SHA-256 as ``SHA256SUMS`` in a folder lists them (``sha256sum *.npy`` writes it).

    Raises:
        FileNotFoundError: there is no such list.
        ArtifactError: a line of it is no digest and name.
    """
    path = Path(folder) / "SHA256SUMS"
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; compare the files with a digest you trust, then make "
                                "it there with: sha256sum *.npy > SHA256SUMS")  # fmt: skip
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if strange := [line for line in lines if len(line) != 2 or not re.fullmatch("[0-9a-f]{64}", line[0])]:
        raise ArtifactError(f"{paths.shown(path)} holds {' '.join(strange[0])!r}, but each line must be a SHA-256 and "
                            "a file name; make it again with: sha256sum *.npy > SHA256SUMS")  # fmt: skip
    return {name.lstrip("*"): value for value, name in lines}


def read_npy(path: Path, digests: dict[str, str]) -> np.ndarray:
    """Return the array of an ``.npy`` file whose SHA-256 is listed; nothing is unpickled.

    Raises:
        FileNotFoundError, ArtifactError: as ``load_official``.
    """
    shown, advice = paths.shown(path), "download it again"
    if not path.exists():
        raise FileNotFoundError(f"{shown} is missing; unpack the published archive there, or leave OFFICIAL empty")
    raw = path.read_bytes()
    if not raw.startswith(b"\x93NUMPY"):
        raise ArtifactError(f"{shown} is no .npy file, it begins with {raw[:15]!r}; {advice}")
    received = hashlib.sha256(raw).hexdigest()
    if received != digests.get(path.name):
        raise ArtifactError(f"{shown} ({len(raw):,} bytes) has sha256 {received}, expected {digests.get(path.name)}; "
                            f"it is truncated, altered or not listed: {advice}")  # fmt: skip
    try:
        return np.load(io.BytesIO(raw), allow_pickle=False)
    except ValueError as error:
        raise ArtifactError(f"{shown} cannot be read ({error}); {advice}") from error
