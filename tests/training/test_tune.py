import pytest
import yaml

from sega_utils.core import artifacts, paths
from sega_utils.training import arms, recipes


@pytest.mark.parametrize("arm", recipes.ARMS)
def test_every_arm_is_searched_with_the_same_number_of_different_allowed_settings(arm):
    trials = arms.draw_trials(arm, 4, seed=0)
    assert len(trials) == 4 and all(trials.count(trial) == 1 for trial in trials)
    assert all(trial[name] in values for trial in trials for name, values in arms.SPACES[arm].items())
    assert all(
        recipes.settings_of(arm, trial) | trial | recipes.ARMS[arm] == recipes.settings_of(arm, trial)
        for trial in trials
    )


REAL = [arm for arm in recipes.ARMS if recipes.settings_of(arm)["synthetic"] == "none"]
SYNTHETIC = [arm for arm in recipes.ARMS if arm not in REAL]


@pytest.mark.parametrize(("alike", "names"), [(REAL, ("lr", "weight_decay")), (SYNTHETIC, ("ratio", "amount"))])
def test_searches_of_like_arms_share_their_first_trial_and_repeat_with_their_seed(alike, names):
    first = [arms.draw_trials(arm, 1, seed=seed)[0] for arm in alike for seed in (0, 1)]
    assert len({tuple(trial[name] for name in names) for trial in first}) == 1
    assert (
        arms.draw_trials("SEGA-Net", 6, seed=0)
        == arms.draw_trials("SEGA-Net", 6, seed=0)
        != arms.draw_trials("SEGA-Net", 6, seed=1)
    )


def test_a_space_smaller_than_the_trials_is_searched_whole():
    assert len(arms.draw_trials("Std Aug", 100, seed=0)) == 9


def test_only_the_best_trials_are_repeated_with_the_other_seeds():
    asked = []

    def score(pairs):
        asked.append([(trial["lr"], seed) for trial, seed in pairs])
        return [trial["lr"] + seed for trial, seed in pairs]

    scores = arms.search(score, [{"lr": 1}, {"lr": 3}, {"lr": 2}], seeds=[10, 20, 30], finalists=2)
    assert asked == [[(1, 10), (3, 10), (2, 10)], [(3, 20), (3, 30), (2, 20), (2, 30)]]
    assert scores == [[11], [13, 23, 33], [12, 22, 32]]


def row(arm: str, accuracy: float, seeds: int, **settings) -> dict:
    return {"arm": arm, "accuracy": str(accuracy), "seeds": str(seeds), "settings": yaml.safe_dump(settings)}


@pytest.mark.parametrize("arm", SYNTHETIC)
def test_an_arm_with_synthetic_images_takes_over_the_winner_on_real_ones(arm):
    rows = [row(name, 80, 2, lr=1) for name in REAL] + [
        row("Std Aug + CutMix", 85, 2, lr=2),
        row("SEGA-Net", 90, 2, lr=3),
    ]
    base = arms.base_of(arm, rows)
    assert base == {"mixing": "cutmix", "lr": 2}
    assert not base.keys() & arms.SPACES[arm].keys(), "what is taken over would be searched as well"


@pytest.mark.parametrize("arm", REAL)
def test_an_arm_on_real_images_takes_over_nothing(arm):
    assert arms.base_of(arm, []) == {}


def test_what_is_taken_over_must_be_tuned_first():
    rows = [row(name, 80, 2, lr=1) for name in REAL if name != "Std Aug"]
    with pytest.raises(ValueError, match=r"these arms were not tuned: Std Aug; tune them first with --arms"):
        arms.base_of("SEGA-Net", rows)


def test_a_lucky_single_seed_does_not_win_over_a_mean():
    rows = [
        row("Std Aug", 90, 1, lr=1),
        row("Std Aug", 84, 3, lr=2),
        row("Std Aug", 85, 3, lr=3),
        row("No Aug", 80, 1, lr=4),
    ]
    assert arms.best_settings(rows) == {"No Aug": {"lr": 4}, "Std Aug": {"lr": 3}}
    assert list(arms.best_settings(rows)) == ["No Aug", "Std Aug"]


def test_the_committed_settings_are_the_winners_of_the_committed_trials():
    chosen = yaml.safe_load((paths.PARAMS / "tuned.yaml").read_text())
    rows = artifacts.load_csv(paths.PARAMS / "tuning.csv")
    assert chosen == arms.best_settings(rows) and set(chosen) == set(recipes.ARMS)
    assert len({sum(r["arm"] == arm for r in rows) for arm in chosen}) == 1, "not every arm had as many trials"
    assert {sum(int(r["seeds"]) for r in rows if r["arm"] == arm) for arm in chosen} == {8}
    others = [row for row in rows if row["arm"] not in SYNTHETIC]
    for arm in recipes.ARMS:
        tried = [yaml.safe_load(row["settings"]) for row in rows if row["arm"] == arm]
        assert tried == [arms.base_of(arm, others) | trial for trial in arms.draw_trials(arm, len(tried), seed=0)]
