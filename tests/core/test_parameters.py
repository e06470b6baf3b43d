import nbformat
import pytest
from nbformat import v4

from sega_utils.core import parameters
from sega_utils.data import catalogue

CELL = """\
# why these
RUN = "embedded"  # results folder; any text
DATASET = "fashion-mnist"  # data set; one of: fashion-mnist | cifar-10
SEED = 0  # seed, # of everything; 0 .. 9
LR = 1e-3  # step size; smaller is slower; 1e-5 .. 1
WIDTH = 64  # channels; one of: 64 | 128
FAST = True  # fast; true or false
ARMS = ["a", "b"]  # arms; list of: a | b | c d
SEEDS = [0, 1]  # seeds; list of: 0 .. 9
"""


@pytest.fixture
def known() -> dict:
    return parameters.declared(CELL)


def write(path, *sources, tags=("parameters",)):
    cells = [v4.new_code_cell(source, metadata={"tags": list(tags)}) for source in sources]
    nbformat.write(v4.new_notebook(cells=cells), path)
    return path


def test_a_cell_declares_defaults_meanings_and_what_is_allowed(known):
    assert list(known) == ["RUN", "DATASET", "SEED", "LR", "WIDTH", "FAST", "ARMS", "SEEDS"]
    assert known["SEED"] == (0, "seed, # of everything", "0 .. 9")
    assert known["LR"] == (0.001, "step size; smaller is slower", "1e-5 .. 1")


@pytest.mark.parametrize(
    "line",
    [
        "SEED = 0",
        "SEED = 0  # seed",
        "SEED = 0  # seed; any number",
        "SEED = 0  # ; 0 .. 9",
        "A = 0  # a; any text",
        "SEED = 10  # seed; 0 .. 9",
        "SEED = 1 + 1  # seed; 0 .. 9",
        "SEED = OTHER  # seed; 0 .. 9",
        "print(1)",
        "SEED: int = 0  # seed; 0 .. 9",
        "A = B = 0  # seed; 0 .. 9",
        "A = None  # a; 0 .. 9",
        "A = 0  # a; a .. b",
        "SEED += 1  # seed; 0 .. 9",
        "A = 'x'  # a; one of: y | z",
        "A = []  # a; list of: 0 .. 9",
        "A = [0]  # a; 0 .. 9",
        "A = True  # a; yes or no",
        "A = True  # a; 0 .. 1",
    ],
)
def test_a_line_of_another_form_is_refused_and_shown(line):
    with pytest.raises(ValueError, match="is not 'NAME = literal  # meaning; allowed'") as error:
        parameters.declared(line)
    assert line in str(error.value)


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"SEED": "9"}, {"SEED": 9}),
        ({"SEED": 3}, {"SEED": 3}),
        ({"LR": "1"}, {"LR": 1.0}),
        ({"LR": "1e-5"}, {"LR": 1e-5}),
        ({"WIDTH": "128"}, {"WIDTH": 128}),
        ({"FAST": "false"}, {"FAST": False}),
        ({"FAST": True}, {"FAST": True}),
        ({"ARMS": "[a, c d]"}, {"ARMS": ["a", "c d"]}),
        ({"SEEDS": [9]}, {"SEEDS": [9]}),
        ({"RUN": "x"}, {"RUN": "x"}),
        ({"DATASET": "cifar-10"}, {"DATASET": "cifar-10"}),
        ({}, {}),
    ],
)
def test_allowed_values_get_the_type_of_the_literal(given, expected, known):
    checked = parameters.check(given, known)
    assert checked == expected and [type(v) for v in checked.values()] == [type(v) for v in expected.values()]


def test_a_choice_that_ends_in_path_admits_any_path():
    known = parameters.declared('DATASET = "a"  # data set; one of: a | folder:PATH')
    for value in ("a", "folder:build/digits", "folder:/x y/z|w"):
        assert parameters.check({"DATASET": value}, known) == {"DATASET": value}
    for value in ("folder:", "folder: ", "folder", "build/digits", "xfolder:y"):
        with pytest.raises(ValueError, match="allowed is text: one of: a | folder:PATH"):
            parameters.check({"DATASET": value}, known)


def test_a_comment_may_name_all_data_sets_at_once_and_they_are_those_of_the_catalogue():
    assert parameters.DATASETS == tuple(catalogue.DATASETS)
    known = parameters.declared('DATASET = "mnist"  # data set; one of: DATASETS | folder:PATH')
    assert known["DATASET"].allowed == f"one of: {' | '.join(parameters.DATASETS)} | folder:PATH"
    for value in (*catalogue.DATASETS, "folder:mine"):
        assert parameters.check({"DATASET": value}, known) == {"DATASET": value}
    with pytest.raises(ValueError, match=r"allowed is text: one of: fashion-mnist \| .* \| folder:PATH \(data set\)"):
        parameters.check({"DATASET": "DATASETS"}, known)


@pytest.mark.parametrize(
    "name, value, allowed",
    [
        ("SEED", "10", "0 .. 9"),
        ("SEED", "-1", "0 .. 9"),
        ("SEED", "1.5", "int"),
        ("SEED", True, "int"),
        ("SEED", None, "int"),
        ("LR", "nan", "1e-5 .. 1"),
        ("LR", "inf", "1e-5 .. 1"),
        ("LR", "fast", "float"),
        ("WIDTH", "96", "64 | 128"),
        ("FAST", "1", "true or false"),
        ("ARMS", "a", "list of: a | b | c d"),
        ("ARMS", "[d]", "list of: a | b | c d"),
        ("ARMS", "[]", "list of"),
        ("ARMS", "[a", "list of"),
        ("SEEDS", "[10]", "0 .. 9"),
        ("SEEDS", [True], "0 .. 9"),
        ("DATASET", "mnist", "fashion-mnist | cifar-10"),
        ("RUN", 3, "any text"),
        ("RUN", {"a": 1}, "any text"),
    ],
)
def test_other_values_are_refused_with_what_is_allowed(name, value, allowed, known):
    with pytest.raises(ValueError) as error:
        parameters.check({name: value}, known)
    assert str(error.value).startswith(f"{name} is {value!r}; allowed is ") and allowed in str(error.value)


def test_an_unknown_parameter_is_refused_with_all_that_are_known(known):
    with pytest.raises(ValueError, match="unknown parameter 'seed'; did you mean SEED?") as error:
        parameters.check({"seed": "1"}, known)
    assert all(f"\n  {name} = " in str(error.value) and p.allowed in str(error.value) for name, p in known.items())


def test_a_notebook_needs_exactly_one_parameters_cell(tmp_path):
    assert list(parameters.read(write(tmp_path / "one.ipynb", "A = 1  # a; 0 .. 1"))) == ["A"]
    with pytest.raises(ValueError, match="0 cells tagged"):
        parameters.read(write(tmp_path / "none.ipynb", "A = 1  # a; 0 .. 1", tags=()))
    with pytest.raises(ValueError, match="2 cells tagged"):
        parameters.read(write(tmp_path / "two.ipynb", "A = 1  # a; 0 .. 1", "B = 1  # b; 0 .. 1"))
    with pytest.raises(ValueError, match="syntax"):
        parameters.read(write(tmp_path / "syntax.ipynb", "A = = 1"))


@pytest.mark.parametrize("content", ["", "{}", "[]", "no json", '{"cells": 3, "nbformat": 4}'])
def test_what_is_no_notebook_is_refused(content, tmp_path):
    (tmp_path / "x.ipynb").write_text(content)
    with pytest.raises(ValueError, match="x.ipynb"):
        parameters.read(tmp_path / "x.ipynb")
    with pytest.raises(FileNotFoundError, match="there is no notebook"):
        parameters.read(tmp_path / "y.ipynb")


def test_a_file_holds_parameters_for_all_notebooks_and_sections_for_one(tmp_path):
    one, other = write(tmp_path / "01_one.ipynb", "A = 1"), write(tmp_path / "02_other.ipynb", "A = 1")
    file = tmp_path / "paper.yaml"
    file.write_text("RUN: paper\nSEEDS: [1, 2]\n01_one: {LR: 1e-4, RUN: own}\n")
    assert parameters.read_file(file, one) == {"RUN": "own", "SEEDS": [1, 2], "LR": "1e-4"}
    assert parameters.read_file(file, other) == {"RUN": "paper", "SEEDS": [1, 2]}


@pytest.mark.parametrize(
    "content, message",
    [
        ("RUN: [", "not valid YAML"),
        ("- RUN", "holds a list"),
        ("", "holds nothing; it must hold lines"),
        ("03_gone: {A: 1}", "no notebook is named so"),
        ("SEED: 1\nRUN: a\nSEED: 2", "'SEED' is there twice"),
        ("01_one: {A: 1, A: 2}", "'A' is there twice"),
    ],
)
def test_an_unusable_file_is_refused(content, message, tmp_path):
    notebook, file = write(tmp_path / "01_one.ipynb", "A = 1"), tmp_path / "paper.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        parameters.read_file(file, notebook)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        parameters.read_file(tmp_path / "gone.yaml", notebook)


def test_an_entry_of_a_merged_mapping_may_be_overridden(tmp_path):
    file = tmp_path / "merged.yaml"
    file.write_text("a: &a {b: 1, c: 3}\nd: {<<: *a, b: 2}\n")
    assert parameters.load_yaml(file)["d"] == {"b": 2, "c": 3}


# YAML that looks like something else


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 010", "010 would be read as the number 8; write 8, or '010' for a text, line 1"),
        ("b: 1\na: 1:30", "1:30 would be read as the number 90; .*, line 2"),
        ("a: 1_000", "would be read as the number 1000"),
        ("a: no", "no would be read as False; write false"),
        ("a: 2024-01-15", "would be read as a date"),
        ("a: .inf", "no finite number"),
        ("a: 1\na: 2", "'a' is there twice; leave one, line 2"),
        ("? [1]\n: 2", "is no name"),
        ("[" * 3000, "nested too deep"),
        ('a: "\\x1b[31m"', "control character"),
        (f"a: {'x' * 5000}", "a text of 5,000 characters; allowed are 4,096"),
        (f"a: {'x ' * 2**20}", "allowed are 1,048,576"),
        ("\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(9)), "make more than"),
        ("a: &a [*a]", "make more than"),
        ("!!python/object/apply:os.system [echo]", "could not determine a constructor"),
    ],
)
def test_what_yaml_would_take_for_something_else_is_refused(text, message, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"x.yaml is not valid YAML: .*{message}") as error:
        parameters.load_yaml(file)
    assert "\n" not in str(error.value)


def test_what_yaml_reads_as_it_looks_is_read(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("a: [0, -1, 0.5, 5.0e-4, true, null, 'no', '010', é]\nb: &b {c: 1}\nd: {<<: *b}")
    assert parameters.load_yaml(file) == {
        "a": [0, -1, 0.5, 5e-4, True, None, "no", "010", "é"],
        "b": {"c": 1},
        "d": {"c": 1},
    }
    file.write_bytes(b"a: caf\xe9")
    with pytest.raises(ValueError, match="x.yaml is not UTF-8 text"):
        parameters.load_yaml(file)


@pytest.mark.parametrize("given", [[0, 0], "[0, 1, 0]", [1, "1"]])
def test_a_list_of_seeds_is_a_set(given):
    known = parameters.declared("SEEDS = [0, 1]  # seeds; list of: 0 .. 9")
    with pytest.raises(ValueError, match=r"SEEDS is .*; allowed is .*: the list holds . twice; leave one"):
        parameters.check({"SEEDS": given}, known)


TEXTS = [("x" * 5000, "5,000 characters"), ("a\0b", "control"), ("\x1b[2J", "control")]


@pytest.mark.parametrize(("value", "message"), TEXTS)
def test_a_text_is_short_and_can_be_shown(value, message):
    known = parameters.declared('RUN = "x"  # name; any text')
    with pytest.raises(ValueError, match=message) as error:
        parameters.check({"RUN": value}, known)
    assert len(str(error.value)) < 400 and str(error.value).isprintable()


def test_seeds_of_a_part_are_among_the_seeds():
    parameters.check_seeds({"SEEDS": [0, 1], "AUTOATTACK_SEEDS": [1], "RUN": "x"})
    parameters.check_seeds({"SCORE_SEEDS": [7]})
    with pytest.raises(ValueError, match=r"AUTOATTACK_SEEDS holds \[2, 3\]; allowed are those of SEEDS: \[0, 1\]"):
        parameters.check_seeds({"SEEDS": [0, 1], "AUTOATTACK_SEEDS": [1, 2, 3]})
