"""Turn a published checkpoint of PyTorch-StudioGAN into a generator of this project, without running code it holds.

    python -m sega_utils.studiogan model=G_ema-best-weights-step=....pth cifar-10.safetensors --run R --dataset cifar-10

02_generator then takes the new file as its CHECKPOINT.
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from sega_utils import artifacts, paths, runtime
from sega_utils.artifacts import ArtifactError
from sega_utils.biggan import BLOCKS, BigGan
from sega_utils.generator import save_generator


def load_studiogan(path: Path, device: torch.device | str = "cpu") -> BigGan:
    """Return the frozen generator, in eval mode, of a StudioGAN checkpoint of a BigGAN (``big_resnet``, ``cBN``).

    Its sizes are read off its weights, so that no configuration is needed. Take the averaged one, ``model=G_ema-...``.

    Raises:
        FileNotFoundError: there is no such file.
        ArtifactError: the file is damaged, holds more than weights and plain values, or weights of another layout.

    Source: Kang, Shin and Park 2023, PyTorch-StudioGAN, ``src/models/big_resnet.py``.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged archive and a pickle that asks for code each raise their own
        raise ArtifactError(f"{paths.shown(path)} is damaged, or holds more than weights and plain values; download it "
                            "again, from its authors") from error  # fmt: skip
    try:
        weights = without_spectral_norm(state["state_dict"])
        generator = BigGan(**settings_of(weights))
        generator.load_state_dict(weights)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RuntimeError) as error:
        raise ArtifactError(
            f"{paths.shown(path)} is no generator of a BigGAN by PyTorch-StudioGAN (big_resnet, cBN; 32 or 64 pixels): "
            f"{type(error).__name__}: {str(error)[:300]}; give the file model=G_ema-... of such a model"
        ) from error
    return generator.to(device).eval().requires_grad_(False)


def without_spectral_norm(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a state whose weights are divided by their spectral norm, once and for all, as evaluation has them.

    Source: Miyato et al. 2018, algorithm 1: the norm of W is u W v, with the u and v that training left.
    """
    normalised = ("weight_orig", "weight_u", "weight_v")
    plain = {name: tensor for name, tensor in state.items() if not name.endswith(normalised)}
    for name in (name.removesuffix("_orig") for name in state if name.endswith("weight_orig")):
        weight = state[f"{name}_orig"]
        plain[name] = weight / (state[f"{name}_u"] @ weight.flatten(1) @ state[f"{name}_v"])
    return plain


def settings_of(weights: Mapping[str, torch.Tensor]) -> dict:
    """Return the arguments of ``BigGan`` that weights were made with; a missing one is a KeyError."""
    n_classes, shared_dim = weights["shared.weight"].shape
    found = lambda part: (re.fullmatch(rf"blocks\.(\d+)\.0\.{part}", name) for name in weights)
    places = lambda part: [int(match[1]) for match in found(part) if match]
    blocks = len(places("conv2d0.weight"))
    width, inputs = weights["linear0.weight"].shape
    return {"n_classes": n_classes, "shared_dim": shared_dim, "attention": places("sigma"), "width": width // 16,
            "z_dim": inputs * (blocks + 1), "side": {n: side for side, (n, _) in BLOCKS.items()}[blocks]}  # fmt: skip


def adopt(path: Path, target: Path, *, run: str, dataset: str) -> str:
    """Convert a checkpoint to a generator for runs that use what ``run`` uses, and return its digest.

    Raises:
        ValueError: the run uses a part of the training images only, or its images are of another shape or of another
            number of classes.
        FileNotFoundError, ArtifactError: the checkpoint, or the run's real images, are missing or damaged.
    """
    generator = load_studiogan(path)
    tensors, real = artifacts.load_tensors(paths.require(run, dataset, "real"))
    if real["fraction"] != 1:
        raise ValueError(f"run {run!r} uses a share of {real['fraction']} of the training images, but a published "
                         "generator saw all of them; set FRACTION = 1 in 00_data, or train one")  # fmt: skip
    if generator.n_classes != len(real["class_names"]):
        raise ValueError(f"{path.name} draws {generator.n_classes} classes, {dataset} has {len(real['class_names'])}")
    if (shape := tuple(tensors["images"].shape[1:])) != (generator.channels, generator.side, generator.side):
        raise ValueError(f"{path.name} draws colour images of {generator.side} pixels a side; those of {dataset} are "
                         f"{shape}: channels, rows, columns")  # fmt: skip
    origin = {"source": path.name, "source_sha256": artifacts.sha256(path)}
    return save_generator(target, generator, origin | {"data": real["sha256"], "curve": []})


@runtime.command
def main(arguments: list[str] | None = None) -> None:
    """Convert a checkpoint."""
    parser = argparse.ArgumentParser("python -m sega_utils.studiogan", description=main.__doc__)
    parser.add_argument("checkpoint", type=Path, help="model=G_ema-best-weights-step=....pth")
    parser.add_argument("target", type=Path, help="the .safetensors file to write")
    parser.add_argument("--run", required=True, help="a run that has been through 00_data with FRACTION = 1")
    parser.add_argument("--dataset", required=True)
    args = parser.parse_args(arguments)
    print(f"wrote {args.target}, digest {adopt(args.checkpoint, args.target, run=args.run, dataset=args.dataset)}")


if __name__ == "__main__":
    sys.exit(main())
