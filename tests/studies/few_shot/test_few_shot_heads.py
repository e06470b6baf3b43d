"""Heads: against their closed forms, and each other."""

import torch

from sega_utils.studies.few_shot import heads

FEATURES = torch.randn(90, 4, generator=torch.Generator().manual_seed(0)) + 3 * torch.eye(3, 4).repeat(30, 1)
LABELS = torch.arange(90) % 3


def test_the_nearest_centroid_is_the_nearest():
    weight, bias = heads.nearest(FEATURES, LABELS)
    wanted = torch.cdist(FEATURES, heads.centroids(FEATURES, LABELS)).argmin(1)
    assert torch.equal((FEATURES @ weight.T + bias).argmax(1), wanted)


def test_whitening_takes_the_distance_of_mahalanobis():
    within = torch.diag(torch.tensor([4.0, 1, 1, 1]))
    weight, bias = heads.whitened(FEATURES, LABELS, within, share=0.0)
    scale = torch.tensor([0.5, 1, 1, 1])
    wanted = torch.cdist(FEATURES * scale, heads.centroids(FEATURES, LABELS) * scale).argmin(1)
    assert torch.equal((FEATURES @ weight.T + bias).argmax(1), wanted)
    alike = heads.whitened(FEATURES, LABELS, within, share=1.0)
    assert heads.accuracy(alike, FEATURES, LABELS) == heads.accuracy(heads.nearest(FEATURES, LABELS), FEATURES, LABELS)


def test_a_weight_counts_like_so_many_copies():
    weights = torch.where(torch.arange(90) < 30, 2.0, 1.0)
    once = heads.logistic(FEATURES, LABELS, weights, strength=1.0)
    twice = heads.logistic(
        torch.cat((FEATURES, FEATURES[:30])), torch.cat((LABELS, LABELS[:30])), torch.ones(120), strength=1.0
    )
    assert torch.allclose(once[0], twice[0], atol=5e-2)
    assert heads.accuracy(once, FEATURES, LABELS) > 0.8


def test_two_classes_have_two_rows():
    kept = LABELS < 2
    head = heads.logistic(FEATURES[kept], LABELS[kept], torch.ones(60), strength=1.0)
    assert head[0].shape == (2, 4) and heads.accuracy(head, FEATURES[kept], LABELS[kept]) > 0.9
