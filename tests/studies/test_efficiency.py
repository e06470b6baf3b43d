"""What a variant costs and is worth: on a small run of untrained networks, with what is on record not repeated."""

import pytest
import tiny_pipeline
import torch

from sega_utils.augmenters import diffusion, pools, stable_diffusion
from sega_utils.augmenters.base import save_generator
from sega_utils.augmenters.sega import build_projector, save_projector
from sega_utils.core import artifacts, paths, records
from sega_utils.data import catalogue
from sega_utils.data.images import take, to_uint8
from sega_utils.studies import efficiency, shards
from sega_utils.text import clip
from sega_utils.training import classifiers

RUN = ("small", "fashion-mnist")
RECIPE = {
    "sigma": 1.0,
    "alignment_percentile": 0,
    "blur_percentile": 0,
    "max_distance": 0,
    "min_ssim": 1.0,
    "use": "",
    "choice": "filtered",
}

TEXTS = [f"a {look} {thing}" for thing in ("coat", "bag", "boot") for look in ("dark", "grey", "wide", "long")]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return str(tiny_pipeline.write(tmp_path_factory.mktemp("pipeline")))


@pytest.fixture
def run(tiny, prompts, clip_model, generator, monkeypatch):
    """Write what the variants read, and a test set that is the tiny data set."""
    torch.manual_seed(0)
    place = lambda name: paths.artifact(*RUN, name)
    real = {"images": to_uint8(tiny.images), "labels": tiny.labels}
    artifacts.save_tensors(place("real"), real, {"class_names": list(tiny.class_names)})
    classes = {"class_embeddings": prompts["centroids"][::2].contiguous()}
    artifacts.save_tensors(place("prompts"), prompts | classes, {"prompts": TEXTS})
    save_generator(place("generator"), generator, {})
    save_projector(place("projector"), build_projector(clip_model.dim, generator.z_dim), {})
    diffusion.save_diffusion(place("diffusion"), diffusion.build_denoiser(n_classes=3, width=8), {})
    monkeypatch.setattr(clip, "load_run_clip", lambda *_: clip_model)
    monkeypatch.setattr(pools, "recipe_of", lambda *_: RECIPE)
    monkeypatch.setattr(catalogue, "load", lambda *_: tiny)


def measure(variant, **options):
    return efficiency.measure_variant(*RUN, variant, **{"n": 9, "sampling_steps": 2} | options)


@pytest.mark.parametrize("variant", pools.VARIANTS)
def test_a_variant_is_measured_on_the_images_that_are_kept(run, variant, pipeline):
    record = measure(variant, pipeline=pipeline)
    kept, meta = artifacts.load_tensors(efficiency.images_of(*RUN, variant))
    assert kept["images"].shape == (9, 1, 32, 32) and kept["labels"].bincount().tolist() == [3, 3, 3]
    assert record["drawn"] == (36 if pools.VARIANTS[variant][2] else 9) >= record["kept"] >= 9
    assert record["seconds"] / record["kept"] == pytest.approx(record["seconds_per_kept_image"])
    assert 0 < record["seconds_per_image"] <= record["seconds_per_kept_image"]
    assert record["params_millions"] > 0 and all(0 <= record[k] <= 1 for k in ("precision", "recall", "agreement"))
    assert not {"fid", "kid"} & record.keys()


def test_only_what_the_filters_keep_is_counted_and_chosen(run, monkeypatch):
    monkeypatch.setattr(pools, "judge", lambda pool, *_: (torch.arange(len(pool["images"])) >= 18, {}))
    record = measure("SEGA-Net")
    assert (record["drawn"], record["kept"]) == (36, 18)
    assert record["seconds_per_kept_image"] == pytest.approx(record["seconds"] / 18)
    inputs = pools.load_inputs(*RUN, pools.VARIANTS["SEGA-Net"][1]) | {"recipe": RECIPE}
    drawn = pools.produce(inputs, "SEGA-Net", 36, seed=0)["images"]
    kept = artifacts.load_tensors(efficiency.images_of(*RUN, "SEGA-Net"))[0]["images"]
    assert sorted(map(bytes, kept.numpy())) == sorted(map(bytes, drawn[18:27].numpy()))


def test_stable_diffusion_draws_from_the_prompts_and_is_not_drawn_again(run, pipeline, clip_model, monkeypatch):
    asked, draw = [], stable_diffusion.paint
    spy = lambda pipeline, texts, seeds, **options: asked.extend(texts) or draw(pipeline, texts, seeds, **options)
    monkeypatch.setattr(stable_diffusion, "paint", spy)
    record = measure("Stable Diffusion", pipeline=pipeline, oversample=2)
    # the classes alternate, and so do the four prompts of each
    assert asked == [TEXTS[4 * (i % 3) + i // 3 % 4] for i in range(18)]
    loaded = stable_diffusion.load_pipeline(pipeline)
    networks = (loaded.unet, loaded.vae, loaded.text_encoder, clip_model.model)
    assert record["params_millions"] == sum(p.numel() for network in networks for p in network.parameters()) / 1e6
    assert record["param_pipeline"] == "pipeline" and record["input_pipeline"] == loaded.sha256
    records.path(*RUN, "efficiency", "variant-stable-diffusion").unlink()  # as after a kill
    again = measure("Stable Diffusion", pipeline=pipeline, oversample=2)
    assert len(asked) == 18 and again["seconds_per_image"] == record["seconds_per_image"], "the first drawing's cost"


def test_stable_diffusion_is_compared_if_one_is_named(run):
    assert pools.compared("") == ["GAN-only", "SEGA-Net", "diffusion"]
    assert pools.compared("some/pipeline") == list(pools.VARIANTS)
    with pytest.raises(artifacts.ArtifactError, match="no Stable Diffusion from 'nowhere'"):
        measure("Stable Diffusion", pipeline="nowhere")


def test_parameters_of_every_network_count(run, generator, clip_model):
    total = lambda network: sum(p.numel() for p in network.parameters()) / 1e6
    ours, plain = (measure(variant)["params_millions"] for variant in ("SEGA-Net", "GAN-only"))
    assert plain == total(generator)
    assert ours == pytest.approx(
        plain + total(clip_model.model) + total(build_projector(clip_model.dim, generator.z_dim))
    )


def test_what_is_on_record_is_not_repeated_and_other_parameters_are(run, monkeypatch):
    first = measure("GAN-only")
    monkeypatch.setattr(efficiency, "produce", lambda *_, **__: pytest.fail("drawn again"))
    assert measure("GAN-only") == first
    with pytest.raises(pytest.fail.Exception):
        measure("GAN-only", seed=1)
    efficiency.images_of(*RUN, "GAN-only").unlink()
    with pytest.raises(pytest.fail.Exception):
        measure("GAN-only")


def test_real_images_are_of_perfect_quality(run, tiny, clip_model, prompts):
    inputs = {"clip": clip_model, "class_embeddings": prompts["centroids"][::2]}
    chosen = torch.arange(36)
    found = efficiency.quality(to_uint8(tiny.images)[chosen], tiny.labels, tiny, inputs)
    assert found["frechet"] == pytest.approx(0, abs=1e-3) and found["precision"] == found["recall"] == 1


def test_drawn_images_may_be_more_than_the_test_images(run, tiny, clip_model, prompts):
    inputs = {"clip": clip_model, "class_embeddings": prompts["centroids"][::2]}
    few = take(tiny, torch.arange(33))
    found = efficiency.quality(to_uint8(tiny.images), tiny.labels, few, inputs)
    assert found["precision"] > 0.9 and found["recall"] == 1


def test_scores_are_of_what_they_say(run, monkeypatch):
    seen, original = [], classifiers.train_classifier

    def spy(real, synthetic=None, **options):
        seen.append((real, synthetic))
        return original(real, synthetic=synthetic, **options)

    monkeypatch.setattr(efficiency, "train_classifier", spy)
    measure("GAN-only")
    drawn = artifacts.load_tensors(efficiency.images_of(*RUN, "GAN-only"))[0]
    jobs = [(variant, kind) for variant in ("GAN-only", efficiency.REAL_IMAGES) for kind in efficiency.kinds(variant)]
    found = [efficiency.score(*RUN, *job, 0, 2) for job in jobs]
    assert jobs == [("GAN-only", "cas"), ("GAN-only", "nas"), ("real images", "cas")]
    (alone, none), (real, mixed), (reference, nothing) = seen
    assert none is nothing is None and torch.equal(to_uint8(alone.images), drawn["images"])
    assert torch.equal(to_uint8(mixed[0]), drawn["images"]) and torch.equal(mixed[1].argmax(1), drawn["labels"])
    assert torch.equal(real.images, reference.images) and len(real.labels) == 36
    assert all(0 <= record["accuracy"] <= 1 for record in found)
    assert [efficiency.score(*RUN, *job, 0, 2) for job in jobs] == found and len(seen) == 3, "on record"


def test_growth_counts_drawing_and_filtering(run):
    record = shards.measure_growth(*RUN, 12)
    assert record["seconds"] == pytest.approx(record["drawing"] + record["filtering"])
    assert record["param_candidates"] == 12 and 0 < record["kept"] <= 12
    assert [r["name"] for r in records.read(*RUN, "efficiency")] == ["growth-12"]


def test_a_missing_network_names_the_notebook(run):
    paths.artifact(*RUN, "diffusion").unlink()
    with pytest.raises(FileNotFoundError, match="09_efficiency.ipynb"):
        measure("diffusion")
    with pytest.raises(FileNotFoundError):
        efficiency.score(*RUN, "SEGA-Net", "cas", 0, 1)
