"""Classifiers for small images in [0, 1]: their networks, one training of a fixed number of steps, their accuracy."""

import copy
import itertools
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core import learning, runtime
from sega_utils.data import augment
from sega_utils.data.images import Dataset
from sega_utils.training import mixture


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a parameter-free shortcut (He et al. 2016, section 4.2, option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.stride, self.extra = stride, outputs - inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)), inplace=True)))  # spares a walk through memory
        if self.stride > 1:
            x = F.max_pool2d(x, 1, self.stride)  # a slice's gradient would not be channels last
        h = h + (F.pad(x, (0, 0, 0, 0, 0, self.extra)) if self.extra else x)
        return F.relu(h, inplace=True)


class ResNet(nn.Module):
    """The CIFAR family of He et al. 2016, section 4.2: 6n + 2 layers in three stages of width, 2x and 4x width.

    Args:
        blocks: n, blocks a stage.
        stem_stride: 1 as in the paper; 2 halves the resolution at once, four times faster.
    """

    def __init__(self, *, n_classes: int, channels: int = 1, blocks: int = 1, width: int = 16, stem_stride: int = 1):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, stem_stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        sizes = [(width << stage, 2 if stage and not block else 1) for stage in range(3) for block in range(blocks)]
        inputs = [width, *(size for size, _ in sizes)]
        self.blocks = nn.Sequential(*(BasicBlock(i, o, s) for i, (o, s) in zip(inputs, sizes, strict=False)))
        self.head = nn.Linear(width << 2, n_classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float32 (N, C, S, S) in [0, 1] to logits (N, n_classes)."""
        x = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
        x = self.blocks(F.relu(self.norm(self.stem(x)), inplace=True))
        return self.head(x.mean((2, 3)))


class Scaled(nn.Module):
    """A network that takes images in [0, 1] and sees them in [-1, 1]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float32 (N, C, S, S) in [0, 1] to logits (N, n_classes)."""
        return self.network((images * 2 - 1).contiguous(memory_format=torch.channels_last))


def resnet18(*, n_classes: int, channels: int) -> nn.Module:
    """Return ResNet-18 (He et al. 2016) that keeps the resolution until its second stage, as is usual at 32x32."""
    from torchvision import models  # takes seconds to import

    network = models.resnet18(num_classes=n_classes)
    network.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
    network.maxpool = nn.Identity()
    return Scaled(network)


def mobilenet_v2(*, n_classes: int, channels: int) -> nn.Module:
    """Return MobileNetV2 (Sandler et al. 2018) without the first two of its five halvings."""
    from torchvision import models  # takes seconds to import

    network = models.mobilenet_v2(num_classes=n_classes)
    network.features[0][0] = nn.Conv2d(channels, 32, 3, 1, 1, bias=False)
    network.features[2].conv[1][0].stride = (1, 1)
    return Scaled(network)


def vgg16(*, n_classes: int, channels: int) -> nn.Module:
    """Return VGG-16 (Simonyan and Zisserman 2015) with batch norm and a single linear layer, on the mean of the side's
    last pixels, of which 32 leave one."""
    from torchvision import models  # takes seconds to import

    network = models.vgg16_bn(num_classes=n_classes)
    network.features[0] = nn.Conv2d(channels, 64, 3, 1, 1)
    network.avgpool, network.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, n_classes)
    return Scaled(network)


def vit_tiny(*, n_classes: int, channels: int, side: int = 32) -> nn.Module:
    """Return ViT-Tiny (Touvron et al. 2021) over 8x8 patches, of 4x4 pixels where the side is 32."""
    import timm  # takes seconds to import

    return Scaled(
        timm.create_model(
            "vit_tiny_patch16_224", img_size=side, patch_size=side // 8, num_classes=n_classes, in_chans=channels
        )
    )


CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "resnet8-half": lambda **kw: ResNet(blocks=1, width=16, stem_stride=2, **kw),
    "resnet8": lambda **kw: ResNet(blocks=1, width=16, **kw),
    "resnet20": lambda **kw: ResNet(blocks=3, width=16, **kw),
    "resnet18": resnet18,
    "mobilenet-v2": mobilenet_v2,
    "vgg16": vgg16,
    "vit-tiny": vit_tiny,
}
WRONG = "the loss is {loss} at step {step}; lower the learning rate"
SGD = {"momentum": 0.9, "nesterov": True}
TRANSFORMERS = {"vit-tiny"}  # SGD trains these badly; they get AdamW, and they are made for one side


def build(name: str, *, n_classes: int, channels: int, side: int = 32) -> nn.Module:
    """Return an untrained classifier of images with ``side`` pixels a side.

    Raises:
        ValueError: a name that is not a key of ``CLASSIFIERS``.
    """
    if name not in CLASSIFIERS:
        raise ValueError(f"unknown classifier {name!r}; known are {', '.join(CLASSIFIERS)}")
    sized = {"side": side} if name in TRANSFORMERS else {}
    return CLASSIFIERS[name](n_classes=n_classes, channels=channels, **sized)


@torch.no_grad()
def predict(model: nn.Module, images: torch.Tensor, *, batch: int = 500) -> torch.Tensor:
    """Return the class of the highest logit of each image, int64 (N,).

    Raises:
        ValueError: the model is in train mode, where batch statistics would make the result depend on the batch.
    """
    if model.training:
        raise ValueError("the model is in train mode; call model.eval() first")
    device = next((tensor.device for tensor in model.parameters()), images.device)
    parts = [model(part.to(device)).argmax(1) for part in images.split(batch)]
    return torch.cat(parts).to(images.device) if parts else torch.empty(0, dtype=torch.int64)


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of images whose predicted class is their label, 0 .. 1; the model must be in eval mode."""
    return float((predict(model, images) == labels).double().mean())


def cross_entropy(model: nn.Module, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of a batch, whose targets are distributions (N, K) or labels int64 (N,)."""
    return F.cross_entropy(model(images).float(), targets)


def weights_of(model: nn.Module, objective: Callable) -> list[nn.Parameter]:
    """Return the weights that a training changes: the model's, and those of an objective that is a module itself."""
    return [*model.parameters(), *(objective.parameters() if isinstance(objective, nn.Module) else ())]


def smoothed(labels: torch.Tensor, n_classes: int, smoothing: float) -> torch.Tensor:
    """Return targets float32 (N, n_classes) of labels int64 (N,), a part of each spread evenly over all classes.

    Source: Szegedy et al. 2016, section 7.
    """
    return F.one_hot(labels, n_classes).float() * (1 - smoothing) + smoothing / n_classes


def train_classifier(
    real: Dataset,
    *,
    synthetic: tuple[torch.Tensor, torch.Tensor] | None = None,
    real_targets: torch.Tensor | None = None,
    classifier: str = "resnet8-half",
    steps: int = 1000,
    batch_size: int = 96,
    lr: float = 0.1,
    weight_decay: float = 1e-3,
    pixel: bool = True,
    policy: str = "none",
    mixing: str = "none",
    ratio: float = 0.3,
    batches: str = "mixed",
    precision: str = "float32",
    compile: bool = False,
    averaging: float = 0.0,
    objective: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor] = cross_entropy,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Train a classifier and return it in eval mode.

    Args:
        real: the run's training subset; ``real_targets`` float32 (N, n_classes) replace its labels.
        synthetic: images float32 (M, C, S, S), targets float32 (M, n_classes): distributions times an image's weight.
        batch_size: images a step sees, real and synthetic together: arms of one batch size cost the same.
        lr: peak of ``learning.one_cycle``, for SGD with Nesterov momentum 0.9 (AdamW for a transformer).
        pixel, policy, mixing: see ``augmented``. precision, compile, averaging, objective: see ``prepare``.
        ratio: synthetic share of what is seen, 0 .. 1 exclusive; batches: how it is spread, of ``mixture.BATCHES``.
        device: where images, augmentation and mixing stay for all steps.

    Raises:
        ValueError: an unknown option, a wrong ratio, or as ``prepare``. FloatingPointError: the loss is not finite.

    Source: poster, Robust Training with Augmentation, whose ratio is 0.3.
    """
    check_options(pixel=pixel, policy=policy, mixing=mixing, ratio=ratio, batches=batches)
    real_share = mixture.real_of(batch_size, ratio) if synthetic is not None and batches == mixture.APART else 0
    setting = {"precision": precision, "compile": compile, "averaging": averaging, "seed": seed, "device": device}
    setting |= {"objective": objective, "weight_decay": weight_decay, "real_share": real_share}
    model, optimise = prepare(real, classifier=classifier, steps=steps, lr=lr, **setting)
    real_targets = F.one_hot(real.labels, len(real.class_names)).float() if real_targets is None else real_targets
    rng, alone = runtime.generator(seed, device), round(ratio * steps) * (batches == mixture.ALONE)
    drawn = mixture.batches((real.images, real_targets), synthetic, size=batch_size, ratio=ratio, rng=rng, alone=alone)
    change = partial(augmented, pixel=pixel, policy=policy, mixing=mixing, mirrors=real.mirrors, rng=rng)
    for _, batch in zip(run := learning.Steps(steps, every=100, wrong=f"{WRONG} ({lr})"), drawn, strict=False):
        run.note(loss=optimise(*(mixture.apart(change, batch, real_share) if real_share else change(*batch))))
    return mixture.join_norms(model).eval()


def check_options(*, pixel: bool, policy: str, mixing: str, ratio: float, batches: str = "mixed") -> None:
    """Refuse options of ``train_classifier`` that are unknown, or a ratio outside its range.

    Raises:
        ValueError: the message lists what is allowed.
    """
    for name, value, allowed in (
        ("policy", policy, augment.POLICIES),
        ("mixing", mixing, augment.MIXING),
        ("batches", batches, mixture.BATCHES),
    ):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")
    if not isinstance(pixel, bool):
        raise ValueError(f"pixel is {pixel!r}; allowed are true and false")
    if not 0 < ratio < 1:
        raise ValueError(f"ratio is {ratio}; allowed is 0 .. 1, both excluded; leave synthetic away for none")


def augmented(
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    pixel: bool,
    policy: str,
    mixing: str,
    mirrors: bool,
    rng: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a batch augmented image by image, and then mixed with itself.

    Args:
        pixel: crop (up to a sixteenth of the side) real and synthetic images, and flip them where ``mirrors``.
        policy: a key of ``augment.POLICIES``, applied image by image after crop and flip.
        mixing: a key of ``augment.MIXING``.
    """
    if pixel:
        images = augment.shift(images, rng, pad=images.shape[-1] // 16, flip=mirrors)
    images = augment.POLICIES[policy](images)
    if mixing == "none":
        return images, targets
    order = torch.randperm(len(images), generator=rng, device=rng.device)  # partners across real and synthetic
    return augment.MIXING[mixing](images[order], targets[order])


def prepare(
    real: Dataset,
    *,
    classifier: str,
    steps: int,
    lr: float,
    weight_decay: float,
    precision: str,
    compile: bool,
    seed: int,
    device: torch.device | str,
    real_share: int = 0,
    averaging: float = 0.0,
    objective: Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor] = cross_entropy,
) -> tuple[nn.Module, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]]:
    """Return a new classifier, and what takes a batch and its targets, makes one of ``steps`` and returns the loss.

    Targets are distributions or int64 labels; all other arguments are those of ``train_classifier``.

    Args:
        precision: of the classifier's forward and backward pass, see ``runtime.autocast``; loss, optimiser, and the
            model that is returned are float32.
        compile: fuse the classifier's operations with torch.compile, which takes minutes at first and rounds otherwise.
        real_share: the first images of each batch, whose norms are split from those of all others; 0 splits none.
        averaging: decay of the running average of weights and statistics that is returned instead; 0 takes the last.
        objective: returns the float32 loss of a classifier in train mode, a batch and its targets; see ``weights_of``.

    Raises:
        ValueError: an unknown classifier, or as ``runtime.autocast``.
    """
    autocast = runtime.autocast(precision, device)
    torch.manual_seed(seed)
    model = build(classifier, **real.shape()).to(device)
    if real_share:
        mixture.split_norms(model, real_share)
    kind, more = (torch.optim.AdamW, {}) if classifier in TRANSFORMERS else (torch.optim.SGD, SGD)
    optimiser = kind(weights_of(model, objective), lr, weight_decay=weight_decay, **more)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning.one_cycle(step / steps))
    forward = torch.compile(model) if compile else model
    average, count = copy.deepcopy(model) if averaging else model, itertools.count()

    def optimise(images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with autocast:
            loss = objective(forward, images, targets)
        learning.update(loss, optimiser, schedules=(schedule,))
        if averaging:
            learning.follow(average, model, next(count), averaging, statistics=True)
        return loss

    return average, optimise
