"""Folders of images on which the judge's verdict can be checked, written out as PNGs from what is installed already.

Of some the right verdict is known by construction; of the others, images that are in no part of the folder decide it.
"""

import io
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sega_utils.core import artifacts
from sega_utils.data import catalogue
from sega_utils.data.images import to_uint8
from sega_utils.studies.prove import drawings

TRAIN, TEST, MORE = "train", "test", "more"  # the parts; the last one is not written, it decides what is right
EACH, EACH_TEST, EACH_MORE = 30, 40, 150  # images a class of what is drawn, and to train with of everything
EACH_TEST_OF_SET = 100  # images a class
CROP, BLOCK, STRIDE = 64, 128, 32  # pixels of a crop, of a region that is one part's alone, and between crops
LEAST = 6.0  # grey levels by which a crop varies; less is sky or a black margin
UPRIGHT, TURNED = (0.0, 0.0), (45.0, 135.0)  # degrees, to either side


class Picture(NamedTuple):
    """One image: its class, uint8 (H, W) or (H, W, 3), and where it is from."""

    name: str
    image: np.ndarray
    source: str


class Proof(NamedTuple):
    """A folder that can be made: its pictures by part and seed, and what ``classes.yaml`` says of them.

    Attributes:
        known: what is right by construction: ``no`` (synthetic images cannot help), ``turns`` (the arms that turn
            images are the best); empty where the images of ``MORE`` decide.
    """

    pictures: Callable[[str, int], Iterator[Picture]]
    domain: str
    mirror: bool = True
    known: str = ""


def of_set(dataset: str, part: str, seed: int) -> Iterator[Picture]:
    """Yield images of a data set that comes with the project or its packages; ``more`` are all other training images.

    Raises:
        ValueError: there is no such data set; FileNotFoundError, ArtifactError: as ``catalogue.load``.
    """
    split = TEST if part == TEST else TRAIN
    data = catalogue.load(dataset, split)
    least = int(data.labels.bincount(minlength=len(data.class_names)).min())
    few, rest = catalogue.pick(data, min(EACH_TEST_OF_SET, least) if part == TEST else EACH, seed)
    for i in (rest if part == MORE else few).tolist():
        pixels = to_uint8(data.images[i]).permute(1, 2, 0).numpy()
        pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
        yield Picture(data.class_names[data.labels[i]], pixels, f"{dataset}, {split} image {i}")


def photographs() -> dict[str, np.ndarray]:
    """Return the photographs that scikit-image and scikit-learn have in their installed packages, by texture.

    The first three are grey, uint8 (H, W), the others uint8 (H, W, 3).
    """
    from skimage import data  # these load files, which no other use of this module needs
    from sklearn.datasets import load_sample_image

    return {
        "brick": data.brick(),
        "grass": data.grass(),
        "gravel": data.gravel(),
        "coffee": data.coffee(),
        "flower": load_sample_image("flower.jpg"),
        "motorcycle": data.stereo_motorcycle()[0],
        "retina": data.retina(),
        "stars": data.hubble_deep_field(),
        "temple": load_sample_image("china.jpg"),
        "tissue": data.immunohistochemistry(),
    }


def corners(photograph: np.ndarray, *, tests: bool) -> list[tuple[int, int]]:
    """Return the upper left corners of all crops of a part that show something.

    Blocks alternate between the parts as the fields of a chessboard, and a crop lies in one block: no pixel is in
    both parts, and yet both see all of the photograph.
    """
    grey = photograph if photograph.ndim == 2 else photograph.mean(2)
    rows, columns = (size // BLOCK for size in grey.shape)
    inside = range(0, BLOCK - CROP + 1, STRIDE)
    found = [
        (BLOCK * row + y, BLOCK * column + x)
        for row in range(rows)
        for column in range(columns)
        if (row + column) % 2 == tests
        for y in inside
        for x in inside
    ]
    return [(y, x) for y, x in found if grey[y : y + CROP, x : x + CROP].std() >= LEAST]


def of_textures(part: str, seed: int) -> Iterator[Picture]:
    """Yield crops of photographs; ``more`` are the other crops of the regions that test.

    Each crop of a grey photograph gets a tint of its own, so that being grey gives no class away.
    """
    for label, (name, photograph) in enumerate(photographs().items()):
        rng = np.random.default_rng((seed, label, part == TRAIN))
        places = rng.permutation(corners(photograph, tests=part != TRAIN))
        for y, x in places[EACH:] if part == MORE else places[:EACH]:
            crop = photograph[y : y + CROP, x : x + CROP]
            if crop.ndim == 2:
                crop = (crop[..., None] * rng.uniform(0.7, 1, 3)).astype(np.uint8)
            yield Picture(name, crop, f"{name}, row {y}, column {x}")


def of_drawings(angles: tuple[float, float], part: str, seed: int) -> Iterator[Picture]:
    """Yield generated drawings of objects.

    Args:
        angles: least and most by which those that do not train are turned, to either side; those that train are not.
    """
    rng = _generator(part, seed)
    for name in drawings.OBJECTS:
        for i in range(_each(part)):
            angle = 0.0 if part == TRAIN else rng.uniform(*angles) * rng.choice((-1, 1))
            yield Picture(name, drawings.drawing(name, rng, angle=angle), _generated(part, seed, i))


def of_colours(part: str, seed: int) -> Iterator[Picture]:
    """Yield generated patterns, each class in a colour of its own."""
    rng = _generator(part, seed)
    for name in drawings.COLOURS:
        for i in range(_each(part)):
            yield Picture(name, drawings.coloured(name, rng), _generated(part, seed, i))


def _each(part: str) -> int:
    return {TRAIN: EACH, TEST: EACH_TEST, MORE: EACH_MORE}[part]


def _generator(part: str, seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, (TRAIN, TEST, MORE).index(part)))


def _generated(part: str, seed: int, i: int) -> str:
    return f"generated, {part} image {i} of seed {seed}"


FOLDERS = {
    "fashion-mnist": Proof(partial(of_set, "fashion-mnist"), "32x32 greyscale photo of a clothing item"),
    "mnist": Proof(partial(of_set, "mnist-5000"), "32x32 greyscale scan of a handwritten digit", mirror=False),
    "textures": Proof(of_textures, "64x64 colour photo of a texture"),
    "drawings": Proof(partial(of_drawings, UPRIGHT), "generated colour drawing of an object"),
    # Every pixel of an image has its class's colour, and no other class has that. A classifier of 30 images a class is
    # right about all others of them, so that there is nothing left to gain.
    "colours": Proof(of_colours, "generated pattern in one colour", known="no"),
    # Nothing that trains is turned, and all that tests is: of the arms, those that turn images themselves must be the
    # best, and no generator can draw what none of its images shows.
    "turned": Proof(partial(of_drawings, TURNED), "generated colour drawing of an object", known="turns"),
}


def write(root: Path, name: str, seed: int) -> Path:
    """Write a folder for the judge, train and test apart, below ``root``, and return it; one that is there is kept.

    Raises:
        ValueError: there is no such folder, or its data set is not at hand; the message lists what there is.
    """
    check(name)
    folder, proof = root / f"{name}-seed{seed}", FOLDERS[name]
    if (folder / "classes.yaml").exists():  # written last
        return folder
    for part in (TRAIN, TEST):
        for i, picture in enumerate(proof.pictures(part, seed)):
            with artifacts.atomic(folder / part / picture.name / f"{i:05d}.png") as temporary:
                temporary.write_bytes(png(picture))
    about = {"domain": proof.domain, "mirror": proof.mirror}
    artifacts.save_text(folder / "classes.yaml", yaml.safe_dump(about, sort_keys=False))
    return folder


def png(picture: Picture) -> bytes:
    """Return a picture as a PNG file, which says in its text ``Source`` where it is from."""
    said, raw = PngInfo(), io.BytesIO()
    said.add_text("Source", picture.source)
    Image.fromarray(picture.image).save(raw, "PNG", pnginfo=said)
    return raw.getvalue()


def check(name: str) -> None:
    """Refuse a folder that cannot be made.

    Raises:
        ValueError: the message lists what there is.
    """
    if name not in FOLDERS:
        raise ValueError(f"unknown folder {name!r}; known are {', '.join(FOLDERS)}")
