"""The contract of augmenters, for every entry of the registry."""

import json

import pytest
import tiny_outside
import tiny_pipeline
import torch

from sega_utils.augmenters import base, pools
from sega_utils.augmenters.biggan import BigGan
from sega_utils.augmenters.registry import AUGMENTERS
from sega_utils.core import artifacts
from sega_utils.data import outside

LABELS = torch.tensor([2, 0, 1, 1, 0, 2, 2])
UNTRAINED = {"offsets-pixels"}  # their fit keeps the images: no seed changes anything
BRIEF = {
    "gan": {"steps": 3, "width": 16, "z_dim": 8, "batch_size": 8},
    **dict.fromkeys(("hinge", "vanilla", "lsgan", "wgan-gp"), {"steps": 2, "width": 16, "z_dim": 8, "batch_size": 8}),
    "projected": {"steps": 2, "width": 16, "z_dim": 8, "batch_size": 8, "side": 32, "mixed": 8},
    "gm-gan": {"steps": 3, "z_dim": 8, "batch_size": 8},
    **dict.fromkeys(("ddpm", "ddim"), {"steps": 3, "width": 8, "batch_size": 8}),
    "sega": {"steps": 3, "sigma": 1.0, "tau": 0.1, "lam": 0.01, "lr": 1e-3, "batch_size": 8, "m": 2},
    "vae": {"steps": 3, "width": 16, "z_dim": 8, "batch_size": 8},
    "bs-vae": {"steps": 3, "width": 16, "z_dim": 8, "batch_size": 8},
    "glico": {"steps": 3, "width": 16, "z_dim": 8, "batch_size": 8},
    "offsets": {"steps": 6, "width": 16, "z_dim": 8, "batch_size": 8, "lr": 0.02, "ema": 0.0},
    "offsets-pixels": {},
}
OPTIONS = {"ddpm": {"steps": 3}, "ddim": {"steps": 2, "eta": 0.5}, "stable-diffusion": {"steps": 1}}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Let the network that has seen other photographs be a small one: its weights are an extra."""
    monkeypatch.setattr(outside, "load", tiny_outside.load)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return str(tiny_pipeline.write(tmp_path_factory.mktemp("pipeline")))


@pytest.fixture(params=AUGMENTERS)
def name(request):
    return request.param


@pytest.fixture
def fit(name, tiny, clip_model, generator, prompts):
    """Return a function that fits an augmenter briefly on the tiny data set."""
    more = {}
    if name == "sega":
        state = generator.state_dict(), {"settings": generator.settings}
        more = {"generator": state, "clip": clip_model}
        more |= {"embeddings": prompts["embeddings"], "prompt_classes": prompts["class_ids"]}
    function, settings = AUGMENTERS[name].fit, BRIEF.get(name, {}) | more
    return function and (
        lambda seed=0, **changed: function(tiny.images, tiny.labels, num_classes=3, seed=seed, **settings | changed)
    )


@pytest.fixture
def state(name, fit, pipeline, prompts):
    if fit:
        return fit()
    if name == "biggan":
        torch.manual_seed(0)
        network = BigGan(n_classes=3, z_dim=16, width=16, shared_dim=4, attention=()).eval()
        return network.state_dict(), {"settings": network.settings}
    texts = [f"a small trouser number {i}" for i in range(12)]
    return {"prompt_classes": prompts["class_ids"]}, {"pipeline": pipeline, "texts": texts, "channels": 1, "side": 32}


@pytest.fixture
def draw(name, state):
    sample, options = AUGMENTERS[name].sample, OPTIONS.get(name, {})
    return lambda labels=LABELS, seed=0, **changed: sample(state, labels, seed, **options | changed)


@pytest.fixture
def same(name):
    """Return a comparison that allows for rounding; Stable Diffusion's images are 8 bit, where it may turn a level."""
    tolerance = 2 / 255 if name == "stable-diffusion" else 1e-5
    return lambda a, b: torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def test_images_are_float32_in_0_to_1_one_a_label_on_the_cpu(draw):
    images = draw()
    assert images.dtype == torch.float32 and images.shape[0] == len(LABELS) and images.shape[2:] == (32, 32)
    assert images.shape[1] in {1, 3} and images.device.type == "cpu"
    assert 0 <= images.min() <= images.max() <= 1 and images.isfinite().all()
    assert draw(LABELS[:0]).shape == (0, *images.shape[1:])


def test_an_image_depends_on_its_own_seed_alone(draw, same):
    whole = draw()
    same(draw(LABELS[:3]), whole[:3])
    for batch in (1, 4):
        same(draw(batch=batch), whole)
    assert torch.equal(draw(), whole), "and the same call gives the same bits"


def test_another_seed_draws_other_images(draw):
    assert (draw(seed=1) - draw()).abs().max() > 1e-4


def test_labels_that_were_not_trained_on_are_refused(draw):
    for wrong in (torch.tensor([3]), torch.tensor([-1]), torch.tensor([0.0]), torch.zeros(2, 1, dtype=torch.int64)):
        with pytest.raises(ValueError, match="labels"):
            draw(wrong)


def test_the_state_is_kept_by_safetensors_and_json(name, state, tmp_path):
    tensors, meta = state
    artifacts.save_tensors(tmp_path / "state.safetensors", tensors, meta)
    kept, told = artifacts.load_tensors(tmp_path / "state.safetensors")
    told.pop("sha256")
    assert told == json.loads(json.dumps(meta))
    sample, options = AUGMENTERS[name].sample, OPTIONS.get(name, {})
    assert torch.equal(sample((kept, told), LABELS, 0, **options), sample(state, LABELS, 0, **options))


def test_the_same_seed_fits_the_same_state_and_another_seed_another(fit, name):
    if fit:
        digests = [artifacts.digest(fit(seed)[0]) for seed in (0, 0, 1)]
        assert digests[0] == digests[1] and (digests[1] != digests[2]) == (name not in UNTRAINED)


def test_a_checkpoint_changes_nothing_and_labels_out_of_range_are_refused(fit, tmp_path, tiny, name):
    if fit:
        expected = artifacts.digest(fit()[0])
        for _ in range(2):  # the second goes on from the end of the first
            assert artifacts.digest(fit(checkpoint=tmp_path / "c.safetensors")[0]) == expected
        with pytest.raises(ValueError, match="labels"):
            AUGMENTERS[name].fit(tiny.images, tiny.labels + 3, num_classes=3, seed=0, **BRIEF[name] | sega_only(name))


def test_images_that_are_none_are_refused_before_anything_is_trained(name, tiny):
    """Of those that are fitted by a data set alone."""
    if AUGMENTERS[name].fit is None or name == "sega":
        return
    fit = lambda images, labels, n=3: AUGMENTERS[name].fit(images, labels, num_classes=n, seed=0, **BRIEF[name])
    broken = tiny.images.clone()
    broken[5, 0, 3, 3] = float("nan")
    for images in (
        broken,
        tiny.images + 0.5,
        tiny.images.double(),
        tiny.images[:, :, :30, :30],
        tiny.images[:, :, :28],
    ):
        with pytest.raises(ValueError, match="images must be a float32 tensor"):
            fit(images, tiny.labels)
    with pytest.raises(ValueError, match="received 36 images and 35 labels"):
        fit(tiny.images, tiny.labels[:-1])
    with pytest.raises(ValueError, match=r"classes \[3\] have fewer than"):
        fit(tiny.images, tiny.labels, 4)


def test_a_state_of_another_augmenter_is_refused(tiny):
    """Of those whose networks are revived from settings."""
    fit = lambda name: AUGMENTERS[name].fit(tiny.images, tiny.labels, num_classes=3, seed=0, **BRIEF[name])
    states = {name: fit(name) for name in ("vae", "glico", "offsets", "offsets-pixels")}
    for name in states:
        for other, state in states.items():
            if name != other:
                with pytest.raises(artifacts.ArtifactError, match="no state of such an augmenter.*fit it again"):
                    AUGMENTERS[name].sample(state, LABELS, 0)


def sega_only(name):
    return dict.fromkeys(("generator", "clip", "embeddings", "prompt_classes")) if name == "sega" else {}


def test_every_generator_of_a_checkpoint_has_an_entry():
    assert {"gan", "biggan"} <= AUGMENTERS.keys() and pools.NETWORKS.keys() == {"own", "gm", "biggan"}
    assert base.seeds_of(2, 3).tolist() == [20_000_000, 20_000_001, 20_000_002]


def test_ddpm_and_ddim_are_two_ways_to_draw_from_one_state(tiny):
    ddpm, ddim = AUGMENTERS["ddpm"], AUGMENTERS["ddim"]
    assert ddpm.fit is ddim.fit, "so that it is trained once"
    state = ddpm.fit(tiny.images, tiny.labels, num_classes=3, seed=0, **BRIEF["ddpm"])
    drawn = ddpm.sample(state, LABELS, 0, steps=4)
    torch.testing.assert_close(ddim.sample(state, LABELS, 0, steps=4, eta=1), drawn, rtol=0, atol=5e-4)
    assert (ddim.sample(state, LABELS, 0, steps=4) - drawn).abs().max() > 0.01
