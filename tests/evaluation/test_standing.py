"""Which images stand against the strong attacks: restarts of PGD, and AutoAttack or its first two."""

import pytest
import torch
from tiny_net import tiny_net

from sega_utils.evaluation import robustness
from sega_utils.training import autoattack

EPS = 0.06


def test_what_stands_against_more_starts_stands_against_the_first():
    model, images, labels = tiny_net()
    once, many = (robustness.restarted(model, images, labels, eps=EPS, restarts=n, steps=10) for n in (1, 5))
    assert bool((many <= once).all()) and 0 < many.sum() < len(labels)
    assert robustness.restarted(model, images, labels, eps=EPS, restarts=0).all()  # all are recognised


def test_the_strongest_is_what_the_first_two_of_autoattack_leave(monkeypatch):
    model, images, labels = tiny_net(10)
    found, own = [], autoattack.auto_attack
    monkeypatch.setattr(autoattack, "auto_attack", lambda *data, **how: found.append(own(*data, **how)) or found[0])
    stands = robustness.strongest(model, images, labels, eps=EPS)
    assert torch.equal(stands, found[0][1] == 2) and 0 < stands.sum() < 10


@pytest.mark.parametrize(("whole", "n"), [(False, 2), (True, 4)])
def test_all_four_attacks_are_asked_for_by_name(monkeypatch, whole, n):
    asked, (model, images, labels) = [], tiny_net(4)
    monkeypatch.setattr(autoattack, "auto_attack", lambda m, x, y, *, names, **_: (asked.append(names) or x, y))
    assert robustness.strongest(model, images, labels, eps=EPS, whole=whole).all()
    assert asked == [autoattack.STANDARD[:n]]


def test_fewer_than_four_classes_meet_restarts_instead(monkeypatch):
    model, images, labels = tiny_net()
    mine = labels < 3
    monkeypatch.setattr(robustness, "restarted", lambda *data, **_: data[2] == 1)
    found = robustness.strongest(Few(model), images[mine], labels[mine], eps=EPS)
    assert torch.equal(found, labels[mine] == 1)


class Few(torch.nn.Module):
    """A network that tells three classes apart."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images)[:, :3]
