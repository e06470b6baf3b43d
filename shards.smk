"""Very many candidates of a run: each shard a job, one merge, a finished shard never drawn again.

    snakemake --snakefile shards.smk --workflow-profile profiles/paper --cores all --config candidates=1000000 of=100

On SLURM with --profile profiles/slurm. A run (run=..., dataset=...) that is not there is made up to 04_synthesis.
"""

include: "Snakefile"


try:
    N, OF = int(config["candidates"]), int(config["of"])
except (KeyError, ValueError) as error:
    raise WorkflowError("say how many, e.g. --config candidates=1000000 of=100") from error
SHARD = shown(paths.artifact("{run}", "{dataset}", "shards") / f"{{shard}}-of-{OF}.safetensors")
MERGED = shown(paths.artifact("{run}", "{dataset}", "records") / f"shards/merge-{N}.json")
SHARDS = f"--run {{wildcards.run}} --dataset {{params.dataset}} --candidates {N} --of {OF}"


localrules: all_shards


shell.prefix("set -euo pipefail; source profiles/gpu.sh; ")


rule all_shards:
    default_target: True
    input: expand(MERGED, run=RUN, dataset=list(NAMES)),


rule shard:
    input: artifacts("real", "clip", "prompts", "generator", "projector", "synthetic"),
    output: SHARD
    params:
        dataset=given,
        candidates=N,
    shell: f"{PYTHON} -m sega_utils shard-draw {SHARDS} --shard {{wildcards.shard}}"


rule merge:
    input: expand(SHARD, shard=range(OF), allow_missing=True),
    output: MERGED
    params: dataset=given
    shell: f"{PYTHON} -m sega_utils shard-merge {SHARDS}"
