"""Classes that there are not, drawn by a formula: strokes or filled outlines, each image a new version of its class.

Where a network is to learn what tells *unseen* classes apart, it lacks classes, and a formula has as many as are asked
for. No image of any data set is in them: what they hold is what strokes and outlines are, put in by hand.

Source: that networks learn from images which a formula draws is of Kataoka et al. 2020, whose classes are fractals;
strokes and outlines are ours.
"""

import math
from typing import NamedTuple

import torch

from sega_utils.augmenters import base
from sega_utils.core import runtime
from sega_utils.data.images import Dataset

PARTS, POINTS = 3, (3, 6)  # of a class at most, and of each of its parts from .. to
FINE = 40  # pieces of a line
JITTER, MOVED, TURNED, STRETCHED, BRIGHTER = 0.03, 0.04, 0.12, 0.1, 0.1  # spread of versions; in sides and radians


class Part(NamedTuple):
    """A line through points (P, 2), in sides from the upper left corner; half its width in sides; its brightness."""

    points: torch.Tensor
    closed: bool
    width: float
    level: float


class Shape(NamedTuple):
    """What all images of a class share: parts, whether they are filled, and each drawn a second time, mirrored."""

    parts: tuple[Part, ...]
    filled: bool
    mirrored: bool


def drawn(classes: int, each: int, *, side: int = 32, channels: int = 1, filled: float = 0.5, seed: int = 0) -> Dataset:
    """Return ``each`` images of each of some classes, in [0, 1], bright on black; all channels are alike.

    A class depends on the seed and its own number, neither on how many there are nor on how many images.

    Args:
        filled: share of classes, 0 .. 1, that are filled outlines; the others are strokes.

    Raises:
        ValueError: no class, no image, fewer than 8 pixels a side, or a share outside 0 .. 1.
    """
    if classes < 1 or each < 1 or side < 8 or not 0 <= filled <= 1:
        raise ValueError(
            f"received {classes} classes of {each} images, {side} pixels a side, {filled} of them filled; allowed are "
            "1 or more, 1 or more, 8 or more, and 0 .. 1"
        )
    images = []
    for own in base.seeds_of(seed, classes).tolist():
        rng = runtime.generator(own)
        images.append(versions(shape_of(filled, rng), each, side, rng))
    labels = torch.arange(classes).repeat_interleave(each)
    pixels = torch.cat(images)[:, None].repeat(1, channels, 1, 1)
    return Dataset(pixels, labels, tuple(f"shape {c}" for c in range(classes)), False)


def shape_of(filled: float, rng: torch.Generator) -> Shape:
    """Return a class at random: filled outlines around the middle, or strokes anywhere."""
    chance = lambda: float(torch.rand(1, generator=rng))
    is_filled = chance() < filled
    mirrored, parts = is_filled and chance() < 0.5, []
    for i in range(1 + int(chance() * PARTS)):
        count = POINTS[0] + int(chance() * (POINTS[1] - POINTS[0] + 1))
        if is_filled:
            angle = 2 * math.pi * (torch.arange(count) + 0.5 * torch.rand(count, generator=rng)) / count
            radius = 0.12 + 0.3 * torch.rand(count, 1, generator=rng)
            middle = 0.5 + (0.12 * torch.randn(2, generator=rng) if i else 0)
            points = middle + radius * torch.stack((angle.cos(), angle.sin()), 1)
        else:
            points = 0.15 + 0.7 * torch.rand(count, 2, generator=rng)
        closed, width = is_filled or chance() < 0.25, 0.03 + 0.05 * chance()
        parts.append(Part(points, closed, width, 0.4 + 0.6 * chance() if is_filled else 1.0))
    return Shape(tuple(parts), is_filled, mirrored)


def versions(shape: Shape, each: int, side: int, rng: torch.Generator) -> torch.Tensor:
    """Return images (each, side, side) of a class, each part painted over those before it.

    An image turns, stretches, slants and moves its class as a whole, and moves every point of it a little.
    """
    normal = lambda *size: torch.randn(*size, generator=rng)
    angle, slant, wide, high = TURNED * normal(each), STRETCHED * normal(each), *(1 + STRETCHED * normal(2, each))
    rows = torch.stack((wide * angle.cos(), slant - angle.sin()), 1), torch.stack((angle.sin(), high * angle.cos()), 1)
    pose, move, canvas = torch.stack(rows, 1), MOVED * normal(each, 1, 2), torch.zeros(each, side, side)
    for part in shape.parts:
        points = part.points + JITTER * normal(each, *part.points.shape)
        line = curve((points - 0.5) @ pose + 0.5 + move, closed=part.closed)
        width = part.width * (1 + 2 * STRETCHED * normal(each, 1, 1))
        level = (part.level + BRIGHTER * normal(each, 1, 1)).clamp(0.15, 1)
        for own in (line, torch.stack((1 - line[..., 0], line[..., 1]), -1))[: 1 + shape.mirrored]:
            far = distance(own, side)
            far = torch.where(inside(own, side), -far, far) if shape.filled else far
            ink = ((width - far) * side + 0.5).clamp(0, 1)
            canvas = ink * level + (1 - ink) * canvas
    return canvas


def curve(points: torch.Tensor, *, closed: bool) -> torch.Tensor:
    """Return a smooth line (N, T, 2) through points (N, P, 2).

    Source: Catmull and Rom 1974, the cubic through four points in a row.
    """
    if closed:
        ends = points[:, -1:], points[:, :2]
    else:
        ends = 2 * points[:, :1] - points[:, 1:2], 2 * points[:, -1:] - points[:, -2:-1]
    line = torch.cat((ends[0], points, ends[1]), 1)
    pieces = line.shape[1] - 3
    fine = max(4, FINE // pieces)
    t = (torch.arange(fine) / fine)[:, None]
    found = []
    for i in range(pieces):
        a, b, c, d = line[:, i : i + 4, None].unbind(1)
        found.append(b + t * ((c - a) + t * ((2 * a - 5 * b + 4 * c - d) + t * (3 * b - a - 3 * c + d))) / 2)
    return torch.cat((*found, line[:, -2:-1]), 1)


def pixels(side: int) -> torch.Tensor:
    """Return the middles of all pixels, (side * side, 2), across and down, in sides."""
    at = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(at, at).flip(1)


def distance(line: torch.Tensor, side: int) -> torch.Tensor:
    """Return how far each pixel is from lines (N, T, 2), in sides, (N, side, side)."""
    start, step = line[:, None, :-1], (line[:, 1:] - line[:, :-1])[:, None]
    away = pixels(side)[None, :, None] - start
    along = ((away * step).sum(-1) / step.square().sum(-1).clamp(min=1e-8)).clamp(0, 1)
    return (away - along[..., None] * step).square().sum(-1).amin(-1).sqrt().view(-1, side, side)


def inside(line: torch.Tensor, side: int) -> torch.Tensor:
    """Return which pixels closed lines (N, T, 2) go around, bool (N, side, side), by how often a ray crosses."""
    x, y = pixels(side)[None, :, None].unbind(-1)
    (x0, y0), (x1, y1) = line[:, None, :-1].unbind(-1), line[:, None, 1:].unbind(-1)
    crosses = (y0 > y) != (y1 > y)
    left = x < x0 + (x1 - x0) * (y - y0) / torch.where(crosses, y1 - y0, 1.0)
    return ((crosses & left).sum(-1) % 2 == 1).view(-1, side, side)
