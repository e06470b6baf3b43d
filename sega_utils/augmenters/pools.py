"""Candidate pools: what they are drawn with, the one way from a plan to images and the mask of those that are kept."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch

from sega_utils import filters
from sega_utils.augmenters import base, diffusion, gan, morphology, sega, stable_diffusion
from sega_utils.augmenters.base import generate
from sega_utils.augmenters.biggan import BigGan
from sega_utils.core import artifacts, learning, paths, records, runtime, schema
from sega_utils.data import catalogue
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.filters import leaks, rules
from sega_utils.text import clip

# by the name in a checkpoint's settings; this module's own has none
NETWORKS = {"own": gan.Generator, "gm": morphology.MorphoGenerator, "biggan": BigGan}


def network_of(settings: dict) -> gan.Generator | BigGan:
    """Return the untrained generator that a checkpoint's settings describe."""
    settings = dict(settings)
    return NETWORKS[settings.pop("network", "own")](**settings)


def load_generator(path: Path, device: torch.device | str = "cpu") -> gan.Generator | BigGan:
    """Return a frozen generator in eval mode with ``z_dim``, ``n_classes`` and ``meta``.

    Raises:
        FileNotFoundError, ArtifactError: the checkpoint is missing, truncated, altered or of another architecture.
    """
    what = "generator of this package, or other weights than it says"
    return learning.load_network(path, lambda meta, _: network_of(meta["settings"]), what=what, device=device)


NETWORK_LOADERS = {"generator": load_generator, "projector": sega.load_projector, "diffusion": diffusion.load_diffusion}


@lru_cache(maxsize=1)
def load_inputs(
    run: str,
    dataset: str,
    names: tuple[str, ...] = ("generator", "candidates", "synthetic"),
    device: torch.device | str = "cpu",
    pipeline: str = "",
) -> dict:
    """Return a run's real images, prompts and CLIP, and what else is named, with the digests of all of it.

    Args:
        names: generator, projector, diffusion, pipeline (networks, on ``device``), candidates, synthetic (tensors).
        pipeline: folder or tag of Stable Diffusion, if that is among the names; bfloat16 on a GPU.

    Returns:
        ``real`` (a ``Dataset`` on the CPU), ``fraction``, ``prompts``, ``texts``, ``class_embeddings``, ``clip``,
        ``device``, ``digests``; whatever is named; with synthetic, ``n_syn``.

    Raises:
        FileNotFoundError, ArtifactError: a file of an earlier stage is missing or damaged.
    """
    real, meta = catalogue.load_real(run, dataset)
    prompts, told = artifacts.load_tensors(paths.require(run, dataset, "prompts"))
    if len(told.get("prompts", ())) != len(prompts["class_ids"]):
        schema.refuse(paths.artifact(run, dataset, "prompts"), "it does not say which prompts it is of")
    model = clip.load_run_clip(run, dataset, device)
    inputs = {"real": real, "fraction": meta.get("fraction"), "prompts": prompts, "texts": told["prompts"]}
    inputs |= {"class_embeddings": prompts["class_embeddings"], "clip": model, "device": device}
    digests = {"real": meta["sha256"], "prompts": told["sha256"], "clip": model.sha256}
    for name in (name for name in names if name != "clip"):
        if name in NETWORK_LOADERS:
            inputs[name] = NETWORK_LOADERS[name](paths.require(run, dataset, name), device)
            digests[name] = inputs[name].meta["sha256"]
        elif name == "pipeline":
            inputs[name] = stable_diffusion.load_pipeline(pipeline, device)
            inputs["folder"] = paths.artifact(run, dataset, "variants") / "stable-diffusion"
            digests[name] = inputs[name].sha256
        else:
            inputs[name], about = artifacts.load_tensors(paths.require(run, dataset, name))
            if name == "synthetic":
                if "n_syn" not in about:
                    schema.refuse(paths.artifact(run, dataset, name), "it does not say its n_syn")
                inputs["n_syn"] = about["n_syn"]
            digests[name] = about["sha256"]
    check_made(run, dataset, digests)
    return inputs | {"digests": digests}


def check_made(run: str, dataset: str, digests: dict[str, str]) -> None:
    """Refuse files that are not those which the stage that made them has on record, or made from others than these.

    Args:
        digests: of the files that are read, by artifact.

    Raises:
        ArtifactError: one is of another run, or was made anew without what follows from it.
    """
    for stage, made in (
        ("prompts", {"prompts"}),
        ("projector", {"projector"}),
        ("synthesis", {"candidates", "synthetic"}),
    ):
        file = records.path(run, dataset, stage, stage)
        if not made & digests.keys() or not file.exists():
            continue
        record = records.load(file)
        for name, digest in digests.items():
            if (stated := record.get(f"input_{name}", digest)) != digest:
                raise artifacts.ArtifactError(
                    f"{paths.shown(paths.artifact(run, dataset, name))} has the digest {digest}, but "
                    f"{paths.shown(file)} is of {stated}: restore that file, or run the notebook of {stage} again, "
                    "and what follows it"
                )


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
        found[stage] = records.load(path)
    take = lambda stage, *names: {name: found[stage][f"param_{name}"] for name in names}
    return (
        take("prompts", "n_prompts", "m")
        | take("projector", "sigma", "tau", "lam", "lr", "steps", "batch_size")
        | take("synthesis", "oversample", "alignment_percentile", "blur_percentile", "max_distance", "min_ssim")
        | {"cluster_seed": found["prompts"]["param_seed"], "projector_seed": found["projector"]["param_seed"]}
        | {"draw_seed": found["synthesis"]["param_seed"] + 2}
        | {"conditioning": "class", "latents": "prompt", "prompts": "own", "choice": "filtered"}
        | {"use": found["synthesis"]["param_filters"]}
    )


def draw(inputs: dict, recipe: dict, n: int, *, start: int = 0) -> dict[str, torch.Tensor]:
    """Draw ``n`` candidates of SEGA-Net from the plan's place ``start`` on.

    Args:
        inputs: from ``load_inputs``, with generator and projector.
        recipe: of which ``draw_seed`` and ``sigma`` are read.

    Returns:
        The plan (``base.plan``) and ``images`` uint8 (n, C, S, S).
    """
    bank = inputs["prompts"]
    plan = base.plan(bank["class_ids"].cpu(), n, seed=recipe["draw_seed"], start=start)
    embeddings = bank["embeddings"].to(inputs["device"])
    images = sega.draw(inputs["generator"], inputs["projector"], embeddings=embeddings, sigma=recipe["sigma"], **plan)
    return plan | {"images": to_uint8(images)}


def judge(pool: dict, inputs: dict, recipe: dict, limits: dict | None = None) -> tuple[torch.Tensor, dict[str, list]]:
    """Return which candidates of a pool the filters keep, bool (N,), and the table of scores and reasons.

    Args:
        pool: ``images`` uint8 and ``class_ids``; ``class_scores`` if they are known.
        recipe: of which ``use``, ``max_distance``, ``min_ssim`` and the percentiles are read.
        limits: ``rules.thresholds``, where they are known.
    """
    images, known = from_uint8(pool["images"]), {name: inputs[name] for name in ("clip", "class_embeddings")}
    return filters.apply_filters(
        images,
        pool["class_ids"],
        class_scores=pool["class_scores"] if "class_scores" in pool else filters.class_scores(images, **known),
        real_images=inputs["real"].images.to(images.device),
        max_distance=recipe["max_distance"],
        min_ssim=recipe["min_ssim"],
        use=recipe["use"].split(),
        **(limits or rules.thresholds(inputs, recipe)),
    )


def leave_out_copies(
    pool: dict, kept: torch.Tensor, table: dict[str, list], test: torch.Tensor, *, n: int
) -> tuple[torch.Tensor, leaks.Pairs]:
    """Take candidates that are a test image out of those that are kept, and enter it into the table.

    This chooses nothing by the test: neither its labels nor any accuracy is looked at, and a copy that stayed could
    only make the accuracy look better than it is. Searched are the first ``n`` of each class that are no copies, which
    are all that ``base.select`` can choose; comparing every kept candidate would take minutes.

    Args:
        kept, table: from ``judge``; the columns ``kept`` and ``reason`` are changed, ``test_duplicate_of`` is new.
        test: float32 (M, C, S, S), the test images.
        n: candidates that are needed of a class.

    Returns:
        The keep mask without them, and the pairs of candidate and test image.
    """
    table["test_duplicate_of"] = [-1] * len(kept)
    left, class_ids = kept.cpu().clone(), pool["class_ids"].cpu()
    searched, pairs = torch.zeros_like(left), leaks.Pairs(torch.empty(0, 2, dtype=torch.int64), [], [])
    first = lambda: torch.cat([(left & (class_ids == c)).nonzero()[:n, 0] for c in class_ids.unique()])
    while not searched[first()].all():  # those that stand in for copies are searched, too
        rows = first()[~searched[first()]]
        searched[rows] = True
        found = leaks.find(from_uint8(pool["images"][rows.to(pool["images"].device)]), test)
        copied = torch.stack([rows[found.rows[:, 0]], found.rows[:, 1]], 1)
        pairs = leaks.Pairs(torch.cat([pairs.rows, copied]), pairs.kinds + found.kinds, pairs.scores + found.scores)
        left[copied[:, 0]] = False
    for candidate, original in reversed(pairs.rows.tolist()):  # so that the first of several stays
        table["test_duplicate_of"][candidate] = original
        table["kept"][candidate], table["reason"][candidate] = False, "test_duplicate"
    return left.to(kept.device), pairs


def provenance(pool: dict, table: dict[str, list], inputs: dict, chosen: torch.Tensor) -> list[dict]:
    """Return a row for each candidate: class, prompt, cluster, latent seed, whether it was chosen, scores, reason.

    Args:
        table: from ``judge``; chosen: int64 (M,), indices of candidates.
    """
    names, texts = inputs["real"].class_names, inputs["texts"]
    clusters, selected = inputs["prompts"]["cluster_ids"].tolist(), set(chosen.tolist())
    origins = zip(*(pool[name].tolist() for name in ("class_ids", "prompt_ids", "seeds")), strict=True)
    return [
        {"candidate": i, "class": names[c], "prompt": texts[p], "cluster": clusters[p], "latent_seed": seed}
        | {"selected": i in selected}
        | {name: column[i] for name, column in table.items()}
        for i, (c, p, seed) in enumerate(origins)
    ]


def save_pool(
    run: str, dataset: str, pool: dict, kept: torch.Tensor, table: dict[str, list], chosen: torch.Tensor, n_syn: int
) -> dict[str, str]:
    """Write the run's ``candidates`` and, of those, its ``synthetic`` set; return the digests of both.

    Args:
        kept, table: from ``judge``; chosen: int64 (M,), the set; n_syn: of which 05 takes multiples.
    """
    whole = pool | {"kept": kept, "clip_score": torch.tensor(table["clip_score"])}
    selection = {"images": pool["images"][chosen], "class_ids": pool["class_ids"][chosen], "index": chosen}
    place = lambda name: paths.artifact(run, dataset, name)
    return {
        "candidates": artifacts.save_tensors(place("candidates"), whole, {"reasons": table["reason"]}),
        "synthetic": artifacts.save_tensors(place("synthetic"), selection, {"n_syn": n_syn}),
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

    def way(labels, seed):
        with runtime.measure() as cost:
            images = draw(inputs, inputs["recipe"] | {"draw_seed": seed}, len(labels))["images"]
        return images, cost

    return way


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


def produce(inputs: dict, variant: str, n: int, *, seed: int, sampling_steps: int = 25) -> dict:
    """Draw ``n`` images of a variant, the classes alternating, filter them if that belongs to it, and time both.

    Args:
        inputs: what ``load_inputs`` returned, and the run's ``recipe``.

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
            pool["kept"], _ = judge(pool, inputs, inputs["recipe"])
    cost = {key: max(drawing.get(key, 0), filtering[key]) for key in filtering}
    seconds = {"drawing": drawing["seconds"], "filtering": filtering["seconds"]}
    return pool | seconds | {"cost": cost | {"seconds": sum(seconds.values())}}
