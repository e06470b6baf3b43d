"""Test images that differ from the training images, generated or published, and what classifiers make of them."""

import math
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from scipy import ndimage

from sega_utils.core import artifacts, numbers, paths, runtime, schema
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue, downloads
from sega_utils.data.images import Dataset, check_images, from_uint8, take, to_uint8
from sega_utils.evaluation import classified
from sega_utils.evaluation.classified import evaluate
from sega_utils.evaluation.corruptions import CORRUPTIONS, GROUPS, SEVERITIES, corrupt, streams
from sega_utils.training import classifiers, recipes


def load_official(
    folder: Path, name: str, *, digests: dict[str, str] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a published set of corrupted images, e.g. of CIFAR-10-C, after checking its digest.

    Args:
        folder: holds ``<name>.npy``, uint8 (5 N, 32, 32, 1 or 3), one severity after the other, and ``labels.npy``.
        digests: file name to SHA-256; absent, those of ``SHA256SUMS`` in the folder.

    Returns:
        Images uint8 (5, N, C, 32, 32) and labels int64 (N,).

    Raises:
        FileNotFoundError: a file, or the list of digests, is missing.
        ArtifactError: a file is truncated, altered, of another kind or shape, or the list does not name it.
    """
    digests = downloads.digests_of(folder) if digests is None else digests
    images, labels = (downloads.read_npy(Path(folder) / f"{file}.npy", digests) for file in (name, "labels"))
    n = len(images) // 5 if images.ndim else 0
    if images.dtype != np.uint8 or images.shape not in {(5 * n, 32, 32, 1), (5 * n, 32, 32, 3)} or not n:
        raise ArtifactError(f"{name}.npy holds {images.dtype} {images.shape}; it must be uint8 (5 N, 32, 32, 1 or 3)")
    if labels.shape != (5 * n,) or (labels.reshape(5, n) != labels[:n]).any():
        raise ArtifactError(f"labels.npy of shape {labels.shape} does not hold the same {n} labels for each severity")
    return (
        torch.from_numpy(images).view(5, n, 32, 32, -1).permute(0, 1, 4, 2, 3),
        torch.from_numpy(labels[:n].astype(np.int64)),
    )


def corrupted_path(run: str, dataset: str) -> Path:
    """Return where a run keeps the test images under every corruption and shift."""
    return paths.artifact(run, dataset, "corrupted")


def make_sets(
    run: str, dataset: str, *, n_test: int, corruptions: list[str], seed: int, folder: str = ""
) -> tuple[dict[str, torch.Tensor], dict]:
    """Corrupt and shift the first test images once, and keep them; what was kept from the same request is read.

    Args:
        n_test: how many of the test images, in their order.
        corruptions: keys of ``CORRUPTIONS``, each made at all five severities.
        seed: of everything random in them.
        folder: of published corruption files (see ``load_official``), which then replace generated ones.

    Returns:
        ``labels`` int64 (n_test,) and images uint8 (n_test, C, S, S) named ``clean``, ``<corruption>_<severity>`` and
        as in ``SHIFTS``; and a dict with ``source`` (``generated`` or ``official``), ``seed`` and ``sha256``.

    Raises:
        ValueError: more images than there are, an unknown corruption or one named twice, or published files of other
            images.
        FileNotFoundError, ArtifactError: a file is missing or damaged, see ``catalogue.load`` and ``official``.
    """
    test = catalogue.load(dataset, "test")
    if not 1 <= n_test <= len(test.labels):
        raise ValueError(f"N_TEST is {n_test}; allowed are 1 .. {len(test.labels)}, the test images of {dataset}")
    if unknown := [name for name in corruptions if name not in CORRUPTIONS or corruptions.count(name) > 1]:
        raise ValueError(f"corruptions hold {unknown[0]!r}; allowed are, once each, {', '.join(CORRUPTIONS)}")
    test = take(test, slice(n_test))
    digests = downloads.digests_of(paths.located(folder)) if folder else {}
    used = {name: digests.get(f"{name}.npy") for name in (*corruptions, "labels")}
    clean = artifacts.digest({"images": test.images, "labels": test.labels})
    key = artifacts.digest_json([clean, corruptions, sorted(SHIFTS.get(dataset, {})), seed, used])
    path = corrupted_path(run, dataset)
    if path.exists():
        sets, meta = artifacts.load_tensors(path)
        if meta.get("key") == key:
            return sets, meta
    sets = {"labels": test.labels, "clean": to_uint8(test.images)}
    for name in runtime.progress(corruptions, "corruptions"):
        sets |= load_set(test, folder, name) if folder else generate_set(test, name, seed)
    for name, function in SHIFTS.get(dataset, {}).items():
        sets[name] = to_uint8(function(test.images, seed=seed))
    meta = {"key": key, "source": "official" if folder else "generated", "seed": seed, "names": sorted(sets)}
    meta["classes"] = len(test.class_names)
    return sets, meta | {"sha256": artifacts.save_tensors(path, sets, meta)}


def generate_set(test: Dataset, name: str, seed: int) -> dict[str, torch.Tensor]:
    """Return test images under one corruption at each severity, uint8."""
    return {f"{name}_{s}": to_uint8(corrupt(test.images, name, s, seed=seed)) for s in SEVERITIES}


def load_set(test: Dataset, folder: str, name: str) -> dict[str, torch.Tensor]:
    """Return test images under one corruption at each severity from published files.

    Raises:
        ValueError: their labels or their shape are not those of the test images.
    """
    images, labels = load_official(paths.located(folder), name)
    n = len(test.labels)
    if not torch.equal(labels[:n], test.labels) or images.shape[2] != test.images.shape[1]:
        raise ValueError(
            f"{name}.npy is not of this data set's test images: its labels or channels are others; "
            "check OFFICIAL and DATASET"
        )
    return {f"{name}_{s}": images[s - 1, :n].contiguous() for s in SEVERITIES}


def read_sets(run: str, dataset: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Return what ``make_sets`` kept.

    Raises:
        FileNotFoundError: there is nothing.
        ArtifactError: the file is damaged, or holds other sets than it says.
    """
    path = corrupted_path(run, dataset)
    if not path.exists():
        raise FileNotFoundError(f"{paths.shown(path)} is missing; make it with 06_shift")
    sets, meta = artifacts.load_tensors(path)
    if not {"source", "seed"} <= meta.keys() or meta.get("names", sorted(sets)) != sorted(sets):
        schema.refuse(path, f"it does not say what it holds, or holds other sets: {schema.short(sorted(sets))}")
    if int(sets["labels"].max()) >= meta.get("classes", math.inf):
        schema.refuse(path, f"it has the label {int(sets['labels'].max())} for {meta['classes']} classes")
    return sets, meta


def measure_shift(run: str, dataset: str, arm: str, seed: int) -> dict:
    """Measure one trained classifier on all that ``make_sets`` kept and return its record.

    Its metrics are accuracies, 0 .. 1: ``corruptions``, by name, a list from severity 1 to 5; ``shifts``, by name, of
    which ``clean`` is none; and ``n_test``.

    Raises:
        FileNotFoundError: there are no such images, or the classifier was not trained.
        ArtifactError: a file is damaged.
    """
    sets, meta = read_sets(run, dataset)
    labels = sets.pop("labels")

    def measure(model: torch.nn.Module) -> dict:
        accuracy = lambda name: classifiers.accuracy(model, from_uint8(sets[name]), labels)
        made = [name for name in CORRUPTIONS if f"{name}_{SEVERITIES[0]}" in sets]
        others = sets.keys() - {f"{name}_{severity}" for name in made for severity in SEVERITIES}
        return {
            "corruptions": {name: [accuracy(f"{name}_{severity}") for severity in SEVERITIES] for name in made},
            "shifts": {name: accuracy(name) for name in sorted(others)},
            "n_test": len(labels),
        }

    parameters = {"corruptions": meta["source"], "corruption_seed": meta["seed"]}
    return evaluate(
        run, dataset, "shift", arm, seed, measure=measure, parameters=parameters, inputs={"corrupted": meta["sha256"]}
    )


def by_arm(measured: list[dict]) -> dict[str, dict[int, dict]]:
    """Return the records of stage ``shift`` by arm, in the order of ``recipes.ARMS``, and by seed.

    Raises:
        ArtifactError: they are of different runs, images or library versions, or one is of an unknown arm or of an
            (arm, seed) that another one holds.
    """
    same = lambda key: classified.is_input(key) or key in {"run", "n_test"} or key.startswith("version_")
    classified.check_same(measured, same)
    found: dict[str, dict[int, dict]] = {arm: {} for arm in recipes.ARMS}
    for record in measured:
        arm, seed = record["param_arm"], record["param_seed"]
        if arm not in found or seed in found[arm]:
            raise ArtifactError(
                f"{classified.file_of(record)} is of {arm!r}, seed {seed}: no known arm, or another "
                "record holds it already; delete it and run 06_shift"
            )
        found[arm][seed] = record
    return {arm: dict(sorted(seeds.items())) for arm, seeds in found.items() if seeds}


def corruption_rows(measured: list[dict]) -> list[dict]:
    """Return the accuracy in percent for each arm, corruption, severity and seed; raises as ``by_arm``."""
    return [
        {"arm": arm, "corruption": name, "severity": severity, "seed": seed, "accuracy": 100 * value[severity - 1]}
        for arm, seeds in by_arm(measured).items()
        for name in CORRUPTIONS
        for severity in SEVERITIES
        for seed, record in seeds.items()
        if (value := record["corruptions"].get(name))
    ]


def mean_corruption(record: dict) -> float:
    """Return a record's accuracy in percent, averaged over its corruptions and their severities."""
    return 100 * mean(value for values in record["corruptions"].values() for value in values)


def shift_rows(measured: list[dict]) -> list[dict]:
    """Return mean and standard deviation over the n seeds, in percent, for each arm and shift; raises as ``by_arm``.

    The shifts are ``clean`` (none), ``mean corruption`` and those of ``SHIFTS``; one seed leaves ``std`` empty.
    """
    names = ["clean", *dict.fromkeys(name for shifts in SHIFTS.values() for name in shifts)]
    rows = []
    for arm, seeds in by_arm(measured).items():
        scores = {
            name: [100 * record["shifts"][name] for record in seeds.values() if name in record["shifts"]]
            for name in names
        }
        scores["mean corruption"] = [mean_corruption(record) for record in seeds.values() if record["corruptions"]]
        rows += [{"arm": arm, "shift": name} | numbers.summary(values) for name, values in scores.items() if values]
    return rows


def corruption_differences(measured: list[dict], *, baseline: str = recipes.BASELINE) -> list[dict]:
    """Return each arm's mean corruption accuracy minus the baseline's, in points, paired by seed, with 95 % interval.

    Raises:
        ArtifactError: as ``by_arm``.
        ValueError: an arm and the baseline were measured with different seeds or with fewer than two.
    """
    scores = {
        arm: {seed: mean_corruption(record) for seed, record in seeds.items()}
        for arm, seeds in by_arm(measured).items()
    }
    return [
        {"arm": arm} | numbers.paired_difference(ours, scores.get(baseline, {}))
        for arm, ours in scores.items()
        if arm != baseline
    ]


def severity_curves(measured: list[dict]) -> dict[str, dict[str, list[float]]]:
    """Return, for each group of corruptions and each arm, the mean accuracy in percent at severity 1 .. 5."""
    rows = corruption_rows(measured)
    curves: dict[str, dict[str, list[float]]] = {}
    for group, members in GROUPS.items():
        mine = [row for row in rows if row["corruption"] in members]
        for arm in dict.fromkeys(row["arm"] for row in mine):
            curves.setdefault(group, {})[arm] = [
                mean(row["accuracy"] for row in mine if (row["arm"], row["severity"]) == (arm, severity))
                for severity in SEVERITIES
            ]
    return curves


def by_corruption(measured: list[dict]) -> tuple[list[str], list[str], list[list[float]]]:
    """Return arms, corruptions, and the mean accuracy in percent of each arm (row) under each corruption (column)."""
    rows = corruption_rows(measured)
    names, columns = ([*dict.fromkeys(row[key] for row in rows)] for key in ("arm", "corruption"))
    return (
        names,
        columns,
        [
            [
                mean(row["accuracy"] for row in rows if (row["arm"], row["corruption"]) == (arm, corruption))
                for corruption in columns
            ]
            for arm in names
        ],
    )


def inverted(images: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Return the photometric negatives, 1 - x: the same shapes on white ground; the seed is not needed.

    Raises:
        ValueError: not images, see ``images.check_images``.
    """
    check_images(images)
    return 1 - images


def cluttered(images: torch.Tensor, *, seed: int, strength: float = 0.5, dark: float = 0.04) -> torch.Tensor:
    """Return images whose black background is filled with pieces of other images of the set; the object stays.

    Sixteen squares, each cut at random from another random image, tile the background. The object is
    what is brighter than ``dark``, and what it encloses.

    Args:
        images: float32 (N, C, S, S) in [0, 1], at least two, objects on black.
        strength: what the pieces are multiplied by, 0 .. 1.

    Raises:
        ValueError: not such images, or one without background.
    """
    check_images(images)
    n, channels, side, _ = images.shape
    tile = side // 4
    in_plane = ndimage.generate_binary_structure(3, 1) & (np.arange(3) == 1)[:, None, None]
    objects = ndimage.binary_fill_holes(images.amax(1).cpu().numpy() > dark, in_plane)
    if n < 2 or objects.all((1, 2)).any():
        full = objects.all((1, 2)).sum()
        raise ValueError(
            f"received {n} images, {full} of them without a black background; cluttered needs at least "
            "two images, all of objects on black"
        )
    rngs = streams("cluttered", seed, range(n))
    donors = (np.arange(n)[:, None] + np.stack([rng.integers(1, n, 16) for rng in rngs])) % n
    corners = np.stack([rng.integers(0, side - tile + 1, (2, 16)) for rng in rngs])
    rows, cols = (corners[:, axis, :, None] + np.arange(tile) for axis in (0, 1))
    pieces = images.cpu().numpy()[donors[:, :, None, None], :, rows[..., None], cols[:, :, None]]
    clutter = pieces.reshape(n, 4, 4, tile, tile, channels).transpose(0, 5, 1, 3, 2, 4).reshape(images.shape)
    mixed = np.where(objects[:, None], images.cpu().numpy(), strength * clutter).astype(np.float32)
    return torch.from_numpy(mixed).to(images.device)


# data set: shift: function of its test images and a seed
SHIFTS = {"fashion-mnist": {"inverted": inverted, "cluttered": cluttered}}
