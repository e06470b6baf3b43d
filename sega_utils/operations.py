"""How many floating-point operations the trainings of the paper's grid take: counted in one small step of each."""

from functools import lru_cache
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from sega_utils import grid, parameters, paths
from sega_utils.data import Dataset
from sega_utils.gan_training import train_gan
from sega_utils.training import train_classifier

FEW = 8  # images of the step that is counted; operations grow in proportion with them


def of_grid(found: grid.Grid, params: Path = grid.PARAMS) -> dict[str, float]:
    """Return the operations of one job that trains a generator or a classifier, by its row in ``grid_tables``.

    The other jobs are not counted: CLIP's embeddings, projector, filters, evaluation.
    """
    notebook = paths.NOTEBOOKS / "02_generator.ipynb"
    known = parameters.read(notebook)
    given = parameters.check(parameters.read_file(params, notebook), known)
    names = ("steps", "width", "depth", "z_dim")
    gan = of_gan(**{name: given.get(name.upper(), known[name.upper()].default) for name in names})
    return {"generator": gan} | {
        f"{classifier}, {arm}": of_classifier(settings)
        for classifier in found.classifiers for arm, settings in grid.settings(found, classifier).items()
    }  # fmt: skip


def of_classifier(settings: dict) -> float:
    """Return the operations of one training with an arm's complete settings (see ``recipes.settings_of``).

    Multiplications and additions count as one each, forward and backward, of colour images of ten classes: neither
    changes the sum by more than a few percent. Images have 32 pixels a side; with 64 it is about four times as many.
    """
    return _classifier_step(settings["classifier"]) / FEW * settings["batch_size"] * settings["steps"]


@lru_cache
def _classifier_step(classifier: str) -> int:
    with FlopCounterMode(display=False) as counter:
        train_classifier(_random(), classifier=classifier, steps=1, batch_size=FEW, pixel=False)
    return counter.get_total_flops()


@lru_cache
def of_gan(*, steps: int, width: int, depth: int, z_dim: int, batch_size: int = 64) -> float:
    """Return the operations of one training of the generator, counted as those of a classifier."""
    with FlopCounterMode(display=False) as counter:
        train_gan(_random(), steps=1, seed=0, width=width, depth=depth, z_dim=z_dim, batch_size=FEW)
    return counter.get_total_flops() / FEW * batch_size * steps


def _random() -> Dataset:
    return Dataset(torch.rand(FEW, 3, 32, 32), torch.arange(FEW), tuple("abcdefghij"))
