import pytest
import torch

from sega_utils import clip, embeddings
from sega_utils.artifacts import ArtifactError

TEXTS = ["a dark bag", "trousers", "an ankle boot"]


@pytest.fixture
def idle(clip_model):
    """Return a model of the same digest that cannot embed anything."""
    model = object.__new__(clip.Clip)
    model.sha256 = clip_model.sha256
    return model


def other(clip_model):
    model = object.__new__(clip.Clip)
    model.__dict__ |= clip_model.__dict__ | {"sha256": "1" * 64}
    return model


def test_images_are_embedded_once_for_a_model(clip_model, idle, tiny, tmp_path):
    first = embeddings.embed_images(clip_model, tiny.images, tmp_path)
    assert torch.equal(first, clip.embed(clip_model, tiny.images))
    assert torch.equal(embeddings.embed_images(idle, tiny.images, tmp_path), first)
    assert torch.equal(embeddings.embed_images(clip_model, tiny.images.flip(0), tmp_path), first.flip(0))
    embeddings.embed_images(other(clip_model), tiny.images, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_texts_are_embedded_once_for_a_model(clip_model, idle, tmp_path):
    first = embeddings.embed_texts(clip_model, TEXTS, tmp_path, batch=2)
    torch.testing.assert_close(first, clip_model.encode_text(TEXTS))
    assert torch.equal(embeddings.embed_texts(idle, TEXTS, tmp_path), first)
    torch.testing.assert_close(embeddings.embed_texts(clip_model, TEXTS[::-1], tmp_path), first.flip(0))
    embeddings.embed_texts(other(clip_model), TEXTS, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_file_is_refused(clip_model, tiny, tmp_path):
    embeddings.embed_images(clip_model, tiny.images, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="delete it and run the step"):
        embeddings.embed_images(clip_model, tiny.images, tmp_path)
