"""The published site: chapters and report as pages that lead to each other, and whose images all have a text."""

import base64
import re
import shlex
import subprocess

import browser
import nbformat
import pytest
import torch
import yaml
from fake_run import DATASET, RUN, write_run
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from sega_utils.core import artifacts, paths
from sega_utils.report import pictures, site
from sega_utils.report.page import report_html

WORKFLOW = paths.ROOT / ".github" / "workflows" / "pages.yml"
BEFORE, AFTER = "[Before](00_data.ipynb) and [all](README.md)", "[After](14_report.ipynb), [why](../docs/grid.md)"
WIDE = "a table with a long line " * 12


def written(file, title, text, claim="A claim of `code`.", alt=True):
    """Write an executed chapter that links to others, with a table and a figure."""
    figure = pictures.grid(torch.rand(4, 1, 32, 32), columns=2)
    data = {"image/png": base64.b64encode(figure.png()).decode(), "text/plain": figure.alt}
    outputs = [
        new_output("stream", name="stdout", text=WIDE),
        new_output("display_data", data, metadata={"image/png": {"alt": figure.alt}} if alt else {}),
        new_output("execute_result", {"text/plain": "['a list', 1]"}, execution_count=1),
    ]
    code = '# why\nfor i in range(3):\n    print(f"{i} of 3", 0.5 * i, None)'
    cells = [
        new_markdown_cell(f"# {title}\n\n**{claim}**\n\n{text}"),
        new_markdown_cell("## A heading\n\n| a | b |\n|---|---|\n| 1 | $x^2$ |"),
    ]
    book = new_notebook(cells=[*cells, new_code_cell(code, outputs=outputs, execution_count=1)])
    file.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, file)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "NOTEBOOKS", tmp_path / "notebooks")
    for name in ("SERVER_URL", "REPOSITORY", "SHA"):
        monkeypatch.delenv(f"GITHUB_{name}", raising=False)
    written(tmp_path / "notebooks" / "00_data.ipynb", "00 Data", f"{AFTER}.")
    written(tmp_path / "notebooks" / "14_report.ipynb", "14 Report", f"{BEFORE}.")
    write_run()
    artifacts.save_csv(paths.artifact(RUN, DATASET, "tables") / "accuracy.csv", [{"arm": "a"}], ["arm"])
    written(paths.artifact(RUN, DATASET, "notebooks") / "14_report.ipynb", "14 Report of the run", f"{BEFORE}.")
    report_html(RUN, DATASET)
    return tmp_path / "site"


def links(file):
    return re.findall(r'<a href="(?!#)([^"]+)"', file.read_text(encoding="utf-8"))


def test_every_link_leads_to_a_page_of_the_site(folder):
    index = site.build(RUN, DATASET, folder)
    assert {file.name for file in folder.rglob("*.html")} == {
        "index.html",
        "report.html",
        "00_data.html",
        "14_report.html",
    }
    for file in folder.rglob("*.html"):
        found = links(file)
        assert found, file.name
        for target in found:
            assert (file.parent / target).resolve().is_relative_to(folder) and (file.parent / target).exists(), target
    assert "tables/accuracy.csv" in links(folder / "report.html")
    assert "notebooks/14_report.html" in links(index) and "A claim of code." in index.read_text(encoding="utf-8")


def test_what_the_run_has_executed_goes_before_the_copy_of_the_project(folder):
    text = site.build(RUN, DATASET, folder).read_text(encoding="utf-8")
    assert "14 Report of the run" in text and "00 Data" in text
    (folder / "stale.html").write_text("old")
    site.build(RUN, DATASET, folder)
    assert not (folder / "stale.html").exists()


def test_links_to_the_projects_files_lead_to_the_repository_if_it_is_known(folder, monkeypatch):
    site.build(RUN, DATASET, folder)
    page = (folder / "notebooks" / "00_data.html").read_text(encoding="utf-8")
    assert "grid.md" not in page and ", why." in page
    for name, value in (("SERVER_URL", "https://example.org"), ("REPOSITORY", "a/b"), ("SHA", "c0ffee")):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    site.build(RUN, DATASET, folder)
    assert "https://example.org/a/b/blob/c0ffee/docs/grid.md" in links(folder / "notebooks" / "00_data.html")


def test_an_image_without_a_text_is_refused(folder):
    written(paths.NOTEBOOKS / "00_data.ipynb", "00 Data", AFTER, alt=False)
    with pytest.raises(ValueError, match="1 images of 00_data.ipynb have no text"):
        site.build(RUN, DATASET, folder)


def test_without_a_report_there_is_no_site(folder):
    paths.artifact(RUN, DATASET, "report").unlink()
    with pytest.raises(FileNotFoundError, match="report.html is missing; make it with"):
        site.build(RUN, DATASET, folder)
    assert not folder.exists()


def test_a_browser_finds_no_fault_in_the_index_and_in_a_chapter(folder):
    index = site.build(RUN, DATASET, folder)
    with browser.started() as running:
        for file in (index, folder / "notebooks" / "00_data.html"):
            page = running.new_page(viewport={"width": 390, "height": 900})
            page.route("http*://**", lambda route: route.abort())
            assert [fault for fault in browser.faults(page, file) if fault[0] != "script"] == [], file.name
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, file.name


def test_the_workflow_runs_what_the_makefile_has_and_publishes_what_it_makes():
    found = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))
    (job,) = found["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make run", "make html"]
    for command in commands:
        done = subprocess.run([*shlex.split(command), "--dry-run"], cwd=paths.ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (upload,) = (step for step in job["steps"] if "upload-pages-artifact" in step.get("uses", ""))
    assert paths.ROOT / upload["with"]["path"] == site.SITE and found[True] == {"workflow_dispatch": None}
    assert found["permissions"] == {"contents": "read", "pages": "write", "id-token": "write"}
