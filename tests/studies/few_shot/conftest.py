"""What the tests of few shots share: six classes instead of every data set."""

from functools import partial

import pytest
import six_classes

from sega_utils.augmenters import adaptation
from sega_utils.data import catalogue
from sega_utils.studies.few_shot import adapted, worlds


@pytest.fixture(autouse=True)
def data(monkeypatch, results):
    """Let every data set be these six classes."""
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: six_classes.six(split))
    monkeypatch.setattr(worlds, "STEPS", 5)
    monkeypatch.setattr(worlds, "STYLE", 2)
    monkeypatch.setattr(adapted, "STEPS", 2)
    monkeypatch.setattr(adaptation, "adapt", partial(adaptation.adapt, steps=2, teacher_steps=2))
