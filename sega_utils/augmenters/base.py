"""Candidates, whatever draws them: the plan that spreads them, the choice among them, and their quality."""

import copy
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Subset

from sega_utils.core import artifacts, learning, paths, runtime, schema
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.images import Dataset, check_images


def noise_of(seeds: torch.Tensor, z_dim: int, draw: Callable[..., torch.Tensor] = torch.randn) -> torch.Tensor:
    """Return one standard normal latent a seed, float32 (N, z_dim): a single image can be redrawn from its own seed.

    Args:
        draw: ``torch.rand`` for numbers evenly spread over 0 .. 1 instead.
    """
    rng = torch.Generator()
    latents = [draw(z_dim, generator=rng.manual_seed(seed)) for seed in seeds.tolist()]
    return torch.stack(latents) if latents else torch.empty(0, z_dim)


def seeds_of(seed: int, n: int, start: int = 0) -> torch.Tensor:
    """Return the seeds of ``n`` images from place ``start`` on, int64 (n,): each image has its own.

    From the ten millionth image on, they are those of the next seed.
    """
    return seed * 10_000_000 + torch.arange(start, start + n)


def check_labels(labels: torch.Tensor, n_classes: int) -> None:
    """Refuse labels that are not int64 (N,) in 0 .. n_classes - 1.

    Raises:
        ValueError: they are not.
    """
    if labels.dtype != torch.int64 or labels.ndim != 1:
        raise ValueError(f"labels must be int64 (N,); received {labels.dtype} {tuple(labels.shape)}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < n_classes:
        raise ValueError(f"labels span {int(labels.min())} .. {int(labels.max())}; allowed are 0 .. {n_classes - 1}")


def check_data(images: torch.Tensor, labels: torch.Tensor, n_classes: int, *, least: int = 1) -> None:
    """Refuse to train on images or labels that are none, that do not fit, or that leave a class out.

    Args:
        images, labels: as ``Dataset`` holds them.
        least: images that each class must have.

    Raises:
        ValueError: as ``check_labels`` and ``images.check_images``, or the lengths differ, or a class has too few.
    """
    check_labels(labels, n_classes)
    check_images(images)
    if len(images) != len(labels):
        raise ValueError(f"received {len(images)} images and {len(labels)} labels; give one label an image")
    counts = labels.bincount(minlength=n_classes)
    if few := (counts < least).nonzero()[:, 0].tolist():
        raise ValueError(f"classes {few} have fewer than {least} images; give more, or leave these classes out")


def revive(build: Callable[[dict], nn.Module], state: tuple[dict, dict], device: torch.device | str) -> nn.Module:
    """Return the frozen network of a state, the tensors and meta of a ``fit``.

    Args:
        build: takes the meta's settings, returns the untrained network.

    Raises:
        ArtifactError: the state is that of another augmenter, or other weights than it says.
    """
    tensors, meta = state
    try:
        return learning.freeze(build(meta["settings"]), tensors, device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ArtifactError("this is no state of such an augmenter, or of other settings; fit it again") from error


def training(
    model: nn.Module, optimiser: torch.optim.Optimizer, data: Dataset, settings: dict, **options: object
) -> learning.Steps:
    """Return the steps of a single network's training, whose state holds ``model`` and the ``average`` to follow it.

    Args:
        settings: of the training, with ``steps`` and ``seconds``; the model's own and the data's digest are added.
        options: ``path`` and ``every`` as for ``learning.State``, ``label`` and ``wrong`` as for ``learning.Steps``.
    """
    networks = {"model": model, "average": copy.deepcopy(model).requires_grad_(False)}
    told = {"model": model.settings, "data": artifacts.digest({"images": data.images, "labels": data.labels})}
    state = learning.State(options.pop("path"), options.pop("every"), networks, [optimiser], settings | told)
    return learning.Steps(settings["steps"], seconds=settings["seconds"], state=state, **options)


def schedule(optimiser: torch.optim.Optimizer, rates: Iterable[float], progress: float) -> None:
    """Set the rate of each group of an optimiser's weights to its peak times ``learning.one_cycle``."""
    for group, lr in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = lr * learning.one_cycle(progress)


def nth_of(class_ids: torch.Tensor, classes: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Return the index, int64 (N,), of the item at a place among those of its class, counted round and round.

    Args:
        class_ids: int64 (P,), of the items; classes, place: int64 (N,), every class with at least one item.
    """
    counts = class_ids.bincount()
    first = counts.cumsum(0) - counts  # of each class's items, once they stand class by class
    return class_ids.argsort(stable=True)[first[classes] + place % counts[classes]]


def places(labels: torch.Tensor) -> torch.Tensor:
    """Return how many of the same class stand before each label, int64 (N,)."""
    found = torch.empty_like(labels)
    for c in labels.unique():
        mine = labels == c
        found[mine] = torch.arange(int(mine.sum()))
    return found


def rotation(class_ids: torch.Tensor, labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Return for each label an item of its class, int64 (N,): each item once, in an order drawn by seed, then again.

    Args:
        class_ids: int64 (P,), of the items, of which every class has at least one; labels: int64 (N,).
    """
    order = torch.randperm(len(class_ids), generator=runtime.generator(seed))
    return order[nth_of(class_ids[order], labels, places(labels))]


def plan(class_ids: torch.Tensor, n: int, *, seed: int, start: int = 0) -> dict[str, torch.Tensor]:
    """Spread candidates evenly over the classes, and over each class's prompts; return ``n`` of them from ``start`` on.

    What a candidate is depends on its place alone, so that a plan can be carried out in parts.

    Args:
        class_ids: the prompts' classes, int64 (P,).
        seed: of the candidates' seeds, see ``seeds_of``.

    Returns:
        ``class_ids``, ``prompt_ids`` and ``seeds``, int64 (n,) each; the classes alternate.

    Raises:
        ValueError: a class without prompts.
    """
    counts = class_ids.bincount()
    if empty := (counts == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"classes {empty} have no prompt; every class needs at least one: run 01_prompts again")
    index = torch.arange(start, start + n)
    classes, turn = index % len(counts), index // len(counts)
    return {"class_ids": classes, "prompt_ids": nth_of(class_ids, classes, turn), "seeds": seeds_of(seed, n, start)}


def quota(n: int, n_classes: int) -> list[int]:
    """Return how many of ``n`` images each class gets: as even as can be, the first classes one more."""
    return [n // n_classes + (c < n % n_classes) for c in range(n_classes)]


def select(keep_mask: torch.Tensor, class_ids: torch.Tensor, *, n: int, n_classes: int) -> torch.Tensor:
    """Return the indices, int64 (n,), of a class-balanced synthetic set: the first kept candidates of each class.

    Taking the first drawn, not the best scored, keeps the spread that the filters left.

    Raises:
        ValueError: the pool is exhausted before every class has its share.
    """
    chosen, short = [], []
    for c, wanted in enumerate(quota(n, n_classes)):
        mine = torch.nonzero(keep_mask & (class_ids == c))[:wanted, 0]
        chosen.append(mine)
        if len(mine) < wanted:
            short.append(f"class {c}: {len(mine)} kept, {wanted} needed")
    if short:
        raise ValueError(
            f"the candidate pool is exhausted ({'; '.join(short)}): draw more candidates (OVERSAMPLE) "
            "or loosen the filters' percentiles"
        )
    return torch.cat(chosen)


def save_generator(path: Path, generator: nn.Module, meta: dict) -> str:
    """Write a generator's weights and settings atomically; return their digest."""
    return learning.save_network(path, generator, meta | {"settings": generator.settings})


@torch.no_grad()
def generate(
    generator: nn.Module, labels: torch.Tensor, *, z: torch.Tensor | None = None, seed: int = 0, batch: int = 250
) -> torch.Tensor:
    """Draw one image for each label.

    Args:
        labels: int64 (N,), 0 .. n_classes - 1.
        z: latents float32 (N, z_dim); drawn from N(0, I) with ``seed`` if absent.

    Returns:
        float32 (N, C, S, S) in [0, 1] on the generator's device.

    Raises:
        ValueError: a label the generator was not trained on, or latents of another shape.
    """
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < generator.n_classes:
        raise ValueError(
            f"labels span {int(labels.min())} .. {int(labels.max())}; "
            f"this generator knows 0 .. {generator.n_classes - 1}"
        )
    if z is None:
        z = torch.randn(len(labels), generator.z_dim, generator=torch.Generator().manual_seed(seed))
    if z.shape != (len(labels), generator.z_dim):
        raise ValueError(f"latents have shape {tuple(z.shape)}; expected ({len(labels)}, {generator.z_dim})")
    device, side = next(generator.parameters()).device, generator.side
    if not len(labels):
        return torch.empty(0, generator.channels, side, side, device=device)
    parts = [generator(a.to(device), b.to(device)) for a, b in zip(z.split(batch), labels.split(batch), strict=True)]
    return torch.cat(parts)


def spread_of(scores: torch.Tensor) -> dict[str, float]:
    """Return ``median``, interquartile range ``iqr`` and ``n`` of scores float (N,), at least one."""
    low, median, high = scores.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return {"median": median, "iqr": high - low, "n": len(scores)}


def frechet_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the Frechet distance between Gaussians fitted to two sets of features; lower is closer, 0 at best.

    Only in Inception-v3's features is it the FID; name the features wherever the number is shown.

    Args:
        a, b: features float (N, d) and (M, d), N and M at least 2.

    Source: Heusel et al. 2017, equation 6.
    """
    a, b = a.double().cpu(), b.double().cpu()
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # tr((A B)^1/2) = tr((A^1/2 B A^1/2)^1/2), whose matrix is symmetric: no complex square root is needed
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross)


def precision_recall(real: torch.Tensor, drawn: torch.Tensor, *, k: int = 3) -> dict[str, float]:
    """Return how many drawn images look real, and how many of the real ones the drawn ones cover; higher is better.

    Args:
        real, drawn: features float (N, d) and (M, d), both N and M above ``k``; N = M makes the two comparable.
        k: an image covers what is nearer to it than its ``k``-th neighbour of the same set.

    Returns:
        ``precision`` and ``recall``, 0 .. 1.

    Raises:
        ValueError: a set of ``k`` images or fewer.

    Source: Kynkaanniemi et al. 2019, equation 1.
    """
    if min(len(real), len(drawn)) <= k:
        raise ValueError(f"received {len(real)} real and {len(drawn)} drawn images; give more than k = {k} of each")

    def covered(points, by):
        radius = torch.cdist(by, by).kthvalue(k + 1, dim=1).values  # the nearest is the image itself
        return (torch.cdist(points, by) <= radius).any(1).double().mean().item()

    return {"precision": covered(drawn, real), "recall": covered(real, drawn)}


def inception_distances(real: torch.Tensor, drawn: torch.Tensor, *, weights: Path) -> dict[str, float]:
    """Return FID and KID in the features of Inception-v3, as torch-fidelity defines them; lower is closer.

    Args:
        real, drawn: uint8 (N, 3, H, W) and (M, 3, H, W).
        weights: the file of Inception weights that torch-fidelity publishes.

    Raises:
        FileNotFoundError: there are no such weights.
        ArtifactError: the file is damaged, or holds more than the weights of this network.
    """
    if not weights.is_file():
        raise FileNotFoundError(
            f"there are no Inception weights at {weights}; give the file that torch-fidelity "
            "publishes, or leave it empty for no FID"
        )
    import torch_fidelity  # takes seconds, which only this function should cost

    with plain_inception(weights) as checked:
        found = torch_fidelity.calculate_metrics(
            input1=Subset(drawn, range(len(drawn))),
            input2=Subset(real, range(len(real))),
            fid=True,
            kid=True,
            kid_subset_size=min(1000, len(drawn), len(real)),
            feature_extractor_weights_path=str(checked),
            cuda=torch.cuda.is_available(),
            verbose=False,
        )
    return {"fid": found["frechet_inception_distance"], "kid": found["kernel_inception_distance_mean"]}


@contextmanager
def plain_inception(weights: Path) -> Iterator[Path]:
    """Yield a copy of Inception weights that holds nothing else: torch-fidelity would run code in what it reads.

    Raises:
        FileNotFoundError, ArtifactError: as ``inception_distances``.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = learning.load_plain(weights)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "inception.pth"
        try:
            torch.save({name: torch.as_tensor(tensor) for name, tensor in state.items()}, copy)
            schema.check_finite(state, weights)
            FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(copy))
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise artifacts.ArtifactError(
                f"{paths.shown(weights)} holds no Inception weights as torch-fidelity publishes them "
                f"({schema.short(str(error))}); download them again"
            ) from error
        yield copy


def intra_class_distance(images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the mean Euclidean pixel distance between two images of one class; higher is more diverse.

    Args:
        images: float (N, C, H, W); labels: int64 (N,), at least two images in some class.
    """
    distances = [torch.pdist(images[labels == c].flatten(1).float()) for c in labels.unique()]
    return float(torch.cat(distances).mean())


def retrieval(image_embeddings: torch.Tensor, centroids: torch.Tensor, cluster_ids: torch.Tensor) -> float:
    """Return the share of images whose nearest text centroid is their own cluster's, 0 .. 1.

    Args:
        image_embeddings: float (N, d), centroids: float (K, d), both L2-normalised; cluster_ids: int64 (N,).
    """
    return float(((image_embeddings @ centroids.T).argmax(1) == cluster_ids).float().mean())
