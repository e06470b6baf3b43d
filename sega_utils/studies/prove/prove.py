"""Is the judge right? Its verdicts on folders whose right answer is known, or is decided by images it has never had."""

import resource
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.data import decoding, outside
from sega_utils.data.images import Dataset, from_uint8, resize
from sega_utils.studies.judge import (
    arms as judge_arms,
    folder as judge_folder,
    judge,
    plan as judge_plan,
    verdict as numbers,
)
from sega_utils.studies.judge.arms import Job
from sega_utils.studies.prove import folders as prove_folders

DATASET, STAGE = "proof-folders", "proof"  # under which the records of all folders stand
# Arms among whose operations is to turn an image; TrivialAugment's are in Mueller and Hutter 2021, table 1.
TURNING = ("any turn", "TrivialAugment")
COLUMNS = (
    *("folder", "seed", "answer", "best", "augmenter", "difference", "ci_low", "ci_high", "right", "agrees", "lost"),
    *("lost_low", "lost_high", "n_deciding", "minutes", "minutes_of_work", "memory_gb", "n_training", "n_test"),
    "left_out",
)


def prove(
    root: Path,
    names: list[str],
    seeds: list[int],
    *,
    run: str = "proof",
    quick: bool = True,
    backbone: str = outside.NONE,
    changes: dict | None = None,
) -> Iterator[dict]:
    """Judge each folder at each seed, and yield its record: made now, or on disk; write the table after each.

    Args:
        root: where the folders are, or will be written. names: of ``prove_folders.FOLDERS``.
        quick, backbone: as for ``judge.judge``. changes: of the folder's own plan, by the names of its attributes.

    Raises:
        ValueError: an unknown folder or change; FileNotFoundError, ArtifactError: as ``prove_folders.write``.
    """
    if unknown := (changes or {}).keys() - set(judge_arms.Plan._fields):
        raise ValueError(f"a plan has no {sorted(unknown)}; it has {', '.join(judge_arms.Plan._fields)}")
    for name in names:
        prove_folders.check(name)
    for name, seed in ((name, seed) for seed in seeds for name in names):
        yield once(root, name, seed, run=run, quick=quick, backbone=backbone, changes=changes or {})
        write_table(run)


def smaller(
    *, steps: int | None, seconds: float | None, augmenters: list[str] | None, workers: int | None
) -> dict[str, object]:
    """Return changes of a plan for ``prove``; what is None stays as the plan has it.

    Args:
        seconds: of each augmenter that trains, of those that are given, or else of the quick plan's.

    Raises:
        ValueError: an augmenter that no plan of the judge has.
    """
    known = judge_plan.GENERATORS | judge_plan.AT_ONCE
    if unknown := sorted(set(augmenters or ()) - known.keys()):
        raise ValueError(f"unknown augmenter {unknown[0]!r}; the judge's are {', '.join(known)}")
    changes = {name: value for name, value in (("steps", steps), ("workers", workers)) if value is not None}
    if augmenters is not None or seconds is not None:
        chosen = (*judge_plan.QUICK_GENERATORS, *judge_plan.AT_ONCE) if augmenters is None else augmenters
        budget = lambda name: {"seconds": seconds or 40.0} if name in judge_plan.GENERATORS else {}
        changes["augmenters"] = {name: known[name] | budget(name) for name in chosen}
    return changes


def once(root: Path, name: str, seed: int, *, run: str, quick: bool, backbone: str, changes: dict) -> dict:
    """Judge one folder in a process of its own, whose memory is measured, and return the record."""
    folder = prove_folders.write(root, name, seed)
    alone = partial(judged, name, seed, run=run, quick=quick, backbone=backbone, changes=changes)
    files = {file.relative_to(folder).as_posix(): artifacts.sha256(file) for file in folder.rglob("*.png")}
    return records.once(
        run,
        DATASET,
        STAGE,
        f"{name}-seed{seed}",
        parameters={"folder": name, "seed": seed, "quick": quick, "backbone": backbone} | changes,
        inputs={"folder": artifacts.digest_json(files)},
        measure=lambda: runtime.map_workers(alone, [(folder,)], workers=1, label=folder.name)[0],
    )


def judged(name: str, seed: int, folder: Path, *, run: str, quick: bool, backbone: str, changes: dict) -> dict:
    """Return the judge's verdict on a folder, whether it is right, and what it cost."""
    pictures = judge_folder.look(folder)
    plan = judge_plan.make(pictures, quick=quick, backbone=backbone)
    plan = plan._replace(curve=0)._replace(**changes)  # on whose curve no verdict depends
    found = judge.judge(folder, run=run, quick=quick, backbone=backbone, plan=plan, say=lambda line: None)
    inside, dataset = found["inside"], f"{paths.OWN}{folder.resolve()}"
    said = {"answer": inside["answer"], "best": inside["best"], "augmenter": inside["augmenter"] or "none"}
    if proof := prove_folders.FOLDERS[name].known:
        truth = known(proof, said)
    else:
        truth = decided(name, seed, inside, plan.seeds, place=judge_folder.place(run, dataset))
    peaks = [resource.getrusage(who).ru_maxrss / 2**20 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "agrees": truth.pop("agrees"),
        "truth": truth,
        "verdict": said | inside.get("difference", {}),
        "minutes": found["minutes"],
        "minutes_of_work": sum(r["seconds"] for r in records.read(run, dataset, judge_arms.STAGE)) / 60,
        "peak_memory_gb": max(peaks),
        **{key: found[key] for key in ("n_training", "n_test", "left_out")},
    }


def known(proof: str, said: dict) -> dict:
    """Return whether a verdict is what is right by construction, see ``prove_folders.Proof``.

    Args:
        said: ``answer`` and ``best`` of the verdict.
    """
    if proof == "no":
        return {"right": "no", "agrees": int(said["answer"] == "no")}
    return {"right": f"best with {' or '.join(TURNING)}", "agrees": int(any(arm in said["best"] for arm in TURNING))}


def decided(name: str, seed: int, inside: dict, seeds: int, *, place: Path) -> dict:
    """Return what images outside the folder say of the classifiers that the judge has trained, and of its advice.

    The best of them on these images is what is right. The advice agrees if following it costs less than what the judge
    itself calls worth having.

    Args:
        inside: the verdict without outside images; seeds: of its classifiers; place: of the judge's files.
    """
    judged = judge_folder.load(place)
    images, labels = deciding(name, seed, judged.data)
    jobs = {arm: (arm, "") for arm in judge_arms.ARMS}
    drawn = f"{inside['selected']} + {inside['augmenter']}"
    if inside["augmenter"]:
        jobs[drawn] = (inside["selected"], inside["augmenter"])
    hits = {}
    for arm, own in jobs.items():
        models = [judge_arms.classifier(place, Job(*own, seed=s)) for s in range(seeds)]
        hits[arm] = torch.stack([judge_arms.logits(model, images).argmax(1) == labels for model in models])
    right = max(hits, key=lambda arm: float(hits[arm].double().mean()))
    advised = drawn if inside["answer"] == "yes" else inside["best"]
    lost = numbers.difference(hits[right], hits[advised], numbers.weights_of(labels, balanced=False))
    percent = {arm: 100 * float(own.double().mean()) for arm, own in hits.items()}
    return {"right": right, "agrees": int(lost["difference"] < numbers.WORTH), "lost": lost, "percent": percent}


def deciding(name: str, seed: int, data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of a folder's kind that are in no part of it, as the judge would read them, and their labels."""
    made = list(prove_folders.FOLDERS[name].pictures(prove_folders.MORE, seed))
    read = [decoding.decode(prove_folders.png(picture), size=judge_folder.LOOK) for picture in made]
    images = from_uint8(torch.from_numpy(np.stack(read))[:, : data.images.shape[1]])
    if (side := data.images.shape[-1]) != judge_folder.LOOK:
        images = torch.cat([resize(part, side) for part in images.split(500)])
    return images, torch.tensor([data.class_names.index(picture.name) for picture in made])


def rows(run: str) -> list[dict]:
    """Return a row (``COLUMNS``) for each folder and seed on record; what does not apply is empty."""
    found = []
    for r in records.read(run, DATASET, STAGE):
        lost = r["truth"].get("lost", {})
        row = {"folder": r["param_folder"], "seed": r["param_seed"], "memory_gb": r["peak_memory_gb"]} | r["verdict"]
        row |= {
            "right": r["truth"]["right"],
            "lost": lost.get("difference", ""),
            "n_deciding": lost.get("n_images", ""),
        }
        row |= {f"lost_{end}": lost.get(f"ci_{end}", "") for end in ("low", "high")}
        found.append({column: row.get(column, r.get(column, "")) for column in COLUMNS})
    return found


def agreement(found: list[dict]) -> list[dict]:
    """Return a row for each folder among ``rows``: what is right and what was said, with counts."""
    names = dict.fromkeys(row["folder"] for row in found)
    mine = {name: [row for row in found if row["folder"] == name] for name in names}
    count = lambda own, key: ", ".join(f"{x} ({n})" for x, n in Counter(row[key] for row in own).most_common())
    return [
        {"folder": name}
        | {key: count(own, key) for key in ("right", "answer", "best", "augmenter")}
        | {"agrees": sum(row["agrees"] for row in own), "of": len(own)}
        for name, own in mine.items()
    ]


def write_table(run: str) -> Path:
    """Write ``proof.csv`` among the tables of the run, and return its path."""
    file = paths.artifact(run, DATASET, "tables") / "proof.csv"
    artifacts.save_csv(file, rows(run), COLUMNS)
    return file
