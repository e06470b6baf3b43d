"""Save and load files so that a reader never takes a half-written or altered file for a whole one.

torch takes seconds to import; who saves no tensors does not wait for it.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from sega_utils.core import paths, schema
from sega_utils.core.schema import CURE, ArtifactError, digest_json

if TYPE_CHECKING:
    import torch

_ADVICE = {
    errno.EACCES: "the folder is not writable; choose another with the environment variable SEGA_RESULTS",
    errno.EPERM: "the folder is not writable; choose another with the environment variable SEGA_RESULTS",
    errno.EROFS: "the file system is read-only; choose another with the environment variable SEGA_RESULTS",
    errno.ENOSPC: "the disk is full; free some space and run the same command again, it resumes",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again, it resumes",
    errno.EIO: "the disk fails; look at it, or choose another with the environment variable SEGA_RESULTS",
    errno.ESTALE: "the network's disk has lost it; mount it anew and run the same command again, it resumes",
    errno.EISDIR: "a folder is in the file's place; move it away",
    errno.ENOTDIR: "a file is in the place of one of its folders; move it away",
    errno.EEXIST: "a file is in the place of one of its folders; move it away",
    errno.ELOOP: "a link on the way to it leads to itself; delete the link",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter RUN or folder",
}


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
            _make_folder(path.parent)
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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # its parents are there by then: one of the system's own, such as /proc
        raise PermissionError(errno.EACCES, str(error)) from error


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
    import torch

    state = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        state.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def present(path: Path) -> Path:
    """Return a path at which there is a file.

    Raises:
        FileNotFoundError: there is none, or only a link to one that is gone.
        ArtifactError: there is a folder, or a link that leads to itself.
    """
    try:
        kind = Path(path).stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{paths.shown(path)} is missing; run the step that makes it") from None
    except OSError as error:  # of a link in a circle, or a file in a folder's place
        raise ArtifactError(f"{paths.shown(path)} cannot be read: {error.strerror}; {CURE}") from error
    if not stat.S_ISREG(kind):
        raise ArtifactError(f"{paths.shown(path)} is {'a folder' if stat.S_ISDIR(kind) else 'no file'}; {CURE}")
    return Path(path)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, without the mark that some editors put at its beginning.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: there is something else, or it is in another encoding; the message names the first wrong line.
    """
    raw = present(path).read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = raw.count(b"\n", 0, error.start) + 1, raw[error.start]
        raise ArtifactError(
            f"{paths.shown(path)} is not UTF-8 text: line {line} has the byte 0x{byte:02x}; save it as UTF-8, or {CURE}"
        ) from error


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], meta: dict | None = None) -> str:
    """Write tensors and a JSON-able ``meta`` as safetensors, atomically; return the tensors' digest."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"meta": meta or {}, "sha256": digest(tensors)}
    header["check"] = digest_json(header)
    with atomic(path) as temporary:  # one entry: safetensors writes several in random order
        temporary.write_bytes(save(tensors, {"sega_utils": json.dumps(header, sort_keys=True)}))
    return header["sha256"]


def load_tensors(path: Path, *, known: str = "") -> tuple[dict[str, torch.Tensor], dict]:
    """Read what ``save_tensors`` wrote; check the digests of tensors and ``meta``, and what a file of its name holds.

    Args:
        known: the digest that the tensors had when they were checked before; they are not read again to check them.

    Returns:
        The tensors, on the CPU, and ``meta``; ``meta["sha256"]`` is the verified digest.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: the file is truncated, altered or not one of ours, or its tensors are not those of its name, see
            ``schema.check_tensors``.
    """
    present(path)
    try:
        with safe_open(path, "pt") as handle:
            header = json.loads((handle.metadata() or {}).get("sega_utils", "{}"))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}
        whole = isinstance(header, dict) and header.pop("check", None) == digest_json(header)
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise ArtifactError(f"{paths.shown(path)} is damaged ({error}); {CURE}") from error
    if not whole or header["sha256"] != (known or digest(tensors)):
        raise ArtifactError(f"{paths.shown(path)} does not match its own digest; {CURE}")
    schema.check_tensors(tensors, Path(path))
    return tensors, header["meta"] | {"sha256": header["sha256"]}


def stated_digest(path: Path) -> str:
    """Return the digest that a file of ``save_tensors`` states of its tensors, which are not read.

    Raises:
        FileNotFoundError, ArtifactError: there is no such file, or it is not one of ours.
    """
    present(path)
    try:
        with safe_open(path, "pt") as handle:
            return json.loads(handle.metadata()["sega_utils"])["sha256"]
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
        raise ArtifactError(f"{paths.shown(path)} is damaged or not one of ours; {CURE}") from error


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
        FileNotFoundError: there is no such file.
        ArtifactError: the file is not JSON, holds something else, a name twice, or a number that is not finite.
    """
    try:
        found = parse_json(read_text(path))
    except ValueError as error:
        raise ArtifactError(f"{paths.shown(path)} is not valid JSON ({error}); {CURE}") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{paths.shown(path)} holds a {type(found).__name__}, not an object {{...}}; {CURE}")
    return found


DEEP = 20  # levels of lists and objects inside each other, of which no file of ours has half as many


def parse_json(text: str) -> object:
    """Return what a JSON text says.

    Raises:
        ValueError: it is none, is nested too deep, or holds a name twice or a number that is not finite.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict:
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{twice[0]!r} is there twice")
        return dict(pairs)

    def finite(text: str) -> float:
        raise ValueError(f"{text} is no finite number")

    def depth(value: object) -> int:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(depth, parts), default=0)

    try:
        found = json.loads(text, object_pairs_hook=unique, parse_constant=finite)
        if depth(found) <= DEEP:
            return found
    except RecursionError:
        pass
    raise ValueError(f"it is nested more than {DEEP} deep")


def save_csv(path: Path, rows: Iterable[dict], columns: Iterable[str]) -> None:
    """Write rows with exactly these columns as CSV, atomically; floats keep six significant digits."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(columns), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def save_tables(folder: Path, tables: dict[str, list[dict]]) -> None:
    """Write each table that has rows as ``NAME.csv`` in a folder, with the columns of its first row."""
    for name, rows in tables.items():
        if rows:
            save_csv(folder / f"{name}.csv", rows, rows[0])


def load_csv(path: Path) -> list[dict[str, str]]:
    """Read a CSV file as a list of rows; every value is text. One that comes with the project must be ``listed``.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: it is not UTF-8 text, has no names of columns, or one twice, or a line with more or fewer values.
    """
    text = read_text(path)
    if Path(path).is_relative_to(paths.DATA):
        listed(path)
    if "\0" in text:
        schema.refuse(path, "it holds bytes of zero, as of a disk that failed")
    try:
        columns, *lines = filter(None, csv.reader(io.StringIO(text, newline=""), strict=True))
    except (csv.Error, ValueError) as error:
        raise ArtifactError(f"{paths.shown(path)} is no CSV file ({error}); {CURE}") from error
    if twice := [name for name in columns if columns.count(name) > 1 or not name]:
        schema.refuse(path, f"its first line has the column {twice[0]!r} twice or without a name")
    for number, line in enumerate(lines, 2):
        if len(line) != len(columns):
            schema.refuse(path, f"row {number} has {len(line)} values for {len(columns)} columns")
    return [dict(zip(columns, line, strict=True)) for line in lines]


def listed(path: Path) -> bytes:
    """Return the bytes of a file that comes with the project, after checking them against ``SHA256SUMS`` beside it.

    Raises:
        FileNotFoundError: the file or the list of digests is missing.
        ArtifactError: the digest is another, or the list does not name the file.
    """
    path, sums = Path(path), Path(path).with_name("SHA256SUMS")
    for file in (sums, path):
        if not file.exists():
            raise FileNotFoundError(
                f"{paths.shown(file)} is missing; restore it with: git checkout {paths.shown(file)}"
            )
    known = {line.split()[-1].lstrip("*"): line.split()[0] for line in read_text(sums).splitlines() if line.strip()}
    raw = present(path).read_bytes()
    received, expected = hashlib.sha256(raw).hexdigest(), known.get(path.name, "none, it is not listed")
    if received != expected:
        raise ArtifactError(
            f"{paths.shown(path)} has sha256 {received}, expected {expected}; restore it with: "
            f"git checkout {paths.shown(path)}"
        )
    return raw


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
