"""The plan of a small grid and what it does after a kill, on a stand-in: the real paper.smk, notebooks of no time."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter

import pytest
import test_snakefile
import yaml

from sega_utils.__main__ import main
from sega_utils.core import artifacts, parameters, paths, records
from sega_utils.studies import grid, grid_results
from sega_utils.training import classifiers, recipes

EXECUTE = """
import json, os, sys, time
from pathlib import Path
from sega_utils.core import paths
name, *given = Path(sys.argv[1]).stem, *sys.argv[2:]
after = lambda option: given[given.index(option) + 1]
run, dataset = after("RUN"), after("DATASET")
folder = paths.artifact(run, dataset, "records").parent
made = [file if "." in file else f"{file}/part" for file, writer in paths.ARTIFACTS.values() if writer == name]
output = folder / "notebooks" / f"{name}.ipynb"
if "-o" in given:
    output = Path(after("-o"))
    made = [f"classifiers/{output.stem}"]
with open(paths.ROOT / "executed", "a") as log:
    print(run, dataset, name if "-o" not in given else output.stem, os.environ.get("CUDA_VISIBLE_DEVICES"), file=log)
for path in [folder / file for file in [*made, f"records/{name.partition('_')[2]}/{output.stem}.json"]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{path.name} of {run} {dataset} {given}")
    if os.environ.get("STOP_IN") == output.stem:
        time.sleep(300)
output.parent.mkdir(exist_ok=True)
output.write_text(" ".join(given))
"""
GRID = {"datasets": ["mnist", "svhn"], "fractions": [0.01, 1], "classifiers": ["resnet18", "vgg16"]}
PARAMS = {"05_training": {"ARMS": ["Std Aug", "SEGA-Net"], "SEEDS": [0, 1]}}
BEFORE = ("00_data", "01_clip", "01_prompts", "02_generator", "03_projector", "04_synthesis")
AFTER = ("05_training", "06_shift", "07_adversarial", "08_ablations", "09_efficiency", "14_report")
CELLS = ("std-aug-seed0", "std-aug-seed1", "sega-net-seed0", "sega-net-seed1")


@pytest.fixture
def project(tmp_path):
    """Return a stand-in with a grid of 2 data sets, 2 fractions, 2 classifiers, 2 arms and 2 seeds."""
    return build(tmp_path / "project", GRID)


def build(root, content):
    """Make a folder with the workflow, a package that executes nothing, and a grid."""
    test_snakefile.build(root)
    shutil.copytree(paths.ROOT / "profiles", root / "profiles")
    copied = ["paper.smk", "notebooks/05_training.ipynb", "notebooks/params/classifiers.yaml"]
    copied += [f"sega_utils/{name}.py" for name in ("studies/grid", "core/parameters", "training/recipes")]
    for file in copied:
        (root / file).parent.mkdir(exist_ok=True)
        shutil.copy(paths.ROOT / file, root / file)
    (root / "sega_utils/execute.py").write_text(EXECUTE)
    for name, value in (("grid", content), ("paper", PARAMS)):
        (root / f"notebooks/params/{name}.yaml").write_text(yaml.safe_dump(value))
    return root


def start(root, *options, **environment):
    """Start the grid with the workflow's own profile."""
    environment = os.environ | {"PYTHONPATH": str(root), "SEGA_RESULTS": str(root / "results")} | environment
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        "paper.smk",
        "--workflow-profile",
        "profiles/paper",
        "--cores",
        "2",
        *options,
    ]
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(root, *options, **environment):
    """Return what a grid printed and what it executed: run, data set, notebook or cell, GPU."""
    log = root / "executed"
    log.unlink(missing_ok=True)
    process = start(root, *options, **environment)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output, [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []


def expected(content):
    """Return how often each (run, data set, notebook or cell) is to be executed."""
    jobs = Counter()
    for dataset in content["datasets"]:
        for base in (f"paper-{fraction:g}" for fraction in content["fractions"]):
            jobs.update((base, dataset, name) for name in BEFORE)
            runs = [f"{base}@{classifier}" for classifier in content["classifiers"]]
            jobs.update((name, dataset, job) for name in runs for job in (*AFTER, *CELLS))
    return jobs


def test_the_plan_counts_every_job_and_shared_stages_once(project):
    plan, executed = run(project, "--dry-run")
    counted = dict(line.split() for line in plan.partition("Job stats:")[2].splitlines()[3:] if len(line.split()) == 2)
    assert executed == [] and counted["cell"] == "32" and counted["share"] == "8" and counted["tabulate"] == "8"
    assert {counted[name] for name in ("data", "clip", "prompts", "generator", "projector", "synthesis")} == {"4"}
    assert "training" not in counted
    assert int(counted["total"]) == 1 + expected(GRID).total() + 8  # all and the links beside what is executed


def test_the_trainings_alone_can_be_asked_for(project):
    plan, _ = run(project, "--dry-run", "accuracies")
    counted = dict(line.split() for line in plan.partition("Job stats:")[2].splitlines()[3:] if len(line.split()) == 2)
    assert (counted["cell"], counted["tabulate"]) == ("32", "8") and not {"shift", "report"} & set(counted)


def test_after_a_kill_the_same_command_ends_as_an_undisturbed_grid(tmp_path):
    small = {"datasets": ["mnist"], "fractions": [0.01], "classifiers": ["resnet18", "vgg16"]}
    undisturbed, project = build(tmp_path / "a" / "project", small), build(tmp_path / "b" / "project", small)
    executed = run(undisturbed)[1]
    assert Counter(job[:3] for job in executed) == expected(small)

    process, log = start(project, STOP_IN=CELLS[3]), project / "executed"
    test_snakefile.wait_until(lambda: log.exists() and CELLS[3] in log.read_text(), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    stopped = [tuple(line.split())[:3] for line in log.read_text().splitlines()]
    resumed = [job[:3] for job in run(project)[1]]
    twice = Counter(stopped) + Counter(resumed) - expected(small)
    assert {job[2] for job in twice} >= {CELLS[3]} and twice.total() <= 2  # what ran on the two cores
    strip = lambda root: {path: text.replace(bytes(root), b"") for path, text in test_snakefile.contents(root).items()}
    assert strip(project) == strip(undisturbed)
    assert run(project)[1] == []

    shared = project / "results/paper-0.01@vgg16/mnist"
    assert (shared / "real.safetensors").resolve() == project / "results/paper-0.01/mnist/real.safetensors"
    assert (shared / "records/synthesis/04_synthesis.json").is_file() and not (shared / "classifiers").is_symlink()
    told = (shared / "notebooks/training" / f"{CELLS[2]}.ipynb").read_text()
    assert (
        "-p TUNED notebooks/params/classifiers.yaml -p CLASSIFIER vgg16" in told
        and '-p ARMS ["SEGA-Net"] -p SEEDS [0]' in told
    )
    assert "-p FRACTION 0.01" in (shared / "notebooks/00_data.ipynb").read_text()


def test_each_job_gets_a_gpu_that_no_other_has(tmp_path):
    hold = 'set -euo pipefail; source "$0/profiles/gpu.sh"; echo "$CUDA_VISIBLE_DEVICES"; read -r'
    environment = os.environ | {"TMPDIR": str(tmp_path), "CUDA_VISIBLE_DEVICES": "2,5"}
    shells = [
        subprocess.Popen(
            ["bash", "-c", hold, paths.ROOT], env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    assert {shell.stdout.readline().strip() for shell in shells} == {"2", "5"}
    shells[0].kill()
    shells[0].communicate()
    once = subprocess.run(["bash", "-c", hold, paths.ROOT], env=environment, text=True, input="\n", capture_output=True)
    shells[1].communicate("\n")
    assert once.returncode == 0 and once.stdout.strip() in {"2", "5"}


def test_a_plan_needs_no_torch():
    check = "import sys, sega_utils.studies.grid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=paths.ROOT).returncode == 0


def test_the_projects_own_grid_is_whole():
    found = grid.read()
    assert len(found.datasets) == 5 and len(found.classifiers) == 4 and found.arms == list(recipes.ARMS)
    assert set(found.classifiers) <= set(classifiers.CLASSIFIERS)
    for classifier in found.classifiers:
        budgets = {(s["steps"], s["batch_size"]) for s in grid.settings(found, classifier).values()}
        assert len(budgets) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets": ["cifar"]}, "one of: fashion-mnist"),
        (
            {"classifiers": ["resnet8"]},
            "classifiers.yaml lacks the classifier resnet8; there are resnet18, mobilenet-v2",
        ),
        ({"fractions": [0]}, "allowed is 0 .. 1"),
        ({"fractions": []}, "different values"),
        ({"seeds": [0]}, "must hold datasets"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused(change, message, tmp_path):
    file = tmp_path / "grid.yaml"
    shutil.copy(paths.PARAMS / "classifiers.yaml", tmp_path)
    file.write_text(yaml.safe_dump({"datasets": ["svhn"], "fractions": [1], "classifiers": ["resnet18"]} | change))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        grid.read(file)


def test_the_estimate_scales_measured_seconds_by_steps_and_counts_shared_stages_once():
    small = grid.Grid(["svhn", "mnist"], [0.1], ["resnet18", "vgg16"], ["Std Aug"], [0, 1, 2], paths.PARAMS)
    found = [
        {
            "stage": "training",
            "run": "a",
            "dataset": "b",
            "param_classifier": "resnet18",
            "param_arm": "Std Aug",
            "param_steps": 100,
            "seconds": 36.0,
        },
        *({"stage": "shift", "run": "a", "dataset": "b", "seconds": 1800.0} for _ in range(2)),
        {"stage": "clip", "run": "a", "dataset": "b", "seconds": 3600.0},
    ]
    counted = {"generator": 72e15, "resnet18, Std Aug": 36e15}
    rows = {row["job"]: row for row in grid_results.gpu_hours(small, found, counted, sustained=10)}
    steps = grid.settings(small, "resnet18")["Std Aug"]["steps"]
    expected_hours = f"{6 * steps * 36 / 100 / 3600:.1f}"
    assert rows["resnet18, Std Aug"] == {
        "job": "resnet18, Std Aug",
        "jobs": 6,
        "computed": "6.0",
        "measured": expected_hours,
    }
    assert rows["clip"] == {"job": "clip", "jobs": 2, "computed": "", "measured": "2.0"}
    assert rows["shift"] == {"job": "shift", "jobs": 4, "computed": "", "measured": "4.0"}
    assert rows["generator"] == {"job": "generator", "jobs": 2, "computed": "4.0", "measured": ""}
    assert rows["vgg16, Std Aug"]["measured"] == "" == rows["vgg16, Std Aug"]["computed"]


def test_one_table_holds_every_finished_run(results, tmp_path, capsys):
    file, params = tmp_path / "grid.yaml", tmp_path / "params.yaml"
    shutil.copy(paths.PARAMS / "classifiers.yaml", tmp_path)
    content = {"datasets": ["svhn", "folder:mine"], "fractions": [0.01, 1], "classifiers": ["resnet18"]}
    file.write_text(yaml.safe_dump(content))
    params.write_text("05_training: {ARMS: [Std Aug, SEGA-Net], SEEDS: [0, 1]}")
    options = ["grid-accuracy", "--grid", str(file), "--params", str(params), "--run", "mine"]
    assert main(options) == 1 and "no run of the grid mine is finished" in capsys.readouterr().err

    def write(dataset, fraction, arm, seed, accuracy):
        records.write(
            f"mine-{fraction}@resnet18",
            dataset,
            "training",
            f"{recipes.slug(arm)}-seed{seed}",
            parameters=recipes.settings_of(arm, {"classifier": "resnet18"}) | {"arm": arm, "seed": seed},
            metrics={"accuracy": accuracy, "fraction": fraction, "n_real": 9, "n_test": 36},
            inputs={"real": "r", "weights": f"{arm}{seed}"},
            cost={"seconds": 1.0, "peak_memory_gb": 1.0},
        )

    for dataset, fraction, accuracy in (("svhn", 1, 0.5), ("folder:mine", 0.01, 0.25)):
        for seed in (0, 1):
            write(dataset, fraction, "Std Aug", seed, accuracy)
            write(dataset, fraction, "SEGA-Net", seed, accuracy + 0.125 + seed / 64)
    write("svhn", 0.01, "Std Aug", 0, 0.5)  # not finished
    assert main(options) == 0
    assert "2 of 4 runs are finished; written to results/mine.csv" in capsys.readouterr().out
    keys = ("dataset", "fraction", "classifier", "arm", "mean", "n", "diff_to_std_aug")
    assert [[row[key] for key in keys] for row in artifacts.load_csv(results / "mine.csv")] == [
        ["svhn", "1", "resnet18", "Std Aug", "50", "2", ""],
        ["svhn", "1", "resnet18", "SEGA-Net", "63.2812", "2", "13.2812"],
        ["folder:mine", "0.01", "resnet18", "Std Aug", "25", "2", ""],
        ["folder:mine", "0.01", "resnet18", "SEGA-Net", "38.2812", "2", "13.2812"],
    ]


def test_the_table_of_the_grid_for_a_cpu_shows_what_its_committed_records_give(results):
    folder = paths.PARAMS / "cpu"
    told = grid_results.accuracies_text(grid.read(folder / "grid.yaml", folder / "arms.yaml"), "reference/cpu")
    assert "4 of 4 runs are finished" in told
    assert (results / "reference/cpu.csv").read_text() == (paths.reference_root() / "cpu.csv").read_text()


def test_the_grid_that_slurm_is_tried_with_is_one(tmp_path):
    script = (paths.ROOT / "tests" / "slurm.sh").read_text()
    for name, content in re.findall(r'cat > "\$scratch/grid/(\S+)" << END\n(.*?)END\n', script, re.DOTALL):
        (tmp_path / name).write_text(content)
    found = grid.read(tmp_path / "grid.yaml", tmp_path / "params.yaml")
    assert len(found.arms) * len(found.seeds) == 4
    for notebook in yaml.safe_load((tmp_path / "params.yaml").read_text()):
        if notebook[0].isdigit():
            file = paths.NOTEBOOKS / f"{notebook}.ipynb"
            parameters.check(parameters.read_file(tmp_path / "params.yaml", file), parameters.read(file))
