"""SEGA-Net, Algorithm 1: clusters of prompts, the projector from embeddings to latents, and images drawn with it."""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters import base
from sega_utils.augmenters.base import generate
from sega_utils.core import learning, runtime
from sega_utils.text.clip import Clip

HIDDEN = 1024  # poster, Algorithm 1, line 1


def build_projector(d_text: int, z_dim: int) -> nn.Sequential:
    """Return an untrained projector (N, d_text) -> (N, z_dim). Source: poster, Algorithm 1, line 1."""
    return nn.Sequential(nn.Linear(d_text, HIDDEN), nn.GELU(), nn.LayerNorm(HIDDEN), nn.Linear(HIDDEN, z_dim))


def info_nce(images: torch.Tensor, prompts: torch.Tensor, cluster_ids: torch.Tensor, *, tau: float) -> torch.Tensor:
    """Contrast each image with its own prompt against the batch's other prompts; a scalar, lower is better.

    Prompts of the same cluster mean the same thing, so they are no negatives.

    Args:
        images, prompts: float (B, d), L2-normalised; row i of one belongs to row i of the other.
        cluster_ids: int64 (B,), unique across classes.
        tau: temperature, > 0.

    Source: poster, Algorithm 1, line 6; InfoNCE, van den Oord et al. 2018, equation 4.
    """
    logits = images @ prompts.T / tau
    same = cluster_ids[:, None] == cluster_ids[None]
    same.fill_diagonal_(False)
    return F.cross_entropy(logits.masked_fill(same, -torch.inf), torch.arange(len(logits), device=logits.device))


def train_projector(
    generator: nn.Module,
    clip: Clip,
    *,
    embeddings: torch.Tensor,
    cluster_ids: torch.Tensor,
    centroids: torch.Tensor,
    sigma: float,
    tau: float,
    lam: float,
    lr: float,
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
) -> tuple[nn.Sequential, list[dict[str, float]]]:
    """Train the projector with generator and CLIP frozen; return it in eval mode, with its loss curve.

    Args:
        embeddings: prompt embeddings float32 (P, d_text), L2-normalised.
        cluster_ids: int64 (P,), 0 .. n_classes * m - 1, class by class: cluster k belongs to class k // m.
        centroids: float32 (n_classes * m, d_text), the clusters' centres.
        sigma: standard deviation of the latent noise; tau: temperature; lam: weight of the L2 regularisation;
            lr: Adam's learning rate; steps: T. All unspecified in the source.

    Raises:
        ValueError: a cluster without prompts, or a sigma, tau or lam that makes no sense.
        FloatingPointError: the loss is not finite.

    Source: poster, Algorithm 1; the line numbers below are its.
    """
    if sigma < 0 or tau <= 0 or lam < 0:
        raise ValueError(f"received sigma={sigma}, tau={tau}, lam={lam}; allowed are sigma >= 0, tau > 0, lam >= 0")
    members = members_of(cluster_ids, len(centroids))
    device, m = centroids.device, len(centroids) // generator.n_classes
    rng = runtime.generator(seed)
    torch.manual_seed(seed)
    projector = build_projector(embeddings.shape[1], generator.z_dim).to(device)  # line 1
    optimiser = torch.optim.Adam(projector.parameters(), lr)
    wrong = f"the projector's loss is not finite at step {{step}}; lower lr ({lr})"
    run = learning.Steps(steps, label="projector", wrong=wrong, every=10, check=1)
    for _ in run:  # line 2
        k, positive = draw_prompts(members, batch_size, rng)  # line 3
        mean = projector(centroids[k])
        noise = torch.randn(mean.shape, generator=rng).to(device)
        images = generator(mean + sigma * noise, k.to(device) // m)  # lines 4 and 5
        contrast = info_nce(clip.encode_images(images), embeddings[positive], k.to(device), tau=tau)  # line 6
        regular = lam * mean.square().sum(1).mean()  # line 7
        run.note(contrast=contrast, regular=regular)
        learning.update(contrast + regular, optimiser)  # line 8
    return projector.eval().requires_grad_(False), run.curve


def members_of(cluster_ids: torch.Tensor, n: int) -> list[torch.Tensor]:
    """Return the prompts of each of ``n`` clusters, int64.

    Raises:
        ValueError: a cluster without prompts.
    """
    members = [torch.nonzero(cluster_ids == k)[:, 0] for k in range(n)]
    if empty := [k for k, mine in enumerate(members) if not len(mine)]:
        raise ValueError(f"clusters {empty} hold no prompt; cluster the prompts again")
    return members


def draw_prompts(members: list[torch.Tensor], size: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw clusters, and a prompt of each of these; int64 (size,) both."""
    k = torch.randint(len(members), (size,), generator=rng)
    return k, torch.stack([members[c][torch.randint(len(members[c]), (), generator=rng)] for c in k.tolist()])


@torch.no_grad()
def latents(projector: nn.Module, embeddings: torch.Tensor, *, sigma: float, noise: torch.Tensor) -> torch.Tensor:
    """Return z = P(e) + sigma * noise, float32 (N, z_dim), for embeddings (N, d_text) and noise (N, z_dim).

    Source: poster, Algorithm 1, line 4; the embeddings may be cluster centres, as there, or single prompts.
    """
    return projector(embeddings) + sigma * noise.to(embeddings.device)


def save_projector(path: Path, projector: nn.Module, meta: dict) -> str:
    """Write a projector atomically; return its digest."""
    return learning.save_network(path, projector, meta)


def load_projector(path: Path, device: torch.device | str = "cpu") -> nn.Sequential:
    """Return a frozen projector with ``meta``; errors as of ``learning.load_network``."""
    build = lambda _, tensors: build_projector(tensors["0.weight"].shape[1], tensors["3.weight"].shape[0])
    return learning.load_network(path, build, what="projector of this package", device=device)


def cluster(
    embeddings: torch.Tensor, class_ids: torch.Tensor, *, m: int = 3, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Group each class's prompts into ``m`` clusters by cosine similarity: k-means after normalising.

    Args:
        embeddings: float (P, d), of any length; normalised here.
        class_ids: int64 (P,), each of 0 .. n_classes - 1 at least ``m`` times.

    Returns:
        Cluster ids int64 (P,), 0 .. m - 1 within the class, none empty; and unit-length centroids (n_classes * m, d),
        row ``class_id * m + cluster_id``. Both on the CPU.

    Raises:
        ValueError: a class with fewer than ``m`` prompts of distinct embeddings.

    Source: poster, Algorithm 1, "clusters C_{y,j} (from cosine similarity, m = 3 fixed)".
    """
    from sklearn.cluster import KMeans  # takes seconds to import, and only 01_prompts clusters

    if len(embeddings) != len(class_ids) or not len(class_ids):
        raise ValueError(f"{len(embeddings)} embeddings and {len(class_ids)} class ids; each embedding needs its class")
    points, class_ids = F.normalize(embeddings.detach().cpu().double(), dim=1), class_ids.cpu()
    cluster_ids, centroids = torch.zeros_like(class_ids), []
    for class_id in range(int(class_ids.max()) + 1):
        own = points[class_ids == class_id]
        distinct = len(own.round(decimals=6).unique(dim=0))
        if distinct < m:
            raise ValueError(
                f"class {class_id} has {len(own)} prompts with {distinct} distinct embeddings; "
                f"{m} clusters need at least {m}: record more prompts or lower m"
            )
        labels = torch.from_numpy(KMeans(m, n_init=10, random_state=seed).fit_predict(own.numpy())).long()
        cluster_ids[class_ids == class_id] = labels
        centroids += [own[labels == j].mean(0) for j in range(m)]
    return cluster_ids, F.normalize(torch.stack(centroids), dim=1).to(embeddings.dtype)


def draw(
    generator: nn.Module,
    projector: torch.nn.Module,
    *,
    embeddings: torch.Tensor,
    prompt_ids: torch.Tensor,
    class_ids: torch.Tensor,
    seeds: torch.Tensor,
    sigma: float,
) -> torch.Tensor:
    """Draw one image for every (prompt, latent seed).

    Args:
        embeddings: prompt embeddings float32 (P, d_text).
        prompt_ids, class_ids, seeds: int64 (N,): the prompt, its class and the seed of the latent noise.
        sigma: standard deviation of the latent noise, >= 0.

    Returns:
        float32 (N, C, S, S) in [0, 1].

    Source: poster, Algorithm 1, lines 4 and 5, with the trained projector.
    """
    z = latents(projector, embeddings[prompt_ids], sigma=sigma, noise=base.noise_of(seeds, generator.z_dim))
    return generate(generator, class_ids, z=z)
