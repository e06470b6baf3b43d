"""Instruments that know other photographs, beside the run's own: the gate once more, and twins that look different.

They refuse nothing and leave nothing out: what they decided would be no answer without outside images.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial

import numpy as np
import torch
from torch.nn import functional as F

from sega_utils.core import artifacts, records
from sega_utils.data import outside
from sega_utils.data.images import Dataset, from_uint8, take
from sega_utils.studies.judge import (
    arms as judge_arms,
    folder as judge_folder,
    gate as judge_gate,
    outside as judge_outside,
    tuned as judge_tuned,
)
from sega_utils.studies.judge.arms import STAGE, Plan
from sega_utils.training.recipes import slug

TWINS = ("a", "b", "distance", "classes")
MIRRORED = 64  # pictures that tell how far one is from its mirror image
MOST = 200  # pairs that are listed


def gates(run: str, dataset: str, plan: Plan) -> dict[str, dict]:
    """Put each augmenter's first pool to the gate in the backbone's features, and return the records by augmenter.

    As many drawn images as there are real ones to compare with, and all at the judge's side: none looks different for
    its size alone.

    Raises:
        ValueError, ArtifactError: as ``outside.load``.
    """
    folder, known = (
        judge_folder.place(run, dataset),
        outside.load(plan.backbone, side=judge_tuned.side_of(plan.backbone)),
    )
    judged, part = judge_folder.load(folder), "r0f0"
    seen, held = (take(judged.data, index) for index in judge_arms.part_of(judged, part))
    real = {"network": known.sha256} | {"seen": judge_arms.digest_of(seen), "held_out": judge_arms.digest_of(held)}
    look = lru_cache(lambda: looking(known, seen, balanced=plan.balanced))  # made for the first pool, if there is one

    def measure(pool: dict[str, torch.Tensor]) -> dict:
        n = len(seen.labels)
        drawn = from_uint8(pool["images"][:n]), pool["class_ids"][:n]
        found = judge_gate.at_the_gate(look(), seen, held, *drawn)
        return found | {"passed": int(found["passed"]), "copies": float((pool["nearest"][:n] >= 0).double().mean())}

    made = {}
    for name in plan.augmenters:
        pool, meta = artifacts.load_tensors(judge_arms.pool_file(folder, name, part, 0))
        made[name] = records.once(
            run,
            dataset,
            STAGE,
            f"gate-{slug(plan.backbone)}-{slug(name)}",
            parameters={"augmenter": name, "backbone": plan.backbone, "side": known.side, "balanced": plan.balanced},
            inputs=real | {"pool": meta["sha256"]},
            measure=lambda pool=pool: measure(pool),
        )
    return made


def looking(known: outside.Outside, seen: Dataset, *, balanced: bool) -> Callable:
    """Return what maps images to a backbone's features and to the logits of a layer fitted to those of real images."""
    features = lru_cache(partial(outside.features, known))
    weight, bias = judge_tuned.first_layer(features(seen.images), seen.labels, balanced=balanced)
    return lambda images: (features(images), features(images) @ weight.T + bias)


def twins(run: str, dataset: str, plan: Plan, pictures: judge_folder.Pictures) -> list[dict]:
    """Return rows (``TWINS``) of pictures that may be one, nearest first: mirrored, moved or recoloured, say.

    A pair is one if it is nearer, in the direction of its features, than a picture usually is to its mirror image;
    ``distance`` is in units of that.

    Raises:
        ValueError, ArtifactError: as ``outside.load``.
    """
    folder, known = judge_folder.place(run, dataset), outside.load(plan.backbone)
    points = F.normalize(judge_outside.features_of(folder, pictures, known), dim=1)
    some = np.linspace(0, len(points) - 1, min(MIRRORED, len(points))).astype(int)
    images = from_uint8(torch.from_numpy(np.stack(list(judge_outside.read_all(pictures, some, known.side)))))
    mirrored = F.normalize(outside.features(known, images.flip(3)), dim=1)
    usual = float((points[some] - mirrored).norm(dim=1).median())
    found = [(apart, i, j) for i, j, apart in near(points, usual)]
    name = lambda i: pictures.files[i].relative_to(pictures.root).as_posix()
    classes = lambda *pair: " / ".join(dict.fromkeys(pictures.names[pictures.labels[i]] for i in pair))
    rows = [(name(i), name(j), apart / usual, classes(i, j)) for apart, i, j in sorted(found)[:MOST]]
    return [dict(zip(TWINS, row, strict=True)) for row in rows]


def near(points: torch.Tensor, limit: float) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs i < j of points (N, d) that are nearer than a limit, with the distance; some rows at a time."""
    for start in range(0, len(points), 500):
        apart = torch.cdist(points[start : start + 500], points)
        for i, j in (apart < limit).nonzero().tolist():
            if start + i < j:
                yield start + i, j, float(apart[i, j])
