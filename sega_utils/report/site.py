"""What is published on the web: the executed chapters and a run's report as HTML, and an index of them."""

import os
import re
import shutil
from collections.abc import Callable
from html import escape
from pathlib import Path

import nbformat

from sega_utils.core import artifacts, paths
from sega_utils.report import page
from sega_utils.report.layout import link, section, whole

SITE = paths.ROOT / "build" / "site"
TEMPLATE = paths.NOTEBOOKS / "html"
SHOWN = ("tables", "records", "figures")  # artifacts that the report links to
TITLE = re.compile(r"# (?P<title>.+)\n\n\*\*(?P<claim>.+)\*\*")  # what every chapter begins with
HREF = re.compile(r'<a href="(?P<target>(?!\w+:|#|//)[^"]+)"(?P<more>[^>]*)>(?P<text>.*?)</a>', re.DOTALL)
IMAGE = re.compile(r"<img\b[^>]*>")


def build(run: str, dataset: str, folder: Path = SITE) -> Path:
    """Write a run's pages into a folder, which is emptied before, and return the index.

    Chapters are those that the run has executed, and for the others the copies that come with the project.

    Raises:
        FileNotFoundError: the run has no report.
        ValueError: a chapter's image has no text for those who do not see it.
    """
    report = paths.require(run, dataset, "report")
    notebooks = [executed(run, dataset, file) for file in sorted(paths.NOTEBOOKS.glob("*.ipynb"))]
    pages = {file.stem: chapter(file) for file in notebooks}
    shutil.rmtree(folder, ignore_errors=True)
    for name, html in pages.items():
        artifacts.save_text(folder / "notebooks" / f"{name}.html", html)
    for name in SHOWN:
        place = paths.artifact(run, dataset, name)
        if place.is_dir():
            shutil.copytree(place, folder / place.name)
    text = report.read_text(encoding="utf-8")
    artifacts.save_text(folder / report.name, relinked(text, lambda target: from_report(target, folder)))
    artifacts.save_text(folder / "index.html", index(run, dataset, notebooks))
    return folder / "index.html"


def executed(run: str, dataset: str, notebook: Path) -> Path:
    """Return the copy of a chapter that a run has executed, else the chapter itself."""
    own = paths.artifact(run, dataset, "notebooks") / notebook.name
    return own if own.exists() else notebook


def chapter(notebook: Path) -> str:
    """Return a notebook as HTML, by the project's template, with links that lead from page to page.

    Raises:
        ValueError: an image has no text.
    """
    from nbconvert import HTMLExporter  # takes a second, which only this should cost

    exporter = HTMLExporter(template_name=TEMPLATE.name, extra_template_basedirs=[str(TEMPLATE.parent)])
    resources = {"metadata": {"name": heading(notebook)["title"]}}
    html, _ = exporter.from_notebook_node(nbformat.read(notebook, as_version=4), resources)
    if bare := [image for image in IMAGE.findall(html) if not re.search(r'alt="[^"]', image)]:
        raise ValueError(
            f"{len(bare)} images of {paths.shown(notebook)} have no text for those who do not see them; execute it "
            "again: python -m sega_utils.execute --write"
        )
    return relinked(html, from_chapter)


def heading(notebook: Path) -> dict[str, str]:
    """Return ``title`` and ``claim`` of a chapter, from its first cell, without marks of Markdown."""
    found = TITLE.match(nbformat.read(notebook, as_version=4).cells[0].source)
    return {name: re.sub(r"[*`]", "", text) for name, text in found.groupdict().items()}


def relinked(html: str, place: Callable[[str], str]) -> str:
    """Return a page whose relative links lead to where ``place`` says; where that is nowhere, the words stay."""

    def exchange(found: re.Match) -> str:
        target = place(found["target"])
        return f'<a href="{escape(target)}"{found["more"]}>{found["text"]}</a>' if target else found["text"]

    return HREF.sub(exchange, html)


def from_chapter(target: str) -> str:
    """Return where a link of a chapter leads on the site: to another chapter, the index or the project's files."""
    if target.endswith(".ipynb"):
        return f"{Path(target).stem}.html"
    if target == "README.md":
        return "../index.html"
    file = Path(os.path.normpath(Path("notebooks") / target)).as_posix()
    return f"{project()}/{file}" if project() else ""


def from_report(target: str, folder: Path) -> str:
    """Return where a link of the report leads on the site: to a chapter, or to a file beside it."""
    if target.endswith(".ipynb"):
        return f"notebooks/{Path(target).stem}.html"
    return target if (folder / target).exists() else ""


def project() -> str:
    """Return the address of the project's files, as GitHub's workflows name it, or nothing elsewhere."""
    known = [os.environ.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "SHA")]
    return "{}/{}/blob/{}".format(*known) if all(known) else ""


def index(run: str, dataset: str, notebooks: list[Path]) -> str:
    """Return the page that leads to the report and to every chapter, and says in short what was found."""
    said = "".join(f"<li>{escape(text)}</li>" for text in page.told(run, dataset))
    chapters = "".join(
        f"<li>{link(f'notebooks/{file.stem}.html', found['title'])}<br>{escape(found['claim'])}</li>"
        for file in notebooks
        for found in [heading(file)]
    )
    parts = [
        section("In short", "", f"<ul>{said}</ul>", f"<p>{link('report.html', 'The whole report')}</p>"),
        section("Chapters", "Each as it was executed.", f"<ul>{chapters}</ul>"),
    ]
    header = (
        f"<h1>SEGA-Net, the artifact</h1>\n<p>Run <em>{escape(run)}</em>, {escape(paths.results_name(dataset))}.</p>"
    )
    footer = "<p>Made by <code>make html</code>. Every number was computed from the records of the run.</p>"
    return whole("SEGA-Net, the artifact", header, "\n".join(parts), footer)
