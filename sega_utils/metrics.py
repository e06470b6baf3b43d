"""Numbers about images and about paired results."""

from pathlib import Path

import numpy as np
import torch
from scipy.special import stdtrit
from torch.utils.data import Subset


def frechet_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the Frechet distance between Gaussians fitted to two sets of features; lower is closer, 0 at best.

    Only in Inception-v3's features is it the FID; name the features wherever the number is shown.

    Args:
        a, b: features float (N, d) and (M, d), N and M at least 2.

    Source: Heusel et al. 2017, equation 6.
    """
    a, b = a.double().cpu(), b.double().cpu()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # tr((A B)^1/2) = tr((A^1/2 B A^1/2)^1/2), whose matrix is symmetric: no complex square root is needed
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross)


def precision_recall(real: torch.Tensor, drawn: torch.Tensor, *, k: int = 3) -> dict[str, float]:
    """Return how many drawn images look real, and how many of the real ones the drawn ones cover; higher is better.

    Args:
        real, drawn: features float (N, d) and (M, d), both N and M above ``k``; N = M makes the two comparable.
        k: an image covers what is nearer to it than its ``k``-th neighbour of the same set.

    Returns:
        ``precision`` and ``recall``, 0 .. 1.

    Raises:
        ValueError: a set of ``k`` images or fewer.

    Source: Kynkaanniemi et al. 2019, equation 1.
    """
    if min(len(real), len(drawn)) <= k:
        raise ValueError(f"received {len(real)} real and {len(drawn)} drawn images; give more than k = {k} of each")

    def covered(points, by):
        radius = torch.cdist(by, by).kthvalue(k + 1, dim=1).values  # the nearest is the image itself
        return (torch.cdist(points, by) <= radius).any(1).double().mean().item()

    return {"precision": covered(drawn, real), "recall": covered(real, drawn)}


def inception_distances(real: torch.Tensor, drawn: torch.Tensor, *, weights: Path) -> dict[str, float]:
    """Return FID and KID in the features of Inception-v3, as torch-fidelity defines them; lower is closer.

    Args:
        real, drawn: uint8 (N, 3, H, W) and (M, 3, H, W).
        weights: torch-fidelity's Inception weights; it unpickles them, so trust where they come from.

    Raises:
        FileNotFoundError: there are no such weights.
    """
    if not weights.is_file():
        raise FileNotFoundError(f"there are no Inception weights at {weights}; give the file that torch-fidelity "
                                "publishes, or leave it empty for no FID")  # fmt: skip
    import torch_fidelity  # takes seconds, which only this function should cost

    found = torch_fidelity.calculate_metrics(
        input1=Subset(drawn, range(len(drawn))), input2=Subset(real, range(len(real))), fid=True, kid=True,
        kid_subset_size=min(1000, len(drawn), len(real)), feature_extractor_weights_path=str(weights),
        cuda=torch.cuda.is_available(), verbose=False,
    )  # fmt: skip
    return {"fid": found["frechet_inception_distance"], "kid": found["kernel_inception_distance_mean"]}


def intra_class_distance(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean Euclidean pixel distance between two images of one class; higher is more diverse.

    Args:
        images: float (N, C, H, W); labels: int64 (N,), at least two images in some class.
    """
    distances = [torch.pdist(images[labels == c].flatten(1).float()) for c in labels.unique()]
    return float(torch.cat(distances).mean())


def retrieval(image_embeddings: torch.Tensor, centroids: torch.Tensor, cluster_ids: torch.Tensor) -> float:
    """Return the share of images whose nearest text centroid is their own cluster's, 0 .. 1.

    Args:
        image_embeddings: float (N, d), centroids: float (K, d), both L2-normalised; cluster_ids: int64 (N,).
    """
    return float(((image_embeddings @ centroids.T).argmax(1) == cluster_ids).float().mean())


def effect_size(low: torch.Tensor, high: torch.Tensor, *, seed: int = 0) -> dict[str, float]:
    """Return Cohen's d of ``high`` over ``low`` with a bootstrapped 95 % interval; positive if steering works.

    Args:
        low, high: float (N,) and (M,), measured where the prompt named the low and the high end.

    Returns:
        ``effect``, ``ci_low``, ``ci_high`` in pooled standard deviations, and ``n`` = N + M.

    Source: Cohen 1988; percentile bootstrap, Efron and Tibshirani 1993.
    """
    from scipy import stats  # takes seconds, which only this function should cost

    def cohen(x, y, axis=-1):
        pooled = np.sqrt((x.var(axis, ddof=1) + y.var(axis, ddof=1)) / 2)
        return (y.mean(axis) - x.mean(axis)) / np.maximum(pooled, 1e-12)

    pair = (low.double().cpu().numpy(), high.double().cpu().numpy())
    interval = stats.bootstrap(pair, cohen, n_resamples=1000, method="percentile", rng=seed).confidence_interval
    return {"effect": float(cohen(*pair)), "ci_low": float(interval.low), "ci_high": float(interval.high),
            "n": len(low) + len(high)}  # fmt: skip


def paired_difference(ours: dict[int, float], theirs: dict[int, float]) -> dict[str, float]:
    """Return the mean difference over paired seeds with its 95 % interval (Student's t).

    Args:
        ours, theirs: seed to accuracy; both must hold the same seeds, at least two.

    Raises:
        ValueError: the seeds differ or are fewer than two.
    """
    if set(ours) != set(theirs) or len(ours) < 2:
        raise ValueError(f"a paired comparison needs the same seeds, at least two; received {sorted(ours)} and "
                         f"{sorted(theirs)}: run the missing ones")  # fmt: skip
    difference = np.array([ours[seed] - theirs[seed] for seed in sorted(ours)])
    half = stdtrit(len(difference) - 1, 0.975) * difference.std(ddof=1) / len(difference) ** 0.5
    mean = float(difference.mean())
    return {"difference": mean, "ci_low": mean - float(half), "ci_high": mean + float(half)}
