"""AGE and SAGE: an unseen class's few images, edited along directions in which images of seen classes differ.

Latents are (N, G, d): G groups of layers, each of which has its own atoms; all is done group by group.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core import learning, runtime


class Basis(NamedTuple):
    """The directions in which the means of seen classes lie: centre (G, d), directions (G, d, t), orthonormal."""

    centre: torch.Tensor
    directions: torch.Tensor


class Editing(NamedTuple):
    """Of seen classes: atoms (G, d, l), the codes (N, G, l) and labels (N,) of their images, means (S, G, d)."""

    atoms: torch.Tensor
    codes: torch.Tensor
    labels: torch.Tensor
    means: torch.Tensor


def class_means(latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean latent of each class, float32 (S, G, d).

    Raises:
        ValueError: a class of fewer than two images, whose images do not differ.

    Source: Ding et al. 2023 (SAGE), equation 5.
    """
    if few := (labels.bincount() < 2).nonzero()[:, 0].tolist():
        raise ValueError(f"classes {few} have fewer than 2 images; give more, or leave these classes out")
    return torch.stack([latents[labels == c].mean(0) for c in range(int(labels.max()) + 1)])


def class_basis(means: torch.Tensor, t_B: int, *, centred: bool = True) -> Basis:
    """Return the first directions of the class means, from their centre, or from 0 as printed.

    Args:
        means: (S, G, d); t_B: how many directions, up to the rank, S - 1 where they are centred.

    Raises:
        ValueError: fewer than two classes, or a number of directions that is not 1 .. rank.

    Source: Ding et al. 2023 (SAGE), equation 16. From 0, the first direction is hardly more than the average image.
    """
    if len(means) < 2:
        raise ValueError(f"received the means of {len(means)} seen class; give at least 2")
    centre = means.mean(0) if centred else torch.zeros_like(means[0])
    left, values, _ = torch.linalg.svd((means - centre).permute(1, 2, 0), full_matrices=False)
    rank = int((values > 1e-5 * values[:, :1]).sum(1).min())
    if not 1 <= t_B <= rank:
        raise ValueError(f"t_B is {t_B}; allowed are 1 .. {rank}, the rank of the means of {len(means)} seen classes")
    return Basis(centre, left[:, :, :t_B])


def embed(basis: Basis, latents: torch.Tensor) -> torch.Tensor:
    """Return the class embedding (G, d) of a few latents (K, G, d): their mean, within the span of the class means.

    Source: Ding et al. 2023 (SAGE), equation 17.
    """
    offset = latents.mean(0) - basis.centre
    return basis.centre + torch.einsum("gdt,get,ge->gd", basis.directions, basis.directions, offset)


def orthogonality(columns: torch.Tensor, atoms: torch.Tensor, *, form: str = "printed") -> torch.Tensor:
    """Return how far atoms (G, d, l) lie along class means (G, d, S): a squared norm, or the code's mean magnitude.

    Source: Ding et al. 2023 (SAGE), equation 13.
    """
    product = columns.transpose(1, 2) @ atoms
    return (product**2).sum() if form == "printed" else product.abs().mean()


def sparsity(codes: torch.Tensor, *, form: str = "code") -> torch.Tensor:
    """Return how many codes are in use, softly: the sum over the last dimension, float32 (...).

    Args:
        form: ``code`` takes their magnitudes; ``printed`` does not, and is least where they go to minus infinity.

    Source: Ding et al. 2023 (SAGE), equation 10, theta 0.5 and -1.
    """
    if form not in {"code", "printed"}:
        raise ValueError(f"form is {form!r}; allowed are code, printed")
    return torch.sigmoid(0.5 * codes.abs() - 1 if form == "code" else 0.5 * codes + 1).sum(-1)


def closed_atoms(offsets: torch.Tensor, means: torch.Tensor, atoms: int, *, orthogonal: bool) -> torch.Tensor:
    """Return atoms (G, d, l) in closed form: the main directions of offsets (N, G, d), at will orthogonal to the means.

    They are the atoms of the least reconstruction error without sparsity: equation 14 with lambda_2 = 0, and lambda_1
    of 0 or without limit.

    Raises:
        ValueError: more atoms than directions.
    """
    dims, taken = offsets.shape[2], len(means) - 1 if orthogonal else 0
    check_atoms(atoms, dims - taken)
    scatter = torch.einsum("ngd,nge->gde", offsets, offsets) / len(offsets)
    if orthogonal:
        span = class_basis(means, taken).directions
        rest = torch.eye(dims) - span @ span.transpose(1, 2)
        scatter = rest @ scatter @ rest
    return torch.linalg.eigh(scatter).eigenvectors.flip(2)[:, :, :atoms]


def check_atoms(atoms: int, dims: int) -> None:
    """Refuse a number of atoms that is not 1 .. the dimensions that they may have.

    Raises:
        ValueError: it is not.
    """
    if not 1 <= atoms <= dims:
        raise ValueError(f"received {atoms} atoms; allowed are 1 .. {dims}, the dimensions that latents leave them")


def coder(dims: int, atoms: int) -> nn.Module:
    """Return the network of equation 9 that reads the codes of an offset: five layers, leaky ReLU of slope 0.2."""
    sizes = (dims, 2 * dims, 2 * dims, dims, atoms, atoms)
    layers = [part for i, o in zip(sizes, sizes[1:]) for part in (nn.Linear(i, o), nn.LeakyReLU(0.2))]
    return nn.Sequential(*layers[:-1])


def learn_atoms(
    offsets: torch.Tensor,
    means: torch.Tensor,
    atoms: int,
    *,
    orthogonal: float = 0.0005,
    sparse: float = 0.005,
    steps: int = 1000,
    batch: int = 64,
    lr: float = 1e-3,
    error: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None,
    seed: int = 0,
) -> torch.Tensor:
    """Return atoms (G, d, l) of length 1, learnt from offsets (N, G, d) so that few of them make up each.

    Args:
        means: of the seen classes, (S, G, d). orthogonal, sparse: lambda_1 and lambda_2, relative to means over
            elements. steps, batch, lr: the paper's 15,000 of unsaid size at 1e-4 are for images of 256 pixels.
        error: of a batch: takes the indices of its images and the offsets made up for them, (n, G, d), and returns the
            mean square error of the images drawn. If absent, that of the offsets themselves, which is the same where
            the generator is linear, up to what no edit can reach.

    Raises:
        ValueError: more atoms than a latent has dimensions. FloatingPointError: the loss is not finite.

    Source: Ding et al. 2023 (SAGE), equations 9 to 14; the atoms' length is unsaid, and fixed so that they cannot
    shrink to be orthogonal.
    """
    _, groups, dims = offsets.shape
    check_atoms(atoms, dims)
    torch.manual_seed(seed)
    columns = (means - means.mean(0)).permute(1, 2, 0)
    dictionary = nn.Parameter(F.normalize(torch.randn(groups, dims, atoms), dim=1))
    coders = nn.ModuleList(coder(dims, atoms) for _ in range(groups))
    optimiser = torch.optim.Adam([dictionary, *coders.parameters()], lr)
    order = learning.shuffled(len(offsets), batch, runtime.generator(seed))
    run = learning.Steps(steps, wrong="the loss of the atoms is {loss} at step {step}; lower the learning rate")
    for _, index in zip(run, order):
        picked = offsets[index]
        codes = torch.stack([network(picked[:, g]) for g, network in enumerate(coders)], 1)
        made = torch.einsum("gdl,ngl->ngd", dictionary, codes)
        loss = error(index, made) if error else F.mse_loss(made, picked)
        loss = loss + orthogonal * orthogonality(columns, dictionary) / (columns.shape[2] * atoms * groups)
        loss = loss + sparse * sparsity(codes).mean() / atoms
        learning.update(loss, optimiser)
        run.note(loss=loss)
        with torch.no_grad():
            dictionary.copy_(F.normalize(dictionary, dim=1))
    return dictionary.detach()


def prepare(latents: torch.Tensor, labels: torch.Tensor, atoms: torch.Tensor) -> Editing:
    """Return what edits are drawn from: the codes of seen latents (N, G, d), by the atoms' pseudo-inverse.

    Source: Ding et al. 2023 (SAGE), equation 18.
    """
    means = class_means(latents, labels)
    codes = torch.einsum("gld,ngd->ngl", torch.linalg.pinv(atoms), latents - means[labels])
    return Editing(atoms, codes, labels, means)


def nearest(means: torch.Tensor, embedding: torch.Tensor, t_C: int, *, farthest: bool = False) -> torch.Tensor:
    """Return the t_C seen classes (S, G, d) nearest to an embedding (G, d), by the sum over groups of distances.

    Raises:
        ValueError: a number of classes that is not 1 .. S.
    """
    if not 1 <= t_C <= len(means):
        raise ValueError(f"t_C is {t_C}; allowed are 1 .. {len(means)}, the number of seen classes")
    distance = (means - embedding).norm(dim=2).sum(1)
    return distance.argsort(stable=True, descending=farthest)[:t_C].sort().values


def strongest(editing: Editing, classes: torch.Tensor, t_A: int) -> torch.Tensor:
    """Return the t_A atoms of each group that some classes' images use most, int64 (G, t_A); each class counts once.

    Raises:
        ValueError: a number of atoms that is not 1 .. l.

    Source: Ding et al. 2023 (SAGE), equation 19.
    """
    if not 1 <= t_A <= editing.atoms.shape[2]:
        raise ValueError(f"t_A is {t_A}; allowed are 1 .. {editing.atoms.shape[2]}, the number of atoms")
    use = torch.stack([editing.codes[editing.labels == c].abs().mean(0) for c in classes.tolist()]).mean(0)
    return use.argsort(dim=1, descending=True, stable=True)[:, :t_A].sort(1).values


def draw_codes(codes: torch.Tensor, n: int, rng: torch.Generator, *, covariance: str = "full") -> torch.Tensor:
    """Return n draws (n, G, t) of the normal distribution of codes (N, G, t); groups are independent of each other.

    Args:
        covariance: of the codes of a group, ``full`` or ``diagonal``; a singular one is drawn by its eigenvectors.

    Source: Ding et al. 2023 (SAGE), equation 20.
    """
    if covariance not in {"full", "diagonal"}:
        raise ValueError(f"covariance is {covariance!r}; allowed are full, diagonal")
    mean, noise = codes.mean(0), torch.randn(n, *codes.shape[1:], generator=rng)
    if covariance == "diagonal":
        return mean + noise * codes.std(0)
    spread = torch.einsum("ngt,ngs->gts", codes - mean, codes - mean) / (len(codes) - 1)
    values, vectors = torch.linalg.eigh(spread)
    return mean + torch.einsum("gts,ngs->ngt", vectors * values.clamp(min=0).sqrt()[:, None], noise)


def edits(
    editing: Editing,
    embedding: torch.Tensor,
    n: int,
    rng: torch.Generator,
    *,
    t_C: int,
    t_A: int,
    farthest: bool = False,
    covariance: str = "full",
) -> torch.Tensor:
    """Return n offsets (n, G, d) for a class: the atoms that its nearest seen classes use, by codes like theirs.

    All seen classes and all atoms, t_C = S and t_A = l, are AGE's and SAGE-Q's.

    Raises:
        ValueError: as ``nearest`` and ``strongest``.
    """
    classes = nearest(editing.means, embedding, t_C, farthest=farthest)
    chosen = strongest(editing, classes, t_A)
    codes = editing.codes[torch.isin(editing.labels, classes)]
    codes = codes.gather(2, chosen.expand(len(codes), -1, -1))
    atoms = editing.atoms.gather(2, chosen[:, None].expand(-1, editing.atoms.shape[1], -1))
    return torch.einsum("gdt,ngt->ngd", atoms, draw_codes(codes, n, rng, covariance=covariance))


def shuffled(editing: Editing, rng: torch.Generator) -> Editing:
    """Return the control in which codes belong to other atoms than their own, by one permutation of all."""
    order = torch.randperm(editing.codes.shape[2], generator=rng)
    return editing._replace(codes=editing.codes[:, :, order])


def anywhere(editing: Editing, rng: torch.Generator) -> Editing:
    """Return the control whose atoms are as many random directions, with the codes as they are."""
    return editing._replace(atoms=F.normalize(torch.randn(editing.atoms.shape, generator=rng), dim=1))


def isotropic(drawn: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Return the control of edits (n, G, d): in random directions, of the same mean squared length in each group."""
    length = (drawn**2).sum(2).mean(0)
    return torch.randn(drawn.shape, generator=rng) * (length / drawn.shape[2]).sqrt()[:, None]
