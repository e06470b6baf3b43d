"""The diffusion baseline: it learns, resumes to the same weights, draws the class asked for, and refuses the rest."""

import itertools
import types

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel

from sega_utils.augmenters import diffusion
from sega_utils.core import artifacts
from sega_utils.data.images import Dataset

TINY = {"width": 8, "batch_size": 8, "seed": 0}


@pytest.fixture(scope="module")
def trained():
    labels = torch.arange(20) % 2  # black and white
    images = labels.float()[:, None, None, None].expand(-1, 1, 32, 32).contiguous()
    return diffusion.train_diffusion(Dataset(images, labels, ("black", "white")), steps=80, lr=0.01, ema=0.9, **TINY)


def weights(model):
    return artifacts.digest(model.state_dict())


def test_it_learns_to_draw_the_class_asked_for(trained):
    model, curve = trained
    assert [row["step"] for row in curve] == [50, 80] and curve[-1]["loss"] < 0.5  # of the untrained model: about 1
    drawn = diffusion.sample_ddim(model, torch.arange(16) % 2, steps=5)
    assert drawn.shape == (16, 1, 32, 32) and drawn.dtype == torch.float32
    assert 0 <= drawn.min() and drawn.max() <= 1
    black, white = drawn.mean((1, 2, 3)).view(-1, 2).unbind(1)
    assert black.max() < white.min()


def test_images_of_64_pixels_are_learnt_and_drawn(tmp_path):
    real = Dataset(torch.rand(8, 3, 64, 64), torch.arange(8) % 2, ("a", "b"))
    model, _ = diffusion.train_diffusion(real, steps=1, **TINY)
    diffusion.save_diffusion(tmp_path / "model.safetensors", model, {})
    loaded = diffusion.load_diffusion(tmp_path / "model.safetensors")
    assert diffusion.sample_ddim(loaded, torch.tensor([0, 1, 1]), steps=2).shape == (3, 3, 64, 64)


def test_a_resumed_training_ends_in_the_same_weights(tiny, tmp_path, monkeypatch):
    whole, curve = diffusion.train_diffusion(tiny, steps=6, **TINY)
    path = tmp_path / "state.safetensors"
    calls = []

    def killed(model, *args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return forward(model, *args, **kwargs)

    forward = UNet2DModel.forward
    monkeypatch.setattr(UNet2DModel, "forward", killed)
    with pytest.raises(KeyboardInterrupt):
        diffusion.train_diffusion(tiny, steps=6, checkpoint=path, every=2, **TINY)
    monkeypatch.undo()
    assert artifacts.load_tensors(path)[1]["step"] == 4
    resumed, resumed_curve = diffusion.train_diffusion(tiny, steps=6, checkpoint=path, every=2, **TINY)
    assert weights(resumed) == weights(whole)
    assert resumed_curve[-1] == curve[-1]


def test_a_checkpoint_of_other_settings_is_refused(tiny, tmp_path):
    path = tmp_path / "state.safetensors"
    diffusion.train_diffusion(tiny, steps=1, checkpoint=path, **TINY)
    with pytest.raises(artifacts.ArtifactError, match="other settings"):
        diffusion.train_diffusion(tiny, steps=1, checkpoint=path, **TINY | {"seed": 1})


def test_a_loss_that_is_not_finite_stops_the_training(tiny):
    broken = tiny._replace(images=tiny.images * float("nan"))
    with pytest.raises(FloatingPointError, match="step 1; lower lr"):
        diffusion.train_diffusion(broken, steps=1, **TINY)


def test_what_is_drawn_depends_on_the_seed_and_not_on_the_batch(trained):
    model, labels = trained[0], torch.arange(6) % 2
    first = diffusion.sample_ddim(model, labels, steps=2, seed=1)
    torch.testing.assert_close(first, diffusion.sample_ddim(model, labels, steps=2, seed=1, batch=2), rtol=0, atol=1e-4)
    assert not torch.allclose(first, diffusion.sample_ddim(model, labels, steps=2, seed=2), atol=0.01)
    assert diffusion.sample_ddim(model, labels[:0]).shape == (0, 1, 32, 32)


def test_a_saved_model_draws_the_same_but_for_half_precision(trained, tmp_path):
    path = tmp_path / "model.safetensors"
    diffusion.save_diffusion(path, trained[0], {"data": "digest"})
    loaded = diffusion.load_diffusion(path)
    assert loaded.meta["data"] == "digest" and not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    labels = torch.arange(2)
    torch.testing.assert_close(
        *(diffusion.sample_ddim(m, labels, steps=2) for m in (trained[0], loaded)), rtol=0, atol=0.05
    )


def test_a_file_of_another_kind_is_no_diffusion_model(tmp_path):
    artifacts.save_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {})
    with pytest.raises(artifacts.ArtifactError, match="no diffusion model"):
        diffusion.load_diffusion(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("labels", "steps", "message"),
    [
        ([2], 2, r"labels span 2 .. 2; allowed are 0 .. 1"),
        ([-1], 2, "allowed are 0 .. 1"),
        ([0], 0, "steps is 0; allowed"),
        ([0], 1001, r"allowed are 1 .. 1000"),
    ],
)
def test_labels_and_steps_out_of_range_are_refused(trained, labels, steps, message):
    with pytest.raises(ValueError, match=message):
        diffusion.sample_ddim(trained[0], torch.tensor(labels), steps=steps)


# DDPM and DDIM, two ways back of one denoiser


class Knowing:
    """A denoiser of images in [-1, 1] that knows them: it returns the velocity that leads to them."""

    settings, device = {"n_classes": 2, "channels": 1, "side": 32}, torch.device("cpu")

    def __init__(self, images):
        self.clean = torch.nn.functional.pixel_unshuffle(images, diffusion.PATCH)

    def __call__(self, noisy, at, labels):
        signal = DDPMScheduler(**diffusion.NOISE).alphas_cumprod[at].sqrt()
        noise = (noisy - signal * self.clean) / (1 - signal**2).sqrt()
        return types.SimpleNamespace(sample=signal * noise - (1 - signal**2).sqrt() * self.clean)


def draw(model, sampler, steps, **options):
    return sampler(model, torch.arange(4) % 2, seeds=torch.arange(4), steps=steps, **options)


@pytest.mark.parametrize("steps", [4, 20])
def test_ddim_with_eta_1_is_ddpm(trained, steps):
    """Of the same noise; the two write one update in two ways, so that rounding is all that differs."""
    model = trained[0]
    noisy, quiet = (draw(model, diffusion.sample_ddim, steps, eta=eta) for eta in (1, 0))
    torch.testing.assert_close(noisy, draw(model, diffusion.sample_ddpm, steps), rtol=0, atol=5e-4)
    assert (noisy - quiet).abs().max() > 0.01


def test_their_steps_agree_at_every_time():
    rng = torch.Generator().manual_seed(0)
    ddpm = DDPMScheduler(**diffusion.NOISE, timestep_spacing="trailing", variance_type="fixed_small")
    ddim = DDIMScheduler(**diffusion.NOISE, timestep_spacing="trailing")
    for schedule in (ddpm, ddim):
        schedule.set_timesteps(1000)
    for at in ddpm.timesteps[::50]:
        noisy, predicted = torch.randn(2, 2, 4, 8, 8, generator=rng)
        steps = [
            schedule.step(predicted, at, noisy, generator=torch.Generator().manual_seed(1), **options).prev_sample
            for schedule, options in ((ddpm, {}), (ddim, {"eta": 1, "use_clipped_model_output": True}))
        ]
        torch.testing.assert_close(*steps, rtol=0, atol=5e-4)
        assert ddpm._get_variance(at) == pytest.approx(float(ddim._get_variance(at, at - 1)), abs=1e-6)


@pytest.mark.parametrize("steps", [1, 7, 25])
@pytest.mark.parametrize(("sampler", "options"), [("ddpm", {}), ("ddim", {}), ("ddim", {"eta": 0.5})], ids=str)
def test_a_model_that_knows_the_image_returns_it_in_any_number_of_steps(sampler, options, steps):
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    drawn = draw(Knowing(images * 2 - 1), getattr(diffusion, f"sample_{sampler}"), steps, **options)
    # 1000 is no multiple of 7: diffusers' DDIM then ends one step short of the clean image
    torch.testing.assert_close(drawn, images, rtol=0, atol=0.05 if sampler == "ddim" and steps == 7 else 1e-3)


def test_noise_that_is_added_is_each_image_s_own(trained):
    model = trained[0]
    whole = draw(model, diffusion.sample_ddpm, 5)
    torch.testing.assert_close(draw(model, diffusion.sample_ddpm, 5, batch=3), whole, rtol=0, atol=1e-4)
    alone = diffusion.sample_ddpm(model, torch.tensor([1]), seeds=torch.tensor([3]), steps=5)
    torch.testing.assert_close(alone, whole[3:], rtol=0, atol=1e-4)


def test_ddpm_with_all_its_steps_takes_each_of_them_once():
    schedule = DDPMScheduler(**diffusion.NOISE, timestep_spacing="trailing")
    schedule.set_timesteps(1000)
    assert schedule.timesteps.tolist() == list(range(999, -1, -1))


@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_an_eta_out_of_range_is_refused(trained, eta):
    with pytest.raises(ValueError, match="eta is .*; allowed are 0 .. 1"):
        diffusion.sample_ddim(trained[0], torch.tensor([0]), eta=eta)


def test_a_training_by_seconds_lets_its_rate_fall_with_them(tiny, monkeypatch):
    clock, rates = itertools.count(), []
    monkeypatch.setattr("time.process_time", lambda: float(next(clock)))
    monkeypatch.setattr(diffusion, "one_cycle", lambda progress: rates.append(progress) or 1.0)
    _, curve = diffusion.train_diffusion(tiny, seconds=4, **TINY)
    assert rates == [0.25, 0.5, 0.75, 1] and curve[-1]["step"] == 4


@pytest.mark.parametrize("width", [0, 12])
def test_a_width_that_has_no_groups_is_refused(width):
    with pytest.raises(ValueError, match=f"width is {width}; allowed are multiples of 8"):
        diffusion.build_denoiser(n_classes=3, width=width)


# Image to image


@pytest.mark.parametrize("strength", [0, 0.02])
def test_a_strength_that_is_no_step_returns_the_images_as_they_are(trained, strength):
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    how = {"seeds": torch.arange(4), "steps": 20, "strength": strength}
    torch.testing.assert_close(diffusion.redraw(trained[0], images, torch.arange(4) % 2, **how), images)


def test_full_strength_is_a_fresh_sample_whatever_the_image(trained):
    """But for the share of the image that is left at the end of the way, which is next to nothing."""
    labels, seeds = torch.arange(4) % 2, torch.arange(4)
    fresh = diffusion.sample_ddim(trained[0], labels, seeds=seeds, steps=5)
    for grey in (0.0, 1.0):
        images = torch.full((4, 1, 32, 32), grey)
        found = diffusion.redraw(trained[0], images, labels, seeds=seeds, strength=1.0, steps=5)
        torch.testing.assert_close(found, fresh, rtol=0, atol=1e-2)


def test_the_stronger_the_farther_from_the_image(trained):
    images, labels = torch.full((6, 1, 32, 32), 0.5), torch.arange(6) % 2
    how = {"seeds": torch.arange(6), "steps": 10}
    far = [(diffusion.redraw(trained[0], images, labels, strength=s, **how) - images).abs().mean() for s in (0.2, 0.9)]
    assert 0 < far[0] < far[1]


def test_a_model_that_knows_the_image_returns_it_from_any_strength():
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    how = {"seeds": torch.arange(4), "steps": 20}
    for strength in (0.3, 1.0):
        found = diffusion.redraw(Knowing(images * 2 - 1), 1 - images, torch.arange(4) % 2, strength=strength, **how)
        torch.testing.assert_close(found, images, rtol=0, atol=1e-3)


def test_a_variation_depends_on_its_own_seed_alone(trained):
    images, labels = torch.rand(5, 1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(5) % 2
    draw = lambda seeds, batch: diffusion.redraw(trained[0], images, labels, seeds=seeds, steps=4, batch=batch)
    whole = draw(torch.arange(5), 64)
    torch.testing.assert_close(draw(torch.arange(5), 2), whole, rtol=0, atol=1e-4)
    assert (draw(torch.arange(5) + 9, 64) - whole).abs().max() > 0.01


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strength": -0.1}, "strength is -0.1; allowed are 0 .. 1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"images": torch.zeros(1, 3, 32, 32)}, r"received images \(1, 3, 32, 32\), 1 labels and 1 seeds"),
        ({"seeds": torch.arange(2)}, "1 labels and 2 seeds"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_a_variation_that_cannot_be_drawn_is_refused(trained, change, message):
    how = {"images": torch.zeros(1, 1, 32, 32), "labels": torch.tensor([0]), "seeds": torch.arange(1), "steps": 2}
    with pytest.raises(ValueError, match=message):
        diffusion.redraw(trained[0], **how | change)
