"""The poster's Stable Diffusion arm: images from the same prompts, resized, in chunks that survive a kill."""

from pathlib import Path

import torch

from sega_utils.augmenters import base
from sega_utils.core import artifacts, runtime
from sega_utils.data.images import check_images, resize, to_uint8

NETWORKS = ("unet", "vae", "text_encoder")


def load_pipeline(name: str, device: torch.device | str = "cpu"):
    """Return a diffusers ``StableDiffusionPipeline`` with ``sha256``, the digest of its weights and sampler.

    Args:
        name: folder of a pipeline, or a tag of the Hugging Face hub such as
            ``stable-diffusion-v1-5/stable-diffusion-v1-5``; unspecified in the source.
        device: on a CPU the weights are float32, elsewhere bfloat16, which halves memory and time.

    Raises:
        ImportError: transformers is not installed.
        ArtifactError: no such folder or tag, no network to download it, or files that are damaged or not safetensors.
    """
    from diffusers import StableDiffusionPipeline  # takes seconds, and nothing else needs it

    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            name,
            dtype=torch.float32 if torch.device(device).type == "cpu" else torch.bfloat16,
            use_safetensors=True,
            low_cpu_mem_usage=False,
            safety_checker=None,
            requires_safety_checker=False,  # it would put black images among the candidates
        )
    except ImportError:
        raise
    except Exception as error:  # every part's reader, and the download, raises its own
        raise artifacts.ArtifactError(
            f"no Stable Diffusion from {name!r}: give a folder that holds a StableDiffusionPipeline whose weights are "
            "whole safetensors files, or a tag of huggingface.co, downloaded before or with HF_HUB_OFFLINE=0; "
            f"received {type(error).__name__}: {str(error)[:300]}"
        ) from error
    weights = {f"{part}.{k}": v for part in NETWORKS for k, v in getattr(pipeline, part).state_dict().items()}
    pipeline.sha256 = artifacts.digest_json([artifacts.digest(weights), pipeline.scheduler.to_json_string()])
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


@torch.no_grad()
def paint(
    pipeline,
    texts: list[str],
    seeds: torch.Tensor,
    *,
    steps: int = 50,
    guidance: float = 7.5,
    size: int | None = None,
    channels: int = 3,
    side: int = 32,
) -> torch.Tensor:
    """Draw one image for every (text, seed) at once.

    Args:
        seeds: int64 (N,); each image's noise comes from its own, on the CPU, so that a GPU begins with the same.
        steps: evaluations of the denoiser; 50 and ``guidance`` are diffusers' defaults, unspecified in the source.
        size: pixels of a side before resizing, a multiple of 8; those the pipeline was made for if absent, which is
            512 for the first Stable Diffusion.
        channels: 3, or 1 for grey.
        side: pixels of a side after resizing.

    Returns:
        uint8 (N, channels, side, side), on the CPU.

    Raises:
        FloatingPointError: a pixel is not finite, which float16 can cause.
    """
    how = {"num_inference_steps": steps, "guidance_scale": guidance, "output_type": "pt"}
    images = pipeline(texts, generator=each(seeds), height=size, width=size, **how).images
    return brought_back(images, channels, side)


@torch.no_grad()
def repaint(
    pipeline,
    texts: list[str],
    images: torch.Tensor,
    seeds: torch.Tensor,
    *,
    strength: float = 0.5,
    steps: int = 50,
    guidance: float = 7.5,
    size: int | None = None,
) -> torch.Tensor:
    """Draw one variation of every image for its text: it is noised part of the way, and goes back from there.

    Args:
        images: float32 (N, C, S, S) in [0, 1], which are enlarged first. seeds, guidance, size: as of ``paint``.
        strength: how far the image is noised, 0 .. 1; 0 returns it as it is.
        steps: of the whole way, of which the share ``strength`` is taken, at least one.

    Returns:
        uint8 (N, C, S, S), on the CPU.

    Raises:
        ValueError: as many texts or seeds as there are not images, or a strength outside its range.
        FloatingPointError: as ``paint``.

    Source: Meng et al. 2022 (SDEdit), algorithm 1, in the latents of Rombach et al. 2022.
    """
    if not len(images) == len(texts) == len(seeds) or not 0 <= strength <= 1 or steps < 1:
        raise ValueError(
            f"received {len(images)} images, {len(texts)} texts, {len(seeds)} seeds, strength {strength} and {steps} "
            "steps; give one text and one seed an image, a strength of 0 .. 1, and at least one step"
        )
    check_images(images)
    if not strength:
        return to_uint8(images).cpu()
    from diffusers import StableDiffusionImg2ImgPipeline

    other = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False).to(pipeline.device)
    other.set_progress_bar_config(disable=True)
    size = size or pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    how = {"num_inference_steps": steps, "guidance_scale": guidance, "output_type": "pt"}
    how["strength"] = max(strength, 1 / steps)
    large = resize(images, size).clamp(0, 1).expand(-1, 3, -1, -1).to(pipeline.device, pipeline.dtype)
    drawn = other(texts, image=large, generator=each(seeds), **how).images
    return brought_back(drawn, images.shape[1], images.shape[-1])


def each(seeds: torch.Tensor) -> list[torch.Generator]:
    """Return a generator for each image, on the CPU, whatever the device."""
    return [runtime.generator(seed) for seed in seeds.tolist()]


def brought_back(images: torch.Tensor, channels: int, side: int) -> torch.Tensor:
    """Return what the pipeline drew as uint8 (N, channels, side, side), on the CPU.

    Raises:
        FloatingPointError: a pixel is not finite.
    """
    from torchvision.transforms.v2.functional import rgb_to_grayscale  # torchvision takes seconds to import

    if not images.isfinite().all():
        raise FloatingPointError(f"Stable Diffusion drew pixels that are not finite in {images.dtype}; use bfloat16")
    images = resize(images.float(), side)
    return to_uint8(rgb_to_grayscale(images) if channels == 1 else images).cpu()


def synthesise(
    pipeline,
    texts: list[str],
    class_ids: torch.Tensor,
    folder: Path,
    *,
    n: int,
    seed: int,
    batch: int = 8,
    chunk: int = 256,
    **options: object,
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Draw ``n`` candidates, spread over classes and prompts as the GAN's are, and say what they cost.

    Every chunk is a file in ``folder``, so that a killed run goes on where it was, and a larger ``n`` reuses whole
    chunks. The images do not depend on ``chunk``: it only groups batches, which are always the same.

    Args:
        texts: P prompts. class_ids: their classes, int64 (P,).
        batch: images drawn at once. chunk: images a file, a multiple of ``batch``.
        options: ``steps``, ``guidance``, ``size``, ``channels`` and ``side`` of ``draw``.

    Returns:
        The pool: ``images`` uint8 (n, C, side, side), ``class_ids``, ``prompt_ids``, ``seeds`` int64 (n,).
        The cost: ``seconds`` over all chunks, whenever they were drawn, ``seconds_per_image``, ``params_millions``,
        and the highest ``peak_memory_gb`` (and ``peak_gpu_memory_gb``).

    Raises:
        ValueError: ``chunk`` is no multiple of ``batch``, or ``n`` is not positive. ArtifactError: a damaged chunk.
    """
    if n < 1 or batch < 1 or chunk < 1 or chunk % batch:
        raise ValueError(f"n is {n}, batch {batch}, chunk {chunk}; all are at least 1, and chunk a multiple of batch")
    plan = base.plan(class_ids, n, seed=seed)
    images, costs = [], []
    for rows in runtime.progress(torch.arange(n).split(chunk), "Stable Diffusion"):
        mine, seeds = [texts[i] for i in plan["prompt_ids"][rows].tolist()], plan["seeds"][rows]
        key = artifacts.digest_json([pipeline.sha256, mine, seeds.tolist(), batch, options])
        path = folder / f"{key[:16]}.safetensors"
        if not path.exists():
            with runtime.measure() as cost:
                parts = [slice(i, i + batch) for i in range(0, len(mine), batch)]
                drawn = torch.cat([paint(pipeline, mine[part], seeds[part], **options) for part in parts])
            artifacts.save_tensors(path, {"images": drawn}, {"cost": cost})
        tensors, meta = artifacts.load_tensors(path)
        images, costs = [*images, tensors["images"]], [*costs, meta["cost"]]
    total = {name: max(cost.get(name, 0) for cost in costs) for name in costs[0]}
    total["seconds"] = sum(cost["seconds"] for cost in costs)
    size = sum(p.numel() for part in NETWORKS for p in getattr(pipeline, part).parameters())
    total |= {"seconds_per_image": total["seconds"] / n, "params_millions": size / 1e6}
    return plan | {"images": torch.cat(images)}, total
