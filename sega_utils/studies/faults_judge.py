"""A fault and what comes of it, told by a rule: clear, recovered, unclear or silent."""

import contextlib
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils.core.artifacts import ArtifactError, digest

OUTCOMES = ("clear", "recovered", "unclear", "silent")
FORESEEN = (OSError, ValueError, FloatingPointError, ArtifactError)  # those that the commands make a line of
# what a message says that tells people what is allowed, or what to do
CURE = re.compile(
    r"\b(allowed|must|needed|needs?|known are|there are|choose|takes|expected (?:a list|\d+)|required|usage|"
    r"delete|restore|replace|convert|move|leave (?:one|out|it)|give|download|make (?:it|them) with|run|use|set|check|"
    r"wait|replay|rename|unset|write|record|keep (?:one|it)|quote|remove|change|lower|save it|ask|try again|get|"
    r"execute)\b"
)
CANARY = "code ran"


class Told(NamedTuple):
    """What a part that raises nothing says of a fault, to be judged as an error's text is."""

    text: str


class Fault(NamedTuple):
    """One fault: what is done, and what would be right.

    Attributes:
        kind: of the table.
        name: what is done to which target; unique.
        attempt: does it, puts all back, and returns the result of the project's own loader or command, or ``Told``.
        named: texts of which a clear message holds one: the file, the parameter or the value.
        expected: returns the result without the fault; None where no result is right.
        canary: a file that is there once code of the fault's own ran.
    """

    kind: str
    name: str
    attempt: Callable[[], object]
    named: tuple[str, ...]
    expected: Callable[[], object] | None = None
    canary: Path | None = None


class Begun(Exception):
    """What a notebook that would be executed is stopped by: nothing was wrong with the request."""


class Refused(Exception):
    """A command that ended with status 1 or 2; its text is what it wrote to the error stream."""


def commanded(command: Callable[[list[str]], int], words: list[str]) -> str:
    """Return what a command prints.

    Args:
        command: a ``main`` of the project, which takes the words behind its name and returns the status.

    Raises:
        Refused: its status is not 0.
    """
    out, err = _Text(), _Text()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = command(words)
        except Begun:
            return "begun"
        except SystemExit as end:
            status = end.code
    if status:
        raise Refused(str(err) or str(out))
    return str(out)


class _Text(list):
    """A stream that keeps what is written."""

    write, encoding = list.append, "utf-8"

    def flush(self) -> None:
        pass

    def __str__(self) -> str:
        return "".join(self)


def judge(fault: Fault) -> tuple[str, str]:
    """Return what came of a fault, of ``OUTCOMES``, and what was said of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found, text = fault.attempt(), None
        except Refused as error:
            found, text = None, str(error)
            lines = [line for line in text.splitlines() if re.match(r"(python -m \S+(?: \S+)?: )?error: ", line)]
            clear = len(lines) == 1 and "Traceback" not in text and is_clear(text, fault.named)
        except FORESEEN as error:
            found, text = None, str(error)
            clear = is_clear(text, fault.named)
        except Exception as error:  # what nobody foresaw is what is looked for
            found, text, clear = None, f"{type(error).__name__}: {error}", False
    if fault.canary and fault.canary.exists():
        fault.canary.unlink()
        return "silent", CANARY
    if isinstance(found, Told):
        text, clear = found.text, is_clear(found.text, fault.named)
    if text is not None:
        return ("clear" if clear else "unclear"), " ".join(text.split())
    if fault.expected and same(found, fault.expected()):
        return "recovered", ""
    return "silent", f"another result: {' '.join(repr(found).split())[:200]}"


def is_clear(text: str, named: tuple[str, ...]) -> bool:
    """Return whether a message names what is wrong, and says what is allowed or what to do."""
    return any(name and name in text for name in named) and bool(CURE.search(text))


def same(found: object, expected: object) -> bool:
    """Return whether two results are equal: of networks the weights, of tensors the bytes, of all else the value."""
    return _plain(found) == _plain(expected)


def _plain(value: object) -> object:
    if isinstance(value, torch.nn.Module):
        return digest(value.state_dict())
    if isinstance(value, torch.Tensor):
        return digest({"": value})
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


@contextlib.contextmanager
def altered(path: Path, change: Callable[[Path], None]) -> Iterator[None]:
    """Change a file or folder inside the block, and put it back as it was, whatever is there by then."""
    kept = path.with_name(f".kept-{path.name[:100]}")
    if kept.is_dir():
        shutil.rmtree(kept)
    copy = shutil.copytree if path.is_dir() else shutil.copy2
    os.replace(path, kept)  # and not the other way: what was read of it may still be mapped into memory
    copy(kept, path)
    try:
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


def delete(path: Path) -> None:
    """Remove a file."""
    path.unlink()


def link_to_itself(path: Path) -> None:
    """Put a link that leads to itself in a file's place."""
    path.unlink()
    path.symlink_to(path.name)


def dangling(path: Path) -> None:
    """Put a link that leads nowhere in a file's place."""
    path.unlink()
    path.symlink_to("nowhere")


def folder_instead(path: Path) -> None:
    """Put a folder in a file's place."""
    path.unlink()
    path.mkdir()


IN_PLACE = {
    "deleted": delete,
    "link to itself": link_to_itself,
    "link that leads nowhere": dangling,
    "folder in its place": folder_instead,
}


def written(raw: bytes) -> Callable[[Path], None]:
    """Return a change that gives a file these bytes."""
    return lambda path: path.write_bytes(raw)


def flipped(raw: bytes, bit: int) -> bytes:
    """Return bytes of which one bit is the other one."""
    found = bytearray(raw)
    found[bit // 8] ^= 1 << bit % 8
    return bytes(found)
