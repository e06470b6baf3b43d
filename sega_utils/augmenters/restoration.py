"""Restoration: a small network that doubles the side of images, trained on pairs of halved and whole ones.

transformers is imported where it is used: it takes seconds, and most of what imports this module restores nothing.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters import base
from sega_utils.core import learning
from sega_utils.data.images import Dataset, batched, resize

TIMES, WINDOW = 2, 8  # how many times the side grows; pixels a side that attention sees
WRONG = "the loss is {loss} at step {step}; lower lr"


class Restorer(nn.Module):
    """Twice the side: what bicubic enlargement gives, and what Swin2SR adds to it; untrained, it adds nothing.

    Args:
        channels: of the images; side: in pixels, of what comes in, a multiple of ``WINDOW``.
        width: channels inside, a multiple of 6; stages, depth: of attention, and blocks in each.

    Raises:
        ValueError: a side or width that the network cannot be built for.

    Source: Conde et al. 2022 (Swin2SR); the residual structure is FLARE's section 3.1, the sum with bicubic that of
    Kim, Lee and Lee 2016.
    """

    def __init__(self, *, channels: int = 1, side: int = 32, width: int = 24, stages: int = 2, depth: int = 2):
        super().__init__()
        if side < WINDOW or side % WINDOW or width < 6 or width % 6:
            raise ValueError(
                f"received side {side} and width {width}; allowed are multiples of {WINDOW} and of 6, from these on"
            )
        from transformers import Swin2SRConfig, Swin2SRForImageSuperResolution

        self.settings = {"channels": channels, "side": side, "width": width, "stages": stages, "depth": depth}
        heads = {"depths": [depth] * stages, "num_heads": [6] * stages, "window_size": WINDOW}
        size = {"image_size": side, "num_channels": channels, "embed_dim": width, "upscale": TIMES}
        still = {"drop_path_rate": 0.0}
        config = Swin2SRConfig(**heads, **size, **still, upsampler="pixelshuffledirect")
        self.network = Swin2SRForImageSuperResolution(config)
        self.network.swin2sr.mean.zero_()  # which it would add again to what is only the difference from bicubic
        for tensor in self.network.upsample.conv.parameters():
            nn.init.zeros_(tensor)

    def sized(self, side: int) -> "Restorer":
        """Return the same network, frozen, for images of another side, which only its masks depend on."""
        other = Restorer(**self.settings | {"side": side})
        return learning.freeze(other, self.state_dict(), next(self.parameters()).device)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float32 (N, C, S, S) in [0, 1] to (N, C, 2 S, 2 S), near [0, 1]."""
        return resize(images, TIMES * images.shape[-1]) + self.network(images).reconstruction


def train_restorer(
    data: Dataset,
    *,
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
    width: int = 24,
    batch_size: int = 16,
    lr: float = 2e-3,
    ema: float = 0.99,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    every: int = 100,
) -> tuple[Restorer, list[dict[str, float]]]:
    """Train a network to make whole images of halved ones; return the averaged one and its loss curve.

    Args:
        data: the run's training subset; nothing else is seen. Half of the images are mirrored where they may be.
        steps, seconds: updates, CPU seconds; what is first ends the training, see ``learning.Steps``.
        lr: Adam's peak learning rate; its course is ``learning.one_cycle``. ema: decay of the averaged weights.
        checkpoint: where to keep the state every ``every`` steps; an existing one of the same settings is resumed.

    Raises:
        FloatingPointError: a loss is not finite. ArtifactError: the checkpoint is damaged or of other settings.
        ValueError: images that are none, or a width, batch size or ema that is not allowed.

    Source: mean absolute error, Liang et al. 2021 (SwinIR), equation 8.
    """
    base.check_data(data.images, data.labels, len(data.class_names))
    check_settings(batch_size, ema)
    torch.manual_seed(seed)
    shape = data.shape()
    model = Restorer(channels=shape["channels"], side=shape["side"] // TIMES, width=width).to(device)
    optimiser = torch.optim.Adam(model.parameters(), lr)
    settings = {"seed": seed, "steps": steps, "seconds": seconds, "batch_size": batch_size, "lr": lr, "ema": ema}
    run = base.training(
        model, optimiser, data, settings, path=checkpoint, every=every, label="restoration", wrong=WRONG
    )
    images, average = data.images.to(device), run.state.networks["average"]
    for step in run:
        rng = learning.chance(seed, step, device)
        whole = images[torch.randint(len(images), (batch_size,), generator=rng, device=device)]
        if data.mirrors and torch.rand((), generator=rng, device=device) < 0.5:
            whole = whole.flip(3)
        loss = F.l1_loss(model(resize(whole, shape["side"] // TIMES)), whole)
        base.schedule(optimiser, [lr], run.progress())
        learning.update(loss, optimiser)
        learning.follow(average, model, step, ema)
        run.note(loss=loss)
    return average.eval().requires_grad_(False), run.curve


def check_settings(batch_size: int, ema: float) -> None:
    """Refuse settings that nothing can be trained with.

    Raises:
        ValueError: the message says what is allowed.
    """
    if batch_size < 1 or not 0 <= ema < 1:
        raise ValueError(f"batch_size is {batch_size} and ema {ema}; allowed are 1 or more, and 0 .. 1, 1 excluded")


@torch.no_grad()
def restore(model: nn.Module, images: torch.Tensor, *, batch: int = 100) -> torch.Tensor:
    """Return images float32 (N, C, S, S) in [0, 1] at twice the side, in [0, 1], on the CPU.

    The network takes any side that its windows fill, whichever it was trained at.

    Raises:
        ValueError: none, or images of other channels than the network's, not square, not finite float32, or of a side
            that its windows do not fill.
    """
    channels, device = model.settings["channels"], next(model.parameters()).device
    if images.ndim != 4 or images.shape[1] != channels or images.shape[2] != images.shape[3] or not len(images):
        raise ValueError(
            f"received images {tuple(images.shape)}; the network restores (N, {channels}, S, S), N of 1 or more"
        )
    if images.dtype != torch.float32 or not images.isfinite().all():
        raise ValueError(f"images must be finite float32; received {images.dtype}: convert them, look for NaN")
    sized = model.sized(images.shape[-1])
    return batched(lambda part: sized(part.to(device)).clamp(0, 1).cpu(), images, size=batch)
