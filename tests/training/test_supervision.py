"""Supervision after the stages: both losses against numbers by hand and the paper's gradient, and what training keeps
of them."""

import itertools
import math

import pytest
import torch
from torch.nn import functional as F

from sega_utils.core.learning import chance
from sega_utils.data import augment
from sega_utils.training import classifiers, supervision
from sega_utils.training.supervision import class_loss, source_loss, train_supervised

SHORT = {"steps": 3, "batch_size": 12, "seed": 1}


def points(n: int, *, seed: int = 0, d: int = 5) -> torch.Tensor:
    """Return points that are not normalised yet, float64 (n, d)."""
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def alike(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def plain(real) -> torch.nn.Module:
    """Return the classifier of the cross-entropy on the views that an objective makes."""
    count = itertools.count()

    def loss(model, images, targets):
        rng = chance(SHORT["seed"], next(count), "cpu")
        views = [augment.shift(images, rng, pad=2, flip=real.mirrors) for _ in range(2)]
        return classifiers.cross_entropy(model, torch.cat(views), torch.cat((targets, targets)))

    setting = SHORT | {"batch_size": SHORT["batch_size"] // 2, "pixel": False}
    return classifiers.train_classifier(real, objective=loss, **setting)


@pytest.mark.parametrize("tau", [0.07, 0.1, 1.0])
def test_two_images_of_a_class_at_right_angles_cost_ln_2_at_any_temperature(tau):
    q, labels = torch.eye(2).repeat(2, 1), torch.zeros(4, dtype=torch.int64)
    assert float(class_loss(q, labels, torch.tensor([0, 1, 0, 1]), tau=tau)) == pytest.approx(math.log(2), abs=1e-6)


def test_with_the_other_view_as_a_positive_they_cost_what_supcon_says():
    q, labels = torch.eye(2).repeat(2, 1), torch.zeros(4, dtype=torch.int64)
    found = float(class_loss(q, labels, torch.arange(4), tau=1.0))
    assert found == pytest.approx(math.log(math.e + 2) - 1 / 3, abs=1e-6) == pytest.approx(1.2181, abs=1e-4)


def test_without_pairs_of_views_the_loss_is_supcon_written_as_a_loop():
    q, labels, tau = F.normalize(points(7)), torch.tensor([0, 0, 1, 1, 1, 2, 0]), 0.5
    losses = []
    for i in range(7):
        others = [d for d in range(7) if d != i]
        total = sum(math.exp(float(q[i] @ q[d]) / tau) for d in others)
        same = [float(q[i] @ q[p]) / tau - math.log(total) for p in others if labels[p] == labels[i]]
        losses += [-sum(same) / len(same)] if same else []
    assert len(losses) == 6  # the third class has one image
    sources = torch.tensor([3, 9, 4, 0, 7, 1, 2])
    assert float(class_loss(q, labels, sources, tau=tau)) == pytest.approx(sum(losses) / 6, rel=1e-9)


def test_the_other_view_enters_neither_as_a_positive_nor_below_the_line():
    labels, source = torch.tensor([0, 0, 1, 0, 0, 1]), torch.arange(3).repeat(2)
    first, moved = F.normalize(points(6)), F.normalize(points(6))
    moved[3] = F.normalize(points(1, seed=9))[0]  # the other view of the first image
    found = [supervision.anchor_losses(q, labels, source, tau=0.1)[0] for q in (first, moved)]
    assert found[0] == found[1]
    with_it = [supervision.anchor_losses(q, labels, torch.arange(6), tau=0.1)[0] for q in (first, moved)]
    assert with_it[0] != with_it[1]


def test_the_gradient_is_equation_6_of_the_paper():
    u, labels, tau = points(8).requires_grad_(), torch.tensor([0, 0, 1, 1, 0, 0, 1, 2]), 0.3
    losses = supervision.anchor_losses(F.normalize(u), labels, torch.arange(8), tau=tau)
    q = F.normalize(u.detach())
    for i in range(7):  # the last is alone in its class
        others = [d for d in range(8) if d != i]
        total = sum((q[i] @ q[d] / tau).exp() for d in others)
        wanted, n = torch.zeros(5, dtype=torch.float64), sum(int(labels[d] == labels[i]) for d in others)
        for d in others:
            across = q[d] - q[i] * (q[i] @ q[d])
            assert float(across.norm()) == pytest.approx(float((1 - (q[i] @ q[d]) ** 2).sqrt()))  # equation 8
            wanted += across * ((q[i] @ q[d] / tau).exp() / total - int(labels[d] == labels[i]) / n)
        found = torch.autograd.grad(losses[i], u, retain_graph=True)[0][i]
        torch.testing.assert_close(found, wanted / (tau * u[i].detach().norm()), rtol=0, atol=1e-5)


def test_classes_of_one_image_cost_0_and_send_no_gradient():
    u = points(4).requires_grad_()
    loss = class_loss(F.normalize(u), torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 1]), tau=0.1)
    loss.backward()
    assert float(loss.detach()) == 0 and not u.grad.any()
    mixed = class_loss(F.normalize(u), torch.tensor([0, 1, 1, 2]), torch.arange(4), tau=0.1)
    mixed.backward()
    assert mixed.isfinite() and u.grad.isfinite().all() and u.grad.any()


def test_the_loss_of_the_source_is_minus_1_where_predictions_are_right_and_minus_the_mean_cosine_otherwise():
    g = F.normalize(points(6))
    swapped = torch.cat((g[3:], g[:3]))
    assert float(source_loss(swapped, g)) == pytest.approx(-1) and float(source_loss(-swapped, g)) == pytest.approx(1)
    h = F.normalize(points(6, seed=1))
    by_hand = [-0.5 * float(h[i] @ g[3 + i] + h[3 + i] @ g[i]) for i in range(3)]
    assert float(source_loss(h, g)) == pytest.approx(sum(by_hand) / 3)


def test_the_loss_of_the_source_sends_no_gradient_into_what_is_predicted():
    g, h = points(6).requires_grad_(), points(6, seed=1).requires_grad_()
    source_loss(h, g).backward()
    assert g.grad is None and h.grad.any()


@pytest.mark.parametrize(("classifier", "n"), [("resnet8-half", 1), ("resnet20", 3)])
def test_stages_are_the_outputs_of_each_third_of_the_blocks(tiny, classifier, n):
    torch.manual_seed(0)
    model = classifiers.build(classifier, **tiny.shape()).eval()
    logits, stages = supervision.staged(model, tiny.images)
    assert [part.shape[1] for part in stages] == [16, 32, 64] and torch.equal(logits, model(tiny.images))
    torch.testing.assert_close(model.head(stages[2]), logits)
    x = F.relu(model.norm(model.stem((tiny.images * 2 - 1).contiguous(memory_format=torch.channels_last))))
    torch.testing.assert_close(model.blocks[:n](x).mean((2, 3)), stages[0])
    assert all(not block._forward_hooks for block in model.blocks)


def test_an_objective_is_the_cross_entropy_and_the_weighted_sum_over_stages(tiny):
    torch.manual_seed(0)
    model = classifiers.build("resnet8", **tiny.shape())
    parts = {}
    for name, weight in [("views", 0.3), ("class", 0.3), ("source", 0.3), ("NCDS", 0.3), ("CDS", 0.3), ("NCDS", 0.6)]:
        torch.manual_seed(1)
        objective = supervision.Objective(name, model, weight=weight, seed=2)
        assert len(objective.heads) == (0 if name == "views" else 3)
        parts[name, weight] = float(objective(model, tiny.images, tiny.labels).detach())
    alone = parts["views", 0.3]
    added = {key: value - alone for key, value in parts.items()}
    assert added["NCDS", 0.3] == pytest.approx(added["class", 0.3] + added["source", 0.3], abs=1e-5)
    assert added["NCDS", 0.6] == pytest.approx(2 * added["NCDS", 0.3], abs=1e-5)
    assert added["CDS", 0.3] > 0 and added["CDS", 0.3] != pytest.approx(added["class", 0.3], abs=1e-3)
    assert -0.9 <= added["source", 0.3] < 0  # three stages, each -1 .. 1


@pytest.mark.parametrize(("name", "source"), [("class", [0, 1, 2, 3] * 2), ("CDS", range(8))])
def test_ncds_leaves_the_other_view_out_and_cds_keeps_it(tiny, name, source):
    torch.manual_seed(0)
    objective = supervision.Objective(name, classifiers.build("resnet8-half", **tiny.shape()), tau=0.2)
    stages, labels = [torch.randn(8, width) for width in (16, 32, 64)], torch.tensor([0, 1, 0, 1]).repeat(2)
    q = [head(part)[0] for head, part in zip(objective.heads, stages, strict=True)]
    wanted = sum(class_loss(part, labels, torch.tensor(source), tau=0.2) for part in q)
    torch.testing.assert_close(objective.beside(stages, labels), wanted)


def test_one_hot_targets_and_labels_are_the_same_and_each_call_makes_other_views(tiny):
    torch.manual_seed(0)
    model = classifiers.build("resnet8-half", **tiny.shape())
    objective, again = (supervision.Objective("NCDS", model, seed=3) for _ in range(2))
    again.load_state_dict(objective.state_dict())
    first, second = (float(objective(model, tiny.images, tiny.labels).detach()) for _ in range(2))
    one_hot = F.one_hot(tiny.labels, 3).float()
    assert float(again(model, tiny.images, one_hot).detach()) == pytest.approx(first, rel=1e-6)
    assert second != pytest.approx(first, rel=1e-6)


@pytest.mark.parametrize("mirrors", [True, False])
def test_views_are_bit_for_bit_the_cross_entropy_and_so_are_heads_of_weight_0(tiny, mirrors):
    real = tiny._replace(mirrors=mirrors)
    wanted = plain(real)
    assert alike(train_supervised(real, supervision="views", **SHORT), wanted)
    assert alike(train_supervised(real, supervision="NCDS", weight=0.0, **SHORT), wanted)


def test_each_supervision_returns_another_network_with_the_keys_of_the_plain_one(tiny):
    keys = classifiers.build("resnet8-half", **tiny.shape()).state_dict().keys()
    found = {name: train_supervised(tiny, supervision=name, **SHORT) for name in supervision.SUPERVISIONS}
    assert all(model.state_dict().keys() == keys and not model.training for model in found.values())
    assert not any(alike(found[a], found[b]) for a, b in itertools.combinations(found, 2))
    assert alike(found["NCDS"], train_supervised(tiny, supervision="NCDS", **SHORT))


def test_heads_learn_beside_the_classifier_and_views_of_one_image_come_together(tiny):
    torch.manual_seed(0)
    model = classifiers.build("resnet8-half", **tiny.shape())
    objective = supervision.Objective("source", model, seed=0)
    before = {name: weight.clone() for name, weight in objective.named_parameters()}
    views = torch.cat((tiny.images, tiny.images.roll(1, 3)))
    apart = lambda network: float(objective.beside(supervision.staged(network, views)[1], tiny.labels).detach())
    first = apart(model)
    setting = {"steps": 40, "batch_size": 18, "pixel": False, "lr": 0.05}
    trained = classifiers.train_classifier(tiny, objective=objective, **setting)
    assert not any(torch.equal(before[name], weight) for name, weight in objective.named_parameters())
    assert apart(trained) < first - 1  # each of three stages: 0 where nothing is learnt, -1 at best
    assert classifiers.accuracy(trained, tiny.images, tiny.labels) > 0.9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"supervision": "DSN"}, "supervision is 'DSN'; allowed are views, source, class, CDS, NCDS"),
        ({"tau": 0.0}, "received tau 0.0 and weight 0.3; allowed are a tau above 0"),
        ({"tau": float("nan")}, "received tau nan"),
        ({"weight": -0.1}, "weight -0.1; allowed are a tau above 0 and a weight of 0"),
        ({"batch_size": 9}, "batch_size is 9; allowed is an even number from 2"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"classifier": "vit-tiny"}, "the stages of a Scaled are not known; choose resnet8-half, resnet8 or resnet20"),
    ],
)
def test_what_is_no_supervision_is_refused(tiny, options, said):
    with pytest.raises(ValueError, match=said):
        train_supervised(tiny, **SHORT | {"supervision": "NCDS"} | options)


@pytest.mark.parametrize("targets", ["smoothed", "weighted"])
def test_targets_that_are_no_single_class_are_refused_with_the_reason(tiny, targets):
    soft = classifiers.smoothed(tiny.labels, 3, 0.1 if targets == "smoothed" else 0.0)
    soft = soft * 0.5 if targets == "weighted" else soft
    model = classifiers.build("resnet8-half", **tiny.shape())
    with pytest.raises(ValueError, match="compared by the one class of each; train with mixing 'none'"):
        supervision.Objective("NCDS", model)(model, tiny.images, soft)


def test_mixing_is_refused_in_training(tiny):
    model = classifiers.build("resnet8-half", **tiny.shape())
    with pytest.raises(ValueError, match="train with mixing 'none'"):
        classifiers.train_classifier(
            tiny, mixing="mixup", objective=supervision.Objective("CDS", model), steps=1, batch_size=6
        )
