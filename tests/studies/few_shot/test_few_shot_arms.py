"""Few-shot arms: what each draws, what it must leave as it is, and which settings are tried."""

import pytest
import torch
from six_classes import PLACE

from sega_utils.augmenters import fusion, linear, sage
from sega_utils.core import runtime
from sega_utils.studies.few_shot import arms, campaign, draws, heads, worlds

SPLIT = worlds.split_of(6, (1, 4))


@pytest.fixture
def world():
    return worlds.world_of(PLACE, SPLIT)


def drawn(world, task, **settings):
    return draws.edited(world, task, runtime.generator(0), **settings)


def test_every_arm_has_an_accuracy_for_each_of_its_settings_and_gives_it_again(world):
    task = worlds.task_of(world, 2, 0)
    for name, arm in arms.ARMS.items():
        settings = arms.trials(name)[:2]
        first = arms.measure(world, task, name, settings, 0)
        assert len(first) == len(settings) and all(0 <= value <= 1 for value in first), name
        assert arms.measure(world, task, name, settings[::-1], 0) == first[::-1], name
        assert arm.group in campaign.GROUPS and (arm.like in {"", *arms.ARMS})
    with pytest.raises(ValueError, match="unknown arm 'GAN'; known are real only"):
        arms.measure(world, task, "GAN", [{}], 0)


def test_arms_have_as_many_trials_unless_there_is_less_to_try():
    counts = {name: len(arms.trials(name)) for name, arm in arms.ARMS.items() if not arm.like}
    assert max(counts.values()) == arms.TRIALS and counts["nearest centroid"] == 1

    # so that what tells two arms with the same settings apart is not which were tried
    assert arms.trials("SAGE") == arms.trials("AGE") == arms.trials("raw offsets") != arms.trials("inverted only")


def test_without_strength_age_inverts_and_sage_is_the_class_embedding(world):
    task = worlds.task_of(world, 2, 0)
    latents = linear.invert(world.generator, task.few.images)
    inverted = linear.render(world.generator, latents)
    images, labels, _ = drawn(world, task, mapped=False, adaptive=False)
    assert labels.tolist() == [0] * draws.EACH + [1] * draws.EACH
    assert torch.allclose(images[:2], inverted[:2], atol=1e-6) and torch.allclose(images[-1], inverted[3], atol=1e-6)
    images, _, _ = drawn(world, task)
    basis = sage.class_basis(world.editing["classes"].means, 3)
    embedding = linear.render(world.generator, sage.embed(basis, latents[2:])[None])
    assert torch.allclose(images[-1:], embedding, atol=1e-5)


def test_fused_images_are_fused_with_the_image_that_they_begin_with(world):
    task = worlds.task_of(world, 2, 0)
    plain, _, _ = drawn(world, task, mapped=False, alpha=1.0)
    fused, _, _ = drawn(world, task, mapped=False, alpha=1.0, how="f")
    real = task.few.images[[0, 1] * 25 + [2, 3] * 25]
    inverted = linear.render(world.generator, linear.invert(world.generator, real))
    assert torch.allclose(fused, fusion.fuse(real, inverted, plain, "f"), atol=1e-5)


def test_controls_differ_from_their_arm_in_one_thing(world):
    task = worlds.task_of(world, 2, 0)
    images, labels, _ = drawn(world, task, alpha=1.0)
    for what in arms.CONTROL.values():
        other, given, _ = drawn(world, task, alpha=1.0, **what)
        if what == arms.CONTROL["labels permuted"]:
            assert torch.equal(other, images) and not torch.equal(given, labels)
            assert torch.equal(given.bincount(), labels.bincount())
        else:
            assert torch.equal(given, labels) and not torch.equal(other, images), what


def test_raw_offsets_outside_the_class_means_change_no_class_embedding(world):
    task = worlds.task_of(world, 1, 0)
    latents = linear.invert(world.generator, task.few.images)
    span = sage.class_basis(world.editing["classes"].means, 3).directions[0]
    images, _, _ = draws.raw(world, task, runtime.generator(0), alpha=0.01, outside=True)
    added = (linear.invert(world.generator, images)[: draws.EACH] - latents[0])[:, 0]
    whole, _, _ = draws.raw(world, task, runtime.generator(0), alpha=0.01)
    free = (linear.invert(world.generator, whole)[: draws.EACH] - latents[0])[:, 0]
    # the few image itself is cut to the span first, so that only what all draws share is left along the means
    assert float((added - added.mean(0)).matmul(span).norm()) < 0.3 * float((free - free.mean(0)).matmul(span).norm())


def test_policies_of_papers_change_the_few_images_and_the_seed_says_how(world):
    task = worlds.task_of(world, 2, 0)
    real = task.few.images[draws.starts(task)[1]]
    for name in arms.OTHER:
        once, again, other = (arms.ARMS[name].draw(world, task, runtime.generator(seed))[0] for seed in (0, 0, 1))
        assert torch.equal(once, again) and once.shape == real.shape and not torch.equal(once, real), name
        assert torch.equal(once, other) == (name not in {"mango", "separately"}), name
        assert arms.trials(name) == arms.trials("TrivialAugment")


def test_mixed_images_join_both_classes_with_weights_that_add_up(world):
    task = worlds.task_of(world, 2, 0)
    images, labels, weights = draws.mixed(world, task, runtime.generator(0), name="mixup")
    assert len(images) == len(labels) == len(weights) > 2 * draws.EACH
    assert float(weights.sum()) == pytest.approx(2 * draws.EACH, rel=1e-5)


def test_the_real_images_and_the_drawn_ones_share_the_weight_as_the_ratio_says(world, monkeypatch):
    task, given = worlds.task_of(world, 2, 0), {}
    monkeypatch.setattr(heads, "logistic", lambda features, labels, weights, strength: given.update(w=weights))
    arm = arms.ARMS["AGE"]
    some = torch.zeros(10, 64), torch.zeros(10, dtype=torch.int64), torch.ones(10)
    arms.head_of(world, task, arm, some, {"ratio": 0.3, "strength": 1.0})
    assert given["w"].tolist() == pytest.approx([0.7] * 4 + [0.12] * 10)
    arms.head_of(world, task, arm, some, {"ratio": 1.0, "strength": 1.0})
    assert given["w"].tolist() == pytest.approx([0.4] * 10)
