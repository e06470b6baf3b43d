"""The zoo: every augmenter trained for the same CPU seconds on the same few real images, and how good its images are.

Validation images are training images outside the run's subset; quality is measured beside these.
"""

import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from sega_utils.augmenters import penalties, pools
from sega_utils.augmenters.registry import AUGMENTERS, State
from sega_utils.core import artifacts, learning, paths, records, schema
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, from_uint8, to_uint8
from sega_utils.evaluation import gate, quality
from sega_utils.studies.zoo.members import COMBINED, STATE_OF, TIMES, made_of
from sega_utils.training import classifiers, recipes
from sega_utils.training.classifiers import train_classifier

# name: entry of the registry, settings of its fit, options of its sample
ZOO: dict[str, tuple[str, dict, dict]] = {
    **{name: (name, {}, {}) for name in ("hinge", "vanilla", "lsgan", "wgan-gp")},
    **{name: ("hinge", {"penalty": name}, {}) for name in penalties.PENALTIES},
    **{name: (name, {}, {}) for name in ("gm-gan", "vae", "bs-vae", "glico", "offsets", "offsets-pixels")},
    "vae beta 0": ("vae", {"beta": 0.0}, {}),
    "vae beta 4": ("vae", {"beta": 4.0}, {}),
    "vae without ramp": ("vae", {"ramp": 0.0}, {}),
    "ddim": ("ddim", {}, {"steps": 25}),
    "ddim 100": ("ddim", {}, {"steps": 100}),
    "ddim 100 eta 1": ("ddim", {}, {"steps": 100, "eta": 1.0}),
    "ddpm": ("ddpm", {}, {"steps": 250}),
    "ddpm 1000": ("ddpm", {}, {"steps": 1000}),
}
ZOO |= {name: ZOO[STATE_OF[name]] for name in TIMES if name in STATE_OF}
# What has learnt from other images, too: measured like the rest when asked for by name, but never planned, so that the
# primary comparison, which takes what is planned alone, stays closed.
OUTSIDE = {"projected (outside)": ("projected", {}, {})}
OF_RUN = ("GAN-only", "SEGA-Net")  # what 05_training trains on: by the run's own generator, of protocol run
UNTRAINED = {"offsets-pixels"}  # which keeps the images, in no time
TRAINED_BY = ("classifier", "steps", "batch_size", "lr", "weight_decay", "pixel", "policy", "mixing")
COPIES = {"max_distance": 6, "min_ssim": 0.9}  # what 04_synthesis takes for near-duplicates
JUDGED = 1000  # images of each kind that quality is measured on, at most


class Place(NamedTuple):
    """Which real images: a run's subset 0, or others of its size that are drawn anew, and how many of each class."""

    run: str
    dataset: str
    subset: int = 0
    per_class: int = 30


class Real(NamedTuple):
    """The images to train on, the subset that they are from, and the images to validate on."""

    few: Dataset
    whole: Dataset
    rest: Dataset


class Fitting(NamedTuple):
    """How an augmenter is fitted: CPU seconds; protocol A, on the few images, or B, on the whole subset, which leaks,
    or run, by the run's own stages in their own time; and how many images of each class are drawn."""

    seconds: float = 600.0
    protocol: str = "A"
    images: int = 100


@lru_cache(maxsize=1)
def real_of(place: Place) -> Real:
    """Return the real images of a place; a smaller number of images a class has those of a larger one among them.

    Of a run that took all training images, half of each class at most are trained on, and the others validate. A class
    with fewer images than asked for gives what it has.

    Raises:
        ValueError, FileNotFoundError, ArtifactError: as ``catalogue.load_real``, or no image of a class.
    """
    if place.per_class < 1 or place.subset < 0:
        raise ValueError(f"received {place.per_class} images a class of subset {place.subset}; allowed are 1 .., 0 ..")
    _, meta = catalogue.load_real(place.run, place.dataset)
    train, seed = catalogue.load(place.dataset, "train"), meta["seed"] + place.subset
    counts = catalogue.counts(place.dataset, meta["fraction"], train.labels)
    whole, rest = catalogue.subset(train, counts, seed)
    most = counts if len(rest.labels) else counts // 2
    few, others = catalogue.subset(train, most.clamp(1, place.per_class), seed)
    return Real(few, whole, rest) if len(rest.labels) else Real(few, few, others)


def seen_by(real: Real, protocol: str) -> Dataset:
    """Return the images that an augmenter is fitted on.

    Raises:
        ValueError: an unknown protocol, B where all other images are those to validate on, or run where the classifier
            sees less than the run's generator.
    """
    if protocol not in {"A", "B", "run"}:
        allowed = "A (fitted on the same images), B (on all), run (the run's own generator)"
        raise ValueError(f"protocol is {protocol!r}; allowed are {allowed}")
    same = len(real.whole.labels) == len(real.few.labels)
    if protocol == "B" and same:
        raise ValueError("protocol B fits on more images than the classifier sees, but there are none; use A")
    if protocol == "run" and not same:
        raise ValueError("the run's generator has seen all images of its subset; ask for as many images a class")
    return real.few if protocol == "A" else real.whole


def name_of(place: Place, what: str, *more: object) -> str:
    """Return the name of a file or record about an augmenter or an arm at a place."""
    parts = [recipes.slug(what), f"subset{place.subset}", f"{place.per_class}-a-class", *map(str, more)]
    return "-".join(parts)


def file_of(place: Place, name: str, fitting: Fitting, kind: str) -> Path:
    """Return where the ``state`` of an augmenter, its ``training`` or the ``images`` drawn from it are kept."""
    stem = name_of(place, name, fitting.protocol.lower(), f"{fitting.seconds:g}s", kind)
    return paths.artifact(place.run, place.dataset, "augmenters") / f"{stem}.safetensors"


def told(place: Place, fitting: Fitting) -> dict:
    """Return the parameters that all records of a place and a way of fitting have."""
    return {"subset": place.subset, "per_class": place.per_class} | fitting._asdict()


def fit_once(
    place: Place, name: str, fitting: Fitting, tuned: dict, steps: int = 0, device: torch.device | str = "cpu"
) -> dict:
    """Train an augmenter, draw from it, measure the quality; return its record, made now or on disk.

    Args:
        tuned: settings by arm; steps: of the classifier that judges, 0 takes the settings'.

    Raises:
        ValueError: an unknown augmenter, a protocol or a setting that is not allowed.
        FileNotFoundError, ArtifactError, FloatingPointError: as its parts do.
    """
    check(name)
    if (name in OF_RUN) != (fitting.protocol == "run") or (name in OF_RUN and place.subset):
        raise ValueError(
            f"{name} of subset {place.subset} has no protocol {fitting.protocol}; protocol run has "
            f"{' and '.join(OF_RUN)} of subset 0, and nothing else"
        )
    real, file = real_of(place), file_of(place, name, fitting, "images")
    seen = seen_by(real, fitting.protocol)
    inputs = {"real": artifacts.digest({"images": seen.images, "labels": seen.labels})}

    def measure() -> dict:
        for part in made_of(name):
            fit_once(place, part, fitting, tuned, steps, device)
        labels = torch.arange(len(seen.class_names)).repeat_interleave(fitting.images * TIMES.get(name, 1))
        images, cost = draw(place, name, fitting, seen, labels, device)
        found = judged(place, images, labels, seen=seen, tuned=tuned, steps=steps, device=device)
        drawn = artifacts.save_tensors(file, {"images": to_uint8(images), "labels": labels}, {"augmenter": name})
        return cost | found | {"drawn": drawn}

    stage, record = "augmenters", name_of(place, name, fitting.protocol.lower(), f"{fitting.seconds:g}s")
    whole = lambda found: file.exists() and artifacts.stated_digest(file) == found["input_drawn"]
    asked = told(place, fitting) | {"augmenter": name, "judge_steps": steps}
    return records.once(
        *place[:2], stage, record, parameters=asked, inputs=inputs, measure=measure, made=("drawn",), is_whole=whole
    )


def check(name: str) -> None:
    """Refuse an augmenter that the zoo does not have.

    Raises:
        ValueError: the message lists what there is.
    """
    if name not in (known := [*ZOO, *COMBINED, *OUTSIDE, *OF_RUN]):
        raise ValueError(f"unknown augmenter {name!r}; known are {', '.join(known)}")


def draw(
    place: Place, name: str, fitting: Fitting, seen: Dataset, labels: torch.Tensor, device: torch.device | str
) -> tuple[torch.Tensor, dict]:
    """Return images of labels by an augmenter that is trained now, rounded to 8 bit, and what they cost."""
    if name in OF_RUN:
        return drawn_by_run(place, name, labels, device), {}
    if name in COMBINED:
        parts = [load_drawn(place, part, fitting)[0] for part in COMBINED[name]]
        return torch.stack(parts, 1).flatten(0, 1) if name in TIMES else take_turns(parts), {}
    state, began = trained(place, name, fitting, seen, device), time.process_time()
    images, curve = sample(name, state, labels, place.subset, device), state[1].get("curve", [])
    each = (time.process_time() - began) / len(labels)
    return images, {"fit_steps": curve[-1]["step"] if curve else 0, "seconds_per_image": each}


def drawn_by_run(place: Place, name: str, labels: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return images of labels by a run's own generator: from the prior, or what its prompts drew and its filters kept.

    Raises:
        ValueError: more images of a class than the run's synthetic set has.
    """
    kind = "generator" if name == OF_RUN[0] else "synthetic"
    inputs = pools.load_inputs(place.run, place.dataset, (kind,), device)
    if kind == "generator":
        images, _ = pools.plain(inputs)(labels, place.subset)
        return from_uint8(images)
    found, chosen = inputs[kind], torch.empty(len(labels), dtype=torch.int64)
    for c in labels.unique().tolist():
        mine, asked = (found["class_ids"] == c).nonzero()[:, 0], labels == c
        if len(mine) < int(asked.sum()):
            raise ValueError(f"{int(asked.sum())} images of class {c} are asked for, the run's set has {len(mine)}")
        chosen[asked] = mine[: int(asked.sum())]
    return from_uint8(found["images"][chosen])


def sample(
    name: str, state: State, labels: torch.Tensor, seed: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Return images of labels from the state of a member, rounded to 8 bit."""
    entry, _, options = (ZOO | OUTSIDE)[name]
    return from_uint8(to_uint8(AUGMENTERS[entry].sample(state, labels, seed=seed, device=device, **options)))


def trained(place: Place, name: str, fitting: Fitting, seen: Dataset, device: torch.device | str) -> State:
    """Return an augmenter's state, trained now from where a killed training was, or the one that it shares."""
    if name in STATE_OF:
        return artifacts.load_tensors(file_of(place, STATE_OF[name], fitting, "state"))
    entry, settings, _ = (ZOO | OUTSIDE)[name]
    if name not in UNTRAINED:
        settings = settings | {"seconds": fitting.seconds}
    training = file_of(place, name, fitting, "training")
    state = AUGMENTERS[entry].fit(
        seen.images,
        seen.labels,
        num_classes=len(seen.class_names),
        seed=place.subset,
        device=device,
        checkpoint=training,
        **settings,
    )
    artifacts.save_tensors(file_of(place, name, fitting, "state"), *state)
    training.unlink(missing_ok=True)  # three times as large as the state
    return state


def take_turns(parts: list[torch.Tensor]) -> torch.Tensor:
    """Return image i of part i, counted round and round, of parts (N, C, S, S) that are of the same labels."""
    turn = torch.arange(len(parts[0])) % len(parts)
    return torch.stack(parts)[turn, torch.arange(len(turn))]


def load_drawn(place: Place, name: str, fitting: Fitting) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``fit_once`` drew: float32 (N, C, S, S) in [0, 1] and int64 (N,).

    Raises:
        FileNotFoundError, ArtifactError: it is not there, or damaged.
    """
    tensors, _ = artifacts.load_tensors(file_of(place, name, fitting, "images"))
    return from_uint8(tensors["images"]), tensors["labels"]


def gallery(place: Place, drawn: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> tuple[torch.Tensor, int, list[str]]:
    """Return a real image of each class, then one of each set of images and labels; the classes; the rows' titles."""
    real = real_of(place).few
    sets = {"real": (real.images, real.labels)} | drawn
    classes = range(len(real.class_names))
    first = [images[labels == c][0] for images, labels in sets.values() for c in classes]
    return torch.stack(first), len(classes), list(sets)


def judge_of(place: Place, tuned: dict, steps: int = 0, device: torch.device | str = "cpu") -> nn.Module:
    """Return a classifier of the place's whole subset, in whose features quality is measured; it is trained once."""
    real = real_of(place)
    settings = {name: recipes.settings_of("Std Aug", tuned.get("Std Aug"))[name] for name in TRAINED_BY}
    settings |= {"steps": steps} if steps else {}
    whole = artifacts.digest({"images": real.whole.images, "labels": real.whole.labels})
    key = artifacts.digest_json([settings, whole])
    stem = name_of(place._replace(per_class=len(real.whole.labels)), "judge", key[:8])
    file = paths.artifact(place.run, place.dataset, "augmenters") / f"{stem}.safetensors"
    if not file.exists():
        model = train_classifier(real.whole, seed=place.subset, device=device, **settings)
        learning.save_network(file, model, {"key": key})
    build = lambda *_: classifiers.build(settings["classifier"], **real.whole.shape())
    model = learning.load_network(file, build, what="judge of the zoo", device=device)
    if model.meta["key"] != key:
        schema.refuse(file, "it was trained otherwise than its name says")
    return model


@torch.no_grad()
def features(model: nn.Module, images: torch.Tensor, *, batch: int = 500) -> torch.Tensor:
    """Return what the last linear layer of a classifier sees, float32 (N, d) on the CPU."""
    head, seen = [part for part in model.modules() if isinstance(part, nn.Linear)][-1], []
    handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(1).cpu()))
    device = next(model.parameters()).device
    for part in images.split(batch):
        model(part.to(device))
    handle.remove()
    return torch.cat(seen)


def judged(
    place: Place,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    seen: Dataset,
    tuned: dict,
    steps: int,
    device: torch.device | str,
) -> dict:
    """Return the quality of drawn images beside validation images, and whether they pass the gate of realism."""
    rest, model = real_of(place).rest, judge_of(place, tuned, steps, device)
    each = max(1, min(int(rest.labels.bincount().min()), JUDGED // len(rest.class_names)))
    held, _ = catalogue.subset(rest, each)
    look = {"features": lambda x: features(model, x), "predict": lambda x: classifiers.predict(model, x)}
    found = quality.measure(images, labels, real=held.images, training=seen.images, **look, **COPIES)
    names = {"real": seen.images, "real_labels": seen.labels, "held_out": held.images, "held_out_labels": held.labels}
    passed = gate.gate(images, labels, **names, **look)
    return found | {"gate_passed": int(passed["passed"]), "gate_broken": len(passed["reasons"])}
