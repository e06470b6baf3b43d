"""The zoo's screening as a job for each augmenter, none of them repeated, then its finals; `make augmenters` runs it.

    snakemake --snakefile augmenters.smk --cores all --config per_class=15 protocol=B -- all_augmenters

Another size or protocol than the plan's own is exploratory: all augmenters on all its subsets, and no finals.
"""

import yaml


from sega_utils.studies.zoo.members import made_of


include: "Snakefile"


PLAN = yaml.safe_load((paths.PARAMS / "augmenters.yaml").read_text())
OWN = not {"per_class", "protocol"} & set(config)
SIZE, PROTOCOL = int(config.get("per_class", PLAN["primary"]["per_class"])), config.get("protocol", "A")
SUBSETS = [PLAN["screening"]["subset"]] if OWN else PLAN["primary"]["subsets"]
MORE = "" if OWN else f" --per-class {SIZE} --protocol {PROTOCOL}"
SLUGS = {"-".join(name.lower().split()): name for name in PLAN["augmenters"]}
STAMP = str(Path(artifacts("augmenters")[0]).parent / "done" / f"{SIZE}-{PROTOCOL}-{PLAN['seconds']:g}s")
VERB = f"{PYTHON} -m sega_utils augmenters --run {{wildcards.run}} --dataset {{params.dataset}}"
VERB += f" --per-class {SIZE} --protocol {PROTOCOL} --subsets {{wildcards.subset}} --workers 1 --brief"
VERB += f" --seeds {PLAN['screening']['seed']}" if OWN else ""


def made_before(wildcards):
    """Return the stamps of what an augmenter is made of, so that no two jobs train one of them."""
    first = [what for what, name in SLUGS.items() if name in made_of(SLUGS[wildcards.what])]
    return [f"{STAMP}-subset{{subset}}-{what}".format(**wildcards) for what in first]


rule all_augmenters:
    input:
        expand(f"{STAMP}-subset{{subset}}-{{what}}", run=RUN, dataset=list(NAMES), subset=SUBSETS, what=["real", *SLUGS]),
    params:
        dataset=literal(DATASET),
    shell:  # at the plan's own size, what is best of the screening goes on to all subsets and seeds
        f"{PYTHON} -m sega_utils augmenters --run {literal(RUN)} --dataset {{params.dataset}}"
        f" --workers {workflow.cores}{MORE}"


rule on_real_images:
    input: artifacts("real"), "notebooks/params/tuned.yaml"
    output: touch(f"{STAMP}-subset{{subset}}-real")
    params:
        dataset=given,
    wildcard_constraints:
        subset=r"\d+",
    shell: VERB + " --augmenters"


rule augmenter:
    input: artifacts("real"), "notebooks/params/tuned.yaml", made_before
    output: touch(f"{STAMP}-subset{{subset}}-{{what}}")
    params:
        dataset=given,
        name=lambda wildcards: SLUGS[wildcards.what],
    wildcard_constraints:
        subset=r"\d+",
        what="|".join(SLUGS),
    threads: 1
    shell: VERB + " --arms --augmenters {params.name:q}"
