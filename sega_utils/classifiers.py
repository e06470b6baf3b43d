"""Classifiers for small images in [0, 1], and their accuracy."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F


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
        h = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            x = F.max_pool2d(x, 1, self.stride)  # a slice's gradient would not be channels last
        return F.relu(h + (F.pad(x, (0, 0, 0, 0, 0, self.extra)) if self.extra else x))


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
        x = self.blocks(F.relu(self.norm(self.stem(x))))
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

    return Scaled(timm.create_model("vit_tiny_patch16_224", img_size=side, patch_size=side // 8, num_classes=n_classes,
                                    in_chans=channels))  # fmt: skip


CLASSIFIERS: dict[str, Callable[..., nn.Module]] = {
    "resnet8-half": lambda **kw: ResNet(blocks=1, width=16, stem_stride=2, **kw),
    "resnet8": lambda **kw: ResNet(blocks=1, width=16, **kw),
    "resnet20": lambda **kw: ResNet(blocks=3, width=16, **kw),
    "resnet18": resnet18,
    "mobilenet-v2": mobilenet_v2,
    "vgg16": vgg16,
    "vit-tiny": vit_tiny,
}

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
