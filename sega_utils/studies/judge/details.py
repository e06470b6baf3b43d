"""What stands below the verdict: classes, confusions, mistakes, suspicious labels, calibration, more photographs."""

import math

import numpy as np
import torch
from torch.nn import functional as F

from sega_utils.evaluation.calibration import expected_calibration_error

BINS = 10  # of the error of calibration


def calibration_rows(arms: dict[str, tuple[torch.Tensor, torch.Tensor, float]]) -> list[dict]:
    """Return a row for each arm: error of calibration and mean negative log-likelihood on test images.

    Args:
        arms: name to logits (N, K), labels (N,), and the temperature found out of fold.
    """
    rows = []
    for arm, (logits, labels, temperature) in arms.items():
        for name, value in (("1", logits), (f"{temperature:.2f}", logits / temperature)):
            ece, nll = expected_calibration_error(value, labels, bins=BINS), float(F.cross_entropy(value, labels))
            rows.append({"arm": arm, "temperature": name, "ECE": ece, "NLL": nll})
    return rows


def class_rows(
    hits: dict[str, torch.Tensor], labels: torch.Tensor, trained: torch.Tensor, names: tuple[str, ...]
) -> list[dict]:
    """Return a row for each class: images trained on and tested, and each arm's accuracy in percent.

    Args:
        hits: arm to bool (S, N_test); labels: int64 (N_test,); trained: int64 (N_train,), labels of training images.
    """
    counts, train = labels.bincount(minlength=len(names)), trained.bincount(minlength=len(names))
    return [
        {"class": name, "trained on": int(train[c]), "tested": int(counts[c])}
        | {arm: 100 * float(own[:, labels == c].double().mean()) for arm, own in hits.items()}
        for c, name in enumerate(names)
    ]


def confusion_rows(logits: torch.Tensor, labels: torch.Tensor, names: tuple[str, ...], *, most: int = 10) -> list[dict]:
    """Return the most frequent confusions on test images, the mean over the seeds.

    Args:
        logits: (S, N, K); labels: int64 (N,).
    """
    k = len(names)
    pairs = (labels * k + logits.argmax(2)).flatten().bincount(minlength=k * k).view(k, k) / len(logits)
    pairs.fill_diagonal_(0)
    worst = pairs.flatten().argsort(descending=True)[:most].tolist()
    total = labels.bincount(minlength=k)
    return [
        {
            "class": names[p // k],
            "taken for": names[p % k],
            "images": float(pairs[p // k, p % k]),
            "of": int(total[p // k]),
        }
        for p in worst
        if pairs[p // k, p % k] > 0
    ]


def mistake_rows(logits: torch.Tensor, labels: torch.Tensor, names: tuple[str, ...], *, most: int = 12) -> list[dict]:
    """Return the surest mistakes on test images: ``image`` is the place among them.

    Args:
        logits: (S, N, K) of an arm's seeds, whose probabilities are averaged.
    """
    chance = logits.softmax(2).mean(0)
    sure, predicted = chance.max(1)
    wrong = (predicted != labels).nonzero()[:, 0]
    return [
        {"image": i, "class": names[labels[i]], "taken for": names[predicted[i]], "probability": float(sure[i])}
        for i in wrong[sure[wrong].argsort(descending=True)][:most].tolist()
    ]


def suspicious_rows(logits: torch.Tensor, labels: torch.Tensor, names: tuple[str, ...]) -> list[dict]:
    """Return training images whose label is probably wrong, the surest first: ``image`` is the place among them.

    An image is one if some other class is at least as probable as that class usually is for images of its own label,
    and more so than any other class of which this is true.

    Args:
        logits: (N, K) out of fold.

    Source: Northcutt, Jiang and Chuang 2021, confident learning, equation 1; ranked by the margin.
    """
    chance = logits.softmax(1)
    own = chance[torch.arange(len(labels)), labels]
    usual = torch.stack(
        [own[labels == c].mean() if (labels == c).any() else own.new_tensor(2) for c in range(len(names))]
    )
    likely = torch.where(chance >= usual, chance, chance.new_zeros(()))
    best, probably = likely.max(1)
    found = ((best > 0) & (probably != labels)).nonzero()[:, 0]
    order = found[(best - own)[found].argsort(descending=True)].tolist()
    return [
        {"image": i, "label": names[labels[i]], "probably": names[probably[i]], "margin": float((best - own)[i])}
        for i in order
    ]


def more_images(points: list[tuple[float, float]], extra: int = 20) -> dict[str, float]:
    """Return what a line through accuracy over the logarithm of the images a class says of ``extra`` more a class.

    Args:
        points: images a class and accuracy in percent, at least two different numbers of images.

    Returns:
        ``now``, ``then`` (images a class) and ``gain`` in points; an extrapolation, no measurement.
    """
    n, accuracy = np.array(points).T
    slope = float(np.polyfit(np.log(n), accuracy, 1)[0])
    return {"now": float(n.max()), "then": float(n.max() + extra), "gain": slope * math.log(1 + extra / n.max())}
