"""The gate of realism: held-out images pass, noise, one image over and over, copies and wrong labels do not."""

import pytest
import torch
from torch.nn import functional as F

from sega_utils.data import augment, catalogue
from sega_utils.data.images import take
from sega_utils.evaluation import gate


@pytest.fixture(scope="module")
def sets():
    """Return 40 training, 20 held-out and 20 more images of each class of Fashion-MNIST."""
    train = catalogue.load("fashion-mnist", "train")
    real, rest = catalogue.subset(train, 40)
    held_out, rest = catalogue.subset(rest, 20)
    return real, held_out, catalogue.subset(rest, 20)[0]


@pytest.fixture(scope="module")
def judge(sets):
    """Return the gate, whose features are pixels four by four, and whose classifier knows the nearest mean."""
    real, held_out, _ = sets
    features = lambda images: F.avg_pool2d(images, 4).flatten(1)
    means = torch.stack([features(real.images[real.labels == c]).mean(0) for c in range(10)])
    options = {"real": real.images, "real_labels": real.labels, "features": features}
    options |= {"held_out": held_out.images, "held_out_labels": held_out.labels}
    options |= {"predict": lambda images: torch.cdist(features(images), means).argmin(1)}
    return lambda images, labels, **changed: gate.gate(images, labels, **options | changed)


def said(found, *words):
    """Assert that the gate is shut, and that one reason has each of these words."""
    assert not found["passed"] and found["reasons"]
    for word in words:
        assert any(word in reason for reason in found["reasons"]), found["reasons"]


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def test_real_images_that_were_held_out_pass_with_light_augmentation_and_without(judge, sets):
    _, held_out, more = sets
    for some in (held_out, more):
        noise = 0.02 * torch.randn(some.images.shape, generator=rng())
        for images in (some.images, augment.shift(some.images, rng(), pad=1), (some.images + noise).clamp(0, 1)):
            found = judge(images, some.labels)
            assert found["passed"] and found["reasons"] == [], found["reasons"]
            assert found["n"] == 200


def test_noise_is_refused_whatever_its_strength(judge, sets):
    labels = torch.arange(200) % 10
    for low, high in ((0.0, 1.0), (0.0, 0.2), (0.4, 0.6)):
        noise = low + (high - low) * torch.rand(200, 1, 32, 32, generator=rng())
        said(judge(noise, labels), "agreement")
    said(judge(torch.rand(200, 1, 32, 32, generator=rng()), labels), "precision", "unlike real images of class")


def test_noise_in_one_class_alone_is_refused_by_its_name(judge, sets):
    images, labels = sets[2].images.clone(), sets[2].labels
    images[labels == 7] = torch.rand(20, 1, 32, 32, generator=rng())
    found = judge(images, labels)
    said(found, "unlike real images of class 7")
    name = sets[0].class_names[7]
    said(judge(images, labels, names=sets[0].class_names), f"unlike real images of class {name}: distance_worst")
    assert found["worst_class"] == 7


def test_constant_images_and_one_image_over_and_over_are_refused(judge, sets):
    labels = torch.arange(100) % 10
    for level in (0.0, 0.3, 1.0):
        said(judge(torch.full((100, 1, 32, 32), level), labels), "agreement", "one image over and over")
    first = torch.stack([sets[2].images[sets[2].labels == c][0] for c in range(10)])
    said(judge(first[labels], labels), "one image over and over")


def test_copies_are_nothing_new(judge, sets):
    real = sets[0]
    said(judge(real.images, real.labels), "copies of training images")
    said(judge((real.images + 1e-3).clamp(0, 1), real.labels), "copies of training images")
    mixed = torch.cat((real.images[:150], sets[2].images[:50])), torch.cat((real.labels[:150], sets[2].labels[:50]))
    said(judge(*mixed), "copies")


def test_shuffled_labels_are_refused(judge, sets):
    more = sets[2]
    said(judge(more.images, more.labels[torch.randperm(200, generator=rng())]), "agreement", "unlike")
    said(judge(more.images, (more.labels + 1) % 10), "agreement")


def test_a_classifier_that_knows_nothing_vouches_for_nothing(judge, sets):
    more = sets[2]
    found = judge(more.images, more.labels, predict=lambda images: torch.zeros(len(images), dtype=torch.int64))
    said(found, "vouches for nothing")
    assert found["agreement_real"] == pytest.approx(0.1)


def test_the_limits_are_those_that_the_module_states(judge, sets):
    found = judge(sets[2].images, sets[2].labels)
    assert found["agreement_least"] == pytest.approx((0.1 + found["agreement_real"]) / 2)
    assert found["precision_least"] == found["precision_real"] / 2
    assert found["spread_least"] == pytest.approx(found["spread_real"] / 10)
    assert 0 < found["distance_least"] < found["distance_real"] < found["distance_most"]
    assert all(isinstance(value, (bool, int, float, list)) for value in found.values())


def test_features_that_are_not_numbers_are_refused(judge, sets):
    """A network that breaks on what is drawn must not open the gate."""
    more = sets[2]
    known = F.avg_pool2d
    broken = lambda x: known(x, 4).flatten(1) * (float("nan") if torch.equal(x, more.images) else 1)
    said(judge(more.images, more.labels, features=broken), "precision", "unlike", "copies", "one image")


def test_distances_are_to_the_own_class_and_exact():
    points, real = torch.tensor([[1e4, 0.0], [1e4, 0.0]]), torch.tensor([[1e4, 1e-3], [0.0, 0.0]])
    found = gate.nearest_of_class(points, torch.tensor([0, 1]), real, torch.tensor([0, 1]))
    torch.testing.assert_close(found, torch.tensor([1e-3, 1e4]).double(), rtol=1e-6, atol=0)
    assert gate.spread_within(torch.tensor([[0.0], [2.0], [5.0], [5.0]]), torch.tensor([0, 0, 1, 1])) == 0.5


def test_what_is_no_set_is_refused(judge, sets):
    more = take(sets[2], torch.arange(20))
    for images, labels, message in (
        (more.images * 2, more.labels, "synthetic must be a float32 tensor"),
        (more.images * float("nan"), more.labels, "look for NaN"),
        (more.images, more.labels[:-1], "synthetic has 20 images and labels torch.int64 \\(19,\\)"),
        (more.images[:3], more.labels[:3], "give more than 3 images"),
        (more.images, more.labels.float(), "labels torch.float32"),
        (more.images, more.labels + 10, "have no real image to compare with"),
    ):
        with pytest.raises(ValueError, match=message):
            judge(images, labels)
