"""Heads of few-shot arms: from features with labels to a linear classifier, and how often it is right."""

import torch

from sega_utils.augmenters import transfer

Head = tuple[torch.Tensor, torch.Tensor]  # weight (C, d), bias (C,)


def logistic(features: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, *, strength: float) -> Head:
    """Return the logistic regression of features float32 (N, d), each with a weight, under a squared penalty.

    Args:
        labels: int64 (N,) from 0 on, each class with at least one; weights: float32 (N,).
        strength: inverse of the penalty, above 0, as scikit-learn's C.
    """
    from sklearn.linear_model import LogisticRegression  # takes seconds to import

    model = LogisticRegression(C=strength, tol=1e-3, max_iter=300)
    model.fit(features.numpy(), labels.numpy(), sample_weight=weights.numpy())
    weight, bias = torch.as_tensor(model.coef_).float(), torch.as_tensor(model.intercept_).float()
    if len(weight) == 1:  # of two classes scikit-learn names the second one's alone
        weight, bias = torch.cat((-weight, weight)), torch.cat((-bias, bias))
    return weight, bias


def gaussian(means: torch.Tensor, covariance: torch.Tensor) -> Head:
    """Return the best classifier of normal classes that share a covariance: means (C, d), covariance (d, d).

    Source: Fisher 1936; with the identity it is the nearest centroid.
    """
    weight = torch.linalg.solve(covariance, means.T).T
    return weight, -(weight * means).sum(1) / 2


def centroids(features: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean feature of each class, (C, d)."""
    return torch.stack([features[labels == c].mean(0) for c in range(int(labels.max()) + 1)])


def nearest(features: torch.Tensor, labels: torch.Tensor) -> Head:
    """Return the classifier by the nearest centroid."""
    return gaussian(centroids(features, labels), torch.eye(features.shape[1]))


def whitened(features: torch.Tensor, labels: torch.Tensor, within: torch.Tensor, *, share: float) -> Head:
    """Return the classifier by the nearest centroid where seen classes' images vary alike in all directions.

    Args:
        within: (d, d), covariance of the images of a seen class; share: see ``transfer.shrunk``.
    """
    return gaussian(centroids(features, labels), transfer.shrunk(within, share))


def accuracy(head: Head, features: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of features whose class a head names, 0 .. 1."""
    weight, bias = head
    return float(((features @ weight.T + bias).argmax(1) == labels).double().mean())
