"""Policies that change images by operations drawn for each: RandAugment, AugMix, PixMix, photometric, affine, mango.

Their operations are torchvision's. Its own policies go image by image; here, images that drew the same operation of the
same strength go through it together, which is what makes the longer ones as quick as TrivialAugment.

All take images float (N, C, S, S) in [0, 1] and return such. The randomness is torch's own generator, on the CPU; no
gradients flow.
"""

import math

import torch
from torch import nn

from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.data.leaves import dead_leaves

WITHOUT_STRENGTH = ("Identity", "AutoContrast", "Equalize")
ONE_WAY = ("Posterize", "Solarize")  # the others go either way, by a coin
PICTURES = 256  # dead leaves that PixMix mixes in


def strengths(levels: int, *, shift: float, bits: int) -> dict[str, torch.Tensor]:
    """Return the strengths of each operation, float32 (levels,), from the weakest on; all 0 where there are none.

    Args:
        shift: largest translation in pixels; bits: that the weakest posterisation keeps.

    Source: torchvision's tables, after Cubuk et al. 2020 and Hendrycks et al. 2020.
    """
    to = lambda highest: torch.linspace(0.0, highest, levels)
    found = {"ShearX": 0.3, "ShearY": 0.3, "TranslateX": shift, "TranslateY": shift, "Rotate": 30.0}
    found |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), 0.9)
    kept = (bits - torch.arange(levels) / ((levels - 1) / 4)).round()
    table = {name: to(highest) for name, highest in found.items()} | {"Posterize": kept}
    return table | {"Solarize": torch.linspace(1.0, 0.0, levels)} | dict.fromkeys(WITHOUT_STRENGTH, torch.zeros(levels))


def operate(images: torch.Tensor, name: str, strength: float, *, interpolation: str) -> torch.Tensor:
    """Return images uint8 (N, C, S, S) after one operation of ``strengths``, as torchvision's policies do it.

    Args:
        interpolation: nearest or bilinear, where pixels move.
    """
    from torchvision.transforms.v2 import functional as F  # torchvision takes seconds to import

    def moved(*, shear: tuple = (0.0, 0.0), shift: tuple = (0, 0), centre: list | None = None) -> torch.Tensor:
        how = {"shear": list(shear), "translate": list(shift), "center": centre, "interpolation": interpolation}
        return F.affine(images, angle=0.0, scale=1.0, **how)

    degrees, corner = math.degrees(math.atan(strength)), [0, 0]
    operations = {
        "Identity": lambda: images,
        "ShearX": lambda: moved(shear=(degrees, 0.0), centre=corner),
        "ShearY": lambda: moved(shear=(0.0, degrees), centre=corner),
        "TranslateX": lambda: moved(shift=(int(strength), 0)),
        "TranslateY": lambda: moved(shift=(0, int(strength))),
        "Rotate": lambda: F.rotate(images, strength, interpolation=interpolation),
        "Brightness": lambda: F.adjust_brightness(images, 1 + strength),
        "Color": lambda: F.adjust_saturation(images, 1 + strength),
        "Contrast": lambda: F.adjust_contrast(images, 1 + strength),
        "Sharpness": lambda: F.adjust_sharpness(images, 1 + strength),
        "Posterize": lambda: F.posterize(images, int(strength)),
        "Solarize": lambda: F.solarize(images, 255 * strength),
        "AutoContrast": lambda: F.autocontrast(images),
        "Equalize": lambda: F.equalize(images),
    }
    return operations[name]()


def varied(images: torch.Tensor, table: dict[str, torch.Tensor], levels: range, *, interpolation: str) -> torch.Tensor:
    """Return images uint8 (N, C, S, S), each after an operation that is drawn for it.

    Args:
        table: of ``strengths``, all of whose operations are as likely; levels: of the strengths that are drawn.
    """
    names, n = list(table), len(images)
    kinds = torch.randint(len(names), (n,))
    sizes = torch.stack(list(table.values()))[kinds, torch.randint(levels.start, levels.stop, (n,))]
    one_way = torch.tensor([name in ONE_WAY for name in names])[kinds]
    sizes = torch.where((torch.rand(n) < 0.5) & ~one_way, -sizes, sizes)
    groups: dict[tuple[int, float], list[int]] = {}
    for i, key in enumerate(zip(kinds.tolist(), sizes.tolist(), strict=True)):
        groups.setdefault(key, []).append(i)
    changed = torch.empty_like(images)
    for (kind, size), mine in groups.items():
        changed[mine] = operate(images[mine], names[kind], size, interpolation=interpolation)
    return changed


def randaugment(images: torch.Tensor) -> torch.Tensor:
    """Change every image by two random operations of one strength.

    Source: Cubuk et al. 2020, section 3, with torchvision's defaults: N = 2, level 9 of 31.
    """
    changed, table = to_uint8(images), strengths(31, shift=150.0 / 331.0 * images.shape[-1], bits=8)
    for _ in range(2):
        changed = varied(changed, table, range(9, 10), interpolation="nearest")
    return from_uint8(changed)


def augmented(images: torch.Tensor) -> torch.Tensor:
    """Return images uint8 (N, C, S, S), each after one operation as AugMix draws it: one of its three weakest levels.

    Source: torchvision's AugMix, after Hendrycks et al. 2020, appendix D.
    """
    table = strengths(10, shift=images.shape[-1] / 3, bits=4)
    del table["Identity"]
    return varied(images, table, range(3), interpolation="bilinear")


def augmix(images: torch.Tensor) -> torch.Tensor:
    """Mix every image with three chains of one to three operations on it, in random shares.

    The loss that AugMix adds, which asks for the same answer on several mixtures, is left out, as in torchvision.

    Source: Hendrycks et al. 2020, algorithm 1, with alpha = 1.
    """
    n, chains = len(images), to_uint8(images).repeat(3, 1, 1, 1)
    depth = torch.randint(1, 4, (3 * n,))
    for done in range(3):
        longer = (depth > done).nonzero()[:, 0].to(images.device)
        chains[longer] = augmented(chains[longer])
    share = torch.distributions.Dirichlet(torch.ones(2)).sample((n,))
    shares = torch.distributions.Dirichlet(torch.ones(3)).sample((n,)) * share[:, 1:]
    weights = torch.cat((share[:, :1], shares), 1).to(images.device)
    parts = torch.cat((images[None], from_uint8(chains).view(3, *images.shape)))
    return torch.einsum("np,pnchw->nchw", weights, parts).clamp(0, 1)


def pixmix(images: torch.Tensor) -> torch.Tensor:
    """Mix every image up to four times with an operation on it, or with a picture of ``dead_leaves``.

    The authors mix in fractals and feature visualisations that others have made; dead leaves are made from a seed.

    Source: Hendrycks et al. 2022, figure 4, with k = 4 and beta = 3.
    """
    (n, channels, side, _), rounds = images.shape, 4
    copies, whole = images.repeat(rounds + 1, 1, 1, 1, 1), to_uint8(images)
    pictures = dead_leaves(PICTURES, channels=channels, side=side, device=images.device)
    copies[1:] = pictures[torch.randint(PICTURES, (n,)).to(images.device)]
    place, which = (torch.rand(rounds + 1, n) < 0.5).nonzero().to(images.device).unbind(1)
    copies[place, which] = from_uint8(augmented(whole[which]))
    mixed, times = copies[0], torch.randint(rounds + 1, (n,))
    for done in range(rounds):
        again = (times > done).nonzero()[:, 0].to(images.device)
        mixed[again] = mixed_with(mixed[again], copies[done + 1][again], beta=3.0)
    return mixed


def mixed_with(images: torch.Tensor, others: torch.Tensor, *, beta: float) -> torch.Tensor:
    """Return images mixed with others by sums or by products, a coin says which, in random shares and cut to [0, 1].

    Source: Hendrycks et al. 2022, their code: the shares a and b add up to about one, or b is taken away.
    """
    n = len(images)
    most, least = (torch.distributions.Beta(*of) for of in ((beta, 1.0), (1.0, beta)))
    away = torch.rand(n) < 0.5
    a = torch.where(away, 1 + least.sample((n,)), most.sample((n,)))
    b = least.sample((n,)) * torch.where(away, -1, 1)
    product = torch.rand(n) < 0.5
    a, b, product = (part.to(images.device)[:, None, None, None] for part in (a, b, product))
    return torch.where(product, multiplied(images, others, a, b), summed(images, others, a, b)).clamp(0, 1)


def summed(images: torch.Tensor, others: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a weighted sum of images about middle grey."""
    return (a * (2 * images - 1) + b * (2 * others - 1) + 1) / 2


def multiplied(images: torch.Tensor, others: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return a weighted product of images, in which middle grey is one."""
    return (2 * images) ** a * (2 * others).clamp(min=1e-37) ** b / 2


def photometric(images: torch.Tensor) -> torch.Tensor:
    """Make every image darker or lighter, by a factor of 0.5 .. 1.5, and its middle tones, by a gamma of 0.6 .. 1.6.

    Source: brightness as in Krizhevsky et al. 2012, section 4.1, in random strength (Howard 2013).
    """
    uniform = lambda: torch.rand(len(images), 1, 1, 1).to(images.device)
    gamma = torch.exp((2 * uniform() - 1) * math.log(1.6))
    return (images**gamma * (0.5 + uniform())).clamp(0, 1)


def affine(images: torch.Tensor) -> torch.Tensor:
    """Stretch every image by a factor of 0.7 .. 1.4 in each direction, turn it by up to 15 degrees, and shear it.

    Source: Simard, Steinkraus and Platt 2003, section 2, without their elastic part.
    """
    n = len(images)
    either = lambda most: (2 * torch.rand(n) - 1) * most
    wide, tall = (torch.exp(either(math.log(1.4))) for _ in range(2))
    turn, shear, still = either(math.radians(15)), either(0.2), torch.zeros(n)
    across = torch.stack((turn.cos() / wide, (shear - turn.sin()) / wide, still), 1)
    down = torch.stack((turn.sin() / tall, turn.cos() / tall, still), 1)
    grid = nn.functional.affine_grid(torch.stack((across, down), 1), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid.to(images.device), align_corners=False)


def one_of(*versions: torch.Tensor) -> torch.Tensor:
    """Return images (N, C, S, S), each from one of its versions, of the same shape, as likely each."""
    n = len(versions[0])
    return torch.stack(versions)[torch.randint(len(versions), (n,)), torch.arange(n)]


def turned(images: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return images turned to the left by an angle each; what comes into view is what they mirror.

    Args:
        images: float (N, C, S, S). angle: float (N,), in radians, on any device.
    """
    angle = angle.to(images)
    cos, sin, none = angle.cos(), angle.sin(), torch.zeros_like(angle)
    rows = torch.stack([cos, -sin, none], 1), torch.stack([sin, cos, none], 1)
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def distorted(images: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Return images that look where the corners of a grid have moved to; between corners, moves are interpolated.

    Args:
        images: float (N, C, S, S).
        moves: float (N, 2, G, G), how far each corner moves to the right and down, in pixels.
    """
    side = images.shape[-1]
    field = nn.functional.interpolate(moves.to(images), (side, side), mode="bilinear", align_corners=True)
    still = torch.eye(2, 3).expand(len(images), -1, -1).to(images)
    grid = nn.functional.affine_grid(still, list(images.shape), align_corners=False)
    grid = grid + field.permute(0, 2, 3, 1) * 2 / side  # an image is 2 wide there
    return nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def mango(images: torch.Tensor) -> torch.Tensor:
    """Return for each image itself, or it turned, distorted, or in other light, as chance has it: as likely each.

    It turns by up to 5 degrees to the left or 10 to the right, moves the inner corners of a grid of 4 x 4 tiles by up
    to 8 pixels, and has 0.3 .. 1.2 times the light. The paper's flips are left out: a policy is not told whether a
    mirrored image is still one of its class; the pixel augmentation is, and flips left and right.

    Source: Mangoes Ripeness Grading: Vision Based Approach (ICPR 2024), section 2.2: the set and five images of each,
        of one operation each. Unsaid is the side that has 8 pixels: ours is 224, that of its smaller networks.
    """
    n, most = len(images), 8 * images.shape[-1] / 224
    angle, light = torch.deg2rad(15 * torch.rand(n) - 10), 0.3 + 0.9 * torch.rand(n, 1, 1, 1).to(images)
    moves = nn.functional.pad(most * (2 * torch.rand(n, 2, 3, 3) - 1), (1, 1, 1, 1))  # the border stays
    return one_of(images, turned(images, angle), distorted(images, moves), images * light).clamp(0, 1)
