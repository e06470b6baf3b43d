"""A fault and what comes of it, told by a rule: refused clearly, harmless, unclear, silent, hung, or code that ran."""

import contextlib
import re
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils.core.artifacts import ArtifactError, digest

CLEAR, HARMLESS, SILENT, UNCLEAR, HUNG, RAN = OUTCOMES = (
    *("refused clearly", "harmless", "silent", "unclear", "hung"),
    "ran code",
)
BAD = (SILENT, UNCLEAR, HUNG, RAN)
FORESEEN = (OSError, ValueError, FloatingPointError, ArtifactError)  # those that the commands make a line of
# a clause of a message that says what is allowed, or what to do
CURE = re.compile(
    r"\b(allowed (?:is|are)|must|known are|there are|expected|needed (?:is|are)|required|takes)\b|^usage: |"
    r"(?:^|[;:,.(]|\b(?:or|and|then|to|it|first|either)\b|'|`)\s*(?:please )?"
    r"(ask|change|check|choose|convert|copy|delete|download|execute|export|free|get|give|keep|leave|look|lower|make|"
    r"move|name|put|quote|record|remove|rename|replace|replay|restore|run|save|set|take|top|try|unset|use|wait|write)\b",
    re.MULTILINE,
)
LIMIT = 60.0  # seconds that a fault may take; the slowest needs two


class Told(NamedTuple):
    """What a part that raises nothing says of a fault, to be judged as an error's text is."""

    text: str


class Fault(NamedTuple):
    """One fault: what is done, and what would be right.

    Attributes:
        kind: of the table.
        into: what it is injected into.
        name: what is done; unique for its kind and target.
        attempt: does it, puts all back, and returns the result of the project's own loader or command, or ``Told``.
        named: texts of which a clear message holds one: the file, the parameter or the value.
        expected: returns the result without the fault; None where no result is right.
        canary: a file that is there once code of the fault's own ran.
    """

    kind: str
    into: str
    name: str
    attempt: Callable[[], object]
    named: tuple[str, ...]
    expected: Callable[[], object] | None = None
    canary: Path | None = None


class Begun(Exception):
    """What a notebook that would be executed is stopped by: nothing was wrong with the request."""


class Refused(Exception):
    """A command that ended with status 1 or 2; its text is what it wrote to the error stream."""


class Hung(BaseException):
    """A fault took longer than ``LIMIT``; no handler of errors may take it for one."""


def judge(fault: Fault) -> tuple[str, str]:
    """Return what came of a fault, of ``OUTCOMES``, and what was said of it."""
    text, found, clear = None, None, True
    try:
        with limited(LIMIT), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = fault.attempt()
    except Hung:
        return HUNG, f"no end within {LIMIT:g} seconds"
    except Refused as error:
        text = str(error)
        lines = [line for line in text.splitlines() if re.match(r"(python -m \S+(?: \S+)?: )?error: ", line)]
        clear = len(lines) == 1 and "Traceback" not in text
    except FORESEEN as error:
        text = str(error)
    except Exception as error:  # what nobody foresaw is what is looked for
        text, clear = f"{type(error).__name__}: {error}", False
    if fault.canary and fault.canary.exists():
        remove = fault.canary.rmdir if fault.canary.is_dir() else fault.canary.unlink
        remove()
        return RAN, f"code of the fault ran; then: {text}"
    if text is None and fault.expected and same(found, fault.expected()):
        return HARMLESS, ""
    if text is None:  # another result is no silent one if it came with a word
        said = [str(each.message) for each in warned if each.category is UserWarning]
        text = found.text if isinstance(found, Told) else "; ".join(said) or None
    if text is not None:
        return (CLEAR if clear and is_clear(text, fault.named) else UNCLEAR), text
    return SILENT, f"another result: {' '.join(repr(found).split())[:200]}"


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise ``Hung`` in a block of the main thread that takes longer."""

    def stop(*_: object) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


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
