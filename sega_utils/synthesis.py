"""Draw candidates from prompts, choose the synthetic set among those that passed, and keep every image's origin."""

import torch

from sega_utils.generator import Generator, generate
from sega_utils.projector import latents


def noise_of(seeds: torch.Tensor, z_dim: int) -> torch.Tensor:
    """Return one standard normal latent a seed, float32 (N, z_dim): a single image can be redrawn from its own seed."""
    rng = torch.Generator()
    return torch.stack([torch.randn(z_dim, generator=rng.manual_seed(seed)) for seed in seeds.tolist()])


def draw(
    generator: Generator,
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
    z = latents(projector, embeddings[prompt_ids], sigma=sigma, noise=noise_of(seeds, generator.z_dim))
    return generate(generator, class_ids, z=z)


def plan(class_ids: torch.Tensor, n: int, *, seed: int, start: int = 0) -> dict[str, torch.Tensor]:
    """Spread candidates evenly over the classes, and over each class's prompts; return ``n`` of them from ``start`` on.

    What a candidate is depends on its place alone, so that a plan can be carried out in parts.

    Args:
        class_ids: the prompts' classes, int64 (P,).
        seed: of the candidates' seeds; from the ten millionth candidate on, they are those of the next seed.

    Returns:
        ``class_ids``, ``prompt_ids`` and ``seeds``, int64 (n,) each; the classes alternate.

    Raises:
        ValueError: a class without prompts.
    """
    counts = class_ids.bincount()
    if empty := (counts == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"classes {empty} have no prompt; every class needs at least one: run 01_prompts again")
    index = torch.arange(start, start + n)
    classes, turn = index % len(counts), index // len(counts)
    first = counts.cumsum(0) - counts  # of each class's prompts, once they stand class by class
    chosen = class_ids.argsort(stable=True)[first[classes] + turn % counts[classes]]
    return {"class_ids": classes, "prompt_ids": chosen, "seeds": seed * 10_000_000 + index}


def quota(n: int, n_classes: int) -> list[int]:
    """Return how many of ``n`` images each class gets: as even as can be, the first classes one more."""
    return [n // n_classes + (c < n % n_classes) for c in range(n_classes)]


def select(keep_mask: torch.Tensor, class_ids: torch.Tensor, *, n: int, n_classes: int) -> torch.Tensor:
    """Return the indices, int64 (n,), of a class-balanced synthetic set: the first kept candidates of each class.

    Taking the first drawn, not the best scored, keeps the spread that the filters left.

    Raises:
        ValueError: the pool is exhausted before every class has its share.
    """
    chosen, short = [], []
    for c, wanted in enumerate(quota(n, n_classes)):
        mine = torch.nonzero(keep_mask & (class_ids == c))[:wanted, 0]
        chosen.append(mine)
        if len(mine) < wanted:
            short.append(f"class {c}: {len(mine)} kept, {wanted} needed")
    if short:
        raise ValueError(f"the candidate pool is exhausted ({'; '.join(short)}): draw more candidates (OVERSAMPLE) "
                         "or loosen the filters' percentiles")  # fmt: skip
    return torch.cat(chosen)
