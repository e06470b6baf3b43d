"""Accuracy of trained classifiers under attack: one record a (arm, seed), the table, and the poster's row beside it.

    python -m sega_utils.robustness --epsilons 8 16    # our AutoAttack beside the reference's own loop, each once

What is saved there are images that fell: at an epsilon at which many stand, the two take nearly as long.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean

import torch

from sega_utils import artifacts, attacks, autoattack, consistency, data, evaluation, masking, paths, recipes, runtime
from sega_utils.formats import aligned, cell

EPSILONS = (0, 0.25, 0.5, 1, 2, 4, 8, 16)  # in 1/255
COLUMNS = ("arm", "attack", "norm", "epsilon", "seed", "accuracy", "n")
AUTOATTACK = "AutoAttack"
NAMES = (*attacks.ATTACKS, AUTOATTACK)


def accuracy_under(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, attack: str, eps: float, *,
    norm: str = "Linf", seed: int = 0, checkpoint: Path | None = None,
) -> float:  # fmt: skip
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


def sample(dataset: str, n: int, seed: int = 0) -> data.Dataset:
    """Return ``n`` test images, the same for every arm; fewer images are the first ones of more.

    Raises:
        ValueError: fewer than one, or more than there are.
    """
    test = data.load(dataset, "test")
    if not 1 <= n <= len(test.labels):
        raise ValueError(f"{n} test images were asked for; allowed are 1 .. {len(test.labels)}")
    return data.take(test, torch.randperm(len(test.labels), generator=runtime.generator(seed))[:n])


def measure_attacks(
    run: str, dataset: str, arm: str, seed: int, n_test: int = 200, epsilons: Sequence[float] = EPSILONS,
    n_autoattack: int = 64, autoattack_epsilons: Sequence[float] = (1,), norm: str = "Linf", attack_seed: int = 0,
) -> dict:  # fmt: skip
    """Measure one trained classifier under every attack of ``NAMES``, write its record, and return the record.

    Args:
        n_test, epsilons: images and budgets, in 1/255, for the attacks of ``attacks.ATTACKS``.
        n_autoattack, autoattack_epsilons: the same for AutoAttack, which fewer than four classes go without, and
            ``n_autoattack`` for the masking checks.

    Raises:
        MaskingError: a check of ``masking.CHECKS`` found something; no record is written.
        FileNotFoundError, ArtifactError, ValueError: as ``evaluation.evaluate`` and ``sample``.
    """
    test, few = sample(dataset, n_test), sample(dataset, n_autoattack)
    folder = paths.artifact(run, dataset, "attacks")
    grid = [(name, eps, test) for name in attacks.ATTACKS for eps in epsilons]
    if len(test.class_names) >= 4:  # its targeted losses compare four logits
        grid += [(AUTOATTACK, eps, few) for eps in (0, *autoattack_epsilons)]

    def measure(model: torch.nn.Module) -> dict[str, float]:
        eps = masking.budget(model, few.images, few.labels, norm=norm, seed=attack_seed)
        found = {"epsilon": 255 * eps}  # in 1/255, as everywhere in the record
        found |= masking.signs(model, few.images, few.labels, eps=eps, norm=norm, seed=attack_seed)
        masking.refuse(found, f"{arm}, seed {seed}")
        metrics = {f"masking_{name}": value for name, value in found.items()}
        for name, eps, (images, labels, *_) in grid:
            checkpoint = folder / f"{recipes.slug(arm)}-seed{seed}-{norm}-{eps:g}.safetensors"
            metrics[f"accuracy_{name}_{norm}_{eps:g}"] = accuracy_under(
                model, images, labels, name, eps / 255, norm=norm, seed=attack_seed, checkpoint=checkpoint
            )
            metrics[f"n_{name}"] = len(labels)
        return metrics

    parameters = {"n_test": n_test, "epsilons": list(epsilons), "n_autoattack": n_autoattack, "norm": norm,
                  "autoattack_epsilons": list(autoattack_epsilons), "attack_seed": attack_seed}  # fmt: skip
    inputs = {"test": artifacts.digest({"images": test.images, "labels": test.labels})}
    return evaluation.evaluate(
        run, dataset, "attacks", arm, seed, measure=measure, parameters=parameters, inputs=inputs
    )


def attack_rows(found: Iterable[dict]) -> list[dict]:
    """Return a row (``COLUMNS``) for each arm, attack, epsilon (in 1/255) and seed on record; accuracy in percent.

    Some seeds may lack AutoAttack, which takes as long as all other attacks together.

    Raises:
        ArtifactError: the records are of different runs, parameters, test images or library versions.
    """
    found = list(found)
    consistency.check_same(found, lambda key: key in {"run", "python", "input_test"} or key.startswith("version_") or (
        key.startswith("param_") and key not in {"param_arm", "param_seed", "param_autoattack_epsilons"}))  # fmt: skip
    rows = []
    for record in found:
        for key in record:
            if key.startswith("accuracy_"):
                _, attack, norm, epsilon = key.split("_")
                rows.append({"arm": record["param_arm"], "attack": attack, "norm": norm, "epsilon": float(epsilon),
                             "seed": record["param_seed"], "accuracy": 100 * record[key],
                             "n": record[f"n_{attack}"]})  # fmt: skip
    places = list(recipes.ARMS), NAMES
    return sorted(rows, key=lambda row: (places[0].index(row["arm"]), places[1].index(row["attack"]),
                                         row["epsilon"], row["seed"]))  # fmt: skip


def curve(rows: Iterable[dict], arm: str, attack: str, norm: str = "Linf") -> dict[float, float]:
    """Return epsilon (in 1/255, rising) to accuracy (in percent, mean over the seeds) of one arm and attack."""
    mine = [row for row in rows if (row["arm"], row["attack"], row["norm"]) == (arm, attack, norm)]
    return {eps: mean(row["accuracy"] for row in mine if row["epsilon"] == eps)
            for eps in sorted({row["epsilon"] for row in mine})}  # fmt: skip


def accuracy_table(rows: Sequence[dict], norm: str = "Linf") -> list[dict]:
    """Return a row for each arm and attack: n images, and the accuracy (in percent, mean over the seeds) by epsilon."""
    mine = [row for row in rows if row["norm"] == norm]
    table = []
    epsilons = sorted({row["epsilon"] for row in mine})
    for arm, attack, n in dict.fromkeys((row["arm"], row["attack"], row["n"]) for row in mine):
        points = curve(mine, arm, attack, norm)
        table.append({"arm": arm, "attack": attack, "n": n} | {f"{eps:g}/255": points.get(eps, "") for eps in epsilons})
    return table


def epsilon_for(
    rows: Iterable[dict], arm: str, attack: str, accuracy: float, norm: str = "Linf"
) -> tuple[float, float, float] | None:
    """Return the smallest epsilon (in 1/255) at which an accuracy (in percent) holds, and the two measured beside it.

    Between neighbours of the grid the accuracy is taken to fall along a line. ``None`` if the clean accuracy is lower
    already, or if the largest epsilon leaves it higher.
    """
    points = list(curve(rows, arm, attack, norm).items())
    for (left, high), (right, low) in zip(points, points[1:], strict=False):
        if high >= accuracy >= low:
            share = (high - accuracy) / (high - low) if high > low else 0.0
            return left + share * (right - left), left, right
    return None


def beside_poster(rows: Sequence[dict], norm: str = "Linf") -> list[dict[str, str]]:
    """Return the poster's accuracy of each arm and attack, and the epsilon (in 1/255) at which ours would be the same.

    Source: poster, "Adversarial Robustness Evaluation", which names no epsilon.
    """
    table = []
    for row in artifacts.load_csv(paths.DATA / "paper" / "adversarial.csv"):
        arm, attack, published = row["method"], row["attack"], float(row["accuracy"])
        measured = curve(rows, arm, attack, norm)
        found = epsilon_for(rows, arm, attack, published, norm)
        low = measured[max(measured)] if measured else ""
        missing = "outside the grid" if measured else "not measured"
        table.append({
            "arm": arm, "attack": attack, "poster (%)": f"{row['accuracy']} ± {row['std']}",
            "ours, clean (%)": cell(measured.get(0, "")), "at the largest epsilon": cell(low),
            "poster's holds at epsilon (1/255)": f"{found[0]:.2f}" if found else missing,
            "between measured": f"{found[1]:g} and {found[2]:g}" if found else "",
        })  # fmt: skip
    return table


def masking_rows(found: Iterable[dict]) -> list[dict]:
    """Return what the masking checks saw in each classifier on record: epsilon, ``masking.signs`` and the findings."""
    return [
        {"arm": record["param_arm"], "seed": record["param_seed"]} | seen
        | {"findings": "; ".join(masking.findings(seen)) or "none"}
        for record in found
        for seen in [{key.removeprefix("masking_"): record[key] for key in record if key.startswith("masking_")}]
    ]  # fmt: skip


@runtime.command
def main(arguments: list[str] | None = None) -> int:
    """Run AutoAttack and its reference side by side; return 0 or if a verdict differs."""
    parser = argparse.ArgumentParser("python -m sega_utils.robustness", description=main.__doc__)
    parser.add_argument("--run", default="embedded")
    parser.add_argument("--dataset", default="fashion-mnist")
    parser.add_argument("--arm", default="Std Aug", choices=recipes.ARMS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=50, help="how many of the test images")
    parser.add_argument("--epsilons", type=float, nargs="+", default=[8, 16], help="in 1/255")
    args = parser.parse_args(arguments)
    model, _ = evaluation.load_classifier(args.run, args.dataset, args.arm, args.seed)
    images, labels, *_ = sample(args.dataset, args.images)
    rows = [{"epsilon": f"{eps:g}/255"} | autoattack.compare_with_reference(model, images, labels, eps=eps / 255)
            for eps in args.epsilons]  # fmt: skip
    shown = ("epsilon", "n", "accuracy_ours", "agreement", "seconds_ours", "seconds_reference", "speedup")
    print(aligned([{name: row[name] for name in shown} for row in rows]))
    return int(any(row["agreement"] < 1 for row in rows))


if __name__ == "__main__":
    sys.exit(main())
