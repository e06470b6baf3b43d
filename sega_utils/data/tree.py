"""Where the files of a user's own images lie: splits, class folders, links, and what is none of these."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.classes import some

SUFFIXES = (".png", ".jpg", ".jpeg")
TEST_SHARE = 0.2  # of each class, where the tree has no folders train and test
# what the folders of the splits may be called, in any case
TRAIN = ("train", "training", "train_set", "training_set")
TEST = ("test", "testing", "test_set", "val", "valid", "validation", "val_set", "validation_set")
# what systems put into folders unasked, beside whatever begins with a dot
SYSTEM = {
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "icon\r",
    "__macosx",
    "@eadir",
    "#recycle",
    "#snapshot",
    "@recycle",
    "lost+found",
    "$recycle.bin",
    "system volume information",
    "__pycache__",
}


def ordered(root: Path) -> dict[str, list[tuple[Path, int]]]:
    """Return each split's files and labels in the order in which ``read_folder`` returns the images.

    Raises:
        FileNotFoundError, ValueError, ArtifactError: see ``read_folder``.
    """
    return {
        split: sorted(
            ((file, label) for label, files in enumerate(own.values()) for file in files),
            key=lambda pair: _shuffled(root, pair[0]),
        )
        for split, own in find_files(root).items()
    }


def find_files(root: Path, left_out: list[tuple[Path, str]] | None = None) -> dict[str, dict[str, list[Path]]]:
    """Return the files of each class folder in each split; without folders of splits, a fifth is for testing.

    Which files these are depends on their names alone: the same tree splits the same way everywhere.

    Args:
        left_out: takes up what is no image, or of no class, each with the reason; without it, that is an error.

    Raises:
        FileNotFoundError, ValueError, ArtifactError: see ``read_folder``.
    """
    if splits := splits_of(root):
        found = {
            split: {name: _images(root, each, left_out) for name, each in folders_of(folder).items()}
            for split, folder in splits.items()
        }
        if odd := found["train"].keys() ^ found["test"].keys():
            raise ValueError(
                f"{root}: only one of {splits['train'].name} and {splits['test'].name} has "
                f"{some(sorted(odd))}; both need each class"
            )
    else:
        found = {"train": {}, "test": {}}
        for name, folder in folders_of(root).items():
            files = sorted(_images(root, folder, left_out), key=lambda file: _shuffled(root, file))
            count = max(1, round(TEST_SHARE * len(files)))
            found["test"][name], found["train"][name] = files[:count], files[count:]
    for folder in (root, *splits.values()):
        stray = [path for path in entries(folder) if is_image(path)]
        if stray and left_out is None:
            raise ValueError(
                f"{folder} holds {some([path.name for path in stray])} beside the class folders, so of no class; move "
                "them into one, or elsewhere"
            )
        if left_out is not None:
            left_out += [(path, "lies beside the class folders, so of no class") for path in stray]
    _check_enough(root, found)
    return found


def _check_enough(root: Path, found: dict[str, dict[str, list[Path]]]) -> None:
    few = [
        f"{name} ({len(files)} + {len(found['test'][name])})"
        for name, files in found["train"].items()
        if len(files) < 2 or not found["test"][name]
    ]
    if few or len(found["train"]) < 2:
        inner = [each for each in folders_of(root).values() if folders_of(each)]
        raise ValueError(
            f"{root} has {len(found['train'])} classes, of them with too few images (training + test): "
            f"{some(few) or 'none'}; needed are two classes, each with two images to train on and one to test"
            + (f". Do you mean DATASET=folder:{inner[0]}?" if len(found["train"]) < 2 and inner else "")
        )


def splits_of(root: Path) -> dict[str, Path]:
    """Return the folders ``train`` and ``test`` of a tree, the latter perhaps called ``val``; empty if it has none.

    A folder of that name which holds images itself is a class, as of trains.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: there is one of the two, more than two, or class folders beside them.
    """
    _check_root(root)
    own = folders_of(root)
    train, test = ([name for name in own if name.casefold() in names] for names in (TRAIN, TEST))
    called, others = [*train, *test], sorted(own.keys() - {*train, *test})
    loose = [name for name in called if any(is_image(path) for path in entries(own[name]))]
    if not called or (others and loose == called):
        return {}
    if others:
        raise ValueError(
            f"{root} has folders {' and '.join(called)} and besides {some(others)}; allowed are train and test alone, "
            "or class folders alone"
        )
    if len(called) > 2 or len(train) == 2 or len(test) == 2:
        raise ValueError(
            f"{root} has the folders {some(called)}; allowed are two, one to train on and one to test: move the images "
            "of the others into the one to train on, or out of the folder. Nothing is tuned on the images that test"
        )
    if flat := [name for name in loose if not folders_of(own[name])]:
        raise ValueError(
            f"{root}: {some(flat)} holds images but no class folders; sort them into class folders, or move them "
            "elsewhere"
        )
    if len(called) == 1:
        raise ValueError(
            f"{root} has the folder {called[0]} alone; allowed are train and test (or val), or class folders. To test "
            f"on a fifth of its images: DATASET=folder:{root / called[0]}"
        )
    return {"train": own[train[0]], "test": own[test[0]]}


def is_named_image(path: Path) -> bool:
    """Tell whether a path ends as an image does, whatever it is."""
    return path.suffix.lower() in SUFFIXES


def is_image(path: Path) -> bool:
    """Tell whether a path ends as an image does and is no folder."""
    return is_named_image(path) and not path.is_dir()


def inside(root: Path, file: Path) -> str:
    """Return a file's path in a tree, as text that can be printed."""
    return some([file.relative_to(root).as_posix()])


def _check_root(root: Path) -> None:
    try:
        if root.is_dir():
            return
        problem = f"{root} is a file: unpack it" if root.is_file() else f"there is no folder {root}"
    except (OSError, ValueError) as error:  # a name of 300 characters, a null byte
        problem = f"no folder can be called {str(root)[-40:]!a} ({getattr(error, 'strerror', None) or error})"
    raise FileNotFoundError(
        f"{problem}; DATASET = 'folder:PATH' takes a path from the project's folder, or an absolute one"
    )


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, but for what is hidden or the system's own.

    Raises:
        ArtifactError: the folder cannot be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if p.name[0] != "." and p.name.casefold() not in SYSTEM)
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be read ({error.strerror}); change its permissions") from error


def folders_of(root: Path) -> dict[str, Path]:
    """Return the folders in a folder by name, but for what is hidden or the system's own."""
    return {path.name: path for path in entries(root) if path.is_dir()}


def _images(root: Path, folder: Path, left_out: list[tuple[Path, str]] | None) -> list[Path]:
    """Return the image files of a class folder and the folders in it.

    Raises:
        ValueError: there is another file.
        ArtifactError: a link leads nowhere or in a circle, or a file is none.
    """
    files = list(_walk(folder, ()))
    if left_out is not None:
        said = {file: _unusable(file) for file in files}
        left_out += [(file, why) for file, why in said.items() if why]
        return [file for file, why in said.items() if not why]
    lost = [
        f"{inside(root, file)} -> {os.readlink(file)}"
        for file in files
        if file.is_symlink() and not os.path.isfile(file)
    ]
    if lost:
        raise ArtifactError(
            f"{len(lost)} links of {root} lead nowhere, or in a circle: {some(lost)}; get the files (of git-annex: "
            "git annex get), or delete the links"
        )
    if odd := [inside(root, file) for file in files if not os.path.isfile(file)]:
        raise ArtifactError(f"{root} holds {some(odd)}, which are no files; delete them")
    if strange := [file.name for file in files if file.suffix.lower() not in SUFFIXES]:
        raise ValueError(
            f"{folder} holds {some(strange)}; allowed are files that end in {', '.join(SUFFIXES)}: convert images, "
            "delete or move others"
        )
    return files


def _unusable(file: Path) -> str:
    """Return why a file cannot be an image, in words; of one that may be, nothing."""
    if not os.path.isfile(file):
        return "is a link that leads nowhere, or in a circle" if file.is_symlink() else "is no file"
    return "" if is_named_image(file) else f"does not end in {', '.join(SUFFIXES)}"


def _walk(folder: Path, above: tuple[str, ...]) -> Iterator[Path]:
    """Yield all that is no folder, at any depth, and links to a folder above, which would never end."""
    chain = (os.path.realpath(folder), *above)
    for path in entries(folder):
        inner = path.is_dir() and not is_named_image(path)
        if inner and not any(Path(each).is_relative_to(os.path.realpath(path)) for each in chain):
            yield from _walk(path, chain)
        else:
            yield path


def _shuffled(root: Path, file: Path) -> bytes:
    return hashlib.sha256(os.fsencode(file.relative_to(root).as_posix())).digest()
