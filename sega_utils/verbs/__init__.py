"""The verbs of ``python -m sega_utils``, a file a subject; a new file here is found by itself.

A verb imports what it needs when it runs, so that help and typing errors cost no time.
"""

import importlib
import pkgutil
from collections.abc import Callable

VERBS: dict[str, tuple[Callable, list[tuple]]] = {}
RUN = [
    ("--run", {"default": "embedded", "help": "name of the results folder"}),
    ("--dataset", {"default": "fashion-mnist", "help": "data set, or folder:PATH"}),
]
DEVICE = ("--device", {"default": "auto", "choices": ("auto", "cpu", "cuda"), "help": "where to compute"})


def verb(name: str, *arguments: tuple) -> Callable:
    """Register a function as a verb; its docstring is the help, and the arguments are argparse's."""

    def register(function: Callable) -> Callable:
        VERBS[name] = function, list(arguments)
        return function

    return register


def load() -> None:
    """Register the verbs of every file here."""
    for found in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{found.name}")
