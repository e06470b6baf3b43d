"""The class-conditional BigGAN generator, its parts named as in the checkpoints of PyTorch-StudioGAN."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

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
        self, *, n_classes: int, z_dim: int = 80, width: int = 384, shared_dim: int = 128,
        attention: Sequence[int] = (2,), side: int = 32,
    ):  # fmt: skip
        super().__init__()
        self.settings = {"network": "biggan", "n_classes": n_classes, "z_dim": z_dim, "width": width,
                         "shared_dim": shared_dim, "attention": list(attention), "side": side}  # fmt: skip
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
