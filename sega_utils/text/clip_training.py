"""Train the embedded CLIP stand-in on captions made of class names and measured attributes."""

import copy
import random
from collections.abc import Iterator

import torch
from torch.nn import functional as F

from sega_utils.core import runtime
from sega_utils.core.learning import Steps, follow, one_cycle, shuffled, update
from sega_utils.data import augment
from sega_utils.data.images import Dataset, resize
from sega_utils.text import attributes
from sega_utils.text.clip import SIDE, Clip, Vocabulary, build_clip, embed, vocabulary_of

BARE = "a photo of a {}"  # the zero-shot prompt: Radford et al. 2021, section 3.1.4
WRONG = "the CLIP loss is {loss} at step {step}; lower the learning rate"


def caption(class_name: str | None, bins: list[int], rng: random.Random) -> tuple[str, list[int]]:
    """Describe an image by its class name and a random choice of its attribute words, in random order.

    Args:
        class_name: None leaves the class unsaid.
        bins: the image's tercile of each attribute, 0 .. 2.

    Returns:
        The caption, and the tercile it claims of each attribute, -1 where it claims nothing.
    """
    said, words = [-1] * len(bins), []
    for a, names in enumerate(attributes.WORDS.values()):
        if names[bins[a]] and rng.random() < 0.5:
            said[a] = bins[a]
            words.append(names[bins[a]])
    if class_name is not None:
        words.append(rng.choice((class_name, attributes.plural(class_name))))
    rng.shuffle(words)
    return "a photo of a " + " ".join(words), said


def captions(data: Dataset, index: list[int], *, seed: int) -> list[str]:
    """Return one caption for each of some images, as training draws them."""
    bins, rng = attributes.terciles(attributes.measure(data.images), data.labels), random.Random(seed)
    return [caption(data.class_names[data.labels[i]], bins[i].tolist(), rng)[0] for i in index]


def train_clip(
    data: Dataset,
    *,
    steps: int,
    seed: int,
    batch_size: int = 64,
    lr: float = 0.1,
    weight_decay: float = 3e-3,
    lr_text: float = 1e-3,
    contrast: float = 0.3,
    unnamed: float = 0.2,
    ema: float = 0.998,
    bins: torch.Tensor | None = None,
    device: torch.device | str = "cpu",
) -> tuple[torch.nn.Module, list[int], list[dict[str, float]]]:
    """Train a small CLIP from scratch; return the averaged model in eval mode, its vocabulary, and the loss curve.

    Args:
        data: the run's training subset; nothing else is seen.
        lr, weight_decay: of the image tower (SGD with Nesterov momentum 0.9); lr is the peak of one cosine cycle.
        lr_text: of the text tower (AdamW), in the same cycle.
        contrast: weight of the captions beside that of the bare captions; it buys attributes with class accuracy.
        unnamed: share of captions that leave the class unsaid, so that attribute words mean something on their own.
        ema: decay of the averaged weights that are returned.
        bins: int64 (N, 5), each image's third of every attribute; those within its class if absent.

    Raises:
        FloatingPointError: the loss is not finite.
    """
    torch.manual_seed(seed)
    grey = data.images.mean(1, keepdim=True)  # the stand-in sees no colours
    data = data._replace(images=grey if grey.shape[-1] == SIDE else resize(grey, SIDE))
    vocabulary = vocabulary_of(data.class_names)
    tokenize = Vocabulary(vocabulary)
    names = tokenize([BARE.format(name) for name in data.class_names]).to(device)
    model = build_clip(vocabulary).to(device).train()
    average = copy.deepcopy(model).requires_grad_(False)
    optimisers = optimisers_of(model, lr, weight_decay, lr_text)
    cycle = lambda step: one_cycle((step + 1) / (steps + 1))
    schedules = tuple(torch.optim.lr_scheduler.LambdaLR(optimiser, cycle) for optimiser in optimisers)
    run = Steps(steps, label="CLIP", wrong=WRONG, every=25, check=1)
    batches = captioned(data, bins, size=batch_size, unnamed=unnamed, seed=seed)
    for step, (pixels, texts, true) in zip(run, batches, strict=False):
        loss = loss_of(model, pixels.to(device), tokenize(texts).to(device), names, true.to(device), contrast=contrast)
        run.note(loss=loss)
        update(loss, *optimisers, schedules=schedules)
        follow(average, model, step, ema, statistics=True)
    return average.eval(), vocabulary, run.curve


def optimisers_of(
    model: torch.nn.Module, lr: float, weight_decay: float, lr_text: float
) -> tuple[torch.optim.Optimizer, ...]:
    """Return the image tower's optimiser, and that of the text tower and the temperature."""
    image_tower, rest = list(model.visual.parameters()), [p for n, p in model.named_parameters() if "visual" not in n]
    return (
        torch.optim.SGD(image_tower, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay),
        torch.optim.AdamW(rest, lr_text, weight_decay=0.05),
    )


def captioned(
    data: Dataset, bins: torch.Tensor | None = None, *, size: int, unnamed: float, seed: int
) -> Iterator[tuple[torch.Tensor, list[str], torch.Tensor]]:
    """Yield batches of shifted and blended images, a caption for each, and what is true of them.

    Images are blended in pairs (MixUp), and what is true of them with them: on a few hundred images, this keeps the
    image tower from overfitting.

    Yields:
        Images float32 (size, 1, SIDE, SIDE) in [0, 1], texts, and float32 (size, size + n_classes): how true of each
        image each caption is, whoever it was written for, and each class.
    """
    bins = attributes.terciles(attributes.measure(data.images), data.labels) if bins is None else bins
    classes = F.one_hot(data.labels, len(data.class_names)).float()
    words, rng = random.Random(seed), runtime.generator(seed)
    for pick in shuffled(len(data.labels), size, rng):
        named = [words.random() >= unnamed for _ in range(size)]
        told = [
            caption(data.class_names[data.labels[i]] if name else None, bins[i].tolist(), words)
            for i, name in zip(pick.tolist(), named, strict=True)
        ]
        said, named = torch.tensor([claims for _, claims in told]), torch.tensor(named)
        true = ((said[None] == bins[pick][:, None]) | (said[None] < 0)).all(2)
        true &= (data.labels[pick][:, None] == data.labels[pick][None]) | ~named[None]
        shifted = augment.shift(data.images[pick], rng, pad=2, flip=data.mirrors)
        pixels, targets = augment.mixup(shifted, torch.cat((true, classes[pick]), 1))
        yield pixels, [text for text, _ in told], targets


def loss_of(
    model: torch.nn.Module,
    pixels: torch.Tensor,
    texts: torch.Tensor,
    names: torch.Tensor,
    targets: torch.Tensor,
    *,
    contrast: float,
) -> torch.Tensor:
    """Return the loss of a batch of ``captioned``, whose texts are token indices, beside the bare captions ``names``.

    Every caption that is true of an image is a positive for it; all others in the batch are negatives. Every image is
    also contrasted with the bare captions of all classes.

    Source: CLIP, Radford et al. 2021; several positives, Yang et al. 2022 (UniCL), equation 3.
    """
    true, target = targets.split((len(texts), len(names)), 1)
    image = model.encode_image((pixels - 0.5) / 0.5, normalize=True)
    text = model.encode_text(texts, normalize=True)
    scale = model.logit_scale.exp().clamp(max=100)
    logits = image @ text.T * scale
    loss = contrast * (soft_cross_entropy(logits, true) + soft_cross_entropy(logits.T, true.T))
    return loss + F.cross_entropy(image @ model.encode_text(names, normalize=True).T * scale, target)


def soft_cross_entropy(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each row against its weights ``true`` (N, M) >= 0, normalised to sum to one."""
    return F.cross_entropy(logits, true / true.sum(1, keepdim=True))


def evaluate_clip(clip: Clip, data: Dataset) -> dict[str, float]:
    """Return what a CLIP is worth on labelled images, each 0 .. 1, higher is better.

    Returns:
        ``zero_shot_accuracy`` with the bare captions, and for each attribute, in ``attribute_accuracy``, how often an
        image of a class's lowest or highest third prefers the right one of the two words (chance: 0.5).
    """
    text = lambda word: clip.encode_text([" ".join(BARE.format(f"{word} {name}").split()) for name in data.class_names])
    embeddings = embed(clip, data.images).cpu()
    hits = (embeddings @ text("").cpu().T).argmax(1) == data.labels
    told = {}
    bins = attributes.terciles(attributes.measure(data.images), data.labels)
    for a, (name, words) in enumerate(attributes.WORDS.items()):
        low, high = ((embeddings * text(words[third]).cpu()[data.labels]).sum(1) for third in (0, 2))
        extreme = bins[:, a] != 1
        told[name] = float(((high > low) == (bins[:, a] == 2))[extreme].float().mean())
    return {"zero_shot_accuracy": float(hits.float().mean()), "attribute_accuracy": told}
