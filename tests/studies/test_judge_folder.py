import shutil

import judged_folders as drawn
import pytest
import torch
from PIL import Image

from sega_utils.core import artifacts
from sega_utils.studies.judge import folder as judge_folder, plan as judge_plan


@pytest.fixture
def shapes(tmp_path):
    drawn.write(tmp_path, "train", 9, seed=0)
    drawn.write(tmp_path, "test", 3, seed=1)
    return tmp_path


def test_twins_and_images_under_two_labels_are_left_out_with_both_paths(shapes):
    bar, ring = shapes / "train" / "bar", shapes / "test" / "ring"
    shutil.copy(bar / "0-000.png", shapes / "test" / "bar" / "again.png")
    shutil.copy(bar / "0-001.png", bar / "twin.png")
    shutil.copy(bar / "0-002.png", ring / "wrong.png")
    (bar / "half.png").write_bytes((bar / "0-003.png").read_bytes()[:300])
    pictures = judge_folder.look(shapes)
    rows = {row["file"]: (row["same as"], row["reason"].partition(":")[0]) for row in pictures.left_out}
    assert rows == {
        "train/bar/0-000.png": ("test/bar/again.png", "a training image that is a test image too (identical)"),
        "train/bar/twin.png": ("train/bar/0-001.png", "a twin (identical)"),
        "train/bar/0-002.png": ("test/ring/wrong.png", "one image under two labels"),
        "test/ring/wrong.png": ("train/bar/0-002.png", "one image under two labels"),
        "train/bar/half.png": ("", "cannot be read"),
    }
    assert len(pictures.files) == 36 - 2 + 1 - 1 + 1


def test_what_is_no_image_or_not_wanted_is_left_out_and_the_rest_is_read(tmp_path):
    root = tmp_path / "my photos, Äpfel"
    drawn.write(root, "", 10, seed=0)
    (root / "bar").rename(root / "Bär (wild)")
    (root / "Bär (wild)" / "read me.txt").touch()
    (root / "cross" / "a.webp").touch()
    (root / "cross" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (root / "ring" / "text.png").write_text("no picture")
    (root / "stray.jpg").touch()
    Image.new("1", (20_000, 10_001)).save(root / "ring" / "huge.png")
    pictures = judge_folder.look(root)
    reasons = {row["file"]: row["reason"] for row in pictures.left_out}
    assert reasons.pop("ring/huge.png").startswith("cannot be read: is too large with 20,000 x 10,001 pixels")
    assert reasons == {
        "Bär (wild)/read me.txt": "does not end in .png, .jpg, .jpeg",
        "cross/a.webp": "does not end in .png, .jpg, .jpeg",
        "cross/lost.png": "is a link that leads nowhere, or in a circle",
        "stray.jpg": "lies beside the class folders, so of no class",
        "ring/text.png": "cannot be read: is no image",
    }
    assert pictures.names == ("Bär (wild)", "cross", "ring") and pictures.labels.bincount().tolist() == [10] * 3


def test_transparent_drawings_stay_different_and_one_class_is_refused(tmp_path):
    for split, n in (("train", 8), ("test", 3)):
        drawn.write(tmp_path, split, n, seed=len(split))
    for i in range(3):  # black on transparent, which on black would be one image
        image = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (5, 5, 15 + 8 * i, 30))
        image.save(tmp_path / "train" / "ring" / f"clear{i}.png")
    assert len(judge_folder.look(tmp_path).files) == 36 and not judge_folder.look(tmp_path).left_out
    (tmp_path / "one" / "alone").mkdir(parents=True)
    with pytest.raises(ValueError, match="needed are two classes"):
        judge_folder.look(tmp_path / "one")


def test_too_small_classes_are_refused_before_anything_is_trained(tmp_path):
    drawn.write(tmp_path, "train", 5, seed=0)
    drawn.write(tmp_path, "test", 3, seed=1)
    with pytest.raises(ValueError, match=r"bar \(5 \+ 3\).*6 to train on and 2 to test with"):
        judge_folder.look(tmp_path)


def test_without_a_split_a_fifth_is_held_out_and_folds_are_even(tmp_path):
    drawn.write(tmp_path, "", 25, seed=0)
    pictures = judge_folder.look(tmp_path)
    tests, folds = judge_folder.split(tmp_path / "split.csv", pictures)
    for c in range(3):
        mine = pictures.labels == c
        assert int(tests[mine].sum()) == 5
        assert all(row[mine & ~tests].bincount().tolist() in ([7, 7, 6], [7, 6, 7], [6, 7, 7]) for row in folds)
    assert not torch.equal(folds[0], folds[1])
    again = judge_folder.split(tmp_path / "split.csv", pictures)
    assert torch.equal(again[0], tests) and torch.equal(again[1], folds)
    assert len(artifacts.load_csv(tmp_path / "split.csv")) == 75


def test_the_plan_follows_from_the_images(shapes):
    pictures = judge_folder.look(shapes)
    quick = judge_plan.make(pictures, quick=True, backbone="none", workers=0)
    whole = judge_plan.make(pictures, quick=False, backbone="none", workers=0)
    assert (quick.side, whole.side) == (32, 32), "the pictures have 40 pixels"
    assert quick.repeats < whole.repeats and quick.seeds < whole.seeds and not quick.balanced
    assert judge_plan.make(pictures._replace(shorter=pictures.shorter + 60), quick=False).side == 64
    many = pictures._replace(labels=torch.tensor([0] * 30 + [1] * 3 + [2] * 3))
    assert judge_plan.make(many, quick=True).balanced
    said = {row["what"]: row["plan"] for row in judge_plan.rows(quick, pictures, pictures.tests)}
    assert said["classes"] == "3, of 9 to 9 training images" and said["test images"] == "9, the folder's own"
