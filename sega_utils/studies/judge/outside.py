"""The judge's arms with outside knowledge: logistic regression on frozen features, alone and with synthetic images."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from sega_utils.core import artifacts, records
from sega_utils.data import decoding, folders, outside
from sega_utils.data.images import from_uint8
from sega_utils.studies.judge import arms as judge_arms, folder as judge_folder, verdict as numbers
from sega_utils.studies.judge.arms import STAGE, Plan
from sega_utils.text import clip, outside_clip
from sega_utils.training.recipes import slug

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # C of scikit-learn: smaller is smoother
SYNTHETIC = 0.3  # what synthetic images weigh together, of all


class Linear:
    """Logistic regression on standardised features, with its strength."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, weights: np.ndarray, strength: float):
        from sklearn.linear_model import LogisticRegression  # takes seconds to import

        self.strength, self.mean = strength, features.mean(0)
        self.scale = features.std(0) + 1e-6
        model = LogisticRegression(C=strength, max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one that stops at its limit of steps is as good, and less strong
            self.model = model.fit((features - self.mean) / self.scale, labels, sample_weight=weights)

    def logits(self, features: np.ndarray) -> torch.Tensor:
        """Return logits float32 (N, K); for two classes, too, one for each."""
        weight, bias = self.parts()
        return torch.from_numpy(features @ weight.T + bias).float()

    def parts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (K, d) and bias (K,) for features as they are."""
        weight, bias = self.model.coef_, self.model.intercept_
        if len(bias) == 1:
            weight, bias = np.concatenate((-weight, weight)) / 2, np.concatenate((-bias, bias)) / 2
        weight = weight / self.scale
        return weight, bias - weight @ self.mean


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    *,
    balanced: bool,
    extra: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Linear, torch.Tensor, float]:
    """Choose the strength by cross-validation, fit on all images, and return the model and the logits out of fold.

    Args:
        features, labels, folds: of the training images, (N, d), (N,) and (N,).
        extra: features and labels of synthetic images, which are never held out.

    Returns:
        The model, float32 (N, K), and the accuracy out of fold.
    """
    counts = np.bincount(labels)
    weights = 1 / counts[labels] if balanced else np.ones(len(labels))

    def model_of(chosen, strength):
        x, y, w = features[chosen], labels[chosen], weights[chosen] / weights[chosen].mean()
        if extra is not None:
            each = SYNTHETIC / (1 - SYNTHETIC) * w.sum() / len(extra[1])
            x, y = np.concatenate((x, extra[0])), np.concatenate((y, extra[1]))
            w = np.concatenate((w, np.full(len(extra[1]), each)))
        return Linear(x, y, w, strength)

    best: tuple[float, float, torch.Tensor] | None = None
    for strength in STRENGTHS:
        logits = torch.empty(len(labels), len(counts))
        for fold in np.unique(folds):
            held = folds == fold
            logits[held] = model_of(~held, strength).logits(features[held])
        hits = (logits.argmax(1).numpy() == labels) * weights
        if best is None or hits.sum() / weights.sum() > best[0]:
            best = (hits.sum() / weights.sum(), strength, logits)
    return model_of(np.ones(len(labels), bool), best[1]), best[2], float(best[0])


def measure(
    run: str, dataset: str, plan: Plan, pictures: judge_folder.Pictures, augmenter: str = ""
) -> tuple[dict, dict[str, torch.Tensor]]:
    """Fit the frozen arm, with each of the augmenter's final pools too, and return the record and the logits.

    Returns:
        The record, and tensors: ``test`` (1, N_test, K), ``training`` (N_train, K, out of fold), ``with_pools``
        (S, N_test, K), ``weight`` and ``bias`` of the layer on the frozen features.

    Raises:
        ValueError, ArtifactError: as ``outside.load``.
    """
    folder = judge_folder.place(run, dataset)
    judged, file = judge_folder.load(folder), folder / f"outside-{slug(plan.backbone)}.safetensors"
    network = outside.load(plan.backbone)
    seeds = range(plan.seeds if augmenter else 0)
    pools = {seed: judge_arms.kept_of(folder, augmenter, judge_arms.WHOLE, seed) for seed in seeds}
    inputs = {"network": network.sha256, "pictures": digest_of(pictures, judged)}
    inputs |= {f"pool{seed}": artifacts.digest({"images": x, "labels": y}) for seed, (x, y) in pools.items()}

    def made() -> dict:
        tensors, strength, score = fit_all(plan, pictures, judged, network, pools, folder)
        meta = {"backbone": plan.backbone, "network": network.sha256, "strength": strength}
        found = {"cv_accuracy": 100 * score, "strength": strength}
        return found | {"logits": artifacts.save_tensors(file, tensors, meta)}

    record = records.once(
        run,
        dataset,
        STAGE,
        f"outside-{slug(plan.backbone)}",
        parameters={"backbone": plan.backbone, "side": network.side, "balanced": plan.balanced},
        inputs=inputs,
        measure=made,
        made=("logits",),
        is_whole=judge_arms.is_kept(file, "logits"),
    )
    return record | {"images": network.images}, artifacts.load_tensors(file)[0]


def fit_all(
    plan: Plan,
    pictures: judge_folder.Pictures,
    judged: judge_folder.Judged,
    network: outside.Outside,
    pools: dict[int, tuple[torch.Tensor, torch.Tensor]],
    folder: Path,
) -> tuple[dict[str, torch.Tensor], float, float]:
    """Return the tensors of ``measure``, the strength, and the accuracy out of fold (0 .. 1), without synthetic images.

    Args:
        pools: of synthetic images and their labels, by seed; as many are used as there are training images.
        folder: that keeps the features.
    """
    known = features_of(folder, pictures, network).numpy()
    labels, train = judged.data.labels.numpy(), (~judged.tests).numpy()
    own = (known[train], labels[train], judged.folds[0].numpy()[train])
    model, training, score = fit(*own, balanced=plan.balanced)
    weight, bias = (torch.from_numpy(part).float() for part in model.parts())
    tensors = {"test": model.logits(known[~train])[None], "training": training, "weight": weight, "bias": bias}
    more = []
    for images, classes in pools.values():
        drawn = outside.features(network, from_uint8(images[: int(train.sum())])).numpy()
        extra = (drawn, classes[: int(train.sum())].numpy())
        more.append(fit(*own, balanced=plan.balanced, extra=extra)[0].logits(known[~train]))
    return tensors | ({"with_pools": torch.stack(more)} if more else {}), model.strength, score


def by_name(run: str, dataset: str, plan: Plan, pictures: judge_folder.Pictures) -> dict:
    """Return the record of what the names of the classes reach on the test images, 0 .. 1, without training.

    Each image goes to the name that is nearest to it for ``outside_clip``. Of the training images only the mean of
    their features is used, as the centre, and none of their labels.

    Raises:
        ValueError, ArtifactError: as ``outside_clip.load``.
    """
    folder = judge_folder.place(run, dataset)
    judged, known = judge_folder.load(folder), clip.load_clip(outside_clip.NAME)
    names = [name.replace("_", " ") for name in judged.data.class_names]
    labels = judged.data.labels[judged.tests]
    inputs = {"clip": known.sha256, "pictures": digest_of(pictures, judged)}

    def made() -> dict:
        features = features_of(folder, pictures, outside.load(outside.LITE0))
        places = F.normalize(features[judged.tests] - features[~judged.tests].mean(0), dim=1)
        hits = (places @ known.encode_text(names).T).argmax(1) == labels
        weights = numbers.weights_of(labels, balanced=plan.balanced)
        return {"accuracy": float(hits.double() @ weights), "n_test": len(labels)}

    parameters = {"names": "; ".join(names), "balanced": plan.balanced}
    return records.once(run, dataset, STAGE, "outside-names", parameters=parameters, inputs=inputs, measure=made)


def digest_of(pictures: judge_folder.Pictures, judged: judge_folder.Judged) -> str:
    """Return the digest of all pictures, their labels, and which of them are for testing."""
    return artifacts.digest_json([pictures.digests, judged.data.labels.tolist(), judged.tests.tolist()])


def features_of(folder: Path, pictures: judge_folder.Pictures, network: outside.Outside) -> torch.Tensor:
    """Return the features float32 (N, d) of all pictures, read from their files at the network's side, and keep them.

    Args:
        folder: of the judge, that keeps them.
    """
    read = lambda places: from_uint8(torch.from_numpy(np.stack(list(read_all(pictures, places, network.side)))))
    return outside.cached(folder / f"features-{slug(network.name)}.safetensors", network, pictures.digests, read)


def read_all(pictures: judge_folder.Pictures, places: Iterable[int], side: int) -> Iterator[np.ndarray]:
    """Yield the pictures of these places from their files, uint8 (3, side, side)."""
    decode = lambda raw: decoding.decode(raw, size=side, bits=pictures.bits)
    for place in places:
        yield folders.decode_all(pictures.root, [pictures.files[place]], decode)[0]
