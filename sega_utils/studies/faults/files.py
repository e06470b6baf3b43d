"""What happens to files: they are cut, flipped, emptied, replaced by folders and links; each is put back afterwards."""

import contextlib
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from sega_utils.studies.faults.judge import Fault

Change = bytes | Callable[[Path], None]  # what a file holds from then on, or what is done to it


def in_file(
    kind: str,
    path: Path,
    changes: dict[str, Change],
    read: Callable[[], object],
    expected: Callable[[], object] | None,
    named: tuple[str, ...] = (),
    into: str = "",
    canary: Path | None = None,
) -> Iterator[Fault]:
    """Yield a fault for each change of a file, which is read while it is changed.

    Args:
        named: beside the file's name, see ``Fault``; into: what the log calls the file, its name if empty.
    """

    def attempt_of(change: Change) -> Callable[[], object]:
        def attempt() -> object:
            with altered(path, change):
                return read()

        return attempt

    for name, change in changes.items():
        yield Fault(kind, into or path.name, name, attempt_of(change), (path.name, *named), expected, canary)


@contextlib.contextmanager
def altered(path: Path, change: Change) -> Iterator[None]:
    """Change a file or folder inside the block, and put it back as it was, whatever is there by then."""
    kept = path.with_name(f".kept-{path.name[:100]}")
    if kept.is_dir():
        shutil.rmtree(kept)
    os.replace(path, kept)  # and not the other way: what was read of it may still be mapped into memory
    try:
        if isinstance(change, bytes):
            path.write_bytes(change)
        else:
            (shutil.copytree if kept.is_dir() else shutil.copy2)(kept, path)
            change(path)
        yield
    finally:
        clear(path)
        os.replace(kept, path)


def clear(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_to(target: str) -> Callable[[Path], None]:
    """Return a change that puts a link in a file's place."""

    def change(path: Path) -> None:
        path.unlink()
        path.symlink_to(target or path.name)

    return change


def folder_instead(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


IN_PLACE: dict[str, Change] = {
    "deleted": Path.unlink,
    "link to itself": link_to(""),
    "link that leads nowhere": link_to("nowhere"),
    "folder in its place": folder_instead,
}


def flipped(raw: bytes, bit: int) -> bytes:
    """Return bytes of which one bit is the other one."""
    found = bytearray(raw)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)


def bits(raw: bytes, n: int, rng: random.Random) -> dict[str, Change]:
    """Return n changes of one bit each."""
    return {f"bit {bit}": flipped(raw, bit) for bit in rng.sample(range(8 * len(raw)), n)}


def cut(raw: bytes, *at: int) -> dict[str, Change]:
    """Return changes that leave only so many bytes of a file."""
    return {f"cut after {i} of {len(raw)} bytes": raw[:i] for i in at}


def damaged(raw: bytes, rng: random.Random) -> dict[str, Change]:
    """Return what disks, downloads and editors make of a file of text."""
    at, half = rng.randrange(8 * len(raw) // 4, 8 * len(raw) // 2), len(raw) // 2
    lines = raw.splitlines(keepends=True)
    return {
        "empty": b"",
        "cut in the middle": raw[:half],
        "without its last bytes": raw.rstrip()[:-3],
        "without its beginning": raw[half // 2 :],
        "one bit": flipped(raw, at),
        "zeros in the middle": raw[:half] + bytes(16) + raw[half + 16 :],
        "only zeros": bytes(len(raw)),
        "UTF-16": raw.decode().encode("utf-16"),
        "0xff before": b"\xff" + raw,
        "0xe9 inside": raw[:half] + b"\xe9" + raw[half:],
        "web page": b"<!DOCTYPE html><html><body>404</body></html>",
        "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "marks of a merge": b"".join(lines[:1]) + b"<<<<<<< HEAD\n" + b"".join(lines[1:]) + b">>>>>>> other\n",
        "with a mark at its beginning": b"\xef\xbb\xbf" + raw,
        "lines of Windows": raw.replace(b"\n", b"\r\n"),
    }
