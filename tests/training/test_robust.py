"""Losses against attacks: their attack is that of `attacks`, their terms are those of the papers."""

import pytest
import torch
from tiny_net import tiny_net
from torch.nn import functional as F

from sega_utils.training import attacks, classifiers, robust
from sega_utils.training.classifiers import train_classifier

EPS = 0.05


@pytest.fixture(scope="module")
def task():
    return tiny_net()


@pytest.mark.parametrize(("norm", "eps"), [("Linf", EPS), ("L2", 0.5)])
def test_the_inner_attack_is_pgd_of_the_attacks(task, norm, eps):
    model, images, labels = task
    ours = robust.attacked(model, images, labels, eps=eps, steps=3, norm=norm, seed=7)
    theirs = attacks.pgd(model, images, labels, eps=eps, steps=3, norm=norm, seed=7, early_stop=False)
    assert torch.equal(ours, theirs) and attacks.distance(ours - images, norm).max() > 0.9 * eps
    soft = F.one_hot(labels, int(labels.max()) + 1).float()
    again = robust.attacked(model, images, soft, eps=eps, steps=3, norm=norm, seed=7)
    torch.testing.assert_close(again, ours)


def test_a_model_in_training_is_attacked_as_it_classifies_and_goes_on_training(tiny):
    torch.manual_seed(0)
    model = classifiers.build("resnet8-half", **tiny.shape()).train()
    before = {name: tensor.clone() for name, tensor in model.named_buffers()}
    ours = robust.attacked(model, tiny.images, tiny.labels, eps=EPS, steps=2, norm="Linf", seed=1)
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.named_buffers())
    assert all(weight.grad is None for weight in model.parameters())
    theirs = attacks.pgd(model.eval(), tiny.images, tiny.labels, eps=EPS, steps=2, seed=1, early_stop=False)
    assert torch.equal(ours, theirs)


def test_pgd_is_the_cross_entropy_of_attacked_images_from_a_new_start_each_step(task):
    model, images, labels = task
    loss = robust.objective("pgd", eps=EPS, steps=2, seed=3)
    found = [float(loss(model, images, labels)) for _ in range(2)]
    for step, value in enumerate(found):
        start = 3 * 1_000_003 + step
        x = attacks.pgd(model, images, labels, eps=EPS, steps=2, seed=start, early_stop=False)
        assert value == pytest.approx(float(F.cross_entropy(model(x), labels)))
    assert found[0] != found[1] and min(found) > float(F.cross_entropy(model(images), labels))


def test_trades_is_the_cross_entropy_and_beta_times_the_divergence(task):
    model, images, labels = task
    clean = model(images)
    natural = float(F.cross_entropy(clean, labels))
    found = {beta: float(robust.objective("trades", eps=EPS, beta=beta)(model, images, labels)) for beta in (0, 1, 6)}
    assert found[0] == pytest.approx(natural)
    assert found[6] - natural == pytest.approx(6 * (found[1] - natural), rel=1e-3)
    said = clean.detach().softmax(1)
    x = robust.attacked(model, images, said, eps=EPS, steps=3, norm="Linf", seed=0)
    apart = (said * (said.log() - model(x).log_softmax(1))).sum(1).mean()
    assert found[1] - natural == pytest.approx(float(apart), rel=1e-3)
    nearby = attacks.random_point(images, eps=EPS, norm="Linf", seed=0)
    assert apart > (said * (said.log() - model(nearby).log_softmax(1))).sum(1).mean()


def test_none_is_the_training_without_attacks(tiny):
    options = {"steps": 3, "batch_size": 6, "seed": 1}
    plain = train_classifier(tiny, **options)
    same = train_classifier(tiny, objective=robust.objective("none", eps=EPS), **options)
    other = train_classifier(tiny, objective=robust.objective("pgd", eps=EPS), **options)
    weights = [torch.cat([w.flatten() for w in m.state_dict().values()]) for m in (plain, same, other)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_training_against_attacks_withstands_them(tiny):
    real = tiny._replace(images=(0.5 + 0.1 * tiny.images).clamp(0, 1))  # of little contrast
    stands = {}
    for loss in ("none", "pgd", "trades"):
        given = {"objective": robust.objective(loss, eps=0.03), "pixel": False, "averaging": 0.9, "lr": 0.05}
        model = train_classifier(real, steps=60, batch_size=18, **given)
        found = attacks.pgd(model, real.images, real.labels, eps=0.03, steps=20)
        stands[loss] = float(attacks.standing(model, real.images, found, real.labels, eps=0.03).float().mean())
    assert min(stands["pgd"], stands["trades"]) > stands["none"] + 0.2, stands


@pytest.mark.parametrize(
    ("loss", "options", "said"),
    [
        ("mart", {}, "received the loss 'mart' in 'Linf'; allowed are none, pgd, trades and Linf, L2"),
        ("pgd", {"norm": "L1"}, "in 'L1'"),
        ("pgd", {"eps": 0.0}, "eps 0"),
        ("trades", {"beta": -1}, "beta -1; allowed are 1 .., above 0, and 0 .."),
        ("pgd", {"steps": 0}, "received 0 steps"),
    ],
)
def test_what_is_no_loss_is_refused(loss, options, said):
    with pytest.raises(ValueError, match=said):
        robust.objective(loss, **{"eps": EPS} | options)
