"""Faults in what is no text: tensors of a run, weights of others with code in them, embedded images, figures."""

import gzip
import io
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from sega_utils.augmenters import base, biggan, diffusion, pools
from sega_utils.core import artifacts, paths
from sega_utils.data import catalogue, published
from sega_utils.evaluation import classified, shift
from sega_utils.studies import faults_run
from sega_utils.studies.faults_judge import IN_PLACE, Fault, altered, flipped, written
from sega_utils.studies.faults_run import ARM, DATASET, RUN, SEED, place
from sega_utils.text import clip


@cache
def _clip() -> clip.Clip:
    return clip.load_run_clip(RUN, DATASET)


def _inputs(*names: str) -> dict:
    """Return what a stage reads of the run; CLIP, which takes a second, has faults of its own."""
    pools.load_inputs.cache_clear()
    known = _clip()
    with mock.patch.object(clip, "load_run_clip", lambda *_: known):
        found = pools.load_inputs(RUN, DATASET, names)
    return {name: value for name, value in found.items() if name not in {"clip", "device"}}


# artifact: how the project reads it
READERS: dict[str, Callable[[], object]] = {
    **dict.fromkeys(
        ("real", "prompts", "candidates", "synthetic"), partial(_inputs, "generator", "candidates", "synthetic")
    ),
    **dict.fromkeys(("generator", "projector"), partial(_inputs, "generator", "projector")),
    "diffusion": lambda: diffusion.load_diffusion(paths.require(RUN, DATASET, "diffusion")),
    "corrupted": lambda: shift.read_sets(RUN, DATASET),
    "classifiers": lambda: classified.load_classifier(RUN, DATASET, ARM, SEED)[0],
    "clip": lambda: clip.load_run_clip(RUN, DATASET).model,
}
SLOW = ("clip",)  # a fifth of a second each time: fewer faults of a kind


def files(run: str = RUN) -> dict[str, Path]:
    """Return the file of each artifact of ``READERS``."""
    own = {name: place(name, run) for name in READERS}
    return own | {
        "classifiers": faults_run.classifier_file(run),
        "clip": place("clip", run).with_name("clip.safetensors"),
    }


def in_artifacts(rng: random.Random) -> Iterator[Fault]:
    """Yield faults in each file of tensors: of its bytes, of its place, and of what it holds under a right digest."""
    theirs = files(faults_run.OTHER)
    for name, file in files().items():
        raw, read = file.read_bytes(), READERS[name]
        expected = cache(read)
        head = 8 + struct.unpack("<Q", raw[:8])[0]
        each = 2 if name in SLOW else 6
        cuts = [0, 4, head // 2, head, *(rng.randrange(head, len(raw)) for _ in range(each)), len(raw) - 1]
        changes = {("artifact: truncated", f"after {at} of {len(raw)} bytes"): raw[:at] for at in cuts}
        for what, low, high in (("header", 0, head), ("tensor data", head, len(raw))):
            for _ in range(each):
                bit = rng.randrange(8 * low, 8 * high)
                changes["artifact: bit flip", f"in {what}, bit {bit}"] = flipped(raw, bit)
        changes["artifact: zero bytes", "as long"] = bytes(len(raw))
        changes["artifact: zero bytes", "in the middle"] = raw[:head] + bytes(len(raw) - head)
        changes["artifact: zero bytes", "more behind"] = raw + bytes(64)
        changes |= {("artifact: in its place", what): change for what, change in IN_PLACE.items()}
        for other, source in files().items():
            if other != name and source.suffix == file.suffix:
                changes["artifact: another stage's file", f"that of {other}"] = source.read_bytes()
        changes["artifact: another run's file", "of the same stage"] = theirs[name].read_bytes()
        for (kind, what), change in _content(file, rng).items():
            changes[kind, what] = change
        for (kind, what), change in changes.items():
            yield _fault(kind, f"{name}: {kind.partition(': ')[2]}, {what}", file, change, read, expected)


def _fault(kind, name, file, change, read, expected) -> Fault:
    change = written(change) if isinstance(change, bytes) else change

    def attempt():
        with altered(file, change):
            return read()

    also = ("training subset",) if file == place("real") else ()  # as what was trained on other images calls it
    return Fault(kind, name, attempt, (file.name, *also), expected)


def _content(file: Path, rng: random.Random) -> dict[tuple[str, str], Callable]:
    """Return files of ours, with right digests, whose tensors are not those that belong there."""
    tensors, meta = artifacts.load_tensors(file)
    meta.pop("sha256")
    found: dict[tuple[str, str], Callable] = {}
    save = lambda changed, own=meta: partial(_saved, tensors=changed, meta=own)
    floats = [name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()]
    for name in rng.sample(sorted(tensors), min(3, len(tensors))):
        tensor = tensors[name]
        longer = torch.cat([tensor, tensor[:1]]) if tensor.ndim else tensor.repeat(2)
        found["artifact: wrong shape", f"{name} longer"] = save(tensors | {name: longer})
        found["artifact: wrong shape", f"{name} with an axis more"] = save(tensors | {name: tensor[None].clone()})
        other = torch.int32 if tensor.is_floating_point() else torch.float32
        found["artifact: wrong dtype", f"{name} {other}"] = save(tensors | {name: tensor.to(other)})
        found["artifact: tensor missing", name] = save({k: v for k, v in tensors.items() if k != name})
        found["artifact: tensor renamed", name] = save({k if k != name else f"{k}x": v for k, v in tensors.items()})
    for name in rng.sample(floats, min(3, len(floats))):
        for what, value in (("NaN", float("nan")), ("infinite", float("inf"))):
            changed = tensors[name].clone()
            changed.view(-1)[rng.randrange(changed.numel())] = value
            found["artifact: NaN inside", f"{name} {what}"] = save(tensors | {name: changed})
    labels = [k for k in tensors if k in {"labels", "class_ids", "prompt_ids", "cluster_ids"}]
    for name in labels:
        for value in (-1, 10**9):
            changed = tensors[name].clone()
            changed[0] = value
            found["artifact: wrong label", f"{name} {value}"] = save(tensors | {name: changed})
    found["artifact: header altered", "no meta"] = save(tensors, {})
    found["artifact: header altered", "no digest"] = lambda path: save_file(tensors, path)
    return found


def _saved(path: Path, *, tensors: dict, meta: dict) -> None:
    artifacts.save_tensors(path, tensors, meta)


class _Payload:
    """What runs code when it is unpickled."""

    def __init__(self, call: Callable, arguments: tuple):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def _payloads(canary: Path) -> dict[str, _Payload]:
    import subprocess

    touch = f"open({str(canary)!r}, 'w').close()"
    return {
        "os.system": _Payload(os.system, (f"touch '{canary}'",)),
        "subprocess.Popen": _Payload(subprocess.Popen, (["touch", str(canary)],)),
        "exec": _Payload(exec, (touch,)),
        "eval": _Payload(eval, (touch,)),
        "open": _Payload(open, (str(canary), "w")),
        "Path.touch": _Payload(Path.touch, (canary,)),
        "os.mkdir": _Payload(os.mkdir, (str(canary),)),
    }


def with_code(folder: Path) -> Iterator[Fault]:
    """Yield pickles that hold code where weights or a batch of images are asked for, and such that hold none."""
    canary, file, batch = folder / "canary", folder / "G_ema.pth", Path("cifar-10-python.tar.gz")
    network = biggan.BigGan(n_classes=3, z_dim=8, width=16, shared_dim=6)
    state = {"state_dict": network.state_dict()}
    torch.save(state, file)

    def inception() -> object:
        with base.plain_inception(file) as copy:
            return copy.read_bytes()

    readers = {"StudioGAN": partial(biggan.load_studiogan, file), "Inception": inception}
    for what, payload in _payloads(canary).items():
        for protocol in range(2, 6):
            bare = {"x": payload}
            raw = pickle.dumps(bare, protocol)
            name = f"{what}, protocol {protocol}"
            batch_of = partial(published.unpickle, raw, batch)
            yield Fault("pickle", f"CIFAR: {name}", batch_of, (batch.name,), None, canary)
            for reader, read in readers.items():
                for how, held in (
                    ("plain", None),
                    ("beside weights", {"x": payload} | state),
                    ("as weights", {"state_dict": bare}),
                ):
                    content = raw if held is None else _torch_saved(held, protocol)
                    fault = _fault("pickle", f"{reader}: {name}, {how}", file, content, read, None)
                    yield fault._replace(canary=canary)
    good = file.read_bytes()
    for reader, read in readers.items():
        changes = {f"truncated after {at}": good[:at] for at in (0, 3, len(good) // 2, len(good) - 30)}
        changes |= {f"bit {bit}": flipped(good, bit) for bit in (5, 99, 4 * len(good), 8 * len(good) - 99)}
        changes |= {"a text": b"weights", "a number": _torch_saved(5), "a list": _torch_saved([1])} | IN_PLACE
        changes["no tensors"] = _torch_saved({"state_dict": {"linear0.weight": 5}})
        changes["NaN"] = _torch_saved({"state_dict": {k: v * float("nan") for k, v in state["state_dict"].items()}})
        expected = cache(read) if reader == "StudioGAN" else None
        for what, change in changes.items():
            yield _fault("pickle", f"{reader}: {what}", file, change, read, expected)


def _torch_saved(value: object, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, pickle_protocol=protocol)
    return stream.getvalue()


def in_embedded(folder: Path, rng: random.Random) -> Iterator[Fault]:
    """Yield faults in a copy of the embedded images and labels, some with a list of digests that fits them."""
    copy = folder / "embedded"
    own = copy / "fashion-mnist"
    own.mkdir(parents=True)
    for name in ("SHA256SUMS", "test-images-idx3-ubyte.gz", "test-labels-idx1-ubyte.gz"):
        shutil.copyfile(paths.DATA / "fashion-mnist" / name, own / name)

    def read() -> object:
        with mock.patch.object(paths, "DATA", copy):
            return catalogue.load(DATASET, "test")

    expected = cache(read)
    for what in ("images-idx3", "labels-idx1"):
        file = own / f"test-{what}-ubyte.gz"
        raw = file.read_bytes()
        changes = {"cut": raw[: len(raw) // 2], "empty": b"", "web page": b"<html></html>", "as long": bytes(len(raw))}
        changes |= {f"bit {bit}": flipped(raw, bit) for bit in rng.sample(range(8 * len(raw)), 4)} | IN_PLACE
        for name, change in changes.items():
            yield _fault("embedded images", f"{what}: {name}", file, change, read, expected)
        for name, content in _idx(what).items():
            change = partial(_listed_anew, raw=content)
            name = f"{what}: {name}, listed so"
            fault = _fault("embedded images", name, own, partial(_inside, file.name, change), read, expected)
            yield fault._replace(named=(file.name, DATASET))
    sums = own / "SHA256SUMS"
    for name, change in ({"cut": sums.read_bytes()[:40], "empty": b"", "no text": b"\xff\xfe"} | IN_PLACE).items():
        fault = _fault("embedded images", f"SHA256SUMS: {name}", sums, change, read, expected)
        yield fault._replace(named=("SHA256SUMS", "test-images-idx3-ubyte.gz"))


def _inside(name: str, change: Callable, folder: Path) -> None:
    change(folder / name)


def _listed_anew(path: Path, *, raw: bytes) -> None:
    """Write a file, and its digest into the list beside it."""
    path.write_bytes(raw)
    sums = path.with_name("SHA256SUMS")
    lines = [line for line in sums.read_text().splitlines() if not line.endswith(path.name)]
    sums.write_text("\n".join([*lines, f"{artifacts.sha256(path)}  {path.name}"]) + "\n")


def _idx(what: str) -> dict[str, bytes]:
    """Return compressed IDX files that hold something else than the test images or labels."""
    pack = lambda *shape, kind=8, payload=b"": struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + payload
    few = pack(3, 28, 28, payload=bytes(3 * 784)) if what[0] == "i" else pack(3, payload=bytes(3))
    odd = pack(3, 32, 32, payload=bytes(3072)) if what[0] == "i" else pack(10_000, payload=b"\xc8" * 10_000)
    contents = {
        "no gzip": None,
        "nothing in it": b"",
        "three of them": few,
        "another shape or class": odd,
        "floats": pack(3, kind=0x0D, payload=bytes(12)),
        "255 dimensions": b"\0\0\x08\xff" + bytes(8),
        "more promised": pack(10_000, 28, 28, payload=b"x"),
        "a text": b"not IDX",
    }
    return {name: b"no gzip" if raw is None else gzip.compress(raw) for name, raw in contents.items()} | {
        "cut inside": gzip.compress(few)[:-9]
    }


def in_figures(load: Callable[[Path], bytes], rng: random.Random) -> Iterator[Fault]:
    """Yield faults in the figures of a run.

    Args:
        load: returns the bytes of a figure as the report takes it.
    """
    for file in sorted(place("figures").glob("*.png")):
        raw = file.read_bytes()
        changes = {
            f"cut after {at}": raw[:at] for at in (0, 8, 33, *rng.sample(range(100, len(raw)), 8), len(raw) - 12)
        }
        changes |= {f"bit {bit}": flipped(raw, bit) for bit in rng.sample(range(8 * len(raw)), 20)} | IN_PLACE
        changes |= {
            "only zeros": bytes(len(raw)),
            "web page": b"<html></html>",
            "zeros inside": raw[:200] + bytes(400) + raw[600:],
        }
        for kind in ("JPEG", "GIF", "BMP", "WEBP"):
            stream = io.BytesIO()
            Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(stream, kind)
            changes[f"{kind} by that name"] = stream.getvalue()
        for what, change in changes.items():
            yield _fault(
                "figure", f"{file.name}: {what}", file, change, partial(load, file), cache(partial(load, file))
            )
