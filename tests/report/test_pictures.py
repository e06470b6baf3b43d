import io

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import _pylab_helpers
from PIL import Image

from sega_utils import filters
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue
from sega_utils.data.images import to_uint8
from sega_utils.report import pictures

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


def test_a_tile_keeps_every_pixel_and_fills_up_with_white():
    sheet = pictures.tile(GREY[:5], 3)
    assert sheet.shape == (66, 100, 3)
    assert np.array_equal(sheet[34:66, 34:66, 1], GREY[4, 0].numpy())
    assert (sheet[34:, 68:] == 1).all() and (sheet[32:34] == 1).all() and (sheet[:, 32:34] == 1).all()


def test_a_tile_takes_bytes_and_colours():
    bytes_ = (GREY * 255).round().to(torch.uint8)
    assert np.allclose(pictures.tile(bytes_, 4), pictures.tile(GREY, 4), atol=1 / 255)
    colour = torch.rand(1, 3, 32, 32)
    assert np.array_equal(pictures.tile(colour, 1), colour[0].permute(1, 2, 0).numpy())


def test_the_same_input_gives_the_same_bytes_without_date_or_version(tmp_path, monkeypatch):
    figure = pictures.grid(GREY, columns=4, row_titles=["one", "two", "three"], title="a title")
    pictures.save(figure, tmp_path / "a.png")
    monkeypatch.setitem(matplotlib.rcParams, "font.size", 30)  # a user's own taste
    monkeypatch.setitem(matplotlib.rcParams, "savefig.dpi", 33)
    again = pictures.grid(GREY, columns=4, row_titles=["one", "two", "three"], title="a title")
    pictures.save(again, tmp_path / "b.png")
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes() == figure._repr_png_()
    assert set(Image.open(io.BytesIO(first)).info) <= {"dpi", "transparency"}
    other = pictures.grid(GREY.flip(0), columns=4, row_titles=["one", "two", "three"], title="a title")
    assert other._repr_png_() != first


def test_drawing_leaves_no_state_behind():
    before = dict(matplotlib.rcParams)
    pictures.grid(GREY, columns=4)._repr_png_()
    assert dict(matplotlib.rcParams) == before
    assert not _pylab_helpers.Gcf.figs, "a notebook would show the figure twice"


def test_a_figure_that_cannot_be_drawn_replaces_nothing(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    path.write_bytes(b"earlier")
    figure = pictures.grid(GREY, columns=4)
    monkeypatch.setattr(figure, "savefig", lambda *a, **k: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        pictures.save(figure, path)
    assert path.read_bytes() == b"earlier" and list(tmp_path.iterdir()) == [path]


def test_a_grid_names_its_rows_and_shows_dollars_as_they_are():
    titles = ["costs $5 or $6", "a long text that has to be broken into lines"]
    figure = pictures.grid(GREY, columns=4, row_titles=titles)
    figure._repr_png_()
    assert "costs $5 or $6" in texts(figure) and "a long text that has to be broken\ninto lines" in texts(figure)


@pytest.mark.parametrize(("images", "columns"), [(GREY[:0], 3), (GREY, 0)])
def test_a_grid_of_nothing_is_refused(images, columns):
    with pytest.raises(ValueError, match="at least one of each"):
        pictures.grid(images, columns=columns)


def test_every_filter_has_words_for_its_reason():
    assert list(pictures.REASONS) == list(filters.FILTERS)


@pytest.mark.parametrize("images", [GREY, (GREY * 255).to(torch.uint8), GREY.expand(-1, 3, -1, -1)])
def test_the_gallery_counts_all_and_shows_the_first_of_each_reason(images):
    reasons = ["", "blur", "", "duplicate", "blur", "", "", "", "", "", "", ""]
    figure = pictures.reasons_gallery(images, reasons, n=3)
    assert ["kept (9)", "blurred (2)", "copies a kept image (1)"] == list(
        dict.fromkeys(t for t in texts(figure) if "(" in t)  # a tick has two labels
    )
    sheet = figure.axes[0].images[0].get_array()
    assert np.allclose(sheet[34:66, 34:66, 0], GREY[4, 0], atol=1 / 250), "the second blurred one"
    assert (sheet[34:66, 68:] == 1).all(), "there is no third"


def test_the_gallery_wants_a_reason_for_each_image():
    with pytest.raises(ValueError, match="received 3 reasons for 12 images"):
        pictures.reasons_gallery(GREY, ["", "", "blur"])


def test_the_glance_is_small_and_wide_enough_for_a_readme(candidates, tmp_path):
    pictures.save(pictures.at_a_glance(*candidates), tmp_path / "glance.png")
    assert (tmp_path / "glance.png").stat().st_size < 200_000
    assert Image.open(tmp_path / "glance.png").size[0] >= 1800, "twice 900 px, so that it stays sharp"


def test_the_glance_shows_prompts_of_different_classes_with_their_counts(candidates):
    pool, rows = candidates
    shown = texts(pictures.at_a_glance(pool, rows))
    prompts = [text for text in shown if text.startswith("“")]
    assert len(prompts) == 3 and len({text.split(" with")[0] for text in prompts}) == 3
    assert {" ".join(text.split()) for text in shown} >= {"kept", *pictures.REASONS.values()}
    prompt = int(prompts[0].split()[-1].rstrip("”"))
    mine = [row["reason"] for row, p in zip(rows, pool["prompt_ids"].tolist(), strict=True) if p == prompt]
    counts = [text for text in shown if " of " in text][:6]
    assert counts == [f"{mine.count(why)} of {len(mine)}" for why in ("", *filters.FILTERS)]


def test_the_glance_draws_the_images_it_counts(candidates):
    pool, rows = candidates
    figure = pictures.at_a_glance(pool, rows, prompts=[5])
    kept = [i for i, row in enumerate(rows) if pool["prompt_ids"][i] == 5 and not row["reason"]]
    sheet = figure.axes[0].images[0].get_array()
    assert np.allclose(sheet[:32, :32, 0], pool["images"][kept[0], 0] / 255)
    assert sheet.shape == (66, 134, 3) or len(kept) < 8


def test_the_glance_leaves_out_filters_that_rejected_nothing_and_shortens_long_prompts():
    prompt = "costs $5 and $6, " + "very " * 40 + "long"
    rows = [{"class": "bag", "prompt": prompt, "reason": why} for why in ("", "blur")]
    figure = pictures.at_a_glance({"images": GREY[:2].expand(-1, 3, -1, -1), "prompt_ids": torch.tensor([4, 4])}, rows)
    figure._repr_png_()
    shown = texts(figure)
    assert shown[:2] == ["kept", "blurred"] and "1 of 2" in shown
    quoted = next(text for text in shown if text.startswith("“"))
    assert quoted.startswith("“costs $5 and $6, very") and quoted.endswith(" …”") and len(quoted) <= 102


def test_the_glance_refuses_a_table_of_other_candidates_and_unknown_prompts(candidates):
    pool, rows = candidates
    with pytest.raises(ArtifactError, match="has 1499 rows for 1500 candidates; run 04_synthesis again"):
        pictures.at_a_glance(pool, rows[:-1])
    with pytest.raises(ValueError, match=r"no candidate was drawn from the prompts \[999\]; known are 0 .. 119"):
        pictures.at_a_glance(pool, rows, prompts=[1, 999])


def test_a_provenance_table_is_that_of_its_candidates():
    pool = {"images": GREY[:4], "prompt_ids": torch.tensor([0, 0, 1, 1]), "kept": torch.tensor([True, False] * 2)}
    pool |= {"seeds": torch.tensor([20, 21, 22, 23]), "clip_score": torch.tensor([0.1234567, 0.5, 0.25, 0.75])}
    rows = [
        {"class": "bag", "prompt": f"p{i // 2}", "reason": ("", "blur")[i % 2], "latent_seed": str(20 + i)}
        | {"clip_score": f"{float(pool['clip_score'][i]):.6g}"}
        for i in range(4)
    ]
    pictures.check_provenance(pool, rows)
    change = lambda i, **values: [row | values if j == i else row for j, row in enumerate(rows)]
    for changed, problem in (
        ([rows[1], rows[0], *rows[2:]], "row 1 is rejected, its candidate is not"),
        ([rows[2], rows[1], rows[0], rows[3]], "another prompt|latent_seed"),
        ([{k: v for k, v in row.items() if k != "reason"} for row in rows], "row 1 lacks reason"),
        (change(1, reason="ugly"), "row 2 has the reason 'ugly'; known are alignment"),
        (change(1, prompt="p1"), "row 2 has another prompt than its candidate"),
        (change(3, latent_seed="29"), "row 4 has the latent_seed '29', its candidate 23"),
        (change(0, clip_score="0.9"), "row 1 has the clip_score '0.9', its candidate 0.123457"),
    ):
        with pytest.raises(ArtifactError, match=problem):
            pictures.check_provenance(pool, changed)


def test_only_a_whole_png_is_taken_for_a_figure(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(path)
    assert pictures.load(path) == (whole := path.read_bytes())
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
    for raw in (whole[:-20], whole[: len(whole) // 2], b"", b"<html></html>", jpeg.getvalue()):
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match="a.png cannot be used: it is no whole PNG .*; delete it and run"):
            pictures.load(path)
