"""Make the embedded files from the full Fashion-MNIST: python make_subset.py FOLDER_WITH_THE_FOUR_IDX_FILES

The training subset holds 600 images a class, drawn without replacement with numpy's PCG64 and seed 0, in the order
of the full set. The test set is the full one. The gzip headers carry no time, so the files are reproducible.
"""

import gzip
import hashlib
import struct
import sys
from pathlib import Path

import numpy as np

PER_CLASS, SEED = 600, 0


def read_idx(path: Path) -> np.ndarray:
    raw = gzip.decompress(path.read_bytes())
    start = 4 + 4 * raw[3]
    return np.frombuffer(raw, np.uint8, offset=start).reshape(struct.unpack(f">{raw[3]}I", raw[4:start]))


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))


def write_sums(folder: Path) -> None:
    files = sorted(folder.glob("*.gz"))
    sums = (f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (folder / "SHA256SUMS").write_text("".join(sums))


def main() -> None:
    source, here = Path(sys.argv[1]), Path(__file__).parent
    rng = np.random.default_rng(SEED)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images = read_idx(source / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(source / f"{prefix}-labels-idx1-ubyte.gz")
        if split == "train":
            chosen = [rng.choice(np.flatnonzero(labels == c), PER_CLASS, replace=False) for c in range(10)]
            keep = np.sort(np.concatenate(chosen))
            images, labels = images[keep], labels[keep]
        write_idx(here / f"{split}-images-idx3-ubyte.gz", images)
        write_idx(here / f"{split}-labels-idx1-ubyte.gz", labels)
    write_sums(here)


if __name__ == "__main__":
    main()
