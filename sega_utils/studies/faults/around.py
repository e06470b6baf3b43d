"""Faults around the project: disks that refuse, writers that are killed, variables, make's command line, HTML."""

import errno
import html
import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

import torch

from sega_utils.core import artifacts, paths, records
from sega_utils.studies.faults.judge import Fault
from sega_utils.studies.faults.run import DATASET, RUN, Bench

# how the project writes a file: what it holds afterwards, of a number
WRITERS: dict[str, Callable[[Path, int], object]] = {
    "tensors": lambda path, i: artifacts.save_tensors(path, {"x": torch.full((99,), i)}),
    "JSON": lambda path, i: artifacts.save_json(path, {"x": i}),
    "CSV": lambda path, i: artifacts.save_csv(path, [{"x": i}], ["x"]),
    "text": lambda path, i: artifacts.save_text(path, f"{i}\n"),
}
# what a writer asks the system for, in this order
STEPS = {"folder": (Path, "mkdir"), "to disk": (os, "fsync"), "in place": (os, "replace")}
REFUSALS = (
    "ENOSPC",
    "EDQUOT",
    "EACCES",
    "EPERM",
    "EROFS",
    "EIO",
    "ENAMETOOLONG",
    "ELOOP",
    "ENOTDIR",
    "EISDIR",
    "ESTALE",
)


def on_disk(bench: Bench) -> Iterator[Fault]:
    """Yield disks that refuse, and processes that are killed, while a file is written in an older one's place.

    What is right: the older file as it was, nothing beside it, and for a disk a message that says what to do.
    """
    folder = bench.folder / "disk"
    for what, write in WRITERS.items():
        path = folder / f"{what}.file"
        write(path, 1)
        before = path.read_bytes()
        for step, (owner, name) in STEPS.items():
            for code in REFUSALS:
                attempt = partial(_refused, write, path, (owner, name), getattr(errno, code))
                yield Fault("disk", what, f"{code} at {step}", attempt, (path.name,))
            attempt = partial(_killed, write, path, (owner, name))
            yield Fault("killed", what, f"kill -9 at {step}", attempt, (), lambda before=before: (before, []))


def _beside(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if file.name.startswith(f".{path.name}"))


def _refused(write: Callable, path: Path, step: tuple[object, str], code: int) -> object:
    before = path.read_bytes()
    with mock.patch.object(*step, side_effect=OSError(code, os.strerror(code))):
        try:
            write(path, 2)
        except OSError:
            if path.read_bytes() != before or _beside(path):
                return "the older file is changed, or something is left beside it"
            raise
    return "written all the same"


def _killed(write: Callable, path: Path, step: tuple[object, str]) -> tuple[bytes, list[str]]:
    """Return what is there after a writer was killed and the next one wrote the older content again."""
    child = os.fork()
    if not child:
        with mock.patch.object(*step, side_effect=lambda *_, **__: os._exit(9)):
            write(path, 2)
        os._exit(0)
    try:
        os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    found = path.read_bytes()
    write(path, 1)
    return found, _beside(path)


def in_environment(bench: Bench) -> Iterator[Fault]:
    """Yield folders of results that are none, or that nothing can be read from or written into."""
    folder = bench.folder / "places"
    folder.mkdir()
    (folder / "file").write_text("x")
    (folder / "circle").symlink_to("circle")
    (folder / "nowhere").symlink_to(folder / "gone" / "file" / "x")
    places = {"a file": "file", "below a file": "file/x", "a link to itself": "circle", "a long name": "x" * 300}
    places |= {"of the system": "/proc/x", "a device": "/dev/null"}
    doors = {
        "write": lambda: artifacts.save_json(paths.artifact("new", DATASET, "clip"), {"x": 1}),
        "read": lambda: paths.require(RUN, DATASET, "real"),
        "records": lambda: records.load(records.path(RUN, DATASET, "data", "data")),
    }
    for what, place in places.items():
        for door, use in doors.items():
            attempt = partial(_with, {"SEGA_RESULTS": str(folder / place)}, use)
            yield Fault("environment", "SEGA_RESULTS", f"{what}: {door}", attempt, ("SEGA_RESULTS", "results/"))


def _with(variables: dict[str, str], use: Callable[[], object]) -> object:
    with mock.patch.dict(os.environ, variables):
        return use()


# what users may give to make, for which shells, make and YAML have uses of their own
GIVEN = (
    "a b",
    "Anna's",
    'a "b"',
    "x;touch CANARY",
    "$(touch CANARY)",
    "$(shell touch CANARY)",
    "`touch CANARY`",
    "a|b",
)
GIVEN += (
    "a&b",
    "a>CANARY",
    "$HOME",
    "$$",
    "a#b",
    "a\\",
    "*",
    "~",
    "{run}",
    "a: b",
    "007",
    "b\u00e4ume",
    "%",
    "!x",
    "a=b",
)
# variable: the target that takes it, what else it needs, and the word before its value
MAKE = {
    "RUN": ("verify", (), "--run"),
    "DATASET": ("prompts", (), "--dataset"),
    "MODEL": ("prompts", (), "--model"),
    "BANK": ("prompts", (), "--bank"),
    "BASE_URL": ("prompts", (), "--base-url"),
    "FRACTION": ("prompts", (), "--fraction"),
    "DATA": ("judge", (), "judge"),
    "BACKBONE": ("judge", ("DATA=x",), "--backbone"),
    "CORES": ("run", (), "--cores"),
}


def in_make(bench: Bench) -> Iterator[Fault]:
    """Yield values of make's variables; what is right: the program is given the same text, and nothing else runs."""
    canary = bench.folder / "canary"
    for variable, (target, others, before) in MAKE.items():
        for value in GIVEN:
            value = value.replace("CANARY", str(canary))
            given = [target, *others, f"{variable}={value}"]
            shown = value.replace(str(canary), "FILE")
            attempt = partial(_handed, given, before)
            expected = partial(str, value)
            yield Fault("make", f"make {target}", f"{variable}={shown}", attempt, (variable,), expected, canary)
        attempt = partial(_handed, [target, *others, f"{variable}=a\nb"], before)
        yield Fault("make", f"make {target}", f"{variable} of two lines", attempt, (variable,))


def _handed(given: list[str], before: str) -> str:
    """Return the word that make would hand to its program behind another one.

    Raises:
        ValueError: make refuses; the text is make's own.
    """
    made = subprocess.run(["make", "--dry-run", *given], cwd=paths.ROOT, capture_output=True, text=True)
    if made.returncode:
        raise ValueError(made.stderr)
    lines = made.stdout.replace("\\\n", " ").splitlines()
    words = shlex.split(next(line for line in lines if "-m sega_utils" in line or "bin/snakemake" in line))
    return words[words.index(before) + 1]


MARKUP = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='x", "&lt;b&gt;", "</title><b>")


def in_html(bench: Bench) -> Iterator[Fault]:
    """Yield texts that are HTML, of which the report may only show the text."""
    for what, make in bench.tags.items():
        for text in MARKUP:
            attempt = partial(_shown, make, text)
            yield Fault("HTML", what, text, attempt, (), lambda: "shown as it stands")


def _shown(make: Callable[[str], str], text: str) -> str:
    made, escaped = make(text), html.escape(text)
    return "shown as it stands" if escaped in made and text not in made.replace(escaped, "") else made
