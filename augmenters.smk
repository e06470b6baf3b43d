"""The zoo's plan as a job for each subset and augmenter, none of them repeated; `make augmenters` runs it.

    snakemake --snakefile augmenters.smk --cores all --config per_class=15 protocol=B -- all_augmenters
"""

import yaml


include: "Snakefile"


PLAN = yaml.safe_load((paths.PARAMS / "augmenters.yaml").read_text())
SIZE, PROTOCOL = int(config.get("per_class", PLAN["primary"]["per_class"])), config.get("protocol", "A")
SLUGS = {"-".join(name.lower().split()): name for name in PLAN["augmenters"]}
STAMP = str(Path(artifacts("augmenters")[0]).parent / "done" / f"{SIZE}-{PROTOCOL}-{PLAN['seconds']:g}s")
VERB = f"{PYTHON} -m sega_utils augmenters --run {{wildcards.run}} --dataset {{params.dataset}}"
VERB += f" --per-class {SIZE} --protocol {PROTOCOL} --subsets {{wildcards.subset}} --workers 1 --brief"


rule all_augmenters:
    input:
        expand(f"{STAMP}-subset{{subset}}-{{what}}", run=RUN, dataset=list(NAMES), subset=PLAN["primary"]["subsets"],
               what=["real", *SLUGS]),
    params:
        dataset=literal(DATASET),
    shell:  # all is on record: only the tables are made
        f"{PYTHON} -m sega_utils augmenters --run {literal(RUN)} --dataset {{params.dataset}} --per-class {SIZE}"
        f" --protocol {PROTOCOL}"


rule on_real_images:
    input: artifacts("real"), "notebooks/params/tuned.yaml"
    output: touch(f"{STAMP}-subset{{subset}}-real")
    params:
        dataset=given,
    wildcard_constraints:
        subset=r"\d+",
    shell: VERB + " --augmenters"


rule augmenter:
    input: artifacts("real"), "notebooks/params/tuned.yaml"
    output: touch(f"{STAMP}-subset{{subset}}-{{what}}")
    params:
        dataset=given,
        name=lambda wildcards: SLUGS[wildcards.what],
    wildcard_constraints:
        subset=r"\d+",
        what="|".join(SLUGS),
    threads: 1
    shell: VERB + " --arms --augmenters {params.name:q}"
