"""The BigGAN generator of PyTorch-StudioGAN, and its published checkpoints, read without running code they hold."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters.base import save_generator
from sega_utils.core import artifacts, learning, paths, schema
from sega_utils.core.artifacts import ArtifactError

# Pixels of a side: number of blocks, and whether they halve the channels. Each takes a part of the latent, and so does
# the layer before them.
BLOCKS = {32: (3, False), 64: (4, True)}


class ConditionalNorm(nn.Module):
    """Batch normalisation whose gain and bias are linear in a condition (N, inputs)."""

    def __init__(self, channels: int, inputs: int):
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=1e-4, affine=False)
        self.gain = nn.Linear(inputs, channels, bias=False)
        self.bias = nn.Linear(inputs, channels, bias=False)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        return self.bn(x) * (1 + self.gain(condition))[..., None, None] + self.bias(condition)[..., None, None]


class Block(nn.Module):
    """Double the resolution: two convolutions beside a shortcut of one."""

    def __init__(self, before: int, after: int, inputs: int):
        super().__init__()
        self.bn1, self.bn2 = ConditionalNorm(before, inputs), ConditionalNorm(after, inputs)
        self.conv2d0 = nn.Conv2d(before, after, 1)
        self.conv2d1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2d2 = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        h = self.conv2d1(F.interpolate(F.relu(self.bn1(x, condition)), scale_factor=2))
        return self.conv2d2(F.relu(self.bn2(h, condition))) + self.conv2d0(F.interpolate(x, scale_factor=2))


class Attention(nn.Module):
    """Let every position look at all others, at half the resolution (Zhang et al. 2019, equations 1 to 3)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1x1_theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.conv1x1_phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.conv1x1_g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.conv1x1_attn = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.sigma = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        queries = self.conv1x1_theta(x).flatten(2)
        keys, values = (F.max_pool2d(conv(x), 2).flatten(2) for conv in (self.conv1x1_phi, self.conv1x1_g))
        looks = (queries.mT @ keys).softmax(2)  # (N, positions, positions / 4)
        return x + self.sigma * self.conv1x1_attn((values @ looks.mT).unflatten(2, x.shape[2:]))


class BigGan(nn.Module):
    """Map latents (N, z_dim) and labels (N,) to colour images (N, 3, side, side) in [0, 1].

    Args:
        z_dim: a multiple of the number of blocks plus 1: of 4 at 32 pixels, of 5 at 64.
        width: channels at 4x4, StudioGAN's ``g_conv_dim`` times 4 at 32 pixels and times 16 at 64; a multiple of 16,
            and of 8 where self-attention stands.
        shared_dim: length of the class embedding that all blocks share.
        attention: where self-attention stands in the sequence of blocks, counted from 0.
        side: pixels, a key of ``BLOCKS``.

    Source: Brock, Donahue and Simonyan 2019; the defaults are StudioGAN's for CIFAR-10.
    """

    channels = 3

    def __init__(
        self,
        *,
        n_classes: int,
        z_dim: int = 80,
        width: int = 384,
        shared_dim: int = 128,
        attention: Sequence[int] = (2,),
        side: int = 32,
    ):
        super().__init__()
        self.settings = {
            "network": "biggan",
            "n_classes": n_classes,
            "z_dim": z_dim,
            "width": width,
            "shared_dim": shared_dim,
            "attention": list(attention),
            "side": side,
        }
        self.n_classes, self.z_dim, self.side = n_classes, z_dim, side
        blocks, halve = BLOCKS[side]
        self.parts = blocks + 1
        inputs = z_dim // self.parts
        self.linear0 = nn.Linear(inputs, width * 16)
        self.shared = nn.Embedding(n_classes, shared_dim)
        self.blocks = nn.ModuleList()
        for i in range(blocks + len(attention)):
            before, width = width, width >> (halve and i not in attention)
            part = Attention(width) if i in attention else Block(before, width, shared_dim + inputs)
            self.blocks.append(nn.ModuleList([part]))
        self.bn4 = nn.BatchNorm2d(width, eps=1e-4)
        self.conv2d5 = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        first, *rest = z.chunk(self.parts, 1)
        conditions = iter([torch.cat((self.shared(labels), part), 1) for part in rest])
        h = self.linear0(first).view(len(z), -1, 4, 4)
        for (part,) in self.blocks:
            h = part(h) if isinstance(part, Attention) else part(h, next(conditions))
        return (torch.tanh(self.conv2d5(F.relu(self.bn4(h)))) + 1) / 2


def load_studiogan(path: Path, device: torch.device | str = "cpu") -> BigGan:
    """Return the frozen generator, in eval mode, of a StudioGAN checkpoint of a BigGAN (``big_resnet``, ``cBN``).

    Its sizes are read off its weights, so that no configuration is needed. Take the averaged one, ``model=G_ema-...``.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: the file is damaged, holds more than weights and plain values, or weights of another layout.

    Source: Kang, Shin and Park 2023, PyTorch-StudioGAN, ``src/models/big_resnet.py``.
    """
    state = learning.load_plain(path)
    try:
        weights = without_spectral_norm(state["state_dict"])
        generator = BigGan(**settings_of(weights))
        generator.load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RuntimeError) as error:
        raise ArtifactError(
            f"{paths.shown(path)} is no generator of a BigGAN by PyTorch-StudioGAN (big_resnet, cBN; 32 or 64 pixels): "
            f"{type(error).__name__}: {str(error)[:300]}; give the file model=G_ema-... of such a model"
        ) from error
    schema.check_finite(generator.state_dict(), path)
    return generator.to(device).eval().requires_grad_(False)


def without_spectral_norm(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state whose weights are divided by their spectral norm, once and for all, as evaluation has them.

    Source: Miyato et al. 2018, algorithm 1: the norm of W is u W v, with the u and v that training left.
    """
    normalised = ("weight_orig", "weight_u", "weight_v")
    plain = {name: tensor for name, tensor in state.items() if not name.endswith(normalised)}
    for name in (name.removesuffix("_orig") for name in state if name.endswith("weight_orig")):
        weight = state[f"{name}_orig"]
        plain[name] = weight / (state[f"{name}_u"] @ weight.flatten(1) @ state[f"{name}_v"])
    return plain


def settings_of(weights: Mapping[str, torch.Tensor]) -> dict:
    """Return the arguments of ``BigGan`` that weights were made with; a missing one is a KeyError."""
    n_classes, shared_dim = weights["shared.weight"].shape
    found = lambda part: (re.fullmatch(rf"blocks\.(\d+)\.0\.{part}", name) for name in weights)
    places = lambda part: [int(match[1]) for match in found(part) if match]
    blocks = len(places("conv2d0.weight"))
    width, inputs = weights["linear0.weight"].shape
    return {
        "n_classes": n_classes,
        "shared_dim": shared_dim,
        "attention": places("sigma"),
        "width": width // 16,
        "z_dim": inputs * (blocks + 1),
        "side": {n: side for side, (n, _) in BLOCKS.items()}[blocks],
    }


def adopt(path: Path, target: Path, *, run: str, dataset: str) -> str:
    """Convert a checkpoint to a generator for runs that use what ``run`` uses, and return its digest.

    Raises:
        ValueError: the run uses a part of the training images only, or its images are of another shape or of another
            number of classes.
        FileNotFoundError, ArtifactError: the checkpoint, or the run's real images, are missing or damaged.
    """
    generator = load_studiogan(path)
    tensors, real = artifacts.load_tensors(paths.require(run, dataset, "real"))
    if real["fraction"] != 1:
        raise ValueError(
            f"run {run!r} uses a share of {real['fraction']} of the training images, but a published "
            "generator saw all of them; set FRACTION = 1 in 00_data, or train one"
        )
    if generator.n_classes != len(real["class_names"]):
        raise ValueError(f"{path.name} draws {generator.n_classes} classes, {dataset} has {len(real['class_names'])}")
    if (shape := tuple(tensors["images"].shape[1:])) != (generator.channels, generator.side, generator.side):
        raise ValueError(
            f"{path.name} draws colour images of {generator.side} pixels a side; those of {dataset} are "
            f"{shape}: channels, rows, columns"
        )
    origin = {"source": path.name, "source_sha256": artifacts.sha256(path)}
    return save_generator(target, generator, origin | {"data": real["sha256"], "curve": []})
