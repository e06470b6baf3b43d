"""Faults in files of text: records, CSV files of the project and of runs, banks of prompts, YAML of parameters."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from unittest import mock

from sega_utils.core import artifacts, parameters, paths, records, schema
from sega_utils.data import catalogue
from sega_utils.studies import entries, grid, verify
from sega_utils.studies.faults import run as faults_run
from sega_utils.studies.faults.files import IN_PLACE, damaged, flipped, in_file
from sega_utils.studies.faults.judge import Fault, Told
from sega_utils.studies.faults.run import Bench
from sega_utils.studies.zoo import plan as zoo_plan
from sega_utils.text import prompts
from sega_utils.training import recipes

DEEP = 100_000  # levels of lists inside each other
# key of a record: values that it must not have
WRONG = {
    **{"text": "0.5", "true": True, "null": None, "percent": 84.9, "negative": -1, "NaN": float("nan")},
    **{"infinite": float("inf"), "a list": [0.5, 0.5], "an object": {"value": 0.5}},
}


def in_records(bench: Bench) -> Iterator[Fault]:
    """Yield faults in a record of each stage: values, keys, digests, and the file as a whole."""
    for folder in sorted(path for path in faults_run.place("records").iterdir() if path.is_dir()):
        file = sorted(folder.glob("*.json"))[0]
        raw = file.read_bytes()
        read = partial(records.read, faults_run.RUN, faults_run.DATASET, folder.name)
        record, expected = json.loads(raw), cache(read)
        changes = damaged(raw, bench.rng) | IN_PLACE | _forms(record) | _values(record)
        del changes["deleted"]  # a record less is a smaller run
        into = f"{folder.name}/{file.name}"
        yield from in_file("record", file, changes, read, expected, (folder.name,), into)


def _forms(record: dict) -> dict[str, bytes]:
    text = json.dumps(record, indent=1)
    return {
        **{"a list": json.dumps([record]).encode(), "a number": b"0.5", "null": b"null"},
        "a key twice": text.replace("{", '{"seconds": 1,', 1).encode(),
        "nested deep": b'{"run": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        "comma at the end": text.rstrip("}\n").encode() + b",}",
        **{"single quotes": text.replace('"', "'").encode(), "comment": b"// by hand\n" + text.encode()},
        "written in another form": json.dumps(record).encode(),
        "keys in another order": json.dumps(dict(reversed(record.items()))).encode(),
        "without digest": json.dumps({k: v for k, v in record.items() if k != schema.DIGEST}).encode(),
        "another's digest": json.dumps(record | {schema.DIGEST: "0" * 64}).encode(),
        "another key": json.dumps(record | {"note": 1}).encode(),
    }


def _values(record: dict) -> dict[str, bytes]:
    """Return records with a wrong value and a digest that fits it, as of a program with a fault."""
    found = {}
    keys = [
        key for key in ("accuracy", "seconds", "n_test", "fraction", "stage", "name", "param_seed") if key in record
    ]
    for key in keys:
        for what, value in WRONG.items():
            if key == "seconds" and what == "percent" or (key in {"stage", "name"} and what == "text"):
                continue
            changed = schema.sealed(record | {key: value})
            found[f"{key} {what}"] = json.dumps(changed).encode()
        found[f"{key} by hand"] = json.dumps(record | {key: 1 if key != "stage" else "x"}).encode()
        if key in schema.ALWAYS:
            less = {k: v for k, v in record.items() if k != key}
            found[f"without {key}"] = json.dumps(schema.sealed(less)).encode()
    return found


def in_tables(bench: Bench) -> Iterator[Fault]:
    """Yield faults in the CSV files that come with the project, in a copy of them, and in those of a run."""
    copy, rng = bench.folder / "data", bench.rng
    shutil.copytree(paths.DATA / "paper", copy / "paper")

    def read(file: Path) -> object:
        with mock.patch.object(paths, "DATA", copy):
            return artifacts.load_csv(file)

    for file in sorted((copy / "paper").glob("*.csv")):
        raw = file.read_bytes()
        changes = damaged(raw, rng) | IN_PLACE | _rows(raw)
        yield from in_file("CSV that is shipped", file, changes, partial(read, file), cache(partial(read, file)))
    sums = copy / "paper" / "SHA256SUMS"
    whole = partial(read, copy / "paper" / "claims.csv")
    changes = {k: v for k, v in (damaged(sums.read_bytes(), rng) | IN_PLACE).items() if "last" not in k}
    yield from in_file("CSV that is shipped", sums, changes, whole, cache(whole), ("claims.csv",))
    for file in sorted(faults_run.place("tables").glob("*.csv"))[:8]:
        raw = file.read_bytes()
        read_own = partial(artifacts.load_csv, file)
        changes = {k: v for k, v in _rows(raw).items() if k in STRUCTURE}
        changes |= {k: v for k, v in damaged(raw, rng).items() if k in UNREADABLE} | IN_PLACE
        yield from in_file("CSV of a run", file, changes, read_own, cache(read_own))


# what makes a table of a run no table, whatever it says; a number in it that is another is for ``verify`` to find
STRUCTURE = ("a value less", "a value more", "a column twice", "a column without a name", "quotes left open")
UNREADABLE = (
    *("empty", "UTF-16", "0xff before", "0xe9 inside", "with a mark at its beginning", "lines of Windows"),
    "zeros in the middle",
)


def _rows(raw: bytes) -> dict[str, bytes]:
    head, first, *rest = raw.splitlines(keepends=True)
    columns = head.rstrip().split(b",")
    body = b"".join(rest)
    return {
        "a value less": head + first.rsplit(b",", 1)[0] + b"\n" + body,
        "a value more": head + first.rstrip() + b",1\n" + body,
        "a column twice": b",".join([columns[0], *columns[:-1]]) + b"\n" + first + body,
        "a column without a name": b"," + b",".join(columns[1:]) + b"\n" + first + body,
        **{"quotes left open": head + b'"' + first + body, "a row less": head + body},
        **{"rows exchanged": head + body + first, "a row twice": head + first + first + body},
        **{"semicolons": raw.replace(b",", b";"), "decimal commas": raw.replace(b".", b",")},
        "no numbers": head + first.translate(bytes.maketrans(b"0123456789", b"x" * 10)) + body,
        "other numbers": head + first.translate(bytes.maketrans(b"0123456789", b"1234567890")) + body,
        "formula": head + b"=1+1" + first + body,
    }


def in_two_runs(bench: Bench) -> Iterator[Fault]:
    """Yield faults in one of two equal runs, whose difference the comparison bit for bit must find."""
    folder = faults_run.place("records").parent
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    compare = partial(verify.compare, copy, folder)
    for file in sorted((copy / "tables").glob("*.csv")):
        raw = file.read_bytes()
        # a share rather than a time, which may differ; a table without any number has its last letter changed
        place = next((raw.index(text) for text in (b"0.", b"1") if text in raw), len(raw.rstrip()) - 1)
        changes = {"a digit": raw[:place] + b"7" + raw[place + 1 :], "a row less": raw[: raw.rstrip().rfind(b"\n") + 1]}
        changes |= {"deleted": Path.unlink}
        yield from in_file("CSV of a run", file, changes, partial(_told, compare, file), None)


def _told(compare: Callable, file: Path) -> object:
    rows, _ = compare()
    return Told(f"{file.name}: {rows}; make it with: make run") if rows else "no difference"


def in_bank(bench: Bench) -> Iterator[Fault]:
    """Yield faults in a bank of recorded answers, which is replayed."""
    bank, rng = bench.folder / "prompts.jsonl", bench.rng
    told, source = catalogue.about(faults_run.DATASET)
    shutil.copyfile(source, bank)
    names = catalogue.published.FASHION_MNIST_CLASSES
    answers = prompts.load_bank(bank)
    model = next(iter(answers.values()))["requested_model"]
    replay = partial(prompts.expand, names, bank=bank, model=model, **told)
    lines = bank.read_bytes().splitlines(keepends=True)
    record = json.loads(lines[0])
    rest = b"".join(lines[1:])
    line = lambda value: json.dumps(value).encode() + b"\n" + rest
    changes = damaged(bank.read_bytes(), rng) | IN_PLACE
    changes |= {
        f"a bit of line {i + 1}": flipped(b"".join(lines), 8 * sum(map(len, lines[:i])) + 8 * 40) for i in range(8)
    }
    changes |= {f"line {i + 1} deleted": b"".join(lines[:i] + lines[i + 1 :]) for i in range(len(names))}
    changes |= {
        "a line twice": lines[0] + lines[0] + rest,
        "lines in another order": b"".join(reversed(lines)),
        "empty lines": b"\n".join(lines),
        "a line that is null": b"null\n" + rest,
        "a line of a number": b"5\n" + rest,
        "a line of a list": b"[]\n" + rest,
        "a line of an empty object": b"{}\n" + rest,
        "a line that is nested deep": b"[" * DEEP + b"]" * DEEP + b"\n" + rest,
        "a line of an infinite number": b'{"prompts": 1e999}\n' + rest,
    }
    for key in record:
        changes[f"without {key}"] = line({k: v for k, v in record.items() if k != key})
        for what, value in (("null", None), ("a number", 5), ("a list", [1]), ("an object", {"a": 1}), ("text", "x")):
            if record[key] != value:
                changes[f"{key} {what}"] = line(record | {key: value})
    yield from in_file("JSONL bank", bank, changes, replay, cache(replay))
    wrong = {
        "another model": ({"model": "gpt-9"}, ("gpt-9",)),
        "more prompts": ({"n_prompts": 13}, (bank.name,)),
        "another domain": ({"domain": "a stamp"}, (bank.name,)),
        "another class": ({"class_names": ("coat", "unicorn")}, ("unicorn",)),
        "a class twice": ({"class_names": ("coat", "coat")}, ("coat",)),
        "no class": ({"class_names": ()}, ("class",)),
    }
    for what, (asked, named) in wrong.items():
        words = {"class_names": names, "model": model} | told | asked
        attempt = partial(prompts.expand, words.pop("class_names"), bank=bank, **words)
        yield Fault("JSONL bank", bank.name, f"asked for {what}", attempt, named)


def _read_params() -> list[tuple[str, Callable[[Path], object]]]:
    """Return each file of parameters by its name, and how it is read."""

    def settings(file: Path) -> object:
        found = recipes.read(file)
        return {arm: recipes.settings_of(arm, own) for arm, own in found.items()}

    def given(file: Path) -> object:
        notebooks = [paths.NOTEBOOKS / f"{name}.ipynb" for name in ("01_clip", "02_generator", "05_training")]
        return [parameters.check(parameters.read_file(file, notebook), _known(notebook)) for notebook in notebooks]

    return [
        ("tuned.yaml", settings),
        ("ablations.yaml", entries.read),
        ("grid.yaml", lambda file: tuple(grid.read(file)[:5])),
        ("paper.yaml", given),
        ("digits.yaml", given),
        ("augmenters.yaml", zoo_plan.read),
    ]


_known = cache(parameters.read)
VALUES = {
    **{"null": "null", "octal": "010", "minutes": "1:30", "date": "2024-01-01", "yes": "yes", "NaN": ".nan"},
    **{"infinite": ".inf", "far below": "-99999999999", "far above": "99999999999999"},
    **{"nested deep": "[" * 3000 + "]" * 3000, "an object": "{a: {b: c}}", "control character": '"a\\u0007b"'},
    **{"a tag of Python": "!!python/object/apply:os.system [true]", "long": "x" * 5000},
}


def in_params(bench: Bench) -> Iterator[Fault]:
    """Yield faults in the YAML files of parameters: their form, and the value behind each name."""
    folder, rng = bench.folder / "params", bench.rng
    shutil.copytree(paths.PARAMS, folder)
    for name, read in _read_params():
        file = folder / name
        text = file.read_text(encoding="utf-8")
        changes = {k: v for k, v in damaged(text.encode(), rng).items() if k not in CUT} | IN_PLACE
        changes |= {
            "comment": b"# by hand\n" + text.encode(),
            "a list": b"- 1\n- 2\n",
            "a number": b"5\n",
            "tab": b"\tx: 1\n" + text.encode(),
            "names that grow": _laughs(),
            "a name twice": text.encode() + b"\n" + text.encode(),
            "an unknown name": text.encode() + b"\nno_such_name: [1]\n",
            "a name that is a list": text.encode() + b"\n? [1, 2]\n: 3\n",
        }
        lines = text.splitlines(keepends=True)
        scalar = [i for i, line in enumerate(lines) if ": " in line.split("#")[0] and "{" not in line]
        for i in rng.sample(scalar, min(6, len(scalar))):
            before = lines[i].split(": ")[0]
            if lines[i].split("#")[0].count("[") == lines[i].split("#")[0].count("]"):
                for what, value in VALUES.items():
                    changed = "".join([*lines[:i], f"{before}: {value}\n", *lines[i + 1 :]])
                    changes[f"{before.strip()} (line {i + 1}) {what}"] = changed.encode()
        names = tuple(line.split(":")[0].strip() for line in lines if ":" in line and len(line.split(":")[0]) > 1)
        names += ("no_such_name",)
        yield from in_file("YAML", file, changes, partial(read, file), cache(partial(read, file)), names)


# of a file of settings a part may be a smaller file of settings
CUT = ("cut in the middle", "without its last bytes", "without its beginning", "one bit")


def _laughs() -> bytes:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    return "\n".join(rows).encode()
