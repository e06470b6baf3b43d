"""FLARE's pool: versions of real images and of drawn ones, a share of the kinds of each, with the source of every row.

It is made of training images alone, after the split, so that no version of a test image can come into it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from sega_utils.data.images import Dataset, check_images


class Pool(NamedTuple):
    """Images float32 (M, C, S, S) in [0, 1] and labels int64 (M,); of every row the kind, and the source, int64 (M,).

    A source is the place of a real training image: the one that a row is a version of, or in whose place it was drawn.
    """

    images: torch.Tensor
    labels: torch.Tensor
    kinds: tuple[str, ...]
    sources: torch.Tensor


def transforms(side: int) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """Return what makes each kind of version of one image (C, S, S), in FLARE's order; torchvision's.

    Hue and saturation do nothing to an image of one channel.

    Source: Alam et al. 2024, section 3.2, with the strengths of their code.
    """
    from torchvision.transforms import v2  # torchvision takes seconds to import

    mirror = v2.RandomHorizontalFlip(1.0)
    return {
        "original": lambda image: image,
        "flip": mirror,
        "jitter": v2.ColorJitter(0.6, 0.4, 0.3, 0.2),
        "flip + jitter": v2.Compose([mirror, v2.ColorJitter(0.2, 0.7, 0.5, 0.5)]),
        "crop": v2.RandomResizedCrop(side, scale=(0.75, 0.9), antialias=True),
        "perspective": v2.RandomPerspective(0.2, p=0.5),
    }


def kinds_of(mirrors: bool) -> tuple[str, ...]:
    """Return the kinds of versions of real images, the original first; four where a mirrored image is another one."""
    return tuple(kind for kind in transforms(32) if mirrors or "flip" not in kind)


def anew(images: torch.Tensor, *, mirrors: bool) -> torch.Tensor:
    """Return each image (N, C, S, S) as a version whose kind is drawn for it; the randomness is torch's own."""
    kinds, table = kinds_of(mirrors), transforms(images.shape[-1])
    drawn = torch.randint(len(kinds), (len(images),)).tolist()
    return torch.stack([table[kinds[k]](image) for k, image in zip(drawn, images, strict=True)]).clamp(0, 1)


def augmented(real: Dataset, images: torch.Tensor, *, seed: int) -> Pool:
    """Return all versions of each of a training set's images, or of what became of these, kind by kind.

    Args:
        real: gives labels, and whether an image may be mirrored. images: float32 (N, C, S, S), restored or ``real``'s.

    Raises:
        ValueError: as many images as ``real`` has not, or none.

    Source: Alam et al. 2024, equation 4.
    """
    check_rows(real, images)
    table, parts = transforms(images.shape[-1]), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for kind in kinds_of(real.mirrors):
            parts.append((kind, torch.stack([table[kind](image) for image in images]).clamp(0, 1)))
    return stacked(real, parts)


def synthetic(real: Dataset, drawn: torch.Tensor) -> Pool:
    """Return drawn images as a pool.

    Args:
        drawn: float32 (K, N, C, S, S): first an image for each label of ``real``, then its K - 1 variations.

    Raises:
        ValueError: not as many images as ``real`` has, or none at all.

    Source: Alam et al. 2024, equations 5 and 6.
    """
    if drawn.ndim != 5 or not len(drawn):
        raise ValueError(f"drawn is {tuple(drawn.shape)}; it must be (K, N, C, S, S) with at least one kind")
    for images in drawn:
        check_rows(real, images)
    return stacked(real, [(f"v{k}" if k else "t2i", images) for k, images in enumerate(drawn)])


def stacked(real: Dataset, parts: list[tuple[str, torch.Tensor]]) -> Pool:
    """Return a pool of kinds, each with an image for every one of ``real``."""
    n, times = len(real.labels), len(parts)
    kinds = tuple(kind for kind, _ in parts for _ in range(n))
    images = torch.cat([images for _, images in parts])
    return Pool(images, real.labels.repeat(times), kinds, torch.arange(n).repeat(times))


def count_of(share: float, kinds: int, name: str = "share") -> int:
    """Return how many of so many kinds a share is, rounded half up.

    Raises:
        ValueError: as ``share_of``.
    """
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise ValueError(f"{name} is {share!r}; allowed are 0 .. 1, 0 excluded: leave the part away instead")
    if not kinds:
        raise ValueError(f"{name} is of a pool without a row; give it at least one kind")
    if not (count := int(share * kinds + 0.5)):
        raise ValueError(f"{name} {share} of {kinds} kinds is less than one; allowed are {0.5 / kinds:g} .. 1")
    return count


def share_of(pool: Pool, share: float, name: str = "share") -> Pool:
    """Return the first kinds of a pool, a share of all that it has, rounded half up.

    Raises:
        ValueError: a share outside 0 .. 1, 0 excluded, or of less than one kind.

    Source: Alam et al. 2024, equation 7, which names no score that orders images; ``highest`` is the control.
    """
    kinds = list(dict.fromkeys(pool.kinds))
    chosen = set(kinds[: count_of(share, len(kinds), name)])
    return take(pool, torch.tensor([kind in chosen for kind in pool.kinds]))


def highest(pool: Pool, share: float, score: torch.Tensor, name: str = "share") -> Pool:
    """Return the rows of a pool with the highest score in their class, as many of each class as ``share_of`` keeps.

    Args:
        score: float (M,), finite; of equal ones the first rows are kept.

    Raises:
        ValueError: a share that ``share_of`` refuses, or scores that are not finite or of another length.
    """
    if score.shape != pool.labels.shape or not score.isfinite().all():
        raise ValueError(f"score must be finite and ({len(pool.labels)},); received {tuple(score.shape)}")
    counts = share_of(pool, share, name).labels.bincount(minlength=int(pool.labels.max()) + 1)
    mask = torch.zeros_like(pool.labels, dtype=torch.bool)
    for label, count in enumerate(counts.tolist()):
        mine = torch.nonzero(pool.labels == label)[:, 0]
        mask[mine[score[mine].argsort(descending=True, stable=True)[:count]]] = True
    return take(pool, mask)


def mix(real: Dataset, restored: Pool, drawn: Pool, *, alpha: float, beta: float) -> Pool:
    """Return FLARE's training set: a share of the kinds of real versions, and a share of those of drawn ones.

    Args:
        real: the training images, whose places are the sources. restored: of ``augmented``; drawn: of ``synthetic``.
        alpha, beta: shares of the kinds, 0 .. 1, 0 excluded; the paper's are 0.5 and 1.

    Raises:
        ValueError: a share that is not allowed, an empty part, rows whose labels are not those of their sources, images
            of two shapes, or one part in the place of the other.

    Source: Alam et al. 2024, equations 7 and 8.
    """
    for name, part in (("restored", restored), ("drawn", drawn)):
        check_pool(real, part, name)
    shapes, both = [tuple(part.images.shape[1:]) for part in (restored, drawn)], set(restored.kinds) & set(drawn.kinds)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"restored images are {shapes[0]}, drawn ones {shapes[1]}: channels, rows, columns; bring one back"
        )
    if both or "t2i" in restored.kinds:
        raise ValueError(
            f"restored has kinds {sorted(set(restored.kinds))}, drawn {sorted(set(drawn.kinds))}; swap them?"
        )
    parts = share_of(restored, alpha, "alpha"), share_of(drawn, beta, "beta")
    return together(*parts)


def together(*pools: Pool) -> Pool:
    """Return the rows of several pools, one pool after the other."""
    images, labels, kinds, sources = zip(*pools, strict=True)
    return Pool(torch.cat(images), torch.cat(labels), sum(kinds, ()), torch.cat(sources))


def take(pool: Pool, mask: torch.Tensor) -> Pool:
    """Return the rows of a pool at a mask, bool (M,)."""
    kinds = tuple(kind for kind, kept in zip(pool.kinds, mask.tolist(), strict=True) if kept)
    return Pool(pool.images[mask], pool.labels[mask], kinds, pool.sources[mask])


def check_rows(real: Dataset, images: torch.Tensor) -> None:
    """Refuse images that do not stand for the real ones, one each.

    Raises:
        ValueError: there are none, more or fewer, or they are no images.
    """
    check_images(images)
    if not len(images) or len(images) != len(real.labels):
        raise ValueError(f"received {len(images)} images for {len(real.labels)} real ones; give one for each, in order")


def check_pool(real: Dataset, pool: Pool, name: str) -> None:
    """Refuse a pool without rows, or with rows that do not come from the real images.

    Raises:
        ValueError: the message names the part.
    """
    n, sources = len(real.labels), pool.sources
    rows = [len(part) for part in pool]
    if len(set(rows)) > 1:
        raise ValueError(f"{name} has images, labels, kinds and sources of {rows} rows; they must be as many")
    if not len(sources):
        raise ValueError(f"{name} has no rows; give at least one kind, or train on the other part alone")
    check_images(pool.images, f"images of {name}")
    if not 0 <= int(sources.min()) <= int(sources.max()) < n:
        raise ValueError(f"{name} has sources {int(sources.min())} .. {int(sources.max())}; there are {n} real images")
    if not torch.equal(real.labels[sources], pool.labels):
        raise ValueError(f"{name} has labels other than those of its sources; make it of these real images")
