"""Few-shot adaptation: a GAN of seen classes learns to draw unseen ones from a few images of each.

A teacher, all of whose weights train, goes to the unseen classes first. A student follows it with adapters alone, so
that what it draws of the seen classes cannot change. Both keep images as alike as the source's of the same latents.
"""

import copy
import itertools
import math

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.augmenters import base, gan, losses
from sega_utils.core import artifacts
from sega_utils.data.images import Dataset

State = tuple[dict[str, torch.Tensor], dict]
DISTILLED = 2.0  # weight of the squared difference from the teacher, as printed
RATE = 2e-3  # of the adapters, ours: few weights, many of which begin at 0, need longer steps than a whole network's
DRAWN = 32  # images of each seen class that tell which of them an unseen class begins as


def cdc(target: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    """Return how differently two generators' images of the same latents relate to each other; 0 if alike, a scalar.

    Each image's cosines with all others, as a softmax, are compared by the divergence KL(target || source), in nats.

    Args:
        target, source: float (B, C, S, S), B at least 3; image i of both is of latent i.

    Raises:
        ValueError: different shapes, or fewer than 3 images.

    Source: cross-domain correspondence, Ojha et al. 2021, equations 1 to 3, on output images as CFTS-GAN (ICPR 2024)
        prints it; the former compare features of every layer.
    """
    if target.shape != source.shape:
        raise ValueError(
            f"received images {tuple(target.shape)} and {tuple(source.shape)}; draw both of the same latents"
        )
    if len(target) < 3:
        raise ValueError(
            f"received {len(target)} images; allowed are 3 and more: with 2 each has a single other one, whose "
            "probability is 1 whatever the images are, so that the loss is always 0"
        )
    of = lambda images: relations(images).log_softmax(1)
    return F.kl_div(of(source), of(target), log_target=True, reduction="batchmean")


def relations(images: torch.Tensor) -> torch.Tensor:
    """Return the cosine of each image with each other one, float (B, B - 1)."""
    flat = F.normalize(images.flatten(1), dim=1)
    others = ~torch.eye(len(images), dtype=torch.bool, device=images.device)
    return (flat @ flat.T)[others].view(len(images), -1)


class Rows(nn.Module):
    """A frozen ``gan.ConditionalBatchNorm``, and behind its rows one to train for each unseen class.

    Args:
        starts: for each unseen class the seen one whose row it begins as.
    """

    def __init__(self, norm: gan.ConditionalBatchNorm, starts: list[int]):
        super().__init__()
        self.norm = norm
        self.scale = nn.Parameter(norm.scale.weight[starts].detach().clone())
        self.shift = nn.Parameter(norm.shift.weight[starts].detach().clone())

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        pairs = (self.norm.scale.weight, self.scale), (self.norm.shift.weight, self.shift)
        scale, shift = (torch.cat(pair)[labels][..., None, None] for pair in pairs)
        return self.norm.norm(x) * scale + shift

    def train(self, mode: bool = True) -> nn.Module:
        """Stay as in evaluation: the statistics are the source's, for all classes."""
        return super().train(False)


class AdaptedBlock(nn.Module):
    """A frozen ``gan.GeneratorBlock``, and a 1x1 residual convolution, at first of zeros, for unseen classes alone."""

    def __init__(self, block: gan.GeneratorBlock, seen: int, starts: list[int]):
        super().__init__()
        block.norm = Rows(block.norm, starts)
        block.norms = nn.ModuleList(Rows(norm, starts) for norm in block.norms)
        self.block, self.seen = block, seen
        self.conv = nn.Conv2d(block.up.out_channels, block.up.out_channels, 1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = self.block(x, labels)
        # chosen, and not multiplied by 0 or 1: a seen class's images must not even be able to change
        return torch.where((labels >= self.seen)[:, None, None, None], x + self.conv(x), x)


class Adapted(nn.Module):
    """Map latents (N, z_dim) and labels (N,) to images: a copy of a source, frozen, with adapters for unseen classes.

    Until these are trained, an unseen class's images are what the source draws of the seen one that it starts as.

    Args:
        source: whose seen classes keep their numbers; starts: as in ``Rows``, of the classes numbered behind them.

    Source: the student of CFTS-GAN (ICPR 2024); what an adapter is, is unsaid: the rows and convolutions are ours.
    """

    def __init__(self, source: gan.Generator, starts: list[int]):
        super().__init__()
        self.settings = {"source": source.settings, "starts": starts}
        self.n_classes, self.z_dim = source.n_classes + len(starts), source.z_dim
        self.channels, self.side = source.channels, source.side
        self.source = copy.deepcopy(source).eval().requires_grad_(False)
        blocks = [AdaptedBlock(block, source.n_classes, starts) for block in self.source.blocks]
        self.source.blocks, self.source.norm = nn.ModuleList(blocks), Rows(self.source.norm, starts)

    def forward(self, z: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return self.source(z, labels)


def grown(source: gan.Generator, starts: list[int]) -> gan.Generator:
    """Return a copy of a source, all of whose weights train, with rows for unseen classes as in ``Adapted``."""
    network = gan.Generator(**source.settings | {"n_classes": source.n_classes + len(starts)})
    rows = {name for name, part in network.state_dict().items() if part.shape != source.state_dict()[name].shape}
    more = lambda name, part: torch.cat((part, part[starts])) if name in rows else part
    network.load_state_dict({name: more(name, part) for name, part in source.state_dict().items()})
    return network


class Corresponding(gan.Duel):
    """A duel whose generator keeps the relations of the images that it began with, and may follow a teacher.

    Args:
        begun: the generator before its training, frozen. weight: of ``cdc``; 0 leaves it out.
        teacher: frozen; ``DISTILLED`` times the mean squared difference from its images joins the loss.
        rates: that differ from those of hinge, whose losses these are.
    """

    def __init__(
        self,
        generator: nn.Module,
        critic: gan.Discriminator,
        begun: nn.Module,
        *,
        weight: float,
        teacher: nn.Module | None = None,
        **rates: float,
    ):
        super().__init__(generator, critic, losses.loss_of("hinge", **rates), None, device="cpu", **gan.OWN)
        self.begun, self.weight, self.teacher = begun, weight, teacher

    def extra(self, z: torch.Tensor, labels: torch.Tensor, fakes: torch.Tensor) -> torch.Tensor | float:
        """Return the weighted terms that pull images towards the teacher's and towards the relations of the source."""
        found = DISTILLED * F.mse_loss(fakes, self.teacher(z, labels)) if self.teacher else 0.0
        return found + self.weight * cdc(fakes, self.begun(z, labels)) if self.weight else found


def later_half(critic: gan.Discriminator) -> list[nn.Parameter]:
    """Return the weights of the later half of a critic's layers, its head among them, which alone go on training.

    Source: Mo et al. 2020 (FreezeD); CFTS-GAN trains the last 24 of 36 layers.
    """
    pairs = itertools.zip_longest(critic.same, critic.down, fillvalue=nn.Identity())
    layers = [critic.stem, *itertools.chain(*pairs)]
    kept = [*layers[len(layers) // 2 :], critic.linear, critic.embed]
    return [weight for layer in kept for weight in layer.parameters()]


def fit_source(
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    num_classes: int,
    seed: int,
    steps: int | None = None,
    seconds: float | None = None,
    width: int = 64,
    **settings: object,
) -> State:
    """Train the source on images of seen classes, as ``gan.train_gan`` says; its meta names what it has seen.

    Args:
        images, labels: as ``Dataset`` holds them, of every class at least one. steps, seconds: at least one of them.
        settings: of ``gan.train_gan``.

    Raises:
        ValueError: as ``base.check_data`` and ``gan.train_gan``.
    """
    base.check_data(images, labels, num_classes)
    data = Dataset(images, labels, tuple(map(str, range(num_classes))))
    network, _ = gan.train_gan(data, seed=seed, steps=steps, seconds=seconds, width=width, **settings)
    seen = artifacts.digest({"images": images, "labels": labels})
    return network.state_dict(), {"augmenter": "source GAN", "settings": network.settings, "seen": seen}


def adapt(
    source: State,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    steps: int = 300,
    teacher_steps: int = 300,
    w_teacher: float = 40.0,
    w_student: float = 20.0,
    batch_size: int = 16,
    seed: int,
) -> State:
    """Return a generator of unseen classes, for ``sample``, from a few images of each and a source of others.

    Its meta names what the source has ``seen``, and the ``few``.

    Args:
        source: of ``fit_source``. images, labels: of the unseen classes, numbered from 0 on, as ``Dataset`` holds them.
        steps, teacher_steps: generator updates of student and teacher, at least 1.
        w_teacher, w_student: weights of ``cdc``; without it, at 0, this is plain fine-tuning, and what follows it.
        batch_size: of the critic; the generator draws two images for each label of half of it.

    Raises:
        ValueError: as ``base.check_data``; images of another shape than the source's; a setting out of its range.
        ArtifactError: no state of a source. FloatingPointError: a loss is not finite.

    Source: CFTS-GAN (ICPR 2024); its loss is hinge with DiffAugment here, batch, rates and steps are unsaid: ours.
    """
    check_settings(steps, teacher_steps, w_teacher, w_student, batch_size)
    first = base.revive(lambda settings: gan.Generator(**settings), source, "cpu")
    check_few(first, images, labels)
    starts = starts_of(first, images, labels, seed)
    seen = first.n_classes
    names = tuple(map(str, range(seen + len(starts))))
    data, often = Dataset(images, labels + seen, names), {"seed": seed, "batch_size": batch_size}
    torch.manual_seed(seed)
    teacher, critic = taught(first, starts, data, steps=teacher_steps, weight=w_teacher, **often)
    student = followed(first, starts, data, teacher, critic, steps=steps, weight=w_student, **often)
    few = artifacts.digest({"images": images, "labels": labels})
    told = {"augmenter": "adapted GAN", "settings": student.settings, "seen": source[1]["seen"], "few": few}
    return student.state_dict(), told


def check_settings(steps: int, teacher_steps: int, w_teacher: float, w_student: float, batch_size: int) -> None:
    """Refuse settings of ``adapt`` that are out of their ranges.

    Raises:
        ValueError: one is.
    """
    if min(steps, teacher_steps) < 1:
        raise ValueError(f"steps is {steps} and teacher_steps {teacher_steps}; allowed are whole numbers from 1 on")
    if not (0 <= w_teacher < math.inf and 0 <= w_student < math.inf):
        raise ValueError(f"w_teacher is {w_teacher} and w_student {w_student}; allowed are numbers from 0 on")
    if batch_size < 4:  # half of its labels twice, see gan.Duel.update_generator
        raise ValueError(f"batch_size is {batch_size}; allowed is 4 and more, for at least two pairs of drawn images")


def check_few(source: gan.Generator, images: torch.Tensor, labels: torch.Tensor) -> None:
    """Refuse a few images that are none, leave a class out, or are of other channels or sides than the source's.

    Raises:
        ValueError: they are or do.
    """
    base.check_data(images, labels, int(labels.max()) + 1 if len(labels) else 1)
    allowed = (source.channels, source.side, source.side)
    if images.shape[1:] != allowed:
        raise ValueError(f"received images {tuple(images.shape[1:])}; allowed are those of the source, {allowed}")


def starts_of(source: gan.Generator, images: torch.Tensor, labels: torch.Tensor, seed: int) -> list[int]:
    """Return for each unseen class the seen one that it begins as: that whose drawn images have the nearest mean.

    Which class's images the unseen ones correspond to is unsaid; the nearest is ours.
    """
    classes = torch.arange(source.n_classes).repeat_interleave(DRAWN)
    mean = lambda images, labels: torch.stack([images[labels == c].mean(0).flatten() for c in labels.unique()])
    theirs = mean(base.generate(source, classes, seed=seed), classes)
    return torch.cdist(mean(images, labels), theirs).argmin(1).tolist()


def taught(
    source: gan.Generator, starts: list[int], data: Dataset, *, steps: int, weight: float, **often: int
) -> tuple[gan.Generator, gan.Discriminator]:
    """Return a teacher, averaged and frozen, all of whose weights were trained on ``data``, and its critic.

    The critic is new, which is ours: of a source only the generator is kept.

    Args:
        data: the few images, labelled behind the seen classes. weight: of ``cdc``. often: ``seed`` and ``batch_size``.
    """
    network, shape = grown(source, starts), {name: source.settings[name] for name in ("width", "depth")}
    begun = copy.deepcopy(network).eval().requires_grad_(False)
    critic = gan.Discriminator(**data.shape(), **shape)
    return fought(Corresponding(network, critic, begun, weight=weight), data, steps, **often), critic


def followed(
    source: gan.Generator,
    starts: list[int],
    data: Dataset,
    teacher: gan.Generator,
    critic: gan.Discriminator,
    *,
    steps: int,
    weight: float,
    **often: int,
) -> Adapted:
    """Return a student, averaged and frozen, whose adapters alone trained, on ``data`` and on what a teacher draws.

    Args:
        critic: the teacher's, of which the later half trains on; the others as for ``taught``.
    """
    network = Adapted(source, starts)
    begun = copy.deepcopy(network).requires_grad_(False)
    duel = Corresponding(network, critic, begun, weight=weight, teacher=teacher, lr_generator=RATE)
    duel.optimisers[1] = torch.optim.Adam(later_half(critic), duel.loss.lr_discriminator, tuple(duel.loss.betas))
    return fought(duel, data, steps, **often)


def fought(duel: gan.Duel, data: Dataset, steps: int, *, seed: int, batch_size: int) -> nn.Module:
    """Train both networks of a duel; return the averaged generator."""
    kept = {"seconds": None, "device": "cpu", "checkpoint": None, "every": 500}
    return gan.fight(duel, data, {}, seed=seed, batch_size=batch_size, ema=0.999, steps=steps, **kept)[0]


def network_of(state: State) -> Adapted:
    """Return the adapted generator of a state, frozen; it draws the seen classes, and behind them the unseen ones.

    Raises:
        ArtifactError: the state of another augmenter, or other weights than it says.
    """
    build = lambda settings: Adapted(gan.Generator(**settings["source"]), settings["starts"])
    return base.revive(build, state, "cpu")


def sample(state: State, labels: torch.Tensor, seed: int, *, batch: int = 250) -> torch.Tensor:
    """Draw an image of each label's unseen class, float32 (N, C, S, S) in [0, 1]; image i from a seed of its own.

    Args:
        labels: int64 (N,), of the unseen classes, numbered from 0 on as they were to ``adapt``.

    Raises:
        ValueError: as ``base.check_labels``. ArtifactError: as ``network_of``.
    """
    network = network_of(state)
    seen = network.source.n_classes
    base.check_labels(labels, network.n_classes - seen)
    z = base.noise_of(base.seeds_of(seed, len(labels)), network.z_dim)
    return base.generate(network, labels + seen, z=z, batch=batch)
