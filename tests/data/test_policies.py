"""Policies of drawn operations: the operations are torchvision's, and what is drawn for an image is what they say."""

import pytest
import torch
from torchvision.transforms import v2

from sega_utils.core import runtime
from sega_utils.data import augment, leaves, policies
from sega_utils.data.images import from_uint8, to_uint8

NEW = ("randaugment", "augmix", "pixmix", "photometric", "affine", "mango")
TABLES = {  # torchvision's policy, its number of levels, and our table of the same
    "randaugment": (v2.RandAugment, 31, {"shift": 150.0 / 331.0 * 32, "bits": 8}),
    "augmix": (v2.AugMix, 10, {"shift": 32 / 3, "bits": 4}),
}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(6, 3, 32, 32, generator=runtime.generator(0)).mul(255).round() / 255


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_of_strengths_are_torchvision_s(name):
    theirs, levels, ours = TABLES[name]
    table, expected = policies.strengths(levels, **ours), theirs._AUGMENTATION_SPACE
    assert set(table) - {"Identity"} == set(expected) - {"Identity"}
    for operation, (strengths_of, signed) in expected.items():
        strengths = strengths_of(levels, 32, 32)
        wanted = torch.zeros(levels) if strengths is None else strengths.float()
        assert torch.equal(table[operation], wanted), operation
        assert strengths is None or signed == (operation not in policies.ONE_WAY)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_every_operation_is_torchvision_s_whatever_stands_beside_an_image(images, interpolation):
    theirs, pixels = v2.RandAugment(), to_uint8(images)
    for operation, strengths in policies.strengths(31, shift=14.5, bits=8).items():
        for strength in {float(s) for level in (0, 9, 30) for s in (strengths[level], -strengths[level])}:
            if operation in policies.ONE_WAY and strength < 0:
                continue
            found = policies.operate(pixels, operation, strength, interpolation=interpolation)
            how = {"interpolation": v2.InterpolationMode(interpolation), "fill": theirs._fill}
            each = [theirs._apply_image_or_video_transform(image, operation, strength, **how) for image in pixels]
            assert torch.equal(found, torch.stack(each)), (operation, strength)


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_policy_changes_images_each_in_its_own_way_by_torch_s_seed_alone(name, channels):
    images = torch.rand(1, channels, 32, 32, generator=runtime.generator(0)).repeat(40, 1, 1, 1)
    kept = images.clone()

    def drawn(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return augment.POLICIES[name](images)

    changed = drawn(0)
    assert changed.shape == images.shape and changed.dtype == torch.float32
    assert 0 <= changed.min() and changed.max() <= 1
    assert len({tuple(image.flatten().tolist()) for image in changed}) > 20
    assert torch.equal(changed, drawn(0)) and not torch.equal(changed, drawn(1)) and torch.equal(images, kept)


def test_randaugment_is_two_operations_of_level_nine(images):
    table = policies.strengths(31, shift=150.0 / 331.0 * 32, bits=8)
    ways = [(k, float(s[9]) * sign) for k, s in table.items() for sign in ((1,) if k in policies.ONE_WAY else (1, -1))]
    once = [policies.operate(to_uint8(images[:1]), *way, interpolation="nearest") for way in dict.fromkeys(ways)]
    twice = {policies.operate(image, *way, interpolation="nearest").numpy().tobytes() for image in once for way in ways}
    torch.manual_seed(0)
    changed = policies.randaugment(images[:1].repeat(100, 1, 1, 1))
    assert {to_uint8(image[None]).numpy().tobytes() for image in changed} <= twice


def test_augmix_keeps_what_its_chains_leave_alone_and_they_are_one_to_three_long(images, monkeypatch):
    sizes = []
    monkeypatch.setattr(policies, "augmented", lambda chains: sizes.append(len(chains)) or chains)
    many = images[:1].repeat(1000, 1, 1, 1)
    torch.testing.assert_close(policies.augmix(many), many, rtol=0, atol=1e-5)
    assert sizes[0] == 3000 and 1850 < sizes[1] < 2150 and 850 < sizes[2] < 1150  # 2000 and 1000 +- 6 deviations


def test_augmix_weighs_the_image_like_its_chains_together(monkeypatch):
    monkeypatch.setattr(policies, "augmented", torch.zeros_like)
    torch.manual_seed(0)
    shares = policies.augmix(torch.ones(2000, 1, 32, 32))[:, 0, 0, 0]
    assert abs(float(shares.mean()) - 0.5) < 0.03 and abs(float(shares.var()) - 1 / 12) < 0.01  # uniform in 0 .. 1


def test_pixmix_mixes_as_its_authors_write():
    x, y = torch.full((1, 1, 1, 1), 0.75), torch.full((1, 1, 1, 1), 0.25)
    assert float(policies.summed(x, y, 0.5, 0.5)) == pytest.approx(0.5)  # (0.5 * 0.5 - 0.5 * 0.5 + 1) / 2
    assert float(policies.summed(x, y, 1.0, 0.0)) == float(policies.multiplied(x, y, 1.0, 0.0)) == 0.75
    assert float(policies.multiplied(x, y, 2.0, 1.0)) == pytest.approx(1.5**2 * 0.5 / 2)
    dark = policies.multiplied(x, torch.zeros(1, 1, 1, 1), 1.2, -0.5)
    assert torch.isfinite(dark).all() and dark > 1  # cut to 1 afterwards


def test_the_shares_of_pixmix_add_up_to_about_one(monkeypatch):
    found = []
    monkeypatch.setattr(policies, "summed", lambda x, y, a, b: found.append((a, b)) or x)
    torch.manual_seed(0)
    policies.mixed_with(torch.rand(4000, 1, 1, 1), torch.rand(4000, 1, 1, 1), beta=3.0)
    a, b = (part.flatten() for part in found[0])
    taken = b < 0
    assert abs(float(taken.float().mean()) - 0.5) < 0.05 and (a[taken] >= 1).all() and (a[~taken] <= 1).all()
    for part, mean in ((a[taken] - 1, 0.25), (-b[taken], 0.25), (a[~taken], 0.75), (b[~taken], 0.25)):
        assert abs(float(part.mean()) - mean) < 0.02  # of Beta(1, 3) and Beta(3, 1)


def test_pixmix_mixes_nothing_but_the_image_and_pictures(images, monkeypatch):
    grey = from_uint8(to_uint8(torch.full_like(images, 0.5)))
    monkeypatch.setattr(policies, "augmented", lambda part: part)
    monkeypatch.setattr(policies, "dead_leaves", lambda n, **_: torch.zeros(n, 3, 32, 32))
    monkeypatch.setattr(policies, "mixed_with", lambda x, y, beta: torch.maximum(x, y))
    assert torch.equal(policies.pixmix(grey), grey)
    monkeypatch.setattr(policies, "dead_leaves", lambda n, **_: torch.ones(n, 3, 32, 32))
    torch.manual_seed(0)
    reached = (policies.pixmix(grey[:1].repeat(2000, 1, 1, 1)) == 1).all((1, 2, 3)).float().mean()
    assert abs(float(reached) - (1 - (1 + 1 / 2 + 1 / 4 + 1 / 8 + 1 / 16) / 5)) < 0.05  # after 0 .. 4 coins


# dead leaves


def test_dead_leaves_are_patches_of_one_colour_by_the_seed_alone():
    first = leaves.dead_leaves(8, channels=3, side=32, seed=1)
    leaves.dead_leaves.cache_clear()
    assert torch.equal(first, leaves.dead_leaves(8, channels=3, side=32, seed=1))
    assert not torch.equal(first, leaves.dead_leaves(8, channels=3, side=32, seed=2))
    assert first.shape == (8, 3, 32, 32) and 0 <= first.min() and first.max() <= 1
    same = (first[..., 1:] == first[..., :-1]).all(1).float().mean()
    assert 0.6 < same < 0.98  # neighbours in one leaf
    assert all(len(set(map(tuple, image.flatten(1).T.tolist()))) > 10 for image in first)


def test_the_density_of_radii_falls_as_their_third_power():
    u = (torch.arange(100_000) + 0.5) / 100_000
    found = leaves.radii(u, low=1.0, high=8.0)
    assert found.min() >= 1 and found.max() <= 8
    for radius in (1.5, 2.0, 4.0):  # share below it: (1 - r^-2) / (1 - 8^-2)
        assert float((found < radius).double().mean()) == pytest.approx((1 - radius**-2) / (1 - 8**-2), abs=1e-3)


@pytest.mark.parametrize(("corners", "area"), [(0, 3.14159), (3, 5.19615), (4, 4.0)])
def test_shapes_have_the_area_of_their_kind(corners, area):
    at = (torch.arange(400).float() - 199.5)[None]
    down, right = at[:, :, None].expand(1, 400, 400), at[:, None].expand(1, 400, 400)
    one = lambda value: torch.full((1, 1, 1), value)
    for turn in (0.0, 0.7):
        inside = leaves.covered(down, right, one(60.0), one(turn), corners)
        assert float(inside.sum()) == pytest.approx(area * 60**2, rel=0.02)


def test_photometric_keeps_order_and_shape_and_affine_keeps_brightness():
    torch.manual_seed(0)
    image = torch.zeros(40, 1, 32, 32)
    image[:, :, 10:22, 8:24] = 0.5
    lit, moved = policies.photometric(image), policies.affine(image)
    assert ((lit > 0) == (image > 0)).all() and float(lit.amax((1, 2, 3)).std()) > 0.05
    width, height = (moved > 0.25).any(2).sum(-1).float(), (moved > 0.25).any(3).sum(-1).float()
    assert width.min() < 14 and width.max() > 19 and height.min() < 11 and height.max() > 14
    assert float(moved.amax()) == pytest.approx(0.5, abs=1e-5)


# mango


def only(part: int):
    """Return what takes one version alone: itself, turned, distorted, or in other light."""
    return lambda *versions: versions[part]


def test_each_image_is_one_of_its_versions_as_likely_each():
    torch.manual_seed(0)
    versions = [torch.full((3000, 1, 2, 2), float(i)) + torch.arange(3000)[:, None, None, None] * 10 for i in range(3)]
    found = policies.one_of(*versions)[:, 0, 0, 0] - torch.arange(3000) * 10
    assert set(found.tolist()) == {0.0, 1.0, 2.0}
    assert all(abs(int(count) - 1000) < 155 for count in found.long().bincount())  # 6 deviations


def test_mango_leaves_a_quarter_as_it_is_and_mirrors_nothing():
    image = torch.zeros(2000, 1, 32, 32)
    image[:, :, 8:12, 6:10], image[:, :, 24, 20] = 0.5, 0.1
    torch.manual_seed(0)
    changed = policies.mango(image)
    same = (changed == image).all((1, 2, 3)).float().mean()
    assert abs(float(same) - 0.25) < 0.06  # 6 deviations
    assert (changed[:, :, :16, :16].sum((1, 2, 3)) > changed[:, :, 16:, 16:].sum((1, 2, 3))).all()


def test_mango_turns_by_5_degrees_to_the_left_to_10_to_the_right(monkeypatch):
    monkeypatch.setattr(policies, "one_of", only(1))
    image = torch.zeros(1, 1, 65, 65)
    image[..., 32:33, 58:62] = 1.0  # to the right of the centre
    torch.manual_seed(0)
    moved = policies.mango(image.repeat(500, 1, 1, 1))[:, 0]
    down = (moved.sum(2) * (torch.arange(65.0) - 32)).sum(1) / moved.sum((1, 2))
    across = (moved.sum(1) * (torch.arange(65.0) - 32)).sum(1) / moved.sum((1, 2))
    right = torch.rad2deg(torch.atan2(down, across))  # to the right, what is right goes down
    assert -5.2 < float(right.min()) < -4.6 and 9.6 < float(right.max()) < 10.2


def test_angles_are_to_the_left_and_moves_to_the_right_and_down():
    images = torch.rand(2, 3, 32, 32, generator=runtime.generator(0))
    quarter = policies.turned(images, torch.tensor([0.0, torch.pi / 2]))
    torch.testing.assert_close(quarter[0], images[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(quarter[1], images[1].rot90(1, (1, 2)), atol=1e-4, rtol=0)
    moves = torch.tensor([3.0, 2.0])[None, :, None, None].expand(2, 2, 5, 5)  # it looks there, so the image goes back
    seen = policies.distorted(images, moves)
    torch.testing.assert_close(seen[..., :30, :29], images[..., 2:, 3:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("side", [32, 64])
def test_mango_distorts_the_inside_by_8_pixels_of_224_at_most_and_leaves_the_border(monkeypatch, side):
    found = []
    monkeypatch.setattr(policies, "distorted", lambda images, moves: found.append(moves) or images)
    torch.manual_seed(0)
    policies.mango(torch.rand(300, 1, side, side))
    assert found[0].shape == (300, 2, 5, 5)  # corners of 4 x 4 tiles
    inner, most = found[0][..., 1:-1, 1:-1], 8 * side / 224
    assert 0.99 * most < float(inner.max()) <= most and -most <= float(inner.min()) < -0.99 * most
    assert float(found[0].abs().sum()) == pytest.approx(float(inner.abs().sum()))


def test_mango_has_0_3_to_1_2_times_the_light(monkeypatch):
    monkeypatch.setattr(policies, "one_of", only(3))
    torch.manual_seed(0)
    light = policies.mango(torch.full((2000, 1, 32, 32), 0.5)) / 0.5
    each = light.amax((1, 2, 3))
    assert torch.equal(each, light.amin((1, 2, 3)))
    assert 0.3 <= each.min() < 0.302 and 1.198 < each.max() <= 1.2 + 1e-6
    assert float(policies.mango(torch.ones(100, 1, 32, 32)).max()) == 1.0
