"""The paper's grid: data sets x fractions x classifiers x arms x seeds. `make paper` is the usual way in.

    snakemake --snakefile paper.smk --workflow-profile profiles/paper --cores all --dry-run

A fraction is a run of its own, paper-0.01, up to the synthetic images; each classifier on it is the run
paper-0.01@resnet18, which links to these and goes on from there. An arm with a seed is one job.
"""

import re
from itertools import product
from pathlib import Path

from sega_utils.studies import grid
from sega_utils.training import recipes


config.setdefault("run", "paper")
config.setdefault("params", "notebooks/params/paper.yaml")


include: "Snakefile"


GRID = grid.read(Path(config.get("grid", "notebooks/params/grid.yaml")), Path(config["params"]))
NAMES = {paths.results_name(dataset): dataset for dataset in GRID.datasets}
BASES, RUNS = grid.bases(GRID, RUN), grid.runs(GRID, RUN)
GIVEN |= {base: {"00_data": {"FRACTION": fraction}} for base, fraction in BASES.items()}
SETTINGS = shown(grid.settings_file(GRID).resolve())
CELLS = {f"{recipes.slug(arm)}-seed{seed}": (arm, seed) for arm, seed in product(GRID.arms, GRID.seeds)}
SHARED = [file for notebook in NOTEBOOKS if notebook < "05" for file in written(notebook)]


wildcard_constraints:
    cell="[^/]+",
    base="|".join(map(re.escape, BASES)),
    classifier="|".join(map(re.escape, GRID.classifiers)),


localrules: paper, accuracies, share


ruleorder: share > data > clip > prompts > generator > projector > synthesis
ruleorder: tabulate > training


shell.prefix("set -euo pipefail; source profiles/gpu.sh; ")


def classifier(wildcards):
    """Return a run's classifier, which its name ends with."""
    return wildcards.run.partition("@")[2]


def training():
    """Return the command of 05_training with the settings of the run's classifier."""
    return f"{command('05_training')} -p TUNED {literal(SETTINGS)} -p CLASSIFIER {{params.classifier:q}} -p WORKERS 1"


rule paper:
    default_target: True
    input:
        expand([file for notebook in NOTEBOOKS for file in written(notebook)], run=RUNS, dataset=list(NAMES)),


rule accuracies:
    """The trainings alone, for the verb grid-accuracy."""
    input:
        expand(written("05_training"), run=RUNS, dataset=list(NAMES)),


rule share:
    input: [file.replace("{run}", "{base}") for file in SHARED]
    output: [file.replace("{run}", "{base}@{classifier}") for file in SHARED]
    run:
        source = paths.artifact(wildcards.base, wildcards.dataset, "records").parent
        names = [str(Path(file).absolute().relative_to(source)) for file in input]
        names += [f"records/{stage}" for stage in grid.SHARED] + [paths.ARTIFACTS["bank"][0]]
        run = f"{wildcards.base}@{wildcards.classifier}"
        grid.share(source, paths.artifact(run, wildcards.dataset, "records").parent, names)


rule cell:
    input:
        code("05_training"), SETTINGS,
        artifacts("real", "clip", "prompts", "generator", "candidates", "synthetic", "provenance"),
    output: executed("training/{cell}")
    params:
        dataset=given,
        classifier=classifier,
        arms=lambda wildcards: json.dumps([CELLS[wildcards.cell][0]]),
        seeds=lambda wildcards: json.dumps([CELLS[wildcards.cell][1]]),
    threads: 1
    shell:
        training() + " -p ARMS {params.arms:q} -p SEEDS {params.seeds:q} -o {output:q}"


rule tabulate:
    input:
        expand(executed("training/{cell}"), cell=CELLS, allow_missing=True),
    output: outputs("05_training")
    params:
        dataset=given,
        classifier=classifier,
    wildcard_constraints:
        run="|".join(map(re.escape, RUNS)),
    threads: 1
    shell: training()
