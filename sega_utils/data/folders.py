"""Folders of images: a user's own tree of class folders, checked as a whole before anything uses it."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.images import decode, is_grey
from sega_utils.data.published import DIGITS

SUFFIXES = (".png", ".jpg", ".jpeg")
TEST_SHARE = 0.2  # of each class, where the tree has no folders train and test
DOMAIN = "32x32 photo"  # what the images are, where classes.yaml does not say it


class About(NamedTuple):
    """What ``classes.yaml`` says: the domain, a name for each class folder, a description for some of the names, and
    whether a mirrored image is still one of its class."""

    domain: str
    names: dict[str, str]
    descriptions: dict[str, str]
    mirrors: bool


def read_folder(root: Path, split: str) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Read one split of a tree; for ``train``, the test images are read too, and compared.

    Args:
        root: holds ``CLASS/*.png`` and the like, or ``train/CLASS/...`` and ``test/CLASS/...``.
        split: ``train`` or ``test``.

    Returns:
        Images uint8 (N, C, 32, 32), C = 1 if all files of both splits are grey, else 3; labels int64 (N,); class names
        in the order of their folders. The images are in an order that mixes the classes.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the tree or ``classes.yaml`` cannot be used, or a training image is a test image too.
        ArtifactError: files that are no whole images.
    """
    found, names = find_files(root), about(root).names
    pairs = {
        name: sorted(
            ((file, label) for label, files in enumerate(classes.values()) for file in files),
            key=lambda pair: _shuffled(root, pair[0]),
        )
        for name, classes in found.items()
    }
    files = {name: [file for file, _ in own] for name, own in pairs.items()}
    needed = [*files["test"], *(files["train"] if split == "train" else [])]
    images = dict(zip(needed, decode_all(root, needed, decode), strict=True))
    if split == "train":
        tests = {images[file].tobytes(): file for file in files["test"]}
        same = [(file, tests.get(images[file].tobytes())) for file in files["train"]]
        if twice := [f"{_inside(root, file)} = {_inside(root, test)}" for file, test in same if test]:
            raise ValueError(
                f"{len(twice)} training images of {root} are test images too: {_some(twice)}; keep one of "
                "each, or put all copies into one of the folders train and test"
            )
    chosen = torch.from_numpy(np.stack([images[file] for file in files[split]]))
    if all(decode_all(root, files["train"] + files["test"], is_grey)):
        chosen = chosen[:, :1]
    return chosen, torch.tensor([label for _, label in pairs[split]]), tuple(names.values())


def find_files(root: Path) -> dict[str, dict[str, list[Path]]]:
    """Return the files of each class folder in each split; without folders train and test, a fifth is for testing.

    Which files these are depends on their names alone: the same tree splits the same way everywhere.

    Raises:
        FileNotFoundError, ValueError: see ``read_folder``.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"there is no folder {root}; DATASET = 'folder:PATH' takes a path from the project's "
            "folder, or an absolute one"
        )
    if {"train", "test"} <= _folders(root).keys():
        if others := _folders(root).keys() - {"train", "test"}:
            raise ValueError(
                f"{root} has folders train and test and besides {_some(sorted(others))}; allowed are "
                "train and test alone, or class folders alone"
            )
        found = {
            split: {name: _images(folder) for name, folder in _folders(root / split).items()}
            for split in ("train", "test")
        }
        if odd := found["train"].keys() ^ found["test"].keys():
            raise ValueError(f"{root}: only one of train and test has {_some(sorted(odd))}; both need each class")
    else:
        found = {"train": {}, "test": {}}
        for name, folder in _folders(root).items():
            files = sorted(_images(folder), key=lambda file: _shuffled(root, file))
            count = max(1, round(TEST_SHARE * len(files)))
            found["test"][name], found["train"][name] = files[:count], files[count:]
    few = [
        f"{name} ({len(files)} + {len(found['test'][name])})"
        for name, files in found["train"].items()
        if len(files) < 2 or not found["test"][name]
    ]
    if few or len(found["train"]) < 2:
        raise ValueError(
            f"{root} has {len(found['train'])} classes, of them with too few images (training + test): "
            f"{_some(few) or 'none'}; needed are two classes, each with two images to train on and one to "
            "test"
        )
    return found


def about(root: Path) -> About:
    """Return what ``classes.yaml`` in a tree says; where it says nothing, a class is called as its folder.

    It holds ``domain: TEXT``, ``mirror: true`` or ``false`` (without it, true), and ``classes:``, lines
    ``FOLDER: NAME`` or ``FOLDER: {name: NAME, description: TEXT}``.

    Raises:
        ValueError: it holds something else, names a folder that is not there, or two classes alike.
    """
    path = root / "classes.yaml"
    try:  # BaseLoader makes texts of everything: a folder called 0 or no is no number and no truth value
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader) or {} if path.exists() else {}
        classes = content.get("classes", {})
        entries = {name: {"name": e} if isinstance(e, str) else dict(e) for name, e in classes.items()}
        fields = {name for entry in entries.values() for name in entry}
        fields |= content.keys() - {"domain", "mirror", "classes"}
        sound = fields <= {"name", "description"} and isinstance(content.get("domain", DOMAIN), str)
        sound &= content.get("mirror", "true") in {"true", "false"}
        sound &= all(isinstance(value, str) for entry in entries.values() for value in entry.values())
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, TypeError, ValueError) as error:
        sound, fields = False, {type(error).__name__}
    if not sound:
        raise ValueError(
            f"{path} cannot be used ({_some(sorted(fields))}); allowed are 'domain: TEXT', 'mirror: "
            "true' or 'false', and 'classes:' with lines 'FOLDER: NAME' or 'FOLDER: {name: NAME, "
            "description: TEXT}'"
        )
    folders = _folders(root / "train" if (root / "train").is_dir() and (root / "test").is_dir() else root)
    if strange := entries.keys() - folders.keys():
        raise ValueError(f"{path} names {_some(sorted(strange))}; the class folders are {_some(list(folders))}")
    names = {name: entries.get(name, {}).get("name", name.replace("_", " ")) for name in folders}
    if len(set(names.values())) < len(names):
        raise ValueError(f"{path} or the folders give two classes one name: {_some(sorted(names.values()))}")
    described = {names[f]: entry["description"] for f, entry in entries.items() if "description" in entry}
    return About(content.get("domain", DOMAIN), names, described, content.get("mirror", "true") == "true")


def decode_all(root: Path, files: Iterable[Path], function: Callable) -> list:
    """Return what a function makes of each file's bytes.

    Raises:
        ArtifactError: it fails on some; the message lists them.
    """
    made, broken = [], []
    for file in files:
        try:
            made.append(function(file.read_bytes()))
        except Exception as error:  # Pillow raises whatever the malformed part happens to cause
            broken.append(f"{_inside(root, file)} ({str(error)[:80]})")
    if broken:
        raise ArtifactError(
            f"{len(broken)} files of {root} are no whole PNG or JPEG: {_some(broken)}; replace or delete them"
        )
    return made


def _folders(root: Path) -> dict[str, Path]:
    return {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] != "."}


def _images(folder: Path) -> list[Path]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.name[0] != "."]
    if strange := [file.name for file in files if file.suffix.lower() not in SUFFIXES]:
        raise ValueError(f"{folder} holds {_some(strange)}; allowed are files that end in {', '.join(SUFFIXES)}")
    return files


def _inside(root: Path, file: Path) -> str:
    return file.relative_to(root).as_posix()


def _shuffled(root: Path, file: Path) -> bytes:
    return hashlib.sha256(_inside(root, file).encode()).digest()


def _some(items: list[str]) -> str:
    return ", ".join(items[:10]) + (f" and {len(items) - 10} more" if len(items) > 10 else "")


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
