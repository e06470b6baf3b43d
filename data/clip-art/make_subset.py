"""Write twelve classes of Debian's openclipart-png as the data set in this folder, or in full size as another.

It downloads the package (131 MB) by apt-get, unpacks it with dpkg, needs no other right, and leaves no trace.
"""

import argparse
import csv
import hashlib
import random
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from PIL import Image

CLASSES = {
    "mammals": "animals/mammals",
    "birds": "animals/birds",
    "bugs": "animals/bugs",
    "fruit": "food/fruit",
    "desserts": "food/desserts",
    "beverages": "food/beverages",
    "clothing": "people/clothing",
    "vehicles": "transportation/vehicles",
    "music": "recreation/music",
    "sports": "recreation/sports",
    "games": "recreation/games",
    "hardware": "computer/hardware",
}
TRAIN = 30  # images a class
LARGEST = 50_000_000  # pixels; what is larger takes minutes and gigabytes to read
LICENCE = "public domain (Creative Commons Public Domain Dedication)"
COLUMNS = ("file", "title", "author", "licence", "source")


def unpack(folder: Path) -> Path:
    """Download and unpack the package below ``folder``; return the folder of its categories."""
    subprocess.run(["apt-get", "download", "-q", "openclipart-png"], cwd=folder, check=True)
    subprocess.run(["dpkg", "-x", next(folder.glob("*.deb")), folder], check=True)
    return folder / "usr/share/openclipart/png"


def shrunk(image: Image.Image, side: int) -> Image.Image:
    """Return a picture within ``side`` x ``side`` pixels on white, in at most 128 colours; 0 leaves its size."""
    image = image.convert("RGBA")
    if side:
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB").quantize(128, dither=Image.Dither.NONE)


def write(root: Path, out: Path, *, side: int, test: int) -> Counter:
    """Write ``train/CLASS`` and ``test/CLASS`` below ``out``, and beside them who made the pictures; count them.

    Args:
        root: of the categories; side: see ``shrunk``; test: images a class to test with, at most.
    """
    rows, counts = [], Counter()
    Image.MAX_IMAGE_PIXELS = None
    for name, category in CLASSES.items():
        files = sorted((root / category).rglob("*.png"))
        random.Random(0).shuffle(files)
        for file in files:
            split = "train" if counts["train", name] < TRAIN else "test"
            with Image.open(file) as image:
                if counts["test", name] == test or image.width * image.height > LARGEST:
                    continue
                inside = file.relative_to(root / category)
                target = out / split / name / "-".join(inside.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                said = {key: " ".join(image.info.get(key.title(), "").split()) for key in ("title", "author")}
                shrunk(image, side).save(target, optimize=True)
            counts[split, name] += 1
            place = {"file": target.relative_to(out).as_posix(), "source": f"{category}/{inside.as_posix()}"}
            rows.append(place | said | {"licence": LICENCE})
    with open(out / "AUTHORS.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["file"]))
    sums = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(out).as_posix()}\n"
        for file in sorted(out.rglob("*"))
        if file.suffix in {".png", ".csv"}
    ]
    (out / "SHA256SUMS").write_text("".join(sums))
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).parent, help="this folder if absent")
    parser.add_argument("--side", type=int, default=96, help="pixels; 0 keeps the pictures' own")
    parser.add_argument("--test", type=int, default=100, help="images a class to test with, at most")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = write(unpack(Path(folder)), asked.out.resolve(), side=asked.side, test=asked.test)
    print(*(f"{split} {name}: {n}" for (split, name), n in sorted(found.items())), sep="\n")
