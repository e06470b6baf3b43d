"""What training loops share: their steps, the order of images, rates, averages, and networks and states on disk."""

import itertools
import math
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from sega_utils.core import artifacts, paths, runtime, schema


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


def chance(seed: int, step: int, device: torch.device | str) -> torch.Generator:
    """Return the random numbers of one step; they depend on no step before it, so that resuming changes nothing."""
    return runtime.generator(seed * 1_000_003 + step, device)


def update(loss: torch.Tensor, *optimisers: torch.optim.Optimizer, schedules: tuple = ()) -> None:
    """Take one step down the gradient of a loss, and then one of the learning rates' schedules."""
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for part in (*optimisers, *schedules):
        part.step()


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, step: int, ema: float, *, statistics: bool = False) -> None:
    """Move averaged weights towards a network's after its step 0, 1, ...; they follow faster in the first steps.

    Args:
        statistics: whether a batch norm's statistics are averaged like weights, and not the network's last.
    """
    decay = min(ema, (step + 1) / (step + 10))
    weights, theirs = dict(average.named_parameters()), network.state_dict()
    for name, tensor in average.state_dict().items():
        if name in weights or (statistics and tensor.is_floating_point()):
            tensor.lerp_(theirs[name], 1 - decay)
        else:
            tensor.copy_(theirs[name])


class State(NamedTuple):
    """All that a training needs to go on, and the file that keeps it.

    Attributes:
        path: None keeps nothing.
        every: steps from one storing to the next; the last step is stored, too.
        settings: of the training; a file of other settings is refused.
    """

    path: Path | None
    every: int
    networks: dict[str, nn.Module]
    optimisers: list[torch.optim.Optimizer]
    settings: dict

    def store(self, step: int, curve: list[dict[str, float]], used: dict[str, float]) -> None:
        """Write all that is needed to go on after ``step``, atomically; ``used`` holds the seconds of a budget."""
        tensors = {f"{n}/{k}": v for n, network in self.networks.items() for k, v in network.state_dict().items()}
        for i, optimiser in enumerate(self.optimisers):
            for p, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser{i}/{p}/{k}": torch.as_tensor(v) for k, v in state.items()}
        artifacts.save_tensors(self.path, tensors, {"settings": self.settings, "step": step, "curve": curve} | used)

    def restore(self, steps: int | None) -> tuple[int, list[dict[str, float]], float]:
        """Load what ``store`` wrote into networks and optimisers; return the steps so far, the curve, the seconds used.

        Raises:
            ArtifactError: the file is damaged, of other settings, or holds more than ``steps`` steps.
        """
        if self.path is None or not self.path.exists():
            return 0, [], 0.0
        tensors, meta = artifacts.load_tensors(self.path)
        if meta.get("settings") != self.settings:
            raise artifacts.ArtifactError(
                f"{paths.shown(self.path)} was made with other settings {meta.get('settings')}, "
                f"this run has {self.settings}; delete it to start anew"
            )
        if steps is not None and meta["step"] > steps:
            raise artifacts.ArtifactError(
                f"{self.path.name} holds {meta['step']} steps, more than the {steps} asked for; delete it to start anew"
            )
        try:
            self.fill(tensors)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise artifacts.ArtifactError(
                f"{paths.shown(self.path)} holds the state of other networks; delete it to start anew"
            ) from error
        return meta["step"], meta["curve"], meta.get("seconds", 0.0)

    def fill(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put what ``store`` kept into networks and optimisers."""
        for name, network in self.networks.items():
            network.load_state_dict({k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{name}/")})
        for i, optimiser in enumerate(self.optimisers):
            state = optimiser.state_dict()
            for key, value in tensors.items():
                if key.startswith(f"optimiser{i}/"):
                    _, p, k = key.split("/")
                    state["state"].setdefault(int(p), {})[k] = value
            optimiser.load_state_dict(state)


class Steps:
    """The steps of a training, counted from 0, whose losses are checked and kept in a curve.

    Iterating yields the steps that are left, and stores the state behind those that ask for it.

    Args:
        n: of all steps; None where the seconds alone say when to end.
        wrong: the error's message if a loss is not finite; it may name ``{step}``, each loss, and ``{losses}``.
        label: of the progress bar; without one there is none.
        every: steps from one row of the curve to the next; the last step, and each one stored, have a row, too.
        check: steps from one check of the losses to the next, as ``every`` if absent; a GPU is waited for each time.
        state: what is stored, and resumed before the first step.
        seconds: after which the next step is the last, of the CPU and not of the clock: with all threads of the
            process added, they do not depend on what else the machine does. Those used are stored with the state.

    Raises:
        ArtifactError: as ``State.restore``.
        ValueError: neither steps nor seconds say when to end, or the seconds are not positive.
    """

    def __init__(
        self,
        n: int | None,
        *,
        wrong: str,
        label: str = "",
        every: int = 50,
        check: int | None = None,
        state: State | None = None,
        seconds: float | None = None,
    ):
        if (n is None and seconds is None) or (seconds is not None and not 0 < seconds < math.inf):
            raise ValueError(f"received steps {n} and seconds {seconds}; give steps, or seconds above 0, or both")
        self.n, self.wrong, self.label, self.every, self.check, self.state = n, wrong, label, every, check, state
        self.step, self.curve, self.used = state.restore(n) if state else (0, [], 0.0)
        self.seconds, self.last = math.inf if seconds is None else seconds, False

    def __iter__(self) -> Iterator[int]:
        left = itertools.count(self.step) if self.n is None else range(self.step, self.n)
        if self.used >= self.seconds:
            left = ()
        began = time.process_time() - self.used
        for step in runtime.progress(left, self.label) if self.label else left:
            self.step, self.used = step, time.process_time() - began
            # said once a step, so that its row of the curve and its storing agree
            self.last = step + 1 == self.n or self.used >= self.seconds
            yield step
            if self.stored():
                used = {} if self.seconds == math.inf else {"seconds": time.process_time() - began}
                self.state.store(self.step + 1, self.curve, used)
            if self.last:
                break

    def progress(self) -> float:
        """Return the share of the training that is done with this step, 0 .. 1: of its steps, or of its seconds."""
        steps = 0.0 if self.n is None else (self.step + 1) / self.n
        return max(steps, min(1.0, self.used / self.seconds))

    def due(self, every: int) -> bool:
        """Return whether something that is done every so many steps, and after the last, is done after this one."""
        return (self.step + 1) % every == 0 or self.last

    def stored(self) -> bool:
        """Return whether the state is stored after this step."""
        return self.state is not None and self.state.path is not None and self.due(self.state.every)

    def note(self, **losses: torch.Tensor) -> None:
        """Check the losses of this step, and add them to the curve, wherever that is due.

        Raises:
            FloatingPointError: a loss is not finite.
        """
        kept = self.due(self.every) or self.stored()
        if not kept and not self.due(self.check or self.every):
            return
        row = {"step": self.step + 1} | {name: loss.item() for name, loss in losses.items()}
        if not all(map(math.isfinite, row.values())):
            raise FloatingPointError(self.wrong.format(losses=row, **row))
        if kept:
            self.curve.append(row)


def save_network(path: Path, network: nn.Module, meta: dict, *, half: bool = False) -> str:
    """Write a network's weights and what is to be known of it, atomically; return the weights' digest.

    Args:
        half: write the weights in half precision.
    """
    tensors = network.state_dict()
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    return artifacts.save_tensors(path, tensors, meta)


def freeze(network: nn.Module, tensors: dict[str, torch.Tensor], device: torch.device | str = "cpu") -> nn.Module:
    """Return a network with these weights, in eval mode and without gradients; half precision becomes its own."""
    network.load_state_dict(tensors)
    return network.to(device).eval().requires_grad_(False)


def load_network(
    path: Path,
    build: Callable[[dict, dict[str, torch.Tensor]], nn.Module],
    *,
    what: str,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Return a frozen network in eval mode with its ``meta``.

    One that says which images it was trained on, and lies beside a run's real images, must have been trained on these.

    Args:
        build: takes ``meta`` and the weights, returns the untrained network.
        what: the file should hold, for the message.

    Raises:
        FileNotFoundError, ArtifactError: the file is missing, truncated, altered, of another run or holds something
            else.
    """
    tensors, meta = artifacts.load_tensors(path)
    schema.check_finite(tensors, Path(path))
    try:
        network = build(meta, tensors)
        for name, own in network.state_dict().items():
            halved = own.is_floating_point() and tensors[name].dtype == torch.float16
            if tensors[name].dtype != own.dtype and not halved:
                raise TypeError(f"{name} is {tensors[name].dtype}, expected {own.dtype}")
        network = freeze(network, tensors, device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise artifacts.ArtifactError(
            f"{paths.shown(path)} holds no {what} ({schema.short(str(error))}); {schema.CURE}"
        ) from error
    real = Path(path).with_name(paths.ARTIFACTS["real"][0])
    if "data" in meta and real.exists():
        try:
            artifacts.check_origin(meta, artifacts.stated_digest(real), what)
        except artifacts.ArtifactError as error:
            raise artifacts.ArtifactError(f"{paths.shown(path)}: {error}") from error
    network.meta = meta
    return network


def load_plain(path: Path) -> object:
    """Return what a file of torch.save by others holds, if that is tensors and plain values; it runs no code.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: the file is damaged, or asks for anything else.
    """
    try:
        if zipfile.is_zipfile(artifacts.present(path)):  # whose checksums torch does not look at
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise zipfile.BadZipFile(damaged)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, artifacts.ArtifactError):
        raise
    except Exception as error:  # a damaged archive and a pickle that asks for code each raise their own
        raise artifacts.ArtifactError(
            f"{paths.shown(path)} is damaged, or holds more than weights and plain values; download it "
            "again, from its authors"
        ) from error
