"""What training loops share: the order of images, the learning rate, averaged weights, state to resume from."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch

from sega_utils.core import artifacts, paths


def shuffled(n: int, size: int, rng: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield indices int64 (size,), on the device of ``rng``, that run through successive random orders of 0 .. n - 1.

    Raises:
        ValueError: n is 0: there is nothing to run through.
    """
    if n < 1:
        raise ValueError("no images to draw batches from; give at least one, or leave synthetic away for none")
    queue = torch.empty(0, dtype=torch.int64, device=rng.device)
    while True:
        while len(queue) < size:
            queue = torch.cat((queue, torch.randperm(n, generator=rng, device=rng.device)))
        yield queue[:size]
        queue = queue[size:]


def one_cycle(progress: float) -> float:
    """Return the learning rate, as a share of its peak, after a share of all steps: 10 % of warm-up, then a cosine."""
    return progress / 0.1 if progress < 0.1 else 0.5 * (1 + math.cos(math.pi * (progress - 0.1) / 0.9))


def update(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Take one step down the gradient of a loss."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


@torch.no_grad()
def follow(average: torch.nn.Module, network: torch.nn.Module, step: int, ema: float) -> None:
    """Move averaged weights towards a network's after its step 0, 1, ...; they follow faster in the first steps."""
    decay = min(ema, (step + 1) / (step + 10))
    for a, b in zip(average.parameters(), network.parameters(), strict=True):
        a.lerp_(b, 1 - decay)
    for a, b in zip(average.buffers(), network.buffers(), strict=True):
        a.copy_(b)


def store_state(
    path: Path,
    networks: dict[str, torch.nn.Module],
    optimisers: list[torch.optim.Optimizer],
    settings: dict,
    step: int,
    curve: list[dict[str, float]],
) -> None:
    """Write all that a training needs to go on after ``step``, atomically."""
    tensors = {f"{n}/{k}": v for n, network in networks.items() for k, v in network.state_dict().items()}
    for i, optimiser in enumerate(optimisers):
        for p, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser{i}/{p}/{k}": torch.as_tensor(v) for k, v in state.items()}
    artifacts.save_tensors(path, tensors, {"settings": settings, "step": step, "curve": curve})


def restore_state(
    path: Path,
    networks: dict[str, torch.nn.Module],
    optimisers: list[torch.optim.Optimizer],
    settings: dict,
    steps: int,
) -> tuple[int, list[dict[str, float]]]:
    """Load what ``store_state`` wrote into networks and optimisers; return the steps taken so far and the curve.

    Raises:
        ArtifactError: the file is damaged, of other settings, or holds more than ``steps`` steps.
    """
    tensors, meta = artifacts.load_tensors(path)
    if meta.get("settings") != settings:
        raise artifacts.ArtifactError(
            f"{paths.shown(path)} was made with other settings {meta.get('settings')}, "
            f"this run has {settings}; delete it to start anew"
        )
    for name, network in networks.items():
        network.load_state_dict({k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{name}/")})
    for i, optimiser in enumerate(optimisers):
        state = optimiser.state_dict()
        for key, value in tensors.items():
            if key.startswith(f"optimiser{i}/"):
                _, p, k = key.split("/")
                state["state"].setdefault(int(p), {})[k] = value
        optimiser.load_state_dict(state)
    if meta["step"] > steps:
        raise artifacts.ArtifactError(
            f"{path.name} holds {meta['step']} steps, more than the {steps} asked for; delete it to start anew"
        )
    return meta["step"], meta["curve"]
