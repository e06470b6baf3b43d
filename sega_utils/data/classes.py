"""What a tree of class folders says about its classes: names that any later stage can use, and ``classes.yaml``."""

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import yaml

DOMAIN = "32x32 photo"  # what the images are, where classes.yaml does not say it
FILES = ("classes.yaml", "classes.yml")  # in any case
MAX_NAME, MAX_TEXT = 60, 300  # characters of a class's name; of the domain or a description
MAX_BYTES = 1_000_000  # of the file; a thousand classes with descriptions take a third
# A name stands in prompts, tables, HTML pages and figures; none of them must take a part of it for its own language.
MARKS = " -'.,()_"
ALLOWED = (
    f"1 .. {MAX_NAME} letters, digits, spaces and any of {' '.join(MARKS.strip())}, the first a letter or digit, the "
    "last no space"
)


class About(NamedTuple):
    """What ``classes.yaml`` says: the domain, a name for each class folder, a description for some of the names, and
    whether a mirrored image is still one of its class."""

    domain: str
    names: dict[str, str]
    descriptions: dict[str, str]
    mirrors: bool


class _Loader(yaml.BaseLoader):
    """Makes texts of everything (a folder called 0 or no is no number and no truth value); takes no key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        found = super().construct_mapping(node, deep=True)
        if len(found) < len(node.value):
            keys = [key.value for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), "<<")
            raise ValueError(f"{twice!r} stands there twice")
        return found


def read(root: Path, folders: Iterable[str]) -> About:
    """Return what ``classes.yaml`` in a tree says; where it says nothing, a class is called as its folder.

    It holds ``domain: TEXT``, ``mirror: true`` or ``false`` (without it, true), and ``classes:``, lines
    ``FOLDER: NAME`` or ``FOLDER: {name: NAME, description: TEXT}``.

    Args:
        folders: the class folders' names.

    Raises:
        ValueError: it holds something else, names a folder that is not there, or a class has no usable name.
    """
    path = described(root)
    content, entries = _content(path) if path else ({}, {})
    path = path or root / FILES[0]
    # A Mac writes names decomposed (e and an accent), an editor composed
    entries = {unicodedata.normalize("NFC", name): entry for name, entry in entries.items()}
    plain = {unicodedata.normalize("NFC", name): name for name in folders}
    if strange := entries.keys() - plain.keys():
        raise ValueError(
            f"{path} names {some(sorted(strange))}; the class folders are {some(list(plain))}: use their names"
        )
    names = {folder: entries.get(name, {}).get("name", name.replace("_", " ")) for name, folder in plain.items()}
    if wrong := [name for name in names.values() if not _usable(name)]:
        raise ValueError(
            f"class names that cannot be used: {some([_quoted(name) for name in wrong])}; allowed are {ALLOWED}. "
            f"Rename the folders, or name them in {FILES[0]}: 'classes:' with lines 'FOLDER: NAME'"
        )
    if len({" ".join(name.casefold().replace("_", " ").split()) for name in names.values()}) < len(names):
        raise ValueError(f"{path} or the folders give two classes one name: {some(sorted(names.values()))}; rename one")
    domain = content.get("domain", DOMAIN)
    told = {names[plain[name]]: entry["description"] for name, entry in entries.items() if "description" in entry}
    if wrong := [name for name, text in (("domain", domain), *told.items()) if not _speakable(text)]:
        raise ValueError(
            f"{path}: the text of {some(wrong)} cannot be used; allowed are 1 .. {MAX_TEXT} characters on one line, "
            "none of control"
        )
    return About(domain, names, told, content.get("mirror", "true") == "true")


def described(root: Path) -> Path | None:
    """Return the ``classes.yaml`` of a tree, however it is spelt, or None.

    Raises:
        ValueError: there are two, or it is no file.
    """
    found = sorted(path for path in root.iterdir() if path.name.casefold() in FILES)
    if len(found) > 1:
        raise ValueError(f"{root} holds {' and '.join(path.name for path in found)}; keep one, named {FILES[0]}")
    if found and not found[0].is_file():
        raise ValueError(f"{found[0]} is no file, or a link that leads nowhere; replace or delete it")
    return found[0] if found else None


def _content(path: Path) -> tuple[dict, dict[str, dict[str, str]]]:
    """Return what a ``classes.yaml`` holds, and of its classes ``name`` and ``description``."""
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; allowed are {MAX_BYTES:,}: shorten it")
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader) or {}
        classes = content.get("classes", {})
        entries = {name: {"name": e} if isinstance(e, str) else dict(e) for name, e in classes.items()}
        fields = {name for entry in entries.values() for name in entry}
        fields |= content.keys() - {"domain", "mirror", "classes"}
        sound = fields <= {"name", "description"} and isinstance(content.get("domain", DOMAIN), str)
        sound &= content.get("mirror", "true") in {"true", "false"}
        sound &= all(isinstance(value, str) for entry in entries.values() for value in entry.values())
        said = some(sorted(map(str, fields)))
    except UnicodeDecodeError:
        sound, said = False, "it is no UTF-8: save it as that"
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, RecursionError) as error:
        sound, said = False, " ".join(str(error).split())[:120] or type(error).__name__
    if not sound:
        raise ValueError(
            f"{path} cannot be used ({said}); allowed are 'domain: TEXT', 'mirror: true' or 'false', and 'classes:' "
            "with lines 'FOLDER: NAME' or 'FOLDER: {name: NAME, description: TEXT}'"
        )
    return content, entries


def _quoted(name: str) -> str:
    return ascii(name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}...")


def _usable(name: str) -> bool:
    kinds = [unicodedata.category(letter)[0] for letter in name]
    sound = all(kind in "LMN" or letter in MARKS for kind, letter in zip(kinds, name, strict=True))
    return sound and 1 <= len(name) <= MAX_NAME and kinds[0] in "LN" and name[-1] != " "


def _speakable(text: str) -> bool:
    control = any(unicodedata.category(letter)[0] == "C" or letter in "\u2028\u2029" for letter in text)
    return not control and 1 <= len(text.strip()) and len(text) <= MAX_TEXT


def some(items: list[str]) -> str:
    r"""Return the first ten of a list of names, and how many more there are; bytes that are no UTF-8 as ``\xe9``."""
    first = (os.fsencode(item).decode("utf-8", "backslashreplace") for item in items[:10])
    return ", ".join(first) + (f" and {len(items) - 10} more" if len(items) > 10 else "")
