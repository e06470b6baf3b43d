"""GM-GAN: erosions and dilations with a learned scale as layers, and the two perceptrons of a GAN around them."""

import torch
from torch import nn
from torch.nn import functional as F

METRICS = ("disc", "euclid", "flat")
HIDDEN = (128, 256, 512, 1024)  # of the generator's perceptron, as in the code whose defaults the paper has
CHANNELS = 8
WINDOW = 5
CORNER = 0.9  # where the window's corner lies in the unit disc, whose border is infinitely far away


def distances(window: int, metric: str) -> torch.Tensor:
    """Return how far each place of a window is from its centre, float32 (window, window).

    Args:
        metric: ``disc``, the hyperbolic distance in the Poincare disc, or ``euclid``, that in the plane.

    Source: GM-GAN, section 4.2: d(x, y) = arccosh(1 + 2 |x - y|^2 / ((1 - |x|^2) (1 - |y|^2))), here with x = 0.
    """
    line = torch.linspace(-1, 1, window, dtype=torch.float64) * CORNER / 2**0.5
    squared = line[:, None].square() + line.square()
    return (torch.arccosh(1 + 2 * squared / (1 - squared)) if metric == "disc" else squared.sqrt()).float()


def structuring(distance: torch.Tensor, t: torch.Tensor, *, k: float = 2.0) -> torch.Tensor:
    """Return the structuring function: 0 at the centre, and steeper the smaller the scale t > 0 is.

    Args:
        k: above 1, the power of the gradient in the equation that it solves.

    Source: GM-GAN, proposition 2: b(d) = c d^(k / (k - 1)) / t^(1 / (k - 1)), c = (k - 1) / k^(k / (k - 1)).
    """
    return (k - 1) / k ** (k / (k - 1)) * distance ** (k / (k - 1)) / t ** (1 / (k - 1))


def dilation(maps: torch.Tensor, structure: torch.Tensor) -> torch.Tensor:
    """Return for each pixel the largest of its window's values less the structuring function; at least the pixel's own.

    Args:
        maps: float (N, C, H, W). structure: float (C, w, w), w odd, 0 at the centre. Beyond the border nothing counts.
    """
    where, which = highest(maps.detach(), structure.detach())
    # gathered, because gradients through a maximum of so many shifted maps would take ten times as long
    steps = structure.flatten(1).expand(len(maps), -1, -1).gather(2, which)
    return (maps.flatten(2).gather(2, where) - steps).view(maps.shape)


def highest(maps: torch.Tensor, structure: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pixel that each pixel's dilation takes its value from, and that pixel's place in the window.

    Returns:
        int64 (N, C, H * W) each; where values tie, the centre, and then the first.
    """
    (height, width), window = maps.shape[2:], structure.shape[-1]
    half = window // 2
    padded, largest = F.pad(maps, [half] * 4, value=-torch.inf), maps
    last = torch.zeros(maps.shape, dtype=torch.int16, device=maps.device)
    for place in range(window**2):
        i, j = divmod(place, window)
        value = padded[:, :, i : i + height, j : j + width] - structure[:, i, j, None, None]
        # the largest place whose value was the largest so far, as they rise, counted from 1: 0 is the centre
        last = torch.maximum(last, (value > largest).short() * (place + 1))
        largest = torch.maximum(largest, value)
    which = torch.where(last > 0, last - 1, half * window + half).flatten(2).long()
    shift = (which // window - half) * width + which % window - half
    return torch.arange(height * width, device=maps.device) + shift, which


def erosion(maps: torch.Tensor, structure: torch.Tensor) -> torch.Tensor:
    """Return for each pixel the smallest of its window's values plus the structuring function; at most its own."""
    return -dilation(-maps, structure)


class Morphoblock(nn.Module):
    """Erode and dilate maps (N, C, H, W), each with a learned scale a channel, convolve both, and add them.

    Args:
        metric: one of ``METRICS``. ``flat`` is the control of equal convolutions without a learned scale: a max-pooling
            and a ReLU, which are dilations by flat structuring functions (GM-GAN, propositions 4 and 5).

    Source: GM-GAN, section 4.3.
    """

    def __init__(self, channels: int, metric: str):
        super().__init__()
        self.curved = metric != "flat"
        if self.curved:
            # softplus of it is 1
            self.scales = nn.Parameter(torch.full((2, channels, 1, 1), 1.0).expm1().log())
            self.register_buffer("distance", distances(WINDOW, metric), persistent=False)
        self.eroded = nn.Conv2d(channels, channels, 3, padding=1)
        self.dilated = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.curved:
            low, high = structuring(self.distance, F.softplus(self.scales))
            return self.eroded(erosion(x, low)) + self.dilated(dilation(x, high))
        return self.eroded(F.relu(x)) + self.dilated(F.max_pool2d(x, WINDOW, 1, WINDOW // 2))


class MorphoGenerator(nn.Module):
    """Map latents (N, z_dim) and labels (N,) to images (N, channels, side, side) in [0, 1].

    Args:
        metric: of the two ``Morphoblock``; side: in pixels, a multiple of 8.

    Source: GM-GAN, figure 2; what it leaves unsaid is ours: the class joined to the latent, 8 maps of 8x8 pixels spread
    to the full side by a convolution, so that the last layer of the perceptron needs no 8 million weights.
    """

    def __init__(self, *, n_classes: int, channels: int = 1, z_dim: int = 100, side: int = 32, metric: str = "disc"):
        super().__init__()
        if metric not in METRICS:
            raise ValueError(f"metric is {metric!r}; allowed are {', '.join(METRICS)}")
        self.settings = {"network": "gm", "n_classes": n_classes, "channels": channels, "z_dim": z_dim}
        self.settings |= {"side": side, "metric": metric}
        self.n_classes, self.channels, self.z_dim, self.side = n_classes, channels, z_dim, side
        sizes, layers = (z_dim + n_classes, *HIDDEN), []
        for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
            layers += [nn.Linear(inputs, outputs), *([nn.BatchNorm1d(outputs)] if i else []), nn.LeakyReLU(0.2)]
        self.perceptron = nn.Sequential(*layers)
        self.spread = nn.Conv2d(HIDDEN[-1] // 64, CHANNELS * (side // 8) ** 2, 3, padding=1)
        self.blocks = nn.Sequential(Morphoblock(CHANNELS, metric), Morphoblock(CHANNELS, metric))
        self.out = nn.Conv2d(CHANNELS, channels, 3, padding=1)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        h = self.perceptron(told(z, labels, self.n_classes))
        h = F.pixel_shuffle(self.spread(h.view(len(z), -1, 8, 8)), self.side // 8)
        return torch.sigmoid(self.out(self.blocks(h)))


class PerceptronCritic(nn.Module):
    """Score images (N, channels, side, side) given labels (N,); higher is more real."""

    def __init__(self, *, n_classes: int, channels: int = 1, side: int = 32):
        super().__init__()
        self.n_classes, sizes = n_classes, (channels * side**2 + n_classes, 512, 256)
        layers = [layer for i, o in zip(sizes, sizes[1:]) for layer in (nn.Linear(i, o), nn.LeakyReLU(0.2))]
        self.perceptron = nn.Sequential(*layers, nn.Linear(256, 1))

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.perceptron(told(images.flatten(1) * 2 - 1, labels, self.n_classes))[:, 0]


def told(values: torch.Tensor, labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return values (N, d) of size 1 and beside them the classes, one-hot, as float (N, d + n_classes).

    A class is a single place of hundreds: it is sqrt(d) and not 1, so that at first it weighs as much as all values.
    """
    return torch.cat((values, F.one_hot(labels, n_classes) * values.shape[1] ** 0.5), 1)
