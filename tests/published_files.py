"""Small files in the formats that the authors of data sets publish."""

import io
import struct
import tarfile
import zipfile

import numpy as np
from PIL import Image


def idx(*shape: int, kind: int = 8, payload: bytes = bytes(range(6))) -> bytes:
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + payload


def python2(value: object) -> bytes:
    """Return the opcodes with which Python 2 pickles a value: its texts are bytes, its arrays are numpy 1's."""
    if isinstance(value, str):
        return b"T" + struct.pack("<I", len(value)) + value.encode("latin1")
    if isinstance(value, bytes):
        return python2(value.decode("latin1"))
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    if isinstance(value, list):
        return b"](" + b"".join(map(python2, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(python2(part) for pair in value.items() for part in pair) + b"u"
    kind = b"cnumpy\ndtype\n" + python2("u1") + python2(0) + python2(1) + b"\x87R"
    kind += b"(" + python2(3) + python2("|") + b"NNN" + python2(-1) + python2(-1) + python2(0) + b"tb"
    shape = b"".join(map(python2, value.shape)) + b"\x86"
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        + python2(0)
        + b"\x85"
        + python2("b")
        + b"\x87R"
        + b"("
        + python2(1)
        + shape
        + kind
        + b"\x89"
        + python2(value.tobytes())
        + b"tb"
    )


def pickled(value: object) -> bytes:
    return b"\x80\x02" + python2(value) + b"."


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, raw in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    return stream.getvalue()


def tiny_imagenet(put, names, each):
    """Put Tiny-ImageNet of random pixels among the downloads, with ``each`` images a class in either split."""
    rng = np.random.default_rng(0)
    stream, top, rows = io.BytesIO(), "tiny-imagenet-200", []
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr(f"{top}/wnids.txt", "".join(f"n{c}\n" for c in range(len(names))))
        file.writestr(f"{top}/words.txt", "".join(f"n{c}\t{name}, object\n" for c, name in enumerate(names)))
        for c in range(len(names)):
            for i in range(each):
                picture = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(picture, "JPEG")
                file.writestr(f"{top}/train/n{c}/images/n{c}_{i}.JPEG", picture.getvalue())
                file.writestr(f"{top}/val/images/val_{c}_{i}.JPEG", picture.getvalue())
                rows.append(f"val_{c}_{i}.JPEG\tn{c}\t0\t0\t62\t62\n")
        file.writestr(f"{top}/val/val_annotations.txt", "".join(rows))
    put("tiny-imagenet", "tiny-imagenet-200.zip", stream.getvalue())
