"""The pipeline's order and what it does again, on a stand-in: the real Snakefile, and notebooks that take no time."""

import fcntl
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from snakemake.cli import parse_config

from sega_utils.core import paths

# stages that do not need each other stand together
ORDER = [
    {"data"},
    {"clip"},
    {"prompts"},
    {"generator"},
    {"projector"},
    {"synthesis"},
    {"training"},
    {"shift", "adversarial", "ablations", "efficiency"},
    {"report"},
]
STAGES = sorted(set().union(*ORDER))
EXECUTE = """
import os, sys, time
from pathlib import Path
from sega_utils.core import paths
name, *given = Path(sys.argv[1]).stem, *sys.argv[2:]
run, dataset = given[given.index("RUN") + 1], given[given.index("DATASET") + 1]
with open(paths.ROOT / "executed", "a") as log:
    print(name, *given, file=log)
for artifact, (file, notebook) in paths.ARTIFACTS.items():
    if notebook == name:
        path = paths.artifact(run, dataset, artifact)
        path = path if path.suffix else path / "part"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{artifact} of {run} {dataset}")
        if os.environ.get("STOP_IN") == name:
            time.sleep(300)
path = paths.artifact(run, dataset, "notebooks") / f"{name}.ipynb"
path.parent.mkdir(exist_ok=True)
path.write_text(name)
"""

CHECK = """
def check_bank(dataset, run, **asked):
    if asked not in ({"live": True}, {"model": "template", "n_prompts": 4}):
        raise FileNotFoundError(f"{dataset} {run} {asked} has no prompts; make prompts")
"""


@pytest.fixture
def project(tmp_path):
    """Return a stand-in that has not run."""
    return build(tmp_path / "project")


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory):
    """Return a stand-in that has run through, for tests to copy."""
    root = build(tmp_path_factory.mktemp("finished") / "project")
    assert sorted(stems(run(root)[1])) == STAGES
    return root


@pytest.fixture
def finished(finished_once, tmp_path):
    """Return a stand-in that has run through."""
    return shutil.copytree(finished_once, tmp_path / "project")


def build(root):
    """Make a folder with the Snakefile, a package that executes nothing and notebooks that import a little of it."""
    for folder in ("core", "filters", "evaluation/deep"):
        (root / "sega_utils" / folder).mkdir(parents=True)
    for folder in ("notebooks/params", "data/models"):
        (root / folder).mkdir(parents=True)
    for file in (
        "Snakefile",
        "sega_utils/core/paths.py",
        "notebooks/params/tuned.yaml",
        "notebooks/params/ablations.yaml",
    ):
        shutil.copy(paths.ROOT / file, root / file)
    modules = {
        "__init__": "",
        "execute": EXECUTE,
        "__main__": "print('the table')\n",
        "core/__init__": '"""A door."""',
        "core/numbers": "x = 0\n",
        "filters/__init__": "from sega_utils.filters.rules import x\n",
        "filters/rules": "def f():\n    import sega_utils.core.numbers\n",
        "evaluation/__init__": "x = 0\n",
        "evaluation/deep/__init__": "",
        "evaluation/deep/kinds": "x = 0\n",
    }
    imports = {"04_synthesis": " import filters", "06_shift": ".evaluation.deep.kinds import x"}
    for name, source in modules.items():
        (root / "sega_utils" / f"{name}.py").write_text(source)
    for path in paths.NOTEBOOKS.glob("*.ipynb"):
        imported = imports.get(path.stem, ".core import paths")
        cell = {"cell_type": "code", "source": ["import os\n", f"from sega_utils{imported}\n"]}
        (root / "notebooks" / path.name).write_text(json.dumps({"cells": [cell]}))
    return root


def command(*options, given=()):
    """Return the command of `make run`, with what is given to make, for this interpreter."""
    made = ["make", "--dry-run", "run", *given]
    recipe = subprocess.run(made, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    lines = recipe.stdout.replace("\\\n", " ").splitlines()
    _, *arguments = shlex.split(next(line for line in lines if "bin/snakemake" in line))
    return [sys.executable, "-m", "snakemake", *arguments, *options]


def start(root, *options, given=(), **environment):
    """Start a run that finds the stand-in's package and results instead of the real ones."""
    environment = os.environ | {"PYTHONPATH": str(root), "SEGA_RESULTS": str(root / "results")} | environment
    return subprocess.Popen(
        command(*options, given=given),
        cwd=root,
        env=environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(root, *options):
    """Return what a run printed and which notebooks it executed, in order."""
    log = root / "executed"
    log.unlink(missing_ok=True)
    process = start(root, *options)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output, log.read_text().splitlines() if log.exists() else []


def stems(lines):
    return [line.split()[0].partition("_")[2] for line in lines]


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in (root / "results").rglob("*") if path.is_file()}


def wait_until(condition, process, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None and time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_notebooks_run_in_order_then_never_again_until_something_they_need_changes(project):
    output, executed = run(project)
    executed = stems(executed)
    for stages in ORDER:
        assert set(executed[: len(stages)]) == stages
        executed = executed[len(stages) :]
    assert not executed
    assert "the table\n" in output
    before = contents(project)

    for path in [*project.glob("notebooks/*"), *project.glob("sega_utils/**/*.py")]:
        path.touch()  # as git does when it changes branches
    output, executed = run(project)
    assert executed == [] and "Nothing to be done" in output and contents(project) == before

    (project / "sega_utils/core/__init__.py").write_text('"""A door without code; it must not import."""')
    assert run(project)[1] == []
    (project / "sega_utils/core/numbers.py").write_text("x = 1\n")  # that 04 reaches through a door and a function
    executed = stems(run(project)[1])
    assert executed[:2] == ["synthesis", "training"] and set(executed[2:-1]) == ORDER[-2] and executed[-1] == "report"

    classifiers = project / "results/embedded/fashion-mnist/classifiers"
    (classifiers / "done").touch()
    (classifiers / ".complete").unlink()
    executed = stems(run(project)[1])
    assert executed[0] == "training" and set(executed[1:-1]) == ORDER[-2] and executed[-1] == "report"
    assert (classifiers / "done").exists()

    (project / "results/embedded/fashion-mnist/prompts.safetensors").unlink()
    assert "prompts" in stems(run(project)[1])


@pytest.mark.parametrize("module", ["evaluation/__init__", "evaluation/deep/kinds"])
def test_an_edit_of_a_sub_package_runs_again_only_what_imports_it(module, finished):
    """Python runs each door on the way to a module, so one with code counts though no import ends at it."""
    (finished / f"sega_utils/{module}.py").write_text("x = 1\n")
    assert stems(run(finished)[1]) == ["shift", "report"]


def test_a_fresh_clone_runs_everything_though_its_tables_are_tracked(finished):
    for path in contents(finished):
        if not {"tables", "figures"} & set(path.parts) or path.name == ".complete":
            (finished / path).unlink()
    shutil.rmtree(finished / ".snakemake")
    assert sorted(stems(run(finished)[1])) == STAGES


@pytest.mark.parametrize("stage", ["04_synthesis", "05_training"])
def test_after_a_kill_the_same_command_ends_as_an_undisturbed_run(stage, project, finished_once):
    process, log = start(project, STOP_IN=stage), project / "executed"
    wait_until(lambda: log.exists() and stage in log.read_text(), process)
    made = [path for name, (path, notebook) in paths.ARTIFACTS.items() if notebook == stage]
    wait_until(lambda: any((project / "results/embedded/fashion-mnist" / path).exists() for path in made), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    done = stems(log.read_text().splitlines())[:-1]
    _, executed = run(project)
    assert sorted(done + stems(executed)) == STAGES and stage.partition("_")[2] == stems(executed)[0]
    assert contents(project) == contents(finished_once)
    assert run(project)[1] == []


def test_a_second_run_waits_for_the_first(project):
    folder = project / "results" / "embedded"
    folder.mkdir(parents=True)
    handle = os.open(folder, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    process = start(project)
    assert "another run is working in results/embedded" in process.stdout.readline()
    assert process.poll() is None and not (project / "executed").exists()
    os.close(handle)
    process.communicate()
    assert process.returncode == 0 and len((project / "executed").read_text().splitlines()) == len(STAGES)


def test_a_run_of_another_name_gets_its_parameters_and_its_own_folder(project):
    (project / "notebooks/params/paper.yaml").write_text("")
    options = ["--config", "run=paper", "dataset=fashion-mnist", "params=notebooks/params/paper.yaml"]
    _, executed = run(project, *options)
    assert all("-f notebooks/params/paper.yaml -p RUN paper -p DATASET fashion-mnist" in line for line in executed)
    assert [path.name for path in (project / "results").iterdir()] == ["paper"]
    (project / "notebooks/params/paper.yaml").write_text("SEED: 1\n")
    assert len(run(project, *options)[1]) == len(STAGES)


def test_a_results_folder_that_cannot_be_is_named(project):
    process = start(project, SEGA_RESULTS="/dev/null/results")
    assert "choose another folder with SEGA_RESULTS" in process.communicate()[0] and process.returncode != 0


def test_own_images_without_prompts_are_refused_before_anything_runs(project):
    (project / "mine/shirt").mkdir(parents=True)
    (project / "sega_utils/text").mkdir()
    (project / "sega_utils/text/prompts.py").write_text(CHECK)
    params = project / "notebooks/params/mine.yaml"
    params.write_text("00_data: {FRACTION: 1.0}\n01_prompts:\n")
    options = ["--config", "run=mine", "dataset=folder:mine", "params=notebooks/params/mine.yaml"]
    process = start(project, *options)
    assert "folder:mine mine {} has no prompts; make prompts" in process.communicate()[0]
    assert process.returncode != 0 and not (project / "executed").exists()
    for given in ("LIVE: true", "MODEL: template, N_PROMPTS: 4"):
        params.write_text(f"01_prompts: {{{given}}}\n")
        assert "prompts" in run(project, *options, "--dry-run")[0]


def test_a_fraction_is_given_to_the_notebook_of_the_data_alone_and_another_one_makes_them_again(project):
    made = ["make", "--dry-run", "run", "FRACTION=0.02"]
    recipe = subprocess.run(made, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout
    assert "fraction=' '\\''0.02'\\'' ' " in recipe

    executed = run(project, "--config", "fraction=0.02")[1]
    assert sorted(stems(executed)) == STAGES
    assert [line.partition("-p FRACTION ")[2] for line in executed] == ["0.02"] + [""] * (len(STAGES) - 1)
    assert run(project, "--config", "fraction=0.02")[1] == []
    assert run(project, "--until", "data", "--config", "fraction=0.1")[1][0].endswith("-p FRACTION 0.1")
    assert "FRACTION" not in run(project, "--until", "data")[1][0]


def test_every_committed_notebook_has_a_rule(results):
    notebooks, told = sorted(path.name for path in paths.NOTEBOOKS.glob("*.ipynb")), ""
    assert notebooks
    for aside in (
        "10_augmenters",
        "11_flare",
        "12_few_shot",
        "13_robust",
        "15_own_images",
        "16_groups",
    ):  # part of a run only where named
        plan = subprocess.run(
            [sys.executable, "-m", "snakemake", "--dry-run", "--printshellcmds", "--config", f"until={aside}"],
            cwd=paths.ROOT,
            capture_output=True,
            text=True,
        )
        assert plan.returncode == 0, plan.stdout + plan.stderr
        told += plan.stdout + plan.stderr
    for name in notebooks:
        assert f"sega_utils.execute notebooks/{name} " in told


# what is given to make, whatever characters it has


@pytest.mark.parametrize(
    "value",
    ["0012", "1e3", "true", "", "x;touch pwned", "$(shell touch pwned)", "{run}", 'Anna\'s "a: b" #1 `id` $HOME'],
)
def test_make_hands_on_what_it_is_given_as_it_stands(value):
    given = command(given=[f"RUN={value}", f"DATASET=folder:{value}", f"PARAMS={value}", "FRACTION=1e-2"])
    config = given[given.index("--config") + 1 : given.index("--rerun-incomplete")]
    found = parse_config(config)
    params = {"params": value} if value else {}
    assert found == {"run": value, "dataset": f"folder:{value}", "fraction": "1e-2"} | params
    assert not (paths.ROOT / "pwned").exists()


def test_make_refuses_a_line_break():
    made = subprocess.run(["make", "--dry-run", "run", "DATASET=a\nb"], cwd=paths.ROOT, capture_output=True, text=True)
    assert made.returncode and "DATASET holds a line break; write it in one line" in made.stderr


@pytest.mark.parametrize("name", ["../x", "reference"])
def test_a_name_that_no_run_may_have_is_refused_before_any_folder_is_made(project, name):
    process = start(project, given=[f"RUN={name}"])
    text = process.communicate()[0]
    assert process.returncode and f"run is '{name}'" in text and "Traceback" not in text
    assert not (project / "results").exists() and not (project / "x").exists() and not (project / "executed").exists()


def test_a_project_and_parameters_in_folders_of_any_name_run(tmp_path):
    project = build(tmp_path / "Anna's {new} projects")
    (project / "my 'own'.yaml").write_text("SEED: 1\n")
    process = start(project, "--until", "clip", given=["RUN=007", "PARAMS=my 'own'.yaml"])
    text = process.communicate()[0]
    assert process.returncode == 0, text
    lines = (project / "executed").read_text().splitlines()
    assert lines == [f"{name} -f my 'own'.yaml -p RUN 007 -p DATASET fashion-mnist" for name in ("00_data", "01_clip")]
