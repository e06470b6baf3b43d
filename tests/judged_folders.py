"""Folders of drawn pictures whose right verdict is known, and a plan of seconds."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sega_utils.studies.judge import arms as judge_arms

TINY = judge_arms.Plan(
    side=32,
    steps=20,
    batch_size=24,
    repeats=1,
    seeds=2,
    curve=0,
    augmenters={},
    pool=60,
    ratio=0.3,
    balanced=False,
    backbone="none",
    workers=0,
)
CLASSES = ("bar", "cross", "ring")


def drawn(kind: str, rng: np.random.Generator, *, turned: bool = False) -> np.ndarray:
    """Return a picture uint8 (40, 40, 3): a shape of its class in some colour and place on patches."""
    image = np.kron(rng.integers(0, 110, (8, 8, 3)), np.ones((5, 5, 1))).astype(np.uint8)
    colour, (y, x) = rng.integers(140, 255, 3), rng.integers(14, 26, 2)
    rows, columns = np.mgrid[:40, :40]
    away = np.hypot(rows - y, columns - x)
    bar = (abs(rows - y) < 3) & (abs(columns - x) < 12)
    up = (abs(columns - x) < 3) & (abs(rows - y) < 12)
    shape = {"bar": up if turned else bar, "cross": bar | up, "ring": (away > 6) & (away < 11)}[kind]
    image[shape] = colour
    return image


def write(root: Path, split: str, n: int, *, seed: int, **options: bool) -> None:
    """Write n pictures of each class below ``root / split``."""
    rng = np.random.default_rng(seed)
    for kind in CLASSES:
        (root / split / kind).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            Image.fromarray(drawn(kind, rng, **options)).save(root / split / kind / f"{seed}-{i:03d}.png")


def keep(images, labels, **_):
    """Be an augmenter's fit that only keeps the images."""
    return {"images": images, "labels": labels}, {}


def first_of(state: tuple, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Be an augmenter's sample that returns the kept images of each label in turn: copies."""
    tensors = state[0]
    by_class = [tensors["images"][tensors["labels"] == c] for c in range(int(labels.max()) + 1)]
    return torch.stack([by_class[c][i // len(by_class) % len(by_class[c])] for i, c in enumerate(labels.tolist())])
