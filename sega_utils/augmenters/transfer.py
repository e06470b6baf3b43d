"""Features of an unseen class, drawn with what seen classes know: how images of a class differ, and how classes do."""

from typing import NamedTuple

import torch


class Moments(NamedTuple):
    """Of seen features: means (S, d), covariances (S, d, d), offsets (N, d) from their means, labels (N,)."""

    means: torch.Tensor
    covariances: torch.Tensor
    offsets: torch.Tensor
    labels: torch.Tensor

    def within(self) -> torch.Tensor:
        """Return the mean covariance of a class, (d, d)."""
        return self.covariances.mean(0)


def moments(features: torch.Tensor, labels: torch.Tensor) -> Moments:
    """Return what is known of seen features float32 (N, d) with labels int64 (N,) from 0 on.

    Raises:
        ValueError: a class of fewer than two images, which have no covariance.
    """
    counts = labels.bincount()
    if few := (counts < 2).nonzero()[:, 0].tolist():
        raise ValueError(f"classes {few} have fewer than 2 images; give more, or leave these classes out")
    means = torch.stack([features[labels == c].mean(0) for c in range(len(counts))])
    return Moments(
        means,
        torch.stack([features[labels == c].T.cov() for c in range(len(counts))]),
        features - means[labels],
        labels,
    )


def shrunk(covariance: torch.Tensor, share: float) -> torch.Tensor:
    """Return a covariance (d, d) moved towards a multiple of the identity, so that few images can be trusted.

    Source: Ledoit and Wolf 2004, with the share as an argument.
    """
    size = len(covariance)
    return (1 - share) * covariance + share * covariance.trace() / size * torch.eye(size)


def gaussian(mean: torch.Tensor, covariance: torch.Tensor, n: int, rng: torch.Generator) -> torch.Tensor:
    """Return n draws (n, d) of a normal distribution, whose covariance may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    return mean + torch.randn(n, len(values), generator=rng) * values.clamp(min=0).sqrt() @ vectors.T


def calibrated(
    seen: Moments, feature: torch.Tensor, n: int, rng: torch.Generator, *, k: int = 2, spread: float = 0.21
) -> torch.Tensor:
    """Return n features (n, d) by distribution calibration: of a mean between a feature (d,) and the k nearest classes.

    Args:
        spread: added to the variance of each feature, relative to the mean variance (the paper's is absolute).

    Raises:
        ValueError: k is not 1 .. S.

    Source: Yang et al. 2021, equations 5 and 6.
    """
    if not 1 <= k <= len(seen.means):
        raise ValueError(f"k is {k}; allowed are 1 .. {len(seen.means)}, the number of seen classes")
    near = (seen.means - feature).norm(dim=1).argsort(stable=True)[:k]
    mean = (seen.means[near].sum(0) + feature) / (k + 1)
    covariance = seen.covariances[near].mean(0)
    scale = covariance.trace() / len(covariance)
    return gaussian(mean, covariance + spread * scale * torch.eye(len(covariance)), n, rng)


def offsets(seen: Moments, n: int, rng: torch.Generator) -> torch.Tensor:
    """Return n raw offsets (n, d) of seen images, drawn with replacement, each class as often.

    Source: the untrained form of Schwartz et al. 2018.
    """
    chance = (1 / seen.labels.bincount().double())[seen.labels]
    return seen.offsets[torch.multinomial(chance, n, replacement=True, generator=rng)]


def posterior(
    features: torch.Tensor, centre: torch.Tensor, between: torch.Tensor, within: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where an unseen class has its mean, given a few of its features (K, d): mean (d,), covariance (d, d).

    It is SAGE's class embedding mapping made soft: a direction in which classes differ much and images little is kept,
    one in which it is the other way round is taken back to the centre.

    Args:
        centre: (d,), of the seen classes' means; between, within: (d, d), covariances of class means, and of the images
            of a class; their sum must not be singular.

    Source: Ioffe 2006 (probabilistic linear discriminant analysis), the posterior of a class's mean.
    """
    gain = torch.linalg.solve(between + within / len(features), between).T
    return centre + gain @ (features.mean(0) - centre), between - gain @ between
