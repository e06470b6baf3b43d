"""FLARE as a study: what is made once, what each arm trains on, what is compared and concluded."""

from collections import Counter
from types import SimpleNamespace

import pytest
import tiny_pipeline
import torch

from sega_utils.augmenters import diffusion, restoration
from sega_utils.core import artifacts, parameters, paths, records
from sega_utils.data import catalogue
from sega_utils.data.images import resize, to_uint8
from sega_utils.studies.flare import arms, campaign, parts, pooled, tables
from sega_utils.studies.flare.parts import Making
from sega_utils.studies.prove import folders
from sega_utils.studies.zoo import zoo
from sega_utils.studies.zoo.zoo import Place

RUN, DATASET = "mine", "fashion-mnist"
PLACE = Place(RUN, DATASET, per_class=4)
MAKING = Making(restoring=0.1, sampling=2, variations=4)
TUNED = {arm: {"batch_size": 6} for arm in ("Std Aug", "Std Aug + CutMix")}
GROUPS = {"clothes": ["trouser"], "others": ["bag", "ankle boot"]}
HOW = {"making": MAKING, "tuned": TUNED, "groups": GROUPS, "steps": 2}


@pytest.fixture(autouse=True)
def run(tiny, monkeypatch):
    """Write a run of four of the twelve images of each class, with a denoiser and a restoration at no cost."""
    monkeypatch.setattr(catalogue, "load", lambda dataset, split: tiny)
    monkeypatch.setattr(catalogue, "counts", lambda dataset, fraction, labels: torch.full((3,), 4))
    model = diffusion.build_denoiser(n_classes=3, width=8).eval().requires_grad_(False)
    monkeypatch.setattr(parts, "denoiser", lambda *_: model)
    restorer = restoration.Restorer(side=16, width=6, stages=1)
    monkeypatch.setattr(parts, "train_restorer", lambda *_, **__: (restorer, [{"step": 1}]))
    for module in (parts, pooled):
        monkeypatch.setattr(module, "restore", lambda _, images: resize(images**1.1, 2 * images.shape[-1]))
    monkeypatch.setattr(arms, "SHIFTED", 6)
    zoo.real_of.cache_clear()
    arms.shifted.cache_clear()
    own, _ = catalogue.subset(tiny, 4, 0)
    tensors = {"images": to_uint8(own.images), "labels": own.labels}
    meta = {"class_names": list(tiny.class_names), "fraction": 0.1, "seed": 0}
    artifacts.save_tensors(paths.artifact(RUN, DATASET, "real"), tensors, meta)
    yield
    zoo.real_of.cache_clear()
    arms.shifted.cache_clear()


def test_parts_are_made_once_of_training_images_alone(monkeypatch):
    first = parts.make_once(PLACE, MAKING)
    kept = parts.load(PLACE, MAKING)
    assert kept["drawn"].shape == kept["redrawn restored"].shape == (5, 12, 1, 32, 32)
    assert kept["real restored"].shape == (1, 12, 1, 32, 32) and kept["drawn psnr"].shape == (5, 12)
    assert {"psnr_real", "ms_ssim_drawn", "passing_redrawn", "psnr_held_out_restorer", "duplicates_drawn"} <= set(first)
    assert first["psnr_held_out_bicubic"] > 0 and 0 <= first["passing_real"] <= 1
    monkeypatch.setattr(parts, "draw", lambda *_: pytest.fail("made again"))
    assert parts.make_once(PLACE, MAKING) == first


def test_the_data_set_s_own_denoiser_is_refused_where_it_has_seen_more(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(diffusion, "load_diffusion", lambda *_: None)
    monkeypatch.setattr(catalogue, "load_real", lambda *_: (None, {}))
    data = type("D", (), {"labels": [0] * 12})
    monkeypatch.setattr(zoo, "real_of", lambda place: zoo.Real(data, data, data))
    with pytest.raises(ValueError, match="not subset 1 with 4 images a class; give seconds above 0"):
        parts.denoiser(PLACE._replace(subset=1), MAKING, data, "cpu")
    monkeypatch.undo()  # before the run's own fixture clears what real_of keeps


COUNTS = {  # rows for each real image, and the share of a batch that is drawn
    "Raw_LR": (1, 0),
    "Raw_Aug_LR": (6, 0),
    "Raw_Aug_HR": (6, 0),
    "T2I_Aug_HR": (5, 1),
    "FLARE": (8, 5 / 8),
    "FLARE alpha 0.5 beta 0.5": (6, 1 / 2),
    "FLARE alpha 0.5 beta 0.75": (7, 4 / 7),
    "FLARE alpha 1 beta 1": (11, 5 / 11),
    "FLARE without I2I": (4, 5 / 8),
    "FLARE share 0.3": (8, 0.3),
    "Raw_Aug_HR alpha 0.5": (3, 0),
    "Raw_Aug_HR alpha 0.5 onto CutMix": (3, 0),
    "Raw_Aug_LR drawn anew": (1, 0),
    "FLARE onto CutMix": (8, 5 / 8),
}


def test_an_arm_trains_on_as_much_of_each_kind_as_it_says():
    parts.make_once(PLACE, MAKING)
    for arm, expected in COUNTS.items():
        data, extra, share = pooled.data_of(PLACE, pooled.arm_of(PLACE, arm, MAKING), MAKING, TUNED, 0)
        rows = len(data.labels) + (len(extra[1]) if extra else 0)
        assert (rows / 12, share) == pytest.approx(expected), arm
        assert data.labels.unique().tolist() == [0, 1, 2]


def test_without_variations_as_large_a_share_is_drawn_as_of_flare_on_digits_too(monkeypatch):
    real = zoo.real_of(PLACE)
    digits = SimpleNamespace(real_of=lambda _: real._replace(few=real.few._replace(mirrors=False)))
    monkeypatch.setattr(pooled, "zoo", digits)
    plain, full = (pooled.arm_of(PLACE, arm, MAKING) for arm in ("FLARE without I2I", "FLARE"))
    assert (plain.share, plain.beta, full.share) == (pytest.approx(5 / 7), pytest.approx(1 / 5), 0)  # 2 of 4 kinds real
    more = pooled.arm_of(PLACE, "FLARE without I2I", MAKING._replace(variations=9))
    assert (more.share, more.beta) == (pytest.approx(10 / 12), pytest.approx(1 / 10))


def test_rows_are_chosen_by_what_a_classifier_of_the_real_images_says_of_their_class(monkeypatch):
    parts.make_once(PLACE, MAKING)
    kept, few = parts.load(PLACE, MAKING), zoo.real_of(PLACE).few
    bright = lambda images: torch.stack([images.mean((1, 2, 3)) * 9] + [torch.zeros(len(images))] * 2, 1)
    arm = arms.ARMS["FLARE alpha 0.5 beta 0.5 by score"]
    pool = pooled.pool_of(few, kept, arm, seed=0, judge=bright)
    assert [int((pool.labels == c).sum()) for c in range(3)] == [6 * 4] * 3  # 3 kinds of each, as without a choice
    whole = pooled.pool_of(few, kept, arms.ARMS["FLARE alpha 1 beta 1"], seed=0)
    of = lambda rows, c: rows.images[pooled.is_drawn(rows) & (rows.labels == c)].mean((1, 2, 3)).sort().values
    torch.testing.assert_close(of(pool, 0), of(whole, 0)[-3 * 4 :])
    torch.testing.assert_close(of(pool, 1), of(whole, 1)[: 3 * 4])  # the brighter, the less of another class
    chance = pooled.pool_of(few, kept, arms.ARMS["FLARE alpha 0.5 beta 0.5 at random"], seed=0)
    assert torch.equal(chance.labels.bincount(), pool.labels.bincount()) and not torch.equal(chance.images, pool.images)


def test_gates_drop_what_restoration_changed_most_and_as_many_at_random(monkeypatch):
    parts.make_once(PLACE, MAKING)
    kept = parts.load(PLACE, MAKING)
    kept["real psnr"] = kept["real psnr"] - torch.arange(12) / 100  # no two alike
    limit = MAKING._replace(limit=float(torch.cat((kept["drawn psnr"], kept["real psnr"])).median()))
    monkeypatch.setattr(parts, "load", lambda *_: kept)
    gate, chance = (
        pooled.data_of(PLACE, arms.ARMS[name], limit, TUNED, 0)[0] for name in ("FLARE gate", "FLARE random gate")
    )
    assert len(gate.labels) == len(chance.labels) < 8 * 12
    few = zoo.real_of(PLACE).few
    pool = pooled.pool_of(few, kept, arms.ARMS["FLARE"], seed=0)
    gates = [arms.ARMS[name] for name in ("FLARE gate", "FLARE random gate")]
    passed, chance = (pooled.gated(few, pool, kept, arm, limit.limit, seed=0) for arm in gates)
    varied = passed.sources[torch.tensor([kind == "v2" for kind in passed.kinds])]
    assert (kept["drawn psnr"][2, varied] >= limit.limit).all() and len(varied) < 12
    sources = lambda rows: {s for s, kind in zip(rows.sources.tolist(), rows.kinds, strict=True) if kind == "original"}
    flips = lambda rows: {s for s, kind in zip(rows.sources.tolist(), rows.kinds, strict=True) if kind == "flip"}
    assert sources(chance) == flips(chance) and len(sources(chance)) == len(sources(passed))
    counted = lambda rows: Counter(zip(rows.kinds, rows.labels.tolist(), strict=True))
    assert counted(chance) == counted(passed) and not torch.equal(chance.sources, passed.sources)


def test_a_classifier_is_on_record_with_its_accuracies_and_not_trained_again(monkeypatch):
    parts.make_once(PLACE, MAKING)
    names = ("Raw_LR", "FLARE share 0.3", "Raw_Aug_LR drawn anew", "FLARE onto CutMix")
    first = {arm: arms.train_once(PLACE, arm, 0, **HOW) for arm in names}
    for record in first.values():
        assert record["accuracy_macro"] >= record["accuracy"]  # a right class is of the right macro class
        assert set(record["shifts"]) == {"inverted", "cluttered"}
        assert (record["n_test"], record["n_validation"]) == (36, 24)
    monkeypatch.setattr(arms, "fit", lambda *_, **__: pytest.fail("trained again"))
    assert {arm: arms.train_once(PLACE, arm, 0, **HOW) for arm in names} == first


def test_enlarged_images_are_trained_on_and_tested_with_at_twice_the_side(monkeypatch):
    parts.make_once(PLACE, MAKING)
    seen, few = [], zoo.real_of(PLACE).few

    def fit(data, *_, **__):
        seen.append(data.images)
        return lambda images: seen.append(images) or torch.zeros(len(images), dtype=torch.int64)

    monkeypatch.setattr(arms, "fit", fit)
    bicubic = lambda images: resize(images, 64).clamp(0, 1)
    for arm, trained, tested in (
        ("Raw_Aug_LR enlarged", few.images, bicubic),
        ("Raw_Aug_HR enlarged", few.images**1.1, bicubic),
        ("Raw_Aug_HR enlarged, test too", few.images**1.1, lambda images: bicubic(images**1.1)),
    ):
        seen.clear()
        record = arms.train_once(PLACE, arm, 0, **HOW)
        torch.testing.assert_close(seen[0][:12].clamp(0, 1), bicubic(trained))  # the originals come first
        torch.testing.assert_close(seen[1], tested(catalogue.load(DATASET, "test").images).clamp(0, 1))
        assert ("input_restorer" in record) == ("HR" in arm) and record["n_pool"] == 6 * 12


def test_outside_knowledge_draws_restores_and_stands_in_rows_of_its_own(monkeypatch, tmp_path):
    pipeline = str(tiny_pipeline.write(tmp_path))
    monkeypatch.setattr(parts.published_restorer, "load", lambda *_: restoration.Restorer(side=16, width=6, stages=1))
    file = tmp_path / "x.safetensors"
    artifacts.save_tensors(file, {"x": torch.zeros(1)})
    outside = MAKING._replace(restorer=str(file), pipeline=pipeline, variations=1)
    parts.make_once(PLACE, MAKING)
    made = parts.make_once(PLACE, outside)
    assert made["restoring_steps"] == 0 and made["param_pipeline"] == pipeline
    kept = parts.load(PLACE, outside)
    assert kept["drawn"].shape == kept["redrawn restored"].shape == (2, 12, 1, 32, 32)
    assert not torch.equal(kept["drawn"][0], kept["drawn"][1])
    found = [arms.train_once(PLACE, "FLARE", 0, **HOW | {"making": making}) for making in (MAKING, outside)]
    assert {row["arm"] for row in tables.arm_rows(found)} == {"FLARE", "FLARE (outside)"}
    assert tables.planned(found, "FLARE", {"per_class": 4, "steps": 2}) == found[:1]
    assert parts.captions("fashion-mnist", ("coat",))[0].startswith("coat, ")


def test_macro_classes_are_trained_on_as_such():
    record = arms.train_once(PLACE, "Raw_LR", 0, coarse=True, **HOW)
    assert record["accuracy"] == record["accuracy_macro"] and record["param_coarse"]
    group, names = arms.grouping(GROUPS, ("trouser", "bag", "ankle boot"))
    assert group.tolist() == [0, 1, 1] and names == ("clothes", "others")


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"a": ["trouser"]}, "groups lack 'bag'"),
        ({"a": ["trouser", "bag"], "b": ["ankle boot", "bag"]}, "groups hold twice 'bag'"),
        ({"a": ["trouser", "bag", "ankle boot", "hat"]}, "groups hold, which is no class, 'hat'"),
    ],
)
def test_groups_that_are_not_of_the_classes_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        arms.grouping(groups, ("trouser", "bag", "ankle boot"))


def test_all_arms_have_one_budget_and_a_control_that_there_is():
    for name, arm in arms.ARMS.items():
        assert arm.to in {"", *arms.ARMS} and name != arm.to
        settings = arms.settings_of(arm, TUNED, 5)
        assert (settings["steps"], settings["batch_size"], settings["classifier"]) == (5, 6, "resnet8-half")
        assert settings["pixel"] == (arm.recipe == "best")


# The plan


@pytest.fixture
def plan(tmp_path):
    text = campaign.FILE.read_text().replace("per_class: 60", "per_class: 4").replace("steps: 1000", "steps: 2")
    text = text[: text.index("groups:")] + f"groups: {GROUPS}\n"
    for old, new in (("restoring: 60", "restoring: 0.1"), ("sampling: 25", "sampling: 2")):
        text = text.replace(old, new)
    (tmp_path / "plan.yaml").write_text(text)
    return campaign.read(tmp_path / "plan.yaml")


def test_the_committed_plan_names_classes_that_there_are_and_measures_the_primary_comparison_first(plan):
    from sega_utils.data.published import FASHION_MNIST_CLASSES

    committed = campaign.read()
    assert len(arms.grouping(committed["groups"], FASHION_MNIST_CLASSES)[1]) == 4
    first = campaign.jobs(committed)[:10]
    assert {arm for arm, *_ in first} == {"CutMix", "FLARE onto CutMix"} and {s for _, s, _ in first} == set(range(5))
    assert len(set(campaign.jobs(committed))) == len(campaign.jobs(committed)) == 10 + 3 * (24 + 5)


def test_another_data_set_has_values_of_its_own_and_the_same_comparison():
    usual, digits = campaign.read(), campaign.read(dataset="mnist-5000")
    assert {name for name in usual if usual[name] != digits[name]} == {"seconds", "groups"}
    assert (
        len(arms.grouping(digits["groups"], tuple("zero one two three four five six seven eight nine".split()))[1]) == 3
    )
    (textures,) = set(parameters.load_yaml(campaign.FILE)["datasets"]) - {"mnist-5000"}
    own = campaign.read(dataset=textures)
    assert campaign.read(dataset=textures + "/") == own
    assert len(arms.grouping(own["groups"], tuple(folders.photographs()))[1]) == 3
    assert own["primary"] == usual["primary"] | {"seeds": [0, 1, 2]} and own["arms"][:5] == usual["arms"][:5]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    steps: 500", "    step: 500", "textures-seed0 has 'step'; known are primary, groups"),
        ("  mnist-5000:", "  mnist-5000: 3\n  other:", "datasets .*; they must be values of the plan by data set"),
        ("  - FLARE gate", "  - FLARE gates", "arms has 'FLARE gates'; known are Raw_LR"),
        ("limit: 25", "limits: 25", "must hold primary, groups"),
        ("strength: 0.5", "strength: 1.5", "strength is '?1.5'?; allowed is float: 0 .. 1"),
        ("groups:", "groups: 3\nother:", "must hold primary, groups"),
        ("  theirs: CutMix", "  theirs: FLARE onto CutMix", "compares 'FLARE onto CutMix' with itself"),
        ("  ours:", "  mine:", "primary: unknown parameter 'mine'; known are"),
    ],
)
def test_a_plan_that_is_none_is_refused(tmp_path, old, new, message):
    (tmp_path / "plan.yaml").write_text(campaign.FILE.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        campaign.read(tmp_path / "plan.yaml")


def test_groups_without_any_class_are_refused(tmp_path):
    text = campaign.FILE.read_text()
    (tmp_path / "plan.yaml").write_text(text[: text.index("groups:")] + "groups: {}\n")
    with pytest.raises(ValueError, match="has groups {}; they must be lists of class names by macro class"):
        campaign.read(tmp_path / "plan.yaml")


def measured_here(monkeypatch, plan):
    """Measure a plan in this process; return the lines."""
    here = lambda function, jobs, **_: [function(*job) for job in jobs]
    monkeypatch.setattr(campaign.runtime, "map_workers", here)
    return list(campaign.measure(RUN, DATASET, plan, TUNED, 1))


def test_a_plan_is_measured_once_and_its_tables_have_every_arm(plan, monkeypatch):
    names = ["Raw_LR", "Raw_Aug_LR", "Raw_Aug_HR alpha 0.5", "FLARE", "FLARE gate"]
    plan |= {"seeds": [0, 1], "arms": names, "macro": ["FLARE"]}
    plan["primary"] |= {"seeds": [0, 1]}
    assert campaign.coverage(RUN, DATASET, plan) == (0, 16)
    lines = measured_here(monkeypatch, plan | {"limit": 0.0})
    assert lines[1].startswith("the gate at 0 dB drops no image")
    lines = measured_here(monkeypatch, plan | {"limit": 0.0})
    assert "0 of 14 classifiers to train" in lines[-1]
    # what is made of other images is not on record, though a record has its name
    assert campaign.coverage(RUN, DATASET, plan | {"limit": 0.0, "strength": 0.25})[0] == 4 + 2
    with pytest.raises(ValueError, match="groups lack 'bag'.* under datasets of the plan"):
        measured_here(monkeypatch, plan | {"groups": {"a": ["trouser"]}})
    assert campaign.coverage(RUN, DATASET, plan | {"limit": 0.0}) == (14, 14)
    found = tables.write_tables(RUN, DATASET, plan | {"limit": 0.0})
    rows = {row["arm"]: row for row in found["flare"] if row["classes"] == "fine"}
    assert rows["FLARE"]["to"] == "Raw_Aug_HR alpha 0.5" and rows["FLARE"]["n"] == 2 and rows["FLARE"]["diff"] != ""
    assert rows["FLARE"]["drawn"] == pytest.approx(5 / 8) and rows["Raw_LR"]["diff"] == ""
    assert [row["arm"] for row in found["flare-macro"]] == ["FLARE"] and found["flare-macro"][0]["over"] == "2 seeds"
    assert found["flare-primary"][0]["arm"] == "FLARE onto CutMix" and found["flare-coverage"][0]["measured"] == 14
    assert [row["images"] for row in found["flare-restoration"]][-1] == "held out bicubic"
    assert artifacts.load_csv(paths.artifact(RUN, DATASET, "tables") / "flare.csv")[0]["arm"] == "Raw_LR"
    assert not tables.primary_rows(records.read(RUN, DATASET, "flare")[:3], plan)


# What is concluded


def record(arm, seed, accuracy, **more):
    params = {"arm": arm, "seed": seed, "subset": 0, "per_class": 60, "steps": 1000, "coarse": False}
    told = {"accuracy_macro": accuracy, "accuracy_validation": accuracy, "accuracy_shifted": accuracy - 0.3}
    told |= {"accuracy": accuracy, "drawn_share": 0.0, "n_pool": 600}
    told |= {"run": RUN, "dataset": DATASET, "stage": "flare", "name": arm}
    return told | {f"param_{k}": v for k, v in params.items()} | more


def test_claims_are_judged_by_intervals_and_those_that_nothing_decides_say_why():
    plan = campaign.read()
    levels = {"Raw_LR": 0.70, "Raw_Aug_LR": 0.78, "Raw_Aug_HR": 0.7801, "T2I_Aug_HR": 0.6, "FLARE": 0.74}
    found = [record(arm, s, a * (1 + s / 1000) + 1e-4 * (s == 1)) for arm, a in levels.items() for s in range(3)]
    rows = {row["claim"]: row for row in tables.claim_rows(found, plan)}
    assert rows["augmenting LR images adds"]["verdict"] == "reproduced"
    assert rows["above simply augmented data"]["verdict"] == "contradicted"
    both = rows["FLARE over Raw_Aug_HR and T2I_Aug_HR"]  # met against one of the two, not against the other
    assert both["verdict"] == "contradicted" and "FLARE less T2I_Aug_HR: the whole interval reaches" in both["why"]
    assert rows["FLARE over Raw_LR in-domain"]["verdict"] == "not reproduced"
    assert rows["models trained on synthetic images alone fail to generalise to raw images"]["verdict"] == "reproduced"
    assert "named shifts of 06" in rows["FLARE over Raw_LR out-of-domain, on average"]["why"]
    late = rows["alpha = 0.5, beta = 1 is best: over alpha = beta = 1"]
    assert late["verdict"] == "cannot be compared" and "not measured yet" in late["why"]
    assert all(row["verdict"] and row["why"] for row in rows.values())
    level = [record(arm, s, round(a * 300 + s) / 300) for arm, a in levels.items() for s in range(3)]
    row = next(row for row in tables.claim_rows(level, plan) if row["claim"] == "above simply augmented data")
    assert (row["verdict"], row["interval"]) == ("cannot be compared", "-4 to -4") and "too few" in row["why"]
    assert [row["verdict"] for row in tables.claim_rows([], plan)] == ["cannot be compared"] * len(rows)


def test_what_validation_prefers_is_chosen_whatever_the_tests_say_once_all_rivals_are_there():
    plan, (_, small, large) = campaign.read(), tables.CHOICES["share of drawn images"]
    told = {"FLARE": (0.7, 0.6), small: (0.5, 0.9), large: (0.9, 0.8), "Raw_Aug_HR alpha 0.5": (0.55, 0.1)}
    found = [record(arm, s, a + s / 100, accuracy_validation=v) for arm, (a, v) in told.items() for s in range(3)]
    (row,) = tables.chosen_rows(found, plan)
    assert (row["chosen"], row["among"], row["validation"]) == (small, 3, pytest.approx(90))
    assert row["mean"] == pytest.approx(51) and row["diff"] == pytest.approx(-5)
    assert not tables.chosen_rows([r for r in found if r["param_arm"] != large], plan)


@pytest.mark.parametrize("name", ["param_strength", "param_limit", "input_drawn", "input_restorer"])
def test_records_of_images_that_were_made_otherwise_do_not_stand_in_one_table(name):
    found = [record("FLARE", 0, 0.5, **{name: 1}), record("FLARE gate", 0, 0.5, **{name: 1}), record("Raw_LR", 0, 0.5)]
    assert len(tables.arm_rows(found)) == 3
    found[1][name] = 2
    with pytest.raises(artifacts.ArtifactError, match=f"do not belong together: {name} is 1, 2"):
        tables.arm_rows(found)


def test_records_of_other_budgets_do_not_stand_in_one_table():
    found = [record("FLARE", 0, 0.5, n_test=10), record("Raw_LR", 0, 0.5, n_test=20)]
    with pytest.raises(artifacts.ArtifactError, match="do not belong together, n_test"):
        tables.arm_rows(found)


def test_no_records_make_empty_tables():
    plan = campaign.read()
    assert (
        tables.arm_rows([]) == tables.macro_rows([]) == tables.quality_rows([]) == tables.primary_rows([], plan) == []
    )
