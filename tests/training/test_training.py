from functools import partial

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from sega_utils.core import artifacts, learning, runtime
from sega_utils.core.learning import shuffled
from sega_utils.data import augment
from sega_utils.training import classifiers
from sega_utils.training.classifiers import train_classifier

FAST = {"classifier": "resnet8-half", "steps": 3, "batch_size": 8}


def train(data, **options) -> nn.Module:
    return train_classifier(data, **FAST | options)


def digest(model: nn.Module) -> str:
    return artifacts.digest(model.state_dict())


@pytest.fixture
def synthetic(tiny):
    """Return ten brighter images, and soft targets that are sure of nothing."""
    rng = runtime.generator(9)
    return tiny.images[:10] * 0.5 + 0.5, torch.rand(10, 3, generator=rng).softmax(1)


@pytest.fixture
def batches(monkeypatch) -> list[torch.Tensor]:
    """Return the batches that a training shows to its classifier, each filled as the training goes on."""
    seen = []

    class Recorder(nn.Module):
        def __init__(self, n_classes):
            super().__init__()
            self.head = nn.Linear(1, n_classes)

        def forward(self, images):
            seen.append(images)
            return self.head(images.mean((1, 2, 3))[:, None])

    monkeypatch.setattr(classifiers, "build", lambda name, *, n_classes, **_: Recorder(n_classes))
    return seen


@pytest.fixture
def targets(monkeypatch) -> list[torch.Tensor]:
    """Return the targets of every step."""
    seen, loss = [], classifiers.F.cross_entropy
    monkeypatch.setattr(
        classifiers.F, "cross_entropy", lambda logits, target: seen.append(target) or loss(logits, target)
    )
    return seen


# determinism


@pytest.mark.parametrize(
    "options",
    [{}, {"policy": "trivial"}, {"mixing": "mixup"}, {"mixing": "cutmix"}, {"mixing": "saliencymix"}],
    ids=str,
)
def test_training_depends_on_its_seed_alone(tiny, synthetic, options):
    torch.manual_seed(1)
    first = digest(train(tiny, synthetic=synthetic, **options))
    torch.manual_seed(2)
    assert first == digest(train(tiny, synthetic=synthetic, **options))
    assert first != digest(train(tiny, synthetic=synthetic, seed=1, **options))


def test_the_model_is_returned_in_eval_mode_and_the_data_as_they_were(tiny, synthetic):
    before = artifacts.digest({"a": tiny.images, "b": tiny.labels, "c": synthetic[0], "d": synthetic[1]})
    assert not train(tiny, synthetic=synthetic, mixing="cutmix").training
    assert before == artifacts.digest({"a": tiny.images, "b": tiny.labels, "c": synthetic[0], "d": synthetic[1]})


def test_three_plain_shapes_are_learned(tiny):
    assert classifiers.accuracy(train(tiny, steps=60, batch_size=16), tiny.images, tiny.labels) == 1.0


# what a batch is made of


@pytest.mark.parametrize(("ratio", "real", "made"), [(0.3, 45, 19), (0.5, 32, 32), (0.1, 58, 6)])
def test_the_ratio_is_the_synthetic_share_of_every_batch(tiny, batches, targets, ratio, real, made):
    flat = lambda n, level: torch.full((n, 1, 32, 32), level)
    data = tiny._replace(images=flat(36, 0.25))
    soft = torch.tensor([0.2, 0.3, 0.5]).repeat(30, 1)
    train(data, synthetic=(flat(30, 0.75), soft), ratio=ratio, batch_size=64, pixel=False)
    assert len(batches) == 3
    for images, target in zip(batches, targets, strict=True):
        level = images.mean((1, 2, 3))
        assert ((level == 0.25).sum(), (level == 0.75).sum(), len(level)) == (real, made, real + made)
        assert torch.equal(target[level == 0.75], soft[:1].expand(made, -1))
        assert set(target[level == 0.25].unique().tolist()) == {0.0, 1.0}


def test_without_synthetic_images_the_batch_is_real(tiny, batches, targets):
    train(tiny, pixel=False)
    pixels = {
        tuple(image.flatten().tolist()): label for image, label in zip(tiny.images, tiny.labels.tolist(), strict=True)
    }
    for images, target in zip(batches, targets, strict=True):
        assert len(images) == 8
        assert [pixels[tuple(image.flatten().tolist())] for image in images] == target.argmax(1).tolist()


def test_soft_targets_of_real_images_replace_their_labels(tiny, batches, targets):
    soft = torch.tensor([0.1, 0.2, 0.7]).repeat(36, 1)
    train(tiny, real_targets=soft)
    assert all(torch.equal(target, soft[:8]) for target in targets)


@pytest.mark.parametrize("pixel", [True, False])
def test_pixel_augmentation_is_for_real_and_synthetic_images_alike(tiny, synthetic, batches, monkeypatch, pixel):
    calls, shift = [], augment.shift
    monkeypatch.setattr(
        augment, "shift", lambda images, rng, **options: calls.append(len(images)) or shift(images, rng, **options)
    )
    train(tiny, synthetic=synthetic, pixel=pixel)
    assert calls == ([8] * 3 if pixel else [])


@pytest.mark.parametrize("mirrors", [False, True])
def test_images_are_mirrored_only_where_that_leaves_their_class(tiny, batches, mirrors):
    left = torch.zeros(36, 1, 32, 32)
    left[..., 4:12] = 1  # a crop moves it by two pixels, a mirror to the other side
    train(tiny._replace(images=left, mirrors=mirrors))
    assert any(bool(images[..., 16:].any()) for images in batches) == mirrors


@pytest.mark.parametrize("mixing", augment.MIXING)
def test_mixing_works_with_soft_targets_and_synthetic_images(tiny, synthetic, batches, targets, mixing):
    train(tiny, synthetic=synthetic, mixing=mixing)
    assert len(batches) == len(targets) == 3
    for images, target in zip(batches, targets, strict=True):
        assert images.shape == (8, 1, 32, 32) and target.shape == (8, 3)
        torch.testing.assert_close(target.sum(1), torch.ones(8))


def test_mixing_partners_are_real_and_synthetic(tiny, batches, monkeypatch):
    flat = lambda n, level: torch.full((n, 1, 32, 32), level)
    pairs = set()

    def record(images, targets):
        level = images.mean((1, 2, 3)).tolist()
        pairs.update(zip(level, [level[-1], *level[:-1]], strict=True))
        return images, targets

    monkeypatch.setitem(augment.MIXING, "mixup", record)
    synthetic = (flat(30, 0.75), torch.full((30, 3), 1 / 3))
    train(tiny._replace(images=flat(36, 0.25)), synthetic=synthetic, mixing="mixup", pixel=False, batch_size=32)
    assert {(0.25, 0.75), (0.75, 0.25), (0.25, 0.25)} <= pairs


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rate = [learning.one_cycle(step / 1000) for step in range(1001)]
    assert (rate[0], max(rate), rate[100]) == (0, 1, 1) and rate[1000] == pytest.approx(0, abs=1e-12)
    assert rate[:101] == sorted(rate[:101]) and rate[100:] == sorted(rate[100:], reverse=True)


# speed


def test_in_bfloat16_the_network_computes_and_loss_and_weights_stay_float32(tiny, batches, monkeypatch):
    kinds, loss = [], classifiers.F.cross_entropy
    forward = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: kinds.append((y := forward(self, x)).dtype) or y)
    monkeypatch.setattr(classifiers.F, "cross_entropy", lambda x, y: kinds.append(x.dtype) or loss(x, y))
    model = train(tiny, precision="bfloat16")
    assert kinds == [torch.bfloat16, torch.float32] * 3
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert model(tiny.images).dtype == torch.float32


def test_bfloat16_learns_as_well_and_is_not_float32(tiny):
    model = train(tiny, steps=60, batch_size=16, precision="bfloat16")
    assert classifiers.accuracy(model, tiny.images, tiny.labels) == 1.0
    assert digest(train(tiny)) == digest(train(tiny, precision="float32")) != digest(train(tiny, precision="bfloat16"))


def test_a_classifier_is_compiled_as_a_whole_and_once_for_all_trainings(tiny, monkeypatch):
    graphs = []
    backend = lambda graph, inputs: graphs.append(graph) or graph.forward
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    compiled = [digest(train(tiny, compile=True, seed=seed)) for seed in (0, 1)]
    assert len(graphs) == 1
    assert compiled == [digest(train(tiny, seed=seed)) for seed in (0, 1)] and len(graphs) == 1


class Waits(TorchDispatchMode):
    """Counts how often the host reads a value that comes from some tensors: on a GPU, it waits for it each time."""

    READING = {torch.ops.aten.nonzero, torch.ops.aten._local_scalar_dense, torch.ops.aten.equal}

    def __init__(self, *tensors: torch.Tensor):
        super().__init__()
        self.followed, self.count = WeakTensorKeyDictionary(), 0
        self.followed.update(dict.fromkeys(tensors))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = lambda tree: [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
        result = function(*args, **kwargs or {})
        if any(tensor in self.followed for tensor in tensors((args, kwargs))):
            masked = any(index.dtype == torch.bool for index in tensors(args[1:]))
            self.count += function.overloadpacket in self.READING
            self.count += function.overloadpacket == torch.ops.aten.index and masked
            self.followed.update(dict.fromkeys(tensors(result)))
        return result


@pytest.mark.parametrize("mixing", augment.MIXING)
def test_the_host_waits_for_nothing_but_the_check_of_the_loss(tiny, synthetic, mixing):
    with Waits(tiny.images, *synthetic) as waits:
        train(tiny, synthetic=synthetic, mixing=mixing)
    assert waits.count == 1


@pytest.mark.parametrize(
    "policy",
    [
        lambda images: images * (1 if images.mean() > -1 else 0),
        lambda images: images[images.flatten(1).amin(1) > -1],
        lambda images: images + images.sum().item(),
    ],
)
def test_a_wait_in_each_step_is_noticed(tiny, monkeypatch, policy):
    monkeypatch.setitem(augment.POLICIES, "none", policy)
    with Waits(tiny.images) as waits:
        train(tiny)
    assert waits.count == 1 + 3


# the order of images


@pytest.mark.parametrize(("n", "size"), [(10, 3), (10, 10), (3, 7), (1, 4), (5, 1)])
def test_every_image_is_seen_before_any_is_seen_again(n, size):
    stream = shuffled(n, size, runtime.generator(0))
    drawn = [next(stream) for _ in range(3 * n)]
    assert all(len(part) == size for part in drawn)
    for epoch in torch.cat(drawn)[: 3 * n * size // n * n].view(-1, n):
        assert sorted(epoch.tolist()) == list(range(n))


def test_epochs_have_their_own_orders():
    stream = shuffled(20, 20, runtime.generator(0))
    assert not torch.equal(next(stream), next(stream))


def test_there_is_no_order_of_no_images(tiny):
    with pytest.raises(ValueError, match="no images to draw batches from"):
        train(tiny, synthetic=(torch.empty(0, 1, 32, 32), torch.empty(0, 3)))


# mistakes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mixing": "augmix"}, "mixing is 'augmix'; allowed are none, mixup, cutmix, saliencymix"),
        ({"classifier": "vgg"}, "unknown classifier 'vgg'; known are resnet8-half"),
        ({"pixel": "flip"}, "pixel is 'flip'; allowed are true and false"),
        ({"precision": "float16"}, "precision is 'float16'; allowed are 'float32' and 'bfloat16'"),
        ({"policy": "rand"}, "policy is 'rand'; allowed are none, trivial"),
        *(({"ratio": ratio}, f"ratio is {ratio}; allowed is 0 .. 1, both excluded") for ratio in (0.0, 1.0, -0.3, 1.5)),
    ],
)
def test_an_unknown_option_lists_what_is_allowed(tiny, wrong, message):
    with pytest.raises(ValueError, match=message):
        train(tiny, **wrong)


def test_a_ratio_that_leaves_no_synthetic_image_in_a_batch_is_refused(tiny, synthetic):
    with pytest.raises(ValueError, match="ratio"):
        train(tiny, synthetic=synthetic, ratio=0.01)


@pytest.mark.parametrize("steps", [1, 3, 100])
def test_a_loss_that_is_not_finite_stops_training(tiny, batches, steps):
    broken = tiny._replace(images=tiny.images * float("nan"))
    with pytest.raises(FloatingPointError, match=f"the loss is nan at step {steps}; lower the learning rate"):
        train(broken, steps=steps)
