import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sega_utils.core.artifacts import ArtifactError
from sega_utils.data import folders
from sega_utils.data import tree as layout
from sega_utils.data.decoding import decode


def draw(path, seed: int, *, mode: str = "L", size: tuple[int, int] = (8, 8)) -> None:
    """Write a noisy image that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def tree(tmp_path):
    """Return a tree of ten images in each of three classes."""
    root = tmp_path / "own"
    for c, name in enumerate(("ash_tree", "beech", "0")):
        for i in range(10):
            draw(root / name / f"{i}.png", 10 * c + i)
    return root


@pytest.fixture
def split_tree(tmp_path):
    """Return a tree of two classes with three images to train on and two to test."""
    root = tmp_path / "own"
    for c, name in enumerate("ab"):
        for i in range(5):
            draw(root / ("train" if i < 3 else "test") / name / f"{i}.png", 10 * c + i)
    return root


# what is read


def test_a_tree_without_splits_is_split_a_fifth_for_testing(tree):
    train, test = (folders.read_folder(tree, split) for split in ("train", "test"))
    assert train[0].shape == (24, 1, 32, 32) and test[0].shape == (6, 1, 32, 32) and train[0].dtype == torch.uint8
    assert train[1].bincount().tolist() == [8] * 3 and test[1].bincount().tolist() == [2] * 3
    assert train[2] == test[2] == ("0", "ash tree", "beech")
    assert train[1].tolist() != sorted(train[1].tolist())
    whole = {image.numpy().tobytes() for split in (train, test) for image in split[0]}
    assert len(whole) == 30


def test_the_split_depends_on_the_names_alone(tree, tmp_path):
    shutil.copytree(tree, tmp_path / "moved")
    for split in ("train", "test"):
        first, again = folders.read_folder(tree, split), folders.read_folder(tmp_path / "moved", split)
        assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


def test_folders_train_and_test_are_the_splits(split_tree):
    found = layout.find_files(split_tree)
    assert [path.name for path in found["train"]["a"]] == ["0.png", "1.png", "2.png"]
    assert folders.read_folder(split_tree, "test")[1].bincount().tolist() == [2, 2]


def test_labels_belong_to_their_images(tree):
    images, labels, names = folders.read_folder(tree, "train")
    for file in layout.find_files(tree)["train"]["beech"]:
        own = torch.from_numpy(decode(file.read_bytes()))[:1]
        (index,) = [i for i, image in enumerate(images) if torch.equal(image, own)]
        assert names[labels[index]] == "beech"


def test_one_colour_image_in_either_split_makes_all_of_them_colour(tree):
    draw(layout.find_files(tree)["train"]["beech"][0], 99, mode="RGB")
    assert [folders.read_folder(tree, split)[0].shape[1] for split in ("train", "test")] == [3, 3]


# what is refused


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: b"<html>" + raw, lambda raw: raw[:20]]
)
def test_all_damaged_images_are_listed(tree, damage):
    for name in ("beech/3.png", "0/1.png"):
        (tree / name).write_bytes(damage((tree / name).read_bytes()))
    with pytest.raises(ArtifactError, match="2 files of .* no whole PNG or JPEG: .*replace or delete") as caught:
        folders.read_folder(tree, "train")
    assert "beech/3.png" in str(caught.value) and "0/1.png" in str(caught.value)


def test_a_duplicate_across_train_and_test_is_named_even_if_saved_anew(split_tree):
    Image.open(split_tree / "train/a/1.png").save(split_tree / "test/b/copy.png", compress_level=0)
    with pytest.raises(ValueError, match="1 training images of .* test images too: train/a/1.png = test/b/copy.png"):
        folders.read_folder(split_tree, "train")


def test_duplicates_within_one_split_are_the_owners_business(split_tree):
    shutil.copy(split_tree / "train/a/1.png", split_tree / "train/a/copy.png")
    assert len(folders.read_folder(split_tree, "train")[1]) == 7


@pytest.mark.parametrize("count", [1, 2])
def test_a_class_of_too_few_images_is_named(tree, count):
    for i in range(count, 10):
        (tree / "beech" / f"{i}.png").unlink()
    with pytest.raises(ValueError, match=rf"too few images .*: beech \({count - 1} \+ 1\); needed are two classes"):
        folders.read_folder(tree, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: shutil.rmtree(root), "there is no folder .*folder:PATH"),
        (lambda root: [shutil.rmtree(root / name) for name in ("beech", "0")], "has 1 classes"),
        (lambda root: [shutil.rmtree(root / name) for name in ("ash_tree", "beech", "0")], "has 0 classes"),
        (lambda root: [(root / name).mkdir() for name in ("train", "test")], "besides 0, ash_tree, beech; allowed"),
        (lambda root: (root / "beech/notes.txt").touch(), "holds notes.txt; allowed are files that end in .png"),
    ],
)
def test_a_tree_of_another_shape_says_what_is_allowed(tree, change, message):
    change(tree)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        folders.read_folder(tree, "test")


def test_a_class_in_one_split_only_is_named(split_tree):
    shutil.rmtree(split_tree / "test/b")
    with pytest.raises(ValueError, match="only one of train and test has b"):
        folders.read_folder(split_tree, "test")


def test_hidden_files_are_no_images(tree):
    (tree / "beech/.DS_Store").touch()
    (tree / ".git").mkdir()
    assert len(folders.read_folder(tree, "train")[1]) == 24
