SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3
RUN ?= embedded
DATASET ?= fashion-mnist
CORES ?= all
# What else stands on make's command line reaches the programs as their environment.
KNOWN := PYTHON RUN DATASET PARAMS FRACTION SET UNTIL DATA QUICK BACKBONE PROFILE CORES ENTRIES MODEL BANK BASE_URL PRICES CI TMPDIR SEGA_% HF_% OPENAI_% OMP_% CUDA_%
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
UNKNOWN := $(filter-out $(KNOWN),$(GIVEN))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN); known are $(KNOWN)))

# What is given goes to programs as it stands, whatever is in it: make reads no $$ in it, and the shell nothing.
TEXTS := RUN DATASET PARAMS FRACTION SET UNTIL DATA QUICK BACKBONE PROFILE CORES ENTRIES MODEL BANK BASE_URL PRICES
define NEWLINE


endef
$(foreach name,$(TEXTS),$(if $(findstring $(NEWLINE),$(value $(name))),$(error $(name) holds a line break; write it in one line)))
$(foreach name,$(TEXTS),$(if $(value $(name)),$(eval override $(name) := $$(value $(name)))))
quoted = '$(subst ','\'',$($(1)))'
# Snakemake takes what follows --config for YAML: in its quotes, 0012 and 1e3 stay texts, and so does "a: b". The spaces
# keep it from stripping the quotes.
text = ' '\''$(subst ','\'''\'',$($(1)))'\'' '

BIN := .venv/bin
READY := .venv/.ready
NOTEBOOKS := $(sort $(wildcard notebooks/*.ipynb))
LAST = $(lastword $(subst _, ,$(UNTIL)))
CONFIG := run=$(call text,RUN) dataset=$(call text,DATASET) $(if $(PARAMS),params=$(call text,PARAMS)) \
  $(if $(FRACTION),fraction=$(call text,FRACTION)) $(if $(SET),set=$(call text,SET)) $(if $(UNTIL),until=$(call text,UNTIL))

# Kernels come from this environment, never from one the user once installed.
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH
# All that the embedded run needs is here; a download must be asked for (HF_HUB_OFFLINE=0), e.g. of CLIP weights.
run test notebooks: export HF_HUB_OFFLINE ?= 1

.PHONY: help install run html judge verify subsets ablations augmenters few-shot flare robust groups prompts paper paper-plan gpu-check test lab notebooks sbom clean
.DEFAULT_GOAL := help

help:
	@echo "make run        install, then execute the notebooks in order; a second run does nothing, a killed one resumes"
	@echo "                (RUN, DATASET, PARAMS=notebooks/params/....yaml, FRACTION, SET=\"03_projector.SIGMA=0.5\" for another run"
	@echo "                than the embedded one; UNTIL=04_synthesis stops there)"
	@echo "make html       after make run: its chapters and report as web pages, in build/site, for GitHub Pages or any server"
	@echo "make judge      DATA=PATH: would synthetic images help a folder of your own? (QUICK=1 for a brief answer;"
	@echo "                BACKBONE=none or any timm name instead of the small network of the extra 'outside')"
	@echo "make verify     compare a run with the committed reference, and print the poster's claims with both verdicts"
	@echo "make subsets    the comparison on two more subsets of the data, each with its own CLIP, GAN and projector; it resumes"
	@echo "make ablations  make run, then every entry of notebooks/params/ablations.yaml, with the time left; it resumes"
	@echo "make augmenters every augmenter in one comparison, as planned in notebooks/params/augmenters.yaml; hours; it resumes"
	@echo "make flare      restored, drawn and mixed images, as planned in notebooks/params/flare.yaml; it resumes"
	@echo "make few-shot   one to ten images a class and the images of other classes, as planned in few_shot.yaml; it resumes"
	@echo "make robust     training against attacks with and without synthetic images, as planned in robust.yaml; it resumes"
	@echo "make groups     looks that some classes lack, and rare classes, as planned in groups.yaml; it resumes"
	@echo "make prompts    ask an LLM for the prompts of DATASET (MODEL, BASE_URL; the key in OPENAI_API_KEY) and record them;"
	@echo "                MODEL=template, or BANK=file.txt with lines CLASS: prompt, needs no key"
	@echo "make paper      the grid of notebooks/params/grid.yaml on every GPU; make paper-plan only shows its jobs"
	@echo "make gpu-check  in nine minutes: what this machine's GPU, or without one its cores, do; records in results/gpu-check"
	@echo "make test       install, then unit tests and every notebook against its committed outputs (nbval)"
	@echo "make lab        install, then open JupyterLab at the list of chapters"
	@echo "make install    put the locked environment into .venv (PYTHON=python3.12 for another Python)"
	@echo "make notebooks  execute the notebooks at their defaults and write the outputs into them, to commit them"
	@echo "make sbom       write the software bill of materials (CycloneDX 1.5) to build/sbom.json"
	@echo "make clean      delete what runs have made, but for the committed reference, and what they remember, not .venv"

install: $(READY)

$(READY): uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "Python 3.11 to 3.13 is needed, but $(PYTHON) is: $$($(PYTHON) --version 2>&1)"; \
	  echo "Name another one, e.g.: make install PYTHON=python3.11"; exit 1; } >&2
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv"; exit 1; } >&2
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	UV_PROJECT_ENVIRONMENT=.venv UV_PYTHON_DOWNLOADS=never \
	  $(BIN)/uv sync --frozen --compile-bytecode --python $(BIN)/python
	@touch $@

run: $(READY)
	@$(BIN)/snakemake --cores $(call quoted,CORES) --config $(CONFIG) --rerun-incomplete --nolock \
	  $(if $(UNTIL),--until $(call quoted,LAST)) \
	  --rerun-triggers mtime input params --max-checksum-file-size 100MB --quiet host rules reason

html: $(READY)
	@$(BIN)/python -m sega_utils html --run $(call quoted,RUN) --dataset $(call quoted,DATASET)

judge: $(READY)
	@$(BIN)/python -m sega_utils judge $(call quoted,DATA) $(if $(filter 1,$(QUICK)),--quick) \
	  $(if $(BACKBONE),--backbone $(call quoted,BACKBONE))

verify: $(READY)
	@$(BIN)/python -m sega_utils verify --run $(call quoted,RUN) --dataset $(call quoted,DATASET)

# The seeds of the subsets were fixed before any was measured; the run's own subset has seed 0.
subsets: export HF_HUB_OFFLINE ?= 1
subsets: $(READY)
	@for subset in 1 2; do \
	  $(BIN)/snakemake --cores $(call quoted,CORES) --config run=$(call text,RUN)-subset-$$subset dataset=$(call text,DATASET) \
	  params=notebooks/params/subset.yaml subset=$$subset --rerun-incomplete --nolock --until training \
	  --rerun-triggers mtime input params --max-checksum-file-size 100MB --quiet host rules reason; done

# ENTRIES="components sigma=0.5" measures only these.
ablations: export HF_HUB_OFFLINE ?= 1
ablations: run
	@$(BIN)/python -m sega_utils ablations --run=$(call quoted,RUN) --dataset $(call quoted,DATASET)
	@$(BIN)/snakemake --snakefile ablations.smk --cores $(call quoted,CORES) --config $(CONFIG) \
	  $(if $(ENTRIES),entries=$(call text,ENTRIES)) --rerun-incomplete --nolock --keep-going \
	  --rerun-triggers mtime input params --max-checksum-file-size 100MB --quiet host rules reason -- all_ablations

# The plan's primary comparison; its other sizes and protocol B are asked for with python -m sega_utils augmenters.
augmenters: export HF_HUB_OFFLINE ?= 1
augmenters: $(READY)
	@$(BIN)/snakemake --snakefile augmenters.smk --cores $(call quoted,CORES) --config $(CONFIG) --rerun-incomplete --nolock \
	  --keep-going --rerun-triggers mtime input params --max-checksum-file-size 100MB --quiet host rules reason -- all_augmenters

# Each measures what its plan in notebooks/params says, and resumes; groups has its own list of data sets.
PLANNED := few-shot flare robust groups
$(PLANNED): export HF_HUB_OFFLINE ?= 1
$(PLANNED): $(READY)
	@$(BIN)/python -m sega_utils $@ --run $(call quoted,RUN) $(if $(filter groups,$@),,--dataset $(call quoted,DATASET))

# PRICES="0.15 0.60": of a million tokens read and written, for the cost.
prompts: $(READY)
	@$(BIN)/python -m sega_utils prompts --dataset $(call quoted,DATASET) $(if $(MODEL),--model $(call quoted,MODEL)) \
	  $(if $(BANK),--bank $(call quoted,BANK)) $(if $(BASE_URL),--base-url $(call quoted,BASE_URL)) $(if $(PRICES),--prices $(foreach price,$(PRICES),$(call quoted,price))) \
	  $(if $(FRACTION),--fraction $(call quoted,FRACTION))

GRID := $(BIN)/snakemake --snakefile paper.smk --workflow-profile profiles/paper
# PROFILE=profiles/slurm or profiles/kubernetes runs it there; else every GPU here takes one job, and without any the cores do.
paper: $(READY)
	@$(GRID) $(if $(PROFILE),--profile $(call quoted,PROFILE),--cores $(call quoted,CORES) \
	  --resources gpu=$$(nvidia-smi --list-gpus 2>/dev/null | wc -l))

paper-plan: $(READY)
	@$(GRID) --cores $(call quoted,CORES) --dry-run

gpu-check: $(READY)
	@$(BIN)/python -m sega_utils gpu-check

# Two lanes share the cores, each mostly on one: the notebooks that a run executes, whose lines are marked; and the unit
# tests, then the notebooks that the Snakefile sets aside, which need no more than the run's real images. Either may fail
# without hiding what the other finds.
ASIDE := $(patsubst %,notebooks/%.ipynb,$(shell sed -n '/^ASIDE = /{s/.*= //;s/[^0-9a-z_ ]//g;p}' Snakefile))
NBVAL := $(BIN)/pytest --nbval-lax --nbval-current-env --nbval-sanitize-with tests/nbval.cfg \
  --nbval-cell-timeout 3600 --nbval-kernel-startup-timeout 300 -x
test: export CI := 1
test: export OMP_NUM_THREADS := 1
test: $(READY)
	@export SEGA_RESULTS=$$(mktemp -d); trap 'kill $$(jobs -p) 2>/dev/null || true; rm -rf "$$SEGA_RESULTS"' EXIT; \
	$(BIN)/ruff check --quiet sega_utils tests; $(BIN)/ruff format --check --quiet sega_utils tests; \
	$(NBVAL) $(filter-out $(ASIDE),$(NOTEBOOKS)) > >(sed -u 's/^/notebooks: /') 2>&1 & lane=$$!; \
	failed=0; $(BIN)/pytest -q --durations=20 tests || failed=1; $(NBVAL) $(ASIDE) || failed=1; \
	wait $$lane || failed=1; exit $$failed

lab: $(READY)
	@$(BIN)/jupyter lab $$([ "$$(id -u)" != 0 ] || echo --allow-root) notebooks/README.md

notebooks: $(READY)
	@for notebook in $(NOTEBOOKS); do $(BIN)/python -m sega_utils.execute --write $$notebook; done

environment.yml: uv.lock pyproject.toml $(READY)
	@{ echo "# The pins of uv.lock for conda users; made by: make environment.yml"; \
	  echo "name: sega-net"; echo "channels: [conda-forge]"; echo "dependencies:"; \
	  echo "  - python=3.11"; echo "  - pip"; echo "  - pip:"; \
	  $(BIN)/uv export --quiet --frozen --all-groups --all-extras --no-hashes --no-emit-project --no-annotate --no-header | \
	    sed 's/.*/      - "&"/'; echo '      - "-e ."'; } > $@

sbom: $(READY)
	@mkdir -p build && $(BIN)/uv export --quiet --frozen --all-groups --all-extras --format cyclonedx1.5 --output-file build/sbom.json
	@echo "wrote build/sbom.json"

clean:
	git clean -fdXq results
	rm -rf .snakemake
