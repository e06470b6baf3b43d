import pytest
import torch
from captum.robust import FGSM, PGD
from tiny_net import tiny_net
from torch.nn import functional as F

from sega_utils.training import attacks

EPS = 0.05


@pytest.fixture(scope="module")
def task():
    return tiny_net()


def each_loss(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")


def captum_pgd(model, norm):
    attack = PGD(model, each_loss, lower_bound=0, upper_bound=1)
    attack.fgsm.zero_thresh = 0
    if norm == "L2":  # captum steps along the sign in L2 too; the step of Madry et al. is the gradient's direction
        attack.fgsm._perturb = lambda inputs, grads, size, *_: tuple(
            x + size * g / g.flatten(1).norm(dim=1)[:, None, None, None] for x, g in zip(inputs, grads, strict=True)
        )
    return attack


def test_fgsm_equals_captum_image_by_image(task):
    model, images, labels = task
    attack = FGSM(model, each_loss, lower_bound=0, upper_bound=1)
    attack.zero_thresh = 0
    theirs = attack.perturb(images.clone(), EPS, labels)
    ours = attacks.fgsm(model, images, labels, eps=EPS, early_stop=False)
    assert (ours - theirs).abs().amax((1, 2, 3)).max() < 1e-6
    assert (ours - images).abs().max() > 0.9 * EPS


@pytest.mark.parametrize(("norm", "eps", "step_size"), [("Linf", EPS, 0.01), ("L2", 0.4, 0.1)])
def test_pgd_equals_captum_image_by_image(task, norm, eps, step_size):
    model, images, labels = task
    theirs = captum_pgd(model, norm).perturb(images.clone(), eps, step_size, 12, labels, norm=norm)
    ours = attacks.pgd(
        model,
        images,
        labels,
        eps=eps,
        step_size=step_size,
        steps=12,
        norm=norm,
        random_start=False,
        early_stop=False,
        batch=7,
    )
    assert (ours - theirs).abs().amax((1, 2, 3)).max() < 1e-5
    assert attacks.distance(ours - images, norm).max() > 0.9 * eps


def test_bim_equals_captum_with_steps_of_a_tenth(task):
    model, images, labels = task
    theirs = captum_pgd(model, "Linf").perturb(images.clone(), EPS, EPS / 10, 10, labels)
    assert torch.allclose(attacks.bim(model, images, labels, eps=EPS, early_stop=False), theirs, atol=1e-6)


def test_a_step_in_l2_has_its_length_and_the_gradients_direction(task):
    model, images, labels = task
    inside = images.clamp(0.3, 0.7)
    moved, _ = attacks.ascend(model, inside, inside, labels, eps=9, step_size=0.02, norm="L2")
    x = inside.clone().requires_grad_()
    F.cross_entropy(model(x), labels, reduction="sum").backward()
    change = (moved - inside).flatten(1)
    assert torch.allclose(change.norm(dim=1), torch.full((len(x),), 0.02), atol=1e-5)
    assert F.cosine_similarity(change, x.grad.flatten(1)).min() > 0.999


@pytest.mark.parametrize("name", attacks.ATTACKS)
@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.1), ("L2", 1.0)])
def test_no_attack_leaves_the_ball_or_the_range(task, name, norm, eps):
    model, images, labels = task
    found = attacks.ATTACKS[name](model, images, labels, eps=eps, norm=norm, early_stop=False)
    assert found.dtype == torch.float32 and found.shape == images.shape
    assert 0 <= found.min() and found.max() <= 1
    assert attacks.distance(found - images, norm).max() <= eps + 1e-6
    assert (found != images).flatten(1).any(1).all()


@pytest.mark.parametrize("norm", attacks.NORMS)
def test_random_points_fill_the_ball(norm):
    images = torch.full((400, 1, 2, 2), 0.5)
    reach = attacks.distance(attacks.random_point(images, eps=0.2, norm=norm, seed=0) - images, norm) / 0.2
    assert reach.max() <= 1 + 1e-5
    assert abs(float((reach < 0.5 ** (1 / 4)).double().mean()) - 0.5) < 0.1  # half the volume of a ball in 4 dimensions


def test_early_stop_gives_the_verdict_of_the_best_of_all_steps(task):
    model, images, labels = task
    options = {"eps": 0.1, "step_size": 0.02, "seed": 3}
    stopped = attacks.pgd(model, images, labels, steps=8, **options)
    fooled = model(images).argmax(1) != labels
    fooled |= model(attacks.random_point(images, eps=0.1, norm="Linf", seed=3)).argmax(1) != labels
    for steps in range(1, 9):
        point = attacks.pgd(model, images, labels, steps=steps, early_stop=False, **options)
        fooled |= model(point).argmax(1) != labels
    assert torch.equal(model(stopped).argmax(1) != labels, fooled)
    assert 0 < fooled.sum() < len(labels)


def test_early_stop_leaves_a_fooled_image_as_it_is_and_asks_the_model_less(task):
    model, images, labels = task
    wrong = labels.clone()
    wrong[:5] = (model(images[:5]).argmax(1) + 1) % 10
    assert torch.equal(attacks.pgd(model, images, wrong, eps=EPS)[:5], images[:5])
    seen = []
    hook = model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    attacks.pgd(model, images, labels, eps=0.2, steps=20)
    few = sum(seen)
    seen.clear()
    attacks.pgd(model, images, labels, eps=0.2, steps=20, early_stop=False)
    hook.remove()
    assert few < sum(seen) / 2


def test_the_seed_decides_the_start_and_the_batch_size_does_not(task):
    model, images, labels = task
    first, again, other = (
        attacks.pgd(model, images, labels, eps=0.02, seed=seed, batch=batch)
        for seed, batch in ((1, 250), (1, 9), (2, 250))
    )
    assert torch.allclose(first, again, atol=1e-6) and not torch.allclose(first, other, atol=1e-3)


def test_nothing_of_the_model_or_the_images_changes(task):
    model, images, labels = task
    weights, before = {k: v.clone() for k, v in model.state_dict().items()}, images.clone()
    attacks.pgd(model, images, labels, eps=EPS)
    assert torch.equal(images, before) and not images.requires_grad
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_an_epsilon_of_zero_changes_nothing(task):
    model, images, labels = task
    assert torch.equal(attacks.pgd(model, images, labels, eps=0), images)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"images": lambda x: x.double()}, "float32"),
        ({"images": lambda x: x[0]}, "N, C, H, W"),
        ({"images": lambda x: x[:0]}, "N > 0"),
        ({"images": lambda x: x * 255}, r"units of \[0, 1\]"),
        ({"images": lambda x: x - 0.5}, r"units of \[0, 1\]"),
        ({"images": lambda x: x * float("nan")}, r"units of \[0, 1\]"),
        ({"labels": lambda y: y.int()}, "int64"),
        ({"labels": lambda y: y[:-1]}, "int64"),
        ({"labels": lambda y: y + 1}, r"0 .. 9"),
        ({"labels": lambda y: y - 1}, r"0 .. 9"),
        ({"model": lambda m: torch.nn.Sequential(m, torch.nn.Softmax(1)).eval()}, "probabilities"),
    ],
)
def test_bad_input_is_refused(task, parts, message):
    given = dict(zip(("model", "images", "labels"), task, strict=True))
    given |= {name: spoil(given[name]) for name, spoil in parts.items()}
    with pytest.raises(ValueError, match=message):
        attacks.fgsm(given["model"], given["images"], given["labels"], eps=EPS)


def test_a_model_in_train_mode_is_refused(task):
    model, images, labels = task
    model.train()
    try:
        with pytest.raises(ValueError, match="model.eval"):
            attacks.pgd(model, images, labels, eps=EPS)
    finally:
        model.eval()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": -0.1}, "0 .. 1"),
        ({"eps": 8}, "0 .. 1"),
        ({"eps": float("nan")}, "0 .. 1"),
        ({"eps": 99, "norm": "L2"}, "0 .. 8"),
        ({"eps": 0.1, "norm": "L1"}, "Linf and L2"),
        ({"eps": 0.1, "steps": 0}, "at least 1"),
    ],
)
def test_a_wrong_budget_is_refused(task, options, message):
    with pytest.raises(ValueError, match=message):
        attacks.pgd(*task, **options)


def test_a_verdict_counts_the_clean_image_and_refuses_what_breaks_the_budget(task):
    model, images, labels = task
    wrong = (model(images).argmax(1) + 1) % 10
    assert attacks.standing(model, images, images, labels, eps=0).float().mean() > 0.9
    assert not attacks.standing(model, images, images, wrong, eps=0).any()
    with pytest.raises(ValueError, match="away in Linf"):
        attacks.standing(model, images, (images + 0.1).clamp(0, 1), labels, eps=0.05)
    with pytest.raises(ValueError, match="units of"):
        attacks.standing(model, images, images + 2, labels, eps=1)
