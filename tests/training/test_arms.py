import functools

import pytest
import torch
from torch.nn import functional as F

from sega_utils.augmenters import base, pools
from sega_utils.augmenters.base import generate, save_generator
from sega_utils.core import artifacts, paths, records
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.text import clip
from sega_utils.training import arms, classifiers, recipes

RUN = ("mine", "fashion-mnist")
TUNED = {"steps": 2, "batch_size": 8}


@pytest.fixture
def run(tiny, clip_model, generator, prompts, monkeypatch):
    """Write everything that the arms read; the test set is the tiny data set."""
    place = functools.partial(paths.artifact, *RUN)
    stored = place("real").parent / "model.safetensors"
    value = clip.save_clip(stored, clip_model.model, clip.vocabulary_of(tiny.class_names), {})
    artifacts.save_json(place("clip"), {"name": paths.shown(stored), "sha256": value})
    save_generator(place("generator"), generator, {})
    real = {"images": to_uint8(tiny.images), "labels": tiny.labels}
    artifacts.save_tensors(place("real"), real, {"fraction": 0.002, "seed": 0, "class_names": tiny.class_names})
    named = F.normalize(prompts["embeddings"].view(3, 4, -1).mean(1), dim=1)
    bank = {"embeddings": named[prompts["class_ids"]], "class_embeddings": named, "class_ids": prompts["class_ids"]}
    artifacts.save_tensors(place("prompts"), bank, {"prompts": ["a bag"] * len(prompts["class_ids"])})
    planned = base.plan(prompts["class_ids"], 60, seed=0)
    images = to_uint8(generate(generator, planned["class_ids"], seed=5))
    kept = torch.arange(60) % 4 > 0
    artifacts.save_tensors(place("candidates"), planned | {"images": images, "kept": kept})
    chosen = base.select(kept, planned["class_ids"], n=30, n_classes=3)
    selection = {"images": images[chosen], "class_ids": planned["class_ids"][chosen]}
    artifacts.save_tensors(place("synthetic"), selection, {"n_syn": 15})
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: tiny)


def test_prompts_without_their_texts_are_refused(run):
    file = paths.artifact(*RUN, "prompts")
    artifacts.save_tensors(file, artifacts.load_tensors(file)[0])
    with pytest.raises(ArtifactError, match="prompts.safetensors cannot be used: it does not say which prompts"):
        pools.load_inputs(*RUN)


def test_files_of_another_run_than_the_stage_has_on_record_are_refused(run, monkeypatch):
    record = paths.artifact(*RUN, "records") / "synthesis" / "synthesis.json"
    artifacts.save_text(record, "{}")
    monkeypatch.setattr(pools.records, "load", lambda _: {"input_candidates": "0" * 64})
    with pytest.raises(ArtifactError, match="candidates.safetensors has the digest .*restore that file, or run"):
        pools.load_inputs(*RUN)


@pytest.fixture
def trained(monkeypatch) -> list[dict]:
    """Return what each training was called with."""
    calls, train = [], classifiers.train_classifier
    monkeypatch.setattr(
        arms, "train_classifier", lambda real, **options: calls.append(options) or train(real, **options)
    )
    return calls


def run_arm(arm: str = "Std Aug", seed: int = 0, **tuned) -> dict:
    pools.load_inputs.cache_clear()
    return arms.run_arm(*RUN, arm, seed, TUNED | tuned)


# settings


def test_what_makes_an_arm_itself_is_not_tuned():
    assert recipes.settings_of("No Aug", {"pixel": True, "lr": 0.05}) == recipes.SETTINGS | {"pixel": False, "lr": 0.05}
    assert recipes.settings_of("Std Aug") == recipes.SETTINGS
    assert all(recipes.settings_of(arm).keys() == recipes.SETTINGS.keys() for arm in recipes.ARMS)


def test_unknown_arms_and_settings_list_the_known_ones():
    with pytest.raises(ValueError, match="unknown arm 'SEGA'; known are No Aug, Std Aug, .*SEGA-Net"):
        recipes.settings_of("SEGA")
    with pytest.raises(ValueError, match=r"unknown settings \['learning_rate'\]; known are classifier, steps"):
        recipes.settings_of("SEGA-Net", {"learning_rate": 0.1})


def test_only_the_settings_that_differ_from_the_defaults_are_shown():
    tuned = {"No Aug": {"lr": 0.2}, "Std Aug": {"lr": recipes.SETTINGS["lr"]}}
    assert recipes.differences(["No Aug", "Std Aug"], tuned) == {"No Aug": {"pixel": False, "lr": 0.2}, "Std Aug": {}}


def test_how_a_step_is_computed_is_a_setting_only_where_it_is_not_as_usual():
    assert recipes.settings_of("Std Aug", dict(recipes.SPEED)) == recipes.SETTINGS
    fast = {"precision": "bfloat16", "compile": True}
    assert recipes.settings_of("Std Aug", fast) == recipes.SETTINGS | fast
    assert recipes.differences(["Std Aug"], {"Std Aug": fast}) == {"Std Aug": fast}


def test_arms_have_names_that_files_may_carry():
    names = [recipes.slug(arm) for arm in recipes.ARMS]
    assert len(set(names)) == len(recipes.ARMS) and names[:3] == ["no-aug", "std-aug", "std-aug-plus-mixup"]
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz-") for name in names)


# what each arm trains on


@pytest.mark.parametrize("arm", recipes.ARMS)
def test_every_arm_runs_and_is_recorded(run, results, arm):
    record = run_arm(arm, 3)
    assert record == artifacts.load_json(
        results / "mine/fashion-mnist/records/training" / f"{recipes.slug(arm)}-seed3.json"
    )
    expected = {
        "param_arm": arm,
        "param_seed": 3,
        "param_steps": 2,
        "param_classifier": "resnet8-half",
        "fraction": 0.002,
        "n_real": 36,
        "n_test": 36,
    }
    assert expected.items() <= record.items()
    assert 0 <= record["accuracy"] <= 1 and record["seconds"] > 0
    weights = paths.artifact(*RUN, "classifiers") / f"{recipes.slug(arm)}-seed3.safetensors"
    assert record["input_weights"] == artifacts.load_tensors(weights)[1]["sha256"]


def test_no_synthetic_arm_sees_a_synthetic_image(run, trained):
    expected = {
        "No Aug": (False, "none", "none"),
        "Std Aug": (True, "none", "none"),
        "Std Aug + MixUp": (True, "none", "mixup"),
        "Std Aug + CutMix": (True, "none", "cutmix"),
        "Std Aug + TrivialAugment": (True, "trivial", "none"),
    }
    for arm in expected:
        run_arm(arm)
    assert [options["synthetic"] for options in trained] == [None] * 5
    assert [tuple(options[name] for name in ("pixel", "policy", "mixing")) for options in trained] == list(
        expected.values()
    )


def test_gan_only_draws_from_the_prior_balanced_and_unfiltered(run, trained, generator):
    run_arm("GAN-only", amount=2)
    images, targets = trained[0]["synthetic"]
    labels = torch.arange(3).repeat_interleave(10)
    assert torch.equal(targets, F.one_hot(labels, 3).float())
    assert torch.equal(images, generate(generator, labels, seed=1))


def test_sega_net_sees_only_kept_candidates_balanced(run, trained):
    run_arm("SEGA-Net", amount=2)
    pool = artifacts.load_tensors(paths.artifact(*RUN, "candidates"))[0]
    images, targets = trained[0]["synthetic"]
    chosen = base.select(pool["kept"], pool["class_ids"], n=30, n_classes=3)
    assert torch.equal(images, from_uint8(pool["images"][chosen]))
    assert targets.sum(0).tolist() == [10, 10, 10] and pool["kept"][chosen].all()


def test_a_smaller_amount_takes_the_first_of_each_class_of_what_04_chose(run, trained):
    run_arm("SEGA-Net", amount=1)
    pool = artifacts.load_tensors(paths.artifact(*RUN, "candidates"))[0]
    chosen = base.select(pool["kept"], pool["class_ids"], n=15, n_classes=3)
    assert torch.equal(trained[0]["synthetic"][0], from_uint8(pool["images"][chosen]))


def test_more_images_than_04_chose_are_an_error(run):
    with pytest.raises(ValueError, match="takes 4 times 15 synthetic images, but there are 30; raise AMOUNT"):
        run_arm("SEGA-Net", amount=4)


def test_what_an_arm_takes_of_the_pool_is_known_before_training(run):
    inputs = pools.load_inputs(*RUN)
    taken = {arm: len(arms.chosen_of(inputs, recipes.settings_of(arm, {"amount": 2}))) for arm in recipes.ARMS}
    assert taken == dict.fromkeys(recipes.ARMS, 0) | {"SEGA-Net": 30}
    with pytest.raises(ValueError, match="there are 30; raise AMOUNT"):
        arms.chosen_of(inputs, recipes.settings_of("SEGA-Net", {"amount": 4}))


def test_clip_labels_are_clips_distribution_over_the_classes(run, trained):
    run_arm("Std Aug", labels="clip", temperature=2.0)
    inputs = pools.load_inputs(*RUN)
    similarity = clip.embed(inputs["clip"], inputs["real"].images) @ inputs["class_embeddings"].T
    expected = (similarity / (2.0 * inputs["clip"].temperature)).softmax(1)
    torch.testing.assert_close(trained[0]["real_targets"], expected)


def test_precision_reaches_the_training_and_the_record(run, trained):
    usual, reduced = run_arm(), run_arm(precision="bfloat16")
    assert [options["precision"] for options in trained] == ["float32", "bfloat16"]
    assert "param_precision" not in usual and reduced["param_precision"] == "bfloat16"
    assert usual["input_weights"] != reduced["input_weights"]


# resuming


def test_supervision_is_a_training_of_its_own_on_real_images_alone(run, monkeypatch):
    seen = []
    monkeypatch.setattr(arms, "train_supervised", lambda real, **settings: seen.append((len(real.labels), settings)))
    settings = recipes.settings_of("Std Aug", TUNED | {"supervision": "NCDS"})
    inputs = pools.load_inputs(*RUN)
    arms.fit(inputs, settings, 3)
    expected = {"supervision": "NCDS", "steps": 2, "batch_size": 8, "seed": 3}
    assert seen[0][0] == len(inputs["real"].labels) and seen[0][1].items() >= expected.items()
    with pytest.raises(ValueError, match="supervision 'NCDS' is received with {'mixing': 'cutmix'}"):
        arms.fit(inputs, settings | {"mixing": "cutmix"}, 3)


def test_a_finished_run_is_not_repeated(run, trained):
    first = run_arm()
    assert run_arm() == first and len(trained) == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 0.05}, {"steps": 3}, {"arm": "No Aug"}], ids=str)
def test_another_configuration_is_another_run(run, trained, change):
    run_arm()
    run_arm(**change)
    assert len(trained) == 2


@pytest.mark.parametrize("name", ["real", "prompts", "candidates", "synthetic"])
def test_a_run_is_repeated_when_what_it_read_has_changed(run, trained, name):
    first = run_arm()
    tensors, meta = artifacts.load_tensors(paths.artifact(*RUN, name))
    artifacts.save_tensors(paths.artifact(*RUN, name), tensors | {"more": torch.ones(1)}, meta)
    again = run_arm()
    assert len(trained) == 2 and first[f"input_{name}"] != again[f"input_{name}"]


def test_a_run_is_repeated_when_the_generator_has_changed(run, trained, generator):
    run_arm("GAN-only")
    generator.project.weight.mul_(2)
    save_generator(paths.artifact(*RUN, "generator"), generator, {})
    run_arm("GAN-only")
    assert len(trained) == 2


def test_a_repeated_run_ends_with_the_same_weights_and_numbers(run, trained):
    first = run_arm("SEGA-Net")
    records.path(*RUN, "training", "sega-net-seed0").unlink()
    assert records.comparable(run_arm("SEGA-Net")) == records.comparable(first) and len(trained) == 2


@pytest.mark.parametrize("victim", ["save_tensors", "save_json"])
def test_a_run_killed_between_its_two_files_is_never_taken_for_another(run, trained, monkeypatch, victim):
    class Killed(BaseException):
        pass

    def killed(*args):
        raise Killed

    slow = run_arm(lr=0.05)
    with monkeypatch.context() as broken, pytest.raises(Killed):
        broken.setattr(artifacts, victim, killed)
        run_arm(lr=0.5)
    again = run_arm(lr=0.05)
    assert again["param_lr"] == 0.05 and again["input_weights"] == slow["input_weights"]
    assert run_arm(lr=0.5)["param_lr"] == 0.5


def test_damaged_weights_are_refused_not_trusted(run):
    run_arm()
    weights = paths.artifact(*RUN, "classifiers") / "std-aug-seed0.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="classifiers/std-aug-seed0.safetensors is damaged"):
        run_arm()


def test_a_loss_that_is_not_finite_leaves_the_finished_run(run, results, monkeypatch):
    run_arm()
    monkeypatch.setitem(recipes.LIMITS, "lr", (0, float("inf")))
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    with pytest.raises(FloatingPointError):
        run_arm(lr=float("inf"))
    assert before == {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["real", "clip", "prompts", "generator", "candidates", "synthetic"])
def test_a_missing_input_names_the_notebook_that_makes_it(run, name):
    paths.artifact(*RUN, name).unlink()
    notebook = paths.ARTIFACTS[name][1]
    with pytest.raises(FileNotFoundError, match=f"is missing; make it with: .*{notebook}.ipynb -p RUN mine"):
        run_arm()
