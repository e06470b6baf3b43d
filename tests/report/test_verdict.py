import pytest
from PIL import Image

from sega_utils.core import numbers
from sega_utils.report import verdict


def difference(value: float, low: float, high: float) -> dict:
    return {"difference": value, "ci_low": low, "ci_high": high}


def gate(name: str, passed: str, *reasons: str) -> dict:
    of = {"agreement": 0.2, "precision": 0.9, "distance": 3.0, "copies": 0.01}
    real = {"agreement_real": 0.26, "precision_real": 0.94, "distance_real": 2.96}
    return {"augmenter": name, "passed": passed, "reasons": list(reasons)} | of | real


@pytest.fixture
def found() -> dict:
    """Return a verdict as the judge hands it over, on a folder of two classes."""
    inside = {
        "selected": "CutMix",
        "best": "CutMix",
        "overruled": None,
        "strange": False,
        "augmenter": "glico",
        "answer": "no",
        "difference": difference(-0.4, -1.6, 0.8),
        "needed": {"images": 1200, "seeds": 4},
        "gates": [gate("glico", "yes"), gate("gan", "no", "the classifier sees other classes", "copies")],
        "cv": {"CutMix": 70.0},
        "test": {"CutMix": 71.9, "CutMix + glico": 71.5},
    }
    return {
        "inside": inside,
        "outside": {},
        "augmenter_minutes": 6.0,
        "n_training": 60,
        "n_test": 20,
        "left_out": 3,
        "minutes": 9.5,
        "folder": "<pets>",
        "quick": True,
        "asked": "lite0",
        "spared": ["the augmenter ddim"],
        "files": ["classifier.safetensors"],
        "synthetic_files": 40,
        "more_images": {"now": 30, "then": 50, "gain": 3.21},
        "curve": [],
        "by_class": [],
        "confusion": [],
        "mistakes": [{"image": "cat/a.png", "class": "cat", "taken for": "dog", "probability": 0.9}],
        "suspicious": [],
        "calibration": [],
        "plan": [{"what": "side", "plan": "32 pixels"}],
    }


def test_the_first_line_answers_the_question_in_plain_words(found):
    assert verdict.lines(found)[0] == (
        "Add synthetic images? No: CutMix alone reaches 71.9 %; the best generator (glico) changes that by "
        "-0.4 [-1.6, +0.8] points and costs 6.0 minutes."
    )
    found["inside"] |= {"answer": "undecided", "difference": difference(1.5, -0.5, 3.5)}
    line = verdict.lines(found)[0]
    assert "Undecided: " in line and "about 1,200 more test images or 4 more seeds would decide it" in line
    found["inside"] |= {"answer": "yes", "difference": difference(2.5, 0.5, 4.5)}
    assert "Yes: those of glico change the 71.9 % of CutMix by +2.5 [+0.5, +4.5] points" in verdict.lines(found)[0]
    found["inside"] |= {"augmenter": ""}
    assert "none of the generators tried (glico, gan) passed the gate" in verdict.lines(found)[0]


def test_the_second_line_says_what_outside_images_are_worth_or_how_to_try_them(found):
    assert verdict.lines(found)[1].endswith("uv sync --frozen --extra outside, then the same command again.")
    assert verdict.lines(found | {"asked": "none"})[1].endswith("the same command without BACKBONE=none.")
    arm = {
        "how": "frozen",
        "cv": 73.0,
        "test": 74.2,
        "test_synthetic": 74.0,
        "gain": difference(16.3, 13.0, 19.0),
        "difference": difference(-0.2, -0.9, 0.5),
        "needed": {"images": 5},
        "answer": "no",
    }
    found["outside"] = {"backbone": "lite0", "images": "ImageNet-1k", "arms": [arm]} | arm
    line = verdict.lines(found)[1]
    assert "use a pretrained network (lite0, frozen): +16.3 [+13.0, +19.0] points, 74.2 %" in line
    assert "on top change that by -0.2 [-0.9, +0.5] points: leave them out." in line
    assert line.endswith("Fine-tuning it was not tried: the same command without QUICK=1 does.")
    assert "a faster or less busy machine does" in verdict.lines(found | {"quick": False})[1]
    tuned = arm | {"how": "fine-tuned", "cv": 75.0, "test": 76.0}
    found["outside"] |= {"arms": [arm, tuned]} | tuned
    line = verdict.lines(found)[1]
    assert "(lite0, fine-tuned): +16.3 [+13.0, +19.0] points, 76.0 %" in line and line.endswith("leave them out.")
    (block,) = (rows for heading, _, rows in verdict.tables(found) if heading == "With outside images")
    assert [row["arm"] for row in block] == ["lite0, frozen", "the same + glico"] + [
        "lite0, fine-tuned",
        "the same + glico",
    ]
    found["outside"]["by_name"] = 35.0
    (block,) = (rows for heading, _, rows in verdict.tables(found) if heading == "With outside images")
    assert list(block[-1].values()) == ["without a single label, from the class names alone", "", 35.0]
    headings = [heading for heading, *_ in verdict.tables(found)]
    assert headings.index("With outside images") == headings.index("Accuracy") + 1, "a block of its own"


def test_the_gate_fits_a_screen_and_every_reason_has_a_row(found):
    tables = {heading: rows for heading, _, rows in verdict.tables(found)}
    assert tables["The gate"][1] == {
        "augmenter": "gan", "passed": "no", "agreement": "0.20 (0.26)", "precision": "0.90 (0.94)",
        "distance": "3.00 (2.96)", "copies": "1%",
    }  # fmt: skip
    assert [row["refused because"] for row in tables["What the gate refused"]] == [
        "the classifier sees other classes", "copies",
    ]  # fmt: skip
    assert "The gate with outside images" not in tables and "Possible twins" not in tables
    assert max(map(len, numbers.aligned(tables["The gate"]).splitlines())) <= 120


def test_a_long_table_says_in_the_terminal_that_it_goes_on(found):
    found["by_class"] = [{"class": f"class {i}", "tested": 3} for i in range(25)]
    text = verdict.text(found)
    assert "class 9 " in text and "class 10" not in text and "and 15 more in verdict.html" in text


def test_text_and_page_begin_with_the_verdict_and_escape_what_is_the_users(found, tmp_path):
    (tmp_path / "cat").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "cat" / "a.png")
    assert verdict.text(found).startswith("Add synthetic images? No")
    assert "Left out of the plan to keep its minutes on this machine: the augmenter ddim." in verdict.text(found)
    assert "20 more photographs a class would change accuracy by about +3.2 points" in verdict.text(found)
    page = verdict.html(found, tmp_path, tmp_path / "verdict.html").read_text()
    assert "<h1>Add synthetic images? No" in page and "<title>Synthetic images for &lt;pets&gt;?</title>" in page
    assert 'alt="cat, taken for dog" src="data:image/png;base64,' in page


def test_test_images_that_are_far_harder_are_told(found):
    assert "Look at both" not in verdict.text(found)
    found["inside"]["strange"] = True
    assert "Inside the training images CutMix reaches 70.0 %, far more than on the test images" in verdict.text(found)
