import pytest
import torch
from tiny_net import tiny_net
from torch import nn

from sega_utils.evaluation import masking
from sega_utils.training import attacks

EPS = 0.15
SOUND = {
    "noise": 0.0,
    "one_step": 0.2,
    "many_steps": 0.05,
    "black_box": 0.05,
    "unbounded": 0.0,
    "loss_clean": 0.1,
    "loss_attacked": 5.0,
    "rising": 1.0,
    "padding": 0.99,
}


class Changed(nn.Module):
    """A network behind another input or in front of another output."""

    def __init__(self, net, *, before=lambda x: x, after=lambda y: y):
        super().__init__()
        self.net, self.before, self.after = net, before, after

    def forward(self, x):
        return self.after(self.net(self.before(x)))


@pytest.fixture(scope="module")
def task():
    return tiny_net()


def look(task, **parts):
    return masking.signs(Changed(task[0], **parts).eval(), *task[1:], eps=EPS)


def test_nothing_is_found_in_an_ordinary_net(task):
    found = look(task)
    assert masking.findings(found) == {}
    assert found["many_steps"] < 0.2 and found["unbounded"] == 0 and found["loss_attacked"] > found["loss_clean"] + 1
    masking.refuse(found, "the net")


def test_the_budget_is_the_first_doubling_at_which_the_net_falls(task):
    eps = masking.budget(*task)
    steps = [8 / 255 * 2**k for k in range(5)]
    stand = [masking.signs(*task, eps=each)["many_steps"] for each in steps[: steps.index(eps) + 1]]
    assert stand[-1] < 0.5 and all(share >= 0.5 for share in stand[:-1])


@pytest.mark.parametrize("after", [lambda y: 1e4 * y, lambda y: (2 * y).round() / 2 + 0 * y])
def test_a_net_that_masks_its_gradients_is_found_out_at_its_own_budget(task, after):
    masked = Changed(task[0], after=after).eval()
    assert masking.findings(masking.signs(masked, *task[1:], eps=masking.budget(masked, *task[1:])))
    assert not masking.findings(masking.signs(*task, eps=masking.budget(*task)))


@pytest.mark.parametrize(("norm", "everything"), [("Linf", 1), ("L2", 32)])
def test_a_net_that_nothing_fools_is_judged_with_everything_in_reach(monkeypatch, norm, everything):
    images, labels = torch.rand(3, 1, 32, 32), torch.zeros(3, dtype=torch.int64)  # it may recognise some, or none
    net = nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)).eval()
    monkeypatch.setattr(attacks, "standing", lambda *_, **__: torch.ones(3, dtype=torch.bool))
    assert masking.budget(net, images, labels, norm=norm) == everything


def test_saturated_logits_are_found_out_by_a_black_box(task):
    found = look(task, after=lambda y: 1e4 * y)
    names = {"black box beats white box", "unbounded epsilon does not reach 0", "loss not increasing"}
    assert names <= masking.findings(found).keys()
    with pytest.raises(masking.MaskingError, match=r"No Aug, seed 3.*Square") as caught:
        masking.refuse(found, "No Aug, seed 3")
    assert all(name in str(caught.value) for name in masking.findings(found))


def test_quantised_logits_are_found_out_by_every_gradient(task):
    found = look(task, after=lambda y: (2 * y).round() / 2 + 0 * y)
    names = {
        "more steps do not help",
        "unbounded epsilon does not reach 0",
        "loss not increasing",
        "padding out of reach",
    }
    assert names <= masking.findings(found).keys()


def test_noise_at_the_input_is_found_out(task):
    rng = torch.Generator().manual_seed(0)
    found = look(task, before=lambda x: x + 0.01 * torch.randn(x.shape, generator=rng))
    assert "outputs are random" in masking.findings(found)


def test_padding_that_the_model_does_not_see_is_found_out(task):
    found = look(task, before=lambda x: nn.functional.pad(x[..., 2:-2, 2:-2], (2, 2, 2, 2), value=0.5))
    assert "padding out of reach" in masking.findings(found)


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("black box beats white box", {"many_steps": 0.5, "black_box": 0.1, "one_step": 0.6}),
        ("more steps do not help", {"one_step": 0.2, "many_steps": 0.2, "black_box": 0.2}),
        ("more steps do not help", {"one_step": 0.0, "many_steps": 0.3, "black_box": 0.3}),
        ("unbounded epsilon does not reach 0", {"unbounded": 0.1}),
        ("loss not increasing", {"loss_attacked": 0.1}),
        ("loss not increasing", {"rising": 0.4}),
        ("outputs are random", {"noise": 0.01}),
        ("padding out of reach", {"padding": 0.0}),
    ],
)
def test_each_check_finds_its_own_sign_and_only_that(name, seen):
    assert masking.findings(SOUND) == {}
    assert masking.findings(SOUND | seen).keys() == {name}


@pytest.mark.parametrize(
    "seen",
    [
        {"one_step": 0.4375, "many_steps": 0.4375, "black_box": 0.4375},  # 7 of 16
        {"one_step": 0.25, "many_steps": 0.5, "black_box": 0.5},
        {"many_steps": 0.4375, "black_box": 0.25, "one_step": 0.5},
    ],
)
def test_few_images_give_no_verdict_where_many_do(seen):
    assert masking.findings(SOUND | seen, n=16) == {}
    masking.refuse(SOUND | seen, "the net", n=16)
    assert masking.findings(SOUND | seen, n=200) and masking.findings(SOUND | seen)
    assert masking.findings(SOUND | {"unbounded": 0.25}, n=4), "without a bound, each image must fall"


def test_the_border_is_the_padding_of_28_in_32():
    mask = masking.border(torch.zeros(1, 1, 32, 32))
    assert mask.sum() == 32 * 32 - 28 * 28 and mask[:2].all() and mask[:, -2:].all() and not mask[2:30, 2:30].any()


def test_the_loss_is_that_of_the_points_and_starts_at_the_images(task):
    model, images, labels = task
    losses, points = masking.climb(model, images, labels, eps=EPS, norm="Linf", steps=4)
    loss = lambda x: float(nn.functional.cross_entropy(model(x).double(), labels))
    assert len(losses) == 5 and losses[0] == pytest.approx(loss(images)) and losses[-1] == pytest.approx(loss(points))
    assert attacks.distance(points - images, "Linf").max() <= EPS + 1e-6


def test_a_model_that_recognises_nothing_is_refused(task):
    with pytest.raises(ValueError, match="nothing to attack"):
        look(task, after=lambda y: -y)
