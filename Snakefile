"""The pipeline: one rule a notebook, artifacts as inputs and outputs. `make run` is the usual way in.

    snakemake --cores all --config run=paper dataset=fashion-mnist params=notebooks/params/paper.yaml
"""

import ast
import fcntl
import json
import os
import shlex
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from sega_utils import paths


workdir: str(paths.ROOT)


wildcard_constraints:
    run=r"\w[\w.+@-]*",
    dataset="[^/]+",


NOTEBOOKS = (
    "00_data", "01_clip", "01_prompts", "02_generator", "03_projector", "04_synthesis", "05_training", "06_shift",
    "07_adversarial", "08_ablations", "09_efficiency", "10_report",
)  # fmt: skip
RUN, DATASET = config.get("run", "embedded"), config.get("dataset", "fashion-mnist")
NAMES = {paths.results_name(DATASET): DATASET}  # folder of the results: data set, which may be folder:PATH
PARAMS = [config["params"]] if "params" in config else []


def shown(path):
    """Return a path relative to the project if it lies there, so that the project can be moved."""
    return str(path.relative_to(paths.ROOT) if path.is_relative_to(paths.ROOT) else path)


def artifacts(*names):
    """Return the files of artifacts; for a folder, the stamp that is put into it once it is complete."""
    found = [paths.artifact("{run}", "{dataset}", name) for name in names]
    return [shown(path if path.suffix else path / ".complete") for path in found]


def executed(*notebooks):
    """Return where executed copies live; never tracked, they make a fresh clone run every rule."""
    folder = paths.artifact("{run}", "{dataset}", "notebooks")
    return [shown(folder / f"{name}.ipynb") for name in notebooks]


def written(notebook):
    """Return what a notebook writes: its executed copy and its artifacts, but for the prompt bank.

    Snakemake deletes a rule's outputs before it runs the rule again, and the bank's answers have cost money.
    """
    names = [name for name, (_, writer) in paths.ARTIFACTS.items() if writer == notebook and name != "bank"]
    return executed(notebook) + artifacts(*names)


def outputs(notebook):
    """Return what a notebook writes, stamps marked as Snakemake's to make.

    A stamp instead of the folder itself lets a killed training keep the classifiers it has finished.
    """
    return [touch(file) if file.endswith(".complete") else file for file in written(notebook)]


def code(notebook):
    """Return a notebook, every module of the package that it imports, directly or not, and the parameters file."""
    found, todo = set(), {paths.NOTEBOOKS / f"{notebook}.ipynb"}
    while todo:
        found.add(path := todo.pop())
        source = path.read_text(encoding="utf-8") if path.exists() else ""
        if source and path.suffix == ".ipynb":
            cells = [cell for cell in json.loads(source)["cells"] if cell["cell_type"] == "code"]
            source = "\n".join("".join(cell["source"]) for cell in cells)
        for node in ast.walk(ast.parse(source, shown(path))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sega_utils"):
                names = [alias.name for alias in node.names] + node.module.split(".")[1:]
                modules = [paths.ROOT / "sega_utils" / f"{name}.py" for name in names]
                todo |= {module for module in modules if module.exists()} - found
    return sorted(map(shown, found)) + PARAMS


def tracked(folder):
    """Return the files of a folder of data/."""
    return sorted(shown(path) for path in (paths.DATA / folder).glob("*") if path.is_file())


def own_images(dataset):
    """Return the files of a folder of the user's own images; of any other data set, none."""
    files = paths.own_folder(dataset).rglob("*") if dataset.startswith(paths.OWN) else []
    return sorted(shown(path) for path in files if path.is_file())


def given(wildcards):
    """Return what the notebooks' DATASET is, as a shell takes it."""
    return shlex.quote(NAMES[wildcards.dataset])


def command(notebook):
    """Return the command that executes a notebook."""
    options = [f"-f {path}" for path in PARAMS] + ["-p RUN {wildcards.run} -p DATASET {params.dataset}"]
    return f"{sys.executable} -m sega_utils.execute notebooks/{notebook}.ipynb {' '.join(options)}"


def hold(folder):
    """Hold a folder until this process ends, after another run that holds it.

    The lock is the operating system's, so a killed run leaves none behind, unlike Snakemake's own (--nolock).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise WorkflowError(f"cannot write {folder}: {error.strerror}; choose another folder with SEGA_RESULTS")
    if not os.access(folder, os.W_OK):
        raise WorkflowError(f"{folder} is not writable; choose another folder with SEGA_RESULTS")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another run is working in {shown(folder)}; waiting for it to end", file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)


def need_prompts():
    """Refuse a user's own images without prompts now, and not after CLIP was trained on them."""
    told = {name: value for file in map(Path, PARAMS) if file.exists()
            for name, value in ((yaml.safe_load(file.read_text()) or {}).get("01_prompts") or {}).items()}  # fmt: skip
    folder = paths.own_folder(DATASET)
    recorded = (folder / "prompts.jsonl", paths.artifact(RUN, DATASET, "bank"))
    if folder.is_dir() and not (told.get("LIVE") or told.get("BANK") or any(path.exists() for path in recorded)):
        raise WorkflowError(f"{shown(recorded[0])} is missing; record the prompts with: make prompts "
                            f"DATASET={shlex.quote(DATASET)}; or give 01_prompts a BANK or LIVE in the file of PARAMS")


if workflow.is_main_process:
    if DATASET.startswith(paths.OWN):
        need_prompts()
    hold(paths.results_root() / RUN)


rule all:
    input:
        expand([file for notebook in NOTEBOOKS for file in written(notebook)], run=RUN, dataset=list(NAMES)),


rule data:
    input:
        code("00_data"), tracked("fashion-mnist"),
        lambda wildcards: own_images(NAMES[wildcards.dataset]),
    output: outputs("00_data")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("00_data")


rule clip:
    input:
        code("01_clip"), tracked("models"),
        artifacts("real"),
    output: outputs("01_clip")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("01_clip")


rule prompts:
    input:
        code("01_prompts"), tracked("prompts"),
        artifacts("real", "clip"),
    output: outputs("01_prompts")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("01_prompts")


rule generator:
    input:
        code("02_generator"), tracked("models"),
        artifacts("real", "clip", "prompts"),
    output: outputs("02_generator")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("02_generator")


rule projector:
    input:
        code("03_projector"),
        artifacts("real", "clip", "prompts", "generator"),
    output: outputs("03_projector")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("03_projector")


rule synthesis:
    input:
        code("04_synthesis"),
        artifacts("real", "clip", "prompts", "generator", "projector"),
    output: outputs("04_synthesis")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("04_synthesis")


rule training:
    input:
        code("05_training"), "notebooks/params/tuned.yaml",
        artifacts("real", "clip", "prompts", "generator", "candidates", "synthetic", "provenance"),
    output: outputs("05_training")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("05_training")


rule shift:
    input:
        code("06_shift"),
        artifacts("classifiers"),
    output: outputs("06_shift")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("06_shift")


rule adversarial:
    input:
        code("07_adversarial"), tracked("paper"),
        artifacts("real", "classifiers"),
    output: outputs("07_adversarial")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("07_adversarial")


rule ablations:
    input:
        code("08_ablations"), "notebooks/params/ablations.yaml",
        artifacts("real", "clip", "prompts", "generator", "projector", "candidates", "synthetic", "classifiers"),
    output: outputs("08_ablations")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("08_ablations")


rule efficiency:
    input:
        code("09_efficiency"), tracked("models"), tracked("paper"),
        artifacts("real", "clip", "prompts", "generator", "projector", "candidates", "classifiers"),
    output: outputs("09_efficiency")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("09_efficiency")


rule report:
    input:
        code("10_report"), tracked("paper"),
        artifacts("real", "clip", "prompts", "generator", "projector"),
        artifacts("candidates", "synthetic", "provenance", "classifiers"),
        executed(*NOTEBOOKS[:-1]),
    output: outputs("10_report")
    threads: os.cpu_count()
    params: dataset=given
    shell: command("10_report")


onsuccess:
    report = paths.artifact(RUN, DATASET, "report")
    if report.exists():  # it does not after a run of the first few notebooks only
        shell(f"{sys.executable} -m sega_utils.tables --run {RUN} --dataset {shlex.quote(DATASET)}")


onerror:
    print("The same command resumes the run: what is finished is not run again.", file=sys.stderr)
