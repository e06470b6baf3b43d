"""Did the prompt move the image? Which attributes a prompt names, and how far the measured ones followed."""

import re

import torch

from sega_utils import attributes, metrics


def said(texts: list[str]) -> torch.Tensor:
    """Return which third of each attribute a text names, int64 (len(texts), 5): 0, 1, 2, or -1 if it names none."""
    found = torch.full((len(texts), len(attributes.WORDS)), -1)
    for row, text in zip(found, texts, strict=True):
        words = set(re.findall(r"[a-z]+", text.lower()))
        for a, names in enumerate(attributes.WORDS.values()):
            hits = [third for third, name in enumerate(names) if name in words]
            row[a] = hits[0] if len(hits) == 1 else -1
    return found


def effects(
    images: torch.Tensor, class_ids: torch.Tensor, claims: torch.Tensor, *, real: torch.Tensor, real_ids: torch.Tensor
) -> list[dict]:
    """Return, for each attribute, how far images move from its low word to its high word.

    Values are standardised with the mean and deviation of the class's real images, so that classes can be pooled.

    Args:
        images: float (N, C, S, S); class_ids: int64 (N,); claims: int64 (N, 5), each image's row of ``said``.
        real, real_ids: the training subset.

    Returns:
        Rows with ``attribute``, ``effect`` (Cohen's d, positive if the image follows the words), ``ci_low``,
        ``ci_high`` and ``n``; an attribute named fewer than twice at either end has no row.
    """
    values, reference = attributes.measure(images.cpu()), attributes.measure(real.cpu())
    for c in class_ids.unique():
        centre, spread = reference[real_ids == c].mean(0), reference[real_ids == c].std(0).clamp(min=1e-6)
        values[class_ids == c] = (values[class_ids == c] - centre) / spread
    rows = []
    for a, name in enumerate(attributes.WORDS):
        low, high = values[claims[:, a] == 0, a], values[claims[:, a] == 2, a]
        if min(len(low), len(high)) >= 2:
            rows.append({"attribute": name} | metrics.effect_size(low, high))
    return rows
