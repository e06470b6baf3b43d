"""How sure a classifier is: its calibration on test images, and whether it is less sure of what is none of its classes.

Temperatures are found on training images outside the run's subset, never on test images.
"""

import math
from functools import lru_cache

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core import numbers, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, batched, resize, take
from sega_utils.evaluation import classified
from sega_utils.training import recipes

BINS = 15
MOST = 2000  # images to find a temperature on, and of each kind of outliers


def temperature_of(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature that makes logits (N, K) most likely, to be found on images that were not trained on.

    Where not one prediction is wrong they say nothing of it, and it stays 1.

    Source: Guo et al. 2017, section 4.2; found by golden section on its logarithm, where the loss has one minimum.
    """
    if bool((logits.argmax(1) == labels).all()):
        return 1.0
    loss = lambda log: float(F.cross_entropy(logits.double() / math.exp(log), labels))
    low, high, golden = -3.0, 3.0, (5**0.5 - 1) / 2
    for _ in range(40):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return math.exp((low + high) / 2)


def surplus(logits: torch.Tensor, labels: torch.Tensor, *, bins: int) -> list[torch.Tensor]:
    """Return by how much a classifier is surer than it is right, float64 (n,) with one value an image, bin by bin.

    Bins are of equal width over the highest probability; those without an image are left out.
    """
    sure, predicted = logits.double().softmax(1).max(1)
    place, over = (sure * bins).ceil().long().clamp(1, bins), sure - (predicted == labels).double()
    return [over[place == b] for b in place.unique()]


def expected_calibration_error(logits: torch.Tensor, labels: torch.Tensor, *, bins: int = BINS) -> float:
    """Return the mean gap between how sure and how right a classifier is, over equal bins, 0 .. 1; lower is better.

    Of few images it is too high: chance alone opens gaps, whose signs are lost.

    Source: Guo et al. 2017, equation 3.
    """
    return sum(float(part.sum().abs()) for part in surplus(logits, labels, bins=bins)) / len(labels)


def squared_calibration_error(logits: torch.Tensor, labels: torch.Tensor, *, bins: int = BINS) -> float:
    """Return the mean squared gap over equal bins without bias: of a calibrated classifier it is 0 on average.

    A bin's squared gap is the mean product over all pairs of different images in it, so that chance does not add up;
    a bin of one image has no pair and is left out. It can be below 0.

    Source: Kumar, Liang and Ma 2019, section 5, with the spread of the confidences inside a bin.
    """
    parts = [part for part in surplus(logits, labels, bins=bins) if len(part) > 1]
    products = [float((part.sum() ** 2 - part.square().sum()) / (len(part) - 1)) for part in parts]
    return sum(products) / max(sum(map(len, parts)), 1)


def brier(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean squared distance of the probabilities from the truth, 0 .. 2; lower is better.

    Source: Brier 1950, equation 2.
    """
    truth = F.one_hot(labels, logits.shape[1]).double()
    return float((logits.double().softmax(1) - truth).square().sum(1).mean())


def auroc(inside: torch.Tensor, outside: torch.Tensor) -> float:
    """Return how often a score inside (N,) is above one outside (M,), ties as halves; 0.5 is chance, 1 the best.

    Source: Hanley and McNeil 1982.
    """
    ordered = outside.sort().values.contiguous()
    below, upto = (torch.searchsorted(ordered, inside.contiguous(), right=right) for right in (False, True))
    return float((below + upto).double().mean() / 2 / len(outside))


def outliers(dataset: str, test: Dataset, *, seed: int) -> dict[str, torch.Tensor]:
    """Return images that are of none of a data set's classes: another set's test images, noise, inverted ones.

    The other set is the embedded one that shows something else: digits, or clothes beside digits. There are ``MOST`` of
    each kind at most, the inverted ones of every so many test images.
    """
    channels, side = test.images.shape[1:3]
    digits = "digit" in catalogue.about(dataset)[0]["domain"]
    other = spread(catalogue.load("fashion-mnist" if digits else "mnist-5000", "test"), MOST).images
    other = other.expand(-1, channels, -1, -1)
    noise = torch.rand(MOST, channels, side, side, generator=runtime.generator(seed))
    inverted = 1 - spread(test, MOST).images
    return {"other": other if side == other.shape[-1] else resize(other, side), "noise": noise, "inverted": inverted}


def spread(data: Dataset, most: int) -> Dataset:
    """Return images that are evenly spread over a data set, at most so many."""
    return take(data, torch.arange(0, len(data.labels), -(-len(data.labels) // most)))


@torch.no_grad()
def calibration(model: nn.Module, test: Dataset, validation: Dataset, outside: dict[str, torch.Tensor]) -> dict:
    """Return what a classifier in eval mode is worth beside its accuracy.

    Args:
        validation: images that it was not trained on, on which the temperature is found.
        outside: name to images that are of none of its classes.

    Returns:
        ``accuracy``, ``nll``, ``ece``, ``squared`` (see ``squared_calibration_error``), ``brier``; ``temperature``,
        ``nll_tempered``, ``ece_tempered``; and ``auroc_<name>`` by the highest probability (Hendrycks and Gimpel 2017).
    """
    logits, labels = batched(model, test.images), test.labels
    temperature = temperature_of(batched(model, validation.images), validation.labels)
    tempered = logits / temperature
    sure = lambda values: values.double().softmax(1).amax(1)
    found = {"accuracy": float((logits.argmax(1) == labels).double().mean())}
    found |= {"nll": float(F.cross_entropy(logits.double(), labels)), "brier": brier(logits, labels)}
    found |= {"ece": expected_calibration_error(logits, labels), "squared": squared_calibration_error(logits, labels)}
    found |= {"temperature": temperature, "nll_tempered": float(F.cross_entropy(tempered.double(), labels))}
    found |= {"ece_tempered": expected_calibration_error(tempered, labels)}
    inside = sure(logits)
    return found | {f"auroc_{name}": auroc(inside, sure(batched(model, x))) for name, x in outside.items()}


@lru_cache(maxsize=1)
def sets_of(run: str, dataset: str) -> tuple[Dataset, Dataset, dict[str, torch.Tensor], str]:
    """Return what ``calibration`` takes beside a run's classifier, and the digest of the run's training images.

    Raises:
        ValueError: the run took all training images, so that none is left to find a temperature on.
    """
    _, meta = catalogue.load_real(run, dataset)
    train, test = catalogue.load(dataset, "train"), catalogue.load(dataset, "test")
    _, rest = catalogue.subset(train, catalogue.counts(dataset, meta["fraction"], train.labels), meta["seed"])
    if not len(rest.labels):
        raise ValueError(
            f"run {run} trains on all images of {dataset}; a temperature needs others: take a FRACTION below 1"
        )
    return test, spread(rest, MOST), outliers(dataset, test, seed=0), meta["sha256"]


def measure_calibration(run: str, dataset: str, arm: str, seed: int) -> dict:
    """Return the record of how well a trained classifier is calibrated, made now or on disk.

    Raises:
        FileNotFoundError, ArtifactError, ValueError: as ``classified.evaluate`` and ``sets_of``.
    """
    test, validation, outside, real = sets_of(run, dataset)
    measure = lambda model: calibration(model, test, validation, outside) | {"n_test": len(test.labels)}
    parameters = {"bins": BINS, "n_validation": len(validation.labels), "most": MOST}
    return classified.evaluate(
        run, dataset, "calibration", arm, seed, measure=measure, parameters=parameters, inputs={"real": real}
    )


SHOWN = ("accuracy", "nll", "ece", "squared", "brier", "temperature", "nll_tempered", "ece_tempered")
SHOWN += ("auroc_other", "auroc_noise", "auroc_inverted")
BESIDE = ("ece", "nll", "ece_tempered", "auroc_other")  # what is compared with a baseline, paired by seed
CALIBRATION = ("arm", "n", *SHOWN, *(f"{name}_{part}" for name in BESIDE for part in ("diff", "low", "high")))


def calibration_rows(run: str, dataset: str, *, baseline: str = recipes.BASELINE) -> list[dict]:
    """Return a row (columns ``CALIBRATION``) for each arm with records: means over its ``n`` seeds.

    ``<metric>_diff`` is to the baseline, paired by seed, with its 95 % interval; empty where nothing can give it.

    Raises:
        ArtifactError: records of other classifiers than those on record, see ``classified.evaluated``.
    """
    found: dict[str, dict[int, dict]] = {}
    for record in classified.evaluated(run, dataset, "calibration"):
        found.setdefault(record["param_arm"], {})[record["param_seed"]] = record
    rows = []
    for arm in (arm for arm in recipes.ARMS if arm in found):
        row = {"arm": arm, "n": len(found[arm])}
        row |= {name: numbers.summary(r[name] for r in found[arm].values())["mean"] for name in SHOWN}
        theirs = found.get(baseline, {})
        if arm != baseline and len(theirs) > 1 and theirs.keys() == found[arm].keys():
            for name in BESIDE:
                of = lambda mine: {seed: r[name] for seed, r in mine.items()}
                paired = numbers.paired_difference(of(found[arm]), of(theirs))
                row |= dict(zip((f"{name}_diff", f"{name}_low", f"{name}_high"), paired.values(), strict=True))
        rows.append({column: row.get(column, "") for column in CALIBRATION})
    return rows


def beside_rows(table: list[dict]) -> list[dict]:
    """Return the differences in rows of ``calibration_rows`` as people read them, with their intervals."""
    parts = ("diff", "low", "high")
    differences = lambda row: {name: numbers.interval(*(row[f"{name}_{part}"] for part in parts)) for name in BESIDE}
    return [{"arm": row["arm"]} | differences(row) for row in table if row["ece_diff"] != ""]
