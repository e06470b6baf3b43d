"""The package is a house of rooms: imports go downward only, and each room's door says what is in it."""

import ast
import json
import re

import pytest

from sega_utils.core import paths

PACKAGE = paths.ROOT / "sega_utils"
# A room imports only those of a lower floor; text and filters stand on one floor and do not know each other.
FLOORS = (
    ("core",),
    ("data",),
    ("text", "filters"),
    ("augmenters",),
    ("training",),
    ("evaluation",),
    ("studies",),
    ("report",),
)
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))


def place(file) -> str:
    return file.relative_to(PACKAGE).as_posix()


def imports(source: str) -> list[tuple[str, ...]]:
    """Return every name of the package that a source imports, as its parts: ("core", "paths", "shown")."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sega_utils":
            found += [(*node.module.split(".")[1:], alias.name) for alias in node.names]
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("sega_utils")]
    return found


def module_of(parts: tuple[str, ...]) -> str:
    """Return the module that an import names, itself or by something in it: ``studies.zoo.rows``."""
    ends = [n for n in range(1, len(parts) + 1) if PACKAGE.joinpath(*parts[:n]).with_suffix(".py").is_file()]
    return ".".join(parts[: ends[0]])


def room_of(file) -> str:
    return place(file).split("/")[0]


def test_the_rooms_are_these():
    assert {room_of(file) for file in FILES if len(file.relative_to(PACKAGE).parts) > 1} == {*ROOMS, "verbs"}
    assert {file.name for file in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "execute.py"}


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) in ROOMS], ids=place)
def test_a_room_imports_only_rooms_below_it(file):
    own = room_of(file)
    for target, *rest in imports(file.read_text()):
        assert target == own or ROOMS[target] < ROOMS[own], f"{file.name} of {own} imports {target}.{'.'.join(rest)}"


def test_no_module_imports_itself_by_way_of_another():
    """Imports inside a room go one way, too."""
    name = lambda file: ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
    modules = {name(file): file for file in FILES if file.name != "__init__.py"}
    graph = {}
    for module, file in modules.items():
        found = {".".join(parts[:n]) for parts in imports(file.read_text()) for n in (1, 2, 3)}
        graph[module] = found & modules.keys()
    while ends := [module for module, targets in graph.items() if not targets & graph.keys()]:
        for module in ends:
            del graph[module]
    assert not graph, f"these import each other: {sorted(graph)}"


@pytest.mark.parametrize(
    "module",
    ["core.paths", "core.parameters", "core.artifacts", "training.recipes", "studies.grid", "studies.zoo.members"],
)
def test_what_snakemake_plans_with_imports_no_torch(module):
    """Each job plans anew; torch would cost seconds every time."""
    seen, todo = set(), [module]
    while todo:
        seen.add(current := todo.pop())
        file = PACKAGE / f"{current.replace('.', '/')}.py"
        tree = ast.parse(file.read_text())
        outside = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        text = "\n".join(ast.unparse(node) for node in outside)
        assert not re.search(r"^(import|from) (torch|torchvision|timm|open_clip)\b", text, re.MULTILINE), current
        todo += [name for parts in imports(text) if (name := module_of(parts)) not in seen]


HEAVY = {"cv2", "diffusers", "imagededup", "open_clip", "skimage", "sklearn", "timm", "torchvision", "transformers"}


def test_importing_a_module_loads_no_library_that_takes_seconds():
    """Every kernel and worker process imports much of the package; only who needs such a library waits for it."""
    found = {
        (place(file), name.split(".")[0])
        for file in FILES
        for node in ast.parse(file.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module])
    }
    assert {pair for pair in found if pair[1] in HEAVY} == {("text/tower.py", "timm")}


def notebook_names() -> dict[str, set[str]]:
    """Return the names that notebooks use of each room, as ``module.name``."""
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for notebook in paths.NOTEBOOKS.glob("*.ipynb"):
        cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
        source = "\n".join("".join(cell["source"]) for cell in cells)
        modules = {}
        for node in ast.walk(tree := ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sega_utils."):
                for alias in node.names:
                    parts = (*node.module.split(".")[1:], alias.name)
                    if PACKAGE.joinpath(*parts).with_suffix(".py").is_file() or len(parts) == 1:
                        modules[alias.asname or alias.name] = parts
                    else:
                        found[parts[0]].add(".".join(parts[1:]))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
                room, *parts = modules[node.value.id]
                found[room].add(".".join((*parts, node.attr)))
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_says_what_notebooks_use_and_runs_no_code(room):
    tree = ast.parse((PACKAGE / room / "__init__.py").read_text())
    sentence, _, listed = ast.get_docstring(tree).partition("\n\nNotebooks use: ")
    assert sentence.endswith(".") and "\n" not in sentence
    names = {name.strip() for name in listed.rstrip(".").replace("\n", " ").split(",") if name.strip()}
    assert names == notebook_names()[room]
    code = [
        node for node in tree.body[1:] if not (room == "filters" and isinstance(node, (ast.ImportFrom, ast.Assign)))
    ]
    assert not code, "a door must not import: planning with training.recipes would cost torch"


# Functions that are longer than the house allows, most by their arguments, one a line. None may join them.
LONG = {"filters/bands:_losses", "studies/benchmark:measure_kernel"}


@pytest.mark.parametrize("file", FILES, ids=place)
def test_files_and_functions_are_short(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 350
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    long = {f"{place(file)[:-3]}:{node.name}" for node in functions if node.end_lineno - node.lineno >= 50}
    assert long == {name for name in LONG if name.startswith(f"{place(file)[:-3]}:")}


@pytest.mark.parametrize("notebook", sorted(paths.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_lines_of_notebooks_fit_a_screen(notebook):
    """All but parameters, which stand with their meaning and what is allowed on one line each."""
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            assert max(map(len, "".join(cell["source"]).splitlines())) <= 120
