"""The diffusion baseline: it learns, resumes to the same weights, draws the class asked for, and refuses the rest."""

import pytest
import torch
from diffusers import UNet2DModel

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
        ([2], 2, r"labels span 2 .. 2; this model knows 0 .. 1"),
        ([-1], 2, "knows 0 .. 1"),
        ([0], 0, "steps is 0; allowed"),
        ([0], 1001, r"allowed are 1 .. 1000"),
    ],
)
def test_labels_and_steps_out_of_range_are_refused(trained, labels, steps, message):
    with pytest.raises(ValueError, match=message):
        diffusion.sample_ddim(trained[0], torch.tensor(labels), steps=steps)


@pytest.mark.parametrize("width", [0, 12])
def test_a_width_that_has_no_groups_is_refused(width):
    with pytest.raises(ValueError, match=f"width is {width}; allowed are multiples of 8"):
        diffusion.build_denoiser(n_classes=3, width=width)
