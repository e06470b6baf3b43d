"""The augmenters by name, behind one contract: ``fit`` on real images, ``sample`` images of given classes.

A new augmenter is one file with these two functions and one line in ``AUGMENTERS``.

``fit(images, labels, *, num_classes, seed, device, checkpoint, **settings) -> (tensors, meta)``
    images float32 (N, C, S, S) in [0, 1] and labels int64 (N,) are all that it sees. With a ``checkpoint`` (a file) a
    killed training goes on where it was. The tensors and the JSON-able meta are the state: ``artifacts.save_tensors``
    keeps it. What trains by steps takes ``seconds`` of the CPU, too, and its curve's last row says the steps done.
``sample(state, labels, seed, *, device, batch, **options) -> float32 (N, C, S, S) in [0, 1]``, on the CPU
    Image i is drawn from a seed of its own (``base.seeds_of``): what it is depends neither on the batch nor on how
    many are asked for, but for rounding. Where it is made of real images, ``sources`` of the augmenter's file says of
    which.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import torch

from sega_utils.augmenters import base, diffusion, gan, glico, offsets, pools, sega, stable_diffusion, vae
from sega_utils.core.learning import freeze
from sega_utils.data.images import Dataset

State = tuple[dict[str, torch.Tensor], dict]


class Augmenter(NamedTuple):
    """The two functions of the contract; ``fit`` is None for what others have trained."""

    fit: Callable[..., State] | None
    sample: Callable[..., torch.Tensor]


def fit_by(
    train: Callable,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    num_classes: int,
    seed: int,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    **settings: object,
) -> State:
    """Train by one of the functions that take a ``Dataset`` and return network and curve; the settings are its own."""
    base.check_data(images, labels, num_classes)
    data = Dataset(images, labels, tuple(map(str, range(num_classes))))
    network, curve = train(data, seed=seed, device=device, checkpoint=checkpoint, **settings)
    return network.state_dict(), {"settings": network.settings, "curve": curve}


def sample_gan(
    state: State, labels: torch.Tensor, seed: int, *, device: torch.device | str = "cpu", batch: int = 250
) -> torch.Tensor:
    """Draw from a GAN of this project, or from a converted BigGAN, latents from the prior."""
    tensors, meta = state
    network = freeze(pools.network_of(meta["settings"]), tensors, device)
    base.check_labels(labels, network.n_classes)
    z = base.noise_of(base.seeds_of(seed, len(labels)), network.z_dim)
    return base.generate(network, labels, z=z, batch=batch).cpu()


def sample_denoiser(
    sampler: Callable,
    state: State,
    labels: torch.Tensor,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = 64,
    **options: object,
) -> torch.Tensor:
    """Draw from the denoiser by ``diffusion.sample_ddim`` or ``diffusion.sample_ddpm``, whose options these are."""
    tensors, meta = state
    network = freeze(diffusion.build_denoiser(**meta["settings"]), tensors, device)
    seeds = base.seeds_of(seed, len(labels))
    return sampler(network, labels, seeds=seeds, batch=batch, **options).cpu()


def fit_sega(
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    num_classes: int,
    seed: int,
    generator: State,
    clip: object,
    embeddings: torch.Tensor,
    prompt_classes: torch.Tensor,
    device: torch.device | str = "cpu",
    checkpoint: Path | None = None,
    m: int = 3,
    **settings: object,
) -> State:
    """Train the projector of prompts to latents of a frozen generator, which has seen the images.

    Args:
        generator: a state of the GAN's ``fit``; clip: a ``text.clip.Clip``.
        embeddings, prompt_classes: float32 (P, d) and int64 (P,), the prompts, class by class.
        checkpoint: not needed: the training takes seconds.
        m: clusters a class; settings: as for ``sega.train_projector``.
    """
    base.check_labels(labels, num_classes)
    network = freeze(pools.network_of(generator[1]["settings"]), generator[0], device)
    within, centroids = sega.cluster(embeddings, prompt_classes, m=m, seed=seed)
    projector, curve = sega.train_projector(
        network,
        clip,
        embeddings=embeddings.to(device),
        cluster_ids=prompt_classes * m + within,
        centroids=centroids.to(device),
        seed=seed,
        **settings,
    )
    parts = {"generator": generator[0], "projector": projector.state_dict()}
    tensors = {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}
    tensors |= {"embeddings": embeddings, "prompt_classes": prompt_classes}
    return tensors, {"generator": generator[1]["settings"], "sigma": settings["sigma"], "curve": curve}


def sample_sega(
    state: State,
    labels: torch.Tensor,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = 250,
    sigma: float | None = None,
) -> torch.Tensor:
    """Draw from the prompts of each label's class in turn, with the sigma of the training unless another is given."""
    tensors, meta = state
    part = lambda name: {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
    network = freeze(pools.network_of(meta["generator"]), part("generator"), device)
    base.check_labels(labels, network.n_classes)
    embeddings, weights = tensors["embeddings"], part("projector")
    projector = freeze(sega.build_projector(embeddings.shape[1], network.z_dim), weights, device)
    noise = base.noise_of(base.seeds_of(seed, len(labels)), network.z_dim)
    said = embeddings[in_turn(labels, tensors["prompt_classes"])].to(device)
    z = sega.latents(projector, said, sigma=meta["sigma"] if sigma is None else sigma, noise=noise)
    return base.generate(network, labels, z=z.cpu(), batch=batch).cpu()


def in_turn(labels: torch.Tensor, prompt_classes: torch.Tensor) -> torch.Tensor:
    """Return for each image a prompt of its class, int64 (N,); which of them, its place among the images says."""
    turn = torch.arange(len(labels)) // max(len(prompt_classes.unique()), 1)
    return base.nth_of(prompt_classes, labels, turn)


def sample_stable_diffusion(
    state: State,
    labels: torch.Tensor,
    seed: int,
    *,
    device: torch.device | str = "cpu",
    batch: int = 8,
    **options: object,
) -> torch.Tensor:
    """Draw by Stable Diffusion from the prompts of each label's class in turn.

    Args:
        state: ``prompt_classes`` int64 (P,), and in meta ``pipeline`` (a folder or a tag), ``texts`` (the P prompts),
            ``channels`` and ``side``.
        options: ``steps``, ``guidance`` and ``size`` of ``stable_diffusion.paint``.
    """
    tensors, meta = state
    base.check_labels(labels, int(tensors["prompt_classes"].max()) + 1)
    shape = {name: meta[name] for name in ("channels", "side")}
    texts = [meta["texts"][i] for i in in_turn(labels, tensors["prompt_classes"]).tolist()]
    seeds, parts = base.seeds_of(seed, len(labels)), [torch.empty(0, shape["channels"], shape["side"], shape["side"])]
    for at in range(0, len(texts), batch):
        some = slice(at, at + batch)
        drawn = stable_diffusion.paint(
            pipeline_of(meta["pipeline"], device), texts[some], seeds[some], **shape, **options
        )
        parts.append(drawn.float() / 255)
    return torch.cat(parts)


@lru_cache(maxsize=1)
def pipeline_of(name: str, device: torch.device | str) -> object:
    """Return a pipeline of Stable Diffusion, loaded once."""
    return stable_diffusion.load_pipeline(name, device)


fit_denoiser = partial(fit_by, diffusion.train_diffusion)

AUGMENTERS = {
    "gan": Augmenter(partial(fit_by, gan.train_gan), sample_gan),
    **{
        name: Augmenter(partial(fit_by, partial(gan.train_gan, **own)), sample_gan) for name, own in gan.MEMBERS.items()
    },
    "biggan": Augmenter(None, sample_gan),  # its state is read by biggan.load_studiogan
    # one denoiser: a state of either is a state of the other, and so is a checkpoint
    "ddpm": Augmenter(fit_denoiser, partial(sample_denoiser, diffusion.sample_ddpm)),
    "ddim": Augmenter(fit_denoiser, partial(sample_denoiser, diffusion.sample_ddim)),
    "sega": Augmenter(fit_sega, sample_sega),
    "vae": Augmenter(partial(fit_by, vae.train_vae), vae.sample_vae),
    "bs-vae": Augmenter(partial(fit_by, vae.train_bs_vae), vae.sample_vae),
    "glico": Augmenter(partial(fit_by, glico.train_glico), glico.sample_glico),
    "offsets": Augmenter(partial(fit_by, offsets.train_offsets), partial(offsets.sample_offsets, bank=offsets.Codes)),
    "offsets-pixels": Augmenter(
        partial(fit_by, offsets.keep_pixels), partial(offsets.sample_offsets, bank=offsets.Pixels)
    ),
    "stable-diffusion": Augmenter(None, sample_stable_diffusion),
}
