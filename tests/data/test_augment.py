import pytest
import torch
from torch.nn import functional as F

from sega_utils.core import runtime
from sega_utils.data import augment

MIXED = [name for name in augment.MIXING if name != "none"]


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(40, 2, 12, 12, generator=runtime.generator(0)) + 0.1


def test_a_shift_is_one_of_all_crops_flipped_or_not(images):
    shifted = augment.shift(images, runtime.generator(1), pad=2)
    seen = set()
    for image, result in zip(images, shifted, strict=True):
        padded = F.pad(image, (2,) * 4)
        crops = {
            (top, left, flip): crop.flip(2) if flip else crop
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            for crop in [padded[:, top : top + 12, left : left + 12]]
        }
        seen |= {place for place, crop in crops.items() if torch.equal(crop, result)}
    assert len(seen) > 15  # of 50; 40 images with a place each
    assert {flip for *_, flip in seen} == {False, True}
    assert {top for top, *_ in seen} == {left for _, left, _ in seen} == set(range(5))


def test_no_shift_and_no_flip_change_nothing(images):
    assert torch.equal(augment.shift(images, runtime.generator(1), pad=0, flip=False), images)


def test_about_half_are_flipped(images):
    many = images[:1].expand(1000, -1, -1, -1)
    flipped = (augment.shift(many, runtime.generator(1), pad=0) == many.flip(3)).all((1, 2, 3)).sum()
    assert 440 < flipped < 560  # 500 +- 4 standard deviations of a fair coin


def test_a_cutout_blanks_one_square_inside_the_image(images):
    blank = (augment.cutout(images, runtime.generator(1), size=5) == 0).all(1)
    assert (blank.sum((1, 2)) == 25).all()
    corners = blank.flatten(1).int().argmax(1)
    assert len(corners.unique()) > 10
    for image, corner in zip(blank, corners.tolist(), strict=True):
        assert image[corner // 12 : corner // 12 + 5, corner % 12 : corner % 12 + 5].all()
    kept = augment.cutout(images, runtime.generator(1), size=5)
    assert torch.equal(kept[~blank[:, None].expand_as(kept)], images[~blank[:, None].expand_as(kept)])


@pytest.mark.parametrize(
    "change", [lambda x, rng: augment.shift(x, rng, pad=2), lambda x, rng: augment.cutout(x, rng, size=5)]
)
def test_a_seed_fixes_the_change_and_gradients_flow(images, change):
    x = images.clone().requires_grad_()
    once, again, other = (change(x, runtime.generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(once, again) and not torch.equal(once, other)
    once.sum().backward()
    assert set(x.grad.unique().tolist()) == {0.0, 1.0}  # a pixel is there once or not at all


# mixing


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Return 8 images and soft targets; pixels of image i lie in [i, i + 0.9) / 8, so that a pixel tells its origin."""
    rng = runtime.generator(0)
    images = (torch.arange(8.0)[:, None, None, None] + 0.9 * torch.rand(8, 1, 32, 32, generator=rng)) / 8
    return images, torch.rand(8, 5, generator=rng).softmax(1)


def origins(mixed: torch.Tensor) -> torch.Tensor:
    return (mixed[:, 0] * 8).long()


@pytest.mark.parametrize("name", augment.MIXING)
def test_mixing_keeps_shapes_and_ranges_and_its_targets_sum_to_one(batch, name):
    for seed in range(20):
        torch.manual_seed(seed)
        images, targets = augment.MIXING[name](*batch)
        assert images.shape == batch[0].shape and targets.shape == batch[1].shape
        assert images.dtype == targets.dtype == torch.float32
        assert 0 <= images.min() and images.max() <= 1
        torch.testing.assert_close(targets.sum(1), torch.ones(8))
        assert (targets >= 0).all()


@pytest.mark.parametrize("name", MIXED)
def test_mixing_depends_on_torchs_seed_alone(batch, name):
    def mix(seed):
        torch.manual_seed(seed)
        return augment.MIXING[name](*batch)

    (first, labels), (again, same), (other, _) = mix(1), mix(1), mix(2)
    assert torch.equal(first, again) and torch.equal(labels, same) and not torch.equal(first, other)


def test_no_mixing_changes_nothing(batch):
    images, targets = augment.MIXING["none"](*batch)
    assert torch.equal(images, batch[0]) and torch.equal(targets, batch[1])


def test_mixup_blends_images_and_targets_by_the_same_weight(batch):
    images, targets = batch
    identity = torch.eye(8)
    torch.manual_seed(0)
    mixed, shares = augment.mixup(images, identity)
    weight = float(shares[0, 0])
    assert 0 < weight < 1
    torch.testing.assert_close(mixed, weight * images + (1 - weight) * images.roll(1, 0))
    torch.manual_seed(0)
    torch.testing.assert_close(augment.mixup(images, targets)[1], shares @ targets)


@pytest.mark.parametrize("mix", [augment.cutmix, augment.saliencymix])
def test_a_pasted_box_weighs_in_the_targets_what_it_covers(batch, mix):
    images, targets = batch
    areas = set()
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, shares = mix(images, torch.eye(8))
        origin = origins(mixed)
        counted = torch.stack([(origin == i).float().mean((1, 2)) for i in range(8)], 1)
        torch.testing.assert_close(shares, counted, rtol=0, atol=1e-6)
        assert ((counted > 0).sum(1) <= 2).all()
        torch.manual_seed(seed)
        torch.testing.assert_close(mix(images, targets)[1], shares @ targets)
        areas.add(float(shares[0, 0]))
    assert len(areas) > 10


def test_saliencymix_pastes_a_box_that_holds_the_most_salient_place():
    images = torch.zeros(3, 1, 32, 32)
    for image, (row, column) in zip(images, ((2, 3), (16, 16), (29, 30)), strict=True):
        image[0, row, column] = 1.0
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, shares = augment.saliencymix(images, torch.eye(3))
        if 1 - float(shares[0, 0]) > 0.05:  # a box of at least 7 pixels; the smoothing of 5 moves the peak by up to 3
            pasted = images.roll(1, 0).bool()
            assert torch.equal(mixed[pasted], torch.ones(3))


# TrivialAugment


def test_trivial_changes_most_images_each_in_its_own_way():
    images = torch.rand(1, 1, 32, 32, generator=runtime.generator(0)).expand(40, -1, -1, -1)
    torch.manual_seed(0)
    changed = augment.trivial(images)
    assert (
        changed.shape == images.shape and changed.dtype == torch.float32 and 0 <= changed.min() and changed.max() <= 1
    )
    assert len({tuple(image.flatten().tolist()) for image in changed}) > 20
    torch.manual_seed(0)
    assert torch.equal(changed, augment.trivial(images))


def test_trivial_takes_colour_and_no_policy_changes_nothing(images):
    assert augment.trivial(torch.rand(4, 3, 32, 32, generator=runtime.generator(0))).shape == (4, 3, 32, 32)
    assert torch.equal(augment.POLICIES["none"](images), images)


def test_turn_turns_every_image_by_an_angle_of_its_own_and_mirrors_what_comes_into_view(images, monkeypatch):
    torch.manual_seed(0)
    turned = augment.turn(images[:1].expand(20, -1, -1, -1))
    assert turned.shape[0] == 20
    assert float(images[0].min()) - 1e-5 <= float(turned.min()) and float(turned.max()) <= float(images[0].max()) + 1e-5
    assert len({tuple(image.flatten().tolist()) for image in turned}) == 20
    torch.testing.assert_close(augment.turn(torch.full((3, 1, 9, 9), 0.7)), torch.full((3, 1, 9, 9), 0.7))
    monkeypatch.setattr(torch, "rand", lambda n: torch.tensor([0.0, 0.25])[torch.arange(n) % 2])
    turned = augment.turn(images[:2])
    torch.testing.assert_close(turned[0], images[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(turned[1], images[1].rot90(1, (1, 2)), atol=1e-5, rtol=0)
