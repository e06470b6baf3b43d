"""Composed classes: which half is whose, how many classes there are, and what is refused."""

import pytest
import torch

from sega_utils.augmenters import composition
from sega_utils.data.images import Dataset


@pytest.fixture
def flat():
    """Three classes whose images are 1, 2 and 3 quarters white."""
    labels = torch.arange(9) % 3
    return Dataset(((labels + 1) / 4).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).clone(), labels, ("a", "b", "c"), True)


def test_every_ordered_pair_gives_a_class_above_and_one_beside(flat):
    made = composition.composed(flat, each=2)
    assert len(made.class_names) == len(set(made.class_names)) == 12
    assert made.labels.bincount().tolist() == [2] * 12
    for name, which in zip(made.class_names, range(12), strict=True):
        first, way, second = name.split()
        image = made.images[made.labels == which][0, 0]
        image = image if way == "above" else image.T
        assert image[:4].unique().tolist() == [(ord(first) - 96) / 4]
        assert image[4:].unique().tolist() == [(ord(second) - 96) / 4]


def test_the_same_seed_composes_the_same_of_the_images_given(flat):
    varied = flat._replace(images=torch.rand(flat.images.shape, generator=torch.Generator().manual_seed(0)))
    one, two, other = (composition.composed(varied, each=5, seed=seed).images for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert set(one[:, :, 0, 0].unique().tolist()) <= set(varied.images[:, :, 0, 0].unique().tolist())


def test_joined_classes_follow_those_that_there_are(flat):
    both = composition.joined(flat, composition.composed(flat, each=1))
    assert both.class_names[:3] == flat.class_names and len(both.class_names) == 15
    assert torch.equal(both.labels, torch.cat((flat.labels, torch.arange(12) + 3)))


@pytest.mark.parametrize(("classes", "each"), [(1, 5), (3, 0)])
def test_one_class_or_no_image_is_refused(flat, classes, each):
    data = flat._replace(class_names=flat.class_names[:classes], labels=flat.labels.clamp(max=classes - 1))
    with pytest.raises(ValueError, match="at least 2"):
        composition.composed(data, each=each)


def test_blended_lessons_are_the_same_images_without_a_new_class(flat):
    new, _ = composition.lessons(flat, "composed")
    same, more = composition.lessons(flat, "blended")
    images, targets = more["synthetic"]
    assert torch.equal(torch.cat((same.images, images)).flatten(1).sort(0)[0], new.images.flatten(1).sort(0)[0])
    assert targets.shape == (len(images), 12) and torch.equal(
        targets.sort(1)[0][:, -2:], torch.full((len(images), 2), 0.5)
    )
    assert more["ratio"] == len(images) / len(new.images)
    for image, target in zip(images[:: composition.EACH], targets[:: composition.EACH], strict=True):
        shades = {round(float(x) * 4) - 1 for x in image.unique()}
        assert {int(c) // 4 for c in target.nonzero()} == shades


def test_other_lessons_are_the_classes_turned(flat):
    data, more = composition.lessons(flat, "network")
    assert len(data.class_names) == 12 and not more
    assert torch.equal(data.images[:9], flat.images) and torch.equal(data.labels[9:18], 4 * flat.labels + 1)


def test_lessons_of_shapes_have_new_classes_and_longer_ones_a_policy(monkeypatch):
    monkeypatch.setattr(composition, "SHAPES", {"classes": 3, "each": 4})
    wide = Dataset(torch.rand(9, 1, 32, 32), torch.arange(9) % 3, ("a", "b", "c"), True)
    data, more = composition.lessons(wide, "shapes")
    assert len(data.class_names) == 12 + 3 and data.labels.bincount().tolist() == [3] * 12 + [4] * 3 and more == {}
    same, policy = composition.lessons(wide, "longer")
    assert len(same.class_names) == 12 and policy == {"policy": "trivial"}
