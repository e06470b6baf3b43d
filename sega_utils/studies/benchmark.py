"""Our kernels and attacks beside the libraries people use for the same, in one run.

Each library takes seconds to import, so that only its own comparison waits for it.
"""

import logging
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from sega_utils import filters
from sega_utils.augmenters.base import generate
from sega_utils.augmenters.pools import load_generator
from sega_utils.core import paths, records, runtime
from sega_utils.data.images import from_uint8, to_grey8, to_uint8
from sega_utils.studies import shards
from sega_utils.training import autoattack, recipes

MAX_DISTANCE = 6  # pHash bits, as in 04_synthesis


def hashes_beside(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Return our way, theirs, and how far two results differ: here, and below, for one task of ``KERNELS``.

    Each takes nothing and does all of the images; theirs is given images in the library's own form, free of charge.
    """
    import imagehash

    pictures = [Image.fromarray(grey) for grey in to_grey8(images).cpu().numpy()]
    theirs = lambda: [imagehash.phash(picture) for picture in pictures]
    return lambda: filters.phash(images), theirs, lambda ours, theirs: largest(ours, [h.hash.ravel() for h in theirs])


def ssim_beside(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Structural similarity of each image to the one before it."""
    from skimage.metrics import structural_similarity

    others = images.roll(1, 0)
    a, b = (x[:, 0].cpu().numpy() for x in (images, others))
    theirs = lambda: [structural_similarity(x, y, data_range=1.0) for x, y in zip(a, b, strict=True)]
    return lambda: filters.ssim(images, others), theirs, largest


def sharpness_beside(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Variance of the Laplacian over that of the image."""
    import cv2

    pictures = to_grey8(images).cpu().numpy()
    theirs = lambda: [cv2.Laplacian(x, cv2.CV_64F).var() / cv2.meanStdDev(x)[1].item() ** 2 for x in pictures]
    return lambda: filters.blur_score(images), theirs, largest


def duplicates_beside(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Every pair of close hashes; theirs is given our hashes, ours computes them, so that both must find the same."""
    from imagededup.methods import PHash

    for module in ("methods.hashing", "handlers.search.retrieval"):  # the import sets them to tell of every search
        logging.getLogger(f"imagededup.{module}").setLevel(logging.WARNING)
    bits = np.packbits(filters.phash(images).cpu().numpy(), axis=1)
    encoded = {str(index): row.tobytes().hex() for index, row in enumerate(bits)}
    threads = torch.get_num_threads()
    options = {"max_distance_threshold": MAX_DISTANCE, "num_dist_workers": threads if threads > 1 else 0}
    ours = lambda: filters.near_duplicates(images, max_distance=MAX_DISTANCE, min_ssim=-1)
    theirs = lambda: PHash(verbose=False).find_duplicates(encoding_map=encoded, **options)
    return ours, theirs, different_pairs


def largest(ours: torch.Tensor, theirs: list) -> float:
    """Return the largest absolute difference of two results of a kernel."""
    return float(np.abs(ours.cpu().numpy().astype(float) - np.array(theirs, dtype=float)).max())


def different_pairs(ours: torch.Tensor, theirs: dict[str, list[str]]) -> int:
    """Return how many pairs only one of two searches has found."""
    expected = {(int(i), int(j)) for i in theirs for j in theirs[i] if int(i) < int(j)}
    return len(expected ^ set(map(tuple, ours.tolist())))


# kernel: (library, tasks of both)
KERNELS = {
    "pHash": ("imagehash", hashes_beside),
    "SSIM": ("scikit-image", ssim_beside),
    "Laplacian": ("opencv", sharpness_beside),
    "near-duplicates": ("imagededup", duplicates_beside),
}


def measure_kernel(
    run: str,
    dataset: str,
    kernel: str,
    n: int,
    *,
    repeats: int = 5,
    limit: float = 10,
    least: float = 0.5,
    device: torch.device | str = "cpu",
) -> dict:
    """Time a kernel and its library on the same images in turns and return the record, with medians and quartiles.

    Args:
        n: grey images drawn by the run's generator, at least 2.
        repeats: turns; after ``limit`` seconds no other one is begun. The results of the last are compared.
        least: seconds that each side takes in a turn, calling the kernel again until then: threads that slept need
            some time before each has a core of its own.

    Raises:
        ValueError: an unknown kernel, or sizes out of range.
        FileNotFoundError, ArtifactError: the run has no generator, or a damaged one.
    """
    if kernel not in KERNELS or n < 2 or repeats < 1:
        raise ValueError(
            f"kernel is {kernel!r}, n is {n}, repeats is {repeats}; allowed are {', '.join(KERNELS)}, "
            "at least 2 and at least 1"
        )
    warnings.filterwarnings("ignore", "Parameter num_enc_workers has no effect")  # it says so even if none is given
    library, task = KERNELS[kernel]
    generator = load_generator(paths.require(run, dataset, "generator"), device)
    images = from_uint8(to_uint8(generate(generator, torch.arange(n) % generator.n_classes, seed=1)[:, :1]))
    ours, theirs, difference = task(images)
    turns: list[tuple[float, float]] = []
    began = time.perf_counter()
    with runtime.measure() as cost:
        ours()  # what is slow only once
        while not turns or len(turns) < repeats and time.perf_counter() - began < limit:
            seconds, results = zip(*(timed(side, least=least) for side in (ours, theirs)), strict=True)
            turns.append(seconds)
    values = {"difference": difference(*results), "turns": len(turns)} | quartiles(turns)
    return records.write(
        run,
        dataset,
        "efficiency",
        f"kernel-{recipes.slug(kernel)}-{n}",
        metrics=values,
        cost=cost,
        parameters={"kernel": kernel, "library": library, "images": n, "repeats": repeats, "least": least},
        inputs={"generator": generator.meta["sha256"]},
    )


def timed(function: Callable, *, least: float = 0) -> tuple[float, object]:
    """Return the seconds that a call takes, the mean of as many as take ``least`` together, and what it returns."""
    calls, spent = 0, 0.0
    while not calls or spent < least:
        with runtime.measure() as cost:
            result = function()
        calls, spent = calls + 1, spent + cost["seconds"]
    return spent / calls, result


def quartiles(turns: list[tuple[float, float]]) -> dict[str, float]:
    """Return the median and the quartiles of our seconds and of theirs over the turns, named as in the records."""
    values = {}
    for side, found in zip(("ours", "theirs"), np.quantile(turns, (0.25, 0.5, 0.75), axis=0).T, strict=True):
        values |= zip((f"{side}_q1", f"seconds_{side}", f"{side}_q3"), found.tolist(), strict=True)
    return values


def measure(
    run: str,
    dataset: str,
    *,
    images: list[int],
    candidates: list[int],
    repeats: int = 5,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> list[dict]:
    """Measure every kernel at numbers of images, and the growth at numbers of candidates; return the records."""
    sizes = [(kernel, n) for n in images for kernel in KERNELS]
    found = [
        measure_kernel(run, dataset, *size, repeats=repeats, device=device)
        for size in runtime.progress(sizes, "kernels")
    ]
    for n in runtime.progress(candidates, "growth"):
        job = (run, dataset, n, seed, device)
        found += runtime.map_workers(shards.measure_growth, [job], workers=1, label=str(n))
    return found


def compare_with_reference(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str = "Linf",
    seed: int = 0,
    batch: int = 250,
) -> dict[str, float]:
    """Run ``auto_attack`` and the reference's own loop on the same images with the same seed, once each.

    Returns:
        ``seconds_*`` and ``images_*`` (that went through the model) of ``ours`` and ``reference``, their ratios
        ``speedup`` and ``fewer_images`` (higher is better), ``agreement`` of the verdicts (0 .. 1), and the share of
        images that stands, ``accuracy_*``.
    """
    from pyautoattack import AutoAttack

    seen = []
    hook = model.register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    try:
        began = time.perf_counter()
        _, fell_to = autoattack.auto_attack(model, images, labels, eps=eps, norm=norm, seed=seed, batch=batch)
        ours, n_ours = time.perf_counter() - began, sum(seen)
        seen.clear()
        began = time.perf_counter()
        reference = AutoAttack(model, norm=norm, eps=eps, seed=seed, version="standard", device=images.device)
        predicted = reference.run_standard_evaluation(images, labels, batch_size=batch)[1]
        theirs, n_theirs = time.perf_counter() - began, sum(seen)
    finally:
        hook.remove()
    stands = (fell_to == len(autoattack.STANDARD)), (predicted == labels)
    return {
        "seconds_ours": ours,
        "seconds_reference": theirs,
        "speedup": theirs / ours,
        "images_ours": n_ours,
        "images_reference": n_theirs,
        "fewer_images": n_theirs / n_ours,
        "agreement": float((stands[0] == stands[1]).double().mean()),
        "accuracy_ours": float(stands[0].double().mean()),
        "accuracy_reference": float(stands[1].double().mean()),
        "eps": eps,
        "n": len(labels),
    }


KERNEL_ROWS = (
    "kernel",
    "library",
    "images",
    "seconds_ours",
    "seconds_theirs",
    "ratio",
    "ours_q1",
    "ours_q3",
    "theirs_q1",
    "theirs_q3",
    "difference",
)


def kernel_rows(found: list[dict]) -> list[dict]:
    """Return a row (``KERNELS``) for each kernel and number of images on record; ``ratio`` is theirs to ours.

    Seconds are medians over the turns, ``q1`` and ``q3`` their quartiles.
    """
    mine = [record for record in found if "param_kernel" in record]
    mine.sort(key=lambda record: (record["param_kernel"], record["param_images"]))
    rows = [record | {name: record[f"param_{name}"] for name in KERNEL_ROWS[:3]} for record in mine]
    rows = [row | {"ratio": row["seconds_theirs"] / row["seconds_ours"]} for row in rows]
    return [{name: row[name] for name in KERNEL_ROWS} for row in rows]
