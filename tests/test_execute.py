import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest
from nbformat import v4

from sega_utils import execute
from sega_utils.core import paths

PARAMETERS = """\
RUN = "trial"  # results folder; any text
DATASET = "toy"  # data set; one of: toy
SEED = 0  # seed; 0 .. 9
"""
KEY = "sk-not-a-real-key-0123"


@pytest.fixture
def make(tmp_path):
    def make(*sources, name="03_some"):
        cells = [v4.new_markdown_cell("# Title"), v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
        path = tmp_path / f"{name}.ipynb"
        nbformat.write(v4.new_notebook(cells=cells + [v4.new_code_cell(source) for source in sources]), path)
        return path

    return make


@pytest.fixture
def folder(results):
    return results / "trial" / "toy" / "notebooks"


@pytest.fixture(autouse=True)
def unchanged_process():
    """Take back what main does to its process."""
    handler, environment = signal.getsignal(signal.SIGTERM), os.environ.copy()
    yield
    signal.signal(signal.SIGTERM, handler)
    os.environ.clear()
    os.environ.update(environment)


def start(*arguments):
    """Start the command line as a process of its own that Ctrl-C of this one does not reach."""
    command = [sys.executable, "-m", "sega_utils.execute", *map(str, arguments)]
    # what a shell runs in the background ignores Ctrl-C, and its children inherit that
    heed = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command,
        cwd=paths.ROOT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=heed,
    )


def wait_until(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_run_goes_to_the_place_its_parameters_name_and_shows_no_machine(make, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    fake = tmp_path / "jupyter" / "kernels" / "python3"  # a user's kernel of the same name, which cannot start
    fake.mkdir(parents=True)
    (fake / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    source = make(
        "import os, sys\nprint(SEED, os.getcwd(), sys.executable, os.environ['OPENAI_API_KEY'])",
        "from pathlib import Path\nPath.home() / 'x', os.environ['SEGA_RESULTS']",
    )
    before = source.read_bytes()
    assert execute.main([str(source), "-p", "SEED", "7"]) == 0
    assert capsys.readouterr().out == "results/trial/toy/notebooks/03_some.ipynb\n"
    assert files(folder) == ["03_some.ipynb"] and source.read_bytes() == before
    text = (folder / "03_some.ipynb").read_text()
    assert "7 . " in text and "/bin/python" in text and "<OPENAI_API_KEY>" in text
    for secret in (KEY, str(paths.ROOT), str(folder), str(tmp_path), str(sys.prefix), os.path.expanduser("~/")):
        assert secret not in text


def test_a_failed_cell_is_explained_and_leaves_nothing_that_looks_like_success(make, folder, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    source = make("print('fine')", "import os\nraise KeyError(os.environ['OPENAI_API_KEY'])")
    folder.mkdir(parents=True)
    (folder / "03_some.ipynb").write_text("an earlier success")
    assert execute.main([str(source)]) == 1
    message = capsys.readouterr().err
    assert "03_some.ipynb failed in cell [3]:\n    import os\n    raise KeyError" in message
    assert "KeyError: '<OPENAI_API_KEY>'" in message and "Traceback" not in message
    assert "results/trial/toy/notebooks/03_some.failed.ipynb" in message
    assert files(folder) == ["03_some.failed.ipynb"]
    kept = (folder / "03_some.failed.ipynb").read_text()
    assert "fine" in kept and KEY not in kept and str(paths.ROOT) not in kept
    assert execute.main([str(make("print('fine')"))]) == 0
    assert files(folder) == ["03_some.ipynb"]


@pytest.mark.parametrize(
    "stop, reason",
    [("import sys; sys.exit(0)", "stopped itself"), ("import os; os.kill(os.getpid(), 9)", "lack of memory")],
)
def test_a_notebook_that_ends_early_has_failed(stop, reason, make, folder):
    with pytest.raises(RuntimeError, match=reason):
        execute.execute(make(stop, "print('never')"))
    assert files(folder) == ["03_some.failed.ipynb"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-p", "SEDE", "1"], "unknown parameter 'SEDE'; did you mean SEED?"),
        (["-p", "SEED", "10"], "0 .. 9"),
        (["-p", "SEED", "x"], "0 .. 9"),
        (["-p", "RUN", "a/b"], "the name of one folder"),
        (["-f", "gone.yaml"], "there is no file"),
    ],
)
def test_a_wrong_request_says_what_is_allowed_and_writes_nothing(arguments, message, make, results, capsys):
    assert execute.main([str(make("print(1)")), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and "Traceback" not in error
    assert not results.exists()


def test_other_wrong_requests(make, tmp_path, capsys):
    source = make("print(1)")
    assert execute.main([str(tmp_path / "gone.ipynb")]) == 2
    for arguments in (
        ["-p", "SEED"],
        ["-o", str(source)],
        ["--write", "-p", "SEED", "1"],
        ["-o", "x", "--write"],
        ["-p", "SEED", "1", "-p", "SEED", "2"],
    ):
        with pytest.raises(SystemExit) as stopped:
            execute.main([str(source), *arguments])
        assert stopped.value.code == 2
    source.write_text(source.read_text().replace("RUN = ", "OTHER = "))
    assert execute.main([str(source)]) == 2
    assert "no parameters RUN and DATASET" in capsys.readouterr().err


def test_a_relative_results_folder_is_the_callers(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGA_RESULTS", "mine")
    source = make("from sega_utils.core import paths\npaths.artifact(RUN, DATASET, 'bank').write_text('x')")
    assert execute.main([str(source)]) == 0
    assert files(tmp_path / "mine" / "trial" / "toy") == ["notebooks", "prompts.jsonl"]


def test_the_command_line_goes_before_the_file(make, tmp_path):
    file = tmp_path / "paper.yaml"
    file.write_text("RUN: paper\n03_some: {SEED: 4}\n")
    output = tmp_path / "elsewhere" / "out.ipynb"
    assert execute.main([str(make("print(RUN, SEED)")), "-f", str(file), "-p", "RUN", "other", "-o", str(output)]) == 0
    assert "other 4" in output.read_text() and files(output.parent) == ["out.ipynb"]


@pytest.mark.parametrize("code, advice", [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "SEGA_RESULTS")])
def test_a_disk_that_takes_nothing_is_named(code, advice, make, results, monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("papermill.execute_notebook", fail)
    assert execute.main([str(make("print(1)"))]) == 1
    assert "cannot write results/trial/toy/notebooks/03_some.ipynb" in (error := capsys.readouterr().err)
    assert advice in error and not (results / "trial/toy/notebooks/03_some.ipynb").exists()


def test_written_outputs_carry_no_trace_of_the_run(make, folder, monkeypatch):
    monkeypatch.delenv("CI")
    source = make("import os\nprint(SEED)\nprint(os.environ['CI'])", "import sys\nprint('fine', file=sys.stdout)")
    assert execute.main([str(source), "--write"]) == 0
    first, notebook = source.read_bytes(), nbformat.read(source, as_version=4)
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert [cell.metadata for cell in notebook.cells] == [{}, {"tags": ["parameters"]}, {}, {}]
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert [output["text"] for output in notebook.cells[2].outputs] == ["0\n1\n"]
    assert execute.main([str(source), "--write"]) == 0
    assert source.read_bytes() == first and files(folder) == []


def test_a_failed_run_leaves_the_notebook_it_should_have_been_written_to(make, folder):
    source = make("1 / 0")
    before = source.read_bytes()
    assert execute.main([str(source), "--write"]) == 1
    assert source.read_bytes() == before and files(folder) == ["03_some.failed.ipynb"]


def test_an_interrupted_run_ends_its_kernel_without_a_traceback(make, folder, tmp_path):
    mark = tmp_path / "pid"
    process = start(make(f"import os, time\nopen({str(mark)!r}, 'w').write(f'{{os.getpid()}} ')\ntime.sleep(300)"))
    wait_until(lambda: mark.exists() and mark.read_text().endswith(" "))
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130 and "interrupted" in error and "Traceback" not in error
    assert files(folder) == ["03_some.failed.ipynb"]
    wait_until(lambda: not os.path.exists(f"/proc/{mark.read_text().strip()}"))


def test_a_killed_run_looks_like_no_success_and_the_next_one_is_undisturbed(make, folder, tmp_path):
    mark = tmp_path / "started"
    source = make(
        f"import pathlib, time\nmark = pathlib.Path({str(mark)!r})\nif not mark.exists():\n"
        "    mark.touch()\n    time.sleep(300)\nprint('through')"
    )
    process = start(source)
    wait_until(mark.exists)
    process.kill()
    process.communicate()
    assert files(folder) == ["03_some.failed.ipynb"]
    assert execute.main([str(source)]) == 0
    assert files(folder) == ["03_some.ipynb"] and "through" in (folder / "03_some.ipynb").read_text()


def test_two_runs_of_the_same_notebook_go_one_after_the_other(make, folder):
    folder.mkdir(parents=True)
    with open(folder / "03_some.failed.ipynb", "a") as claim:
        fcntl.flock(claim, fcntl.LOCK_EX)
        process = start(make("print(1)"))
        assert "another process is executing" in process.stderr.readline()
        assert process.poll() is None
    process.communicate(timeout=600)
    assert process.returncode == 0 and files(folder) == ["03_some.ipynb"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "RUN", "{run}"], "run is '{run}'; it must be the name of one folder"),
        (["-p", "RUN", "x" * 300], "at most 100 characters"),
        (["-p", "RUN", "reference"], "is reserved"),
        (["-p", "RUN", "-x"], "RUN is '-x'; what begins with - can only be a number"),
    ],
)
def test_a_runs_name_is_asked_for_first(arguments, message, make, results, capsys):
    try:
        status = execute.main([str(make("print(1)")), *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2 and message in capsys.readouterr().err and not results.exists()
