"""Few-shot adaptation: what its loss is, what adapters may change, and what it refuses."""

import copy

import pytest
import torch

from sega_utils.augmenters import adaptation, gan, losses
from sega_utils.core import artifacts, runtime
from sega_utils.data.images import Dataset

FEW = {"steps": 2, "teacher_steps": 2, "batch_size": 6, "seed": 0}
OFTEN = {"seed": 0, "batch_size": 6}


@pytest.fixture
def source(generator):
    return generator.state_dict(), {"augmenter": "source GAN", "settings": generator.settings, "seen": "a" * 64}


@pytest.fixture
def few(tiny) -> Dataset:
    """Return 4 images of each of two classes that the source has not seen, numbered behind its three."""
    images = tiny.images[tiny.labels < 2][:8].transpose(2, 3).contiguous()
    return Dataset(images, torch.arange(8) % 2 + 3, tuple("abcde"))


def adapted(source, few, **settings):
    return adaptation.adapt(source, few.images, few.labels - 3, **FEW | settings)


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 1, 32, 32, generator=runtime.generator(seed))


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    return artifacts.digest(a.state_dict()) == artifacts.digest(b.state_dict())


# the loss


def test_the_same_relations_cost_nothing_and_a_common_scale_is_none():
    target, source = images(5), images(5, seed=1)
    assert float(adaptation.cdc(target, target)) == 0
    loss = adaptation.cdc(target, source)
    assert float(loss) > 1e-6
    assert torch.allclose(adaptation.cdc(0.5 * target, 0.1 * source), loss, rtol=1e-3)


def test_three_images_have_the_divergence_of_their_cosines():
    one, other = torch.zeros(2, 3, 1, 32, 32)
    one[0, 0, 0, 0] = one[1, 0, 0, 0] = one[2, 0, 0, 1] = 1  # the first two are one image, the third is another
    other[torch.arange(3), 0, 0, torch.arange(3)] = 1  # all are different: every other one is as near
    p = torch.tensor([1.0, 0.0]).softmax(0)
    apart = float((p * (p / 0.5).log()).sum())
    assert float(adaptation.cdc(one, other)) == pytest.approx(2 * apart / 3, rel=1e-5)
    back = float((0.5 * (0.5 / p).log()).sum())
    assert float(adaptation.cdc(other, one)) == pytest.approx(2 * back / 3, rel=1e-5)


def test_the_loss_is_below_an_eighth_of_the_squared_range():
    for seed in range(5):
        target, source = images(6, seed), images(6, seed + 9) ** 8
        change = adaptation.relations(target) - adaptation.relations(source)
        bound = (change.amax(1) - change.amin(1)).square().mean() / 8
        assert 0 < float(adaptation.cdc(target, source)) <= float(bound)


def test_two_images_say_nothing_and_are_refused():
    for pair in (images(2), images(2, seed=1)):
        assert not adaptation.relations(pair).log_softmax(1).any()  # each has one other, of probability 1
    with pytest.raises(ValueError, match="received 2 images; allowed are 3 and more: with 2 each has a single other"):
        adaptation.cdc(images(2), images(2, seed=1))
    with pytest.raises(ValueError, match=r"received images \(3, 1, 32, 32\) and \(4, 1, 32, 32\); draw both"):
        adaptation.cdc(images(3), images(4))


# adapters


def test_untrained_adapters_draw_what_the_source_draws_bit_by_bit(generator):
    network, z = adaptation.Adapted(generator, [2, 0]).train(), torch.randn(10, 8)
    labels, begun = torch.arange(10) % 5, torch.tensor([0, 1, 2, 2, 0]).repeat(2)
    assert torch.equal(network(z, labels), generator(z, begun))
    assert torch.equal(adaptation.grown(generator, [2, 0]).eval()(z, labels), generator(z, begun))


def test_no_adapter_can_change_a_seen_class(generator):
    network, z = adaptation.Adapted(generator, [2, 0]), torch.randn(10, 8)
    labels, own = torch.arange(10) % 5, [weight for weight in network.parameters() if weight.requires_grad]
    wanted = generator(z, labels % 3)
    assert len(own) == 14  # a row of scales and one of shifts in each of 4 norms, 3 convolutions with their biases
    for weight in own:
        torch.nn.init.normal_(weight)
    found, seen = network(z, labels), labels < 3
    assert torch.equal(found[seen], wanted[seen])
    assert not torch.isclose(found[~seen], generator(z, torch.tensor([0, 1, 2, 2, 0]).repeat(2))[~seen]).all()


def test_after_training_seen_classes_are_as_they_were_and_unseen_ones_are_not(generator, source, few):
    before = {name: tensor.clone() for name, tensor in source[0].items()}
    network = adaptation.network_of(state := adapted(source, few))
    z, seen = torch.randn(6, 8), torch.arange(6) % 3
    assert torch.equal(network(z, seen), generator(z, seen))
    assert all(torch.equal(tensor, before[name]) for name, tensor in source[0].items())
    untrained = adaptation.Adapted(generator, state[1]["settings"]["starts"])
    changed = {name for name, part in untrained.state_dict().items() if not torch.equal(part, state[0][name])}
    assert changed == {name for name, weight in untrained.named_parameters() if weight.requires_grad}


def test_an_unseen_class_begins_as_the_nearest_seen_one(generator):
    labels = torch.tensor([0, 1]).repeat_interleave(3)
    nearest = generator(torch.randn(6, 8, generator=runtime.generator(1)), torch.tensor([2, 1]).repeat_interleave(3))
    assert adaptation.starts_of(generator, nearest, labels, 0) == [2, 1]


# the trainings


def test_without_the_loss_the_teacher_is_fine_tuned_plainly(generator, few):
    torch.manual_seed(0)
    found, _ = adaptation.taught(generator, [2, 0], few, steps=3, weight=0.0, **OFTEN)
    torch.manual_seed(0)
    network = adaptation.grown(generator, [2, 0])
    critic = gan.Discriminator(**few.shape(), width=16)
    duel = gan.Duel(network, critic, losses.LOSSES["hinge"], None, device="cpu", **gan.OWN)
    assert same(found, adaptation.fought(duel, few, 3, **OFTEN))
    torch.manual_seed(0)
    assert not same(found, adaptation.taught(generator, [2, 0], few, steps=3, weight=40.0, **OFTEN)[0])


def test_all_weights_of_the_teacher_train(generator, few):
    teacher, _ = adaptation.taught(generator, [2, 0], few, steps=2, weight=40.0, **OFTEN)
    begun, trained = adaptation.grown(generator, [2, 0]).state_dict(), dict(teacher.named_parameters())
    assert not {name for name, weight in trained.items() if torch.equal(weight, begun[name])}


def test_what_is_descended_besides_is_twice_the_difference_and_the_weighted_relations(generator):
    begun, teacher = (adaptation.Adapted(generator, starts).eval() for starts in ([0, 1], [1, 2]))
    duel = adaptation.Corresponding(
        begun, gan.Discriminator(n_classes=5, width=16), begun, weight=20.0, teacher=teacher
    )
    z, labels, fakes = torch.randn(4, 8), torch.tensor([3, 4, 3, 4]), images(4)
    theirs, own = teacher(z, labels), begun(z, labels)
    wanted = 2 * (theirs - fakes).square().mean() + 20 * adaptation.cdc(fakes, own)
    assert torch.allclose(duel.extra(z, labels, fakes), wanted)
    duel.weight = 0
    assert torch.allclose(duel.extra(z, labels, fakes), 2 * (theirs - fakes).square().mean())
    duel.teacher = None
    assert duel.extra(z, labels, fakes) == 0


@pytest.mark.parametrize(("side", "layers"), [(32, 6), (64, 8)])
def test_half_of_the_convolutions_and_the_head_are_the_later_half_of_a_critic(side, layers):
    critic = gan.Discriminator(n_classes=5, width=32, side=side)
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in critic.modules()) == layers
    assert len(adaptation.later_half(critic)) == 2 * (layers // 2) + 3  # of the head two weights and a bias


def test_the_student_leaves_the_first_half_of_the_critic_alone(generator, few):
    critic = gan.Discriminator(**few.shape(), width=16)
    before, later = copy.deepcopy(dict(critic.named_parameters())), set(map(id, adaptation.later_half(critic)))
    teacher = adaptation.grown(generator, [2, 0]).eval().requires_grad_(False)
    adaptation.followed(generator, [2, 0], few, teacher, critic, steps=2, weight=20.0, **OFTEN)
    moved = {name for name, weight in critic.named_parameters() if not torch.equal(weight, before[name])}
    assert moved == {name for name, weight in critic.named_parameters() if id(weight) in later}
    assert not any(name.startswith(("stem", "same.0", "down.0")) for name in moved)


def test_the_student_comes_nearer_to_its_teacher(generator, few, monkeypatch):
    teacher, labels, z = adaptation.grown(generator, [2, 0]).eval().requires_grad_(False), few.labels, torch.randn(8, 8)
    teacher.norm.shift.weight += 1
    away = []
    monkeypatch.setattr(adaptation, "RATE", 0.01)
    for weight in (adaptation.DISTILLED, 0.0):
        monkeypatch.setattr(adaptation, "DISTILLED", weight)
        torch.manual_seed(0)
        critic = gan.Discriminator(**few.shape(), width=16)
        student = adaptation.followed(generator, [2, 0], few, teacher, critic, steps=12, weight=0.0, **OFTEN)
        away.append(float((student(z, labels) - teacher(z, labels)).square().mean()))
    assert away[0] < 0.9 * away[1]


# the states


def test_a_source_names_what_it_has_seen_and_an_adaptation_the_few_besides(tiny, few, tmp_path):
    given = {"num_classes": 3, "seed": 0, "steps": 2, "width": 16, "batch_size": 6, "z_dim": 8}
    source = adaptation.fit_source(tiny.images, tiny.labels, **given)
    assert source[1]["seen"] == artifacts.digest({"images": tiny.images, "labels": tiny.labels})
    state = adapted(source, few)
    assert state[1]["seen"] == source[1]["seen"]
    assert state[1]["few"] == artifacts.digest({"images": few.images, "labels": few.labels - 3})
    artifacts.save_tensors(tmp_path / "few.safetensors", *state)
    labels = torch.arange(4) % 2
    kept = artifacts.load_tensors(tmp_path / "few.safetensors")
    assert torch.equal(adaptation.sample(kept, labels, 1), adaptation.sample(state, labels, 1))


def test_each_image_is_drawn_from_its_own_seed(source, few):
    state, labels = adapted(source, few), torch.tensor([0, 1, 1, 0, 1])
    drawn = adaptation.sample(state, labels, 3)
    assert drawn.shape == (5, 1, 32, 32) and drawn.dtype == torch.float32
    assert 0 <= float(drawn.min()) and float(drawn.max()) <= 1
    assert torch.equal(drawn, adaptation.sample(adapted(source, few), labels, 3))
    assert torch.allclose(drawn, adaptation.sample(state, labels, 3, batch=2), atol=1e-6)
    assert torch.allclose(drawn[:2], adaptation.sample(state, labels[:2], 3), atol=1e-6)
    assert not torch.allclose(drawn, adaptation.sample(state, labels, 4), atol=1e-3)
    assert not torch.allclose(drawn, adaptation.sample(adapted(source, few, seed=1), labels, 3), atol=1e-6)
    assert len(adaptation.sample(state, labels[:0], 3)) == 0
    with pytest.raises(ValueError, match="labels span 0 .. 2; allowed are 0 .. 1"):
        adaptation.sample(state, torch.arange(3), 0)


# what it refuses


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0 and teacher_steps 2; allowed are whole numbers from 1 on"),
        ({"teacher_steps": 0}, "teacher_steps 0"),
        ({"w_teacher": -1.0}, "w_teacher is -1.0 and w_student 20.0; allowed are numbers from 0 on"),
        ({"w_student": float("nan")}, "w_student nan"),
        ({"batch_size": 3}, "batch_size is 3; allowed is 4 and more"),
    ],
)
def test_settings_out_of_range_are_refused(source, few, settings, message):
    with pytest.raises(ValueError, match=message):
        adapted(source, few, **settings)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (images(4), torch.tensor([0, 0, 2, 2]), r"classes \[1\] have fewer than 1 images"),
        (images(0), torch.zeros(0, dtype=torch.int64), r"classes \[0\] have fewer than 1 images"),
        (images(4), torch.zeros(3, dtype=torch.int64), "received 4 images and 3 labels"),
        (images(4), torch.zeros(4), "labels must be int64"),
        (images(4) * 2, torch.zeros(4, dtype=torch.int64), r"values in \[0, 1\]"),
        (torch.full((4, 1, 32, 32), float("nan")), torch.zeros(4, dtype=torch.int64), "look for NaN"),
        (
            torch.rand(4, 3, 32, 32),
            torch.zeros(4, dtype=torch.int64),
            r"images \(3, 32, 32\); allowed .* \(1, 32, 32\)",
        ),
    ],
)
def test_few_images_that_cannot_be_learnt_are_refused(source, images, labels, message):
    with pytest.raises(ValueError, match=message):
        adaptation.adapt(source, images, labels, **FEW)


def test_states_of_others_and_classes_without_images_are_refused(source, few, tiny):
    with pytest.raises(artifacts.ArtifactError, match="no state of such an augmenter"):
        adaptation.sample(source, torch.zeros(1, dtype=torch.int64), 0)
    with pytest.raises(artifacts.ArtifactError, match="no state of such an augmenter"):
        adapted(adapted(source, few), few)
    with pytest.raises(ValueError, match=r"classes \[3\] have fewer than 1 images"):
        adaptation.fit_source(tiny.images, tiny.labels, num_classes=4, seed=0, steps=1)
    with pytest.raises(ValueError, match="give steps, or seconds above 0, or both"):
        adaptation.fit_source(tiny.images, tiny.labels, num_classes=3, seed=0, width=16)
