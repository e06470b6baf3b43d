"""Shapes: classes drawn by a formula, whose images are versions of one drawing."""

import math

import pytest
import torch

from sega_utils.augmenters import shapes


def test_images_lie_in_range_and_are_labelled_class_by_class():
    data = shapes.drawn(5, 4, side=16, channels=3)
    assert data.images.shape == (20, 3, 16, 16) and data.images.dtype == torch.float32
    assert data.labels.tolist() == [c for c in range(5) for _ in range(4)] and len(set(data.class_names)) == 5
    assert 0 <= data.images.min() and 0.15 <= data.images.max() <= 1
    assert torch.equal(data.images[:, 0], data.images[:, 2]) and not data.mirrors
    assert (data.images.flatten(1).amax(1) > 0).all()


def test_a_class_depends_on_its_number_and_the_seed_alone():
    few, more, other = shapes.drawn(2, 3, side=16), shapes.drawn(4, 3, side=16), shapes.drawn(2, 3, side=16, seed=1)
    assert torch.equal(few.images, more.images[:6]) and not torch.equal(few.images, other.images)


def test_images_of_a_class_are_nearer_to_each_other_than_to_those_of_other_classes():
    data = shapes.drawn(20, 8, side=32)
    flat = data.images.flatten(1)
    apart = torch.cdist(flat, flat)
    same = data.labels[:, None] == data.labels
    own = apart[same & ~torch.eye(len(flat), dtype=torch.bool)].mean()
    assert own < 0.8 * apart[~same].mean() and own > 0.5  # alike, and no copies


def test_outlines_are_filled_and_strokes_are_not():
    ink = [(shapes.drawn(30, 2, side=32, filled=share).images > 0.1).float().mean() for share in (0.0, 1.0)]
    assert 0.05 < ink[0] < 0.6 * ink[1]


def test_a_curve_goes_through_its_points_and_a_closed_one_ends_where_it_begins():
    points = torch.rand(3, 4, 2, generator=torch.Generator().manual_seed(0))
    for closed in (False, True):
        line = shapes.curve(points, closed=closed)
        nearest = (line[:, None] - points[:, :, None]).norm(dim=-1).amin(-1)
        torch.testing.assert_close(nearest, torch.zeros(3, 4), atol=1e-6, rtol=0)
        assert torch.allclose(line[:, 0], line[:, -1]) == closed


def test_distance_and_inside_are_those_of_a_circle():
    angle = torch.linspace(0, 2 * math.pi, 400)
    circle = 0.5 + 0.3 * torch.stack((angle.cos(), angle.sin()), -1)[None]
    radius = (shapes.pixels(32) - 0.5).norm(dim=1).view(32, 32)
    torch.testing.assert_close(shapes.distance(circle, 32)[0], (radius - 0.3).abs(), atol=1e-3, rtol=0)
    assert torch.equal(shapes.inside(circle, 32)[0], radius < 0.3)
    aside = circle + torch.tensor([0.2, 0.0])  # across, not down
    assert shapes.inside(aside, 32)[0, 16, 31] and not shapes.inside(aside, 32)[0, 31, 16]


@pytest.mark.parametrize("wrong", [{"classes": 0}, {"each": 0}, {"side": 7}, {"filled": 1.5}])
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(ValueError, match="allowed are 1 or more, 1 or more, 8 or more, and 0 .. 1"):
        shapes.drawn(**{"classes": 2, "each": 2, "side": 16} | wrong)
