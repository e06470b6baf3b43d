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
from sega_utils.studies.faults import run as faults_run
from sega_utils.studies.faults.files import IN_PLACE, Change, bits, cut, flipped, in_file
from sega_utils.studies.faults.judge import Fault
from sega_utils.studies.faults.run import ARM, DATASET, RUN, SEED, Bench, place
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


def in_artifacts(bench: Bench) -> Iterator[Fault]:
    """Yield faults in each file of tensors: of its bytes, of its place, and of what it holds under a right digest."""
    rng, theirs = bench.rng, files(faults_run.OTHER)
    for name, file in files().items():
        raw, read = file.read_bytes(), READERS[name]
        head = 8 + struct.unpack("<Q", raw[:8])[0]
        each = 2 if name in SLOW else 6
        cuts = [0, 4, head // 2, head, *(rng.randrange(head, len(raw)) for _ in range(each)), len(raw) - 1]
        flips = lambda low, high: {f"bit {i}": flipped(raw, i) for i in rng.sample(range(8 * low, 8 * high), each)}
        others = {k: v for k, v in files().items() if k != name and v.suffix == file.suffix}
        kinds: dict[str, dict[str, Change]] = {
            "truncated": cut(raw, *cuts),
            "bit flip in header": flips(0, head),
            "bit flip in tensor data": flips(head, len(raw)),
            "zero bytes": {
                "as long": bytes(len(raw)),
                "behind the header": raw[:head] + bytes(len(raw) - head),
                "added": raw + bytes(64),
            },
            "deleted, or something in its place": IN_PLACE,
            "another stage's file": {f"that of {other}": source.read_bytes() for other, source in others.items()},
            "another run's file": {"of the same stage": theirs[name].read_bytes()},
        }
        also = ("training subset",) if name == "real" else ()  # as what was trained on other images calls it
        expected = cache(read)
        for kind, changes in (kinds | _content(file, rng)).items():
            yield from in_file(f"artifact: {kind}", file, changes, read, expected, also)


def _content(file: Path, rng: random.Random) -> dict[str, dict[str, Change]]:
    """Return files of ours by kind, with right digests, whose tensors are not those that belong there."""
    tensors, meta = artifacts.load_tensors(file)
    meta.pop("sha256")
    found: dict[str, dict[str, Change]] = {kind: {} for kind in ("wrong shape", "wrong dtype", "tensor missing")}
    save = lambda changed, own=meta: lambda path: artifacts.save_tensors(path, changed, own)
    for name in rng.sample(sorted(tensors), min(3, len(tensors))):
        tensor = tensors[name]
        longer = torch.cat([tensor, tensor[:1]]) if tensor.ndim else tensor.repeat(2)
        found["wrong shape"][f"{name} longer"] = save(tensors | {name: longer})
        found["wrong shape"][f"{name} with an axis more"] = save(tensors | {name: tensor[None].clone()})
        other = torch.int32 if tensor.is_floating_point() else torch.float32
        found["wrong dtype"][f"{name} {other}"] = save(tensors | {name: tensor.to(other)})
        found["tensor missing"][name] = save({k: v for k, v in tensors.items() if k != name})
        found["tensor missing"][f"{name} renamed"] = save({f"{k}x" if k == name else k: v for k, v in tensors.items()})

    def put(kind: str, name: str, place: int, value: float) -> None:
        changed = tensors[name].clone()
        changed.view(-1)[place] = value
        found.setdefault(kind, {})[f"{name} {value:g}"] = save(tensors | {name: changed})

    floats = [name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()]
    for name in rng.sample(floats, min(3, len(floats))):
        for value in (float("nan"), float("inf")):
            put("NaN inside", name, rng.randrange(tensors[name].numel()), value)
    for name in sorted(tensors.keys() & {"labels", "class_ids", "prompt_ids", "cluster_ids"}):
        for value in (-1, 10**9):
            put("wrong label", name, 0, value)
    found["header altered"] = {"no meta": save(tensors, {}), "no digest": lambda path: save_file(tensors, path)}
    return found


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


def with_code(bench: Bench) -> Iterator[Fault]:
    """Yield pickles that hold code where weights or a batch of images are asked for, and such that hold none."""
    canary, file, batch = bench.folder / "canary", bench.folder / "G_ema.pth", Path("cifar-10-python.tar.gz")
    state = {"state_dict": biggan.BigGan(n_classes=3, z_dim=8, width=16, shared_dim=6).state_dict()}
    torch.save(state, file)

    def inception() -> object:
        with base.plain_inception(file) as copy:
            return copy.read_bytes()

    readers = {"StudioGAN": partial(biggan.load_studiogan, file), "Inception": inception}
    changes: dict[str, Change] = {}
    for what, payload in _payloads(canary).items():
        for protocol in range(2, 6):
            bare, name = {"x": payload}, f"{what}, protocol {protocol}"
            raw = pickle.dumps(bare, protocol)
            changes[f"{name}, plain"] = raw
            changes[f"{name}, beside weights"] = _torch_saved(bare | state, protocol)
            changes[f"{name}, as weights"] = _torch_saved({"state_dict": bare}, protocol)
            batch_of = partial(published.unpickle, raw, batch)
            yield Fault("pickle", "CIFAR's batch", name, batch_of, (batch.name,), None, canary)
    good = file.read_bytes()
    changes |= cut(good, 0, 3, len(good) // 2, len(good) - 30) | IN_PLACE
    changes |= {f"bit {bit}": flipped(good, bit) for bit in (5, 99, 4 * len(good), 8 * len(good) - 99)}
    changes |= {"a text": b"weights", "a number": _torch_saved(5), "a list": _torch_saved([1])}
    changes["no tensors"] = _torch_saved({"state_dict": {"linear0.weight": 5}})
    changes["NaN"] = _torch_saved({"state_dict": {k: v * float("nan") for k, v in state["state_dict"].items()}})
    for reader, read in readers.items():
        expected = cache(read) if reader == "StudioGAN" else None
        yield from in_file("pickle", file, changes, read, expected, into=f"{reader}'s weights", canary=canary)


def _torch_saved(value: object, protocol: int = 2) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, pickle_protocol=protocol)
    return stream.getvalue()


def in_embedded(bench: Bench) -> Iterator[Fault]:
    """Yield faults in a copy of the embedded images and labels, some with a list of digests that fits them."""
    copy = bench.folder / "embedded"
    own = copy / "fashion-mnist"
    own.mkdir(parents=True)
    for name in ("SHA256SUMS", "test-images-idx3-ubyte.gz", "test-labels-idx1-ubyte.gz"):
        shutil.copyfile(paths.DATA / "fashion-mnist" / name, own / name)

    def read() -> object:
        with mock.patch.object(paths, "DATA", copy):
            return catalogue.load(DATASET, "test")

    expected, kind = cache(read), "embedded images"
    for file in sorted(own.glob("*.gz")):
        raw = file.read_bytes()
        changes = {"empty": b"", "web page": b"<html></html>", "as long": bytes(len(raw))}
        changes |= cut(raw, len(raw) // 2) | bits(raw, 4, bench.rng) | IN_PLACE
        yield from in_file(kind, file, changes, read, expected)
        changes = {f"{name}, listed so": _listed_anew(file.name, found) for name, found in _idx(file.name).items()}
        yield from in_file(kind, own, changes, read, expected, (file.name,), file.name)
    sums = own / "SHA256SUMS"
    changes = {"cut": sums.read_bytes()[:40], "empty": b"", "no text": b"\xff\xfe"} | IN_PLACE
    yield from in_file(kind, sums, changes, read, expected, ("test-images-idx3-ubyte.gz",))


def _listed_anew(name: str, raw: bytes) -> Change:
    """Return a change of a folder: a file of it, and its digest in the list beside it."""

    def change(folder: Path) -> None:
        (folder / name).write_bytes(raw)
        sums = folder / "SHA256SUMS"
        lines = [line for line in sums.read_text().splitlines() if not line.endswith(name)]
        sums.write_text("\n".join([*lines, f"{artifacts.sha256(folder / name)}  {name}"]) + "\n")

    return change


def _idx(name: str) -> dict[str, bytes]:
    """Return compressed IDX files that hold something else than the test images or labels."""
    pack = lambda *shape, kind=8, payload=b"": struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape) + payload
    few = pack(3, 28, 28, payload=bytes(3 * 784)) if "images" in name else pack(3, payload=bytes(3))
    odd = pack(3, 32, 32, payload=bytes(3072)) if "images" in name else pack(10_000, payload=b"\xc8" * 10_000)
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


def in_figures(bench: Bench) -> Iterator[Fault]:
    """Yield faults in the figures of a run."""
    for file in sorted(place("figures").glob("*.png"))[:4]:
        raw, load = file.read_bytes(), partial(bench.figure, file)
        changes = cut(raw, 0, 8, 33, *bench.rng.sample(range(100, len(raw)), 8), len(raw) - 12)
        changes |= bits(raw, 20, bench.rng) | IN_PLACE
        changes |= {"only zeros": bytes(len(raw)), "web page": b"<html></html>"}
        changes["zeros inside"] = raw[:200] + bytes(400) + raw[600:]
        for form in ("JPEG", "GIF", "BMP", "WEBP"):
            stream = io.BytesIO()
            Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(stream, form)
            changes[f"{form} by that name"] = stream.getvalue()
        yield from in_file("figure", file, changes, load, cache(load))
