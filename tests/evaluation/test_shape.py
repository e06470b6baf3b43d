"""The shape share of classifiers whose units read the shape alone, the texture alone, or neither."""

import pytest
import torch
from torch import nn

from sega_utils.evaluation import shape
from sega_utils.training import classifiers


class Reader(nn.Module):
    """A network whose units are functions of the images, below a linear layer."""

    def __init__(self, *units):
        super().__init__()
        self.units, self.head = units, nn.Linear(len(units), 2)

    def forward(self, images):
        return self.head(torch.stack([unit(images) for unit in self.units], 1))


AREA = lambda x: (x > 0).float().mean((1, 2, 3))
MIDDLE = lambda x: x[..., 14:18, 14:18].mean((1, 2, 3))  # inside each silhouette of the tiny data set
NOTHING = lambda x: torch.full((len(x),), 0.3)


@pytest.fixture
def few(tiny):
    """Return images of three different silhouettes."""
    return tiny.images[:6]


def share_of(few, *units) -> dict[str, float]:
    return shape.shape_share(Reader(*units).eval(), few)


def test_a_unit_of_the_silhouette_follows_the_shape_alone(few):
    found = share_of(few, AREA)
    assert (found["rho_shape"], found["rho_texture"]) == pytest.approx((1, 0), abs=1e-6)
    assert found["shape"] == found["rest"] > found["texture"]


def test_a_unit_of_the_texture_follows_the_texture_alone(few):
    found = share_of(few, MIDDLE)
    assert (found["rho_shape"], found["rho_texture"]) == pytest.approx((0, 1), abs=1e-6)
    assert found["texture"] == found["rest"] > found["shape"]


def test_a_constant_unit_counts_0_in_the_mean_and_is_not_nan(few):
    found = share_of(few, NOTHING)
    assert (found["rho_shape"], found["rho_texture"]) == (0, 0)
    assert share_of(few, NOTHING, AREA)["rho_shape"] == pytest.approx(0.5, abs=1e-6)
    rounded = lambda x: 0.3 + 1e-8 * AREA(x) + 3e-8 * torch.rand(len(x))
    assert share_of(few, rounded)["rho_shape"] == 0


@pytest.mark.parametrize(
    ("rho", "wanted"),
    [((1, 1), (1 / 3, 1 / 3, 1 / 3)), ((0.5, 0.6), (0.2664, 0.2944, 0.4392)), ((0, 0), (0.2119, 0.2119, 0.5761))],
)
def test_shares_are_a_softmax_that_does_not_saturate_with_the_number_of_units(rho, wanted):
    found = shape.shares(*rho)
    assert list(found) == ["shape", "texture", "rest"]
    assert tuple(found.values()) == pytest.approx(wanted, abs=1e-4) and sum(found.values()) == pytest.approx(1)


def test_correlations_are_those_of_pairs_drawn_from_many_shapes_and_textures():
    rng = torch.Generator().manual_seed(0)
    draw = lambda *size: torch.randn(*size, generator=rng, dtype=torch.float64)
    values = 2 * draw(300, 1, 1) + draw(1, 200, 1) + 1.5 * draw(300, 200, 1)  # variances 4, 1, 2.25
    found = shape.correlations(values)[:, 0].tolist()
    pick = lambda size: torch.randint(size, (2, 100_000), generator=rng)
    (i, j), (t, u) = pick(300), pick(200)
    of_pairs = lambda x, y: float(torch.corrcoef(torch.stack((x, y)))[0, 1])
    assert found[0] == pytest.approx(of_pairs(values[i, t, 0], values[i, u, 0]), abs=0.01)
    assert found[1] == pytest.approx(of_pairs(values[i, t, 0], values[j, t, 0]), abs=0.01)
    assert found == pytest.approx((4 / 7.25, 1 / 7.25), abs=0.06)


def test_few_textures_and_few_shapes_bias_no_correlation():
    rng = torch.Generator().manual_seed(1)
    parts = [torch.randn(*size, 4000, generator=rng) for size in ((6, 1), (1, 8), (6, 8))]
    assert shape.correlations(parts[2]).mean(1).tolist() == pytest.approx((0, 0), abs=0.01)
    assert shape.correlations(parts[1] + torch.zeros(6, 1, 1))[0].abs().max() < 1e-12  # pairs of the eight: -1/7


def test_textures_are_unlike_each_other_and_a_seed_repeats_them():
    found = shape.textures(32, seed=1)
    assert found.shape == (8, 1, 32, 32) and found.dtype == torch.float32
    assert found.amin((1, 2, 3)).tolist() == pytest.approx(8 * [shape.DARKEST]) and found.max() <= 1
    assert found.amax((1, 2, 3)).tolist() == pytest.approx(8 * [1.0])
    for seed in range(5):
        alike = torch.corrcoef(shape.textures(32, seed=seed).flatten(1)) - torch.eye(8)
        assert alike.abs().max() < 0.3
    assert torch.equal(found, shape.textures(32, seed=1)) and not torch.equal(found, shape.textures(32, seed=2))
    assert shape.textures(64).shape == (8, 1, 64, 64)


def test_textures_fill_silhouettes_and_nothing_else(few):
    found = shape.filled(few, seed=3)
    assert found.shape == (6, 8, 1, 32, 32)
    inside = few[:, 0] > 0.1
    assert torch.equal((found[:, :, 0] > 0), inside[:, None].expand(-1, 8, -1, -1))
    assert torch.equal(found[0, :, 0][:, inside[0]], shape.textures(32, seed=3)[:, 0][:, inside[0]])
    empty = torch.cat((few, torch.zeros(1, 1, 32, 32)))
    assert torch.equal(shape.filled(empty, seed=3), found)
    assert shape.filled(few.expand(-1, 3, -1, -1)).shape == (6, 8, 3, 32, 32)


@pytest.mark.parametrize("classifier", classifiers.CLASSIFIERS)
def test_every_classifier_has_a_shape_share_and_is_left_as_it_was(few, classifier):
    torch.manual_seed(0)
    model = classifiers.build(classifier, n_classes=3, channels=1).eval()
    before = model(few[:2])
    found = shape.shape_share(model, few[:3])
    assert list(found) == ["shape", "texture", "rest", "rho_shape", "rho_texture"]
    assert max(found["rho_shape"], found["rho_texture"]) <= 1 and 0 < found["shape"] < 0.5
    assert found["rho_shape"] + found["rho_texture"] > 0.1  # even an untrained network responds
    assert torch.equal(model(few[:2]), before)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_units_are_what_the_head_reads(few):
    torch.manual_seed(0)
    model = classifiers.build("resnet8-half", n_classes=3, channels=1).eval()
    features = shape.pooled_features(model, few)
    assert features.shape == (6, 64) and not features.requires_grad
    torch.testing.assert_close(model.head(features), model(few))


def test_a_seed_repeats_the_share(few):
    torch.manual_seed(0)
    model = classifiers.build("resnet8-half", n_classes=3, channels=1).eval()
    one, same, other = (shape.shape_share(model, few, seed=seed) for seed in (0, 0, 1))
    assert one == same != other


def test_what_has_no_shape_share_is_refused(few):
    model = classifiers.build("resnet8-half", n_classes=3, channels=1)
    with pytest.raises(ValueError, match="the ResNet is in train mode; call model.eval"):
        shape.shape_share(model.train(), few)
    with pytest.raises(ValueError, match="the Flatten has no linear layer"):
        shape.shape_share(nn.Flatten().eval(), few)
    for images in (torch.zeros(4, 1, 32, 32), few[:1].repeat(3, 1, 1, 1), few[:0]):
        with pytest.raises(ValueError, match=f"{len(images)} images hold fewer than two different silhouettes"):
            shape.shape_share(model.eval(), images)
    with pytest.raises(ValueError, match="must be a float32 tensor"):
        shape.shape_share(model.eval(), few.double())


def test_an_arms_row_is_the_mean_over_its_classifiers(monkeypatch):
    said = {("a", 0): 0.2, ("a", 1): 0.4, ("b", 0): 0.5, ("b", 1): 0.5}
    monkeypatch.setattr(shape.classified, "load_classifier", lambda run, dataset, arm, seed: ((arm, seed), "digest"))
    monkeypatch.setattr(shape, "shape_share", lambda model, images: {"shape": said[model]})
    images = torch.zeros(2, 1, 32, 32)
    images[0, :, 8:20, 8:20], images[1, :, 4:20, 8:12] = 1, 1
    assert shape.shape_rows("mine", "fashion-mnist", ["a"], [0], torch.ones(4, 1, 32, 32)) == [], "no silhouettes"
    rows = shape.shape_rows("mine", "fashion-mnist", ["a", "b"], [0, 1], images)
    assert [(row["arm"], row["n"], round(row["shape"], 9)) for row in rows] == [("a", 2, 0.3), ("b", 2, 0.5)]
