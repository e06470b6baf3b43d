"""The linear generator: exact on its span, and what it refuses."""

import pytest
import torch

from sega_utils.augmenters import linear, sage


def fitted(tiny, **settings):
    return linear.fit(tiny.images, tiny.labels, num_classes=3, **{"components": 12, "groups": 3} | settings)


def test_an_image_of_its_span_comes_back(tiny):
    state = fitted(tiny)
    codes = linear.invert(state, tiny.images)
    assert codes.shape == (36, 3, 4) and float(codes.var(0).mean()) == pytest.approx(1, rel=0.05)
    inside = 0.2 * codes  # near the mean image, where nothing is cut
    inside[:, 0, 0] = 0
    flat = inside.flatten(1) * state[0]["scale"] @ state[0]["axes"]
    images = flat.view(-1, 1, 32, 32) + state[0]["mean"]
    kept = ((images >= 0) & (images <= 1)).all((1, 2, 3))
    assert kept.any()
    assert torch.allclose(linear.render(state, inside)[kept], images[kept], atol=1e-6)
    assert torch.allclose(linear.invert(state, linear.render(state, inside))[kept], inside[kept], atol=1e-4)


def test_its_axes_are_orthonormal_and_name_what_they_saw(tiny):
    tensors, meta = fitted(tiny)
    assert torch.allclose(tensors["axes"] @ tensors["axes"].T, torch.eye(12), atol=1e-5)
    assert meta["seen"] == fitted(tiny)[1]["seen"] != fitted(tiny._replace(images=tiny.images.flip(0)))[1]["seen"]


def test_age_has_the_covariance_of_the_seen_offsets_within_the_atoms(tiny):
    codes = linear.invert(fitted(tiny, groups=1), tiny.images)
    means = sage.class_means(codes, tiny.labels)
    offsets = codes - means[tiny.labels]
    atoms = sage.closed_atoms(offsets, means, 5, orthogonal=False)
    editing = sage.prepare(codes, tiny.labels, atoms)
    drawn = sage.edits(editing, means[0], 20_000, torch.Generator().manual_seed(0), t_C=3, t_A=5)[:, 0] * 0.5
    onto = atoms[0] @ atoms[0].T
    wanted = 0.25 * onto @ offsets[:, 0].T.cov() @ onto
    assert float((drawn.T.cov() - wanted).norm() / wanted.norm()) < 0.05


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"components": 36}, "allowed are 1 .. 35 components"),
        ({"components": 10}, "as many in each group"),
        ({"num_classes": 4}, r"classes \[3\] have fewer than 2 images"),
        ({"labels": torch.zeros(36, dtype=torch.int64), "num_classes": 1}, "1 seen class; .* at least 2"),
        ({"images": torch.full((36, 1, 32, 32), float("nan"))}, "look for NaN"),
        ({"images": torch.full((36, 1, 32, 32), 1.5)}, r"values in \[1.5, 1.5\]"),
    ],
)
def test_what_cannot_be_a_generator_is_refused(tiny, settings, message):
    given = {"images": tiny.images, "labels": tiny.labels, "num_classes": 3, "components": 12, "groups": 3} | settings
    with pytest.raises(ValueError, match=message):
        linear.fit(given.pop("images"), given.pop("labels"), **given)


def test_images_of_another_size_are_refused(tiny):
    with pytest.raises(ValueError, match=r"received images \(3, 32, 32\); allowed are .* \(1, 32, 32\)"):
        linear.invert(fitted(tiny), tiny.images.expand(-1, 3, -1, -1))


def test_black_classes_give_a_generator_of_nothing():
    images, labels = torch.zeros(6, 1, 32, 32), torch.arange(6) % 2
    state = linear.fit(images, labels, num_classes=2, components=2)
    assert not linear.invert(state, images).any() and not linear.render(state, torch.zeros(1, 1, 2)).any()
