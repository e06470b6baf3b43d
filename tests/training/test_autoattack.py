import shutil

import pytest
import torch
from pyautoattack import AutoAttack
from pyautoattack.fab_pt import FABAttack_PT
from tiny_net import tiny_net

from sega_utils.core import artifacts
from sega_utils.studies import benchmark
from sega_utils.training import attacks, autoattack


@pytest.fixture(scope="module")
def task():
    return tiny_net()


def count(model, call):
    """Return what a call returns and how many images went through the model."""
    seen = []
    hook = model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    try:
        return call(), sum(seen)
    finally:
        hook.remove()


def reference(model, images, labels, *, eps, norm="Linf", seed=0, names=autoattack.STANDARD, batch=250):
    """Return which images stand against the reference's own loop."""
    attack = AutoAttack(model, norm=norm, eps=eps, seed=seed, version="standard")
    attack.attacks_to_run = list(names)
    return attack.run_standard_evaluation(images, labels, batch_size=batch)[1] == labels


# FAB also alone: behind APGD it finds nothing new, and nothing would show
@pytest.mark.parametrize(
    ("norm", "eps", "names", "batch"),
    [
        ("Linf", 0.08, autoattack.STANDARD, 250),
        ("L2", 0.6, autoattack.STANDARD[:3], 250),
        ("Linf", 0.08, ("fab-t",), 250),
        ("L2", 0.6, ("fab-t",), 250),
        ("Linf", 0.08, autoattack.STANDARD[:2], 7),
    ],
)
def test_the_verdict_on_every_image_is_the_references(task, norm, eps, names, batch):
    model, images, labels = task
    theirs = reference(model, images, labels, eps=eps, norm=norm, names=names, batch=batch)
    found, fell_to = autoattack.auto_attack(model, images, labels, eps=eps, norm=norm, names=names, batch=batch)
    assert torch.equal(fell_to == len(names), theirs)
    assert 0 < theirs.sum() < len(labels)
    stands = attacks.standing(model, images, found, labels, eps=eps, norm=norm)
    assert torch.equal(stands, theirs), "every image that fell has an adversarial image within the budget"


@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_agree_too(task, seed):
    model, images, labels = task
    names = autoattack.STANDARD[:2]
    theirs = reference(model, images, labels, eps=0.08, seed=seed, names=names)
    assert torch.equal(autoattack.auto_attack(model, images, labels, eps=0.08, seed=seed, names=names)[1] == 2, theirs)


def test_at_least_three_times_fewer_images_go_through_an_ordinarily_trained_net(task):
    found, through = count(task[0], lambda: benchmark.compare_with_reference(*task, eps=0.2))
    assert through == found["images_reference"] + found["images_ours"]
    assert found["agreement"] == 1 and found["accuracy_ours"] == found["accuracy_reference"] < 0.2
    assert found["fewer_images"] == found["images_reference"] / found["images_ours"] >= 3
    assert found["speedup"] == pytest.approx(found["seconds_reference"] / found["seconds_ours"])
    assert found["n"] == len(task[2]) and found["eps"] == 0.2
    assert not task[0]._forward_pre_hooks


def test_clean_mistakes_are_not_attacked(task):
    model, images, labels = task
    wrong = labels.clone()
    wrong[:3] = (wrong[:3] + 1) % 10
    found, fell_to = autoattack.auto_attack(model, images, wrong, eps=0.02, names=("apgd-ce",))
    assert (fell_to[:3] == autoattack.MISCLASSIFIED).all() and torch.equal(found[:3], images[:3])


def test_a_killed_run_resumes_after_the_last_finished_attack(task, tmp_path, monkeypatch):
    model, images, labels = task
    options = {"eps": 0.08, "names": autoattack.STANDARD[:3]}
    whole = autoattack.auto_attack(model, images, labels, **options)
    file = tmp_path / "attacks" / "a.safetensors"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(FABAttack_PT, "perturb", killed)
        autoattack.auto_attack(model, images, labels, **options, checkpoint=file)
    assert artifacts.load_tensors(file)[1]["done"] == 2
    resumed, few = count(model, lambda: autoattack.auto_attack(model, images, labels, **options, checkpoint=file))
    assert all(torch.equal(a, b) for a, b in zip(resumed, whole, strict=True))
    again, none = count(model, lambda: autoattack.auto_attack(model, images, labels, **options, checkpoint=file))
    assert all(torch.equal(a, b) for a, b in zip(again, whole, strict=True))
    assert none == len(images) < few  # the clean images are looked at each time


@pytest.fixture(scope="module")
def checkpoint(task, tmp_path_factory):
    file = tmp_path_factory.mktemp("attacks") / "a.safetensors"
    autoattack.auto_attack(*task, eps=0.03, names=("apgd-ce",), checkpoint=file)
    return file


@pytest.mark.parametrize("other", ["eps", "norm", "seed", "names", "images", "labels", "weights"])
def test_a_checkpoint_of_another_call_is_not_taken_up(task, checkpoint, tmp_path, other):
    model, images, labels = task
    options, file = {"eps": 0.03, "names": ("apgd-ce",)}, tmp_path / "a.safetensors"
    shutil.copy(checkpoint, file)
    before = artifacts.load_tensors(file)[1]["key"]
    changed = {"eps": 0.031, "norm": "L2", "seed": 1, "names": ("apgd-t",)}
    options |= {other: changed[other]} if other in changed else {}
    images = images.flip(3) if other == "images" else images
    labels = labels.roll(1) if other == "labels" else labels
    model = tiny_net()[0] if other == "weights" else model
    if other == "weights":
        model[1].bias.add_(0.01)
    autoattack.auto_attack(model, images, labels, **options, checkpoint=file)
    assert artifacts.load_tensors(file)[1]["key"] != before


def test_a_damaged_checkpoint_is_refused(task, checkpoint, tmp_path):
    file = tmp_path / "a.safetensors"
    file.write_bytes(checkpoint.read_bytes()[:-8])
    with pytest.raises(artifacts.ArtifactError, match="damaged"):
        autoattack.auto_attack(*task, eps=0.03, names=("apgd-ce",), checkpoint=file)


def test_a_model_that_changes_its_mind_is_refused(task):
    model, images, labels = task
    found = autoattack.reference_attacks(model, eps=0.1, norm="Linf", seed=0, n_classes=10, device=images.device)
    watched = autoattack.Standing(found["fab-t"], model, images, labels)
    with pytest.raises(RuntimeError, match="deterministic"):
        watched(images[:-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.1, "names": ("pgd",)}, "apgd-ce, apgd-t"),
        ({"eps": 0.1, "names": ()}, "allowed are"),
        ({"eps": 0}, "eps > 0"),
        ({"eps": 2}, "0 .. 1"),
        ({"eps": 0.1, "norm": "L1"}, "Linf and L2"),
    ],
)
def test_a_wrong_request_is_refused(task, options, message):
    with pytest.raises(ValueError, match=message):
        autoattack.auto_attack(*task, **options)


def test_too_few_classes_are_refused(task):
    model = torch.nn.Sequential(task[0], torch.nn.Linear(10, 3)).eval()
    with pytest.raises(ValueError, match="4 classes"):
        autoattack.auto_attack(model, task[1], task[2] % 3, eps=0.2)
