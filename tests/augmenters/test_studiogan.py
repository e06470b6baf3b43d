import pytest
import torch
from torch.nn import functional as F

from sega_utils.__main__ import main
from sega_utils.augmenters import base, biggan, sega
from sega_utils.augmenters.base import generate
from sega_utils.augmenters.biggan import load_studiogan
from sega_utils.augmenters.pools import load_generator
from sega_utils.core import artifacts, paths
from sega_utils.core.artifacts import ArtifactError
from sega_utils.studies.altered import without_classes

N_CLASSES, SHARED, PART = 3, 6, 2
CHANNELS = {3: [16, 16, 16, 16], 4: [64, 32, 16, 8, 4]}  # by the number of blocks: of 32 pixels and of 64


def checkpoint_of(*, spectral: bool = True, attention: tuple[int, ...] = (2,), blocks: int = 3) -> dict:
    """Return what StudioGAN stores of a small BigGAN generator: names as in its checkpoints, random values."""
    widths = CHANNELS.get(blocks, [8] * (blocks + 1))
    rng, state = torch.Generator().manual_seed(0), {}
    random = lambda *shape: torch.randn(*shape, generator=rng)

    def layer(name: str, *shape: int, bias: bool) -> None:
        weight = 0.1 * random(*shape)
        if spectral:
            flat, u = weight.flatten(1), random(shape[0])
            for _ in range(2):  # so u and v are not quite the singular vectors, as in training
                v = F.normalize(flat.T @ u, dim=0)
                u = F.normalize(flat @ v, dim=0)
            state.update({f"{name}.weight_{part}": x for part, x in (("orig", weight), ("u", u), ("v", v))})
        else:
            state[f"{name}.weight"] = weight
        if bias:
            state[f"{name}.bias"] = 0.1 * random(shape[0])

    def statistics(name: str, n: int) -> None:
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = 0.1 * random(n), 0.5 + random(n) ** 2
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    layer("linear0", widths[0] * 16, PART, bias=True)
    state["shared.weight"] = random(N_CLASSES, SHARED)
    n, *others = widths
    for i in range(blocks + len(attention)):
        if i in attention:
            state[f"blocks.{i}.0.sigma"] = torch.tensor([0.7])
            for name, o, c in (("theta", n // 8, n), ("phi", n // 8, n), ("g", n // 2, n), ("attn", n, n // 2)):
                layer(f"blocks.{i}.0.conv1x1_{name}", o, c, 1, 1, bias=False)
            continue
        before, n = n, others.pop(0)
        for norm, size in (("bn1", before), ("bn2", n)):
            statistics(f"blocks.{i}.0.{norm}.bn", size)
            for name in ("gain", "bias"):
                layer(f"blocks.{i}.0.{norm}.{name}", size, SHARED + PART, bias=False)
        for name, inputs, kernel in (("conv2d0", before, 1), ("conv2d1", before, 3), ("conv2d2", n, 3)):
            layer(f"blocks.{i}.0.{name}", n, inputs, kernel, kernel, bias=True)
    statistics("bn4", n)
    state["bn4.weight"], state["bn4.bias"] = 1 + 0.1 * random(n), 0.1 * random(n)
    layer("conv2d5", 3, n, 3, 3, bias=True)
    return {"state_dict": state, "optimizer": {"state": {}, "param_groups": []}, "seed": 1, "run_name": "BigGAN"}


def reference(state: dict, z: torch.Tensor, label: int) -> torch.Tensor:
    """Draw one image (3, S, S) in [-1, 1] from a state, position by position where attention looks around."""

    def weight(name):
        if f"{name}.weight" in state:
            return state[f"{name}.weight"]
        w, u, v = (state[f"{name}.weight_{part}"] for part in ("orig", "u", "v"))
        return w / sum(u[i] * (w[i].flatten() * v).sum() for i in range(len(u)))

    def norm(x, name):
        mean, var = (state[f"{name}.running_{what}"].view(-1, 1, 1) for what in ("mean", "var"))
        return (x - mean) / (var + 1e-4).sqrt()

    def conditional(x, name, condition):
        gain, bias = (weight(f"{name}.{what}") @ condition for what in ("gain", "bias"))
        return (norm(x, f"{name}.bn") * (1 + gain.view(-1, 1, 1)) + bias.view(-1, 1, 1)).clamp(min=0)

    def conv(x, name):
        w = weight(name)
        return F.conv2d(x[None], w, state.get(f"{name}.bias"), padding=w.shape[2] // 2)[0]

    def attend(x, name):
        pool = lambda y: y.unfold(1, 2, 2).unfold(2, 2, 2).amax((3, 4)).flatten(1)
        theta, keys, values = conv(x, f"{name}_theta"), pool(conv(x, f"{name}_phi")), pool(conv(x, f"{name}_g"))
        found = torch.zeros(len(values), *x.shape[1:])
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                found[:, i, j] = values @ torch.softmax(theta[:, i, j] @ keys, 0)
        return conv(found, f"{name}_attn")

    double = lambda x: x.repeat_interleave(2, 1).repeat_interleave(2, 2)
    parts = list(z.split(PART))
    h = (weight("linear0") @ parts.pop(0) + state["linear0.bias"]).view(-1, 4, 4)
    for i in sorted({int(name.split(".")[1]) for name in state if name.startswith("blocks")}):
        name = f"blocks.{i}.0"
        if f"{name}.sigma" in state:
            h = h + state[f"{name}.sigma"] * attend(h, f"{name}.conv1x1")
            continue
        condition = torch.cat((state["shared.weight"][label], parts.pop(0)))
        inner = conv(double(conditional(h, f"{name}.bn1", condition)), f"{name}.conv2d1")
        inner = conv(conditional(inner, f"{name}.bn2", condition), f"{name}.conv2d2")
        h = inner + conv(double(h), f"{name}.conv2d0")
    h = norm(h, "bn4") * state["bn4.weight"].view(-1, 1, 1) + state["bn4.bias"].view(-1, 1, 1)
    return torch.tanh(conv(h.clamp(min=0), "conv2d5"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model=G_ema-best-weights-step=1000.pth"


@pytest.fixture
def real(results, tiny):
    """Write the real images of a run that uses all of them, and return a function that writes another share."""

    def write(fraction=1, class_names=tiny.class_names, channels=3, enlarge=1):
        images = (tiny.images * 255).byte().repeat(1, channels, enlarge, enlarge)
        tensors = {"images": images, "labels": tiny.labels}
        meta = {"fraction": fraction, "class_names": list(class_names)}
        return artifacts.save_tensors(paths.artifact("all", "fashion-mnist", "real"), tensors, meta)

    return write


# the images


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"spectral": False},
        {"attention": ()},
        {"attention": (1, 4)},
        {"blocks": 4, "attention": (3,)},
        {"blocks": 4, "attention": ()},
    ],
    ids=str,
)
def test_images_are_those_of_an_independent_forward_pass(path, options):
    content = checkpoint_of(**options)
    torch.save(content, path)
    parts, side = options.get("blocks", 3) + 1, 64 if "blocks" in options else 32
    z, labels = torch.randn(3, parts * PART, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2])
    images = generate(load_studiogan(path), labels, z=z)
    assert images.shape == (3, 3, side, side)
    expected = torch.stack([reference(content["state_dict"], *pair) for pair in zip(z, labels.tolist(), strict=True)])
    assert expected.std() > 0.1 and (expected.abs() < 0.9).float().mean() > 0.5  # neither grey nor saturated
    torch.testing.assert_close(images, (expected + 1) / 2, rtol=0, atol=1e-5)


def test_the_generator_is_frozen_and_can_be_steered(path, prompts):
    torch.save(checkpoint_of(), path)
    generator = load_studiogan(path)
    assert (generator.z_dim, generator.n_classes, generator.channels) == (4 * PART, N_CLASSES, 3)
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())
    network = sega.build_projector(prompts["embeddings"].shape[1], 4 * PART).requires_grad_(False)
    plan = base.plan(prompts["class_ids"], 6, seed=0)
    images = sega.draw(generator, network, embeddings=prompts["embeddings"], sigma=0.5, **plan)
    assert images.shape == (6, 3, 32, 32) and 0 <= images.min() < images.max() <= 1
    same = generate(without_classes(generator), torch.arange(3), z=torch.ones(3, 4 * PART))
    torch.testing.assert_close(same[0], same[2])


# files that are something else


def test_a_missing_checkpoint_is_missing(path):
    with pytest.raises(FileNotFoundError):
        load_studiogan(path)


def test_a_damaged_checkpoint_is_refused(path):
    torch.save(checkpoint_of(), path)
    whole = path.read_bytes()
    for raw in (b"", whole[:100], whole[: len(whole) // 2], b"<html>not found</html>"):
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match="weights-step=1000.pth is damaged, or holds more than weights"):
            load_studiogan(path)


def test_a_checkpoint_runs_no_code(path, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save(checkpoint_of() | {"run_name": Attack()}, path)
    with pytest.raises(ArtifactError, match="holds more than weights"):
        load_studiogan(path)
    assert not (tmp_path / "ran").exists()


def test_a_collapsed_training_is_refused(path):
    content = checkpoint_of()
    content["state_dict"]["conv2d5.bias"][1] = float("nan")
    torch.save(content, path)
    with pytest.raises(ArtifactError, match="conv2d5.bias holds numbers that are not finite"):
        load_studiogan(path)


def altered(**changes):
    """Return a checkpoint whose weights are changed by name; None takes one away."""
    content = checkpoint_of()
    state = {name: tensor for name, tensor in (content["state_dict"] | changes).items() if tensor is not None}
    return content | {"state_dict": state}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "KeyError: 'state_dict'"),
        ([1, 2], "TypeError"),
        ({"state_dict": 3}, "AttributeError"),
        ({"state_dict": {"shared.weight": 3}}, "AttributeError"),
        (altered(**{"shared.weight": None}), "KeyError: 'shared.weight'"),
        (altered(**{"linear0.weight_u": None}), "KeyError: 'linear0.weight_u'"),
        (altered(**{"bn4.bias": None}), r"Missing key.*bn4.bias"),
        (altered(**{"info_proj_linear.bias": torch.ones(2)}), r"Unexpected key.*info_proj_linear.bias"),
        (altered(**{"bn4.bias": torch.ones(2)}), r"size mismatch for bn4.bias"),
        (checkpoint_of(blocks=5), "KeyError: 5"),
        (altered(**{"blocks.9.0.sigma": torch.ones(1)}), "Missing key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weights_of_another_layout_are_refused(path, content, message):
    torch.save(content, path)
    with pytest.raises(ArtifactError, match=rf"(?s)is no generator of a BigGAN .*{message}.*give the file"):
        load_studiogan(path)


# as a generator of this project


def test_a_converted_checkpoint_draws_the_same_and_fits_the_run(path, tmp_path, real, capsys):
    torch.save(checkpoint_of(), path)
    digest, target = real(), tmp_path / "biggan.safetensors"
    assert main(["studiogan", str(path), str(target), "--run", "all", "--dataset", "fashion-mnist"]) == 0
    generator = load_generator(target)
    assert generator.meta["sha256"] in capsys.readouterr().out
    artifacts.check_origin(generator.meta, digest, "generator")
    assert (generator.meta["source"], generator.meta["source_sha256"]) == (path.name, artifacts.sha256(path))
    assert not generator.training and not any(p.requires_grad for p in generator.parameters())
    labels = torch.arange(3)
    assert torch.equal(generate(generator, labels), generate(load_studiogan(path), labels))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraction": 0.1}, r"uses a share of 0.1 of the training images, .* saw all of them; set FRACTION = 1"),
        ({"class_names": ("a", "b")}, "draws 3 classes, fashion-mnist has 2"),
        ({"channels": 1}, r"draws colour images of 32 pixels a side; those of fashion-mnist are \(1, 32, 32\)"),
        ({"enlarge": 2}, r"draws colour images of 32 pixels a side; those of fashion-mnist are \(3, 64, 64\)"),
    ],
)
def test_a_run_that_the_checkpoint_does_not_fit_is_told(path, tmp_path, real, capsys, options, message):
    torch.save(checkpoint_of(), path)
    real(**options)
    with pytest.raises(ValueError, match=message):
        biggan.adopt(path, tmp_path / "x.safetensors", run="all", dataset="fashion-mnist")
    assert main(["studiogan", str(path), str(tmp_path / "x.safetensors"), "--run", "none", "--dataset", "svhn"]) == 1
    assert "real.safetensors is missing" in capsys.readouterr().err
    assert not (tmp_path / "x.safetensors").exists()
