"""A headless browser that looks at pages, and axe-core's rules; what wants them is skipped where they are not."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def started() -> Iterator:
    """Yield a browser of Playwright, Debian's Chromium."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (uv sync --group browser)"
    )
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def faults(page, file: Path) -> list[tuple[str, str]]:
    """Return the errors of a page's scripts, and what axe-core finds: the rule, and each place that breaks it."""
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    found = []
    page.on("pageerror", lambda error: found.append(("script", str(error))))
    page.goto(file.as_uri())
    page.evaluate(rules)
    broken = page.evaluate("axe.run()")["violations"]
    return found + [(fault["id"], node["html"][:200]) for fault in broken for node in fault["nodes"]]
