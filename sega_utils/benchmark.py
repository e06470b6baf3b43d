"""Our kernels beside the libraries people use for the same, in one run, and how the cost of the pipeline grows.

    python -m sega_utils.benchmark --images 1000 10000 50000 --candidates 1000 10000 100000

It needs a run's files (make run), writes records into that run and prints them as tables.
"""

import argparse
import logging
import sys
import time
import warnings
from collections.abc import Callable

import cv2
import imagehash
import numpy as np
import torch
from imagededup.methods import PHash
from PIL import Image
from skimage.metrics import structural_similarity

from sega_utils import cost_tables, data, efficiency, filters, formats, paths, recipes, records, runtime
from sega_utils.generator import generate, load_generator
from sega_utils.kernels import to_grey8

MAX_DISTANCE = 6  # pHash bits, as in 04_synthesis


def hashes(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Return our way, theirs, and how far two results differ: here, and below, for one task of ``KERNELS``.

    Each takes nothing and does all of the images; theirs is given images in the library's own form, free of charge.
    """
    pictures = [Image.fromarray(grey) for grey in to_grey8(images).cpu().numpy()]
    theirs = lambda: [imagehash.phash(picture) for picture in pictures]
    return lambda: filters.phash(images), theirs, lambda ours, theirs: largest(ours, [h.hash.ravel() for h in theirs])


def similarities(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Structural similarity of each image to the one before it."""
    others = images.roll(1, 0)
    a, b = (x[:, 0].cpu().numpy() for x in (images, others))
    theirs = lambda: [structural_similarity(x, y, data_range=1.0) for x, y in zip(a, b, strict=True)]
    return lambda: filters.ssim(images, others), theirs, largest


def sharpness(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Variance of the Laplacian."""
    pictures = to_grey8(images).cpu().numpy()
    return lambda: filters.blur_score(images), lambda: [cv2.Laplacian(x, cv2.CV_64F).var() for x in pictures], largest


def near_duplicates(images: torch.Tensor) -> tuple[Callable, Callable, Callable]:
    """Every pair of close hashes; theirs is given our hashes, ours computes them, so that both must find the same."""
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
    "pHash": ("imagehash", hashes), "SSIM": ("scikit-image", similarities), "Laplacian": ("opencv", sharpness),
    "near-duplicates": ("imagededup", near_duplicates),
}  # fmt: skip


def measure_kernel(
    run: str, dataset: str, kernel: str, n: int, *, repeats: int = 5, limit: float = 10, least: float = 0.5,
    device: torch.device | str = "cpu",
) -> dict:  # fmt: skip
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
        raise ValueError(f"kernel is {kernel!r}, n is {n}, repeats is {repeats}; allowed are {', '.join(KERNELS)}, "
                         "at least 2 and at least 1")  # fmt: skip
    for module in ("methods.hashing", "handlers.search.retrieval"):
        logging.getLogger(f"imagededup.{module}").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", "Parameter num_enc_workers has no effect")  # it says so even if none is given
    library, task = KERNELS[kernel]
    generator = load_generator(paths.require(run, dataset, "generator"), device)
    images = data.from_uint8(data.to_uint8(generate(generator, torch.arange(n) % generator.n_classes, seed=1)[:, :1]))
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
        run, dataset, "efficiency", f"kernel-{recipes.slug(kernel)}-{n}", metrics=values, cost=cost,
        parameters={"kernel": kernel, "library": library, "images": n, "repeats": repeats, "least": least},
        inputs={"generator": generator.meta["sha256"]},
    )  # fmt: skip


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
    run: str, dataset: str, *, images: list[int], candidates: list[int], repeats: int = 5, seed: int = 0,
    device: torch.device | str = "cpu",
) -> list[dict]:  # fmt: skip
    """Measure every kernel at numbers of images, and the growth at numbers of candidates; return the records."""
    sizes = [(kernel, n) for n in images for kernel in KERNELS]
    found = [measure_kernel(run, dataset, *size, repeats=repeats, device=device)
             for size in runtime.progress(sizes, "kernels")]  # fmt: skip
    for n in runtime.progress(candidates, "growth"):
        job = (run, dataset, n, seed, device)
        found += runtime.map_workers(efficiency.measure_growth, [job], workers=1, label=str(n))
    return found


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Measure, write records, print the tables."""
    parser = argparse.ArgumentParser("python -m sega_utils.benchmark", description=main.__doc__)
    parser.add_argument("--run", default="embedded")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--images", type=int, nargs="*", default=[], help="numbers of images for the kernels")
    parser.add_argument("--candidates", type=int, nargs="*", default=[], help="numbers of candidates for the growth")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args(arguments)
    found = measure(args.run, args.dataset, images=args.images, candidates=args.candidates, repeats=args.repeats,
                    device=runtime.start(0, args.device))  # fmt: skip
    for rows in filter(None, (cost_tables.kernel_rows(found), cost_tables.growth_rows(found))):
        print(formats.aligned(rows), end="\n\n")
    if len(args.candidates) > 1:
        power = cost_tables.exponent(cost_tables.growth_rows(found))
        print(f"seconds grow as the number of candidates to the power of {power:.2f}")


if __name__ == "__main__":
    sys.exit(main())
