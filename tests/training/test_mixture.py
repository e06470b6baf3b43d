"""How real and synthetic images share a training: batches, orders, norms and weights."""

from itertools import islice

import pytest
import torch
from torch import nn

from sega_utils.data.images import Dataset
from sega_utils.training import classifiers, mixture


def tagged(value: float, n: int) -> mixture.Batch:
    """Return images that all have one value, and targets of one class."""
    return torch.full((n, 1, 8, 8), value), torch.tensor([[1.0, 0.0]]).repeat(n, 1)


def kinds(stream, n: int) -> list[list[float]]:
    """Return the values of the first batches' images."""
    return [images[:, 0, 0, 0].tolist() for images, _ in islice(stream, n)]


def test_a_batch_has_its_real_images_first_and_the_share_of_synthetic_ones_after_them():
    rng = torch.Generator().manual_seed(0)
    stream = mixture.batches(tagged(0, 5), tagged(1, 4), size=10, ratio=0.3, rng=rng)
    assert kinds(stream, 3) == [[0.0] * 7 + [1.0] * 3] * 3
    assert kinds(mixture.batches(tagged(0, 5), None, size=4, ratio=0.3, rng=rng), 1) == [[0.0] * 4]


def test_synthetic_images_come_first_and_then_real_ones_alone():
    rng = torch.Generator().manual_seed(0)
    stream = mixture.batches(tagged(0, 5), tagged(1, 4), size=6, ratio=0.3, rng=rng, alone=2)
    assert kinds(stream, 5) == [[1.0] * 6] * 2 + [[0.0] * 6] * 3


@pytest.mark.parametrize("ratio", [0.01, 0.99])
def test_a_batch_without_room_for_both_kinds_is_refused(ratio):
    with pytest.raises(ValueError, match="leaves room for both"):
        mixture.real_of(10, ratio)


def test_split_norms_see_their_own_kind_alone_and_the_real_ones_are_what_is_left():
    model = nn.Sequential(nn.BatchNorm2d(1, momentum=1.0))
    mixture.split_norms(model, 3)
    images = torch.cat((torch.randn(3, 1, 4, 4), 5 + 2 * torch.randn(5, 1, 4, 4)))
    out = model.train()(images)
    for part in (out[:3], out[3:]):
        assert part.mean().item() == pytest.approx(0, abs=1e-5) and part.std(correction=0).item() == pytest.approx(
            1, abs=1e-3
        )
    left = mixture.join_norms(model).eval()
    assert isinstance(left[0], nn.BatchNorm2d) and left[0].running_mean.item() == pytest.approx(
        images[:3].mean().item()
    )
    assert set(left.state_dict()) == set(nn.Sequential(nn.BatchNorm2d(1)).state_dict())


def test_norms_of_a_classifier_without_any_cannot_be_split():
    with pytest.raises(ValueError, match="no batch norm"):
        mixture.split_norms(nn.Sequential(nn.Conv2d(1, 1, 3)), 2)


def test_parts_that_are_changed_apart_do_not_mix():
    swap = lambda images, targets: (images.flip(0), targets.flip(0))
    images, targets = torch.arange(5.0), torch.arange(5)
    assert mixture.apart(swap, (images, targets), 3)[0].tolist() == [2, 1, 0, 4, 3]
    assert mixture.apart(swap, (images, targets), 3)[1].tolist() == [2, 1, 0, 4, 3]


def trained(**options):
    rng = torch.Generator().manual_seed(1)
    images = torch.rand(24, 1, 16, 16, generator=rng)
    real = Dataset(images[:12], torch.arange(12) % 2, ("a", "b"))
    targets = torch.nn.functional.one_hot(torch.arange(12) % 2, 2).float() * options.pop("weight", 1.0)
    model = classifiers.train_classifier(real, synthetic=(images[12:], targets), steps=4, batch_size=8, **options)
    return torch.cat([p.flatten() for p in model.state_dict().values()])


def test_each_way_to_use_synthetic_images_changes_what_is_learnt_and_the_defaults_change_nothing():
    plain = trained()
    assert torch.equal(plain, trained(batches="mixed", weight=1.0))
    others = [trained(batches="synthetic first"), trained(batches="split norms"), trained(weight=0.3)]
    assert all(len(other) == len(plain) and not torch.equal(other, plain) for other in others)


def test_other_batches_are_refused():
    with pytest.raises(ValueError, match="batches is 'real first'; allowed are mixed, synthetic first, split norms"):
        trained(batches="real first")


def test_an_image_of_a_weight_adds_that_multiple_of_its_loss():
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), torch.rand(2, 1, 4, 4)
    targets = torch.tensor([[1.0, 0.0], [0.0, 0.3]])
    each = [classifiers.cross_entropy(model, images[i : i + 1], torch.tensor([i])) for i in (0, 1)]
    whole = classifiers.cross_entropy(model, images, targets)
    assert whole.item() == pytest.approx((each[0].item() + 0.3 * each[1].item()) / 2, rel=1e-5)
