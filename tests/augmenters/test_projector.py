import pytest
import torch
from torch import nn

from sega_utils.augmenters import sega
from sega_utils.augmenters.base import save_generator
from sega_utils.augmenters.gan import train_gan
from sega_utils.augmenters.pools import load_generator
from sega_utils.augmenters.sega import info_nce, latents, load_projector, save_projector, train_projector
from sega_utils.core import artifacts
from sega_utils.core.artifacts import ArtifactError

OPTIONS = {"sigma": 0.5, "tau": 0.1, "lam": 1e-3, "lr": 1e-3, "steps": 3, "batch_size": 8, "seed": 0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "projector.safetensors"


@pytest.fixture
def train(generator, clip_model, prompts):
    def run(**options):
        parts = {name: prompts[name] for name in ("embeddings", "cluster_ids", "centroids")}
        return train_projector(generator, clip_model, **parts | OPTIONS | options)

    return run


def initial(seed: int = 0, d_text: int = 128) -> nn.Sequential:
    torch.manual_seed(seed)
    return sega.build_projector(d_text, 8)


# line 1: the network


def test_the_architecture_is_that_of_algorithm_1():
    first, activation, norm, last = sega.build_projector(512, 64)
    assert (first.in_features, first.out_features) == (512, 1024)
    assert isinstance(activation, nn.GELU) and isinstance(norm, nn.LayerNorm) and norm.normalized_shape == (1024,)
    assert (last.in_features, last.out_features) == (1024, 64)


# line 6: the contrast


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_info_nce_equals_the_equation_written_as_loops():
    images, prompts, cluster_ids, tau = unit(7, 5), unit(7, 5, seed=1), torch.tensor([0, 1, 0, 2, 2, 2, 3]), 0.2
    losses = []
    for i in range(7):
        similarity = [float(images[i] @ prompts[j]) / tau for j in range(7)]
        others = [similarity[j] for j in range(7) if cluster_ids[j] != cluster_ids[i]]
        terms = torch.tensor([similarity[i], *others], dtype=torch.float64)
        losses.append(float(terms.logsumexp(0)) - similarity[i])
    assert info_nce(images, prompts, cluster_ids, tau=tau).item() == pytest.approx(sum(losses) / 7, rel=1e-5)


def test_prompts_of_the_same_cluster_are_no_negatives():
    images, prompts, cluster_ids = unit(4, 5), unit(4, 5, seed=1), torch.tensor([0, 0, 1, 2])
    # with image 0 alone in the loss, its cluster mate's prompt must not matter, and another cluster's must
    first = lambda p: info_nce(torch.cat((images[:1], torch.zeros(3, 5))), p, cluster_ids, tau=0.1)
    mate, stranger = prompts.clone(), prompts.clone()
    mate[1], stranger[2] = unit(1, 5, seed=2)[0], unit(1, 5, seed=2)[0]
    assert first(mate) == first(prompts) != first(stranger)


def test_a_batch_of_one_cluster_has_no_negatives_and_no_loss():
    assert info_nce(unit(3, 5), unit(3, 5, seed=1), torch.zeros(3).long(), tau=0.1) == 0


def test_the_contrast_rewards_the_right_prompt():
    prompts, ids = unit(6, 5), torch.arange(6)
    assert info_nce(prompts, prompts, ids, tau=0.1) < info_nce(prompts.roll(1, 0), prompts, ids, tau=0.1)


# lines 2 to 8: training


@pytest.mark.parametrize("trained", [False, True], ids=["loaded", "trained"])
def test_generator_and_clip_stay_as_they_are_bit_for_bit(tiny, generator, clip_model, prompts, tmp_path, trained):
    if trained:
        frozen = train_gan(tiny, steps=2, seed=0, width=16, z_dim=8, batch_size=8)[0]
    else:
        save_generator(tmp_path / "g.safetensors", generator, {})
        frozen = load_generator(tmp_path / "g.safetensors")
    models = (frozen, clip_model.model)
    assert any("running_mean" in name for model in models for name, _ in model.named_buffers())
    before = [artifacts.digest(model.state_dict()) for model in models]
    parts = {name: prompts[name].clone() for name in ("embeddings", "cluster_ids", "centroids")}
    train_projector(frozen, clip_model, **parts, **OPTIONS)
    assert [artifacts.digest(model.state_dict()) for model in models] == before
    assert all(parameter.grad is None for model in models for parameter in model.parameters())
    assert all(torch.equal(parts[name], prompts[name]) for name in parts)


def test_each_image_is_of_its_clusters_class_and_contrasted_with_a_prompt_of_its_cluster(
    train, generator, prompts, monkeypatch
):
    labels, used, contrast = [], set(), sega.info_nce
    generator.register_forward_hook(lambda module, inputs, output: labels.append(inputs[1]))

    def check(images, positive, cluster_ids, *, tau):
        index = (positive @ prompts["embeddings"].T).argmax(1)
        assert torch.equal(positive, prompts["embeddings"][index])
        assert torch.equal(prompts["cluster_ids"][index], cluster_ids)
        assert torch.equal(prompts["class_ids"][index], labels[-1])
        used.update(index.tolist())
        return contrast(images, positive, cluster_ids, tau=tau)

    monkeypatch.setattr(sega, "info_nce", check)
    train(steps=10, batch_size=12)
    assert used == set(range(12))


@pytest.mark.parametrize("lam", [0.0, 1e-3])
def test_gradients_reach_every_weight_of_the_projector_through_generator_and_clip(train, lam):
    trained, _ = train(steps=1, lam=lam)
    assert not trained.training and not any(parameter.requires_grad for parameter in trained.parameters())
    for (name, before), after in zip(initial().named_parameters(), trained.parameters(), strict=True):
        assert not torch.equal(before, after), name


def test_the_curve_holds_the_terms_of_the_loss(train, prompts):
    centroids = prompts["centroids"][:1].expand(6, -1)
    curve = train(centroids=centroids, steps=1, lam=0.3)[1]
    expected = 0.3 * initial()(centroids[:1]).square().sum()
    assert curve == [{"step": 1, "contrast": curve[0]["contrast"], "regular": pytest.approx(expected.item(), rel=1e-5)}]
    assert curve[0]["contrast"] > 0


def test_the_regularisation_pulls_the_latents_to_zero(train, prompts):
    norm = lambda model: model(prompts["centroids"]).norm(dim=1).mean()
    assert norm(train(lam=10.0, steps=10)[0]) < norm(train(lam=0.0, steps=10)[0])


def test_training_lowers_the_contrast_of_the_noiseless_images(train):
    curve = train(sigma=0.0, lam=0.0, steps=30, batch_size=12)[1]
    assert [row["step"] for row in curve] == [10, 20, 30]
    assert curve[-1]["contrast"] < curve[0]["contrast"]


def test_training_depends_on_its_seed_alone(train):
    def weights(seed, noise):
        torch.manual_seed(noise)
        return artifacts.digest(train(seed=seed)[0].state_dict())

    assert weights(0, noise=1) == weights(0, noise=2) != weights(1, noise=1)


def test_noise_is_scaled_by_sigma(train):
    assert artifacts.digest(train(sigma=0.0)[0].state_dict()) != artifacts.digest(train(sigma=1.0)[0].state_dict())


def test_a_cluster_without_prompts_is_refused(train, prompts):
    with pytest.raises(ValueError, match=r"clusters \[2, 5\] hold no prompt; cluster the prompts again"):
        train(cluster_ids=torch.tensor([0, 0, 1, 1, 1, 1, 3, 3, 4, 4, 4, 4]))


@pytest.mark.parametrize("wrong", [{"sigma": -0.1}, {"tau": 0.0}, {"tau": -1.0}, {"lam": -1e-3}])
def test_a_parameter_that_makes_no_sense_is_refused(train, wrong):
    with pytest.raises(ValueError, match="allowed are sigma >= 0, tau > 0, lam >= 0"):
        train(**wrong)


def test_a_loss_that_is_not_finite_stops_training_and_nothing_was_written(train, path):
    with pytest.raises(FloatingPointError, match=r"the projector's loss is not finite at step 2; lower lr \(inf\)"):
        save_projector(path, train(lr=float("inf"))[0], {})
    assert not path.exists()


# line 4: latents


def test_latents_are_the_projection_plus_sigma_times_noise(prompts):
    model, noise = initial(), torch.randn(12, 8)
    z = latents(model, prompts["embeddings"], sigma=0.5, noise=noise)
    torch.testing.assert_close(z, model(prompts["embeddings"]).detach() + 0.5 * noise)
    assert not z.requires_grad


def test_without_sigma_the_noise_does_not_matter(prompts):
    model = initial()
    one, two = (latents(model, prompts["embeddings"], sigma=0.0, noise=torch.randn(12, 8)) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(one, model(prompts["embeddings"]).detach())


# checkpoints


def test_a_saved_projector_comes_back_frozen(path, prompts):
    model = initial()
    value = save_projector(path, model, {"sigma": 0.5})
    loaded = load_projector(path)
    assert torch.equal(loaded(prompts["embeddings"]), model(prompts["embeddings"]).detach())
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.meta == {"sigma": 0.5, "sha256": value}


def test_a_cut_altered_or_foreign_checkpoint_is_refused(path, generator):
    save_projector(path, initial(), {})
    whole = path.read_bytes()
    for raw in (b"", whole[:100], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(raw)
        with pytest.raises(ArtifactError, match="projector.safetensors"):
            load_projector(path)
    narrow = nn.Sequential(nn.Linear(5, 7), nn.GELU(), nn.LayerNorm(7), nn.Linear(7, 2)).state_dict()
    for tensors in (generator.state_dict(), narrow):
        artifacts.save_tensors(path, tensors)
        for name in (path, str(path)):
            with pytest.raises(ArtifactError, match="projector.safetensors holds no projector"):
                load_projector(name)
