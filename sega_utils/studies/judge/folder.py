"""The judge looks at a folder: what is left out and why, which images are for testing, and what all trainings read."""

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import decoding, folders, tree
from sega_utils.data.images import Dataset, from_uint8, resize, to_uint8
from sega_utils.filters import leaks

LOOK = 64  # pixels a side at which images are compared with each other
LEAST_TRAIN, LEAST_TEST = 6, 2  # images a class; two for each of three folds
FOLDS, REPEATS = 3, 5  # of the cross-validation; every image has its folds of all repeats from the beginning
TEST_SHARE = 0.2
LEFT_OUT = ("file", "same as", "reason")


class Pictures(NamedTuple):
    """A user's folder after the judge has looked at it; what was left out is not among the images.

    Attributes:
        files: N, in the order of all tensors; digests: of each one's pixels, hex.
        images: uint8 (N, C, 64, 64), C = 1 if all files are grey; labels: int64 (N,).
        bits: of 16-bit files, see ``decoding.bits_of``.
        tests: bool (N,), where the user keeps images to test with apart; else None.
        shorter: int64 (N,), each file's shorter side in pixels.
        left_out: rows of ``LEFT_OUT``.
    """

    root: Path
    names: tuple[str, ...]
    class_folders: tuple[str, ...]
    mirrors: bool
    files: list[Path]
    digests: list[str]
    images: torch.Tensor
    labels: torch.Tensor
    bits: int
    tests: torch.Tensor | None
    shorter: torch.Tensor
    left_out: list[dict[str, str]]


def look(root: Path) -> Pictures:
    """Read a folder, leave out what is no image, damaged, twice there or under two labels; refuse classes too small.

    Raises:
        FileNotFoundError, ValueError, ArtifactError: as ``tree.find_files``, or a class has too few images left.
    """
    strays: list[tuple[Path, str]] = []
    found, told, own_split = tree.find_files(root, strays), folders.about(root), bool(tree.splits_of(root))
    pairs = [
        (file, label, split == "test")
        for split, classes in found.items()
        for label, files in enumerate(classes.values())
        for file in files
    ]
    header = lambda raw: (*decoding.examine(raw), decoding.shorter_side(raw))
    seen, unread = _attempted(root, pairs, header)
    bits = decoding.bits_of(max((top for *_, (_, top, _) in seen), default=0))
    pixels, damaged = _attempted(
        root, [pair for *pair, _ in seen], lambda raw: decoding.decode(raw, size=LOOK, bits=bits)
    )
    said = {file: (grey, short) for file, *_, (grey, _, short) in seen}
    files, labels, tests, pixels = map(list, zip(*pixels, strict=True)) if pixels else ([],) * 4
    greys, shorter = zip(*(said[file] for file in files), strict=True) if files else ((), ())
    images = torch.from_numpy(np.stack(pixels))[:, : 1 if all(greys) else 3]
    labels, tests = torch.tensor(labels), torch.tensor(tests)
    if not own_split:
        tests[:] = False
    kept, rows = without_twins(images, labels, tests, [tree.inside(root, file) for file in files])
    digests = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images]
    pictures = Pictures(
        root=root,
        names=tuple(told.names.values()),
        class_folders=tuple(told.names),
        mirrors=told.mirrors,
        files=[files[i] for i in kept],
        digests=[digests[i] for i in kept],
        images=images[kept],
        labels=labels[kept],
        bits=bits,
        tests=tests[kept] if own_split else None,
        shorter=torch.tensor(shorter)[kept],
        left_out=[_left_out(root, file, reason) for file, reason in strays] + unread + damaged + rows,
    )
    check(pictures)
    return pictures


def without_twins(
    images: torch.Tensor, labels: torch.Tensor, tests: torch.Tensor, names: list[str]
) -> tuple[list[int], list[dict[str, str]]]:
    """Return which images stay, and a row for each that does not.

    Of true twins one stays, a test image before a training image, so that the test stays whole; of one image under two
    labels none does: nobody but the user knows which is right.

    Args:
        images: uint8 (N, C, 64, 64); labels: int64 (N,); tests: bool (N,); names: of the files.
    """
    groups, pairs = {i: {i} for i in range(len(images))}, leaks.find(from_uint8(images))
    kinds = dict(zip(map(frozenset, pairs.rows.tolist()), pairs.kinds, strict=True))
    for i, j in pairs.rows.tolist():
        if groups[i] is not groups[j]:
            groups[i] |= groups[j]
            for member in groups[i]:
                groups[member] = groups[i]
    kept, rows = [], []
    for i, group in groups.items():
        first = min(group, key=lambda k: (not tests[k], k))
        others = sorted(group - {i})
        if len(set(labels[list(group)].tolist())) > 1:
            reason = "one image under two labels"
        elif i == first:
            kept.append(i)
            continue
        else:
            others = [first]
            reason = "a training image that is a test image too" if tests[first] and not tests[i] else "a twin"
            reason += f" ({kinds[frozenset((i, first))]})" if frozenset((i, first)) in kinds else ""
        rows.append({"file": names[i], "same as": " ".join(names[k] for k in others), "reason": reason})
    return kept, rows


def firsts(pictures: Pictures, n: int) -> torch.Tensor:
    """Return the first n images of each class, float32 (n * K, C, 64, 64), class by class."""
    places = [(pictures.labels == c).nonzero()[:n, 0] for c in range(len(pictures.names))]
    return from_uint8(pictures.images[torch.cat(places)])


def named(pictures: Pictures, files: list[str]) -> torch.Tensor:
    """Return the images of files, named as in the verdict, float32 (N, C, 64, 64)."""
    place = {file.relative_to(pictures.root).as_posix(): i for i, file in enumerate(pictures.files)}
    return from_uint8(pictures.images[[place[file] for file in files]])


def check(pictures: Pictures) -> None:
    """Refuse classes that are too small to be judged.

    Raises:
        ValueError: the message names them, and what is needed.
    """
    counts = pictures.labels.bincount(minlength=len(pictures.names))
    tests = pictures.tests if pictures.tests is not None else torch.zeros_like(pictures.labels, dtype=torch.bool)
    for_test = pictures.labels[tests].bincount(minlength=len(counts))
    if pictures.tests is None:
        for_test = (counts * TEST_SHARE).round().clamp(min=LEAST_TEST)
    rows = zip(pictures.names, (counts - for_test).tolist(), for_test.tolist(), strict=True)
    few = [f"{n} ({int(a)} + {int(b)})" for n, a, b in rows if a < LEAST_TRAIN or b < LEAST_TEST]
    if few:
        raise ValueError(
            f"{pictures.root.name} has classes with too few images for a verdict (training + test, twins left out): "
            f"{', '.join(few[:10])}{f' and {len(few) - 10} more' if len(few) > 10 else ''}; needed are "
            f"{LEAST_TRAIN} to train on and {LEAST_TEST} to test with: add images, or move these classes away"
        )


def split(file: Path, pictures: Pictures) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which images are for testing, bool (N,), and the fold of each in every repeat, int64 (REPEATS, N).

    An image keeps its part for good: ``file`` remembers it, and a new image goes where its class has fewest.
    """
    known = {row["digest"]: row for row in artifacts.load_csv(file)} if file.exists() else {}
    called = {d: pictures.names[label] for d, label in zip(pictures.digests, pictures.labels.tolist(), strict=True)}
    rows = {d: known[d] for d, name in called.items() if d in known and known[d]["class"] == name}
    columns = [f"fold{r}" for r in range(REPEATS)]
    count: Counter = Counter()  # of each class: images, test images, and training images in each fold

    def tally(row: dict) -> None:
        count.update([row["class"], (row["class"], row["test"])])
        if row["test"] == "no":
            count.update((row["class"], column, int(row[column])) for column in columns)

    for row in rows.values():
        tally(row)
    new = sorted((i for i, d in enumerate(pictures.digests) if d not in rows), key=lambda i: pictures.digests[i])
    for i in new:
        name = called[pictures.digests[i]]
        if pictures.tests is None:
            test = count[name, "yes"] < TEST_SHARE * (count[name] + 1) - 0.5
        else:
            test = bool(pictures.tests[i])
        row = {"digest": pictures.digests[i], "class": name, "test": "yes" if test else "no"}
        for r, column in enumerate(columns):
            tie = int(hashlib.sha256(f"{r} {pictures.digests[i]}".encode()).hexdigest(), 16)
            row[column] = min(range(FOLDS), key=lambda f: (count[name, column, f], (tie >> 8 * f) & 255, f))
        rows[pictures.digests[i]] = row
        tally(row)
    if pictures.tests is not None:
        for digest, test in zip(pictures.digests, pictures.tests.tolist(), strict=True):
            rows[digest] = rows[digest] | {"test": "yes" if test else "no"}
    artifacts.save_csv(file, known | rows and (known | rows).values(), ("digest", "class", "test", *columns))
    mine = [rows[digest] for digest in pictures.digests]
    return torch.tensor([row["test"] == "yes" for row in mine]), torch.tensor(
        [[int(row[column]) for row in mine] for column in columns]
    )


class Judged(NamedTuple):
    """What all trainings of the judge read: all images at the plan's side, their parts, and the digests of files."""

    data: Dataset
    tests: torch.Tensor
    folds: torch.Tensor
    digests: list[str]


def store(folder: Path, pictures: Pictures, tests: torch.Tensor, folds: torch.Tensor, side: int) -> None:
    """Write images (at ``side`` pixels), labels and parts into a folder of results, for ``load``."""
    images = pictures.images if side == LOOK else to_uint8(resize(from_uint8(pictures.images), side))
    tensors = {"images": images, "labels": pictures.labels, "tests": tests, "folds": folds}
    meta = {"names": pictures.names, "mirrors": pictures.mirrors, "digests": pictures.digests}
    artifacts.save_tensors(folder / "images.safetensors", tensors, meta)


def load(folder: Path) -> Judged:
    """Return what ``store`` wrote.

    Raises:
        ArtifactError: the file is damaged.
    """
    tensors, meta = artifacts.load_tensors(folder / "images.safetensors")
    data = Dataset(from_uint8(tensors["images"]), tensors["labels"], tuple(meta["names"]), meta["mirrors"])
    return Judged(data, tensors["tests"], tensors["folds"], meta["digests"])


def place(run: str, dataset: str) -> Path:
    """Return the folder of the judge's own files in a run's results."""
    return paths.artifact(run, dataset, "judge")


def _attempted(root: Path, pairs: list[tuple], function: Callable) -> tuple[list[tuple], list[dict[str, str]]]:
    """Return (file, label, test, what the function makes of the bytes), and a row for each file on which it fails."""
    made, rows = [], []
    for file, *rest in pairs:
        try:
            made.append((file, *rest, folders.decode_all(root, [file], function)[0]))
        except ArtifactError as error:
            reason = str(error).partition("no whole PNG or JPEG: ")[2].partition("; replace")[0] or str(error)
            name = f"{file.relative_to(root).as_posix()} "  # which stands in the row already
            rows.append(_left_out(root, file, f"cannot be read: {reason.removeprefix(name)}"))
    return made, rows


def _left_out(root: Path, file: Path, reason: str) -> dict[str, str]:
    return dict(zip(LEFT_OUT, (tree.inside(root, file), "", reason), strict=True))
