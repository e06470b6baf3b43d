"""Candidate pools: every way to draw images, what each needs, and the filters that decide which are kept."""

import math
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import torch

from sega_utils import filters
from sega_utils.augmenters import base, diffusion, gan, sega, stable_diffusion
from sega_utils.augmenters.base import generate
from sega_utils.augmenters.biggan import BigGan
from sega_utils.augmenters.gan import Generator
from sega_utils.augmenters.sega import load_projector, save_projector, train_projector
from sega_utils.core import artifacts, paths, records, runtime
from sega_utils.data import catalogue
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.filters import rules
from sega_utils.text import clip
from sega_utils.text.clip import load_run_clip

# by the name in a checkpoint's settings; this module's own has none
NETWORKS = {"own": gan.Generator, "biggan": BigGan}


def load_generator(path: Path, device: torch.device | str = "cpu") -> gan.Generator | BigGan:
    """Return a frozen generator in eval mode with ``z_dim``, ``n_classes`` and ``meta``.

    Raises:
        FileNotFoundError, ArtifactError: the checkpoint is missing, truncated, altered or of another architecture.
    """
    tensors, meta = artifacts.load_tensors(path)
    try:
        settings = dict(meta["settings"])
        generator = NETWORKS[settings.pop("network", "own")](**settings)
        generator.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise artifacts.ArtifactError(
            f"{paths.shown(path)} holds no generator of this package, or other weights than it says"
        ) from error
    generator.meta = meta
    return generator.to(device).eval().requires_grad_(False)


@lru_cache(maxsize=1)
def load_inputs(run: str, dataset: str, device: str = "cpu") -> dict:
    """Return what the arms train on, with the digests of the files it came from; the networks are on ``device``.

    Raises:
        FileNotFoundError, ArtifactError: a file of an earlier stage is missing or damaged.
    """
    real, meta = catalogue.load_real(run, dataset)
    names = ("prompts", "candidates", "synthetic")
    files = {name: artifacts.load_tensors(paths.require(run, dataset, name)) for name in names}
    generator = load_generator(paths.require(run, dataset, "generator"), device)
    return {
        "real": real,
        "candidates": files["candidates"][0],
        "n_syn": len(files["synthetic"][0]["labels"]),
        "class_embeddings": files["prompts"][0]["class_embeddings"],
        "clip": load_run_clip(run, dataset, device),
        "generator": generator,
        "fraction": meta["fraction"],
        "digests": {"real": meta["sha256"]}
        | {name: meta["sha256"] for name, (_, meta) in files.items()}
        | {"generator": generator.meta["sha256"]},
    }


def measured(draw: Callable) -> Callable:
    """Return a way to make images from a function of labels and a seed that returns them as float32 in [0, 1]."""

    def way(labels, seed):
        with runtime.measure() as cost:
            images = to_uint8(draw(labels, seed))
        return images, cost

    return way


def plain(inputs: dict, **_) -> Callable:
    """Return the GAN's way, latents from the prior."""
    return measured(lambda labels, seed: generate(inputs["generator"], labels, seed=seed))


def prompted(inputs: dict, **_) -> Callable:
    """Return the way of 04_synthesis: latents from prompts, spread over each class's as ``base.plan`` does."""

    def draw(labels, seed):
        plan = base.plan(inputs["prompts"]["class_ids"], len(labels), seed=seed)
        embeddings = inputs["prompts"]["embeddings"].to(inputs["device"])
        sigma = inputs["recipe"]["draw_sigma"]
        return sega.draw(inputs["generator"], inputs["projector"], embeddings=embeddings, sigma=sigma, **plan)

    return measured(draw)


def denoised(inputs: dict, *, sampling_steps: int) -> Callable:
    """Return the diffusion model's way."""
    return measured(
        lambda labels, seed: diffusion.sample_ddim(inputs["diffusion"], labels, steps=sampling_steps, seed=seed)
    )


def painted(inputs: dict, *, sampling_steps: int) -> Callable:
    """Return Stable Diffusion's way, from the run's prompts; a killed one goes on where it was."""

    def way(labels, seed):
        shape = inputs["real"].shape()
        pool, cost = stable_diffusion.synthesise(
            inputs["pipeline"],
            inputs["texts"],
            inputs["prompts"]["class_ids"],
            inputs["folder"],
            n=len(labels),
            seed=seed,
            steps=sampling_steps,
            channels=shape["channels"],
            side=shape["side"],
        )
        return pool["images"].to(inputs["device"]), cost

    return way


# variant: (how it draws, which networks it needs, whether its images are filtered)
VARIANTS = {
    "GAN-only": (plain, ("generator",), False),
    "SEGA-Net": (prompted, ("generator", "projector", "clip"), True),
    "diffusion": (denoised, ("diffusion",), False),
    "Stable Diffusion": (painted, ("pipeline", "clip"), True),
}


def compared(pipeline: str) -> list[str]:
    """Return the variants that can be compared: without a pipeline's name, all but Stable Diffusion."""
    return [name for name in VARIANTS if pipeline or name != "Stable Diffusion"]


def load_networks(
    run: str, dataset: str, *, networks: tuple[str, ...], pipeline: str = "", device: torch.device | str = "cpu"
) -> dict:
    """Return networks by name on a device, real images, prompts and the run's recipe, with the digests of all files.

    Args:
        pipeline: folder or tag of Stable Diffusion, if that is among the networks; bfloat16 on a GPU.

    Raises:
        FileNotFoundError, ArtifactError: a file or record of an earlier stage is missing or damaged.
    """
    load = {"generator": load_generator, "projector": load_projector, "diffusion": diffusion.load_diffusion}
    inputs = {name: load[name](paths.require(run, dataset, name), device) for name in networks if name in load}
    digests = {name: network.meta["sha256"] for name, network in inputs.items()}
    real, meta = catalogue.load_real(run, dataset)
    prompts, told = artifacts.load_tensors(paths.require(run, dataset, "prompts"))
    model = clip.load_run_clip(run, dataset, device)
    digests |= {"real": meta["sha256"], "prompts": told["sha256"], "clip": model.sha256}
    if "pipeline" in networks:
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
        inputs["pipeline"] = stable_diffusion.load_pipeline(pipeline, device, dtype=dtype)
        digests["pipeline"] = inputs["pipeline"].sha256
    return inputs | {
        "clip": model,
        "class_embeddings": prompts["class_embeddings"],
        "prompts": prompts,
        "device": device,
        "texts": told.get("prompts"),
        "folder": paths.artifact(run, dataset, "variants") / "stable-diffusion",
        "real": real._replace(images=real.images.to(device)),
        "digests": digests,
        "recipe": recipe_of(run, dataset),
    }


def produce(inputs: dict, variant: str, n: int, *, seed: int, sampling_steps: int = 25) -> dict:
    """Draw ``n`` images of a variant, the classes alternating, filter them if that belongs to it, and time both.

    Args:
        inputs: what ``load_inputs`` returned.

    Returns:
        ``images`` uint8 (n, C, S, S), ``class_ids`` int64 (n,), ``kept`` bool (n,), the seconds that ``drawing`` and
        ``filtering`` took, and the ``cost`` of both as records hold it.
    """
    make, _, filtered = VARIANTS[variant]
    draw, labels = make(inputs, sampling_steps=sampling_steps), torch.arange(n) % len(inputs["real"].class_names)
    images, drawing = draw(labels, seed)
    pool = {"images": images, "class_ids": labels, "kept": torch.ones(n, dtype=torch.bool)}
    with runtime.measure() as filtering:
        if filtered:
            known = {"clip": inputs["clip"], "class_embeddings": inputs["class_embeddings"]}
            pool["class_scores"] = filters.class_scores(from_uint8(images), **known)
            pool["kept"] = keep(pool, inputs, inputs["recipe"])
    cost = {key: max(drawing.get(key, 0), filtering[key]) for key in filtering}
    seconds = {"drawing": drawing["seconds"], "filtering": filtering["seconds"]}
    return pool | seconds | {"cost": cost | {"seconds": sum(seconds.values())}}


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
DRAWING = (*PROJECTOR, "latents", "prompts", "draw_sigma", "oversample", "draw_seed")


def recipe_of(run: str, dataset: str) -> dict:
    """Return what the run's own pool depends on beside files, from the records of the stages that made it.

    conditioning: class, or average (the generator is not told the class, see ``without_classes``).
    latents: prompt (the projector's) or plain (from the prior). prompts: own, or shuffled (those of other classes).
    use: the names of the filters. choice: filtered, or random (as many of each class as the filters keep, but any).

    Raises:
        FileNotFoundError: a stage has no record; the message names the command that makes it.
    """
    found = {}
    for stage, notebook in (("prompts", "01_prompts"), ("projector", "03_projector"), ("synthesis", "04_synthesis")):
        path = records.path(run, dataset, stage, stage)
        if not path.exists():
            raise FileNotFoundError(
                f"{paths.shown(path)} is missing; make it with: python -m sega_utils.execute "
                f"notebooks/{notebook}.ipynb -p RUN {run} -p DATASET {dataset}"
            )
        found[stage] = artifacts.load_json(path)
    take = lambda stage, *names: {name: found[stage][f"param_{name}"] for name in names}
    return (
        take("prompts", "n_prompts", "m")
        | take("projector", "sigma", "tau", "lam", "lr", "steps", "batch_size")
        | take("synthesis", "oversample", "alignment_percentile", "blur_percentile", "max_distance", "min_ssim")
        | {"cluster_seed": found["prompts"]["param_seed"], "projector_seed": found["projector"]["param_seed"]}
        | {"draw_seed": found["synthesis"]["param_seed"] + 2, "draw_sigma": found["synthesis"]["param_sigma"]}
        | {"conditioning": "class", "latents": "prompt", "prompts": "own", "choice": "filtered"}
        | {"use": found["synthesis"]["param_filters"]}
    )


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
        images = sega.draw(generator, network, embeddings=bank["embeddings"][said], sigma=recipe["draw_sigma"], **plan)
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
    kept, _ = filters.apply_filters(
        from_uint8(pool["images"]),
        pool["class_ids"],
        class_scores=pool["class_scores"],
        real_images=inputs["real"].images,
        max_distance=recipe["max_distance"],
        min_ssim=recipe["min_ssim"],
        use=recipe["use"].split(),
        **rules.thresholds(inputs, recipe),
    )
    return at_random(kept, pool["class_ids"], seed=recipe["draw_seed"]) if recipe["choice"] == "random" else kept


def at_random(kept: torch.Tensor, class_ids: torch.Tensor, *, seed: int) -> torch.Tensor:
    """Return a mask, bool (N,), that keeps as many of each class as ``kept`` does, but any of them."""
    rng, mask = torch.Generator().manual_seed(seed), kept.clone()
    for c in class_ids.unique():
        mine = torch.nonzero(class_ids == c)[:, 0]
        mask[mine] = kept[mine[torch.randperm(len(mine), generator=rng)]]
    return mask


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
