"""What the artifact carries beside its results, written from records, headers and files: see ``DOCUMENTS``."""

from collections.abc import Callable
from pathlib import Path

from sega_utils.core import artifacts, paths
from sega_utils.report import appendix, cards, croissant, dependencies, harm, pictures
from sega_utils.studies import reproduce

PUBLISHED = f"{paths.REFERENCE}/embedded", "fashion-mnist"  # the run and data set that the documents are about
LICENCES = "docs/dependencies.md"
# file below the project's folder: what returns its text, given run and data set
DOCUMENTS: dict[str, Callable[[str, str], str]] = {
    "ARTIFACT.md": lambda run, dataset: appendix.page(run, dataset, reproduce.allowed(run, dataset)),
    "data/fashion-mnist/croissant.json": lambda run, dataset: croissant.of_images("fashion-mnist"),
    "data/mnist-5000/croissant.json": lambda run, dataset: croissant.of_images("mnist-5000"),
    "data/models/README.md": cards.page,
    "data/prompts/croissant.json": lambda run, dataset: croissant.of_prompts(),
    "docs/why-your-gan-made-it-worse.md": harm.page,
}


def documents(run: str, dataset: str) -> dict[str, str]:
    """Return the text of each document by its path below the project's folder.

    Raises:
        FileNotFoundError, ArtifactError, ValueError: the run has no records, or such as do not belong together.
    """
    return {name: text(run, dataset) for name, text in DOCUMENTS.items()}


def write(run: str, dataset: str) -> list[Path]:
    """Write the Croissant metadata of a run's synthetic set, or for the published run all documents; return where.

    Raises:
        FileNotFoundError, ArtifactError, ValueError: as ``documents``; then no document is written.
    """
    texts: dict[Path, str] = {}
    figures = {}
    if (run, dataset) == PUBLISHED:
        texts = {paths.ROOT / name: text for name, text in documents(run, dataset).items()}
        licences = paths.ROOT / LICENCES
        texts[licences] = dependencies.page(licences.read_text(encoding="utf-8") if licences.exists() else "")
        figures = {paths.ROOT / "docs" / "figures" / name: made for name, made in harm.drawn(run, dataset).items()}
    else:
        texts[paths.artifact(run, dataset, "records").parent / "croissant.json"] = croissant.of_run(run, dataset)
    for path, text in texts.items():
        artifacts.save_text(path, text)
    for path, figure in figures.items():
        pictures.save(figure, path)
    return [*texts, *figures]
