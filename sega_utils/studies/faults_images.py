"""Faults in folders of images, and test images that are planted where they must not be."""

import io
import random
import shutil
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sega_utils.augmenters import pools
from sega_utils.core import runtime
from sega_utils.data import catalogue, folders
from sega_utils.data.images import Dataset, from_uint8, to_uint8
from sega_utils.filters import leaks
from sega_utils.studies.faults_judge import IN_PLACE, Fault, Told, altered, clear, flipped
from sega_utils.studies.faults_run import noise

SHARED = ("ash", "beech", "oak")


def plant(root: Path) -> None:
    """Write a tree of ten images in each of three classes."""
    images = to_uint8(noise(30, seed=7))[:, 0].numpy()
    for i, image in enumerate(images):
        file = root / SHARED[i % 3] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)


def in_folders(folder: Path, rng: random.Random) -> Iterator[Fault]:
    """Yield faults in a tree of class folders: its files, its shape, its names, and what stands beside them."""
    root = folder / "trees"
    plant(root)

    def read() -> object:
        return [folders.read_folder(root, split) for split in ("train", "test")]

    expected = cache(read)
    file = root / "ash" / "03.png"
    raw = file.read_bytes()
    for what, change in (_damaged(raw, rng) | IN_PLACE).items():
        if what == "deleted":  # an image less is a smaller set
            continue
        change = change if callable(change) else partial(_write, raw=change)
        yield _fault(f"ash/03.png: {what}", file, change, read, expected, ("03.png",))
    for what, change in _shapes().items():
        yield _fault(what, root, change, read, expected, (root.name,))
    for what, name in _class_names().items():
        yield _fault(
            f"class called {what}", root, partial(_renamed, name=name), read, expected, (root.name, "class names")
        )
    for what, text in _abouts().items():
        change = partial(_with_about, raw=text)
        yield _fault(f"classes.yaml: {what}", root, change, read, expected, ("classes.yaml",))


def _fault(name: str, path: Path, change: Callable, read: Callable, expected: Callable, named: tuple) -> Fault:
    def attempt():
        with altered(path, change):
            return read()

    return Fault("folder", name, attempt, named, expected)


def _write(path: Path, *, raw: bytes) -> None:
    path.write_bytes(raw)


def _damaged(raw: bytes, rng: random.Random) -> dict[str, bytes]:
    found = {"empty": b"", "zeros": bytes(len(raw)), "web page": b"<!DOCTYPE html><html></html>"}
    found |= {
        "pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\n",
        "a text": b"hello",
        "PDF": b"%PDF-1.4",
    }
    found |= {"SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "HEIC": b"\0\0\0\x18ftypheic" + bytes(40)}
    found |= {f"cut after {at}": raw[:at] for at in (4, 20, 40, len(raw) // 2, len(raw) - 20)}
    found |= {f"bit {bit}": flipped(raw, bit) for bit in rng.sample(range(8 * len(raw)), 25)}
    image = Image.open(io.BytesIO(raw))
    for kind in ("GIF", "BMP", "WEBP", "TIFF"):
        stream = io.BytesIO()
        image.save(stream, kind)
        found[kind] = stream.getvalue()
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95)
    jpeg = stream.getvalue()
    return found | {f"JPEG cut after {at}": jpeg[:at] for at in (3, 100, len(jpeg) // 2)}


def _only(root: Path, *names: str) -> None:
    for name in set(SHARED) - set(names):
        shutil.rmtree(root / name)


def _emptied(root: Path, left: int) -> None:
    for file in sorted((root / "ash").iterdir())[left:]:
        file.unlink()


def _shapes() -> dict[str, Callable[[Path], None]]:
    """Return changes of a whole tree, by what is done."""

    def added(root: Path, name: str, raw: bytes = b"x") -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)

    def copied(root: Path, target: str) -> None:
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / "ash/03.png", root / target)

    def linked(root: Path, name: str, target: str) -> None:
        (root / name).symlink_to(target)

    def into(root: Path, *names: str) -> None:
        classes = [root / name for name in SHARED]
        for name in names:
            for own in classes:
                shutil.copytree(own, root / name / own.name)
        for own in classes:
            shutil.rmtree(own)

    splits = (
        ("train",),
        ("test",),
        ("train", "test"),
        ("train", "val", "test"),
        ("train", "training"),
        ("Test", "test"),
    )
    found: dict[str, Callable] = {f"folders {' and '.join(names)}": partial(_call, into, *names) for names in splits}
    found |= {f"{left} images in a class": partial(_call, _emptied, left) for left in range(3)}
    found |= {"a class alone": partial(_call, _only, "ash"), "no class": partial(_call, _only)}
    found |= {"an empty class": lambda root: (root / "elm").mkdir()}
    found |= {f"stray {name}": partial(_call, added, name) for name in STRAY}
    found |= {"an image beside the classes": partial(_call, copied, "03.png"), "only images": flat}
    found |= {f"unasked {name}": partial(_call, added, name) for name in UNASKED}
    found |= {
        "link to the folder": partial(_call, linked, "ash/up", "."),
        "link to the tree": partial(_call, linked, "ash/up", ".."),
    }
    found |= {
        "link to itself": partial(_call, linked, "ash/a.png", "a.png"),
        "class that is a link to itself": partial(_call, linked, "elm", "elm"),
    }
    found |= {
        "two links in a circle": lambda root: [linked(root, "ash/a.png", "b.png"), linked(root, "ash/b.png", "a.png")]
    }
    found |= {"link that leads nowhere": partial(_call, linked, "oak/lost.png", "nowhere.png")}
    found |= {"file for the tree": lambda root: [clear(root), root.write_bytes(b"PK")], "no tree": clear}
    return found | {"splits and classes": lambda root: [shutil.copytree(root / "ash", root / "train/ash")]}


STRAY = ("ash/notes.txt", "oak/03.png.bak", "ash/03", "beech/data.zip", "oak/a.gif", "ash/a.webp", "ash/model.pth")
UNASKED = ("ash/.DS_Store", "Thumbs.db", "oak/desktop.ini", ".git/config", "README.md", "__MACOSX/x.png")


def _call(function: Callable, *arguments: object) -> None:
    *own, root = arguments
    function(root, *own)


def flat(root: Path) -> None:
    """Move all images of a tree out of their class folders."""
    for file in sorted(root.glob("*/*.png")):
        file.rename(root / file.name)
    for name in SHARED:
        (root / name).rmdir()


def _class_names() -> dict[str, str]:
    """Return names of class folders that later stages could take for something else than names."""
    found = {"a tag": "<script>alert(1)<", "a formula": "=1+1", "mathematics": "$x^2$", "a pipe": "a|b", "a star": "*"}
    found |= {"a backslash": "a\\b", "braces": "{x}", "a quote": 'a"b', "a new line": "a\nb", "control": "a\x07b"}
    found |= {
        "an emoji": "\N{EVERGREEN TREE}",
        "right to left": "a\u202eb",
        "long": "x" * 100,
        "a space before": " elm",
    }
    found |= {
        "a space behind": "elm ",
        "an ampersand": "a&b",
        "a semicolon": "a;b",
        "a dollar": "$HOME",
        "a backtick": "`ls`",
    }
    return found | {
        "another's in capitals": "OAK",
        "another's with a space": "oak_",
        "a percent": "100%",
        "a hash": "#1",
    }


def _renamed(root: Path, *, name: str) -> None:
    (root / "ash").rename(root / name)


def _abouts() -> dict[str, bytes]:
    texts = {
        "empty": "",
        "no YAML": "classes: [",
        "a list": "- ash\n",
        "a number": "5",
        "unknown key": "clases: {ash: x}\n",
        "unknown folder": "classes: {elm: Elm}\n",
        "a class twice": "classes:\n  ash: A\n  ash: B\n",
        "two of one name": "classes: {ash: tree, oak: tree}\n",
        "name of a list": "classes: {ash: [a]}\n",
        "name that is empty": "classes: {ash: ''}\n",
        "name that is long": f"classes: {{ash: {'x' * 100}}}\n",
        "name with a tag": "classes: {ash: '<b>x</b>'}\n",
        "unknown field": "classes: {ash: {name: x, colour: y}}\n",
        "domain that is empty": "domain: ''\n",
        "domain that is long": f"domain: {'x' * 400}\n",
        "domain of a list": "domain: [a]\n",
        "domain with control characters": 'domain: "a\\u0007b"\n',
        "domain of two lines": 'domain: "a\\nb"\n',
        "mirror of a word": "mirror: perhaps\n",
        "mirror of a number": "mirror: 1\n",
        "description of an object": "classes: {ash: {name: x, description: {a: b}}}\n",
        "nested deep": f"classes: {'[' * 1000}{']' * 1000}\n",
        "a tag of Python": "domain: !!python/object/apply:os.system [true]\n",
        "large": f"# {'x' * 1_100_000}\n",
        "tab": "classes:\n\tash: A\n",
    }
    return {what: text.encode() for what, text in texts.items()} | {"latin-1": b"domain: \xe9\n", "zeros": bytes(20)}


def _with_about(root: Path, *, raw: bytes) -> None:
    (root / "classes.yaml").write_bytes(raw)


def moved(images: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Return images moved by up to two pixels, black where nothing is known."""
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    return padded[:, :, 2 - down : 34 - down, 2 - right : 34 - right]


def _one_pixel(images: torch.Tensor) -> torch.Tensor:
    images = images.clone()
    images[:, :, 12, 15] = 1 - images[:, :, 12, 15]
    return images


def _saved_again(images: torch.Tensor, quality: int) -> torch.Tensor:
    stream = io.BytesIO()
    Image.fromarray(to_uint8(images)[0, 0].numpy()).save(stream, "JPEG", quality=quality)
    return from_uint8(torch.from_numpy(np.asarray(Image.open(stream)).copy()))[None, None]


def _noisy(images: torch.Tensor, amount: float) -> torch.Tensor:
    return (images + amount * torch.randn(images.shape, generator=runtime.generator(0))).clamp(0, 1)


COPIES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identical": lambda x: x,
    "one pixel": _one_pixel,
    "brighter": lambda x: (x + 0.1).clamp(0, 1),
    "darker": lambda x: 0.8 * x,
    "more contrast": lambda x: (1.3 * x).clamp(0, 1),
    "JPEG 70": partial(_saved_again, quality=70),
    "JPEG 90": partial(_saved_again, quality=90),
    "noisy": partial(_noisy, amount=0.03),
    "mirrored": lambda x: x.flip(3),
    "mirrored and noisy": lambda x: _noisy(x.flip(3), 0.03),
}
COPIES |= {
    f"moved by {d}, {r}": partial(moved, down=d, right=r)
    for d, r in ((1, 0), (0, 1), (-1, 0), (0, -1), (2, 2), (-2, 1))
}
COPIES |= {"mirrored and moved": lambda x: moved(x.flip(3), 1, -1)}


def in_splits(rng: random.Random) -> Iterator[Fault]:
    """Yield test images of Fashion-MNIST that are planted, changed a little, into training images and candidates."""
    test = _some("test", 200)
    train = _some("train", 100)
    for i in rng.sample(range(100), 5):
        for what, change in COPIES.items():
            copy = change(test.images[i : i + 1])
            attempt = partial(_surveyed, train, test, copy, int(test.labels[i]), f"test {i} ")
            yield Fault("leakage", f"training image that is test {i}, {what}", attempt, (f"test {i} ",))
            copy = change(train.images[i : i + 1])
            attempt = partial(_surveyed, train, test, copy, (int(train.labels[i]) + 1) % 10, f"train {i} ")
            yield Fault("leakage", f"train {i} in another class, too, {what}", attempt, (f"train {i} ",))
            copy = change(test.images[i : i + 1])
            attempt = partial(_filtered, train, test, copy)
            right = partial(_filtered, train, test, None)
            yield Fault("leakage", f"candidate that is test {i}, {what}", attempt, (), cache(right))


@cache
def _some(split: str, n: int) -> Dataset:
    data = catalogue.load("fashion-mnist", split)
    return data._replace(images=data.images[:n], labels=data.labels[:n])


def _surveyed(train: Dataset, test: Dataset, copy: torch.Tensor, label: int, name: str) -> object:
    """Return what 00_data says of an image that was added to the training images and is the one of this name."""
    images, labels = torch.cat([train.images, copy]), torch.cat([train.labels, torch.tensor([label])])
    names = [[f"{split} {k} " for k in range(200)] for split in ("train", "test")]
    rows = leaks.survey(train._replace(images=images, labels=labels), test, *names)
    mine = [row for row in rows if {row["a"], row["b"]} == {names[0][len(train.labels)], name}]
    return Told(f"{mine[0]}") if mine else None


def _filtered(train: Dataset, test: Dataset, copy: torch.Tensor | None) -> tuple:
    """Return which of the candidates 04_synthesis keeps; a planted one takes the place of one that was not kept."""
    pool = {"images": to_uint8(train.images), "class_ids": train.labels}
    kept = torch.arange(len(train.labels)) > 0
    if copy is not None:
        pool["images"], kept = torch.cat([to_uint8(copy), pool["images"][1:]]), kept | True
    table = {"kept": kept.tolist(), "reason": [""] * len(kept)}
    mask, _ = pools.leave_out_copies(pool, kept, table, test.images)
    return mask.tolist()
