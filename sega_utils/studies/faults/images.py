"""Faults in folders of images, and test images that are planted where they must not be."""

import io
import random
import shutil
import struct
import zlib
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
from sega_utils.studies.faults.files import IN_PLACE, Change, bits, clear, cut, in_file
from sega_utils.studies.faults.judge import Fault, Told
from sega_utils.studies.faults.run import Bench, noise

CLASSES = ("ash", "beech", "oak")
IMAGE = "ash/03.png"


def plant(root: Path) -> None:
    """Write a tree of ten images in each of three classes."""
    images = to_uint8(noise(30, seed=7))[:, 0].numpy()
    for i, image in enumerate(images):
        file = root / CLASSES[i % 3] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)


def in_folders(bench: Bench) -> Iterator[Fault]:
    """Yield faults in a tree of class folders: its files, its shape, its names, and what stands beside them."""
    root = bench.folder / "trees"
    plant(root)

    def read(root: Path = root) -> object:
        return [folders.read_folder(root, split) for split in ("train", "test")]

    expected = cache(read)
    file, kind = root / IMAGE, "folder of images"
    changes = _damaged(file.read_bytes(), bench.rng) | {k: v for k, v in IN_PLACE.items() if k != "deleted"}
    yield from in_file(kind, file, changes, read, expected, into="one of its images")
    yield from in_file(kind, root, _shapes(), read, expected, into="its folders and files")
    changes = {f"called {what}": partial(_renamed, name=name) for what, name in NAMES.items()}
    yield from in_file(kind, root, changes, read, expected, ("class names",), "a class")
    changes = {what: partial(_beside, name="classes.yaml", raw=raw) for what, raw in _abouts().items()}
    yield from in_file(kind, root, changes, read, expected, ("classes.yaml",), "classes.yaml")
    for name in PLACES:

        def moved_to(name: str = name) -> object:
            place = root.rename(root.with_name(name))
            try:
                return read(place)
            finally:
                place.rename(root)

        yield Fault(kind, "its own name", repr(name), moved_to, (name,), expected)


PLACES = ("Anna's photos", "a: b", "a b", "#1", "100%", "$HOME", "`ls`", "b\xe4ume", "-x", "a\nb", "{run}", "*", "a;b")


def _png(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _chunk(name: bytes, raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + name + raw + struct.pack(">I", zlib.crc32(name + raw))


def _damaged(raw: bytes, rng: random.Random) -> dict[str, Change]:
    """Return what may be in an image's place: damaged ones, other formats, and images that cannot be meant."""
    image = Image.open(io.BytesIO(raw))
    clear_as_glass = Image.new("RGBA", image.size, (0, 0, 0, 0))
    huge = raw[:8] + _chunk(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)) + _chunk(b"IEND", b"")
    jpeg = _png(image, "JPEG", quality=95)
    found = {"empty": b"", "zeros": bytes(len(raw)), "web page": b"<!DOCTYPE html><html></html>", "a text": b"hello"}
    found |= {"pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\n", "PDF": b"%PDF-1.4"}
    found |= {"SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "HEIC": b"\0\0\0\x18ftypheic" + bytes(40)}
    found |= cut(raw, 4, 20, 40, len(raw) // 2, len(raw) - 20) | bits(raw, 25, rng)
    found |= {form: _png(image, form) for form in ("GIF", "BMP", "WEBP", "TIFF")}
    found |= {f"JPEG, {what}": part for what, part in cut(jpeg, 3, 100, len(jpeg) // 2).items()}
    found |= {"transparent throughout": _png(clear_as_glass), "of 30,000 pixels a side": huge}
    twelve = Image.fromarray((np.asarray(image) * (4095 / 255)).round().astype(np.uint16))
    return found | {"one pixel": _png(image.crop((0, 0, 1, 1))), "12 bits in 16": _png(twelve)}


def _beside(root: Path, *, name: str, raw: bytes = b"x") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(raw)


def _copied(root: Path, *, name: str) -> None:
    _beside(root, name=name, raw=(root / IMAGE).read_bytes())


def _linked(root: Path, *, links: dict[str, str]) -> None:
    for name, target in links.items():
        (root / name).symlink_to(target)


def _split(root: Path, *, names: tuple[str, ...]) -> None:
    for name in names:
        for own in CLASSES:
            shutil.copytree(root / own, root / name / own)
    _only(root, names=())


def _only(root: Path, *, names: tuple[str, ...]) -> None:
    for name in set(CLASSES) - set(names):
        shutil.rmtree(root / name)


def _emptied(root: Path, *, left: int) -> None:
    for file in sorted((root / "ash").iterdir())[left:]:
        file.unlink()


def _flat(root: Path) -> None:
    for file in sorted(root.glob("*/*.png")):
        file.rename(root / file.name)
    for name in CLASSES:
        (root / name).rmdir()


SPLITS = "train", "test", "train test", "train val test", "train training", "Test test"
STRAY = ("ash/notes.txt", "oak/03.png.bak", "ash/03", "beech/data.zip", "oak/a.gif", "ash/a.webp", "ash/model.pth")
UNASKED = ("ash/.DS_Store", "Thumbs.db", "oak/desktop.ini", ".git/config", "README.md", "__MACOSX/x.png", "labels.csv")
HIDDEN = ("ash/.ipynb_checkpoints/03.png", "oak/.thumbnails/a.png", "beech/@eaDir/b.png", ".trash/elm/a.png")
LINKS = {
    "to the folder": {"ash/up": "."},
    "to the tree": {"ash/up": ".."},
    "to itself": {"ash/a.png": "a.png"},
    "to itself in a class's place": {"elm": "elm"},
    "two in a circle": {"ash/a.png": "b.png", "ash/b.png": "a.png"},
    "that leads nowhere": {"oak/lost.png": "nowhere.png"},
}


def _shapes() -> dict[str, Change]:
    """Return changes of a whole tree, by what is done."""
    found: dict[str, Change] = {
        f"folders {names.replace(' ', ' and ')}": partial(_split, names=tuple(names.split())) for names in SPLITS
    }
    found |= {f"{left} images in a class": partial(_emptied, left=left) for left in range(3)}
    found |= {"a class alone": partial(_only, names=("ash",)), "no class": partial(_only, names=())}
    found |= {f"stray {name}": partial(_beside, name=name) for name in (*STRAY, *UNASKED)}
    found |= {f"hidden {name}": partial(_copied, name=name) for name in HIDDEN}
    found |= {f"link {what}": partial(_linked, links=links) for what, links in LINKS.items()}
    found |= {"an image beside the classes": partial(_copied, name="03.png"), "only images": _flat, "no tree": clear}
    found |= {"an empty class": lambda root: (root / "elm").mkdir()}
    found |= {"file for the tree": lambda root: [clear(root), root.write_bytes(b"PK")]}
    return found | {"splits and classes": lambda root: shutil.copytree(root / "ash", root / "train/ash")}


# names of class folders that later stages could take for something else than names
NAMES = {
    **{"a tag": "<script>alert(1)<", "a formula": "=1+1", "mathematics": "$x^2$", "a pipe": "a|b", "a star": "*"},
    **{"a backslash": "a\\b", "braces": "{x}", "a quote": 'a"b', "a new line": "a\nb", "control": "a\x07b"},
    **{"an emoji": "\N{EVERGREEN TREE}", "right to left": "a\u202eb", "long": "x" * 100, "a space before": " elm"},
    **{"a space behind": "elm ", "an ampersand": "a&b", "a semicolon": "a;b", "a dollar": "$HOME", "a hash": "#1"},
    **{"a backtick": "`ls`", "another's in capitals": "OAK", "another's with a space": "oak_", "a percent": "100%"},
}


def _renamed(root: Path, *, name: str) -> None:
    (root / "ash").rename(root / name)


def _abouts() -> dict[str, bytes]:
    texts = {
        **{"empty": "", "no YAML": "classes: [", "a list": "- ash\n", "a number": "5"},
        **{"unknown key": "clases: {ash: x}\n", "unknown folder": "classes: {elm: Elm}\n"},
        "a class twice": "classes:\n  ash: A\n  ash: B\n",
        **{"two of one name": "classes: {ash: tree, oak: tree}\n", "name of a list": "classes: {ash: [a]}\n"},
        **{"name that is empty": "classes: {ash: ''}\n", "name that is long": f"classes: {{ash: {'x' * 100}}}\n"},
        "name with a tag": "classes: {ash: '<b>x</b>'}\n",
        **{"unknown field": "classes: {ash: {name: x, colour: y}}\n", "domain that is empty": "domain: ''\n"},
        **{"domain that is long": f"domain: {'x' * 400}\n", "domain of a list": "domain: [a]\n"},
        **{"domain with control characters": 'domain: "a\\u0007b"\n', "domain of two lines": 'domain: "a\\nb"\n'},
        **{"mirror of a word": "mirror: perhaps\n", "mirror of a number": "mirror: 1\n"},
        "description of an object": "classes: {ash: {name: x, description: {a: b}}}\n",
        "nested deep": f"classes: {'[' * 1000}{']' * 1000}\n",
        "a tag of Python": "domain: !!python/object/apply:os.system [true]\n",
        **{"large": f"# {'x' * 1_100_000}\n", "tab": "classes:\n\tash: A\n"},
    }
    return {what: text.encode() for what, text in texts.items()} | {"latin-1": b"domain: \xe9\n", "zeros": bytes(20)}


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


def in_splits(bench: Bench) -> Iterator[Fault]:
    """Yield test images of Fashion-MNIST that are planted, changed a little, into training images and candidates."""
    test = _some("test", 200)
    train = _some("train", 100)
    for i in bench.rng.sample(range(100), 5):
        for what, change in COPIES.items():
            for split, images, label in (("test", test, 0), ("train", train, 1)):  # as trained on, and in another class
                copy, own = change(images.images[i : i + 1]), (int(images.labels[i]) + label) % 10
                attempt = partial(_surveyed, train, test, copy, own, f"{split} {i} ")
                yield Fault("leakage", "training images", f"{split} {i}, {what}", attempt, (f"{split} {i} ",))
            copy = change(test.images[i : i + 1])
            right = cache(partial(_filtered, train, test, None))
            yield Fault("leakage", "candidates", f"test {i}, {what}", partial(_filtered, train, test, copy), (), right)


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
    return Told("{a} and {b}: {what to do}".format_map(mine[0])) if mine else None


def _filtered(train: Dataset, test: Dataset, copy: torch.Tensor | None) -> tuple:
    """Return which of the candidates 04_synthesis keeps; a planted one takes the place of one that was not kept."""
    pool = {"images": to_uint8(train.images), "class_ids": train.labels}
    kept = torch.arange(len(train.labels)) > 0
    if copy is not None:
        pool["images"], kept = torch.cat([to_uint8(copy), pool["images"][1:]]), kept | True
    table = {"kept": kept.tolist(), "reason": [""] * len(kept)}
    mask, _ = pools.leave_out_copies(pool, kept, table, test.images, n=len(kept))
    return mask.tolist()
