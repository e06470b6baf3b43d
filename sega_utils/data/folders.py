"""Folders of images: a user's own tree of class folders, checked as a whole before anything uses it."""

import shutil
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import classes, decoding
from sega_utils.data.classes import About, some
from sega_utils.data.published import DIGITS
from sega_utils.data.tree import entries, folders_of, inside, ordered, splits_of

BANK = "prompts.jsonl"


def read_folder(root: Path, split: str) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Read one split of a tree; for ``train``, the test images are read too, and compared.

    Args:
        root: holds ``CLASS/*.png`` and the like, or ``train/CLASS/...`` and ``test/CLASS/...``.
        split: ``train`` or ``test``.

    Returns:
        Images uint8 (N, C, 32, 32), C = 1 if all files of both splits are grey, else 3; labels int64 (N,); class names
        in the order of their folders. The images are in an order that mixes the classes, see ``ordered``.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the tree or ``classes.yaml`` cannot be used, or a training image is a test image too.
        ArtifactError: files that are no whole images.
    """
    found, names = ordered(root), about(root).names
    files = {name: [file for file, _ in own] for name, own in found.items()}
    needed = [*files["test"], *(files["train"] if split == "train" else [])]
    grey, bits, _ = _examined(root)
    images = dict(zip(needed, decode_all(root, needed, lambda raw: decoding.decode(raw, bits=bits)), strict=True))
    if split == "train":
        tests = {images[file].tobytes(): file for file in files["test"]}
        same = [(file, tests.get(images[file].tobytes())) for file in files["train"]]
        if twice := [f"{inside(root, file)} = {inside(root, test)}" for file, test in same if test]:
            raise ValueError(
                f"{len(twice)} training images of {root} are test images too: {some(twice)}; keep one of "
                "each, or put all copies into one of the folders train and test"
            )
    chosen = torch.from_numpy(np.stack([images[file] for file in files[split]]))
    if blank := [inside(root, file) for file in files[split] if np.ptp(images[file]) == 0]:
        warnings.warn(
            f"{len(blank)} images of {root} show one colour throughout: {some(blank)}; delete those that are none",
            stacklevel=2,
        )
    if grey:
        chosen = chosen[:, :1]
    return chosen, torch.tensor([label for _, label in found[split]]), tuple(names.values())


def about(root: Path) -> About:
    """Return what ``classes.yaml`` in a tree says, see ``classes.read``.

    Raises:
        FileNotFoundError, ValueError: see ``read_folder``.
    """
    return classes.read(root, folders_of(splits_of(root).get("train", root)))


def notes(root: Path) -> list[str]:
    """Return sentences on what in a tree is taken otherwise than its owner may expect.

    Raises:
        FileNotFoundError, ValueError, ArtifactError: see ``read_folder``.
    """
    said, splits = [], splits_of(root)
    if splits and splits["test"].name.casefold().startswith("val"):
        said.append(f"The folder {splits['test'].name} is taken for testing; nothing is tuned on it.")
    known = {BANK, getattr(classes.described(root), "name", "")}
    unread = [
        inside(root, path)
        for folder in (root, *splits.values())
        for path in entries(folder)
        if not path.is_dir() and path.name not in known
    ]
    if unread:
        said.append(f"Not read: {some(unread)}. Classes are described in {classes.FILES[0]} alone.")
    _, bits, top = _examined(root)
    if bits < 16:
        said.append(f"The files of 16 bits end at {top:,}: taken as of {bits} bits, in which {2**bits - 1:,} is white.")
    return said


def decode_all(root: Path, files: Iterable[Path], function: Callable) -> list:
    """Return what a function makes of each file's bytes.

    Raises:
        ArtifactError: it fails on some; the message lists them.
    """
    made, broken = [], []
    for file in files:
        try:
            made.append(function(file.read_bytes()))
        except OSError as error:
            broken.append(f"{inside(root, file)} cannot be read ({error.strerror or type(error).__name__})")
        except ValueError as error:
            broken.append(f"{inside(root, file)} {error}")
    if broken:
        raise ArtifactError(
            f"{len(broken)} files of {root} are no whole PNG or JPEG: {some(broken)}; replace or delete them"
        )
    return made


def _examined(root: Path) -> tuple[bool, int, int]:
    """Return whether all files of a tree are grey; the bits and the largest value of those of 16 bits."""
    seen = decode_all(root, [file for own in ordered(root).values() for file, _ in own], decoding.examine)
    top = max(top for _, top in seen)
    return all(grey for grey, _ in seen), decoding.bits_of(top), top


DIGITS_DOMAIN = "8x8 greyscale scan of a handwritten digit"
DIGIT_SHAPES = (
    "a closed ring, empty inside",
    "an upright stroke",
    "an arch above, a slanted line down, a flat base",
    "a pair of bows, open to the left",
    "an angle and a stroke that crosses it",
    "a flat top, a short stem, a bow below",
    "a long bow that ends in a small ring at the bottom",
    "a flat top and a slanted stroke, often crossed",
    "a pair of closed rings, the lower often larger",
    "a small ring at the top with a tail",
)


def write_digits(folder: Path) -> int:
    """Write the images, ``classes.yaml`` with names and descriptions, and the recorded prompts; return how many images.

    Raises:
        FileExistsError: the folder is there already.
    """
    from sklearn.datasets import load_digits  # takes seconds to import, which no other folder should cost

    if folder.exists():
        raise FileExistsError(f"{folder} is there already; delete it, or choose another PATH")
    digits = load_digits()
    for index, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        with artifacts.atomic(folder / str(label) / f"{index:04d}.png") as temporary:
            Image.fromarray((image * 255 / 16).round().astype(np.uint8)).save(temporary, "PNG")
    classes = {
        str(i): {"name": name, "description": shape}
        for i, (name, shape) in enumerate(zip(DIGITS, DIGIT_SHAPES, strict=True))
    }
    about = {"domain": DIGITS_DOMAIN, "mirror": False, "classes": classes}
    artifacts.save_text(folder / "classes.yaml", yaml.safe_dump(about, sort_keys=False))
    shutil.copyfile(paths.DATA / "prompts" / "digits.jsonl", folder / "prompts.jsonl")
    return len(digits.images)
