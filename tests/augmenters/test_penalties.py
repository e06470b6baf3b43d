"""Penalties of a critic: their values on scores worked out by hand, and what they change in a training."""

import pytest
import torch
from torch import nn

from sega_utils.augmenters import gan, penalties
from sega_utils.augmenters.losses import hinge
from sega_utils.augmenters.penalties import PENALTIES, Means, Seen, between, penalty_of, slope
from sega_utils.core import artifacts

BRIEF = {"seed": 0, "steps": 3, "width": 16, "z_dim": 8, "batch_size": 8}


def seen(real=(0.0,), fake=(0.0,), *, means=(0.0, 0.0), progress=1.0, weights=(), loss=None) -> Seen:
    kept = Means()
    kept.real.fill_(means[0])
    kept.fake.fill_(means[1])
    loss = torch.tensor(0.0) if loss is None else loss
    return Seen(loss, torch.tensor(real), torch.tensor(fake), list(weights), kept, progress)


def value(name: str, *args, **options) -> float:
    return float(PENALTIES[name].term(seen(*args, **options)))


def linear_critic(theta: float) -> Seen:
    """Return what is seen of a critic that multiplies by theta, on a real image 2 and a drawn image 1."""
    theta = torch.tensor(theta, requires_grad=True)
    return seen(weights=[theta], loss=hinge(theta * torch.tensor([2.0]), theta * torch.tensor([1.0])))


# values


@pytest.mark.parametrize(("theta", "loss", "squared"), [(0.1, 1.9, 1), (1.0, 2, 1), (-2.0, 5, 4)])
def test_the_squared_gradient_by_the_weights(theta, loss, squared):
    critic = linear_critic(theta)
    penalty = PENALTIES["gradient"].term(critic)
    assert critic.loss.item() == pytest.approx(loss) and penalty.item() == pytest.approx(squared)
    (own,) = torch.autograd.grad(penalty, critic.weights, allow_unused=True, materialize_grads=True)
    assert own == 0, "the gradient of a loss that is linear in theta is a constant"


def test_lecam_is_the_distance_from_the_other_kind_s_mean():
    scores = {"real": (1.0, 3.0), "fake": (-1.0, 0.0), "means": (2.0, -0.5)}
    assert value("lecam", **scores) == 13.75
    only_real = {"real": (-2.0, 3.0), "fake": (2.0,), "means": (2.0, -0.5)}
    assert value("lecam", **only_real) == 7.25 and value("lecam-relu", **only_real) == 6.125
    assert value("lecam", **scores, progress=0.1) == 0, "its first tenth of the training only collects"


def test_the_running_means_are_averages_first_and_decay_later():
    means = Means()
    for score in (1.0, 2.0, 6.0):
        means.follow(torch.tensor([score, score + 2]), torch.tensor([-score]))
    assert (means.real.item(), means.fake.item()) == (pytest.approx(4), pytest.approx(-3))
    means.count.fill_(10_000)
    means.follow(torch.tensor([104.0]), torch.tensor([-3.0]))
    assert means.real.item() == pytest.approx(5) and means.fake.item() == pytest.approx(-3)


def test_one_and_bilateral():
    assert value("one", (1.0, 3.0)) == 2 and PENALTIES["one"].weight * 2 == pytest.approx(0.3)
    weighted = lambda score: (
        PENALTIES["bilateral"].weight * value("bilateral", (score,))
        + hinge(torch.tensor([score]), torch.tensor([-1.0]))
    )
    assert [float(weighted(score)) for score in (3.0, 0.0, 2.0)] == [0.5, 1, 0]
    assert value("bilateral", (0.0,), (-3.0,)) == 3 and value("bilateral", (0.0,), (3.0,)) == 0


# the slope of WGAN-GP


@pytest.mark.parametrize("norm", [1.0, 0.5, 3.0])
def test_the_slope_penalty_of_a_linear_critic(norm):
    w = torch.randn(1, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = (w / w.norm() * norm).requires_grad_()
    images = torch.rand(4, 1, 32, 32, dtype=torch.float64)
    penalty = slope(lambda x: (x * w).sum((1, 2, 3)), images)
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-12)
    (own,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close(own, (2 * (norm - 1) * w / norm).detach(), rtol=1e-6, atol=1e-12)


def test_images_between_real_and_drawn_ones():
    real, fake = torch.rand(2, 3, 1, 4, 4)
    assert torch.equal(between(real, fake, torch.ones(3)), real)
    assert torch.equal(between(real, fake, torch.zeros(3)), fake)
    half = between(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(half[1], fake[1] + 0.25 * (real[1] - fake[1]))


def test_the_slope_penalty_s_own_gradient_is_right():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    images, names = torch.rand(3, 1, 3, 3).double(), [name for name, _ in network.named_parameters()][:3]
    given = tuple(dict(network.named_parameters())[name] for name in names)

    def penalty(*weights):
        told = dict(zip(names, weights, strict=True))
        return slope(lambda x: torch.func.functional_call(network, told, (x,))[:, 0], images)

    assert torch.autograd.gradcheck(penalty, given)


@pytest.mark.parametrize("pair", [{"width": 16, "depth": 1}, {"metric": "disc"}], ids=str)
def test_no_score_depends_on_another_image(tiny, pair):
    """Else the slope by one image would be that of many scores."""
    critic = gan.networks_of(tiny.shape(), 8, spectral=False, **pair)[1]
    together, alone = critic(tiny.images[:5], tiny.labels[:5]), critic(tiny.images[:1], tiny.labels[:1])
    torch.testing.assert_close(together[:1], alone)


# in a training


def weights(trained):
    return artifacts.digest(trained[0].state_dict())


@pytest.mark.parametrize("name", PENALTIES)
def test_weight_0_is_the_plain_training_bit_for_bit_and_another_is_not(tiny, name):
    plain = gan.train_gan(tiny, **BRIEF)
    assert weights(gan.train_gan(tiny, **BRIEF, penalty=name, penalty_weight=0.0)) == weights(plain)
    changed, curve = gan.train_gan(tiny, **BRIEF, penalty=name, penalty_weight=2.0)
    assert curve[-1].keys() == {"step", "critic", "generator", "penalty"}
    # early scores lie between -1 and 1: hinge is active everywhere, and only the outer terms of bilateral are
    assert weights((changed, curve)) != weights(plain) or name == "bilateral"


@pytest.mark.parametrize("name", ["gradient", "lecam"])
def test_a_resumed_training_knows_its_running_means(tiny, tmp_path, monkeypatch, name):
    settings = BRIEF | {"steps": 4, "every": 1, "penalty": name, "penalty_weight": 1.0}
    whole = gan.train_gan(tiny, **settings, checkpoint=tmp_path / "whole")
    calls, update = [], gan.Duel.update_generator

    def killed(duel, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return update(duel, *args, **kwargs)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(gan.Duel, "update_generator", killed)
        gan.train_gan(tiny, **settings, checkpoint=tmp_path / "c")
    assert artifacts.load_tensors(tmp_path / "c")[1]["step"] == 2
    resumed = gan.train_gan(tiny, **settings, checkpoint=tmp_path / "c")
    assert weights(resumed) == weights(whole) and resumed[1] == whole[1]
    with pytest.raises(artifacts.ArtifactError, match="made with other settings"):
        gan.train_gan(tiny, **settings | {"penalty_weight": 0.5}, checkpoint=tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "weight", "message"),
    [
        ("lecan", None, "the penalty is 'lecan'; allowed are gradient, lecam, lecam-relu, one, bilateral, and ''"),
        ("lecam", -1.0, "the weight of the penalty 'lecam' is -1.0; allowed are 0 and more"),
        ("lecam", float("nan"), "is nan; allowed"),
        ("", 0.1, "the weight of the penalty '' is 0.1; allowed are 0 and more, with a penalty"),
    ],
)
def test_unknown_penalties_and_weights_are_refused(name, weight, message):
    with pytest.raises(ValueError, match=message):
        penalty_of(name, weight)


def test_without_a_name_there_is_no_penalty():
    assert penalty_of("") is None and penalty_of("one").weight == 0.15
    assert penalties.penalty_of("one", 0.0).weight == 0
