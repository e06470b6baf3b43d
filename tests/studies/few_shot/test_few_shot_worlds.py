"""Few-shot worlds: which images are whose, what has seen them, and what is refused."""

import pytest
import torch
from six_classes import PLACE, six

from sega_utils.augmenters import composition
from sega_utils.core import artifacts, paths
from sega_utils.studies.few_shot import worlds
from sega_utils.verbs import planned

SPLIT = worlds.split_of(6, (1, 4))


def rows_of(images: torch.Tensor) -> set[bytes]:
    return {image.numpy().tobytes() for image in images}


def test_no_unseen_class_is_in_what_is_learnt_or_tuned_on():
    world, train = worlds.world_of(PLACE, SPLIT), six("train")
    unseen = rows_of(train.images[torch.isin(train.labels, torch.tensor((1, 4)))])
    assert world.seen.class_names == ("a", "c", "d", "f") and len(world.seen.labels) == 4 * PLACE.base
    assert not rows_of(world.seen.images) & unseen and rows_of(world.pool.images) == unseen
    assert rows_of(world.query.images) <= rows_of(six("test").images)
    part = worlds.inner(SPLIT)
    inner = worlds.world_of(PLACE, part)
    touched = rows_of(inner.seen.images) | rows_of(inner.pool.images) | rows_of(inner.query.images)
    assert not touched & (unseen | rows_of(six("test").images))
    assert not set(part.seen) & set(part.unseen) and {*part.seen, *part.unseen} == set(SPLIT.seen)
    assert inner.digest != world.digest


def test_few_images_are_among_more_of_the_same_draw():
    world = worlds.world_of(PLACE, SPLIT)
    tasks = [worlds.task_of(world, k, 3) for k in (1, 3, 10)]
    few = [rows_of(task.few.images) for task in tasks]
    assert few[0] < few[1] < few[2] and [len(task.few.labels) for task in tasks] == [2, 6, 20]
    assert rows_of(worlds.task_of(world, 1, 4).few.images) != few[0]
    assert torch.equal(worlds.task_of(world, 3, 3).few.images, tasks[1].few.images)
    assert all(bool(task.counts.all()) for task in tasks)


def test_what_is_tuned_on_is_no_image_of_the_task():
    world = worlds.world_of(PLACE, worlds.inner(SPLIT))
    task = worlds.task_of(world, 3, 0)
    assert not rows_of(world.query.images[task.counts]) & rows_of(task.few.images)
    assert int(task.counts.sum()) == len(world.query.labels) - 6


def test_all_that_is_trained_names_what_it_has_seen_and_nothing_else_is_taken():
    world = worlds.world_of.__wrapped__(PLACE, SPLIT)
    folder = paths.artifact(*PLACE[:2], "few-shot")
    kept = sorted(folder.glob("*.safetensors"))
    assert len(kept) == 2
    assert {artifacts.load_tensors(file)[1]["seen"] for file in kept} == {world.digest}
    less = worlds.world_of.__wrapped__(PLACE, SPLIT)
    assert less.digest == world.digest and torch.equal(less.features["query"], world.features["query"])
    with pytest.raises(artifacts.ArtifactError, match="network-1-4-3.safetensors has seen images .*, allowed are only"):
        worlds.world_of.__wrapped__(PLACE._replace(base=12), SPLIT)


def test_a_style_autoencoder_draws_instead_of_the_linear_generator_and_features_stay():
    world, linear = (worlds.world_of.__wrapped__(PLACE._replace(features=f), SPLIT) for f in ("style", "network"))
    assert world.latents.shape == (len(world.seen.labels), 3, 64) and linear.latents.shape[1:] == (1, 12)
    assert torch.equal(world.features["query"], linear.features["query"])
    assert torch.equal(world.invert(world.seen.images[:5]), world.latents[:5])
    assert world.render(world.latents[:5]).shape == (5, 1, 32, 32)
    assert not torch.equal(world.editing["classes"].atoms, world.editing["lambda 0"].atoms)
    again = worlds.world_of.__wrapped__(PLACE._replace(features="style"), SPLIT)
    assert torch.equal(again.latents, world.latents)
    atoms = worlds.file_of(PLACE, f"atoms-1-4-{PLACE.atoms}")  # of the linear generator, which no file keeps
    assert "generator" not in artifacts.load_tensors(atoms)[1]
    file = worlds.file_of(PLACE, f"style-1-4-{worlds.STYLE}")
    tensors, meta = artifacts.load_tensors(file)
    artifacts.save_tensors(file, tensors | {"start": tensors["start"] + 1}, meta)
    with pytest.raises(artifacts.ArtifactError, match="atoms-style.* was learnt through another generator; delete"):
        worlds.world_of.__wrapped__(PLACE._replace(features="style"), SPLIT)
    with pytest.raises(artifacts.ArtifactError, match="has seen images .*, allowed are only"):
        worlds.world_of.__wrapped__(PLACE._replace(features="style", base=12, steps=4), SPLIT)


@pytest.mark.parametrize("name", ["clip", "generator"])
def test_what_saw_all_classes_is_refused(name):
    _, meta = artifacts.load_tensors(paths.DATA / "models" / f"fashion-mnist-{name}.safetensors")
    with pytest.raises(artifacts.ArtifactError, match=f"{name} has seen images none that it names"):
        worlds.check_seen(meta, "0" * 64, name)


def test_the_network_learns_of_turned_images_and_its_features_have_length_1():
    world = worlds.world_of(PLACE, SPLIT)
    turned = composition.turned(world.seen)
    assert len(turned.class_names) == 16 and len(turned.labels) == 4 * len(world.seen.labels)
    assert torch.equal(turned.images[-1], world.seen.images[-1].rot90(3, (1, 2)))
    for part in world.features.values():
        assert torch.allclose(part.norm(dim=1), torch.ones(len(part)), atol=1e-5)


def test_pseudo_classes_stay_inside_their_class_and_a_lone_image_is_left_out():
    latents = torch.tensor([0.0, 0.1, 9.0, 0.0, 0.1, 5.0, 5.1])[:, None, None]
    found = worlds.clustered(latents, torch.tensor([0, 0, 0, 1, 1, 1, 1]), 2)
    assert found[2] == -1 and found[0] == found[1] and found[3] == found[4] != found[5] == found[6]
    assert sorted(set(found.tolist())) == [-1, 0, 1, 2]


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (((0, 1, 2), (2, 3)), r"classes \[2\] are seen and unseen"),
        (((0,), (2, 3)), r"seen classes are \[0\]; allowed are at least two of 0 .. 5"),
        (((0, 1), (7, 3)), r"unseen classes are \[7, 3\]"),
        (((0, 1), (3, 3)), r"unseen classes are \[3, 3\]"),
    ],
)
def test_what_is_no_split_is_refused(split, message):
    with pytest.raises(ValueError, match=message):
        worlds.world_of(PLACE, worlds.Split(*split))


@pytest.mark.parametrize("shots", [0, 17])
def test_a_number_of_shots_that_classes_do_not_have_is_refused(shots):
    with pytest.raises(ValueError, match=f"K is {shots}; allowed are 1 .. 16"):
        worlds.task_of(worlds.world_of(PLACE, SPLIT), shots, 0)


def test_networks_of_each_kind_are_kept_apart_and_carry_the_seen_images(monkeypatch):
    monkeypatch.setattr(worlds.composition, "SHAPES", {"classes": 3, "each": 4})
    digests = set()
    for kind in ("network", "composed", "blended", "longer", "shapes"):
        world = worlds.world_of(PLACE._replace(features=kind), SPLIT)
        assert world.network.meta["seen"] == world.digest
        digests.add(artifacts.digest(world.network.state_dict()))
    assert len(digests) == 5


def test_the_command_offers_every_kind_of_features():
    assert planned.FEATURES == worlds.FEATURES
