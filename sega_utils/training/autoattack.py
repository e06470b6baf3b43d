"""Standard AutoAttack by its reference implementation, resumable, and computed only for images that still stand."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch.nn import functional as F

from sega_utils.core import artifacts
from sega_utils.training import attacks, classifiers

STANDARD = ("apgd-ce", "apgd-t", "fab-t", "square")
MISCLASSIFIED = -1  # where misclassified clean images fall
# One or two rows are multiplied by other kernels than more rows are, which round differently.
FEW = 4


class AllFooled(Exception):
    """Nothing is left to attack."""


class Standing:
    """A model, for one run of an attack on one batch, that computes only the rows that were not fooled yet.

    In eval mode rows do not affect each other, so those that stand take the path they take in the whole batch. A
    fooled row answers with its label and no gradient; the images of all rows are in ``adversarial``.
    """

    def __init__(
        self, attack: APGDAttack | FABAttack_PT, model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor
    ):
        self.attack, self.model, self.images, self.labels = attack, model, images, labels
        self.adversarial = images.clone()
        self.stands = torch.ones_like(labels, dtype=torch.bool)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) != len(self.labels):
            raise RuntimeError(
                f"the attack asks for {len(x)} of {len(self.labels)} images: the model classifies an "
                "image differently when it is asked again; make it deterministic"
            )
        rows = self.stands.nonzero().squeeze(1)
        company = self.images[: max(0, min(FEW, len(x)) - len(rows))]
        fresh = self.model(torch.cat((x[rows], company)))[: len(rows)]
        hit = rows[(fresh.argmax(1) != self.labels[rows]) & self.accepts(x[rows].detach(), self.images[rows])]
        self.adversarial[hit] = x[hit].detach()
        self.stands[hit] = False
        if not self.stands.any():
            raise AllFooled
        return F.one_hot(self.labels, fresh.shape[1]).to(fresh).index_copy(0, rows, fresh)

    def accepts(self, x: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return for which rows (N,) the reference takes a misclassified point as success.

        APGD never leaves the ball, but for rounding. FAB does, and has the class only of the points that it visits
        without a gradient in view.
        """
        if isinstance(self.attack, APGDAttack):
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        return (attacks.distance(x - images, self.attack.norm) <= self.attack.eps) & (not torch.is_grad_enabled())


def drop_fooled(attack: APGDAttack | FABAttack_PT) -> APGDAttack | FABAttack_PT:
    """Let every run of an attack leave out rows that are fooled, and end once all are; return the attack.

    Random numbers are drawn for the whole batch before the first step, so that the seeds mean what they mean in the
    reference.
    """
    single_run, name = attack.attack_single_run, "model" if isinstance(attack, APGDAttack) else "predict"
    model = getattr(attack, name)

    def run(x: torch.Tensor, y: torch.Tensor, **options):
        watched = Standing(attack, model, x, y)
        setattr(attack, name, watched)
        try:
            with suppress(AllFooled):
                single_run(x, y, **options)
        finally:
            setattr(attack, name, model)
        if isinstance(attack, APGDAttack):
            return watched.adversarial, watched.stands, None, watched.adversarial
        return watched.adversarial

    attack.attack_single_run = run
    return attack


def reference_attacks(
    model: torch.nn.Module, *, eps: float, norm: str, seed: int, n_classes: int, device: torch.device
) -> dict[str, APGDAttack | FABAttack_PT | SquareAttack]:
    """Return the attacks of the standard version by name, set up as the reference sets them up.

    Source: Croce and Hein 2020.
    """
    reference = AutoAttack(model, norm=norm, eps=eps, seed=seed, version="standard", device=device)
    reference.apgd.loss, reference.fab.targeted = "ce", True
    reference.apgd_targeted.n_target_classes = reference.fab.n_target_classes = min(9, n_classes - 1)
    found = (reference.apgd, reference.apgd_targeted, reference.fab, reference.square)
    return dict(zip(STANDARD, found, strict=True))


@torch.no_grad()
def auto_attack(
    model: torch.nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    eps: float,
    norm: str = "Linf",
    seed: int = 0,
    names: Sequence[str] = STANDARD,
    batch: int = 250,
    checkpoint: Path | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attack with one attack after the other, each on the images that still stand.

    Args:
        images, labels, eps, norm: see ``check_inputs``; four classes or more. names: of ``STANDARD``, in this order.
        checkpoint: file that is written after each attack; one of the same call is taken up where it ends.

    Returns:
        The adversarial images, clean where none was found, and (N,) what in ``names`` each fell to, by its index:
        ``MISCLASSIFIED``, or ``len(names)`` if it stands.

    Raises:
        ValueError: see ``check_inputs``; eps of 0, an unknown attack, too few classes. ArtifactError: a damaged file.
    """
    if not names or not set(names) <= set(STANDARD):
        raise ValueError(f"names are {list(names)}; allowed are {', '.join(STANDARD)}")
    logits = attacks.check_inputs(model, images, labels, eps=eps, norm=norm, batch=batch)
    if eps == 0 or logits.shape[1] < 4:
        raise ValueError(f"eps is {eps}, with {logits.shape[1]} classes; AutoAttack needs eps > 0 and 4 classes")
    key = {"eps": eps, "norm": norm, "seed": seed, "names": names, "batch": batch}
    key |= {"weights": artifacts.digest(model.state_dict())}
    key = artifacts.digest_json(key | {"data": artifacts.digest({"images": images, "labels": labels})})
    state, done = {"adversarial": images.clone()}, 0
    state["fell_to"] = torch.where(logits.argmax(1) == labels, len(names), MISCLASSIFIED)
    if checkpoint and checkpoint.exists():
        begun, meta = artifacts.load_tensors(checkpoint)
        if meta["key"] == key:
            state, done = {name: value.to(images.device) for name, value in begun.items()}, meta["done"]
    adversarial, fell_to = state["adversarial"], state["fell_to"]
    found = reference_attacks(model, eps=eps, norm=norm, seed=seed, n_classes=logits.shape[1], device=images.device)
    for index, name in list(enumerate(names))[done:]:
        attack = found[name] if name == "square" else drop_fooled(found[name])  # Square drops them by itself
        for rows in filter(len, (fell_to == len(names)).nonzero().squeeze(1).split(batch)):
            changed = attack.perturb(images[rows], labels[rows])
            fooled = classifiers.predict(model, changed) != labels[rows]
            adversarial[rows[fooled]], fell_to[rows[fooled]] = changed[fooled], index
        if checkpoint:
            artifacts.save_tensors(checkpoint, state, {"key": key, "done": index + 1})
    return adversarial, fell_to
