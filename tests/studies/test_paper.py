"""Every parameter set of the paper's grid: its names and values, and data, generator and classifiers at tiny scale.

The data are small files in the formats that the authors publish, see published_files.
"""

import io

import numpy as np
import pytest
import scipy.io
import torch
import yaml
from published_files import archive, idx, pickled, tiny_imagenet

from sega_utils.augmenters import base, gan
from sega_utils.core import parameters, paths
from sega_utils.data import catalogue, published
from sega_utils.data.images import to_uint8
from sega_utils.studies import grid
from sega_utils.training import arms, classifiers

PARAMS = sorted(paths.PARAMS.rglob("*.yaml"))
NOTEBOOKS = sorted(paths.NOTEBOOKS.glob("*.ipynb"))
PAPER, GRID = yaml.safe_load(grid.PARAMS.read_text()), grid.read()
GAN = PAPER["02_generator"]
CLASSES, EACH = 3, 4  # of the data sets whose files say which classes there are; images of each
RNG = np.random.default_rng(0)


# names and values


def sections(file):
    """Return what a file gives each notebook, or nothing if it is about something else."""
    content = yaml.safe_load(file.read_text())
    return {name: given for name, given in content.items() if (paths.NOTEBOOKS / f"{name}.ipynb").exists()}


@pytest.mark.parametrize("file", [file for file in PARAMS if sections(file)], ids=lambda file: file.stem)
def test_a_notebook_takes_every_parameter_that_a_file_gives_it(file):
    for notebook in NOTEBOOKS:
        given = parameters.read_file(file, notebook)
        checked = parameters.check(given, parameters.read(notebook))
        assert checked.keys() == given.keys() and checked.keys() >= sections(file).get(notebook.stem, {}).keys()


# those in a folder are of the embedded images, which the checkpoints fit
@pytest.mark.parametrize(
    "file", [file for file in PARAMS if sections(file) and file.parent == paths.PARAMS], ids=lambda file: file.stem
)
def test_where_no_checkpoint_of_the_project_fits_all_are_trained(file):
    given = sections(file)
    trains = {name: given.get(name, {}).get("TRAIN", False) for name in ("02_generator", "09_efficiency")}
    assert given["02_generator"]["TRAIN"] and all(trains.values())
    assert given["01_clip"].get("TRAIN") or given["01_clip"]["CLIP"]


def test_the_grid_for_a_cpu_has_settings_of_the_same_classifiers_for_its_arms():
    found = grid.read(paths.PARAMS / "cpu" / "grid.yaml", paths.PARAMS / "cpu" / "arms.yaml")
    assert found.classifiers == GRID.classifiers and set(found.arms) < set(GRID.arms)
    for classifier in found.classifiers:
        settings = grid.settings(found, classifier).values()
        assert {(s["steps"], s["batch_size"]) for s in settings} == {(200, 64)}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_takes_every_data_set_and_fraction_of_the_grid(notebook):
    known = parameters.read(notebook)
    for dataset in GRID.datasets:
        parameters.check({"DATASET": dataset, "RUN": f"paper-0.1@{GRID.classifiers[0]}"}, known)
    for fraction in GRID.fractions if "FRACTION" in known else ():
        parameters.check({"FRACTION": fraction}, known)


# data, generator, classifiers


def batch(key):
    """Return a pickled batch of CIFAR with every class."""
    labels = [c for c in range(CLASSES) for _ in range(EACH)]
    pixels = RNG.integers(0, 256, (len(labels), 3072), np.uint8)
    return pickled({"data": pixels, key: labels})


def cifar10(put):
    names = pickled({"label_names": ["airplane", "bird", "cat"]})
    files = {name: batch("labels") for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")}
    content = {f"cifar-10-batches-py/{name}": raw for name, raw in (files | {"batches.meta": names}).items()}
    put("cifar-10", "cifar-10-python.tar.gz", archive(content))


def cifar100(put):
    files = {name: batch("fine_labels") for name in ("train", "test")}
    files["meta"] = pickled({"fine_label_names": ["apple", "maple_tree", "man"]})
    content = {f"cifar-100-python/{name}": raw for name, raw in files.items()}
    put("cifar-100", "cifar-100-python.tar.gz", archive(content))


def svhn(put):
    for split in ("train", "test"):
        stream, labels = io.BytesIO(), np.repeat(np.arange(1, 11), EACH)[:, None]
        scipy.io.savemat(stream, {"X": RNG.integers(0, 256, (32, 32, 3, len(labels)), np.uint8), "y": labels})
        put("svhn", f"{split}_32x32.mat", stream.getvalue())


def fashion_mnist(put):
    n = 10 * EACH
    for start in ("train", "t10k"):
        pixels = RNG.integers(0, 256, n * 784, np.uint8).tobytes()
        put("fashion-mnist", f"{start}-images-idx3-ubyte.gz", zipped(idx(n, 28, 28, payload=pixels)))
        put("fashion-mnist", f"{start}-labels-idx1-ubyte.gz", zipped(idx(n, payload=bytes(i % 10 for i in range(n)))))


def things(put):
    tiny_imagenet(put, [f"thing {c}" for c in range(CLASSES)], EACH)


def zipped(raw):
    return published.gzip.compress(raw)


WRITE = {
    "fashion-mnist-full": fashion_mnist,
    "cifar-10": cifar10,
    "cifar-100": cifar100,
    "svhn": svhn,
    "tiny-imagenet": things,
    "tiny-imagenet-64": things,
}


@pytest.mark.parametrize("dataset", [*GRID.datasets, "tiny-imagenet-64"])
def test_a_data_set_goes_through_generator_and_every_classifier(dataset, publish):
    WRITE[dataset](publish)
    train, test = catalogue.load(dataset, "train"), catalogue.load(dataset, "test")
    real, rest = catalogue.subset(train, catalogue.counts(dataset, 0.5, train.labels), seed=0)
    n_classes, channels, side = len(real.class_names), real.images.shape[1], 64 if dataset.endswith("-64") else 32
    assert real.images.shape[2:] == test.images.shape[2:] == (side, side) and len(rest.labels) > 0
    assert channels == (1 if dataset == "fashion-mnist-full" else 3)

    options = {name: GAN[name.upper()] for name in ("depth", "z_dim", "bf16", "every")}
    drawing, curve = gan.train_gan(real, **options, steps=1, seed=0, width=GAN["WIDTH"] // 76, batch_size=4)
    labels = torch.arange(2 * n_classes) % n_classes
    images = base.generate(drawing, labels)
    assert images.shape == (2 * n_classes, channels, side, side) and images.isfinite().all() and len(curve) == 1

    # where every arm gets its images does not matter here: the same stand in for all of them
    inputs = {
        "real": real,
        "n_syn": len(labels),
        "generator": drawing,
        "candidates": {"images": to_uint8(images), "class_ids": labels, "kept": labels >= 0},
    }
    for classifier in GRID.classifiers:
        tuned = grid.settings(GRID, classifier)
        settings = tuned["GAN-only"] | {"steps": 1, "batch_size": 4, "ratio": 0.5}
        model = arms.fit(inputs, settings, seed=0)
        assert model(test.images[:3]).shape == (3, n_classes), classifier
        assert 0 <= classifiers.accuracy(model, test.images, test.labels) <= 1
