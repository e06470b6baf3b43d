"""Generated pictures whose classes are known by construction: objects on varied grounds, and colours that tell all."""

import numpy as np
from PIL import Image, ImageDraw

SIDE, FINE = 64, 4  # pixels a side; drawn so many times larger, so that edges are smooth
DARK, BRIGHT = 110, 150  # levels: a ground stays below the one, an object above the other


def disc(x: float, y: float, radius: float, height: float = 0.0) -> np.ndarray:
    """Return the outline (n, 2) of a disc, or of an ellipse of another ``height`` than its half width ``radius``."""
    turn = np.linspace(0, 2 * np.pi, 49)
    return np.stack([x + radius * np.cos(turn), y + (height or radius) * np.sin(turn)], 1)


def ring(x: float, y: float, outer: float, inner: float) -> np.ndarray:
    """Return the outline (n, 2) of a ring: once around outside, and back inside."""
    return np.concatenate([disc(x, y, outer), disc(x, y, inner)[::-1]])


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the outline (4, 2) of an upright rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def spikes(count: int, inner: float) -> np.ndarray:
    """Return the outline (2 * count, 2) of a star whose first spike points up."""
    turn = np.pi * np.arange(2 * count) / count
    reach = np.where(np.arange(2 * count) % 2, inner, 0.95)
    return np.stack([reach * np.sin(turn), -reach * np.cos(turn)], 1)


# Outlines in -1 .. 1, x to the right and y down; they are filled in two colours by turns.
OBJECTS: dict[str, list[np.ndarray]] = {
    "arrow": [np.array([(-0.9, -0.2), (0.1, -0.2), (0.1, -0.65), (0.9, 0), (0.1, 0.65), (0.1, 0.2), (-0.9, 0.2)])],
    "car": [
        np.array(
            [(-0.9, 0.4), (-0.9, 0), (-0.5, -0.05), (-0.3, -0.45), (0.35, -0.45), (0.6, 0), (0.9, 0.05), (0.9, 0.4)]
        ),
        disc(-0.5, 0.42, 0.24),
        box(-0.2, -0.35, 0.25, -0.08),
        disc(0.5, 0.42, 0.24),
    ],
    "cup": [np.array([(-0.7, -0.5), (0.3, -0.5), (0.2, 0.65), (-0.6, 0.65)]), ring(0.42, 0.0, 0.42, 0.25)],
    "fish": [disc(-0.2, 0, 0.65, 0.4), np.array([(0.3, 0), (0.9, -0.5), (0.9, 0.5)])],
    "house": [np.array([(-0.7, 0.85), (-0.7, -0.1), (0, -0.85), (0.7, -0.1), (0.7, 0.85)]), box(-0.2, 0.25, 0.2, 0.85)],
    "key": [
        ring(-0.55, 0, 0.4, 0.2),
        np.array([(-0.2, -0.1), (0.9, -0.1), (0.9, 0.4), (0.75, 0.4), (0.75, 0.1), (-0.2, 0.1)]),
    ],
    "star": [spikes(5, 0.4)],
    "tree": [box(-0.15, 0.1, 0.15, 0.95), disc(0, -0.3, 0.62)],
}
COLOURS = {"blue": (50, 70, 230), "green": (40, 190, 60), "red": (230, 50, 40), "yellow": (230, 210, 40)}


def pattern(rng: np.random.Generator, cells: int, side: int, *, smooth: bool) -> np.ndarray:
    """Return random levels, float (side, side, 3) in 0 .. 1, the same within each of ``cells`` squares a side."""
    small = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(small.resize((side, side), how), float) / 255


def ground(rng: np.random.Generator, side: int) -> np.ndarray:
    """Return a ground for an object, uint8 (side, side, 3): patches, clouds or stripes, all dark."""
    kind = rng.integers(3)
    if kind < 2:
        levels = pattern(rng, int(rng.integers(3, 9)), side, smooth=bool(kind))
    else:
        y, x = np.mgrid[:side, :side]
        turn, period = rng.uniform(0, np.pi), rng.uniform(0.06, 0.25) * side
        stripes = (np.floor((x * np.cos(turn) + y * np.sin(turn)) / period) % 2).astype(int)
        levels = rng.uniform(0, 1, (2, 3))[stripes]
    return (levels * DARK).astype(np.uint8)


def drawing(kind: str, rng: np.random.Generator, *, angle: float = 0.0) -> np.ndarray:
    """Return a picture of an object, uint8 (64, 64, 3): somewhere, of some size, in two colours, on a varied ground.

    Half of them are dark objects on a bright ground.

    Args:
        kind: a key of ``OBJECTS``; angle: by which the object is turned, in degrees.
    """
    side = SIDE * FINE
    image = Image.fromarray(ground(rng, side))
    turn, size, centre = np.radians(angle), rng.uniform(0.5, 0.8), rng.uniform(-0.2, 0.2, 2)
    turned = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    colours = rng.integers(BRIGHT, 256, (2, 3))
    pen = ImageDraw.Draw(image)
    for i, outline in enumerate(OBJECTS[kind]):
        points = (centre + size * outline @ turned.T + 1) * side / 2
        pen.polygon([tuple(point) for point in points], fill=tuple(colours[i % 2].tolist()))
    picture = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    return 255 - picture if rng.integers(2) else picture


def coloured(colour: str, rng: np.random.Generator) -> np.ndarray:
    """Return a random pattern in one of the ``COLOURS``, uint8 (64, 64, 3); only its colour tells the class."""
    light = 0.4 + 0.6 * pattern(rng, 8, SIDE, smooth=True)[..., :1]
    return (light * COLOURS[colour]).astype(np.uint8)
