import judged_folders as drawn
import pytest
import torch

from sega_utils.studies.judge import folder as judge_folder, plan as judge_plan

COSTS = ("step_seconds", "feature_seconds", "tuning_seconds")


@pytest.fixture
def pictures(tmp_path):
    """Return what the judge saw of 9 + 3 pictures a class, as if there were 360 + 541 large ones."""
    drawn.write(tmp_path, "train", 9, seed=0)
    drawn.write(tmp_path, "test", 3, seed=1)
    looked = judge_folder.look(tmp_path)
    times = lambda x, n: x.repeat_interleave(n, 0)
    return looked._replace(
        files=looked.files * 25, labels=times(looked.labels, 25)[:900], tests=torch.arange(900) >= 360,
        shorter=times(looked.shorter, 25)[:900] + 100,
    )  # fmt: skip


@pytest.fixture
def speed(monkeypatch):
    """Return a function that makes everything a number of times as slow as two cores on which this was measured."""

    def set_to(times: float, busy: float = 1.0) -> None:
        seconds = {"step_seconds": 0.03, "feature_seconds": 0.07, "tuning_seconds": 1.0}
        for name in COSTS:
            cost = times * seconds[name]
            scale = lambda *shape, cost=cost: cost * (4 if shape[2:3] == (64,) else 1)
            monkeypatch.setattr(judge_plan, name, scale)
        monkeypatch.setattr(judge_plan, "busyness", lambda: busy)

    return set_to


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("slow", [0.2, 1, 3])
def test_a_plan_keeps_its_minutes_on_any_machine_and_says_what_it_spares(pictures, speed, quick, slow):
    speed(slow)
    whole = judge_plan.make(pictures, quick=quick, backbone="lite0", workers=2)
    plan = judge_plan.within(whole, pictures, limit=judge_plan.LIMITS[quick])
    assert judge_plan.minutes(plan, pictures) <= judge_plan.LIMITS[quick]
    assert (plan._replace(spared=()) == whole) == (not plan.spared)
    assert plan.augmenters and plan.seeds >= 3 and plan.steps >= judge_plan.LEAST_STEPS


def test_rounds_are_spared_before_augmenters_and_those_before_fine_tuning(pictures, speed):
    speed(1, busy=1.5)
    whole = judge_plan.make(pictures, quick=False, backbone="lite0", workers=2)
    spared = [words for words, _ in judge_plan.reductions(whole)]
    assert spared[:3] == ["64 pixels a side instead of 32", "the cross-validation's second round", "the augmenter ddim"]
    assert spared.index("fine-tuning") > max(i for i, words in enumerate(spared) if "augmenter" in words)
    plan = judge_plan.within(whole, pictures, limit=60)
    assert list(plan.spared) == spared[: len(plan.spared)] and len(plan.spared) > 2


def test_a_quick_plan_of_360_pictures_is_whole_on_two_idle_cores(pictures, speed):
    speed(1)
    plan = judge_plan.make(pictures, quick=True, backbone="lite0", workers=2)
    assert judge_plan.minutes(plan, pictures) <= judge_plan.MARGIN * judge_plan.LIMITS[True] and not plan.tuned


def test_a_plan_once_made_stays_for_a_killed_run(pictures, speed, tmp_path):
    speed(1, busy=3)
    made = judge_plan.choose(tmp_path / "plan.json", pictures, quick=False, backbone="none")
    speed(0.1)
    assert judge_plan.choose(tmp_path / "plan.json", pictures, quick=False, backbone="none") == made and made.spared
    other = judge_plan.choose(tmp_path / "other.json", pictures, quick=False, backbone="none")
    assert len(other.spared) < len(made.spared)


def test_a_few_photos_more_make_no_other_plan_and_many_do(pictures, speed, tmp_path):
    speed(0.1)
    choose = lambda looked: judge_plan.choose(tmp_path / "plan.json", looked, quick=True, backbone="none")
    more = lambda n: pictures._replace(
        files=pictures.files + pictures.files[:n], tests=torch.arange(900 + n) >= 360 + n,
        labels=torch.cat([pictures.labels, pictures.labels[:n]]),
    )  # fmt: skip
    first = choose(pictures)
    assert choose(more(80)) == first != judge_plan.make(more(80), quick=True, backbone="none")
    assert choose(more(300)).steps > first.steps


def test_the_plan_of_a_moment_is_small(pictures, speed):
    speed(1)
    assert judge_plan.minutes(judge_plan.moment(pictures), pictures) < 3
