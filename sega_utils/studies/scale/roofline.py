"""How far the kernels are from what a machine could do: bytes and operations of an image, and the machine's peaks.

Source: Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model".
"""

from collections.abc import Callable
from functools import partial

import torch

from sega_utils import filters
from sega_utils.studies.benchmark import timed

PIXELS, WINDOWS = 32 * 32, 26 * 26
# kernel: (bytes that an image must be read and written with, operations that it takes at least), of a grey image, or
# pair of images, of 32 pixels a side in float32
COUNTS = {
    # to grey levels (2 a pixel), rows to 8 frequencies, columns to 8; 64 bits come out as bytes; sorting is not counted
    "phash": (4 * PIXELS + 64, 2 * PIXELS + 2 * 8 * (PIXELS + 8 * 32)),
    # sum, difference and their squares (4 a pixel); four running sums of rows and of columns (2 a window and map),
    # the formula (17 a window); two images are read
    "ssim": (8 * PIXELS + 4, 4 * PIXELS + 4 * 2 * (26 * 32 + WINDOWS) + 17 * WINDOWS),
    # to grey levels (2 a pixel), four neighbours and the pixel (6), two variances (3 each)
    "sharpness": (4 * PIXELS + 4, 14 * PIXELS),
}


def peaks(device: torch.device, *, least: float, side: int = 2048, megabytes: int = 256) -> dict[str, float]:
    """Return the bytes a second that a copy reads and writes, and the operations a second of a matrix product.

    Args:
        least: seconds that each is tried for; side: of the matrices, float32; megabytes: that are copied, more than
            any cache holds.
    """
    source = torch.ones(megabytes * 2**18, device=device)
    target, matrix = torch.empty_like(source), torch.rand(side, side, device=device)
    product = torch.empty_like(matrix)
    tasks = partial(target.copy_, source), partial(torch.mm, matrix, matrix, out=product)
    for task in tasks:
        task()  # what is slow only once
    copying, multiplying = (timed(task, least=least)[0] for task in tasks)
    return {"bytes_per_second": 2 * source.nbytes / copying, "operations_per_second": 2 * side**3 / multiplying}


def measure(images: torch.Tensor, *, least: float, **sizes: int) -> dict[str, float]:
    """Return each kernel's images a second, its limit on this machine, and the peaks that the limit follows from.

    Args:
        images: float32 (N, 1, 32, 32), on the device; least: seconds for each measurement; sizes: as of ``peaks``.
    """
    found = peaks(images.device, least=least, **sizes)
    tasks: dict[str, Callable] = {
        "phash": lambda: filters.phash(images),
        "ssim": lambda: filters.ssim(images, images.roll(1, 0)),
        "sharpness": lambda: filters.blur_score(images),
    }
    for name, (n_bytes, operations) in COUNTS.items():
        tasks[name]()
        found[f"{name}_per_second"] = len(images) / timed(tasks[name], least=least)[0]
        seconds = max(n_bytes / found["bytes_per_second"], operations / found["operations_per_second"])
        found[f"{name}_limit_per_second"] = 1 / seconds
    return found
