"""Files of published data sets: where they belong, where they come from, and whether they are what they should be."""

import hashlib
import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sega_utils.core import paths
from sega_utils.core.artifacts import ArtifactError, atomic


class File(NamedTuple):
    """Where a file is published, its MD5 and its bytes; ``repacked`` is the MD5 of Debian's copy of what is in it."""

    url: str
    md5: str
    size: int
    repacked: str = ""

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.url.rpartition("/")[2]


MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist"
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
# folder below paths.downloads(): its files; URLs and digests are torchvision's where it has the data set
FILES = {
    "cifar-10": [
        File("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 170498071)
    ],
    "cifar-100": [
        File("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85", 169001437)
    ],
    "svhn": [
        File("http://ufldl.stanford.edu/housenumbers/train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", 182040794),
        File("http://ufldl.stanford.edu/housenumbers/test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", 64275384),
    ],
    "tiny-imagenet": [
        File("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de", 248100043)
    ],
    "mnist": [
        File(f"{MNIST}/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9912422),
        File(f"{MNIST}/train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28881),
        File(f"{MNIST}/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1648877),
        File(f"{MNIST}/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4542),
    ],
    "fashion-mnist": [
        File(
            f"{FASHION}/train-images-idx3-ubyte.gz",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            26421880,
            "cf8536b0aa1a6ac5fa3f23001093305c",
        ),
        File(
            f"{FASHION}/train-labels-idx1-ubyte.gz",
            "25c81989df183df01b3e8a0aad5dffbe",
            29515,
            "10bea18fdb374794d4bb42e356e600c9",
        ),
        File(
            f"{FASHION}/t10k-images-idx3-ubyte.gz",
            "bef4ecab320f06d8554ea6380940ec79",
            4422102,
            "f78720b4224f21cce2f2ccf2d7a94c9a",
        ),
        File(
            f"{FASHION}/t10k-labels-idx1-ubyte.gz",
            "bb300cfdad3c16e7a12a480ee83cd310",
            5148,
            "0d30e22e447f3c33dab9ed536400ac01",
        ),
    ],
}


def fetch(folder: str, name: str) -> Path:
    """Return a verified file of a published data set; what is not there is downloaded.

    Raises:
        FileNotFoundError: it cannot be downloaded; the message names all files, their digests and their folder.
        ArtifactError: the file that is there is another than the published one.
    """
    file = next(file for file in FILES[folder] if file.name == name)
    path = paths.downloads() / folder / name
    if not path.exists():
        from torchvision.datasets.utils import download_url  # torchvision takes seconds to import

        try:
            with atomic(path) as temporary:
                download_url(file.url, temporary.parent, temporary.name, file.md5)
        except (OSError, RuntimeError) as error:
            wanted = "\n".join(f"  {f.name}  md5 {f.md5}  {f.size:,} bytes  {f.url}" for f in FILES[folder])
            raise FileNotFoundError(
                f"{paths.shown(path)} is missing and cannot be downloaded ({error}); put these files into "
                f"{paths.shown(path.parent)}/ (SEGA_DATA names another place than data/downloads):\n{wanted}"
            ) from error
    verify(path, file)
    return path


def verify(path: Path, file: File) -> None:
    """Check a file against what is published.

    Raises:
        ArtifactError: it is a web page, truncated, or has another digest; the message says which.
    """
    with open(path, "rb") as handle:
        received, size = hashlib.file_digest(handle, "md5").hexdigest(), path.stat().st_size
    if received in {file.md5, file.repacked}:
        return
    with open(path, "rb") as handle:
        start = handle.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        problem = "is a web page, saved in place of the file: a mirror or a login answered instead"
    elif size < file.size:
        problem = f"is truncated: it has {size:,} of {file.size:,} bytes"
    else:
        problem = f"has md5 {received}, expected {file.md5}: it is damaged or another file"
    raise ArtifactError(f"{paths.shown(path)} {problem}; delete it and run again, or download it from {file.url}")


def digests_of(folder: Path, *, cure: str = "make it again there with: sha256sum *.npy > SHA256SUMS") -> dict[str, str]:
    """Return file name to SHA-256 as ``SHA256SUMS`` in a folder lists them (``sha256sum`` writes it).

    Args:
        cure: what to do about a list that is missing or damaged.

    Raises:
        FileNotFoundError: there is no such list.
        ArtifactError: a line of it is no digest and name.
    """
    path = Path(folder) / "SHA256SUMS"
    if not path.exists():
        raise FileNotFoundError(
            f"{paths.shown(path)} is missing; compare the files with digests you trust, then {cure}"
        )
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    if strange := [line for line in lines if len(line) != 2 or not re.fullmatch("[0-9a-f]{64}", line[0])]:
        raise ArtifactError(
            f"{paths.shown(path)} holds {' '.join(strange[0])!r}, but each line must be a SHA-256 and "
            f"a file name; {cure}"
        )
    return {name.lstrip("*"): value for value, name in lines}


def read_npy(path: Path, digests: dict[str, str]) -> np.ndarray:
    """Return the array of an ``.npy`` file whose SHA-256 is listed; nothing is unpickled.

    Raises:
        FileNotFoundError, ArtifactError: as ``load_official``.
    """
    shown, advice = paths.shown(path), "download it again"
    if not path.exists():
        raise FileNotFoundError(f"{shown} is missing; unpack the published archive there, or leave OFFICIAL empty")
    raw = path.read_bytes()
    if not raw.startswith(b"\x93NUMPY"):
        raise ArtifactError(f"{shown} is no .npy file, it begins with {raw[:15]!r}; {advice}")
    received = hashlib.sha256(raw).hexdigest()
    if received != digests.get(path.name):
        raise ArtifactError(
            f"{shown} ({len(raw):,} bytes) has sha256 {received}, expected {digests.get(path.name)}; "
            f"it is truncated, altered or not listed: {advice}"
        )
    try:
        return np.load(io.BytesIO(raw), allow_pickle=False)
    except ValueError as error:
        raise ArtifactError(f"{shown} cannot be read ({error}); {advice}") from error
