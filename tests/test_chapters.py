"""The notebooks as chapters of a tutorial: linked in order, with equations of the code and exercises that run."""

import json
import re
import shlex

import pytest

from sega_utils.core import parameters, paths

INDEX = paths.NOTEBOOKS / "README.md"
CHAPTERS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
NAMES = [path.stem for path in CHAPTERS]
BOOKS = {path.stem: json.loads(path.read_text(encoding="utf-8"))["cells"] for path in CHAPTERS}
EQUATION = re.compile(r"\$\$.+?\$\$", re.DOTALL)
FENCE = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CITED = re.compile(r"`(sega_utils/[\w/]+\.py)`, `(\w+)`")


def source(cell: dict) -> str:
    return "".join(cell["source"])


def texts(name: str) -> list[str]:
    """Return the markdown cells of a chapter."""
    return [source(cell) for cell in BOOKS[name] if cell["cell_type"] == "markdown"]


def declared(name: str) -> dict[str, parameters.Parameter]:
    (cell,) = (cell for cell in BOOKS[name] if "parameters" in cell["metadata"].get("tags", []))
    return parameters.declared(source(cell))


def navigation(name: str) -> list[str]:
    """Return the targets that the first and the last cell of a chapter must end in: previous, index, next."""
    at = NAMES.index(name)
    return [f"{near}.ipynb" for near in NAMES[:at][-1:]] + ["README.md"] + [f"{n}.ipynb" for n in NAMES[at + 1 :][:1]]


def exercise(text: str) -> tuple[str, dict[str, dict[str, str]], str]:
    """Return run, values by chapter and parameter, and the last chapter of the one command in a cell.

    Raises:
        ValueError: the cell has no command, or one of another form.
    """
    commands = [line for block in FENCE.findall(text) for line in block.splitlines()]
    words = shlex.split(commands[0]) if len(commands) == 1 else []
    given = dict(word.partition("=")[::2] for word in words[2:])
    if words[:2] != ["make", "run"] or list(given) != ["RUN", "SET", "UNTIL"]:
        raise ValueError(f"{commands} is not one line 'make run RUN=NAME SET=\"NOTEBOOK.NAME=VALUE\" UNTIL=NOTEBOOK'")
    values: dict[str, dict[str, str]] = {}
    for word in given["SET"].split():
        place, _, value = word.partition("=")
        chapter, _, parameter = place.partition(".")
        values.setdefault(chapter, {})[parameter] = value
    return given["RUN"], values, given["UNTIL"]


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def test_it_begins_with_what_it_claims_and_needs(name):
    first = texts(name)[0]
    assert re.match(r"# .+\n\n\*\*.+\*\*\n\n", first), "a title, then the claim in bold"
    assert re.search("^(Realises|Sets) ", first, re.MULTILINE), "what of the poster it is about"
    for item in ("Input", "Output", "Expected time"):
        assert re.search(rf"^- {item}: \S", first, re.MULTILINE), item


def test_it_leads_to_its_neighbours_and_to_the_index(name):
    cells = texts(name)
    for text in (cells[0], cells[-1]):
        assert LINK.findall(text.splitlines()[-1]) == navigation(name)


def test_every_relative_link_resolves(name):
    for target in LINK.findall("\n".join(texts(name))):
        if not target.startswith(("http://", "https://")):
            assert (paths.NOTEBOOKS / target.partition("#")[0]).exists(), target


def test_its_equations_name_their_source_and_the_function_that_computes_them(name):
    sourced = [text for text in texts(name) if EQUATION.search(text) and re.search(r"^Source: .+", text, re.MULTILINE)]
    assert sourced
    for text in sourced:
        found = CITED.findall(text)
        assert found, "the line of the source says Code: `sega_utils/ROOM/FILE.py`, `FUNCTION`"
        for file, function in found:
            code = (paths.ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"^def {function}\(", code, re.MULTILINE), f"{file} has no function {function}"


def test_its_exercise_sets_parameters_that_exist_to_allowed_values(name):
    cells = [text for text in texts(name) if re.search(r"^Try: ", text, re.MULTILINE)]
    assert len(cells) == 1
    run, values, until = exercise(cells[0])
    assert until == name and f"`results/{run}/fashion-mnist/notebooks/{name}.ipynb`" in cells[0]
    for chapter, given in values.items():
        assert chapter in NAMES[: NAMES.index(name) + 1], f"{chapter} does not come before {until}"
        known = declared(chapter)
        checked = parameters.check(given, known)
        assert all(value != known[parameter].default for parameter, value in checked.items()), "nothing would change"


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ('make run RUN=a SET="03_projector.SIGNA=0.5" UNTIL=03_projector', "unknown parameter"),
        ('make run RUN=a SET="03_projector.SIGMA=9" UNTIL=03_projector', "allowed is"),
        ("make run RUN=a UNTIL=03_projector", "is not one line"),
    ],
)
def test_an_exercise_that_would_fail_is_found(command, error):
    with pytest.raises(ValueError, match=error):
        _, values, _ = exercise(f"Try: x\n\n```\n{command}\n```\n")
        parameters.check(values["03_projector"], declared("03_projector"))


def test_it_says_how_to_read_it_without_typing_in_results(name):
    (text,) = (text for text in texts(name) if text.startswith("## How to read this"))
    prose = re.sub(r"`[^`]*`|\[[^]]*\]\([^)]*\)", "", EQUATION.sub("", FENCE.sub("", text)))
    assert not re.search(r"\d\.\d", prose)
    assert len(prose.split()) > 60


def test_its_lines_of_code_do_not_scroll(name):
    lines = [line for text in texts(name) for block in FENCE.findall(text) for line in block.splitlines()]
    assert max(map(len, lines)) <= 120


def test_its_cells_are_short_enough_to_be_read(name):
    assert max(len(EQUATION.sub("", text).split()) for text in texts(name)) <= 230


def test_the_index_has_every_chapter_in_order_with_its_time():
    text = INDEX.read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[[^]]+\]\((\w+)\.ipynb\) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    assert [chapter for chapter, _, _ in rows] == NAMES
    for chapter, sentence, minutes in rows:
        assert len(sentence.split()) > 5
        assert f"- Expected time: {minutes}." in texts(chapter)[0], f"{chapter} says another time"
    for target in LINK.findall(text):
        assert (INDEX.parent / target).exists(), target
