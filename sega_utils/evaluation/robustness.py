"""Accuracy of trained classifiers under attack: one record a (arm, seed), and its rows."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

import torch

from sega_utils.core import artifacts, paths, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, take
from sega_utils.evaluation import classified, masking
from sega_utils.training import attacks, autoattack, classifiers, recipes

EPSILONS = (0, 0.25, 0.5, 1, 2, 4, 8, 16)  # in 1/255
COLUMNS = ("arm", "attack", "norm", "epsilon", "seed", "accuracy", "n")
AUTOATTACK = "AutoAttack"
NAMES = (*attacks.ATTACKS, AUTOATTACK)


def accuracy_under(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    attack: str,
    eps: float,
    *,
    norm: str = "Linf",
    seed: int = 0,
    checkpoint: Path | None = None,
) -> float:
    """Return the share of images (0 .. 1, higher is more robust) recognised both clean and under an attack.

    Args:
        images, labels, eps, norm: see ``attacks.check_inputs``; eps is in units of [0, 1].
        attack: a name of ``NAMES``.
        checkpoint: of AutoAttack, see ``autoattack.auto_attack``.

    Raises:
        ValueError: unknown attack, or as ``attacks.check_inputs``.
    """
    if attack not in NAMES:
        raise ValueError(f"unknown attack {attack!r}; known are {', '.join(NAMES)}")
    found = images
    if eps != 0 and attack == AUTOATTACK:
        found, _ = autoattack.auto_attack(model, images, labels, eps=eps, norm=norm, seed=seed, checkpoint=checkpoint)
    elif eps != 0:
        found = attacks.ATTACKS[attack](model, images, labels, eps=eps, norm=norm, seed=seed)
    return float(attacks.standing(model, images, found, labels, eps=eps, norm=norm).double().mean())


def restarted(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str = "Linf",
    restarts: int = 10,
    steps: int = 200,
) -> torch.Tensor:
    """Return which images (N,) stand against PGD from each of several random starts.

    Args:
        images, labels, eps, norm: see ``attacks.check_inputs``.

    Source: Madry et al. 2018; many restarts as Carlini et al. 2019 ask for.
    """
    stands = classifiers.predict(model, images) == labels
    for seed in range(restarts):
        if len(rows := stands.nonzero()[:, 0]):
            data = images[rows], labels[rows]
            found = attacks.pgd(model, *data, eps=eps, norm=norm, steps=steps, seed=seed)
            stands[rows] = attacks.standing(model, data[0], found, data[1], eps=eps, norm=norm)
    return stands


def strongest(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str = "Linf",
    whole: bool = False,
) -> torch.Tensor:
    """Return which images (N,) stand against AutoAttack, of fewer than four classes against ``restarted``.

    Args:
        images, labels, eps, norm: see ``attacks.check_inputs``.
        whole: or else its first two attacks alone, APGD on the cross-entropy and on targets, which leave little to
            the others where no gradient is masked.

    Source: Croce and Hein 2020.
    """
    with torch.no_grad():
        n_classes = model(images[:1]).shape[1]
    if n_classes < 4:
        return restarted(model, images, labels, eps=eps, norm=norm)
    names = autoattack.STANDARD if whole else autoattack.STANDARD[:2]
    found, _ = autoattack.auto_attack(model, images, labels, eps=eps, norm=norm, names=names)
    return attacks.standing(model, images, found, labels, eps=eps, norm=norm)


def sample_test(dataset: str, n: int, seed: int = 0) -> Dataset:
    """Return ``n`` test images, the same for every arm; fewer images are the first ones of more.

    Raises:
        ValueError: fewer than one, or more than there are.
    """
    test = catalogue.load(dataset, "test")
    if not 1 <= n <= len(test.labels):
        raise ValueError(f"{n} test images were asked for; allowed are 1 .. {len(test.labels)}")
    return take(test, torch.randperm(len(test.labels), generator=runtime.generator(seed))[:n])


def measure_attacks(
    run: str,
    dataset: str,
    arm: str,
    seed: int,
    n_test: int = 200,
    epsilons: Sequence[float] = EPSILONS,
    n_autoattack: int = 64,
    autoattack_epsilons: Sequence[float] = (1,),
    norm: str = "Linf",
    attack_seed: int = 0,
) -> dict:
    """Measure one trained classifier under every attack of ``NAMES``, write its record, and return the record.

    Args:
        n_test, epsilons: images and budgets, in 1/255, for the attacks of ``attacks.ATTACKS``.
        n_autoattack, autoattack_epsilons: the same for AutoAttack, which fewer than four classes go without, and
            ``n_autoattack`` for the masking checks.

    Raises:
        MaskingError: a check of ``masking.CHECKS`` found something; no record is written.
        FileNotFoundError, ArtifactError, ValueError: as ``classified.evaluate`` and ``sample``.
    """
    test, few = sample_test(dataset, n_test), sample_test(dataset, n_autoattack)
    folder = paths.artifact(run, dataset, "attacks")
    grid = [(name, eps, test) for name in attacks.ATTACKS for eps in epsilons]
    if len(test.class_names) >= 4:  # its targeted losses compare four logits
        grid += [(AUTOATTACK, eps, few) for eps in (0, *autoattack_epsilons)]

    def measure(model: torch.nn.Module) -> dict:
        eps = masking.budget(model, few.images, few.labels, norm=norm, seed=attack_seed)
        found = {"epsilon": 255 * eps}  # in 1/255, as everywhere in the record
        found |= masking.signs(model, few.images, few.labels, eps=eps, norm=norm, seed=attack_seed)
        masking.refuse(found, f"{arm}, seed {seed}", n=len(few.labels))
        rows = []
        for name, eps, (images, labels, *_) in grid:
            checkpoint = folder / f"{recipes.slug(arm)}-seed{seed}-{norm}-{eps:g}.safetensors"
            accuracy = accuracy_under(
                model, images, labels, name, eps / 255, norm=norm, seed=attack_seed, checkpoint=checkpoint
            )
            row = {"attack": name, "norm": norm, "epsilon": float(eps), "accuracy": accuracy, "n": len(labels)}
            rows.append(row)
        return {"attacked": rows, "masking": found}

    asked = {"n_test": n_test, "epsilons": list(epsilons), "n_autoattack": n_autoattack}
    asked |= {"norm": norm, "autoattack_epsilons": list(autoattack_epsilons), "attack_seed": attack_seed}
    inputs = {"test": artifacts.digest({"images": test.images, "labels": test.labels})}
    return classified.evaluate(run, dataset, "attacks", arm, seed, measure=measure, parameters=asked, inputs=inputs)


def attack_rows(found: Iterable[dict]) -> list[dict]:
    """Return a row (``COLUMNS``) for each arm, attack, epsilon (in 1/255) and seed on record; accuracy in percent.

    Some seeds may lack AutoAttack, which takes as long as all other attacks together; of these its row of epsilon zero
    is left out, too, so that a curve is of the same seeds at every epsilon.

    Raises:
        ArtifactError: the records are of different runs, parameters, test images or library versions.
    """
    found = list(found)
    classified.check_same(
        found,
        lambda key: (
            key in {"run", "python", "input_test"}
            or key.startswith("version_")
            or (key.startswith("param_") and key not in {"param_arm", "param_seed", "param_autoattack_epsilons"})
        ),
    )
    rows = [
        {name: row[name] for name in COLUMNS}
        for record in found
        for attacked in record["attacked"]
        if attacked["attack"] != AUTOATTACK or record["param_autoattack_epsilons"]
        for row in [
            attacked
            | {"arm": record["param_arm"], "seed": record["param_seed"], "accuracy": 100 * attacked["accuracy"]}
        ]
    ]
    places = list(recipes.ARMS), NAMES
    return sorted(
        rows, key=lambda row: (places[0].index(row["arm"]), places[1].index(row["attack"]), row["epsilon"], row["seed"])
    )


def curve(rows: Iterable[dict], arm: str, attack: str, norm: str = "Linf") -> dict[float, float]:
    """Return epsilon (in 1/255, rising) to accuracy (in percent, mean over the seeds) of one arm and attack."""
    mine = [row for row in rows if (row["arm"], row["attack"], row["norm"]) == (arm, attack, norm)]
    return {
        eps: mean(row["accuracy"] for row in mine if row["epsilon"] == eps)
        for eps in sorted({row["epsilon"] for row in mine})
    }


def accuracy_table(rows: Sequence[dict], norm: str = "Linf") -> list[dict]:
    """Return a row for each arm and attack: n images, and the accuracy (in percent, mean over the seeds) by epsilon."""
    mine = [row for row in rows if row["norm"] == norm]
    table = []
    epsilons = sorted({row["epsilon"] for row in mine})
    for arm, attack, n in dict.fromkeys((row["arm"], row["attack"], row["n"]) for row in mine):
        points = curve(mine, arm, attack, norm)
        table.append({"arm": arm, "attack": attack, "n": n} | {f"{eps:g}/255": points.get(eps, "") for eps in epsilons})
    return table


def masking_rows(found: Iterable[dict]) -> list[dict]:
    """Return what the masking checks saw in each classifier on record: epsilon, ``masking.signs`` and the findings."""
    return [
        {"arm": record["param_arm"], "seed": record["param_seed"]}
        | record["masking"]
        | {"findings": "; ".join(masking.findings(record["masking"], n=record["param_n_autoattack"])) or "none"}
        for record in found
    ]
