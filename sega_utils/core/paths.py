"""The one place that knows where a file lives."""

import hashlib
import os
import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
NOTEBOOKS = ROOT / "notebooks"
PARAMS = NOTEBOOKS / "params"
REFERENCE = "reference"  # folder of the committed results: a run reference/NAME is read there, and never written
OWN = "folder:"  # what a DATASET begins with that is a folder of the user's own images
# Stages, as records are kept by them: those that an image goes through before any classifier, the training, the rest.
BEFORE = ("data", "clip", "prompts", "generator", "projector", "synthesis")
STAGES = (*BEFORE, "training", "shift", "attacks", "ablation", "efficiency", "shards")

# name: (file below results/<run>/<dataset>/, the notebook that writes it)
ARTIFACTS = {
    "real": ("real.safetensors", "00_data"),
    "clip": ("clip.json", "01_clip"),
    "bank": ("prompts.jsonl", "01_prompts"),
    "prompts": ("prompts.safetensors", "01_prompts"),
    "generator": ("generator.safetensors", "02_generator"),
    "projector": ("projector.safetensors", "03_projector"),
    "candidates": ("candidates.safetensors", "04_synthesis"),
    "synthetic": ("synthetic.safetensors", "04_synthesis"),
    "provenance": ("synthetic.csv", "04_synthesis"),
    "classifiers": ("classifiers", "05_training"),
    "corrupted": ("corrupted.safetensors", "06_shift"),
    "diffusion": ("diffusion.safetensors", "09_efficiency"),
    "variants": ("variants", "09_efficiency"),
    "attacks": ("attacks", "07_adversarial"),
    "pools": ("pools", None),
    "augmenters": ("augmenters", None),
    "robust": ("robust", None),
    "few-shot": ("few-shot", None),
    "shards": ("shards", None),
    "judge": ("judge", None),
    "records": ("records", None),
    "tables": ("tables", "14_report"),
    "figures": ("figures", "14_report"),
    "report": ("report.html", "14_report"),
    "notebooks": ("notebooks", None),
}


def real(path: str | Path) -> Path:
    """Return a path, absolute and without links; one that leads to itself is no error here, but where it is read."""
    return Path(os.path.realpath(path))


def results_root() -> Path:
    """Return the folder of all results: ``$SEGA_RESULTS`` if set, else ``results/``."""
    return real(os.environ.get("SEGA_RESULTS") or ROOT / "results")


def reference_root() -> Path:
    """Return the folder of the committed results, which come with the project wherever a run's own are."""
    return ROOT / "results" / REFERENCE


def downloads() -> Path:
    """Return the folder of published data sets: ``$SEGA_DATA`` if set, else ``data/downloads``."""
    return real(os.environ.get("SEGA_DATA") or DATA / "downloads")


def own_folder(dataset: str) -> Path:
    """Return the folder that ``folder:PATH`` names, from the project's folder if PATH is not absolute.

    Raises:
        ValueError: PATH is empty, or no path.
    """
    name = dataset.removeprefix(OWN)
    if not name.strip() or "\0" in name:
        raise ValueError(f"DATASET is {dataset!r}; it must be {OWN}PATH: {OWN!r} is followed by the path of a folder")
    return real(located(os.path.expanduser(name)))


def results_name(dataset: str) -> str:
    """Return the name of a data set's results folder: its own; for ``folder:PATH``, PATH's name and a digest.

    The digest keeps two folders of one name apart. It is the same on every machine if PATH lies in the project.
    """
    if not dataset.startswith(OWN):
        return dataset
    folder = own_folder(dataset)
    place = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    slug = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")[:32] or "images"
    return f"{slug}-{hashlib.sha256(place.as_posix().encode()).hexdigest()[:8]}"


NAME_ALLOWED = "letters, digits and any of _ . + @ - after the first, at most 100 characters, e.g. 'embedded'"


def run_name(value: object) -> str:
    """Return the name of a run, which whoever is given one must ask for before anything else is done with it.

    Shells, Snakemake and file systems take such a name as it stands.

    Raises:
        ValueError: it is not the name of one folder, or a reserved one.
    """
    if not isinstance(value, str):
        raise ValueError(
            f"run is {value!r}, a {type(value).__name__}; it must be text: quote it, after --config as run='\"...\"'"
        )
    if value.casefold() == REFERENCE:
        raise ValueError(f"run is {value!r}, which is reserved for what results are compared with; choose another name")
    return folder_name("run", value)


def folder_name(what: str, value: str) -> str:
    """Return a text that can be the name of a folder.

    Raises:
        ValueError: it cannot.
    """
    if len(value) > 100 or not re.fullmatch(r"\w[\w.+@-]*", value, re.ASCII):
        shown = repr(value if len(value) <= 60 else f"{value[:57]}...")
        raise ValueError(f"{what} is {shown}; it must be the name of one folder: {NAME_ALLOWED}")
    return value


def artifact(run: str, dataset: str, name: str) -> Path:
    """Return where an artifact of a run lives, whether or not it exists.

    Args:
        run: name of the run, e.g. ``embedded``; no path separators, but for ``reference/embedded``: what is committed.
        dataset: name of the data set, e.g. ``fashion-mnist``, or ``folder:PATH``.
        name: a key of ``ARTIFACTS``.

    Raises:
        ValueError: unknown name, or a run or dataset that is not one folder's name.
    """
    if name not in ARTIFACTS:
        raise ValueError(f"unknown artifact {name!r}; known are {', '.join(ARTIFACTS)}")
    dataset, root = results_name(dataset), results_root()
    if is_reference(run):
        root, run = reference_root(), run.removeprefix(f"{REFERENCE}/")
    if run != "{run}":  # the Snakefile fills it in, once it has asked for the run's name
        run_name(run)
    if dataset != "{dataset}":
        folder_name("dataset", dataset)
    return root / run / dataset / ARTIFACTS[name][0]


def is_reference(run: str) -> bool:
    """Return whether a run's name is of committed results, which come with the project and are only read."""
    return run.startswith(f"{REFERENCE}/")


def require(run: str, dataset: str, name: str) -> Path:
    """Return the path of an artifact that must already exist.

    Raises:
        FileNotFoundError: it does not; the message names the file and the command that makes it.
    """
    path = artifact(run, dataset, name)
    if not os.path.exists(path):  # of a name too long for the system, pathlib's raises
        notebook = ARTIFACTS[name][1]
        raise FileNotFoundError(
            f"{shown(path)} is missing; make it with: "
            f"python -m sega_utils.execute notebooks/{notebook}.ipynb -p RUN {run} -p DATASET {shlex.quote(dataset)}"
        )
    return path


def pretrained(dataset: str, kind: str, given: str = "") -> Path:
    """Return a frozen checkpoint: the one given, as ``located``, or if that is empty the data set's own in ``data/``.

    Args:
        kind: clip, generator or diffusion.

    Raises:
        FileNotFoundError: it does not exist.
    """
    path = located(given) if given else DATA / "models" / f"{results_name(dataset)}-{kind}.safetensors"
    if not path.exists():
        raise FileNotFoundError(
            f"{shown(path)} is missing{'' if given else f': no {kind} for {dataset} comes with the project'}; set "
            f"TRAIN = True to train one on this run's images, or name a {kind} in the notebook's parameters"
        )
    return path


def shown(path: Path) -> str:
    """Return a path as outputs may show it: relative to the project, to the results or to the downloads."""
    lost = os.path.islink(path) and not os.path.exists(path)
    path = real(path.parent) / path.name if lost else real(path)  # a link that leads nowhere is what there is to delete
    committed = reference_root(), f"results/{REFERENCE}"
    for base, prefix in (committed, (results_root(), "results"), (ROOT, ""), (downloads(), "$SEGA_DATA")):
        if path.is_relative_to(base):
            return str(Path(prefix) / path.relative_to(base))
    return path.name


def located(name: str) -> Path:
    """Return the path that ``shown`` printed: of the results if it starts with ``results/``, else of the project.

    An absolute path stays as it is.
    """
    path = Path(name)
    return results_root() / path.relative_to("results") if path.parts[:1] == ("results",) else ROOT / path
