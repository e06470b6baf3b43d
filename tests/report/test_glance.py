import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from sega_utils import filters
from sega_utils.data import catalogue
from sega_utils.data.images import to_uint8
from sega_utils.report import glance, pictures, words

GREY = torch.rand(12, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


@pytest.fixture(scope="module")
def candidates():
    """Return real images as if drawn from 12 prompts a class and rejected for all reasons, with their table."""
    real = catalogue.load("fashion-mnist", "test")
    index = torch.arange(1500)
    prompt_ids = real.labels[:1500] * 12 + index % 12
    reasons = ["" if i % 4 < 2 else filters.FILTERS[(i // 4) % 5] for i in range(1500)]
    rows = [
        {
            "class": real.class_names[c],
            "prompt": f"a long light {real.class_names[c]} with its number {p}",
            "reason": why,
        }
        for c, p, why in zip(real.labels.tolist(), prompt_ids.tolist(), reasons, strict=False)
    ]
    return {"images": to_uint8(real.images[:1500]), "prompt_ids": prompt_ids}, rows


def test_the_glance_is_small_and_wide_enough_for_a_readme(candidates, tmp_path):
    pictures.save(glance.at_a_glance(*candidates), tmp_path / "glance.png")
    assert (tmp_path / "glance.png").stat().st_size < 200_000
    assert Image.open(tmp_path / "glance.png").size[0] >= 1800, "twice 900 px, so that it stays sharp"


def test_the_glance_shows_prompts_of_different_classes_with_their_counts(candidates):
    pool, rows = candidates
    shown = texts(glance.at_a_glance(pool, rows))
    prompts = [text for text in shown if text.startswith("“")]
    assert len(prompts) == 3 and len({text.split(" with")[0] for text in prompts}) == 3
    assert {" ".join(text.split()) for text in shown} >= {"kept", *words.REASONS.values()}
    prompt = int(prompts[0].split()[-1].rstrip("”"))
    mine = [row["reason"] for row, p in zip(rows, pool["prompt_ids"].tolist(), strict=True) if p == prompt]
    counts = [text for text in shown if " of " in text][:6]
    assert counts == [f"{mine.count(why)} of {len(mine)}" for why in ("", *filters.FILTERS)]


def test_the_glance_draws_the_images_it_counts(candidates):
    pool, rows = candidates
    figure = glance.at_a_glance(pool, rows, prompts=[5])
    kept = [i for i, row in enumerate(rows) if pool["prompt_ids"][i] == 5 and not row["reason"]]
    sheet = figure.axes[0].images[0].get_array()
    assert np.allclose(sheet[:32, :32, 0], pool["images"][kept[0], 0] / 255)
    assert sheet.shape == (66, 134, 3) or len(kept) < 8


def test_the_glance_leaves_out_filters_that_rejected_nothing_and_shortens_long_prompts():
    prompt = "costs $5 and $6, " + "very " * 40 + "long"
    rows = [{"class": "bag", "prompt": prompt, "reason": why} for why in ("", "blur")]
    figure = glance.at_a_glance({"images": GREY[:2].expand(-1, 3, -1, -1), "prompt_ids": torch.tensor([4, 4])}, rows)
    figure.png()
    shown = texts(figure)
    assert shown[:2] == ["kept", "blurred"] and "1 of 2" in shown
    quoted = next(text for text in shown if text.startswith("“"))
    assert quoted.startswith("“costs $5 and $6, very") and quoted.endswith(" …”") and len(quoted) <= 102


def test_the_glance_refuses_a_table_of_other_candidates_and_unknown_prompts(candidates):
    pool, rows = candidates
    with pytest.raises(ValueError, match="has 1499 rows for 1500 candidates"):
        glance.at_a_glance(pool, rows[:-1])
    with pytest.raises(ValueError, match=r"no candidate was drawn from the prompts \[999\]; known are 0 .. 119"):
        glance.at_a_glance(pool, rows, prompts=[1, 999])


def obeyed(prompt: int, name: str, effect: float) -> dict:
    row = {"prompt_id": prompt, "class": name, "attribute": "brightness", "word": "light", "effect": effect}
    return row | {"kept": 0.5 + effect / 10, "real": 0.5}


def test_the_glance_shows_the_prompt_obeyed_best_and_the_one_obeyed_least_and_says_so(candidates):
    pool, rows = candidates
    names = {p: row["class"] for row, p in zip(rows, pool["prompt_ids"].tolist(), strict=True)}
    followed = [obeyed(p, names[p], effect) for p, effect in ((3, 0.1), (20, 2.0), (21, -3.0), (50, -1.0))]
    figure = glance.at_a_glance(pool, rows, followed=followed)
    shown = [text for text in texts(figure) if "beyed:" in text]
    assert shown == [
        "Obeyed: asked for light; mean brightness of the kept images 0.70, of real images of the class 0.50.",
        "Not obeyed: asked for light; mean brightness of the kept images 0.40, of real images of the class 0.50.",
    ], "prompt 21 is of the same class as prompt 20"
    assert all(text in figure.alt for text in shown)
    assert len([text for text in texts(glance.at_a_glance(pool, rows, followed=followed[:1])) if "beyed" in text]) == 1
