"""Quality of what few-shot arms draw: beside test images of the unseen classes, measured afterwards, never to choose.

The features are those of the network that seen classes have trained: the Frechet distance is not the FID. The judge of
classes knows real images alone, and what it loses already of images that are inverted and not edited, the row
``inverted only``, is the generator's: the editing answers only for what an arm is below that.
"""

from statistics import mean
from typing import NamedTuple

import torch
from torch import nn

from sega_utils.augmenters import base
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import take
from sega_utils.studies.few_shot import arms, campaign, draws, worlds
from sega_utils.studies.few_shot.worlds import Place, Split, World
from sega_utils.training import classifiers

GROUPS = ("baseline", "method", "control", "other", "adapted")
SHOTS = (1, 10)  # of the plan's, those that are measured
DRAW = 0  # of the few images; one for each split says enough of images
STEPS = 300  # of the classifier that says which class a drawn image is of
REAL = "real test images"
COLUMNS = ("frechet (not FID)", "precision", "recall", "intra_class_distance", "retention")


class Standard(NamedTuple):
    """What drawn images are held against: all of it is real, and of the unseen classes.

    Attributes:
        judge: a classifier that all images of the pool have trained.
        some, rest: features of test images, as many of each class as an arm draws, and all but ``real``.
        real: as many further test images, which stand beside the arms: what the best of them could reach.
    """

    judge: nn.Module
    some: torch.Tensor
    rest: torch.Tensor
    real: draws.Drawn


def check(place: Place) -> None:
    """Refuse a place without a network, whose features the measures need.

    Raises:
        ValueError: arms work with latents.
    """
    if place.features == "latents":
        kinds = ", ".join(kind for kind in worlds.FEATURES if kind != "latents")
        raise ValueError(f"quality is measured in a network's features; received latents, allowed are {kinds}")


def judge_of(place: Place, split: Split, world: World) -> nn.Module:
    """Return a classifier of the unseen classes, trained once on all images of the pool; no arm may use it.

    Raises:
        ArtifactError: the file is damaged, or of other images.
    """
    file = paths.artifact(place.run, place.dataset, "few-shot") / f"judge-{split.name()}-{STEPS}.safetensors"
    digest = artifacts.digest({"images": world.pool.images, "labels": world.pool.labels})
    judge = worlds.kept_classifier(file, world.pool, steps=STEPS, meta={"unseen": digest})
    if judge.meta.get("unseen") != digest:
        raise artifacts.ArtifactError(
            f"{paths.shown(file)} holds a classifier of images {str(judge.meta.get('unseen'))[:8]}, allowed are only "
            f"{digest[:8]}, those of the unseen classes now: delete it, and it is trained again"
        )
    return judge


def standard_of(world: World, judge: nn.Module) -> Standard:
    """Return what a world's drawn images are held against; each class gives fewer where half of its images are."""
    each = min(draws.EACH, int(world.query.labels.bincount().min()) // 2)
    index, _ = catalogue.pick(world.query, 2 * each)
    some, apart = (part.flatten() for part in index.view(-1, 2, each).unbind(1))
    features = world.features["query"]
    others = torch.ones(len(features), dtype=torch.bool).index_fill(0, apart, False)
    real = take(world.query, apart)
    return Standard(judge, features[some], features[others], draws.even(real.images, real.labels))


def distinct(images: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return which images to count, bool (N,): one of two classes comes twice in a row, each time with a share."""
    again = (weights[1:] < 1) & (images[1:] == images[:-1]).flatten(1).all(1)
    return torch.cat((torch.ones(1, dtype=torch.bool), ~again))


def judged(world: World, standard: Standard, drawn: draws.Drawn) -> dict[str, float]:
    """Return the quality of drawn images.

    Returns:
        ``frechet``, 0 and above, lower is closer to real images; ``precision`` and ``recall``, 0 .. 1, see
        ``base.precision_recall``; ``intra_class_distance``, of pixels, higher is more diverse; ``retention``, the share
        of weight, 0 .. 1, on images that the judge assigns to their class; ``n``, how many images.
    """
    images, labels, weights = drawn
    features = world.encode(images[distinct(images, weights)])
    right = (classifiers.predict(standard.judge, images) == labels).double()
    return {
        "frechet": base.frechet_distance(standard.rest, features),
        **base.precision_recall(standard.some, features),
        "intra_class_distance": base.intra_class_distance(images, labels),
        "retention": float((weights * right).sum() / weights.double().sum()),
        "n": len(features),
    }


def measure(place: Place, split: Split, group: str, tuned: dict, shots: list[int]) -> dict:
    """Return the record of what a group's arms draw with their tuned settings: ``images``, rows of ``arm``, ``shots``
    and what ``judged`` says.

    Arms that draw features, or nothing, are left out. Each draws the images that it had in the accuracies' first draw.

    Args:
        tuned: arm to shots to settings, see ``campaign.settings_of``.

    Raises:
        ValueError: as ``check``. ArtifactError: as ``judge_of``.
    """
    check(place)
    world, names = worlds.world_of(place, split), [n for n in campaign.named(group) if arms.ARMS[n].draw]
    able = lambda k: campaign.able(names, k)
    used = {name: {str(k): drawing(name, tuned[name][str(k)]) for k in shots if name in able(k)} for name in names}
    inputs = {"seen": world.digest, "settings": artifacts.digest_json(used)}
    for what, part in (("pool", world.pool), ("test", world.query)):
        inputs[what] = artifacts.digest({"images": part.images, "labels": part.labels})

    def found() -> dict:
        standard = standard_of(world, judge_of(place, split, world))
        said = []
        for k in shots:
            task = worlds.task_of(world, k, DRAW)
            said.append({"arm": REAL, "shots": k} | judged(world, standard, standard.real))
            for name in able(k):
                drawn = arms.ARMS[name].draw(world, task, runtime.generator(DRAW), **used[name][str(k)])
                if drawn[0].ndim == 4:
                    said.append({"arm": name, "shots": k} | judged(world, standard, drawn))
        return {"images": said}

    parameters = campaign.asked(place, split, group) | {"draw": DRAW, "shots": ", ".join(map(str, shots))}
    parameters |= {"judge_steps": STEPS, "each": draws.EACH}
    name = f"{place.features}-quality-{split.name()}-{group}"
    return records.once(
        place.run, place.dataset, campaign.STAGE, name, parameters=parameters, inputs=inputs, measure=found
    )


def drawing(name: str, settings: dict) -> dict:
    """Return those of an arm's settings that say what it draws."""
    return {key: value for key, value in settings.items() if key in arms.ARMS[name].drawn}


def measure_split(place: Place, split: Split, chosen: list[int], groups: list[str], plan: dict) -> list[dict]:
    """Return the records of ``campaign.measure_split``, and after these those of what the arms draw.

    Raises:
        ValueError: as ``check``, before anything is measured.
    """
    check(place)
    groups = campaign.possible(groups, plan["shots"], place.features)
    found = campaign.measure_split(place, split, chosen, groups, plan)
    tuned = campaign.settings_of(place, split, groups, plan["shots"], plan["tuning"])
    shots = [k for k in plan["shots"] if k in SHOTS]
    return found + [measure(place, split, group, tuned, shots) for group in groups if group in GROUPS and shots]


def rows(found: list[dict]) -> list[dict]:
    """Return a row for each arm, number of shots and kind of features: the means of ``COLUMNS`` over splits.

    Args:
        found: records of the stage; those without ``images`` are left out.
    """
    table: dict[tuple[str, int, str], dict[str, dict]] = {}
    for r in found:
        for row in r.get("images", ()):
            table.setdefault((r["param_features"], row["shots"], row["arm"]), {})[r["param_unseen"]] = row
    order, out = [REAL, *arms.ARMS], []
    known = (key for key in table if key[2] in order)
    for features, k, name in sorted(known, key=lambda key: (*key[:2], order.index(key[2]))):
        splits = table[features, k, name].values()
        group = "real" if name == REAL else arms.ARMS[name].group
        row = {"features": features, "shots": k, "group": group, "arm": name}
        row |= {column: mean(part[column.partition(" ")[0]] for part in splits) for column in COLUMNS}
        out.append(row | {"splits": len(splits)})
    return out
