"""Does a prompt's set of kept images show what the prompt asks for, beside real images of its class?"""

from collections.abc import Sequence

import torch

from sega_utils.data.images import Dataset, from_uint8
from sega_utils.text import attributes

FEWEST = 4  # kept images from which a mean says something of a prompt


def followed(pool: dict[str, torch.Tensor], rows: Sequence[dict[str, str]], real: Dataset) -> list[dict]:
    """Return a row for each word for a low or a high end of an attribute that a prompt names, best obeyed first.

    Args:
        pool: ``images`` uint8 (N, C, S, S) and ``prompt_ids`` int64 (N,), the candidates.
        rows: the provenance table, one row a candidate, with ``class``, ``prompt`` and ``reason``.
        real: the run's real images.

    Returns:
        Rows with ``prompt_id``, ``class``, ``attribute``, ``word``, the means ``kept`` (of the prompt's kept images)
        and ``real`` (of real images of the class), and ``effect``: how far the first lies from the second toward the
        word, in standard deviations of these real images; below zero, the images show the opposite. A prompt of which
        fewer than ``FEWEST`` images were kept has no row.

    Raises:
        ValueError: not one row a candidate.
    """
    if len(rows) != len(pool["images"]):
        raise ValueError(
            f"the provenance table has {len(rows)} rows for {len(pool['images'])} candidates; "
            "take both from the same run of 04_synthesis"
        )
    values, usual = attributes.measure(from_uint8(pool["images"].cpu())), attributes.measure(real.images.cpu())
    groups: dict[int, list[int]] = {}
    for i, (prompt, row) in enumerate(zip(pool["prompt_ids"].tolist(), rows, strict=True)):
        if not row["reason"]:
            groups.setdefault(prompt, []).append(i)
    found = []
    for prompt, mine in sorted(groups.items()):
        text, name = rows[mine[0]]["prompt"], rows[mine[0]]["class"]
        theirs = usual[real.labels.cpu() == real.class_names.index(name)]
        for a, (attribute, third) in enumerate(zip(attributes.WORDS, attributes.said([text])[0].tolist(), strict=True)):
            if third in {0, 2} and len(mine) >= FEWEST:
                kept, centre, spread = (float(x) for x in (values[mine, a].mean(), *_spread(theirs[:, a])))
                row = {"prompt_id": prompt, "class": name, "attribute": attribute}
                row |= {"word": attributes.WORDS[attribute][third], "kept": kept, "real": centre}
                found.append(row | {"effect": (kept - centre) / spread * (1 if third else -1)})
    return sorted(found, key=lambda row: -row["effect"])


def lost(claims: torch.Tensor, reasons: Sequence[str], reason: str) -> list[dict]:
    """Return a row for each word that prompts name: how many of its candidates one filter was the first to reject.

    A filter that takes no side rejects the same share of what opposite words have drawn.

    Args:
        claims: int64 (N, 5), each candidate's row of ``attributes.said``; reasons: of the same, empty for one kept.
        reason: a filter's name.

    Returns:
        Rows with ``attribute``, ``word``, ``candidates`` and ``rejected``, the share in percent.
    """
    hit, rows = torch.tensor([found == reason for found in reasons]), []
    for a, (attribute, words) in enumerate(attributes.WORDS.items()):
        for third, word in enumerate(words):
            mine = claims[:, a].cpu() == third
            if word and mine.any():
                row = {"attribute": attribute, "word": word, "candidates": int(mine.sum())}
                rows.append(row | {"rejected": 100 * float(hit[mine].double().mean())})
    return rows


def _spread(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return values.mean(), values.std().clamp(min=1e-6)
