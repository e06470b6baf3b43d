"""What makes a synthetic image worth keeping: it shows its class, is sharp, and copies neither another nor a real one.

Scores map images (N, C, S, S), see ``images.check_images``, to (N,); ``apply_filters`` turns them into a keep mask
and a reason a rejection.
"""

from collections.abc import Iterable

import torch

from sega_utils.data.images import batched, check_images
from sega_utils.filters import kernels
from sega_utils.filters.duplicates import better_copies, near_duplicates
from sega_utils.filters.hashes import pack
from sega_utils.filters.kernels import blur_score, phash

# In the order they are applied; an image's reason is the first that rejects it.
FILTERS = (
    "alignment",  # the own class's score is below the class's threshold
    "class",  # another class scores higher
    "blur",  # the sharpness is below the class's threshold
    "real_duplicate",  # a near-duplicate of a training image
    "duplicate",  # a near-duplicate of a better-scored one, among those that pass all others
)


@torch.no_grad()
def class_scores(images: torch.Tensor, *, clip, class_embeddings: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each image's embedding with each class's.

    Args:
        images: float32 (N, C, S, S) in [0, 1], see ``images.check_images``.
        clip: has ``encode_images(images) -> (N, d)``, L2-normalised, e.g. ``text.clip.Clip``.
        class_embeddings: (n_classes, d), L2-normalised.

    Returns:
        float32 (N, n_classes) in [-1, 1] on the images' device; higher means closer.

    Raises:
        ValueError: not such images, or embeddings that are not (n_classes, d).
    """
    check_images(images)
    if class_embeddings.ndim != 2:
        raise ValueError(f"class_embeddings must be (n_classes, d); received {tuple(class_embeddings.shape)}")

    def cosine(part):
        embedded = clip.encode_images(part)
        return (embedded @ class_embeddings.to(embedded).T).to(images)

    return batched(cosine, images, size=500)


def clip_score(images: torch.Tensor, class_ids: torch.Tensor, *, clip, class_embeddings: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each image's embedding with that of its own class.

    Args:
        class_ids: int64 (N,), rows of ``class_embeddings``; the rest as for ``class_scores``.

    Returns:
        float32 (N,) in [-1, 1]; higher is better aligned.

    Raises:
        ValueError: as ``class_scores``, or class ids of another type, length or range.
    """
    _check_ids(class_ids, len(images), len(class_embeddings))
    scores = class_scores(images, clip=clip, class_embeddings=class_embeddings)
    return scores.gather(1, class_ids[:, None].to(scores.device))[:, 0]


def calibrate(scores: torch.Tensor, class_ids: torch.Tensor, *, n_classes: int, percentile: float) -> torch.Tensor:
    """Return a threshold for each class: a percentile of the scores of its real images.

    Args:
        scores: (N,), finite, of real images.
        class_ids: int64 (N,), 0 .. n_classes - 1.
        percentile: 0 .. 100; the share of real images, in percent, that the threshold would reject.

    Returns:
        (n_classes,), of the scores' type and device, interpolated as ``numpy.percentile`` does.

    Raises:
        ValueError: a percentile outside its range, a score that is not finite, or a class without a real image.
    """
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile is {percentile!r}; allowed are 0 .. 100")
    if scores.ndim != 1 or not scores.isfinite().all():
        raise ValueError(f"scores must be finite and (N,); received {tuple(scores.shape)}: look for NaN")
    _check_ids(class_ids, len(scores), n_classes)
    empty = (torch.bincount(class_ids, minlength=n_classes) == 0).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"no real image of class {empty}: thresholds need at least one of each; enlarge the real set")
    return torch.stack([scores[class_ids == c].quantile(percentile / 100) for c in range(n_classes)])


def apply_filters(
    images: torch.Tensor,
    class_ids: torch.Tensor,
    *,
    class_scores: torch.Tensor,
    alignment_threshold: torch.Tensor,
    blur_threshold: torch.Tensor,
    real_images: torch.Tensor,
    max_distance: int,
    min_ssim: float,
    use: Iterable[str] = FILTERS,
) -> tuple[torch.Tensor, dict[str, list]]:
    """Decide which candidates to keep, and why not the others.

    Args:
        images: float32 (N, C, S, S) in [0, 1]. class_ids: int64 (N,), the class each was drawn for.
        class_scores: (N, n_classes). alignment_threshold, blur_threshold: (n_classes,), from ``calibrate``.
        real_images: float32 (M, C, S, S), the training images.
        max_distance, min_ssim: as for ``near_duplicates``. use: names out of ``FILTERS``.

    Returns:
        The keep mask, bool (N,), and a table of columns of length N: clip_score, best_class, blur_score,
        real_duplicate_of and duplicate_of (an index or -1; only if that filter is used), kept, reason ("" if kept).

    Raises:
        ValueError: an unknown filter, or arguments whose shapes, types or ranges do not fit.

    Source: poster, "Security-Aware Semantic Filtering".
    """
    thresholds = {"alignment_threshold": alignment_threshold, "blur_threshold": blur_threshold}
    _check_inputs(images, class_ids, class_scores, thresholds, use := set(use))
    limits = {"max_distance": max_distance, "min_ssim": min_ssim}
    class_ids, class_scores = class_ids.to(images.device), class_scores.to(images.device)
    own, blur = class_scores.gather(1, class_ids[:, None])[:, 0], blur_score(images)
    table = {"clip_score": own, "best_class": class_scores.argmax(1), "blur_score": blur}
    why = torch.full_like(class_ids, -1)
    copies = lambda column, found: table.setdefault(column, found) >= 0
    rejects = {
        "alignment": lambda: own < alignment_threshold.to(own)[class_ids],
        "class": lambda: own < class_scores.amax(1),
        "blur": lambda: blur < blur_threshold.to(blur)[class_ids],
        "real_duplicate": lambda: copies("real_duplicate_of", _real_copy(images, real_images, limits)),
        "duplicate": lambda: copies("duplicate_of", _better_copy(images, own, why < 0, **limits)),
    }
    for index, name in enumerate(FILTERS):
        if name in use:
            why[(why < 0) & rejects[name]()] = index
    table["kept"], reasons = why < 0, (*FILTERS, "")  # of index -1, none
    columns = {column: value.tolist() for column, value in table.items()}
    return table["kept"], columns | {"reason": [reasons[index] for index in why.tolist()]}


def _real_copy(images: torch.Tensor, real_images: torch.Tensor, limits: dict) -> torch.Tensor:
    """Return which training image each candidate nearly is, the first of several, or -1; int64 (N,)."""
    pairs = near_duplicates(images, against=real_images, **limits)
    none = torch.full((len(images),), -1, device=images.device)
    return none.scatter_reduce_(0, *pairs.T, "amin", include_self=False)


def at_random(kept: torch.Tensor, groups: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Return a mask that keeps as many of each group as ``kept`` does, drawn at random: a filter's control.

    Args:
        kept: bool (N,). groups: int64 (N,), e.g. classes.

    Returns:
        bool (N,).
    """
    rng, mask = torch.Generator().manual_seed(seed), kept.clone()
    for group in groups.unique():
        mine = torch.nonzero(groups == group)[:, 0]
        mask[mine] = kept[mine[torch.randperm(len(mine), generator=rng)]]
    return mask


def _check_inputs(
    images: torch.Tensor, class_ids: torch.Tensor, class_scores: torch.Tensor, thresholds: dict, use: set[str]
) -> None:
    """Raise ValueError if ``apply_filters`` cannot work with these."""
    if not use <= set(FILTERS):
        raise ValueError(f"unknown filter {sorted(use - set(FILTERS))}; allowed are {', '.join(FILTERS)}")
    check_images(images)
    if class_scores.ndim != 2 or len(class_scores) != len(images) or not class_scores.isfinite().all():
        raise ValueError(
            f"class_scores must be finite and ({len(images)}, n_classes); "
            f"received {tuple(class_scores.shape)}: look for NaN"
        )
    n_classes = class_scores.shape[1]
    _check_ids(class_ids, len(images), n_classes)
    for name, value in thresholds.items():
        if value.shape != (n_classes,):
            raise ValueError(f"{name} must be ({n_classes},), one a class; received {tuple(value.shape)}")


def _better_copy(
    images: torch.Tensor, scores: torch.Tensor, among: torch.Tensor, *, max_distance: int, min_ssim: float
) -> torch.Tensor:
    """Return, for each image, the index of the better-scored and kept one that it copies, or -1; int64 (N,)."""
    rows = among.nonzero()[:, 0]
    copied = better_copies(
        pack(phash(images[rows])),
        scores[rows],
        lambda some: images[rows[some]],
        max_distance=max_distance,
        min_ssim=min_ssim,
    )
    result = torch.full((len(images),), -1, dtype=torch.int64, device=images.device)
    result[rows] = torch.where(copied < 0, -1, rows[copied])
    return result


def _check_ids(class_ids: torch.Tensor, n: int, n_classes: int) -> None:
    """Refuse class ids that are not int64 (n,) in 0 .. n_classes - 1."""
    if class_ids.dtype != torch.int64 or class_ids.shape != (n,):
        raise ValueError(f"class_ids must be int64 ({n},); received {class_ids.dtype} {tuple(class_ids.shape)}")
    if n and not (class_ids.min() >= 0 and class_ids.max() < n_classes):
        raise ValueError(
            f"class_ids must be in 0 .. {n_classes - 1}; received {int(class_ids.min())} .. {int(class_ids.max())}"
        )


def thresholds(inputs: dict, recipe: dict) -> dict[str, torch.Tensor]:
    """Return ``alignment_threshold`` and ``blur_threshold``, (n_classes,), calibrated as in 04_synthesis."""
    real, labels, class_names, _ = inputs["real"]
    aligned = clip_score(real, labels, clip=inputs["clip"], class_embeddings=inputs["class_embeddings"])
    scores = {"alignment": aligned, "blur": kernels.blur_score(real)}
    return {
        f"{name}_threshold": calibrate(
            score, labels, n_classes=len(class_names), percentile=recipe[f"{name}_percentile"]
        )
        for name, score in scores.items()
    }
