"""Faults in what people ask for: parameters, names of runs and data sets, command lines."""

import json
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

from sega_utils.core import parameters, paths
from sega_utils.data import catalogue
from sega_utils.studies.faults.judge import Fault, commanded
from sega_utils.studies.faults.run import Bench


def in_parameters(_: Bench) -> Iterator[Fault]:
    """Yield wrong values and names of each parameter of each notebook."""
    for notebook in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        known = parameters.read(notebook)
        for name, parameter in known.items():
            for what, (value, right) in _values(parameter).items():
                attempt = partial(parameters.check, {name: value}, known)
                expected = None if right is None else partial(dict, {name: right})
                yield Fault("parameter", notebook.stem, f"{name} {what}", attempt, (name,), expected)
        for wrong in ("SED", "sigma ", "LEARNING_RATE", "", "RUN\n", "__class__"):
            attempt = partial(parameters.check, {wrong: 1}, known)
            yield Fault("parameter", notebook.stem, f"unknown {wrong!r}", attempt, ("unknown parameter",))


IN_A_LIST = ("null", "text", "below", "above", "unknown", "number", "control character")


def _values(parameter: parameters.Parameter) -> dict[str, tuple[object, object]]:
    """Return values by what is done, each with what it may be taken for, None if it must be refused."""
    default, _, allowed = parameter
    if isinstance(default, list):
        inner = _values(parameter._replace(default=default[0], allowed=allowed.removeprefix("list of: ")))
        found = {
            f"with {what}": ([*default[1:], value], None)
            for what, (value, right) in inner.items()
            if right is None and what in IN_A_LIST
        }
        found |= {"empty list": ([], None), "null": (None, None), "an object": ({"a": 1}, None)}
        found |= {
            "twice": ([default[0], default[0]], None),
            "unfinished list": ("[1, ", None),
            "list in list": ([default], None),
        }
        return found | {"as text": (json.dumps(default), default)}
    found = {"null": (None, None), "list": ([1, 2], None), "object": ({"a": 1}, None)}
    if isinstance(default, bool):
        return found | {"a number": (2, None), "yes": ("yes", None), "empty": ("", None), "capitals": ("TRUE", True)}
    if isinstance(default, str):
        found |= {"number": (5, None), "true": (True, None), "control character": ("a\x07b", None)}
        found |= {"null byte": ("a\0b", None), "too long": ("x" * 5000, None)}
        return (
            found if allowed == "any text" else found | {"unknown": ("no-such-thing", None), "capitals": ("AUTO", None)}
        )
    found |= {"text": ("many", None), "empty": ("", None), "NaN": ("nan", None), "infinite": ("inf", None)}
    found |= {
        "true": (True, None),
        "comma": ("0,5", None),
        "with a unit": ("5 px", None),
        "in hexadecimal": ("0x10", None),
    }
    if isinstance(default, int):
        found |= {"fraction": (1.5, None), "exponent": ("1e3", None)}
    if allowed.startswith("one of: "):
        return found | {"unknown": (12345, None)}
    low, _, high = allowed.partition(" .. ")
    for what, limit, step in (("below", low, -1), ("above", high, 1)):
        if limit:
            value = float(limit)
            found[what] = (
                int(value) + step if isinstance(default, int) else value + step * max(1e-6, abs(value)),
                None,
            )
            found[f"far {what}"] = (step * 10**15, None)
    spaced = f" {default} "
    return found | {"spaces around": (spaced, default)}


NAMES = {
    **{"above": "../x", "absolute": "/abs", "inside": "a/b", "empty": "", "space": " ", "dot": "."},
    **{"two dots": "..", "hidden": ".x", "wildcard": "{run}", "wildcard of a data set": "{dataset}", "star": "*"},
    **{"reserved": "reference", "reserved in capitals": "REFERENCE", "long": "x" * 300, "null byte": "a\0b"},
    **{"new line": "a\nb", "command": "x;touch y", "substitution": "$(touch y)", "backticks": "`touch y`"},
    **{"pipe": "a|b", "quote": "a'b", "double quote": 'a"b', "backslash": "a\\b", "colon": "a:b"},
    **{"umlaut": "länge", "emoji": "run\N{ROCKET}", "right to left": "a\u202eb", "invisible": "a\u200bb"},
    **{"tag": "<b>x</b>", "formula": "=1+1", "percent": "%2e%2e", "home": "~", "space inside": "my run"},
    **{"list": "[a, b]", "tilde": "~root", "with reference": "reference/../x", "question mark": "a?b"},
    "at a slash": "a@b/c",
}


def in_names(bench: Bench) -> Iterator[Fault]:
    """Yield names of runs and data sets that are none, given to the loaders and to the commands."""
    command, execute, folder = bench.command, bench.execute, bench.folder
    notebook = str(paths.NOTEBOOKS / "00_data.ipynb")
    for what, name in NAMES.items():
        doors = {
            "artifact": partial(paths.artifact, name, "fashion-mnist", "real"),
            "tables": partial(commanded, command, ["tables", f"--run={name}"]),
            "verify": partial(commanded, command, ["verify", f"--run={name}"]),
            "execute": partial(commanded, execute, [notebook, "-p", "RUN", name]),
        }
        named = ("run is", "RUN is", "--run")
        if what == "wildcard":  # which the Snakefile asks for, and no user can
            del doors["artifact"]
        for door, attempt in doors.items():
            yield Fault("RUN", door, what, attempt, named)
    for verb in ("tables", "verify", "publish", "ablations", "metadata"):
        attempt = partial(commanded, command, [verb, "--run", "nowhere"])
        yield Fault("RUN", verb, "a run without results", attempt, ("nowhere",))
    for value in (5, None, True, 0.5, ["a"], {"a": 1}, b"a", Path("a")):
        yield Fault("RUN", "run_name", f"{value!r}", partial(paths.run_name, value), ("run is",))
    others = {"unknown": "fashion", "capitals": "MNIST", "folder without a path": "folder:", "spaces": "folder:  "}
    others |= {"folder that is not there": "folder:/nowhere", "folder that is a file": f"folder:{notebook}"}
    others |= {"long folder": f"folder:{'x' * 300}", "null byte in a folder": "folder:a\0b", "Folder": "Folder:/tmp"}
    others |= {
        "an empty folder": f"folder:{folder}/nothing",
        "two colons": "folder::x",
        "URL": "https://example.org/x.zip",
    }
    (folder / "nothing").mkdir(exist_ok=True)
    refused = {k: v for k, v in NAMES.items() if "reserved" not in k and k != "wildcard of a data set"} | others
    for what, name in refused.items():
        doors = {
            "load": partial(catalogue.load, name, "test"),
            "about": partial(catalogue.about, name),
            "prompts": partial(commanded, command, ["prompts", f"--dataset={name}", "--model", "template"]),
        }
        if what == "an empty folder":  # of which nothing is to be told yet
            del doors["about"]
        if not name.startswith("folder:"):
            doors["execute"] = partial(commanded, execute, [notebook, "-p", "DATASET", name])
        shown = [part for part in (repr(name)[1:-1], name.partition(":")[2], Path(name).name) if part.strip()]
        named = ("data set", "DATASET", "dataset is", *shown)
        for door, attempt in doors.items():
            yield Fault("DATASET", door, what, attempt, named)


WORDS = ("", "none", "tabels", "TABLES", "'tables verify'", "''", "--run x", "-v", "--", "tables verify")


def in_commands(bench: Bench) -> Iterator[Fault]:
    """Yield command lines of ``python -m sega_utils`` that ask for what there is not, or for something twice."""
    kind, verbs = "command line", bench.verbs

    def ask(words: list[str]) -> Callable[[], str]:
        idle = {name: (lambda args: 0, arguments) for name, (_, arguments) in verbs.items()}

        def attempt() -> str:
            with mock.patch.dict(verbs, idle):
                return commanded(bench.command, words)

        return attempt

    for words in WORDS:
        yield Fault(kind, "sega_utils", words, ask(shlex.split(words)), ("usage",))
    for verb, (_, arguments) in verbs.items():
        required = [word for flag, more in arguments if more.get("required") for word in (flag, "1")]
        places = ["a", "b"][: sum(flag[0] != "-" for flag, _ in arguments)]
        for what, words in _wrong(arguments, required).items():
            yield Fault(kind, verb, what, ask([verb, *places, *required, *words]), (what.split()[0], "usage"))
        for i in range(0, len(required), 2):
            less = [verb, *places, *required[:i], *required[i + 2 :]]
            yield Fault(kind, verb, f"without {required[i]}", ask(less), (required[i],))


def _wrong(arguments: list[tuple], required: list[str]) -> dict[str, list[str]]:
    """Return what a verb's command line may wrongly end in."""
    found = {"an unknown option": ["--no-such-option"], "a short one": ["-x"], "a stray word": ["one", "two", "three"]}
    for flag, more in arguments:
        if flag[0] != "-":
            continue
        if more.get("action") != "store_true":
            found |= {} if more.get("nargs") == "*" else {f"{flag} without a value": [flag]}
            found[f"{flag} twice"] = [f"{flag}=1", f"{flag}=1"] if flag not in required else [f"{flag}=2"]
        if more.get("type") in (int, float):
            found[f"{flag} of a text"] = [flag, "many"]
        if "choices" in more:
            found[f"{flag} unknown"] = [flag, "no-such-thing"]
        found[f"{flag} cut short"] = [flag[:-1], "x"]
    return found


def in_executions(bench: Bench) -> Iterator[Fault]:
    """Yield command lines of ``python -m sega_utils.execute`` that cannot be meant."""
    notebook, folder = str(paths.NOTEBOOKS / "00_data.ipynb"), bench.folder
    lines = {
        **{"no notebook": [], "an unknown notebook": ["notebooks/99.ipynb"], "no notebook but text": ["README.md"]},
        **{"a folder": ["notebooks"], "a parameter twice": [notebook, "-p", "SEED", "1", "-p", "SEED", "2"]},
        "a parameter without a value": [notebook, "-p", "SEED"],
        "an option as a value": [notebook, "-p", "SEED", "-f"],
        "a file twice": [notebook, "-f", "a.yaml", "-f", "b.yaml"],
        "an output twice": [notebook, "-o", str(folder / "a.ipynb"), "-o", str(folder / "b.ipynb")],
        "output and --write": [notebook, "-o", "a.ipynb", "--write"],
        "the notebook as its output": [notebook, "-o", notebook],
        "--write and parameters": [notebook, "--write", "-p", "SEED", "1"],
        **{"an unknown option": [notebook, "--quiet"], "an unknown parameter": [notebook, "-p", "SED", "1"]},
        "a wrong value": [notebook, "-p", "SEED", "-1"],
        "a file that is not there": [notebook, "-f", "gone.yaml"],
    }
    for what, words in lines.items():
        attempt = partial(commanded, bench.execute, words)
        yield Fault("command line", "execute", what, attempt, ("usage", *words, "SED"))
