"""``data/models/README.md``: a card for each checkpoint that comes with the project, from its header and records."""

import json
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import NamedTuple

from safetensors import safe_open

from sega_utils.core import numbers, paths, records

TEMPLATE = paths.ROOT / "docs" / "templates" / "models.md"
CARD = """## {name}

{what}

{facts}

{measured}

**Not for**: {limits}"""


class Kind(NamedTuple):
    """What the card of a kind of checkpoint says: what it is, its limits, and the rows of a stage's records."""

    what: str
    limits: str
    stage: str
    measured: Callable[[list[dict]], list[dict]]


def of_clip(found: list[dict]) -> list[dict]:
    """Return what 01_clip measured."""
    rows = []
    for record in found:
        n = f"{record['n_test']:,} test images"
        rows.append({"measured": "zero-shot accuracy", "value": record["zero_shot_accuracy"], "on": n})
        rows += [
            {"measured": f"accuracy of the words for {name}", "value": value, "on": n}
            for name, value in sorted(record["attribute_accuracy"].items())
        ]
    return rows


def of_generator(found: list[dict]) -> list[dict]:
    """Return what 02_generator measured, each beside the same of real images."""
    names = {
        "agreement": "share of images in which CLIP sees their class",
        "frechet": "Frechet distance to test images in CLIP's features (no FID)",
        "intra_class_distance": "mean distance of two images of a class",
    }
    return [
        {
            "measured": text,
            "value": record[name],
            "on": f"{record['n']:,} images; real ones: {numbers.cell(record[f'{name}_real'])}",
        }
        for record in found
        for name, text in names.items()
    ]


def of_diffusion(found: list[dict]) -> list[dict]:
    """Return what 09_efficiency measured of the images that the diffusion model draws."""
    names = {
        "agreement": "share of images in which CLIP sees their class",
        "frechet": "Frechet distance to test images in CLIP's features (no FID)",
        "precision": "precision",
        "recall": "recall",
        "seconds_per_image": "seconds an image",
    }
    return [
        {
            "measured": text,
            "value": record[name],
            "on": f"{record['param_n']:,} images, {record['param_sampling_steps']} steps each, {record['device']}",
        }
        for record in found
        if record["name"] == "variant-diffusion"
        for name, text in names.items()
    ]


KINDS = {
    "clip": Kind(
        "A two-tower network of images and captions, a stand-in for a published CLIP, which cannot be downloaded in "
        "every place. It judges and labels images and embeds prompts: [01_clip](../../notebooks/01_clip.ipynb).",
        "anything but its own classes. It knows their names and a dozen words for looks and ignores all other words; "
        "labels that it gives are no better than itself.",
        "clip",
        of_clip,
    ),
    "generator": Kind(
        "A class-conditional GAN that draws grey images of 32x32 pixels from a class and a latent: "
        "[02_generator](../../notebooks/02_generator.ipynb).",
        "claims on realism or on coverage of a class: it saw few images and copies of them may come out; filters look "
        "for copies, see [04_synthesis](../../notebooks/04_synthesis.ipynb).",
        "generator",
        of_generator,
    ),
    "diffusion": Kind(
        "A small class-conditional denoiser, sampled by DDIM, the rival in "
        "[09_efficiency](../../notebooks/09_efficiency.ipynb).",
        "a stand-in for Stable Diffusion, whose size, data and cost it does not have.",
        "efficiency",
        of_diffusion,
    ),
}


def page(run: str, dataset: str) -> str:
    """Return the text of the cards of all checkpoints in ``data/models``.

    Raises:
        ValueError: a file is of an unknown kind, or one was trained on other images than the rest.
    """
    files = sorted((paths.DATA / "models").glob("*.safetensors"))
    digests = {header(file)[0]["data"] for file in files}
    drawn = [record for record in records.read(run, dataset, "data") if {record["input_real"]} == digests]
    if not drawn:
        raise ValueError(f"the checkpoints were trained on {sorted(digests)}, not on the images of {run}, {dataset}")
    return TEMPLATE.read_text(encoding="utf-8").format(
        cards="\n\n".join(card(file, run, dataset) for file in files),
        n=drawn[0]["n_train"],
        digest=drawn[0]["input_real"],
        seed=drawn[0]["param_seed"],
        share=drawn[0]["param_fraction"],
    )


def header(file: Path) -> tuple[dict, str, int, set[str]]:
    """Return a checkpoint's ``meta``, its digest, the number of its values and their types."""
    with safe_open(file, "pt") as handle:
        found = json.loads(handle.metadata()["sega_utils"])
        slices = [handle.get_slice(name) for name in handle.keys()]
        sizes = [(part.get_dtype(), part.get_shape()) for part in slices]
    return found["meta"], found["sha256"], sum(prod(shape) for _, shape in sizes), {kind for kind, _ in sizes}


def card(file: Path, run: str, dataset: str) -> str:
    """Return one checkpoint's card."""
    kind = file.stem.rpartition("-")[2]
    if kind not in KINDS:
        raise ValueError(f"{paths.shown(file)} is a {kind!r}, which has no card; known are {', '.join(KINDS)}")
    meta, sha256, count, types = header(file)
    what, limits, stage, measured = KINDS[kind]
    rows = measured([r for r in records.read(run, dataset, stage) if r.get(f"input_{kind}") == sha256])
    return CARD.format(
        name=file.stem,
        what=what,
        facts=numbers.markdown(facts(meta, sha256, count, types, file.stat().st_size)),
        measured=numbers.markdown(rows) if rows else "Not measured by this run.",
        limits=limits,
    )


def facts(meta: dict, sha256: str, count: int, types: set[str], size: int) -> list[dict[str, str]]:
    """Return what a header says of a checkpoint, as rows for people."""
    run, curve = meta["record"], meta["curve"]
    losses = [name for name in curve[0] if name != "step"]
    shown = {
        "values": f"{count:,} ({', '.join(sorted(types))}), {size / 1e6:.1f} MB",
        "digest of the tensors": sha256,
        "steps": f"{meta['steps']:,}, seed {meta['seed']}",
        "settings": ", ".join(
            f"{name} {value:g}"
            for name, value in sorted({**meta, **meta.get("settings", {})}.items())
            if isinstance(value, (int, float)) and name not in {"steps", "seed"}
        ),
        "loss": "; ".join(
            f"{name} {numbers.cell(curve[0][name])} at step {curve[0]['step']:,}, "
            f"{numbers.cell(curve[-1][name])} at step {curve[-1]['step']:,}"
            for name in losses
        ),
        "trained in": f"{run['seconds'] / 60:.1f} minutes on {run['device']}",
        "by": f"Python {run['python']}, torch {run['version_torch']}",
    }
    return [{"of the file": name, "": value} for name, value in shown.items()]
