import functools
import json
from unittest import mock

import pytest
import torch
from torch.nn import functional as F

from sega_utils import filters
from sega_utils.__main__ import main
from sega_utils.augmenters import base, pools, sega
from sega_utils.augmenters.base import generate, save_generator
from sega_utils.augmenters.sega import build_projector, save_projector
from sega_utils.core import artifacts, numbers, parameters, paths, records, schema
from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import catalogue
from sega_utils.data.images import from_uint8, to_uint8
from sega_utils.evaluation import classified
from sega_utils.report import comparisons
from sega_utils.studies import ablate, altered, entries
from sega_utils.studies.entries import Entry
from sega_utils.text import clip
from sega_utils.training import arms, recipes

RUN = ("mine", "fashion-mnist")
COST = {"seconds": 1.0, "peak_memory_gb": 0.1}
OWN = {"sigma": 1.0, "tau": 0.1, "lam": 0.01, "lr": 0.001, "steps": 2, "batch_size": 4, "seed": 0}
FILTERING = {
    "oversample": 20,
    "sigma": 1.0,
    "alignment_percentile": 0,
    "blur_percentile": 0,
    "max_distance": 0,
    "min_ssim": 1.0,
    "seed": 0,
    "filters": " ".join(filters.FILTERS),
}


@pytest.fixture
def run(tiny, clip_model, generator, prompts, monkeypatch):
    """Write a run up to SEGA-Net with seeds 0 and 1; the test set is the tiny data set."""
    place = functools.partial(paths.artifact, *RUN)
    stored = place("real").parent / "model.safetensors"
    value = clip.save_clip(stored, clip_model.model, clip.vocabulary_of(tiny.class_names), {})
    artifacts.save_json(place("clip"), {"name": paths.shown(stored), "sha256": value})
    save_generator(place("generator"), generator, {})
    torch.manual_seed(0)
    save_projector(place("projector"), build_projector(clip_model.dim, generator.z_dim), {})
    real = {"images": to_uint8(tiny.images), "labels": tiny.labels}
    artifacts.save_tensors(place("real"), real, {"fraction": 0.002, "seed": 0, "class_names": tiny.class_names})
    named = F.normalize(prompts["embeddings"].view(3, 4, -1).mean(1), dim=1)
    texts = {"prompts": ["a bag"] * len(prompts["class_ids"])}
    artifacts.save_tensors(place("prompts"), prompts | {"class_embeddings": named}, texts)
    planned = base.plan(prompts["class_ids"], 60, seed=2)
    images = to_uint8(generate(generator, planned["class_ids"], seed=5))
    artifacts.save_tensors(place("candidates"), planned | {"images": images, "kept": torch.arange(60) % 4 > 0})
    artifacts.save_tensors(place("synthetic"), {"images": images, "class_ids": planned["class_ids"]}, {"n_syn": 3})
    write = functools.partial(records.write, *RUN, metrics={}, inputs={}, cost=COST)
    write("prompts", "prompts", parameters={"n_prompts": 4, "m": 2, "seed": 0})
    write("projector", "projector", parameters=OWN)
    write("synthesis", "synthesis", parameters=FILTERING)
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: tiny)
    for seed in (0, 1):
        arms.run_arm(*RUN, "SEGA-Net", seed, {"steps": 2, "batch_size": 8})


@pytest.fixture
def fitted(monkeypatch) -> list[tuple[dict, dict, int]]:
    """Return what each training was given: inputs, settings and seed."""
    calls, fit = [], arms.fit
    monkeypatch.setattr(arms, "fit", lambda *given: calls.append(given) or fit(*given))
    return calls


def measure(name, value, seeds=(0,), arm=""):
    return ablate.run_entry(*RUN, Entry(name, value, arm), list(seeds))


def inputs():
    return pools.load_inputs(*RUN)


# entries


def test_the_committed_file_holds_every_entry_of_the_issue():
    found, seeds = entries.read(entries.FILE)
    values = lambda name: {entry.value for entry in found if entry.name == name}
    assert values("components") == set(entries.COMPONENTS) and values("filters") == set(entries.FILTER_ROWS)
    assert values("ratio_replace") >= {0, 0.7} and values("amount") >= {0.5, 10} and values("prompts") == {"shuffled"}
    assert all(values(name) for name in entries.ABLATIONS)
    of_arm = lambda arm: {entry.value for entry in found if entry.arm == arm}
    assert of_arm("Std Aug") == of_arm("SEGA-Net") == {0.002, 0.005, 0.01, 0.02, 0.05, 0.1}
    assert len(seeds) >= 2 and len({entries.slug(entry) for entry in found}) == len(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]\nsigmas: [1]", "unknown ablation 'sigmas'; known are components, filters, .*fraction"),
        ("seeds: [0]\nfraction: {None: [0.1]}", "fraction is of the arm 'None'"),
        ("seeds: [0]\nfraction: [0.1]", "for fraction lines 'arm: "),
        ("seeds: [0]\nfraction: {Std Aug: [0.1, 0.1]}", "holds fraction: Std Aug=0.1 twice"),
        ("seeds: [0]\nsigma: [5]", r"sigma is 5; allowed is 0 \.\. 4"),
        ("seeds: [0]\nsigma: ['1']", "sigma is '1'; allowed is"),
        ("seeds: [0]\nsigma: [true]", "sigma is True; allowed is"),
        ("seeds: [0]\nm: [1.5]", r"m is 1.5; allowed is 1 \.\. 20, an integer"),
        ("seeds: [0]\ncomponents: [GAN]", r"components is 'GAN'; allowed is one of: GAN-only \| LLM-only"),
        ("seeds: [0]\nfilters: [[blur]]", r"filters is \['blur'\]; allowed is one of"),
        ("seeds: [0]\nsigma: [1, 1.0]", "holds sigma=1 twice"),
        ("seeds: [0]\nsigma: 1", "must hold 'seeds: "),
        ("seeds: [0]\nsigma: []", "must hold 'seeds: "),
        ("- sigma", "must hold 'seeds: "),
        ("sigma: [1]", r"seeds of .* are \[\]"),
        ("seeds: [0, 0]\nsigma: [1]", "seeds of .* holds 0 twice; leave one"),
        ("seeds: [-1]\nsigma: [1]", r"seeds of .* are \[-1\]"),
        ("sigma: [1", "is not valid YAML"),
        ("seeds: [0]\nsigma: [010]", "010 would be read as the number 8"),
        ("seeds: [[0]]\nsigma: [1]", r"seeds of .* are \[\[0\]\]"),
    ],
)
def test_a_wrong_file_is_an_error_that_says_what_is_allowed(tmp_path, text, message):
    file = tmp_path / "ablations.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        entries.read(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="ablations.yaml"):
        entries.read(tmp_path / "ablations.yaml")


def test_entries_are_chosen_by_name_or_by_name_and_value():
    found = [Entry("sigma", 0), Entry("sigma", 0.5), Entry("m", 3)]
    assert entries.choose(found, ["sigma"]) == found[:2]
    assert entries.choose(found, ["m", "sigma=0.5"]) == found[1:]
    with pytest.raises(ValueError, match="there is no ablation 'sigma=2'; there are sigma=0, sigma=0.5, m=3"):
        entries.choose(found, ["m", "sigma=2"])


# pools


def test_a_pool_like_the_runs_own_is_the_runs_own(run):
    pool = altered.make_pool(*RUN, inputs(), pools.recipe_of(*RUN), n=3)
    assert torch.equal(pool["images"], inputs()["candidates"]["images"])


def test_a_run_that_leaves_filters_out_leaves_them_out_of_its_recipe(run):
    file = records.path(*RUN, "synthesis", "synthesis")
    artifacts.save_json(file, schema.sealed(artifacts.load_json(file) | {"param_filters": "blur duplicate"}))
    assert pools.recipe_of(*RUN)["use"] == "blur duplicate"


def test_a_redrawn_pool_is_what_the_synthesis_draws(run, prompts, generator):
    recipe = pools.recipe_of(*RUN) | {"draw_seed": 9, "use": ""}
    pool = altered.make_pool(*RUN, inputs(), recipe, n=3)
    plan = base.plan(prompts["class_ids"], 60, seed=9)
    network = sega.load_projector(paths.artifact(*RUN, "projector"))
    images = sega.draw(generator, network, embeddings=prompts["embeddings"], sigma=recipe["sigma"], **plan)
    assert torch.equal(pool["images"], to_uint8(images)) and torch.equal(pool["class_ids"], plan["class_ids"])


def test_what_is_kept_is_what_04_would_keep(run):
    recipe = pools.recipe_of(*RUN) | {"latents": "plain", "alignment_percentile": 25, "use": "alignment blur"}
    pool = altered.drawn(*RUN, inputs(), recipe, pools.recipe_of(*RUN), [1, 1, 1])
    real, labels, *_ = inputs()["real"]
    known = {"clip": inputs()["clip"], "class_embeddings": inputs()["class_embeddings"]}
    alignment, blur = (
        filters.calibrate(scores, labels, n_classes=3, percentile=percentile)
        for scores, percentile in ((filters.clip_score(real, labels, **known), 25), (filters.blur_score(real), 0))
    )
    images, ids = from_uint8(pool["images"]), pool["class_ids"]
    expected = (filters.clip_score(images, ids, **known) >= alignment[ids]) & (filters.blur_score(images) >= blur[ids])
    assert torch.equal(altered.keep(pool, inputs(), recipe), expected)


def test_a_pool_is_drawn_once_and_then_read(run, monkeypatch):
    recipe = pools.recipe_of(*RUN) | {"latents": "plain", "use": ""}
    first = altered.make_pool(*RUN, inputs(), recipe, n=3)
    monkeypatch.setattr(altered, "generate", mock.Mock(side_effect=AssertionError("drawn again")))
    again = altered.make_pool(*RUN, inputs(), recipe, n=3)
    assert torch.equal(first["images"], again["images"]) and first["kept"].all()
    assert len(list(paths.artifact(*RUN, "pools").glob("*"))) == 1


def test_plain_latents_need_neither_prompts_nor_projector(run, generator, prompts):
    pool = altered.make_pool(*RUN, inputs(), pools.recipe_of(*RUN) | {"latents": "plain", "use": ""}, n=3)
    plan = base.plan(prompts["class_ids"], 60, seed=2)
    noise = base.noise_of(plan["seeds"], generator.z_dim)
    assert torch.equal(pool["images"], to_uint8(generate(generator, plan["class_ids"], z=noise)))


@pytest.mark.parametrize("change", [{"sigma": 0.5}, {"tau": 0.2}, {"lam": 0.5}, {"m": 1}, {"n_prompts": 2}], ids=str)
def test_a_projector_is_trained_again_only_where_it_would_differ(run, monkeypatch, change):
    calls, train = [], sega.train_projector
    monkeypatch.setattr(altered, "train_projector", lambda *a, **options: calls.append(options) or train(*a, **options))
    altered.make_pool(*RUN, inputs(), pools.recipe_of(*RUN) | {"draw_seed": 9, "use": ""}, n=3)
    assert not calls
    altered.make_pool(*RUN, inputs(), pools.recipe_of(*RUN) | change | {"use": ""}, n=3)
    options = calls[0]
    assert len(calls) == 1 and options["seed"] == 0 and options["steps"] == 2
    assert {k: v for k, v in change.items() if k in options}.items() <= options.items()
    assert len(options["centroids"]) == 3 * change.get("m", 2)
    assert len(options["embeddings"]) == 3 * change.get("n_prompts", 4)


def test_without_classes_a_generator_draws_the_same_for_every_label(generator):
    plain = altered.without_classes(generator)
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(0)).expand(3, 8)
    labels = torch.arange(3)
    told, untold = generate(generator, labels, z=z), generate(plain, labels, z=z)
    assert not torch.allclose(told[0], told[1])
    assert torch.allclose(untold[0], untold[1]) and torch.allclose(untold[0], untold[2])
    assert torch.equal(generator.norm.scale.weight.mean(0), plain.norm.scale.weight[2])


def test_shuffled_prompts_are_those_of_every_other_class_each_once():
    class_ids = torch.arange(40) // 8
    index = altered.others(class_ids)
    assert sorted(index.tolist()) == list(range(40))
    assert (class_ids[index] != class_ids).all()
    assert all(len(class_ids[index][class_ids == c].unique()) == 4 for c in range(5))


def test_a_pool_that_is_too_small_grows_and_its_first_images_stay(run):
    recipe = pools.recipe_of(*RUN) | {"latents": "plain", "use": ""}
    small, large = (altered.make_pool(*RUN, inputs(), recipe, n=n) for n in (60, 63))
    assert len(small["kept"]) == 60 and len(large["kept"]) == 120
    assert torch.equal(large["images"][:60], small["images"])
    message = r"of 1,920 candidates too few are kept, in each class \[640, 640, 640\], for 1921 images"
    with pytest.raises(ValueError, match=message):
        altered.make_pool(*RUN, inputs(), recipe, n=1921)


def test_only_a_class_that_keeps_too_few_is_drawn_more(run, monkeypatch):
    yields = lambda images, ids, **_: ((torch.arange(len(ids)) % 8 == 0) | (ids != 2), {})
    monkeypatch.setattr(filters, "apply_filters", yields)
    pool = altered.make_pool(*RUN, inputs(), pools.recipe_of(*RUN) | {"latents": "plain"}, n=15)
    assert pool["class_ids"].bincount().tolist() == [20, 20, 40]


def test_more_prompts_than_there_are_is_an_error(run):
    with pytest.raises(ValueError, match="n_prompts is 5, but a class has only 4"):
        altered.make_pool(*RUN, inputs(), pools.recipe_of(*RUN) | {"n_prompts": 5}, n=3)


@pytest.mark.parametrize("stage", ["prompts", "projector", "synthesis"])
def test_a_missing_record_of_an_earlier_stage_names_its_notebook(run, stage):
    records.path(*RUN, stage, stage).unlink()
    with pytest.raises(FileNotFoundError, match=f"{stage}.json is missing; make it with: .*_{stage}.ipynb -p RUN mine"):
        measure("sigma", 0.5)


# measuring


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("ratio_replace", 0, {"synthetic": "none", "labels": "class"}),
        ("ratio_replace", 0.5, {"ratio": 0.5}),
        ("ratio_add", 0.5, {"ratio": 0.5, "batch_size": 16}),
        ("ratio_add", 0.2, {"ratio": 0.2, "batch_size": 10}),
        ("ratio_add_real", 0.5, {"synthetic": "none", "labels": "class", "batch_size": 16}),
        ("steps", 3, {"steps": 3}),
        ("steps_real", 3, {"synthetic": "none", "labels": "class", "steps": 3}),
        ("amount", 2, {"amount": 2}),
        ("labels", "clip", {"labels": "clip"}),
        ("mixing", "cutmix", {"mixing": "cutmix"}),
    ],
)
def test_an_entry_changes_its_settings_and_nothing_else(run, fitted, name, value, expected):
    record = measure(name, value, [1])[0]
    own = records.read(*RUN, "training")[1]
    _, settings, seed = fitted[0]
    assert settings == {k: own[f"param_{k}"] for k in recipes.SETTINGS} | expected and seed == 1
    assert record["param_steps"] == settings["steps"] and record["param_batch_size"] == settings["batch_size"]
    assert record["accuracy_reference"] == own["accuracy"] and record["input_reference"] == own["input_weights"]
    assert ("kept_share" in record) == (settings["synthetic"] == "filtered")


def test_an_entry_computes_in_the_precision_of_the_sega_net_it_is_paired_with(run, fitted):
    arms.run_arm(*RUN, "SEGA-Net", 0, {"steps": 2, "batch_size": 8, "precision": "bfloat16"})
    fitted.clear()
    record = measure("labels", "clip")[0]
    assert fitted[0][1]["precision"] == record["param_precision"] == "bfloat16"


@pytest.mark.parametrize("value", [value for value in entries.COMPONENTS if value != "SEGA-Net"])
def test_every_component_trains_on_a_pool_of_its_own(run, fitted, value, monkeypatch):
    keep = lambda images, *_, use, **__: (torch.arange(len(images)) % 5 < 5 - len(use) // 2, {})
    monkeypatch.setattr(filters, "apply_filters", keep)
    record = measure("components", value)[0]
    pool = fitted[0][0]["synthetic"]
    assert pool["kept"].all() == (value in {"GAN-only", "LLM-only", "GAN+LLM"})
    assert record["kept_share"] == pool["kept"].float().mean().item() or record["kept"] == int(pool["kept"].sum())
    assert record["param_pool_latents"] == ("plain" if value in {"GAN-only", "GAN+Filter"} else "prompt")
    assert record["param_pool_conditioning"] == ("average" if value.startswith("LLM") else "class")


def test_an_entry_that_changes_nothing_is_not_trained_again(run, fitted):
    for name, value in (("components", "SEGA-Net"), ("sigma", 1), ("mixing", "none"), ("n_prompts", 4)):
        record, own = measure(name, value)[0], records.read(*RUN, "training")[0]
        assert (record["accuracy"], record["input_weights"]) == (own["accuracy"], own["input_weights"])
    assert not fitted


def test_a_finished_entry_is_not_repeated_and_another_seed_is_added(run, fitted):
    first = measure("components", "GAN+LLM", [0])
    assert measure("components", "GAN+LLM", [0, 1])[:1] == first and [seed for *_, seed in fitted] == [0, 1]
    assert len(records.read(*RUN, "ablation")) == 2


def test_the_seeds_of_an_entry_share_one_pool(run, monkeypatch):
    calls, make = [], altered.make_pool
    monkeypatch.setattr(altered, "make_pool", lambda *a, **k: calls.append(a) or make(*a, **k))
    measure("components", "GAN-only", [0, 1])
    assert len(calls) == 1


def test_a_repeated_entry_ends_with_the_same_record(run):
    first = measure("components", "GAN+LLM")[0]
    for path in (records.path(*RUN, "ablation", first["name"]), *paths.artifact(*RUN, "pools").glob("*")):
        path.unlink()
    assert records.comparable(measure("components", "GAN+LLM")[0]) == records.comparable(first)


def test_records_of_other_files_are_replaced_and_never_averaged_with_new_ones(run):
    measure("mixing", "none", [0, 1])
    candidates, meta = artifacts.load_tensors(paths.artifact(*RUN, "candidates"))
    artifacts.save_tensors(paths.artifact(*RUN, "candidates"), candidates | {"more": torch.ones(1)}, meta)
    pools.load_inputs.cache_clear()
    with pytest.raises(ArtifactError, match="sega-net-seed0.json of run mine is of other files than those there now"):
        measure("mixing", "none")
    assert len(records.read(*RUN, "ablation")) == 2
    arms.run_arm(*RUN, "SEGA-Net", 0, {"steps": 2, "batch_size": 8})
    measure("mixing", "none")
    assert [record["param_seed"] for record in records.read(*RUN, "ablation")] == [0]


def test_a_seed_that_sega_net_lacks_names_the_command(run):
    with pytest.raises(FileNotFoundError, match=r"sega-net-seed7.json is missing; .*05_training.ipynb -p RUN mine"):
        measure("sigma", 0.5, [7])


def test_an_entry_that_is_not_allowed_is_refused(run):
    with pytest.raises(ValueError, match="sigma is 9; allowed is 0"):
        measure("sigma", 9)


# other fractions


@pytest.fixture
def low(run):
    """Write the training records of another fraction's run: Std Aug and SEGA-Net, seeds 0 and 1."""
    for arm, accuracy in (("Std Aug", 0.5), ("SEGA-Net", 0.75)):
        for seed in (0, 1):
            records.write(
                "mine-fraction-0.05",
                RUN[1],
                "training",
                f"{recipes.slug(arm)}-seed{seed}",
                parameters=recipes.settings_of(arm) | {"arm": arm, "seed": seed},
                cost=COST,
                metrics={"accuracy": accuracy + seed / 8, "fraction": 0.05, "n_real": 9, "n_test": 36},
                inputs={"real": "r", "weights": f"{arm}{seed}"},
            )


def test_another_fraction_is_read_from_its_own_run(low, fitted):
    measure("fraction", 0.05, [0, 1], "Std Aug")
    row = entries.ablation_rows(records.read(*RUN, "ablation"))[0]
    assert row | {"name": "fraction", "arm": "Std Aug", "value": 0.05, "mean": 56.25, "n": 2, "diff": -25.0} == row
    assert not fitted and all(map(classified.is_current, records.read(*RUN, "ablation")))


def test_the_runs_own_fraction_is_its_own_record(run):
    record = measure("fraction", 0.002, arm="SEGA-Net")[0]
    assert record["accuracy"] == record["accuracy_reference"] and record["param_from_run"] == "mine"


def test_a_fraction_that_was_not_run_names_the_command(run):
    message = "make run RUN=mine-fraction-0.02 .*PARAMS=notebooks/params/fraction.yaml FRACTION=0.02"
    with pytest.raises(FileNotFoundError, match=message):
        measure("fraction", 0.02, arm="Std Aug")


def test_a_run_of_another_fraction_than_its_name_says_is_refused(low):
    path = records.path("mine-fraction-0.05", RUN[1], "training", "std-aug-seed0")
    artifacts.save_json(path, schema.sealed(artifacts.load_json(path) | {"fraction": 0.1}))
    with pytest.raises(ArtifactError, match="mine-fraction-0.05 has the fraction 0.1, not 0.05"):
        measure("fraction", 0.05, arm="Std Aug")


def test_every_fraction_is_one_that_the_named_command_can_make():
    found = [entry for entry in entries.read(entries.FILE)[0] if entry.name == entries.FRACTION]
    notebook = paths.NOTEBOOKS / "00_data.ipynb"
    for entry in found:
        _, file, fraction = ablate.how_to_make(*RUN, entry).rsplit(maxsplit=2)
        given = parameters.read_file(paths.ROOT / file.partition("=")[2], notebook)
        assert "FRACTION" not in given  # one file for every fraction
        given |= {"FRACTION": fraction.partition("=")[2]}
        assert parameters.check(given, parameters.read(notebook))["FRACTION"] == entry.value


# tables


def made(name, value, seed, accuracy, reference, **more) -> dict:
    return {
        "stage": "ablation",
        "name": f"{name}{value}{seed}",
        "param_ablation": name,
        "param_value": value,
        "param_seed": seed,
        "accuracy": accuracy,
        "accuracy_reference": reference,
        "input_real": "r",
        "input_weights": f"{name}{seed}",
        "input_reference": f"r{seed}",
        "param_steps": 2,
    } | more


def test_rows_are_in_percent_and_paired_by_seed():
    found = [made("sigma", 0.5, seed, 0.5 + seed / 100, 0.5 + seed / 50) for seed in (0, 1, 2)]
    (row,) = entries.ablation_rows(found)
    expected = numbers.paired_difference({0: 50, 1: 51, 2: 52}, {0: 50, 1: 52, 2: 54})
    assert tuple(row) == entries.ROWS
    assert (row["mean"], row["std"], row["n"]) == pytest.approx((51, 1, 3))
    assert (row["diff"], row["ci_low"], row["ci_high"]) == pytest.approx(tuple(expected.values()))


def test_a_single_seed_and_sega_net_itself_have_no_difference():
    (row,) = entries.ablation_rows([made("sigma", 0.5, 0, 0.5, 0.6)])
    assert (row["std"], row["diff"], row["ci_low"], row["n"]) == ("", "", "", 1)
    same = [made("sigma", 1, seed, 0.5, 0.5, input_weights=f"r{seed}") for seed in (0, 1)]
    (row,) = entries.ablation_rows(same)
    assert (row["std"], row["diff"]) == (0, "")


def test_rows_follow_the_order_of_the_entries_and_numbers_rise():
    wanted = (("m", 6), ("m", 1), ("components", "GAN+LLM"), ("components", "GAN-only"))
    found = [made(*entry, 0, 0.5, 0.5) for entry in wanted]
    assert [row["value"] for row in entries.ablation_rows(found)] == ["GAN-only", "GAN+LLM", 1, 6]
    assert entries.ablation_rows([]) == []


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_an_estimate_for_no_worker_is_refused(capsys, workers):
    assert main(["ablations", "--workers", workers]) == 1
    assert f"workers is {workers}; allowed is 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"input_real": "s"}, {"param_steps": 3}, {"version_torch": "9"}], ids=str)
def test_records_of_mixed_runs_or_versions_are_refused(change):
    found = [made("m", 1, 0, 0.5, 0.5, version_torch="2"), made("m", 1, 1, 0.5, 0.5, version_torch="2") | change]
    with pytest.raises(ArtifactError, match="these records do not belong together"):
        entries.ablation_rows(found)


def test_yields_are_of_entries_that_drew_candidates():
    found = [made("blur_percentile", 5, 0, 0.5, 0.5, kept_share=0.25), made("ratio_replace", 0, 0, 0.5, 0.5)]
    (row,) = entries.yield_rows(found)
    assert (row["name"], row["kept_share"], row["mean"]) == ("blur_percentile", 0.25, 50)


# what is left


def test_the_estimate_counts_what_is_on_record_and_still_current(run, capsys, tmp_path):
    wanted = [Entry("mixing", "mixup"), Entry("mixing", "cutmix"), Entry("fraction", 0.05, "Std Aug")]
    record = measure("mixing", "mixup", [0, 1])[0]
    for seed in (0, 1):
        path = records.path(*RUN, "ablation", f"mixing-mixup-seed{seed}")
        artifacts.save_json(path, schema.sealed(artifacts.load_json(path) | {"seconds": 30 + 60 * seed}))
    mixing, fraction, total = entries.time_left(*RUN, wanted, [0, 1], workers=2)
    assert mixing == {"name": "mixing", "asked": 4, "on record": 2, "minutes left": 1.0}
    assert fraction["minutes left"] == "" and total["minutes left"] == 1.0 and total["asked"] == 6
    own = records.path(*RUN, "training", "sega-net-seed0")
    artifacts.save_json(own, schema.sealed(artifacts.load_json(own) | {"input_weights": "retrained"}))
    assert not classified.is_current(record)
    assert entries.time_left(*RUN, wanted, [0, 1], workers=2)[0]["on record"] == 1

    (tmp_path / "a.yaml").write_text(json.dumps({"seeds": [0, 1], "mixing": ["mixup"]}))
    assert main(["ablations", "--run", "mine", "--file", str(tmp_path / "a.yaml"), "--brief"]) == 0
    assert capsys.readouterr().out.startswith("1 of 2 ablations on record, about ")
    assert main(["ablations", "--run", "other"]) == 1 and "sega-net-seed0.json is missing" in capsys.readouterr().err


# figures


def rows_of(name, values, **more):
    return [
        {
            "name": name,
            "arm": "",
            "value": value,
            "mean": 80.0 + i,
            "std": 0.5,
            "n": 3,
            "diff": -1.0 - i,
            "ci_low": -2.0 - i,
            "ci_high": 0.5 - i,
        }
        | more
        for i, value in enumerate(values)
    ]


def test_the_bars_show_differences_and_leave_out_what_has_none():
    rows = rows_of("components", ["GAN-only", "GAN+LLM"])
    rows += rows_of("components", ["SEGA-Net"], diff="", ci_low="", ci_high="")
    (axes,) = comparisons.ablation_bars(rows).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["parts of the method: GAN-only", "parts of the method: GAN+LLM"]
    assert axes.lines[0].get_xdata().tolist() == [-1, -2]


def test_the_curves_have_a_panel_a_name_and_numbers_rise():
    rows = rows_of("sigma", [1, 0.5]) + rows_of("m", [3], std="")
    sigma, m = comparisons.ablation_curves(rows).axes
    assert sigma.get_title(loc="left") == "noise of the latents (sigma)" and m.get_title(loc="left").endswith("(m)")
    assert sigma.lines[0].get_xdata().tolist() == [0.5, 1] and sigma.lines[0].get_ydata().tolist() == [81, 80]
    by_yield = comparisons.ablation_curves(
        [row | {"kept_share": 0.5} for row in rows], x="kept_share", label="share"
    ).axes[0]
    assert by_yield.get_xlabel() == "share" and by_yield.lines[0].get_xdata().tolist() == [0.5, 0.5]


def test_a_control_without_synthetic_images_stands_in_the_panel_of_its_name():
    steps, m = comparisons.ablation_curves(
        rows_of("steps", [1, 2]) + rows_of("steps_real", [2, 4]) + rows_of("m", [3])
    ).axes
    assert [line.get_xdata().tolist() for line in steps.lines if line.get_marker() == "o"] == [[1, 2], [2, 4]]
    assert len({line.get_color() for line in steps.lines if line.get_marker() == "o"}) == 2
    assert [line.get_xdata().tolist() for line in m.lines if line.get_marker() == "o"] == [[3]]


def test_the_low_data_curves_have_a_line_an_arm_and_intervals_beside_sega_net():
    rows = rows_of("fraction", [0.1, 0.01], arm="Std Aug")
    rows += rows_of("fraction", [0.01], arm="SEGA-Net", diff="", ci_low="", ci_high="")
    left, right = comparisons.low_data_curves(rows).axes
    assert [line.get_label() for line in left.lines] == ["Std Aug", "SEGA-Net"]
    assert left.lines[0].get_xdata().tolist() == [0.01, 0.1] and left.lines[0].get_ydata().tolist() == [81, 80]
    drawn = [container[2][0].get_segments() for container in right.containers]
    assert [len(segments) for segments in drawn] == [2, 0]
    assert [segment[:, 1].tolist() for segment in drawn[0]] == [[-3, -0.5], [-2, 0.5]]


@pytest.mark.parametrize("rows", [[], rows_of("sigma", [0.5, 1])], ids=["none", "some"])
def test_both_figures_can_be_drawn(rows):
    assert comparisons.ablation_bars(rows)._repr_png_() and comparisons.ablation_curves(rows)._repr_png_()
