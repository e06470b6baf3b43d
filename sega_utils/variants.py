"""The ways to make images that are compared by cost: how each one draws, what it needs, whether it filters.

Each takes labels (N,), classes alternating, and a seed, and returns images uint8 (N, C, H, W) and what they cost.
"""

from collections.abc import Callable

import torch

from sega_utils import artifacts, clip, data, diffusion, filters, paths, pools, runtime, stable_diffusion, synthesis
from sega_utils.generator import generate, load_generator
from sega_utils.projector import load_projector


def measured(draw: Callable) -> Callable:
    """Return a way to make images from a function of labels and a seed that returns them as float32 in [0, 1]."""

    def way(labels, seed):
        with runtime.measure() as cost:
            images = data.to_uint8(draw(labels, seed))
        return images, cost

    return way


def plain(inputs: dict, **_) -> Callable:
    """Return the GAN's way, latents from the prior."""
    return measured(lambda labels, seed: generate(inputs["generator"], labels, seed=seed))


def prompted(inputs: dict, **_) -> Callable:
    """Return the way of 04_synthesis: latents from prompts, spread over each class's as ``synthesis.plan`` does."""

    def draw(labels, seed):
        plan = synthesis.plan(inputs["prompts"]["class_ids"], len(labels), seed=seed)
        embeddings = inputs["prompts"]["embeddings"].to(inputs["device"])
        sigma = inputs["recipe"]["draw_sigma"]
        return synthesis.draw(inputs["generator"], inputs["projector"], embeddings=embeddings, sigma=sigma, **plan)

    return measured(draw)


def denoised(inputs: dict, *, sampling_steps: int) -> Callable:
    """Return the diffusion model's way."""
    return measured(lambda labels, seed: diffusion.sample(inputs["diffusion"], labels, steps=sampling_steps, seed=seed))


def painted(inputs: dict, *, sampling_steps: int) -> Callable:
    """Return Stable Diffusion's way, from the run's prompts; a killed one goes on where it was."""

    def way(labels, seed):
        shape = inputs["real"].shape()
        pool, cost = stable_diffusion.synthesise(
            inputs["pipeline"], inputs["texts"], inputs["prompts"]["class_ids"], inputs["folder"],
            n=len(labels), seed=seed, steps=sampling_steps, channels=shape["channels"], side=shape["side"],
        )  # fmt: skip
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


def load_inputs(
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
    real, meta = data.load_real(run, dataset)
    prompts, told = artifacts.load_tensors(paths.require(run, dataset, "prompts"))
    model = clip.load_run_clip(run, dataset, device)
    digests |= {"real": meta["sha256"], "prompts": told["sha256"], "clip": model.sha256}
    if "pipeline" in networks:
        dtype = torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16
        inputs["pipeline"] = stable_diffusion.load_pipeline(pipeline, device, dtype=dtype)
        digests["pipeline"] = inputs["pipeline"].sha256
    return inputs | {
        "clip": model, "class_embeddings": prompts["class_embeddings"], "prompts": prompts, "device": device,
        "texts": told.get("prompts"), "folder": paths.artifact(run, dataset, "variants") / "stable-diffusion",
        "real": real._replace(images=real.images.to(device)), "digests": digests,
        "recipe": pools.recipe_of(run, dataset),
    }  # fmt: skip


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
            pool["class_scores"] = filters.class_scores(data.from_uint8(images), **known)
            pool["kept"] = pools.keep(pool, inputs, inputs["recipe"])
    cost = {key: max(drawing.get(key, 0), filtering[key]) for key in filtering}
    seconds = {"drawing": drawing["seconds"], "filtering": filtering["seconds"]}
    return pool | seconds | {"cost": cost | {"seconds": sum(seconds.values())}}
