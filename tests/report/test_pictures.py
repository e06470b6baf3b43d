import base64
import html.parser
import io

import matplotlib
import nbformat
import numpy as np
import pytest
import torch
from IPython.core.formatters import DisplayFormatter
from matplotlib import _pylab_helpers
from nbconvert import HTMLExporter
from PIL import Image

from sega_utils import filters
from sega_utils.core import paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.report import pictures

GREY = torch.rand(12, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def texts(figure):
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


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
    assert first == (tmp_path / "b.png").read_bytes() == figure.png()
    assert set(Image.open(io.BytesIO(first)).info) <= {"dpi", "transparency", "Description"}
    other = pictures.grid(GREY.flip(0), columns=4, row_titles=["one", "two", "three"], title="a title")
    assert other.png() != first


def test_a_figure_carries_its_text_into_file_notebook_and_plain_text(tmp_path):
    figure = pictures.grid(GREY, columns=4, row_titles=["one", "zwölf", "three"])
    assert figure.alt == "Grid: 12 images in rows of 4, from top to bottom: one; zwölf; three." == repr(figure)
    pictures.save(figure, tmp_path / "a.png")
    assert pictures.description((tmp_path / "a.png").read_bytes()) == figure.alt
    data, metadata = DisplayFormatter().format(figure)
    assert metadata["image/png"] == {"alt": figure.alt} and data["text/plain"] == figure.alt


def test_notebooks_become_html_whose_images_have_their_texts():
    """The template of the project; JupyterLab's own drops the text of an output."""
    png = pictures.grid(GREY, columns=4, title='costs "5" & <6>')
    output = nbformat.v4.new_output(
        "display_data", {"image/png": base64.b64encode(png.png()).decode()}, metadata={"image/png": {"alt": png.alt}}
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("figure", outputs=[output])])
    folder = paths.NOTEBOOKS / "html"
    exporter = HTMLExporter(template_name=folder.name, extra_template_basedirs=[str(folder.parent)])
    page, _ = exporter.from_notebook_node(notebook)
    found = []
    reader = html.parser.HTMLParser()
    reader.handle_starttag = lambda tag, attributes: found.append(dict(attributes).get("alt")) if tag == "img" else None
    reader.handle_startendtag = reader.handle_starttag
    reader.feed(page)
    assert found == [png.alt]


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
    assert list(pictures.REASONS) == [*filters.FILTERS, "test_duplicate"]


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


def test_only_a_whole_png_is_taken_for_a_figure(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(path)
    assert pictures.load(path) == (whole := path.read_bytes())
    jpeg = io.BytesIO()
    Image.new("RGB", (8, 8)).save(jpeg, "JPEG")
    altered = whole[:60] + bytes([whole[60] ^ 1]) + whole[61:]
    for raw in (altered, whole[:-20], whole[: len(whole) // 2], b"", b"<html></html>", jpeg.getvalue()):
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match="a.png cannot be used: it is no whole PNG .*; delete it and run"):
            pictures.load(path)
