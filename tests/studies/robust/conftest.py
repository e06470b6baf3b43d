"""A run of a tiny data set, and a plan that takes moments."""

import pytest
import torch

from sega_utils.core import artifacts, paths
from sega_utils.data import catalogue
from sega_utils.data.images import to_uint8
from sega_utils.studies.robust import plan as robust_plan
from sega_utils.studies.zoo import zoo

RUN, DATASET = "mine", "fashion-mnist"
PLAN = """
primary: {per_class: 4, subsets: [0, 1], seeds: [0], images: 12}
tuning: {subset: 0, seed: 100, images: 12, steps: 2}
base: [{}, {loss: trades}]
real: [{smoothing: 0.1}]
synthetic: [{augmenter: offsets-pixels, share: 0.3}]
settings: {steps: 2, batch_size: 9, epsilon: 8, inner: 1, averaging: 0.5}
drawn: {seconds: 0.05, images: 6}
checks: {images: 12, restarts: 2, steps: 3}
exploratory: [{labels: teacher}, {augmenter: GAN-only}, {loss: none}]
"""


@pytest.fixture
def plan(tmp_path):
    file = tmp_path / "robust.yaml"
    file.write_text(PLAN)
    return robust_plan.read(file)


@pytest.fixture
def run(tiny, monkeypatch):
    """Write a run of four of the twelve images of each class, of which the other eight are left to validate on."""
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: tiny)
    monkeypatch.setattr(catalogue, "counts", lambda dataset, fraction, labels: torch.full((3,), 4))
    zoo.real_of.cache_clear()
    own, _ = catalogue.subset(tiny, 4, 0)
    meta = {"class_names": list(tiny.class_names), "fraction": 0.1, "seed": 0}
    tensors = {"images": to_uint8(own.images), "labels": own.labels}
    artifacts.save_tensors(paths.artifact(RUN, DATASET, "real"), tensors, meta)
    yield RUN, DATASET
    zoo.real_of.cache_clear()
