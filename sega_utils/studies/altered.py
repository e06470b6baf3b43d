"""Candidate pools that differ from the run's own in how they were drawn, or in which of their images were kept."""

import math
from copy import deepcopy
from pathlib import Path

import torch

from sega_utils import filters
from sega_utils.augmenters import base, pools, sega
from sega_utils.augmenters.base import generate
from sega_utils.augmenters.gan import Generator
from sega_utils.augmenters.pools import recipe_of
from sega_utils.augmenters.sega import load_projector, save_projector, train_projector
from sega_utils.core import artifacts, paths
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.filters import rules
from sega_utils.studies import sift

MAX_GROWTH = 32  # how many times as many candidates of a class as the run's may be drawn
# what a projector depends on, and what drawn candidates depend on beside it; all else decides which are kept
PROJECTOR = (
    "n_prompts",
    "m",
    "cluster_seed",
    "conditioning",
    "sigma",
    "tau",
    "lam",
    "lr",
    "steps",
    "batch_size",
    "projector_seed",
)
DRAWING = (*PROJECTOR, "latents", "prompts", "oversample", "draw_seed")


def make_pool(run: str, dataset: str, inputs: dict, recipe: dict, *, n: int) -> dict[str, torch.Tensor]:
    """Return ``images`` uint8, ``class_ids`` and ``kept``, of which ``n`` can be chosen, as many of each class.

    Of a class that keeps too few, 2, 4, ... 32 times as many candidates are drawn, whichever its yield lets expect to
    do. The first of them stay the same, so pools of different sizes share their images.

    Args:
        inputs: from ``load_inputs``.
        recipe: complete, see ``recipe_of``.

    Raises:
        ValueError: even the largest pool is exhausted.
        FileNotFoundError, ArtifactError: a file or record of an earlier stage is missing or damaged.
    """
    own, n_classes = recipe_of(run, dataset), len(inputs["real"].class_names)
    growth = [1] * n_classes
    while True:
        if recipe == own and max(growth) == 1:
            pool = inputs["candidates"]
        else:
            pool = drawn(run, dataset, inputs, recipe, own, growth)
            pool |= {"kept": keep(pool, inputs, recipe)}
        kept = pool["class_ids"][pool["kept"]].bincount(minlength=n_classes).tolist()
        short = [c for c, wanted in enumerate(base.quota(n, n_classes)) if kept[c] < wanted]
        if not short:
            return pool
        if any(growth[c] == MAX_GROWTH for c in short):
            raise ValueError(
                f"of {len(pool['kept']):,} candidates too few are kept, in each class {kept}, for {n} "
                "images: take a smaller amount, or loosen the filters"
            )
        for c in short:
            missing = n / n_classes / max(kept[c], 1)
            growth[c] = min(MAX_GROWTH, growth[c] * 2 ** max(1, math.ceil(math.log2(missing))))


def drawn(run: str, dataset: str, inputs: dict, recipe: dict, own: dict, growth: list[int]) -> dict[str, torch.Tensor]:
    """Return ``images`` uint8, ``class_ids`` and ``class_scores`` (N, n_classes), from the run's ``pools/`` if there.

    Args:
        recipe, own: what to draw, and the recipe of the run's own pool: if they ask for the same projector, the run's
            is taken.
        growth: for each class, how many times as many candidates as the recipe says.
    """
    trained = paths.require(run, dataset, "projector")
    if any(recipe[name] != own[name] for name in PROJECTOR):
        trained = cached(run, dataset, "projector", {name: recipe[name] for name in PROJECTOR}, inputs)
    wanted = {name: recipe[name] for name in DRAWING} | {"growth": growth}
    path = cached(run, dataset, "pool", wanted, inputs)
    if path.exists():
        return artifacts.load_tensors(path)[0]
    bank = first_prompts(artifacts.load_tensors(paths.require(run, dataset, "prompts"))[0], recipe["n_prompts"])
    generator = inputs["generator"] if recipe["conditioning"] == "class" else without_classes(inputs["generator"])
    n = inputs["n_syn"] * recipe["oversample"]
    plan = base.plan(bank["class_ids"], n * max(growth), seed=recipe["draw_seed"])
    grown = torch.arange(n * max(growth)) < n * torch.tensor(growth)[plan["class_ids"]]
    plan = {name: column[grown] for name, column in plan.items()}
    if recipe["latents"] == "plain":
        images = generate(generator, plan["class_ids"], z=base.noise_of(plan["seeds"], generator.z_dim))
    else:
        if not trained.exists():
            save_projector(
                trained, projector_of(bank, generator, inputs, recipe), {name: recipe[name] for name in PROJECTOR}
            )
        network = load_projector(trained)
        said = others(bank["class_ids"]) if recipe["prompts"] == "shuffled" else torch.arange(len(bank["class_ids"]))
        images = sega.draw(generator, network, embeddings=bank["embeddings"][said], sigma=recipe["sigma"], **plan)
    images = to_uint8(images)
    scores = filters.class_scores(from_uint8(images), clip=inputs["clip"], class_embeddings=inputs["class_embeddings"])
    pool = {"images": images, "class_ids": plan["class_ids"], "class_scores": scores}
    artifacts.save_tensors(path, pool, wanted)
    return pool


def cached(run: str, dataset: str, kind: str, wanted: dict, inputs: dict) -> Path:
    """Return where a projector or pool is kept; another recipe or other files of the run mean another place."""
    key = artifacts.digest_json([wanted, inputs["digests"], inputs["clip"].sha256])
    return paths.artifact(run, dataset, "pools") / f"{kind}-{key[:16]}.safetensors"


def projector_of(bank: dict, generator: Generator, inputs: dict, recipe: dict) -> torch.nn.Module:
    """Return a projector trained by a recipe on the prompts' clusters; ``bank`` from ``first_prompts``."""
    within, centroids = sega.cluster(bank["embeddings"], bank["class_ids"], m=recipe["m"], seed=recipe["cluster_seed"])
    options = {name: recipe[name] for name in ("sigma", "tau", "lam", "lr", "steps", "batch_size")}
    return train_projector(
        generator,
        inputs["clip"],
        embeddings=bank["embeddings"],
        centroids=centroids,
        cluster_ids=bank["class_ids"] * recipe["m"] + within,
        seed=recipe["projector_seed"],
        **options,
    )[0]


def keep(pool: dict, inputs: dict, recipe: dict) -> torch.Tensor:
    """Return which candidates of a drawn pool a recipe keeps, bool (N,)."""
    kept, _ = pools.judge(pool, inputs, recipe)
    if recipe["choice"] == "random":
        kept = rules.at_random(kept, pool["class_ids"], seed=recipe["draw_seed"])
    if "sift" not in recipe:
        return kept
    rows = kept.nonzero()[:, 0]
    images, class_ids = pool["images"][rows], pool["class_ids"][rows]
    stay = sift.SIFTS[recipe["sift"]](inputs, images, class_ids)
    if recipe.get("sift_choice") == "random":
        stay = rules.at_random(stay, class_ids, seed=recipe["draw_seed"])
    return torch.zeros_like(kept).index_fill_(0, rows[stay], True)


def first_prompts(bank: dict, n: int) -> dict[str, torch.Tensor]:
    """Return ``embeddings`` and ``class_ids`` of each class's first ``n`` prompts.

    Raises:
        ValueError: a class has fewer.
    """
    class_ids = bank["class_ids"]
    rank = torch.arange(len(class_ids)) - torch.searchsorted(class_ids, class_ids)  # they stand class by class
    if (held := int(class_ids.bincount().min())) < n:
        raise ValueError(f"n_prompts is {n}, but a class has only {held}; record more (N_PROMPTS of 01_prompts)")
    return {name: bank[name][rank < n] for name in ("embeddings", "class_ids")}


def others(class_ids: torch.Tensor) -> torch.Tensor:
    """Return a permutation, int64 (P,), that gives each class prompts of all other classes and none of its own.

    Args:
        class_ids: int64 (P,), class by class, as many of each.
    """
    n_classes = int(class_ids.max()) + 1
    n = len(class_ids) // n_classes
    rank = torch.arange(len(class_ids)) % n
    return (class_ids + 1 + rank % (n_classes - 1)) % n_classes * n + rank


@torch.no_grad()
def without_classes(generator: Generator) -> Generator:
    """Return a copy that draws the same image for every label: each class's scale and shift are replaced by their mean.

    What is left of the class must come from the latent, that is from the words.
    """
    generator = deepcopy(generator)
    for module in generator.modules():
        if isinstance(module, torch.nn.Embedding):
            module.weight.copy_(module.weight.mean(0, keepdim=True).expand_as(module.weight))
    return generator
