import json
import socket

import open_clip
import pytest
import torch
from open_clip import factory
from PIL import Image
from safetensors.torch import load_file, save_file

from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue, published
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.text import attributes, clip

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 32, "head_width": 16, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Return the path of a small open_clip model's random weights; its configuration is known while the tests run."""
    folder = tmp_path_factory.mktemp("open_clip")
    (folder / "tiny-224.json").write_text(json.dumps(TINY))
    known = list(factory._MODEL_CONFIG_PATHS)
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("tiny-224", pretrained=None)
    save_file(model.state_dict(), folder / "weights.safetensors")
    yield folder / "weights.safetensors"
    factory._MODEL_CONFIG_PATHS[:] = known
    factory._MODEL_CONFIGS.pop("tiny-224")


@pytest.fixture
def checkpoint(tmp_path, clip_model, tiny):
    """Return the path of an embedded-architecture checkpoint."""
    path = tmp_path / "clip.safetensors"
    clip.save_clip(path, clip_model.model, clip.vocabulary_of(tiny.class_names), {"data": "ab"})
    return path


# embeddings


def test_embeddings_are_unit_vectors_and_gradients_reach_the_images(clip_model, tiny):
    images = tiny.images[:4].clone().requires_grad_()
    embeddings = clip_model.encode_images(images)
    assert embeddings.shape == (4, clip_model.dim) and embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(4))
    embeddings[:, 0].sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    text = clip_model.encode_text(["a dark bag", "trousers"])
    assert text.shape == (2, clip_model.dim) and not text.requires_grad
    torch.testing.assert_close(text.norm(dim=1), torch.ones(2))


def test_the_model_is_frozen(clip_model):
    assert not clip_model.model.training
    assert not any(parameter.requires_grad for parameter in clip_model.model.parameters())


def test_embedding_in_batches_equals_embedding_at_once(clip_model, tiny):
    torch.testing.assert_close(clip.embed(clip_model, tiny.images, batch=7), clip_model.encode_images(tiny.images))
    assert clip.embed(clip_model, tiny.images[:0]).shape == (0, clip_model.dim)


# parity with open_clip's own preprocessing


def pictures(kind: str) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    if kind == "fashion":
        return catalogue.load("fashion-mnist", "test").images[:20]
    noise = torch.rand(20, 3, 32, 32, generator=rng)
    return from_uint8(to_uint8(noise if kind == "noise" else noise.round()))


def to_pil(image: torch.Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(image).permute(1, 2, 0).squeeze(2).numpy())


@pytest.mark.parametrize("kind", ["fashion", "noise", "two-valued"])
def test_images_are_resized_as_open_clip_does_it_with_pil(foreign, monkeypatch, kind):
    images = pictures(kind)
    model, _, preprocess = open_clip.create_model_and_transforms("tiny-224", pretrained=str(foreign))
    theirs = torch.stack([preprocess(to_pil(image)) for image in images])
    ours = clip.load_clip(f"tiny-224:{foreign}")
    with torch.no_grad():
        expected = model.eval().encode_image(theirs, normalize=True)
    assert (ours.encode_images(images) * expected).sum(1).min() > 0.99999
    monkeypatch.setattr(ours.model, "encode_image", lambda pixels, normalize: pixels)
    difference = (ours.encode_images(images) - theirs) * torch.tensor(model.visual.image_std).view(3, 1, 1)
    # PIL rounds to 8 bits after each of its two passes. The first error of at most 1/2 level enters the second pass,
    # whose bicubic weights sum to at most 5/4 in magnitude, and the second adds 1/2: 9/8 of a level of 1/255.
    assert difference.abs().max() <= 9 / 8 / 255 + 1e-6


def test_grey_images_become_three_equal_channels(foreign):
    model = clip.load_clip(f"tiny-224:{foreign}")
    grey = pictures("fashion")[:3]
    torch.testing.assert_close(model.encode_images(grey), model.encode_images(grey.expand(-1, 3, -1, -1)))


def test_images_of_the_models_own_size_are_not_resized(clip_model, tiny, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "interpolate", None)
    assert clip_model.encode_images(tiny.images[:2]).shape == (2, clip_model.dim)


# which model


def test_an_open_clip_model_is_loaded_from_a_local_file(foreign, no_network):
    ours = clip.load_clip(f"tiny-224:{foreign}")
    reference = open_clip.create_model("tiny-224", pretrained=str(foreign)).eval()
    texts = ["a photo of a dress", "an ankle boot"]
    with torch.no_grad():
        expected = reference.encode_text(open_clip.get_tokenizer("tiny-224")(texts), normalize=True)
    torch.testing.assert_close(ours.encode_text(texts), expected)
    assert (ours.dim, ours.image_size) == (16, 224)
    assert ours.temperature == pytest.approx(1 / reference.logit_scale.exp().item())
    assert ours.sha256 == artifacts.digest(reference.state_dict())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "ViT-Z-99:openai",
            "unknown CLIP 'ViT-Z-99:openai'; give a .safetensors file of this project, outside or MODEL:PRETRAINED",
        ),
        ("ViT-B-32", "unknown CLIP 'ViT-B-32'"),
        ("ViT-B-32:", "unknown CLIP"),
        ("", "unknown CLIP"),
        ("clip.bin", "unknown CLIP"),
        ("ViT-B-32:laion9b", "'laion9b' is neither a file nor a tag of ViT-B-32; its tags are .*laion2b_s34b_b79k"),
        ("ViT-B-32:/nowhere/weights.safetensors", "neither a file nor a tag of ViT-B-32"),
    ],
)
def test_an_unknown_model_or_tag_is_refused_without_a_network(no_network, name, message):
    with pytest.raises(ValueError, match=message):
        clip.load_clip(name)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-32-quickgelu"])
def test_two_models_of_the_same_weights_are_not_confused_silently(tmp_path, monkeypatch, name):
    def fail(*args, **kwargs):
        raise RuntimeError("not loaded here")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", fail)
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    twin = clip.twin_of(name)
    assert {name, twin} == {"ViT-B-32", "ViT-B-32-quickgelu"} and clip.twin_of("RN50x4-none") == ""
    with pytest.warns(UserWarning, match=f"as {name} or as {twin}"), pytest.raises(ArtifactError):
        clip.load_clip(f"{name}:{tmp_path / 'w.safetensors'}")


def test_foreign_weights_that_are_damaged_or_of_another_model_are_refused(foreign, tmp_path):
    whole, path = foreign.read_bytes(), tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(2)}, tmp_path / "other.safetensors")
    for raw in (b"", whole[:1000], whole[:-1], (tmp_path / "other.safetensors").read_bytes()):
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match="weights.safetensors cannot be loaded into tiny-224"):
            clip.load_clip(f"tiny-224:{path}")


def test_foreign_weights_run_no_code(foreign, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"a": Attack()}, tmp_path / "weights.pt")
    with pytest.raises(ArtifactError):
        clip.load_clip(f"tiny-224:{tmp_path / 'weights.pt'}")
    assert not (tmp_path / "ran").exists()


def test_the_same_weights_with_another_activation_are_another_model(foreign):
    config = json.dumps(TINY | {"quick_gelu": True})
    (foreign.parent / "tiny-224-quickgelu.json").write_text(config)
    open_clip.add_model_config(foreign.parent / "tiny-224-quickgelu.json")
    plain, quick = (clip.load_clip(f"{name}:{foreign}") for name in ("tiny-224", "tiny-224-quickgelu"))
    assert plain.sha256 != quick.sha256
    image = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(plain.encode_images(image), quick.encode_images(image))
    factory._MODEL_CONFIGS.pop("tiny-224-quickgelu")


def test_foreign_weights_that_are_not_finite_are_refused(foreign, tmp_path):
    state = load_file(foreign)
    state["visual.proj"][0, 0] = float("nan")
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(ArtifactError, match="weights.safetensors cannot be used: visual.proj holds numbers"):
        clip.load_clip(f"tiny-224:{tmp_path / 'weights.safetensors'}")


def test_a_missing_checkpoint_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        clip.load_clip(tmp_path / "clip.safetensors")


def test_a_checkpoint_comes_back_in_half_precision(checkpoint, clip_model, tiny):
    loaded = clip.load_clip(checkpoint)
    for name, tensor in clip_model.model.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(loaded.model.state_dict()[name], expected)
    assert loaded.meta["data"] == "ab" and loaded.sha256 == loaded.meta["sha256"]
    assert (loaded.encode_images(tiny.images) * clip_model.encode_images(tiny.images)).sum(1).min() > 0.999
    assert clip.load_clip(str(checkpoint)).sha256 == loaded.sha256


def test_a_cut_or_altered_checkpoint_is_refused(checkpoint):
    whole = checkpoint.read_bytes()
    for raw in (b"", whole[:100], whole[: len(whole) // 2], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        checkpoint.write_bytes(raw)
        with pytest.raises(ArtifactError, match="clip.safetensors"):
            clip.load_clip(checkpoint)


def test_a_checkpoint_of_another_kind_is_refused(checkpoint, clip_model):
    weights = clip_model.model.state_dict()
    for tensors, meta in ((weights, {}), ({"a": torch.ones(1)}, {"vocabulary": [1, 2]})):
        artifacts.save_tensors(checkpoint, tensors, meta)
        with pytest.raises(ArtifactError, match="holds no CLIP of this package"):
            clip.load_clip(checkpoint)


def point(results, checkpoint, **changes) -> None:
    """Write the run's ``clip.json``, as the stage that chooses the model does."""
    stored = results / "mine/fashion-mnist/model.safetensors"
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(checkpoint.read_bytes())
    value = {"name": paths.shown(stored), "sha256": clip.load_clip(stored).sha256} | changes
    artifacts.save_json(paths.artifact("mine", "fashion-mnist", "clip"), value)


def test_a_run_keeps_the_model_that_it_began_with(results, checkpoint, foreign):
    with pytest.raises(FileNotFoundError, match="clip.json is missing; make it with: .*01_clip.ipynb"):
        clip.load_run_clip("mine", "fashion-mnist")
    point(results, checkpoint)
    assert clip.load_run_clip("mine", "fashion-mnist").sha256 == clip.load_clip(checkpoint).sha256
    point(results, checkpoint, sha256="0" * 64)
    with pytest.raises(ArtifactError, match="results/mine/.*has changed since this run began .*run 01_clip"):
        clip.load_run_clip("mine", "fashion-mnist")
    name = f"tiny-224:{foreign}"
    point(results, checkpoint, name=name, sha256=clip.load_clip(name).sha256)
    assert clip.load_run_clip("mine", "fashion-mnist").image_size == 224


# the vocabulary


@pytest.fixture(scope="module")
def vocabulary() -> list[int]:
    return clip.vocabulary_of(published.FASHION_MNIST_CLASSES)


def test_words_that_were_never_learned_add_nothing(vocabulary, clip_model):
    tokenize = clip.Vocabulary(vocabulary)
    assert torch.equal(tokenize(["a long dress"]), tokenize(["long dress"]))
    assert torch.equal(tokenize(["A LONG, flowing dress!"]), tokenize(["long dress"]))
    assert not torch.equal(tokenize(["long dress"]), tokenize(["short dress"]))
    assert not torch.equal(tokenize(["long dress"]), tokenize(["dress"]))
    assert torch.equal(clip_model.encode_text(["a photo of a dark bag"]), clip_model.encode_text(["dark bag"]))


def test_a_text_without_a_known_word_is_the_empty_text(vocabulary):
    tokens = clip.Vocabulary(vocabulary)(["zzz", ""])
    assert torch.equal(tokens[0], tokens[1]) and (tokens[0] > 0).sum() == 2


@pytest.mark.parametrize(
    "word",
    [
        *published.FASHION_MNIST_CLASSES,
        *(word for words in attributes.WORDS.values() for word in words),
        "ankle boots",
        "dresses",
    ],
)
def test_class_names_plurals_and_attribute_words_are_known(vocabulary, word):
    assert set(open_clip.SimpleTokenizer().encode(word)) <= set(vocabulary)


def test_the_vocabulary_is_sorted_and_holds_both_marks(vocabulary):
    tokenizer, known = open_clip.SimpleTokenizer(), set(vocabulary)
    assert {tokenizer.sot_token_id, tokenizer.eot_token_id} < known and vocabulary == sorted(set(vocabulary))


def test_the_end_mark_is_the_largest_index_and_padding_is_zero(vocabulary):
    tokens = clip.Vocabulary(vocabulary)(["a long dress", "bag", ""])
    assert tokens.shape == (3, clip.CONTEXT) and tokens.dtype == torch.int64
    end = len(vocabulary)
    for row in tokens:
        assert int(row.max()) == end == int(row[(row > 0).sum() - 1])  # open_clip pools where the index is largest
        assert (row == end).sum() == 1 and not row[(row > 0).sum() :].any()


def test_a_text_too_long_is_cut_and_still_ends(vocabulary):
    tokenize = clip.Vocabulary(vocabulary)
    row = tokenize(["dress " * 100])[0]
    assert (row > 0).all() and int(row[-1]) == len(vocabulary)
    assert torch.equal(row, tokenize(["dress " * (clip.CONTEXT - 2)])[0])
