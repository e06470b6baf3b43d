"""Save and load files so that a reader never takes a half-written or altered file for a whole one."""

import csv
import errno
import fcntl
import glob
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from sega_utils.core import paths

_ADVICE = {
    errno.EACCES: "the folder is not writable; choose another with the environment variable SEGA_RESULTS",
    errno.EPERM: "the folder is not writable; choose another with the environment variable SEGA_RESULTS",
    errno.EROFS: "the file system is read-only; choose another with the environment variable SEGA_RESULTS",
    errno.ENOSPC: "the disk is full; free some space and run the same command again, it resumes",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again, it resumes",
}


class ArtifactError(RuntimeError):
    """A file that is there but cannot be trusted: truncated, altered, or of another kind."""


@contextmanager
def advised(path: Path) -> Iterator[None]:
    """Let a file system that refuses to write ``path`` inside the block be answered with what to do.

    Raises:
        OSError: the folder is read-only or the disk full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _ADVICE:
            raise OSError(error.errno, f"cannot write {paths.shown(path)}: {_ADVICE[error.errno]}") from error
        raise


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder that replaces ``path`` only if the block succeeds.

    A process that is killed inside the block leaves the temporary file, which no reader takes for ``path``; the next
    writer of ``path`` removes it.

    Raises:
        OSError: the folder is read-only or the disk full; nothing is left behind, and the message says what to do.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with advised(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            sweep(path)
            with open(temporary, "xb") as claim:
                with suppress(OSError):  # where a file system has no locks, nothing is swept either
                    fcntl.flock(claim, fcntl.LOCK_EX)
                yield temporary
                os.fsync(claim.fileno())
                os.replace(temporary, path)
    finally:
        with suppress(OSError):  # a read-only file system refuses even to remove what is not there
            temporary.unlink()


def sweep(path: Path) -> None:
    """Remove what killed writers of ``path`` left; one that is at work holds a lock on its own, which stays."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError), open(left, "r+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of named tensors: names, dtypes, shapes and bytes."""
    state = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def digest_json(value: object) -> str:
    """Return the SHA-256 of a value's canonical JSON (sorted keys, no spaces, ASCII) as 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], meta: dict | None = None) -> str:
    """Write tensors and a JSON-able ``meta`` as safetensors, atomically; return the tensors' digest."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"meta": meta or {}, "sha256": digest(tensors)}
    header["check"] = digest_json(header)
    with atomic(path) as temporary:  # one entry: safetensors writes several in random order
        temporary.write_bytes(save(tensors, {"sega_utils": json.dumps(header, sort_keys=True)}))
    return header["sha256"]


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    """Read what ``save_tensors`` wrote and check the digests of tensors and ``meta``.

    Returns:
        The tensors, on the CPU, and ``meta``; ``meta["sha256"]`` is the verified digest.

    Raises:
        ArtifactError: the file is truncated, altered or not one of ours.
    """
    advice = "delete it and run the step that makes it again, or restore it with git checkout if it is tracked"
    try:
        with safe_open(path, "pt") as handle:
            header = json.loads((handle.metadata() or {}).get("sega_utils", "{}"))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}
    except (SafetensorError, ValueError) as error:
        raise ArtifactError(f"{paths.shown(path)} is damaged ({error}); {advice}") from error
    if header.pop("check", None) != digest_json(header) or header["sha256"] != digest(tensors):
        raise ArtifactError(f"{paths.shown(path)} does not match its own digest; {advice}")
    return tensors, header["meta"] | {"sha256": header["sha256"]}


def save_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_json(path: Path, value: object) -> None:
    """Write a value as indented JSON with sorted keys, atomically; NaN is refused."""
    save_text(path, json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n")


def load_json(path: Path) -> dict:
    """Read a JSON file that holds an object.

    Raises:
        ArtifactError: the file is not JSON, or holds something else.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{paths.shown(path)} is not valid JSON ({error}); delete it and make it again") from error
    if not isinstance(found, dict):
        raise ArtifactError(
            f"{paths.shown(path)} holds a {type(found).__name__}, not an object {{...}}; delete it and make it again"
        )
    return found


def save_csv(path: Path, rows: Iterable[dict], columns: Iterable[str]) -> None:
    """Write rows with exactly these columns as CSV, atomically; floats keep six significant digits."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def load_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as a list of rows; every value is text."""
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def check_origin(meta: dict, real_sha256: str, what: str) -> None:
    """Refuse a checkpoint that was trained on other images than this run's.

    Raises:
        ArtifactError: it was: it may have seen images that this run must not use.
    """
    if meta.get("data") != real_sha256:
        raise ArtifactError(
            f"this {what} was trained on other images (digest {meta.get('data')}) than this run's training subset "
            f"({real_sha256}); set TRAIN = True to train one on these, or go back to the FRACTION and SEED it is for"
        )
