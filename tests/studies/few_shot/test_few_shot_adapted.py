"""The arm of an adapted GAN: its source is trained once, on seen classes alone."""

import pytest
import torch
from six_classes import PLACE

from sega_utils.augmenters import adaptation
from sega_utils.core import artifacts, runtime
from sega_utils.studies.few_shot import adapted, draws, worlds

SPLIT = worlds.split_of(6, (1, 4))
SHORT = {"steps": 1, "teacher_steps": 1, "batch_size": 4}


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(adapted, "STEPS", 1)
    monkeypatch.setattr(draws, "EACH", 3)
    return worlds.world_of(PLACE, SPLIT)


def test_it_draws_as_many_of_each_class_and_the_same_again(world):
    task = worlds.task_of(world, 2, 0)
    draw = lambda seed, **own: adapted.adapted(world, task, runtime.generator(seed), **SHORT | own)
    images, labels, weights = draw(0, weight=40.0)
    assert images.shape == (6, 1, 32, 32) and labels.tolist() == [0, 0, 0, 1, 1, 1] and weights.tolist() == [1] * 6
    assert torch.equal(images, draw(0, weight=40.0)[0])
    assert not torch.equal(images, draw(1, weight=40.0)[0]) and not torch.equal(images, draw(0, weight=0.0)[0])


def test_the_student_keeps_relations_half_as_much_as_the_teacher(world, monkeypatch):
    given, adapt = {}, adaptation.adapt
    monkeypatch.setattr(adaptation, "adapt", lambda *few, **own: given.update(own) or adapt(*few, **own))
    adapted.adapted(world, worlds.task_of(world, 1, 0), runtime.generator(0), weight=40.0, **SHORT)
    assert (given["w_teacher"], given["w_student"]) == (40, 20)


def test_the_source_is_trained_once_and_has_seen_no_unseen_class(world, monkeypatch):
    first = adapted.source_of(world)
    assert first[1]["seen"] == world.digest and first[1]["settings"]["n_classes"] == 4
    monkeypatch.setattr(adaptation, "fit_source", lambda *_, **__: pytest.fail("it is in its file"))
    assert artifacts.digest(adapted.source_of(world)[0]) == artifacts.digest(first[0])
    told = "source-1-4-1.safetensors has seen images .*, allowed are only 00000000.*delete the file"
    with pytest.raises(artifacts.ArtifactError, match=told):
        adapted.source_of(world._replace(digest="0" * 64))
