"""Pairs of images that a person would call the same one: saved again, brighter, noisy, mirrored or moved a little."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch.nn import functional as F

from sega_utils.data.images import Dataset, check_pair, to_grey8
from sega_utils.filters.kernels import shrunk

REACH = 2  # pixels, of 32 a side, by which the one may have moved, each way
SAME = 0.985  # correlation from which two images are one
SAME_LOW = 0.993  # the same, of the low frequencies, which noise and compression hardly change
SAME_PIXELS = 0.97  # share of equal pixels from which they are
PROPOSED = 0.985  # correlation of the lowest frequencies from which a pair is looked at closely
SIMPLER = 0.003  # by so much less correlation, no move or mirror explains a pair as well
FAINT = 2.0  # grey levels; of an image that varies less, only an equal one is a copy
KINDS = ("identical", "near", "moved", "mirrored", "mirrored and moved")
LIMIT = 3000  # test images that are compared with each other; ten thousand would take half a minute
COLUMNS = ("a", "b", "kind", "similarity", "classes", "what to do")

_INSIDE = 32 - 2 * REACH
_CORNERS = [(y, x) for y in range(2 * REACH + 1) for x in range(2 * REACH + 1)]  # of the inside, once moved
_LOW, _LOWEST = 12, 6  # frequencies a side
_TILE = 2048  # images, times moves, that are compared with as many others at a time


class Pairs(NamedTuple):
    """Rows int64 (K, 2) of two sets, or i < j of one; the kind (of ``KINDS``) and the correlation of each pair."""

    rows: torch.Tensor
    kinds: list[str]
    scores: list[float]


def find(images: torch.Tensor, against: torch.Tensor | None = None) -> Pairs:
    """Find the pairs of images that are one but for noise, compression, brightness, colour, a mirror or a small move.

    Correlation of grey images sees neither brightness nor contrast nor colour. What has moved out of the frame is
    unknown, so that the inside of the one is looked for in the other.

    Args:
        images: float32 (N, C, S, S) in [0, 1], see ``images.check_images``.
        against: a second set; None compares the images with each other.

    Returns:
        The pairs, sorted, each once and as the simplest kind that explains it.

    Raises:
        ValueError: not such images, or of different channels or sides.
    """
    other = images if against is None else against
    check_pair(images, other)
    images, other = images.cpu(), other.cpu()
    found = {(i, j): (kind, score) for i, j, kind, score in _similar(images, other)}
    found |= {pair: (KINDS[0], 1.0) for pair in _identical(images, other)}
    pairs = sorted(pair for pair in found if against is not None or pair[0] < pair[1])
    rows = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2)
    return Pairs(rows, [found[pair][0] for pair in pairs], [found[pair][1] for pair in pairs])


def survey(train: Dataset, test: Dataset, train_names: Sequence[str], test_names: Sequence[str]) -> list[dict]:
    """Return a row (``COLUMNS``) for each pair that is one image: across the splits, then inside each.

    Args:
        train_names, test_names: what each image is called, a file or a number.

    Returns:
        Rows with both names, the kind, the correlation, the class or the two classes, and what to do. More than
        ``LIMIT`` test images are not compared with each other.
    """
    rows = []
    for first, second, names in (
        (train, test, (train_names, test_names)),
        (train, None, (train_names, train_names)),
        (test, None, (test_names, test_names)),
    ):
        if second is None and first is test and len(test.labels) > LIMIT:
            continue
        pairs = find(first.images, None if second is None else second.images)
        other = first if second is None else second
        for (i, j), kind, score in zip(pairs.rows.tolist(), pairs.kinds, pairs.scores, strict=True):
            labels = sorted({int(first.labels[i]), int(other.labels[j])})
            cure = "keep one" if second is None else "keep one, or put both into one split"
            if len(labels) > 1:
                cure = "one image in two classes: keep it where it belongs, or nowhere"
            shown = (names[0][i], names[1][j], kind, round(score, 3))
            classes = " / ".join(first.class_names[label] for label in labels)
            rows.append(dict(zip(COLUMNS, (*shown, classes, cure), strict=True)))
    return rows


def _identical(images: torch.Tensor, other: torch.Tensor) -> Iterator[tuple[int, int]]:
    places: dict[bytes, list[int]] = {}
    for j, image in enumerate(other.flatten(1).numpy()):
        places.setdefault(image.tobytes(), []).append(j)
    for i, image in enumerate(images.flatten(1).numpy()):
        yield from ((i, j) for j in places.get(image.tobytes(), ()))


def _similar(images: torch.Tensor, other: torch.Tensor) -> Iterator[tuple[int, int, str, float]]:
    """Yield rows, kind and correlation of each pair of images that is one."""
    left, right = (shrunk(to_grey8(part)).float() for part in (images, other))
    inside = right[:, REACH:-REACH, REACH:-REACH]
    sides = [_Views(inside), _Views(inside.flip(2))]
    size = _TILE // len(_CORNERS)
    for start in range(0, len(left), size):
        part = left[start : start + size]
        views = _Views(torch.cat([part[:, y : y + _INSIDE, x : x + _INSIDE] for y, x in _CORNERS]))
        best: dict[tuple[int, int], tuple[float, float, str]] = {}
        for mirrored, side in enumerate(sides):
            for a, b in _proposed(views.lowest, side.lowest):
                score, same = _compared(views, side, a, b)
                for row, j, value in zip(*(column[same].tolist() for column in (a, b, score)), strict=True):
                    move, i = divmod(row, len(part))
                    moved = _CORNERS[move] != (REACH, REACH)
                    found = (value - SIMPLER * (moved + mirrored), value, KINDS[1 + moved + 2 * mirrored])
                    best[start + i, j] = max(best.get((start + i, j), found), found)
        yield from ((i, j, kind, score) for (i, j), (_, score, kind) in best.items())


def _proposed(left: torch.Tensor, right: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the pairs of rows whose product is at least ``PROPOSED``, a tile at a time."""
    columns = right.T.contiguous()
    for at in range(0, len(right), _TILE):
        products = left @ columns[:, at : at + _TILE]
        rows = torch.nonzero(products.amax(1) >= PROPOSED)[:, 0]  # a quick pass, which leaves hardly any to search
        if len(rows):
            i, j = torch.where(products[rows] >= PROPOSED)
            yield rows[i], j + at


class _Views:
    """Grey images (N, K, K) as rows: the ``pixels``; ``full``, ``low`` and ``lowest`` frequencies, of mean 0 and length
    1, or 0 where the image is flat."""

    def __init__(self, images: torch.Tensor):
        centred = images - images.mean((1, 2), keepdim=True)
        centred *= (centred.square().mean((1, 2), keepdim=True).sqrt() >= FAINT).float()
        waves = _waves(images.shape[-1], _LOW)
        low = waves @ centred @ waves.T
        lowest = low[:, :_LOWEST, :_LOWEST].flatten(1)[:, 1:]
        self.full, self.low, self.lowest = (F.normalize(x.flatten(1), dim=1) for x in (centred, low, lowest))
        self.pixels = images.flatten(1)


def _compared(left: _Views, right: _Views, i: torch.Tensor, j: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the correlation of pairs of rows, float32 (K,), and whether each pair is one image, bool (K,)."""
    full, low = ((x[i] * y[j]).sum(1) for x, y in ((left.full, right.full), (left.low, right.low)))
    equal = (left.pixels[i] == right.pixels[j]).float().mean(1)
    return torch.maximum(full, low), (full >= SAME) | (low >= SAME_LOW) | (equal >= SAME_PIXELS)


@cache
def _waves(size: int, count: int) -> torch.Tensor:
    """Return the lowest ``count`` rows of the orthonormal DCT-II of ``size`` points, float32 (count, size)."""
    waves = torch.cos(torch.pi / (2 * size) * torch.arange(count)[:, None] * (2 * torch.arange(size) + 1))
    return waves / waves.norm(dim=1, keepdim=True)
