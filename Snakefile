"""The pipeline: one rule a notebook, artifacts as inputs and outputs. `make run` is the usual way in.

    snakemake --cores all --config run=paper dataset=fashion-mnist params=notebooks/params/paper.yaml
"""

import ast
import fcntl
import json
import os
import shlex
import sys
import time
from functools import cache
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from sega_utils.core import paths


workdir: str(paths.ROOT)


wildcard_constraints:
    run=r"\w[\w.+@-]*",
    dataset="[^/]+",


# notebook: the artifacts it reads, and what else, of data/ and of notebooks/params/
NETWORKS = ("real", "clip", "prompts", "generator", "projector")
READS = {
    "00_data": ((), ("fashion-mnist",)),
    "01_clip": (NETWORKS[:1], ("models",)),
    "01_prompts": (NETWORKS[:2], ("prompts",)),
    "02_generator": (NETWORKS[:3], ("models",)),
    "03_projector": (NETWORKS[:4], ()),
    "04_synthesis": (NETWORKS, ()),
    "05_training": ((*NETWORKS[:4], "candidates", "synthetic", "provenance"), ("tuned.yaml",)),
    "06_shift": (("classifiers",), ()),
    "07_adversarial": (("real", "classifiers"), ("paper",)),
    "08_ablations": ((*NETWORKS, "candidates", "synthetic", "classifiers"), ("ablations.yaml",)),
    "09_efficiency": ((*NETWORKS, "candidates", "classifiers"), ("models", "paper")),
    "10_augmenters": (("real",), ("tuned.yaml", "augmenters.yaml")),
    "13_robust": (("real",), ("tuned.yaml", "robust.yaml")),
    "11_flare": (("real",), ("tuned.yaml", "flare.yaml", "models", "paper")),
    "12_few_shot": ((), ("fashion-mnist", "mnist-5000", "paper", "few_shot.yaml")),
    "15_own_images": ((), ("clip-art",)),
    "16_groups": ((), ("tuned.yaml", "groups.yaml")),
    "14_report": ((*NETWORKS, "candidates", "synthetic", "provenance", "classifiers"), ("paper",)),
}
# each with a target of its own, and part of a run only where UNTIL names it
ASIDE = {"10_augmenters", "11_flare", "12_few_shot", "13_robust", "15_own_images", "16_groups"}
NOTEBOOKS = tuple(name for name in READS if name not in ASIDE - {config.get("until")})
RUN, DATASET = config.get("run", "embedded"), config.get("dataset", "fashion-mnist")
try:
    paths.run_name(RUN)  # before anything is made of it
    paths.artifact(RUN, str(DATASET), "records")
except ValueError as error:
    raise WorkflowError(str(error)) from error
NAMES = {paths.results_name(DATASET): DATASET}  # folder of the results: data set, which may be folder:PATH
PARAMS = [str(config["params"])] if "params" in config else []
STARTED = time.time()


def given_alone():
    """Return what single notebooks of this run get beside the file of PARAMS, by their names.

    ``set`` holds words NOTEBOOK.NAME=VALUE; ``fraction`` is 00_data's; ``subset`` seeds the choice of the images, and
    with them all that is made of them before any classifier.
    """
    found = {}
    for word in str(config.get("set", "")).split():
        notebook, dot, (name, equals, value) = *word.partition(".")[:2], word.partition(".")[2].partition("=")
        if notebook not in READS or not (dot and name and equals):
            raise WorkflowError(f"SET has {word!r}; a word of it must be NOTEBOOK.NAME=VALUE, e.g. "
                                f"03_projector.SIGMA=0.5, and NOTEBOOK one of {', '.join(READS)}")
        found.setdefault(notebook, {})[name] = value
    if "fraction" in config:
        found.setdefault("00_data", {})["FRACTION"] = config["fraction"]
    for notebook in list(READS)[:6] if "subset" in config else ():
        found.setdefault(notebook, {})["SEED"] = config["subset"]
    return found


GIVEN = {RUN: given_alone()}  # the grid has a fraction for each of its runs


def literal(text):
    """Return a text as a rule's command takes it, whatever is in it: for the shell, and for Snakemake's braces."""
    return shlex.quote(str(text)).replace("{", "{{").replace("}", "}}")


PYTHON = literal(sys.executable)


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


@cache
def parsed(path):
    """Return the syntax tree of a module or a notebook; of a file that is not there, an empty one."""
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    if source and path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(source)["cells"] if cell["cell_type"] == "code"]
        source = "\n".join("".join(cell["source"]) for cell in cells)
    return ast.parse(source, shown(path))


@cache
def imported(path):
    """Return the package's files that a module or a notebook imports itself, but for those that hold no code."""
    names = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module:  # what it takes from there may be a module, too
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    steps = [name.split(".") for name in names if name.split(".")[0] == "sega_utils"]
    # Python runs the door of each package on the way to a module
    places = {paths.ROOT.joinpath(*parts[:end]) for parts in steps for end in range(1, len(parts) + 1)}
    files = {place.with_suffix(".py") for place in places} | {place / "__init__.py" for place in places}
    return {file for file in files if len(parsed(file).body) > (ast.get_docstring(parsed(file)) is not None)}


def code(notebook):
    """Return a notebook, every module of the package that it imports, directly or not, and the parameters file."""
    found, todo = set(), {paths.NOTEBOOKS / f"{notebook}.ipynb"}
    while todo:
        found.add(path := todo.pop())
        todo |= imported(path) - found
    return sorted(map(shown, found)) + PARAMS


def tracked(name):
    """Return the files of a folder of data/, or a file of notebooks/params/."""
    if name.endswith(".yaml"):
        return [shown(paths.PARAMS / name)]
    return sorted(shown(path) for path in (paths.DATA / name).glob("*") if path.is_file())


def needed(notebook):
    """Return what a notebook's rule depends on; the report comes after every other notebook."""
    names, others = READS[notebook]
    found = [*code(notebook), *(file for name in others for file in tracked(name)), *artifacts(*names)]
    if notebook == "00_data":
        return [*found, lambda wildcards: own_images(NAMES[wildcards.dataset])]
    return found + (executed(*NOTEBOOKS[:-1]) if notebook == NOTEBOOKS[-1] else [])


def own_images(dataset):
    """Return the files of a folder of the user's own images; of any other data set, none."""
    files = paths.own_folder(dataset).rglob("*") if dataset.startswith(paths.OWN) else []
    return sorted(shown(path) for path in files if path.is_file())


def given(wildcards):
    """Return what the notebooks' DATASET is, as a shell takes it."""
    return shlex.quote(NAMES[wildcards.dataset])


def extra(notebook):
    """Return what gives a rule's wildcards the options that only this notebook of the run gets."""

    def options(wildcards):
        given = GIVEN.get(wildcards.run, {}).get(notebook, {})
        return " ".join(f"-p {name} {shlex.quote(str(value))}" for name, value in given.items())

    return options


def command(notebook="{params.notebook}"):
    """Return the command that executes a notebook."""
    options = [f"-f {literal(path)}" for path in PARAMS] + ["-p RUN {wildcards.run} -p DATASET {params.dataset}"]
    return f"{PYTHON} -m sega_utils.execute notebooks/{notebook}.ipynb {' '.join(options)}"


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
    from sega_utils.text import prompts  # takes seconds, which only own images need

    told = {name: value for file in map(Path, PARAMS) if file.exists()
            for name, value in ((yaml.safe_load(file.read_text()) or {}).get("01_prompts") or {}).items()}
    told |= GIVEN[RUN].get("01_prompts", {})
    asked = {name.lower(): told[name] for name in ("BANK", "MODEL", "N_PROMPTS", "LIVE") if name in told}
    try:
        prompts.check_bank(DATASET, RUN, **asked)
    except (OSError, ValueError, RuntimeError) as error:
        raise WorkflowError(str(error)) from error


if workflow.is_main_process:
    if DATASET.startswith(paths.OWN):
        need_prompts()
    hold(paths.results_root() / RUN)


rule all:
    input:
        expand([file for notebook in NOTEBOOKS for file in written(notebook)], run=RUN, dataset=list(NAMES)),


for notebook in READS:

    rule:
        name: notebook.rpartition("_")[2]  # as make takes it from UNTIL
        input: needed(notebook)
        output: outputs(notebook)
        threads: os.cpu_count()
        params:
            dataset=given,
            notebook=notebook,
            extra=extra(notebook),
        shell: command() + " {params.extra}"  # read once the loop is over


onsuccess:
    report, run = paths.artifact(RUN, DATASET, "report"), f"--run {RUN} --dataset {literal(DATASET)}"
    if report.exists():  # it does not after a run of the first few notebooks only
        shell(f"{PYTHON} -m sega_utils tables {run}")
        named = paths.artifact(f"{paths.REFERENCE}/{RUN}", DATASET, "records").exists()
        reference = f"{paths.REFERENCE}/{RUN if named else 'embedded'}"
        if paths.artifact(reference, DATASET, "records").exists():  # what differs is shown, and no failure of the run
            shell(f"{PYTHON} -m sega_utils verify {run} --reference {reference} --since {STARTED} || true")


onerror:
    print("The same command resumes the run: what is finished is not run again.", file=sys.stderr)
