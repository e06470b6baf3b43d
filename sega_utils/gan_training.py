"""Train the class-conditional GAN on few images: hinge loss, DiffAugment, weight averaging; resumable."""

import copy
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional as F

from sega_utils import artifacts, augment, paths, runtime
from sega_utils.data import Dataset
from sega_utils.generator import Discriminator, Generator


def diff_augment(images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Augment images float32 (N, C, H, W) in [0, 1] differentiably: brightness, contrast, translation, cutout.

    Source: Zhao et al. 2020, DiffAugment, policy color, translation, cutout.
    """
    uniform = lambda: torch.rand(len(images), 1, 1, 1, generator=rng, device=images.device)
    images = images + (uniform() - 0.5) * 0.5
    mean = images.mean((1, 2, 3), keepdim=True)
    images = (images - mean) * (uniform() + 0.5) + mean
    side = images.shape[-1]
    return augment.cutout(augment.shift(images, rng, pad=side // 8, flip=False), rng, size=side * 3 // 8)


def train_gan(
    data: Dataset,
    *,
    steps: int,
    seed: int,
    width: int = 192,
    depth: int = 1,
    z_dim: int = 64,
    batch_size: int = 64,
    lr_generator: float = 2e-4,
    lr_discriminator: float = 4e-4,
    mode_seeking: float = 0.0,
    ema: float = 0.999,
    bf16: bool = False,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 500,
) -> tuple[Generator, list[dict[str, float]]]:
    """Train a GAN and return the averaged generator and its loss curve.

    Args:
        data: the run's training subset; nothing else is seen.
        steps: generator updates; the discriminator is updated as often.
        mode_seeking: weight of the term that pushes images of different latents apart (Mao et al. 2019, equation 5).
        ema: decay of the averaged generator weights.
        bf16: compute the networks in bfloat16, see ``forward``.
        checkpoint: where to keep the state every ``every`` steps; an existing one of the same settings is resumed.

    Raises:
        FloatingPointError: a loss is not finite; the last checkpoint is untouched.
        ValueError: a width that cannot be halved as often as the side of the images asks for.
        ArtifactError: the checkpoint is damaged or belongs to other settings.

    Source: hinge loss, Lim and Ye 2017; two time scales, Heusel et al. 2017; averaging, Yazici et al. 2019.
    """
    torch.manual_seed(seed)
    shape = data.shape() | {"width": width, "depth": depth}
    generator, critic = Generator(z_dim=z_dim, **shape).to(device), Discriminator(**shape).to(device)
    average = copy.deepcopy(generator).requires_grad_(False)
    optimisers = [
        torch.optim.Adam(generator.parameters(), lr_generator, betas=(0.0, 0.99)),
        torch.optim.Adam(critic.parameters(), lr_discriminator, betas=(0.0, 0.99)),
    ]
    settings = {
        "seed": seed, "width": width, "depth": depth, "z_dim": z_dim, "batch_size": batch_size,
        "lr": [lr_generator, lr_discriminator], "mode_seeking": mode_seeking, "ema": ema, "bf16": bf16,
        "data": artifacts.digest({"images": data.images, "labels": data.labels}),
    }  # fmt: skip
    done, curve = 0, []
    networks = {"generator": generator, "critic": critic, "average": average}
    if checkpoint is not None and checkpoint.exists():
        done, curve = restore_state(checkpoint, networks, optimisers, settings, steps)
    images, labels = data.images.to(device), data.labels.to(device)
    run = partial(forward, bf16=bf16)
    for step in runtime.progress(range(done, steps), "GAN"):
        rng = runtime.generator(seed * 1_000_003 + step, device)  # per step, so that resuming changes nothing
        fakes_of = lambda: run(generator, torch.randn(batch_size, z_dim, generator=rng, device=device), y)
        pick = torch.randint(len(labels), (batch_size,), generator=rng, device=device)
        x, y = images[pick], labels[pick]

        both = torch.cat((diff_augment(x, rng), diff_augment(fakes_of().detach(), rng)))
        real, fake = run(critic, both, y.repeat(2)).chunk(2)
        loss_critic = F.relu(1 - real).mean() + F.relu(1 + fake).mean()
        update(optimisers[1], loss_critic)

        critic.requires_grad_(False)
        y = y[: batch_size // 2].repeat(2)  # two latents a label, for the mode-seeking term
        z = torch.randn(len(y), z_dim, generator=rng, device=device)
        fakes = run(generator, z, y)
        loss_generator = -run(critic, diff_augment(fakes, rng), y).mean()
        apart = lambda a, b: (a - b).abs().flatten(1).mean(1)
        ratio = apart(*fakes.chunk(2)) / apart(*z.chunk(2))
        update(optimisers[0], loss_generator + mode_seeking / (ratio.mean() + 1e-5))
        critic.requires_grad_(True)

        follow(average, generator, step, ema)
        store = checkpoint is not None and ((step + 1) % every == 0 or step + 1 == steps)
        if (step + 1) % 50 == 0 or step + 1 == steps or store:
            losses = {"step": step + 1, "critic": loss_critic.item(), "generator": loss_generator.item()}
            if not all(map(torch.isfinite, (loss_critic, loss_generator))):
                raise FloatingPointError(f"the GAN's loss is not finite at step {step + 1}: {losses}; lower the rates")
            curve.append(losses)
        if store:
            store_state(checkpoint, networks, optimisers, settings, step + 1, curve)
    return average.eval(), curve


def forward(network: torch.nn.Module, *inputs: torch.Tensor, bf16: bool) -> torch.Tensor:
    """Return what a network makes of its inputs, as float32; ``bf16`` lets autocast compute it in bfloat16.

    Weights, losses and averages stay float32, so bfloat16's range needs no scaling of the loss.
    """
    with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=bf16):
        return network(*inputs).float()


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
    path: Path, networks: dict[str, torch.nn.Module], optimisers: list[torch.optim.Optimizer], settings: dict,
    step: int, curve: list[dict[str, float]],
) -> None:  # fmt: skip
    """Write all that a training needs to go on after ``step``, atomically."""
    tensors = {f"{n}/{k}": v for n, network in networks.items() for k, v in network.state_dict().items()}
    for i, optimiser in enumerate(optimisers):
        for p, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser{i}/{p}/{k}": torch.as_tensor(v) for k, v in state.items()}
    artifacts.save_tensors(path, tensors, {"settings": settings, "step": step, "curve": curve})


def restore_state(
    path: Path, networks: dict[str, torch.nn.Module], optimisers: list[torch.optim.Optimizer], settings: dict,
    steps: int,
) -> tuple[int, list[dict[str, float]]]:  # fmt: skip
    """Load what ``store_state`` wrote into networks and optimisers; return the steps taken so far and the curve.

    Raises:
        ArtifactError: the file is damaged, of other settings, or holds more than ``steps`` steps.
    """
    tensors, meta = artifacts.load_tensors(path)
    if meta.get("settings") != settings:
        raise artifacts.ArtifactError(f"{paths.shown(path)} was made with other settings {meta.get('settings')}, "
                                      f"this run has {settings}; delete it to start anew")  # fmt: skip
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
        raise artifacts.ArtifactError(f"{path.name} holds {meta['step']} steps, more than the {steps} asked for; "
                                      "delete it to start anew")  # fmt: skip
    return meta["step"], meta["curve"]
