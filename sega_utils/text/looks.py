"""Which looks really vary in a set of images, so that only words that mean something there are said of them."""

import colorsys
from typing import NamedTuple

import torch

from sega_utils.data.images import SIDES, Dataset
from sega_utils.text import attributes

# The least difference between the highest and the lowest third of a class that an eye can see:
VISIBLE = {
    "brightness": 0.1,  # of the range, as much as tells an object from its background
    "width": 2.0,  # pixels of 32: resizing may move each of two edges by one
    "length": 2.0,
    "fill": 0.1,  # of the box
    "texture": 0.15,  # what pixel noise of 5/255 adds to a plain object of medium brightness
}
# Where the line between object and background is drawn a quarter lower or higher, a value must change by less than a
# third of the difference between the thirds: three standard deviations apart, two values are seldom confused.
MOVED, CERTAIN = (0.8, 1.25), 3.0
USUAL = 0.68  # share of a normal distribution within one standard deviation; outliers do not count so
SHAPES = ("width", "length", "fill")  # they need an outline, and so a background of one colour
CALM = 0.5  # share of the outermost pixels that are background, in half of a class's images
# Basic terms for colours (Berlin and Kay 1969) but black, grey and white, by the upper end of their hue in degrees.
HUES = ((15, "red"), (42, "orange"), (68, "yellow"), (165, "green"), (255, "blue"), (290, "purple"), (345, "pink"))
SATURATED, DARK = 0.25, 0.35  # below, an object has no colour but brightness; below, orange is brown
SHARE = 0.05  # of a class, and two images at least: a rarer colour is no variation of it
COLOURS = (*dict.fromkeys(name for _, name in HUES), "brown")


class Look(NamedTuple):
    """One attribute in one class: the difference between its highest and lowest third, the least one that can be seen,
    how uncertain a value is, and why it is refused; an empty reason means that it is used."""

    class_name: str
    attribute: str
    difference: float
    visible: float
    uncertain: float
    reason: str


def varying(data: Dataset) -> list[Look]:
    """Return what is known of each attribute of ``WORDS`` in each class, and whether its words are used.

    An attribute is used if an eye can see the difference between the thirds of the class, and if that difference does
    not hang on where the line between object and background is drawn. A word for anything else would label noise.

    Args:
        data: images float32 (N, C, S, S) in [0, 1].
    """
    values = attributes.measure(data.images)
    bins = attributes.terciles(values, data.labels)
    low, high = (attributes.measure(data.images, attributes.FOREGROUND * factor) for factor in MOVED)
    calm = _calm(data.images)
    found = []
    for c, class_name in enumerate(data.class_names):
        mine = data.labels == c
        for a, (name, visible) in enumerate(VISIBLE.items()):
            if name in ("width", "length"):
                visible *= data.images.shape[-1] / SIDES[0]
            difference, uncertain = _spread(values[mine, a], bins[mine, a], (high - low)[mine, a])
            reason = ""
            if int(mine.sum()) < 3:
                reason = "fewer than three images"
            elif name in SHAPES and float(calm[mine].median()) < CALM:
                reason = "the background is of many colours"
            elif difference < visible:
                reason = "the thirds look alike"
            elif difference < CERTAIN * uncertain:
                reason = "it hangs on where the object ends"
            found.append(Look(class_name, name, difference, visible, uncertain, reason))
    return found


def _spread(values: torch.Tensor, bins: torch.Tensor, change: torch.Tensor) -> tuple[float, float]:
    """Return the difference between the outer thirds, and the usual change about its median; 0 where there are none."""
    if len(values) < 3:
        return 0.0, 0.0
    usual = (change - change.median()).abs().quantile(USUAL)
    return float(values[bins == 2].mean() - values[bins == 0].mean()), float(usual)


def _calm(images: torch.Tensor) -> torch.Tensor:
    """Return the share of each image's outermost pixels that are background, float32 (N,)."""
    mask = attributes.foreground(images)
    rim = torch.cat((mask[:, 0], mask[:, -1], mask[:, 1:-1, 0], mask[:, 1:-1, -1]), 1)
    return 1 - rim.float().mean(1)


def colours(images: torch.Tensor) -> list[str]:
    """Name each image's colour, by hue, saturation and lightness of its object's median colour.

    Args:
        images: float (N, C, S, S) in [0, 1], C = 1 or 3.

    Returns:
        One of ``COLOURS``, or an empty text for an object that has none, or for grey images.
    """
    if images.shape[1] == 1:
        return [""] * len(images)
    objects = images.masked_fill(~attributes.foreground(images)[:, None], float("nan"))
    return [name_colour(*colour) for colour in objects.flatten(2).nanmedian(2).values.nan_to_num().tolist()]


def name_colour(red: float, green: float, blue: float) -> str:
    """Return the name of a colour in [0, 1] per channel, one of ``COLOURS``; empty for black, grey and white."""
    hue, lightness, _ = colorsys.rgb_to_hls(red, green, blue)
    chroma = (max(red, green, blue) - min(red, green, blue)) / max(red, green, blue, 1e-6)
    if chroma < SATURATED or max(red, green, blue) < attributes.FOREGROUND:
        return ""
    name = next((name for end, name in HUES if 360 * hue < end), "red")
    return "brown" if name == "orange" and lightness < DARK else name


def colours_used(names: list[str]) -> list[str]:
    """Return the colours of a class that are worth a word: there are two at least, each of its share of the images."""
    least = max(2, SHARE * len(names))
    common = [name for name in COLOURS if names.count(name) >= least]
    return common if len(common) > 1 else []


def summary(found: list[Look]) -> list[dict]:
    """Return a row for each attribute: means over the classes, and the classes in which it is used and refused."""
    rows = []
    for name in VISIBLE:
        mine = [look for look in found if look.attribute == name]
        reasons = sorted({look.reason for look in mine if look.reason})
        rows.append(
            {
                "attribute": name,
                "difference": round(sum(look.difference for look in mine) / len(mine), 3),
                "visible": mine[0].visible,
                "uncertain": round(sum(look.uncertain for look in mine) / len(mine), 3),
                "classes": f"{sum(not look.reason for look in mine)} of {len(mine)}",
                "refused": "; ".join(reasons) or "-",
            }
        )
    return rows
