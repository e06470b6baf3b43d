"""Embeddings that are computed once: each set is a file named after the model and what it embedded.

At paper scale every run, fraction and variant measures against the same tens of thousands of images.
"""

from collections.abc import Callable
from pathlib import Path

import torch

from sega_utils import artifacts
from sega_utils.clip import Clip, embed


def embed_images(clip: Clip, images: torch.Tensor, folder: Path, *, batch: int = 500) -> torch.Tensor:
    """Return what ``clip.embed`` does, on the CPU, from ``folder`` if the same model has embedded these images before.

    Args:
        images: float32 (N, C, H, W) in [0, 1].

    Returns:
        float32 (N, dim), L2-normalised; those of a file differ from another device's by rounding alone.

    Raises:
        ArtifactError: the file is damaged.
    """
    key = [clip.sha256, artifacts.digest({"images": images})]
    return _remember(folder, key, lambda: embed(clip, images, batch))


def embed_texts(clip: Clip, texts: list[str], folder: Path, *, batch: int = 500) -> torch.Tensor:
    """Return ``clip.encode_text`` of at least one text, in batches; the rest as for ``embed_images``."""
    parts = [texts[i : i + batch] for i in range(0, len(texts), batch)]
    return _remember(folder, [clip.sha256, texts], lambda: torch.cat([clip.encode_text(part) for part in parts]))


def _remember(folder: Path, key: list, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
    path = folder / f"{artifacts.digest_json(key)[:32]}.safetensors"
    if not path.exists():
        artifacts.save_tensors(path, {"embeddings": compute()})
    return artifacts.load_tensors(path)[0]["embeddings"]
