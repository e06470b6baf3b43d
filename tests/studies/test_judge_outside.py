from types import SimpleNamespace

import judged_folders as drawn
import numpy as np
import pytest
import tiny_outside
import torch

from sega_utils.core import paths
from sega_utils.data import outside
from sega_utils.studies.judge import folder as judge_folder, outside as judge_outside
from sega_utils.text import clip


def separable(n: int = 60, k: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % k
    return rng.normal(size=(n, 8)) + 4 * np.eye(k, 8)[labels], labels, np.arange(n) // k % 3


@pytest.mark.parametrize("k", [2, 3])
def test_the_layer_on_frozen_features_is_the_fitted_model(k):
    features, labels, folds = separable(k=k)
    model, held_out, score = judge_outside.fit(features, labels, folds, balanced=False)
    assert score > 0.9 and held_out.shape == (60, k) and model.strength in judge_outside.STRENGTHS
    weight, bias = model.parts()
    assert weight.shape == (k, 8) and np.allclose(features @ weight.T + bias, model.logits(features), atol=1e-4)
    theirs = model.model.predict_proba((features - model.mean) / model.scale)
    assert np.allclose(model.logits(features).softmax(1), theirs, atol=1e-5)


def test_wrong_synthetic_images_are_heard_but_never_held_out():
    features, labels, folds = separable()
    extra = (features, (labels + 1) % 3)
    _, held_out, score = judge_outside.fit(features, labels, folds, balanced=True, extra=extra)
    assert held_out.shape == (60, 3) and score <= judge_outside.fit(features, labels, folds, balanced=True)[2]


@pytest.fixture
def looked_at(tmp_path, monkeypatch):
    """Return a data set of three shapes, 9 training and 4 test images each, a plan and what the judge looked at."""
    monkeypatch.setattr(outside, "load", tiny_outside.patches)
    drawn.write(tmp_path / "shapes", "train", 9, seed=0)
    drawn.write(tmp_path / "shapes", "test", 4, seed=1)
    dataset, plan = f"{paths.OWN}{tmp_path / 'shapes'}", drawn.TINY._replace(backbone="patches")
    pictures, folder = judge_folder.look(tmp_path / "shapes"), judge_folder.place("judge", dataset)
    judge_folder.store(folder, pictures, *judge_folder.split(folder / "split.csv", pictures), 32)
    return dataset, plan, pictures


def test_the_record_holds_test_logits_and_those_out_of_fold(looked_at, monkeypatch):
    dataset, plan, pictures = looked_at
    record, tensors = judge_outside.measure("judge", dataset, plan, pictures)
    assert tensors["test"].shape == (1, 12, 3) and tensors["training"].shape == (27, 3)
    assert record["param_backbone"] == "patches" and record["input_network"] == "0" * 64 and record["images"] == "none"
    monkeypatch.setattr(judge_outside, "fit_all", lambda *args: pytest.fail("it is on record"))
    assert torch.equal(judge_outside.measure("judge", dataset, plan, pictures)[1]["test"], tensors["test"])


def test_class_names_alone_are_measured_on_test_images_and_once(looked_at, monkeypatch):
    """Names that are the classes' mean pictures find most; where pictures look alike, a third is right."""
    dataset, plan, pictures = looked_at
    judged = judge_folder.load(judge_folder.place("judge", dataset))
    folder, backbone = judge_folder.place("judge", dataset), tiny_outside.patches(outside.LITE0)
    points, train = judge_outside.features_of(folder, pictures, backbone), ~judged.tests
    means = torch.stack([points[train & (judged.data.labels == k)].mean(0) for k in range(3)]) - points[train].mean(0)
    known = SimpleNamespace(encode_text=lambda names: means, sha256="0" * 64)
    monkeypatch.setattr(clip, "load_clip", lambda name: known)
    record = judge_outside.by_name("judge", dataset, plan, pictures)
    assert record["accuracy"] > 0.6 and record["n_test"] == 12 and record["param_names"].count("; ") == 2
    monkeypatch.setattr(judge_outside, "features_of", lambda *args: pytest.fail("it is on record"))
    assert judge_outside.by_name("judge", dataset, plan, pictures) == record
    known.sha256 = "1" * 64
    monkeypatch.setattr(judge_outside, "features_of", lambda *args: points[:1].expand(len(points), -1))
    assert judge_outside.by_name("judge", dataset, plan, pictures)["accuracy"] == pytest.approx(1 / 3)
