import judged_folders as drawn
import pytest
import tiny_outside
import torch

from sega_utils.core import artifacts, paths
from sega_utils.data import outside
from sega_utils.studies.judge import arms as judge_arms, folder as judge_folder, tuned as judge_tuned
from sega_utils.training import finetuning


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the name of a data set of shapes that the judge has looked at, with a pool of copies, and its pictures."""
    monkeypatch.setattr(outside, "load", tiny_outside.patches)
    drawn.write(tmp_path / "shapes", "train", 9, seed=0)
    drawn.write(tmp_path / "shapes", "test", 4, seed=1)
    dataset = f"{paths.OWN}{tmp_path / 'shapes'}"
    pictures, folder = judge_folder.look(tmp_path / "shapes"), judge_folder.place("judge", dataset)
    judge_folder.store(folder, pictures, *judge_folder.split(folder / "split.csv", pictures), 32)
    data = judge_folder.load(folder).data
    for seed in range(3):
        pool = {"images": (data.images * 255).byte(), "class_ids": data.labels}
        pool |= {"kept": torch.ones(len(data.labels), dtype=torch.bool), "nearest": torch.full((len(data.labels),), -1)}
        artifacts.save_tensors(judge_arms.pool_file(folder, "copies", "all", seed), pool, {})
    return dataset, pictures


@pytest.fixture
def tuned(monkeypatch):
    """Return what every fine-tuning was given."""
    seen, own = [], finetuning.fine_tune

    def fine_tune(known, real, **options):
        seen.append(options | {"n": len(real.labels)})
        return own(known, real, **options)

    monkeypatch.setattr(finetuning, "fine_tune", fine_tune)
    return seen


PLAN = drawn.TINY._replace(backbone="patches", tuned=3, augmenters={"copies": {}})


def test_a_trial_is_chosen_on_one_fold_and_the_test_images_are_left_to_the_end(folder, tuned):
    dataset, pictures = folder
    record, logits = judge_tuned.measure("judge", dataset, PLAN, pictures, "copies")
    assert len(tuned) == judge_tuned.count(PLAN) == len(judge_arms.ARMS) + 2 + 2 * 2, "as many trials as arms"
    assert [options["n"] for options in tuned] == [18] * 7 + [27] * 4
    assert [options["synthetic"] is None for options in tuned] == [True] * 9 + [False] * 2
    assert logits["training"].shape == (27, 3) and logits["training"].isfinite().all()
    assert logits["test"].shape == logits["with_pools"].shape == (2, 12, 3)
    assert record["lr"] in {trial["lr"] for trial in judge_tuned.TRIALS} and 0 <= record["cv_accuracy"] <= 100


def test_a_seed_more_is_the_only_training_of_a_second_run(folder, tuned):
    dataset, pictures = folder
    judge_tuned.measure("judge", dataset, PLAN, pictures)
    n = len(tuned)
    judge_tuned.measure("judge", dataset, PLAN, pictures)
    assert len(tuned) == n
    judge_tuned.measure("judge", dataset, PLAN._replace(seeds=3), pictures)
    assert len(tuned) == n + 1
