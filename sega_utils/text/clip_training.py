"""Train the embedded CLIP stand-in on captions made of class names and measured attributes."""

import copy
import math
import random

import torch
from torch.nn import functional as F

from sega_utils.core import runtime
from sega_utils.core.learning import one_cycle, shuffled
from sega_utils.data import augment
from sega_utils.data.images import Dataset, resize
from sega_utils.text import attributes
from sega_utils.text.clip import SIDE, Clip, Vocabulary, build_clip, embed, vocabulary_of

BARE = "a photo of a {}"  # the zero-shot prompt: Radford et al. 2021, section 3.1.4


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
    device: torch.device | str = "cpu",
) -> tuple[torch.nn.Module, list[int], list[dict[str, float]]]:
    """Train a small CLIP from scratch on the run's own training subset.

    Every caption that is true of an image is a positive for it, whoever it was written for; all others in the batch
    are negatives. Every image is also contrasted with the bare captions of all classes. Images are blended in pairs
    (MixUp), and what is true of them with them: on a few hundred images, this keeps the image tower from overfitting.

    Args:
        data: the run's training subset; nothing else is seen.
        lr, weight_decay: of the image tower (SGD with Nesterov momentum 0.9); lr is the peak of one cosine cycle.
        lr_text: of the text tower (AdamW), in the same cycle.
        contrast: weight of the captions beside that of the bare captions; it buys attributes with class accuracy.
        unnamed: share of captions that leave the class unsaid, so that attribute words mean something on their own.
        ema: decay of the averaged weights that are returned.

    Returns:
        The averaged model in eval mode, its vocabulary, and the loss curve.

    Raises:
        FloatingPointError: the loss is not finite.

    Source: CLIP, Radford et al. 2021; several positives, Yang et al. 2022 (UniCL), equation 3.
    """
    torch.manual_seed(seed)
    grey = data.images.mean(1, keepdim=True)  # the stand-in sees no colours
    data = data._replace(images=grey if grey.shape[-1] == SIDE else resize(grey, SIDE))
    vocabulary = vocabulary_of(data.class_names)
    tokenize = Vocabulary(vocabulary)
    names = tokenize([BARE.format(name) for name in data.class_names]).to(device)
    model = build_clip(vocabulary).to(device).train()
    average = copy.deepcopy(model).requires_grad_(False)
    image_tower, rest = list(model.visual.parameters()), [p for n, p in model.named_parameters() if "visual" not in n]
    optimisers = (
        torch.optim.SGD(image_tower, lr, momentum=0.9, nesterov=True, weight_decay=weight_decay),
        torch.optim.AdamW(rest, lr_text, weight_decay=0.05),
    )
    cycle = lambda step: one_cycle((step + 1) / (steps + 1))
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimiser, cycle) for optimiser in optimisers]
    bins = attributes.terciles(attributes.measure(data.images), data.labels)
    classes = F.one_hot(data.labels, len(data.class_names)).float()
    words, rng, curve = random.Random(seed), runtime.generator(seed), []
    batches = shuffled(len(data.labels), batch_size, rng)
    for step in runtime.progress(range(steps), "CLIP"):
        pick = next(batches)
        named = [words.random() >= unnamed for _ in range(batch_size)]
        texts, said = zip(
            *(
                caption(data.class_names[data.labels[i]] if name else None, bins[i].tolist(), words)
                for i, name in zip(pick.tolist(), named, strict=True)
            ),
            strict=True,
        )
        said, named = torch.tensor(said), torch.tensor(named)
        true = ((said[None] == bins[pick][:, None]) | (said[None] < 0)).all(2)
        true &= (data.labels[pick][:, None] == data.labels[pick][None]) | ~named[None]
        shifted = augment.shift(data.images[pick], rng, pad=2, flip=data.mirrors)
        pixels, targets = augment.mixup(shifted, torch.cat((true, classes[pick]), 1))
        true, target = targets.to(device).split((batch_size, len(names)), 1)
        image = model.encode_image((pixels.to(device) - 0.5) / 0.5, normalize=True)
        text = model.encode_text(tokenize(list(texts)).to(device), normalize=True)
        scale = model.logit_scale.exp().clamp(max=100)
        logits = image @ text.T * scale
        loss = contrast * (soft_cross_entropy(logits, true) + soft_cross_entropy(logits.T, true.T))
        loss = loss + F.cross_entropy(image @ model.encode_text(names, normalize=True).T * scale, target)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"the CLIP loss is {loss.item()} at step {step + 1}; lower the learning rate")
        model.zero_grad(set_to_none=True)
        loss.backward()
        for part in (*optimisers, *schedules):
            part.step()
        with torch.no_grad():
            decay = min(ema, (step + 1) / (step + 10))
            for a, b in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
                a.lerp_(b, 1 - decay) if a.is_floating_point() else a.copy_(b)
        if (step + 1) % 25 == 0 or step + 1 == steps:
            curve.append({"step": step + 1, "loss": loss.item()})
    return average.eval(), vocabulary, curve


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
