"""Notebook parameters: lines ``NAME = literal  # meaning; allowed``, and values checked against them."""

import argparse
import ast
import difflib
import io
import math
import re
import tokenize
from pathlib import Path
from typing import NamedTuple

import yaml

from sega_utils.core import paths

# The data sets of data/catalogue.py, which needs torch. A comment may say DATASETS instead of listing them.
DATASETS = (
    "fashion-mnist",
    "fashion-mnist-full",
    "mnist",
    "mnist-5000",
    "cifar-10",
    "cifar-100",
    "svhn",
    "tiny-imagenet",
    "tiny-imagenet-64",
)
# What the part after the last ";" of a parameter's comment may look like, by the type of the literal.
_NUMBER = r"\S+ \.\. \S+|one of: .+"
_GRAMMAR = {bool: "true or false", int: _NUMBER, float: _NUMBER, str: "any text|one of: .+", list: "list of: .+"}


class Parameter(NamedTuple):
    """What a parameters cell says about one parameter."""

    default: bool | int | float | str | list
    meaning: str
    allowed: str


def read(notebook: Path) -> dict[str, Parameter]:
    """Return the parameters of a notebook by name, in their order.

    Raises:
        FileNotFoundError: no such notebook.
        ValueError: not a notebook, no or several cells tagged ``parameters``, or one that cannot be used.
    """
    if not notebook.is_file():
        raise FileNotFoundError(f"there is no notebook {notebook}; give one of notebooks/*.ipynb")
    import nbformat  # takes seconds, which only this function should cost

    try:
        cells = nbformat.read(notebook, as_version=4).cells
    except Exception as error:  # nbformat raises whatever the malformed part happens to cause
        raise ValueError(
            f"{paths.shown(notebook)} is not a Jupyter notebook ({type(error).__name__}); give one, or restore it"
        ) from error
    cells = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(cells) != 1:
        raise ValueError(f"{paths.shown(notebook)} has {len(cells)} cells tagged 'parameters'; it must have one")
    try:
        return declared(cells[0].source)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"the parameters cell of {paths.shown(notebook)} cannot be used: {error}") from error


def declared(source: str) -> dict[str, Parameter]:
    """Return the parameters that a cell's source declares.

    Raises:
        SyntaxError, ValueError: a line that is not ``NAME = literal  # meaning; allowed``.
    """
    known: dict[str, Parameter] = {}
    body = ast.parse(source).body
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    for node in body:
        try:
            (target,), default = node.targets, ast.literal_eval(node.value)
            meaning, _, allowed = (part.strip() for part in comments.get(node.end_lineno, "").rpartition(";"))
            allowed = re.sub(r"\bDATASETS\b", " | ".join(DATASETS), allowed)
            if not meaning or not re.fullmatch(_GRAMMAR[type(default)], allowed):
                raise ValueError("the comment does not end in '; allowed'")
            parse(default, default, allowed)
            known[target.id] = Parameter(default, meaning, allowed)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            line = source.splitlines()[node.lineno - 1]
            raise ValueError(
                f"{line!r} is not 'NAME = literal  # meaning; allowed', where allowed is 'LOW .. HIGH' or "
                "'one of: A | B' for a number, 'any text' or 'one of: A | B' for text, 'true or false', or 'list of: ' "
                f"and one of these for a list, and admits the literal ({error})"
            ) from error
    return known


def parse(value: object, default: object, allowed: str) -> bool | int | float | str | list:
    """Return a value, or its text, as the default's type.

    Raises:
        ValueError: it has another type or is not allowed.
    """
    if isinstance(default, list):
        items = parse_yaml(value) if isinstance(value, str) else value
        if not isinstance(items, list) or not items:
            raise ValueError("not a list of at least one item")
        found = [parse(item, default[0], allowed.removeprefix("list of: ")) for item in items]
        check_set(found, "the list")
        return found
    if isinstance(default, bool):
        if str(value).lower() not in {"true", "false"}:
            raise ValueError("neither true nor false")
        return str(value).lower() == "true"
    if isinstance(default, str) and not isinstance(value, str):
        raise ValueError("not text; quote it")
    value = type(default)(str(value))  # by way of text, so that neither True nor 1.5 passes for an integer
    if isinstance(value, str):
        check_text(value)
    if allowed == "any text":
        return value
    if limits := re.fullmatch(r"(\S+) \.\. (\S+)", allowed):
        inside = float(limits[1]) <= value <= float(limits[2])
    else:
        choices = [type(default)(choice.strip()) for choice in allowed.removeprefix("one of: ").split("|")]
        inside = value in choices or any(_begins(value, choice) for choice in choices if isinstance(choice, str))
    if not inside:
        raise ValueError("not among the allowed values")
    return value


def _begins(value: str, choice: str) -> bool:
    """Tell whether a value is a choice such as ``folder:PATH``: ``folder:`` and any text."""
    return choice.endswith(":PATH") and bool(value.removeprefix(choice[:-4]).strip()) and value.startswith(choice[:-4])


def check(given: dict, known: dict[str, Parameter]) -> dict:
    """Return given values, or their texts, as their parameters' types.

    Raises:
        ValueError: an unknown parameter, a wrong type or a value that is not allowed; the message lists what is.
    """
    checked = {}
    for name, value in given.items():
        if name not in known:
            similar = difflib.get_close_matches(name.upper(), known, 1)
            hint = f"; did you mean {similar[0]}?" if similar else ";"
            listing = "".join(f"\n  {k} = {p.default!r}  # {p.meaning}; {p.allowed}" for k, p in known.items())
            raise ValueError(f"unknown parameter {name!r}{hint} known are{listing}")
        default, meaning, allowed = known[name]
        try:
            checked[name] = parse(value, default, allowed)
        except (TypeError, ValueError) as error:
            kind, shown = "text" if isinstance(default, str) else type(default).__name__, repr(value)
            shown = shown if len(shown) <= 200 else f"{shown[:197]}..."
            raise ValueError(f"{name} is {shown}; allowed is {kind}: {allowed} ({meaning}): {error}") from error
    return checked


def read_file(path: Path, notebook: Path) -> dict:
    """Return what a YAML file of ``NAME: value`` says for a notebook.

    What stands at the file's top is for every notebook, a section named like a notebook for that one alone.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, not a mapping, or a section named like no notebook.
    """
    content = load_yaml(path)
    if not isinstance(content, dict):  # of an emptied file, the defaults would be taken without a word
        held = "nothing" if content is None else f"a {type(content).__name__}"
        raise ValueError(f"{paths.shown(path)} holds {held}; it must hold lines 'NAME: value', {{}} if there are none")
    sections = {name: value for name, value in content.items() if isinstance(value, dict)}
    if strange := [name for name in sections if not notebook.with_name(f"{name}.ipynb").is_file()]:
        raise ValueError(f"{paths.shown(path)} has a section {strange[0]!r}, but no notebook is named so")
    return {name: value for name, value in content.items() if name not in sections} | sections.get(notebook.stem, {})


def check_set(values: list, what: str) -> None:
    """Refuse a list with a value that stands there twice: what is counted over seeds or arms would count it twice.

    Raises:
        ValueError: the message names it.
    """
    if twice := [value for value in values if values.count(value) > 1]:
        raise ValueError(f"{what} holds {twice[0]!r} twice; leave one")


def check_seeds(final: dict) -> None:
    """Refuse seeds for a part of a notebook's work that are not among its SEEDS: they would be left out.

    Args:
        final: every parameter of the notebook by name; those that end in ``_SEEDS`` are compared with SEEDS.

    Raises:
        ValueError: the message names those that are not.
    """
    for name, seeds in final.items():
        if name.endswith("_SEEDS") and (strange := [s for s in seeds if s not in final.get("SEEDS", seeds)]):
            raise ValueError(f"{name} holds {strange}; allowed are those of SEEDS: {final['SEEDS']}")


DEEP = 50  # brackets inside each other in a YAML file
LONG = 4096  # characters that a text may have: the longest path
PRINTED = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]*")  # a tab and a new line are no harm


def check_text(value: str) -> str:
    """Return a text that can be shown and handed on.

    Raises:
        ValueError: it is too long, or holds characters that control a terminal.
    """
    if len(value) > LONG:
        raise ValueError(f"a text of {len(value):,} characters; allowed are {LONG:,}")
    if not PRINTED.fullmatch(value):
        wrong = value[PRINTED.match(value).end()]
        raise ValueError(f"a text with the control character {wrong!a}; remove it")
    return value


class Once(argparse.Action):
    """An option of a command line that may be given once: of two values, one would be dropped without a word."""

    given = False

    def __call__(self, parser: argparse.ArgumentParser, namespace: object, values: object, option_string=None) -> None:
        if self.given:
            parser.error(f"{option_string} is given twice; leave one")
        self.given = True
        setattr(namespace, self.dest, values)


class _Plain(yaml.SafeLoader):
    """YAML as people read it: a name twice, and what YAML would take for something else than it looks, is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]  # <<, which names no entry
        names = [self.construct_object(key, deep=True) for key in keys]
        for i, (name, key) in enumerate(zip(names, keys, strict=True)):
            if not isinstance(name, str | int | float):
                raise _problem(key, f"{name!r} is no name")
            if name in names[:i]:
                raise _problem(key, f"{name!r} is there twice; leave one")
        return super().construct_mapping(node, deep)

    def fetch_flow_collection_start(self, kind: type) -> None:
        if self.flow_level >= DEEP:  # each level that is read takes longer than the one before
            raise yaml.scanner.ScannerError(problem="it is nested too deep", problem_mark=self.get_mark())
        super().fetch_flow_collection_start(kind)

    def construct_plain(self, node: yaml.ScalarNode) -> object:
        kind, text = node.tag.rpartition(":")[2], node.value
        found = yaml.SafeLoader.yaml_constructors[node.tag](self, node)
        if (kind == "int" and not re.fullmatch(r"[-+]?(0|[1-9]\d*)", text)) or (kind == "float" and ":" in text):
            raise _problem(node, f"{text} would be read as the number {found}; write {found}, or '{text}' for a text")
        if kind == "float" and not math.isfinite(found):
            raise _problem(node, f"{text} is no finite number")
        if kind == "bool" and text.lower() not in {"true", "false"}:
            raise _problem(node, f"{text} would be read as {found}; write {str(found).lower()}, or '{text}' for a text")
        if kind == "timestamp":
            raise _problem(node, f"{text} would be read as a date; write '{text}' for a text")
        return found

    def construct_text(self, node: yaml.ScalarNode) -> str:
        try:
            return check_text(node.value)
        except ValueError as error:
            raise _problem(node, str(error)) from error


def _problem(node: yaml.Node, text: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(problem=text, problem_mark=node.start_mark)


_Plain.add_constructor("tag:yaml.org,2002:str", _Plain.construct_text)
for _kind in ("int", "float", "bool", "timestamp"):
    _Plain.add_constructor(f"tag:yaml.org,2002:{_kind}", _Plain.construct_plain)


def parse_yaml(text: str) -> object:
    """Return what a YAML text says, None if it is empty.

    Raises:
        ValueError: it is none, is nested too deep or too long, or says something else than it looks like, in one line.
    """
    try:
        if len(text) > 2**20:
            raise ValueError(f"it has {len(text):,} characters; allowed are {2**20:,}")
        found = yaml.load(text, _Plain)  # a SafeLoader
        if _count(found, {}) > 2**16:
            raise ValueError("its names for parts (&a, *a) make more than 65,536 values of it")
        return found
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        raise ValueError(" ".join(f"{problem}{f', line {mark.line + 1}' if mark else ''}".split())) from error


def _count(value: object, known: dict[int, int]) -> int:
    """Return how many values there are if each part that is named and used again is counted each time."""
    if not isinstance(value, list | dict):
        return 1
    if id(value) not in known:
        parts = value.values() if isinstance(value, dict) else value
        known[id(value)] = 2**32  # one that holds itself
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    return known[id(value)]


def load_yaml(path: Path) -> object:
    """Return what a YAML file holds, None if it is empty.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not YAML, or a name twice in one mapping, or see ``parse_yaml``; the message says where.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {paths.shown(path)}; give one of lines 'NAME: value'")
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{paths.shown(path)} is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except ValueError as error:
        raise ValueError(
            f"{paths.shown(path)} is not valid YAML: {error}; write it anew, or restore the file"
        ) from error
