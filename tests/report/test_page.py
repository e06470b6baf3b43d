import base64
import html.parser
import re
import shutil
from pathlib import Path

import pytest
import torch
from fake_run import ACCURACY, DATASET, RUN, change, remove, write_run

from sega_utils.core import artifacts, paths, records, schema
from sega_utils.report import comparisons, pictures, sources
from sega_utils.report.page import report_html


@pytest.fixture
def page():
    write_run()
    figures = paths.artifact(RUN, DATASET, "figures")
    pictures.save(comparisons.accuracy_bars(records.read(RUN, DATASET, "training")), figures / "accuracy.png")
    pictures.save(pictures.grid(torch.rand(4, 1, 32, 32), columns=2), figures / "at_a_glance.png")
    return report_html(RUN, DATASET).read_text(encoding="utf-8")


def test_its_structure_is_one_that_all_can_use(page):
    seen = parse(page).seen
    tags = [tag for tag, _ in seen]
    assert ("html", {"lang": "en"}) in seen
    assert [tags.count(tag) for tag in ("main", "header", "footer", "nav", "h1", "title")] == [1] * 6
    ids = [attributes["id"] for _, attributes in seen if "id" in attributes]
    assert len(set(ids)) == len(ids)
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    assert all(len(attributes["alt"]) > 25 for tag, attributes in seen if tag == "img")
    regions = [attributes for tag, attributes in seen if attributes.get("class") == "wide"]
    assert len(regions) == tags.count("table") > 5
    assert all((one["role"], one["tabindex"]) == ("region", "0") for one in regions)
    assert len({one["aria-label"] for one in regions}) == len(regions), "landmarks are told apart by their labels"
    inside = [attributes["href"][1:] for tag, attributes in seen if attributes.get("href", "").startswith("#")]
    assert len(inside) > 5 and set(inside) <= set(ids)


def test_it_begins_with_what_was_found_then_the_verdicts_then_the_contents(page):
    places = [
        page.index(part) for part in ("Of 9 claims", "a gain", 'id="the-poster-s-claims"', "<nav", "Test accuracy<")
    ]
    assert places == sorted(places)
    text = " ".join(parse(page).text)
    assert "+2.75 [+2.13, +3.37] points (3 seeds, 10,000 test images): a gain" in text
    assert "What they are worth in accuracy was not measured." in text and "Not measured: other test images" in text


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """Return a copy of the project in which the committed run is one's own."""
    folder = tmp_path / "project"
    others = shutil.ignore_patterns(".*", "results", "build", "downloads", "*.egg-info", "__pycache__", "uv.lock")
    shutil.copytree(paths.ROOT, folder, ignore=others)
    shutil.copytree(paths.reference_root() / "embedded", folder / "results" / "embedded")
    monkeypatch.setenv("SEGA_RESULTS", str(folder / "results"))
    return folder


@pytest.fixture
def committed(tracked, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tracked)
    monkeypatch.setattr(paths, "NOTEBOOKS", tracked / "notebooks")
    return report_html("embedded", "fashion-mnist")


def links(page):
    seen = parse(page.read_text(encoding="utf-8")).seen
    return [attributes["href"] for tag, attributes in seen if tag == "a" and not attributes["href"].startswith("#")]


def test_every_link_resolves_in_the_results_folder_and_in_the_repository(committed, tracked, monkeypatch):
    found = links(committed)
    assert all((committed.parent / place).resolve().is_relative_to(tracked) for place in found)
    assert [place for place in found if not (committed.parent / place).exists()] == []
    text = committed.read_text(encoding="utf-8")
    claims = re.findall("<tr>.*?</tr>", text[text.index('id="the-poster-s-claims"') : text.index("<nav")])[1:]
    for claim in claims:
        for part in ('href="tables/', 'href="../../../notebooks/', 'href="records/', "<code>make "):
            assert part in claim, "table, notebook, records and command"
    monkeypatch.setattr(paths, "ROOT", tracked / "elsewhere")  # results that lie outside the project
    assert sources.notebook_from(committed.parent, "05_training") == "notebooks/05_training.ipynb", "the copy that ran"


def test_a_browser_finds_no_serious_fault_and_sorts_by_keyboard(committed):
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (uv sync --group browser)"
    )
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, scheme in ((1280, "light"), (390, "light"), (390, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
            faults = []
            page.on("pageerror", lambda error, faults=faults: faults.append(str(error)))
            page.goto(committed.as_uri())
            page.evaluate(rules)
            faults += [(fault["id"], fault["nodes"][0]["html"]) for fault in page.evaluate("axe.run()")["violations"]]
            assert faults == [], (width, scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, "only tables scroll sideways"
        arms = page.locator("#test-accuracy tbody th")
        button = page.locator("#test-accuracy thead button").nth(1)
        button.focus()
        page.keyboard.press("Enter")
        assert arms.first.inner_text() == "No Aug" and button.locator("..").get_attribute("aria-sort") == "ascending"
        page.keyboard.press("Enter")
        assert arms.last.inner_text() == "No Aug" and button.locator("..").get_attribute("aria-sort") == "descending"
        browser.close()


def test_a_folder_of_ones_own_is_told_about_itself_and_nothing_of_the_poster(monkeypatch, tmp_path):
    write_run()
    own = f"folder:{tmp_path}/my photos"
    for file in paths.artifact(RUN, DATASET, "records").glob("*/*.json"):
        target = paths.artifact(RUN, own, "records") / file.parent.name / file.name
        artifacts.save_json(target, schema.sealed(artifacts.load_json(file) | {"dataset": own}))
    page = report_html(RUN, own).read_text(encoding="utf-8")
    assert "poster" not in page.lower() and str(tmp_path) not in page
    text = " ".join(parse(page).text)
    assert "Should synthetic images be added? Yes: beside Std Aug" in text and "3 seeds decide little" in text
    assert f"<title>SEGA-Net: {RUN}, my-photos-" in page


class Checker(html.parser.HTMLParser):
    """Collects tags and text, and refuses a page whose tags do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(page):
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_the_report_is_one_file_that_needs_no_other(page):
    seen = parse(page).seen
    images = [attributes for tag, attributes in seen if tag == "img"]
    assert len(images) == 2 and all(image["alt"] for image in images)
    for image, name in zip(images, ("accuracy", "at_a_glance"), strict=True):
        kind, data = image["src"].split(",")
        assert kind == "data:image/png;base64"
        saved = (paths.artifact(RUN, DATASET, "figures") / f"{name}.png").read_bytes()
        assert base64.b64decode(data) == saved
    assert not {"link", "iframe"} & {tag for tag, _ in seen} and ("script", {}) in seen
    assert "http" not in re.sub('base64,[^"]*', "", page)
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in seen


def test_the_report_shows_every_table_and_no_path_of_the_machine(page, results):
    text = " ".join(parse(page).text)
    for part in (
        "84.25 ± 0.25",
        "+2.75 [+2.13, +3.37]",
        "96.5 ± 0.2",
        "12 classifiers in 30 seconds",
        "Post-filter",
        "copies a real image",
        "brightness",
        "not measured",
        "steps = 1000",
        "000000000000",
    ):
        assert part in text
    assert str(results) not in page and str(paths.ROOT) not in page
    assert all(arm in text for arm in ACCURACY)


def test_the_report_shows_other_images_and_attacks_beside_the_posters():
    write_run()
    row = {"attack": "FGSM", "norm": "Linf", "n": 10}
    measured = {
        "shift": {"corruptions": {"fog": [0.5] * 5}, "shifts": {"clean": 0.8, "inverted": 0.125}, "n_test": 10},
        "attacks": {"attacked": [row | {"epsilon": 0, "accuracy": 0.8}, row | {"epsilon": 8, "accuracy": 0.1}]},
    }
    for stage, metrics in measured.items():
        for arm in ACCURACY:
            for seed in range(3):
                records.write(
                    RUN,
                    DATASET,
                    stage,
                    f"{arm} {seed}",
                    parameters={"arm": arm, "seed": seed},
                    metrics=metrics,
                    inputs={"weights": f"{arm}{seed}"},
                    cost={"seconds": 1.0},
                )
    checker = parse(report_html(RUN, DATASET).read_text(encoding="utf-8"))
    text = " ".join(checker.text)
    for part in (
        "Under attack",
        "0/255",
        "The poster's attacks",
        "55.3 ± 0.4",
        "Other test images",
        "82.3 ± 0.3",
        "12.50 ± 0.00 inverted (n = 3)",
        "The poster's costs",
        "GAN+Filter",
    ):
        assert part in text, part
    assert len([tag for tag, _ in checker.seen if tag == "img"]) == 2
    saved = {path.name for path in paths.artifact(RUN, DATASET, "figures").iterdir()}
    assert saved == {"severity.png", "attacks.png"}, "drawn figures are files, too"
    remove("attacks")
    assert "Under attack" not in report_html(RUN, DATASET).read_text(encoding="utf-8")


def test_the_low_data_curve_is_drawn_once_there_are_two_fractions():
    write_run()
    for value, images in ((0.01, 0), (0.02, 1)):
        for seed in range(3):
            trained = artifacts.load_json(records.path(RUN, DATASET, "training", f"sega-net-seed{seed}"))
            parameters = {"ablation": "fraction", "arm": "Std Aug", "value": value, "seed": seed, "from_run": RUN}
            records.write(
                RUN,
                DATASET,
                "ablation",
                f"{value} {seed}",
                parameters=parameters,
                metrics={"accuracy": 0.8, "accuracy_reference": trained["accuracy"]},
                cost={"seconds": 1.0},
                inputs={"reference": trained["input_weights"], "weights": "x"},
            )
        checker = parse(report_html(RUN, DATASET).read_text(encoding="utf-8"))
        assert ("more real images" in " ".join(checker.text)) == bool(images)
        assert len([tag for tag, _ in checker.seen if tag == "img"]) == images


def test_training_loops_are_shown_once_they_were_compared(page):
    heading, sides = "The training loop beside a plain one", {"ours": 0.002, "theirs": 0.008}
    assert heading not in page
    times = {f"{side}_{at}": seconds for side, seconds in sides.items() for at in ("q1", "q3")}
    records.write(
        RUN,
        DATASET,
        "efficiency",
        "loop",
        cost={"seconds": 1.0},
        inputs={},
        parameters={
            "loop": "theirs",
            "classifier": "net",
            "batch_size": 64,
            "precision": "float32",
            "compile": False,
            "workers": 2,
            "turns": 3,
        },
        metrics=times
        | {f"seconds_{side}": seconds for side, seconds in sides.items()}
        | {
            "accuracy_ours": 0.875,
            "std_ours": 0.01,
            "accuracy_theirs": 0.87,
            "std_theirs": 0.02,
            "difference": 0.005,
            "ci_low": -0.01,
            "ci_high": 0.02,
        },
    )
    text = " ".join(parse(report_html(RUN, DATASET).read_text(encoding="utf-8")).text)
    assert heading in text and "4.00" in text and "+0.50 [-1.00, +2.00]" in text


def test_the_report_escapes_what_it_shows(page):
    change("clip", "clip", param_clip="<img src=x onerror=alert(1)>&")
    change("training", "sega-net-seed1", device="<b>GPU</b>")
    page = report_html(RUN, DATASET).read_text(encoding="utf-8")
    assert len([tag for tag, _ in parse(page).seen if tag == "img"]) == 2 and "<b>" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;" in page and "&lt;b&gt;GPU&lt;/b&gt;" in page


def test_what_is_missing_is_left_out():
    write_run()
    remove("synthesis")
    remove("projector")
    page = report_html(RUN, DATASET).read_text(encoding="utf-8")
    assert "<img" not in page and "Did the prompts steer?" not in page and "What the filters rejected" not in page
    assert "84.25 ± 0.25" in " ".join(parse(page).text)


def test_without_trained_classifiers_there_is_no_report():
    with pytest.raises(FileNotFoundError, match="make run"):
        report_html(RUN, DATASET)
    assert not paths.artifact(RUN, DATASET, "report").exists()


def test_the_same_records_give_the_same_page(page):
    assert report_html(RUN, DATASET).read_text(encoding="utf-8") == page
