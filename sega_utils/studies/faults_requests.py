"""Faults in what people ask for: parameters, names of runs and data sets, command lines; and what an LLM answers."""

import json
import random
import shlex
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from unittest import mock

import httpx
import openai

from sega_utils.core import parameters, paths
from sega_utils.data import catalogue
from sega_utils.studies.faults_judge import Fault, commanded
from sega_utils.text import banks, llm, prompts

Command = Callable[[list[str]], int]


def in_parameters() -> Iterator[Fault]:
    """Yield wrong values and names of each parameter of each notebook."""
    for notebook in sorted(paths.NOTEBOOKS.glob("*.ipynb")):
        known = parameters.read(notebook)
        for name, parameter in known.items():
            for what, (value, right) in _values(parameter).items():
                attempt = partial(parameters.check, {name: value}, known)
                expected = None if right is None else partial(dict, {name: right})
                yield Fault("parameters", f"{notebook.stem}: {name} {what}", attempt, (name,), expected)
        for wrong in ("SED", "sigma ", "LEARNING_RATE", "", "RUN\n", "__class__"):
            attempt = partial(parameters.check, {wrong: 1}, known)
            yield Fault("parameters", f"{notebook.stem}: unknown {wrong!r}", attempt, ("unknown parameter",))


def _values(parameter: parameters.Parameter) -> dict[str, tuple[object, object]]:
    """Return values by what is done, each with what it may be taken for, None if it must be refused."""
    default, _, allowed = parameter
    if isinstance(default, list):
        inner = _values(parameter._replace(default=default[0], allowed=allowed.removeprefix("list of: ")))
        found = {f"with {what}": ([*default[1:], value], None) for what, (value, right) in inner.items() if right is None}
        found |= {"empty list": ([], None), "null": (None, None), "an object": ({"a": 1}, None)}
        found |= {"twice": ([default[0], default[0]], None), "unfinished list": ("[1, ", None), "list in list": ([default], None)}
        return found | {"as text": (json.dumps(default), default)}
    found = {"null": (None, None), "list": ([1, 2], None), "object": ({"a": 1}, None)}
    if isinstance(default, bool):
        return found | {"a number": (2, None), "yes": ("yes", None), "empty": ("", None), "capitals": ("TRUE", True)}
    if isinstance(default, str):
        found |= {"number": (5, None), "true": (True, None), "control character": ("a\x07b", None)}
        found |= {"null byte": ("a\0b", None), "too long": ("x" * 5000, None)}
        return found if allowed == "any text" else found | {"unknown": ("no-such-thing", None), "capitals": ("AUTO", None)}
    found |= {"text": ("many", None), "empty": ("", None), "NaN": ("nan", None), "infinite": ("inf", None)}
    found |= {"true": (True, None), "comma": ("0,5", None), "with a unit": ("5 px", None), "in hexadecimal": ("0x10", None)}
    if isinstance(default, int):
        found |= {"fraction": (1.5, None), "exponent": ("1e3", None)}
    low, _, high = allowed.partition(" .. ")
    for what, limit, step in (("below", low, -1), ("above", high, 1)):
        if limit:
            value = float(limit)
            found[what] = (int(value) + step if isinstance(default, int) else value + step * max(1e-6, abs(value)), None)
            found[f"far {what}"] = (step * 10**15, None)
    spaced = f" {default} "
    return found | {"spaces around": (spaced, default)}


NAMES = {
    "above": "../x",
    "absolute": "/abs",
    "inside": "a/b",
    "empty": "",
    "space": " ",
    "dot": ".",
    "two dots": "..",
    "hidden": ".x",
    "wildcard": "{run}",
    "wildcard of a data set": "{dataset}",
    "star": "*",
    "reserved": "reference",
    "reserved in capitals": "REFERENCE",
    "long": "x" * 300,
    "null byte": "a\0b",
    "new line": "a\nb",
    "command": "x;touch y",
    "substitution": "$(touch y)",
    "backticks": "`touch y`",
    "pipe": "a|b",
    "quote": "a'b",
    "double quote": 'a"b',
    "backslash": "a\\b",
    "colon": "a:b",
    "umlaut": "länge",
    "emoji": "run\N{ROCKET}",
    "right to left": "a\u202eb",
    "invisible": "a\u200bb",
    "tag": "<b>x</b>",
    "formula": "=1+1",
    "percent": "%2e%2e",
    "home": "~",
    "space inside": "my run",
    "list": "[a, b]",
    "tilde": "~root",
    "with reference": "reference/../x",
    "question mark": "a?b",
    "at a slash": "a@b/c",
}


def in_names(command: Command, execute: Command, folder: Path) -> Iterator[Fault]:
    """Yield names of runs and data sets that are none, given to the loaders and to the commands.

    Args:
        command: ``python -m sega_utils``; execute: ``python -m sega_utils.execute``; both without a notebook that runs.
    """
    notebook = str(paths.NOTEBOOKS / "00_data.ipynb")
    for what, name in NAMES.items():
        doors = {
            "artifact": partial(paths.artifact, name, "fashion-mnist", "real"),
            "tables": partial(commanded, command, ["tables", f"--run={name}"]),
            "verify": partial(commanded, command, ["verify", f"--run={name}"]),
            "execute": partial(commanded, execute, [notebook, "-p", "RUN", name]),
        }
        named = ("run is", "RUN is", "--run")
        for door, attempt in doors.items():
            yield Fault("RUN", f"{door}: {what}", attempt, named)
    for value in (5, None, True, 0.5, ["a"], {"a": 1}, b"a", Path("a")):
        yield Fault("RUN", f"name: {value!r}", partial(paths.run_name, value), ("run is",))
    others = {"unknown": "fashion", "capitals": "MNIST", "folder without a path": "folder:", "spaces": "folder:  "}
    others |= {"folder that is not there": "folder:/nowhere", "folder that is a file": f"folder:{notebook}"}
    others |= {"long folder": f"folder:{'x' * 300}", "null byte in a folder": "folder:a\0b", "Folder": "Folder:/tmp"}
    others |= {"an empty folder": f"folder:{folder}/nothing", "two colons": "folder::x", "URL": "https://example.org/x.zip"}
    (folder / "nothing").mkdir(exist_ok=True)
    refused = {k: v for k, v in NAMES.items() if "reserved" not in k and k != "wildcard of a data set"} | others
    for what, name in refused.items():
        doors = {
            "load": partial(catalogue.load, name, "test"),
            "about": partial(catalogue.about, name),
            "prompts": partial(commanded, command, ["prompts", f"--dataset={name}", "--model", "template"]),
        }
        if not name.startswith("folder:"):
            doors["execute"] = partial(commanded, execute, [notebook, "-p", "DATASET", name])
        shown = [part for part in (repr(name)[1:-1], name.partition(":")[2], Path(name).name) if part.strip()]
        named = ("data set", "DATASET", "dataset is", *shown)
        for door, attempt in doors.items():
            yield Fault("DATASET", f"{door}: {what}", attempt, named)


def in_commands(command: Command, execute: Command, verbs: dict[str, tuple]) -> Iterator[Fault]:
    """Yield command lines that ask for what there is not, or for something twice.

    Args:
        verbs: each verb's arguments, by its name, as ``sega_utils.verbs`` keeps them.
    """
    ask = lambda words: partial(commanded, command, words)
    for words in ([], ["tabels"], ["TABLES"], ["tables verify"], [""], ["--run", "x"], ["-v"], ["--"], ["tables", "verify"]):
        yield Fault("CLI request", f"sega_utils {shlex.join(words)}", ask(words), ("usage",))
    for verb, (_, arguments) in verbs.items():
        required = [word for flag, more in arguments if more.get("required") for word in (flag, "1")]
        places = ["a", "b"][: sum(flag[0] != "-" for flag, _ in arguments)]
        whole = [verb, *places, *required]
        changes = {"an unknown option": ["--no-such-option"], "a short one": ["-x"], "a stray word": ["one", "two", "three"]}
        for flag, more in arguments:
            if flag[0] != "-":
                continue
            if more.get("action") != "store_true":
                changes[f"{flag} without a value"] = [flag]
                changes[f"{flag} twice"] = [f"{flag}=1", f"{flag}=1"] if flag not in required else [f"{flag}=2"]
            if more.get("type") in (int, float):
                changes[f"{flag} of a text"] = [flag, "many"]
            if "choices" in more:
                changes[f"{flag} unknown"] = [flag, "no-such-thing"]
            changes[f"{flag} cut short"] = [flag[:-1], "x"]
        for what, words in changes.items():
            named = (what.split()[0], "usage")
            yield Fault("CLI request", f"{verb}: {what}", ask([*whole, *words]), named)
        for i in range(0, len(required), 2):
            less = [verb, *places, *required[:i], *required[i + 2 :]]
            yield Fault("CLI request", f"{verb}: without {required[i]}", ask(less), (required[i],))
    notebook = str(paths.NOTEBOOKS / "00_data.ipynb")
    lines = {
        "no notebook": [],
        "an unknown notebook": ["notebooks/99.ipynb"],
        "no notebook but text": ["README.md"],
        "a folder": ["notebooks"],
        "a parameter twice": [notebook, "-p", "SEED", "1", "-p", "SEED", "2"],
        "a parameter without a value": [notebook, "-p", "SEED"],
        "an option as a value": [notebook, "-p", "SEED", "-f"],
        "a file twice": [notebook, "-f", "a.yaml", "-f", "b.yaml"],
        "an output twice": [notebook, "-o", "a.ipynb", "-o", "b.ipynb"],
        "output and --write": [notebook, "-o", "a.ipynb", "--write"],
        "the notebook as its output": [notebook, "-o", notebook],
        "--write and parameters": [notebook, "--write", "-p", "SEED", "1"],
        "an unknown option": [notebook, "--quiet"],
        "an unknown parameter": [notebook, "-p", "SED", "1"],
        "a wrong value": [notebook, "-p", "SEED", "-1"],
        "a file that is not there": [notebook, "-f", "gone.yaml"],
    }
    for what, words in lines.items():
        yield Fault("CLI request", f"execute: {what}", partial(commanded, execute, words), ("usage", *words, "SED"))


KEY = "sk-not-a-key-5f2a91c07e"
NAME, N = "dress", 3


def from_llm(folder: Path, rng: random.Random) -> Iterator[Fault]:
    """Yield answers of an LLM that are not what was asked for, each followed by the same again."""
    good = [f"Photo {i} shows one dark {NAME}." for i in range(N)]
    bank = folder / "llm.jsonl"
    for what, content in _answers(good, rng).items():
        for status, finish in ((200, "stop"), *(((200, "length"),) if what == "good" else ())):
            reply = _completion(content, finish)
            attempt = partial(_asked, bank, lambda _, reply=reply: httpx.Response(200, json=reply))
            name = f"{what}{'' if finish == 'stop' else f', finished by {finish}'}"
            yield Fault("LLM answer", name, attempt, (repr(NAME),), partial(list, good))
    for what, response in _responses(good).items():
        yield Fault("LLM answer", what, partial(_asked, bank, response), (repr(NAME), "key"), partial(list, good))


def _completion(content: object, finish: str = "stop", **more: object) -> dict:
    message = {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    usage = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
    told = {"id": "1", "object": "chat.completion", "created": 1_700_000_000, "model": "stub", "usage": usage}
    return told | {"choices": [choice]} | more


def _answers(good: list[str], rng: random.Random) -> dict[str, object]:
    whole = json.dumps({"prompts": good})
    asked = lambda texts: json.dumps({"prompts": texts})
    found = {
        "good": whole,
        "thoughts before": f"<think>\nThey want [captions] like {{this}}.\n</think>\n{whole}",
        "thoughts that hold an answer": f'<think>{{"prompts": ["no"]}}</think>{whole}',
        "only thoughts": "<think>They want captions.",
        "fences": f"```json\n{whole}\n```",
        "a sentence around": f"Sure!\n{whole}\nLet me know.",
        "a bare list": json.dumps(good),
        "another object before": f'{{"note": ["a", "b"]}} {whole}',
        "another key": json.dumps({"captions": good}),
        "no JSON": "A dark dress. Another dress. A third dress.",
        "a table": "| 1 | a dress |\n| 2 | a dress |",
        "HTML": "<html><body>sign in</body></html>",
        "empty": "",
        "null": None,
        "only spaces": " \n ",
        "brackets without end": "[" * 5000,
        "numbers": asked([1, 2, 3]),
        "a text for a list": asked("a dress"),
        "an object for a list": asked({"1": good[0]}),
        "one too few": asked(good[:-1]),
        "one too many": asked([*good, "One more dark dress here."]),
        "none": asked([]),
        "one twice": asked([good[0], *good[:-1]]),
        "one twice in capitals": asked([good[0].upper(), *good[:-1]]),
        "another class": asked([text.replace(NAME, "coat") for text in good]),
        "a word that holds the class": asked([text.replace(NAME, "dresser") for text in good]),
        "too short": asked(["dress", *good[1:]]),
        "too long": asked([f"{good[0]} {'very ' * 200}", *good[1:]]),
        "line break": asked([good[0].replace(" ", "\n", 1), *good[1:]]),
        "control character": asked([f"{good[0]}\x07", *good[1:]]),
        "right to left": asked([f"\u202e{good[0]}", *good[1:]]),
        "the key": asked([f"{good[0]} {KEY}", *good[1:]]),
        "the key in capitals": asked([f"{good[0]} {KEY.upper()}", *good[1:]]),
        "the key with spaces": asked([f"{good[0]} {' '.join(KEY)}"[:200], *good[1:]]),
        "very long": "x" * 300_000,
        "plurals": asked([text.replace(NAME, "dresses") for text in good]),
    }
    for i in range(12):  # cut off wherever a limit of tokens cuts
        at = rng.randrange(1, len(whole) - 1)
        found[f"cut after {at} characters ({i})"] = whole[:at]
    return found


def _responses(good: list[str]) -> dict[str, Callable]:
    """Return what a server sends instead of an answer."""
    whole = json.dumps({"prompts": good})
    found = {
        f"status {code}": lambda _, code=code: httpx.Response(code, json={"error": {"message": "it failed"}})
        for code in (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 504, 529)
    }
    plain = {
        "a web page": "<html>sign in</html>",
        "no JSON": "it failed",
        "empty": "",
        "a list": "[]",
        "null": "null",
        "no choices": json.dumps(_completion(whole, choices=[])),
        "choices that are null": json.dumps(_completion(whole, choices=None)),
        "an error that says it is fine": json.dumps({"error": {"message": "overloaded", "code": 503}}),
        "cut off": json.dumps(_completion(whole))[:-40],
        "the key as model": json.dumps(_completion(whole, model=KEY)),
        "the key as fingerprint": json.dumps(_completion(whole, system_fingerprint=f"fp {KEY}")),
    }
    head = {"Content-Type": "application/json"}
    found |= {what: lambda _, text=text: httpx.Response(200, text=text, headers=head) for what, text in plain.items()}
    return found | {f"{error.__name__}": partial(_broken, error) for error in (httpx.ConnectError, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError)}


def _broken(error: type[Exception], request: httpx.Request) -> httpx.Response:
    raise error("it broke", request=request)


def _asked(bank: Path, respond: Callable) -> list[str]:
    """Return what ``prompts.expand`` makes of a server's responses; nothing of an invalid one may be on disk."""
    bank.unlink(missing_ok=True)
    client = openai.OpenAI(
        api_key=KEY,
        base_url="http://localhost/v1",
        max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(respond)),
    )
    server = llm.Server(client, list(llm.FORMATS))
    with mock.patch.object(llm, "connect", lambda *_: server):
        try:
            found = prompts.expand([NAME], bank=bank, n_prompts=N, live=True, model="stub")[NAME]
        except banks.PromptError as error:
            if bank.exists() or KEY in str(error):
                return ["the bank or the message holds what it must not"]
            raise
    return ["the bank holds the key"] if KEY in bank.read_text(encoding="utf-8") else found
