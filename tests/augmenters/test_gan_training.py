import copy
import functools
import itertools

import pytest
import torch

from sega_utils.augmenters import gan, losses
from sega_utils.augmenters.base import generate
from sega_utils.augmenters.gan import diff_augment, train_gan
from sega_utils.core import artifacts, learning, runtime
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data.images import Dataset

SMALL = {"seed": 0, "width": 16, "z_dim": 8, "batch_size": 8}


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "gan.safetensors"


def train(data, **options):
    return train_gan(data, **SMALL | {"steps": 6} | options)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return artifacts.digest(a.state_dict()) == artifacts.digest(b.state_dict())


class Killed(BaseException):
    pass


def kill_at(monkeypatch, step: int) -> None:
    """Make every training stop as if the process were killed before it takes this step."""

    def interrupted(items, label):
        for item in items:
            if item == step:
                raise Killed
            yield item

    monkeypatch.setattr(runtime, "progress", interrupted)


# the augmentation


def test_diff_augment_keeps_the_shape_varies_every_image_and_lets_gradients_through():
    images = torch.full((16, 1, 32, 32), 0.5, requires_grad=True)
    augmented = diff_augment(images, runtime.generator(0))
    assert augmented.shape == images.shape
    assert len({tuple(image.flatten().tolist()) for image in augmented.detach()}) == 16
    augmented.sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert torch.equal(augmented, diff_augment(images, runtime.generator(0)))


# precision


def test_bfloat16_is_computed_in_the_networks_alone(tiny):
    torch.manual_seed(0)
    model, seen = gan.Generator(n_classes=3, width=16, z_dim=8), []
    model.out.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    z = torch.randn(4, 8)
    exact, rounded = (gan.forward(model, z, tiny.labels[:4], bf16=bf16) for bf16 in (False, True))
    assert seen == [torch.float32, torch.bfloat16] and rounded.dtype == torch.float32
    assert torch.equal(exact, model(z, tiny.labels[:4])) and not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0, atol=2**-5)  # a few roundings to 8 bits of values of about 1


def test_weights_trained_in_bfloat16_are_float32_and_others(tiny):
    trained = train(tiny, bf16=True)[0]
    assert {weight.dtype for weight in trained.parameters()} == {torch.float32}
    assert not same(trained, train(tiny)[0])


# training


def as_it_was(data: Dataset, *, steps: int, seed: int, width: int, z_dim: int, batch_size: int, mode_seeking: float):
    """Train by the hinge loss as the project did before there were other losses; return the averaged generator."""
    torch.manual_seed(seed)
    generator = gan.Generator(z_dim=z_dim, **data.shape(), width=width)
    critic = gan.Discriminator(**data.shape(), width=width)
    average = copy.deepcopy(generator).requires_grad_(False)
    adam = functools.partial(torch.optim.Adam, betas=(0.0, 0.99))
    slow, fast = adam(generator.parameters(), 2e-4), adam(critic.parameters(), 4e-4)
    latents = lambda n: torch.randn(n, z_dim, generator=rng)
    apart = lambda a, b: (a - b).abs().flatten(1).mean(1)
    for step in range(steps):
        rng = learning.chance(seed, step, "cpu")
        pick = torch.randint(len(data.labels), (batch_size,), generator=rng)
        labels, real = data.labels[pick], diff_augment(data.images[pick], rng)
        fakes = generator(latents(len(labels)), labels)
        both = torch.cat((real, diff_augment(fakes.detach(), rng)))
        real, fake = critic(both, labels.repeat(2)).chunk(2)
        learning.update(torch.relu(1 - real).mean() + torch.relu(1 + fake).mean(), fast)
        critic.requires_grad_(False)
        labels = labels[: len(labels) // 2].repeat(2)
        z = latents(len(labels))
        fakes = generator(z, labels)
        loss = -critic(diff_augment(fakes, rng), labels).mean()
        ratio = apart(*fakes.chunk(2)) / apart(*z.chunk(2))
        learning.update(loss + mode_seeking / (ratio.mean() + 1e-5), slow)
        critic.requires_grad_(True)
        learning.follow(average, generator, step, 0.999)
    return average


@pytest.mark.parametrize("mode_seeking", [0.0, 0.5])
def test_the_hinge_loss_trains_the_weights_that_it_did_bit_for_bit(tiny, mode_seeking):
    settings = SMALL | {"steps": 4, "mode_seeking": mode_seeking}
    assert same(as_it_was(tiny, **settings), train_gan(tiny, **settings, loss="hinge")[0])


@pytest.mark.parametrize("own", gan.MEMBERS.values(), ids=gan.MEMBERS)
def test_each_member_of_the_zoo_resumes_bit_for_bit(tiny, checkpoint, tmp_path, own):
    settings = own | {"width": 16, "steps": 4, "every": 2, "critic_steps": 2}
    whole, curve = train(tiny, **settings, checkpoint=tmp_path / "whole.safetensors")
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
        kill_at(monkeypatch, 3)
        train(tiny, **settings, checkpoint=checkpoint)
    resumed, resumed_curve = train(tiny, **settings, checkpoint=checkpoint)
    assert same(whole, resumed) and curve == resumed_curve
    assert (artifacts.load_tensors(checkpoint)[1]) == artifacts.load_tensors(tmp_path / "whole.safetensors")[1]


def test_members_have_the_same_networks_and_differ_by_the_loss(tiny):
    zoo = {name: own for name, own in gan.MEMBERS.items() if name != "gm-gan"}
    assert {own["width"] for own in zoo.values()} == {96}
    pairs = [
        gan.networks_of(tiny.shape(), 8, width=16, depth=1, spectral=losses.LOSSES[own.get("loss", "hinge")].spectral)
        for own in zoo.values()
    ]
    sizes = [[sum(p.numel() for p in network.parameters()) for network in pair] for pair in pairs]
    assert sizes == [sizes[0]] * 4, "spectral norm adds buffers, no weights"
    assert len({artifacts.digest(train(tiny, steps=2, loss=name)[0].state_dict()) for name in zoo}) == 4


def test_each_critic_step_sees_images_of_its_own(tiny, monkeypatch):
    batches, update = [], gan.Duel.update_critic

    def watched(duel, images, labels, **options):
        batches.append(images)
        return update(duel, images, labels, **options)

    monkeypatch.setattr(gan.Duel, "update_critic", watched)
    _, curve = train(tiny, steps=2, loss="wgan-gp", critic_steps=3)
    assert len(batches) == 6 and not any(torch.equal(a, b) for a, b in itertools.combinations(batches, 2))
    assert curve[-1].keys() == {"step", "critic", "generator", "slope"}


def test_without_augmentation_the_critic_sees_the_images_themselves(tiny, monkeypatch):
    monkeypatch.setattr(gan, "diff_augment", None)
    train(tiny, steps=1, augmented=False)


def test_a_training_ends_by_seconds_of_the_cpu(tiny, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr("time.process_time", lambda: float(next(clock)))
    first, curve = train(tiny, steps=None, seconds=3)
    assert curve[-1]["step"] == 3 and same(first, train(tiny, steps=3)[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"loss": "hingee"}, "the loss is 'hingee'"),
        ({"penalty": "lecan"}, "the penalty is 'lecan'"),
        ({"lr": 1e-3}, r"received the settings \['lr'\]"),
        ({"metric": "sphere"}, "metric is 'sphere'"),
        ({"steps": None}, "give steps, or seconds above 0"),
    ],
    ids=str,
)
def test_settings_that_do_not_exist_are_refused(tiny, wrong, message):
    with pytest.raises(ValueError, match=message):
        train(tiny, **wrong)


def test_training_depends_on_its_seed_alone_and_returns_a_generator_to_draw_from(tiny):
    torch.manual_seed(1)
    first, curve = train(tiny)
    torch.manual_seed(2)
    again, same_curve = train(tiny)
    assert same(first, again) and curve == same_curve
    assert not same(first, train(tiny, seed=1)[0])
    assert not first.training and not any(parameter.requires_grad for parameter in first.parameters())
    assert (first.n_classes, first.z_dim, first.channels) == (3, 8, 1)
    assert [row["step"] for row in curve] == [6] and set(curve[0]) == {"step", "critic", "generator"}
    assert generate(first, torch.tensor([0, 1, 2])).shape == (3, 1, 32, 32)


def test_every_weight_moves(tiny):
    # the average starts at the initial weights, which the same seed draws again
    torch.manual_seed(0)
    untrained = gan.Generator(n_classes=3, width=16, z_dim=8)
    trained = dict(train(tiny)[0].named_parameters())
    assert all(not torch.equal(weight, trained[name]) for name, weight in untrained.named_parameters())


def test_the_returned_weights_are_averaged_with_the_decay_and_the_statistics_are_the_last(tiny):
    torch.manual_seed(0)
    start = dict(gan.Generator(n_classes=3, width=16, z_dim=8).named_parameters())
    last, averaged = (train(tiny, steps=1, ema=ema)[0] for ema in (0.0, 0.05))
    for name, weight in averaged.named_parameters():
        expected = 0.05 * start[name] + 0.95 * dict(last.named_parameters())[name]
        torch.testing.assert_close(weight, expected.detach(), rtol=0, atol=1e-6)
    assert all(map(torch.equal, averaged.buffers(), last.buffers()))


def test_mode_seeking_changes_the_training(tiny):
    assert not same(train(tiny)[0], train(tiny, mode_seeking=1.0)[0])


@pytest.mark.parametrize(("step", "bf16"), [(1, False), (4, False), (5, False), (3, True)])
def test_a_resumed_training_equals_an_undisturbed_one_bit_for_bit(tiny, checkpoint, tmp_path, step, bf16):
    whole, curve = train(tiny, checkpoint=tmp_path / "whole.safetensors", every=2, bf16=bf16)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(Killed):
        kill_at(monkeypatch, step)
        train(tiny, checkpoint=checkpoint, every=2, bf16=bf16)
    assert checkpoint.exists() == (step >= 2)
    resumed, resumed_curve = train(tiny, checkpoint=checkpoint, every=2, bf16=bf16)
    assert same(whole, resumed) and curve == resumed_curve
    assert (
        artifacts.load_tensors(checkpoint)[1] == artifacts.load_tensors(tmp_path / "whole.safetensors")[1]
    )  # digest too


def test_a_checkpoint_does_not_change_the_training(tiny, checkpoint):
    assert same(train(tiny)[0], train(tiny, checkpoint=checkpoint, every=1)[0])


def test_a_finished_training_is_not_repeated(tiny, checkpoint, monkeypatch):
    first, curve = train(tiny, checkpoint=checkpoint)
    kill_at(monkeypatch, 0)
    again, same_curve = train(tiny, checkpoint=checkpoint)
    assert same(first, again) and curve == same_curve


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"width": 24},
        {"z_dim": 4},
        {"depth": 2},
        {"batch_size": 4},
        {"ema": 0.9},
        {"lr_generator": 1e-3},
        {"lr_discriminator": 1e-3},
        {"mode_seeking": 1.0},
        {"bf16": True},
        {"augmented": False},
        {"loss": "vanilla"},
        {"penalty": "one"},
        {"metric": "disc"},
        {"steps": 2},
    ],
    ids=str,
)
def test_a_checkpoint_of_other_settings_is_refused_and_kept(tiny, checkpoint, change):
    train(tiny, checkpoint=checkpoint, steps=3)
    before = checkpoint.read_bytes()
    with pytest.raises(ArtifactError, match="gan.safetensors"):
        train(tiny, checkpoint=checkpoint, **change)
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_of_other_images_is_refused(tiny, checkpoint):
    train(tiny, checkpoint=checkpoint)
    with pytest.raises(ArtifactError, match="made with other settings .*delete it to start anew"):
        train(tiny._replace(images=tiny.images.flip(0)), checkpoint=checkpoint)


def test_a_cut_or_foreign_checkpoint_is_refused(tiny, checkpoint):
    train(tiny, checkpoint=checkpoint, steps=1)
    whole = checkpoint.read_bytes()
    for raw in (b"", whole[:100], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        checkpoint.write_bytes(raw)
        with pytest.raises(ArtifactError, match="gan.safetensors"):
            train(tiny, checkpoint=checkpoint)
    artifacts.save_tensors(checkpoint, {"a": torch.ones(1)}, {})
    with pytest.raises(ArtifactError, match="gan.safetensors was made with other settings None"):
        train(tiny, checkpoint=checkpoint)


@pytest.mark.parametrize(("bad", "every", "stored"), [(3, 2, 2), (2, 1, 1), (1, 1, None)])
def test_a_loss_that_is_not_finite_stops_training_and_leaves_the_last_checkpoint(
    tiny, checkpoint, monkeypatch, bad, every, stored
):
    calls = iter(range(1000))

    def poisoned(images, rng):
        return images * (float("nan") if next(calls) // 3 + 1 >= bad else 1)  # three calls a step

    monkeypatch.setattr(gan, "diff_augment", poisoned)
    with pytest.raises(FloatingPointError, match="the GAN's loss is not finite at step .*lower the rates"):
        train(tiny, checkpoint=checkpoint, every=every)
    assert checkpoint.exists() == (stored is not None)
    if stored:
        tensors, meta = artifacts.load_tensors(checkpoint)
        assert meta["step"] == stored
        assert all(tensor.isfinite().all() for tensor in tensors.values())
