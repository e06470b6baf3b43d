"""Figures without a display or shared state, the same input giving the same bytes; and those made of images."""

import io
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import style
from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sega_utils.core import artifacts, schema
from sega_utils.report.words import REASONS

KEPT, REJECTED, MUTED = "#1b7f79", "#d9863d", "#767676"
# also makes a user's own matplotlibrc irrelevant
styled = style.context(
    [
        "default",
        {
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.grid": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
        },
    ]
)


class Drawing(Figure):
    """A figure that a notebook shows as ``save`` would write it, with a text that says what it shows.

    The text, ``alt``, stands in the PNG itself ("Description"), in a notebook's file as its output's metadata, which
    is where converters to HTML look for it, and as the output's plain text.
    """

    alt = ""

    def __repr__(self) -> str:
        return self.alt or super().__repr__()

    def _repr_png_(self) -> tuple[bytes, dict[str, str]]:
        return self.png(), {"alt": self.alt}

    def png(self) -> bytes:
        """Return the figure as PNG; the same figure gives the same bytes."""
        buffer, small, info = io.BytesIO(), io.BytesIO(), PngInfo()
        if self.alt:
            info.add_itxt("Description", self.alt)
        with style.context("default"):
            self.draw_without_rendering()
            self.set_layout_engine("none")  # laying out again would move things by a hair each time
            self.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08)
        # a palette makes the file a third of the size; PIL writes neither a date nor a version
        Image.open(buffer).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            small, "PNG", optimize=True, pnginfo=info
        )
        return small.getvalue()


def save(figure: Drawing, path: Path) -> None:
    """Write a figure as PNG, atomically and without a date or version in it."""
    with artifacts.atomic(path) as temporary:
        temporary.write_bytes(figure.png())


def description(png: bytes) -> str:
    """Return what a saved figure shows, from the PNG itself; empty if it does not say."""
    return Image.open(io.BytesIO(png)).info.get("Description", "")


def load(path: Path) -> bytes:
    """Return the bytes of a whole PNG.

    Raises:
        FileNotFoundError, ArtifactError: there is no such file, or it is truncated, altered or of another kind.
    """
    raw = artifacts.present(path).read_bytes()
    try:
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            image.verify()  # its checksums, which decoding does not look at
        with Image.open(io.BytesIO(raw), formats=["PNG"]) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        schema.refuse(path, f"it is no whole PNG ({type(error).__name__})")
    return raw


def tile(images: torch.Tensor, columns: int, gap: int = 2) -> np.ndarray:
    """Return images (N, C, H, W), uint8 or float in [0, 1], as one RGB array of ``columns`` columns on white."""
    images = (images.float() / 255 if images.dtype == torch.uint8 else images.float()).cpu().clamp(0, 1)
    (n, _, height, width), rows = images.shape, -(-len(images) // columns)
    sheet = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), np.float32)
    for i, image in enumerate(images.expand(n, 3, height, width).permute(0, 2, 3, 1).numpy()):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet


def picture(axes, sheet: np.ndarray, **where) -> None:
    """Show an array pixel by pixel, without frame and ticks."""
    axes.imshow(sheet, interpolation="nearest", **where)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


@styled
def grid(images: torch.Tensor, *, columns: int, row_titles: Iterable[str] = (), title: str = "") -> Drawing:
    """Return images (N, C, H, W) in rows of ``columns``, each row with its title to the left."""
    if len(images) == 0 or columns < 1:
        raise ValueError(f"received {len(images)} images for {columns} columns; a grid needs at least one of each")
    sheet, side = tile(images, columns), images.shape[2]
    inches = 32 / 58 / side  # a pixel's, so that images of any side are equally large
    figure = Drawing(figsize=(sheet.shape[1] * inches + 2, sheet.shape[0] * inches + 0.3))
    axes = figure.add_subplot(title=title)
    picture(axes, sheet)
    row_titles = list(row_titles)
    titles = [textwrap.fill(text, 34) for text in row_titles]
    axes.set_yticks([(side + 2) * i + side / 2 for i in range(len(titles))], titles, parse_math=False)
    axes.tick_params(length=0)
    rows = f"{len(images):,} images in rows of {columns}"
    figure.alt = f"{title or 'Grid'}: {rows}{', from top to bottom: ' if row_titles else ''}{'; '.join(row_titles)}."
    return figure


@styled
def reasons_gallery(images: torch.Tensor, reasons: Sequence[str], *, n: int = 14) -> Drawing:
    """Return the first ``n`` kept images, and the first ``n`` of those that each filter rejected.

    Args:
        images: (N, C, H, W); reasons: for each image the filter that rejected it, "" if it was kept.

    Raises:
        ValueError: not one reason an image.
    """
    if len(images) != len(reasons):
        raise ValueError(f"received {len(reasons)} reasons for {len(images)} images; each image needs one, maybe empty")
    groups = {why: [i for i, reason in enumerate(reasons) if reason == why] for why in ("", *REASONS) if why in reasons}
    blank = torch.full((n, *images.shape[1:]), 255 if images.dtype == torch.uint8 else 1, dtype=images.dtype)
    rows = [torch.cat((images[mine[:n]].cpu(), blank))[:n] for mine in groups.values()]
    titles = [f"{REASONS.get(why, 'kept')} ({len(mine):,})" for why, mine in groups.items()]
    figure = grid(torch.cat(rows), columns=n, row_titles=titles)
    figure.alt = f"The first {n} candidates of each fate and how many there are: {', '.join(titles)}."
    return figure
