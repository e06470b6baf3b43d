"""Two more ways to choose among the images that the filters keep: the likeliest real ones, or those a teacher knows.

Each takes what ``pools.load_inputs`` returned and images uint8 (N, C, S, S) with their classes int64 (N,), and returns
which of them stay, bool (N,).
"""

from collections.abc import Callable

import torch

from sega_utils.data.images import from_uint8
from sega_utils.studies.few_shot import heads
from sega_utils.text.clip import embed
from sega_utils.training import classifiers, recipes

SHARE = 0.5  # of each class's images that the density ratio keeps
TEACHER = recipes.settings_of("Std Aug + CutMix")


def densest(inputs: dict, images: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
    """Return the half of each class that is likeliest among real images, and unlikeliest among synthetic ones.

    The logarithm of that ratio is what a logistic regression of real against synthetic images says, in CLIP's features,
    where both kinds weigh the same.

    Source: Sugiyama, Suzuki and Kanamori 2012, section 4; as a filter of a GAN's images, Azadi et al. 2019.
    """
    drawn, real = (embed(inputs["clip"], x).cpu() for x in (from_uint8(images), inputs["real"].images))
    is_real = torch.arange(len(drawn) + len(real)).ge(len(drawn)).long()
    weights = (len(is_real) / 2 / is_real.bincount())[is_real]
    weight, bias = heads.logistic(torch.cat((drawn, real)), is_real, weights, strength=1.0)
    ratio, stay = drawn @ weight[1] + bias[1], torch.zeros(len(images), dtype=torch.bool)
    for c in class_ids.unique():
        mine = (class_ids == c).nonzero()[:, 0]
        stay[mine[ratio[mine].argsort(descending=True, stable=True)[: round(SHARE * len(mine))]]] = True
    return stay


def known(inputs: dict, images: torch.Tensor, class_ids: torch.Tensor) -> torch.Tensor:
    """Return the images whose class a teacher names, too, which was trained on the real images alone."""
    options = {name: TEACHER[name] for name in ("steps", "lr", "weight_decay", "mixing")}
    teacher = classifiers.train_classifier(inputs["real"], **options)
    return classifiers.predict(teacher, from_uint8(images)) == class_ids


SIFTS: dict[str, Callable[[dict, torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "density ratio": densest,
    "teacher": known,
}
