"""Every ablation of a YAML file as a job of its own, a finished one never repeated; `make ablations` runs it.

    snakemake --snakefile ablations.smk --cores all --config entries="components filters" -- all_ablations
"""

from pathlib import Path

from sega_utils.studies import ablate, entries


include: "Snakefile"


FILE = config.get("ablations", "notebooks/params/ablations.yaml")
try:
    FOUND, SEEDS = entries.read(Path(FILE))
    WANTED = entries.choose(FOUND, config["entries"].split()) if "entries" in config else FOUND
except (OSError, ValueError) as error:
    raise WorkflowError(str(error)) from error


def is_there(entry):
    """Return whether an entry can be measured: one of another fraction needs the run of that fraction first."""
    try:
        return entry.name != entries.FRACTION or bool(ablate.run_of(RUN, DATASET, entry, SEEDS[0]))
    except FileNotFoundError as error:
        print(f"{entry} is left out: {error}", file=sys.stderr)


BY_SLUG = {entries.slug(entry): str(entry) for entry in WANTED if is_there(entry)}


rule all_ablations:
    input:
        expand(executed("ablations/{entry}"), run=RUN, dataset=list(NAMES), entry=BY_SLUG),


rule ablation:
    input:
        "notebooks/08_ablations.ipynb",
        artifacts("real", "clip", "prompts", "generator", "projector", "candidates", "synthetic", "classifiers"),
    output: executed("ablations/{entry}")
    params:
        dataset=given,
        entries=lambda wildcards: json.dumps([BY_SLUG[wildcards.entry]]),
        seeds=json.dumps(SEEDS),
    threads: 1
    shell:
        command("08_ablations") + " -p ENTRIES {params.entries:q} -p SEEDS {params.seeds:q} -p WORKERS 1 -o {output:q}"
        f" && {PYTHON} -m sega_utils ablations --run {{wildcards.run}} --dataset {{params.dataset}} "
        f"--file {literal(FILE)} --workers {workflow.cores} --brief"
