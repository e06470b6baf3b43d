"""``docs/dependencies.md``: the licence of every package of ``uv.lock``, as the installed package says it."""

import re
import tomllib
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata

from sega_utils.core import numbers, paths

TEMPLATE = paths.ROOT / "docs" / "templates" / "dependencies.md"
ELSEWHERE = "not installed where this was written"


def page(known: str = "") -> str:
    """Return the list of packages and licences.

    Args:
        known: the list as it was; of a package that is not installed here, its line there stays.
    """
    lock = tomllib.loads((paths.ROOT / "uv.lock").read_text(encoding="utf-8"))
    names = sorted({package["name"] for package in lock["package"] if "editable" not in package["source"]})
    before = dict(re.findall(r"^\| (\S+) \| (.+) \|$", known.replace(r"\|", "|"), re.MULTILINE))
    rows = [{"package": name, "licence": installed(name) or before.get(name, ELSEWHERE)} for name in names]
    return TEMPLATE.read_text(encoding="utf-8").format(table=numbers.markdown(rows))


def installed(name: str) -> str:
    """Return the licence of an installed package in a few words, or nothing if it is not installed."""
    try:
        return licence(metadata(name))
    except PackageNotFoundError:
        return ""


def licence(found: PackageMetadata) -> str:
    """Return what a package's metadata says of its licence: expression, classifiers or first line."""
    if expression := found.get("License-Expression"):
        return expression
    classes = [text for text in found.get_all("Classifier") or [] if text.startswith("License ::")]
    names = [text.rpartition(" :: ")[2] for text in classes if text != "License :: OSI Approved"]
    first = (found.get("License") or "").strip().partition("\n")[0][:60]
    return ", ".join(names) or first or "not said"
