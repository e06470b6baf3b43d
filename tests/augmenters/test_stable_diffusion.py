import json
import shutil

import pytest
import tiny_pipeline
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision.transforms.v2.functional import pil_to_tensor

from sega_utils.augmenters import base, stable_diffusion
from sega_utils.core import runtime
from sega_utils.core.artifacts import ArtifactError

TEXTS, CLASSES = ["a dark dress", "a short dress", "a coat"], torch.tensor([0, 0, 1])
FAST = {"steps": 2, "size": 64}
PARTS = {"text_encoder": "model", "unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_pipeline.write(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture(scope="module")
def pipeline(folder):
    return stable_diffusion.load_pipeline(str(folder))


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "pipeline")


class Killed(BaseException):
    pass


# drawing


def test_images_depend_on_text_and_seed_alone_and_not_on_their_batch(pipeline):
    seeds = torch.tensor([5, 6, 5])
    images = stable_diffusion.paint(pipeline, ["a coat", "a coat", "a dress"], seeds, **FAST)
    assert images.shape == (3, 3, 32, 32) and images.dtype == torch.uint8
    assert not torch.equal(images[0], images[1]) and not torch.equal(images[0], images[2])
    alone = stable_diffusion.paint(pipeline, ["a coat"], seeds[1:2], **FAST)
    torch.testing.assert_close(alone.int(), images[1:2].int(), rtol=0, atol=1)  # a batch may round differently


def test_an_image_is_what_diffusers_draws_resized_with_antialiasing(pipeline):
    options = {"num_inference_steps": 2, "guidance_scale": 7.5, "height": 64, "width": 64}
    (picture,) = pipeline("a coat", generator=runtime.generator(3), **options).images
    expected = pil_to_tensor(picture.resize((32, 32), Image.Resampling.BICUBIC))
    ours = stable_diffusion.paint(pipeline, ["a coat"], torch.tensor([3]), **FAST)[0]
    # the picture is rounded by 1/2 and passes weights that sum to at most 5/4 in magnitude twice: 25/32 of a level;
    # PIL's passes round by 9/8 (see test_clip), and ours by 1/2 at the end: less than 3 levels in all
    assert (ours.int() - expected.int()).abs().max() <= 2


def test_grey_images_are_the_luminance(pipeline):
    seeds = torch.tensor([3])
    grey = stable_diffusion.paint(pipeline, ["a coat"], seeds, channels=1, **FAST)
    colour = stable_diffusion.paint(pipeline, ["a coat"], seeds, **FAST).float()
    assert grey.shape == (1, 1, 32, 32)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    # each is rounded by at most 1/2; torchvision's weights differ by up to 1e-4
    assert (grey - (colour * weights).sum(1, keepdim=True)).abs().max() <= 1 + 1e-4 * 255


def test_pixels_that_are_not_finite_are_no_image(copy):
    broken = stable_diffusion.load_pipeline(str(copy))
    broken.vae.decoder.conv_out.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite in torch.float32"):
        stable_diffusion.paint(broken, ["a coat"], torch.tensor([3]), **FAST)


# varying


def test_a_variation_is_what_diffusers_draws_and_strength_0_the_image_itself(pipeline):
    from diffusers import StableDiffusionImg2ImgPipeline

    images, seeds = torch.rand(2, 3, 64, 64, generator=runtime.generator(0)), torch.tensor([5, 6])
    vary = lambda n, **options: stable_diffusion.repaint(pipeline, TEXTS[:n], images[:n], seeds[:n], **options)
    assert torch.equal(vary(2, strength=0.0), (images * 255).round().to(torch.uint8))
    ours = vary(2, steps=4)
    other = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
    options = {"strength": 0.5, "num_inference_steps": 4, "guidance_scale": 7.5, "output_type": "pt"}
    theirs = other(TEXTS[0], image=images[:1], generator=runtime.generator(5), **options).images
    assert (ours[:1] - theirs * 255).abs().max() <= 1  # rounded by 1/2, and a batch may round differently
    assert not torch.equal(ours, vary(2, steps=4, strength=1.0))
    assert vary(1, steps=4, strength=0.01).shape == (1, 3, 64, 64)  # a step at least


def test_a_variation_of_grey_images_is_grey_and_their_numbers_must_agree(pipeline):
    grey = torch.rand(1, 1, 32, 32)
    assert stable_diffusion.repaint(pipeline, ["a coat"], grey, torch.tensor([3]), steps=2).shape == (1, 1, 32, 32)
    with pytest.raises(ValueError, match="received 1 images, 2 texts, 1 seeds, strength 0.5 and 50 steps; give one"):
        stable_diffusion.repaint(pipeline, ["a", "b"], grey, torch.tensor([3]))
    with pytest.raises(ValueError, match="strength 1.5 and 50 steps; give one"):
        stable_diffusion.repaint(pipeline, ["a"], grey, torch.tensor([3]), strength=1.5)


# the pool


def test_a_pool_says_of_each_image_what_it_was_drawn_for_and_what_all_cost(pipeline, tmp_path):
    pool, cost = stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path, n=5, seed=2, batch=2, chunk=4, **FAST)
    plan = base.plan(CLASSES, 5, seed=2)
    assert pool["images"].shape == (5, 3, 32, 32) and pool["images"].dtype == torch.uint8
    assert all(torch.equal(pool[name], column) for name, column in plan.items())
    last = stable_diffusion.paint(pipeline, [TEXTS[plan["prompt_ids"][4]]], plan["seeds"][4:], **FAST)
    assert torch.equal(pool["images"][4:], last)
    assert cost["seconds"] > 0 and cost["seconds_per_image"] == pytest.approx(cost["seconds"] / 5)
    networks = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert cost["params_millions"] == sum(p.numel() for network in networks for p in network.parameters()) / 1e6


def test_chunks_do_not_change_the_images(pipeline, tmp_path):
    whole, *others = (
        stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path, n=5, seed=2, batch=2, chunk=chunk, **FAST)[0]
        for chunk in (6, 2, 4)
    )
    assert all(torch.equal(whole["images"], pool["images"]) for pool in others)


def test_a_killed_run_goes_on_where_it_was(pipeline, tmp_path, monkeypatch):
    options = {"n": 5, "seed": 2, "batch": 1, "chunk": 2} | FAST
    whole, _ = stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path / "whole", **options)
    draw, drawn = stable_diffusion.paint, []

    def counted(pipeline, texts, seeds, **options):
        drawn.extend(seeds.tolist())
        if len(drawn) == 4:  # in the middle of the second chunk
            raise Killed
        return draw(pipeline, texts, seeds, **options)

    monkeypatch.setattr(stable_diffusion, "paint", counted)
    with pytest.raises(Killed):
        stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path / "killed", **options)
    resumed, cost = stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path / "killed", **options)
    assert torch.equal(resumed["images"], whole["images"]) and len(drawn) == 4 + 3
    assert stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path / "killed", **options)[1] == cost
    more, _ = stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path / "killed", **options | {"n": 6})
    assert torch.equal(more["images"][:5], whole["images"]) and len(drawn) == 4 + 3 + 2  # the last chunk has grown


@pytest.mark.parametrize("change", [{"seed": 3}, {"steps": 3}, {"guidance": 1.0}, {"channels": 1}], ids=str)
def test_images_of_other_settings_are_drawn_anew(pipeline, tmp_path, change):
    options = {"n": 1, "seed": 2, "batch": 1, "chunk": 1} | FAST
    first, second = (
        stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path, **options | change)[0]["images"]
        for change in ({}, change)
    )
    assert first.shape != second.shape or not torch.equal(first, second)


def test_a_damaged_chunk_is_refused(pipeline, tmp_path):
    options = {"n": 1, "seed": 2, "batch": 1, "chunk": 1} | FAST
    stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path, **options)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="delete it and run the step"):
        stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path, **options)


@pytest.mark.parametrize("change", [{"n": 0}, {"chunk": 3}, {"batch": 0}], ids=str)
def test_chunks_that_cut_a_batch_are_refused(pipeline, tmp_path, change):
    options = {"n": 4, "seed": 0, "batch": 2, "chunk": 4} | change
    with pytest.raises(ValueError, match="chunk a multiple of batch"):
        stable_diffusion.synthesise(pipeline, TEXTS, CLASSES, tmp_path, **options)


# which pipeline


def test_the_digest_is_that_of_weights_and_sampler(pipeline, copy):
    assert stable_diffusion.load_pipeline(str(copy)).sha256 == pipeline.sha256
    config = copy / "scheduler" / "scheduler_config.json"
    config.write_text(config.read_text().replace('"beta_end": 0.02', '"beta_end": 0.03'))
    assert stable_diffusion.load_pipeline(str(copy)).sha256 != pipeline.sha256
    assert pipeline.safety_checker is None


@pytest.mark.parametrize("name", ["nobody/no-such-model", "/nowhere/at/all"])
def test_an_unknown_name_is_refused_offline(monkeypatch, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ArtifactError, match=f"no Stable Diffusion from '{name}': give a folder .*or a tag of hugging"):
        stable_diffusion.load_pipeline(name)


@pytest.mark.parametrize("part", PARTS)
def test_pickled_or_damaged_weights_are_refused(copy, part):
    file = copy / part / f"{PARTS[part]}.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match="whole safetensors files"):
        stable_diffusion.load_pipeline(str(copy))
    file.write_bytes(whole)
    names = {"model": "pytorch_model"}
    torch.save(load_file(file), file.with_name(f"{names.get(PARTS[part], PARTS[part])}.bin"))
    file.unlink()
    with pytest.raises(ArtifactError, match="whole safetensors files"):
        stable_diffusion.load_pipeline(str(copy))


@pytest.mark.parametrize("named", [["mine", "Mine"], ["os", "system"], ["subprocess", "Popen"]], ids=str)
def test_code_in_the_folder_is_not_run(copy, tmp_path, named):
    (copy / "unet" / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mine:\n    pass\n")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"unet": named}))
    with pytest.raises(ArtifactError):
        stable_diffusion.load_pipeline(str(copy))
    assert not (tmp_path / "ran").exists()
