"""The zoo: which images are whose, what is recorded and resumed, and what is concluded from the records."""

import pytest
import torch

from sega_utils.core import artifacts, parameters, paths, records
from sega_utils.data import catalogue
from sega_utils.data.images import Dataset, to_uint8
from sega_utils.studies.zoo import (
    arms as zoo_arms,
    plan as zoo_plan,
    rows as zoo_rows,
    states as zoo_states,
    tables as zoo_tables,
    zoo,
)
from sega_utils.studies.zoo.zoo import Fitting, Place
from sega_utils.training import classifiers

RUN, DATASET = "mine", "fashion-mnist"
PLACE = Place(RUN, DATASET, per_class=2)
FITTING = Fitting(0.05, "A", 6)
TUNED = {arm: {"steps": 2, "batch_size": 6} for arm in ("Std Aug", "Std Aug + CutMix", "Std Aug + TrivialAugment")}


@pytest.fixture(autouse=True)
def run(tiny, monkeypatch):
    """Write a run of four of the twelve images of each class, of which the other eight are left to validate on."""
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: tiny)
    monkeypatch.setattr(catalogue, "counts", lambda dataset, fraction, labels: torch.full((3,), 4))
    zoo.real_of.cache_clear()
    own, _ = catalogue.subset(tiny, 4, 0)
    meta = {"class_names": list(tiny.class_names), "fraction": 0.1, "seed": 0}
    tensors = {"images": to_uint8(own.images), "labels": own.labels}
    artifacts.save_tensors(paths.artifact(RUN, DATASET, "real"), tensors, meta)
    yield
    zoo.real_of.cache_clear()


def rows_of(data: Dataset) -> set[bytes]:
    return {image.numpy().tobytes() for image in data.images}


def test_few_images_are_among_the_subset_and_none_of_them_validates():
    for subset in (0, 1):
        real = zoo.real_of(PLACE._replace(subset=subset))
        assert [len(part.labels) for part in real] == [6, 12, 24]
        assert rows_of(real.few) < rows_of(real.whole) and not rows_of(real.whole) & rows_of(real.rest)
    assert rows_of(zoo.real_of(PLACE).few) != rows_of(real.few)
    fewer = zoo.real_of(PLACE._replace(per_class=1, subset=1))
    assert rows_of(fewer.few) < rows_of(real.few)


def test_a_run_of_all_images_validates_on_those_that_are_left(monkeypatch):
    monkeypatch.setattr(catalogue, "counts", lambda dataset, fraction, labels: torch.full((3,), 12))
    real = zoo.real_of(PLACE._replace(per_class=100))
    assert (len(real.few.labels), len(real.rest.labels)) == (18, 18) and not rows_of(real.few) & rows_of(real.rest)
    with pytest.raises(ValueError, match="protocol B fits on more images"):
        zoo.seen_by(real, "B")


def test_an_augmenter_sees_the_images_of_its_protocol():
    real = zoo.real_of(PLACE)
    assert zoo.seen_by(real, "A") is real.few and zoo.seen_by(real, "B") is real.whole
    with pytest.raises(ValueError, match="protocol is 'C'; allowed are A"):
        zoo.seen_by(real, "C")


def test_what_the_run_itself_draws_joins_only_where_its_generator_has_seen_no_more(monkeypatch):
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    kept = {"images": torch.arange(7).view(7, 1, 1, 1).expand(7, 1, 32, 32).to(torch.uint8), "class_ids": labels}
    monkeypatch.setattr(zoo.pools, "load_inputs", lambda *_: {"synthetic": kept})
    found = zoo.drawn_by_run(PLACE, "SEGA-Net", torch.tensor([2, 0, 0, 1]), "cpu")
    assert (found[:, 0, 0, 0] * 255).round().tolist() == [2, 0, 3, 1]
    with pytest.raises(ValueError, match="3 images of class 1 are asked for, the run's set has 2"):
        zoo.drawn_by_run(PLACE, "SEGA-Net", torch.tensor([1, 1, 1]), "cpu")
    with pytest.raises(ValueError, match="has seen all images of its subset"):
        zoo.fit_once(PLACE, "SEGA-Net", Fitting(0, "run", 1), TUNED)
    for name, protocol, subset in (("SEGA-Net", "A", 0), ("vae", "run", 0), ("GAN-only", "run", 1)):
        with pytest.raises(ValueError, match="protocol run has GAN-only and SEGA-Net of subset 0, and nothing else"):
            zoo.fit_once(PLACE._replace(subset=subset), name, Fitting(0, protocol, 1), TUNED)


def test_what_is_on_record_is_not_trained_again(monkeypatch):
    first = zoo.fit_once(PLACE, "offsets-pixels", FITTING, TUNED, 2)
    assert {"frechet", "precision", "recall", "duplicates", "agreement", "gate_passed"} <= first.keys()
    assert first["fit_steps"] == 0 and first["param_protocol"] == "A" and first["stage"] == "augmenters"
    images, labels = zoo.load_drawn(PLACE, "offsets-pixels", FITTING)
    assert images.shape == (18, 1, 32, 32) and labels.bincount().tolist() == [6, 6, 6]
    monkeypatch.setattr(zoo, "draw", lambda *_: pytest.fail("trained again"))
    assert zoo.fit_once(PLACE, "offsets-pixels", FITTING, TUNED, 2) == first


def test_images_of_several_take_turns():
    parts = [torch.full((5, 1), float(k)) for k in range(3)]
    assert zoo.take_turns(parts)[:, 0].tolist() == [0, 1, 2, 0, 1]


def test_one_network_serves_several_members_and_three_together_give_all_their_images(monkeypatch):
    fitted = []
    own = zoo.AUGMENTERS["ddim"]
    train = lambda images, labels, **more: fitted.append(more["seconds"]) or ({"x": labels[:1]}, {"curve": []})
    draw = lambda state, labels, seed, device, **options: torch.full((len(labels), 1, 32, 32), len(options) / 10)
    for name in ("ddim", "ddpm", "vae", "wgan-gp"):
        monkeypatch.setitem(zoo.AUGMENTERS, name, own._replace(fit=train, sample=draw))
    monkeypatch.setattr(zoo, "judged", lambda *_, **__: {})
    for name in ("ddpm", "ddim 100 eta 1", "combined", "combined x3", "vae x3"):
        zoo.fit_once(PLACE, name, FITTING, TUNED, 2)
    assert len(fitted) == 3  # ddim, wgan-gp and vae, once each
    counts = {name: len(zoo.load_drawn(PLACE, name, FITTING)[1]) for name in ("ddpm", "combined", "combined x3")}
    assert counts == {"ddpm": 18, "combined": 18, "combined x3": 54}
    images, labels = zoo.load_drawn(PLACE, "combined x3", FITTING)
    assert labels.bincount().tolist() == [18, 18, 18] and len(zoo.load_drawn(PLACE, "vae x3", FITTING)[1]) == 54
    shade = (images[:, 0, 0, 0] * 10).round().long()
    assert [shade[labels == c].bincount().tolist() for c in range(3)] == [[12, 6]] * 3  # ddim alone has an option


def test_states_are_kept_in_half_precision_and_drawn_from_beside_the_images_they_saw(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo_states.paths, "reference_root", lambda: tmp_path)
    zoo.fit_once(PLACE, "glico", FITTING, TUNED, 2)
    zoo.fit_once(PLACE, "offsets-pixels", FITTING, TUNED, 2)
    names = ["glico", "offsets-pixels"]
    files = zoo_states.keep(PLACE, names, FITTING)
    assert [file.is_relative_to(tmp_path / RUN / DATASET) for file in files] == [True, True]
    for file, name in zip(files, names, strict=True):
        tensors, meta = artifacts.load_tensors(file)
        whole, told = artifacts.load_tensors(zoo.file_of(PLACE, name, FITTING, "state"))
        assert meta["state"] == told["sha256"] and meta["augmenter"] == name
        for key, tensor in whole.items():
            torch.testing.assert_close(tensors[key].to(tensor.dtype), tensor, rtol=1e-3, atol=1e-3)
            assert tensors[key].dtype == (torch.float16 if tensor.is_floating_point() else tensor.dtype)
    reference = f"reference/{RUN}"
    found = zoo_states.drawn(PLACE, reference, ["vae", *names], FITTING)
    assert list(found) == names  # no vae was kept
    images, _ = zoo.load_drawn(PLACE, "glico", FITTING)
    torch.testing.assert_close(found["glico"][0][0], images[0], rtol=0, atol=0.02)
    rows, columns, titles = zoo.gallery(PLACE, found)
    assert (len(rows), columns, titles) == (9, 3, ["real", *names])
    assert zoo_states.drawn(PLACE._replace(subset=1), reference, names, FITTING) == {}  # of other images


def test_states_that_are_missing_or_too_large_are_not_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo_states.paths, "reference_root", lambda: tmp_path / "reference")
    with pytest.raises(FileNotFoundError, match="offsets-pixels-subset0-2-a-class-a-0.05s-state.safetensors"):
        zoo_states.keep(PLACE, ["offsets-pixels"], FITTING)
    zoo.fit_once(PLACE, "offsets-pixels", FITTING, TUNED, 2)
    monkeypatch.setattr(zoo_states, "LARGEST", 1e3)
    with pytest.raises(ValueError, match="1 states take 0.0 MB; allowed are 0.001"):
        zoo_states.keep(PLACE, ["offsets-pixels"], FITTING)
    assert not (tmp_path / "reference").exists()


def test_the_members_of_an_arm_differ_and_the_first_is_the_arm_alone(monkeypatch):
    seeds = []
    monkeypatch.setattr(zoo_arms, "train_classifier", lambda real, seed, **_: seeds.append(seed) or torch.nn.Identity())
    added = zoo_arms.ADDED | {"members": 3}
    zoo_arms.fit(zoo.real_of(PLACE).few, None, {}, added, share=0.0, seed=5, device="cpu")
    assert seeds[0] == 5 and len(set(seeds)) == 3


def test_smoothing_reaches_real_and_synthetic_targets(monkeypatch):
    given = {}
    monkeypatch.setattr(zoo_arms, "train_classifier", lambda real, **more: given.update(more) or torch.nn.Identity())
    synthetic = torch.zeros(1, 1, 32, 32), torch.tensor([2])
    added = zoo_arms.ADDED | {"smoothing": 0.3}
    zoo_arms.fit(zoo.real_of(PLACE).few, synthetic, {}, added, share=0.25, seed=0, device="cpu")
    torch.testing.assert_close(given["synthetic"][1], torch.tensor([[0.1, 0.1, 0.8]]))
    assert given["ratio"] == 0.25 and given["real_targets"].sum(1).allclose(torch.ones(6))


@pytest.mark.parametrize(("arm", "more"), [("CutMix", {"share": 0.3}), ("vae", {}), ("vae", {"share": 0.3})])
def test_a_share_belongs_to_an_augmenter_and_its_fitting(arm, more):
    with pytest.raises(ValueError, match="arms on real images have none"):
        zoo_arms.train_once(PLACE, arm, 0, TUNED, **more)


def test_unknown_names_are_answered_with_what_there_is(tmp_path):
    with pytest.raises(ValueError, match="unknown augmenter 'vea'; known are hinge, "):
        zoo_arms.train_once(PLACE, "vea", 0, TUNED)
    file = tmp_path / "plan.yaml"
    file.write_text(zoo_plan.FILE.read_text().replace("bs-vae", "vea"))
    with pytest.raises(ValueError, match="augmenters has 'vea'; known are"):
        zoo_plan.read(file)


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("steps: 1000", "steps: -1", "steps is -1; allowed is int: 1 .. 1000000"),
        ("steps: 1000", "steps: null", "steps is None; allowed is int"),
        ("protocol: A", "protocol: C", "primary: protocol is 'C'; allowed is text: one of: A | B"),
        ("seeds: [0, 1, 2]", "seeds: [0, 0]", "primary: seeds is .*holds 0 twice"),
        ("seeds: [0, 1, 2]", "sedes: [0]", "primary: unknown parameter 'sedes'; known are"),
        ("  seeds: [0, 1, 2]\n", "", "primary lacks seeds; it must hold"),
        ("shares: [0.1]", "shares: [2]", "shares is"),
        ("  arms: [", "  arms: 5 #", "exploratory: arms is 5; allowed is list"),
        ("onto: CutMix", "onto: Mix", "arms has 'Mix'; known are"),
    ],
)
def test_a_plan_with_a_value_that_is_not_allowed_is_refused(line, wrong, message, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(zoo_plan.FILE.read_text().replace(line, wrong, 1))
    with pytest.raises(ValueError, match=f"plan.yaml.*{message}"):
        zoo_plan.read(file)


def test_the_committed_plan_is_read_as_it_stands():
    plan = zoo_plan.read()
    assert plan == parameters.load_yaml(zoo_plan.FILE)


def test_longer_arms_take_more_steps_and_every_record_says_what_it_validated_on():
    found = zoo_arms.train_once(PLACE, "CutMix x4", 0, TUNED, steps=1)
    assert (found["param_steps"], found["param_longer"]) == (4, 4)
    assert (found["n_real"], found["n_validation"], found["n_test"]) == (6, 24, 36)
    assert zoo_arms.train_once(PLACE, "CutMix x4", 0, TUNED, steps=1) == found


@pytest.mark.parametrize(
    ("arm", "policy", "mixing"),
    [("RandAugment + CutMix", "randaugment", "cutmix"), ("AugMix", "augmix", "none"), ("PixMix", "pixmix", "none")],
)
def test_an_arm_of_another_policy_trains_with_it_and_says_so(monkeypatch, arm, policy, mixing):
    given = {}
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1024, 3))
    monkeypatch.setattr(zoo_arms, "train_classifier", lambda real, **more: given.update(more) or model)
    found = zoo_arms.train_once(PLACE, arm, 0, TUNED, steps=1)
    assert (given["policy"], given["mixing"]) == (policy, mixing)
    assert (found["param_policy"], found["param_mixing"], found["param_longer"]) == (policy, mixing, 1)


def test_averaged_weights_are_not_the_last_ones(tiny):
    last, averaged = (classifiers.train_classifier(tiny, steps=4, batch_size=6, averaging=a) for a in (0.0, 0.99))
    weights = [model.state_dict()["head.weight"] for model in (last, averaged)]
    assert not torch.equal(*weights) and not averaged.training


def record(arm, accuracy, validation, *, subset=0, seed=0, share=0.0, **more) -> dict:
    asked = {"arm": arm, "subset": subset, "seed": seed, "share": share, "per_class": 30, "steps": 1000, "longer": 1}
    drawn = {"protocol": "A", "seconds": 600.0, "onto": "CutMix"}
    asked |= drawn if share else {"protocol": "none", "seconds": 0.0}
    return {"accuracy": accuracy, "accuracy_validation": validation} | {
        f"param_{k}": v for k, v in (asked | more).items()
    }


def everywhere(arm, accuracy, validation, **more) -> list[dict]:
    """Return records of two subsets and two seeds; an accuracy each, subset by subset."""
    places = [(subset, seed) for subset in (0, 1) for seed in (0, 1)]
    return [record(arm, a, validation, subset=s, seed=k, **more) for a, (s, k) in zip(accuracy, places, strict=True)]


def test_the_rival_is_chosen_on_validation_and_subsets_count_once():
    found = everywhere("Std Aug", (0.9, 0.9, 0.9, 0.9), 0.5) + everywhere("CutMix", (0.7, 0.72, 0.8, 0.8), 0.6)
    found += everywhere("vae", (0.72, 0.74, 0.83, 0.81), 0.61, share=0.3)
    rows = {row["augmenter"]: row for row in zoo_rows.augmenter_rows(found)}
    assert rows["vae"]["to"] == "CutMix" and rows["CutMix"]["diff"] == ""
    assert rows["vae"]["diff"] == pytest.approx(2.0) and rows["vae"]["over"] == "2 subsets"
    assert rows["vae"]["ci_low"] == pytest.approx(2.0) and rows["vae"]["n"] == 4
    assert rows["Std Aug"]["diff"] == pytest.approx(14.5)


def test_what_an_interval_rules_out_is_its_upper_end_and_never_below_zero():
    ours = [record("vae", a, 0.5, seed=k, share=0.3) for k, a in enumerate((0.50, 0.51))]
    theirs = [record("CutMix", a, 0.5, seed=k) for k, a in enumerate((0.60, 0.60))]
    found = zoo_rows.difference(ours, theirs)
    assert found["over"] == "2 seeds" and found["rules_out_above"] == 0 > found["ci_high"]
    assert zoo_rows.difference(theirs, ours)["rules_out_above"] == pytest.approx(-found["ci_low"])
    assert zoo_rows.difference(ours[:1], theirs) == {}


def test_the_primary_comparison_waits_until_it_is_complete_and_ignores_what_was_not_planned():
    plan = zoo_plan.read() | {"primary": {"per_class": 30, "protocol": "A", "subsets": [0, 1], "seeds": [0, 1]}}
    plan |= {"seconds": 600, "augmenters": ["vae", "glico"], "shares": [0.1, 0.3], "steps": 1000}
    real = everywhere("CutMix", (0.7, 0.7, 0.8, 0.8), 0.6) + everywhere("Std Aug", (0.6, 0.6, 0.6, 0.6), 0.5)
    drawn = everywhere("vae", (0.71, 0.71, 0.81, 0.81), 0.61, share=0.3)
    drawn += everywhere("glico", (0.9, 0.9, 0.9, 0.9), 0.55, share=0.1)
    leaked = everywhere("glico", (0.9, 0.9, 0.9, 0.9), 0.9, share=0.1, protocol="B")
    assert zoo_rows.primary_rows(real + drawn[1:4] + leaked, plan) == []
    (row,) = zoo_rows.primary_rows(real + drawn + leaked, plan)
    assert (row["augmenter"], row["share"], row["to"]) == ("vae", 0.3, "CutMix")
    assert row["diff"] == pytest.approx(1.0) and row["chosen among"] == "2 and 2"


def test_only_what_is_best_of_the_screening_goes_on_whatever_else_was_measured():
    plan = zoo_plan.read() | {"primary": {"per_class": 30, "protocol": "A", "subsets": [0, 1], "seeds": [0, 1]}}
    plan |= {"seconds": 600, "augmenters": ["vae", "glico"], "shares": [0.3], "steps": 1000}
    plan |= {"screening": {"subset": 0, "seed": 0, "keep": 1, "onto": "CutMix"}}
    found = everywhere("CutMix", (0.7,) * 4, 0.6) + everywhere("Std Aug", (0.6,) * 4, 0.5)
    found += everywhere("glico", (0.7,) * 4, 0.65, share=0.3)[1:]  # not where the plan screens
    assert zoo_rows.finalists(found, plan) == ([], ["CutMix"]) and zoo_rows.primary_rows(found, plan) == []
    found += everywhere("vae", (0.7,) * 4, 0.61, share=0.3)
    assert zoo_rows.finalists(found, plan) == (["vae"], ["CutMix"])
    found += [record("glico", 0.9, 0.7, share=0.3)]
    assert zoo_rows.finalists(found, plan) == (["glico"], ["CutMix"])
    assert zoo_rows.primary_rows(found, plan)[0]["augmenter"] == "glico"
    assert zoo_rows.finalists(found, plan | {"augmenters": ["vae"]})[0] == ["vae"]


def test_in_the_primary_comparison_an_augmenter_joins_the_best_screened_arm():
    plan = zoo_plan.read() | {"primary": {"per_class": 30, "protocol": "A", "subsets": [0, 1], "seeds": [0, 1]}}
    plan |= {"seconds": 600, "augmenters": ["vae"], "shares": [0.3], "steps": 1000}
    found = everywhere("CutMix", (0.7,) * 4, 0.6) + everywhere("AugMix", (0.8,) * 4, 0.65)
    found += everywhere("vae", (0.9,) * 4, 0.9, share=0.3)
    assert zoo_rows.primary_rows(found, plan) == []
    found += everywhere("vae", (0.81,) * 4, 0.7, share=0.3, onto="AugMix")
    (row,) = zoo_rows.primary_rows(found, plan)
    assert (row["onto"], row["to"], row["diff"]) == ("AugMix", "AugMix", pytest.approx(1.0))
    rows = [row for row in zoo_rows.augmenter_rows(found) if row["augmenter"] == "vae"]
    assert [row["to"] for row in rows] == ["AugMix", "CutMix"]


def test_records_of_other_test_images_stand_in_no_table_together():
    found = [record("CutMix", 0.7, 0.6) | {"n_test": 10}, record("Std Aug", 0.7, 0.6) | {"n_test": 20}]
    with pytest.raises(artifacts.ArtifactError, match="do not belong together, n_test"):
        zoo_rows.augmenter_rows(found)


def test_quality_goes_with_the_gain_of_each_augmenters_share_that_validation_prefers():
    names, base = ["vae", "glico", "hinge", "lsgan"], {"per_class": 30, "protocol": "A", "seconds": 600.0}
    rows = [base | {"augmenter": n, "validation": 50, "diff": float(i)} for i, n in enumerate(names)]
    rows += [base | {"augmenter": n, "validation": 40, "diff": -10.0 * i} for i, n in enumerate(names)]
    qualities = [
        base | {"augmenter": n} | dict.fromkeys(zoo_rows.MEASURES, 1.0) | {"frechet": -i} for i, n in enumerate(names)
    ]
    (found,) = zoo_rows.prediction_rows(rows, qualities)
    assert found["quality"] == "frechet" and found["rho"] == pytest.approx(-1) and found["n"] == 4


def test_a_campaign_resumes_and_says_what_is_left(monkeypatch):
    monkeypatch.setattr(zoo_arms.runtime, "map_workers", lambda f, jobs, **_: [f(*job) for job in jobs])
    asked = {"augmenters": ["offsets-pixels"], "arms": ["CutMix"], "shares": [0.3], "seeds": [0]}
    run = lambda: list(
        zoo_arms.measure(RUN, DATASET, [0], TUNED, per_class=2, steps=2, fitting=FITTING, workers=1, **asked)
    )
    assert "1 augmenters and 2 of 2 classifiers" in run()[0]
    before = [artifacts.sha256(file) for file in sorted(paths.artifact(RUN, DATASET, "records").rglob("*.json"))]
    assert "0 augmenters and 0 of 2 classifiers to train, about 0 minutes" in run()[0] and len(before) == 3
    assert before == [artifacts.sha256(f) for f in sorted(paths.artifact(RUN, DATASET, "records").rglob("*.json"))]
    tables = zoo_tables.write_tables(RUN, DATASET, zoo_plan.read())
    assert [row["augmenter"] for row in tables["augmenters"]] == ["CutMix", "offsets-pixels"]
    assert (paths.artifact(RUN, DATASET, "tables") / "augmenters.csv").exists() and records.read(RUN, DATASET, "zoo")


def test_what_knows_other_images_is_called_outside_and_can_be_asked_for_but_not_planned(tmp_path):
    assert all("outside" in name and name not in zoo.ZOO | zoo.COMBINED for name in zoo.OUTSIDE)
    assert not {entry for entry, *_ in zoo.ZOO.values()} & {entry for entry, *_ in zoo.OUTSIDE.values()}
    (name,) = zoo.OUTSIDE
    zoo.check(name)
    text = zoo_plan.FILE.read_text().replace("[hinge, ", f"[hinge, {name}, ")
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(ValueError, match="augmenters has 'projected .outside.'"):
        zoo_plan.read(tmp_path / "plan.yaml")
    plan = zoo_plan.read() | {"primary": {"per_class": 30, "protocol": "A", "subsets": [0, 1], "seeds": [0, 1]}}
    real = everywhere("CutMix", (0.7, 0.7, 0.8, 0.8), 0.6)
    drawn = everywhere("vae", (0.71, 0.71, 0.81, 0.81), 0.61, share=0.3)
    drawn += everywhere(name, (0.9, 0.9, 0.9, 0.9), 0.9, share=0.3)
    plan |= {"seconds": 600, "shares": [0.3]}
    (row,) = zoo_rows.primary_rows(real + drawn, plan)
    assert row["augmenter"] == "vae"
    closed, beyond = zoo_rows.apart(zoo_rows.augmenter_rows(real + drawn))
    assert [row["augmenter"] for row in closed] == ["CutMix", "vae"] and {row["augmenter"] for row in beyond} == {name}
    assert [row["augmenter"] for row in zoo_rows.augmenter_rows(real + drawn)][-1] == name
