import subprocess
import sys

import pytest

from sega_utils import __main__ as commands
from sega_utils.core import artifacts, paths


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (None, 0, ""),
        (ValueError("sigma is 5"), 1, "error: sigma is 5\n"),
        (FileNotFoundError("no run x"), 1, "error: no run x\n"),
        (artifacts.ArtifactError("damaged"), 1, "error: damaged\n"),
    ],
)
def test_a_verb_tells_what_was_to_be_foreseen_in_a_line(monkeypatch, capsys, error, status, told):
    def run(args):
        if error:
            raise error

    monkeypatch.setitem(commands.VERBS, "tables", (run, []))
    assert commands.main(["tables"]) == status and capsys.readouterr().err == told


def test_a_verb_hides_no_bug_and_keeps_its_own_status(monkeypatch):
    monkeypatch.setitem(commands.VERBS, "tables", (lambda args: 3, []))
    assert commands.main(["tables"]) == 3
    monkeypatch.setitem(commands.VERBS, "tables", (lambda args: {}["x"], []))
    with pytest.raises(KeyError):
        commands.main(["tables"])


@pytest.mark.parametrize("request_", [["tabels"], ["tables", "--redme"], [], ["tune", "--arms", "None"]])
def test_a_wrong_request_is_refused_with_what_is_known(request_, capsys):
    with pytest.raises(SystemExit) as caught:
        commands.main(request_)
    assert caught.value.code == 2 and "usage: python -m sega_utils" in capsys.readouterr().err


def test_help_lists_every_verb_and_needs_no_torch():
    check = "import sys; from sega_utils import __main__ as m; print(m.parser().format_help()); "
    check += "assert 'torch' not in sys.modules"
    told = subprocess.run(
        [sys.executable, "-c", check], cwd=paths.ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert len(commands.VERBS) > 11 and all(f"\n    {name}" in told for name in commands.VERBS)


def test_no_other_module_is_a_command():
    files = {str(file.relative_to(paths.ROOT)): file.read_text() for file in (paths.ROOT / "sega_utils").rglob("*.py")}
    assert {name for name, text in files.items() if '__name__ == "__main__"' in text} == {
        "sega_utils/__main__.py",
        "sega_utils/execute.py",
    }
    assert sum("ArgumentParser(" in text for text in files.values()) == 2


@pytest.mark.parametrize("run", ["../x", "/abs", "{run}", "", "reference", "x" * 300, "a\0b", "x; touch y"])
def test_every_verb_with_a_run_asks_for_its_name_first(run, results, capsys):
    verbs = [name for name, (_, options) in commands.VERBS.items() if any(flag == "--run" for flag, _ in options)]
    assert len(verbs) > 8
    for name in verbs:
        needed = [(flag, options) for flag, options in commands.VERBS[name][1] if options.get("required")]
        given = [part for flag, _ in needed if flag not in {"--run"} for part in (flag, "1")]
        extra = {"studiogan": ["a", "b"], "judge": ["a"]}.get(name, [])
        assert commands.main([name, *extra, *given, f"--run={run}"]) == 1
        told = capsys.readouterr().err
        assert told.startswith("error: run is ") and told.count("\n") == 1 and len(told) < 250
    assert not results.exists()


@pytest.mark.parametrize(
    "request_",
    [["tune", "--seeds", "100", "100"], ["tune", "--arms", "No Aug", "No Aug"], ["attacks", "--epsilons", "8", "8"]],
)
def test_a_value_that_stands_twice_is_named(request_, capsys):
    assert commands.main(request_) == 1
    assert f"error: {request_[1]} holds " in (told := capsys.readouterr().err) and "twice; leave one" in told


@pytest.mark.parametrize("module", ["sega_utils", "sega_utils.execute"])
def test_commands_need_no_docstrings(module):
    subprocess.run([sys.executable, "-OO", "-m", module, "--help"], cwd=paths.ROOT, capture_output=True, check=True)


@pytest.mark.parametrize("given", [["--run=a", "--run=b"], ["--run", "a", "--run", "a"]])
def test_an_option_that_is_given_twice_is_refused(given, capsys):
    with pytest.raises(SystemExit) as end:
        commands.main(["tables", *given])
    assert end.value.code == 2 and "--run is given twice; leave one" in capsys.readouterr().err
