"""Seeds, device, determinism, worker processes, progress and what a step cost."""

import os
import random
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from threading import Thread

import numpy as np
import torch
from tqdm.auto import tqdm


def start(seed: int, device: str = "auto") -> torch.device:
    """Seed every generator, ask for deterministic kernels and return the device.

    Args:
        seed: 0 .. 2**32 - 1.
        device: ``auto`` (a CUDA GPU if there is one, else the CPU), ``cpu`` or ``cuda``.

    Raises:
        ValueError: a seed outside its range, an unknown device, or ``cuda`` on a machine without one.
    """
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}; allowed are 0 .. 4294967295")
    if device not in {"auto", "cpu", "cuda"}:
        raise ValueError(f"device is {device!r}; allowed are 'auto', 'cpu' and 'cuda'")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device is 'cuda' but torch sees no GPU; use 'auto' or 'cpu'")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a seeded ``torch.Generator``, so that a function's randomness is an argument."""
    return torch.Generator(device).manual_seed(seed)


def autocast(precision: str, device: torch.device | str) -> torch.autocast:
    """Return the context in which networks compute in a precision; their weights stay float32 in either.

    Args:
        precision: ``float32``, or ``bfloat16`` for products and convolutions, whose results are bfloat16 then.

    Raises:
        ValueError: an unknown precision, or ``bfloat16`` on a GPU that only emulates it.
    """
    if precision not in {"float32", "bfloat16"}:
        raise ValueError(f"precision is {precision!r}; allowed are 'float32' and 'bfloat16'")
    kind, reduced = torch.device(device).type, precision == "bfloat16"
    if reduced and kind == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ValueError(
            f"precision is 'bfloat16', which {torch.cuda.get_device_name()} does not compute in; use "
            "'float32', or a GPU of compute capability 8.0 or more"
        )
    return torch.autocast(kind, torch.bfloat16, enabled=reduced)


@contextmanager
def measure() -> Iterator[dict[str, float]]:
    """Yield a dict that holds ``seconds`` and ``peak_memory_gb`` once the block has ended.

    The memory is the process's high-water mark (and the GPU's, where there is one), in GiB.
    """
    cost: dict[str, float] = {}
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    yield cost
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        cost["peak_gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
    cost["seconds"] = time.perf_counter() - began
    cost["peak_memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


TOLD = "SEGA_PROGRESS"  # environment: a file for lines on how far a loop is, which execute shows on the terminal
EVERY = 10  # seconds from one line to the next


def progress(items: Iterable, label: str) -> Iterable:
    """Wrap an iterable in a progress bar, which stays silent in CI and under nbval; see also ``TOLD``."""
    bar = tqdm(items, desc=label, leave=False, disable=bool(os.environ.get("CI")))
    return told(bar, label, len(items)) if os.environ.get(TOLD) and hasattr(items, "__len__") else bar


def told(items: Iterable, label: str, total: int) -> Iterator:
    """Yield the items, and append to the file ``TOLD`` how many are done and about how long the rest will take."""
    began = last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last >= EVERY:
            last, left = now, (now - began) / done * (total - done)
            wait = f"{left / 60:.0f} min" if left > 90 else f"{left:.0f} s"
            with suppress(OSError), open(os.environ[TOLD], "a") as file:  # a run is worth more than its progress
                file.write(f"{label}: {done:,} of {total:,}, about {wait} left\n")


def map_workers(function: Callable, jobs: list[tuple], *, workers: int, label: str) -> list:
    """Call ``function(*job)`` for every job in fresh single-thread processes; results come in the jobs' order."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin_worker) as pool:
        futures = [pool.submit(function, *job) for job in jobs]
        try:
            return [future.result() for future in progress(futures, label)]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin_worker() -> None:
    """Use a single thread, and end when the parent does, even if that is killed.

    Two workers on two cores beat two threads on small networks, and results do not depend on the number of cores.
    """
    torch.set_num_threads(1)
    os.environ.pop(TOLD, None)  # the parent counts what its workers do
    Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()
