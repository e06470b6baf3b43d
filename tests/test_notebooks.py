"""What every committed notebook owes its reader."""

import ast
import re

import nbformat
import pytest

from sega_utils.core import parameters, paths

NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
MACHINE = re.compile(r"(?<![\w.~/])/(?:home|root|tmp|work|usr|opt|Users|var|mnt)\b|\b[A-Z]:\\\\?[A-Z]|\bipykernel_\d")
SECRET = re.compile(r"\b(?:sk|hf|ghp|gho|xox[bp])[-_][A-Za-z0-9_-]{16,}|\bAKIA[A-Z0-9]{16}\b|-----BEGIN")


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def trees(cells):
    """Return the syntax trees of the code cells; a shell magic is a syntax error."""
    return [ast.parse(cell.source) for cell in cells]


def outputs(cells):
    return [output for cell in cells for output in cell.outputs]


def texts(output):
    """Return all text of an output; images are left out, chance spells anything in them."""
    data = [value for kind, value in output.get("data", {}).items() if not kind.startswith("image/")]
    return "\n".join(map(str, [output.get("text", ""), *data]))


def test_it_begins_with_a_title_and_ends_in_words_without_numbers(notebook):
    first, last = notebook.cells[0], notebook.cells[-1]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    assert last.cell_type == "markdown" and last.source.startswith("## ")
    prose = re.sub(r"`[^`]*`|\[[^]]*\]\([^)]*\)", "", last.source)  # code and links may hold digits
    assert not re.search(r"\d", prose)


def test_its_cells_are_few_and_short(cells):
    assert 8 <= len(cells) <= 14
    assert max(len(cell.source.strip().splitlines()) for cell in cells) <= 15


def test_imports_stand_in_the_first_cell_and_parameters_in_the_second(cells, trees):
    imports = [any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(tree)) for tree in trees]
    assert imports == [True] + [False] * (len(cells) - 1)
    assert all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in trees[0].body)
    tags = [cell.metadata.get("tags", []) for cell in cells]
    assert [index for index, found in enumerate(tags) if "parameters" in found] == [1]


def test_its_parameters_say_what_is_allowed_and_are_never_reassigned(path, cells, trees):
    known = parameters.read(path)
    assert {"RUN", "DATASET", "SEED"} <= known.keys()
    assert [node.targets[0].id for node in trees[1].body] == list(known)
    stored = [
        node.id
        for tree in trees[2:]
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del))
    ]
    assert not known.keys() & set(stored)


def test_it_defines_nothing_and_reaches_for_no_shell_and_no_path(cells, trees):
    forbidden = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for tree in trees for node in ast.walk(tree) if isinstance(node, forbidden)]
    for cell in cells:
        assert not re.search(r"sys\.path|get_ipython|os\.system|subprocess", cell.source)


def test_every_marker_of_nbval_is_one_that_nbval_sees(cells):
    for cell in cells:
        for line in cell.source.splitlines():
            if "NBVAL_" in line:
                assert line.strip().startswith("# NBVAL_"), "nbval takes no notice of a marker behind code"


def test_some_output_is_compared(cells):
    assert any(
        "# NBVAL_CHECK_OUTPUT" in cell.source or "nbval-check-output" in cell.metadata.get("tags", []) for cell in cells
    )


def test_it_was_executed_once_from_top_to_bottom_without_errors(cells):
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for output in outputs(cells) if output.output_type == "error" or output.get("name") == "stderr"]


def test_it_names_no_machine_and_no_key(notebook, cells):
    for text in [cell.source for cell in notebook.cells] + [texts(output) for output in outputs(cells)]:
        assert not MACHINE.search(text), MACHINE.search(text)
        assert not SECRET.search(text), SECRET.search(text)


def test_its_metadata_carry_no_trace_of_a_run(notebook):
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3" and set(notebook.metadata.language_info) == {"name"}
    assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)
