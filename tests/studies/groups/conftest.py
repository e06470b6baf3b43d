"""What the tests of the scenes share."""

import pytest
from blocks import blocks

from sega_utils.data import catalogue
from sega_utils.studies.groups import scenes


@pytest.fixture(autouse=True)
def data(monkeypatch):
    """Let every data set be the blocks, and forget what was read of others."""
    cached = (scenes.edges, scenes.real_of, scenes.tested)
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: blocks())
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()
