"""What the tests share: a results folder of their own, and a data set, a CLIP and a generator that are tiny."""

import hashlib
import logging

import pytest
import torch

from sega_utils.augmenters import pools
from sega_utils.augmenters.gan import ConditionalBatchNorm, Generator
from sega_utils.data import downloads
from sega_utils.data.images import Dataset
from sega_utils.text import clip

logging.getLogger("timm").setLevel(logging.ERROR)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """Keep what a test writes out of the project's results, and inputs of one test out of the next."""
    monkeypatch.setenv("SEGA_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("CI", "1")
    pools.load_inputs.cache_clear()
    return tmp_path / "results"


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """Return 12 noisy images of each of three classes: a bright block that is tall, wide or small."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(36) % 3
    images = torch.rand(36, 1, 32, 32, generator=rng) * 0.05
    for image, label in zip(images, labels.tolist(), strict=True):
        height, width = ((28, 8), (8, 28), (10, 10))[label]
        top, left = (16 - height // 2, 16 - width // 2)
        image[:, top : top + height, left : left + width] += 0.3 + 0.6 * float(torch.rand((), generator=rng))
    return Dataset(images, labels, ("trouser", "bag", "ankle boot"))


@pytest.fixture(scope="session")
def clip_model(tiny) -> clip.Clip:
    """Return an untrained CLIP of the embedded architecture that knows the tiny data set's words."""
    torch.manual_seed(0)
    vocabulary = clip.vocabulary_of(tiny.class_names)
    return clip.Clip(
        clip.build_clip(vocabulary), clip.Vocabulary(vocabulary), image_size=32, mean=[0.5], std=[0.5], sha256="0" * 64
    )


@pytest.fixture
def generator() -> Generator:
    """Return a small frozen generator whose classes differ and whose statistics are not the initial ones."""
    torch.manual_seed(0)
    model = Generator(n_classes=3, width=16, z_dim=8).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, ConditionalBatchNorm):
            module.norm.running_mean.normal_(0, 0.1)
            module.norm.running_var.uniform_(0.5, 1.5)
            module.scale.weight.normal_(1, 0.3)
            module.shift.weight.normal_(0.3, 0.3)
    return model


@pytest.fixture
def prompts(clip_model) -> dict[str, torch.Tensor]:
    """Return two clusters for each of three classes, two prompts in each, with their centroids."""
    unit = lambda x: torch.nn.functional.normalize(x, dim=-1)
    embeddings = unit(torch.randn(12, clip_model.dim, generator=torch.Generator().manual_seed(1)))
    return {
        "embeddings": embeddings,
        "cluster_ids": torch.arange(12) // 2,
        "class_ids": torch.arange(12) // 4,
        "centroids": unit(embeddings.view(6, 2, -1).mean(1)),
    }


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Return a function that puts a file among the downloads, listed with its digest."""
    monkeypatch.setenv("SEGA_DATA", str(tmp_path / "downloads"))

    def put(folder: str, name: str, raw: bytes) -> None:
        path = tmp_path / "downloads" / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        file = downloads.File(f"https://example.org/{name}", hashlib.md5(raw).hexdigest(), len(raw))
        monkeypatch.setitem(downloads.FILES, folder, [f for f in downloads.FILES[folder] if f.name != name] + [file])

    return put
