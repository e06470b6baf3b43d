"""A small class-conditional diffusion model, from diffusers: the baseline for what an image costs.

diffusers is imported where it is used: it takes seconds, and most of what imports this module draws nothing by it.
"""

import copy
from pathlib import Path

import torch
from torch.nn import functional as F

from sega_utils.augmenters.base import check_labels
from sega_utils.core import artifacts, runtime
from sega_utils.core.learning import State, Steps, chance, follow, load_network, one_cycle, save_network, update
from sega_utils.data.images import Dataset, check_images

# at the first of few sampling steps the image is all noise: a predicted velocity says more there than predicted noise
NOISE = {"num_train_timesteps": 1000, "beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"}
PATCH = 2  # pixels of 2x2 become channels: four times fewer positions, which makes a CPU fast enough


def build_denoiser(*, n_classes: int, channels: int = 1, width: int = 24, side: int = 32) -> torch.nn.Module:
    """Return an untrained denoiser of images whose 2x2 pixels are stacked into channels.

    Args:
        width: channels at half the side, doubled at a quarter and an eighth of it; a multiple of 8.
        side: of the images in pixels, one of ``images.SIDES``.

    Raises:
        ValueError: such a width cannot be normalised in groups of 8.

    Source: Ho, Jain and Abbeel 2020, without attention; stacking after Hoogeboom, Heek and Salimans 2023, section 2.4.
    """
    if width < 8 or width % 8:
        raise ValueError(f"width is {width}; allowed are multiples of 8 from 8 on")
    from diffusers import UNet2DModel

    stacked = channels * PATCH**2
    model = UNet2DModel(
        sample_size=side // PATCH,
        in_channels=stacked,
        out_channels=stacked,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(width, 2 * width, 2 * width),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        num_class_embeds=n_classes,
        add_attention=False,
    )
    model.settings = {"n_classes": n_classes, "channels": channels, "width": width, "side": side}
    return model.to(memory_format=torch.channels_last)


def train_diffusion(
    data: Dataset,
    *,
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
    width: int = 24,
    batch_size: int = 64,
    lr: float = 1e-3,
    ema: float = 0.998,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 250,
) -> tuple[torch.nn.Module, list[dict[str, float]]]:
    """Train a denoiser of noisy images; return the averaged one and its loss curve.

    Args:
        data: the run's training subset; nothing else is seen.
        steps, seconds: updates, CPU seconds; what is first ends the training, see ``learning.Steps``.
        lr: Adam's peak learning rate; its course is ``learning.one_cycle``.
        ema: decay of the averaged weights.
        checkpoint: where to keep the state every ``every`` steps; an existing one of the same settings is resumed.

    Raises:
        FloatingPointError: a loss is not finite; the last checkpoint is untouched.
        ArtifactError: the checkpoint is damaged or belongs to other settings.
    """
    from diffusers import DDPMScheduler

    torch.manual_seed(seed)
    model = build_denoiser(**data.shape(), width=width).to(device)
    average = copy.deepcopy(model).requires_grad_(False)
    optimiser, noising = torch.optim.Adam(model.parameters(), lr), DDPMScheduler(**NOISE)
    settings = {"seed": seed, "steps": steps, "width": width, "batch_size": batch_size, "lr": lr, "ema": ema}
    settings |= {} if seconds is None else {"seconds": seconds}  # the rate's course depends on them
    settings["data"] = artifacts.digest({"images": data.images, "labels": data.labels})
    state = State(checkpoint, every, {"model": model, "average": average}, [optimiser], settings)
    wrong = f"the loss is {{loss}} at step {{step}}; lower lr ({lr})"
    run = Steps(steps, seconds=seconds, label="diffusion", wrong=wrong, state=state)
    images, labels = data.images.to(device) * 2 - 1, data.labels.to(device)
    for step in run:
        rng = chance(seed, step, device)
        pick = torch.randint(len(labels), (batch_size,), generator=rng, device=device)
        optimiser.param_groups[0]["lr"] = lr * one_cycle(run.progress())
        loss = velocity_loss(model, noising, images[pick], labels[pick], rng=rng)
        update(loss, optimiser)
        follow(average, model, step, ema)
        run.note(loss=loss)
    return average.eval(), run.curve


def velocity_loss(
    model: torch.nn.Module, noising: object, images: torch.Tensor, labels: torch.Tensor, *, rng: torch.Generator
) -> torch.Tensor:
    """Return how far the model is from the velocity of images (N, C, S, S) in [-1, 1], each noised at random.

    Source: Ho, Jain and Abbeel 2020, algorithm 1; cosine schedule, Nichol and Dhariwal 2021; velocity, Salimans and Ho
    2022.
    """
    clean = F.pixel_unshuffle(images, PATCH)
    noise = torch.randn(clean.shape, generator=rng, device=clean.device)
    at = torch.randint(NOISE["num_train_timesteps"], (len(labels),), generator=rng, device=clean.device)
    predicted = model(noising.add_noise(clean, noise, at), at, labels).sample
    return F.mse_loss(predicted, noising.get_velocity(clean, noise, at))


def sample_ddim(
    model: torch.nn.Module,
    labels: torch.Tensor,
    *,
    seeds: torch.Tensor | None = None,
    steps: int = 25,
    eta: float = 0.0,
    seed: int = 0,
    batch: int = 64,
) -> torch.Tensor:
    """Draw one image for each label by DDIM: deterministic at eta = 0, and at eta = 1 what ``sample_ddpm`` draws.

    Args:
        labels, seeds, seed: as for ``reverse``.
        steps: evaluations of the model for each image, 1 .. 1000.
        eta: share of the noise that DDPM adds at each step, 0 .. 1.

    Returns:
        float32 (N, C, S, S) in [0, 1] on the model's device.

    Raises:
        ValueError: a label the model was not trained on, steps or eta outside their range.

    Source: Song, Meng and Ermon 2021, equations 12 and 16.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}; allowed are 0 .. 1")
    # with noise, the predicted noise must fit the clipped image, as in DDPM; without it, it is left as predicted
    options = {"eta": eta, "use_clipped_model_output": eta > 0}
    from diffusers import DDIMScheduler

    schedule = DDIMScheduler(**NOISE, timestep_spacing="trailing")
    return reverse(model, labels, schedule, options, seeds=seeds, steps=steps, seed=seed, batch=batch)


def sample_ddpm(
    model: torch.nn.Module,
    labels: torch.Tensor,
    *,
    seeds: torch.Tensor | None = None,
    steps: int = 1000,
    seed: int = 0,
    batch: int = 64,
) -> torch.Tensor:
    """Draw one image for each label by DDPM; with fewer than 1000 steps, by as many of them, evenly spread.

    Args, Returns, Raises: as for ``sample_ddim``.

    Source: Ho, Jain and Abbeel 2020, algorithm 2, with the posterior's variance (section 3.2).
    """
    from diffusers import DDPMScheduler

    schedule = DDPMScheduler(**NOISE, timestep_spacing="trailing", variance_type="fixed_small")
    return reverse(model, labels, schedule, {}, seeds=seeds, steps=steps, seed=seed, batch=batch)


def redraw(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    seeds: torch.Tensor,
    strength: float = 0.5,
    steps: int = 25,
    batch: int = 64,
) -> torch.Tensor:
    """Draw one variation of each image: it is noised part of the way, and goes back from there by DDIM.

    Args:
        images: float32 (N, C, S, S) in [0, 1]; labels, seeds: as for ``reverse``.
        strength: how far the image is noised, 0 .. 1: 0 returns it as it is, 1 draws afresh what ``sample_ddim`` does.
        steps: of the whole way, of which the share ``strength`` is taken.

    Returns:
        float32 (N, C, S, S) in [0, 1] on the model's device.

    Raises:
        ValueError: images of another shape than the model's, as many labels or seeds as there are not images, a
            strength outside its range, or as ``sample_ddim``.

    Source: Meng et al. 2022 (SDEdit), algorithm 1, with DDIM as the way back.
    """
    channels, side = model.settings["channels"], model.settings["side"]
    if images.shape != (len(labels), channels, side, side) or len(seeds) != len(labels):
        raise ValueError(
            f"received images {tuple(images.shape)}, {len(labels)} labels and {len(seeds)} seeds; the model takes "
            f"(N, {channels}, {side}, {side}), and one label and one seed an image"
        )
    check_images(images)
    if not 0 <= strength <= 1:
        raise ValueError(f"strength is {strength}; allowed are 0 .. 1")
    from diffusers import DDIMScheduler

    schedule, begun = DDIMScheduler(**NOISE, timestep_spacing="trailing"), (images, strength)
    options = {"eta": 0.0, "use_clipped_model_output": False}
    return reverse(model, labels, schedule, options, seeds=seeds, steps=steps, seed=0, batch=batch, begun=begun)


@torch.no_grad()
def reverse(
    model: torch.nn.Module,
    labels: torch.Tensor,
    schedule: object,
    options: dict,
    *,
    seeds: torch.Tensor | None,
    steps: int,
    seed: int,
    batch: int,
    begun: tuple[torch.Tensor, float] | None = None,
) -> torch.Tensor:
    """Go back from noise to images, in the steps of a schedule.

    Args:
        labels: int64 (N,), 0 .. n_classes - 1.
        options: of the schedule's ``step``.
        seeds: int64 (N,), of the noise that each image begins as and of what its steps add; without them, all noise
            comes from ``seed``, and an image depends on those before it.
        begun: images (N, C, S, S) in [0, 1] to begin with instead of noise, and the share of the steps that is taken.
    """
    from diffusers.utils.torch_utils import randn_tensor

    channels, side = model.settings["channels"], model.settings["side"]
    check_labels(labels, model.settings["n_classes"])
    if not 1 <= steps <= NOISE["num_train_timesteps"]:
        raise ValueError(f"steps is {steps}; allowed are 1 .. {NOISE['num_train_timesteps']}")
    schedule.set_timesteps(steps)
    times = schedule.timesteps[round(steps * (1 - begun[1])) :] if begun else schedule.timesteps
    shape, parts = noise_shape(model), [torch.empty(0, channels, side, side, device=model.device)]
    shared = runtime.generator(seed)
    for i, some in enumerate(labels.split(batch)):
        rng = shared if seeds is None else [runtime.generator(one) for one in seeds.split(batch)[i].tolist()]
        images = randn_tensor((len(some), *shape), generator=rng or shared).to(model.device)
        if begun:
            clean = F.pixel_unshuffle(begun[0].split(batch)[i].to(model.device) * 2 - 1, PATCH)
            images = schedule.add_noise(clean, images, times[:1]) if len(times) else clean
        for at in times:
            predicted = model(images, at, some.to(model.device)).sample
            images = schedule.step(predicted, at, images, generator=rng or shared, **options).prev_sample
        parts.append(((F.pixel_shuffle(images, PATCH) + 1) / 2).clamp(0, 1))
    return torch.cat(parts)


def noise_shape(model: torch.nn.Module) -> tuple[int, int, int]:
    """Return the shape of the noise that one image begins as."""
    return model.settings["channels"] * PATCH**2, model.settings["side"] // PATCH, model.settings["side"] // PATCH


def save_diffusion(path: Path, model: torch.nn.Module, meta: dict) -> str:
    """Write a model's weights, in half precision, and settings atomically; return their digest."""
    return save_network(path, model, meta | {"settings": model.settings}, half=True)


def load_diffusion(path: Path, device: torch.device | str = "cpu") -> torch.nn.Module:
    """Return a frozen model in eval mode with ``settings`` and ``meta``; errors as of ``learning.load_network``."""
    build = lambda meta, _: build_denoiser(**meta["settings"])
    return load_network(path, build, what="diffusion model of this package", device=device)
