"""Fine-tuning: a network that has seen other photographs is trained on, shortly, on the few images of a data set."""

import copy

import torch
from torch import nn
from torch.nn import functional as F

from sega_utils.core import learning, runtime
from sega_utils.data import outside
from sega_utils.data.images import Dataset
from sega_utils.data.outside import Outside
from sega_utils.training import classifiers, mixture


class Tuned(nn.Module):
    """A network with outside knowledge below a layer of its own: images in [0, 1] to logits.

    Args:
        known: whose network is copied; layer: weight (K, d) and bias (K,) to begin with, None for random ones.
    """

    def __init__(self, known: Outside, n_classes: int, layer: tuple[torch.Tensor, torch.Tensor] | None = None):
        super().__init__()
        self.known = known._replace(network=None)
        self.network = copy.deepcopy(known.network).requires_grad_(True)
        self.layer = nn.Linear(self.network.num_features, n_classes)
        if layer is not None:
            self.layer.load_state_dict(dict(zip(("weight", "bias"), layer, strict=True)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images float32 (N, C, S, S) in [0, 1] to logits (N, K)."""
        return self.layer(self.network(outside.normalised(self.known, images)))


def fine_tune(
    known: Outside,
    real: Dataset,
    *,
    steps: int,
    lr: float,
    layer: tuple[torch.Tensor, torch.Tensor] | None = None,
    synthetic: tuple[torch.Tensor, torch.Tensor] | None = None,
    ratio: float = 0.3,
    policy: str = "none",
    batch_size: int = 32,
    weight_decay: float = 1e-2,
    seed: int = 0,
) -> nn.Module:
    """Train all of a network on real images, and on synthetic ones beside them, and return it in eval mode.

    Its batch norms keep the statistics of the outside images: those of a few images would be worse. Where it begins
    with the layer that is best on frozen features, the first steps do not spoil these.

    Args:
        known: the network, see ``outside.load``; its side is that of the training.
        real, synthetic, ratio, policy, batch_size: as for ``classifiers.train_classifier``.
        lr: peak of ``learning.one_cycle``, for AdamW. layer: see ``Tuned``.

    Raises:
        ValueError: an unknown policy or a ratio outside its range. FloatingPointError: the loss is not finite.

    Source: Kumar et al. 2022, linear probing and then fine-tuning.
    """
    classifiers.check_options(pixel=True, policy=policy, mixing="none", ratio=ratio)
    torch.manual_seed(seed)
    model = Tuned(known, len(real.class_names), layer).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning.one_cycle(step / steps))
    rng, targets = runtime.generator(seed), F.one_hot(real.labels, len(real.class_names)).float()
    drawn = mixture.batches((real.images, targets), synthetic, size=batch_size, ratio=ratio, rng=rng)
    wrong = f"the loss is {{loss}} at step {{step}}; lower the learning rate ({lr})"
    for _, (images, wanted) in zip(run := learning.Steps(steps, wrong=wrong), drawn, strict=False):
        seen = classifiers.augmented(
            images, wanted, pixel=True, policy=policy, mixing="none", mirrors=real.mirrors, rng=rng
        )
        loss = F.cross_entropy(model(seen[0]), seen[1])
        learning.update(loss, optimiser, schedules=(schedule,))
        run.note(loss=loss)
    return model.requires_grad_(False)
