"""What any machine, above all one with a GPU, does in a few minutes: parts in order of worth, each within its share.

A part that raises because a file or a library is not there is named with the reason, and so is one whose share is too
small; the others go on. Settings are not tuned: the accuracies say that all works, not which arm is better.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean

import torch
from torch.nn import functional as F

from sega_utils import filters
from sega_utils.augmenters import base, diffusion, gan, pools, stable_diffusion
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset
from sega_utils.studies.benchmark import timed
from sega_utils.studies.scale import roofline
from sega_utils.text import clip
from sega_utils.training import classifiers

STAGE = "gpu-check"
GENERATOR, CLIP = (paths.DATA / "models" / f"fashion-mnist-{name}.safetensors" for name in ("generator", "clip"))
LEAST = 0.02  # of the whole time: a part that has less is not begun
# what a check is of, and what a test makes tiny
SIZES = {
    "images": 50_000,  # for a kernel
    "peaks": {"side": 2048, "megabytes": 256},  # as of ``roofline.peaks``
    "classifier": "resnet18",
    "batch_size": 512,
    "epochs": 30,  # of a classifier, at most
    "drawn": 2_000,  # for a Frechet distance
    "trial": 20,  # steps that tell how fast a training is
    "pipeline": "",  # folder of Stable Diffusion
}


def kernels(data: tuple[Dataset, Dataset], seconds: float, sizes: dict, device: torch.device) -> dict:
    """Return how many images a second each kernel of the filters does, and could do, see ``roofline.measure``."""
    rows = torch.arange(sizes["images"]) % len(data[0].images)
    images, few = data[0].images[rows].to(device), sizes["images"] // 5
    found = roofline.measure(images, least=seconds / 10, **sizes["peaks"])
    search = partial(filters.near_duplicates, images[:few], max_distance=6, min_ssim=-1)
    search()  # what is slow only once
    return found | {"n": len(images), "near_duplicates_per_second": few / timed(search, least=seconds / 10)[0]}


def resnet(data: tuple[Dataset, Dataset], seconds: float, sizes: dict, device: torch.device) -> dict:
    """Train a classifier with and without images of the project's generator, seed by seed, as long as there is time.

    The generator has learnt from a few of the training images alone; its images are not filtered.
    """
    (train, test), ends = data, time.perf_counter() + seconds
    network = pools.load_generator(GENERATOR, device)
    labels = torch.arange(len(train.labels)) % len(train.class_names)
    drawn = base.generate(network, labels, seed=1).cpu(), F.one_hot(labels, len(train.class_names)).float()
    precise = device.type == "cpu" or not torch.cuda.is_bf16_supported(including_emulation=False)
    fit = partial(
        classifiers.train_classifier,
        train,
        classifier=sizes["classifier"],
        batch_size=sizes["batch_size"],
        precision="float32" if precise else "bfloat16",
        device=device,
    )
    rate = steps_a_second(lambda steps: fit(steps=steps), sizes["trial"])
    left = ends - time.perf_counter()
    steps = max(1, min(int(0.4 * left * rate), sizes["epochs"] * len(train.labels) // sizes["batch_size"]))
    found, spent = {"real": [], "with_synthetic": []}, 0.0
    while not found["real"] or time.perf_counter() + spent < ends:
        began, seed = time.perf_counter(), len(found["real"])
        for name, synthetic in (("real", None), ("with_synthetic", drawn)):
            model = fit(synthetic=synthetic, steps=steps, seed=seed)
            found[name].append(classifiers.accuracy(model, test.images, test.labels))
        spent = time.perf_counter() - began
    return {f"accuracy_{name}": values for name, values in found.items()} | {
        "steps": steps,
        "images_per_second": rate * sizes["batch_size"],
        "n_real": len(train.labels),
        "n_test": len(test.labels),
    }


def curve(
    train: Callable, draw: Callable, data: tuple[Dataset, Dataset], seconds: float, sizes: dict, device: torch.device
) -> dict:
    """Train a generator three times, each twice as long, and return its speed and the Frechet distance after each.

    The distance is to test images, in the features of this project's CLIP: it is no FID.
    """
    (real, test), ends = data, time.perf_counter() + seconds
    judge, n = clip.load_clip(CLIP, device), sizes["drawn"]
    theirs = clip.embed(judge, test.images[:n])
    rate = steps_a_second(lambda steps: train(real, seed=0, steps=steps, device=device), sizes["trial"])
    left, rows = 0.8 * (ends - time.perf_counter()), []  # the rest is for drawing
    for share in (1 / 7, 2 / 7, 4 / 7):
        steps = max(1, int(share * left * rate))
        if rows and time.perf_counter() + steps / rate > ends:
            break
        with runtime.measure() as cost:
            network, _ = train(real, seed=0, steps=steps, device=device)
        with runtime.measure() as drawing:
            images = draw(network, torch.arange(n) % len(real.class_names))
        distance = base.frechet_distance(clip.embed(judge, images), theirs)
        rows.append({"steps": steps, "frechet": distance, "drawing": drawing["seconds"], "training": cost["seconds"]})
    return {"curve": rows, "steps_per_second": rate, "images_per_second": n / rows[-1]["drawing"]}


def painting(data: tuple[Dataset, Dataset], seconds: float, sizes: dict, device: torch.device) -> dict:
    """Return the seconds that Stable Diffusion takes for an image of 50 steps, as long as there is time, at least 8.

    Raises:
        FileNotFoundError: no pipeline was named.
    """
    if not sizes["pipeline"]:
        raise FileNotFoundError("no weights are named; give --pipeline FOLDER")
    ends = time.perf_counter() + seconds
    pipeline = stable_diffusion.load_pipeline(sizes["pipeline"], device)
    texts = [f"a photo of a {name}" for name in data[0].class_names[:8]]
    paint = partial(stable_diffusion.paint, pipeline, texts, torch.arange(len(texts)), steps=sizes["trial"] * 5 // 2)
    spent = []
    while not spent or (time.perf_counter() + spent[-1] < ends and len(spent) < 4):
        spent.append(timed(paint)[0])
    return {
        "seconds_per_image": min(spent) / len(texts),
        "n": len(texts) * len(spent),
        "steps": sizes["trial"] * 5 // 2,
    }


def steps_a_second(train: Callable[[int], object], steps: int) -> float:
    """Return how fast a training is, from one of so few steps after another that starts all up."""
    train(2)
    return steps / timed(lambda: train(steps))[0]


# part: (share of the time, what measures it), the worthiest first
PARTS: dict[str, tuple[float, Callable]] = {
    "kernels": (1, kernels),
    "resnet18": (4, resnet),
    "gan": (2, partial(curve, gan.train_gan, base.generate)),
    "ddpm": (2, partial(curve, diffusion.train_diffusion, diffusion.sample_ddpm)),
    "stable-diffusion": (1, painting),
}


def check(
    run: str, dataset: str, *, minutes: float, parts: list[str], device: torch.device, sizes: dict | None = None
) -> list[dict]:
    """Measure parts, in the order of ``PARTS``, within ``minutes``; return a row of each, and write its record.

    What a part leaves of its share goes to those after it. ``found`` of a row is the record's name, or why
    there is none.

    Raises:
        ValueError: an unknown part, or minutes that are not positive.
    """
    if not minutes > 0 or not set(parts) <= set(PARTS):
        raise ValueError(
            f"received {minutes} minutes and parts {parts}; allowed are more than 0 and {', '.join(PARTS)}"
        )
    began, total, sizes, rows = time.perf_counter(), 60 * minutes, SIZES | (sizes or {}), []
    left, todo = lambda: total - (time.perf_counter() - began), [name for name in PARTS if name in parts]
    data = tuple(catalogue.load(dataset, split) for split in ("train", "test"))
    for at, name in enumerate(todo):
        share = max(0, left()) * PARTS[name][0] / sum(PARTS[other][0] for other in todo[at:])
        started = time.perf_counter()
        if share < LEAST * total:
            found = f"left out: {share:.0f} s are left for it"
        else:
            found = measure(run, dataset, name, data, share, sizes, device)
        rows.append({"part": name, "share": share, "seconds": time.perf_counter() - started, "found": found})
    return rows


def measure(
    run: str, dataset: str, name: str, data: tuple[Dataset, Dataset], share: float, sizes: dict, device: torch.device
) -> str:
    """Measure a part, write its record, and return its name, or why there is none."""
    try:
        with runtime.measure() as cost:
            metrics = PARTS[name][1](data, share, sizes, device)
    except (FileNotFoundError, ImportError, RuntimeError) as error:  # of files, libraries, and a GPU's memory
        return f"not measured: {type(error).__name__}: {str(error)[:200]}"
    sizes = {key: value for key, value in sizes.items() if key != "peaks"}
    parameters = {"part": name, "share": share, "seed": 0} | sizes | {"pipeline": Path(sizes["pipeline"]).name}
    read = {file.stem.rpartition("-")[2]: artifacts.stated_digest(file) for file in (GENERATOR, CLIP)}
    records.write(run, dataset, STAGE, name, parameters=parameters, metrics=metrics, inputs=read, cost=cost)
    return name


ROWS = ("part", "device", "quantity", "value", "n")


def rows(found: list[dict]) -> list[dict]:
    """Return a row (``ROWS``) for each quantity of a check; of several seeds the mean, of a curve each point."""
    result = []
    for record in sorted(found, key=lambda record: list(PARTS).index(record["param_part"])):
        values = {name: record[name] for name in record if name.endswith(("_per_second", "_per_image"))}
        values |= {name: mean(record[name]) for name in record if name.startswith("accuracy_")}
        for point in record.get("curve", ()):
            values[f"frechet after {point['training']:.0f} s, {point['steps']} steps"] = point["frechet"]
        about = {"part": record["param_part"], "device": record["device"]}
        n = record.get("n", record.get("n_real", record["param_drawn"]))
        result += [about | {"quantity": name, "value": value, "n": n} for name, value in values.items()]
    return result
