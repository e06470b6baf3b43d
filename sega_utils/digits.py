"""Write scikit-learn's digits as a tree of class folders, to try ``folder:PATH`` with: python -m sega_utils.digits PATH

They are 1,797 scans of handwritten digits, 8x8 pixels of 0 to 16 (Alpaydin and Kaynak 1998, UCI, CC BY 4.0).
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from sklearn.datasets import load_digits

from sega_utils import artifacts, paths, runtime
from sega_utils.sources import DIGITS

DOMAIN = "8x8 greyscale scan of a handwritten digit"
SHAPES = (
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
    classes = {str(i): {"name": name, "description": shape}
               for i, (name, shape) in enumerate(zip(DIGITS, SHAPES, strict=True))}  # fmt: skip
    about = {"domain": DOMAIN, "mirror": False, "classes": classes}
    artifacts.save_text(folder / "classes.yaml", yaml.safe_dump(about, sort_keys=False))
    shutil.copyfile(paths.DATA / "prompts" / "digits.jsonl", folder / "prompts.jsonl")
    return len(digits.images)


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Write the digits as a tree of images."""
    parser = argparse.ArgumentParser("python -m sega_utils.digits", description=main.__doc__)
    parser.add_argument("path", type=Path, metavar="PATH", help="a new folder, e.g. build/digits")
    folder = parser.parse_args(arguments).path
    print(f"wrote {write_digits(folder)} images; use them with DATASET=folder:{folder}")


if __name__ == "__main__":
    sys.exit(main())
