"""Very many candidates of a run: each shard a job, a finished one never drawn again, and one merge.

    snakemake --snakefile shards.smk --workflow-profile profiles/paper --cores all --config candidates=1000000 of=100

On SLURM with --profile profiles/slurm. With parts=100, the search for near-duplicates is made of as many jobs a round,
which share nothing but files. A run (run=..., dataset=...) that is not there is made up to 04_synthesis.
"""

include: "Snakefile"

from sega_utils.studies.scale.rounds import rounds


try:
    N, OF, PARTS = int(config["candidates"]), int(config["of"]), int(config.get("parts", 0))
except (KeyError, ValueError) as error:
    raise WorkflowError("say how many, e.g. --config candidates=1000000 of=100, and with parts=100 in parts") from error
FOLDER = paths.artifact("{run}", "{dataset}", "shards")
SHARD = shown(FOLDER / f"{{shard}}-of-{OF}.safetensors")
STATE = shown(FOLDER / "search" / f"state-{{round}}-of-{PARTS}.safetensors")
PAIRS = shown(FOLDER / "search" / f"pairs-{{round}}-{{part}}-of-{PARTS}.safetensors")
MERGED = shown(paths.artifact("{run}", "{dataset}", "records") / f"shards/merge-{N}.json")
SHARDS = f"--run {{wildcards.run}} --dataset {{params.dataset}} --candidates {N} --of {OF}"
PARTED = f"{SHARDS} --parts {PARTS} --round {{wildcards.round}}"
EVERY_SHARD = expand(SHARD, shard=range(OF), allow_missing=True)


def found_before(wildcards):
    """Return what is decided before a round from: all shards, or the state before the last and the pairs of its jobs."""
    last, place = int(wildcards.round) - 1, {"run": wildcards.run, "dataset": wildcards.dataset}
    return expand([STATE, PAIRS], round=last, part=range(PARTS), **place) if last >= 0 else expand(EVERY_SHARD, **place)


localrules: all_shards


shell.prefix("set -euo pipefail; source profiles/gpu.sh; ")


wildcard_constraints:
    round=r"\d+",
    part=r"\d+",
    shard=r"\d+",


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


rule settle:
    input: found_before
    output: STATE
    params: dataset=given
    shell: f"{PYTHON} -m sega_utils shard-settle {PARTED}"


rule compare:
    input: STATE
    output: PAIRS
    params: dataset=given
    shell: f"{PYTHON} -m sega_utils shard-compare {PARTED} --part {{wildcards.part}}"


rule merge:
    input:
        EVERY_SHARD,
        expand(STATE, round=rounds(N), allow_missing=True) if PARTS else [],
    output: MERGED
    params:
        dataset=given,
        parts=f"--parts {PARTS}" if PARTS else "",
    shell: f"{PYTHON} -m sega_utils shard-merge {SHARDS} {{params.parts}}"
