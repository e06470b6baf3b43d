"""GLICO: the latents of real images, what is drawn between two of a class, and that all have their turn."""

import pytest
import torch
from torch.nn import functional as F

from sega_utils.augmenters import glico
from sega_utils.augmenters.gan import Generator
from sega_utils.core import runtime

SMALL = {"seed": 0, "width": 16, "z_dim": 8, "batch_size": 8}


@pytest.fixture(scope="module")
def trained(tiny):
    return glico.train_glico(tiny, steps=60, lr_generator=0.02, lr_latents=0.1, ema=0.9, **SMALL | {"batch_size": 36})


@pytest.fixture
def state(trained):
    return trained[0].state_dict(), {"settings": trained[0].settings}


def error(model, tiny) -> float:
    with torch.no_grad():
        return float((model.generator(model.latents, tiny.labels) - tiny.images).square().mean())


def test_the_training_images_come_closer(trained, tiny):
    untrained, _ = glico.train_glico(tiny, steps=1, lr_generator=1e-12, lr_latents=1e-12, **SMALL)
    model, curve = trained
    assert error(model, tiny) < error(untrained, tiny) / 3 and curve[-1]["loss"] < curve[0]["loss"]


def test_an_image_is_nearer_to_its_own_latents_image_than_to_the_other_classes(trained, tiny):
    model, _ = trained
    with torch.no_grad():
        drawn = model.generator(model.latents, tiny.labels)
    nearest = torch.cdist(drawn.flatten(1), tiny.images.flatten(1)).argmin(1)
    assert (tiny.labels[nearest] == tiny.labels).all()


def test_the_generator_is_the_gans_and_latents_have_one_length(trained):
    assert isinstance(trained[0].generator, Generator)
    torch.testing.assert_close(trained[0].latents.norm(dim=1), torch.full((36,), 8**0.5))
    torch.manual_seed(0)
    assert glico.Glico(n_images=3, n_classes=2).generator.width == Generator(n_classes=2).width


def test_both_sources_are_of_the_class_and_differ(tiny):
    labels = torch.arange(200) % 3
    at = glico.sources(tiny.labels, labels, 0)
    assert (tiny.labels[at["first"]] == labels).all() and (tiny.labels[at["second"]] == labels).all()
    assert (at["first"] != at["second"]).all()
    assert 0 <= at["weight"].min() and at["weight"].max() <= 0.5 and at["weight"].std() > 0.1
    other = glico.sources(tiny.labels, labels, 1)
    assert (at["first"] != other["first"]).any() and (at["second"] != other["second"]).any()


def test_every_real_image_is_a_first_source_before_one_is_again(tiny):
    at = glico.sources(tiny.labels, torch.arange(72) % 3, 0)
    assert (at["first"][:36].bincount(minlength=36) == 1).all() and (at["first"].bincount() == 2).all()
    assert len(at["second"].unique()) > 20


def test_what_is_drawn_with_no_weight_is_the_first_image_again(state, tiny):
    labels = torch.arange(9) % 3
    drawn = glico.sample_glico(state, labels, 0, low=0.0, high=0.0)
    first = glico.sources(tiny.labels, labels, 0)["first"]
    expected = glico.base.generate(
        glico.base.revive(lambda s: glico.Glico(**s), state, "cpu").generator, labels, z=state[0]["latents"][first]
    )
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)


def test_the_great_circle_keeps_the_length_and_a_line_does_not():
    a, b = (glico.on_sphere(torch.randn(6, 16, generator=runtime.generator(s))) for s in (0, 1))
    weight = torch.tensor([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
    circle, line = (glico.between(a, b, weight, way=way) for way in ("spherical", "linear"))
    torch.testing.assert_close(circle.norm(dim=1), torch.full((6,), 4.0), rtol=1e-4, atol=0)
    assert line.norm(dim=1)[3] < 3.9
    for z in (circle, line):
        torch.testing.assert_close(z[0], a[0])
        torch.testing.assert_close(z[5], b[5])
    # on the circle the angle from a grows with the weight
    angle = lambda x, y: F.cosine_similarity(x, y).arccos()
    torch.testing.assert_close(angle(a, circle)[1:5], (weight * angle(a, b))[1:5], rtol=1e-3, atol=1e-4)


def test_equal_latents_have_nothing_in_between_but_themselves():
    a = glico.on_sphere(torch.ones(2, 4))
    torch.testing.assert_close(glico.between(a, a, torch.tensor([0.3, 0.7]), way="spherical"), a, rtol=1e-3, atol=0)


def test_every_image_has_its_turn_in_each_epoch():
    for n, size in ((36, 8), (5, 8), (7, 7)):
        met = torch.cat([glico.turn(step, size, n, 0) for step in range(n)])
        assert (met.view(size, n).sort(dim=1).values == torch.arange(n)).all(), "n steps are as many epochs as a batch"
    assert not torch.equal(glico.turn(0, 8, 8, 0), glico.turn(1, 8, 8, 0))


def test_the_distance_is_0_for_equals_and_sees_a_shift_of_the_mean(tiny):
    assert float(glico.pyramid_distance(tiny.images, tiny.images)) == 0
    # only the coarsest level and the squares see a constant
    assert float(glico.pyramid_distance(tiny.images, tiny.images + 0.5)) == pytest.approx(0.25 + 0.5, abs=1e-5)


def test_a_class_of_one_image_and_other_ways_are_refused(tiny, state):
    lonely = tiny._replace(images=tiny.images[:4], labels=tiny.labels[:4])  # classes 0, 1, 2, 0
    with pytest.raises(ValueError, match=r"classes \[1, 2\] have fewer than 2 images"):
        glico.train_glico(lonely, steps=1, **SMALL)
    with pytest.raises(ValueError, match="way is 'cubic'; allowed are spherical, linear"):
        glico.sample_glico(state, tiny.labels, 0, way="cubic")
    for low, high in ((-0.1, 0.5), (0.6, 0.5), (0.0, 1.5)):
        with pytest.raises(ValueError, match="allowed are two ascending numbers"):
            glico.sample_glico(state, tiny.labels, 0, low=low, high=high)


def test_rates_that_are_none_and_a_training_without_end_are_refused(tiny):
    for rates in ({"lr_generator": 0.0}, {"lr_latents": -1.0}, {"lr_latents": float("nan")}):
        with pytest.raises(ValueError, match="allowed are numbers above 0"):
            glico.train_glico(tiny, steps=1, **SMALL | rates)
    with pytest.raises(ValueError, match="give steps, or seconds"):
        glico.train_glico(tiny, **SMALL)


def test_a_loss_that_is_not_finite_stops_the_training(tiny):
    with pytest.raises(FloatingPointError, match="GLICO's loss is not finite at step .*lower the rates"):
        glico.train_glico(tiny, steps=20, lr_generator=1e30, **SMALL)
